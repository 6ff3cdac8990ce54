//! What calls about accounts are made with, and what their failures mean: for the caller, and for the token.

use std::time::Duration;

use tracing::warn;

use super::not_open;
use crate::domain::account::{Account, AccountRefusal};
use crate::domain::ambient::Timestamp;
use crate::domain::budget::Permit;
use crate::domain::id::{ConnectionId, MerchantId, TokenVersion};
use crate::domain::provider_call::About;
use crate::domain::secret::AccessToken;
use crate::domain::token::Liveness;
use crate::domain::trail::Act;
use crate::provider::{CallError, CallKind, OneCall, Refusal, Signal};
use crate::service::budget::Patience;
use crate::service::error::{Error, Kind, Result};
use crate::service::{Services, tokens};
use crate::store::{Head, MerchantKey, Observed};

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
    /// A call about this account.
    pub(super) fn call(&self, services: &Services, permit: Permit, account: &Account) -> OneCall {
        let about = About { attempt: None, merchant: account.merchant, connection: Some(self.connection) };
        services.parts.provider.by(permit, about)
    }
}

impl Services {
    /// The token of the merchant's active connection, under the conditions of a read.
    pub(super) async fn bearer_for(&self, merchant: MerchantId) -> Result<Bearer> {
        let head = self.serving_head(merchant).await?;
        self.bearer_with(head)
    }

    /// The token with which a caller's wish about this account is carried out: its merchant's, and only while that merchant is
    /// linked to the connection that owns the account. Whom the connection serves beside does not lend his token to it. An account
    /// without a merchant, the app owner's, goes by its connection.
    pub(super) async fn bearer_at(&self, account: &Account) -> Result<Bearer> {
        let Some(merchant) = account.merchant else { return self.bearer_of(account.connection).await };
        let head = self.serving_head(merchant).await?;
        if head.connection.id != account.connection {
            // The merchant has left the provider user whose account it is.
            return Err(not_open(account));
        }
        self.bearer_with(head)
    }

    async fn serving_head(&self, merchant: MerchantId) -> Result<Head> {
        match self.parts.store.head_of_merchant(&MerchantKey::Id(merchant)).await? {
            Some(head) => Ok(head),
            None => Err(Error::new(self.why_no_head(merchant).await?)),
        }
    }

    fn bearer_with(&self, head: Head) -> Result<Bearer> {
        tokens::readable(&head.version, None, self.now())?;
        let token = self.unseal(&head.version, &head.connection.subject, &head.sealed)?;
        Ok(Bearer { connection: head.connection.id, version: head.version.number, token })
    }

    /// The token of a connection, whoever it serves by now: to look, on nobody's behalf, for what may have been made with it.
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
        self.probe(connection, Patience::sweep(), act).await.map(drop)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{NotSentReason, Unknown, UnknownReason};

    fn answer(status: u16, error: &str, code: Option<&str>) -> CallError {
        let code = code.map(str::to_owned);
        CallError::Refused(Refusal { status, error: error.to_owned(), code, description: "why".to_owned() })
    }

    fn word(failed: &CallError) -> &'static str {
        match verdict(failed) {
            Verdict::NotDone(Some(_)) => "not done, later",
            Verdict::NotDone(None) => "not done",
            Verdict::Refused(_) => "refused",
            Verdict::InDoubt => "in doubt",
        }
    }

    #[test]
    fn only_what_is_certain_is_taken_for_a_no() {
        let unknown = |reason| CallError::OutcomeUnknown(Unknown { reason, salvage: None });
        for (failed, expected) in [
            (CallError::NotSent(NotSentReason::Connect), "not done"),
            (answer(400, "invalid_request", Some("1003")), "refused"),
            (answer(401, "access_denied", Some("1011")), "refused"),
            (answer(501, "invalid_request", Some("1001")), "refused"),
            // The list of numbers is open-ended: a new one is a no all the same.
            (answer(400, "invalid_request", Some("10003")), "refused"),
            (answer(400, "throttle_exceeded", None), "not done, later"),
            (answer(429, "throttle_exceeded", Some("1007")), "not done, later"),
            // A proxy may have passed it on.
            (answer(429, "too_many_requests", None), "in doubt"),
            (answer(408, "invalid_request", Some("1003")), "in doubt"),
            (answer(500, "processing_error", Some("1008")), "in doubt"),
            (answer(400, "processing_error", None), "in doubt"),
            (answer(400, "invalid_request", Some("1008")), "in doubt"),
            (answer(503, "invalid_request", Some("1007")), "in doubt"),
            (unknown(UnknownReason::Timeout), "in doubt"),
            (unknown(UnknownReason::ConnectionLost), "in doubt"),
            (unknown(UnknownReason::Malformed { status: 200 }), "in doubt"),
        ] {
            assert_eq!(word(&failed), expected, "{failed}");
        }
    }

    #[test]
    fn a_question_without_effect_is_refused_or_cannot_be_answered_now() {
        let refused = question_failed(&answer(401, "access_denied", Some("1010")));
        assert_eq!(refused.kind(), Kind::ProviderRefused);
        assert_eq!(refused.metadata().get("provider_code").map(String::as_str), Some("1010"));
        let throttled = question_failed(&answer(400, "throttle_exceeded", Some("1007")));
        assert_eq!((throttled.kind(), throttled.retry_delay()), (Kind::ProviderUnavailable, Some(THROTTLE_WINDOW)));
        assert_eq!(question_failed(&answer(500, "processing_error", None)).kind(), Kind::ProviderUnavailable);
        assert!(is_gone(&answer(400, "access_denied", Some("3003"))));
        assert!(!is_gone(&answer(401, "access_denied", Some("3002"))));
    }
}
