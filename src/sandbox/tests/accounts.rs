//! The account calls.

use serde_json::{Value, json};

use super::support::World;
use crate::domain::ambient::Clock as _;

fn shop(reference_id: &str) -> Value {
    json!({"name": "Ada's Shop", "description": "Bread & more", "reference_id": reference_id})
}

async fn world_with_token() -> (World, u64, String) {
    let world = World::start().await;
    let ada = world.make_user("ada@shop.example").await;
    let token = world.token("ada@shop.example").await;
    (world, ada, token)
}

#[tokio::test]
async fn a_fresh_account_wants_identity_and_bank_account_and_takes_money_already() {
    let (world, ada, token) = world_with_token().await;
    let mut body = shop("shop-1");
    body["callback_uri"] = json!("http://127.0.0.1:9/notices/account");
    body["support_contact_number"] = json!({"country_code": "1", "phone_number": "5550100"});
    let account = world.ok(&token, "/account/create", body).await;
    assert!(account["account_id"].as_u64().unwrap() > u64::from(u32::MAX / 2));
    for (name, value) in [
        ("name", json!("Ada's Shop")),
        ("description", json!("Bread & more")),
        ("state", json!("action_required")),
        ("owner_user_id", json!(ada)),
        ("reference_id", json!("shop-1")),
        ("type", json!("personal")),
        ("country", json!("US")),
        ("currencies", json!(["USD"])),
        ("action_reasons", json!(["kyc", "bank_account"])),
        ("disabled_reasons", json!([])),
        ("disablement_time", Value::Null),
        ("callback_uri", json!("http://127.0.0.1:9/notices/account")),
    ] {
        assert_eq!(account[name], value, "{name}");
    }
    let status = &account["statuses"][0];
    let flags = ["currency", "incoming_payments_status", "outgoing_payments_status", "account_review_status"];
    assert_eq!(flags.map(|flag| status[flag].as_str().unwrap()), ["USD", "ok", "paused", "not_requested"]);
    assert_eq!(account["balances"][0].as_object().unwrap().len(), 10);
    let now_s = world.sandbox.core.clock.now().as_micros() / 1_000_000;
    assert!((now_s - account["create_time"].as_i64().unwrap()).abs() < 60);
    let id = account["account_id"].clone();
    assert_eq!(world.ok(&token, "/account", json!({"account_id": id})).await, account);
    let as_text = json!({"account_id": id.to_string()});
    assert_eq!(world.ok(&token, "/account", as_text).await, account, "digits in a string are an id too");
    let unset = world.ok(&token, "/account/create", json!({"name": "B", "description": "C"})).await;
    assert!(unset.get("reference_id").is_none() && unset.get("callback_uri").is_none());
}

#[tokio::test]
async fn an_account_made_before_the_confirmation_is_pending() {
    let world = World::start().await;
    let (_, token) = world.register("ada@shop.example").await;
    let account = world.ok(&token, "/account/create", shop("shop-1")).await;
    assert_eq!((&account["state"], &account["action_reasons"]), (&json!("pending"), &json!([])));
}

#[tokio::test]
async fn parameters_of_an_account_are_checked() {
    let (world, _, token) = world_with_token().await;
    let refusal = async |name: &str, value: Value| {
        let mut body = shop("shop-1");
        body[name] = value;
        let answer = world.call(&token, "/account/create", body).await;
        (answer.refusal().2, answer.json()["error_description"].as_str().unwrap().to_owned())
    };
    for name in ["name", "description"] {
        assert_eq!(refusal(name, Value::Null).await, (1004, format!("{name} parameter is required")));
    }
    let wrong_kind = "type parameter must be either personal, business, or nonprofit";
    for (name, value, text) in [
        ("name", json!("My WEPAY shop"), "account name cannot contain wepay"),
        ("name", json!("Shop \u{1f355}"), "name parameter cannot contain emoji or unprintable characters"),
        ("name", json!("Shop\u{7}"), "name parameter cannot contain emoji or unprintable characters"),
        ("name", json!("x".repeat(256)), "name must be at most 255 characters"),
        ("description", json!("x".repeat(65_536)), "description must be at most 65535 characters"),
        ("reference_id", json!("x".repeat(256)), "reference_id must be at most 255 characters"),
        ("type", json!("charity"), wrong_kind),
        ("mcc", json!("12345"), "mcc parameter must be a four digit code"),
        ("image_uri", json!("logo.png"), "image_uri must be a full uri (ex https://www.wepay.com )"),
        ("callback_uri", json!("/n"), "callback_uri must be a full uri (ex https://www.wepay.com )"),
        ("gaq_domains", json!("UA-1"), "Parameter 'gaq_domains' expected array"),
        ("theme_object", json!([]), "Parameter 'theme_object' expected object"),
        ("theme_object", json!({"primary_color": "#00aa00"}), "primary_color must be six hexadecimal digits"),
        ("theme_object", json!({"colour": "00aa00"}), "theme_object.colour parameter is unexpected"),
        ("gaq_domains", json!([1]), "Parameter 'gaq_domains' expected array of strings"),
        ("country_options", json!({"debit_opt_in": "often"}), "Parameter 'debit_opt_in' expected boolean"),
        ("support_contact_number", json!("5550100"), "Parameter 'support_contact_number' expected object"),
        (
            "support_contact_number",
            json!({"country_code": "1234", "phone_number": "5"}),
            "country_code must be one to three digits",
        ),
        ("rbits", json!({}), "Parameter 'rbits' expected array"),
        ("country", json!("FR"), "country parameter must be either US, CA, or GB"),
        ("currencies", json!(["CAD"]), "currencies parameter must be [\"USD\"] for US"),
        ("account_id", json!(1), "account_id parameter is unexpected"),
    ] {
        assert_eq!(refusal(name, value).await, (1003, text.to_owned()));
    }
    assert_eq!(refusal("country", json!("CA")).await.0, 1010);
    assert_eq!(refusal("fee_schedule_slot", json!(0)).await.0, 1010);
    assert!(world.accounts().await.is_empty());
    let mut body = shop("shop-1");
    body["type"] = json!("nonprofit");
    body["mcc"] = json!(5462);
    body["currencies"] = json!(["USD"]);
    let made = world.ok(&token, "/account/create", body).await;
    assert_eq!((&made["type"], &made["mcc"]), (&json!("nonprofit"), &json!("5462")));
}

#[tokio::test]
async fn a_reference_id_stands_once_per_user_and_app_until_its_account_is_deleted() {
    let (world, _, token) = world_with_token().await;
    let first = world.ok(&token, "/account/create", shop("shop-1")).await;
    let again = world.call(&token, "/account/create", shop("shop-1")).await;
    assert_eq!(again.refusal(), (400, "invalid_request".to_owned(), 1003));
    assert!(again.text.contains("reference_id parameter must be unique"));
    let second = world.ok(&token, "/account/create", shop("shop-2")).await;
    let steal = json!({"account_id": second["account_id"], "reference_id": "shop-1"});
    assert_eq!(world.call(&token, "/account/modify", steal).await.refusal().2, 1003);
    let keep = json!({"account_id": first["account_id"], "reference_id": "shop-1"});
    world.ok(&token, "/account/modify", keep).await;
    let (_, bob) = world.register("bob@shop.example").await;
    world.ok(&bob, "/account/create", shop("shop-1")).await;
    for body in [json!({"name": "A", "description": "B"}), json!({"name": "A", "description": "B"})] {
        world.ok(&token, "/account/create", body).await;
    }
    let path = format!("/accounts/{}/state", first["account_id"]);
    world.control("POST", &path, json!({"state": "deleted"})).await;
    world.ok(&token, "/account/create", shop("shop-1")).await;
}

#[tokio::test]
async fn find_filters_sorts_and_cuts_and_hides_what_is_deleted_or_others() {
    let (world, _, token) = world_with_token().await;
    let (_, bob) = world.register("bob@shop.example").await;
    world.ok(&bob, "/account/create", shop("a")).await;
    let mut ids = Vec::new();
    for reference_id in ["a", "b", "c"] {
        let mut body = shop(reference_id);
        body["name"] = json!(format!("Shop {reference_id}"));
        ids.push(world.ok(&token, "/account/create", body).await["account_id"].clone());
    }
    let found = async |filter: Value| {
        let found = world.versioned(&token, "2018-10-03", "/account/find", filter).await.json();
        found.as_array().unwrap().iter().map(|account| account["account_id"].clone()).collect::<Vec<_>>()
    };
    let [a, b, c] = [0, 1, 2].map(|index: usize| ids[index].clone());
    assert_eq!(found(json!({})).await, [c.clone(), b.clone(), a.clone()]);
    assert_eq!(found(json!({"sort_order": "asc"})).await, [a.clone(), b.clone(), c.clone()]);
    assert_eq!(found(json!({"start": 1, "limit": 1})).await, ids[1..2]);
    assert_eq!(found(json!({"reference_id": "c"})).await, ids[2..]);
    assert_eq!(found(json!({"name": "Shop b"})).await, ids[1..2]);
    assert!(found(json!({"name": "Shop b", "reference_id": "c"})).await.is_empty());
    world.control("POST", &format!("/accounts/{b}/state"), json!({"state": "deleted"})).await;
    assert_eq!(found(json!({"sort_order": "ASC"})).await, [a, c]);
    for bad in [json!({"sort_order": "up"}), json!({"limit": "x"}), json!({"state": "active"}), json!({"limit": 1})] {
        assert_eq!(
            world.call(&token, "/account/find", bad).await.refusal().2,
            1003,
            "an older version, without paging"
        );
    }
    world.control("POST", "/settings", json!({"find_limit": 1})).await;
    assert_eq!(found(json!({})).await, ids[2..]);
    assert_eq!(found(json!({"limit": 2})).await.len(), 2, "what is asked for comes first");
}

#[tokio::test]
async fn modify_changes_what_it_names_and_nothing_else() {
    let (world, _, token) = world_with_token().await;
    let mut body = shop("shop-1");
    body["gaq_domains"] = json!(["UA-1"]);
    let before = world.ok(&token, "/account/create", body).await;
    let id = before["account_id"].clone();
    let changes =
        json!({"account_id": id, "name": "Ada's Bakery", "gaq_domains": [], "callback_uri": "http://localhost:9/n"});
    let after = world.ok(&token, "/account/modify", changes).await;
    let mut expected = before.clone();
    expected["name"] = json!("Ada's Bakery");
    expected["gaq_domains"] = json!([""]);
    expected["callback_uri"] = json!("http://localhost:9/n");
    assert_eq!(after, expected);
    assert_eq!(world.ok(&token, "/account", json!({"account_id": id})).await, expected);
    for name in ["country", "currencies", "type", "mcc"] {
        let mut changes = json!({"account_id": id});
        changes[name] = json!("x");
        let answer = world.call(&token, "/account/modify", changes).await;
        assert_eq!(answer.json()["error_description"], format!("{name} parameter is unexpected"));
    }
    let wrong = json!({"account_id": id, "name": "wepay"});
    assert_eq!(world.call(&token, "/account/modify", wrong).await.refusal().2, 1003);
    world.control("POST", &format!("/accounts/{id}/state"), json!({"state": "deleted"})).await;
    let late = json!({"account_id": id, "name": "Late"});
    assert_eq!(world.call(&token, "/account/modify", late).await.refusal(), (400, "invalid_request".to_owned(), 3003));
    assert_eq!(world.ok(&token, "/account", json!({"account_id": id})).await["state"], "deleted");
}

#[tokio::test]
async fn foreign_and_missing_accounts_look_alike_and_each_call_needs_its_scope() {
    let (world, _, token) = world_with_token().await;
    let (_, bob) = world.register("bob@shop.example").await;
    let id = world.ok(&token, "/account/create", shop("shop-1")).await["account_id"].clone();
    for (who, account_id) in [(&bob, id.clone()), (&token, json!(1))] {
        for call in ["/account", "/account/modify"] {
            let answer = world.call(who, call, json!({"account_id": account_id})).await;
            assert_eq!(answer.refusal(), (401, "access_denied".to_owned(), 3002));
            let text = "invalid account_id, account does not exist or does not belong to user";
            assert_eq!(answer.json()["error_description"], text);
        }
    }
    let wrong = world.call(&token, "/account", json!({"account_id": "x"})).await;
    assert_eq!(wrong.json()["error_description"], "Parameter 'account_id' expected integer");
    let app = world.control("POST", "/apps", Value::Null).await;
    let mut body = world.register_body("ada@shop.example");
    (body["client_id"], body["client_secret"]) = (app["client_id"].clone(), app["client_secret"].clone());
    let other =
        world.send(world.post("/user/register", &body)).await.json()["access_token"].as_str().unwrap().to_owned();
    world.ok(&other, "/account", json!({"account_id": id})).await;
    let foreign = world.call(&other, "/account/modify", json!({"account_id": id})).await;
    assert_eq!(foreign.json()["error_description"], "applications can only modify accounts they have created");
    world.ok(&other, "/account/create", shop("shop-1")).await;
    let code = world.code_with("ada@shop.example", "view_user,collect_payments").await;
    let narrow = world.exchange(&code).await.json()["access_token"].as_str().unwrap().to_owned();
    for call in ["/account", "/account/create", "/account/find", "/account/modify"] {
        let answer = world.call(&narrow, call, json!({})).await;
        assert!(answer.refusal().2 == 1010 && answer.text.contains("Permission required: manage_accounts"), "{call}");
    }
}

#[tokio::test]
async fn the_control_api_forces_states_and_shows_accounts() {
    let (world, ada, token) = world_with_token().await;
    let id = world.ok(&token, "/account/create", shop("shop-1")).await["account_id"].clone();
    for (state, reasons, disabled, incoming, outgoing) in [
        ("active", json!([]), json!([]), "ok", "ok"),
        ("disabled", json!([]), json!(["no_settlement_path"]), "paused", "paused"),
        ("action_required", json!(["kyc", "bank_account"]), json!([]), "ok", "paused"),
    ] {
        let answer = world.control("POST", &format!("/accounts/{id}/state"), json!({"state": state})).await;
        assert_eq!((&answer["account_id"], &answer["state"]), (&id, &json!(state)));
        let account = world.ok(&token, "/account", json!({"account_id": id})).await;
        assert_eq!((&account["state"], &account["action_reasons"]), (&json!(state), &reasons));
        assert_eq!(account["disabled_reasons"], disabled);
        let status = &account["statuses"][0];
        assert_eq!(status["incoming_payments_status"], incoming);
        assert_eq!(status["outgoing_payments_status"], outgoing);
    }
    let shown = &world.accounts().await[0];
    assert_eq!((&shown["account_id"], &shown["owner_user_id"]), (&id, &json!(ada)));
    assert_eq!((&shown["reference_id"], &shown["state"]), (&json!("shop-1"), &json!("action_required")));
    let url = |id: &str| format!("{}/accounts/{id}/state", world.sandbox.endpoints().control);
    let send = async |id: &str, body: &'static str| world.send(world.client.post(url(id)).body(body)).await.status;
    assert_eq!(send("1", r#"{"state": "active"}"#).await, 404);
    assert_eq!(send(&id.to_string(), r#"{"state": "asleep"}"#).await, 400);
}

#[tokio::test]
async fn the_apps_owner_has_an_account_from_the_start() {
    let world = World::start().await;
    let shown = world.control("GET", "/app", Value::Null).await;
    assert_eq!(shown["owner_account_id"], world.sandbox.app_owner_account_id());
    let owner = world.sandbox.app_owner_token().to_owned();
    let account = world.ok(&owner, "/account", json!({"account_id": shown["owner_account_id"]})).await;
    assert_eq!((&account["state"], &account["owner_user_id"]), (&json!("active"), &shown["owner_user_id"]));
}

#[tokio::test]
async fn an_account_whose_answer_was_lost_is_found_by_its_reference_id_once() {
    let (world, _, token) = world_with_token().await;
    for (kind, made) in [("lose_before", 0), ("lose_after", 1), ("status_after", 2), ("malformed", 3)] {
        let mut plan = json!({"path": "/account/create", "kind": kind});
        if kind == "status_after" {
            plan["status"] = json!(500);
        }
        world.fault(plan).await;
        let request = world.post("/account/create", &shop(kind)).header("authorization", format!("Bearer {token}"));
        let answer = world.try_send(request).await;
        assert!(answer.is_err() || serde_json::from_str::<Value>(&answer.unwrap().text).is_err(), "{kind}");
        let found = world.ok(&token, "/account/find", json!({"reference_id": kind})).await;
        assert_eq!(found.as_array().unwrap().len(), usize::from(kind != "lose_before"), "{kind}");
        assert_eq!(world.accounts().await.len(), made);
    }
    let id = world.ok(&token, "/account/find", json!({"reference_id": "lose_after"})).await[0]["account_id"].clone();
    let calls = world.calls("/account/create").await;
    let of = |index: usize| (calls[index]["account_id"].clone(), calls[index]["reference_id"].clone());
    assert_eq!(of(0), (Value::Null, json!("lose_before")));
    assert_eq!(of(1), (id.clone(), json!("lose_after")));
    assert_eq!((&calls[1]["answered"], &calls[0]["status"]), (&json!(false), &Value::Null));
    world.ok(&token, "/account", json!({"account_id": id})).await;
    let call = world.calls("/account").await.pop().unwrap();
    assert_eq!((&call["account_id"], &call["reference_id"]), (&id, &json!("lose_after")));
    world.call(&token, "/account", json!({"account_id": 7})).await;
    assert_eq!(world.calls("/account").await.pop().unwrap()["account_id"], 7, "refused calls name what they asked for");
}
