//! The mint: gate, arm, send once, settle. Runs in a task of its own, so that a cancelled or impatient call shortens its own wait
//! and never the work (M7).

use std::time::Duration;

use tracing::{error, info, warn};
use url::Url;

use super::error::{Kind, Result};
use super::guard::Verdict;
use super::{Confirmation, Services};
use crate::domain::ambient::Timestamp;
use crate::domain::attempt::AttemptState;
use crate::domain::id::{AttemptId, MerchantId};
use crate::domain::name::Email;
use crate::domain::notice::NoticeAbout;
use crate::domain::provider_call::About;
use crate::domain::secret::{AuthorizationCode, Secret};
use crate::domain::token::{Finding, IssuedKind, Leave, Refusal, Wish};
use crate::domain::trail::Act;
use crate::provider::{CallError, IssuedToken, MintVerdict, Unknown, mint_verdict};
use crate::store::{Attempt, FlowOutcome, NewToken, Resolution, SeenHead, StoredToken};
use crate::vault::{Place, TokenPlaintext};

/// First wait before something that must succeed is tried again…
const RETRY_FIRST: Duration = Duration::from_millis(100);
/// …and the longest.
const RETRY_LONGEST: Duration = Duration::from_secs(10);

/// The reason of attempts that were given up, unsent, because the process is about to end.
const DRAINING: &str = "draining";

/// A code in the hands of the only process that may send it.
pub(super) struct Mint {
    pub(super) attempt: Attempt,
    pub(super) merchant: MerchantId,
    pub(super) leave: Option<Leave>,
    pub(super) code: AuthorizationCode,
    pub(super) redirect_uri: Url,
    pub(super) act: Act,
}

impl Services {
    /// Carries a claimed exchange to its end, in a task that nobody can cancel.
    pub(super) fn spawn_mint(&self, mint: Mint) {
        let services = self.clone();
        self.tasks.spawn(async move {
            let (id, act) = (mint.attempt.id, mint.act.clone());
            if let Err(failed) = services.mint(mint).await {
                error!(attempt.id = %id, "exchange broke off: {failed}");
                services.leave_to_judgement(id, &act).await;
            }
        });
    }

    /// Settles an attempt whose task broke off: received, nothing was sent; armed, nobody knows.
    async fn leave_to_judgement(&self, id: AttemptId, act: &Act) {
        let mut wait = RETRY_FIRST;
        while let Some(attempt) = self.attempt_of_claim(id).await {
            let judge_at = attempt.received_at.plus(self.parts.timing.quiescence);
            let (to, judge_at, outcome) = match attempt.state {
                AttemptState::Received => (AttemptState::NotSent, None, Some(FlowOutcome::NotSent)),
                AttemptState::Armed => (AttemptState::InDoubt, Some(judge_at), None),
                _ => return,
            };
            match self.parts.store.settle(&attempt, to, "broke_off", judge_at, outcome, act).await {
                Ok(()) => return,
                Err(failed) => error!(attempt.id = %id, "attempt not settled yet: {failed}"),
            }
            wait = self.pause(wait).await;
        }
    }

    /// The attempt of a claim that was, or may have been, committed; asks until the database says whether it is there.
    pub(super) async fn attempt_of_claim(&self, id: AttemptId) -> Option<Attempt> {
        let mut wait = RETRY_FIRST;
        loop {
            match self.parts.store.attempt(id).await {
                Ok(attempt) => return attempt,
                Err(unreadable) => {
                    error!(attempt.id = %id, "claimed, but cannot be read yet: {unreadable}");
                    wait = self.pause(wait).await;
                }
            }
        }
    }

    async fn mint(&self, mint: Mint) -> Result<()> {
        let Some(seen) = self.gate(&mint).await? else { return Ok(()) };
        if self.tasks.is_closed() {
            return self.settle(&mint, AttemptState::NotSent, DRAINING, None, Some(FlowOutcome::NotSent)).await;
        }
        if !self.parts.store.arm(&mint.attempt, &seen, &mint.act).await? {
            let why = "changed_since_the_gate";
            return self.settle(&mint, AttemptState::Refused, why, None, Some(FlowOutcome::Busy)).await;
        }
        let mint = Mint { attempt: Attempt { state: AttemptState::Armed, ..mint.attempt }, ..mint };
        let notices = self.notice_url(NoticeAbout::User(mint.attempt.id))?;
        // The point of no return. The code goes out once; whatever comes of it is an answer or a doubt, never a reason to resend.
        let Attempt { id, connection, .. } = mint.attempt;
        let provider =
            self.parts.provider.about(About { attempt: Some(id), merchant: Some(mint.merchant), connection });
        match provider.exchange_code(&mint.code, &mint.redirect_uri, Some(&notices)).await {
            Ok(issued) => self.keep(mint, issued).await,
            Err(failed) => self.settle_failure(&mint, &failed).await,
        }
    }

    /// Waits for the guard's word. Unknown liveness is asked again until the code has only a fifth of its life left.
    async fn gate(&self, mint: &Mint) -> Result<Option<Vec<SeenHead>>> {
        let give_up_at = mint.attempt.received_at.plus(self.parts.timing.code_life.mul_f32(0.8));
        let mut wait = RETRY_FIRST;
        loop {
            let own = Some(mint.attempt.id);
            let verdict = self.guard(mint.merchant, Wish::Exchange, mint.leave, own, true, &mint.act).await;
            match verdict {
                Ok(Verdict::Go(seen)) => return Ok(Some(seen)),
                Ok(Verdict::Refused(Refusal::StillLive, _)) => {
                    let outcome = Some(FlowOutcome::AlreadyConnected);
                    self.settle(mint, AttemptState::Refused, "token_still_live", None, outcome).await?;
                    return Ok(None);
                }
                Ok(Verdict::Refused(Refusal::AttemptUnresolved, _)) => {
                    self.settle(mint, AttemptState::Refused, "attempt_unresolved", None, Some(FlowOutcome::Busy))
                        .await?;
                    return Ok(None);
                }
                Ok(Verdict::Refused(Refusal::LivenessUnknown, _)) => {}
                Err(unreadable) => warn!(attempt.id = %mint.attempt.id, "gate cannot decide: {unreadable}"),
            }
            if self.tasks.is_closed() {
                self.settle(mint, AttemptState::NotSent, DRAINING, None, Some(FlowOutcome::NotSent)).await?;
                return Ok(None);
            }
            if self.now().plus(wait) > give_up_at {
                let outcome = Some(FlowOutcome::Unknown);
                self.settle(mint, AttemptState::Refused, "liveness_unknown", None, outcome).await?;
                return Ok(None);
            }
            wait = self.pause(wait).await;
        }
    }

    /// Seals the token and stores it, however long that takes: it may be the only live one.
    async fn keep(&self, mint: Mint, issued: IssuedToken) -> Result<()> {
        let new = self.seal_issued(&mint, &issued)?;
        let mut wait = RETRY_FIRST;
        let stored = loop {
            match self.parts.store.commit_token(&new, &mint.act).await {
                Ok(stored) => break stored,
                Err(failed) if self.is_committed(&mint).await => {
                    // The commit went through and its answer was lost.
                    warn!(attempt.id = %mint.attempt.id, "commit acknowledged late: {failed}");
                    return Ok(());
                }
                Err(failed) => {
                    error!(attempt.id = %mint.attempt.id, "token not stored yet: {failed}");
                    wait = self.pause(wait).await;
                }
            }
        };
        info!(attempt.id = %mint.attempt.id, connection.id = %stored.connection.id, version = %stored.version, "token stored");
        self.check_identity(&mint, &stored).await
    }

    fn seal_issued(&self, mint: &Mint, issued: &IssuedToken) -> Result<NewToken> {
        let app = &self.parts.app;
        let expires_at = issued.expires_in.map(|life| self.now().plus(life));
        let plaintext = TokenPlaintext {
            subject: issued.subject.as_str().to_owned(),
            access_token: crate::domain::secret::AccessToken::new(issued.access_token.expose().to_owned()),
            refresh_token: None,
            expires_at,
            scopes: None,
        };
        let place = Place::token(app.environment, &app.client_id, mint.attempt.id, issued.subject.as_str());
        let sealed = self
            .parts
            .vault
            .seal(&place, &plaintext.encode(), &*self.parts.entropy)
            .map_err(|refused| super::Error::internal(refused.to_string()))?;
        Ok(NewToken {
            attempt: mint.attempt.clone(),
            subject: issued.subject.clone(),
            sealed,
            fingerprint: self.parts.vault.fingerprint(&issued.access_token),
            issued_kind: IssuedKind::Permanent,
            expires_at,
            revoked_earlier: self.parts.capabilities.mint_revokes,
        })
    }

    async fn is_committed(&self, mint: &Mint) -> bool {
        let attempt = self.parts.store.attempt(mint.attempt.id).await;
        attempt.is_ok_and(|attempt| attempt.is_some_and(|attempt| attempt.state == AttemptState::Committed))
    }

    /// the new token must name the user it was stored under. Where configuration allows, the same answer's e-mail address
    /// may confirm the link.
    async fn check_identity(&self, mint: &Mint, stored: &StoredToken) -> Result<()> {
        let probed = self.probe(stored.connection.id, &mint.act).await?;
        let held = stored.link.as_ref().filter(|link| link.state == crate::domain::merchant::LinkState::Held);
        let (Some(link), Finding::Alive, Confirmation::EmailMatch, true) =
            (held, probed.finding, self.parts.settings.confirmation, stored.email_may_confirm)
        else {
            return Ok(());
        };
        let expected = self.expected_email(mint.merchant).await?;
        // An address that nobody has proved is anybody's: the invitation itself prefills the expected one.
        let named = probed.user.filter(|user| user.state == "registered").and_then(|user| user.email);
        if let (Some(expected), Some(named)) = (expected, named)
            && expected.folded() == named.folded()
        {
            self.parts.store.resolve_link(link, Resolution::Activate, None, &mint.act, "email_match").await?;
        }
        Ok(())
    }

    async fn expected_email(&self, merchant: MerchantId) -> Result<Option<Email>> {
        let private = self.private(merchant).await?;
        Ok(private.and_then(|private| private.expose("email").and_then(|text| Email::parse("email", text).ok())))
    }

    async fn settle_failure(&self, mint: &Mint, failed: &CallError) -> Result<()> {
        let why = failed.to_string();
        match mint_verdict(failed) {
            MintVerdict::NotSent => {
                self.settle(mint, AttemptState::NotSent, &why, None, Some(FlowOutcome::NotSent)).await
            }
            MintVerdict::Rejected => {
                self.settle(mint, AttemptState::Rejected, &why, None, Some(FlowOutcome::Rejected)).await?;
                // A refused code that was used before may have cost its tokens (RFC 6749 §4.1.2): look.
                for seen in self.parts.store.seen_heads(mint.merchant).await? {
                    if seen.head_version > 0 {
                        self.probe(seen.connection, &mint.act).await?;
                    }
                }
                Ok(())
            }
            MintVerdict::InDoubt => {
                warn!(attempt.id = %mint.attempt.id, "outcome of the exchange unknown: {why}");
                if let CallError::OutcomeUnknown(Unknown { salvage: Some(salvage), .. }) = failed {
                    self.keep_salvage(mint, salvage).await?;
                }
                let judge_at = mint.attempt.received_at.plus(self.parts.timing.quiescence);
                self.settle(mint, AttemptState::InDoubt, &why, Some(judge_at), None).await
            }
        }
    }

    /// Seals what came back and could not be read, and keeps it for an operator: it may hold the only live token.
    async fn keep_salvage(&self, mint: &Mint, salvage: &Secret<Vec<u8>>) -> Result<()> {
        let app = &self.parts.app;
        let place = Place::salvage(app.environment, &app.client_id, mint.attempt.id);
        let sealed = self
            .parts
            .vault
            .seal(&place, salvage.expose(), &*self.parts.entropy)
            .map_err(|refused| super::Error::internal(refused.to_string()))?;
        let mut wait = RETRY_FIRST;
        loop {
            match self.parts.store.keep_salvage(&mint.attempt, &sealed, &mint.act).await.map_err(super::Error::from) {
                Err(failed) if matches!(failed.kind(), Kind::StoreUnavailable | Kind::DeadlinePassed) => {
                    error!(attempt.id = %mint.attempt.id, "unreadable answer not kept yet: {failed}");
                    wait = self.pause(wait).await;
                }
                kept => return kept,
            }
        }
    }

    /// Settles the attempt, however long that takes. Another writer can only be recovery, and then there is nothing left to do.
    async fn settle(
        &self,
        mint: &Mint,
        to: AttemptState,
        why: &str,
        judge_at: Option<Timestamp>,
        outcome: Option<FlowOutcome>,
    ) -> Result<()> {
        let mut wait = RETRY_FIRST;
        loop {
            let settled = self.parts.store.settle(&mint.attempt, to, why, judge_at, outcome, &mint.act).await;
            match settled.map_err(super::Error::from) {
                Ok(()) => return Ok(()),
                Err(failed) if matches!(failed.kind(), Kind::StoreUnavailable | Kind::DeadlinePassed) => {
                    error!(attempt.id = %mint.attempt.id, "attempt not settled yet: {failed}");
                    wait = self.pause(wait).await;
                }
                Err(failed) => return Err(failed),
            }
        }
    }

    /// Waits, and says how long to wait the next time.
    pub(super) async fn pause(&self, wait: Duration) -> Duration {
        self.parts.clock.sleep(wait).await;
        wait.saturating_mul(2).min(RETRY_LONGEST)
    }
}
