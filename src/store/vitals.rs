//! What a health check asks the database: does it answer, does its clock agree with ours, does its schema still fit this build.

use std::time::Duration;

use super::clock::DB_NOW;
use super::schema::{SCHEMA_NEWEST, SCHEMA_OLDEST};
use super::{Error, Result, Store, on_db, pick};
use crate::domain::ambient::Timestamp;

const FIT: &str = "SELECT (SELECT COALESCE(MAX(version), CAST(0 AS BIGINT)) FROM _sqlx_migrations) AS version, works_from \
     FROM schema_compatibility WHERE singleton = 1";

/// Every statement of this file, for the test that prepares them on each engine.
#[cfg(test)]
pub(in crate::store) const STATEMENTS: &[&str] = &[FIT];

/// How far our wall clock and the database's are apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClockOffset {
    /// Ours less the database's, microseconds: negative when ours is behind.
    pub ahead_us: i64,
    /// How wrong that may be, either way: half of the time that asking took.
    pub uncertainty: Duration,
}

#[derive(sqlx::FromRow)]
struct FitRow {
    version: i64,
    works_from: i64,
}

impl Store {
    /// Compares our wall clock, without what it was moved ahead on purpose, with the database's. The database told its time somewhere
    /// between question and answer; it is taken for the middle.
    ///
    /// # Errors
    /// The database's.
    pub async fn clock_offset(&self) -> Result<ClockOffset> {
        loop {
            let moved = self.clock.ahead();
            let (asked_at, asked) = (self.clock.now(), self.clock.boot());
            let statement = pick(self, DB_NOW);
            let theirs: i64 = on_db!(read self, conn => sqlx::query_scalar(statement).fetch_one(conn).await)?;
            let took = self.clock.boot().saturating_sub(asked);
            // Moved in between, this is no measurement.
            if self.clock.ahead() == moved {
                return Ok(ClockOffset::between(asked_at, took, theirs).without(moved));
            }
        }
    }

    /// Refuses a schema that this build does not work with: somebody may have migrated the database while we run.
    ///
    /// # Errors
    /// [`Error::SchemaTooOld`], [`Error::SchemaTooNew`]; the database's.
    pub async fn check_schema(&self) -> Result<()> {
        let fit = on_db!(read self, conn => sqlx::query_as::<_, FitRow>(FIT).fetch_optional(conn).await)?;
        let fit = fit.ok_or(Error::Corrupt("compatibility of the schema"))?;
        if fit.works_from > SCHEMA_NEWEST {
            Err(Error::SchemaTooNew { found: fit.version, newest: SCHEMA_NEWEST })
        } else if fit.version < SCHEMA_OLDEST {
            Err(Error::SchemaTooOld { found: fit.version, oldest: SCHEMA_OLDEST })
        } else {
            Ok(())
        }
    }
}

impl ClockOffset {
    /// Asked at `asked_at` by our clock, the answer said `theirs` and came after `took`.
    pub(in crate::store) fn between(asked_at: Timestamp, took: Duration, theirs: i64) -> Self {
        let uncertainty = took / 2;
        let ours = asked_at.plus(uncertainty).as_micros();
        Self { ahead_us: ours.saturating_sub(theirs), uncertainty }
    }

    /// Without what our clock was moved ahead on purpose.
    #[must_use]
    pub fn without(self, moved: Duration) -> Self {
        let moved_us = i64::try_from(moved.as_micros()).unwrap_or(i64::MAX);
        Self { ahead_us: self.ahead_us.saturating_sub(moved_us), ..self }
    }

    /// By how much the clocks are apart at the very least.
    pub fn at_least(&self) -> Duration {
        Duration::from_micros(self.ahead_us.unsigned_abs()).saturating_sub(self.uncertainty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_asking_took_is_no_difference_of_clocks() {
        let at = Timestamp::from_micros(1_000_000_000);
        let offset = |took_ms, theirs_us| ClockOffset::between(at, Duration::from_millis(took_ms), theirs_us);
        // Told at once, in the middle, at the end: at worst half of the time is unknown.
        for told in [1_000_000_000, 1_002_000_000, 1_004_000_000] {
            assert_eq!(offset(4_000, told).at_least(), Duration::ZERO);
        }
        assert_eq!(offset(0, 998_000_000).at_least(), Duration::from_secs(2));
        assert!(offset(0, 998_000_000).ahead_us > 0 && offset(0, 1_002_000_000).ahead_us < 0);
        assert_eq!(offset(1_000, 1_003_500_000).at_least(), Duration::from_millis(2_500));
    }
}
