//! A new version: stored, made the head or kept beside it, and what becomes of the link; all in one transaction.

use super::{VERSION, VersionRow, number, version_columns};
use crate::domain::ambient::Timestamp;
use crate::domain::attempt::{AttemptKind, AttemptState};
use crate::domain::id::{ConnectionId, LinkId, MerchantId, TokenVersion};
use crate::domain::mac::RowKind;
use crate::domain::merchant::{
    Connection, Link, LinkOutcome, LinkState, Role, email_may_confirm, link_outcome, registered_link_outcome,
};
use crate::domain::name::Subject;
use crate::domain::secret::SealedBytes;
use crate::domain::token::{IssuedKind, Liveness, Version};
use crate::domain::trail::{Act, Event, EventKind};
use crate::store::attempts::{Attempt, standing};
use crate::store::flows::FlowOutcome;
use crate::store::tokens::liveness::set_liveness;
use crate::store::tx::{Run as _, Tx, on_tx, transaction};
use crate::store::{Error, Result, Store};

#[cfg(test)]
pub(in crate::store) const STATEMENTS: &[&str] = &[
    LAST_VERSION,
    INSERT,
    INSERT_SECRET,
    SET_HEAD,
    SET_EMAIL,
    OLDER_THAN,
    END_CANDIDATE,
    END_CANDIDATES,
    NEWEST_CANDIDATE,
    STORED_SINCE,
    HEAD_VERSION,
];

const LAST_VERSION: &str =
    "SELECT CAST(COALESCE(MAX(version), 0) AS BIGINT) FROM token_versions WHERE connection_id = $1";
const INSERT: &str = "INSERT INTO token_versions (connection_id, version, issued_kind, cause, attempt_id, fingerprint, stored_at_us, mac, \
     permanent, seen_pending, candidate, expires_at_us, liveness, evidence, evidence_at_us) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $10, $11, $12, $13, $7)";
const INSERT_SECRET: &str =
    "INSERT INTO token_secrets (connection_id, version, epoch, salt, ciphertext) VALUES ($1, $2, $3, $4, $5)";
const SET_HEAD: &str = "UPDATE connections SET head_version = $1, mac = $2 WHERE id = $3";
const SET_EMAIL: &str = "UPDATE connections SET email_index = $1 WHERE id = $2";
const OLDER_THAN: &str =
    concat!(version_columns!(), "WHERE connection_id = $1 AND version < $2 AND liveness <> 'dead' ORDER BY version");
const END_CANDIDATE: &str = "UPDATE token_versions SET candidate = 0 WHERE connection_id = $1 AND version = $2";
const END_CANDIDATES: &str = "UPDATE token_versions SET candidate = 0 WHERE connection_id = $1 AND candidate = 1";
const NEWEST_CANDIDATE: &str =
    concat!(version_columns!(), "WHERE connection_id = $1 AND candidate = 1 ORDER BY version DESC LIMIT 1");

const HEAD_VERSION: &str = "SELECT head_version FROM connections WHERE id = $1";
// By the order of the trail: the clocks of two processes may differ by more than lies between the two. A merchant has one attempt at a
// time, so that the newest that was armed is the one under way.
const STORED_SINCE: &str = "SELECT COUNT(*) FROM change_trail WHERE connection_id = $1 AND kind = $2 AND seq > \
     (SELECT COALESCE(MAX(seq), 0) FROM change_trail WHERE merchant_id = $3 AND kind = $4)";

/// A token that the provider issued, sealed by the caller.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// The attempt that brought it; it was armed when that began.
    pub attempt: Attempt,
    /// The provider user it belongs to, as the answer names it.
    pub subject: Subject,
    /// What a connection that is made for it is for.
    pub role: Role,
    /// Blind index of the user's e-mail address, if it is known.
    pub email_index: Option<[u8; 32]>,
    /// The sealed bytes, bound to attempt and subject.
    pub sealed: SealedBytes,
    /// Keyed fingerprint.
    pub fingerprint: [u8; 16],
    /// What the provider issued.
    pub issued_kind: IssuedKind,
    /// When its life ends, if the provider said so.
    pub expires_at: Option<Timestamp>,
    /// What became of the user's earlier tokens.
    pub earlier: EarlierTokens,
}

/// What became of the earlier tokens of a user for whom a new one was issued.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EarlierTokens {
    /// They were revoked: the new token is the head.
    Revoked,
    /// They may have been. The new token waits, as a candidate, beside a head that may have outlived it: a temporary token never
    /// replaces a live permanent one.
    MayBeRevoked,
    /// They were not touched. The new token is the head, because somebody wants it so.
    Kept,
}

/// What is known of a token that is about to be stored.
#[derive(Clone, Copy)]
struct Known {
    /// It waits beside a head that may have outlived it.
    is_candidate: bool,
    /// It came when its attempt was given up.
    is_late: bool,
}

/// The evidence of versions about which a late answer leaves a doubt.
const LATE: &str = "late_answer";

/// What became of a new token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredToken {
    /// The connection it went to.
    pub connection: Connection,
    /// Its number there.
    pub version: TokenVersion,
    /// Whether it is the head; if not, it waits to be judged.
    pub is_head: bool,
    /// The link from the attempt's merchant to that connection.
    pub link: Option<Link>,
    /// Whether configuration may let the provider's e-mail address confirm that link.
    pub email_may_confirm: bool,
}

impl Store {
    /// Stores a token as the next version of the connection its answer names, makes it the head (or keeps it beside one that may
    /// have outlived it), settles the attempt, and decides about the link: all in one transaction.
    ///
    /// An attempt that was given up meanwhile (its owner was taken for dead) loses nothing: its token came late. What was issued before or
    /// after it cannot be told, so that it is a candidate beside any head that is not dead, and suspect in either place (M4).
    ///
    /// # Errors
    /// [`Error::Conflict`] when the attempt was never armed, or is settled in another way.
    pub async fn commit_token(&self, new: &NewToken, act: &Act) -> Result<StoredToken> {
        let now = self.clock.now();
        let fresh = Connection {
            id: ConnectionId::generate(&*self.clock, &*self.entropy),
            app: new.attempt.app,
            subject: new.subject.clone(),
            role: new.role,
            created_at: now,
        };
        let fresh_link = LinkId::generate(&*self.clock, &*self.entropy);
        transaction!(self, "commit_token", tx => {
            let now = tx.now();
            let attempt = Attempt { state: standing(tx, new.attempt.id).await?, ..new.attempt.clone() };
            let is_late = attempt.state.may_become(AttemptState::Late);
            let (connection, head_version, created) = self.upsert_connection(tx, &fresh, act).await?;
            let is_new = created.is_some();
            let mut events: Vec<Event> = created.into_iter().collect();
            let earlier = match new.earlier {
                _ if is_late => EarlierTokens::MayBeRevoked,
                // While this mint was under way another one of the same user came in: which of them lives is for a probe to say.
                EarlierTokens::Revoked if stored_since_armed(tx, connection.id, new.attempt.merchant).await? => {
                    EarlierTokens::MayBeRevoked
                }
                earlier => earlier,
            };
            let outlived = match (earlier, head_version) {
                (EarlierTokens::MayBeRevoked, 1..) => {
                    let head = self.version_in(tx, connection.id, head_version).await?;
                    Some(head).filter(|head| head.liveness != Liveness::Dead)
                }
                _ => None,
            };
            let known = Known { is_candidate: outlived.is_some(), is_late };
            let (version, stored) = self.append_version(tx, &connection, new, known, act, now).await?;
            events.push(stored);
            match &outlived {
                Some(head) if matches!(head.liveness, Liveness::Live | Liveness::Suspect) => {
                    let evidence = (if is_late { LATE } else { "registered_again" }, now);
                    events.push(set_liveness(tx, head, Liveness::Suspect, evidence, act, now).await?);
                }
                Some(_) => {}
                None => self.set_head(tx, &connection, version).await?,
            }
            if earlier == EarlierTokens::Revoked {
                events.extend(self.supersede(tx, connection.id, version, act, now).await?);
            }
            if let Some(index) = &new.email_index {
                set_email_index(tx, connection.id, index).await?;
            }
            if is_late {
                events.push(self.move_attempt(tx, &attempt, AttemptState::Late, None, None, act, now).await?);
            } else {
                self.move_attempt(tx, &attempt, AttemptState::Committed, None, None, act, now).await?;
            }
            let (link, email_may_confirm) = match new.attempt.merchant {
                Some(merchant) => {
                    let (link, may, made) =
                        self.link_after_mint(tx, new, merchant, (&connection, is_new), fresh_link, act, now).await?;
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
            let is_head = outlived.is_none();
            Ok((StoredToken { connection: connection.clone(), version, is_head, link, email_may_confirm }, events))
        })
    }

    /// Decides about the newest candidate of a connection by what was found of `head`: it becomes the head, or is passed over for
    /// good. False when there is none (any more), or another version is the head by now.
    ///
    /// # Errors
    /// As every write of the database.
    pub async fn judge_candidate(
        &self,
        connection: &Connection,
        head: TokenVersion,
        promote: bool,
        act: &Act,
    ) -> Result<bool> {
        transaction!(self, "judge_candidate", tx => {
            let now = tx.now();
            let current: Option<(i64,)> = on_tx!(tx, conn => sqlx::query_as(HEAD_VERSION)
                .bind(&connection.id.as_bytes()[..])
                .fetch_optional(conn)
                .await)?;
            if current != Some((i64::from(head.0),)) {
                return Ok((false, Vec::new()));
            }
            let row: Option<VersionRow> = on_tx!(tx, conn => sqlx::query_as(NEWEST_CANDIDATE)
                .bind(&connection.id.as_bytes()[..])
                .fetch_optional(conn)
                .await)?;
            let Some(candidate) = row.map(|row| self.check_version(row)).transpose()? else {
                return Ok((false, Vec::new()));
            };
            if promote {
                // The others wait on, beside the new head: the newest to be stored need not be the newest to be issued.
                end_candidate(tx, connection.id, candidate.number).await?;
                self.set_head(tx, connection, candidate.number).await?;
            } else {
                end_candidates(tx, connection.id).await?;
            }
            let verdict = if promote { "promoted" } else { "passed" };
            let event = act
                .event(EventKind::CandidateJudged, now)
                .version(connection.id, candidate.number)
                .attempt(candidate.attempt)
                .reason(verdict);
            Ok((true, vec![event]))
        })
    }

    async fn append_version(
        &self,
        tx: &mut Tx<'_>,
        connection: &Connection,
        new: &NewToken,
        known: Known,
        act: &Act,
        now: Timestamp,
    ) -> Result<(TokenVersion, Event)> {
        let (last,): (i64,) = on_tx!(tx, conn => sqlx::query_as(LAST_VERSION)
            .bind(&connection.id.as_bytes()[..])
            .fetch_one(conn)
            .await)?;
        let next = number(last.saturating_add(1))?;
        let cause = new.attempt.kind.as_str();
        let (liveness, evidence) = if known.is_late { (Liveness::Suspect, LATE) } else { (Liveness::Live, "issued") };
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
            .bind(i64::from(known.is_candidate))
            .bind(new.expires_at.map(Timestamp::as_micros))
            .bind(liveness.as_str())
            .bind(evidence)
            .run(conn)
            .await)?;
        on_tx!(tx, conn => sqlx::query(INSERT_SECRET)
            .bind(&connection.id.as_bytes()[..])
            .bind(i64::from(next.0))
            .bind(i64::from(new.sealed.epoch))
            .bind(&new.sealed.salt[..])
            .bind(&new.sealed.ciphertext[..])
            .run(conn)
            .await)?;
        let mut event = act
            .event(EventKind::TokenStored, now)
            .version(connection.id, next)
            .attempt(new.attempt.id)
            .detail("issued", new.issued_kind.as_str())
            .detail("cause", cause);
        if known.is_candidate {
            event = event.reason("candidate");
        }
        if known.is_late {
            event = event.detail("late", true);
        }
        event.merchant = new.attempt.merchant;
        event.flow = new.attempt.flow;
        event.fingerprint = Some(new.fingerprint);
        Ok((next, event))
    }

    async fn set_head(&self, tx: &mut Tx<'_>, connection: &Connection, version: TokenVersion) -> Result<()> {
        let mac = self.tag_connection(connection, i64::from(version.0));
        on_tx!(tx, conn => sqlx::query(SET_HEAD)
            .bind(i64::from(version.0))
            .bind(&mac.0[..])
            .bind(&connection.id.as_bytes()[..])
            .run(conn)
            .await)?;
        Ok(())
    }

    async fn version_in(&self, tx: &mut Tx<'_>, connection: ConnectionId, version: i64) -> Result<Version> {
        let row: Option<VersionRow> = on_tx!(tx, conn => sqlx::query_as(VERSION)
            .bind(&connection.as_bytes()[..])
            .bind(version)
            .fetch_optional(conn)
            .await)?;
        self.check_version(row.ok_or(Error::Corrupt("token version"))?)
    }

    /// The mint revoked all that came before: the provider says so of every mint.
    async fn supersede(
        &self,
        tx: &mut Tx<'_>,
        connection: ConnectionId,
        by: TokenVersion,
        act: &Act,
        now: Timestamp,
    ) -> Result<Vec<Event>> {
        let rows: Vec<VersionRow> = on_tx!(tx, conn => sqlx::query_as(OLDER_THAN)
            .bind(&connection.as_bytes()[..])
            .bind(i64::from(by.0))
            .fetch_all(conn)
            .await)?;
        let mut events = Vec::new();
        for row in rows {
            let before = self.check_version(row)?;
            events.push(set_liveness(tx, &before, Liveness::Dead, ("superseded", now), act, now).await?);
        }
        end_candidates(tx, connection).await?;
        Ok(events)
    }

    #[expect(clippy::too_many_arguments, reason = "the last step of one transaction")]
    async fn link_after_mint(
        &self,
        tx: &mut Tx<'_>,
        new: &NewToken,
        merchant: MerchantId,
        (connection, is_new): (&Connection, bool),
        fresh: LinkId,
        act: &Act,
        now: Timestamp,
    ) -> Result<(Link, bool, Option<Event>)> {
        let (facts, existing) = self.consent_facts(tx, connection.app, merchant, connection.id).await?;
        let may = email_may_confirm(&facts);
        let outcome = match new.attempt.kind {
            // A user whom we knew may have a token that somebody consented to: it goes to nobody before a person decides.
            AttemptKind::Register if is_new => registered_link_outcome(&facts),
            AttemptKind::Register | AttemptKind::Exchange | AttemptKind::Import => link_outcome(&facts),
        };
        match (outcome, existing) {
            // Still waiting: from now on for the value that this consent's browser brings to return_url. A registration has no
            // browser, so that the value which is on its way stays good.
            (LinkOutcome::Keep, Some(link))
                if link.state == LinkState::Held && new.attempt.flow.is_some() && link.flow != new.attempt.flow =>
            {
                let link = Link { flow: new.attempt.flow, ..link };
                let event = self.set_link(tx, &link, LinkState::Held, act, "consented_again", now).await?;
                let link = Link { changed_at: now, row_version: link.row_version.saturating_add(1), ..link };
                Ok((link, may, Some(event)))
            }
            (LinkOutcome::Keep, Some(link)) => Ok((link, may, None)),
            (outcome, _) => {
                let serves = outcome == LinkOutcome::Activate;
                let link = Link {
                    id: fresh,
                    app: connection.app,
                    merchant,
                    connection: connection.id,
                    state: if serves { LinkState::Active } else { LinkState::Held },
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
}

/// Whether a token of the same user was stored since the merchant's attempt was armed.
async fn stored_since_armed(tx: &mut Tx<'_>, connection: ConnectionId, merchant: Option<MerchantId>) -> Result<bool> {
    let (stored,): (i64,) = on_tx!(tx, conn => sqlx::query_as(STORED_SINCE)
        .bind(&connection.as_bytes()[..])
        .bind(EventKind::TokenStored.as_str())
        .bind(merchant.as_ref().map(|id| &id.as_bytes()[..]))
        .bind(EventKind::AttemptArmed.as_str())
        .fetch_one(conn)
        .await)?;
    Ok(stored > 0)
}

async fn end_candidate(tx: &mut Tx<'_>, connection: ConnectionId, version: TokenVersion) -> Result<()> {
    on_tx!(tx, conn => sqlx::query(END_CANDIDATE)
        .bind(&connection.as_bytes()[..])
        .bind(i64::from(version.0))
        .run(conn)
        .await)?;
    Ok(())
}

async fn end_candidates(tx: &mut Tx<'_>, connection: ConnectionId) -> Result<()> {
    on_tx!(tx, conn => sqlx::query(END_CANDIDATES).bind(&connection.as_bytes()[..]).run(conn).await)?;
    Ok(())
}

/// Notes under which address the provider knows the user.
pub(in crate::store) async fn set_email_index(
    tx: &mut Tx<'_>,
    connection: ConnectionId,
    index: &[u8; 32],
) -> Result<()> {
    on_tx!(tx, conn => sqlx::query(SET_EMAIL)
        .bind(&index[..])
        .bind(&connection.as_bytes()[..])
        .run(conn)
        .await)?;
    Ok(())
}
