//! `/user/register`: what it wants, what it issues, how long that lives, and what it revokes.

use serde_json::{Value, json};

use super::support::{SCOPES, World, options};
use crate::sandbox::Options;
use crate::sandbox::hash::sha256;

const DAY_S: u64 = 24 * 60 * 60;

#[tokio::test]
async fn a_registered_person_is_pending_with_a_token_that_works_at_once() {
    let world = World::start().await;
    let mut body = world.register_body("ada@shop.example");
    body["callback_uri"] = json!("http://127.0.0.1:9/notices/user");
    body["redirect_uri"] = json!("http://127.0.0.1:9/welcome");
    body["rbits"] = json!([]);
    let issued = world.send(world.post("/user/register/", &body).header("authorization", "Bearer None")).await.json();
    let token = issued["access_token"].as_str().unwrap();
    assert!(token.len() == 70 && token.starts_with("STAGE_"));
    assert!(issued["user_id"].as_u64().unwrap() > u64::from(u32::MAX / 2));
    assert_eq!((&issued["token_type"], &issued["expires_in"]), (&json!("BEARER"), &json!(7_776_000)));
    assert_eq!(issued.as_object().unwrap().len(), 4);
    let user = world.ok(token, "/user", json!({})).await;
    assert_eq!((&user["user_id"], &user["state"]), (&issued["user_id"], &json!("pending")));
    assert_eq!(user["callback_uri"], "http://127.0.0.1:9/notices/user");
    let shown = &world.tokens(issued["user_id"].as_u64().unwrap()).await[0];
    assert_eq!((&shown["kind"], &shown["live"], &shown["scope"]), (&json!("temporary"), &json!(true), &json!(SCOPES)));
}

#[tokio::test]
async fn every_required_parameter_is_asked_for_by_name() {
    let world = World::start().await;
    let required = ["client_id", "client_secret", "email", "scope", "first_name", "last_name", "original_ip"];
    for name in required.into_iter().chain(["original_device", "tos_acceptance_time"]) {
        for missing in [Value::Null, json!("")] {
            let mut body = world.register_body("ada@shop.example");
            body[name] = missing;
            let answer = world.send(world.post("/user/register", &body)).await;
            assert_eq!(answer.refusal(), (400, "invalid_request".to_owned(), 1004));
            assert_eq!(answer.json()["error_description"], format!("{name} parameter is required"));
        }
    }
    assert_eq!(world.control("GET", "/state", Value::Null).await["users"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn wrong_values_are_refused_with_the_recorded_texts() {
    let world = World::start().await;
    let not_full = "redirect_uri must be a full uri (ex https://www.wepay.com )";
    let long = "x".repeat(2084);
    for (name, value, text) in [
        ("original_ip", json!("2001:db8::1"), "invalid original_ip"),
        ("original_ip", json!("203.0.113.256"), "invalid original_ip"),
        ("redirect_uri", json!("/welcome"), not_full),
        ("redirect_uri", json!(format!("https://shop.example/{long}")), "redirect_uri must be at most 2083 characters"),
        ("callback_uri", json!("notices"), "callback_uri must be a full uri (ex https://www.wepay.com )"),
        ("callback_uri", json!("https://www.WePay.com/n"), "callback_uri cannot contain wepay.com"),
        ("tos_acceptance_time", json!("yesterday"), "Parameter 'tos_acceptance_time' expected integer"),
        ("first_name", json!("x".repeat(128)), "first_name must be at most 127 characters"),
        ("email", json!("x".repeat(256)), "email must be at most 255 characters"),
        ("email", json!("nobody"), "invalid email"),
        ("rbits", json!("x"), "Parameter 'rbits' expected array"),
        ("type", json!("guest"), "type parameter must be sso"),
        ("original_ip", json!(["203.0.113.7"]), "Parameter 'original_ip' expected string"),
        ("cvv", json!("1"), "cvv parameter is unexpected"),
        ("access_token", json!("STAGE_00"), "access_token parameter is unexpected"),
    ] {
        let mut body = world.register_body("ada@shop.example");
        body[name] = value;
        let answer = world.send(world.post("/user/register", &body)).await;
        assert_eq!(answer.refusal(), (400, "invalid_request".to_owned(), 1003), "{name}");
        assert_eq!(answer.json()["error_description"], text);
    }
    world.control("POST", "/settings", json!({"lax_redirects": false})).await;
    let mut body = world.register_body("ada@shop.example");
    body["callback_uri"] = json!("http://127.0.0.1:9/n");
    assert_eq!(world.send(world.post("/user/register", &body)).await.refusal().2, 1003);
    let mut body = world.register_body("ada@shop.example");
    body["type"] = json!("sso");
    assert_eq!(world.send(world.post("/user/register", &body)).await.refusal().2, 1010);
}

#[tokio::test]
async fn all_five_scopes_and_the_apps_secret_are_needed() {
    let world = World::start().await;
    let class = async |name: &str, value: &str| {
        let mut body = world.register_body("ada@shop.example");
        body[name] = json!(value);
        world.send(world.post("/user/register", &body)).await.refusal()
    };
    for scope in ["view_user", &SCOPES["manage_accounts,".len()..], &format!("{SCOPES},everything")] {
        assert_eq!(class("scope", scope).await, (400, "invalid_scope".to_owned(), 1003), "{scope}");
    }
    assert_eq!(class("client_secret", "0000000000").await, (401, "invalid_client".to_owned(), 1003));
    assert_eq!(class("client_id", "1").await.1, "invalid_client");
    let mut body = world.register_body("ada@shop.example");
    let backwards: Vec<&str> = SCOPES.split(',').rev().collect();
    let historic = "refund_payments, view_balance,manage_subscriptions";
    for scope in [backwards.join(","), format!("{historic},{SCOPES}")] {
        body["scope"] = json!(scope);
        assert_eq!(world.send(world.post("/user/register", &body)).await.status, 200, "{scope}");
    }
}

#[tokio::test]
async fn an_address_that_has_a_user_already_gets_a_token_of_that_user() {
    let world = World::start().await;
    let ada = world.make_user("ada@shop.example").await;
    let (user_id, token) = world.register("ADA@shop.example").await;
    assert_eq!(user_id, ada);
    let user = world.ok(&token, "/user", json!({})).await;
    assert_eq!((&user["state"], &user["email"]), (&json!("registered"), &json!("ada@shop.example")));
    assert_eq!(world.tokens(ada).await[0]["kind"], "temporary", "this app was never approved");
    let (again, other) = world.register("ada@shop.example").await;
    assert!(again == ada && other != token);
    world.control("POST", &format!("/users/{ada}/delete"), Value::Null).await;
    assert_ne!(world.register("ada@shop.example").await.0, ada, "the address of a deleted user is free");
}

#[tokio::test]
async fn a_user_who_approved_the_app_gets_a_token_without_end() {
    let world = World::start().await;
    let ada = world.make_user("ada@shop.example").await;
    world.token("ada@shop.example").await;
    let answer = world.send(world.post("/user/register", &world.register_body("ada@shop.example"))).await;
    assert_eq!((answer.json()["expires_in"].clone(), answer.json()["user_id"].clone()), (Value::Null, json!(ada)));
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    world.advance(91 * DAY_S).await;
    assert_eq!(world.user(&token).await.status, 200);
    world.control("POST", &format!("/users/{ada}/revoke"), Value::Null).await;
    let answer = world.send(world.post("/user/register", &world.register_body("ada@shop.example"))).await;
    assert_eq!(answer.json()["expires_in"], 7_776_000, "taking the access back takes the approval back");
}

#[tokio::test]
async fn a_temporary_token_dies_after_ninety_days_on_the_clock() {
    let world = World::start().await;
    let (ada, token) = world.register("ada@shop.example").await;
    world.advance(90 * DAY_S - 60).await;
    assert_eq!(world.user(&token).await.status, 200);
    world.advance(60).await;
    assert_eq!(world.user(&token).await.refusal(), (401, "access_denied".to_owned(), 1011));
    assert_eq!(world.live(ada).await, [false]);
    world.control("POST", &format!("/users/{ada}/confirm"), Value::Null).await;
    assert_eq!(world.user(&token).await.refusal().2, 1011, "confirming too late brings nothing back");
}

#[tokio::test]
async fn the_first_version_has_fourteen_days_and_nothing_for_people_who_are_known() {
    let world = World::start().await;
    let register = async |version: &str, email: &str| {
        let request = world.post("/user/register", &world.register_body(email)).header("api-version", version);
        world.send(request).await
    };
    let issued = register("2011-01-15", "ada@shop.example").await.json();
    assert_eq!(issued["expires_in"], 1_209_600);
    let token = issued["access_token"].as_str().unwrap();
    world.advance(14 * DAY_S - 60).await;
    assert_eq!(world.user(token).await.status, 200);
    world.advance(60).await;
    assert_eq!(world.user(token).await.refusal().2, 1011);
    let again = register("2011-01-15", "ada@shop.example").await;
    assert_eq!(again.refusal(), (400, "invalid_request".to_owned(), 1003));
    assert_eq!(register("2014-01-08", "ada@shop.example").await.json()["expires_in"], 7_776_000);
}

#[tokio::test]
async fn since_the_last_version_names_are_letters_and_digits() {
    let world = World::start().await;
    let register = async |version: &str, name: &str, value: &str| {
        let mut body = world.register_body("ada@shop.example");
        body[name] = json!(value);
        world.send(world.post("/user/register", &body).header("api-version", version)).await
    };
    for name in ["first_name", "last_name"] {
        for value in ["O'Hara", "Ann-Marie", "Ann Marie", "A."] {
            let refused = register("2019-04-03", name, value).await;
            assert_eq!(refused.refusal(), (400, "invalid_request".to_owned(), 1003), "{value}");
            assert!(refused.json()["error_description"].as_str().unwrap().starts_with(name));
            assert_eq!(register("2018-10-03", name, value).await.status, 200, "{value}");
        }
        assert_eq!(register("2019-04-03", name, "Jos\u{e9}2").await.status, 200);
    }
}

#[tokio::test]
async fn the_time_scale_divides_the_life_of_a_temporary_token() {
    let world = World::with(Options { time_scale: 90, ..options(None) }).await;
    let answer = world.send(world.post("/user/register", &world.register_body("ada@shop.example"))).await.json();
    assert_eq!(answer["expires_in"], DAY_S);
    world.advance(DAY_S).await;
    assert_eq!(world.user(answer["access_token"].as_str().unwrap()).await.refusal().2, 1011);
}

#[tokio::test]
async fn registering_revokes_earlier_tokens_only_where_it_is_told_to() {
    let world = World::start().await;
    let ada = world.make_user("ada@shop.example").await;
    let (_, bob) = world.register("bob@shop.example").await;
    let app = world.control("POST", "/apps", Value::Null).await;
    let mut body = world.register_body("ada@shop.example");
    (body["client_id"], body["client_secret"]) = (app["client_id"].clone(), app["client_secret"].clone());
    let elsewhere = world.send(world.post("/user/register", &body)).await.json()["access_token"].clone();
    let first = world.token("ada@shop.example").await;
    let (_, second) = world.register("ada@shop.example").await;
    assert_eq!((world.user(&first).await.status, world.user(&second).await.status), (200, 200));
    world.control("POST", "/settings", json!({"register_revokes": true})).await;
    let (_, third) = world.register("ada@shop.example").await;
    assert_eq!((world.user(&first).await.refusal().2, world.user(&second).await.refusal().2), (1011, 1011));
    for spared in [&third, &bob, elsewhere.as_str().unwrap()] {
        assert_eq!(world.user(spared).await.status, 200);
    }
    assert_eq!(world.live(ada).await.iter().filter(|live| **live).count(), 2);
}

#[tokio::test]
async fn a_sandbox_started_so_lets_registrations_revoke_even_when_their_answer_is_lost() {
    let world = World::with(Options { register_revokes: true, ..options(None) }).await;
    let (ada, first) = world.register("ada@shop.example").await;
    world.fault(json!({"path": "/user/register", "kind": "lose_after"})).await;
    assert!(world.try_send(world.post("/user/register", &world.register_body("ada@shop.example"))).await.is_err());
    assert_eq!(world.user(&first).await.refusal().2, 1011);
    assert_eq!(world.live(ada).await, [false, true]);
    let refused = json!({"email": "ada@shop.example"});
    assert_eq!(world.send(world.post("/user/register", &refused)).await.refusal().2, 1004);
    assert_eq!(world.live(ada).await, [false, true], "a refused registration revokes nothing");
}

#[tokio::test]
async fn the_call_log_tells_whom_a_registration_was_for_without_the_address() {
    let world = World::start().await;
    let (ada, _) = world.register("Ada@shop.example").await;
    let mut body = world.register_body("bob@shop.example");
    body["original_ip"] = json!("x");
    world.send(world.post("/user/register", &body)).await;
    for kind in ["lose_before", "lose_after"] {
        world.fault(json!({"path": "/user/register", "kind": kind})).await;
        let body = world.register_body("eve@shop.example");
        assert!(world.try_send(world.post("/user/register", &body)).await.is_err());
    }
    let calls = world.calls("/user/register").await;
    let of = |email: &str| json!(sha256(email)[..12]);
    let hashes: Vec<&Value> = calls.iter().map(|call| &call["email_sha256"]).collect();
    let eve = of("eve@shop.example");
    assert_eq!(hashes, [&of("ada@shop.example"), &of("bob@shop.example"), &eve, &eve]);
    assert_eq!((&calls[0]["user_id"], &calls[1]["user_id"]), (&json!(ada), &Value::Null));
    assert_eq!((&calls[2]["user_id"], calls[3]["user_id"].is_u64()), (&Value::Null, true));
    assert!(calls.iter().all(|call| !call.to_string().contains("shop.example")));
}
