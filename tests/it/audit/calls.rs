//! ListProviderCalls: every call, however it ended, and nothing secret in any of them.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::{Value, json};
use strongroom::demo::search::{Needle, Search};
use strongroom::v1::{
    AttemptState, CallOutcome, ListAttemptsRequest, ListEventsRequest, ListProviderCallsRequest,
    ListProviderCallsResponse, ProviderCall, VerifyTokenRequest, list_provider_calls_request, verify_token_request,
};
use tonic::Status;
use url::Url;

use crate::support::app::{Shop, TOKEN, TestApp, outcome_of};

async fn list(app: &TestApp, request: ListProviderCallsRequest) -> Result<ListProviderCallsResponse, Status> {
    Ok(app.caller("auditor").audit().list_provider_calls(request).await?.into_inner())
}

/// Every page of a list.
async fn all(app: &TestApp, request: ListProviderCallsRequest) -> Vec<ProviderCall> {
    let mut calls = Vec::new();
    let mut page_token = String::new();
    loop {
        let page = list(app, ListProviderCallsRequest { page_token, ..request.clone() }).await.unwrap();
        calls.extend(page.calls);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return calls;
        }
    }
}

/// The calls of the log once they are as many as these; they are written moments after they ended.
async fn logged(app: &TestApp, request: ListProviderCallsRequest, count: usize) -> Vec<ProviderCall> {
    app.until("the calls in the log", async || all(app, request.clone()).await.len() >= count).await;
    let calls = all(app, request).await;
    assert_eq!(calls.len(), count, "{calls:?}");
    calls
}

/// How often the sandbox heard each call of the API; the page for browsers is none.
async fn heard(app: &TestApp) -> BTreeMap<String, usize> {
    let answer = app.control(Method::GET, "/calls", None).await;
    let mut heard = BTreeMap::new();
    for call in answer["calls"].as_array().unwrap() {
        let path = call["path"].as_str().unwrap().trim_start_matches("/v2").to_owned();
        if path != "/oauth2/authorize" {
            *heard.entry(path).or_default() += 1;
        }
    }
    heard
}

/// The whole log, once it has what the sandbox heard, call by call.
async fn complete(app: &TestApp) -> Vec<ProviderCall> {
    let is_complete = async || {
        let mut found: BTreeMap<String, usize> = BTreeMap::new();
        for call in all(app, ListProviderCallsRequest::default()).await {
            *found.entry(call.call).or_default() += 1;
        }
        found == heard(app).await
    };
    app.until("every call in the log", is_complete).await;
    all(app, ListProviderCallsRequest::default()).await
}

/// So many attempts are in this state, in the end.
async fn settled(app: &TestApp, state: AttemptState, count: usize) {
    let request = ListAttemptsRequest { state: state.into(), ..Default::default() };
    let is_settled = async || {
        let found = app.caller("auditor").tokens().list_attempts(request.clone()).await.unwrap();
        found.into_inner().attempts.len() == count
    };
    app.until("attempts in the state that they end in", is_settled).await;
}

async fn verify(app: &TestApp, shop: &Shop) {
    let merchant = Some(verify_token_request::Merchant::ExternalId(shop.external_id.clone()));
    let request = VerifyTokenRequest { request_id: app.request_id(), merchant };
    app.caller("payments").tokens().verify_token(request).await.unwrap();
}

/// A merchant whose exchange meets this fault.
async fn exchange_under(app: &TestApp, external_id: &str, fault: Value) -> Shop {
    let mut shop = app.shop(external_id);
    app.invite(&mut shop).await.unwrap();
    app.fault(fault).await;
    shop.press().await;
    shop.grant().await;
    shop
}

fn to(call: &str) -> ListProviderCallsRequest {
    ListProviderCallsRequest { call: call.to_owned(), ..Default::default() }
}

#[tokio::test]
async fn every_call_is_in_the_log_also_those_that_failed_or_were_lost() {
    let app = TestApp::start().await;
    let shop = app.connected("logged-shop").await;
    verify(&app, &shop).await;
    app.fault(json!({ "path": "/user", "kind": "status", "status": 503 })).await;
    verify(&app, &shop).await;
    app.fault(json!({ "path": "/user", "kind": "lose_after" })).await;
    verify(&app, &shop).await;
    let refused = json!({ "path": "/oauth2/token", "kind": "status", "status": 400, "error_code": 1005 });
    exchange_under(&app, "refused-shop", refused).await;
    settled(&app, AttemptState::Rejected, 1).await;
    for (name, kind) in [("unheard-shop", "lose_after"), ("unsent-shop", "lose_before")] {
        exchange_under(&app, name, json!({ "path": "/oauth2/token", "kind": kind })).await;
    }
    settled(&app, AttemptState::InDoubt, 2).await;
    app.expect_open_attempts(2);

    let mints = logged(&app, to("/oauth2/token"), 4).await;
    let outcomes: Vec<CallOutcome> = mints.iter().map(ProviderCall::outcome).collect();
    use CallOutcome::{Done, Refused, Unknown};
    assert_eq!(outcomes, [Unknown, Unknown, Refused, Done], "newest first: {mints:?}");
    assert_eq!((mints[2].http_status, mints[2].error_code.as_str()), (400, "1005"));
    assert_eq!((mints[3].http_status, mints[3].error_code.as_str(), mints[3].detail.as_str()), (200, "", ""));
    assert!(mints[..3].iter().all(|call| !call.detail.is_empty()), "{mints:?}");
    let attempts = app.caller("auditor").tokens().list_attempts(ListAttemptsRequest::default()).await;
    let attempts = attempts.unwrap().into_inner().attempts;
    let about = |call: &ProviderCall| (call.attempt_id.clone(), call.merchant_id.clone());
    let expected: BTreeSet<_> =
        attempts.iter().map(|attempt| (attempt.attempt_id.clone(), attempt.merchant_id.clone())).collect();
    assert_eq!(mints.iter().map(about).collect::<BTreeSet<_>>(), expected, "each belongs to an attempt of its own");

    // What the provider heard of is in the log; the sandbox's own log is the witness.
    assert_eq!(app.calls(TOKEN).await, 4);
    let every = complete(&app).await;
    let looks: Vec<CallOutcome> = every.iter().filter(|call| call.call == "/user").map(ProviderCall::outcome).collect();
    assert!(looks.contains(&Done) && looks.contains(&Unknown), "{looks:?}");
    app.close().await;
}

#[tokio::test]
async fn calls_are_found_by_what_they_were_about_and_paged_without_a_gap() {
    let app = TestApp::start().await;
    let shop = app.connected("found-shop").await;
    app.connected("other-shop").await;
    let token = app.token(&shop).await;
    let (version, user_id) = (token.version.unwrap(), token.subject.parse::<u64>().unwrap());
    // Of this user alone: the other one may be looked at still.
    app.fault(json!({ "path": "/user", "kind": "status", "status": 400, "error_code": 1010, "user_id": user_id }))
        .await;
    verify(&app, &shop).await;
    let every = complete(&app).await;
    let places: Vec<_> = every.iter().map(|call| call.begin_time.as_ref().map(|at| (at.seconds, at.nanos))).collect();
    assert!(places.windows(2).all(|pair| pair[0] >= pair[1]), "newest first");
    let by_ones = all(&app, ListProviderCallsRequest { page_size: 1, ..Default::default() }).await;
    assert_eq!(by_ones, every);

    type Fits<'a> = Box<dyn Fn(&ProviderCall) -> bool + 'a>;
    let mint = every.iter().rfind(|call| call.call == "/oauth2/token").unwrap();
    let by_id = list_provider_calls_request::Merchant::MerchantId(shop.merchant_id.clone());
    let by_external = list_provider_calls_request::Merchant::ExternalId(shop.external_id.clone());
    let any = ListProviderCallsRequest::default();
    let cases: Vec<(ListProviderCallsRequest, Fits<'_>)> = vec![
        (to("/user"), Box::new(|call| call.call == "/user")),
        (
            ListProviderCallsRequest { attempt_id: mint.attempt_id.clone(), ..any.clone() },
            Box::new(|call| call.attempt_id == mint.attempt_id),
        ),
        (
            ListProviderCallsRequest { merchant: Some(by_id), ..any.clone() },
            Box::new(|call| call.merchant_id == shop.merchant_id),
        ),
        (
            ListProviderCallsRequest { merchant: Some(by_external), ..any.clone() },
            Box::new(|call| call.merchant_id == shop.merchant_id),
        ),
        (
            ListProviderCallsRequest { connection_id: version.connection_id.clone(), ..any.clone() },
            Box::new(|call| call.connection_id == version.connection_id),
        ),
        (
            ListProviderCallsRequest { outcome: CallOutcome::Refused.into(), ..any.clone() },
            Box::new(|call| call.outcome() == CallOutcome::Refused),
        ),
        (
            ListProviderCallsRequest { error_code: "1010".to_owned(), ..any.clone() },
            Box::new(|call| call.error_code == "1010"),
        ),
        (
            ListProviderCallsRequest { after_time: every[0].begin_time, ..any.clone() },
            Box::new(|call| call.begin_time == every[0].begin_time),
        ),
        (
            ListProviderCallsRequest { before_time: every[0].begin_time, ..any },
            Box::new(|call| call.begin_time != every[0].begin_time),
        ),
    ];
    for (request, fits) in cases {
        let expected: Vec<ProviderCall> = every.iter().filter(|call| fits(call)).cloned().collect();
        assert!(!expected.is_empty(), "{request:?}: the scenario has such a call");
        assert_eq!(all(&app, request.clone()).await, expected, "{request:?}");
    }

    let token = list(&app, ListProviderCallsRequest { page_size: 1, ..Default::default() }).await.unwrap();
    let token = token.next_page_token;
    for bad in [&token[1..], &token.to_uppercase(), &format!("e{}", &token[1..]), "c"] {
        let request = ListProviderCallsRequest { page_token: bad.to_owned(), ..Default::default() };
        assert_eq!(outcome_of(&list(&app, request).await), "INVALID_ARGUMENT", "{bad}");
    }
    assert_eq!(outcome_of(&list(&app, to("somebody@mail.example")).await), "INVALID_ARGUMENT");
    for name in ["payments", "onboarding", "admin", "stranger"] {
        let denied = app.caller(name).audit().list_provider_calls(ListProviderCallsRequest::default()).await;
        assert_eq!(outcome_of(&denied), "PERMISSION_DENIED", "{name}");
    }
    let events = app.events().await;
    let looked = events.iter().any(|event| {
        event.reason.as_deref() == Some("provider_calls")
            && event.details.get("attempt").is_some_and(|attempt| *attempt == mint.attempt_id)
    });
    assert!(looked, "who looked for what is on record");
    app.close().await;
}

#[tokio::test]
async fn neither_the_log_nor_any_list_says_a_secret() {
    let app = TestApp::start().await;
    let mut shop = app.connected("discreet-shop").await;
    let first = app.kill(&shop).await;
    let second = app.reconnect(&mut shop).await;
    let garbled = exchange_under(&app, "garbled-shop", json!({ "path": "/oauth2/token", "kind": "malformed" })).await;
    settled(&app, AttemptState::InDoubt, 1).await;
    app.expect_open_attempts(1);
    let calls = complete(&app).await;

    let mut secrets: BTreeSet<(String, String)> = BTreeSet::new();
    let mut keep = |what: &str, secret: &str| secrets.insert((what.to_owned(), secret.to_owned()));
    keep("token", &first.access_token);
    keep("token", &second.access_token);
    keep("client secret", &app.dev().sandbox.client_secret);
    for shop in [&shop, &garbled] {
        keep("e-mail", &shop.person.email);
        keep("first name", &shop.person.first_name);
        keep("last name", &shop.person.last_name);
        keep("display name", &shop.display_name);
        for (name, value) in shop.browser.hops().iter().flat_map(Url::query_pairs) {
            if matches!(name.as_ref(), "code" | "state" | "confirmation") {
                keep(&name, &value);
            }
        }
    }
    assert!(secrets.iter().any(|(what, _)| what == "code"), "a code was seen on the way");
    let needles: Vec<Needle> = secrets.iter().filter_map(|(what, secret)| Needle::new(what, secret)).collect();
    let search = Search::new(&needles);

    let rows: Vec<(String, String, Option<String>, String)> =
        app.rows("SELECT call, request, code, detail FROM provider_calls").await;
    assert!(rows.len() >= calls.len());
    let auditor = app.caller("auditor");
    let newest = ListEventsRequest { page_size: 100, ..Default::default() };
    let events = auditor.audit().list_events(newest).await.unwrap().into_inner();
    let attempts = auditor.tokens().list_attempts(ListAttemptsRequest::default()).await.unwrap().into_inner();
    let said = [format!("{rows:?}"), format!("{calls:?}"), format!("{events:?}"), format!("{attempts:?}")];
    for text in &said {
        let hits: Vec<_> = search.find(text.as_bytes()).into_iter().map(|hit| hit.what).collect();
        assert!(hits.is_empty(), "{hits:?} in {text}");
    }
    // What may be said is: the search would find it.
    let known = Search::new(&Needle::new("known", &app.dev().public_http).into_iter().collect::<Vec<_>>());
    assert!(said[0].contains("[redacted]") && said[1].contains("[redacted]"), "{}", said[0]);
    assert!(!known.find(said[0].as_bytes()).is_empty(), "our own address stands in the log: {}", said[0]);
    app.close().await;
}
