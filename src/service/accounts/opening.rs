//! Opening an account once: noted before it is sent, sent by one owner, and looked for by its reference id when the answer was
//! lost. What is in doubt is not sent again before the provider can no longer be working on it and a look has shown that it is
//! not there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tracing::{error, info, warn};

use super::not_open;
use super::provider::{Bearer, Verdict, refused, unavailable, verdict};
use crate::domain::account::{Account, OpeningState, ProviderAccount};
use crate::domain::ambient::Timestamp;
use crate::domain::id::AccountId;
use crate::domain::notice::NoticeAbout;
use crate::domain::trail::Act;
use crate::provider::{CallError, NewAccount};
use crate::service::Services;
use crate::service::budget::Patience;
use crate::service::error::{Error, Kind, Result};
use crate::store::{self, OpeningStep};

/// First wait before a write that must succeed is tried again.
const RETRY_FIRST: Duration = Duration::from_millis(100);
/// Unsettled accounts that are read at a time.
const PAGE: u32 = 100;
/// The reason of accounts whose owner is gone.
const OWNER_DIED: &str = "owner_died";

/// Whose turn it is with which account: however many ask, one acts.
#[derive(Default)]
pub(in crate::service) struct Turns(Mutex<HashMap<AccountId, Weak<Turn>>>);

type Turn = tokio::sync::Mutex<()>;

impl Turns {
    /// The lock of this account.
    pub(super) fn of(&self, id: AccountId) -> Arc<Turn> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = turns.get(&id).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::default();
        turns.insert(id, Arc::downgrade(&turn));
        turn
    }
}

/// What is to be written, however long that takes.
enum Outcome<'a> {
    Step(&'a OpeningStep),
    Seen(&'a ProviderAccount),
}

impl Services {
    /// Brings an account that is wanted as far as it goes now. In a task of its own: an impatient caller shortens its own wait, not
    /// the work.
    pub(super) async fn open_account(&self, id: AccountId, patience: Patience, act: &Act) -> Result<Account> {
        let (services, act) = (self.clone(), act.clone());
        let opened = self.tasks.spawn(async move { services.drive_account(id, patience, &act).await });
        opened.await.map_err(|_| Error::internal("opening an account ended badly"))?
    }

    async fn drive_account(&self, id: AccountId, patience: Patience, act: &Act) -> Result<Account> {
        let turn = self.accounts.of(id);
        let _turn = turn.lock().await;
        let account = self.account_row(id).await?;
        let account = self.settle_if_due(account, patience, act).await?;
        match account.opening {
            OpeningState::Requested | OpeningState::Absent => self.send_account(&account, patience, act).await,
            _ => self.answer(account),
        }
    }

    /// What a caller is told of an account that is not to be sent.
    fn answer(&self, account: Account) -> Result<Account> {
        match (account.opening, &account.refusal) {
            (OpeningState::Open, _) => Ok(account),
            (OpeningState::Refused, Some(refusal)) => Err(refused(refusal).with("account_id", account.id)),
            (OpeningState::Refused, None) => Err(Error::internal("a refused account without the refusal")),
            _ => Err(self.unresolved(&account)),
        }
    }

    fn unresolved(&self, account: &Account) -> Error {
        let wait = self.settled_by(account).since(self.now()).max(self.parts.timing.recovery_interval);
        Error::new(Kind::AccountUnresolved).with("account_id", account.id).retry_after(wait)
    }

    /// When what was sent can no longer come about.
    fn settled_by(&self, account: &Account) -> Timestamp {
        account.sent_at.unwrap_or(account.changed_at).plus(self.parts.timing.call_quiescence)
    }

    /// Sends the create, once. Called by who has the turn.
    async fn send_account(&self, account: &Account, patience: Patience, act: &Act) -> Result<Account> {
        if account.merchant.is_none() {
            return Err(not_open(account));
        }
        let bearer = self.bearer_at(account).await?;
        let callback_uri = self.notice_url(NoticeAbout::Account(account.id))?;
        let kind = account.kind.ok_or_else(|| Error::internal("an account was asked for without a kind"))?;
        let reference_id = account.id.to_string();
        let permit = match self.budget.permit_unless_draining(patience).await {
            Some(permit) if !self.tasks.is_closed() => {
                permit.map_err(|refused| refused.with("account_id", account.id))?
            }
            _ => return Err(Error::new(Kind::ProviderUnavailable).because("draining")),
        };
        let account = self.parts.store.step_account(account, &OpeningStep::Send, act).await?;
        let wanted = NewAccount {
            name: &account.name,
            description: &account.description,
            reference_id: &reference_id,
            kind,
            country: &account.country,
            currency: &account.currency,
            callback_uri: &callback_uri,
        };
        match bearer.call(self, permit, &account).create_account(&bearer.token, &wanted).await {
            Ok(said) => self.persist(&account, Outcome::Seen(&said), act).await,
            Err(failed) => self.account_failed(account, &bearer, &failed, patience, act).await,
        }
    }

    async fn account_failed(
        &self,
        account: Account,
        bearer: &Bearer,
        failed: &CallError,
        patience: Patience,
        act: &Act,
    ) -> Result<Account> {
        self.heed(failed, bearer, act);
        match verdict(failed) {
            Verdict::NotDone(after) => {
                let step = OpeningStep::NotSent(failed.to_string());
                self.persist(&account, Outcome::Step(&step), act).await?;
                let error = unavailable(failed).with("account_id", account.id);
                Err(after.map_or(error.clone(), |after| error.retry_after(after)))
            }
            Verdict::Refused(refusal) => {
                // A second account with this reference id is refused: the first one may have come about after all.
                let step = if account.sends > 1 {
                    match self.find_at_provider(&account, bearer, patience).await {
                        Ok(Ok(Some(said))) => return self.persist(&account, Outcome::Seen(&said), act).await,
                        Ok(Ok(None)) => OpeningStep::Refuse(refusal),
                        Ok(Err(unknown)) => OpeningStep::Doubt(unknown.to_string()),
                        Err(refused) => OpeningStep::Doubt(refused.kind().reason().to_owned()),
                    }
                } else {
                    OpeningStep::Refuse(refusal)
                };
                let account = self.persist(&account, Outcome::Step(&step), act).await?;
                self.answer(account)
            }
            Verdict::InDoubt => {
                warn!(account.id = %account.id, "outcome of an account's creation unknown: {failed}");
                let step = OpeningStep::Doubt(failed.to_string());
                let account = self.persist(&account, Outcome::Step(&step), act).await?;
                let account = self.look_for(account, patience, act).await?;
                self.answer(account)
            }
        }
    }

    /// Settles what the process before this one left sent. The lock on the database proves that it is gone.
    pub(in crate::service) async fn adopt_accounts(&self) -> Result<()> {
        let act = Act::system();
        let mut after = None;
        loop {
            let page = self.parts.store.unsettled_accounts_after(after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id);
            for account in page.iter().filter(|account| account.opening == OpeningState::Sent) {
                let step = OpeningStep::Doubt(OWNER_DIED.to_owned());
                self.parts.store.step_account(account, &step, &act).await?;
            }
        }
    }

    /// Looks for every account in doubt whose time has come. One that cannot be looked for stays in doubt and holds up no other.
    pub(in crate::service) async fn settle_accounts(&self) -> Result<()> {
        let act = Act::system();
        let mut after = None;
        loop {
            let page = self.parts.store.unsettled_accounts_after(after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id);
            for account in &page {
                if self.is_due(account)
                    && let Err(failed) = self.settle_account(account.id, Patience::sweep(), &act).await
                {
                    info!(account.id = %account.id, "account not settled yet: {failed}");
                }
            }
        }
    }

    /// At once, for who died may have left it done; and when it can be judged.
    fn is_due(&self, account: &Account) -> bool {
        let is_fresh = account.changed_at.plus(self.parts.timing.recovery_interval.saturating_mul(2)) > self.now();
        self.settled_by(account) <= self.now() || (is_fresh && account.opening == OpeningState::InDoubt)
    }

    /// Looks for one account in doubt, unless somebody is at work on it.
    pub(super) async fn settle_account(&self, id: AccountId, patience: Patience, act: &Act) -> Result<()> {
        let (services, act) = (self.clone(), act.clone());
        let settled = self.tasks.spawn(async move {
            let turn = services.accounts.of(id);
            let Ok(_turn) = turn.try_lock() else { return Ok(()) };
            let account = services.account_row(id).await?;
            services.settle_if_due(account, patience, &act).await.map(drop)
        });
        settled.await.map_err(|_| Error::internal("settling an account ended badly"))?
    }

    /// Called by who has the turn: what still stands as sent then was left by an owner that is gone.
    async fn settle_if_due(&self, account: Account, patience: Patience, act: &Act) -> Result<Account> {
        let account = if account.opening == OpeningState::Sent && self.settled_by(&account) <= self.now() {
            let step = OpeningStep::Doubt(OWNER_DIED.to_owned());
            self.persist(&account, Outcome::Step(&step), act).await?
        } else {
            account
        };
        match account.opening {
            OpeningState::InDoubt => {
                let id = account.id;
                self.look_for(account, patience, act).await.map_err(|failed| failed.with("account_id", id))
            }
            _ => Ok(account),
        }
    }

    /// Looks for an account in doubt by its reference id: found, it is open; not found when it can no longer come about, absent.
    async fn look_for(&self, account: Account, patience: Patience, act: &Act) -> Result<Account> {
        let bearer = self.bearer_of(account.connection).await?;
        // Before the wait for leave to ask: what was not there by then may be judged by it.
        let asked_at = self.now();
        let found = match self.find_at_provider(&account, &bearer, patience).await {
            Ok(found) => found,
            Err(refused) => {
                info!(account.id = %account.id, "account in doubt not looked for yet: {refused}");
                return Ok(account);
            }
        };
        match found {
            Ok(Some(said)) => {
                info!(account.id = %account.id, "account in doubt found at the provider");
                self.persist(&account, Outcome::Seen(&said), act).await
            }
            Ok(None) if self.settled_by(&account) <= asked_at => {
                info!(account.id = %account.id, "account in doubt is not at the provider");
                self.persist(&account, Outcome::Step(&OpeningStep::Absent), act).await
            }
            Ok(None) => Ok(account),
            Err(failed) => {
                warn!(account.id = %account.id, "account in doubt not looked for: {failed}");
                self.heed(&failed, &bearer, act);
                Ok(account)
            }
        }
    }

    /// Asks for the account by its reference id; the outer error is that there was no leave to.
    async fn find_at_provider(
        &self,
        account: &Account,
        bearer: &Bearer,
        patience: Patience,
    ) -> Result<std::result::Result<Option<ProviderAccount>, CallError>> {
        let reference_id = account.id.to_string();
        let call = bearer.call(self, self.budget.permit(patience).await?, account);
        let found = call.find_accounts(&bearer.token, Some(&reference_id)).await;
        let is_it = |said: &ProviderAccount| said.reference_id.as_deref() == Some(reference_id.as_str());
        Ok(found.map(|found| found.into_iter().find(is_it)))
    }

    /// Writes what came of a call, however long that takes: until then nobody knows. Another writer can only be recovery. What the
    /// database will never take (the provider's id is another account's, a rule of the schema) ends here: the account stays where
    /// it is, and holds up neither its turn nor the end of the process.
    async fn persist(&self, account: &Account, outcome: Outcome<'_>, act: &Act) -> Result<Account> {
        let target = match outcome {
            Outcome::Step(step) => step.target(),
            Outcome::Seen(_) => OpeningState::Open,
        };
        let mut wait = RETRY_FIRST;
        loop {
            let written = match outcome {
                Outcome::Step(step) => self.parts.store.step_account(account, step, act).await,
                Outcome::Seen(said) => self.parts.store.see_account(account, said, None, None, act).await,
            };
            match written {
                Ok(written) => return Ok(written),
                Err(failed) if failed.is_retryable() || matches!(failed, store::Error::CommitUnknown { .. }) => {
                    error!(account.id = %account.id, "what came of an account not written yet: {failed}");
                }
                Err(failed) => {
                    if let (store::Error::Conflict(_), Some(now)) = (&failed, self.stands_at(account, target).await) {
                        return Ok(now);
                    }
                    error!(account.id = %account.id, "what came of an account cannot be written: {failed}");
                    return Err(Error::from(failed).with("account_id", account.id));
                }
            }
            wait = self.pause(wait).await;
            // The commit may have gone through, and its answer been lost.
            if let Some(now) = self.stands_at(account, target).await {
                return Ok(now);
            }
        }
    }

    /// The account, if the step was taken: by us, or by another process that found out the same.
    async fn stands_at(&self, account: &Account, target: OpeningState) -> Option<Account> {
        let now = self.parts.store.account(account.id).await.ok().flatten()?;
        (now.opening == target && now.sends == account.sends).then_some(now)
    }
}
