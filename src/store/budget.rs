//! The budget of calls to the provider, in common to all processes: one row for each app, and one for the best bid of each process. All
//! times are the database's. It is coordination and no state of anything, so no event tells of it.

use std::time::Duration;

use sqlx::FromRow;
use tokio::time::Instant;

use super::clock::db_now;
use super::tx::{Run as _, Tx, on_tx, record};
use super::{Error, Result, Store};
use crate::domain::ambient::Timestamp;
use crate::domain::budget::{Answer, BID_FRESH, Bid, Lane, Pace, Slots};
use crate::domain::id::{AppId, RunId};

/// A bid that nobody renewed for this long is removed: its process is gone.
const BID_KEPT: Duration = Duration::from_secs(60);

/// Makes the row of the app if it is missing, and locks it either way.
const LOCK: &str = "INSERT INTO budgets (app_id, next_at_us, slowdown, slowed_until_us) VALUES ($1, 0, 1, 0) \
                    ON CONFLICT (app_id) DO UPDATE SET slowdown = budgets.slowdown \
                    RETURNING next_at_us, slowdown, slowed_until_us";
const MOVE: &str = "UPDATE budgets SET next_at_us = $2, slowdown = $3, slowed_until_us = $4 WHERE app_id = $1";
const OTHERS: &str = "SELECT lane, since_us, waiting FROM budget_bids \
                      WHERE app_id = $1 AND run_id <> $2 AND seen_at_us > $3 AND seen_at_us < $4";
const BID: &str = "INSERT INTO budget_bids (app_id, run_id, lane, since_us, waiting, seen_at_us) \
                   VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (app_id, run_id) DO UPDATE SET lane = excluded.lane, \
                   since_us = excluded.since_us, waiting = excluded.waiting, seen_at_us = excluded.seen_at_us";
const WITHDRAW: &str = "DELETE FROM budget_bids WHERE app_id = $1 AND (run_id = $2 OR seen_at_us < $3)";

/// Every statement of this file, for the test that prepares them on each engine.
#[cfg(test)]
pub(in crate::store) const STATEMENTS: &[&str] = &[LOCK, MOVE, OTHERS, BID, WITHDRAW];

/// What this process bids for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Waiting {
    /// The lane of its most urgent call.
    pub lane: Lane,
    /// How long that one has waited.
    pub waited: Duration,
    /// How many wait in all, that one included.
    pub calls: u32,
}

#[derive(FromRow)]
struct SlotsRow {
    next_at_us: i64,
    slowdown: i64,
    slowed_until_us: i64,
}

#[derive(FromRow)]
struct BidRow {
    lane: i64,
    since_us: i64,
    waiting: i64,
}

impl Store {
    /// Bids for the next slot, and takes it if it is free, near, and nobody else's bid is better. Who is not granted it leaves the bid
    /// standing, for the others to see. A slot whose commit has no clear outcome is not granted, and goes by unused.
    ///
    /// With the answer comes when the database had looked, at the latest: from then on its times count, however long the commit took.
    ///
    /// # Errors
    /// The database's.
    pub async fn bid_for_slot(&self, app: AppId, pace: Pace, waiting: Waiting) -> Result<(Answer, Instant)> {
        record!(self, "bid_for_slot", tx => {
            let (answer, _, looked) = bid(tx, self.run(), app, pace, waiting).await?;
            Ok((answer, looked))
        })
    }

    /// Nothing waits here any more.
    ///
    /// # Errors
    /// The database's; the bid is stale soon either way.
    pub async fn withdraw_bid(&self, app: AppId) -> Result<()> {
        record!(self, "withdraw_bid", tx => {
            let now = db_now(tx).await?;
            remove_bid(tx, self.run(), app, now).await
        })
    }

    /// A call left that much later than its slot: those behind it follow later, too.
    ///
    /// # Errors
    /// The database's; after one whose commit is unknown it may be so.
    pub async fn delay_calls(&self, app: AppId, pace: Pace, by: Duration) -> Result<()> {
        record!(self, "delay_calls", tx => {
            let mut slots = lock(tx, app).await?;
            slots.delayed(pace, by, db_now(tx).await?);
            write(tx, app, &slots).await
        })
    }

    /// The provider said that there were too many calls: all processes pause, and go slower for a while. Returns by what the pace is
    /// divided now.
    ///
    /// # Errors
    /// The database's.
    pub async fn slow_down(&self, app: AppId, pace: Pace) -> Result<u32> {
        record!(self, "slow_down", tx => {
            let mut slots = lock(tx, app).await?;
            slots.throttled(pace, db_now(tx).await?);
            write(tx, app, &slots).await?;
            Ok(slots.slowdown)
        })
    }
}

/// One bid, in a transaction of its own; with the slots as they stand then, and when the database had looked at its clock.
pub(in crate::store) async fn bid(
    tx: &mut Tx<'_>,
    run: RunId,
    app: AppId,
    pace: Pace,
    waiting: Waiting,
) -> Result<(Answer, Slots, Instant)> {
    let mut slots = lock(tx, app).await?;
    // Behind the lock: whoever waited for it comes later by this clock, too.
    let now = db_now(tx).await?;
    let looked = Instant::now();
    let rows: Vec<BidRow> = on_tx!(tx, conn => sqlx::query_as(OTHERS)
        .bind(&app.as_bytes()[..])
        .bind(&run.as_bytes()[..])
        .bind(now.minus(BID_FRESH).as_micros())
        .bind(now.plus(BID_FRESH).as_micros())
        .fetch_all(conn)
        .await)?;
    let others = rows.iter().map(Bid::try_from).collect::<Result<Vec<_>>>()?;
    let own = Bid { lane: waiting.lane, since: now.minus(waiting.waited), waiting: waiting.calls.max(1) };
    let answer = slots.bid(pace, &own, &others, now);
    if answer.granted.is_some() {
        write(tx, app, &slots).await?;
        remove_bid(tx, run, app, now).await?;
    } else {
        put_bid(tx, run, app, &own, now).await?;
    }
    Ok((answer, slots, looked))
}

async fn put_bid(tx: &mut Tx<'_>, run: RunId, app: AppId, bid: &Bid, now: Timestamp) -> Result<()> {
    on_tx!(tx, conn => sqlx::query(BID)
        .bind(&app.as_bytes()[..])
        .bind(&run.as_bytes()[..])
        .bind(i64::try_from(bid.lane.rank()).unwrap_or(i64::MAX))
        .bind(bid.since.as_micros())
        .bind(i64::from(bid.waiting))
        .bind(now.as_micros())
        .run(conn)
        .await)?;
    Ok(())
}

async fn remove_bid(tx: &mut Tx<'_>, run: RunId, app: AppId, now: Timestamp) -> Result<()> {
    on_tx!(tx, conn => sqlx::query(WITHDRAW)
        .bind(&app.as_bytes()[..])
        .bind(&run.as_bytes()[..])
        .bind(now.minus(BID_KEPT).as_micros())
        .run(conn)
        .await)?;
    Ok(())
}

async fn lock(tx: &mut Tx<'_>, app: AppId) -> Result<Slots> {
    let row: SlotsRow = on_tx!(tx, conn => sqlx::query_as(LOCK).bind(&app.as_bytes()[..]).fetch_one(conn).await)?;
    Ok(Slots {
        next_at: Timestamp::from_micros(row.next_at_us),
        slowdown: u32::try_from(row.slowdown).map_err(|_| Error::Corrupt("slowdown of a budget"))?,
        slowed_until: Timestamp::from_micros(row.slowed_until_us),
    })
}

async fn write(tx: &mut Tx<'_>, app: AppId, slots: &Slots) -> Result<()> {
    on_tx!(tx, conn => sqlx::query(MOVE)
        .bind(&app.as_bytes()[..])
        .bind(slots.next_at.as_micros())
        .bind(i64::from(slots.slowdown))
        .bind(slots.slowed_until.as_micros())
        .run(conn)
        .await)?;
    Ok(())
}

impl TryFrom<&BidRow> for Bid {
    type Error = Error;

    fn try_from(row: &BidRow) -> Result<Self> {
        let rank = usize::try_from(row.lane).ok();
        let lane = rank.and_then(|rank| Lane::ALL.get(rank)).ok_or(Error::Corrupt("lane of a bid"))?;
        let waiting = u32::try_from(row.waiting).map_err(|_| Error::Corrupt("calls of a bid"))?;
        Ok(Self { lane: *lane, since: Timestamp::from_micros(row.since_us), waiting })
    }
}
