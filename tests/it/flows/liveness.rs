//! What may and what may not count as the death of a token (M6), and a gate that cannot tell.

use std::time::Duration;

use serde_json::{Value, json};
use strongroom::domain::ambient::{Clock as _, SystemClock};
use strongroom::domain::trail::EventKind;
use strongroom::v1::{AttemptState, Liveness};
use url::Url;

use super::stage::{RETURN_URL, Stage, reason};

fn on_user(status: u16, code: Option<u16>, description: &str) -> Value {
    let mut fault = json!({ "path": "/user", "kind": "status", "status": status, "times": 1000 });
    if let Some(code) = code {
        fault["error_code"] = json!(code);
        fault["error_description"] = json!(description);
    }
    fault
}

#[tokio::test]
async fn a_gate_that_cannot_tell_waits_and_gives_up_before_the_code_is_too_old() {
    let stage = Stage::new().await;
    let ann = stage.person("ann").await;
    let spare = stage.invite("shop-1").await;
    let first = stage.connect("shop-1", &ann).await;
    stage.fault(on_user(500, None, "")).await;
    let told = stage.report(first.version.as_ref().unwrap(), "1006").await;
    assert_eq!(told.head.unwrap().liveness(), Liveness::Suspect);
    assert_eq!(reason(stage.start(stage.order("shop-1", "")).await).1, "LIVENESS_UNKNOWN");

    let browser = stage.browser();
    let callback = browser.granted(&spare, &ann).await;
    let status = browser.call_back(&callback).await;
    let asked = stage.calls("/user").await;
    while stage.calls("/user").await < asked + 2 {
        SystemClock.sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(browser.get(&status).await.title(), "One moment", "it asks again and again");
    stage.wait_for_attempt("shop-1", AttemptState::Received).await;
    stage.advance(8 * 60 + 1).await;
    assert_eq!(browser.wait(&status).await.title, "You are not connected yet");
    assert_eq!((stage.mints().await, stage.live_there(&ann).await), (1, vec![true]));
    let settled: Vec<_> = stage.verified().await;
    let refused = settled.iter().rfind(|event| event.kind == EventKind::AttemptSettled).unwrap();
    assert_eq!((refused.reason.as_deref(), refused.details["why"].as_str()), (Some("refused"), "liveness_unknown"));

    stage.no_faults().await;
    assert_eq!(stage.verify_token("shop-1").await, Liveness::Live);
    assert_eq!(stage.read("shop-1").await.unwrap().access_token, first.access_token);
}

#[tokio::test]
async fn no_answer_but_two_declared_deaths_makes_a_token_dead() {
    let stage = Stage::new().await;
    let ann = stage.person("ann").await;
    let first = stage.connect("shop-1", &ann).await;
    let wrong_environment = "Trying to use an access_token from production on stage";
    for (status, code, text, found) in [
        (401, Some(1006), "access_token invalid", Liveness::Suspect),
        (401, Some(1006), wrong_environment, Liveness::Suspect),
        (401, Some(1011), wrong_environment, Liveness::Suspect),
        (401, Some(1010), "permission", Liveness::InsufficientScope),
        (401, Some(1002), "header", Liveness::Suspect),
        (401, None, "", Liveness::Suspect),
        (501, Some(1001), "this is not a valid call", Liveness::Live),
        (400, Some(1003), "parameter", Liveness::Live),
        (429, Some(1007), "throttled", Liveness::Live),
        (500, Some(1011), "a server error that names a death", Liveness::Live),
        (400, Some(1008), "there was an unknown error", Liveness::Live),
        (400, Some(9999), "a number nobody knows", Liveness::Live),
        (500, None, "", Liveness::Live),
    ] {
        stage.fault(on_user(status, code, text)).await;
        assert_eq!(stage.verify_token("shop-1").await, found, "{status} {code:?} {text}");
        match found {
            Liveness::InsufficientScope => assert_eq!(reason(stage.read("shop-1").await).1, "INSUFFICIENT_SCOPE"),
            _ => assert_eq!(stage.read("shop-1").await.unwrap().access_token, first.access_token),
        }
        stage.no_faults().await;
        assert_eq!(stage.verify_token("shop-1").await, Liveness::Live);
    }
    for lost in ["lose_before", "lose_after", "malformed"] {
        stage.fault(json!({ "path": "/user", "kind": lost, "times": 1000 })).await;
        assert_eq!(stage.verify_token("shop-1").await, Liveness::Live, "{lost}");
        stage.no_faults().await;
    }
    assert_eq!((stage.mints().await, stage.live_there(&ann).await), (1, vec![true]));
    assert!(!stage.reasons(EventKind::LivenessChanged).await.contains(&"dead".to_owned()));
}

#[tokio::test]
async fn a_death_that_is_not_repeated_is_none() {
    let stage = Stage::new().await;
    let ann = stage.person("ann").await;
    stage.connect("shop-1", &ann).await;
    stage.fault(json!({ "path": "/user", "kind": "status", "status": 401, "error_code": 1011 })).await;
    assert_eq!(stage.verify_token("shop-1").await, Liveness::Live);
    assert_eq!(stage.live_there(&ann).await, [true]);
    assert!(!stage.reasons(EventKind::LivenessChanged).await.contains(&"dead".to_owned()));
}

#[tokio::test]
async fn a_death_is_none_while_the_provider_answers_nothing_else_sensibly() {
    let stage = Stage::new().await;
    let (ann, bob) = (stage.person("ann").await, stage.person("bob").await);
    stage.connect("shop-1", &ann).await;
    stage.revoke(&ann).await;
    let silent = json!({ "path": "/app", "kind": "status", "status": 500, "times": 1000 });
    stage.fault(silent.clone()).await;
    assert_eq!(stage.verify_token("shop-1").await, Liveness::Suspect);
    assert_eq!(reason(stage.start(stage.order("shop-1", "")).await).1, "LIVENESS_UNKNOWN");
    stage.no_faults().await;

    // Another merchant's live token is as good a control.
    stage.connect("shop-2", &bob).await;
    stage.fault(silent).await;
    assert_eq!(stage.verify_token("shop-1").await, Liveness::Dead);
    assert_eq!((stage.live_there(&ann).await, stage.live_there(&bob).await), (vec![false], vec![true]));
    stage.verified().await;
}

#[tokio::test]
async fn a_token_that_lives_is_refused_another_consent_with_the_evidence() {
    let stage = Stage::new().await;
    let ann = stage.person("ann").await;
    let spare = stage.invite("shop-1").await;
    let first = stage.connect("shop-1", &ann).await;
    let told = super::stage::refused(stage.start(stage.order("shop-1", "")).await);
    assert_eq!(told.reason, "TOKEN_STILL_LIVE");
    assert_eq!((told.metadata["liveness"].as_str(), told.metadata["evidence"].as_str()), ("live", "probe"));
    let browser = stage.browser();
    assert_eq!(browser.press(&spare).await.title(), "You are already connected");
    // Old evidence is not good enough for a refusal without a probe, and a probe finds the same.
    stage.advance(3_600).await;
    let asked = stage.calls("/user").await;
    assert_eq!(reason(stage.start(stage.order("shop-1", "")).await).1, "TOKEN_STILL_LIVE");
    assert_eq!(stage.calls("/user").await, asked + 1);
    assert_eq!((stage.mints().await, stage.live_there(&ann).await), (1, vec![true]));
    assert!(stage.works_there(&first.access_token).await);
    stage.verified().await;
}

#[tokio::test]
async fn a_token_revoked_right_after_it_was_issued_is_found_dead_and_renewed() {
    let stage = Stage::new().await;
    let ann = stage.person("ann").await;
    stage.fault(json!({ "path": "/oauth2/token", "kind": "revoke_after" })).await;
    let invited = stage.start(stage.order("shop-1", RETURN_URL)).await.unwrap();
    let browser = stage.browser();
    let link = Url::parse(&invited.url).unwrap();
    let ended = browser.go_through(&link, &ann).await;
    assert_eq!(ended.outcome, "held");
    stage.while_time_passes(stage.wait_for_identity_check("shop-1")).await;
    stage.confirm(&invited.merchant_id, &ended.confirmation).await.unwrap();
    assert_eq!(reason(stage.read("shop-1").await).1, "TOKEN_DEAD");
    let ended = stage.while_time_passes(browser.go_through(&link, &ann)).await;
    assert_eq!(ended.outcome, "connected");
    let renewed = stage.read("shop-1").await.unwrap();
    assert!(stage.works_there(&renewed.access_token).await);
    assert_eq!((stage.mints().await, stage.live_there(&ann).await), (2, vec![false, true]));
    stage.verified().await;
}
