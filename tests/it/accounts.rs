//! Payment accounts: made once with the stored token, whatever is lost; named so that payers know them; read, changed, listed.

mod altered;
mod left;
mod lost;
mod notices;
mod shell;

use serde_json::json;
use strongroom::domain::trail::EventKind;
use strongroom::v1::{
    Account, AccountKind, AccountNextAction, AccountOpening, AccountState, CheckAccountNameRequest,
    CreateAccountRequest, GetAccessTokenRequest, GetAccessTokenResponse, GetAccountRequest, ListAccountsRequest,
    NameVerdict, UpdateAccountRequest, create_account_request, get_access_token_request, get_account_request,
    list_accounts_request,
};
use tonic::{Response, Status};
use tonic_types::StatusExt as _;

use crate::support::app::{Shop, TOKEN, TestApp, USER, outcome_of};

/// The path of a creation as the sandbox logs it.
const CREATE: &str = "/v2/account/create";

impl TestApp {
    /// An order of an account, good if the merchant is connected.
    fn account_order(&self, shop: &Shop, name: &str) -> CreateAccountRequest {
        CreateAccountRequest {
            request_id: self.request_id(),
            merchant: Some(create_account_request::Merchant::ExternalId(shop.external_id.clone())),
            name: name.to_owned(),
            description: "second-hand books".to_owned(),
            kind: AccountKind::Business.into(),
            country: String::new(),
            dba: String::new(),
        }
    }

    async fn create_account(&self, order: &CreateAccountRequest) -> Result<Account, Status> {
        let answer = self.caller("onboarding").accounts().create_account(order.clone()).await;
        answer.map(|answer| answer.into_inner().account.unwrap())
    }

    async fn account(&self, id: &str, refresh: bool) -> Result<Account, Status> {
        let account = Some(get_account_request::Account::AccountId(id.to_owned()));
        let answer = self.caller("onboarding").accounts().get_account(GetAccountRequest { account, refresh }).await;
        answer.map(|answer| answer.into_inner().account.unwrap())
    }

    async fn token_by(&self, owner: get_access_token_request::Owner) -> Result<GetAccessTokenResponse, Status> {
        let request = GetAccessTokenRequest { owner: Some(owner), min_version: None };
        self.caller("payments").tokens().get_access_token(request).await.map(Response::into_inner)
    }

    /// The reference ids of the accounts that the sandbox has, the app owner's left out.
    async fn accounts_there(&self) -> Vec<String> {
        let state = self.control(reqwest::Method::GET, "/state", None).await;
        let accounts = state["accounts"].as_array().unwrap().clone();
        accounts.iter().filter_map(|account| account["reference_id"].as_str().map(str::to_owned)).collect()
    }
}

fn metadata(refused: &Status, name: &str) -> String {
    refused.get_details_error_info().and_then(|info| info.metadata.get(name).cloned()).unwrap_or_default()
}

#[tokio::test]
async fn a_second_account_never_needs_a_new_token() {
    let app = TestApp::start().await;
    let shop = app.connected("ada-books").await;
    let first = app.create_account(&app.account_order(&shop, "Ada Books")).await.unwrap();
    let second = app.create_account(&app.account_order(&shop, "Ada Records")).await.unwrap();
    assert_eq!(app.calls(TOKEN).await, 1, "one token, two accounts");
    assert_eq!(app.accounts_there().await, [first.account_id.clone(), second.account_id.clone()]);
    assert_eq!(first.opening(), AccountOpening::Open);
    assert_eq!((first.name.as_str(), first.country.as_str(), first.currency.as_str()), ("Ada Books", "US", "USD"));
    assert_eq!((first.kind(), first.state()), (AccountKind::Business, AccountState::ActionRequired));
    assert_eq!(first.next_action(), AccountNextAction::ProvideInformation);
    assert!(first.next_action_text.contains("kyc, bank_account"), "{}", first.next_action_text);
    assert_eq!(first.merchant_id, shop.merchant_id);

    // The same request leads to the same account; other content under its id is refused.
    let order = app.account_order(&shop, "Ada Toys");
    let third = app.create_account(&order).await.unwrap();
    assert_eq!(app.create_account(&order).await.unwrap(), third);
    let other = CreateAccountRequest { description: "wooden toys".to_owned(), ..order };
    assert_eq!(outcome_of(&app.create_account(&other).await), "ALREADY_EXISTS:REQUEST_ID_REUSED");
    assert_eq!(app.calls(CREATE).await, 3);
    app.close().await;
}

#[tokio::test]
async fn a_name_that_payers_would_not_know_is_refused_with_one_that_passes() {
    let app = TestApp::start().await;
    let shop = app.connected("ada-books").await;
    for bad in ["ORD-2024-00012345", "550e8400-e29b-41d4-a716-446655440000", "", "My WePay Shop"] {
        let refused = app.create_account(&app.account_order(&shop, bad)).await.unwrap_err();
        assert_eq!(outcome_of::<()>(&Err(refused.clone())), "INVALID_ARGUMENT:NAME_REFUSED", "{bad}");
        assert!(!metadata(&refused, "reasons").is_empty(), "{bad}");
        let violations = refused.get_details_bad_request().unwrap().field_violations;
        assert!(violations.iter().all(|violation| violation.field == "name" && !violation.description.is_empty()));
    }
    let order = app.account_order(&shop, "ORD-2024-00012345");
    let refused = app.create_account(&order).await.unwrap_err();
    assert_eq!(metadata(&refused, "suggestion"), "", "what we call the merchant is personal");
    let refused = app.create_account(&CreateAccountRequest { dba: "Ada Books".to_owned(), ..order }).await.unwrap_err();
    assert_eq!(metadata(&refused, "suggestion"), "Ada Books");
    assert_eq!(app.calls(CREATE).await, 0);

    let mut onboarding = app.caller("onboarding").accounts();
    let question = |name: &str| CheckAccountNameRequest { name: name.to_owned(), dba: "Ada Books".to_owned() };
    let judged = onboarding.check_account_name(question("ORD-2024-00012345")).await.unwrap().into_inner();
    assert_eq!(judged.verdict(), NameVerdict::Refuse);
    assert!(!judged.reasons.is_empty() && judged.preview.is_some());
    let suggestion = judged.suggestions.first().unwrap();
    let judged = onboarding.check_account_name(question(suggestion)).await.unwrap().into_inner();
    assert_eq!(judged.verdict(), NameVerdict::Accept);
    assert!(judged.preview.unwrap().at_20.starts_with("WPY*"));
    let made = app.create_account(&app.account_order(&shop, suggestion)).await.unwrap();
    assert_eq!(&made.name, suggestion);
    app.close().await;
}

#[tokio::test]
async fn an_account_is_made_only_with_a_token_that_may_be_read() {
    let app = TestApp::start().await;
    let mut invited = app.shop("nobody-yet");
    app.invite(&mut invited).await.unwrap();
    let refused = app.create_account(&app.account_order(&invited, "Ada Books")).await;
    assert_eq!(outcome_of(&refused), "FAILED_PRECONDITION:NOT_CONNECTED");
    let held = app.held("held-shop").await;
    let refused = app.create_account(&app.account_order(&held, "Ada Books")).await;
    assert_eq!(outcome_of(&refused), "FAILED_PRECONDITION:LINK_HELD");
    let shop = app.connected("dead-shop").await;
    app.kill(&shop).await;
    let refused = app.create_account(&app.account_order(&shop, "Ada Books")).await;
    assert_eq!(outcome_of(&refused), "FAILED_PRECONDITION:TOKEN_DEAD");
    assert_eq!(app.calls(CREATE).await, 0);
    app.close().await;
}

#[tokio::test]
async fn the_providers_no_is_handed_on_and_stays_the_answer() {
    let app = TestApp::start().await;
    let shop = app.connected("ada-books").await;
    app.fault(json!({ "path": "/account/create", "kind": "status", "status": 400, "error_code": 1003 })).await;
    let order = app.account_order(&shop, "Ada Books");
    let refused = app.create_account(&order).await.unwrap_err();
    assert_eq!(outcome_of::<()>(&Err(refused.clone())), "FAILED_PRECONDITION:PROVIDER_REFUSED");
    assert_eq!(metadata(&refused, "provider_code"), "1003");
    let account = app.account(&metadata(&refused, "account_id"), false).await.unwrap();
    assert_eq!((account.opening(), account.next_action()), (AccountOpening::Refused, AccountNextAction::FixCause));
    let again = app.create_account(&order).await.unwrap_err();
    assert_eq!(metadata(&again, "provider_code"), "1003");
    assert_eq!(app.calls(CREATE).await, 1);
    app.close().await;
}

#[tokio::test]
async fn a_no_that_says_something_of_the_token_has_it_probed() {
    let app = TestApp::start().await;
    let shop = app.connected("ada-books").await;
    for (status, code) in [(401, 3002), (401, 1006), (401, 1010)] {
        let before = app.calls(USER).await;
        app.fault(json!({ "path": "/account/create", "kind": "status", "status": status, "error_code": code })).await;
        let refused = app.create_account(&app.account_order(&shop, "Ada Books")).await;
        assert_eq!(outcome_of(&refused), "FAILED_PRECONDITION:PROVIDER_REFUSED", "{code}");
        app.until("the probe", async || app.calls(USER).await > before).await;
    }
    app.token(&shop).await;
    app.close().await;
}

#[tokio::test]
async fn a_throttled_creation_is_sent_again_by_the_same_request() {
    let app = TestApp::start().await;
    let shop = app.connected("ada-books").await;
    app.fault(json!({ "path": "/account/create", "kind": "status", "status": 400, "error_code": 1007 })).await;
    let order = app.account_order(&shop, "Ada Books");
    let refused = app.create_account(&order).await.unwrap_err();
    assert_eq!(outcome_of::<()>(&Err(refused.clone())), "UNAVAILABLE:PROVIDER_UNAVAILABLE");
    assert!(refused.get_details_retry_info().is_some());
    let made = app.create_account(&order).await.unwrap();
    assert_eq!(app.accounts_there().await, [made.account_id]);
    app.close().await;
}

#[tokio::test]
async fn an_account_is_looked_at_changed_and_listed() {
    let app = TestApp::start().await;
    let (shop, other) = (app.connected("ada-books").await, app.connected("bob-bikes").await);
    let made = app.create_account(&app.account_order(&shop, "Ada Books")).await.unwrap();
    let elsewhere = app.create_account(&app.account_order(&other, "Bob Bikes")).await.unwrap();

    // A plain look tells what was seen; a refresh asks.
    let path = format!("/accounts/{}/state", made.provider_account_id);
    app.control(reqwest::Method::POST, &path, Some(json!({ "state": "disabled" }))).await;
    assert_eq!(app.account(&made.account_id, false).await.unwrap(), made);
    let seen = app.account(&made.account_id, true).await.unwrap();
    assert_eq!((seen.state(), seen.next_action()), (AccountState::Disabled, AccountNextAction::FixCause));
    assert!(seen.next_action_text.contains("no_settlement_path"), "{}", seen.next_action_text);
    assert_eq!(app.account(&made.account_id, false).await.unwrap(), seen);

    let mut change = UpdateAccountRequest {
        request_id: app.request_id(),
        account_id: made.account_id.clone(),
        name: "Ada Rare Books".to_owned(),
        description: String::new(),
    };
    let mut onboarding = app.caller("onboarding").accounts();
    let changed = onboarding.update_account(change.clone()).await.unwrap().into_inner().account.unwrap();
    assert_eq!((changed.name.as_str(), &changed.description), ("Ada Rare Books", &made.description));
    let calls = app.calls("/v2/account/modify").await;
    assert_eq!(onboarding.update_account(change.clone()).await.unwrap().into_inner().account.unwrap(), changed);
    assert_eq!(app.calls("/v2/account/modify").await, calls, "the same request is not sent again");
    (change.request_id, change.name) = (app.request_id(), "MID 00412345".to_owned());
    assert_eq!(outcome_of(&onboarding.update_account(change.clone()).await), "INVALID_ARGUMENT:NAME_REFUSED");
    // The answer of a change is lost: the account shows it.
    app.fault(json!({ "path": "/account/modify", "kind": "lose_after" })).await;
    (change.request_id, change.name) = (app.request_id(), "Ada Old Books".to_owned());
    assert_eq!(
        onboarding.update_account(change.clone()).await.unwrap().into_inner().account.unwrap().name,
        change.name
    );
    app.fault(json!({ "path": "/account/modify", "kind": "lose_before" })).await;
    (change.request_id, change.name) = (app.request_id(), "Ada New Books".to_owned());
    let unknown = onboarding.update_account(change.clone()).await;
    assert_eq!(outcome_of(&unknown), "DEADLINE_EXCEEDED:PROVIDER_OUTCOME_UNKNOWN");
    assert_eq!(
        onboarding.update_account(change.clone()).await.unwrap().into_inner().account.unwrap().name,
        change.name
    );

    let list = |merchant, page_size, page_token| ListAccountsRequest { merchant, page_size, page_token };
    let named = list_accounts_request::Merchant::ExternalId("bob-bikes".to_owned());
    let of_bob = onboarding.list_accounts(list(Some(named), 0, String::new())).await.unwrap().into_inner();
    assert_eq!(of_bob.accounts, std::slice::from_ref(&elsewhere));
    let first = onboarding.list_accounts(list(None, 1, String::new())).await.unwrap().into_inner();
    let second = onboarding.list_accounts(list(None, 1, first.next_page_token.clone())).await.unwrap().into_inner();
    assert_eq!(first.accounts[0].account_id, made.account_id);
    assert_eq!((second.accounts, second.next_page_token), (vec![elsewhere], String::new()));

    app.control(reqwest::Method::POST, &path, Some(json!({ "state": "deleted" }))).await;
    let gone = app.account(&made.account_id, true).await.unwrap();
    assert_eq!((gone.state(), gone.next_action()), (AccountState::Deleted, AccountNextAction::CreateAgain));
    change.request_id = app.request_id();
    assert_eq!(outcome_of(&onboarding.update_account(change).await), "FAILED_PRECONDITION:ACCOUNT_NOT_OPEN");
    app.close().await;
}

#[tokio::test]
async fn a_token_is_read_by_account_while_the_merchant_is_linked_to_its_owner() {
    use get_access_token_request::Owner;
    let app = TestApp::start().await;
    let mut shop = app.connected("ada-books").await;
    let token = app.token(&shop).await;
    let made = app.create_account(&app.account_order(&shop, "Ada Books")).await.unwrap();
    let by_id = Owner::AccountId(made.account_id.clone());
    let by_theirs = Owner::ProviderAccountId(made.provider_account_id.clone());
    for owner in [by_id.clone(), by_theirs.clone()] {
        let read = app.token_by(owner).await.unwrap();
        assert_eq!((read.access_token, read.merchant_id), (token.access_token.clone(), shop.merchant_id.clone()));
    }
    let names_the_account = |event: &&strongroom::domain::trail::Event| {
        event.kind == EventKind::TokenRead && event.details.get("account") == Some(&made.account_id)
    };
    assert_eq!(app.events().await.iter().filter(names_the_account).count(), 2);
    // Whoever may not read for the merchant learns nothing, not even that the account is there.
    let request = |owner| GetAccessTokenRequest { owner: Some(owner), min_version: None };
    let stranger = app.caller("stranger").tokens().get_access_token(request(by_id.clone())).await;
    assert_eq!(outcome_of(&stranger), "PERMISSION_DENIED");
    let unknown = Owner::AccountId("acc_00000000000000000000000000000000".to_owned());
    assert_eq!(outcome_of(&app.token_by(unknown).await), "NOT_FOUND");
    // The app owner's account leads to no token.
    let dashboard = app.control(reqwest::Method::GET, "/app", None).await;
    let owners = dashboard["owner_account_id"].to_string();
    assert_eq!(outcome_of(&app.token_by(Owner::ProviderAccountId(owners)).await), "NOT_FOUND");

    // The merchant moves on to another user: its account stays behind.
    app.kill(&shop).await;
    assert_eq!(outcome_of(&app.token_by(by_id.clone()).await), "FAILED_PRECONDITION:TOKEN_DEAD");
    shop.person.email = "ada-again@mail.example".to_owned();
    shop.person.is_registered = false;
    shop.browser = app.browser();
    app.invite(&mut shop).await.unwrap();
    assert_eq!(shop.travel().await, "held");
    app.confirm(&shop).await.unwrap();
    assert_ne!(app.token(&shop).await.subject, token.subject);
    for owner in [by_id, by_theirs] {
        let left = app.token_by(owner).await.unwrap_err();
        assert_eq!(outcome_of::<()>(&Err(left.clone())), "FAILED_PRECONDITION:ACCOUNT_NOT_OPEN");
        assert_eq!(metadata(&left, "account_id"), made.account_id);
    }
    app.close().await;
}
