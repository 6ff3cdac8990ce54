//! Attempts: intents of provider calls, claimed before the call and settled after it. One owner, no takeover.

pub(in crate::store) mod list;

use sqlx::FromRow;

use super::flows::{CONSUME, Flow, FlowOutcome};
use super::tx::{Run as _, Tx, on_tx, transaction};
use super::{Error, Result, Store, blob, on_db};
use crate::domain::ambient::Timestamp;
use crate::domain::attempt::{AttemptKind, AttemptState};
use crate::domain::id::{AppId, AttemptId, ConnectionId, FlowId, LinkId, MerchantId, TokenVersion};
use crate::domain::secret::SealedBytes;
use crate::domain::token::{Leave, LeaveKind, Liveness};
use crate::domain::trail::{Act, Event, EventKind};

#[cfg(test)]
pub(in crate::store) const STATEMENTS: &[&str] = &[
    BY_ID,
    OPEN,
    ORPHANED,
    OPEN_OF_MERCHANT,
    CLAIM,
    OWNER,
    STANDS,
    MOVE,
    HEADS_OF_MERCHANT,
    ADDRESS_TAKEN,
    PERMANENCE,
    SUSPECT,
    KEEP_SALVAGE,
];

const BY_ID: &str = "SELECT id, app_id, kind, merchant_id, connection_id, flow_id, state, reason, received_at_us, \
                     armed_at_us, changed_at_us, judge_at_us FROM attempts WHERE id = $1";
const OPEN: &str = "SELECT id, app_id, kind, merchant_id, connection_id, flow_id, state, reason, received_at_us, \
                    armed_at_us, changed_at_us, judge_at_us FROM attempts WHERE settled_at_us IS NULL ORDER BY id";
const ORPHANED: &str = "SELECT id, app_id, kind, merchant_id, connection_id, flow_id, state, reason, received_at_us, \
                        armed_at_us, changed_at_us, judge_at_us FROM attempts WHERE settled_at_us IS NULL \
                        AND state IN ('received', 'armed') AND run_id NOT IN (SELECT id FROM runs) ORDER BY id";
const OPEN_OF_MERCHANT: &str = "SELECT id, app_id, kind, merchant_id, connection_id, flow_id, state, reason, received_at_us, armed_at_us, \
     changed_at_us, judge_at_us FROM attempts WHERE merchant_id = $1 AND settled_at_us IS NULL";
// No conflict target: the code, the merchant and the connection may each refuse.
const CLAIM: &str = "INSERT INTO attempts (id, app_id, kind, merchant_id, connection_id, flow_id, code_hash, state, received_at_us, \
     changed_at_us, email_index, run_id) VALUES ($1, $2, $3, $4, $5, $6, $7, 'received', $8, $8, $9, $10) \
     ON CONFLICT DO NOTHING RETURNING id";
const OWNER: &str = "SELECT COUNT(*) FROM attempts a JOIN runs r ON r.id = a.run_id WHERE a.id = $1";
const STANDS: &str = "SELECT state FROM attempts WHERE id = $1";
const MOVE: &str = "UPDATE attempts SET state = $1, reason = $2, changed_at_us = $3, \
                    armed_at_us = COALESCE($4, armed_at_us), judge_at_us = $5, settled_at_us = $6 \
                    WHERE id = $7 AND state = $8 RETURNING id";
const HEADS_OF_MERCHANT: &str = "SELECT l.id, l.row_version, c.id AS connection_id, c.head_version, \
     (SELECT COUNT(*) FROM token_versions v WHERE v.connection_id = c.id AND v.candidate = 1) AS candidates \
     FROM links l JOIN connections c ON c.id = l.connection_id \
     WHERE l.merchant_id = $1 AND l.state <> 'closed' ORDER BY l.id";
const ADDRESS_TAKEN: &str = "SELECT COUNT(*) FROM attempts a \
                             JOIN connections c ON c.app_id = a.app_id AND c.email_index = a.email_index WHERE a.id = $1";
const PERMANENCE: &str = "SELECT permanent FROM token_versions WHERE connection_id = $1 AND version = $2";
const SUSPECT: &str = "UPDATE token_versions SET liveness = 'suspect', evidence = 'in_doubt', evidence_at_us = $1 \
                       WHERE connection_id = $2 AND version = $3 AND liveness = 'live' RETURNING version";

const KEEP_SALVAGE: &str = "INSERT INTO salvage (attempt_id, epoch, salt, ciphertext, stored_at_us) \
                            VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";

/// An attempt as it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// Ours.
    pub id: AttemptId,
    /// Within which app.
    pub app: AppId,
    /// What it is about to do.
    pub kind: AttemptKind,
    /// For which merchant, if that is known.
    pub merchant: Option<MerchantId>,
    /// At which connection, if that is known.
    pub connection: Option<ConnectionId>,
    /// Of which flow.
    pub flow: Option<FlowId>,
    /// Where it stands.
    pub state: AttemptState,
    /// Why it stands there.
    pub reason: Option<String>,
    /// When the callback came.
    pub received_at: Timestamp,
    /// When it was armed.
    pub armed_at: Option<Timestamp>,
    /// Since when it stands there.
    pub changed_at: Timestamp,
    /// When it can be judged at the earliest, while in doubt.
    pub judge_at: Option<Timestamp>,
}

/// What became of a claim.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Claim {
    /// It is ours: this process, and no other, may send the code, once.
    Claimed,
    /// The state was consumed before.
    AlreadyConsumed,
    /// Another attempt stands in the way, or the code was seen before; the flow ended as busy.
    Busy,
}

/// An open link of a merchant and the head it leads to: what the gate looked at, and what must still be so when it arms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SeenHead {
    /// The link.
    pub link: LinkId,
    /// Its row version.
    pub row_version: i64,
    /// Its connection.
    pub connection: ConnectionId,
    /// The head, 0 when the connection has no token yet.
    pub head_version: i64,
    /// How many versions wait to be judged beside the head: a mint could revoke them, too.
    pub candidates: i64,
}

#[derive(FromRow)]
struct AttemptRow {
    id: Vec<u8>,
    app_id: Vec<u8>,
    kind: String,
    merchant_id: Option<Vec<u8>>,
    connection_id: Option<Vec<u8>>,
    flow_id: Option<Vec<u8>>,
    state: String,
    reason: Option<String>,
    received_at_us: i64,
    armed_at_us: Option<i64>,
    changed_at_us: i64,
    judge_at_us: Option<i64>,
}

#[derive(FromRow)]
struct SeenRow {
    id: Vec<u8>,
    row_version: i64,
    connection_id: Vec<u8>,
    head_version: i64,
    candidates: i64,
}

impl Store {
    /// Consumes the flow's state and claims the exchange of its code, in one transaction.
    ///
    /// # Errors
    /// As every write of the database.
    pub async fn claim_exchange(
        &self,
        flow: &Flow,
        merchant: MerchantId,
        connection: Option<ConnectionId>,
        attempt: AttemptId,
        code_hash: &[u8; 32],
        act: &Act,
    ) -> Result<Claim> {
        transaction!(self, "claim_exchange", tx => {
            let now = tx.now();
            let claim = NewAttempt {
                id: attempt,
                app: flow.app,
                kind: AttemptKind::Exchange,
                merchant: Some(merchant),
                connection,
                flow: Some(flow.id),
                code_hash: Some(code_hash),
                email_index: None,
            };
            let owner = insert_attempt(tx, &claim, now).await?.then(|| *attempt.as_bytes());
            let consumed: Option<(Vec<u8>,)> = on_tx!(tx, conn => sqlx::query_as(CONSUME)
                .bind(owner.as_ref().map(|id| &id[..]))
                .bind(&flow.id.as_bytes()[..])
                .fetch_optional(conn)
                .await)?;
            if consumed.is_none() {
                return Ok((Claim::AlreadyConsumed, Vec::new()));
            }
            let consumed = act.event(EventKind::FlowConsumed, now).merchant(merchant).flow(flow.id);
            if owner.is_none() {
                let ended = self.end_flow(tx, flow.id, merchant, FlowOutcome::Busy, None, act, now).await?;
                return Ok((Claim::Busy, std::iter::once(consumed).chain(ended).collect()));
            }
            let received =
                act.event(EventKind::AttemptReceived, now).merchant(merchant).flow(flow.id).attempt(attempt);
            Ok((Claim::Claimed, vec![consumed, received]))
        })
    }

    /// Arms a received attempt, if all that the gate looked at is still so: the merchant's heads, the permanence of the one that a
    /// leave gives up, and that nobody has the address to be registered. False when it is not: nothing was changed. The head that a
    /// leave gives up is suspect from then on (M4).
    ///
    /// # Errors
    /// [`Error::Conflict`] when the attempt is not received any more, or the run that claimed it is taken for dead.
    pub async fn arm(&self, attempt: &Attempt, seen: &[SeenHead], leave: Option<Leave>, act: &Act) -> Result<bool> {
        transaction!(self, "arm", tx => {
            let now = tx.now();
            let (owners,): (i64,) = on_tx!(tx, conn => sqlx::query_as(OWNER)
                .bind(&attempt.id.as_bytes()[..])
                .fetch_one(conn)
                .await)?;
            if owners == 0 {
                return Err(Error::Conflict("the attempt's owner is taken for dead"));
            }
            if let Some(merchant) = attempt.merchant {
                let rows: Vec<SeenRow> = on_tx!(tx, conn => sqlx::query_as(HEADS_OF_MERCHANT)
                    .bind(&merchant.as_bytes()[..])
                    .fetch_all(conn)
                    .await)?;
                let current = rows.into_iter().map(SeenRow::into_domain).collect::<Result<Vec<_>>>()?;
                if current != seen {
                    return Ok((false, Vec::new()));
                }
            }
            let (taken,): (i64,) = on_tx!(tx, conn => sqlx::query_as(ADDRESS_TAKEN)
                .bind(&attempt.id.as_bytes()[..])
                .fetch_one(conn)
                .await)?;
            if taken > 0 {
                return Ok((false, Vec::new()));
            }
            let mut events = vec![self.move_attempt(tx, attempt, AttemptState::Armed, None, None, act, now).await?];
            if let Some(leave) = leave {
                let known: Option<(i64,)> = on_tx!(tx, conn => sqlx::query_as(PERMANENCE)
                    .bind(&leave.connection.as_bytes()[..])
                    .bind(i64::from(leave.version.0))
                    .fetch_optional(conn)
                    .await)?;
                if leave.kind == LeaveKind::UpgradeTemporary && known.is_none_or(|(permanent,)| permanent != 0) {
                    return Ok((false, Vec::new()));
                }
                let given_up = (leave.connection, i64::from(leave.version.0));
                events.extend(suspect(tx, given_up, attempt, act, now).await?);
            }
            Ok((true, events))
        })
    }

    /// Moves an attempt to a state other than armed or committed, and ends its flow if that is an end for the browser.
    ///
    /// While in doubt it keeps standing in the way; the heads it may have killed are suspect from then on.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the attempt is not in the state it was in, or the step is not in the table.
    pub async fn settle(
        &self,
        attempt: &Attempt,
        to: AttemptState,
        reason: &str,
        judge_at: Option<Timestamp>,
        outcome: Option<FlowOutcome>,
        act: &Act,
    ) -> Result<()> {
        transaction!(self, "settle", tx => {
            let now = tx.now();
            let mut events =
                vec![self.move_attempt(tx, attempt, to, Some(reason), judge_at, act, now).await?];
            if let (Some(flow), Some(merchant), Some(outcome)) = (attempt.flow, attempt.merchant, outcome) {
                events.extend(self.end_flow(tx, flow, merchant, outcome, None, act, now).await?);
            }
            if let (AttemptState::InDoubt, Some(merchant)) = (to, attempt.merchant) {
                events.extend(suspect_heads(tx, merchant, attempt, act, now).await?);
            }
            Ok(((), events))
        })
    }

    /// Keeps an answer that could not be read, sealed by the caller.
    ///
    /// # Errors
    /// As every write of the database.
    pub async fn keep_salvage(&self, attempt: &Attempt, sealed: &SealedBytes, act: &Act) -> Result<()> {
        transaction!(self, "keep_salvage", tx => {
            let now = tx.now();
            on_tx!(tx, conn => sqlx::query(KEEP_SALVAGE)
                .bind(&attempt.id.as_bytes()[..])
                .bind(i64::from(sealed.epoch))
                .bind(&sealed.salt[..])
                .bind(&sealed.ciphertext[..])
                .bind(now.as_micros())
                .run(conn)
                .await)?;
            let mut event = act.event(EventKind::SalvageKept, now).attempt(attempt.id);
            event.merchant = attempt.merchant;
            event.flow = attempt.flow;
            Ok(((), vec![event]))
        })
    }

    /// The attempt with this id.
    ///
    /// # Errors
    /// As every read of the database.
    pub async fn attempt(&self, id: AttemptId) -> Result<Option<Attempt>> {
        let row: Option<AttemptRow> =
            on_db!(read self, pool => sqlx::query_as(BY_ID).bind(&id.as_bytes()[..]).fetch_optional(pool).await)?;
        row.map(AttemptRow::into_domain).transpose()
    }

    /// Every attempt that is received, armed or in doubt.
    ///
    /// # Errors
    /// As every read of the database.
    pub async fn open_attempts(&self) -> Result<Vec<Attempt>> {
        let rows: Vec<AttemptRow> = on_db!(read self, pool => sqlx::query_as(OPEN).fetch_all(pool).await)?;
        rows.into_iter().map(AttemptRow::into_domain).collect()
    }

    /// Every attempt that is received or armed and whose owner is no run that lives.
    ///
    /// # Errors
    /// As every read of the database.
    pub async fn orphaned_attempts(&self) -> Result<Vec<Attempt>> {
        let rows: Vec<AttemptRow> = on_db!(read self, pool => sqlx::query_as(ORPHANED).fetch_all(pool).await)?;
        rows.into_iter().map(AttemptRow::into_domain).collect()
    }

    /// The merchant's attempt that is received, armed or in doubt, if there is one.
    ///
    /// # Errors
    /// As every read of the database.
    pub async fn open_attempt_of(&self, merchant: MerchantId) -> Result<Option<Attempt>> {
        let row: Option<AttemptRow> = on_db!(read self, pool => sqlx::query_as(OPEN_OF_MERCHANT)
            .bind(&merchant.as_bytes()[..])
            .fetch_optional(pool)
            .await)?;
        row.map(AttemptRow::into_domain).transpose()
    }

    /// The merchant's open links and heads, as [`Store::arm`] compares them.
    ///
    /// # Errors
    /// As every read of the database.
    pub async fn seen_heads(&self, merchant: MerchantId) -> Result<Vec<SeenHead>> {
        let rows: Vec<SeenRow> = on_db!(read self, pool => sqlx::query_as(HEADS_OF_MERCHANT)
            .bind(&merchant.as_bytes()[..])
            .fetch_all(pool)
            .await)?;
        rows.into_iter().map(SeenRow::into_domain).collect()
    }

    /// The only writer of an attempt's state.
    #[expect(clippy::too_many_arguments, reason = "one row and its event")]
    pub(in crate::store) async fn move_attempt(
        &self,
        tx: &mut Tx<'_>,
        attempt: &Attempt,
        to: AttemptState,
        reason: Option<&str>,
        judge_at: Option<Timestamp>,
        act: &Act,
        now: Timestamp,
    ) -> Result<Event> {
        if !attempt.state.may_become(to) {
            return Err(Error::Conflict("no such step of an attempt"));
        }
        let moved: Option<(Vec<u8>,)> = on_tx!(tx, conn => sqlx::query_as(MOVE)
            .bind(to.as_str())
            .bind(reason)
            .bind(now.as_micros())
            .bind((to == AttemptState::Armed).then_some(now.as_micros()))
            .bind(judge_at.map(Timestamp::as_micros))
            .bind((!to.is_open()).then_some(now.as_micros()))
            .bind(&attempt.id.as_bytes()[..])
            .bind(attempt.state.as_str())
            .fetch_optional(conn)
            .await)?;
        moved.ok_or(Error::Conflict("the attempt was moved at the same time"))?;
        let kind = match to {
            AttemptState::Armed => EventKind::AttemptArmed,
            _ => EventKind::AttemptSettled,
        };
        let mut event = act.event(kind, now).attempt(attempt.id).reason(to.as_str());
        event.merchant = attempt.merchant;
        event.connection = attempt.connection;
        event.flow = attempt.flow;
        if let Some(reason) = reason {
            event = event.detail("why", reason);
        }
        Ok(event)
    }
}

/// Where an attempt stands now.
pub(in crate::store) async fn standing(tx: &mut Tx<'_>, id: AttemptId) -> Result<AttemptState> {
    let row: Option<(String,)> =
        on_tx!(tx, conn => sqlx::query_as(STANDS).bind(&id.as_bytes()[..]).fetch_optional(conn).await)?;
    let (state,) = row.ok_or(Error::Conflict("there is no such attempt"))?;
    AttemptState::parse(&state).ok_or(Error::Corrupt("attempt state"))
}

/// A row of `attempts` to be.
pub(in crate::store) struct NewAttempt<'a> {
    pub(in crate::store) id: AttemptId,
    pub(in crate::store) app: AppId,
    pub(in crate::store) kind: AttemptKind,
    pub(in crate::store) merchant: Option<MerchantId>,
    pub(in crate::store) connection: Option<ConnectionId>,
    pub(in crate::store) flow: Option<FlowId>,
    pub(in crate::store) code_hash: Option<&'a [u8; 32]>,
    pub(in crate::store) email_index: Option<&'a [u8; 32]>,
}

/// Claims; false when another attempt stands in the way.
pub(in crate::store) async fn insert_attempt(tx: &mut Tx<'_>, new: &NewAttempt<'_>, now: Timestamp) -> Result<bool> {
    let run = tx.store.run();
    let claimed: Option<(Vec<u8>,)> = on_tx!(tx, conn => sqlx::query_as(CLAIM)
        .bind(&new.id.as_bytes()[..])
        .bind(&new.app.as_bytes()[..])
        .bind(new.kind.as_str())
        .bind(new.merchant.as_ref().map(|id| &id.as_bytes()[..]))
        .bind(new.connection.as_ref().map(|id| &id.as_bytes()[..]))
        .bind(new.flow.as_ref().map(|id| &id.as_bytes()[..]))
        .bind(new.code_hash.map(|hash| &hash[..]))
        .bind(now.as_micros())
        .bind(new.email_index.map(|index| &index[..]))
        .bind(&run.as_bytes()[..])
        .fetch_optional(conn)
        .await)?;
    Ok(claimed.is_some())
}

async fn suspect_heads(
    tx: &mut Tx<'_>,
    merchant: MerchantId,
    attempt: &Attempt,
    act: &Act,
    now: Timestamp,
) -> Result<Vec<Event>> {
    let rows: Vec<SeenRow> = on_tx!(tx, conn => sqlx::query_as(HEADS_OF_MERCHANT)
        .bind(&merchant.as_bytes()[..])
        .fetch_all(conn)
        .await)?;
    let mut events = Vec::new();
    for seen in rows.into_iter().map(SeenRow::into_domain) {
        let seen = seen?;
        events.extend(suspect(tx, (seen.connection, seen.head_version), attempt, act, now).await?);
    }
    Ok(events)
}

/// A version that the attempt may kill is not called live.
async fn suspect(
    tx: &mut Tx<'_>,
    (connection, version): (ConnectionId, i64),
    attempt: &Attempt,
    act: &Act,
    now: Timestamp,
) -> Result<Option<Event>> {
    let changed: Option<(i64,)> = on_tx!(tx, conn => sqlx::query_as(SUSPECT)
        .bind(now.as_micros())
        .bind(&connection.as_bytes()[..])
        .bind(version)
        .fetch_optional(conn)
        .await)?;
    let Some(version) = changed.and_then(|(version,)| u32::try_from(version).ok()) else { return Ok(None) };
    let mut event = act
        .event(EventKind::LivenessChanged, now)
        .version(connection, TokenVersion(version))
        .attempt(attempt.id)
        .reason(Liveness::Suspect.as_str())
        .detail("evidence", "in_doubt");
    event.merchant = attempt.merchant;
    Ok(Some(event))
}

impl SeenRow {
    fn into_domain(self) -> Result<SeenHead> {
        Ok(SeenHead {
            link: LinkId::from_bytes(blob(&self.id, "link id")?),
            row_version: self.row_version,
            connection: ConnectionId::from_bytes(blob(&self.connection_id, "connection id")?),
            head_version: self.head_version,
            candidates: self.candidates,
        })
    }
}

impl AttemptRow {
    fn into_domain(self) -> Result<Attempt> {
        Ok(Attempt {
            id: AttemptId::from_bytes(blob(&self.id, "attempt id")?),
            app: AppId::from_bytes(blob(&self.app_id, "app id")?),
            kind: AttemptKind::parse(&self.kind).ok_or(Error::Corrupt("attempt kind"))?,
            merchant: self
                .merchant_id
                .map(|id| Ok::<_, Error>(MerchantId::from_bytes(blob(&id, "merchant id")?)))
                .transpose()?,
            connection: self
                .connection_id
                .map(|id| Ok::<_, Error>(ConnectionId::from_bytes(blob(&id, "connection id")?)))
                .transpose()?,
            flow: self.flow_id.map(|id| Ok::<_, Error>(FlowId::from_bytes(blob(&id, "flow id")?))).transpose()?,
            state: AttemptState::parse(&self.state).ok_or(Error::Corrupt("attempt state"))?,
            reason: self.reason,
            received_at: Timestamp::from_micros(self.received_at_us),
            armed_at: self.armed_at_us.map(Timestamp::from_micros),
            changed_at: Timestamp::from_micros(self.changed_at_us),
            judge_at: self.judge_at_us.map(Timestamp::from_micros),
        })
    }
}
