//! Rbits: alone, and as a parameter of user calls.

use serde_json::{Value, json};

use super::support::{World, options};

fn about(kind: &str, id: &Value) -> Value {
    json!({
        "associated_object_type": kind,
        "associated_object_id": id,
        "type": "business_name",
        "properties": {"business_name": "Ada's / Bakery"},
        "receive_time": 1_367_958_263,
        "source": "user",
    })
}

fn embedded(kind: &str) -> Value {
    json!({"type": kind, "properties": {"x": 1}, "receive_time": 1, "source": "partner_database"})
}

#[tokio::test]
async fn an_rbit_is_created_looked_up_found_and_deleted() {
    let world = World::start().await;
    let (ada, token) = world.register("ada@shop.example").await;
    let account = world.ok(&token, "/account/create", json!({"name": "A", "description": "B"})).await;
    let mut wish = about("account", &account["account_id"]);
    (wish["note"], wish["related_rbits"]) = (json!("seen twice"), json!([embedded("email")]));
    let made = world.ok(&token, "/rbit/create", wish.clone()).await;
    for (name, value) in wish.as_object().unwrap() {
        assert!(made[name] == *value || name == "related_rbits", "{name}");
    }
    assert_eq!(made["related_rbits"][0]["properties"], json!({"x": 1}));
    let id = json!({"rbit_id": made["rbit_id"]});
    assert_eq!(world.ok(&token, "/rbit", id.clone()).await, made);
    let other = world.ok(&token, "/rbit/create", about("user", &json!(ada.to_string()))).await;
    assert_eq!(other["associated_object_id"], ada);
    assert_eq!(world.ok(&token, "/rbit/find", json!({})).await, json!([made, other]));
    for (filter, expected) in [
        (json!({"associated_object_type": "user", "associated_object_id": ada}), json!([other])),
        (json!({"associated_object_type": "account"}), json!([made])),
        (json!({"type": "business_name", "source": "user"}), json!([made, other])),
        (json!({"type": "email"}), json!([])),
    ] {
        assert_eq!(world.ok(&token, "/rbit/find", filter.clone()).await, expected, "{filter}");
    }
    world.control("POST", "/settings", json!({"find_limit": 1})).await;
    assert_eq!(world.ok(&token, "/rbit/find", json!({})).await, json!([made]));
    world.control("DELETE", "/settings", Value::Null).await;
    assert_eq!(world.accounts().await[0]["rbit_ids"], json!([made["rbit_id"]]));
    assert_eq!(world.ok(&token, "/rbit/delete", id.clone()).await["state"], "deleted");
    assert_eq!(world.call(&token, "/rbit", id.clone()).await.refusal().2, 1003);
    assert_eq!(world.call(&token, "/rbit/delete", id).await.refusal().2, 1003);
    assert_eq!(world.ok(&token, "/rbit/find", json!({})).await, json!([other]));
    assert_eq!(world.accounts().await[0]["rbit_ids"], json!([]));
    let next = world.ok(&token, "/rbit/create", about("user", &json!(ada))).await;
    assert_ne!(next["rbit_id"], made["rbit_id"], "ids of deleted ones are not given again");
}

#[tokio::test]
async fn an_rbit_is_about_an_object_of_the_tokens_user_and_seen_by_nobody_else() {
    let world = World::start().await;
    let (ada, token) = world.register("ada@shop.example").await;
    let (bob, other) = world.register("bob@shop.example").await;
    let account = world.ok(&token, "/account/create", json!({"name": "A", "description": "B"})).await;
    let account_id = &account["account_id"];
    for (wish, code) in [
        (about("account", account_id), 3002),
        (about("account", &json!(1)), 3002),
        (about("user", &json!(ada)), 7001),
        (about("checkout", &json!(1)), 4001),
        (about("credit_card", &json!(1)), 1003),
        (about("preapproval", &json!(1)), 1003),
        (about("app", &json!(1)), 1003),
        (json!({}), 1004),
    ] {
        assert_eq!(world.call(&other, "/rbit/create", wish.clone()).await.refusal().2, code, "{wish}");
    }
    let mut unknown = about("user", &json!(bob));
    unknown["colour"] = json!("red");
    assert_eq!(world.call(&other, "/rbit/create", unknown).await.refusal().2, 1003);
    let made = world.ok(&token, "/rbit/create", about("account", account_id)).await;
    let id = json!({"rbit_id": made["rbit_id"]});
    for call in ["/rbit", "/rbit/delete"] {
        assert_eq!(world.call(&other, call, id.clone()).await.refusal().2, 1003, "{call}");
    }
    assert_eq!(world.ok(&other, "/rbit/find", json!({})).await, json!([]));
    let by_id = json!({"associated_object_id": ada});
    assert_eq!(world.call(&other, "/rbit/find", by_id).await.refusal().2, 1004);
    assert_eq!(world.send(world.post("/rbit", &id)).await.refusal().2, 1002, "a token is needed");
}

#[tokio::test]
async fn scopes_are_those_of_the_associated_object() {
    let world = World::start().await;
    let ada = world.make_user("ada@shop.example").await;
    let code = world.code_with("ada@shop.example", "view_user").await;
    let token = world.exchange(&code).await.json()["access_token"].as_str().unwrap().to_owned();
    world.ok(&token, "/rbit/create", about("user", &json!(ada))).await;
    assert_eq!(world.call(&token, "/rbit/create", about("account", &json!(1))).await.refusal().2, 1010);
    let accounts = json!({"associated_object_type": "account"});
    assert_eq!(world.call(&token, "/rbit/find", accounts).await.refusal().2, 1010);
    assert_eq!(world.ok(&token, "/rbit/find", json!({})).await.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn rbits_of_a_registration_and_of_a_change_are_kept_and_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::with(options(Some(dir.path()))).await;
    let mut body = world.register_body("ada@shop.example");
    body["rbits"] = json!([embedded("email"), embedded("phone")]);
    let issued = world.send(world.post("/user/register", &body)).await.json();
    let token = issued["access_token"].as_str().unwrap().to_owned();
    world.ok(&token, "/user/modify", json!({"rbits": [embedded("address")]})).await;
    let found = world.ok(&token, "/rbit/find", json!({"associated_object_type": "user"})).await;
    let kinds: Vec<&Value> = found.as_array().unwrap().iter().map(|rbit| &rbit["type"]).collect();
    assert_eq!(kinds, ["email", "phone", "address"]);
    let broken = json!({"rbits": [{"type": "email"}]});
    assert_eq!(world.call(&token, "/user/modify", broken.clone()).await.refusal().2, 1004);
    let mut body = world.register_body("eve@shop.example");
    body["rbits"] = broken["rbits"].clone();
    assert_eq!(world.send(world.post("/user/register", &body)).await.refusal().2, 1004);
    world.sandbox.stop().await;
    let world = World::with(options(Some(dir.path()))).await;
    assert_eq!(world.ok(&token, "/rbit/find", json!({"associated_object_type": "user"})).await, found);
}
