//! Notices are state: what was queued, held, asked for or on the wire goes on after a restart.

use serde_json::{Value, json};

use crate::sandbox::journal::FILE_NAME;
use crate::sandbox::tests::receiver::{Receiver, Say};
use crate::sandbox::tests::support::{World, options};

#[tokio::test]
async fn a_restart_in_the_middle_of_the_retries_goes_on_where_it_stood() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::with(options(Some(dir.path()))).await;
    let receiver = Receiver::saying(vec![Say::Status(500); 3], Say::Status(200)).await;
    let account = world.some_account(&receiver.uri("/in?x=1")).await;
    world.force_state(account, "active").await;
    let id = world.notices("").await[0]["notice_id"].as_u64().unwrap();
    world.tried(id, 1).await;
    world.advance(900).await;
    let before = world.tried(id, 2).await;
    world.sandbox.stop().await;

    let world = World::with(options(Some(dir.path()))).await;
    assert_eq!(world.notice(id).await, before, "not sent early, nothing forgotten");
    world.advance(1_800).await;
    assert_eq!(world.tried(id, 3).await["state"], "failed");
    world.sandbox.stop().await;

    // What fell due in between is sent at the start.
    let world = World::with(options(Some(dir.path()))).await;
    world.advance(3_600).await;
    assert_eq!(world.tried(id, 4).await["state"], "delivered");
    world.sandbox.stop().await;
    let world = World::with(options(Some(dir.path()))).await;
    assert_eq!(world.notice(id).await["state"], "delivered");
    assert_eq!(receiver.bodies(), vec![format!("account_id={account}"); 4]);
}

#[tokio::test]
async fn what_was_on_the_wire_at_the_end_is_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::with(options(Some(dir.path()))).await;
    let receiver = Receiver::saying(vec![Say::Hang, Say::Hang], Say::Status(200)).await;
    let account = world.some_account(&receiver.uri("/")).await;
    let first = world.fire(account).await;
    receiver.wait_for(1).await;
    world.control("POST", &format!("/notices/{first}/send"), json!({})).await;
    receiver.wait_for(2).await;
    world.sandbox.stop().await;

    let world = World::with(options(Some(dir.path()))).await;
    let notice = world.tried(first, 2).await;
    assert_eq!(notice["state"], "delivered");
    receiver.wait_for(4).await;
    let mut causes: Vec<_> =
        notice["tries"].as_array().unwrap().iter().map(|attempt| attempt["cause"].clone()).collect();
    causes.sort_by_key(ToString::to_string);
    assert_eq!(causes, ["request", "schedule"]);
}

#[tokio::test]
async fn held_and_released_notices_outlive_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::with(options(Some(dir.path()))).await;
    let receiver = Receiver::saying(vec![Say::Hang], Say::Status(200)).await;
    let account = world.some_account(&receiver.uri("/")).await;
    world.set(json!({"notices": "hold"})).await;
    let (a, b, c) = (world.fire(account).await, world.fire(account).await, world.fire(account).await);
    world.control("POST", "/notices/release", json!({"order": [b, a]})).await;
    receiver.wait_for(1).await;
    world.sandbox.stop().await;

    let world = World::with(options(Some(dir.path()))).await;
    assert_eq!(world.tried(b, 1).await["state"], "delivered");
    assert_eq!(world.tried(a, 1).await["state"], "delivered");
    assert_eq!(world.notice(c).await["state"], "held", "whatever the settings of the new start are");
    world.control("POST", "/notices/release", json!({})).await;
    assert_eq!(world.tried(c, 1).await["state"], "delivered");
}

#[tokio::test]
async fn a_notice_stands_in_the_same_step_of_the_journal_as_its_cause() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::with(options(Some(dir.path()))).await;
    let receiver = Receiver::start().await;
    let account = world.some_account(&receiver.uri("/")).await;
    world.force_state(account, "active").await;
    let id = world.notices("").await[0]["notice_id"].as_u64().unwrap();
    world.tried(id, 1).await;
    world.sandbox.stop().await;
    let journal = std::fs::read_to_string(dir.path().join(FILE_NAME)).unwrap();
    let steps: Vec<_> = journal.lines().filter(|line| line.contains("account_changed")).collect();
    assert!(steps.len() == 1 && steps[0].contains("\"queued\"") && !steps[0].contains("\"tried\""));
}

#[tokio::test]
async fn held_notices_are_part_of_a_snapshot_and_are_sent_again_after_it_was_put_back() {
    let (world, receiver) = (World::start().await, Receiver::start().await);
    let token = world.register("ada@shop.example").await.1;
    world.set(json!({"notices": "hold"})).await;
    let account = world.account_with(&token, &receiver.uri("/")).await;
    world.force_state(account, "active").await;
    let held = world.notices("").await;
    assert_eq!((held.len(), &held[0]["state"]), (1, &json!("held")));
    world.control("POST", "/snapshots/held", Value::Null).await;
    for times in 1..=2 {
        world.control("POST", "/notices/release", json!({})).await;
        receiver.wait_for(times).await;
        assert_eq!(world.tried(held[0]["notice_id"].as_u64().unwrap(), 1).await["state"], "delivered");
        world.control("POST", "/snapshots/held/restore", Value::Null).await;
        assert_eq!(world.notices("").await, held);
    }
}

#[tokio::test]
async fn a_notice_on_the_wire_does_not_stop_another_one_that_a_snapshot_gave_its_id() {
    let world = World::start().await;
    let (hanging, other) = (Receiver::saying(Vec::new(), Say::Hang).await, Receiver::start().await);
    let token = world.register("ada@shop.example").await.1;
    let (stuck, lucky) =
        (world.account_with(&token, &hanging.uri("/")).await, world.account_with(&token, &other.uri("/")).await);
    world.control("POST", "/snapshots/empty", Value::Null).await;
    let first = world.fire(stuck).await;
    hanging.wait_for(1).await;
    world.control("POST", "/snapshots/empty/restore", Value::Null).await;
    let second = world.fire(lucky).await;
    assert_eq!(first, second);
    // Sooner than the receiver of the first is given up.
    assert_eq!(world.tried(second, 1).await["state"], "delivered");
}
