//! The call log: what was sent to the provider when, and what came back. A log and no state: it has no events, and it is pruned.

use std::time::Duration;

use sqlx::FromRow;

use super::tx::{Run as _, Tx, on_tx, record};
use super::{Error, Result, Store, blob, on_db};
use crate::domain::ambient::Timestamp;
use crate::domain::id::{AttemptId, ConnectionId, MerchantId, ProviderCallId};
use crate::domain::provider_call::{About, CallOutcome, ProviderCall};

macro_rules! select {
    ($which:literal) => {
        concat!(
            "SELECT id, at_us, call, attempt_id, merchant_id, connection_id, request, outcome, status, code, detail, \
             duration_us FROM provider_calls WHERE (at_us, id) < ($1, $2) AND at_us >= $3",
            $which,
            " ORDER BY at_us DESC, id DESC LIMIT $4"
        )
    };
}

const ALL: &str = select!("");
const OF_ATTEMPT: &str = select!(" AND attempt_id = $5");
const OF_MERCHANT: &str = select!(" AND merchant_id = $5");
const OF_CONNECTION: &str = select!(" AND connection_id = $5");
const INSERT: &str = "INSERT INTO provider_calls (id, at_us, call, attempt_id, merchant_id, connection_id, request, outcome, \
     status, code, detail, duration_us) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING";
const PRUNE: &str = "DELETE FROM provider_calls WHERE id IN \
     (SELECT id FROM provider_calls WHERE at_us < $1 ORDER BY at_us, id LIMIT $2)";

#[cfg(test)]
pub(in crate::store) const STATEMENTS: &[&str] = &[ALL, OF_ATTEMPT, OF_MERCHANT, OF_CONNECTION, INSERT, PRUNE];

/// A call as it is logged: under an id that it gets once, so that writing it again writes nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallEntry {
    /// Its id.
    pub id: ProviderCallId,
    /// The call.
    pub call: ProviderCall,
}

/// A call as the log has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoggedCall {
    /// Its id.
    pub id: ProviderCallId,
    /// When it began.
    pub at: Timestamp,
    /// The provider's name of it.
    pub call: String,
    /// What it was about.
    pub about: About,
    /// Its parameters as JSON, redacted.
    pub request: String,
    /// How it ended.
    pub outcome: CallOutcome,
    /// HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// The provider's error code, if it gave one.
    pub code: Option<String>,
    /// The provider's error class or what happened instead of an answer.
    pub detail: String,
    /// From its beginning to its end.
    pub duration: Duration,
}

/// Where a call stands in the log: by time, then by id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct CallPlace {
    /// When it began.
    pub at: Timestamp,
    /// Its id.
    pub id: ProviderCallId,
}

impl CallPlace {
    /// Behind every call there is.
    pub const LAST: Self = Self { at: Timestamp::from_micros(i64::MAX), id: ProviderCallId::from_bytes([0xff; 16]) };

    /// Behind every call that began before this time, and before every other one.
    pub const fn before(at: Timestamp) -> Self {
        Self { at, id: ProviderCallId::from_bytes([0; 16]) }
    }
}

/// Which calls to look through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallsOf {
    /// Every one.
    All,
    /// An attempt's.
    Attempt(AttemptId),
    /// Those about a merchant.
    Merchant(MerchantId),
    /// Those with the token of a connection.
    Connection(ConnectionId),
}

#[derive(FromRow)]
struct CallRow {
    id: Vec<u8>,
    at_us: i64,
    call: String,
    attempt_id: Option<Vec<u8>>,
    merchant_id: Option<Vec<u8>>,
    connection_id: Option<Vec<u8>>,
    request: String,
    outcome: String,
    status: Option<i64>,
    code: Option<String>,
    detail: String,
    duration_us: i64,
}

impl Store {
    /// Appends calls to the log, all or none. One that is there already is left as it is, so that a batch whose outcome is not known
    /// can be written again.
    ///
    /// # Errors
    /// As every write of the database.
    pub async fn log_calls(&self, calls: &[CallEntry]) -> Result<()> {
        record!(self, "log_calls", tx => insert(tx, calls).await)
    }

    /// At most `limit` calls below a place and not begun before `oldest`, newest first.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a row has not the form we wrote; the database's.
    pub async fn calls(
        &self,
        of: CallsOf,
        before: CallPlace,
        oldest: Timestamp,
        limit: u32,
    ) -> Result<Vec<LoggedCall>> {
        let (statement, id) = match of {
            CallsOf::All => (ALL, None),
            CallsOf::Attempt(id) => (OF_ATTEMPT, Some(*id.as_bytes())),
            CallsOf::Merchant(id) => (OF_MERCHANT, Some(*id.as_bytes())),
            CallsOf::Connection(id) => (OF_CONNECTION, Some(*id.as_bytes())),
        };
        let rows: Vec<CallRow> = on_db!(read self, pool => {
            let query = sqlx::query_as(statement)
                .bind(before.at.as_micros())
                .bind(&before.id.as_bytes()[..])
                .bind(oldest.as_micros())
                .bind(i64::from(limit));
            match &id {
                Some(id) => query.bind(&id[..]).fetch_all(pool).await,
                None => query.fetch_all(pool).await,
            }
        })?;
        rows.into_iter().map(CallRow::into_domain).collect()
    }

    /// Removes at most `limit` calls that began before this time, oldest first; how many it were.
    ///
    /// # Errors
    /// As every write of the database.
    pub async fn prune_calls(&self, before: Timestamp, limit: u32) -> Result<u64> {
        record!(self, "prune_calls", tx => {
            let pruned = on_tx!(tx, conn => sqlx::query(PRUNE)
                .bind(before.as_micros())
                .bind(i64::from(limit))
                .run(conn)
                .await)?;
            Ok(pruned)
        })
    }
}

async fn insert(tx: &mut Tx<'_>, calls: &[CallEntry]) -> Result<()> {
    for CallEntry { id, call } in calls {
        let micros = i64::try_from(call.duration.as_micros()).unwrap_or(i64::MAX);
        on_tx!(tx, conn => sqlx::query(INSERT)
            .bind(&id.as_bytes()[..])
            .bind(call.at.as_micros())
            .bind(call.call)
            .bind(call.about.attempt.as_ref().map(|id| &id.as_bytes()[..]))
            .bind(call.about.merchant.as_ref().map(|id| &id.as_bytes()[..]))
            .bind(call.about.connection.as_ref().map(|id| &id.as_bytes()[..]))
            .bind(call.request.as_str())
            .bind(call.outcome.as_str())
            .bind(call.status.map(i64::from))
            .bind(call.code.as_deref())
            .bind(call.detail.as_str())
            .bind(micros)
            .run(conn)
            .await)?;
    }
    Ok(())
}

impl CallRow {
    fn into_domain(self) -> Result<LoggedCall> {
        let micros = u64::try_from(self.duration_us).map_err(|_| Error::Corrupt("duration of a call"))?;
        let status = self.status.map(u16::try_from).transpose().map_err(|_| Error::Corrupt("status of a call"))?;
        let id = |bytes: Option<Vec<u8>>, what| bytes.map(|bytes| blob(&bytes, what)).transpose();
        Ok(LoggedCall {
            id: ProviderCallId::from_bytes(blob(&self.id, "id of a call")?),
            at: Timestamp::from_micros(self.at_us),
            call: self.call,
            about: About {
                attempt: id(self.attempt_id, "attempt id")?.map(AttemptId::from_bytes),
                merchant: id(self.merchant_id, "merchant id")?.map(MerchantId::from_bytes),
                connection: id(self.connection_id, "connection id")?.map(ConnectionId::from_bytes),
            },
            request: self.request,
            outcome: CallOutcome::parse(&self.outcome).ok_or(Error::Corrupt("outcome of a call"))?,
            status,
            code: self.code,
            detail: self.detail,
            duration: Duration::from_micros(micros),
        })
    }
}
