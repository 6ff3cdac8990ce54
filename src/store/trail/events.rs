//! Records by time, newest first: what people ask the trails for.
//!
//! The columns beside a record lead to it, and no more: what is handed out is what its bytes say, and a row whose columns say
//! otherwise is damaged.

use tokio_stream::StreamExt as _;

use super::{PAGE_BYTES_MAX, PAGE_RECORDS_MAX, seq_from};
use crate::domain::ambient::Timestamp;
use crate::domain::id::{ConnectionId, MerchantId, TrailId};
use crate::domain::trail::{Record, cbor};
use crate::store::error::Error;
use crate::store::{Store, on_db};

const CHANGES: &str = "SELECT seq, time_us, record FROM change_trail \
     WHERE (time_us, seq) <= ($1, $2) AND time_us >= $3 ORDER BY time_us DESC, seq DESC LIMIT $4";
const CHANGES_OF_MERCHANT: &str = "SELECT seq, time_us, record FROM change_trail \
     WHERE (time_us, seq) <= ($1, $2) AND time_us >= $3 AND merchant_id = $5 \
     ORDER BY time_us DESC, seq DESC LIMIT $4";
const CHANGES_OF_CONNECTION: &str = "SELECT seq, time_us, record FROM change_trail \
     WHERE (time_us, seq) <= ($1, $2) AND time_us >= $3 AND connection_id = $5 \
     ORDER BY time_us DESC, seq DESC LIMIT $4";
const READS: &str = "SELECT trail_id, seq, time_us, record FROM read_records \
     WHERE (time_us, trail_id, seq) <= ($1, $2, $3) AND time_us >= $4 \
     ORDER BY time_us DESC, trail_id DESC, seq DESC LIMIT $5";

/// Every statement of this file, for the test that prepares them on each engine.
#[cfg(test)]
pub(in crate::store) const STATEMENTS: &[&str] = &[CHANGES, CHANGES_OF_MERCHANT, CHANGES_OF_CONNECTION, READS];

/// Where a record stands among those of all trails: by time, then by trail, then by its place in the trail.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RecordPlace {
    /// When it was made.
    pub time: Timestamp,
    /// Which trail.
    pub trail: TrailId,
    /// Its place in the trail.
    pub seq: u64,
}

impl RecordPlace {
    /// At or behind every record there is.
    pub const LAST: Self =
        Self { time: Timestamp::from_micros(i64::MAX), trail: TrailId::from_bytes([0xff; 16]), seq: u64::MAX };

    /// Where the record stands.
    pub const fn of(record: &Record) -> Self {
        Self { time: record.time, trail: record.trail, seq: record.seq }
    }

    /// Behind every record made before this time, and before every other one.
    pub fn before(time: Timestamp) -> Self {
        Self { time: Timestamp::from_micros(time.as_micros().saturating_sub(1)), ..Self::LAST }
    }

    /// The place next below: no record stands between the two.
    #[must_use]
    pub const fn below(self) -> Self {
        Self { seq: self.seq.saturating_sub(1), ..self }
    }
}

/// Which records to look through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordsOf {
    /// Every change.
    Changes,
    /// Changes about a merchant.
    ChangesOfMerchant(MerchantId),
    /// Changes about a connection.
    ChangesOfConnection(ConnectionId),
    /// Reads and denials of every process run.
    Reads,
}

#[derive(sqlx::FromRow)]
struct PlacedRow {
    /// Absent for the change trail, of which there is one.
    #[sqlx(default)]
    trail_id: Option<Vec<u8>>,
    seq: i64,
    time_us: i64,
    record: Vec<u8>,
}

impl Store {
    /// Records at or below a place and not older than `oldest`, newest first: at most `limit` (of 1 to [`PAGE_RECORDS_MAX`]), fewer
    /// where [`PAGE_BYTES_MAX`] ends the page. Only an empty page means that there are no more.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a record that cannot be read or does not say what its row says; the database's.
    pub async fn records_down_from(
        &self,
        of: RecordsOf,
        from: RecordPlace,
        oldest: Timestamp,
        limit: u32,
    ) -> Result<Vec<Record>, Error> {
        let limit = i64::from(limit.clamp(1, PAGE_RECORDS_MAX));
        let (time, oldest) = (from.time.as_micros(), oldest.as_micros());
        // Behind every sequence that can be stored there is nothing.
        let seq = i64::try_from(from.seq).unwrap_or(i64::MAX);
        let change_seq = self.seq_in_change_trail(from.trail, seq);
        on_db!(read self, pool => {
            let mut page = Vec::new();
            let mut bytes = 0_usize;
            let query = match of {
                RecordsOf::Reads => sqlx::query_as::<_, PlacedRow>(READS)
                    .bind(time).bind(from.trail.as_bytes().to_vec()).bind(seq).bind(oldest).bind(limit),
                RecordsOf::Changes => sqlx::query_as::<_, PlacedRow>(CHANGES)
                    .bind(time).bind(change_seq).bind(oldest).bind(limit),
                RecordsOf::ChangesOfMerchant(id) => sqlx::query_as::<_, PlacedRow>(CHANGES_OF_MERCHANT)
                    .bind(time).bind(change_seq).bind(oldest).bind(limit).bind(id.as_bytes().to_vec()),
                RecordsOf::ChangesOfConnection(id) => sqlx::query_as::<_, PlacedRow>(CHANGES_OF_CONNECTION)
                    .bind(time).bind(change_seq).bind(oldest).bind(limit).bind(id.as_bytes().to_vec()),
            };
            let mut rows = query.fetch(pool);
            while let Some(row) = rows.next().await {
                let row = row?;
                bytes = bytes.saturating_add(row.record.len());
                page.push(self.read_placed(&row)?);
                if bytes >= PAGE_BYTES_MAX {
                    break;
                }
            }
            Ok::<_, Error>(page)
        })
    }

    /// How far up the change trail goes among the records of one time, up to this place of that trail.
    fn seq_in_change_trail(&self, trail: TrailId, seq: i64) -> i64 {
        match self.change_trail().cmp(&trail) {
            std::cmp::Ordering::Less => i64::MAX,
            std::cmp::Ordering::Equal => seq,
            std::cmp::Ordering::Greater => 0,
        }
    }

    fn read_placed(&self, row: &PlacedRow) -> Result<Record, Error> {
        let trail = match &row.trail_id {
            Some(id) => TrailId::from_slice(id).ok_or(Error::Corrupt("id of a trail"))?,
            None => self.change_trail(),
        };
        let place = RecordPlace { time: Timestamp::from_micros(row.time_us), trail, seq: seq_from(row.seq)? };
        let record = cbor::decode(&row.record).map_err(|_| Error::Corrupt("record of a trail"))?;
        if RecordPlace::of(&record) == place { Ok(record) } else { Err(Error::Corrupt("place of a record")) }
    }
}
