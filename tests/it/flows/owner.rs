//! The app owner's token: imported, never minted, and the control of every death.

use reqwest::Method;
use serde_json::json;
use strongroom::v1::{LinkState, Liveness, RegisterMerchantRequest};

use super::stage::{Stage, reason};

async fn with_owner() -> Stage {
    let stage = Stage::with(|options| options.has_app_owner = true).await;
    assert_eq!(count(&stage, "SELECT COUNT(*) FROM accounts WHERE merchant_id IS NULL").await, 1);
    stage
}

async fn count(stage: &Stage, query: &'static str) -> i64 {
    let counts: Vec<(i64,)> = stage.home().rows(query).await;
    counts[0].0
}

#[tokio::test]
async fn the_owner_is_imported_once_with_its_account_and_without_a_mint() {
    let mut stage = with_owner().await;
    let owners = "SELECT COUNT(*) FROM connections WHERE role = 'app_owner' AND head_version = 1";
    let versions = "SELECT COUNT(*) FROM token_versions WHERE cause = 'import'";
    assert_eq!((count(&stage, owners).await, count(&stage, versions).await, stage.mints().await), (1, 1, 0));
    stage.restart().await;
    let asked = stage.calls("/user").await;
    let ann = stage.person("ann").await;
    stage.connect("shop-1", &ann).await;
    assert!(stage.calls("/user").await > asked);
    assert_eq!((count(&stage, owners).await, count(&stage, versions).await), (1, 1));
    let app = stage.control(Method::GET, "/app", None).await;
    let read = stage.read_account(&app["owner_account_id"].to_string()).await;
    assert_eq!(reason(read).1, "NOT_FOUND", "the owner's token goes to nobody");
    stage.verified().await;
}

#[tokio::test]
async fn with_one_merchant_only_the_owners_token_is_the_control_and_its_word_is_better_than_another_call() {
    let stage = with_owner().await;
    let ann = stage.person("ann").await;
    stage.connect("shop-1", &ann).await;
    // The provider takes every token for dead, and answers what carries none: an outage, and nobody died.
    let outage = json!({ "path": "/user", "kind": "status", "status": 401, "error_code": 1011, "times": 1000 });
    stage.fault(outage).await;
    assert_eq!(stage.verify_token("shop-1").await, Liveness::Suspect);
    assert_eq!(reason(stage.start(stage.order("shop-1", "")).await).1, "LIVENESS_UNKNOWN");
    stage.no_faults().await;
    assert_eq!(stage.verify_token("shop-1").await, Liveness::Live);
    let apps = stage.calls("/app").await;
    stage.revoke(&ann).await;
    assert_eq!(stage.verify_token("shop-1").await, Liveness::Dead);
    assert_eq!(stage.calls("/app").await, apps, "no second kind of call was needed");
    stage.verified().await;
}

#[tokio::test]
async fn an_owner_whom_the_provider_does_not_take_stops_nothing() {
    let mut stage = Stage::new().await;
    let app = stage.control(Method::GET, "/app", None).await;
    stage.control(Method::POST, &format!("/users/{}/revoke", app["owner_user_id"]), None).await;
    stage.give_owner();
    stage.restart().await;
    let ann = stage.person("ann").await;
    stage.connect("shop-1", &ann).await;
    assert_eq!(count(&stage, "SELECT COUNT(*) FROM connections WHERE role = 'app_owner'").await, 0);
    // As without an owner: another kind of call is the control.
    stage.revoke(&ann).await;
    assert_eq!(stage.verify_token("shop-1").await, Liveness::Dead);
    stage.verified().await;
}

#[tokio::test]
async fn nobody_comes_by_the_owners_token_by_registering_the_owner() {
    let stage = with_owner().await;
    let app = stage.control(Method::GET, "/app", None).await;
    let state = stage.control(Method::GET, "/state", None).await;
    let owner = state["users"].as_array().unwrap().iter().find(|user| user["user_id"] == app["owner_user_id"]).unwrap();
    let order = |external_id: &str| RegisterMerchantRequest {
        request_id: format!("register-{external_id}"),
        external_id: external_id.to_owned(),
        email: owner["email"].as_str().unwrap().to_owned(),
        first_name: "Mal".to_owned(),
        last_name: "Lory".to_owned(),
        client_ip: "203.0.113.77".to_owned(),
        client_device: "a browser".to_owned(),
        terms_time: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 }),
        ..Default::default()
    };
    let refused = stage.onboarding().register_merchant(order("shop-1")).await.unwrap_err();
    assert_eq!(reason(Err::<(), _>(refused)).1, "CONNECTION_EXISTS");
    assert_eq!(stage.calls("/user/register").await, 0);
    // Also where the owner took another address at the provider since, of which we know nothing.
    stage.home().intruder().await.execute("UPDATE connections SET email_index = NULL", &[]).await;
    let made = stage.onboarding().register_merchant(order("shop-2")).await.unwrap().into_inner().merchant.unwrap();
    assert_eq!((made.links.len(), made.links[0].state()), (1, LinkState::Held));
    assert_eq!(reason(stage.read("shop-2").await).1, "LINK_HELD");
    stage.verified().await;
}
