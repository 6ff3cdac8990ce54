//! Which changes are told, to whom, and how that looks on the wire.

use serde_json::{Value, json};

use crate::sandbox::Options;
use crate::sandbox::tests::receiver::Receiver;
use crate::sandbox::tests::support::{World, options};

#[tokio::test]
async fn a_notice_is_a_form_with_the_id_alone_and_the_query_is_preserved() {
    let (world, receiver) = (World::start().await, Receiver::start().await);
    let account = world.some_account(&receiver.uri("/in/../x?a=b&c=%20&d&&=%2f'\"|{}[]#fragment")).await;
    world.force_state(account, "active").await;
    let received = receiver.wait_for(1).await.remove(0);
    // The quote cannot stand in a request; with it, the query is written as a browser would.
    assert_eq!(received.line(), "POST /x?a=b&c=%20&d&&=%2f%27%22|{}[] HTTP/1.1");
    let plain = world.control("GET", &format!("/notices?account_id={account}"), Value::Null).await;
    assert_eq!(plain["notices"].as_array().unwrap().len(), 1);

    let changes =
        json!({"account_id": account, "callback_uri": receiver.uri("/in/../x?a=b&c=%20&d&&=%2f'|{}[]#fragment")});
    let token = world.register("ada@shop.example").await.1;
    world.ok(&token, "/account/modify", changes).await;
    world.force_state(account, "disabled").await;
    let received = receiver.wait_for(2).await.remove(1);
    assert_eq!(received.line(), "POST /in/../x?a=b&c=%20&d&&=%2f'|{}[] HTTP/1.1");
    assert_eq!(received.body, format!("account_id={account}"));
    let (host, length) = (receiver.address().to_string(), received.body.len().to_string());
    let wanted = [
        ("content-length", length.as_str()),
        ("content-type", "application/x-www-form-urlencoded"),
        ("host", host.as_str()),
        ("user-agent", "WePay"),
    ];
    let mut headers = received.headers();
    headers.sort();
    assert_eq!(headers, wanted.map(|(name, value)| (name.to_owned(), value)));
}

#[tokio::test]
async fn content_type_and_user_agent_are_settings() {
    let (world, receiver) = (World::start().await, Receiver::start().await);
    let account = world.some_account(&receiver.uri("/")).await;
    world.set(json!({"notice_content_type": "text/plain", "notice_user_agent": ""})).await;
    world.force_state(account, "active").await;
    let received = receiver.wait_for(1).await.remove(0);
    let headers = received.headers();
    assert!(headers.contains(&("content-type".to_owned(), "text/plain")));
    assert!(!headers.iter().any(|(name, _)| name == "user-agent"));
}

#[tokio::test]
async fn a_user_notice_tells_of_confirmation_revocation_and_deletion() {
    let (world, receiver) = (World::start().await, Receiver::start().await);
    let (ada, _) = world.register_with("ada@shop.example", &receiver.uri("/user")).await;
    for (count, act) in [(1, "confirm"), (2, "revoke"), (3, "delete")] {
        world.control("POST", &format!("/users/{ada}/{act}"), json!({})).await;
        let received = receiver.wait_for(count).await;
        assert_eq!(received[count - 1].body, format!("user_id={ada}"), "{act}");
        // A second time it is no news.
        world
            .control(
                "POST",
                &format!("/users/{ada}/{}", if act == "confirm" { "confirm" } else { "revoke" }),
                json!({}),
            )
            .await;
    }
    assert_eq!(world.notices(&format!("?user_id={ada}")).await.len(), 3);
    assert_eq!(world.notices("").await.len(), 3);
}

#[tokio::test]
async fn tokens_that_an_app_revokes_by_its_own_calls_are_not_told() {
    let receiver = Receiver::start().await;
    let world = World::with(Options { register_revokes: true, ..options(None) }).await;
    let ada = world.make_user("ada@shop.example").await;
    world.register_with("ada@shop.example", &receiver.uri("/user")).await;
    world.token("ada@shop.example").await;
    world.token("ada@shop.example").await;
    world.register_with("ada@shop.example", &receiver.uri("/user")).await;
    assert!(world.tokens(ada).await.len() > 3 && world.notices("").await.is_empty());
    world.control("POST", &format!("/users/{ada}/revoke"), json!({})).await;
    receiver.wait_for(1).await;
}

#[tokio::test]
async fn an_account_is_told_of_when_its_state_changes_and_not_when_it_is_made() {
    let (world, receiver) = (World::start().await, Receiver::start().await);
    let (ada, token) = world.register("ada@shop.example").await;
    let account = world.account_with(&token, &receiver.uri("/account")).await;
    let silent = world.ok(&token, "/account/create", json!({"name": "Silent", "description": "x"})).await;
    world.force_state(account, "pending").await;
    assert_eq!(world.notices("").await, Vec::<Value>::new());
    // The owner's confirmation opens both; one of them names a receiver.
    world.control("POST", &format!("/users/{ada}/confirm"), json!({})).await;
    for state in ["active", "active", "disabled", "deleted"] {
        world.force_state(account, state).await;
        world.force_state(silent["account_id"].as_u64().unwrap(), state).await;
    }
    receiver.wait_for(4).await;
    let told = world.notices("").await;
    assert!(told.iter().all(|notice| notice["object_id"] == account && notice["kind"] == "account"));
    assert_eq!(told.len(), 4);
}

#[tokio::test]
async fn every_app_is_told_of_its_own_users_at_its_own_address() {
    let world = World::start().await;
    let (first, second) = (Receiver::start().await, Receiver::start().await);
    let (ada, _) = world.register_with("ada@shop.example", &first.uri("/one")).await;
    let other = world.control("POST", "/apps", json!({})).await;
    let mut body = world.register_body("ada@shop.example");
    for field in ["client_id", "client_secret"] {
        body[field] = other[field].clone();
    }
    body["callback_uri"] = json!(second.uri("/two"));
    assert_eq!(world.send(world.post("/user/register", &body)).await.status, 200);
    // The first app's access is taken back, then the user goes for good.
    world.control("POST", &format!("/users/{ada}/revoke"), json!({})).await;
    first.wait_for(1).await;
    world.control("POST", &format!("/users/{ada}/delete"), json!({})).await;
    first.wait_for(2).await;
    second.wait_for(1).await;
    let apps: Vec<_> = world.notices("").await.iter().map(|notice| notice["client_id"].clone()).collect();
    let mine = json!(world.sandbox.endpoints().client_id);
    assert_eq!(apps.iter().filter(|app| **app == mine).count(), 2);
    assert_eq!(apps.iter().filter(|app| **app == other["client_id"]).count(), 1);
}

#[tokio::test]
async fn what_time_does_to_an_account_is_told_though_nobody_calls() {
    let (world, receiver) = (World::start().await, Receiver::start().await);
    let account = world.some_account(&receiver.uri("/")).await;
    world.control("POST", &format!("/accounts/{account}/payments"), json!({"amount": 25})).await;
    // Fourteen days without confirmation only stop its payments; thirty end it.
    world.advance(14 * 86_400).await;
    assert_eq!(world.notices("").await, Vec::<Value>::new());
    world.advance(16 * 86_400).await;
    assert_eq!(receiver.wait_for(1).await[0].body, format!("account_id={account}"));
    assert_eq!(world.accounts().await[0]["state"], "deleted");
}

#[tokio::test]
async fn a_verified_owner_is_told_once_with_what_it_changes() {
    let (world, receiver) = (World::start().await, Receiver::start().await);
    let (ada, token) = world.register("ada@shop.example").await;
    world.control("POST", &format!("/users/{ada}/confirm"), json!({})).await;
    for (bank_first, wanted) in [(false, 2), (true, 1)] {
        let account = world.account_with(&token, &receiver.uri("/")).await;
        let bank = async || world.control("POST", &format!("/accounts/{account}/bank"), json!({"name": "First"})).await;
        let kyc =
            async || world.control("POST", &format!("/accounts/{account}/kyc"), json!({"state": "verified"})).await;
        if bank_first {
            bank().await;
            kyc().await;
        } else {
            kyc().await;
            bank().await;
        }
        // A second time it is no news.
        kyc().await;
        assert_eq!(world.notices(&format!("?account_id={account}")).await.len(), wanted, "{bank_first}");
        let state = world.ok(&token, "/account", json!({"account_id": account})).await["state"].clone();
        assert_eq!(state, "active");
    }
    receiver.wait_for(3).await;
}
