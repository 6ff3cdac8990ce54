//! Payment accounts: made with the token that is stored, looked at, changed.
//!
//! A second account never needs a new token, so nothing here has a way to a mint: neither this module nor the one below it names
//! what redeems a code or makes a user, and `tests/rules.rs` holds that. `opening` has the protocol by which an account is made
//! once, whatever is lost on the way.

mod listing;
mod opening;
mod provider;

use super::budget::Patience;
use super::error::{Error, Kind, Result};
use super::{Call, Permitted, Services};
use crate::domain::account::{Account, AccountKind, AccountState, Country, OpeningState, ProviderAccount};
use crate::domain::budget::Lane;
use crate::domain::id::{AccountId, MerchantId};
use crate::domain::merchant::Merchant;
use crate::domain::name::{Description, DisplayName, FieldError, ProviderAccountId, RequestId};
use crate::domain::statement::{Judgement, Platform, Verdict, judge};
use crate::domain::trail::{Act, EventKind};
use crate::policy::{Action, CreateAccount, ReadAccount, Resource, UpdateAccount};
use crate::provider::AccountChanges;
use crate::store::{self, Earlier, MerchantKey, Request};

use provider::{is_gone, may_have_acted, question_failed};

pub use listing::AccountPage;
pub(super) use opening::Turns;

/// How an account is named.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AccountKey {
    /// By our id.
    Id(AccountId),
    /// By the provider's.
    Provider(ProviderAccountId),
}

/// What CreateAccount is asked.
#[derive(Clone, Debug)]
pub struct AccountOrder {
    /// The caller's id of the request.
    pub request_id: RequestId,
    /// For whom.
    pub merchant: MerchantKey,
    /// What a statement shows; judged here.
    pub name: String,
    /// What the merchant does business under: for a suggestion, not kept.
    pub dba: Option<DisplayName>,
    /// What it is for.
    pub description: Description,
    /// Whose money it is.
    pub kind: AccountKind,
    /// Where it is.
    pub country: Country,
}

/// What UpdateAccount is asked.
#[derive(Clone, Debug)]
pub struct AccountPatch {
    /// The caller's id of the request.
    pub request_id: RequestId,
    /// Which account.
    pub account: AccountId,
    /// Its new name, judged here; `None` leaves it.
    pub name: Option<String>,
    /// Its new description; `None` leaves it.
    pub description: Option<Description>,
}

impl Services {
    /// Judges a name for an account, and does nothing else.
    ///
    /// # Errors
    /// [`Kind::PermissionDenied`] for a caller that may make accounts for nobody.
    pub async fn check_account_name(&self, call: &Call, name: &str, dba: Option<&str>) -> Result<Judgement> {
        const KIND: EventKind = EventKind::AccountNameChecked;
        self.expect_any_grant::<CreateAccount>(call, KIND).await?;
        let judgement = judge(name, dba, &Platform::default());
        let policy = self.policy();
        let mut event = call.act().event(KIND, self.now()).reason(judgement.verdict.as_str());
        event.grant = policy.any_grant::<CreateAccount>(&call.caller, self.now()).map(str::to_owned);
        event.policy = Some(policy.hash());
        self.parts.auditor.record(event).await?;
        Ok(judgement)
    }

    /// Has an account made for a merchant, with the token of its active connection. The same request leads to the same account,
    /// whatever happened in between.
    ///
    /// # Errors
    /// [`Kind::NameRefused`]; those of a token read; [`Kind::ProviderRefused`], [`Kind::ProviderUnavailable`],
    /// [`Kind::ProviderBusy`]: nothing was made;
    /// [`Kind::AccountUnresolved`]: not known yet.
    pub async fn create_account(&self, call: &Call, wanted: &AccountOrder) -> Result<Account> {
        const KIND: EventKind = EventKind::AccountRequested;
        let Permitted { merchant, act, .. } = self.permit::<CreateAccount>(call, KIND, &wanted.merchant).await?;
        match self.ask_for_account(call, wanted, &merchant, &act).await {
            Ok(account) => Ok(account),
            Err(refused) => Err(self.fail(&act, KIND, Some(merchant.id), refused).await),
        }
    }

    async fn ask_for_account(
        &self,
        call: &Call,
        wanted: &AccountOrder,
        merchant: &Merchant,
        act: &Act,
    ) -> Result<Account> {
        let content = [
            &merchant.id.as_bytes()[..],
            wanted.name.as_bytes(),
            wanted.description.as_str().as_bytes(),
            wanted.kind.as_str().as_bytes(),
            wanted.country.code().as_bytes(),
        ];
        let request = self.request(call, &wanted.request_id, "CreateAccount", &content);
        let id = match self.asked_before(&request, merchant.id, act).await? {
            Some(id) => id,
            None => self.note_account(wanted, merchant, &request, act).await?,
        };
        self.open_account(id, call.patience(Lane::Account), act).await
    }

    /// The account that this request asked for before, on record like the first time.
    async fn asked_before(&self, request: &Request, merchant: MerchantId, act: &Act) -> Result<Option<AccountId>> {
        let id = match self.parts.store.earlier(request).await? {
            Earlier::None => return Ok(None),
            Earlier::Other => return Err(Error::new(Kind::RequestIdReused)),
            Earlier::Same(id) => AccountId::from_bytes(id),
        };
        // What the request led to is noted in a row that nothing authenticates: it must not lead to another's account.
        if self.account_row(id).await?.merchant != Some(merchant) {
            return Err(Error::new(Kind::DataCorrupt).because("a request leads to another merchant"));
        }
        let event = act.event(EventKind::AccountRequested, self.now()).merchant(merchant);
        self.parts.auditor.record(event.reason("repeated").detail("account", id)).await?;
        Ok(Some(id))
    }

    /// Notes that the account is wanted: nothing is sent for an account that no restart would know of.
    async fn note_account(
        &self,
        wanted: &AccountOrder,
        merchant: &Merchant,
        request: &Request,
        act: &Act,
    ) -> Result<AccountId> {
        expect_good_name(&wanted.name, wanted.dba.as_ref())?;
        let bearer = self.bearer_for(merchant.id).await?;
        let id = AccountId::generate(&*self.parts.clock, &*self.parts.entropy);
        let now = self.now();
        let account = Account {
            id,
            app: self.parts.app.id,
            connection: bearer.connection,
            merchant: Some(merchant.id),
            reference_id: Some(id.to_string()),
            provider_id: None,
            opening: OpeningState::Requested,
            name: wanted.name.clone(),
            description: wanted.description.as_str().to_owned(),
            kind: Some(wanted.kind),
            country: wanted.country.code().to_owned(),
            currency: wanted.country.currency().to_owned(),
            seen: None,
            refusal: None,
            sends: 0,
            sent_at: None,
            created_at: now,
            changed_at: now,
        };
        match self.parts.store.request_account(&account, request, act).await {
            Ok(()) => Ok(id),
            // A twin of this request got here first: its account is ours.
            Err(store::Error::Conflict(_)) => {
                let twin = self.asked_before(request, merchant.id, act).await?;
                twin.ok_or_else(|| Error::new(Kind::Conflict))
            }
            Err(failed) => Err(failed.into()),
        }
    }

    /// One account as it was last seen, or, to `refresh`, as the provider says it is now.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there is none that the caller may see; to refresh also those of a token read,
    /// [`Kind::AccountNotOpen`] when its merchant is connected elsewhere by now, and what the provider's calls end in.
    pub async fn account(&self, call: &Call, key: &AccountKey, refresh: bool) -> Result<Account> {
        const KIND: EventKind = EventKind::AccountRead;
        let (account, act) = self.permit_account::<ReadAccount>(call, KIND, key).await?;
        let (merchant, patience) = (account.merchant, call.patience(Lane::Account));
        if refresh && account.opening == OpeningState::Open {
            return match self.refresh_account(&account, patience, &act).await {
                Ok(account) => Ok(account),
                Err(failed) => Err(self.fail(&act, KIND, merchant, failed).await),
            };
        }
        let account = if refresh && account.opening.is_unsettled() {
            match self.settled_account(account.id, patience, &act).await {
                Ok(account) => account,
                Err(unsettled) => return Err(self.fail(&act, KIND, merchant, unsettled).await),
            }
        } else {
            account
        };
        let mut event = act.event(KIND, self.now()).connection(account.connection).detail("account", account.id);
        event.merchant = merchant;
        self.parts.auditor.record(event).await?;
        Ok(account)
    }

    async fn settled_account(&self, id: AccountId, patience: Patience, act: &Act) -> Result<Account> {
        self.settle_account(id, patience, act).await?;
        self.account_row(id).await
    }

    /// Asks the provider how an open account stands.
    async fn refresh_account(&self, account: &Account, patience: Patience, act: &Act) -> Result<Account> {
        let permit = self.budget.permit(patience).await?;
        let bearer = self.bearer_at(account).await?;
        let asked = bearer.call(self, permit, account).account(&bearer.token, provider_id(account)?).await;
        let said = match asked {
            Ok(said) => said,
            Err(failed) if is_gone(&failed) => deleted(account)?,
            Err(failed) => {
                self.heed(&failed, &bearer, act);
                return Err(question_failed(&failed).with("account_id", account.id));
            }
        };
        Ok(self.parts.store.see_account(account, &said, None, Some(EventKind::AccountRead), act).await?)
    }

    /// Changes name and description of an account.
    ///
    /// # Errors
    /// [`Kind::NameRefused`], [`Kind::AccountNotOpen`], [`Kind::ProviderRefused`], [`Kind::ProviderUnavailable`];
    /// [`Kind::ProviderOutcomeUnknown`] when the account does not show the change and may still come to.
    pub async fn update_account(&self, call: &Call, wanted: &AccountPatch) -> Result<Account> {
        const KIND: EventKind = EventKind::AccountRequested;
        let key = AccountKey::Id(wanted.account);
        let (account, act) = self.permit_account::<UpdateAccount>(call, KIND, &key).await?;
        let merchant = account.merchant;
        match self.change_account(call, wanted, account, &act).await {
            Ok(account) => Ok(account),
            Err(refused) => Err(self.fail(&act, KIND, merchant, refused).await),
        }
    }

    async fn change_account(&self, call: &Call, wanted: &AccountPatch, account: Account, act: &Act) -> Result<Account> {
        let text = |value: Option<&str>| value.unwrap_or_default().as_bytes().to_vec();
        let (name, description) =
            (text(wanted.name.as_deref()), text(wanted.description.as_ref().map(Description::as_str)));
        let content = [&account.id.as_bytes()[..], &name, &description];
        let request = self.request(call, &wanted.request_id, "UpdateAccount", &content);
        match self.parts.store.earlier(&request).await? {
            Earlier::Same(id) if id == *account.id.as_bytes() => {
                let mut event = act.event(EventKind::AccountRequested, self.now()).reason("repeated");
                event.merchant = account.merchant;
                self.parts.auditor.record(event.detail("account", account.id)).await?;
                return Ok(account);
            }
            Earlier::Same(_) => return Err(Error::new(Kind::DataCorrupt).because("a request leads to another account")),
            Earlier::Other => return Err(Error::new(Kind::RequestIdReused)),
            Earlier::None => {}
        }
        if let Some(name) = &wanted.name {
            expect_good_name(name, None)?;
        }
        if !account.is_open() {
            return Err(not_open(&account));
        }
        let patience = call.patience(Lane::Account);
        let (services, wanted, act, id) = (self.clone(), wanted.clone(), act.clone(), account.id);
        let changed =
            self.tasks.spawn(async move { services.modify_account(id, &wanted, &request, patience, &act).await });
        changed.await.map_err(|_| Error::internal("changing an account ended badly"))?
    }

    /// Sends the change, one at a time for each account. It is idempotent: what is not noted may be sent again.
    async fn modify_account(
        &self,
        id: AccountId,
        wanted: &AccountPatch,
        request: &Request,
        patience: Patience,
        act: &Act,
    ) -> Result<Account> {
        let turn = self.accounts.of(id);
        let _turn = turn.lock().await;
        let permit = self.budget.permit(patience).await?;
        let account = self.account_row(id).await?;
        let bearer = self.bearer_at(&account).await?;
        let sent = bearer.call(self, permit, &account);
        let changes = AccountChanges {
            name: wanted.name.as_deref(),
            description: wanted.description.as_ref().map(Description::as_str),
        };
        let shows = |said: &ProviderAccount| {
            changes.name.is_none_or(|name| name == said.name)
                && changes.description.is_none_or(|description| description == said.description)
        };
        let said = match sent.modify_account(&bearer.token, provider_id(&account)?, &changes).await {
            Ok(said) => said,
            Err(failed) => {
                self.heed(&failed, &bearer, act);
                if !may_have_acted(&failed) {
                    return Err(question_failed(&failed).with("account_id", id));
                }
                let unknown = Error::new(Kind::ProviderOutcomeUnknown)
                    .with("account_id", id)
                    .retry_after(self.parts.timing.recovery_interval)
                    .because(failed.to_string());
                let Ok(permit) = self.budget.permit(patience).await else { return Err(unknown) };
                match bearer.call(self, permit, &account).account(&bearer.token, provider_id(&account)?).await {
                    Ok(said) if shows(&said) => said,
                    Ok(_) | Err(_) => return Err(unknown),
                }
            }
        };
        let because = Some(EventKind::AccountRequested);
        Ok(self.parts.store.see_account(&account, &said, Some(request), because, act).await?)
    }

    /// Loads the account and makes the grant: by its merchant, or, for one without, by a grant for the whole deployment.
    async fn permit_account<A: Action>(
        &self,
        call: &Call,
        kind: EventKind,
        key: &AccountKey,
    ) -> Result<(Account, Act)> {
        self.expect_any_grant::<A>(call, kind).await?;
        let (account, merchant) = match self.find_account_and_merchant(key).await {
            Ok(Some(found)) => found,
            Ok(None) => return Err(self.deny(call, kind, None, Kind::NotFound).await),
            Err(unreadable) => return Err(self.fail(&call.act(), kind, None, unreadable).await),
        };
        if let Some(merchant) = merchant {
            let (_grant, act) = self.grant::<A>(call, kind, &merchant).await?;
            return Ok((account, act));
        }
        match self.policy().authorize::<A>(&call.caller, &Resource::Deployment, self.now()) {
            Ok(grant) => Ok((account, call.act_by(&grant))),
            Err(_) => Err(self.deny(call, kind, None, Kind::NotFound).await),
        }
    }

    async fn find_account_and_merchant(&self, key: &AccountKey) -> Result<Option<(Account, Option<Merchant>)>> {
        let Some(account) = self.find_account(key).await? else { return Ok(None) };
        let Some(id) = account.merchant else { return Ok(Some((account, None))) };
        let merchant = self.parts.store.merchant(&MerchantKey::Id(id)).await?;
        let merchant = merchant.ok_or_else(|| Error::internal("an account without its merchant"))?;
        Ok(Some((account, Some(merchant))))
    }

    /// The account with this name.
    pub(super) async fn find_account(&self, key: &AccountKey) -> Result<Option<Account>> {
        Ok(match key {
            AccountKey::Id(id) => self.parts.store.account(*id).await?,
            AccountKey::Provider(id) => self.parts.store.account_at_provider(self.parts.app.id, id.as_str()).await?,
        })
    }

    async fn account_row(&self, id: AccountId) -> Result<Account> {
        self.parts.store.account(id).await?.ok_or_else(|| Error::internal("an account is gone"))
    }
}

/// Refuses a name that payers would not know. What the merchant is called on our pages is personal data, so that no suggestion is
/// made of it.
fn expect_good_name(name: &str, dba: Option<&DisplayName>) -> Result<()> {
    let judgement = judge(name, dba.map(DisplayName::as_str), &Platform::default());
    if judgement.verdict != Verdict::Refuse {
        return Ok(());
    }
    let codes: Vec<&str> = judgement.reasons.iter().map(|reason| reason.code()).collect();
    let rules = judgement.reasons.iter().map(|reason| FieldError::new("name", reason.text())).collect();
    let error = Error::new(Kind::NameRefused).with("reasons", codes.join(",")).about_fields(rules);
    Err(match judgement.suggestions.first() {
        Some(suggestion) => error.with("suggestion", suggestion),
        None => error,
    })
}

/// The account cannot be used at the provider.
pub(super) fn not_open(account: &Account) -> Error {
    Error::new(Kind::AccountNotOpen).with("account_id", account.id)
}

fn provider_id(account: &Account) -> Result<&str> {
    account.provider_id.as_deref().ok_or_else(|| Error::internal("an open account without the provider's id"))
}

/// What the provider would say of an account that it calls deleted without showing it.
fn deleted(account: &Account) -> Result<ProviderAccount> {
    Ok(ProviderAccount {
        id: provider_id(account)?.to_owned(),
        name: account.name.clone(),
        description: account.description.clone(),
        reference_id: account.reference_id.clone(),
        owner: None,
        state: Some(AccountState::Deleted),
        action_reasons: Vec::new(),
        disabled_reasons: Vec::new(),
        kind: account.kind,
        country: account.country.clone(),
        currency: account.currency.clone(),
        created_at: account.seen.as_ref().and_then(|seen| seen.created_at),
        disablement_at: None,
    })
}
