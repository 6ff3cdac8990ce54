//! Token versions, their sealed bytes, and the head that readers get.

use sqlx::FromRow;

use super::attempts::Attempt;
use super::flows::FlowOutcome;
use super::links::{ConnectionRow, LinkRow};
use super::merchants::{MerchantKey, MerchantRow, SealedRow};
use super::tx::{Tx, on_tx, transaction};
use super::{Error, Result, Store, blob, on_db};
use crate::domain::ambient::Timestamp;
use crate::domain::attempt::AttemptState;
use crate::domain::id::{AppId, AttemptId, ConnectionId, LinkId, MerchantId, TokenVersion};
use crate::domain::mac::RowKind;
use crate::domain::merchant::{Connection, Link, LinkOutcome, LinkState, Merchant, Role, link_outcome};
use crate::domain::name::Subject;
use crate::domain::secret::SealedBytes;
use crate::domain::token::{IssuedKind, Liveness, Version};
use crate::domain::trail::{Act, Event, EventKind};

#[cfg(test)]
pub(in crate::store) const STATEMENTS: &[&str] = &[
    HEAD_OF_MERCHANT_ID,
    HEAD_OF_EXTERNAL_ID,
    HEADS_OF_SUBJECT,
    VERSION,
    SECRET,
    VERSIONS,
    HEAD,
    KEYS_AFTER,
    LIVE_ELSEWHERE,
    LAST_VERSION,
    INSERT,
    INSERT_SECRET,
    DOUBTS,
    HEAD_VERSION,
    SET_HEAD,
    SET_LIVENESS,
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
         v.permanent, v.expires_at_us, v.liveness, v.evidence, v.evidence_at_us, s.epoch, s.salt, s.ciphertext \
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
         expires_at_us, liveness, evidence, evidence_at_us FROM token_versions "
    };
}
const VERSION: &str = concat!(version_columns!(), "WHERE connection_id = $1 AND version = $2");
const VERSIONS: &str = concat!(version_columns!(), "WHERE connection_id = $1 ORDER BY version DESC");
const HEAD: &str = concat!(
    version_columns!(),
    "WHERE connection_id = $1 AND version = (SELECT head_version FROM connections WHERE id = $1)"
);
const SECRET: &str = "SELECT epoch, salt, ciphertext FROM token_secrets WHERE connection_id = $1 AND version = $2";
const KEYS_AFTER: &str = "SELECT connection_id, version FROM token_versions \
                          WHERE connection_id > $1 OR (connection_id = $1 AND version > $2) \
                          ORDER BY connection_id, version LIMIT $3";
const LIVE_ELSEWHERE: &str = "SELECT c.id FROM connections c \
                              JOIN token_versions v ON v.connection_id = c.id AND v.version = c.head_version \
                              WHERE c.id <> $1 AND v.liveness = 'live' \
                              ORDER BY v.evidence_at_us DESC LIMIT $2";
const LAST_VERSION: &str =
    "SELECT CAST(COALESCE(MAX(version), 0) AS BIGINT) FROM token_versions WHERE connection_id = $1";
const INSERT: &str = "INSERT INTO token_versions (connection_id, version, issued_kind, cause, attempt_id, fingerprint, stored_at_us, mac, \
     permanent, expires_at_us, liveness, evidence, evidence_at_us) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $7)";
const INSERT_SECRET: &str =
    "INSERT INTO token_secrets (connection_id, version, epoch, salt, ciphertext) VALUES ($1, $2, $3, $4, $5)";
const DOUBTS: &str = "SELECT COUNT(*) FROM attempts a JOIN links l ON l.merchant_id = a.merchant_id \
                      WHERE l.connection_id = $1 AND l.state <> 'closed' \
                      AND (a.state = 'armed' OR (a.state = 'in_doubt' AND a.judge_at_us > $2))";
const HEAD_VERSION: &str = "SELECT head_version FROM connections WHERE id = $1";
const SET_HEAD: &str = "UPDATE connections SET head_version = $1, mac = $2 WHERE id = $3";
const SET_LIVENESS: &str = "UPDATE token_versions SET liveness = $1, evidence = $2, evidence_at_us = $3 \
                            WHERE connection_id = $4 AND version = $5";

/// A token that the provider issued, sealed by the caller.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// The attempt that brought it; armed.
    pub attempt: Attempt,
    /// The provider user it belongs to, as the answer names it.
    pub subject: Subject,
    /// The sealed bytes, bound to attempt and subject.
    pub sealed: SealedBytes,
    /// Keyed fingerprint.
    pub fingerprint: [u8; 16],
    /// What the provider issued.
    pub issued_kind: IssuedKind,
    /// When its life ends, if the provider said so.
    pub expires_at: Option<Timestamp>,
    /// Whether the mint revoked every earlier version of that user.
    pub revoked_earlier: bool,
}

/// What became of a new token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredToken {
    /// The connection it went to.
    pub connection: Connection,
    /// Its number there.
    pub version: TokenVersion,
    /// The link from the attempt's merchant to that connection.
    pub link: Option<Link>,
    /// Whether configuration may let the provider's e-mail address confirm that link.
    pub email_may_confirm: bool,
}

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

#[derive(FromRow)]
struct VersionRow {
    connection_id: Vec<u8>,
    version: i64,
    issued_kind: String,
    cause: String,
    attempt_id: Vec<u8>,
    fingerprint: Vec<u8>,
    stored_at_us: i64,
    mac: Vec<u8>,
    permanent: i64,
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

    /// At most `limit` other connections whose heads were live when last looked at, the most recent evidence first: controls for
    /// probes.
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

    /// Notes what was observed of a version's liveness at that moment, and returns the version as it is known then.
    ///
    /// Nothing is noted of a version that was superseded since, of life that was seen before a younger doubt, and of a mere doubt
    /// about a version that is known to be dead, expired or lacking a scope. Life is noted as a doubt while an attempt is armed or
    /// in doubt that could still hit this connection (M4): one whose time to be judged has come cannot.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when there is no such version.
    pub async fn record_liveness(
        &self,
        connection: ConnectionId,
        version: TokenVersion,
        liveness: Liveness,
        evidence: &str,
        observed_at: Timestamp,
        act: &Act,
    ) -> Result<Version> {
        transaction!(self, "record_liveness", tx => {
            let now = tx.now();
            let row: Option<VersionRow> = on_tx!(tx, conn => sqlx::query_as(VERSION)
                .bind(&connection.as_bytes()[..])
                .bind(i64::from(version.0))
                .fetch_optional(conn)
                .await)?;
            let before = self.check_version(row.ok_or(Error::Corrupt("token version"))?)?;
            let head: Option<(i64,)> = on_tx!(tx, conn => sqlx::query_as(HEAD_VERSION)
                .bind(&connection.as_bytes()[..])
                .fetch_optional(conn)
                .await)?;
            let (doubts,): (i64,) = on_tx!(tx, conn => sqlx::query_as(DOUBTS)
                .bind(&connection.as_bytes()[..])
                .bind(now.as_micros())
                .fetch_one(conn)
                .await)?;
            let (liveness, evidence) = match liveness {
                Liveness::Live if doubts > 0 => (Liveness::Suspect, "in_doubt"),
                _ => (liveness, evidence),
            };
            let is_superseded = head != Some((i64::from(version.0),));
            let is_outdated = liveness == Liveness::Live && before.evidence_at > observed_at;
            let is_weaker =
                liveness == Liveness::Suspect && !matches!(before.liveness, Liveness::Live | Liveness::Suspect);
            if is_superseded || is_outdated || is_weaker {
                return Ok((before, Vec::new()));
            }
            let event = set_liveness(tx, &before, liveness, (evidence, observed_at), act, now).await?;
            let after = Version { liveness, evidence: evidence.to_owned(), evidence_at: observed_at, ..before };
            Ok((after, vec![event]))
        })
    }

    /// Stores a token as the next version of the connection its answer names, makes it the head, settles the attempt, and
    /// decides about the link: all in one transaction.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the attempt is not armed (any more).
    pub async fn commit_token(&self, new: &NewToken, act: &Act) -> Result<StoredToken> {
        let now = self.clock.now();
        let fresh = Connection {
            id: ConnectionId::generate(&*self.clock, &*self.entropy),
            app: new.attempt.app,
            subject: new.subject.clone(),
            role: Role::Merchant,
            created_at: now,
        };
        let fresh_link = LinkId::generate(&*self.clock, &*self.entropy);
        transaction!(self, "commit_token", tx => {
            let now = tx.now();
            let (connection, head_version, created) = self.upsert_connection(tx, &fresh, act).await?;
            let mut events: Vec<Event> = created.into_iter().collect();
            let (version, stored) = self.append_version(tx, &connection, new, act, now).await?;
            events.push(stored);
            if new.revoked_earlier && head_version > 0 {
                events.extend(self.supersede(tx, connection.id, head_version, act, now).await?);
            }
            self.move_attempt(tx, &new.attempt, AttemptState::Committed, None, None, act, now).await?;
            let (link, email_may_confirm) = match new.attempt.merchant {
                Some(merchant) => {
                    let (link, may, made) =
                        self.link_after_consent(tx, new, merchant, &connection, fresh_link, act, now).await?;
                    events.extend(made);
                    (Some(link), may)
                }
                None => (None, false),
            };
            if let (Some(flow), Some(link)) = (new.attempt.flow, &link) {
                let outcome = match link.state {
                    LinkState::Active => FlowOutcome::Connected,
                    LinkState::Held | LinkState::Closed => FlowOutcome::Held,
                };
                let ended =
                    self.end_flow(tx, flow, link.merchant, outcome, Some(link.id), act, now).await?;
                events.extend(ended);
            }
            Ok((StoredToken { connection: connection.clone(), version, link, email_may_confirm }, events))
        })
    }

    async fn append_version(
        &self,
        tx: &mut Tx<'_>,
        connection: &Connection,
        new: &NewToken,
        act: &Act,
        now: Timestamp,
    ) -> Result<(TokenVersion, Event)> {
        let (last,): (i64,) = on_tx!(tx, conn => sqlx::query_as(LAST_VERSION)
            .bind(&connection.id.as_bytes()[..])
            .fetch_one(conn)
            .await)?;
        let next = number(last.saturating_add(1))?;
        let cause = new.attempt.kind.as_str();
        let mac = self.tag_row(
            RowKind::Version,
            &[
                connection.id.as_bytes(),
                &i64::from(next.0).to_be_bytes(),
                new.issued_kind.as_str().as_bytes(),
                cause.as_bytes(),
                new.attempt.id.as_bytes(),
                &new.fingerprint,
            ],
        );
        on_tx!(tx, conn => sqlx::query(INSERT)
            .bind(&connection.id.as_bytes()[..])
            .bind(i64::from(next.0))
            .bind(new.issued_kind.as_str())
            .bind(cause)
            .bind(&new.attempt.id.as_bytes()[..])
            .bind(&new.fingerprint[..])
            .bind(now.as_micros())
            .bind(&mac.0[..])
            .bind(i64::from(new.issued_kind == IssuedKind::Permanent))
            .bind(new.expires_at.map(Timestamp::as_micros))
            .bind(Liveness::Live.as_str())
            .bind("issued")
            .execute(conn)
            .await)?;
        on_tx!(tx, conn => sqlx::query(INSERT_SECRET)
            .bind(&connection.id.as_bytes()[..])
            .bind(i64::from(next.0))
            .bind(i64::from(new.sealed.epoch))
            .bind(&new.sealed.salt[..])
            .bind(&new.sealed.ciphertext[..])
            .execute(conn)
            .await)?;
        let connection_mac = self.tag_connection(connection, i64::from(next.0));
        on_tx!(tx, conn => sqlx::query(SET_HEAD)
            .bind(i64::from(next.0))
            .bind(&connection_mac.0[..])
            .bind(&connection.id.as_bytes()[..])
            .execute(conn)
            .await)?;
        let mut event = act
            .event(EventKind::TokenStored, now)
            .version(connection.id, next)
            .attempt(new.attempt.id)
            .detail("issued", new.issued_kind.as_str())
            .detail("cause", cause);
        event.merchant = new.attempt.merchant;
        event.flow = new.attempt.flow;
        event.fingerprint = Some(new.fingerprint);
        Ok((next, event))
    }

    /// The mint revoked it: the provider says so of every mint.
    async fn supersede(
        &self,
        tx: &mut Tx<'_>,
        connection: ConnectionId,
        version: i64,
        act: &Act,
        now: Timestamp,
    ) -> Result<Option<Event>> {
        let row: Option<VersionRow> = on_tx!(tx, conn => sqlx::query_as(VERSION)
            .bind(&connection.as_bytes()[..])
            .bind(version)
            .fetch_optional(conn)
            .await)?;
        let before = self.check_version(row.ok_or(Error::Corrupt("token version"))?)?;
        if before.liveness == Liveness::Dead {
            return Ok(None);
        }
        set_liveness(tx, &before, Liveness::Dead, ("superseded", now), act, now).await.map(Some)
    }

    #[expect(clippy::too_many_arguments, reason = "the last step of one transaction")]
    async fn link_after_consent(
        &self,
        tx: &mut Tx<'_>,
        new: &NewToken,
        merchant: MerchantId,
        connection: &Connection,
        fresh: LinkId,
        act: &Act,
        now: Timestamp,
    ) -> Result<(Link, bool, Option<Event>)> {
        let (facts, existing) = self.consent_facts(tx, connection.app, merchant, connection.id).await?;
        let may = crate::domain::merchant::email_may_confirm(&facts);
        match (link_outcome(&facts), existing) {
            // Still waiting: from now on for the value that this consent's browser brings to return_url.
            (LinkOutcome::Keep, Some(link)) if link.state == LinkState::Held && link.flow != new.attempt.flow => {
                let link = Link { flow: new.attempt.flow, ..link };
                let event = self.set_link(tx, &link, LinkState::Held, act, "consented_again", now).await?;
                let link = Link { changed_at: now, row_version: link.row_version.saturating_add(1), ..link };
                Ok((link, may, Some(event)))
            }
            (LinkOutcome::Keep, Some(link)) => Ok((link, may, None)),
            _ => {
                let link = Link {
                    id: fresh,
                    app: connection.app,
                    merchant,
                    connection: connection.id,
                    state: LinkState::Held,
                    flow: new.attempt.flow,
                    created_at: now,
                    changed_at: now,
                    row_version: 1,
                };
                let event = self.insert_link(tx, &link, act).await?;
                Ok((link, may, Some(event)))
            }
        }
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

    fn check_version(&self, row: VersionRow) -> Result<Version> {
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
            permanent: row.permanent != 0,
            expires_at: row.expires_at_us.map(Timestamp::from_micros),
            liveness: Liveness::parse(&row.liveness).ok_or(Error::Corrupt("liveness"))?,
            evidence: row.evidence,
            evidence_at: Timestamp::from_micros(row.evidence_at_us),
        })
    }
}

async fn set_liveness(
    tx: &mut Tx<'_>,
    before: &Version,
    liveness: Liveness,
    (evidence, observed_at): (&str, Timestamp),
    act: &Act,
    now: Timestamp,
) -> Result<Event> {
    on_tx!(tx, conn => sqlx::query(SET_LIVENESS)
        .bind(liveness.as_str())
        .bind(evidence)
        .bind(observed_at.as_micros())
        .bind(&before.connection.as_bytes()[..])
        .bind(i64::from(before.number.0))
        .execute(conn)
        .await)?;
    Ok(act
        .event(EventKind::LivenessChanged, now)
        .version(before.connection, before.number)
        .reason(liveness.as_str())
        .detail("from", before.liveness.as_str())
        .detail("evidence", evidence))
}

fn number(version: i64) -> Result<TokenVersion> {
    u32::try_from(version).map(TokenVersion).map_err(|_| Error::Corrupt("version"))
}
