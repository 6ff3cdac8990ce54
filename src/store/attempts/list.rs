//! Attempts as people look through them: newest first, with the version that came of each.

use sqlx::FromRow;

use super::{Attempt, AttemptRow};
use crate::domain::id::{AttemptId, ConnectionId, MerchantId, TokenVersion};
use crate::store::{Error, Result, Store, blob, on_db};

macro_rules! select {
    ($which:literal) => {
        concat!(
            "SELECT a.id, a.app_id, a.kind, a.merchant_id, a.connection_id, a.flow_id, a.state, a.reason, \
             a.received_at_us, a.armed_at_us, a.changed_at_us, a.judge_at_us, \
             v.connection_id AS version_connection_id, v.version AS version \
             FROM attempts a LEFT JOIN token_versions v ON v.attempt_id = a.id WHERE a.id < $1",
            $which,
            " ORDER BY a.id DESC LIMIT $2"
        )
    };
}

const ALL: &str = select!("");
const UNSETTLED: &str = select!(" AND a.settled_at_us IS NULL");
const OF_MERCHANT: &str = select!(" AND a.merchant_id = $3");

#[cfg(test)]
pub(in crate::store) const STATEMENTS: &[&str] = &[ALL, UNSETTLED, OF_MERCHANT];

/// Behind the id of every attempt: ids have a version and a variant.
const NEWEST: [u8; 16] = [0xff; 16];

/// Which attempts to look through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AttemptsOf {
    /// Every one.
    All,
    /// Those that are received, armed or in doubt.
    Unsettled,
    /// A merchant's.
    Merchant(MerchantId),
}

/// An attempt and what came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedAttempt {
    /// The attempt.
    pub attempt: Attempt,
    /// The version that it brought.
    pub version: Option<(ConnectionId, TokenVersion)>,
}

#[derive(FromRow)]
struct ListedRow {
    #[sqlx(flatten)]
    attempt: AttemptRow,
    version_connection_id: Option<Vec<u8>>,
    version: Option<i64>,
}

impl Store {
    /// At most `limit` attempts that are older than `before`, newest first.
    ///
    /// # Errors
    /// As every read of the database.
    pub async fn attempts_before(
        &self,
        of: AttemptsOf,
        before: Option<AttemptId>,
        limit: u32,
    ) -> Result<Vec<ListedAttempt>> {
        let before = before.map_or(NEWEST, |id| *id.as_bytes());
        let rows: Vec<ListedRow> = on_db!(read self, pool => {
            let query = match of {
                AttemptsOf::All => sqlx::query_as(ALL).bind(&before[..]).bind(i64::from(limit)),
                AttemptsOf::Unsettled => sqlx::query_as(UNSETTLED).bind(&before[..]).bind(i64::from(limit)),
                AttemptsOf::Merchant(id) => {
                    sqlx::query_as(OF_MERCHANT).bind(&before[..]).bind(i64::from(limit)).bind(id.as_bytes().to_vec())
                }
            };
            query.fetch_all(pool).await
        })?;
        rows.into_iter().map(ListedRow::into_domain).collect()
    }
}

impl ListedRow {
    fn into_domain(self) -> Result<ListedAttempt> {
        let version = match (self.version_connection_id, self.version) {
            (Some(connection), Some(number)) => Some((
                ConnectionId::from_bytes(blob(&connection, "connection id")?),
                TokenVersion(u32::try_from(number).map_err(|_| Error::Corrupt("version"))?),
            )),
            _ => None,
        };
        Ok(ListedAttempt { attempt: self.attempt.into_domain()?, version })
    }
}
