//! What callers, browsers and the provider do to us.

use std::time::Duration;

use serde_json::json;
use strongroom::demo::browser::Arrival;
use strongroom::domain::trail::EventKind;
use strongroom::v1::{
    Liveness, ReportResult, TokenVersionRef, VerifyTokenRequest, VerifyTokenResponse, verify_token_request,
};
use tonic::Status;

use crate::support::app::{Caller, Shop, TOKEN, TestApp, USER, outcome_of};

/// How slow the provider is: slower than every call that asks nobody but our own database may take, faster than the mint.
const SLOW: Duration = Duration::from_secs(7);

async fn verify(app: &TestApp, shop: &Shop) -> Result<VerifyTokenResponse, Status> {
    let merchant = Some(verify_token_request::Merchant::ExternalId(shop.external_id.clone()));
    let request = VerifyTokenRequest { request_id: app.request_id(), merchant };
    Ok(app.caller("payments").tokens().verify_token(request).await?.into_inner())
}

#[tokio::test]
async fn a_provider_slower_than_our_callers_is_asked_once_and_whoever_waits_hears_in_progress() {
    let app = TestApp::start().await;
    let mut shop = app.shop("slow-shop");
    app.invite(&mut shop).await.unwrap();
    let mut twin = app.shop("slow-shop");
    twin.link.clone_from(&shop.link);
    twin.press().await;
    app.fault(json!({ "path": "/oauth2/token", "kind": "delay_after", "delay_ms": SLOW.as_millis() })).await;

    shop.press().await;
    let arrival = shop.grant().await;
    app.until("the call to the provider", async || app.calls(TOKEN).await == 1).await;
    let again = app.invite(&mut twin).await;
    assert_eq!(outcome_of(&again), "FAILED_PRECONDITION:ATTEMPT_UNRESOLVED");
    let unread = app.caller("payments").read("slow-shop").await;
    assert_eq!(outcome_of(&unread), "FAILED_PRECONDITION:NOT_CONNECTED");
    // The second browser gets through the provider's page while the first still waits: its code stays unspent.
    twin.person.is_registered = true;
    let second = twin.grant().await;
    assert_eq!(twin.home(second).await, "busy");
    assert_eq!(app.calls(TOKEN).await, 1, "nothing was sent for the second");

    assert_eq!(shop.home(arrival).await, "held");
    app.confirm(&shop).await.unwrap();
    app.token(&shop).await;
    assert_eq!(app.calls(TOKEN).await, 1);
    app.close().await;
}

#[tokio::test]
async fn a_hundred_reports_about_one_suspect_token_look_at_the_provider_once() {
    const CALLERS: usize = 100;
    let app = TestApp::start().await;
    let shop = app.connected("crowded-shop").await;
    let held = app.token(&shop).await;
    app.revoke(&held.subject).await;
    let (before, minted) = (app.calls(USER).await, app.calls(TOKEN).await);

    let mut reports = tokio::task::JoinSet::new();
    for _ in 0..CALLERS {
        let caller = Caller::of_dev(app.dev(), "payments");
        let report = app.report(held.version.as_ref().unwrap());
        reports.spawn(async move { caller.tokens().report_provider_error(report).await });
    }
    // The first look is done, and the second waits for the clock: time enough for all of them to arrive.
    app.until("a hundred reports on record", async || {
        let reported = |event: &strongroom::domain::trail::Event| event.kind == EventKind::TokenReported;
        app.events().await.into_iter().filter(reported).count() == CALLERS
    })
    .await;
    let answers = app.while_time_passes(reports.join_all()).await;
    for answer in answers {
        let answer = answer.unwrap().into_inner();
        assert_eq!((answer.result(), answer.head.unwrap().liveness()), (ReportResult::Probed, Liveness::Dead));
    }
    let looks = app.calls(USER).await - before;
    assert!((2..=3).contains(&looks), "a death is looked at twice, one more look is forgiven; saw {looks}");
    assert_eq!(app.calls(TOKEN).await, minted, "a report never mints");
    app.close().await;
}

#[tokio::test]
async fn a_report_about_the_version_before_gets_the_newer_one_and_asks_nobody() {
    let app = TestApp::start().await;
    let mut shop = app.connected("renewed-shop").await;
    let old = app.kill(&shop).await;
    let new = app.reconnect(&mut shop).await;
    let version = |of: &Option<TokenVersionRef>| of.as_ref().unwrap().version;
    assert_eq!((version(&old.version), version(&new.version)), (1, 2));
    let before = app.calls("").await;
    let report = app.report(old.version.as_ref().unwrap());
    let answer = app.caller("payments").tokens().report_provider_error(report).await.unwrap().into_inner();
    let head = answer.head.clone().unwrap();
    assert_eq!((answer.result(), head.liveness()), (ReportResult::NewerVersion, Liveness::Live));
    assert_eq!(version(&head.r#ref), 2);
    assert_eq!(app.calls("").await, before, "nothing reached the provider");
    assert_eq!(app.token(&shop).await.access_token, new.access_token);
    app.close().await;
}

#[tokio::test]
async fn a_callback_in_another_browser_is_refused_and_its_code_stays_unspent() {
    let app = TestApp::start().await;
    let mut shop = app.shop("bound-shop");
    app.invite(&mut shop).await.unwrap();
    shop.press().await;
    let callback = shop.grant_and_stop().await;
    let mut other = app.browser();
    let arrival = other.open(callback.clone()).await.unwrap();
    assert!(matches!(arrival, Arrival::Page));
    assert_eq!(other.page().status, 403);
    assert_eq!(app.calls(TOKEN).await, 0, "refused before the exchange");
    // Unspent: the browser that pressed the button still gets on with it.
    let arrival = shop.browser.open(callback).await.unwrap();
    assert_eq!(shop.home(arrival).await, "held");
    assert_eq!(app.calls(TOKEN).await, 1);
    let events = app.events().await;
    let refused = events.iter().find(|event| event.kind == EventKind::CallbackRefused).unwrap();
    assert!(refused.origin.is_none() && refused.reason.is_some());
    app.close().await;
}

#[tokio::test]
async fn the_providers_code_for_an_unknown_path_is_not_read_as_revocation() {
    let app = TestApp::start().await;
    let shop = app.connected("steady-shop").await;
    let before = app.token(&shop).await;
    let fault = |code: u32| json!({ "path": "/user", "kind": "status", "status": 404, "error_code": code, "times": 2 });
    app.fault(fault(1001)).await;
    let looks = app.calls(USER).await;
    let answer = verify(&app, &shop).await.unwrap();
    assert_eq!(app.calls(USER).await, looks + 1, "it was asked, once");
    assert_eq!(answer.head.unwrap().liveness(), Liveness::Live);
    let after = app.token(&shop).await;
    assert_eq!((after.liveness(), &after.access_token), (Liveness::Live, &before.access_token));
    // The control: the code that does mean it is believed, after a second look.
    app.control(reqwest::Method::DELETE, "/faults", None).await;
    app.fault(json!({ "path": "/user", "kind": "status", "status": 401, "error_code": 1011, "times": 2 })).await;
    let answer = app.while_time_passes(verify(&app, &shop)).await.unwrap();
    assert_eq!(answer.head.unwrap().liveness(), Liveness::Dead);
    assert_eq!(outcome_of(&app.caller("payments").read("steady-shop").await), "FAILED_PRECONDITION:TOKEN_DEAD");
    app.close().await;
}
