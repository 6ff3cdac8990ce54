//! What comes in between: an address that becomes known while a registration waits, two mints of one user at once, a token that is read
//! while it is being given up, and a provider that has forgotten one past its end.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use strongroom::domain::ambient::{Clock as _, SystemClock};
use strongroom::v1::Liveness;

use super::{STILL_LIVE, address};
use crate::support::app::{TOKEN, TestApp, outcome_of};

/// Between two looks at something that another task is about to do.
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl TestApp {
    async fn state_of_newest_attempt(&self) -> String {
        let rows: Vec<(String,)> = self.rows("SELECT state FROM attempts ORDER BY id DESC LIMIT 1").await;
        rows[0].0.clone()
    }
}

#[tokio::test]
async fn who_may_have_confirmed_by_mail_is_not_upgraded() {
    let app = TestApp::start().await;
    let mut shop = app.known_there("ada").await;
    app.registered("ada").await;
    app.confirm_by_mail("ada", &shop.person.password).await;
    let held = app.token(&shop).await;
    assert_eq!(outcome_of(&app.ask_to_upgrade(&mut shop).await), STILL_LIVE);
    assert!(app.works_there(&held.access_token).await);
    assert_eq!(app.calls(TOKEN).await, 0);
    app.close().await;
}

#[tokio::test]
async fn an_address_that_becomes_known_while_a_registration_waits_is_not_sent() {
    let app = TestApp::start().await;
    app.control(Method::POST, "/settings", Some(json!({ "register_revokes": true }))).await;
    let bob = app.connected("bob").await;
    app.revoke(&app.token(&bob).await.subject).await;
    // The guard has to confirm a death, which takes its time…
    let (order, mut onboarding) = (app.registration("bob", &address("ada")), app.caller("onboarding").onboarding());
    let waiting = tokio::spawn(async move { onboarding.register_merchant(order).await });
    app.until("a dead token to be replaced", async || {
        app.advance(Duration::from_secs(1)).await;
        let waits = "SELECT COUNT(*) FROM attempts WHERE kind = 'register' AND state = 'received'";
        app.rows::<(i64,)>(waits).await[0].0 == 1
    })
    .await;
    // …and meanwhile the address turns out to be somebody's.
    let ada = app.connected("ada").await;
    let held = app.token(&ada).await;
    let refused = app.while_time_passes(waiting).await.unwrap();
    assert_eq!(outcome_of(&refused), "ABORTED:CONFLICT");
    assert!(app.works_there(&held.access_token).await, "nobody's live token was revoked");
    assert_eq!(app.token(&ada).await.access_token, held.access_token);
    app.close().await;
}

#[tokio::test]
async fn a_token_is_not_called_live_while_it_is_being_given_up() {
    let app = TestApp::start().await;
    let mut shop = app.known_there("ada").await;
    app.registered("ada").await;
    app.ask_to_upgrade(&mut shop).await.unwrap();
    app.fault(json!({ "path": "/oauth2/token", "kind": "delay_after", "delay_ms": 4000 })).await;
    shop.press().await;
    let arrival = shop.grant().await;
    app.until("the mint under way", async || app.state_of_newest_attempt().await == "armed").await;
    let mut seen = 0;
    while app.state_of_newest_attempt().await == "armed" {
        let read = app.token(&shop).await;
        if app.state_of_newest_attempt().await == "armed" {
            assert_eq!((read.version.unwrap().version, read.liveness), (1, Liveness::Suspect.into()));
            seen += 1;
        }
        SystemClock.sleep(LOOK_EVERY).await;
    }
    assert!(seen > 0, "it was read while it was being given up");
    assert_eq!(app.while_time_passes(shop.home(arrival)).await, "connected");
    let read = app.token(&shop).await;
    assert_eq!((read.version.as_ref().unwrap().version, read.liveness()), (2, Liveness::Live));
    assert!(app.works_there(&read.access_token).await);
    app.close().await;
}

#[tokio::test]
async fn of_two_mints_at_once_the_one_that_lives_is_handed_out() {
    let app = TestApp::start().await;
    app.control(Method::POST, "/settings", Some(json!({ "register_revokes": true }))).await;
    let mut shop = app.known_there("ada").await;
    app.invite(&mut shop).await.unwrap();
    app.fault(json!({ "path": "/oauth2/token", "kind": "delay_after", "delay_ms": 1000 })).await;
    shop.press().await;
    let arrival = shop.grant().await;
    app.until("a token there", async || {
        app.calls(TOKEN).await == 1 || app.live_there().await.values().any(|t| !t.is_empty())
    })
    .await;
    // Its answer is on its way; meanwhile the same person is registered, which revokes it.
    let bob = app.registration("bob", &shop.person.email);
    let registered = app.while_time_passes(app.register(&bob)).await.unwrap();
    assert_eq!(registered.links.len(), 1);
    app.while_time_passes(shop.home(arrival)).await;
    app.until("the waiting token judged", async || {
        app.advance(Duration::from_secs(5)).await;
        app.rows::<(i64,)>("SELECT COUNT(*) FROM token_versions WHERE candidate = 1").await[0].0 == 0
    })
    .await;
    let read = app.caller("payments").read("bob").await.unwrap();
    assert!(app.works_there(&read.access_token).await, "the one that lives, whichever came in first");
    app.close().await;
}

#[tokio::test]
async fn a_token_past_its_end_that_the_provider_does_not_know_any_more_bars_nobody() {
    let app = TestApp::start().await;
    let mut shop = app.known_there("ada").await;
    app.registered("ada").await;
    app.advance(Duration::from_secs(91 * 24 * 60 * 60)).await;
    app.fault(json!({ "path": "/user", "kind": "status", "status": 401, "error_code": 1006, "times": 1000 })).await;
    app.while_time_passes(app.invite(&mut shop)).await.unwrap();
    assert_eq!(app.while_time_passes(shop.travel()).await, "connected");
    assert_eq!(app.calls(TOKEN).await, 1);
    app.control(Method::DELETE, "/faults", None).await;
    let read = app.token(&shop).await;
    assert!(app.works_there(&read.access_token).await);
    app.close().await;
}
