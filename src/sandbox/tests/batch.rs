//! `/batch/create`.

use serde_json::{Value, json};

use super::support::{Answer, World, options};

async fn batch_answer(world: &World, calls: Value) -> Answer {
    let endpoints = world.sandbox.endpoints();
    let body = json!({"client_id": endpoints.client_id, "client_secret": endpoints.client_secret, "calls": calls});
    world.send(world.post("/batch/create", &body)).await
}

/// The answers of a batch that is one.
async fn batch(world: &World, calls: Value) -> Vec<Value> {
    let answer = batch_answer(world, calls).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let body = answer.json();
    assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
    body["calls"].as_array().unwrap().clone()
}

fn code(answer: &Value) -> u64 {
    answer["response"]["error_code"].as_u64().unwrap_or_else(|| panic!("{answer}"))
}

#[tokio::test]
async fn answers_come_in_order_with_errors_inside_and_later_calls_see_what_earlier_ones_did() {
    let world = World::start().await;
    let ada = world.make_user("ada@shop.example").await;
    world.make_user("bob@shop.example").await;
    let (token, bob) = (world.token("ada@shop.example").await, world.token("bob@shop.example").await);
    let shop = json!({"name": "Shop", "description": "Bread", "reference_id": "shop-1"});
    let answers = batch(
        &world,
        json!([
            {"call": "/user", "authorization": token, "reference_id": "who"},
            {"call": "/account/create", "authorization": format!("Bearer {token}"), "parameters": shop},
            {"call": "/account/create", "authorization": token, "reference_id": 7, "parameters": shop},
            {"call": "/account/find/", "authorization": token, "parameters": {"reference_id": "shop-1"}},
            {"call": "/account/find", "authorization": bob, "parameters": []},
            {"call": "/user/modify", "authorization": bob, "parameters": {"callback_uri": "http://127.0.0.1:9/n"}},
            {"call": "/user", "authorization": bob, "reference_id": null, "parameters": null},
        ]),
    )
    .await;
    let calls: Vec<&str> = answers.iter().map(|answer| answer["call"].as_str().unwrap()).collect();
    let asked =
        ["/user", "/account/create", "/account/create", "/account/find/", "/account/find", "/user/modify", "/user"];
    assert_eq!(calls, asked);
    assert_eq!((&answers[0]["reference_id"], &answers[2]["reference_id"]), (&json!("who"), &json!(7)));
    assert!(answers[1].get("reference_id").is_none() && answers[6].get("reference_id").is_none());
    assert_eq!(answers[0]["response"]["user_id"], ada);
    assert_eq!(answers[1]["response"]["state"], "action_required");
    assert_eq!(code(&answers[2]), 1003, "the first one has the reference_id already");
    assert_eq!(answers[3]["response"][0]["account_id"], answers[1]["response"]["account_id"]);
    assert_eq!(answers[4]["response"], json!([]));
    assert_eq!(answers[6]["response"]["callback_uri"], "http://127.0.0.1:9/n");
    assert_eq!(world.accounts().await.len(), 1);
}

#[tokio::test]
async fn what_is_wrong_with_a_call_inside_is_its_own_answer() {
    let world = World::start().await;
    let ada = world.make_user("ada@shop.example").await;
    let token = world.token("ada@shop.example").await;
    let endpoints = world.sandbox.endpoints();
    let client = json!({"client_id": endpoints.client_id, "client_secret": endpoints.client_secret});
    let mut nested = client.clone();
    nested["calls"] = json!([]);
    let answers = batch(
        &world,
        json!([
            {"call": "/user"},
            {"call": "/user", "authorization": "a\nb"},
            {"call": "/user", "authorization": "junk"},
            {"call": "/null", "authorization": token},
            {"call": "/v2/user", "authorization": token},
            {"call": "user", "authorization": token},
            {"call": "/oauth2/authorize", "parameters": client},
            {"call": "/batch/create", "parameters": nested},
            {"call": "/user", "authorization": token, "parameters": {"cvv": 1}},
            {"call": "/user", "authorization": token, "parameters": "x"},
            {"call": "/app"},
            {"call": "/app", "authorization": "None", "parameters": client},
            {"call": "/user", "authorization": token},
        ]),
    )
    .await;
    let codes: Vec<u64> = answers.iter().take(11).map(code).collect();
    assert_eq!(codes, [1002, 1002, 1006, 1001, 1001, 1001, 1001, 1003, 1003, 1005, 1004]);
    assert_eq!(answers[0]["response"]["error"], "access_denied");
    assert_eq!(answers[0]["response"].as_object().unwrap().len(), 3);
    assert_eq!(answers[11]["response"]["state"], "active");
    assert_eq!(answers[12]["response"]["user_id"], ada);
}

#[tokio::test]
async fn the_version_of_a_batch_is_that_of_its_calls() {
    let world = World::start().await;
    let endpoints = world.sandbox.endpoints();
    let calls = json!([{"call": "/user"}]);
    let body = json!({"client_id": endpoints.client_id, "client_secret": endpoints.client_secret, "calls": calls});
    let answer = world.send(world.post("/batch/create", &body).header("api-version", "2019-04-03")).await;
    assert_eq!(answer.json()["calls"][0]["response"].as_object().unwrap().len(), 5);
}

#[tokio::test]
async fn a_batch_that_cannot_be_read_makes_none_of_its_calls() {
    let world = World::start().await;
    world.make_user("ada@shop.example").await;
    let token = world.token("ada@shop.example").await;
    let create =
        json!({"call": "/account/create", "authorization": token, "parameters": {"name": "A", "description": "B"}});
    for (wrong, text) in [
        (json!(1), "Parameter 'calls[1]' expected object"),
        (json!({"call": 1}), "Parameter 'calls[1].call' expected string"),
        (json!({"reference_id": "x"}), "calls[1].call parameter is required"),
        (json!({"call": "/user", "token": "x"}), "calls[1].token parameter is unexpected"),
        (json!({"call": "/user", "reference_id": {}}), "Parameter 'calls[1].reference_id' expected string"),
    ] {
        let answer = batch_answer(&world, json!([create, wrong])).await;
        assert_eq!((answer.status, answer.json()["error_description"].as_str().unwrap()), (400, text));
    }
    let many = |count| Value::Array(vec![create.clone(); count]);
    let answer = batch_answer(&world, many(51)).await;
    assert_eq!(answer.refusal(), (400, "invalid_request".to_owned(), 1003));
    assert_eq!(batch_answer(&world, json!("x")).await.json()["error_description"], "Parameter 'calls' expected array");
    let body = json!({"client_id": world.sandbox.endpoints().client_id, "client_secret": "x", "calls": [create]});
    assert_eq!(world.send(world.post("/batch/create", &body)).await.refusal().1, "invalid_client");
    assert_eq!(world.accounts().await.len(), 0);
    assert_eq!(batch(&world, many(50)).await.len(), 50);
    assert_eq!(world.accounts().await.len(), 50);
    assert_eq!(batch(&world, json!([])).await.len(), 0);
}

#[tokio::test]
async fn the_call_log_has_each_call_of_a_batch_and_says_so() {
    let world = World::start().await;
    let ada = world.make_user("ada@shop.example").await;
    let token = world.token("ada@shop.example").await;
    batch(&world, json!([{"call": "/user", "authorization": token}, {"call": "/account", "authorization": token}]))
        .await;
    let all = world.control("GET", "/calls", Value::Null).await;
    let last: Vec<&Value> = all["calls"].as_array().unwrap().iter().rev().take(3).collect();
    let [outer, second, first] = last[..] else { panic!("{all}") };
    assert_eq!((&outer["path"], outer.get("in_batch")), (&json!("/v2/batch/create"), None));
    assert_eq!((&first["path"], &first["status"], &first["user_id"]), (&json!("/v2/user"), &json!(200), &json!(ada)));
    assert_eq!((&second["status"], &second["error_code"]), (&json!(400), &json!(1004)));
    assert_eq!((&first["in_batch"], &second["in_batch"]), (&outer["seq"], &outer["seq"]));
    let numbers = [first, second, outer].map(|call| call["seq"].as_u64().unwrap());
    assert!(numbers[0] + 1 == numbers[1] && numbers[1] + 1 == numbers[2], "{numbers:?}");
    assert!(!all.to_string().contains(&token));
}

#[tokio::test]
async fn what_a_batch_did_is_there_after_a_lost_answer_and_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::with(options(Some(dir.path()))).await;
    world.make_user("ada@shop.example").await;
    let token = world.token("ada@shop.example").await;
    world.fault(json!({"path": "/batch/create", "kind": "lose_after"})).await;
    let create =
        json!({"call": "/account/create", "authorization": token, "parameters": {"name": "A", "description": "B"}});
    let endpoints = world.sandbox.endpoints();
    let body =
        json!({"client_id": endpoints.client_id, "client_secret": endpoints.client_secret, "calls": [create, create]});
    assert!(world.try_send(world.post("/batch/create", &body)).await.is_err());
    world.sandbox.stop().await;
    let world = World::with(options(Some(dir.path()))).await;
    assert_eq!(world.accounts().await.len(), 2);
    assert_eq!(world.calls("/account/create").await.len(), 2);
}

#[tokio::test]
async fn a_form_can_carry_a_batch() {
    let world = World::start().await;
    let endpoints = world.sandbox.endpoints();
    let (id, secret) = (&endpoints.client_id, &endpoints.client_secret);
    let body = format!(
        "client_id={id}&client_secret={secret}&calls[0][call]=/app&calls[0][parameters][client_id]={id}\
         &calls[0][parameters][client_secret]={secret}&calls[1][call]=/user&calls[1][reference_id]=b"
    );
    let post =
        world.client.post(world.url("/batch/create")).header("content-type", "application/x-www-form-urlencoded");
    let answer = world.send(post.body(body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let calls = answer.json()["calls"].clone();
    assert_eq!(calls[0]["response"]["client_id"].to_string(), *id);
    assert_eq!((code(&calls[1]), &calls[1]["reference_id"]), (1002, &json!("b")));
}

#[tokio::test]
async fn a_batch_counts_as_one_call_however_many_it_has() {
    let world = World::start().await;
    world.make_user("ada@shop.example").await;
    let token = world.token("ada@shop.example").await;
    let limits = json!({"throttle": "sliding", "throttle_calls": 2, "throttle_window_s": 86_400});
    world.control("POST", "/settings", limits).await;
    let calls = Value::Array(vec![json!({"call": "/user", "authorization": token}); 50]);
    for _ in 0..2 {
        let answers = batch(&world, calls.clone()).await;
        assert!(answers.iter().all(|answer| answer["response"]["user_id"].is_u64()));
    }
    let throttled = batch_answer(&world, calls).await;
    assert_eq!((throttled.refusal().1.as_str(), throttled.refusal().2), ("throttle_exceeded", 1007));
    assert_eq!(world.user(&token).await.refusal().2, 1007);
    assert_eq!(world.calls("/user").await.len(), 101, "the third batch made none of its calls");
}
