//! The other way in, with everything that is told of a person there; accounts; notices; the lists that people look at.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use strongroom::demo::browser::Arrival;
use strongroom::domain::ambient::{Clock as _, Timestamp};
use strongroom::v1::{
    self, AccountOpening, CheckAccountNameRequest, CreateAccountRequest, GetAccessTokenRequest, GetAccountRequest,
    LinkMerchantRequest, ListAccountsRequest, ListAttemptsRequest, ListEventsRequest, ListMerchantsRequest,
    ListProviderCallsRequest, ListTokenVersionsRequest, RegisterMerchantRequest, SendConfirmationRequest,
    StartAuthorizationRequest, UpdateAccountRequest, create_account_request, get_access_token_request,
    get_account_request, send_confirmation_request,
};

use super::{CANARY, Secrets};
use crate::support::app::{RETURN_URL, Shop, TestApp};

/// The platform's id of the merchant.
pub(super) const STALL: &str = "leaky-stall";
/// When the person accepted the terms: before anything here that is logged with its time.
const TERMS_BEFORE: Duration = Duration::from_secs(2 * 86_400 + 4_242);
/// Longer than a registration stays in doubt.
const REGISTRATION_LOST: Duration = Duration::from_secs(90);
/// Longest message that SendConfirmation takes is shorter.
const TOO_LONG: usize = 9_000;

/// A merchant that was registered, with an account.
pub(super) struct Stall {
    pub(super) shop: Shop,
    pub(super) order: RegisterMerchantRequest,
    pub(super) account_id: String,
    pub(super) connection_id: String,
}

/// Registers a merchant, links, confirms, opens accounts, receives notices, and has all of it refused as well.
pub(super) async fn furnish(app: &TestApp, secrets: &mut Secrets) -> Stall {
    let mut stall = Stall {
        shop: app.shop(STALL),
        order: order(app, STALL),
        account_id: String::new(),
        connection_id: String::new(),
    };
    remember(&stall, secrets);
    registrations_fail(app, &stall, secrets).await;
    register(app, &mut stall, secrets).await;
    link(app, &stall, secrets).await;
    confirm(app, &mut stall, secrets).await;
    upgrade(app, secrets).await;
    open_accounts(app, &mut stall, secrets).await;
    notify(app, secrets).await;
    look_and_ask_wrongly(app, &stall, secrets).await;
    stall
}

fn order(app: &TestApp, external_id: &str) -> RegisterMerchantRequest {
    let terms = app.site().clock().now().minus(TERMS_BEFORE).as_unix_seconds();
    RegisterMerchantRequest {
        client_ip: "203.0.113.201".to_owned(),
        terms_time: Some(prost_types::Timestamp { seconds: terms, nanos: 0 }),
        return_url: format!("{RETURN_URL}?ticket={external_id}-5e1f0c77a2"),
        ..app.registration(external_id, &format!("{external_id}@mail.example"))
    }
}

fn remember(stall: &Stall, secrets: &mut Secrets) {
    let order = &stall.order;
    secrets.shop(&stall.shop);
    let terms = Timestamp::from_unix_seconds(order.terms_time.unwrap().seconds);
    for (what, secret) in [
        ("e-mail", order.email.clone()),
        ("first name", order.first_name.clone()),
        ("last name", order.last_name.clone()),
        ("display name", order.display_name.clone()),
        ("network address", order.client_ip.clone()),
        ("device", order.client_device.clone()),
        ("time of the terms", terms.to_rfc3339()),
        ("time of the terms", terms.as_unix_seconds().to_string()),
        ("ticket of the return_url", format!("{STALL}-5e1f0c77a2")),
    ] {
        secrets.add(what, secret);
    }
}

/// Ours, the provider's, and no clear answer.
async fn registrations_fail(app: &TestApp, stall: &Stall, secrets: &mut Secrets) {
    let good = &stall.order;
    let onboarding = app.caller("onboarding");
    let soon = good.terms_time.map(|at| prost_types::Timestamp { seconds: at.seconds + 864_000, ..at });
    let bad = [
        RegisterMerchantRequest { email: format!("{} {}", good.email, good.last_name), ..good.clone() },
        RegisterMerchantRequest { client_ip: format!("{} by {}", good.client_ip, good.email), ..good.clone() },
        RegisterMerchantRequest { client_device: good.client_device.repeat(30), ..good.clone() },
        RegisterMerchantRequest { first_name: format!("{}\n{}", good.first_name, good.last_name), ..good.clone() },
        RegisterMerchantRequest { terms_time: soon, ..good.clone() },
        RegisterMerchantRequest { labels: vec![good.email.clone()], ..good.clone() },
        RegisterMerchantRequest { return_url: format!("https://elsewhere.test/?{}", good.email), ..good.clone() },
    ];
    for request in bad {
        let request = RegisterMerchantRequest { request_id: app.request_id(), ..request };
        secrets.refused(onboarding.onboarding().register_merchant(request).await, "a malformed registration");
    }
    for name in ["stranger", "payments", "auditor", "admin"] {
        secrets.refused(app.caller(name).onboarding().register_merchant(good.clone()).await, name);
    }
    // The provider repeats what it was sent, as providers do.
    let said = format!(
        "cannot register {} {} <{}> from {} with {}",
        good.first_name, good.last_name, good.email, good.client_ip, good.client_device
    );
    refuse(app, "/user/register", &said).await;
    let request = RegisterMerchantRequest { request_id: app.request_id(), ..good.clone() };
    secrets.refused(onboarding.onboarding().register_merchant(request).await, "what the provider refuses");
    // A token was issued that nobody ever sees.
    let lost = RegisterMerchantRequest { request_id: app.request_id(), ..order(app, "leaky-lost") };
    for (what, secret) in [("e-mail", &lost.email), ("first name", &lost.first_name), ("device", &lost.client_device)] {
        secrets.add(what, secret);
    }
    app.fault(json!({ "path": "/user/register", "kind": "malformed" })).await;
    secrets.refused(onboarding.onboarding().register_merchant(lost).await, "a registration in doubt");
    // With nothing to probe it ends as lost; how long this takes must not matter in the end.
    app.advance(REGISTRATION_LOST).await;
    let is_lost = async || {
        let open = "SELECT count(*) FROM attempts WHERE kind = 'register' AND settled_at_us IS NULL";
        let rows: Vec<(i64,)> = app.rows(open).await;
        rows[0].0 == 0
    };
    app.until("the registration given up", is_lost).await;
}

async fn refuse(app: &TestApp, path: &str, said: &str) {
    let plan = json!({
        "path": path, "kind": "status", "status": 400, "error_code": 1003, "error_description": said,
    });
    app.fault(plan).await;
}

async fn register(app: &TestApp, stall: &mut Stall, secrets: &mut Secrets) {
    let mut onboarding = app.caller("onboarding").onboarding();
    stall.order.request_id = app.request_id();
    for _ in 0..2 {
        let made = secrets.answered("RegisterMerchant", onboarding.register_merchant(stall.order.clone()).await);
        stall.shop.merchant_id = made.merchant.unwrap().merchant_id;
    }
    let other = RegisterMerchantRequest { first_name: "Somebody Else".to_owned(), ..stall.order.clone() };
    secrets.refused(onboarding.register_merchant(other).await, "a request id with other content");
    let read = app.token(&stall.shop).await;
    secrets.token(&read);
    stall.connection_id = read.version.unwrap().connection_id;
}

/// The same person's further shop.
async fn link(app: &TestApp, stall: &Stall, secrets: &mut Secrets) {
    let mut onboarding = app.caller("onboarding").onboarding();
    let request = RegisterMerchantRequest {
        request_id: app.request_id(),
        external_id: "leaky-market".to_owned(),
        ..stall.order.clone()
    };
    secrets.refused(onboarding.register_merchant(request).await, "an e-mail address that a connection has");
    let display_name = "Bartholomew's second stall".to_owned();
    secrets.add("display name", &display_name);
    let order = LinkMerchantRequest {
        request_id: app.request_id(),
        external_id: "leaky-market".to_owned(),
        display_name,
        labels: Vec::new(),
        connection_id: stall.connection_id.clone(),
    };
    let elsewhere = "con_0190f3c7111172228333444455556666".to_owned();
    let wrong = LinkMerchantRequest { request_id: app.request_id(), connection_id: elsewhere, ..order.clone() };
    secrets.refused(onboarding.link_merchant(wrong).await, "nobody's connection");
    let wrong =
        LinkMerchantRequest { request_id: app.request_id(), connection_id: stall.order.email.clone(), ..order.clone() };
    secrets.refused(onboarding.link_merchant(wrong).await, "no connection");
    secrets.answered("LinkMerchant", onboarding.link_merchant(order.clone()).await);
    let again = LinkMerchantRequest { request_id: app.request_id(), ..order };
    secrets.refused(onboarding.link_merchant(again).await, "a second link");
}

/// The mail, its texts and its link.
async fn confirm(app: &TestApp, stall: &mut Stall, secrets: &mut Secrets) {
    let mut onboarding = app.caller("onboarding").onboarding();
    let token = app.token(&stall.shop).await;
    let ask = SendConfirmationRequest {
        request_id: app.request_id(),
        merchant: Some(send_confirmation_request::Merchant::ExternalId(STALL.to_owned())),
        email_subject: "Ninety words about your stall".to_owned(),
        email_message: "Dear Bartholomew, one click is missing.".to_owned(),
        email_button_text: "Here is the click".to_owned(),
    };
    for text in [&ask.email_subject, &ask.email_message, &ask.email_button_text] {
        secrets.add("text of a mail", text);
    }
    let long = format!("{} {}", token.access_token, ask.email_message.repeat(TOO_LONG / 20));
    let bad = SendConfirmationRequest { request_id: app.request_id(), email_message: long, ..ask.clone() };
    secrets.refused(onboarding.send_confirmation(bad).await, "a mail that is too long");
    refuse(app, "/user/send_confirmation", &format!("no: {} {}", ask.email_message, token.access_token)).await;
    let refused = SendConfirmationRequest { request_id: app.request_id(), ..ask.clone() };
    secrets.refused(onboarding.send_confirmation(refused).await, "a mail that the provider refuses");
    secrets.answered("SendConfirmation", onboarding.send_confirmation(ask).await);
    let path = format!("/mails?user_id={}", token.subject);
    let mails = app.control(Method::GET, &path, None).await;
    let link: url::Url = mails["mails"][0]["link"].as_str().unwrap().parse().unwrap();
    let (_, key) = link.query_pairs().find(|(name, _)| name == "key").unwrap();
    secrets.add("key of a mail", key);

    let browser = &mut stall.shop.browser;
    browser.open(link.clone()).await.unwrap();
    let form = browser.page().forms().into_iter().find(|form| form.field("form") == Some("confirm")).unwrap();
    let typed = [("password", stall.shop.person.password.as_str()), ("accept", "yes")];
    let arrival = browser.submit(&form, &typed, "grant").await.unwrap();
    assert!(matches!(arrival, Arrival::Stopped(home) if home.as_str().starts_with(RETURN_URL)));
    secrets.shop(&stall.shop);
    let merchant = Some(v1::verify_token_request::Merchant::ExternalId(STALL.to_owned()));
    let request = v1::VerifyTokenRequest { request_id: app.request_id(), merchant };
    let verified = secrets.answered("VerifyToken", app.caller("payments").tokens().verify_token(request).await);
    assert!(verified.head.unwrap().permanent, "the registration is confirmed");
}

/// Another person, whom the provider knows already, registered too, who consents in the browser instead: a permanent token in place of the temporary one.
async fn upgrade(app: &TestApp, secrets: &mut Secrets) {
    let mut shop = app.shop("leaky-upgrade");
    let person = &mut shop.person;
    person.is_registered = true;
    let user = json!({
        "email": person.email, "password": person.password, "first_name": person.first_name, "last_name": person.last_name,
    });
    app.control(Method::POST, "/users", Some(user)).await;
    let mut onboarding = app.caller("onboarding").onboarding();
    let order = RegisterMerchantRequest { email: shop.person.email.clone(), ..order(app, &shop.external_id) };
    secrets.answered("RegisterMerchant", onboarding.register_merchant(order).await);
    secrets.token(&app.token(&shop).await);
    secrets.refused(onboarding.start_authorization(app.authorization(&shop)).await, "a live temporary one's link");
    let order = StartAuthorizationRequest { upgrade_temporary: true, ..app.authorization(&shop) };
    let invited = onboarding.start_authorization(order).await.unwrap().into_inner();
    (shop.merchant_id, shop.link) = (invited.merchant_id, Some(invited.url.parse().unwrap()));
    assert_eq!(shop.travel().await, "connected");
    secrets.shop(&shop);
    let read = app.token(&shop).await;
    assert_eq!(read.version.as_ref().unwrap().version, 2);
    secrets.token(&read);
}

async fn open_accounts(app: &TestApp, stall: &mut Stall, secrets: &mut Secrets) {
    let mut accounts = app.caller("onboarding").accounts();
    let token = app.token(&stall.shop).await.access_token;
    let order = |name: &str| CreateAccountRequest {
        request_id: app.request_id(),
        merchant: Some(create_account_request::Merchant::ExternalId(STALL.to_owned())),
        name: name.to_owned(),
        description: CANARY.to_owned(),
        kind: v1::AccountKind::Business.into(),
        country: String::new(),
        dba: String::new(),
    };
    // What is no name is judged and refused, and kept nowhere. A suggestion is made of what the caller knows: the answer has it.
    let question = CheckAccountNameRequest { name: token.clone(), dba: stall.order.display_name.clone() };
    accounts.check_account_name(question).await.unwrap();
    accounts.create_account(order(&token)).await.unwrap_err();
    secrets.refused(accounts.create_account(order("Tulips ORD-2024-00012345")).await, "a name with an order's number");
    refuse(app, "/account/create", &format!("{} may not, says {token}", stall.order.email)).await;
    secrets.refused(accounts.create_account(order("Tulip Workshop")).await, "what the provider refuses");
    app.fault(json!({ "path": "/account/create", "kind": "lose_after" })).await;
    let made = secrets.answered("CreateAccount", accounts.create_account(order("Tulip Corner")).await).account.unwrap();
    assert_eq!(made.opening(), AccountOpening::Open, "found again");
    stall.account_id = made.account_id.clone();

    let change = UpdateAccountRequest {
        request_id: app.request_id(),
        account_id: made.account_id.clone(),
        name: "Tulip Corners".to_owned(),
        description: String::new(),
    };
    refuse(app, "/account/modify", &format!("{} may not, says {token}", stall.order.email)).await;
    secrets.refused(accounts.update_account(change.clone()).await, "a change that the provider refuses");
    let change = UpdateAccountRequest { request_id: app.request_id(), ..change };
    secrets.answered("UpdateAccount", accounts.update_account(change).await);
    let account = Some(get_account_request::Account::AccountId(made.account_id.clone()));
    secrets.answered("GetAccount", accounts.get_account(GetAccountRequest { account, refresh: true }).await);
    secrets.answered("ListAccounts", accounts.list_accounts(ListAccountsRequest::default()).await);
    for name in ["payments", "stranger"] {
        let owner = Some(get_access_token_request::Owner::ProviderAccountId(made.provider_account_id.clone()));
        let request = GetAccessTokenRequest { owner, min_version: None };
        match app.caller(name).tokens().get_access_token(request).await {
            Ok(read) => assert_eq!((name, &read.into_inner().access_token), ("payments", &token)),
            refused => secrets.refused(refused, name),
        }
    }
}

/// The provider's notices, and somebody who guesses at their addresses.
async fn notify(app: &TestApp, secrets: &mut Secrets) {
    let state = app.control(Method::GET, "/state", None).await;
    let ours = |account: &Value| account["callback_uri"].as_str().map(str::to_owned);
    let address = state["accounts"].as_array().unwrap().iter().find_map(ours).unwrap();
    let (base, tag) = address.rsplit_once('/').unwrap();
    secrets.add("tag of a notice", tag);
    let body = "account_id=4711&reference_id=Bartholomew%20himself";
    secrets.add("text of a notice", "Bartholomew himself");
    let authority = reqwest::Certificate::from_pem(&std::fs::read(&app.dev().public_ca).unwrap()).unwrap();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([authority]).build().unwrap();
    let guess = "guessed-tag-0123456789";
    secrets.add("tag of a notice", guess);
    for (to, status) in [(address.clone(), 200), (format!("{base}/{guess}"), 404), (format!("{address}x"), 404)] {
        let request = client.post(to).header("content-type", "application/x-www-form-urlencoded").body(body);
        assert_eq!(request.send().await.unwrap().status().as_u16(), status);
    }
}

/// Every list, and every filter with something in it that does not belong there.
async fn look_and_ask_wrongly(app: &TestApp, stall: &Stall, secrets: &mut Secrets) {
    let (auditor, onboarding) = (app.caller("auditor"), app.caller("onboarding"));
    let secret = stall.order.email.clone();
    secrets.answered("ListEvents", auditor.audit().list_events(ListEventsRequest::default()).await);
    let calls = async |app: &TestApp| {
        let request = ListProviderCallsRequest { call: "/user/register".to_owned(), ..Default::default() };
        app.caller("auditor").audit().list_provider_calls(request).await
    };
    // The refused one, the one in doubt, and the two that went through.
    let is_written = async || calls(app).await.unwrap().into_inner().calls.len() == 4;
    app.until("the registrations in the call log", is_written).await;
    let request = ListProviderCallsRequest { page_size: 1_000, ..Default::default() };
    let listed = secrets.answered("ListProviderCalls", auditor.audit().list_provider_calls(request).await);
    for call in ["/user/register", "/user/send_confirmation", "/account/create", "/account/find", "/account/modify"] {
        assert!(listed.calls.iter().any(|listed| listed.call == call), "{call} in the call log");
    }
    secrets.answered("ListAttempts", auditor.tokens().list_attempts(ListAttemptsRequest::default()).await);
    let merchant = Some(v1::list_token_versions_request::Merchant::ExternalId(STALL.to_owned()));
    let request = ListTokenVersionsRequest { merchant, ..Default::default() };
    secrets.answered("ListTokenVersions", auditor.tokens().list_token_versions(request).await);
    secrets.answered("ListMerchants", onboarding.onboarding().list_merchants(ListMerchantsRequest::default()).await);
    let merchant = Some(v1::get_merchant_request::Merchant::ExternalId(STALL.to_owned()));
    let request = v1::GetMerchantRequest { merchant };
    secrets.answered("GetMerchant", onboarding.onboarding().get_merchant(request).await);

    let wrong = ListEventsRequest { kind: secret.clone(), page_token: secret.clone(), ..Default::default() };
    secrets.refused(auditor.audit().list_events(wrong).await, "a filter of ListEvents");
    let wrong = ListEventsRequest { actor: secret.clone(), ..Default::default() };
    secrets.refused(auditor.audit().list_events(wrong).await, "an actor of ListEvents");
    let wrong = ListProviderCallsRequest { call: secret.clone(), error_code: secret.clone(), ..Default::default() };
    secrets.refused(auditor.audit().list_provider_calls(wrong).await, "a filter of ListProviderCalls");
    let wrong = ListAttemptsRequest { page_token: secret.clone(), ..Default::default() };
    secrets.refused(auditor.tokens().list_attempts(wrong).await, "a page of ListAttempts");
    let wrong = ListAccountsRequest { page_token: secret.clone(), ..Default::default() };
    secrets.refused(onboarding.accounts().list_accounts(wrong).await, "a page of ListAccounts");
    let account = Some(get_account_request::Account::ProviderAccountId(secret.clone()));
    let wrong = GetAccountRequest { account, refresh: true };
    secrets.refused(onboarding.accounts().get_account(wrong).await, "an account that is none");
    let wrong = UpdateAccountRequest { account_id: secret, name: "Tulips".to_owned(), ..Default::default() };
    secrets.refused(onboarding.accounts().update_account(wrong).await, "a change of no account");
    ops(app, secrets).await;
}

/// What the operators' listener tells.
async fn ops(app: &TestApp, secrets: &mut Secrets) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for path in ["/livez", "/readyz", "/metrics"] {
        let answer = client.get(format!("{}{path}", app.dev().ops_http)).send().await.unwrap();
        let head = format!("{:?}", answer.headers());
        let body = answer.text().await.unwrap();
        secrets.said.push(("ops answer", path.to_owned(), format!("{head}\n{body}").into_bytes()));
    }
}
