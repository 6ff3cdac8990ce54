//! What comes twice: clicks, callbacks, tabs. A code is sent once, by one owner (M3).

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};
use serde_json::json;
use strongroom::domain::trail::EventKind;
use strongroom::v1::{AttemptState, StartAuthorizationRequest};
use tonic::{Code, Response};
use url::Url;

use super::stage::Stage;

/// As many browsers as an impatient person has fingers, and some more.
const AT_ONCE: usize = 24;

fn with_parameter(url: &Url, name: &str, value: &str) -> Url {
    let mut changed = url.clone();
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let pairs = pairs.into_iter().map(|(key, old)| if key == name { (key, value.to_owned()) } else { (key, old) });
    changed.query_pairs_mut().clear().extend_pairs(pairs.collect::<Vec<_>>());
    changed
}

fn parameter(url: &Url, name: &str) -> String {
    url.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_callback_loaded_many_times_at_once_is_one_mint() {
    let stage = Stage::new().await;
    let ann = stage.person("ann").await;
    let browser = stage.browser();
    let link = stage.invite("shop-1").await;
    let callback = browser.granted(&link, &ann).await;
    let loads: Vec<_> = (0..AT_ONCE).map(|_| tokio::spawn(browser.request(&callback).send())).collect();
    let mut places = BTreeSet::new();
    for load in loads {
        let answer = load.await.unwrap().unwrap();
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        places.insert(answer.headers()["location"].to_str().unwrap().to_owned());
    }
    assert_eq!(places.len(), 1, "all of them lead to one status page");
    let status = callback.join(places.first().unwrap()).unwrap();
    assert_eq!(browser.wait(&status).await.title, "Almost done");
    assert_eq!((stage.mints().await, stage.live_there(&ann).await), (1, vec![true]));
    assert_eq!(stage.reasons(EventKind::AttemptReceived).await.len(), 1);
    assert_eq!(stage.merchant("shop-1").await.links.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_sent_many_times_at_once_for_a_new_merchant_finds_no_contradiction() {
    let stage = Stage::new().await;
    for merchant in 0..8 {
        let order = stage.order(&format!("shop-{merchant}"), "");
        let send = |order: StartAuthorizationRequest| {
            let mut client = stage.onboarding();
            tokio::spawn(async move { client.start_authorization(order).await.map(Response::into_inner) })
        };
        let sent: Vec<_> = (0..AT_ONCE).map(|_| send(order.clone())).collect();
        let mut invitations = BTreeSet::new();
        for answer in sent {
            match answer.await.unwrap() {
                Ok(invited) => drop(invitations.insert(invited.invitation_id)),
                Err(busy) => assert_eq!(busy.code(), Code::Aborted, "{busy:?}"),
            }
        }
        assert_eq!(invitations.len(), 1);
        assert!(invitations.contains(&stage.start(order).await.unwrap().invitation_id));
    }
}

#[tokio::test]
async fn a_double_click_on_grant_is_one_mint() {
    let stage = Stage::new().await;
    let ann = stage.person("ann").await;
    let browser = stage.browser();
    let link = stage.invite("shop-1").await;
    let authorize = browser.pressed(&link).await;
    let (first, second) =
        (browser.decide(&authorize, &ann, "grant").await, browser.decide(&authorize, &ann, "grant").await);
    assert_ne!(parameter(&first, "code"), parameter(&second, "code"), "the provider issued two codes");
    assert_eq!(parameter(&first, "state"), parameter(&second, "state"));
    let status = browser.call_back(&first).await;
    assert_eq!(browser.call_back(&second).await, status);
    assert_eq!(browser.wait(&status).await.title, "Almost done");
    assert_eq!((stage.mints().await, stage.live_there(&ann).await), (1, vec![true]));
    stage.verified().await;
}

#[tokio::test]
async fn the_second_of_two_tabs_is_told_that_the_merchant_is_connected_and_its_code_is_dropped() {
    let stage = Stage::new().await;
    let ann = stage.person("ann").await;
    let browser = stage.browser();
    let link = stage.invite("shop-1").await;
    let (first, second) = (browser.granted(&link, &ann).await, browser.granted(&link, &ann).await);
    assert_ne!(parameter(&first, "state"), parameter(&second, "state"));
    let status = browser.call_back(&first).await;
    assert_eq!(browser.wait(&status).await.title, "Almost done");
    let status = browser.call_back(&second).await;
    assert_eq!(browser.wait(&status).await.title, "You are already connected");
    let there = stage.control(Method::GET, "/state", None).await;
    assert_eq!((&there["codes"], &there["codes_used"]), (&json!(2), &json!(1)));
    assert_eq!((stage.mints().await, stage.live_there(&ann).await), (1, vec![true]));
    assert_eq!(stage.settlements().await, ["committed", "refused"]);
}

#[tokio::test]
async fn a_callback_that_comes_while_another_is_in_flight_sends_nothing() {
    let stage = Stage::new().await;
    let ann = stage.person("ann").await;
    let browser = stage.browser();
    let link = stage.invite("shop-1").await;
    let (first, second) = (browser.granted(&link, &ann).await, browser.granted(&link, &ann).await);
    stage.fault(json!({ "path": "/oauth2/token", "kind": "delay_before", "delay_ms": 1500 })).await;
    let status = browser.call_back(&first).await;
    stage.wait_for_attempt("shop-1", AttemptState::Armed).await;
    assert_eq!(browser.get(&status).await.title(), "One moment");
    assert_eq!(browser.call_back(&first).await, status, "a reload looks again and does nothing");
    let other = browser.call_back(&second).await;
    assert_ne!(other, status);
    assert_eq!(browser.wait(&other).await.title, "An earlier try is not finished");
    assert_eq!(browser.press(&link).await.title(), "An earlier try is not finished");
    assert_eq!(browser.wait(&status).await.title, "Almost done");
    assert_eq!((stage.mints().await, stage.live_there(&ann).await), (1, vec![true]));
    stage.verified().await;
}

#[tokio::test]
async fn a_code_that_was_seen_before_is_not_sent_under_another_state() {
    let stage = Stage::new().await;
    let ann = stage.person("ann").await;
    let browser = stage.browser();
    let link = stage.invite("shop-1").await;
    let (first, second) = (browser.granted(&link, &ann).await, browser.granted(&link, &ann).await);
    let status = browser.call_back(&first).await;
    assert_eq!(browser.wait(&status).await.title, "Almost done");
    let mixed = with_parameter(&second, "code", &parameter(&first, "code"));
    let status = browser.call_back(&mixed).await;
    assert_eq!(browser.wait(&status).await.title, "An earlier try is not finished");
    assert_eq!(stage.mints().await, 1);
    stage.verified().await;
}
