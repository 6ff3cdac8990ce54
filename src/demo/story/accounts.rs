//! Steps 13 to 16: payment accounts under names that payers know, all with the one token, each made once.

use serde_json::json;
use tonic::{Code, Response, Status};

use super::callers::{answered, refused, told};
use super::connect::held_token;
use super::provider::{CREATE, FIND, Logged, logged_form};
use super::register::MARKET;
use super::{Checked, Story, Told, Unmet, ensure};
use crate::v1::get_access_token_request::Owner;
use crate::v1::{
    Account, AccountKind, AccountOpening, CheckAccountNameRequest, CheckAccountNameResponse, CreateAccountRequest,
    CreateAccountResponse, ListAccountsRequest, NameVerdict, create_account_request, list_accounts_request,
};

/// A name as systems make them: whoever pays would see the order's number and little else.
const BAD_NAME: &str = "Tulip Corner ORD-2024-00012345";
/// Names of the further accounts.
const SECOND_NAME: &str = "Tulip Workshop";
const THIRD_NAME: &str = "Tulip Subscriptions";

impl Story<'_> {
    /// Step 13.
    pub(super) async fn bad_name_is_refused(&mut self) -> Checked<Told> {
        let before = self.provider.newest().await?;
        let judged = self.judged(BAD_NAME).await?;
        let suggestion = judged.suggestions.first().cloned().unwrap_or_default();
        let codes: Vec<&str> = judged.reasons.iter().map(|reason| reason.code.as_str()).collect();
        ensure(
            judged.verdict() == NameVerdict::Refuse && !codes.is_empty() && !suggestion.is_empty(),
            "REFUSE, with reasons and a suggestion",
            || format!("{:?}, {codes:?}, {} suggestions", judged.verdict(), judged.suggestions.len()),
        )?;
        let order = self.account_order(BAD_NAME);
        let made = self.create(&order).await;
        let evidence = refused("an account with that name", made, &[(Code::InvalidArgument, "NAME_REFUSED")])?;
        let said = |name: &str| evidence.get(name).map(String::as_str).unwrap_or_default();
        ensure(
            said("suggestion") == suggestion && said("reasons") == codes.join(","),
            "the refusal to name the same reasons and the same suggestion",
            || format!("{evidence:?}"),
        )?;
        let creations = self.provider.calls(CREATE, before).await?;
        ensure(creations.is_empty(), "no /account/create for a refused name", || {
            format!("{} of them", creations.len())
        })?;

        let good = self.judged(&suggestion).await?;
        ensure(good.verdict() == NameVerdict::Accept, "the suggestion to be accepted", || {
            format!("{:?}", good.verdict())
        })?;
        let shown = good.preview.unwrap_or_default().at_20;
        let order = self.account_order(&suggestion);
        let (account, _) = self.opened(&order, before).await?;
        let state = account.state();
        self.accounts.push(account);
        Ok(Told::new(
            format!(
                "An account is asked for under the name \"{BAD_NAME}\", then under the name that the refusal suggests."
            ),
            format!(
                "Refused ({}), nothing sent. \"{suggestion}\" is an account now ({state:?}); a statement shows \"{shown}\".",
                codes.join(", ")
            ),
        ))
    }

    async fn judged(&self, name: &str) -> Checked<CheckAccountNameResponse> {
        let request = CheckAccountNameRequest { name: name.to_owned(), dba: String::new() };
        let judged = self.callers.onboarding.accounts().check_account_name(request).await;
        answered("onboarding to have a name judged", judged)
    }

    /// Step 14.
    pub(super) async fn second_account_needs_no_new_token(&mut self) -> Checked<Told> {
        let before = self.provider.newest().await?;
        let order = self.account_order(SECOND_NAME);
        let (account, sent) = self.opened(&order, before).await?;
        let held = self.stall.token()?;
        let carried = sent.token_sha256.as_deref() == Some(logged_form(&held.token).as_str());
        ensure(carried, "the account to be made with the token that was there", || "another one".to_owned())?;
        self.provider.minted_nothing_since(before).await?;
        self.provider.works(&held.token, &held.subject).await?;
        let is_another = self.accounts.iter().all(|first| {
            first.account_id != account.account_id && first.provider_account_id != account.provider_account_id
        });
        ensure(is_another, "a second account", || "the first one again".to_owned())?;
        self.accounts.push(account);
        Ok(Told::new(
            format!("A second account is asked for, \"{SECOND_NAME}\"."),
            "One /account/create with the token that was there; neither /oauth2/token nor /user/register.",
        ))
    }

    /// Step 15.
    pub(super) async fn read_by_account(&self) -> Checked<Told> {
        let held = self.stall.token()?;
        for account in &self.accounts {
            let owners = [
                Owner::AccountId(account.account_id.clone()),
                Owner::ProviderAccountId(account.provider_account_id.clone()),
            ];
            for owner in owners {
                let read = self.callers.payments.read_of(owner.clone()).await;
                let read = read.map_err(|status| Unmet::new("payments to get the token by account", told(&status)))?;
                let is_owners = read.merchant_id == self.stall.merchant_id;
                let read = held_token(read)?;
                ensure(
                    is_owners && read.token == held.token && read.version == held.version,
                    "the owner's token",
                    || format!("{:?}", read.version),
                )?;
                let denied = [(Code::PermissionDenied, "PERMISSION_DENIED"), (Code::NotFound, "NOT_FOUND")];
                refused("stranger, asking by account,", self.callers.stranger.read_of(owner).await, &denied)?;
            }
        }
        let nobodys = self.callers.payments.read_of(Owner::ProviderAccountId("1".to_owned())).await;
        refused("reading by an account that nobody has", nobodys, &[(Code::NotFound, "NOT_FOUND")])?;
        Ok(Told::new(
            "payments knows nothing but the accounts, and asks by our id and by the provider's.",
            "Both lead to the owner's token, the same for both accounts; stranger is refused by either.",
        ))
    }

    /// Step 16.
    pub(super) async fn lost_answer_is_found_once(&mut self) -> Checked<Told> {
        self.provider.script(json!({ "path": CREATE, "kind": "lose_after" })).await?;
        let before = self.provider.newest().await?;
        let order = self.account_order(THIRD_NAME);
        let made = answered("the account though the answer was lost", self.create(&order).await)?;
        let account = made.account.unwrap_or_default();
        is_open(&account, THIRD_NAME)?;
        let sent = self.provider.calls(CREATE, before).await?;
        ensure(matches!(sent.as_slice(), [call] if !call.answered), "one /account/create, its answer lost", || {
            format!("{:?}", sent.iter().map(|call| call.answered).collect::<Vec<_>>())
        })?;
        let looked = self.provider.calls(FIND, before).await?.len();
        ensure(looked > 0, "the product to look for it (/account/find)", || "no such call".to_owned())?;

        let again = answered("the same request to be answered again", self.create(&order).await)?;
        ensure(again.account.unwrap_or_default().account_id == account.account_id, "the same account", || {
            "another one".to_owned()
        })?;
        let sent = self.provider.calls(CREATE, before).await?.len();
        ensure(sent == 1, "no further /account/create for the same request", || format!("{sent} in all"))?;
        let there = self.provider.accounts_named(&self.stall.token()?.token, THIRD_NAME).await?;
        ensure(there == [account.provider_account_id.as_str()], "exactly this account at the provider", || {
            format!("{there:?}")
        })?;
        self.accounts.push(account);
        self.all_are_listed().await?;
        Ok(Told::new(
            "A third account is asked for; the provider makes it, and its answer is lost. The same request comes once more.",
            "Looked for by its reference id and found; one account at the provider, the same answer again, nothing sent twice.",
        ))
    }

    async fn all_are_listed(&self) -> Checked<()> {
        let merchant = Some(list_accounts_request::Merchant::ExternalId(self.stall.external_id.to_owned()));
        let request = ListAccountsRequest { merchant, ..ListAccountsRequest::default() };
        let listed = self.callers.onboarding.accounts().list_accounts(request).await;
        let listed = answered("the list of the stall's accounts", listed)?.accounts;
        let ids = |accounts: &[Account]| accounts.iter().map(|account| account.account_id.clone()).collect::<Vec<_>>();
        ensure(ids(&listed) == ids(&self.accounts), "every account of the stall in the list, once", || {
            format!("{} of {}", listed.len(), self.accounts.len())
        })?;
        let merchant = Some(list_accounts_request::Merchant::ExternalId(MARKET.to_owned()));
        let request = ListAccountsRequest { merchant, ..ListAccountsRequest::default() };
        let listed = self.callers.onboarding.accounts().list_accounts(request).await;
        let listed = answered("the list of the other shop's accounts", listed)?.accounts;
        ensure(listed.is_empty(), "none of them in the list of the person's other shop", || listed.len().to_string())
    }

    fn account_order(&mut self, name: &str) -> CreateAccountRequest {
        CreateAccountRequest {
            request_id: self.callers.next_request(),
            merchant: Some(create_account_request::Merchant::ExternalId(self.stall.external_id.to_owned())),
            name: name.to_owned(),
            description: "cut flowers, weekly".to_owned(),
            kind: AccountKind::Business.into(),
            country: "US".to_owned(),
            dba: String::new(),
        }
    }

    async fn create(&self, order: &CreateAccountRequest) -> Result<Response<CreateAccountResponse>, Status> {
        self.callers.onboarding.accounts().create_account(order.clone()).await
    }

    /// Has the account made: it is open, and one call did it.
    async fn opened(&self, order: &CreateAccountRequest, before: u64) -> Checked<(Account, Logged)> {
        let made = answered("onboarding to have an account made", self.create(order).await)?;
        let account = made.account.unwrap_or_default();
        is_open(&account, &order.name)?;
        let sent = self.provider.calls(CREATE, before).await?;
        match sent.as_slice() {
            [call] if call.status == Some(200) => Ok((account, call.clone())),
            _ => Err(Unmet::new("exactly one /account/create, answered", format!("{} of them", sent.len()))),
        }
    }
}

fn is_open(account: &Account, name: &str) -> Checked<()> {
    ensure(account.opening() == AccountOpening::Open && account.name == name, "an OPEN account with that name", || {
        format!("{:?}", account.opening())
    })
}
