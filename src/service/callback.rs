//! The second half of a journey: callback → exchange in a task of its own → status page → `return_url`.

use std::net::{IpAddr, Ipv4Addr};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;
use url::Url;

use super::Services;
use super::error::{Error, Result};
use super::mint::{Means, Mint};
use crate::domain::ambient::Timestamp;
use crate::domain::attempt::AttemptState;
use crate::domain::id::{AttemptId, CallId, FlowId};
use crate::domain::merchant::LinkState;
use crate::domain::secret::AuthorizationCode;
use crate::domain::trail::{Act, EventKind, Outcome};
use crate::store::{Claim, Flow, FlowOutcome, FlowState, Invitation};
use crate::vault::{BlindIndex, Capability};

/// Longest authorization code we accept: the provider's limit (`docs/provider.md` §4).
const CODE_BYTES_MAX: usize = 255;

/// What the provider's redirect brought, each parameter at most once.
#[derive(Debug, Default)]
pub struct CallbackParams {
    /// The code.
    pub code: Option<AuthorizationCode>,
    /// The state.
    pub state: Option<String>,
    /// The error, if the person or the provider said no.
    pub error: Option<String>,
}

/// Where a callback leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Landing {
    /// To the status page of its flow.
    Status(FlowId),
    /// Nowhere; nothing was consumed.
    Refused(CallbackRefusal),
}

/// Why a callback was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallbackRefusal {
    /// No state, or one we did not make.
    UnknownState,
    /// Not the browser in which the button was pressed.
    OtherBrowser,
    /// The button was pressed too long ago.
    Expired,
    /// Neither a code nor an error, or one that cannot be.
    Malformed,
}

/// What the status page shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StatusView {
    /// How it stands.
    pub told: Told,
    /// Where the browser goes now, if `return_url` was given and the outcome is there.
    pub return_to: Option<Url>,
}

/// What the merchant is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// Still at work.
    Working,
    /// The outcome is not known yet; when it will be.
    InDoubt(Timestamp),
    /// It is over, like this.
    Over(FlowOutcome),
}

impl Services {
    /// The provider sent the browser back. Checks the browser and the single-use state before anything is consumed (M5), then
    /// consumes and claims in one transaction and leaves the exchange to a task of its own.
    ///
    /// # Errors
    /// As every use of the database; nothing was consumed then.
    pub async fn callback(
        &self,
        params: CallbackParams,
        cookie: Option<&str>,
        from: Option<IpAddr>,
        call: CallId,
    ) -> Result<Landing> {
        let act = Act::browser(call);
        let Some(state) = params.state.filter(|state| state.len() <= CODE_BYTES_MAX) else {
            return self.refuse_callback(&act, from, None, CallbackRefusal::UnknownState).await;
        };
        let state_hash = self.parts.vault.blind_index(BlindIndex::State, state.as_bytes());
        let Some(flow) = self.parts.store.flow_by_state(&state_hash).await? else {
            return self.refuse_callback(&act, from, None, CallbackRefusal::UnknownState).await;
        };
        if !self.is_bound(&flow, cookie) {
            return self.refuse_callback(&act, from, Some(&flow), CallbackRefusal::OtherBrowser).await;
        }
        if flow.state != FlowState::Pending {
            // A reload, the back button, a double click: the recorded outcome, and nothing else happens.
            return Ok(Landing::Status(flow.id));
        }
        if flow.expires_at <= self.now() {
            return self.refuse_callback(&act, from, Some(&flow), CallbackRefusal::Expired).await;
        }
        let invitation = self.parts.store.invitation(flow.invitation).await?;
        let invitation = invitation.ok_or_else(|| Error::internal("a flow without its invitation"))?;
        match (params.code, params.error) {
            (None, Some(_)) => {
                self.parts.store.end_without_code(&flow, invitation.merchant, FlowOutcome::Denied, &act).await?;
                Ok(Landing::Status(flow.id))
            }
            (Some(code), None) if is_code(code.expose()) => self.claim(flow, invitation, code, act).await,
            _ => self.refuse_callback(&act, from, Some(&flow), CallbackRefusal::Malformed).await,
        }
    }

    /// Claims the exchange and hands it to its owner. In a task: a browser that hangs up between the two would leave an attempt
    /// that nobody carries out (M7).
    async fn claim(&self, flow: Flow, invitation: Invitation, code: AuthorizationCode, act: Act) -> Result<Landing> {
        let (services, landing) = (self.clone(), Landing::Status(flow.id));
        let claim = self.tasks.spawn(async move { services.claim_and_mint(&flow, &invitation, code, act).await });
        claim.await.map_err(|ended| Error::internal(format!("claiming ended badly: {ended}")))??;
        Ok(landing)
    }

    async fn claim_and_mint(
        &self,
        flow: &Flow,
        invitation: &Invitation,
        code: AuthorizationCode,
        act: Act,
    ) -> Result<()> {
        let merchant = invitation.merchant;
        let links = self.parts.store.links(merchant).await?;
        let connection = links.iter().find(|link| link.state == LinkState::Active).map(|link| link.connection);
        let id = AttemptId::generate(&*self.parts.clock, &*self.parts.entropy);
        let code_hash = self.parts.vault.blind_index(BlindIndex::Code, code.expose().as_bytes());
        let claimed = self.parts.store.claim_exchange(flow, merchant, connection, id, &code_hash, &act).await;
        if claimed.as_ref().is_ok_and(|claim| *claim != Claim::Claimed) {
            return Ok(());
        }
        // After an error too: a claim whose commit went through and whose answer was lost is ours, and nobody else has its code.
        match (self.attempt_of_claim(id).await, claimed) {
            (Some(attempt), _) => {
                let redirect_uri = self.redirect_uri()?;
                let by = Means::Code { code, redirect_uri };
                self.spawn_mint(Mint { attempt, merchant, leave: invitation.leave, by, deadline: None, act });
                Ok(())
            }
            (None, Ok(_)) => Err(Error::internal("an attempt that was just claimed is gone")),
            (None, Err(failed)) => Err(failed.into()),
        }
    }

    async fn refuse_callback(
        &self,
        act: &Act,
        from: Option<IpAddr>,
        flow: Option<&Flow>,
        why: CallbackRefusal,
    ) -> Result<Landing> {
        // Anybody can knock here: recorded one by one up to a limit per address, then counted.
        let from = from.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let Some(counted) = self.doorman.admit(from, self.parts.clock.boot()) else {
            return Ok(Landing::Refused(why));
        };
        let mut event = act.event(EventKind::CallbackRefused, self.now()).outcome(Outcome::Denied).reason(match why {
            CallbackRefusal::UnknownState => "unknown_state",
            CallbackRefusal::OtherBrowser => "other_browser",
            CallbackRefusal::Expired => "expired",
            CallbackRefusal::Malformed => "malformed",
        });
        event.flow = flow.map(|flow| flow.id);
        event.invitation = flow.map(|flow| flow.invitation);
        if counted > 0 {
            event = event.detail("unrecorded_before", counted);
        }
        self.parts.auditor.record(event).await?;
        Ok(Landing::Refused(why))
    }

    /// What the status page shows; `None` when there is no such flow or it is another browser's.
    ///
    /// # Errors
    /// As every read of the database.
    pub async fn status(&self, flow: FlowId, cookie: Option<&str>) -> Result<Option<StatusView>> {
        let flow = self.parts.store.flow(flow).await?;
        let Some(flow) = flow.filter(|flow| self.is_bound(flow, cookie)) else { return Ok(None) };
        if flow.state == FlowState::Pending {
            return Ok(None);
        }
        let told = match (flow.outcome, flow.attempt) {
            (Some(outcome), _) => Told::Over(outcome),
            (None, Some(attempt)) => {
                let attempt = self.parts.store.attempt(attempt).await?;
                let in_doubt = attempt.filter(|attempt| attempt.state == AttemptState::InDoubt);
                in_doubt.and_then(|attempt| attempt.judge_at).map_or(Told::Working, Told::InDoubt)
            }
            (None, None) => Told::Working,
        };
        Ok(Some(StatusView { told, return_to: self.return_to(&flow, told).await? }))
    }

    /// `return_url` with what the platform's page needs to confirm the connection.
    async fn return_to(&self, flow: &Flow, told: Told) -> Result<Option<Url>> {
        let Told::Over(outcome) = told else { return Ok(None) };
        let invitation = self.parts.store.invitation(flow.invitation).await?;
        let Some(mut url) = invitation
            .as_ref()
            .filter(|invitation| !invitation.return_url.is_empty())
            .and_then(|invitation| Url::parse(&invitation.return_url).ok())
        else {
            return Ok(None);
        };
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("flow", &flow.id.to_string()).append_pair("outcome", outcome.as_str());
            if matches!(outcome, FlowOutcome::Held | FlowOutcome::Connected) {
                query.append_pair("confirmation", &self.confirmation_of(flow.id));
            }
        }
        Ok(Some(url))
    }

    /// The value that return_url receives and ConfirmConnection brings back.
    pub(super) fn confirmation_of(&self, flow: FlowId) -> String {
        URL_SAFE_NO_PAD.encode(self.parts.vault.capability(Capability::Confirmation, flow.as_bytes()))
    }

    fn is_bound(&self, flow: &Flow, cookie: Option<&str>) -> bool {
        cookie.is_some_and(|cookie| {
            let shown = self.parts.vault.blind_index(BlindIndex::Browser, cookie.as_bytes());
            shown[..].ct_eq(&flow.browser_hash).into()
        })
    }
}

fn is_code(code: &str) -> bool {
    (1..=CODE_BYTES_MAX).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_graphic())
}
