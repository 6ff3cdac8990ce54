//! The change trail and the read trails: SQL and rows.
//!
//! The change trail is the feed: numbered under the lock of its row in `trails`, so that the order of its records is the order in
//! which changes became visible. A read trail has one writer, whose process owns it; its head is kept in memory.

use std::fmt::Write as _;

use tokio_stream::StreamExt as _;

use super::error::Error;
use super::tx::{Retry, Tx, on_tx, transaction};
use super::{Store, on_db};
use crate::domain::ambient::{Timestamp, random};
use crate::domain::id::TrailId;
use crate::domain::trail::{
    Event, EventKind, GENESIS, Hash, Position, Record, SealedRecord, Signature, TrailHead, cbor,
};

/// Most records of one page; a reader that wants more asks again.
pub const PAGE_RECORDS_MAX: u32 = 1_000;

/// A page ends with the record that brings it over this many bytes: a read record may have 2 MiB, a thousand of them must not
/// be in memory at once.
pub const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Reason of a [`EventKind::TrailClosed`] that the trail's own process wrote.
pub const CLOSED: &str = "closed";

/// Reason of a [`EventKind::TrailClosed`] that a later process wrote for one that died.
pub const CRASHED: &str = "crashed";

/// Who writes what no caller asked for.
pub(in crate::store) const SYSTEM: &str = "system";

const LOCK_CHANGE: &str = "UPDATE trails SET seq = seq + 1 WHERE id = $1 AND kind = 'change' RETURNING seq, hash";
const ADVANCE: &str = "UPDATE trails SET seq = $1, hash = $2 WHERE id = $3 AND seq = $4 AND closed_at_us IS NULL";
const INSERT_CHANGE: &str = "INSERT INTO change_trail \
     (seq, tag, time_us, kind, merchant_id, connection_id, record, hash, signature) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
const INSERT_READS: &str = "INSERT INTO read_records (trail_id, seq, time_us, record, hash, signature) \
     VALUES ($1, $2, $3, $4, $5, $6)";
pub(in crate::store) const INSERT_TRAIL: &str = "INSERT INTO trails (id, kind, seq, hash, opened_at_us) \
     VALUES ($1, $2, 0, $3, $4)";
const CLOSE: &str =
    "UPDATE trails SET closed_at_us = $1 WHERE id = $2 AND kind = 'read' AND seq = $3 AND closed_at_us IS NULL";
const HEAD: &str = "SELECT seq, hash FROM trails WHERE id = $1";
const TRAILS: &str = "SELECT id, kind, seq, hash, opened_at_us, closed_at_us FROM trails ORDER BY opened_at_us, id";
const POSITION: &str = "SELECT seq, tag FROM change_trail ORDER BY seq DESC LIMIT 1";
const NEWEST_CHANGE: &str = "SELECT seq, hash, record FROM change_trail ORDER BY seq DESC LIMIT 1";
const NEWEST_READS: &str = "SELECT seq, hash, record FROM read_records WHERE trail_id = $1 ORDER BY seq DESC LIMIT 1";
const PAGE_CHANGE: &str = "SELECT record, hash, signature FROM change_trail WHERE seq > $1 ORDER BY seq LIMIT $2";
const PAGE_READS: &str = "SELECT record, hash, signature FROM read_records \
     WHERE trail_id = $1 AND seq > $2 ORDER BY seq LIMIT $3";

/// Every statement of this file, for the test that prepares them on each engine.
#[cfg(test)]
pub(in crate::store) const STATEMENTS: &[&str] = &[
    LOCK_CHANGE,
    ADVANCE,
    INSERT_CHANGE,
    INSERT_READS,
    INSERT_TRAIL,
    CLOSE,
    HEAD,
    TRAILS,
    POSITION,
    NEWEST_CHANGE,
    NEWEST_READS,
    PAGE_CHANGE,
    PAGE_READS,
];

#[derive(sqlx::FromRow)]
struct HeadRow {
    seq: i64,
    hash: Vec<u8>,
}

#[derive(sqlx::FromRow)]
struct NewestRow {
    seq: i64,
    hash: Vec<u8>,
    record: Vec<u8>,
}

#[derive(sqlx::FromRow)]
struct TrailRow {
    id: Vec<u8>,
    kind: String,
    seq: i64,
    hash: Vec<u8>,
    opened_at_us: i64,
    closed_at_us: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct PositionRow {
    seq: i64,
    tag: Vec<u8>,
}

#[derive(sqlx::FromRow)]
struct RecordRow {
    record: Vec<u8>,
    hash: Vec<u8>,
    signature: Vec<u8>,
}

/// Which of the two kinds a trail is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TrailKind {
    /// The one trail of state changes; it is the feed.
    Change,
    /// The reads and denials of one process run.
    Read,
}

impl TrailKind {
    /// The stored form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Change => "change",
            Self::Read => "read",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Change, Self::Read].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// A trail as `trails` knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trail {
    /// Its newest place.
    pub head: TrailHead,
    /// Which kind.
    pub kind: TrailKind,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When it was closed; the change trail never is.
    pub closed_at: Option<Timestamp>,
}

/// The read trail of this process run. Whoever holds it is its only writer.
#[derive(Debug)]
pub struct ReadTrail {
    head: TrailHead,
    /// Where the head would be if a commit with an unknown outcome, or one that was cancelled, took place.
    pending: Option<TrailHead>,
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
    /// The newest position of the feed; sequence 0 while nothing was ever changed.
    ///
    /// # Errors
    /// The database's.
    pub async fn position(&self) -> Result<Position, Error> {
        let row = on_db!(read self, pool => sqlx::query_as::<_, PositionRow>(POSITION).fetch_optional(pool).await)?;
        let Some(row) = row else { return Ok(Position { seq: 0, tag: [0; 8] }) };
        Ok(Position { seq: seq_from(row.seq)?, tag: fixed(&row.tag)? })
    }

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

    /// Appends the events as one record, in one transaction. When this returns `Ok` they are durable; no events, no record.
    ///
    /// After [`Error::CommitUnknown`] the record may stand: the next call reads the head back first. Appending the same events
    /// again may then record them twice, which is true of what they say: a token *could have been* released.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the trail was closed; [`Error::Limit`] for more than [`cbor::EVENTS_MAX`] events or too many bytes;
    /// [`Error::Corrupt`] if the head read back is neither of the two it can be; the database's.
    pub async fn append_reads(&self, trail: &mut ReadTrail, events: Vec<Event>) -> Result<TrailHead, Error> {
        self.find_outcome(trail).await?;
        if events.is_empty() {
            return Ok(trail.head);
        }
        let mut record = Record {
            trail: trail.head.trail,
            seq: trail.head.seq.saturating_add(1),
            time: self.clock.now(),
            previous: trail.head.hash,
            events,
        };
        let mut retry = Retry::new("append_reads");
        loop {
            record.time = self.clock.now();
            let sealed = self.seal(&record)?;
            let next = TrailHead { trail: record.trail, seq: record.seq, hash: sealed.hash };
            // From here until the answer the head is one of two; being cancelled leaves it so.
            trail.pending = Some(next);
            let outcome = match Tx::begin_unlocked(self).await {
                Ok(mut tx) => {
                    let outcome = append_read(&mut tx, trail.head, &record, &sealed).await;
                    tx.finish_record(outcome).await
                }
                Err(error) => Err(error),
            };
            match outcome {
                Ok(()) => {
                    *trail = ReadTrail { head: next, pending: None };
                    return Ok(next);
                }
                Err(error) => {
                    if !matches!(error, Error::CommitUnknown { .. }) {
                        trail.pending = None;
                    }
                    if !retry.again(&error) {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Closes a read trail; the change trail records its size and head. If this fails, the next start closes it.
    ///
    /// # Errors
    /// [`Error::Conflict`] if it is closed already; the database's.
    pub async fn close_read_trail(&self, mut trail: ReadTrail) -> Result<(), Error> {
        self.find_outcome(&mut trail).await?;
        self.close_trail(trail.head, CLOSED).await
    }

    /// Every trail with its newest place, oldest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn trails(&self) -> Result<Vec<Trail>, Error> {
        let rows = on_db!(read self, pool => sqlx::query_as::<_, TrailRow>(TRAILS).fetch_all(pool).await)?;
        rows.into_iter().map(Trail::try_from).collect()
    }

    /// Records of a trail behind a sequence, in order: at most `limit`, [`PAGE_RECORDS_MAX`], or what [`PAGE_BYTES_MAX`] ends. Only an
    /// empty page means that there are no more.
    ///
    /// # Errors
    /// The database's.
    pub async fn trail_page(&self, trail: TrailId, after_seq: u64, limit: u32) -> Result<Vec<SealedRecord>, Error> {
        let limit = i64::from(limit.min(PAGE_RECORDS_MAX));
        // Behind every sequence that can be stored there is nothing.
        let Ok(after) = i64::try_from(after_seq) else { return Ok(Vec::new()) };
        let mut page = Vec::new();
        let mut bytes = 0_usize;
        on_db!(read self, pool => {
            let query = if trail == self.trail {
                sqlx::query_as::<_, RecordRow>(PAGE_CHANGE).bind(after).bind(limit)
            } else {
                sqlx::query_as::<_, RecordRow>(PAGE_READS).bind(trail.as_bytes().as_slice()).bind(after).bind(limit)
            };
            let mut rows = query.fetch(pool);
            while let Some(row) = rows.next().await {
                let record = SealedRecord::try_from(row?)?;
                bytes = bytes.saturating_add(record.bytes.len());
                page.push(record);
                if bytes >= PAGE_BYTES_MAX {
                    break;
                }
            }
        });
        Ok(page)
    }

    /// Compares the newest place of each open trail with its newest record, and closes read trails of a process that is dead.
    /// Only the owner of the database may call this.
    pub(in crate::store) async fn recover_trails(&self) -> Result<(), Error> {
        for trail in self.trails().await?.into_iter().filter(|trail| trail.closed_at.is_none()) {
            let id = trail.head.trail;
            let newest = match trail.kind {
                TrailKind::Change => on_db!(read self, pool =>
                        sqlx::query_as::<_, NewestRow>(NEWEST_CHANGE).fetch_optional(pool).await)?,
                TrailKind::Read => on_db!(read self, pool => sqlx::query_as::<_, NewestRow>(NEWEST_READS)
                        .bind(id.as_bytes().as_slice()).fetch_optional(pool).await)?,
            };
            if newest_head(id, newest)? != trail.head {
                return Err(Error::Corrupt("newest record of a trail is not its head"));
            }
            if trail.kind == TrailKind::Read {
                tracing::warn!(trail.id = %id, trail.seq = trail.head.seq, "closing a trail of a process that died");
                self.close_trail(trail.head, CRASHED).await?;
            }
        }
        Ok(())
    }

    /// Finds out whether a commit of unknown outcome took place.
    async fn find_outcome(&self, trail: &mut ReadTrail) -> Result<(), Error> {
        let Some(pending) = trail.pending else { return Ok(()) };
        let id = trail.head.trail;
        // In a write transaction: behind whatever the cancelled one is still doing.
        let mut tx = Tx::begin_unlocked(self).await?;
        let row = read_head(&mut tx, id).await;
        let found = tx.finish_record(row).await?.ok_or(Error::Corrupt("a trail is gone"))?;
        if found != trail.head && found != pending {
            return Err(Error::Corrupt("head of a read trail is not what its writer wrote"));
        }
        *trail = ReadTrail { head: found, pending: None };
        Ok(())
    }

    async fn close_trail(&self, head: TrailHead, reason: &str) -> Result<(), Error> {
        transaction!(self, "close_read_trail", tx => {
            let now = tx.now();
            let closed = on_tx!(tx, conn => sqlx::query(CLOSE)
                .bind(now.as_micros())
                .bind(head.trail.as_bytes().as_slice())
                .bind(seq_to(head.seq)?)
                .execute(conn).await?.rows_affected());
            if closed != 1 {
                return Err(Error::Conflict("the read trail is closed or has another head"));
            }
            let mut event = Event::new(EventKind::TrailClosed, now, SYSTEM)
                .reason(reason)
                .detail("size", head.seq)
                .detail("head", hex(&head.hash));
            event.trail = Some(head.trail);
            Ok(((), vec![event]))
        })
    }

    fn seal(&self, record: &Record) -> Result<SealedRecord, Error> {
        Ok(cbor::seal(record, &*self.keys.signer)?)
    }
}

/// Takes the row lock that orders all changes, and reserves the next number; the head is that of before.
pub(in crate::store) async fn lock_change_trail(tx: &mut Tx<'_>) -> Result<TrailHead, Error> {
    let id = tx.store.trail;
    let row = on_tx!(tx, conn => sqlx::query_as::<_, HeadRow>(LOCK_CHANGE)
        .bind(id.as_bytes().as_slice()).fetch_optional(conn).await)?
    .ok_or(Error::NotStamped)?;
    let next = seq_from(row.seq)?;
    let seq = next.checked_sub(1).ok_or(Error::Corrupt("sequence of the change trail"))?;
    Ok(TrailHead { trail: id, seq, hash: Hash(fixed(&row.hash)?) })
}

/// Appends one record for each event behind `head`, whose row this transaction has locked.
pub(in crate::store) async fn append_changes(
    tx: &mut Tx<'_>,
    head: TrailHead,
    events: Vec<Event>,
) -> Result<(), Error> {
    let reserved = seq_to(head.seq.saturating_add(1))?;
    let mut head = head;
    for event in events {
        head = append_change(tx, head, event).await?;
    }
    let advanced = on_tx!(tx, conn => sqlx::query(ADVANCE)
        .bind(seq_to(head.seq)?)
        .bind(head.hash.0.as_slice())
        .bind(head.trail.as_bytes().as_slice())
        .bind(reserved)
        .execute(conn).await?.rows_affected());
    if advanced == 1 { Ok(()) } else { Err(Error::Corrupt("change trail moved under its lock")) }
}

async fn append_change(tx: &mut Tx<'_>, head: TrailHead, event: Event) -> Result<TrailHead, Error> {
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
        .execute(conn).await)?;
    Ok(TrailHead { trail: head.trail, seq, hash: sealed.hash })
}

async fn append_read(tx: &mut Tx<'_>, head: TrailHead, record: &Record, sealed: &SealedRecord) -> Result<(), Error> {
    let trail = record.trail;
    let seq = seq_to(record.seq)?;
    let advanced = on_tx!(tx, conn => sqlx::query(ADVANCE)
        .bind(seq)
        .bind(sealed.hash.0.as_slice())
        .bind(trail.as_bytes().as_slice())
        .bind(seq_to(head.seq)?)
        .execute(conn).await?.rows_affected());
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
        .execute(conn).await)?;
    Ok(())
}

/// Adds the row of a new, empty trail.
pub(in crate::store) async fn insert(tx: &mut Tx<'_>, id: TrailId, kind: TrailKind) -> Result<(), Error> {
    let now = tx.now();
    on_tx!(tx, conn => sqlx::query(INSERT_TRAIL)
        .bind(id.as_bytes().as_slice())
        .bind(kind.as_str())
        .bind(GENESIS.0.as_slice())
        .bind(now.as_micros())
        .execute(conn).await)?;
    Ok(())
}

async fn read_head(tx: &mut Tx<'_>, id: TrailId) -> Result<Option<TrailHead>, Error> {
    let row = on_tx!(tx, conn => sqlx::query_as::<_, HeadRow>(HEAD)
        .bind(id.as_bytes().as_slice()).fetch_optional(conn).await)?;
    row.map(|row| Ok(TrailHead { trail: id, seq: seq_from(row.seq)?, hash: Hash(fixed(&row.hash)?) })).transpose()
}

fn newest_head(trail: TrailId, newest: Option<NewestRow>) -> Result<TrailHead, Error> {
    let Some(row) = newest else { return Ok(TrailHead { trail, seq: 0, hash: GENESIS }) };
    let hash = Hash(fixed(&row.hash)?);
    if cbor::hash(&row.record) != hash {
        return Err(Error::Corrupt("newest record of a trail does not have its hash"));
    }
    Ok(TrailHead { trail, seq: seq_from(row.seq)?, hash })
}

impl TryFrom<TrailRow> for Trail {
    type Error = Error;

    fn try_from(row: TrailRow) -> Result<Self, Error> {
        let trail = TrailId::from_slice(&row.id).ok_or(Error::Corrupt("id of a trail"))?;
        Ok(Self {
            head: TrailHead { trail, seq: seq_from(row.seq)?, hash: Hash(fixed(&row.hash)?) },
            kind: TrailKind::parse(&row.kind).ok_or(Error::Corrupt("kind of a trail"))?,
            opened_at: Timestamp::from_micros(row.opened_at_us),
            closed_at: row.closed_at_us.map(Timestamp::from_micros),
        })
    }
}

impl TryFrom<RecordRow> for SealedRecord {
    type Error = Error;

    fn try_from(row: RecordRow) -> Result<Self, Error> {
        Ok(Self { bytes: row.record, hash: Hash(fixed(&row.hash)?), signature: Signature(fixed(&row.signature)?) })
    }
}

/// A stored sequence as the domain counts it.
fn seq_from(seq: i64) -> Result<u64, Error> {
    u64::try_from(seq).map_err(|_| Error::Corrupt("sequence of a trail"))
}

/// A sequence as it is stored.
fn seq_to(seq: u64) -> Result<i64, Error> {
    i64::try_from(seq).map_err(|_| Error::Corrupt("sequence of a trail"))
}

/// Bytes of a column whose length is fixed.
pub(in crate::store) fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Error> {
    bytes.try_into().map_err(|_| Error::Corrupt("length of a column"))
}

fn hex(hash: &Hash) -> String {
    hash.0.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
