//! The processes that have this database open: who lives, who is taken for dead, who leads.
//!
//! All by the database's clock, since their own may differ. A process is alive as long as its row is here. Whoever was not seen for a
//! lease can be *buried*: its row goes, and from then on it is nobody: it arms nothing more, and what it left open is
//! [orphaned](Store::orphaned_attempts), for whoever leads to settle. That it may live all the same, and come back, is expected.
//!
//! Nothing here is a state change of the deployment: no events, and no lock of the change trail.

use std::time::Duration;

use super::clock::db_now;
use super::tx::{Run as _, Tx, on_tx, record};
use super::{Error, Pools, Result, Store, blob};
use crate::domain::ambient::Timestamp;
use crate::domain::id::RunId;

#[cfg(test)]
pub(in crate::store) const STATEMENTS: &[&str] = &[
    BEGIN,
    BURY,
    BURY_OTHERS,
    END,
    FORGET_BIDS,
    FORGET_BIDS_OF_OTHERS,
    FORGET_DUTIES,
    FORGET_DUTIES_OF_OTHERS,
    SEEN,
    STALE,
    TAKE_DUTY,
];

const BEGIN: &str = "INSERT INTO runs (id, name, started_at_us, seen_at_us) VALUES ($1, $2, $3, $3)";
const SEEN: &str = "UPDATE runs SET seen_at_us = $1 WHERE id = $2";
// Free, ours, or past its end; nothing is written otherwise.
const TAKE_DUTY: &str = "INSERT INTO duties (name, run_id, until_us) VALUES ($1, $2, $3) \
     ON CONFLICT (name) DO UPDATE SET run_id = excluded.run_id, until_us = excluded.until_us \
     WHERE duties.run_id = excluded.run_id OR duties.until_us <= $4";
const STALE: &str = "SELECT id, name FROM runs WHERE seen_at_us < $1 AND id <> $2 ORDER BY id";
const BURY: &str = "DELETE FROM runs WHERE id = $1 AND seen_at_us < $2";
const BURY_OTHERS: &str = "DELETE FROM runs WHERE id <> $1";
const END: &str = "DELETE FROM runs WHERE id = $1";
const FORGET_DUTIES: &str = "DELETE FROM duties WHERE run_id = $1";
const FORGET_DUTIES_OF_OTHERS: &str = "DELETE FROM duties WHERE run_id <> $1";
const FORGET_BIDS: &str = "DELETE FROM budget_bids WHERE run_id = $1";
const FORGET_BIDS_OF_OTHERS: &str = "DELETE FROM budget_bids WHERE run_id <> $1";

/// Most characters of a run's name; the schema's rule.
const NAME_CHARS_MAX: usize = 128;

/// What a beat found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Beat {
    /// The time of the database.
    pub at: Timestamp,
    /// Whether the others take us for alive. If not, this run is over: nothing that it claimed is its own any more.
    pub alive: bool,
    /// Whether the duty is ours, for a lease from `at` on.
    pub leads: bool,
    /// Who was not seen for a lease.
    pub stale: Vec<StaleRun>,
}

/// A run that was not seen for a while.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StaleRun {
    /// Which.
    pub id: RunId,
    /// How people know it.
    pub name: String,
}

impl Store {
    /// Whether no other process can have this database open: then every other run in it is dead.
    pub const fn is_exclusive(&self) -> bool {
        matches!(self.pools, Pools::Sqlite { .. })
    }

    /// Begins a run of this process, under a name that tells people where it is. What is claimed from now on is this run's; an earlier
    /// one of the same process is another.
    ///
    /// # Errors
    /// As every write of the database; the run of before stays then.
    pub async fn begin_run(&self, name: &str) -> Result<RunId> {
        let run = RunId::generate(&*self.clock, &*self.entropy);
        let name: String = if name.is_empty() { "unnamed" } else { name }.chars().take(NAME_CHARS_MAX).collect();
        record!(self, "begin_run", tx => {
            let now = db_now(tx).await?;
            on_tx!(tx, conn => sqlx::query(BEGIN)
                .bind(&run.as_bytes()[..])
                .bind(&name)
                .bind(now.as_micros())
                .run(conn)
                .await)?;
            Ok(())
        })?;
        self.become_run(run);
        Ok(run)
    }

    /// Says that this run lives, and takes or renews the duty, if one is given and nobody else has it; gives it up if none is given.
    ///
    /// # Errors
    /// As every write of the database; nothing is known then, and what was taken before ends when it ends.
    pub async fn beat(&self, lease: Duration, duty: Option<&str>) -> Result<Beat> {
        let run = self.run();
        record!(self, "beat", tx => {
            let at = db_now(tx).await?;
            let seen = on_tx!(tx, conn => sqlx::query(SEEN)
                .bind(at.as_micros())
                .bind(&run.as_bytes()[..])
                .run(conn)
            .await?);
            if seen == 0 {
                return Ok(Beat { at, alive: false, leads: false, stale: Vec::new() });
            }
            let leads = match duty {
                Some(duty) => take_duty(tx, duty, run, at, lease).await?,
                None => {
                    forget(tx, FORGET_DUTIES, run).await?;
                    false
                }
            };
            let rows: Vec<(Vec<u8>, String)> = on_tx!(tx, conn => sqlx::query_as(STALE)
                .bind(at.minus(lease).as_micros())
                .bind(&run.as_bytes()[..])
                .fetch_all(conn)
                .await)?;
            let stale = rows.into_iter().map(|(id, name)| {
                Ok::<_, Error>(StaleRun { id: RunId::from_bytes(blob(&id, "run id")?), name })
            });
            Ok(Beat { at, alive: true, leads, stale: stale.collect::<Result<_>>()? })
        })
    }

    /// Takes a run for dead, if it was still not seen for a lease. False if it was, or is gone already.
    ///
    /// # Errors
    /// As every write of the database.
    pub async fn bury(&self, run: RunId, lease: Duration) -> Result<bool> {
        record!(self, "bury", tx => {
            let now = db_now(tx).await?;
            // Behind a beat that is under way: then it was seen, and stays.
            let gone = on_tx!(tx, conn => sqlx::query(BURY)
                .bind(&run.as_bytes()[..])
                .bind(now.minus(lease).as_micros())
                .run(conn)
            .await?);
            if gone > 0 {
                forget(tx, FORGET_DUTIES, run).await?;
                forget(tx, FORGET_BIDS, run).await?;
            }
            Ok(gone > 0)
        })
    }

    /// Takes every other run for dead. Only for who has the database for itself.
    ///
    /// # Errors
    /// As every write of the database.
    pub async fn bury_others(&self) -> Result<()> {
        let run = self.run();
        record!(self, "bury_others", tx => {
            for statement in [BURY_OTHERS, FORGET_DUTIES_OF_OTHERS, FORGET_BIDS_OF_OTHERS] {
                forget(tx, statement, run).await?;
            }
            Ok(())
        })
    }

    /// Ends this run: nothing is under way any more, and nobody has to wait a lease for what it was in charge of.
    ///
    /// # Errors
    /// As every write of the database; the others find out after a lease then.
    pub async fn end_run(&self) -> Result<()> {
        let run = self.run();
        record!(self, "end_run", tx => {
            for statement in [END, FORGET_DUTIES, FORGET_BIDS] {
                forget(tx, statement, run).await?;
            }
            Ok(())
        })
    }
}

async fn take_duty(tx: &mut Tx<'_>, duty: &str, run: RunId, at: Timestamp, lease: Duration) -> Result<bool> {
    let taken = on_tx!(tx, conn => sqlx::query(TAKE_DUTY)
        .bind(duty)
        .bind(&run.as_bytes()[..])
        .bind(at.plus(lease).as_micros())
        .bind(at.as_micros())
        .run(conn)
            .await?);
    Ok(taken == 1)
}

async fn forget(tx: &mut Tx<'_>, statement: &'static str, run: RunId) -> Result<()> {
    on_tx!(tx, conn => sqlx::query(statement).bind(&run.as_bytes()[..]).run(conn).await)?;
    Ok(())
}
