//! Token versions, their sealed bytes, and the head that readers get. Reading here; [`issue`] stores new ones, [`liveness`] what is
//! learnt of them.

pub(in crate::store) mod issue;
pub(in crate::store) mod liveness;

use sqlx::FromRow;

pub use self::issue::{EarlierTokens, NewToken, StoredToken};
pub use self::liveness::{Observed, SeenUser};

use super::links::{ConnectionRow, LinkRow};
use super::merchants::{MerchantKey, MerchantRow, SealedRow};
use super::{Error, Result, Store, blob, on_db};
use crate::domain::ambient::Timestamp;
use crate::domain::id::{AppId, AttemptId, ConnectionId, TokenVersion};
use crate::domain::mac::RowKind;
use crate::domain::merchant::{Connection, Link, Merchant};
use crate::domain::name::Subject;
use crate::domain::secret::SealedBytes;
use crate::domain::token::{IssuedKind, Liveness, Version};

#[cfg(test)]
pub(in crate::store) const STATEMENTS: &[&str] = &[
    HEAD_OF_MERCHANT_ID,
    HEAD_OF_EXTERNAL_ID,
    HEADS_OF_SUBJECT,
    VERSION,
    WITH_FINGERPRINT,
    SECRET,
    VERSIONS,
    HEAD,
    KEYS_AFTER,
    LIVE_ELSEWHERE,
    WITH_CANDIDATES,
    TEMPORARY,
];

macro_rules! head_columns {
    () => {
        "SELECT m.id AS m_id, m.external_id AS m_external_id, m.labels AS m_labels, m.created_at_us AS m_created_at_us, \
         m.mac AS m_mac, l.id AS l_id, l.app_id AS l_app_id, l.merchant_id AS l_merchant_id, \
         l.connection_id AS l_connection_id, l.state AS l_state, l.flow_id AS l_flow_id, \
         l.created_at_us AS l_created_at_us, l.changed_at_us AS l_changed_at_us, l.row_version AS l_row_version, \
         l.mac AS l_mac, c.id AS c_id, c.app_id AS c_app_id, c.subject AS c_subject, c.role AS c_role, \
         c.head_version AS c_head_version, c.created_at_us AS c_created_at_us, c.mac AS c_mac, \
         v.connection_id, v.version, v.issued_kind, v.cause, v.attempt_id, v.fingerprint, v.stored_at_us, v.mac, \
         v.permanent, v.seen_pending, v.candidate, v.expires_at_us, v.liveness, v.evidence, v.evidence_at_us, s.epoch, s.salt, s.ciphertext \
         FROM merchants m \
         JOIN links l ON l.merchant_id = m.id AND l.state = 'active' \
         JOIN connections c ON c.id = l.connection_id \
         JOIN token_versions v ON v.connection_id = c.id AND v.version = c.head_version \
         JOIN token_secrets s ON s.connection_id = v.connection_id AND s.version = v.version "
    };
}
const HEAD_OF_MERCHANT_ID: &str = concat!(head_columns!(), "WHERE m.id = $1");
const HEAD_OF_EXTERNAL_ID: &str = concat!(head_columns!(), "WHERE m.external_id = $1");
const HEADS_OF_SUBJECT: &str = concat!(head_columns!(), "WHERE c.app_id = $1 AND c.subject = $2 ORDER BY m.id");

macro_rules! version_columns {
    () => {
        "SELECT connection_id, version, issued_kind, cause, attempt_id, fingerprint, stored_at_us, mac, permanent, \
         seen_pending, candidate, expires_at_us, liveness, evidence, evidence_at_us FROM token_versions "
    };
}
pub(in crate::store) use version_columns;
const VERSION: &str = concat!(version_columns!(), "WHERE connection_id = $1 AND version = $2");
const VERSIONS: &str = concat!(version_columns!(), "WHERE connection_id = $1 ORDER BY version DESC");
const HEAD: &str = concat!(
    version_columns!(),
    "WHERE connection_id = $1 AND version = (SELECT head_version FROM connections WHERE id = $1)"
);
const WITH_FINGERPRINT: &str = concat!(version_columns!(), "WHERE fingerprint = $1 ORDER BY stored_at_us LIMIT 1");
const SECRET: &str = "SELECT epoch, salt, ciphertext FROM token_secrets WHERE connection_id = $1 AND version = $2";
const KEYS_AFTER: &str = "SELECT connection_id, version FROM token_versions \
                          WHERE connection_id > $1 OR (connection_id = $1 AND version > $2) \
                          ORDER BY connection_id, version LIMIT $3";
const LIVE_ELSEWHERE: &str = "SELECT c.id FROM connections c \
                              JOIN token_versions v ON v.connection_id = c.id AND v.version = c.head_version \
                              WHERE c.id <> $1 AND v.liveness = 'live' \
                              ORDER BY c.role = 'app_owner' DESC, v.evidence_at_us DESC LIMIT $2";
const WITH_CANDIDATES: &str = "SELECT DISTINCT connection_id FROM token_versions WHERE candidate = 1 AND connection_id > $1 \
     ORDER BY connection_id LIMIT $2";
const TEMPORARY: &str = "SELECT c.id FROM connections c \
                         JOIN token_versions v ON v.connection_id = c.id AND v.version = c.head_version \
                         WHERE v.permanent = 0 AND v.liveness IN ('live', 'suspect') \
                         AND (v.expires_at_us <= $1 OR v.evidence_at_us <= $2 \
                         OR (v.expires_at_us <= $3 AND v.evidence_at_us <= $4)) \
                         ORDER BY v.evidence_at_us LIMIT $5";

/// All that a token read is decided on, and the sealed token, from one statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// The merchant.
    pub merchant: Merchant,
    /// Its active link.
    pub link: Link,
    /// The connection.
    pub connection: Connection,
    /// The head.
    pub version: Version,
    /// Its sealed bytes.
    pub sealed: SealedBytes,
}

/// Which temporary heads are to be looked at.
#[derive(Clone, Copy, Debug)]
pub struct TemporaryDue {
    /// Those that ended before.
    pub ended: Timestamp,
    /// Those whose evidence is older.
    pub unseen: Timestamp,
    /// Those that end before…
    pub ending: Timestamp,
    /// …and whose evidence is older than this.
    pub near_unseen: Timestamp,
}

#[derive(FromRow)]
pub(in crate::store) struct VersionRow {
    connection_id: Vec<u8>,
    version: i64,
    issued_kind: String,
    cause: String,
    attempt_id: Vec<u8>,
    fingerprint: Vec<u8>,
    stored_at_us: i64,
    mac: Vec<u8>,
    permanent: i64,
    seen_pending: i64,
    candidate: i64,
    expires_at_us: Option<i64>,
    liveness: String,
    evidence: String,
    evidence_at_us: i64,
}

#[derive(FromRow)]
struct HeadRow {
    m_id: Vec<u8>,
    m_external_id: String,
    m_labels: String,
    m_created_at_us: i64,
    m_mac: Vec<u8>,
    l_id: Vec<u8>,
    l_app_id: Vec<u8>,
    l_merchant_id: Vec<u8>,
    l_connection_id: Vec<u8>,
    l_state: String,
    l_flow_id: Option<Vec<u8>>,
    l_created_at_us: i64,
    l_changed_at_us: i64,
    l_row_version: i64,
    l_mac: Vec<u8>,
    c_id: Vec<u8>,
    c_app_id: Vec<u8>,
    c_subject: String,
    c_role: String,
    c_head_version: i64,
    c_created_at_us: i64,
    c_mac: Vec<u8>,
    #[sqlx(flatten)]
    version: VersionRow,
    #[sqlx(flatten)]
    sealed: SealedRow,
}

impl Store {
    /// The head that the merchant's active link leads to.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a row does not belong to its MAC.
    pub async fn head_of_merchant(&self, key: &MerchantKey) -> Result<Option<Head>> {
        let row: Option<HeadRow> = match key {
            MerchantKey::Id(id) => on_db!(read self, pool => sqlx::query_as(HEAD_OF_MERCHANT_ID)
                .bind(&id.as_bytes()[..])
                .fetch_optional(pool)
                .await)?,
            MerchantKey::External(id) => on_db!(read self, pool => sqlx::query_as(HEAD_OF_EXTERNAL_ID)
                .bind(id.as_str())
                .fetch_optional(pool)
                .await)?,
        };
        row.map(|row| self.check_head(row)).transpose()
    }

    /// The head of this provider user's connection, once for each merchant that it actively serves.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a row does not belong to its MAC.
    pub async fn heads_of_subject(&self, app: AppId, subject: &Subject) -> Result<Vec<Head>> {
        let rows: Vec<HeadRow> = on_db!(read self, pool => sqlx::query_as(HEADS_OF_SUBJECT)
            .bind(&app.as_bytes()[..])
            .bind(subject.as_str())
            .fetch_all(pool)
            .await)?;
        rows.into_iter().map(|row| self.check_head(row)).collect()
    }

    /// The head of a connection, whoever it serves.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the row does not belong to its MAC.
    pub async fn head(&self, connection: ConnectionId) -> Result<Option<Version>> {
        let row: Option<VersionRow> = on_db!(read self, pool => sqlx::query_as(HEAD).bind(&connection.as_bytes()[..]).fetch_optional(pool).await)?;
        row.map(|row| self.check_version(row)).transpose()
    }

    /// The version whose token has this fingerprint.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the row does not belong to its MAC.
    pub async fn version_with(&self, fingerprint: &[u8; 16]) -> Result<Option<Version>> {
        let row: Option<VersionRow> = on_db!(read self, pool => sqlx::query_as(WITH_FINGERPRINT)
            .bind(&fingerprint[..])
            .fetch_optional(pool)
            .await)?;
        row.map(|row| self.check_version(row)).transpose()
    }

    /// The sealed bytes of a version.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when there are none.
    pub async fn sealed(&self, connection: ConnectionId, version: TokenVersion) -> Result<SealedBytes> {
        let row: Option<SealedRow> = on_db!(read self, pool => sqlx::query_as(SECRET)
            .bind(&connection.as_bytes()[..])
            .bind(i64::from(version.0))
            .fetch_optional(pool)
            .await)?;
        row.ok_or(Error::Corrupt("sealed bytes"))?.into_domain()
    }

    /// Every version of a connection, newest first.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a row does not belong to its MAC.
    pub async fn versions(&self, connection: ConnectionId) -> Result<Vec<Version>> {
        let rows: Vec<VersionRow> = on_db!(read self, pool => sqlx::query_as(VERSIONS)
            .bind(&connection.as_bytes()[..])
            .fetch_all(pool)
            .await)?;
        rows.into_iter().map(|row| self.check_version(row)).collect()
    }

    /// At most `limit` (connection, version) pairs behind `after`.
    ///
    /// # Errors
    /// As every read of the database.
    pub async fn version_keys_after(
        &self,
        after: Option<(ConnectionId, TokenVersion)>,
        limit: u32,
    ) -> Result<Vec<(ConnectionId, TokenVersion)>> {
        let (connection, version) =
            after.map(|(c, v)| (c.as_bytes().to_vec(), i64::from(v.0))).unwrap_or((Vec::new(), 0));
        let rows: Vec<(Vec<u8>, i64)> = on_db!(read self, pool => sqlx::query_as(KEYS_AFTER)
            .bind(&connection[..])
            .bind(version)
            .bind(i64::from(limit))
            .fetch_all(pool)
            .await)?;
        rows.iter()
            .map(|(connection, version)| {
                Ok((ConnectionId::from_bytes(blob(connection, "connection id")?), number(*version)?))
            })
            .collect()
    }

    /// At most `limit` other connections whose heads were live when last looked at, the app owner's first, then the most recent
    /// evidence: controls for probes.
    ///
    /// # Errors
    /// As every read of the database.
    pub async fn live_connections_other_than(&self, connection: ConnectionId, limit: u32) -> Result<Vec<ConnectionId>> {
        let rows: Vec<(Vec<u8>,)> = on_db!(read self, pool => sqlx::query_as(LIVE_ELSEWHERE)
            .bind(&connection.as_bytes()[..])
            .bind(i64::from(limit))
            .fetch_all(pool)
            .await)?;
        rows.iter().map(|(id,)| Ok(ConnectionId::from_bytes(blob(id, "connection id")?))).collect()
    }

    /// At most `limit` connections behind `after` with a version that waits to be judged against the head.
    ///
    /// # Errors
    /// As every read of the database.
    pub async fn connections_with_candidates(
        &self,
        after: Option<ConnectionId>,
        limit: u32,
    ) -> Result<Vec<ConnectionId>> {
        let after = after.map(|id| id.as_bytes().to_vec()).unwrap_or_default();
        let rows: Vec<(Vec<u8>,)> = on_db!(read self, pool => sqlx::query_as(WITH_CANDIDATES)
            .bind(&after[..])
            .bind(i64::from(limit))
            .fetch_all(pool)
            .await)?;
        rows.iter().map(|(id,)| Ok(ConnectionId::from_bytes(blob(id, "connection id")?))).collect()
    }

    /// At most `limit` connections whose temporary heads are to be looked at, the oldest evidence first: past an end that lies before
    /// `ended`; not looked at since `unseen`; or about to end before `ending` and not looked at since `near_unseen`.
    ///
    /// # Errors
    /// As every read of the database.
    pub async fn temporary_heads(&self, due: &TemporaryDue, limit: u32) -> Result<Vec<ConnectionId>> {
        let rows: Vec<(Vec<u8>,)> = on_db!(read self, pool => sqlx::query_as(TEMPORARY)
            .bind(due.ended.as_micros())
            .bind(due.unseen.as_micros())
            .bind(due.ending.as_micros())
            .bind(due.near_unseen.as_micros())
            .bind(i64::from(limit))
            .fetch_all(pool)
            .await)?;
        rows.iter().map(|(id,)| Ok(ConnectionId::from_bytes(blob(id, "connection id")?))).collect()
    }

    fn check_head(&self, row: HeadRow) -> Result<Head> {
        let merchant = self.check_merchant(MerchantRow {
            id: row.m_id,
            external_id: row.m_external_id,
            labels: row.m_labels,
            created_at_us: row.m_created_at_us,
            mac: row.m_mac,
        })?;
        let link = self.check_link(LinkRow {
            id: row.l_id,
            app_id: row.l_app_id,
            merchant_id: row.l_merchant_id,
            connection_id: row.l_connection_id,
            state: row.l_state,
            flow_id: row.l_flow_id,
            created_at_us: row.l_created_at_us,
            changed_at_us: row.l_changed_at_us,
            row_version: row.l_row_version,
            mac: row.l_mac,
        })?;
        let (connection, _) = self.check_connection(ConnectionRow {
            id: row.c_id,
            app_id: row.c_app_id,
            subject: row.c_subject,
            role: row.c_role,
            head_version: row.c_head_version,
            created_at_us: row.c_created_at_us,
            mac: row.c_mac,
        })?;
        let version = self.check_version(row.version)?;
        Ok(Head { merchant, link, connection, version, sealed: row.sealed.into_domain()? })
    }

    pub(in crate::store) fn check_version(&self, row: VersionRow) -> Result<Version> {
        self.check_row(
            RowKind::Version,
            &[
                &row.connection_id,
                &row.version.to_be_bytes(),
                row.issued_kind.as_bytes(),
                row.cause.as_bytes(),
                &row.attempt_id,
                &row.fingerprint,
            ],
            &row.mac,
        )?;
        Ok(Version {
            connection: ConnectionId::from_bytes(blob(&row.connection_id, "connection id")?),
            number: number(row.version)?,
            issued_kind: IssuedKind::parse(&row.issued_kind).ok_or(Error::Corrupt("issued kind"))?,
            cause: row.cause,
            attempt: AttemptId::from_bytes(blob(&row.attempt_id, "attempt id")?),
            fingerprint: blob(&row.fingerprint, "fingerprint")?,
            stored_at: Timestamp::from_micros(row.stored_at_us),
            // What it was issued as is authenticated: nobody can make a permanent token look temporary.
            permanent: row.permanent != 0 || row.issued_kind == IssuedKind::Permanent.as_str(),
            seen_pending: row.seen_pending != 0,
            candidate: row.candidate != 0,
            expires_at: row.expires_at_us.map(Timestamp::from_micros),
            liveness: Liveness::parse(&row.liveness).ok_or(Error::Corrupt("liveness"))?,
            evidence: row.evidence,
            evidence_at: Timestamp::from_micros(row.evidence_at_us),
        })
    }
}

fn number(version: i64) -> Result<TokenVersion> {
    u32::try_from(version).map(TokenVersion).map_err(|_| Error::Corrupt("version"))
}
