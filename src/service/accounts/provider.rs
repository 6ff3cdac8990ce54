//! What calls about accounts are made with, and what their failures mean: for the caller, and for the token.

use std::time::Duration;

use tracing::warn;

use crate::domain::account::{Account, AccountRefusal};
use crate::domain::ambient::Timestamp;
use crate::domain::id::{ConnectionId, MerchantId, TokenVersion};
use crate::domain::provider_call::About;
use crate::domain::secret::AccessToken;
use crate::domain::token::Liveness;
use crate::domain::trail::Act;
use crate::provider::{CallError, CallKind, Client, Refusal, Signal};
use crate::service::error::{Error, Kind, Result};
use crate::service::{Services, tokens};
use crate::store::{MerchantKey, Observed};

/// The provider's throttle counts windows of ten seconds (`docs/provider.md` §2).
const THROTTLE_WINDOW: Duration = Duration::from_secs(10);
/// The number of an account that was deleted.
const DELETED: &str = "3003";

/// A token that may be used, and whose it is.
pub(super) struct Bearer {
    pub(super) connection: ConnectionId,
    version: TokenVersion,
    pub(super) token: AccessToken,
}

impl Bearer {
    /// The provider's client, for calls about this account.
    pub(super) fn client(&self, services: &Services, account: &Account) -> Client {
        services.parts.provider.about(About {
            attempt: None,
            merchant: account.merchant,
            connection: Some(self.connection),
        })
    }
}

impl Services {
    /// The token of the merchant's active connection, under the conditions of a read.
    pub(super) async fn bearer_for(&self, merchant: MerchantId) -> Result<Bearer> {
        let Some(head) = self.parts.store.head_of_merchant(&MerchantKey::Id(merchant)).await? else {
            return Err(Error::new(self.why_no_head(merchant).await?));
        };
        tokens::readable(&head.version, None, self.now())?;
        let token = self.unseal(&head.version, &head.connection.subject, &head.sealed)?;
        Ok(Bearer { connection: head.connection.id, version: head.version.number, token })
    }

    /// The token of a connection, whoever it serves by now: to look at what was made with it.
    pub(super) async fn bearer_of(&self, connection: ConnectionId) -> Result<Bearer> {
        let head = self.parts.store.head(connection).await?.ok_or_else(|| Error::new(Kind::NotConnected))?;
        tokens::readable(&head, None, self.now())?;
        let owner = self.parts.store.connection(connection).await?;
        let owner = owner.ok_or_else(|| Error::internal("a head without its connection"))?;
        let sealed = self.parts.store.sealed(connection, head.number).await?;
        let token = self.unseal(&head, &owner.subject, &sealed)?;
        Ok(Bearer { connection, version: head.number, token })
    }

    /// Looks after the token, in the background, if the failure says something about it.
    pub(super) fn heed(&self, failed: &CallError, bearer: &Bearer, act: &Act) {
        let signal = failed.signal(CallKind::OtherWithToken);
        if !matches!(signal, Signal::Dead | Signal::Suspect | Signal::InsufficientScope) {
            return;
        }
        let (services, act) = (self.clone(), act.clone());
        let (connection, version, observed_at) = (bearer.connection, bearer.version, self.now());
        self.tasks.spawn(async move {
            let heeded = services.look_after(signal, connection, version, observed_at, &act).await;
            if let Err(failed) = heeded {
                warn!(connection.id = %connection, "token not looked after: {failed}");
            }
        });
    }

    async fn look_after(
        &self,
        signal: Signal,
        connection: ConnectionId,
        version: TokenVersion,
        observed_at: Timestamp,
        act: &Act,
    ) -> Result<()> {
        // A missing permission is no doubt about the token's life.
        if signal != Signal::InsufficientScope {
            let doubt = Observed { liveness: Liveness::Suspect, evidence: "call", at: observed_at, user: None };
            self.parts.store.record_liveness(connection, version, doubt, act).await?;
        }
        self.probe(connection, act).await.map(drop)
    }
}

/// What a failed create means for the account.
pub(super) enum Verdict {
    /// Provably nothing was done; asking again is good from then on.
    NotDone(Option<Duration>),
    /// The provider said no.
    Refused(AccountRefusal),
    /// It may have been made.
    InDoubt,
}

/// What a failed create means for the account.
pub(super) fn verdict(failed: &CallError) -> Verdict {
    match failed {
        CallError::NotSent(_) => Verdict::NotDone(None),
        CallError::OutcomeUnknown(_) => Verdict::InDoubt,
        CallError::Refused(refusal) if is_throttled(refusal) => Verdict::NotDone(Some(THROTTLE_WINDOW)),
        CallError::Refused(refusal) if says_no(refusal) => Verdict::Refused(kept(refusal)),
        CallError::Refused(_) => Verdict::InDoubt,
    }
}

/// Whether a change may have taken effect, or still will.
pub(super) fn may_have_acted(failed: &CallError) -> bool {
    matches!(verdict(failed), Verdict::InDoubt)
}

/// Whether the provider calls the account deleted.
pub(super) fn is_gone(failed: &CallError) -> bool {
    matches!(failed, CallError::Refused(refusal) if refusal.code.as_deref() == Some(DELETED))
}

/// The error of a call without effect.
pub(super) fn question_failed(failed: &CallError) -> Error {
    match verdict(failed) {
        Verdict::Refused(refusal) => refused(&refusal),
        Verdict::NotDone(Some(after)) => unavailable(failed).retry_after(after),
        Verdict::NotDone(None) | Verdict::InDoubt => unavailable(failed),
    }
}

/// The provider cannot be asked right now.
pub(super) fn unavailable(failed: &CallError) -> Error {
    Error::new(Kind::ProviderUnavailable).because(failed.to_string())
}

/// The provider's no, in its words.
pub(super) fn refused(refusal: &AccountRefusal) -> Error {
    let error = Error::new(Kind::ProviderRefused)
        .with("provider_error", &refusal.error)
        .with("provider_description", &refusal.description);
    match &refusal.code {
        Some(code) => error.with("provider_code", code),
        None => error,
    }
}

fn kept(refusal: &Refusal) -> AccountRefusal {
    AccountRefusal {
        error: refusal.error.clone(),
        code: refusal.code.clone(),
        description: refusal.description.clone(),
    }
}

/// Throttled by the provider itself, which looks at the call no further. A proxy's 429 is none.
fn is_throttled(refusal: &Refusal) -> bool {
    is_clear(refusal.status) && (refusal.code.as_deref() == Some("1007") || refusal.error == "throttle_exceeded")
}

/// 501 is the status of an unknown call; 408 and 429 are said by proxies, too, that may have passed the request on.
fn is_clear(status: u16) -> bool {
    matches!(status, 400..=499 | 501) && status != 408
}

/// A clear no: a well-formed error that is the request's and not the provider's own. What a new number hides is found by its
/// reference id, if it is asked for again.
fn says_no(refusal: &Refusal) -> bool {
    let is_its_own = refusal.error == "processing_error" || refusal.code.as_deref() == Some("1008");
    is_clear(refusal.status) && refusal.status != 429 && !is_its_own
}
