//! The database's clock: what several processes agree on whose own clocks may differ.

use super::Result;
use super::tx::{Tx, on_tx};
use crate::domain::ambient::Timestamp;

const DB_NOW: &str = "SELECT CAST(unixepoch('now', 'subsec') * 1000000 AS INTEGER)";

/// The time by the database's clock, right now and not when the transaction began.
pub(in crate::store) async fn db_now(tx: &mut Tx<'_>) -> Result<Timestamp> {
    let (micros,): (i64,) = on_tx!(tx, conn => sqlx::query_as(DB_NOW).fetch_one(conn).await)?;
    Ok(Timestamp::from_micros(micros))
}
