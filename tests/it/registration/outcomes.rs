//! Every way a registration can end, what its caller is told, and what the same request gets from then on.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::json;
use strongroom::domain::ambient::{Clock as _, SystemClock};
use strongroom::domain::trail::EventKind;
use strongroom::v1::{AttemptState, LinkState, Liveness, Merchant, NextAction, RegisterMerchantRequest};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use super::{EXISTS, REGISTER, STILL_LIVE, UNRESOLVED, address, head_of, link_of, metadata};
use crate::support::app::{TOKEN, TestApp, outcome_of};

/// After this long a registration in doubt is judged: the provider's own 60 s, and a margin.
const QUIESCENCE: Duration = Duration::from_secs(80);
const UNAVAILABLE: &str = "UNAVAILABLE:PROVIDER_UNAVAILABLE";
const REFUSED: &str = "FAILED_PRECONDITION:PROVIDER_REFUSED";
const UNKNOWN: &str = "DEADLINE_EXCEEDED:PROVIDER_OUTCOME_UNKNOWN";
const CONFLICT: &str = "ABORTED:CONFLICT";
const REUSED: &str = "ALREADY_EXISTS:REQUEST_ID_REUSED";

fn outcome(refused: &Status) -> String {
    outcome_of::<()>(&Err(refused.clone()))
}

/// The same request with other content.
fn altered(order: &RegisterMerchantRequest) -> RegisterMerchantRequest {
    RegisterMerchantRequest { client_device: "another browser".to_owned(), ..order.clone() }
}

/// The same order under a new request id, also after a restart.
fn anew(order: &RegisterMerchantRequest) -> RegisterMerchantRequest {
    static ORDERS: AtomicU32 = AtomicU32::new(0);
    let request_id = format!("anew-{}", ORDERS.fetch_add(1, Ordering::Relaxed));
    RegisterMerchantRequest { request_id, ..order.clone() }
}

/// A registration of this merchant whose answer is lost, after the provider acted: in doubt.
async fn doubtful(app: &TestApp, external_id: &str) -> (RegisterMerchantRequest, Status) {
    app.fault(json!({ "path": "/user/register", "kind": "lose_after" })).await;
    let order = app.registration(external_id, &address(external_id));
    let refused = app.register(&order).await.unwrap_err();
    (order, refused)
}

#[tokio::test]
async fn a_registration_brings_a_temporary_token_that_works_at_once() {
    let app = TestApp::start().await;
    let order = app.registration("ada", &address("ada"));
    let made = app.register(&order).await.unwrap();
    let link = link_of(&made);
    assert_eq!((link.state(), made.next_action()), (LinkState::Active, NextAction::GetConfirmed));
    assert!(made.next_action_text.contains("SendConfirmation"), "{}", made.next_action_text);
    let head = head_of(&made);
    assert_eq!((head.r#ref.as_ref().unwrap().version, head.cause.as_str(), head.permanent), (1, "register", false));
    assert_eq!(head.liveness(), Liveness::Live);
    let token = app.caller("payments").read("ada").await.unwrap();
    assert!(app.works_there(&token.access_token).await);
    assert_eq!((token.subject.as_str(), token.expire_time), (link.subject.as_str(), head.expire_time));

    // The same request gets the same answer; anything else under its id, or about the merchant, is refused.
    let looked_at = app.looked_at("ada").await;
    assert_eq!(app.register(&order).await.unwrap(), looked_at);
    assert_eq!(outcome_of(&app.register(&altered(&order)).await), REUSED);
    let other_address = app.registration("ada", &address("ada-again"));
    assert_eq!(outcome_of(&app.register(&other_address).await), STILL_LIVE);
    assert_eq!((app.calls(REGISTER).await, app.calls(TOKEN).await), (1, 0));
    let attempts = app.attempts_for("ada").await;
    assert_eq!(attempts.len(), 1);
    assert_eq!(attempts[0].version, head.r#ref);
    app.close().await;
}

#[tokio::test]
async fn a_known_address_is_refused_with_the_way_out() {
    let app = TestApp::start().await;
    let made = app.registered("ada").await;
    let known = &link_of(&made).connection_id;
    // Another merchant, and spelling does not matter.
    let refused = app.register(&app.registration("bob", "ADA@Mail.Example")).await.unwrap_err();
    assert_eq!(outcome(&refused), EXISTS);
    assert_eq!(
        (&metadata(&refused, "connection_id"), metadata(&refused, "way_out").as_str()),
        (known, "link_merchant")
    );
    assert_eq!(outcome_of(&app.merchant("bob").await), "NOT_FOUND", "nothing was made");
    // The merchant itself.
    let refused = app.register(&anew(&app.registration("ada", &address("ada")))).await.unwrap_err();
    assert_eq!((outcome(&refused).as_str(), metadata(&refused, "way_out").as_str()), (EXISTS, "none"));
    // A dead token is of no use to another merchant either.
    app.revoke(&link_of(&made).subject).await;
    assert_eq!(app.verify("ada").await.head.unwrap().liveness(), Liveness::Dead);
    let refused = app.register(&app.registration("bob", &address("ada"))).await.unwrap_err();
    assert_eq!((outcome(&refused).as_str(), metadata(&refused, "way_out").as_str()), (EXISTS, "start_authorization"));
    assert_eq!(app.calls(REGISTER).await, 1);
    app.close().await;
}

#[tokio::test]
async fn what_was_not_sent_changes_nothing_and_may_be_asked_for_again() {
    let mut app = TestApp::start().await;
    let order = app.registration("ada", &address("ada"));
    app.lose_provider().await;
    let refused = app.register(&order).await.unwrap_err();
    assert_eq!(outcome(&refused), UNAVAILABLE);
    assert_eq!(outcome_of(&app.register(&order).await), UNAVAILABLE);
    assert_eq!(outcome_of(&app.register(&altered(&order)).await), REUSED);
    let merchant = app.merchant("ada").await.unwrap();
    assert!(merchant.open_attempt.is_none() && merchant.links.is_empty(), "{merchant:?}");
    assert_eq!(merchant.next_action(), NextAction::Connect);
    let app = app.restart().await;
    assert_eq!(outcome_of(&app.register(&order).await), UNAVAILABLE, "the same request, the same answer");
    app.register(&anew(&order)).await.unwrap();
    assert_eq!(app.attempt_states("ada").await, [AttemptState::NotSent, AttemptState::Committed]);
    assert_eq!(app.calls(REGISTER).await, 1);
    app.close().await;
}

#[tokio::test]
async fn the_providers_no_is_handed_on_and_stays_the_answer() {
    let app = TestApp::start().await;
    let no = json!({
        "path": "/user/register", "kind": "status", "status": 400, "error_code": 1003,
        "error_description": "email domain is not supported",
    });
    app.fault(no).await;
    let order = app.registration("ada", &address("ada"));
    let refused = app.register(&order).await.unwrap_err();
    assert_eq!(outcome(&refused), REFUSED);
    assert_eq!(metadata(&refused, "provider_code"), "1003");
    assert_eq!(metadata(&refused, "provider_description"), "email domain is not supported");
    assert!(!metadata(&refused, "provider_error").is_empty());
    let again = app.register(&order).await.unwrap_err();
    assert_eq!((outcome(&again).as_str(), metadata(&again, "attempt_state").as_str()), (REFUSED, "rejected"));
    assert_eq!(outcome_of(&app.register(&altered(&order)).await), REUSED);
    assert_eq!(app.calls(REGISTER).await, 1);
    let merchant = app.merchant("ada").await.unwrap();
    assert!(merchant.open_attempt.is_none() && merchant.links.is_empty(), "{merchant:?}");
    app.register(&anew(&order)).await.unwrap();
    assert_eq!(app.attempt_states("ada").await, [AttemptState::Rejected, AttemptState::Committed]);
    app.close().await;
}

#[tokio::test]
async fn a_throttled_or_failing_provider_leaves_a_doubt_and_not_a_no() {
    let app = TestApp::start().await;
    let faults = [(429, Some(1007)), (400, Some(1008)), (500, Some(1003)), (503, None), (502, None)];
    for (at, (status, code)) in faults.into_iter().enumerate() {
        let mut fault = json!({ "path": "/user/register", "kind": "status", "status": status });
        if let Some(code) = code {
            fault["error_code"] = json!(code);
        }
        app.fault(fault).await;
        let name = format!("ada-{at}");
        let refused = app.register(&app.registration(&name, &address(&name))).await.unwrap_err();
        assert_eq!(outcome(&refused), UNRESOLVED, "{status} {code:?}");
        app.settled(&name).await;
        assert_eq!(app.attempt_states(&name).await, [AttemptState::Lost], "{status} {code:?}");
    }
    app.close().await;
}

#[tokio::test]
async fn a_lost_answer_is_a_doubt_until_it_can_do_nothing_more_and_then_may_be_asked_for_again() {
    let app = TestApp::start().await;
    let asked_at = app.site().clock().now();
    let (order, refused) = doubtful(&app, "ada").await;
    assert_eq!(outcome(&refused), UNRESOLVED);
    let judged = strongroom::domain::ambient::Timestamp::parse_rfc3339(&metadata(&refused, "judge_time")).unwrap();
    assert!(judged >= asked_at.plus(QUIESCENCE) && judged <= app.site().clock().now().plus(QUIESCENCE), "{judged:?}");
    let wait = refused.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!(wait <= QUIESCENCE && wait > QUIESCENCE - Duration::from_secs(20), "{wait:?}");
    assert_eq!(metadata(&refused, "attempt_state"), "in_doubt");

    // Until then nothing else goes on for this merchant, nor for this address; others notice nothing.
    let merchant = app.merchant("ada").await.unwrap();
    assert_eq!((merchant.next_action(), merchant.links.len()), (NextAction::Wait, 0));
    assert_eq!(merchant.open_attempt.unwrap().state(), AttemptState::InDoubt);
    assert_eq!(outcome_of(&app.register(&order).await), UNRESOLVED);
    assert_eq!(outcome_of(&app.register(&altered(&order)).await), REUSED);
    assert_eq!(outcome_of(&app.register(&anew(&order)).await), UNRESOLVED);
    assert_eq!(outcome_of(&app.register(&app.registration("ada", &address("ada-two"))).await), UNRESOLVED);
    assert_eq!(outcome_of(&app.register(&app.registration("bob", &address("ada"))).await), UNRESOLVED);
    assert_eq!(outcome_of(&app.invite(&mut app.shop("ada")).await), UNRESOLVED);
    app.registered("eve").await;
    app.advance(QUIESCENCE - Duration::from_secs(20)).await;
    assert_eq!(outcome_of(&app.register(&anew(&order)).await), UNRESOLVED, "not yet");
    assert_eq!(app.calls(REGISTER).await, 2);

    app.advance(Duration::from_secs(21)).await;
    app.settled("ada").await;
    assert_eq!(app.attempt_states("ada").await, [AttemptState::Lost]);
    assert_eq!(app.merchant("ada").await.unwrap().next_action(), NextAction::Connect);
    let again = app.register(&order).await.unwrap_err();
    assert_eq!((outcome(&again).as_str(), metadata(&again, "attempt_state").as_str()), (UNKNOWN, "lost"));
    assert_eq!(outcome_of(&app.register(&altered(&order)).await), REUSED);
    assert_eq!(app.calls(REGISTER).await, 2);
    // The user is there since the first time: registering again brings a token of that user.
    let made = app.register(&anew(&order)).await.unwrap();
    assert_eq!(app.attempt_states("ada").await, [AttemptState::Lost, AttemptState::Committed]);
    let token = app.caller("payments").read("ada").await.unwrap();
    assert_eq!(token.subject, link_of(&made).subject);
    assert!(app.works_there(&token.access_token).await);
    app.close().await;
}

#[tokio::test]
async fn after_a_lost_registration_the_person_may_consent_instead() {
    let app = TestApp::start().await;
    let (_, refused) = doubtful(&app, "ada").await;
    assert_eq!(outcome(&refused), UNRESOLVED);
    app.advance(QUIESCENCE).await;
    app.settled("ada").await;
    let mut shop = app.shop("ada");
    app.invite(&mut shop).await.unwrap();
    assert_eq!(shop.travel().await, "held");
    app.confirm(&shop).await.unwrap();
    let token = app.token(&shop).await;
    assert!(app.works_there(&token.access_token).await);
    assert!(app.versions("ada").await[0].permanent);
    assert_eq!((app.calls(REGISTER).await, app.calls(TOKEN).await), (1, 1));
    app.close().await;
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_kept_sealed() {
    let app = TestApp::start().await;
    app.fault(json!({ "path": "/user/register", "kind": "malformed" })).await;
    let order = app.registration("ada", &address("ada"));
    assert_eq!(outcome_of(&app.register(&order).await), UNRESOLVED);
    let kept: Vec<(String, Vec<u8>)> =
        app.rows("SELECT a.state, s.ciphertext FROM salvage s JOIN attempts a ON a.id = s.attempt_id").await;
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].0, "in_doubt");
    assert!(!kept[0].1.windows(6).any(|bytes| bytes == b"STAGE_"), "sealed, not as it came");
    app.settled("ada").await;
    assert_eq!(app.attempt_states("ada").await, [AttemptState::Lost]);
    let kept: Vec<(i64,)> = app.rows("SELECT count(*) FROM salvage").await;
    assert_eq!(kept[0].0, 1, "kept after the attempt is lost");
    app.close().await;
}

#[tokio::test]
async fn an_impatient_caller_never_costs_the_token() {
    let app = TestApp::start().await;
    app.fault(json!({ "path": "/user/register", "kind": "delay_after", "delay_ms": 400, "times": 4 })).await;
    for (at, patience_ms) in [1, 20, 100, 250].into_iter().enumerate() {
        let name = format!("ada-{at}");
        let order = app.registration(&name, &address(&name));
        let mut hasty = Request::new(order.clone());
        hasty.set_timeout(Duration::from_millis(patience_ms));
        let refused = app.caller("onboarding").onboarding().register_merchant(hasty).await.unwrap_err();
        assert!(matches!(refused.code(), Code::DeadlineExceeded | Code::Cancelled), "{patience_ms} ms: {refused:?}");
        let made = insist(&app, &order).await;
        assert_eq!(made.next_action(), NextAction::GetConfirmed, "{patience_ms} ms");
        // Whoever had no time for a slot was refused before anything was sent, and could repeat the request.
        let mut states = app.attempt_states(&name).await;
        states.retain(|state| *state != AttemptState::NotSent);
        assert_eq!(states, [AttemptState::Committed], "{patience_ms} ms");
        assert!(app.works_there(&app.caller("payments").read(&name).await.unwrap().access_token).await);
        assert_eq!(app.calls(REGISTER).await, at + 1, "{patience_ms} ms");
    }
    app.close().await;
}

/// Repeats the request until it is answered, as a caller does who keeps its request id.
async fn insist(app: &TestApp, order: &RegisterMerchantRequest) -> Merchant {
    for _ in 0..200 {
        match app.register(order).await {
            Ok(made) => return made,
            // Under way; or the first one was just about to be noted.
            Err(refused) => assert!([UNRESOLVED, CONFLICT].contains(&outcome(&refused).as_str()), "{refused:?}"),
        }
        SystemClock.sleep(Duration::from_millis(25)).await;
    }
    unreachable!("the registration never ended");
}

#[tokio::test]
async fn a_process_that_ends_after_arming_leaves_a_doubt_and_not_a_second_registration() {
    let app = TestApp::start().await;
    let (order, _) = doubtful(&app, "ada").await;
    // As a process leaves it that dies before any answer: armed, and nobody at work on it.
    let mut intruder = app.intruder().await;
    let undo = "UPDATE attempts SET state = 'armed', reason = NULL, judge_at_us = NULL";
    assert_eq!(intruder.execute(undo, &[]).await, 1);
    intruder.close().await;
    app.expect_open_attempts(1);
    let app = app.restart().await;
    // At the start where nobody else can be at work; otherwise whoever sees to it looks behind that.
    app.until("the doubt", async || app.attempt_states("ada").await == [AttemptState::InDoubt]).await;
    let refused = app.register(&order).await.unwrap_err();
    assert_eq!((outcome(&refused).as_str(), metadata(&refused, "attempt_state").as_str()), (UNRESOLVED, "in_doubt"));
    assert!(refused.get_details_retry_info().unwrap().retry_delay.unwrap() <= QUIESCENCE);
    app.advance(QUIESCENCE).await;
    app.settled("ada").await;
    assert_eq!(outcome_of(&app.register(&order).await), UNKNOWN);
    assert_eq!(app.calls(REGISTER).await, 1);
    let settled = app.reasons_of(EventKind::AttemptSettled).await;
    assert_eq!(settled.last().map(String::as_str), Some("lost"), "{settled:?}");
    app.register(&anew(&order)).await.unwrap();
    app.close().await;
}

#[tokio::test]
async fn a_process_that_ends_before_arming_leaves_nothing() {
    let app = TestApp::start().await;
    let (order, _) = doubtful(&app, "ada").await;
    let mut intruder = app.intruder().await;
    let undo = "UPDATE attempts SET state = 'received', reason = NULL, judge_at_us = NULL, armed_at_us = NULL";
    assert_eq!(intruder.execute(undo, &[]).await, 1);
    intruder.close().await;
    app.expect_open_attempts(1);
    let app = app.restart().await;
    app.until("the end of the attempt", async || app.attempt_states("ada").await == [AttemptState::NotSent]).await;
    assert_eq!(outcome_of(&app.register(&order).await), UNAVAILABLE);
    app.close().await;
}

#[tokio::test]
async fn of_two_merchants_with_one_address_at_once_one_is_registered() {
    let app = TestApp::start().await;
    app.fault(json!({ "path": "/user/register", "kind": "delay_after", "delay_ms": 300, "times": 9 })).await;
    let orders = ["ada", "bob", "eve"].map(|name| app.registration(name, &address("shared")));
    let (one, two, three) = tokio::join!(app.register(&orders[0]), app.register(&orders[1]), app.register(&orders[2]));
    let mut outcomes = [one, two, three].map(|answer| outcome_of(&answer));
    outcomes.sort();
    assert_eq!(outcomes.iter().filter(|outcome| *outcome == "OK").count(), 1, "{outcomes:?}");
    let stands_back = |outcome: &&String| [UNRESOLVED, EXISTS].contains(&outcome.as_str());
    assert_eq!(outcomes.iter().filter(stands_back).count(), 2, "{outcomes:?}");
    assert_eq!(app.calls(REGISTER).await, 1);
    let merchants: Vec<(i64,)> = app.rows("SELECT count(*) FROM merchants").await;
    assert_eq!(merchants[0].0, 1, "who stood back left nothing");
    // Who stood back is told the way out.
    for order in &orders {
        let again = app.register(order).await;
        assert!(["OK", EXISTS].contains(&outcome_of(&again).as_str()), "{again:?}");
    }
    app.close().await;
}

#[tokio::test]
async fn of_many_requests_for_one_merchant_at_once_one_is_sent() {
    let app = TestApp::start().await;
    app.fault(json!({ "path": "/user/register", "kind": "delay_after", "delay_ms": 300, "times": 9 })).await;
    let same = app.registration("ada", &address("ada"));
    let other = app.registration("ada", &address("ada-two"));
    let (one, two, three) = tokio::join!(app.register(&same), app.register(&same), app.register(&other));
    let outcomes = [one, two, three].map(|answer| outcome_of(&answer));
    assert_eq!(outcomes.iter().filter(|outcome| *outcome == "OK").count(), 1, "{outcomes:?}");
    let stands_back = |outcome: &&String| [UNRESOLVED, CONFLICT].contains(&outcome.as_str());
    assert_eq!(outcomes.iter().filter(stands_back).count(), 2, "{outcomes:?}");
    assert_eq!(app.calls(REGISTER).await, 1);
    assert_eq!(app.attempt_states("ada").await, [AttemptState::Committed]);
    app.close().await;
}
