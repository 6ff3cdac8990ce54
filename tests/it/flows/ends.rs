//! Journeys that end early or late, clients that go away, and a service that starts again.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;
use strongroom::domain::ambient::{Clock as _, SystemClock};
use strongroom::domain::trail::EventKind;
use strongroom::v1::{AttemptState, LinkState, NextAction};
use tonic::{Code, Request};
use url::Url;

use super::stage::{RETURN_URL, Stage, reason};

#[tokio::test]
async fn a_denial_at_the_provider_ends_the_journey_and_nothing_else() {
    let stage = Stage::new().await;
    let ann = stage.person("ann").await;
    let invited = stage.start(stage.order("shop-1", RETURN_URL)).await.unwrap();
    let link = Url::parse(&invited.url).unwrap();
    let browser = stage.browser();
    let authorize = browser.pressed(&link).await;
    let callback = browser.decide(&authorize, &ann, "deny").await;
    assert!(callback.query().unwrap().contains("error=access_denied"), "{callback}");
    let status = browser.call_back(&callback).await;
    let ended = browser.wait(&status).await;
    assert_eq!((ended.outcome.as_str(), ended.confirmation.as_str()), ("denied", ""));
    assert_eq!((stage.mints().await, stage.live_there(&ann).await), (0, vec![]));
    assert_eq!(stage.merchant("shop-1").await.next_action(), NextAction::Connect);
    // Whoever changes their mind uses the same link.
    assert_eq!(browser.go_through(&link, &ann).await.outcome, "held");
    assert_eq!(stage.reasons(EventKind::FlowEnded).await, ["denied", "held"]);
}

#[tokio::test]
async fn a_state_that_is_too_old_is_refused_and_consumes_nothing() {
    let stage = Stage::new().await;
    let ann = stage.person("ann").await;
    let link = stage.invite("shop-1").await;
    let browser = stage.browser();
    let authorize = browser.pressed(&link).await;
    stage.advance(31 * 60).await;
    let callback = browser.decide(&authorize, &ann, "grant").await;
    let page = browser.get(&callback).await;
    assert_eq!((page.status, page.title()), (StatusCode::GONE, "This took too long"));
    assert_eq!(stage.mints().await, 0);
    assert_eq!(browser.go_through(&link, &ann).await.title, "Almost done");
    assert_eq!(stage.reasons(EventKind::FlowConsumed).await.len(), 1);
}

#[tokio::test]
async fn an_invitation_that_is_too_old_does_not_work() {
    let stage = Stage::new().await;
    let link = stage.invite("shop-1").await;
    let browser = stage.browser();
    assert_eq!(browser.get(&link).await.status, StatusCode::OK);
    stage.advance(8 * 24 * 60 * 60).await;
    for page in [browser.get(&link).await, browser.press(&link).await] {
        assert_eq!((page.status, page.title()), (StatusCode::NOT_FOUND, "This link does not work"));
    }
    assert_eq!(stage.reasons(EventKind::FlowStarted).await.len(), 0);
}

#[tokio::test]
async fn a_callback_in_another_browser_consumes_nothing() {
    let stage = Stage::new().await;
    let ann = stage.person("ann").await;
    let link = stage.invite("shop-1").await;
    let browser = stage.browser();
    let callback = browser.granted(&link, &ann).await;
    let page = stage.browser().get(&callback).await;
    assert_eq!((page.status, page.title()), (StatusCode::FORBIDDEN, "You started in another browser"));
    assert_eq!(stage.mints().await, 0);
    let status = browser.call_back(&callback).await;
    assert_eq!(stage.browser().get(&status).await.status, StatusCode::NOT_FOUND);
    assert_eq!(browser.wait(&status).await.title, "Almost done");
    stage.verified().await;
}

#[tokio::test]
async fn an_exchange_lands_although_the_browser_is_gone() {
    let stage = Stage::new().await;
    let ann = stage.person("ann").await;
    let link = stage.invite("shop-1").await;
    let browser = stage.browser();
    let callback = browser.granted(&link, &ann).await;
    stage.fault(json!({ "path": "/oauth2/token", "kind": "delay_after", "delay_ms": 300 })).await;
    // Sent, and hung up on in the middle, again and again until one of them was received.
    for hurry in 0.. {
        let sent = tokio::spawn(browser.request(&callback).send());
        SystemClock.sleep(Duration::from_millis(hurry)).await;
        sent.abort();
        if stage.mints().await > 0 || stage.merchant("shop-1").await.open_attempt.is_some() {
            break;
        }
    }
    for _ in 0..400 {
        if stage.merchant("shop-1").await.next_action() == NextAction::Confirm {
            break;
        }
        SystemClock.sleep(Duration::from_millis(25)).await;
    }
    let merchant = stage.merchant("shop-1").await;
    assert_eq!(merchant.links[0].state(), LinkState::Held);
    assert_eq!((stage.mints().await, stage.live_there(&ann).await), (1, vec![true]));
    let status = browser.call_back(&callback).await;
    assert_eq!(browser.wait(&status).await.title, "Almost done");
    stage.verified().await;
}

#[tokio::test]
async fn a_call_without_patience_does_no_harm() {
    let stage = Stage::new().await;
    let ann = stage.person("ann").await;
    let mut hurried = 0;
    for deadline_ms in [1, 1, 2, 5] {
        let order = stage.order("shop-1", RETURN_URL);
        let mut request = Request::new(order.clone());
        request.set_timeout(Duration::from_millis(deadline_ms));
        let mut client = stage.onboarding();
        hurried += u32::from(client.start_authorization(request).await.is_err());
        // Whatever became of it: the same request gets its answer, at the latest when the first one is through.
        let invited = loop {
            match stage.start(order.clone()).await {
                Err(busy) if busy.code() == Code::Aborted => {}
                answer => break answer.unwrap(),
            }
        };
        assert_eq!(stage.start(order).await.unwrap(), invited);
    }
    assert!(hurried > 0, "at least one gave up");
    assert!(stage.reasons(EventKind::AuthorizationStarted).await.len() <= 4);
    stage.connect("shop-1", &ann).await;
    let mut asked = stage.order("shop-1", "");
    asked.request_id.push_str("-late");
    assert_eq!(reason(stage.start(asked).await), (Code::FailedPrecondition, "TOKEN_STILL_LIVE".to_owned()));
    assert_eq!(stage.mints().await, 1);
}

#[tokio::test]
async fn a_service_that_starts_again_knows_everything_it_knew() {
    let mut stage = Stage::new().await;
    let ann = stage.person("ann").await;
    let before = stage.connect("shop-1", &ann).await;
    let dev = stage.site().dev().clone();
    stage.restart().await;
    assert_eq!(*stage.site().dev(), dev, "ports, keys and callers are the same");
    let after = stage.read("shop-1").await.unwrap();
    assert_eq!((&after.access_token, &after.version), (&before.access_token, &before.version));
    assert!(stage.works_there(&after.access_token).await);
    assert_eq!(stage.live_there(&ann).await, [true]);
    assert_eq!(stage.reasons(EventKind::TrailOpened).await.len(), 2);
    assert_eq!(stage.reasons(EventKind::TrailClosed).await, ["closed"]);
}

#[tokio::test]
async fn an_attempt_in_doubt_is_judged_after_a_restart() {
    let mut stage = Stage::new().await;
    let ann = stage.person("ann").await;
    stage.fault(json!({ "path": "/oauth2/token", "kind": "lose_after" })).await;
    let link = stage.invite("shop-1").await;
    let browser = stage.browser();
    let callback = browser.granted(&link, &ann).await;
    let status = browser.call_back(&callback).await;
    assert_eq!(browser.wait(&status).await.title, "We are waiting for certainty");
    let judge_at = stage.wait_for_attempt("shop-1", AttemptState::InDoubt).await;
    stage.restart().await;
    assert_eq!(stage.wait_for_attempt("shop-1", AttemptState::InDoubt).await, judge_at);
    assert_eq!(browser.wait(&status).await.title, "We are waiting for certainty", "for the same browser");
    stage.advance(700).await;
    stage.wait_until_settled("shop-1").await;
    assert_eq!(browser.wait(&status).await.title, "You are not connected");
    assert_eq!(stage.mints().await, 1);
    let again = stage.connect("shop-1", &ann).await;
    assert!(stage.works_there(&again.access_token).await);
    assert_eq!(stage.settlements().await, ["in_doubt", "lost", "committed"]);
}
