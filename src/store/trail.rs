//! The trails: what they have in common, their newest places, their pages; and what becomes of those of a dead process.
//!
//! [`changes`] appends to the change trail, [`reads`] to the read trail of this process; [`events`] looks through both by time.

pub(in crate::store) mod changes;
pub(in crate::store) mod events;
pub(in crate::store) mod reads;

use tokio_stream::StreamExt as _;

use super::error::Error;
use super::tx::{Run as _, Tx, on_tx, record, transaction};
use super::{Store, on_db};
use crate::domain::ambient::Timestamp;
use crate::domain::id::TrailId;
use crate::domain::trail::{GENESIS, Hash, Position, Record, SealedRecord, Signature, TrailHead, cbor};

pub use self::reads::{CLOSED, CRASHED, ReadTrail};

/// Most records of one page; a reader that wants more asks again.
pub const PAGE_RECORDS_MAX: u32 = 1_000;

/// A page ends with the record that brings it over this many bytes: a read record may have 2 MiB, a thousand of them must not
/// be in memory at once.
pub const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Who writes what no caller asked for.
pub(in crate::store) const SYSTEM: &str = "system";

/// Moves the newest place of an open trail, from where its writer knows it to be.
const ADVANCE: &str = "UPDATE trails SET seq = $1, hash = $2 WHERE id = $3 AND seq = $4 AND closed_at_us IS NULL";
const INSERT_TRAIL: &str = "INSERT INTO trails (id, kind, run_id, seq, hash, opened_at_us) \
     VALUES ($1, $2, $3, 0, $4, $5)";
const TRAILS: &str = "SELECT id, kind, seq, hash, opened_at_us, closed_at_us FROM trails ORDER BY opened_at_us, id";
const OPEN_TRAILS: &str = "SELECT id, kind, seq, hash, opened_at_us, closed_at_us FROM trails \
     WHERE closed_at_us IS NULL ORDER BY opened_at_us, id";
const ORPHANED_TRAILS: &str = "SELECT id FROM trails WHERE kind = 'read' AND closed_at_us IS NULL \
     AND (run_id IS NULL OR run_id NOT IN (SELECT id FROM runs)) ORDER BY opened_at_us, id";
const POSITION: &str = "SELECT seq, tag FROM change_trail ORDER BY seq DESC LIMIT 1";
const NEWEST_CHANGE: &str = "SELECT seq, hash, record FROM change_trail ORDER BY seq DESC LIMIT 1";
const NEWEST_READS: &str = "SELECT seq, hash, record FROM read_records WHERE trail_id = $1 ORDER BY seq DESC LIMIT 1";
const PAGE_CHANGE: &str = "SELECT record, hash, signature FROM change_trail WHERE seq > $1 ORDER BY seq LIMIT $2";
const PAGE_READS: &str = "SELECT record, hash, signature FROM read_records \
     WHERE trail_id = $1 AND seq > $2 ORDER BY seq LIMIT $3";

/// Every statement of this file, for the test that prepares them on each engine.
#[cfg(test)]
pub(in crate::store) const STATEMENTS: &[&str] = &[
    ADVANCE,
    INSERT_TRAIL,
    TRAILS,
    OPEN_TRAILS,
    ORPHANED_TRAILS,
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

    /// Every trail with its newest place, oldest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn trails(&self) -> Result<Vec<Trail>, Error> {
        let rows = on_db!(read self, pool => sqlx::query_as::<_, TrailRow>(TRAILS).fetch_all(pool).await)?;
        rows.into_iter().map(Trail::try_from).collect()
    }

    /// Records of a trail behind a sequence, in order: at most `limit` (of 1 to [`PAGE_RECORDS_MAX`]), fewer where
    /// [`PAGE_BYTES_MAX`] ends the page. Only an empty page means that there are no more.
    ///
    /// # Errors
    /// The database's.
    pub async fn trail_page(&self, trail: TrailId, after_seq: u64, limit: u32) -> Result<Vec<SealedRecord>, Error> {
        let limit = i64::from(limit.clamp(1, PAGE_RECORDS_MAX));
        // Behind every sequence that can be stored there is nothing.
        let Ok(after) = i64::try_from(after_seq) else { return Ok(Vec::new()) };
        on_db!(read self, pool => {
            let mut page = Vec::new();
            let mut bytes = 0_usize;
            let query = if trail == self.change_trail() {
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
            Ok::<_, Error>(page)
        })
    }

    /// Compares the newest place of each open trail with its newest record. Who has the database for itself closes the read trails that
    /// others left; where others may be alive, they write theirs.
    pub(in crate::store) async fn recover_trails(&self) -> Result<(), Error> {
        let open = on_db!(read self, pool => sqlx::query_as::<_, TrailRow>(OPEN_TRAILS).fetch_all(pool).await)?;
        for row in open {
            let trail = Trail::try_from(row)?;
            let (id, kind) = (trail.head.trail, trail.kind);
            if kind == TrailKind::Read && self.is_exclusive() {
                self.close_abandoned(id).await?;
            } else {
                record!(self, "check_trail", tx => check_newest(tx, id, kind).await)?;
            }
        }
        Ok(())
    }

    /// Closes every read trail whose process is no run that lives, each at its newest record. One that is damaged stays open, and holds
    /// up no other.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when one is damaged, after the others were closed; the database's.
    pub async fn close_orphaned_trails(&self) -> Result<(), Error> {
        let rows: Vec<(Vec<u8>,)> = on_db!(read self, pool => sqlx::query_as(ORPHANED_TRAILS).fetch_all(pool).await)?;
        let mut damaged = None;
        for (id,) in rows {
            match self.close_abandoned(TrailId::from_slice(&id).ok_or(Error::Corrupt("id of a trail"))?).await {
                // Somebody else closed it.
                Ok(()) | Err(Error::Conflict(_)) => {}
                Err(corrupt @ Error::Corrupt(_)) => damaged = Some(corrupt),
                Err(error) => return Err(error),
            }
        }
        damaged.map_or(Ok(()), Err)
    }

    /// Closes a read trail that nobody writes any more, at the head that its newest record proves.
    async fn close_abandoned(&self, id: TrailId) -> Result<(), Error> {
        let seq = transaction!(self, "close_abandoned_trail", tx => {
            let head = check_newest(tx, id, TrailKind::Read).await?;
            Ok((head.seq, vec![reads::close(tx, head, CRASHED).await?]))
        })?;
        tracing::warn!(trail.id = %id, trail.seq = seq, "closed a trail of a process that died");
        Ok(())
    }

    fn seal(&self, record: &Record) -> Result<SealedRecord, Error> {
        Ok(cbor::seal(record, &*self.keys.signer)?)
    }
}

/// The head of a trail, if its newest record is the one that it names. Both are read under the lock of the trail's row, since others may
/// be writing.
async fn check_newest(tx: &mut Tx<'_>, id: TrailId, kind: TrailKind) -> Result<TrailHead, Error> {
    let head = reads::read_head(tx, id).await?.ok_or(Error::Corrupt("a trail is gone"))?;
    let newest = match kind {
        TrailKind::Change => on_tx!(tx, conn =>
            sqlx::query_as::<_, NewestRow>(NEWEST_CHANGE).fetch_optional(conn).await)?,
        TrailKind::Read => on_tx!(tx, conn => sqlx::query_as::<_, NewestRow>(NEWEST_READS)
            .bind(id.as_bytes().as_slice()).fetch_optional(conn).await)?,
    };
    // The stamp of a deployment commits with the first record: whoever comes back to none would begin a second history.
    if kind == TrailKind::Change && newest.is_none() {
        return Err(Error::Corrupt("change trail of a stamped database is empty"));
    }
    if newest_head(id, newest)? == head {
        Ok(head)
    } else {
        Err(Error::Corrupt("newest record of a trail is not its head"))
    }
}

/// Adds the row of a new, empty trail; a read trail is this run's.
pub(in crate::store) async fn insert(tx: &mut Tx<'_>, id: TrailId, kind: TrailKind) -> Result<(), Error> {
    let now = tx.now();
    let run = (kind == TrailKind::Read).then(|| tx.store.run());
    on_tx!(tx, conn => sqlx::query(INSERT_TRAIL)
        .bind(id.as_bytes().as_slice())
        .bind(kind.as_str())
        .bind(run.as_ref().map(|run| &run.as_bytes()[..]))
        .bind(GENESIS.0.as_slice())
        .bind(now.as_micros())
        .run(conn).await)?;
    Ok(())
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
