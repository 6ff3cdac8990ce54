//! On demand: held, released in an order, repeated, copied, switched off.

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::sandbox::tests::receiver::{Receiver, Say};
use crate::sandbox::tests::support::{World, until};

/// Three accounts with a receiver, and a notice of each that is held.
async fn three_held(world: &World, receiver: &Receiver) -> [(u64, u64); 3] {
    let token = world.register("ada@shop.example").await.1;
    world.set(json!({"notices": "hold"})).await;
    let mut held = [(0, 0); 3];
    for slot in &mut held {
        let account = world.account_with(&token, &receiver.uri("/")).await;
        world.force_state(account, "active").await;
        let notices = world.notices(&format!("?account_id={account}")).await;
        assert_eq!((notices.len(), &notices[0]["state"]), (1, &json!("held")));
        *slot = (account, notices[0]["notice_id"].as_u64().unwrap());
    }
    held
}

fn bodies(accounts: &[u64]) -> Vec<String> {
    accounts.iter().map(|account| format!("account_id={account}")).collect()
}

#[tokio::test]
async fn held_notices_go_in_the_order_asked_for_and_as_often() {
    for (order, copies, wanted) in [
        (json!({}), 1, vec![0, 1, 2]),
        (json!({"order": "as_queued"}), 1, vec![0, 1, 2]),
        (json!({"order": "reversed", "copies": 2}), 2, vec![2, 2, 1, 1, 0, 0]),
    ] {
        let (world, receiver) = (World::start().await, Receiver::start().await);
        let held = three_held(&world, &receiver).await;
        let released = world.control("POST", "/notices/release", order).await;
        assert_eq!(released["released"].as_array().unwrap().len(), 3 * copies);
        receiver.wait_for(wanted.len()).await;
        let accounts: Vec<u64> = wanted.into_iter().map(|place: usize| held[place].0).collect();
        assert_eq!(receiver.bodies(), bodies(&accounts));
        let notice = world.tried(held[0].1, copies).await;
        assert_eq!((&notice["state"], &notice["tries"][0]["cause"]), (&json!("delivered"), &json!("release")));
    }
}

#[tokio::test]
async fn named_notices_go_alone_and_repeatedly() {
    let (world, receiver) = (World::start().await, Receiver::start().await);
    let [(first, a), (_, b), (third, c)] = three_held(&world, &receiver).await;
    world.control("POST", "/notices/release", json!({"order": [c, a, c]})).await;
    receiver.wait_for(3).await;
    assert_eq!(receiver.bodies(), bodies(&[third, first, third]));
    assert_eq!(world.tried(c, 2).await["state"], "delivered");
    assert_eq!(world.notice(b).await["state"], "held");
    for (wish, why) in [
        (json!({"order": [a]}), "is not held"),
        (json!({"order": [4_711]}), "is not held"),
        (json!({"order": "shuffled"}), "cannot be read"),
        (json!({"copies": 0}), "copies"),
        (json!({"copies": 101}), "copies"),
        (json!({"order": vec![b; 10_001]}), "at most"),
        (json!({"other": 1}), "cannot be read"),
    ] {
        let (status, text) = world.refused("POST", "/notices/release", wish.clone()).await;
        assert!(status == 400 && text.contains(why), "{wish}: {text}");
    }
    world.control("POST", "/notices/release", json!({})).await;
    receiver.wait_for(4).await;
    let none = world.control("POST", "/notices/release", json!({})).await;
    assert_eq!(none["released"], json!([]));
}

#[tokio::test]
async fn each_released_notice_waits_for_the_answer_to_the_one_before() {
    let world = World::start().await;
    let (open, opened) = watch::channel(false);
    let receiver = Receiver::saying(vec![Say::When(opened), Say::Status(500)], Say::Status(200)).await;
    let [(first, a), (second, b), (third, c)] = three_held(&world, &receiver).await;
    world.control("POST", "/notices/release", json!({})).await;
    receiver.wait_for(1).await;
    let states =
        async || -> Vec<Value> { world.notices("").await.iter().map(|notice| notice["state"].clone()).collect() };
    assert_eq!(states().await, ["due", "due", "due"]);
    // Others do not wait for them.
    let other = Receiver::start().await;
    world.set(json!({"notices": "send"})).await;
    let token = world.register("ada@shop.example").await.1;
    world.fire(world.account_with(&token, &other.uri("/")).await).await;
    other.wait_for(1).await;
    assert_eq!(receiver.bodies(), bodies(&[first]));
    open.send(true).unwrap();
    receiver.wait_for(3).await;
    assert_eq!(receiver.bodies(), bodies(&[first, second, third]));
    assert_eq!(world.tried(a, 1).await["state"], "delivered");
    assert_eq!(world.tried(c, 1).await["state"], "delivered");
    // One that failed has its retries like any other.
    assert_eq!(world.tried(b, 1).await["state"], "failed");
    world.advance(900).await;
    assert_eq!(world.tried(b, 2).await["state"], "delivered");
}

#[tokio::test]
async fn a_retry_that_falls_due_while_notices_are_held_is_held_too() {
    let world = World::start().await;
    let receiver = Receiver::saying(vec![Say::Status(500)], Say::Status(200)).await;
    let id = world.fire(world.some_account(&receiver.uri("/")).await).await;
    world.tried(id, 1).await;
    world.set(json!({"notices": "hold"})).await;
    world.advance(900).await;
    until("it is held", async || world.notice(id).await["state"] == "held").await;
    world.set(json!({"notices": "send"})).await;
    world.control("POST", "/notices/release", json!({"order": [id]})).await;
    assert_eq!(world.tried(id, 2).await["state"], "delivered");
}

#[tokio::test]
async fn a_notice_can_be_sent_again_after_its_delivery() {
    let world = World::start().await;
    let receiver = Receiver::saying(vec![Say::Status(200), Say::Status(200), Say::Status(500)], Say::Status(200)).await;
    let account = world.some_account(&receiver.uri("/")).await;
    let id = world.fire(account).await;
    assert_eq!(world.tried(id, 1).await["state"], "delivered");
    for times in 2..4 {
        world.control("POST", &format!("/notices/{id}/send"), json!({})).await;
        let notice = world.tried(id, times).await;
        assert_eq!((&notice["state"], &notice["tries"][times - 1]["cause"]), (&json!("delivered"), &json!("request")));
    }
    world.advance(90 * 86_400).await;
    // Twice in a row, and both come.
    for _ in 0..2 {
        world.control("POST", &format!("/notices/{id}/send"), json!({})).await;
    }
    receiver.wait_for(5).await;
    assert_eq!(receiver.bodies(), bodies(&[account; 5]));
    for path in ["/notices/99/send", "/notices/x/send", "/notices/99"] {
        let method = if path.ends_with("send") { "POST" } else { "GET" };
        assert_eq!(world.refused(method, path, json!({})).await.0, 404);
    }
}

#[tokio::test]
async fn notices_are_fired_by_hand_listed_and_filtered() {
    let (world, receiver) = (World::start().await, Receiver::start().await);
    let (ada, token) = world.register_with("ada@shop.example", &receiver.uri("/user")).await;
    let account = world.account_with(&token, &receiver.uri("/account")).await;
    let fired = world.control("POST", "/notices", json!({"user_id": ada})).await;
    assert_eq!(fired["notices"][0]["body"], format!("user_id={ada}"));
    let second = world.fire(account).await;
    receiver.wait_for(2).await;
    let ids = async |filter: &str| -> Vec<u64> {
        world.notices(filter).await.iter().map(|notice| notice["notice_id"].as_u64().unwrap()).collect()
    };
    assert_eq!(ids("").await, [1, 2]);
    assert_eq!(ids("?after=1").await, [second]);
    assert_eq!(ids(&format!("?user_id={ada}")).await, [1]);
    assert_eq!(ids(&format!("?account_id={account}")).await, [2]);
    assert_eq!(ids(&format!("?account_id={ada}")).await, [0_u64; 0]);
    for (method, path, body, status) in [
        ("POST", "/notices", json!({}), 400),
        ("POST", "/notices", json!({"user_id": ada, "account_id": account}), 400),
        ("POST", "/notices", json!({"user_id": 1}), 404),
        ("POST", "/notices", json!({"account_id": world.sandbox.app_owner_account_id()}), 404),
        ("GET", "/notices?after=x", json!({}), 400),
        ("GET", "/notices?state=held", json!({}), 400),
        ("DELETE", "/notices", json!({}), 404),
    ] {
        assert_eq!(world.refused(method, path, body.clone()).await.0, status, "{method} {path} {body}");
    }
}

#[tokio::test]
async fn copies_are_notices_of_their_own() {
    let world = World::start().await;
    let receiver = Receiver::saying(vec![Say::Status(200), Say::Status(500)], Say::Status(200)).await;
    let account = world.some_account(&receiver.uri("/")).await;
    world.set(json!({"notice_copies": 3})).await;
    world.force_state(account, "active").await;
    receiver.wait_for(3).await;
    assert_eq!(receiver.bodies(), bodies(&[account; 3]));
    world.set(json!({"notice_copies": 1})).await;
    // The one that failed comes again alone.
    let failed = async || world.notices("").await.iter().filter(|notice| notice["state"] == "failed").count();
    until("all were answered", async || {
        world.notices("").await.iter().all(|notice| notice["tries"].as_array().unwrap().len() == 1)
    })
    .await;
    assert_eq!(failed().await, 1);
    world.advance(900).await;
    receiver.wait_for(4).await;
}

#[tokio::test]
async fn switched_off_nothing_is_queued_and_nothing_due_is_sent() {
    let world = World::start().await;
    let receiver = Receiver::saying(vec![Say::Status(500)], Say::Status(200)).await;
    let account = world.some_account(&receiver.uri("/")).await;
    let id = world.fire(account).await;
    world.tried(id, 1).await;
    world.set(json!({"notices": "off"})).await;
    world.force_state(account, "active").await;
    assert_eq!(world.refused("POST", "/notices", json!({"account_id": account})).await.0, 400);
    world.advance(900).await;
    until("it is dropped", async || world.notice(id).await["state"] == "not_sent").await;
    assert_eq!(world.notices("").await.len(), 1);
    world.set(json!({"notices": "send"})).await;
    world.force_state(account, "disabled").await;
    receiver.wait_for(2).await;
}

#[tokio::test]
async fn a_try_that_was_asked_for_and_fails_costs_no_retry_and_releases_nothing() {
    let world = World::start().await;
    let receiver = Receiver::saying(Vec::new(), Say::Status(500)).await;
    let account = world.some_account(&receiver.uri("/")).await;
    let again = async |id: u64| world.control("POST", &format!("/notices/{id}/send"), json!({})).await;
    let sent = world.fire(account).await;
    let due = world.tried(sent, 1).await["next_try_at"].clone();
    again(sent).await;
    let notice = world.tried(sent, 2).await;
    assert_eq!((&notice["state"], &notice["next_try_at"]), (&json!("failed"), &due));
    world.set(json!({"notices": "hold"})).await;
    let held = world.fire(account).await;
    again(held).await;
    assert_eq!(world.tried(held, 1).await["state"], "held");
    let released = world.control("POST", "/notices/release", json!({"order": [held]})).await;
    assert_eq!(released["released"], json!([held]));
    assert_ne!(world.tried(held, 2).await["next_try_at"], Value::Null);
}
