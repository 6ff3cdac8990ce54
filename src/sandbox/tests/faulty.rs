//! Each scripted fault, seen from a client.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::support::{PATIENCE, World};
use crate::domain::ambient::Clock as _;

async fn world_with_code() -> (World, u64, String) {
    let world = World::start().await;
    let ada = world.make_user("ada@shop.example").await;
    let code = world.code("ada@shop.example").await;
    (world, ada, code)
}

#[tokio::test]
async fn lost_before_means_nothing_happened() {
    let (world, ada, code) = world_with_code().await;
    world.fault(json!({"path": "/oauth2/token", "kind": "lose_before"})).await;
    assert!(world.try_send(world.post("/oauth2/token", &world.exchange_body(&code))).await.is_err());
    assert!(world.live(ada).await.is_empty());
    let calls = world.calls("/oauth2/token").await;
    assert_eq!((&calls[0]["answered"], &calls[0]["status"]), (&json!(false), &Value::Null));
    assert_eq!(world.exchange(&code).await.status, 200, "the code was not spent and the fault fired once");
    let faults = world.control("GET", "/faults", Value::Null).await;
    assert_eq!((&faults["faults"][0]["fired"], &faults["faults"][0]["kind"]), (&json!(1), &json!("lose_before")));
}

#[tokio::test]
async fn lost_after_kills_the_old_token_and_nobody_learns_the_new_one() {
    let (world, ada, code) = world_with_code().await;
    let old = world.token("ada@shop.example").await;
    world.fault(json!({"path": "/oauth2/token", "kind": "lose_after"})).await;
    assert!(world.try_send(world.post("/oauth2/token", &world.exchange_body(&code))).await.is_err());
    assert_eq!(world.live(ada).await, [false, true]);
    assert_eq!(world.user(&old).await.refusal().2, 1011);
    assert_eq!(world.exchange(&code).await.refusal().2, 1003);
    let call = &world.calls("/oauth2/token").await[1];
    assert_eq!((&call["answered"], &call["user_id"]), (&json!(false), &json!(ada)));
}

/// Waits until the first fault has fired.
async fn fired(world: &World) {
    while world.control("GET", "/faults", Value::Null).await["faults"][0]["fired"] != 1 {}
}

/// Sends an exchange whose answer is scripted to come in ten minutes, waits for `condition`, and hangs up.
async fn hang_up_when(world: &World, code: &str, condition: impl Future<Output = ()>) {
    tokio::select! {
        answer = world.try_send(world.post("/oauth2/token", &world.exchange_body(code))) => {
            panic!("answered too early: {}", answer.is_ok())
        }
        () = condition => {}
    }
}

#[tokio::test]
async fn a_delay_holds_one_call_and_not_the_others() {
    let (world, ada, code) = world_with_code().await;
    world.fault(json!({"path": "/oauth2/token", "kind": "delay_before", "delay_ms": 600_000})).await;
    let others_answer = async {
        fired(&world).await;
        assert_eq!(world.user(world.sandbox.app_owner_token()).await.status, 200);
        assert!(world.live(ada).await.is_empty(), "the change waits too");
    };
    hang_up_when(&world, &code, others_answer).await;
    world.control("DELETE", "/faults", Value::Null).await;
    world.fault(json!({"path": "/oauth2/token", "kind": "delay_after", "delay_ms": 600_000})).await;
    hang_up_when(&world, &code, async { while world.live(ada).await != [true] {} }).await;
}

#[tokio::test]
async fn a_delayed_answer_comes_at_last() {
    for kind in ["delay_before", "delay_after"] {
        let (world, ada, code) = world_with_code().await;
        world.fault(json!({"path": "/oauth2/token", "kind": kind, "delay_ms": 50})).await;
        let sent_at = world.sandbox.core.clock.boot();
        assert_eq!(world.exchange(&code).await.status, 200);
        assert!(world.sandbox.core.clock.boot() - sent_at >= Duration::from_millis(50), "{kind}");
        assert_eq!(world.live(ada).await, [true]);
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_undo_its_call() {
    let (world, ada, code) = world_with_code().await;
    world.fault(json!({"path": "/oauth2/token", "kind": "delay_before", "delay_ms": 1_000})).await;
    hang_up_when(&world, &code, fired(&world)).await;
    let late = async { while world.live(ada).await.is_empty() {} };
    tokio::time::timeout(PATIENCE, late).await.unwrap();
    assert_eq!(world.exchange(&code).await.refusal().2, 1003);
}

#[tokio::test]
async fn a_lost_answer_is_a_connection_closed_without_a_byte() {
    for kind in ["lose_before", "lose_after"] {
        let world = World::start().await;
        world.fault(json!({"path": "/user", "kind": kind})).await;
        let mut stream = TcpStream::connect(world.sandbox.local_addr()).await.unwrap();
        let request = b"POST /v2/user HTTP/1.1\r\nhost: sandbox\r\ncontent-length: 2\r\n\r\n{}";
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        // A reset instead of an end would also be no answer.
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
        assert!(answer.is_empty(), "{kind}: {read:?}");
    }
}

#[tokio::test]
async fn of_eight_simultaneous_exchanges_of_a_code_one_wins() {
    let (world, ada, code) = world_with_code().await;
    let requests: Vec<_> = (0..8).map(|_| world.post("/oauth2/token", &world.exchange_body(&code))).collect();
    let tasks: Vec<_> = requests.into_iter().map(|request| tokio::spawn(request.send())).collect();
    let mut statuses = Vec::new();
    for task in tasks {
        statuses.push(task.await.unwrap().unwrap().status().as_u16());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400, 400, 400, 400, 400, 400, 400]);
    assert_eq!(world.live(ada).await, [true]);
}

#[tokio::test]
async fn a_scripted_status_comes_before_or_after_the_change() {
    let (world, ada, code) = world_with_code().await;
    world.fault(json!({"path": "/oauth2/token", "kind": "status", "status": 500})).await;
    let page = world.exchange(&code).await;
    assert_eq!((page.status, page.media.starts_with("text/html")), (500, true));
    assert!(world.live(ada).await.is_empty());
    let throttled = json!({"path": "/oauth2/token", "kind": "status", "status": 429, "error_code": 1007});
    world.fault(throttled).await;
    assert_eq!(world.exchange(&code).await.refusal(), (429, "throttle_exceeded".to_owned(), 1007));
    let after = json!({
        "path": "/oauth2/token", "kind": "status_after", "status": 500, "error_code": 1008, "error_description": "oh",
    });
    world.fault(after).await;
    let failed = world.exchange(&code).await;
    assert_eq!((failed.refusal().2, &failed.json()["error_description"]), (1008, &json!("oh")));
    assert_eq!(world.live(ada).await, [true]);
    let calls = world.calls("/oauth2/token").await;
    let codes: Vec<&Value> = calls.iter().map(|call| &call["error_code"]).collect();
    assert_eq!(codes, [&Value::Null, &json!(1007), &json!(1008)]);
}

#[tokio::test]
async fn a_malformed_answer_is_cut_after_the_change() {
    let (world, ada, code) = world_with_code().await;
    world.fault(json!({"path": "/oauth2/token", "kind": "malformed"})).await;
    let cut = world.exchange(&code).await;
    assert_eq!((cut.status, cut.media.as_str()), (200, "application/json"));
    assert!(serde_json::from_str::<Value>(&cut.text).is_err() && !cut.text.is_empty());
    assert_eq!(world.live(ada).await, [true]);
}

/// What comes back on a connection of its own, until it ends.
async fn raw(world: &World, request: &str) -> String {
    let mut stream = TcpStream::connect(world.sandbox.local_addr()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A reset instead of an end keeps what came before it.
    drop(tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap());
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_cut_answer_promises_all_and_brings_half_after_the_change() {
    let (world, ada, code) = world_with_code().await;
    world.fault(json!({"path": "/oauth2/token", "kind": "cut"})).await;
    let body = world.exchange_body(&code).to_string();
    let request = format!("POST /v2/oauth2/token HTTP/1.1\r\nhost: s\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let answer = raw(&world, &request).await;
    let (head, half) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let lengths =
        head.lines().filter_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let lengths: Vec<usize> = lengths.collect();
    assert_eq!(lengths.len(), 1);
    assert_eq!(half.len(), lengths[0] / 2);
    assert!(half.starts_with('{'));
    assert_eq!(world.live(ada).await, [true]);
    assert_eq!(world.calls("/oauth2/token").await[0]["fault"], "cut");
    world.fault(json!({"path": "/user", "kind": "cut"})).await;
    let token = world.token("ada@shop.example").await;
    assert!(
        world
            .try_send(world.post("/user", &json!({})).header("authorization", format!("Bearer {token}")))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_dripping_answer_comes_whole_and_late_while_others_are_served() {
    let world = World::start().await;
    let owner = world.sandbox.app_owner_token().to_owned();
    let whole = world.user(&owner).await;
    world.fault(json!({"path": "/user", "kind": "drip", "delay_ms": 2})).await;
    let sent_at = world.sandbox.core.clock.boot();
    let (dripped, other) = tokio::join!(world.user(&owner), async {
        fired(&world).await;
        world.user(&owner).await
    });
    let took = world.sandbox.core.clock.boot() - sent_at;
    assert_eq!((dripped.status, &dripped.text), (200, &whole.text));
    assert_eq!(other.text, whole.text);
    let shortest = Duration::from_millis(2) * u32::try_from(whole.text.len()).unwrap();
    assert!(took >= shortest, "{took:?} for {} bytes", whole.text.len());
    world.fault(json!({"path": "/user", "kind": "drip", "delay_ms": 1000})).await;
    let slow = world.post("/user", &json!({})).timeout(Duration::from_millis(300));
    let given_up = world.try_send(slow.header("authorization", format!("Bearer {owner}"))).await;
    assert!(given_up.err().unwrap().is_timeout(), "a client's limit on the whole answer ends it");
}

#[tokio::test]
async fn an_answer_may_lose_its_body_or_its_media_type_after_the_change() {
    let (world, ada, code) = world_with_code().await;
    world.fault(json!({"path": "/oauth2/token", "kind": "empty"})).await;
    let empty = world.exchange(&code).await;
    assert_eq!((empty.status, empty.text.as_str(), empty.media.as_str()), (200, "", "application/json"));
    assert_eq!(world.live(ada).await, [true]);
    let code = world.code("ada@shop.example").await;
    world.fault(json!({"path": "/oauth2/token", "kind": "wrong_media"})).await;
    let wrong = world.exchange(&code).await;
    assert_eq!((wrong.status, wrong.media.starts_with("text/html")), (200, true));
    assert!(wrong.json()["access_token"].is_string());
    assert_eq!(world.live(ada).await, [false, true]);
}

#[tokio::test]
async fn a_burst_of_the_throttle_refuses_as_many_calls_as_it_says_and_changes_nothing() {
    let (world, ada, code) = world_with_code().await;
    world.fault(json!({"path": "/oauth2/token", "kind": "throttle", "times": 2})).await;
    assert_eq!(world.exchange(&code).await.refusal(), (429, "throttle_exceeded".to_owned(), 1007));
    world.control("POST", "/settings", json!({"http_status": {"1007": 503}})).await;
    assert_eq!(world.exchange(&code).await.refusal(), (503, "throttle_exceeded".to_owned(), 1007));
    assert!(world.live(ada).await.is_empty());
    assert_eq!(world.exchange(&code).await.status, 200);
    world.fault(json!({"path": "*", "kind": "throttle"})).await;
    let page = world.send(world.client.get(world.authorize_url("view_user"))).await;
    assert_eq!(page.status, 200, "pages are never throttled");
    assert_eq!(world.user(world.sandbox.app_owner_token()).await.status, 503);
}

#[tokio::test]
async fn a_fault_hits_a_batch_as_one_request_and_never_the_calls_inside() {
    let world = World::start().await;
    let (_, token) = world.register("ada@shop.example").await;
    let endpoints = world.sandbox.endpoints();
    let shop = json!({"name": "Shop", "description": "Bread"});
    let body = json!({
        "client_id": endpoints.client_id, "client_secret": endpoints.client_secret,
        "calls": [{"call": "/account/create", "authorization": token, "parameters": shop}],
    });
    world.fault(json!({"path": "/account/create", "kind": "status", "status": 500, "error_code": 1008})).await;
    assert_eq!(world.send(world.post("/batch/create", &body)).await.status, 200);
    assert_eq!(world.accounts().await.len(), 1);
    assert_eq!(world.control("GET", "/faults", Value::Null).await["faults"][0]["fired"], 0);
    world.fault(json!({"path": "/batch/create", "kind": "lose_after"})).await;
    assert!(world.try_send(world.post("/batch/create", &body)).await.is_err());
    assert_eq!(world.accounts().await.len(), 2, "what the calls inside did stays done");
    world.fault(json!({"path": "/batch/create", "kind": "lose_before"})).await;
    assert!(world.try_send(world.post("/batch/create", &body)).await.is_err());
    assert_eq!(world.accounts().await.len(), 2);
}

#[tokio::test]
async fn pages_can_be_hit_too() {
    let (world, ..) = world_with_code().await;
    let page = async || world.try_send(world.client.get(world.authorize_url("view_user"))).await;
    let whole = page().await.unwrap();
    world.fault(json!({"path": "/oauth2/authorize", "kind": "status", "status": 502})).await;
    assert_eq!(page().await.unwrap().status, 502);
    world.fault(json!({"path": "/v2/oauth2/authorize", "kind": "empty"})).await;
    let empty = page().await.unwrap();
    assert_eq!((empty.status, empty.text.as_str()), (200, ""));
    world.fault(json!({"path": "/oauth2/authorize", "kind": "cut"})).await;
    assert!(page().await.is_err());
    assert_eq!(page().await.unwrap().status, whole.status);
}

#[tokio::test]
async fn revoke_before_kills_the_token_on_its_way_in() {
    let (world, ada, _) = world_with_code().await;
    let token = world.token("ada@shop.example").await;
    world.fault(json!({"path": "/user", "kind": "revoke_before", "skip": 1})).await;
    assert_eq!(world.user(&token).await.status, 200, "the first call passes");
    assert_eq!(world.user(&token).await.refusal().2, 1011);
    assert_eq!(world.live(ada).await, [false]);
    world.fault(json!({"path": "/user", "kind": "revoke_before"})).await;
    assert_eq!(world.user("STAGE_unknown").await.refusal().2, 1006, "there is nothing to revoke");
}

#[tokio::test]
async fn a_fault_of_one_app_spares_the_calls_of_others() {
    let world = World::start().await;
    let mine = world.sandbox.endpoints().clone();
    let other = world.control("POST", "/apps", Value::Null).await;
    let client_id: u64 = mine.client_id.parse().unwrap();
    world.fault(json!({"path": "*", "kind": "status", "status": 503, "client_id": client_id, "times": 3})).await;
    let app = async |client_id: &str, client_secret: &str| {
        let body = json!({"client_id": client_id, "client_secret": client_secret});
        world.send(world.post("/app", &body)).await.status
    };
    let others = (other["client_id"].as_str().unwrap(), other["client_secret"].as_str().unwrap());
    assert_eq!(app(others.0, others.1).await, 200);
    assert_eq!(app(&mine.client_id, &mine.client_secret).await, 503);
    assert_eq!(world.user(world.sandbox.app_owner_token()).await.status, 503, "a token is of an app, too");
    let page = world.send(world.client.get(world.authorize_url("view_user"))).await;
    assert_eq!(page.status, 503, "so is a page that names it");
    assert_eq!(app(&mine.client_id, &mine.client_secret).await, 200);
}

#[tokio::test]
async fn revoke_after_kills_the_token_just_issued_or_used() {
    let (world, _, code) = world_with_code().await;
    world.fault(json!({"path": "/oauth2/token", "kind": "revoke_after"})).await;
    let issued = world.exchange(&code).await.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(world.user(&issued).await.refusal().2, 1011);
    let token = world.token("ada@shop.example").await;
    world.fault(json!({"path": "/user", "kind": "revoke_after"})).await;
    assert_eq!(world.user(&token).await.status, 200);
    assert_eq!(world.user(&token).await.refusal().2, 1011);
}

#[tokio::test]
async fn every_call_of_users_and_accounts_can_lose_its_answer_after_its_change() {
    let world = World::start().await;
    let (ada, token) = world.register("ada@shop.example").await;
    let account = world.ok(&token, "/account/create", json!({"name": "A", "description": "B"})).await;
    let id = account["account_id"].clone();
    let rbit = json!({
        "associated_object_type": "user", "associated_object_id": ada, "type": "email", "properties": {}, "receive_time": 1,
        "source": "user",
    });
    for (call, body) in [
        ("/user/register", world.register_body("eve@shop.example")),
        ("/user/send_confirmation", json!({})),
        ("/user/resend_confirmation", json!({})),
        ("/user/modify", json!({"callback_uri": "http://127.0.0.1:9/n"})),
        ("/account", json!({ "account_id": id })),
        ("/account/find", json!({})),
        ("/account/modify", json!({"account_id": id, "name": "C"})),
        ("/account/create", json!({"name": "Second", "description": "B"})),
        ("/rbit/create", rbit),
    ] {
        world.fault(json!({"path": call, "kind": "lose_after"})).await;
        let request = world.post(call, &body).header("authorization", format!("Bearer {token}"));
        assert!(world.try_send(request).await.is_err(), "{call}");
        let logged = world.calls(call).await.pop().unwrap();
        assert_eq!((&logged["answered"], &logged["error_code"]), (&json!(false), &Value::Null), "{call}");
    }
    assert_eq!(world.mails(ada).await.len(), 2);
    assert_eq!(world.ok(&token, "/rbit/find", json!({})).await.as_array().unwrap().len(), 1);
    assert_eq!(world.accounts().await.len(), 2);
    assert_eq!(world.user(&token).await.json()["callback_uri"], "http://127.0.0.1:9/n");
    assert_eq!(world.ok(&token, "/account", json!({"account_id": id})).await["name"], "C");
    let state = world.control("GET", "/state", Value::Null).await;
    assert!(state["users"].as_array().unwrap().iter().any(|user| user["email"] == "eve@shop.example"));
    world.fault(json!({"path": "/user/register", "kind": "revoke_after"})).await;
    let (_, dead) = world.register("bob@shop.example").await;
    assert_eq!(world.user(&dead).await.refusal().2, 1011);
}

#[tokio::test]
async fn faults_can_be_taken_back_and_wrong_ones_are_refused() {
    let (world, _, code) = world_with_code().await;
    world.fault(json!({"path": "*", "kind": "lose_after", "times": 5})).await;
    assert_eq!(world.control("DELETE", "/faults", Value::Null).await["deleted"], 1);
    assert_eq!(world.exchange(&code).await.status, 200);
    let url = format!("{}/faults", world.sandbox.endpoints().control);
    for wrong in [r#"{"path": "/user", "kind": "explode"}"#, r#"{"path": "/usr", "kind": "empty"}"#] {
        assert_eq!(world.send(world.client.post(&url).body(wrong)).await.status, 400, "{wrong}");
    }
}

#[tokio::test]
async fn stopping_does_not_wait_for_a_delayed_answer() {
    let (world, _, code) = world_with_code().await;
    world.fault(json!({"path": "/oauth2/token", "kind": "delay_before", "delay_ms": 600_000})).await;
    let request = world.post("/oauth2/token", &world.exchange_body(&code));
    let waiting = tokio::spawn(request.send());
    fired(&world).await;
    tokio::time::timeout(PATIENCE, world.sandbox.stop()).await.unwrap();
    assert!(waiting.await.unwrap().is_err());
}
