//! Snapshots: taken out, put back, kept by name.

use serde_json::{Value, json};

use super::support::{Browser, PASSWORD, REDIRECT, SCOPES, World, options};
use crate::sandbox::{Environment, Options};

/// What a snapshot is about: all of `GET /control/state` but what it leaves out.
async fn told(world: &World) -> Value {
    let mut state = world.control("GET", "/state", Value::Null).await;
    let left_out = ["calls", "settings", "journal_position", "clock_offset_s", "now", "snapshots"];
    left_out.iter().for_each(|name| drop(state.as_object_mut().unwrap().remove(*name)));
    state
}

/// A world with some of everything.
async fn full(dir: Option<&std::path::Path>) -> (World, u64, String) {
    let world = World::with(options(dir)).await;
    let ada = world.make_user("ada@shop.example").await;
    world.token("ada@shop.example").await;
    let token = world.token("ada@shop.example").await;
    world.code("ada@shop.example").await;
    let bob = world.make_user("bob@shop.example").await;
    world.token("bob@shop.example").await;
    world.control("POST", &format!("/users/{bob}/revoke"), Value::Null).await;
    let mut body = world.register_body("eve@shop.example");
    (body["redirect_uri"], body["callback_uri"]) = (json!(REDIRECT), json!("http://127.0.0.1:9/n"));
    let issued = world.send(world.post("/user/register", &body)).await.json();
    let eves = issued["access_token"].as_str().unwrap();
    world.ok(eves, "/user/send_confirmation", json!({})).await;
    let wish = json!({"name": "Ada's", "description": "B", "reference_id": "r-1"});
    world.ok(&token, "/account/create", wish).await;
    let rbit = json!({"type": "email", "properties": {}, "receive_time": 1, "source": "user"});
    world.ok(&token, "/user/modify", json!({"rbits": [rbit]})).await;
    world.control("POST", "/apps", Value::Null).await;
    let gone = world.make_user("gone@shop.example").await;
    world.control("POST", &format!("/users/{gone}/delete"), Value::Null).await;
    world.make_user("gone@shop.example").await;
    (world, ada, token)
}

async fn refused(world: &World, method: &str, path: &str, body: &Value) -> String {
    let url = format!("{}{path}", world.sandbox.endpoints().control);
    let answer = world.send(world.client.request(method.parse().unwrap(), url).body(body.to_string())).await;
    assert!(matches!(answer.status, 400 | 404), "{path}: {}", answer.text);
    answer.json()["error"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_snapshot_put_back_undoes_what_came_after_it() {
    let (world, ada, token) = full(None).await;
    let before = told(&world).await;
    let document = world.control("GET", "/snapshot", Value::Null).await;
    assert_eq!((&document["format"], &document["environment"]), (&json!(1), &json!("stage")));
    let newer = world.token("ada@shop.example").await;
    let late = world.make_user("late@shop.example").await;
    world.ok(&newer, "/account/create", json!({"name": "C", "description": "D"})).await;
    world.advance(60).await;
    world.control("POST", &format!("/users/{ada}/revoke"), Value::Null).await;
    assert_eq!(world.user(&token).await.refusal().2, 1011);
    let calls = world.calls("/user").await.len();

    let done = world.control("POST", "/snapshot", document.clone()).await;
    assert_eq!(done["client_id"], world.sandbox.endpoints().client_id);
    assert_eq!(told(&world).await, before);
    assert_eq!(world.user(&token).await.status, 200, "a token that was revoked since lives again");
    assert_eq!(world.user(&newer).await.refusal().2, 1006, "one that was issued since was never there");
    assert_eq!(world.calls("/user").await.len(), calls + 2, "the call log goes on");
    let state = world.control("GET", "/state", Value::Null).await;
    assert_eq!(state["clock_offset_s"], 60, "so does the clock");
    let again = world.control("GET", "/snapshot", Value::Null).await;
    assert_eq!(again["state"], document["state"]);
    assert_eq!(world.make_user("other@shop.example").await, late, "ids given since are given again");
}

#[tokio::test]
async fn a_restored_state_is_there_after_a_restart_and_in_another_sandbox() {
    let dir = tempfile::tempdir().unwrap();
    let (world, _, token) = full(Some(dir.path())).await;
    let document = world.control("GET", "/snapshot", Value::Null).await;
    let before = told(&world).await;
    world.make_user("late@shop.example").await;
    world.control("POST", "/snapshot", document.clone()).await;
    world.sandbox.stop().await;
    let world = World::with(options(Some(dir.path()))).await;
    assert_eq!(told(&world).await, before);
    assert_eq!(world.user(&token).await.status, 200);

    let other = World::start().await;
    let done = other.control("POST", "/snapshot", document).await;
    assert_eq!(done["client_id"], world.sandbox.endpoints().client_id, "the app comes with it");
    assert_eq!((told(&other).await, other.user(&token).await.status), (before, 200));
}

#[tokio::test]
async fn what_ended_by_the_clock_stays_ended_and_codes_keep_their_ten_minutes() {
    let world = World::start().await;
    world.make_user("ada@shop.example").await;
    let code = world.code("ada@shop.example").await;
    let mut browser = Browser::new(&world, world.authorize_url(SCOPES));
    browser.log_in("ada@shop.example", PASSWORD).await;
    world.control("POST", "/snapshots/early", Value::Null).await;
    assert_eq!(world.exchange(&code).await.status, 200);
    world.control("POST", "/snapshots/early/restore", Value::Null).await;
    assert!(browser.open().await.text.contains("Grant access?"), "the session is part of it");
    world.advance(599).await;
    world.control("POST", "/snapshots/early/restore", Value::Null).await;
    assert_eq!(world.exchange(&code).await.status, 200, "the code is unused again");
    world.advance(1).await;
    world.control("POST", "/snapshots/early/restore", Value::Null).await;
    assert_eq!(world.exchange(&code).await.refusal().2, 1012);
}

#[tokio::test]
async fn snapshots_are_kept_by_name_up_to_a_number() {
    let world = World::start().await;
    for number in 0..32 {
        world.control("POST", &format!("/snapshots/s-{number}"), Value::Null).await;
    }
    world.control("POST", "/snapshots/s-0", Value::Null).await;
    assert!(refused(&world, "POST", "/snapshots/one-more", &json!({})).await.contains("32 snapshots already"));
    let list = world.control("GET", "/snapshots", Value::Null).await;
    assert_eq!((list["snapshots"].as_array().unwrap().len(), &list["snapshots"][0]["name"]), (32, &json!("s-0")));
    assert_eq!(world.control("DELETE", "/snapshots/s-0", Value::Null).await["deleted"], 1);
    refused(&world, "DELETE", "/snapshots/s-0", &json!({})).await;
    refused(&world, "POST", "/snapshots/s-0/restore", &json!({})).await;
    refused(&world, "POST", "/snapshots/a%20b", &json!({})).await;
    refused(&world, "POST", &format!("/snapshots/{}", "n".repeat(65)), &json!({})).await;
    refused(&world, "GET", "/snapshots/s-1", &json!({})).await;
    assert_eq!(world.control("DELETE", "/snapshots", Value::Null).await["deleted"], 31);
}

#[tokio::test]
async fn a_document_that_is_not_whole_changes_nothing() {
    let (world, ..) = full(None).await;
    let before = told(&world).await;
    let document = world.control("GET", "/snapshot", Value::Null).await;
    let without = |event: &str| {
        let mut document = document.clone();
        document["state"].as_array_mut().unwrap().retain(|told| told["event"] != event);
        document
    };
    let with = |event: Value| {
        let mut document = document.clone();
        document["state"].as_array_mut().unwrap().push(event);
        document
    };
    let of = |event: &str| {
        let told = document["state"].as_array().unwrap().iter().find(|told| told["event"] == event);
        told.unwrap().clone()
    };
    let (mut far, mut earlier) = (of("user_made"), of("mail_sent"));
    (far["user_id"], earlier["mail_id"]) = (json!(u64::MAX), json!(0));
    let mut other_format = document.clone();
    other_format["format"] = json!(2);
    let mut unknown = document.clone();
    unknown["colour"] = json!("red");
    for (wrong, why) in [
        (json!([]), "cannot be read"),
        (json!({}), "cannot be read"),
        (unknown, "cannot be read"),
        (other_format, "format 2"),
        (without("app_made"), "no app"),
        (without("account_made"), "no account"),
        (without("user_made"), "no user"),
        (with(json!({"event": "clock_advanced", "offset_us": 1})), "no part"),
        (with(json!({"event": "restored", "events": []})), "no part"),
        (with(json!({"event": "founded", "environment": "production"})), "no part"),
        (with(far), "not below 9007199254740992"),
        (with(earlier), "not in the order"),
        (with(json!({"event": "exploded"})), "cannot be read"),
    ] {
        let text = refused(&world, "POST", "/snapshot", &wrong).await;
        assert!(text.contains(why), "{text}");
    }
    assert_eq!(told(&world).await, before);
    let other = World::with(Options { environment: Environment::Production, ..options(None) }).await;
    let text = refused(&other, "POST", "/snapshot", &document).await;
    assert_eq!(text, "the snapshot is of stage, the sandbox plays production");
}

#[tokio::test]
async fn a_snapshot_may_be_larger_than_any_request_to_the_api() {
    let world = World::start().await;
    let mut document = world.control("GET", "/snapshot", Value::Null).await;
    let wide =
        json!({"event": "callback_set", "user_id": 1, "client_id": 1, "callback_uri": "x".repeat(2 * 1024 * 1024)});
    document["state"].as_array_mut().unwrap().push(wide);
    world.control("POST", "/snapshot", document).await;
    let too_large = world.post("/app", &json!({"client_id": "x".repeat(2 * 1024 * 1024)}));
    assert_eq!(world.send(too_large).await.status, 413);
}
