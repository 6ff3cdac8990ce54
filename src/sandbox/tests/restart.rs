//! What outlives the process, and what the journal must not contain.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::{Browser, PASSWORD, SCOPES, World, options};
use crate::domain::ambient::AdjustableClock;
use crate::sandbox::journal::FILE_NAME;
use crate::sandbox::{Endpoints, Environment, Error, Options, Sandbox};

#[tokio::test]
async fn everything_acknowledged_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::with(options(Some(dir.path()))).await;
    let before = world.sandbox.endpoints().clone();
    let ada = world.make_user("ada@shop.example").await;
    let first = world.token("ada@shop.example").await;
    let second = world.token("ada@shop.example").await;
    let code = world.code("ada@shop.example").await;
    let mut browser = Browser::new(&world, world.authorize_url(SCOPES));
    browser.log_in("ada@shop.example", PASSWORD).await;
    let cookie = browser.cookie.clone();
    world.fault(json!({"path": "/user", "kind": "lose_after"})).await;
    let calls = world.control("GET", "/calls", Value::Null).await;
    let owner = world.sandbox.app_owner_token().to_owned();
    let listen = world.sandbox.local_addr();
    world.sandbox.stop().await;

    let world = World::with(Options { listen, ..options(Some(dir.path())) }).await;
    let now = world.sandbox.endpoints();
    assert_eq!((&now.api, &now.client_id, &now.client_secret), (&before.api, &before.client_id, &before.client_secret));
    assert_eq!(world.control("GET", "/calls", Value::Null).await, calls);
    assert_eq!(world.control("GET", "/faults", Value::Null).await["faults"], json!([]), "faults are not durable");
    assert_eq!(world.user(&first).await.refusal().2, 1011);
    assert_eq!((world.user(&second).await.status, world.user(&owner).await.status), (200, 200));
    let mut browser = Browser::new(&world, world.authorize_url(SCOPES));
    browser.cookie = cookie;
    assert!(browser.open().await.text.contains("Grant access?"), "the session outlives the restart");
    assert_eq!(world.exchange(&code).await.status, 200);
    assert_eq!(world.live(ada).await, [false, false, true]);
}

#[tokio::test]
async fn registrations_mails_and_accounts_are_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::with(options(Some(dir.path()))).await;
    let mut body = world.register_body("ada@shop.example");
    body["redirect_uri"] = json!("http://127.0.0.1:9/welcome");
    let issued = world.send(world.post("/user/register", &body)).await.json();
    let (ada, token) = (issued["user_id"].as_u64().unwrap(), issued["access_token"].as_str().unwrap());
    let account = json!({"name": "Ada's Shop", "description": "Bread", "reference_id": "shop-1"});
    let account = world.ok(token, "/account/create", account).await;
    let changes = json!({"account_id": account["account_id"], "name": "Ada's Bakery"});
    let account = world.ok(token, "/account/modify", changes).await;
    world.ok(token, "/user/send_confirmation", json!({})).await;
    let (_, bob) = world.register("bob@shop.example").await;
    world
        .control(
            "POST",
            &format!("/accounts/{}/state", world.sandbox.app_owner_account_id()),
            json!({"state": "disabled"}),
        )
        .await;
    let state = world.control("GET", "/state", Value::Null).await;
    let calls = world.control("GET", "/calls", Value::Null).await;
    let owners = world.sandbox.app_owner_account_id();
    let listen = world.sandbox.local_addr();
    let link = world.mails(ada).await[0]["link"].as_str().unwrap().to_owned();
    world.sandbox.stop().await;

    let world = World::with(Options { listen, ..options(Some(dir.path())) }).await;
    assert_eq!(world.sandbox.app_owner_account_id(), owners);
    assert_eq!(world.control("GET", "/calls", Value::Null).await, calls);
    let again = world.control("GET", "/state", Value::Null).await;
    for part in ["users", "accounts", "mails"] {
        assert_eq!(again[part], state[part], "{part}");
    }
    assert_eq!(world.mails(ada).await[0]["link"], link.as_str());
    assert_eq!(world.ok(token, "/account", json!({"account_id": account["account_id"]})).await, account);
    let mut browser = Browser::new(&world, link);
    let confirm = [("form", "confirm"), ("accept", "yes"), ("decision", "grant"), ("password", PASSWORD)];
    assert_eq!(browser.submit(&confirm).await, "http://127.0.0.1:9/welcome");
    world.advance(91 * 24 * 60 * 60).await;
    world.sandbox.stop().await;

    let world = World::with(options(Some(dir.path()))).await;
    assert_eq!(world.user(&bob).await.refusal().2, 1011, "a temporary token's end is kept");
    let account = world.ok(token, "/account", json!({"account_id": account["account_id"]})).await;
    assert_eq!(account["state"], "action_required");
    let answer = world.send(world.post("/user/register", &world.register_body("ada@shop.example"))).await;
    assert_eq!(answer.json()["expires_in"], Value::Null, "the approval is kept");
}

#[tokio::test]
async fn a_torn_last_line_costs_only_what_was_not_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::with(options(Some(dir.path()))).await;
    let ada = world.make_user("ada@shop.example").await;
    let token = world.token("ada@shop.example").await;
    world.sandbox.stop().await;
    let path = dir.path().join(FILE_NAME);
    let whole = fs::read(&path).unwrap();
    let torn = [&whole[..], br#"{"format":1,"position":99,"events":[{"event":"tokens_rev"#].concat();
    fs::write(&path, torn).unwrap();
    let world = World::with(options(Some(dir.path()))).await;
    assert_eq!(fs::read(&path).unwrap(), whole);
    assert_eq!(world.user(&token).await.status, 200);
    world.token("ada@shop.example").await;
    world.sandbox.stop().await;
    let world = World::with(options(Some(dir.path()))).await;
    assert_eq!(world.live(ada).await, [false, true]);
}

#[tokio::test]
async fn a_batch_that_was_cut_off_keeps_what_it_had_done_and_its_number() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::with(options(Some(dir.path()))).await;
    world.make_user("ada@shop.example").await;
    let token = world.token("ada@shop.example").await;
    let account =
        json!({"call": "/account/create", "authorization": token, "parameters": {"name": "A", "description": "B"}});
    let Endpoints { client_id, client_secret, .. } = world.sandbox.endpoints().clone();
    let body = json!({"client_id": client_id, "client_secret": client_secret, "calls": [account, account, account]});
    assert_eq!(world.send(world.post("/batch/create", &body)).await.status, 200);
    world.sandbox.stop().await;
    // Without the line of the batch itself, and that of its last call.
    let path = dir.path().join(FILE_NAME);
    let whole = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    assert!(lines[lines.len() - 1].contains("/batch/create") && lines[lines.len() - 2].contains("account_made"));
    fs::write(&path, lines[..lines.len() - 2].concat()).unwrap();
    let world = World::with(options(Some(dir.path()))).await;
    assert_eq!(world.accounts().await.len(), 2);
    assert_eq!(world.user(&token).await.status, 200);
    let inside = world.calls("/account/create").await;
    let batches = world.calls("/batch/create").await;
    assert_eq!((inside.len(), batches.len()), (2, 1));
    assert!(inside.iter().all(|call| call["in_batch"] == batches[0]["seq"]), "{inside:?}");
    assert_eq!((&batches[0]["status"], &batches[0]["answered"]), (&Value::Null, &json!(false)));
    let after = world.calls("/user").await;
    assert!(after[0]["seq"].as_u64() > batches[0]["seq"].as_u64());
    // Once.
    world.sandbox.stop().await;
    let world = World::with(options(Some(dir.path()))).await;
    assert_eq!(world.calls("/batch/create").await.len(), 1);
}

#[tokio::test]
async fn a_journal_broken_in_the_middle_or_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::with(options(Some(dir.path()))).await;
    world.make_user("ada@shop.example").await;
    assert!(matches!(Sandbox::start(options(Some(dir.path()))).await, Err(Error::Journal(_))));
    world.sandbox.stop().await;
    let path = dir.path().join(FILE_NAME);
    let mut bytes = fs::read(&path).unwrap();
    bytes[10] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(matches!(Sandbox::start(options(Some(dir.path()))).await, Err(Error::Journal(_))));
}

#[tokio::test]
async fn what_cannot_be_written_is_an_error_and_did_not_happen() {
    let world = World::start().await;
    let (_, token) = world.register("ada@shop.example").await;
    world.sandbox.core.lock().journal.close();
    let answer = world.call(&token, "/account/create", json!({"name": "A", "description": "B"})).await;
    assert_eq!(answer.refusal(), (500, "processing_error".to_owned(), 1008));
    assert!(world.accounts().await.is_empty());
}

#[tokio::test]
async fn an_advanced_clock_stands_ahead_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::with(options(Some(dir.path()))).await;
    world.make_user("ada@shop.example").await;
    let code = world.code("ada@shop.example").await;
    world.advance(400).await;
    world.advance(300).await;
    world.sandbox.stop().await;
    let clock = Arc::new(AdjustableClock::default());
    let world = World::with(Options { clock: clock.clone(), ..options(Some(dir.path())) }).await;
    assert_eq!(clock.offset(), Duration::from_secs(700));
    assert_eq!(world.exchange(&code).await.refusal().2, 1012);
    world.sandbox.stop().await;
    let world = World::with(Options { clock: clock.clone(), ..options(Some(dir.path())) }).await;
    assert_eq!(clock.offset(), Duration::from_secs(700), "a clock that outlived the sandbox is not moved twice");
    drop(world);
}

#[tokio::test]
async fn the_journal_contains_no_token_no_code_and_no_password() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::with(options(Some(dir.path()))).await;
    world.make_user("ada@shop.example").await;
    let mut browser = Browser::new(&world, world.authorize_url(SCOPES));
    browser.log_in("ada@shop.example", PASSWORD).await;
    let cookie = browser.cookie.split('=').nth(1).unwrap().to_owned();
    let code = world.code("ada@shop.example").await;
    let token = world.exchange(&code).await.json()["access_token"].as_str().unwrap().to_owned();
    world.user(&token).await;
    let owner = world.sandbox.app_owner_token().to_owned();
    let (bob, temporary) = world.register("bob@shop.example").await;
    world.ok(&temporary, "/user/send_confirmation", json!({})).await;
    let link = world.mails(bob).await[0]["link"].as_str().unwrap().to_owned();
    let key = link.split("key=").nth(1).unwrap();
    let confirm = [("form", "confirm"), ("accept", "yes"), ("decision", "grant"), ("password", "battery staple")];
    assert_eq!(Browser::new(&world, link.clone()).send_form(&confirm).await.status, 200);
    world.sandbox.stop().await;
    let journal = String::from_utf8(fs::read(dir.path().join(FILE_NAME)).unwrap()).unwrap();
    assert!(journal.contains("ada@shop.example") && journal.contains(&crate::sandbox::hash::sha256(&token)));
    for secret in [&token["STAGE_".len()..], &owner["STAGE_".len()..], &code, &cookie, PASSWORD, key, "battery staple"]
        .into_iter()
        .chain([&temporary["STAGE_".len()..]])
    {
        assert!(!journal.contains(secret));
    }
}

#[tokio::test]
async fn a_directory_keeps_the_environment_it_was_made_with() {
    let dir = tempfile::tempdir().unwrap();
    let production = || Options { environment: Environment::Production, ..options(Some(dir.path())) };
    let world = World::with(production()).await;
    world.make_user("ada@shop.example").await;
    let token = world.token("ada@shop.example").await;
    assert!(token.starts_with("PRODUCTION_") && world.sandbox.app_owner_token().starts_with("PRODUCTION_"));
    assert_eq!(world.control("GET", "/state", Value::Null).await["environment"], "production");
    world.sandbox.stop().await;
    let refused = Sandbox::start(options(Some(dir.path()))).await.err().unwrap();
    assert_eq!(refused.to_string(), "the sandbox in this directory plays production, not stage");
    let world = World::with(production()).await;
    assert_eq!(world.user(&token).await.status, 200);
}
