//! Read trails: a record for each batch of reads and denials. A trail has one writer, whose process owns it; its head is kept in
//! memory, and read back when nobody can say whether the last commit took place.

use std::fmt::Write as _;

use super::{ADVANCE, HeadRow, TrailKind, fixed, insert, seq_from, seq_to};
use crate::domain::id::TrailId;
use crate::domain::trail::{Event, EventKind, GENESIS, Hash, Record, SealedRecord, TrailHead};
use crate::store::Store;
use crate::store::error::Error;
use crate::store::tx::{Retry, Run as _, Tx, bounded, on_tx, record, transaction};

/// Reason of a [`EventKind::TrailClosed`] that the trail's own process wrote.
pub const CLOSED: &str = "closed";

/// Reason of a [`EventKind::TrailClosed`] that another process wrote for one that died, or seemed to.
pub const CRASHED: &str = "crashed";

const INSERT_READS: &str = "INSERT INTO read_records (trail_id, seq, time_us, record, hash, signature) \
     VALUES ($1, $2, $3, $4, $5, $6)";
const CLOSE: &str =
    "UPDATE trails SET closed_at_us = $1 WHERE id = $2 AND kind = 'read' AND seq = $3 AND closed_at_us IS NULL";
// Takes the lock of the row: behind whatever a transaction of unknown outcome is still doing at the server.
const LOCK_READS: &str = "UPDATE trails SET seq = seq WHERE id = $1 RETURNING seq, hash";

/// Every statement of this file, for the test that prepares them on each engine.
#[cfg(test)]
pub(in crate::store) const STATEMENTS: &[&str] = &[INSERT_READS, CLOSE, LOCK_READS];

/// A read trail of this process. Whoever holds it is its only writer.
#[derive(Debug)]
pub struct ReadTrail {
    head: TrailHead,
    /// Where the head would be if a commit with an unknown outcome, or one that was cancelled, took place.
    pending: Option<TrailHead>,
}

/// Events that were not written, and why not.
struct Unwritten {
    error: Error,
    events: Vec<Event>,
}

impl ReadTrail {
    /// Its id.
    pub const fn id(&self) -> TrailId {
        self.head.trail
    }

    /// Its newest place that is known to be durable.
    pub const fn head(&self) -> TrailHead {
        self.head
    }
}

impl Store {
    /// Opens the read trail of this process run; the change trail records it.
    ///
    /// # Errors
    /// [`Error::NotStamped`]; the database's.
    pub async fn open_read_trail(&self, actor: &str) -> Result<ReadTrail, Error> {
        let id = TrailId::generate(&*self.clock, &*self.entropy);
        transaction!(self, "open_read_trail", tx => {
            let now = tx.now();
            insert(tx, id, TrailKind::Read).await?;
            let mut event = Event::new(EventKind::TrailOpened, now, actor);
            event.trail = Some(id);
            Ok(((), vec![event]))
        })?;
        Ok(ReadTrail { head: TrailHead { trail: id, seq: 0, hash: GENESIS }, pending: None })
    }

    /// Appends the events as one record, as [`Store::append_reads`] does, and where the trail was closed opens another: this process was
    /// taken for dead, and is not. The one that was closed keeps what it had.
    ///
    /// # Errors
    /// As of [`Store::append_reads`].
    pub async fn append_reads_anew(
        &self,
        trail: &mut ReadTrail,
        events: Vec<Event>,
        actor: &str,
    ) -> Result<TrailHead, Error> {
        match self.append(trail, events).await {
            Err(Unwritten { error: Error::Conflict(_), events }) => {
                let closed = trail.id();
                *trail = self.open_read_trail(actor).await?;
                tracing::warn!(trail.id = %trail.id(), trail.closed = %closed, "another process closed our read trail, opened another");
                self.append_reads(trail, events).await
            }
            outcome => outcome.map_err(|unwritten| unwritten.error),
        }
    }

    /// Appends the events as one record, in one transaction. When this returns `Ok` they are durable; no events, no record.
    ///
    /// After an error the record may stand, as after being cancelled: the next call reads the head back first. Appending the same events
    /// again may then record them twice, which is true of what they say: a token *could have been* released.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the trail was closed; [`Error::Limit`] for more events or bytes than a record takes;
    /// [`Error::Corrupt`] if the head read back is neither of the two it can be; the database's.
    pub async fn append_reads(&self, trail: &mut ReadTrail, events: Vec<Event>) -> Result<TrailHead, Error> {
        self.append(trail, events).await.map_err(|unwritten| unwritten.error)
    }

    async fn append(&self, trail: &mut ReadTrail, events: Vec<Event>) -> Result<TrailHead, Unwritten> {
        if let Err(error) = self.find_outcome(trail).await {
            return Err(Unwritten { error, events });
        }
        if events.is_empty() {
            return Ok(trail.head);
        }
        let record = Record {
            trail: trail.head.trail,
            seq: trail.head.seq.saturating_add(1),
            time: self.clock.now(),
            previous: trail.head.hash,
            events,
        };
        let sealed = match self.seal(&record) {
            Ok(sealed) => sealed,
            Err(error) => return Err(Unwritten { error, events: record.events }),
        };
        let next = TrailHead { trail: record.trail, seq: record.seq, hash: sealed.hash };
        let head = trail.head;
        let mut retry = Retry::new(self, "append_reads");
        let error = loop {
            // From here until the answer the head is one of two; being cancelled leaves it so.
            trail.pending = Some(next);
            let outcome = record!(self, "append_reads", tx => append_read(tx, head, &record, &sealed).await);
            match outcome {
                Ok(()) => {
                    *trail = ReadTrail { head: next, pending: None };
                    return Ok(next);
                }
                Err(Error::CommitUnknown { .. }) => match self.find_outcome(trail).await {
                    Ok(()) if trail.head == next => return Ok(next),
                    // It is not there, and never will be.
                    Ok(()) if retry.once_more("commit did not take place").await => {}
                    Ok(()) => break Error::Busy,
                    Err(error) => break error,
                },
                Err(error) => {
                    trail.pending = None;
                    break error;
                }
            }
        };
        Err(Unwritten { error, events: record.events })
    }

    /// Closes a read trail; the change trail records its size and head. If this fails, another process does it, or the next start.
    ///
    /// # Errors
    /// [`Error::Conflict`] if it is closed already; the database's.
    pub async fn close_read_trail(&self, mut trail: ReadTrail) -> Result<(), Error> {
        self.find_outcome(&mut trail).await?;
        let head = trail.head;
        transaction!(self, "close_read_trail", tx => Ok(((), vec![close(tx, head, CLOSED).await?])))
    }

    /// Finds out whether a commit of unknown outcome took place.
    async fn find_outcome(&self, trail: &mut ReadTrail) -> Result<(), Error> {
        let Some(pending) = trail.pending else { return Ok(()) };
        let id = trail.head.trail;
        // In a write transaction: behind whatever the cancelled one is still doing.
        let mut retry = Retry::new(self, "find_outcome");
        let found = loop {
            match self.locked_head(id).await {
                Err(unanswered) if retry.look_again(&unanswered).await => {}
                found => break found?,
            }
        };
        let found = found.ok_or(Error::Corrupt("a trail is gone"))?;
        if found != trail.head && found != pending {
            return Err(Error::Corrupt("head of a read trail is not what its writer wrote"));
        }
        *trail = ReadTrail { head: found, pending: None };
        Ok(())
    }

    /// The newest place of a trail, under its lock.
    async fn locked_head(&self, id: TrailId) -> Result<Option<TrailHead>, Error> {
        let mut tx = Tx::begin_unlocked(self).await?;
        let head = bounded(read_head(&mut tx, id)).await;
        tx.rollback().await;
        head
    }
}

/// Closes the trail at this head, for the change trail to record.
pub(super) async fn close(tx: &mut Tx<'_>, head: TrailHead, reason: &str) -> Result<Event, Error> {
    let now = tx.now();
    let closed = on_tx!(tx, conn => sqlx::query(CLOSE)
        .bind(now.as_micros())
        .bind(head.trail.as_bytes().as_slice())
        .bind(seq_to(head.seq)?)
        .run(conn).await?);
    if closed != 1 {
        return Err(Error::Conflict("the read trail is closed or has another head"));
    }
    let mut event = Event::new(EventKind::TrailClosed, now, super::SYSTEM)
        .reason(reason)
        .detail("size", head.seq)
        .detail("head", hex(&head.hash));
    event.trail = Some(head.trail);
    Ok(event)
}

async fn append_read(tx: &mut Tx<'_>, head: TrailHead, record: &Record, sealed: &SealedRecord) -> Result<(), Error> {
    let trail = record.trail;
    let seq = seq_to(record.seq)?;
    let advanced = on_tx!(tx, conn => sqlx::query(ADVANCE)
        .bind(seq)
        .bind(sealed.hash.0.as_slice())
        .bind(trail.as_bytes().as_slice())
        .bind(seq_to(head.seq)?)
        .run(conn).await?);
    if advanced != 1 {
        return Err(Error::Conflict("the read trail is closed or has another head"));
    }
    on_tx!(tx, conn => sqlx::query(INSERT_READS)
        .bind(trail.as_bytes().as_slice())
        .bind(seq)
        .bind(record.time.as_micros())
        .bind(sealed.bytes.as_slice())
        .bind(sealed.hash.0.as_slice())
        .bind(sealed.signature.0.as_slice())
        .run(conn).await)?;
    Ok(())
}

pub(super) async fn read_head(tx: &mut Tx<'_>, id: TrailId) -> Result<Option<TrailHead>, Error> {
    let row = on_tx!(tx, conn => sqlx::query_as::<_, HeadRow>(LOCK_READS)
        .bind(id.as_bytes().as_slice()).fetch_optional(conn).await)?;
    row.map(|row| Ok(TrailHead { trail: id, seq: seq_from(row.seq)?, hash: Hash(fixed(&row.hash)?) })).transpose()
}

fn hex(hash: &Hash) -> String {
    hash.0.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
