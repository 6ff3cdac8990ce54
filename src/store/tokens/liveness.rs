//! What is learnt of a version: whether it lives, and whether it became permanent.

use super::issue::set_email_index;
use super::{VERSION, VersionRow};
use crate::domain::ambient::Timestamp;
use crate::domain::id::{ConnectionId, TokenVersion};
use crate::domain::token::{Liveness, UserStanding, Version, is_confirmed};
use crate::domain::trail::{Act, Event, EventKind};
use crate::store::tx::{Run as _, Tx, on_tx, transaction};
use crate::store::{Error, Result, Store, on_db};

#[cfg(test)]
pub(in crate::store) const STATEMENTS: &[&str] =
    &[ASKED_SINCE, DOUBTS, HEAD_OF, SENT_SINCE, SET_LIVENESS, SET_PENDING, SET_PERMANENT];

const ASKED_SINCE: &str = "SELECT COUNT(*) FROM change_trail \
                           WHERE connection_id = $1 AND time_us >= $2 AND kind = $3";
const DOUBTS: &str = "SELECT COUNT(*) FROM attempts a \
                      WHERE (a.state = 'armed' OR (a.state = 'in_doubt' AND a.judge_at_us > $2)) \
                      AND (a.merchant_id IN (SELECT merchant_id FROM links WHERE connection_id = $1 AND state <> 'closed') \
                      OR a.email_index = (SELECT email_index FROM connections WHERE id = $1))";
const HEAD_OF: &str = "SELECT head_version, email_index FROM connections WHERE id = $1";
const SENT_SINCE: &str = "SELECT COUNT(*) FROM flows f JOIN invitations i ON i.id = f.invitation_id \
                          JOIN links l ON l.merchant_id = i.merchant_id \
                          WHERE l.connection_id = $1 AND f.expires_at_us >= $2 \
                          AND (f.ended_at_us IS NULL OR f.ended_at_us > $2)";
const SET_LIVENESS: &str = "UPDATE token_versions SET liveness = $1, evidence = $2, evidence_at_us = $3 \
                            WHERE connection_id = $4 AND version = $5";
const SET_PENDING: &str = "UPDATE token_versions SET seen_pending = 1 WHERE connection_id = $1 AND version = $2";
const SET_PERMANENT: &str =
    "UPDATE token_versions SET permanent = 1, expires_at_us = NULL WHERE connection_id = $1 AND version = $2";

/// What was observed of a version, and when.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// Whether it lives.
    pub liveness: Liveness,
    /// What established that.
    pub evidence: &'a str,
    /// When the provider was asked.
    pub at: Timestamp,
    /// The user, if the provider named it.
    pub user: Option<SeenUser>,
}

/// What the provider said of a token's user.
#[derive(Clone, Copy, Debug)]
pub struct SeenUser {
    /// Where the user stands.
    pub standing: UserStanding,
    /// Blind index of the e-mail address, if there is one.
    pub email_index: Option<[u8; 32]>,
}

impl Store {
    /// Notes what was observed of a version at that moment, and returns the version as it is known then.
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
        observed: Observed<'_>,
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
            let (head, email_index): (i64, Option<Vec<u8>>) = on_tx!(tx, conn => sqlx::query_as(HEAD_OF)
                .bind(&connection.as_bytes()[..])
                .fetch_one(conn)
                .await)?;
            let (doubts,): (i64,) = on_tx!(tx, conn => sqlx::query_as(DOUBTS)
                .bind(&connection.as_bytes()[..])
                .bind(now.as_micros())
                .fetch_one(conn)
                .await)?;
            let (liveness, evidence) = match observed.liveness {
                Liveness::Live if doubts > 0 => (Liveness::Suspect, "in_doubt"),
                liveness => (liveness, observed.evidence),
            };
            let is_superseded = head != i64::from(version.0);
            let is_outdated = liveness == Liveness::Live && before.evidence_at > observed.at;
            let is_weaker =
                liveness == Liveness::Suspect && !matches!(before.liveness, Liveness::Live | Liveness::Suspect);
            if is_superseded || is_outdated || is_weaker {
                return Ok((before, Vec::new()));
            }
            let mut events =
                vec![set_liveness(tx, &before, liveness, (evidence, observed.at), act, now).await?];
            let mut after = Version { liveness, evidence: evidence.to_owned(), evidence_at: observed.at, ..before };
            if let Some(index) = observed.user.and_then(|user| user.email_index)
                && email_index.as_deref() != Some(&index[..])
            {
                set_email_index(tx, connection, &index).await?;
            }
            events.extend(learn_of_user(tx, &mut after, &observed, act, now).await?);
            Ok((after, events))
        })
    }

    /// Whether the provider was asked to mail the version's user for confirmation, or may have been. Without such a mail nobody can
    /// have confirmed (`docs/provider.md` §7).
    ///
    /// # Errors
    /// As every read of the database.
    pub async fn was_asked_to_confirm(&self, version: &Version) -> Result<bool> {
        let (asked,): (i64,) = on_db!(read self, pool => sqlx::query_as(ASKED_SINCE)
            .bind(&version.connection.as_bytes()[..])
            .bind(version.stored_at.as_micros())
            .bind(EventKind::ConfirmationRequested.as_str())
            .fetch_one(pool)
            .await)?;
        Ok(asked > 0)
    }

    /// Notes that the user of a temporary token has confirmed: it lives until revoked from now on.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when there is no such version.
    pub async fn record_confirmed(&self, version: &Version, why: &str, act: &Act) -> Result<()> {
        transaction!(self, "record_confirmed", tx => {
            let now = tx.now();
            Ok(((), vec![set_permanent(tx, version, why, act, now).await?]))
        })
    }
}

async fn learn_of_user(
    tx: &mut Tx<'_>,
    version: &mut Version,
    observed: &Observed<'_>,
    act: &Act,
    now: Timestamp,
) -> Result<Option<Event>> {
    let Some(user) = observed.user.filter(|_| !version.permanent) else { return Ok(None) };
    // Whoever was at the authorize page since may have signed up there.
    let (sent,): (i64,) = on_tx!(tx, conn => sqlx::query_as(SENT_SINCE)
        .bind(&version.connection.as_bytes()[..])
        .bind(version.stored_at.as_micros())
        .fetch_one(conn)
        .await)?;
    let (asked,): (i64,) = on_tx!(tx, conn => sqlx::query_as(ASKED_SINCE)
        .bind(&version.connection.as_bytes()[..])
        .bind(version.stored_at.as_micros())
        .bind(EventKind::ConfirmationRequested.as_str())
        .fetch_one(conn)
        .await)?;
    if let Some(why) = is_confirmed(version, user.standing, asked == 0 || sent > 0, observed.at) {
        let event = set_permanent(tx, version, why, act, now).await?;
        (version.permanent, version.expires_at) = (true, None);
        return Ok(Some(event));
    }
    if user.standing == UserStanding::Pending && !version.seen_pending {
        on_tx!(tx, conn => sqlx::query(SET_PENDING)
            .bind(&version.connection.as_bytes()[..])
            .bind(i64::from(version.number.0))
            .run(conn)
            .await)?;
        version.seen_pending = true;
    }
    Ok(None)
}

async fn set_permanent(tx: &mut Tx<'_>, version: &Version, why: &str, act: &Act, now: Timestamp) -> Result<Event> {
    on_tx!(tx, conn => sqlx::query(SET_PERMANENT)
        .bind(&version.connection.as_bytes()[..])
        .bind(i64::from(version.number.0))
        .run(conn)
        .await)?;
    Ok(act.event(EventKind::TokenConfirmed, now).version(version.connection, version.number).reason(why))
}

pub(super) async fn set_liveness(
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
        .run(conn)
        .await)?;
    Ok(act
        .event(EventKind::LivenessChanged, now)
        .version(before.connection, before.number)
        .reason(liveness.as_str())
        .detail("from", before.liveness.as_str())
        .detail("evidence", evidence))
}
