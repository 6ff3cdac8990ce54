//! The life of an account on the movable clock.

use std::time::Duration;

use serde_json::{Value, json};

use super::receiver::Receiver;
use super::support::{World, options};
use crate::domain::ambient::Clock as _;

const DAY: u64 = 24 * 60 * 60;

/// A person with an account: the token and the account's id; `is_pending` leaves the person unconfirmed.
async fn shop(world: &World, is_pending: bool) -> (String, Value) {
    let token = if is_pending {
        world.register("ada@shop.example").await.1
    } else {
        world.make_user("ada@shop.example").await;
        world.token("ada@shop.example").await
    };
    let made = world.ok(&token, "/account/create", json!({"name": "Ada's Shop", "description": "Bread"})).await;
    (token, made["account_id"].clone())
}

async fn pay(world: &World, id: &Value, amount: Value) -> u16 {
    world.to_account(id, "payments", json!({ "amount": amount })).await.0
}

async fn look(world: &World, token: &str, id: &Value) -> Value {
    world.ok(token, "/account", json!({ "account_id": id })).await
}

#[tokio::test]
async fn an_unconfirmed_account_is_blocked_after_14_days_and_deleted_after_30() {
    let world = World::start().await;
    let (token, id) = shop(&world, true).await;
    world.advance(40 * DAY).await;
    assert_eq!(pay(&world, &id, json!(25.5)).await, 200, "the time runs from the first payment");
    let balance = look(&world, &token, &id).await["balances"][0].clone();
    assert_eq!(balance["balance"], json!(25.5));
    world.advance(14 * DAY - 60).await;
    assert_eq!(pay(&world, &id, json!("4.50")).await, 200);
    world.advance(60).await;
    let blocked = look(&world, &token, &id).await;
    assert_eq!(
        (&blocked["state"], &blocked["statuses"][0]["incoming_payments_status"]),
        (&json!("pending"), &json!("paused"))
    );
    let (status, refusal) = world.to_account(&id, "payments", json!({"amount": 1})).await;
    assert_eq!((status, &refusal["error"]), (400, &json!("3004: this account can no longer transact")));
    world.advance(16 * DAY - 60).await;
    assert_eq!(look(&world, &token, &id).await["state"], "pending");
    world.advance(60).await;
    let deleted = look(&world, &token, &id).await;
    assert_eq!((&deleted["state"], &deleted["balances"][0]["balance"]), (&json!("deleted"), &json!(0)));
    assert_eq!(world.ok(&token, "/account/find", json!({})).await, json!([]));
}

#[tokio::test]
async fn a_long_sleep_plays_every_step_once_somebody_looks() {
    let world = World::start().await;
    let (token, id) = shop(&world, true).await;
    assert_eq!(pay(&world, &id, json!(1)).await, 200);
    world.advance(31 * DAY).await;
    assert_eq!(look(&world, &token, &id).await["state"], "deleted");
    assert_eq!(world.sandbox.core.lock().state.next_due(), None);
}

#[tokio::test]
async fn an_unconfirmed_account_takes_a_hundred_thousand_and_no_more() {
    let world = World::start().await;
    let (_, id) = shop(&world, true).await;
    assert_eq!(pay(&world, &id, json!(99_999.99)).await, 200);
    assert_eq!(pay(&world, &id, json!(0.02)).await, 400);
    assert_eq!(pay(&world, &id, json!(0.01)).await, 200);
    assert_eq!(pay(&world, &id, json!(0.01)).await, 400);
    let ada = world.accounts().await[0]["owner_user_id"].clone();
    world.control("POST", &format!("/users/{ada}/confirm"), Value::Null).await;
    assert_eq!(pay(&world, &id, json!(0.01)).await, 200, "a confirmed one has no such limit");
    for wrong in [json!(0), json!(-5), json!(0.001), json!("x"), Value::Null] {
        assert_eq!(pay(&world, &id, wrong).await, 400);
    }
    assert_eq!(world.accounts().await[0]["received"], json!(100_000.01));
}

#[tokio::test]
async fn confirming_opens_a_blocked_account_again_and_keeps_its_deadline() {
    let world = World::start().await;
    let (token, id) = shop(&world, true).await;
    assert_eq!(look(&world, &token, &id).await["disablement_time"], Value::Null);
    let paid_at = world.sandbox.core.clock.now().as_unix_seconds();
    assert_eq!(pay(&world, &id, json!(10)).await, 200);
    world.advance(15 * DAY).await;
    let ada = world.accounts().await[0]["owner_user_id"].clone();
    world.control("POST", &format!("/users/{ada}/confirm"), Value::Null).await;
    let account = look(&world, &token, &id).await;
    assert_eq!(
        (&account["state"], &account["action_reasons"]),
        (&json!("action_required"), &json!(["kyc", "bank_account"]))
    );
    assert_eq!(account["statuses"][0]["incoming_payments_status"], "ok");
    let left = account["disablement_time"].as_i64().unwrap() - paid_at;
    assert!((left - 30 * i64::try_from(DAY).unwrap()).abs() < 60, "{left}");
    world.advance(16 * DAY).await;
    assert_eq!(look(&world, &token, &id).await["state"], "disabled");
}

#[tokio::test]
async fn an_account_without_identity_or_bank_is_disabled_after_30_days_and_mended_by_both() {
    let world = World::start().await;
    let (token, id) = shop(&world, false).await;
    assert_eq!(
        look(&world, &token, &id).await["disablement_time"],
        Value::Null,
        "nothing runs before the first payment"
    );
    assert_eq!(pay(&world, &id, json!(10)).await, 200);
    assert!(look(&world, &token, &id).await["disablement_time"].is_i64());
    world.to_account(&id, "kyc", json!({"state": "verified"})).await;
    assert_eq!(look(&world, &token, &id).await["action_reasons"], json!(["bank_account"]));
    world.advance(30 * DAY).await;
    let disabled = look(&world, &token, &id).await;
    assert_eq!(
        (&disabled["state"], &disabled["disabled_reasons"]),
        (&json!("disabled"), &json!(["no_settlement_path"]))
    );
    assert_eq!((&disabled["disablement_time"], &disabled["action_reasons"]), (&Value::Null, &json!([])));
    assert_eq!(pay(&world, &id, json!(1)).await, 400);
    world.to_account(&id, "bank", json!({"name": "WellsFargo XXXXX3102"})).await;
    let active = look(&world, &token, &id).await;
    assert_eq!((&active["state"], &active["disabled_reasons"]), (&json!("active"), &json!([])));
    world.advance(100 * DAY).await;
    assert_eq!(look(&world, &token, &id).await["state"], "active");
}

#[tokio::test]
async fn reasons_shrink_one_by_one_until_the_account_is_active() {
    let world = World::start().await;
    let (token, id) = shop(&world, false).await;
    for (act, body, state, reasons) in [
        ("kyc", json!({"state": "in_review"}), "action_required", json!(["kyc", "bank_account"])),
        ("kyc", json!({"state": "require_docs"}), "action_required", json!(["document", "bank_account"])),
        ("bank", json!({"name": "B XXXXX0001", "frequency": "daily"}), "action_required", json!(["document"])),
        ("kyc", json!({"state": "verified"}), "active", json!([])),
        ("bank", Value::Null, "action_required", json!(["bank_account"])),
        ("bank", json!({"name": "B XXXXX0002"}), "active", json!([])),
        ("kyc", json!({"state": "require_docs"}), "action_required", json!(["document"])),
    ] {
        assert_eq!(world.to_account(&id, act, body.clone()).await.0, 200);
        let account = look(&world, &token, &id).await;
        assert_eq!((&account["state"], &account["action_reasons"]), (&json!(state), &reasons), "{act} {body}");
    }
    let balance = look(&world, &token, &id).await["balances"][0].clone();
    assert_eq!(
        (&balance["withdrawal_bank_name"], &balance["withdrawal_period"]),
        (&json!("B XXXXX0002"), &json!("weekly"))
    );
    assert_eq!(balance["withdrawal_type"], "ach");
    let next = balance["withdrawal_next_time"].as_i64().unwrap();
    world.advance(8 * DAY).await;
    let later = look(&world, &token, &id).await["balances"][0]["withdrawal_next_time"].as_i64().unwrap();
    assert_eq!(later - next, 7 * i64::try_from(DAY).unwrap());
}

#[tokio::test]
async fn what_was_done_before_confirming_counts_afterwards() {
    let world = World::start().await;
    let (token, id) = shop(&world, true).await;
    world.to_account(&id, "kyc", json!({"state": "verified"})).await;
    world.to_account(&id, "bank", json!({"name": "B XXXXX0001"})).await;
    assert_eq!(look(&world, &token, &id).await["state"], "pending");
    let ada = world.accounts().await[0]["owner_user_id"].clone();
    world.control("POST", &format!("/users/{ada}/confirm"), Value::Null).await;
    assert_eq!(look(&world, &token, &id).await["state"], "active");
}

#[tokio::test]
async fn an_account_disabled_for_another_reason_is_not_mended_by_papers() {
    let world = World::start().await;
    let (token, id) = shop(&world, false).await;
    for reason in
        ["fraud", "high_risk_chargeback", "reported_user", "tos_violation", "country_not_supported", "closed_for_loss"]
    {
        let (status, shown) = world.to_account(&id, "state", json!({"state": "disabled", "reason": reason})).await;
        assert_eq!((status, &shown["disabled_reason"]), (200, &json!(reason)));
        assert_eq!(look(&world, &token, &id).await["disabled_reasons"], json!([reason]));
    }
    world.to_account(&id, "kyc", json!({"state": "verified"})).await;
    world.to_account(&id, "bank", json!({"name": "B XXXXX0001"})).await;
    assert_eq!(look(&world, &token, &id).await["state"], "disabled");
    world.to_account(&id, "state", json!({"state": "disabled", "reason": "no_settlement_path"})).await;
    world.to_account(&id, "bank", json!({"name": "B XXXXX0002"})).await;
    assert_eq!(look(&world, &token, &id).await["state"], "active");
    assert_eq!(world.to_account(&id, "state", json!({"state": "active", "reason": "fraud"})).await.0, 400);
    assert_eq!(world.to_account(&id, "state", json!({"state": "disabled", "reason": "bored"})).await.0, 400);
}

#[tokio::test]
async fn the_time_scale_divides_the_days() {
    let mut scaled = options(None);
    scaled.time_scale = u32::try_from(DAY).unwrap();
    let world = World::with(scaled).await;
    world.make_user("ada@shop.example").await;
    // Codes live for seven milliseconds here; the registration needs none.
    let (_, token) = world.register("bob@shop.example").await;
    let made = world.ok(&token, "/account/create", json!({"name": "B", "description": "C"})).await;
    let id = made["account_id"].clone();
    assert_eq!(pay(&world, &id, json!(1)).await, 200);
    world.advance(14).await;
    assert_eq!(world.accounts().await[0]["takes_payments"], false);
    world.advance(16).await;
    assert_eq!(world.accounts().await[0]["state"], "deleted");
}

#[tokio::test]
async fn a_deadline_outlives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::with(options(Some(dir.path()))).await;
    let (token, id) = shop(&world, false).await;
    assert_eq!(world.to_account(&id, "payments", json!({"amount": 12.34, "pending": true})).await.0, 200);
    world.advance(29 * DAY).await;
    let before = look(&world, &token, &id).await;
    world.sandbox.stop().await;
    let world = World::with(options(Some(dir.path()))).await;
    assert_eq!(look(&world, &token, &id).await, before);
    assert_eq!(before["balances"][0]["incoming_pending_amount"], json!(12.34));
    world.advance(DAY).await;
    assert_eq!(look(&world, &token, &id).await["state"], "disabled");
    world.sandbox.stop().await;
    let world = World::with(options(Some(dir.path()))).await;
    assert_eq!(look(&world, &token, &id).await["disabled_reasons"], json!(["no_settlement_path"]));
}

#[tokio::test]
async fn money_comes_waits_is_held_back_and_leaves() {
    let world = World::start().await;
    let (token, id) = shop(&world, false).await;
    let amounts = async || {
        let balance = look(&world, &token, &id).await["balances"][0].clone();
        ["balance", "incoming_pending_amount", "reserved_amount"].map(|name| balance[name].clone())
    };
    world.to_account(&id, "payments", json!({"amount": 20})).await;
    world.to_account(&id, "payments", json!({"amount": "0.88", "pending": true})).await;
    assert_eq!(amounts().await, [json!(20), json!(0.88), json!(0)]);
    world.to_account(&id, "clear", Value::Null).await;
    assert_eq!(amounts().await, [json!(20.88), json!(0), json!(0)]);
    assert_eq!(world.to_account(&id, "reserve", json!({"amount": 30})).await.0, 400);
    world.to_account(&id, "reserve", json!({"amount": 5.5})).await;
    assert_eq!(amounts().await, [json!(15.38), json!(0), json!(5.5)]);
    world.to_account(&id, "reserve", json!({"amount": 0})).await;
    world.to_account(&id, "reserve", json!({"amount": 1})).await;
    let reserve = world.ok(&token, "/account/get_reserve_details", json!({"account_id": id})).await;
    assert_eq!(reserve["reserved_amount"], json!(1));
    let schedule = reserve["withdrawals_schedule"].as_array().unwrap();
    assert_eq!(schedule.iter().map(|one| one["amount"].clone()).collect::<Vec<_>>(), [json!(19.88), json!(1)]);
    let (_, shown) = world.to_account(&id, "withdraw", Value::Null).await;
    assert_eq!(
        (&shown["balance"], &shown["received"], &shown["has_withdrawn"]),
        (&json!(0), &json!(20.88), &json!(true))
    );
    assert_eq!(amounts().await, [json!(0), json!(0), json!(0)]);
}

#[tokio::test]
async fn accounts_go_with_their_owner_and_nothing_comes_back() {
    let world = World::start().await;
    let (_, id) = shop(&world, false).await;
    assert_eq!(pay(&world, &id, json!(5)).await, 200);
    let ada = world.accounts().await[0]["owner_user_id"].clone();
    world.control("POST", &format!("/users/{ada}/delete"), Value::Null).await;
    let shown = world.accounts().await[0].clone();
    assert_eq!(
        (&shown["state"], &shown["balance"], &shown["next_due_at"]),
        (&json!("deleted"), &json!(0), &Value::Null)
    );
    for (act, body) in
        [("payments", json!({"amount": 1})), ("kyc", json!({"state": "verified"})), ("bank", json!({"name": "B"}))]
    {
        assert_eq!(world.to_account(&id, act, body).await.0, 400, "{act}");
    }
}

#[tokio::test]
async fn an_unconfirmed_account_without_payments_outlives_its_token() {
    let world = World::start().await;
    let (token, id) = shop(&world, true).await;
    world.advance(91 * DAY).await;
    assert_eq!(world.call(&token, "/account", json!({"account_id": id})).await.refusal().2, 1011);
    assert_eq!(world.accounts().await[0]["state"], "pending");
}

#[tokio::test]
async fn what_time_does_is_told_though_nobody_calls() {
    let world = World::start().await;
    let receiver = Receiver::start().await;
    world.make_user("ada@shop.example").await;
    let token = world.token("ada@shop.example").await;
    let body = json!({"name": "A", "description": "B", "callback_uri": receiver.uri("/n?a=b")});
    let id = world.ok(&token, "/account/create", body).await["account_id"].clone();
    assert_eq!(pay(&world, &id, json!(1)).await, 200);
    world.sandbox.core.clock.advance(Duration::from_secs(30 * DAY));
    assert_eq!(receiver.wait_for(1).await[0].body, format!("account_id={id}"));
    assert_eq!(look(&world, &token, &id).await["state"], "disabled");
}
