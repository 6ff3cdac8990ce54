//! The account object by API version: the three recorded bodies, and which keys each version has.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::support::World;
use crate::sandbox::protocol::VERSIONS;

const OF_2011: [&str; 11] = [
    "account_id",
    "name",
    "state",
    "description",
    "account_uri",
    "payment_limit",
    "verification_state",
    "type",
    "auto_withdrawal",
    "create_time",
    "verification_uri",
];
const OF_2014: [&str; 11] = [
    "account_id",
    "name",
    "state",
    "description",
    "type",
    "create_time",
    "country",
    "currencies",
    "balances",
    "statuses",
    "action_reasons",
];
/// What came later, with the first version that has it.
const LATER: [(&str, &str); 7] = [
    ("owner_user_id", "2015-08-15"),
    ("disablement_time", "2015-08-15"),
    ("disabled_reasons", "2015-08-15"),
    ("image_uri", "2015-08-15"),
    ("gaq_domains", "2015-08-15"),
    ("supported_card_types", "2016-08-10"),
    ("support_contact_number", "2017-02-01"),
];

fn keys(object: &Value) -> BTreeSet<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

async fn world_with_account() -> (World, String, Value) {
    let world = World::start().await;
    world.make_user("ada@shop.example").await;
    let token = world.token("ada@shop.example").await;
    let body = json!({"name": "New Account", "description": "Created by API"});
    let id = world.ok(&token, "/account/create", body).await["account_id"].clone();
    (world, token, id)
}

#[tokio::test]
async fn every_version_has_its_own_keys() {
    let (world, token, id) = world_with_account().await;
    for version in VERSIONS {
        let account = world.versioned(&token, version, "/account", json!({"account_id": id})).await.json();
        let expected: BTreeSet<&str> = if version < "2014-01-08" {
            OF_2011.into_iter().collect()
        } else {
            let later = LATER.iter().filter(|(_, since)| version >= *since).map(|(key, _)| *key);
            OF_2014.into_iter().chain(later).collect()
        };
        assert_eq!(keys(&account), expected, "{version}");
        let found = world.versioned(&token, version, "/account/find", json!({})).await.json();
        assert_eq!(found, json!([account]), "{version}");
        if version >= "2014-01-08" {
            let has = |part: &str, key: &str| account[part][0].get(key).is_some();
            assert_eq!(has("balances", "withdrawal_type"), version >= "2016-08-10", "{version}");
            assert_eq!(has("statuses", "account_review_status"), version >= "2015-08-15", "{version}");
        }
    }
    let without = world.ok(&token, "/account", json!({"account_id": id})).await;
    let newest = world.versioned(&token, "2018-03-21", "/account", json!({"account_id": id})).await.json();
    assert_eq!(without, newest, "without the header the app's own version is in force");
}

#[tokio::test]
async fn the_three_recorded_bodies_are_met() {
    let (world, token, id) = world_with_account().await;
    let answer = async |version| {
        let answer = world.versioned(&token, version, "/account", json!({"account_id": id})).await;
        (answer.json(), answer.text)
    };
    let host = world.sandbox.endpoints().ui.strip_suffix("/v2").unwrap().to_owned();
    let (first, _) = answer("2011-01-15").await;
    let page = first["verification_uri"].as_str().unwrap().to_owned();
    let (start, secret) = page.rsplit_once('/').unwrap();
    assert_eq!(start, format!("{host}/api/account_verify/{id}"));
    assert!(secret.len() == 8 && secret.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let created = first["create_time"].clone();
    let recorded = json!({
        "account_id": id, "name": "New Account", "state": "active", "description": "Created by API",
        "account_uri": format!("{host}/account/{id}"), "payment_limit": 50_000, "verification_state": "unverified",
        "type": "personal", "auto_withdrawal": false, "create_time": created, "verification_uri": page,
    });
    assert_eq!(first, recorded);
    let mut balance = json!({
        "currency": "USD", "balance": 0, "incoming_pending_amount": 0, "outgoing_pending_amount": 0,
        "reserved_amount": 0, "disputed_amount": 0, "withdrawal_period": null, "withdrawal_next_time": null,
        "withdrawal_bank_name": null,
    });
    let mut status = json!({"currency": "USD", "incoming_payments_status": "ok", "outgoing_payments_status": "paused"});
    let recorded = json!({
        "account_id": id, "name": "New Account", "state": "action_required", "description": "Created by API",
        "type": "personal", "create_time": created, "country": "US", "currencies": ["USD"], "balances": [balance],
        "statuses": [status], "action_reasons": ["kyc", "bank_account"],
    });
    assert_eq!(answer("2014-01-08").await.0, recorded);
    balance["withdrawal_type"] = Value::Null;
    status["account_review_status"] = json!("not_requested");
    let recorded = json!({
        "account_id": id, "name": "New Account", "state": "action_required", "description": "Created by API",
        "owner_user_id": world.accounts().await[0]["owner_user_id"], "type": "personal", "create_time": created,
        "disablement_time": null, "country": "US", "currencies": ["USD"], "action_reasons": ["kyc", "bank_account"],
        "disabled_reasons": [], "image_uri": null, "gaq_domains": [""],
        "supported_card_types": ["visa", "mastercard", "american_express", "discover", "jcb", "diners_club"],
        "balances": [balance], "statuses": [status],
    });
    let (body, text) = answer("2016-08-10").await;
    assert_eq!(body, recorded);
    assert!(text.contains(r#""balance":0,"#), "{text}");
}

#[tokio::test]
async fn what_an_app_sets_is_there_in_the_form_of_the_version() {
    let (world, token, _) = world_with_account().await;
    let rbit = json!({"type": "email", "properties": {"email": "a@b.example"}, "receive_time": 1, "source": "user"});
    let theme = json!({
        "name": "Bread", "primary_color": "ffa500", "secondary_color": "000000", "background_color": "FFFFFF",
        "button_color": "00aa00",
    });
    let body = json!({
        "name": "All", "description": "Of it", "reference_id": "r/1", "image_uri": "https://shop.example/i.png",
        "gaq_domains": ["UA-1"], "theme_object": theme, "mcc": "0742", "callback_uri": "http://localhost:9/n?a=b&c",
        "rbits": [rbit], "support_contact_number": {"country_code": "+1", "phone_number": "5550100"},
    });
    let made = world.ok(&token, "/account/create", body).await;
    let id = made["account_id"].clone();
    let get = async |version| world.versioned(&token, version, "/account", json!({"account_id": id})).await.json();
    assert_eq!(get("2018-03-21").await, made);
    let mut themed = theme.clone();
    themed["theme_id"] = made["theme_object"]["theme_id"].clone();
    assert!(themed["theme_id"].is_u64());
    for version in VERSIONS {
        let account = get(version).await;
        assert_eq!((&account["reference_id"], &account["theme_object"]), (&json!("r/1"), &themed), "{version}");
        assert_eq!(account["callback_uri"], "http://localhost:9/n?a=b&c");
        assert_eq!(account["gaq_domains"], json!(["UA-1"]));
        let mcc = if version >= "2017-02-01" { json!("0742") } else { json!(742) };
        assert_eq!(account["mcc"], mcc, "{version}");
        if version >= "2014-01-08" {
            let (name, other) = if version >= "2015-09-09" { ("rbit_ids", "rbits") } else { ("rbits", "rbit_ids") };
            assert_eq!(account[name].as_array().map(Vec::len), Some(1), "{version}");
            assert!(account.get(other).is_none(), "{version}");
        }
    }
    let more = json!({"account_id": id, "rbits": [rbit]});
    let more = world.ok(&token, "/account/modify", more).await;
    assert_eq!(more["rbit_ids"].as_array().map(Vec::len), Some(2));
    assert_eq!(get("2019-04-03").await, more);
}

#[tokio::test]
async fn the_first_version_knows_three_states_and_a_short_answer_to_create() {
    let (world, token, id) = world_with_account().await;
    let body = json!({"name": "B", "description": "C"});
    let created = world.versioned(&token, "2011-01-15", "/account/create", body).await.json();
    assert_eq!(keys(&created), BTreeSet::from(["account_id", "account_uri"]));
    let get = async || world.versioned(&token, "2011-01-15", "/account", json!({"account_id": id})).await.json();
    for (state, shown) in [
        ("pending", "active"),
        ("action_required", "active"),
        ("active", "active"),
        ("disabled", "disabled"),
        ("deleted", "deleted"),
    ] {
        world.to_account(&id, "state", json!({"state": state})).await;
        assert_eq!(get().await["state"], shown);
    }
    world.to_account(&id, "state", json!({"state": "action_required"})).await;
    world.to_account(&id, "kyc", json!({"state": "in_review"})).await;
    assert_eq!(get().await["verification_state"], "pending");
    world.to_account(&id, "kyc", json!({"state": "verified"})).await;
    world.to_account(&id, "bank", json!({"name": "B XXXXX0001"})).await;
    let done = get().await;
    assert!(done["verification_state"] == "verified" && done.get("verification_uri").is_none());
    assert_eq!((&done["auto_withdrawal"], &done["withdrawal_bank_name"]), (&json!(true), &json!("B XXXXX0001")));
}

#[tokio::test]
async fn names_are_refused_in_the_words_of_the_version() {
    let (world, token, id) = world_with_account().await;
    let refusal = async |version, call: &str, name: &str| {
        let body = json!({"account_id": id, "name": name, "description": "C"});
        let body = if call == "/account/create" { json!({"name": name, "description": "C"}) } else { body };
        let answer = world.versioned(&token, version, call, body).await;
        (answer.refusal(), answer.json()["error_description"].as_str().unwrap().to_owned())
    };
    let broken = "there was an unknown error - please contact api@wepay.com for support";
    let empty = "Account names can't be empty or contain \"WePay\", please try again.";
    for call in ["/account/create", "/account/modify"] {
        let invalid = || (400, "invalid_request".to_owned(), 1003);
        let old = "2018-10-03";
        assert_eq!(refusal(old, call, "").await, ((500, "processing_error".to_owned(), 1008), broken.to_owned()));
        assert_eq!(refusal(old, call, "wepay").await, (invalid(), "account name cannot contain wepay".to_owned()));
        for name in ["", "My WePay"] {
            assert_eq!(refusal("2019-04-03", call, name).await, (invalid(), empty.to_owned()));
        }
    }
    let number = json!({"account_id": id, "support_contact_number": {"country_code": "1", "phone_number": "5"}});
    let early = world.versioned(&token, "2016-12-07", "/account/modify", number.clone()).await;
    assert_eq!(early.json()["error_description"], "support_contact_number parameter is unexpected");
    assert_eq!(world.versioned(&token, "2017-02-01", "/account/modify", number).await.status, 200);
}
