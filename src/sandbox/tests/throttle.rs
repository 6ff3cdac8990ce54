//! The limit of calls for each app, on the movable clock.

use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use serde_json::{Value, json};

use super::support::{World, options};
use crate::domain::ambient::Clock as _;
use crate::sandbox::{Options, Throttle};

/// A window that a loaded machine cannot outlast: the documented ten seconds are tested where no time passes.
const WINDOW_S: u64 = 3_600;

/// A sandbox with this throttle, and a token.
async fn throttled(shape: Throttle) -> (World, String) {
    let world = World::start().await;
    world.make_user("ada@shop.example").await;
    let token = world.token("ada@shop.example").await;
    world.control("POST", "/settings", json!({"throttle": shape, "throttle_window_s": WINDOW_S})).await;
    (world, token)
}

/// Moves the clock to this long before the next multiple of the window.
async fn move_before_end(world: &World, seconds: u64) {
    let now = u64::try_from(world.sandbox.core.clock.now().as_unix_seconds()).unwrap();
    world.advance(2 * WINDOW_S - now % WINDOW_S - seconds).await;
}

/// How many of 31 calls are let through; the refusals must be as they should.
async fn let_through(world: &World, token: &str) -> usize {
    let mut passed = 0;
    for _ in 0..31 {
        let answer = world.user(token).await;
        if answer.status == 200 {
            passed += 1;
        } else {
            assert_eq!(answer.refusal(), (429, "throttle_exceeded".to_owned(), 1007));
            let text = "Your app has been throttled for making too many calls. Please retry this call later";
            assert_eq!(answer.json()["error_description"], text);
        }
    }
    passed
}

#[tokio::test]
async fn a_fixed_window_lets_a_burst_through_on_both_sides_of_its_end_and_a_sliding_one_does_not() {
    for (shape, after_the_end) in [(Throttle::Fixed, 30), (Throttle::Sliding, 0)] {
        let (world, token) = throttled(shape).await;
        move_before_end(&world, 600).await;
        assert_eq!(let_through(&world, &token).await, 30, "{shape:?}");
        world.advance(1_200).await;
        assert_eq!(let_through(&world, &token).await, after_the_end, "{shape:?}");
        world.advance(WINDOW_S).await;
        assert_eq!(let_through(&world, &token).await, 30, "{shape:?}");
    }
}

#[tokio::test]
async fn a_throttled_call_is_answered_in_the_version_of_its_app() {
    let (world, token) = throttled(Throttle::Sliding).await;
    let path = format!("/apps/{}", world.sandbox.endpoints().client_id);
    world.control("POST", "/settings", json!({"throttle_calls": 1})).await;
    assert_eq!(world.user(&token).await.status, 200);
    for (version, keys) in [("2018-03-21", 3), ("2018-08-29", 5)] {
        world.control("POST", &path, json!({"api_version": version})).await;
        let refused = world.user(&token).await;
        assert_eq!((refused.refusal().2, refused.json().as_object().unwrap().len()), (1007, keys), "{version}");
    }
}

#[tokio::test]
async fn calls_count_for_the_app_that_they_name_and_refused_ones_do_not_count_again() {
    let (world, token) = throttled(Throttle::Sliding).await;
    let client_id = world.sandbox.endpoints().client_id.clone();
    let used = async || {
        let state = world.control("GET", "/state", Value::Null).await;
        state["throttle_used"].as_object().unwrap().clone()
    };
    assert!(used().await.is_empty(), "what was called while it was off does not count");
    assert_eq!(world.exchange("no such code").await.refusal().2, 1003);
    assert_eq!(used().await, *json!({ (client_id.clone()): 1 }).as_object().unwrap(), "by its client id");
    let other_token = world.token("ada@shop.example").await;
    assert_eq!(world.user(&token).await.refusal().2, 1011);
    assert_eq!(used().await[&client_id], 3, "pages do not count, dead tokens do");
    assert_eq!(world.user("STAGE_unknown").await.refusal().2, 1006);
    assert_eq!(world.call(&other_token, "/nothing", json!({})).await.status, 501);
    let broken = world.post("/user", &json!({})).header("authorization", format!("Bearer {other_token}")).body("{");
    assert_eq!(world.send(broken).await.refusal().2, 1005);
    assert_eq!(
        used().await[&client_id],
        4,
        "a call without an app and an unknown path do not count, a broken one does"
    );
    let_through(&world, &other_token).await;
    assert_eq!(used().await[&client_id], 30);
    assert_eq!(world.exchange("no such code").await.refusal().2, 1007);
    let call = world.calls("/oauth2/token").await.pop().unwrap();
    assert_eq!((&call["error_code"], &call["client_id"]), (&json!(1007), &json!(client_id)));

    let other = world.control("POST", "/apps", json!({})).await;
    let mut body = world.exchange_body("no such code");
    body["client_id"] = other["client_id"].clone();
    body["client_secret"] = other["client_secret"].clone();
    assert_eq!(world.send(world.post("/oauth2/token", &body)).await.refusal().2, 1003, "another app has its own limit");
}

#[tokio::test]
async fn the_throttle_refuses_before_anything_else_is_looked_at_but_the_path() {
    let (world, token) = throttled(Throttle::Sliding).await;
    world.control("POST", "/settings", json!({"throttle_calls": 1, "http_status": {"1007": 503}})).await;
    assert_eq!(world.user(&token).await.status, 200);
    let request = world.post("/user", &json!({"unexpected": 1})).header("authorization", format!("Bearer {token}"));
    let response = request.send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers().get(RETRY_AFTER)), (503, None));
    let broken = world.post("/user", &json!({})).header("authorization", format!("Bearer {token}")).body("{");
    assert_eq!(world.send(broken).await.refusal().2, 1007);
    assert_eq!(world.call(&token, "/nothing", json!({})).await.status, 501);
}

#[tokio::test]
async fn the_time_scale_divides_the_window() {
    let world = World::with(Options { time_scale: 24, throttle: Throttle::Sliding, ..options(None) }).await;
    world.control("POST", "/settings", json!({"throttle_window_s": 24 * WINDOW_S, "throttle_calls": 1})).await;
    let token = world.sandbox.app_owner_token().to_owned();
    assert_eq!((world.user(&token).await.status, world.user(&token).await.status), (200, 429));
    world.sandbox.core.advance(Duration::from_secs(WINDOW_S)).unwrap();
    assert_eq!(world.user(&token).await.status, 200);
}

#[test]
fn a_sandbox_alone_limits_calls_as_documented() {
    let alone = Options::alone("127.0.0.1:0".parse().unwrap(), None, 1);
    let settings = crate::sandbox::Settings::new(true, false, alone.throttle);
    assert_eq!((settings.throttle, settings.throttle_calls, settings.throttle_window_s), (Throttle::Sliding, 30, 10));
}
