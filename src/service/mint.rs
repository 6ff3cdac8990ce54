//! The mint: gate, arm, send once, settle; for a code that a merchant's consent brought, and for a registration. Runs in a task of
//! its own, so that a cancelled or impatient call shortens its own wait and never the work (M7). [`keeping`] has what follows a token.

mod keeping;

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{error, warn};
use url::Url;

use super::Services;
use super::budget::Patience;
use super::error::{Error, Kind, Result};
use super::guard::Verdict;
use super::registration::Registrant;
use crate::domain::ambient::Timestamp;
use crate::domain::attempt::{AttemptKind, AttemptState};
use crate::domain::budget::{Lane, Permit};
use crate::domain::id::{AttemptId, MerchantId};
use crate::domain::notice::NoticeAbout;
use crate::domain::provider_call::About;
use crate::domain::secret::AuthorizationCode;
use crate::domain::token::{Leave, Refusal, Wish};
use crate::domain::trail::Act;
use crate::provider::{CallError, IssuedToken, MintVerdict, Unknown, mint_verdict};
use crate::store::{Attempt, FlowOutcome, SeenHead};

/// First wait before something that must succeed is tried again…
const RETRY_FIRST: Duration = Duration::from_millis(100);
/// …and the longest.
const RETRY_LONGEST: Duration = Duration::from_secs(10);

/// What the guard saw is good for this long while a mint waits for its turn; after that it is asked again.
const SEEN_MAX: Duration = Duration::from_secs(5);

/// The reason of attempts that were given up, unsent, because the process is about to end…
pub(super) const DRAINING: &str = "draining";
/// …and because there was no leave to call the provider in time.
pub(super) const NO_BUDGET: &str = "no_budget";

/// A mint in the hands of the only process that may send it.
pub(super) struct Mint {
    pub(super) attempt: Attempt,
    pub(super) merchant: MerchantId,
    pub(super) leave: Option<Leave>,
    pub(super) by: Means,
    /// Until when its caller waits. A code is waited for as long as it lives.
    pub(super) deadline: Option<Instant>,
    pub(super) act: Act,
}

/// By what a token is to be had.
pub(super) enum Means {
    /// A code that a consent brought.
    Code { code: AuthorizationCode, redirect_uri: Url },
    /// A person's data, for a user to be registered.
    Registrant(Box<Registrant>),
}

impl Means {
    const fn wish(&self) -> Wish {
        match self {
            Self::Code { .. } => Wish::Exchange,
            Self::Registrant(_) => Wish::Register,
        }
    }
}

/// How a mint ended, for a caller who waited.
#[derive(Debug)]
pub(super) enum Ending {
    /// The token is stored.
    Stored,
    /// The guard said no; nothing was sent.
    Refused(Refusal),
    /// What the guard looked at has changed since; nothing was sent.
    Overtaken,
    /// There was no leave to call the provider in time; nothing was sent.
    Busy(Error),
    /// Nothing was sent, for another reason.
    NotSent,
    /// The provider said no.
    Rejected(crate::provider::Refusal),
    /// Nobody knows yet.
    InDoubt,
}

impl Services {
    /// Carries a claimed mint to its end, in a task that nobody can cancel. No ending when it broke off.
    pub(super) fn spawn_mint(&self, mint: Mint) -> JoinHandle<Option<Ending>> {
        let services = self.clone();
        self.tasks.spawn(async move {
            let (id, act) = (mint.attempt.id, mint.act.clone());
            match services.mint(mint).await {
                Ok(ending) => Some(ending),
                Err(failed) => {
                    error!(attempt.id = %id, "mint broke off: {failed}");
                    services.leave_to_judgement(id, &act).await;
                    None
                }
            }
        })
    }

    /// When an attempt that may have been sent can do nothing more: a code dies, a registration is one call.
    pub(super) fn judge_at(&self, attempt: &Attempt) -> Timestamp {
        match attempt.kind {
            AttemptKind::Exchange => attempt.received_at.plus(self.parts.timing.quiescence),
            AttemptKind::Register | AttemptKind::Import => {
                attempt.armed_at.unwrap_or_else(|| self.now()).plus(self.parts.timing.call_quiescence)
            }
        }
    }

    /// Settles an attempt whose task broke off: received, nothing was sent; armed, nobody knows.
    pub(super) async fn leave_to_judgement(&self, id: AttemptId, act: &Act) {
        let mut wait = RETRY_FIRST;
        while let Some(attempt) = self.attempt_of_claim(id).await {
            let (to, judge_at, outcome) = match attempt.state {
                AttemptState::Received => (AttemptState::NotSent, None, Some(FlowOutcome::NotSent)),
                AttemptState::Armed => (AttemptState::InDoubt, Some(self.judge_at(&attempt)), None),
                _ => return,
            };
            match self.parts.store.settle(&attempt, to, "broke_off", judge_at, outcome, act).await {
                Ok(()) => return,
                Err(failed) => error!(attempt.id = %attempt.id, "attempt not settled yet: {failed}"),
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

    async fn mint(&self, mint: Mint) -> Result<Ending> {
        let (seen, permit) = match self.admit(&mint).await? {
            Gate::Open(open) => open,
            Gate::Shut(ending) => return Ok(ending),
        };
        let notices = self.notice_url(NoticeAbout::User(mint.attempt.id))?;
        let armed_from = self.machine_time();
        if !self.parts.store.arm(&mint.attempt, &seen, mint.leave, &mint.act).await? {
            let why = "changed_since_the_gate";
            self.settle(&mint, AttemptState::Refused, why, None, Some(FlowOutcome::Busy)).await?;
            return Ok(Ending::Overtaken);
        }
        let armed = Attempt { state: AttemptState::Armed, armed_at: Some(self.now()), ..mint.attempt };
        let mint = Mint { attempt: armed, ..mint };
        let took = self.machine_time().saturating_sub(armed_from);
        if took > self.parts.timing.send_within() && !self.parts.store.is_exclusive() {
            // Paused meanwhile: somebody may have taken us for dead and put the attempt in doubt, and what is sent after that could
            // revoke what has come since.
            return self.withdraw(&mint, "paused_before_sending").await;
        }
        // The point of no return. It goes out once; whatever comes of it is an answer or a doubt, never a reason to resend.
        match self.send(&mint, permit, &notices).await {
            Ok(issued) => self.keep(mint, issued).await.map(|()| Ending::Stored),
            Err(failed) => self.settle_failure(&mint, failed).await,
        }
    }

    /// Waits for the guard's word, and then for leave to send. Where that took long, what the guard saw is looked at once more, and the
    /// second leave comes ahead of others: it has been waited for.
    async fn admit(&self, mint: &Mint) -> Result<Gate<(Vec<SeenHead>, Permit)>> {
        let mut patience = self.patience_of(mint);
        let mut is_first = true;
        loop {
            let seen = match self.gate(mint, patience).await? {
                Gate::Open(seen) => seen,
                Gate::Shut(ending) => return Ok(Gate::Shut(ending)),
            };
            let asked = Instant::now();
            let permit = match self.budget.permit_unless_draining(patience).await {
                Some(Ok(permit)) if !self.tasks.is_closed() => permit,
                Some(Err(refused)) => return self.end_busy(mint, refused).await.map(Gate::Shut),
                Some(Ok(_)) | None => return self.give_up(mint).await.map(Gate::Shut),
            };
            if !is_first || seen.is_empty() || asked.elapsed() <= SEEN_MAX {
                return Ok(Gate::Open((seen, permit)));
            }
            (is_first, patience.lane) = (false, Lane::Exchange);
        }
    }

    /// How long a mint waits for leave to call the provider.
    fn patience_of(&self, mint: &Mint) -> Patience {
        match mint.by {
            Means::Code { .. } => Patience::lasting(Lane::Exchange, self.gives_up_at(mint).since(self.now())),
            Means::Registrant(_) => Patience::until(Lane::Merchant, mint.deadline),
        }
    }

    /// Until when unknown liveness is asked again. Where a code came of a consent, until it has only a fifth of its life left; a
    /// registration can be asked for again by its caller.
    fn gives_up_at(&self, mint: &Mint) -> Timestamp {
        mint.attempt.received_at.plus(match mint.by {
            Means::Code { .. } => self.parts.timing.code_life.mul_f32(0.8),
            Means::Registrant(_) => Duration::ZERO,
        })
    }

    async fn send(&self, mint: &Mint, permit: Permit, notices: &Url) -> std::result::Result<IssuedToken, CallError> {
        let about = About { attempt: Some(mint.attempt.id), merchant: Some(mint.merchant), connection: None };
        let call = self.parts.provider.by(permit, about);
        match &mint.by {
            Means::Code { code, redirect_uri } => call.exchange_code(code, redirect_uri, Some(notices)).await,
            Means::Registrant(registrant) => call.register(&registrant.registration(notices)).await,
        }
    }

    /// Waits for the guard's word.
    async fn gate(&self, mint: &Mint, patience: Patience) -> Result<Gate<Vec<SeenHead>>> {
        let give_up_at = self.gives_up_at(mint);
        let mut wait = RETRY_FIRST;
        loop {
            let own = Some(mint.attempt.id);
            let verdict = self.guard(mint.merchant, mint.by.wish(), mint.leave, own, Some(patience), &mint.act).await;
            let (why, refusal, outcome) = match verdict {
                Ok(Verdict::Go(seen)) => return Ok(Gate::Open(seen)),
                Ok(Verdict::Refused(Refusal::StillLive, _)) => {
                    ("token_still_live", Refusal::StillLive, FlowOutcome::AlreadyConnected)
                }
                Ok(Verdict::Refused(Refusal::AttemptUnresolved, _)) => {
                    ("attempt_unresolved", Refusal::AttemptUnresolved, FlowOutcome::Busy)
                }
                Err(refused) if refused.kind() == Kind::ProviderBusy => {
                    return self.end_busy(mint, refused).await.map(Gate::Shut);
                }
                unknown => {
                    if let Err(unreadable) = unknown {
                        warn!(attempt.id = %mint.attempt.id, "gate cannot decide: {unreadable}");
                    }
                    if self.tasks.is_closed() {
                        return self.give_up(mint).await.map(Gate::Shut);
                    }
                    if self.now().plus(wait) <= give_up_at {
                        wait = self.pause(wait).await;
                        continue;
                    }
                    ("liveness_unknown", Refusal::LivenessUnknown, FlowOutcome::Unknown)
                }
            };
            self.settle(mint, AttemptState::Refused, why, None, Some(outcome)).await?;
            return Ok(Gate::Shut(Ending::Refused(refusal)));
        }
    }

    /// The process is about to end, and nothing was sent.
    async fn give_up(&self, mint: &Mint) -> Result<Ending> {
        self.settle(mint, AttemptState::NotSent, DRAINING, None, Some(FlowOutcome::NotSent)).await?;
        Ok(Ending::NotSent)
    }

    /// There was no leave to call the provider in time, and nothing was sent.
    async fn end_busy(&self, mint: &Mint, refused: Error) -> Result<Ending> {
        warn!(attempt.id = %mint.attempt.id, "mint given up, unsent: {refused}");
        self.settle(mint, AttemptState::NotSent, NO_BUDGET, None, Some(FlowOutcome::NotSent)).await?;
        Ok(Ending::Busy(refused))
    }

    /// It was armed, and provably nothing was sent.
    async fn withdraw(&self, mint: &Mint, why: &str) -> Result<Ending> {
        self.settle(mint, AttemptState::NotSent, why, None, Some(FlowOutcome::NotSent)).await?;
        if mint.leave.is_some() {
            // What was to be given up was made suspect.
            self.look_at_heads_of(mint).await?;
        }
        Ok(Ending::NotSent)
    }

    async fn settle_failure(&self, mint: &Mint, failed: CallError) -> Result<Ending> {
        let why = failed.to_string();
        let verdict = mint_verdict(&failed);
        match (verdict, failed) {
            (MintVerdict::NotSent, _) => self.withdraw(mint, &why).await,
            (MintVerdict::Rejected, CallError::Refused(refusal)) => {
                self.settle(mint, AttemptState::Rejected, &why, None, Some(FlowOutcome::Rejected)).await?;
                // A refused code that was used before may have cost its tokens (RFC 6749 §4.1.2): look.
                self.look_at_heads_of(mint).await?;
                Ok(Ending::Rejected(refusal))
            }
            (_, failed) => {
                warn!(attempt.id = %mint.attempt.id, "outcome of the mint unknown: {why}");
                if let CallError::OutcomeUnknown(Unknown { salvage: Some(salvage), .. }) = &failed {
                    self.keep_salvage(mint, salvage).await?;
                }
                let judge_at = self.judge_at(&mint.attempt);
                self.settle(mint, AttemptState::InDoubt, &why, Some(judge_at), None).await?;
                Ok(Ending::InDoubt)
            }
        }
    }

    async fn look_at_heads_of(&self, mint: &Mint) -> Result<()> {
        for seen in self.parts.store.seen_heads(mint.merchant).await? {
            // How the mint ended is known whatever this look finds, and whether there was leave for it.
            if seen.head_version > 0
                && let Err(unseen) = self.probe(seen.connection, Patience::sweep(), &mint.act).await
            {
                warn!(connection.id = %seen.connection, "head not looked at after a mint: {unseen}");
            }
        }
        Ok(())
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
            match settled.map_err(Error::from) {
                Ok(()) => return Ok(()),
                Err(failed) if matches!(failed.kind(), Kind::StoreUnavailable | Kind::DeadlinePassed) => {
                    error!(attempt.id = %mint.attempt.id, "attempt not settled yet: {failed}");
                    wait = self.pause(wait).await;
                }
                Err(failed) => return Err(failed),
            }
        }
    }

    /// The machine's own time since it was started: what a pause of the process is measured by.
    fn machine_time(&self) -> Duration {
        let clock = &self.parts.clock;
        clock.boot().saturating_sub(clock.ahead())
    }

    /// Waits, and says how long to wait the next time.
    pub(super) async fn pause(&self, wait: Duration) -> Duration {
        self.parts.clock.sleep(wait).await;
        wait.saturating_mul(2).min(RETRY_LONGEST)
    }
}

/// What came of waiting for the guard.
enum Gate<T> {
    /// Go, with what it takes: the heads, which must still be the merchant's, and then the leave to send.
    Open(T),
    /// It is over.
    Shut(Ending),
}
