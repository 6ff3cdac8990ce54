//! Invitations (our links) and flows (browser journeys).

use sqlx::FromRow;

use super::merchants::Private;
use super::requests::Request;
use super::tx::{Run as _, Tx, on_tx, transaction};
use super::{Error, Result, Store, blob, on_db};
use crate::domain::ambient::Timestamp;
use crate::domain::id::{AppId, AttemptId, ConnectionId, FlowId, InvitationId, LinkId, MerchantId, TokenVersion};
use crate::domain::mac::RowKind;
use crate::domain::merchant::Merchant;
use crate::domain::token::{Leave, LeaveKind};
use crate::domain::trail::{Act, EventKind};

#[cfg(test)]
pub(in crate::store) const STATEMENTS: &[&str] =
    &[INVITATION, INSERT_INVITATION, FLOW, FLOW_BY_STATE, INSERT_FLOW, CONSUME, END];

const INVITATION: &str = "SELECT id, app_id, merchant_id, return_url, requested_by, leave, leave_connection, \
                          leave_version, created_at_us, expires_at_us, mac FROM invitations WHERE id = $1";
const INSERT_INVITATION: &str = "INSERT INTO invitations (id, app_id, merchant_id, return_url, requested_by, leave, leave_connection, \
     leave_version, created_at_us, expires_at_us, mac) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
const FLOW: &str = "SELECT id, app_id, invitation_id, state_hash, browser_hash, state, outcome, attempt_id, link_id, \
                    started_at_us, expires_at_us, mac FROM flows WHERE id = $1";
const FLOW_BY_STATE: &str = "SELECT id, app_id, invitation_id, state_hash, browser_hash, state, outcome, attempt_id, link_id, \
     started_at_us, expires_at_us, mac FROM flows WHERE state_hash = $1";
const INSERT_FLOW: &str = "INSERT INTO flows (id, app_id, invitation_id, state_hash, browser_hash, state, started_at_us, expires_at_us, mac) \
     VALUES ($1, $2, $3, $4, $5, 'pending', $6, $7, $8)";
pub(in crate::store) const CONSUME: &str =
    "UPDATE flows SET state = 'working', attempt_id = $1 WHERE id = $2 AND state = 'pending' RETURNING id";
pub(in crate::store) const END: &str = "UPDATE flows SET state = 'done', outcome = $1, link_id = $2, ended_at_us = $3 \
                                        WHERE id = $4 AND state <> 'done' RETURNING id";

/// Our own link, handed to a merchant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invitation {
    /// Ours.
    pub id: InvitationId,
    /// Within which app.
    pub app: AppId,
    /// For which merchant.
    pub merchant: MerchantId,
    /// Where the browser goes in the end; empty: nowhere.
    pub return_url: String,
    /// Who asked for it.
    pub requested_by: String,
    /// Leave to revoke one live head.
    pub leave: Option<Leave>,
    /// When it was issued.
    pub created_at: Timestamp,
    /// Until when it works.
    pub expires_at: Timestamp,
}

/// How far a flow has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlowState {
    /// The browser is at the provider.
    Pending,
    /// Its state is consumed; the outcome is being worked on.
    Working,
    /// Over; the outcome is there.
    Done,
}

/// How a flow ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlowOutcome {
    /// A token came of it and the link is active.
    Connected,
    /// A token came of it and the link waits for confirmation.
    Held,
    /// The merchant's token works: the code was dropped unused.
    AlreadyConnected,
    /// The person said no at the provider's page, or the provider did.
    Denied,
    /// Whether the token works could not be told: the code was dropped unused.
    Unknown,
    /// Another attempt of this merchant is not settled.
    Busy,
    /// The provider refused the code.
    Rejected,
    /// Nothing was sent: the provider could not be reached.
    NotSent,
    /// It is known by now that nothing came of it.
    Lost,
}

impl FlowOutcome {
    const ALL: [Self; 9] = [
        Self::Connected,
        Self::Held,
        Self::AlreadyConnected,
        Self::Denied,
        Self::Unknown,
        Self::Busy,
        Self::Rejected,
        Self::NotSent,
        Self::Lost,
    ];

    /// The stored form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Held => "held",
            Self::AlreadyConnected => "already_connected",
            Self::Denied => "denied",
            Self::Unknown => "unknown",
            Self::Busy => "busy",
            Self::Rejected => "rejected",
            Self::NotSent => "not_sent",
            Self::Lost => "lost",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == text)
    }
}

/// One browser journey.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Flow {
    /// Ours.
    pub id: FlowId,
    /// Within which app.
    pub app: AppId,
    /// Of which invitation.
    pub invitation: InvitationId,
    /// HMAC of its single-use state.
    pub state_hash: [u8; 32],
    /// HMAC of the browser's cookie.
    pub browser_hash: [u8; 32],
    /// How far it has come.
    pub state: FlowState,
    /// How it ended.
    pub outcome: Option<FlowOutcome>,
    /// The attempt it led to.
    pub attempt: Option<AttemptId>,
    /// The link it led to.
    pub link: Option<LinkId>,
    /// When the button was pressed.
    pub started_at: Timestamp,
    /// Until when its state is good.
    pub expires_at: Timestamp,
}

/// What StartAuthorization writes.
#[derive(Clone, Debug)]
pub struct AuthorizationOrder {
    /// The merchant; made if it is new.
    pub merchant: Merchant,
    /// Whether it was known when the order was made up.
    pub merchant_is_new: bool,
    /// Its personal data, if the order brings any.
    pub private: Option<Private>,
    /// The invitation.
    pub invitation: Invitation,
    /// The request.
    pub request: Request,
}

#[derive(FromRow)]
struct InvitationRow {
    id: Vec<u8>,
    app_id: Vec<u8>,
    merchant_id: Vec<u8>,
    return_url: String,
    requested_by: String,
    leave: Option<String>,
    leave_connection: Option<Vec<u8>>,
    leave_version: Option<i64>,
    created_at_us: i64,
    expires_at_us: i64,
    mac: Vec<u8>,
}

#[derive(FromRow)]
struct FlowRow {
    id: Vec<u8>,
    app_id: Vec<u8>,
    invitation_id: Vec<u8>,
    state_hash: Vec<u8>,
    browser_hash: Vec<u8>,
    state: String,
    outcome: Option<String>,
    attempt_id: Option<Vec<u8>>,
    link_id: Option<Vec<u8>>,
    started_at_us: i64,
    expires_at_us: i64,
    mac: Vec<u8>,
}

impl Store {
    /// Writes an invitation, and the merchant with it if it is new.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the merchant or the request was made at the same time.
    pub async fn start_authorization(&self, order: &AuthorizationOrder, act: &Act) -> Result<()> {
        transaction!(self, "start_authorization", tx => {
            let now = tx.now();
            let mut events = Vec::new();
            if order.merchant_is_new {
                let made = self.insert_merchant(tx, &order.merchant, act, now).await?;
                events.push(made.ok_or(Error::Conflict("the merchant was made at the same time"))?);
            }
            if let Some(private) = &order.private {
                self.put_private(tx, order.merchant.id, private, now).await?;
            }
            let invitation = &order.invitation;
            let mac = with_invitation_fields(invitation, |fields| self.tag_row(RowKind::Invitation, fields));
            on_tx!(tx, conn => sqlx::query(INSERT_INVITATION)
                .bind(&invitation.id.as_bytes()[..])
                .bind(&invitation.app.as_bytes()[..])
                .bind(&invitation.merchant.as_bytes()[..])
                .bind(invitation.return_url.as_str())
                .bind(invitation.requested_by.as_str())
                .bind(invitation.leave.map(|leave| leave_str(leave.kind)))
                .bind(invitation.leave.as_ref().map(|leave| &leave.connection.as_bytes()[..]))
                .bind(invitation.leave.map(|leave| i64::from(leave.version.0)))
                .bind(invitation.created_at.as_micros())
                .bind(invitation.expires_at.as_micros())
                .bind(&mac.0[..])
                .run(conn)
                .await)?;
            self.note_request(tx, &order.request, invitation.id.as_bytes(), now).await?;
            events.push(
                act.event(EventKind::AuthorizationStarted, now)
                    .merchant(order.merchant.id)
                    .invitation(invitation.id)
                    .detail("expires", invitation.expires_at.to_rfc3339()),
            );
            Ok(((), events))
        })
    }

    /// The invitation with this id.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the row does not belong to its MAC.
    pub async fn invitation(&self, id: InvitationId) -> Result<Option<Invitation>> {
        let row: Option<InvitationRow> =
            on_db!(read self, pool => sqlx::query_as(INVITATION).bind(&id.as_bytes()[..]).fetch_optional(pool).await)?;
        let Some(row) = row else { return Ok(None) };
        let leave = match (row.leave.as_deref(), &row.leave_connection, row.leave_version) {
            (None, None, None) => None,
            (Some(kind), Some(connection), Some(version)) => Some(Leave {
                kind: parse_leave(kind).ok_or(Error::Corrupt("leave"))?,
                connection: ConnectionId::from_bytes(blob(connection, "connection id")?),
                version: TokenVersion(u32::try_from(version).map_err(|_| Error::Corrupt("version"))?),
            }),
            _ => return Err(Error::Corrupt("leave")),
        };
        let invitation = Invitation {
            id: InvitationId::from_bytes(blob(&row.id, "invitation id")?),
            app: AppId::from_bytes(blob(&row.app_id, "app id")?),
            merchant: MerchantId::from_bytes(blob(&row.merchant_id, "merchant id")?),
            return_url: row.return_url,
            requested_by: row.requested_by,
            leave,
            created_at: Timestamp::from_micros(row.created_at_us),
            expires_at: Timestamp::from_micros(row.expires_at_us),
        };
        with_invitation_fields(&invitation, |fields| self.check_row(RowKind::Invitation, fields, &row.mac))?;
        Ok(Some(invitation))
    }

    /// Writes a flow: the button was pressed.
    ///
    /// # Errors
    /// As every write of the database.
    pub async fn start_flow(&self, flow: &Flow, merchant: MerchantId, act: &Act) -> Result<()> {
        let mac = with_flow_fields(flow, |fields| self.tag_row(RowKind::Flow, fields));
        transaction!(self, "start_flow", tx => {
            on_tx!(tx, conn => sqlx::query(INSERT_FLOW)
                .bind(&flow.id.as_bytes()[..])
                .bind(&flow.app.as_bytes()[..])
                .bind(&flow.invitation.as_bytes()[..])
                .bind(&flow.state_hash[..])
                .bind(&flow.browser_hash[..])
                .bind(flow.started_at.as_micros())
                .bind(flow.expires_at.as_micros())
                .bind(&mac.0[..])
                .run(conn)
                .await)?;
            let event = act
                .event(EventKind::FlowStarted, flow.started_at)
                .merchant(merchant)
                .invitation(flow.invitation)
                .flow(flow.id);
            Ok(((), vec![event]))
        })
    }

    /// The flow with this id.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the row does not belong to its MAC.
    pub async fn flow(&self, id: FlowId) -> Result<Option<Flow>> {
        let row: Option<FlowRow> =
            on_db!(read self, pool => sqlx::query_as(FLOW).bind(&id.as_bytes()[..]).fetch_optional(pool).await)?;
        row.map(|row| self.check_flow(row)).transpose()
    }

    /// The flow whose state has this HMAC.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the row does not belong to its MAC.
    pub async fn flow_by_state(&self, state_hash: &[u8; 32]) -> Result<Option<Flow>> {
        let row: Option<FlowRow> =
            on_db!(read self, pool => sqlx::query_as(FLOW_BY_STATE).bind(&state_hash[..]).fetch_optional(pool).await)?;
        row.map(|row| self.check_flow(row)).transpose()
    }

    /// Consumes the state of a flow that brought no code, and ends it. False when it was consumed before.
    ///
    /// # Errors
    /// As every write of the database.
    pub async fn end_without_code(
        &self,
        flow: &Flow,
        merchant: MerchantId,
        outcome: FlowOutcome,
        act: &Act,
    ) -> Result<bool> {
        transaction!(self, "end_without_code", tx => {
            let now = tx.now();
            let none: Option<&[u8]> = None;
            let consumed: Option<(Vec<u8>,)> = on_tx!(tx, conn => sqlx::query_as(CONSUME)
                .bind(none)
                .bind(&flow.id.as_bytes()[..])
                .fetch_optional(conn)
                .await)?;
            if consumed.is_none() {
                return Ok((false, Vec::new()));
            }
            let ended = self.end_flow(tx, flow.id, merchant, outcome, None, act, now).await?;
            let consumed = act.event(EventKind::FlowConsumed, now).merchant(merchant).flow(flow.id);
            Ok((true, std::iter::once(consumed).chain(ended).collect()))
        })
    }

    /// Ends a flow; no event when it was over before.
    #[expect(clippy::too_many_arguments, reason = "one row and its event")]
    pub(in crate::store) async fn end_flow(
        &self,
        tx: &mut Tx<'_>,
        flow: FlowId,
        merchant: MerchantId,
        outcome: FlowOutcome,
        link: Option<LinkId>,
        act: &Act,
        now: Timestamp,
    ) -> Result<Option<crate::domain::trail::Event>> {
        let row: Option<(Vec<u8>,)> = on_tx!(tx, conn => sqlx::query_as(END)
            .bind(outcome.as_str())
            .bind(link.as_ref().map(|link| &link.as_bytes()[..]))
            .bind(now.as_micros())
            .bind(&flow.as_bytes()[..])
            .fetch_optional(conn)
            .await)?;
        Ok(row.map(|_| act.event(EventKind::FlowEnded, now).merchant(merchant).flow(flow).reason(outcome.as_str())))
    }

    fn check_flow(&self, row: FlowRow) -> Result<Flow> {
        let flow = Flow {
            id: FlowId::from_bytes(blob(&row.id, "flow id")?),
            app: AppId::from_bytes(blob(&row.app_id, "app id")?),
            invitation: InvitationId::from_bytes(blob(&row.invitation_id, "invitation id")?),
            state_hash: blob(&row.state_hash, "state")?,
            browser_hash: blob(&row.browser_hash, "browser")?,
            state: match row.state.as_str() {
                "pending" => FlowState::Pending,
                "working" => FlowState::Working,
                "done" => FlowState::Done,
                _ => return Err(Error::Corrupt("flow state")),
            },
            outcome: row
                .outcome
                .map(|outcome| FlowOutcome::parse(&outcome).ok_or(Error::Corrupt("flow outcome")))
                .transpose()?,
            attempt: row
                .attempt_id
                .map(|id| Ok::<_, Error>(AttemptId::from_bytes(blob(&id, "attempt id")?)))
                .transpose()?,
            link: row.link_id.map(|id| Ok::<_, Error>(LinkId::from_bytes(blob(&id, "link id")?))).transpose()?,
            started_at: Timestamp::from_micros(row.started_at_us),
            expires_at: Timestamp::from_micros(row.expires_at_us),
        };
        with_flow_fields(&flow, |fields| self.check_row(RowKind::Flow, fields, &row.mac))?;
        Ok(flow)
    }
}

/// What the MAC of an invitation covers: all but the time it was issued.
fn with_invitation_fields<R>(invitation: &Invitation, then: impl FnOnce(&[&[u8]]) -> R) -> R {
    let leave = invitation.leave;
    let leave_connection = leave.map(|leave| *leave.connection.as_bytes());
    let leave_version = leave.map(|leave| leave.version.0.to_be_bytes());
    then(&[
        invitation.id.as_bytes(),
        invitation.app.as_bytes(),
        invitation.merchant.as_bytes(),
        invitation.return_url.as_bytes(),
        invitation.requested_by.as_bytes(),
        leave.map(|leave| leave_str(leave.kind).as_bytes()).unwrap_or_default(),
        leave_connection.as_ref().map(|id| &id[..]).unwrap_or_default(),
        leave_version.as_ref().map(|version| &version[..]).unwrap_or_default(),
        &invitation.expires_at.as_micros().to_be_bytes(),
    ])
}

/// What the MAC of a flow covers: what never changes.
fn with_flow_fields<R>(flow: &Flow, then: impl FnOnce(&[&[u8]]) -> R) -> R {
    then(&[
        flow.id.as_bytes(),
        flow.app.as_bytes(),
        flow.invitation.as_bytes(),
        &flow.state_hash,
        &flow.browser_hash,
        &flow.expires_at.as_micros().to_be_bytes(),
    ])
}

const fn leave_str(kind: LeaveKind) -> &'static str {
    match kind {
        LeaveKind::Replacement => "replacement",
        LeaveKind::UpgradeTemporary => "upgrade_temporary",
    }
}

fn parse_leave(text: &str) -> Option<LeaveKind> {
    [LeaveKind::Replacement, LeaveKind::UpgradeTemporary].into_iter().find(|kind| leave_str(*kind) == text)
}
