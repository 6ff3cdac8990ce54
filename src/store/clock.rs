//! The database's clock: what several processes agree on whose own clocks may differ.

use super::tx::{Tx, on_tx};
use super::{Dialect, Result, pick};
use crate::domain::ambient::Timestamp;

/// Microseconds since 1970. On SQLite the clock is this machine's, in milliseconds.
pub(in crate::store) const DB_NOW: Dialect = Dialect {
    sqlite: "SELECT CAST(unixepoch('now', 'subsec') * 1000000 AS INTEGER)",
    postgres: "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)",
};

#[cfg(test)]
pub(in crate::store) const DIALECTS: &[Dialect] = &[DB_NOW];

/// The time by the database's clock, right now and not when the transaction began.
pub(in crate::store) async fn db_now(tx: &mut Tx<'_>) -> Result<Timestamp> {
    let statement = pick(tx.store, DB_NOW);
    let (micros,): (i64,) = on_tx!(tx, conn => sqlx::query_as(statement).fetch_one(conn).await)?;
    Ok(Timestamp::from_micros(micros))
}
