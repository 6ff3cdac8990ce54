//! Each scripted fault, seen from a client.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::World;

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

#[tokio::test]
async fn delays_hold_one_call_and_not_the_others() {
    for (kind, tokens_meanwhile) in [("delay_before", 0), ("delay_after", 1)] {
        let (world, ada, code) = world_with_code().await;
        world.fault(json!({"path": "/oauth2/token", "kind": kind, "delay_ms": 1500})).await;
        let exchange = world.exchange(&code);
        let meanwhile = async {
            loop {
                let faults = world.control("GET", "/faults", Value::Null).await;
                let tokens = world.live(ada).await.len();
                if faults["faults"][0]["fired"] == 1 && tokens == tokens_meanwhile {
                    break;
                }
            }
            assert_eq!(world.user(world.sandbox.app_owner_token()).await.status, 200);
        };
        tokio::pin!(exchange);
        tokio::select! {
            biased;
            _ = &mut exchange => panic!("{kind}: the delayed answer came first"),
            () = meanwhile => {}
        }
        assert_eq!(exchange.await.status, 200);
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_undo_its_call() {
    let (world, ada, code) = world_with_code().await;
    world.fault(json!({"path": "/oauth2/token", "kind": "delay_before", "delay_ms": 300})).await;
    let request = world.post("/oauth2/token", &world.exchange_body(&code)).timeout(Duration::from_millis(50));
    assert!(world.try_send(request).await.is_err());
    let late = async { while world.live(ada).await.is_empty() {} };
    tokio::time::timeout(Duration::from_secs(20), late).await.unwrap();
    assert_eq!(world.exchange(&code).await.refusal().2, 1003);
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
async fn faults_can_be_taken_back_and_wrong_ones_are_refused() {
    let (world, _, code) = world_with_code().await;
    world.fault(json!({"path": "*", "kind": "lose_after", "times": 5})).await;
    assert_eq!(world.control("DELETE", "/faults", Value::Null).await["deleted"], 1);
    assert_eq!(world.exchange(&code).await.status, 200);
    let url = format!("{}/faults", world.sandbox.endpoints().control);
    let wrong = r#"{"path": "/user", "kind": "explode"}"#;
    assert_eq!(world.send(world.client.post(&url).body(wrong)).await.status, 400);
}

#[tokio::test]
async fn stopping_does_not_wait_for_a_delayed_answer() {
    let (world, _, code) = world_with_code().await;
    world.fault(json!({"path": "/oauth2/token", "kind": "delay_before", "delay_ms": 600_000})).await;
    let request = world.post("/oauth2/token", &world.exchange_body(&code));
    let waiting = tokio::spawn(request.send());
    while world.control("GET", "/faults", Value::Null).await["faults"][0]["fired"] != 1 {}
    tokio::time::timeout(Duration::from_secs(10), world.sandbox.stop()).await.unwrap();
    assert!(waiting.await.unwrap().is_err());
}
