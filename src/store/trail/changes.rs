//! Appending to the change trail, which is the feed: numbered under the lock of its row, so that the order of its records is the
//! order in which changes became visible.

use super::{ADVANCE, HeadRow, fixed, seq_from, seq_to};
use crate::domain::ambient::random;
use crate::domain::trail::{Event, Hash, Record, TrailHead};
use crate::store::error::Error;
use crate::store::tx::{Run as _, Tx, on_tx};

const LOCK_CHANGE: &str = "UPDATE trails SET seq = seq + 1 WHERE id = $1 AND kind = 'change' RETURNING seq, hash";
const INSERT_CHANGE: &str = "INSERT INTO change_trail \
     (seq, tag, time_us, kind, merchant_id, connection_id, record, hash, signature) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
const HASH_AT: &str = "SELECT hash FROM change_trail WHERE seq = $1";

/// Every statement of this file, for the test that prepares them on each engine.
#[cfg(test)]
pub(in crate::store) const STATEMENTS: &[&str] = &[LOCK_CHANGE, INSERT_CHANGE, HASH_AT];

/// Takes the row lock that orders all changes, and reserves the next number; the head is that of before.
pub(in crate::store) async fn lock(tx: &mut Tx<'_>) -> Result<TrailHead, Error> {
    let id = tx.store.change_trail();
    let row = on_tx!(tx, conn => sqlx::query_as::<_, HeadRow>(LOCK_CHANGE)
        .bind(id.as_bytes().as_slice()).fetch_optional(conn).await)?
    .ok_or(Error::NotStamped)?;
    let next = seq_from(row.seq)?;
    let seq = next.checked_sub(1).ok_or(Error::Corrupt("sequence of the change trail"))?;
    Ok(TrailHead { trail: id, seq, hash: Hash(fixed(&row.hash)?) })
}

/// The hash of the record with this number, if there is one.
pub(in crate::store) async fn hash_at(tx: &mut Tx<'_>, seq: u64) -> Result<Option<Hash>, Error> {
    let seq = seq_to(seq)?;
    let row: Option<(Vec<u8>,)> = on_tx!(tx, conn => sqlx::query_as(HASH_AT).bind(seq).fetch_optional(conn).await)?;
    row.map(|(hash,)| Ok(Hash(fixed(&hash)?))).transpose()
}

/// Appends one record for each event behind `head`, whose row this transaction has locked; the new head.
pub(in crate::store) async fn append(tx: &mut Tx<'_>, head: TrailHead, events: Vec<Event>) -> Result<TrailHead, Error> {
    let reserved = seq_to(head.seq.saturating_add(1))?;
    let mut head = head;
    for event in events {
        head = append_one(tx, head, event).await?;
    }
    let advanced = on_tx!(tx, conn => sqlx::query(ADVANCE)
        .bind(seq_to(head.seq)?)
        .bind(head.hash.0.as_slice())
        .bind(head.trail.as_bytes().as_slice())
        .bind(reserved)
        .run(conn).await?);
    if advanced == 1 { Ok(head) } else { Err(Error::Corrupt("change trail moved under its lock")) }
}

async fn append_one(tx: &mut Tx<'_>, head: TrailHead, event: Event) -> Result<TrailHead, Error> {
    let (kind, merchant, connection) = (event.kind, event.merchant, event.connection);
    let seq = head.seq.saturating_add(1);
    let record = Record { trail: head.trail, seq, time: tx.now(), previous: head.hash, events: vec![event] };
    let sealed = tx.store.seal(&record)?;
    let tag: [u8; 8] = random(&*tx.store.entropy);
    on_tx!(tx, conn => sqlx::query(INSERT_CHANGE)
        .bind(seq_to(seq)?)
        .bind(tag.as_slice())
        .bind(record.time.as_micros())
        .bind(kind.as_str())
        .bind(merchant.map(|id| id.as_bytes().to_vec()))
        .bind(connection.map(|id| id.as_bytes().to_vec()))
        .bind(sealed.bytes.as_slice())
        .bind(sealed.hash.0.as_slice())
        .bind(sealed.signature.0.as_slice())
        .run(conn).await)?;
    Ok(TrailHead { trail: head.trail, seq, hash: sealed.hash })
}
