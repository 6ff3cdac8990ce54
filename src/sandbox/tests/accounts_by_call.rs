//! The account calls beside create, look-up, find and modify.

use serde_json::{Value, json};

use super::support::{Answer, World};

async fn shop() -> (World, String, Value) {
    let world = World::start().await;
    world.make_user("ada@shop.example").await;
    let token = world.token("ada@shop.example").await;
    let id = make(&world, &token).await;
    (world, token, id)
}

async fn make(world: &World, token: &str) -> Value {
    let body = json!({"name": "Ada's Shop", "description": "Bread"});
    world.ok(token, "/account/create", body).await["account_id"].clone()
}

fn text(answer: &Answer) -> String {
    answer.json()["error_description"].as_str().unwrap_or_default().to_owned()
}

/// Every call of one account, with parameters that it takes.
fn calls(id: &Value) -> Vec<(&'static str, Value)> {
    let with = |more: Value| {
        let mut body = json!({"account_id": id});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let check = json!({"settlement_bank_id": 1});
    vec![
        ("/account", with(json!({}))),
        ("/account/delete", with(json!({"reason": "r"}))),
        ("/account/get_reserve_details", with(json!({"currency": "USD"}))),
        ("/account/get_update_uri", with(json!({"mode": "iframe"}))),
        ("/account/kyc", with(json!({}))),
        ("/account/kyc/modify", with(json!({"file_ids": [1]}))),
        ("/account/membership/create", with(json!({"member_access_token": "x"}))),
        ("/account/membership/modify", with(json!({"user_id": 1, "role": "member"}))),
        ("/account/membership/remove", with(json!({"user_id": 1}))),
        ("/account/modify", with(json!({"name": "N"}))),
        ("/account/request_review", with(json!({}))),
        ("/account/settlement_setup", with(json!({"settlement_method": check, "frequency": "weekly"}))),
    ]
}

#[tokio::test]
async fn every_call_needs_its_scope_an_account_of_the_user_and_parameters_that_it_knows() {
    let (world, token, id) = shop().await;
    world.permit(&["kyc", "settlement"]);
    let (_, bob) = world.register("bob@shop.example").await;
    for (call, body) in calls(&id) {
        let missing = world.call(&token, call, json!({})).await;
        assert_eq!(
            (missing.refusal().2, text(&missing)),
            (1004, "account_id parameter is required".to_owned()),
            "{call}"
        );
        let mut unknown = body.clone();
        unknown["colour"] = json!("red");
        assert_eq!(text(&world.call(&token, call, unknown).await), "colour parameter is unexpected", "{call}");
        if call != "/account/membership/create" {
            assert_eq!(world.call(&bob, call, body).await.refusal(), (401, "access_denied".to_owned(), 3002), "{call}");
        }
    }
    let code = world.code_with("ada@shop.example", "view_user,collect_payments").await;
    let narrow = world.exchange(&code).await.json()["access_token"].as_str().unwrap().to_owned();
    for (call, body) in calls(&id).into_iter().chain([("/account/kyc/authorize", json!({"kyc_id": 1}))]) {
        assert!(text(&world.call(&narrow, call, body).await).ends_with("required: manage_accounts"), "{call}");
    }
}

#[tokio::test]
async fn what_needs_a_permission_is_refused_without_it() {
    let (world, token, id) = shop().await;
    let individual = json!({"client_id": world.sandbox.endpoints().client_id, "account_id": id, "individual": {}});
    let setup = json!({"account_id": id, "settlement_method": {"settlement_bank_id": 1}, "frequency": "weekly"});
    for (call, body) in [
        ("/account/kyc", json!({"account_id": id})),
        ("/account/kyc/authorize", json!({"kyc_id": 1})),
        ("/account/kyc/create", individual),
        ("/account/kyc/modify", json!({"account_id": id, "file_ids": [1]})),
        ("/account/settlement_setup", setup),
        ("/account/get_update_uri", json!({"account_id": id, "prefill_info": {"email": "a@b.example"}})),
        ("/account/modify", json!({"account_id": id, "fee_schedule_slot": 1})),
        ("/account/create", json!({"name": "A", "description": "B", "country": "GB"})),
    ] {
        assert_eq!(world.call(&token, call, body).await.refusal(), (401, "access_denied".to_owned(), 1010), "{call}");
    }
}

#[tokio::test]
async fn wrong_parameters_are_told_before_a_foreign_account_and_that_before_its_state() {
    let (world, token, id) = shop().await;
    let (_, bob) = world.register("bob@shop.example").await;
    world.to_account(&id, "state", json!({"state": "deleted"})).await;
    let long = "x".repeat(256);
    for (call, name) in
        [("/account/delete", "reason"), ("/account/get_update_uri", "mode"), ("/account/modify", "name")]
    {
        let mut body = json!({"account_id": id});
        body[name] = json!(long);
        assert_eq!(world.call(&bob, call, body.clone()).await.refusal().2, 1003, "{call}");
        body[name] = Value::Null;
        assert_eq!(world.call(&bob, call, body.clone()).await.refusal().2, 3002, "{call}");
        assert_eq!(world.call(&token, call, body).await.refusal().2, 3003, "{call}");
    }
}

#[tokio::test]
async fn an_account_is_deleted_once_and_only_when_it_is_empty() {
    let (world, token, id) = shop().await;
    let delete = async || world.call(&token, "/account/delete", json!({"account_id": id, "reason": "moved"})).await;
    for (act, body) in [("payments", json!({"amount": 3})), ("payments", json!({"amount": 1, "pending": true}))] {
        world.to_account(&id, act, body).await;
        assert_eq!(delete().await.refusal().2, 1003);
        world.to_account(&id, "withdraw", Value::Null).await;
    }
    let long = json!({"account_id": id, "reason": "x".repeat(256)});
    assert_eq!(world.call(&token, "/account/delete", long).await.refusal().2, 1003);
    assert_eq!(delete().await.json(), json!({"account_id": id, "state": "deleted"}));
    assert_eq!(delete().await.refusal(), (400, "invalid_request".to_owned(), 3003));
    assert_eq!(world.accounts().await[0]["delete_reason"], "moved");
    world.permit(&["kyc", "settlement"]);
    for (call, body) in calls(&id) {
        let answer = world.call(&token, call, body).await;
        let looks = ["/account", "/account/get_reserve_details"].contains(&call);
        let code = answer.json()["error_code"].clone();
        assert!(
            if looks { answer.status == 200 } else { code == 3003 || call.contains("membership/create") },
            "{call}"
        );
    }
    let (_, bob) = world.register("bob@shop.example").await;
    let pending = make(&world, &bob).await;
    assert_eq!(world.call(&bob, "/account/delete", json!({"account_id": pending})).await.status, 200);
}

#[tokio::test]
async fn the_update_page_is_named_as_recorded_and_not_for_pending_accounts() {
    let (world, token, id) = shop().await;
    let host = world.sandbox.endpoints().ui.strip_suffix("/v2").unwrap().to_owned();
    let page = format!("{host}/api/account_update/{id}");
    let redirect = "https://shop.example/back?a=b c";
    let encoded = "redirect_uri=https%3A%2F%2Fshop.example%2Fback%3Fa%3Db+c";
    for (body, uri) in [
        (json!({"account_id": id}), page.clone()),
        (json!({"account_id": id, "mode": "regular"}), page.clone()),
        (json!({"account_id": id, "mode": "iframe"}), format!("{page}?iframe=1")),
        (json!({"account_id": id, "mode": "iframe", "redirect_uri": redirect}), format!("{page}?iframe=1&{encoded}")),
        (json!({"account_id": id, "redirect_uri": redirect}), format!("{page}?{encoded}")),
    ] {
        let answer = world.call(&token, "/account/get_update_uri", body).await;
        assert_eq!(answer.json(), json!({"account_id": id, "uri": uri}));
        assert!(answer.text.contains(r"\/api\/account_update\/"), "{}", answer.text);
    }
    for (name, value) in [("mode", json!("popup")), ("redirect_uri", json!("/back"))] {
        let mut body = json!({"account_id": id});
        body[name] = value;
        assert_eq!(world.call(&token, "/account/get_update_uri", body).await.refusal().2, 1003);
    }
    let (_, bob) = world.register("bob@shop.example").await;
    let pending = make(&world, &bob).await;
    let answer = world.call(&bob, "/account/get_update_uri", json!({"account_id": pending})).await;
    assert_eq!(answer.refusal(), (401, "access_denied".to_owned(), 7002));
    assert_eq!(text(&answer), "pending account cannot be updated; account owner must confirm WePay registration");
    world.permit(&["prefill_info"]);
    let prefill = json!({"email": "ada@shop.example", "name": {"first": "Ada", "last": "Low"}});
    let body = json!({"account_id": id, "prefill_info": prefill});
    assert_eq!(world.ok(&token, "/account/get_update_uri", body).await["uri"], page.as_str());
    assert_eq!(world.accounts().await[0]["prefill_info"], prefill);
    let wrong = json!({"account_id": id, "prefill_info": {"shoe_size": 38}});
    assert_eq!(text(&world.call(&token, "/account/get_update_uri", wrong).await), "shoe_size parameter is unexpected");
}

#[tokio::test]
async fn reserves_of_an_empty_account_are_as_recorded() {
    let (world, token, id) = shop().await;
    let answer = world.ok(&token, "/account/get_reserve_details", json!({"account_id": id.to_string()})).await;
    let time = answer["withdrawals_schedule"][0]["time"].clone();
    assert!(time.is_i64());
    let schedule = json!([{"time": time, "amount": 0}]);
    let recorded = json!({"account_id": id, "currency": "USD", "reserved_amount": 0, "withdrawals_schedule": schedule});
    assert_eq!(answer, recorded);
    let other = json!({"account_id": id, "currency": "CAD"});
    assert_eq!(world.call(&token, "/account/get_reserve_details", other).await.refusal().2, 1003);
}

#[tokio::test]
async fn settlement_needs_identity_and_makes_a_review_possible() {
    let (world, token, id) = shop().await;
    world.permit(&["settlement"]);
    let setup = async |method: Value, frequency: &str| {
        let body = json!({"account_id": id, "settlement_method": method, "frequency": frequency});
        world.call(&token, "/account/settlement_setup", body).await
    };
    let bank = json!({"settlement_bank_id": 123_102});
    assert_eq!(setup(bank.clone(), "weekly").await.refusal().2, 3007);
    let review = async || world.call(&token, "/account/request_review", json!({"account_id": id})).await;
    assert_eq!(review().await.refusal().2, 3008);
    world.to_account(&id, "kyc", json!({"state": "verified"})).await;
    let address =
        json!({"address1": "1 Street", "city": "Town", "region": "CA", "postal_code": "94025", "country": "US"});
    let check = json!({"send_check_to_address": address});
    assert_eq!(setup(check.clone(), "daily").await.refusal().2, 1003);
    assert_eq!(setup(check.clone(), "monthly").await.json(), json!({"method": "check", "frequency": "monthly"}));
    let balance = world.ok(&token, "/account", json!({"account_id": id})).await["balances"][0].clone();
    assert_eq!(
        (&balance["withdrawal_type"], &balance["withdrawal_bank_name"]),
        (&json!("check"), &json!("Ada's Shop"))
    );
    assert_eq!(setup(bank.clone(), "daily").await.json(), json!({"method": "ach", "frequency": "daily"}));
    let account = world.ok(&token, "/account", json!({"account_id": id})).await;
    assert_eq!((&account["state"], &account["action_reasons"]), (&json!("active"), &json!([])));
    assert_eq!(account["balances"][0]["withdrawal_bank_name"], "Sandbox Bank XXXXX3102");
    for (method, frequency) in [
        (json!({}), "weekly"),
        (json!({"settlement_bank_id": 1, "send_check_to_address": address}), "weekly"),
        (json!({"send_check_to_address": {"address1": "x".repeat(61)}}), "weekly"),
        (json!({"settlement_bank_id": "x"}), "weekly"),
        (bank, "yearly"),
    ] {
        assert_eq!(setup(method.clone(), frequency).await.refusal().2, 1003, "{method} {frequency}");
    }
    assert_eq!(text(&setup(json!({"send_check_to_address": {}}), "weekly").await), "address1 parameter is required");
    let reviewed = review().await.json()["statuses"][0]["account_review_status"].clone();
    assert_eq!(reviewed, "pending");
    world.to_account(&id, "review", json!({"state": "review_ok"})).await;
    assert_eq!(review().await.json()["statuses"][0]["account_review_status"], "review_ok");
}

fn owner() -> Value {
    json!({
        "name": {"first": "Ada", "last": "Low"}, "email": "ada@shop.example",
        "date_of_birth": {"year": 1990, "month": 1, "day": 2}, "address": {"country": "US"},
        "phone": {"country_code": "1", "phone_number": "5550100"},
        "us_owner_compliance": {"social_security_number_last_4": "6789"},
    })
}

#[tokio::test]
async fn a_name_of_an_identity_is_never_cut_off() {
    let (world, token, id) = shop().await;
    world.permit(&["kyc"]);
    let client_id = world.sandbox.endpoints().client_id.clone();
    let create = async |name: &str, length: usize| {
        let mut owner = owner();
        owner["name"][name] = json!("x".repeat(length));
        let body = json!({"client_id": client_id, "account_id": id, "individual": {"account_owner": owner}});
        let request = world.post("/account/kyc/create", &body).header("authorization", format!("Bearer {token}"));
        let request = request.header("wepay-risk-token", "123e4567-e89b-12d3-a456-426614174000");
        world.send(request.header("client-ip", "203.0.113.7")).await
    };
    for name in ["first", "middle", "last"] {
        assert_eq!(text(&create(name, 36).await), format!("{name} must be at most 35 characters"));
    }
    assert_eq!(create("last", 35).await.status, 200);
    let shown = world.ok(&token, "/account/kyc", json!({"account_id": id})).await;
    assert_eq!(shown["legal_name"]["last"], "x".repeat(35));
}

#[tokio::test]
async fn identity_by_call_is_given_once_authorized_and_looked_up() {
    let (world, token, id) = shop().await;
    world.permit(&["kyc"]);
    let risk = "123e4567-e89b-12d3-a456-426614174000";
    let client_id = world.sandbox.endpoints().client_id.clone();
    let create = async |body: &Value, headers: [(&'static str, &str); 2]| {
        let mut request = world.post("/account/kyc/create", body).header("authorization", format!("Bearer {token}"));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        world.send(request).await
    };
    let state = async || world.ok(&token, "/account/kyc", json!({"account_id": id})).await;
    let nothing = json!({"account_id": id, "state": "unsubmitted", "supporting_documents": [], "legal_name": null});
    assert_eq!(state().await, nothing);
    let body = json!({"client_id": client_id, "account_id": id, "individual": {"account_owner": owner()}});
    let good = [("wepay-risk-token", risk), ("client-ip", "203.0.113.7")];
    for (headers, code) in [
        ([("x-a", "b"), ("client-ip", "203.0.113.7")], 1002),
        ([("wepay-risk-token", risk), ("x-a", "b")], 1002),
        ([("wepay-risk-token", "123"), ("client-ip", "203.0.113.7")], 1003),
        ([("wepay-risk-token", risk), ("client-ip", "here")], 1003),
    ] {
        assert_eq!(create(&body, headers).await.refusal().2, code);
    }
    let entity = json!({"account_owner": owner(), "legal_entity_name": "Ada Ltd"});
    for (change, code) in [
        (json!({"business": entity}), 1003),
        (json!({"individual": null}), 1003),
        (json!({"individual": {}}), 3012),
        (json!({"individual": null, "business": entity}), 1004),
        (json!({"individual": {"account_owner": {"name": {"first": "Ada", "last": "Low"}}}}), 1004),
        (json!({"individual": {"account_owner": owner(), "shoe_size": 38}}), 1003),
        (json!({"client_id": 1}), 1003),
    ] {
        let mut wrong = body.clone();
        wrong.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        assert_eq!(create(&wrong, good).await.refusal().2, code, "{change}");
    }
    assert_eq!(state().await, nothing);
    let kyc_id = create(&body, good).await.json()["kyc_id"].clone();
    assert_eq!(state().await["state"], "unverified");
    assert_eq!(create(&body, good).await.refusal().2, 3006);
    assert_eq!(world.call(&token, "/account/kyc/authorize", json!({"kyc_id": 1})).await.refusal().2, 1003);
    let done = world.ok(&token, "/account/kyc/authorize", json!({"kyc_id": kyc_id})).await;
    assert_eq!(done, state().await);
    let name = json!({"first": "Ada", "middle": null, "last": "Low"});
    assert_eq!((&done["state"], &done["legal_name"]), (&json!("verified"), &name));
    assert_eq!(world.call(&token, "/account/kyc/authorize", json!({"kyc_id": kyc_id})).await.refusal().2, 3006);
    assert_eq!(
        world.ok(&token, "/account", json!({"account_id": id})).await["action_reasons"],
        json!(["bank_account"])
    );
    let files = json!({"account_id": id, "file_ids": [1]});
    assert_eq!(world.call(&token, "/account/kyc/modify", files.clone()).await.refusal().2, 3010);
    world.to_account(&id, "kyc", json!({"state": "require_docs"})).await;
    assert_eq!(world.call(&token, "/account/kyc/modify", files).await.refusal().2, 3011);
}

#[tokio::test]
async fn members_may_look_or_change_and_the_owner_alone_says_who() {
    let (world, token, id) = shop().await;
    let (bob, bobs) = world.register("bob@shop.example").await;
    let create = async |role: Value| {
        let body = json!({"account_id": id, "member_access_token": bobs, "role": role});
        world.call(&token, "/account/membership/create", body).await
    };
    assert_eq!(create(json!("king")).await.refusal().2, 1003);
    assert_eq!(create(Value::Null).await.json(), json!({"account_id": id, "user_id": bob, "role": "moderator"}));
    let rename = json!({"account_id": id, "name": "Bob was here"});
    assert_eq!(world.ok(&bobs, "/account/modify", rename.clone()).await["name"], "Bob was here");
    assert_eq!(world.call(&bobs, "/account/delete", json!({"account_id": id})).await.refusal().2, 3002);
    let modify = async |token: &str, role: &str, context: Value| {
        let body = json!({"account_id": id, "user_id": bob, "role": role, "admin_context": context});
        world.call(token, "/account/membership/modify", body).await
    };
    assert_eq!(modify(&bobs, "member", Value::Null).await.refusal(), (401, "access_denied".to_owned(), 3302));
    assert_eq!(modify(&token, "member", Value::Null).await.json()["role"], "member");
    assert_eq!(world.call(&bobs, "/account/modify", rename).await.refusal().2, 3002);
    world.ok(&bobs, "/account", json!({"account_id": id})).await;
    assert_eq!(world.ok(&bobs, "/account/find", json!({})).await, json!([]), "what one owns");
    assert_eq!(modify(&token, "admin", Value::Null).await.refusal().2, 1004);
    assert_eq!(modify(&token, "admin", json!({"reason": "other"})).await.refusal().2, 1004);
    assert_eq!(modify(&token, "admin", json!({"reason": "beneficiary"})).await.refusal().2, 7002, "not confirmed");
    world.control("POST", &format!("/users/{bob}/confirm"), Value::Null).await;
    assert_eq!(modify(&token, "admin", json!({"reason": "beneficiary"})).await.json()["role"], "admin");
    let owner = world.ok(&token, "/account", json!({"account_id": id})).await["owner_user_id"].clone();
    assert_ne!(owner, json!(bob), "nobody has reviewed it");
    world.to_account(&id, "payments", json!({"amount": 1})).await;
    world.to_account(&id, "withdraw", Value::Null).await;
    assert_eq!(modify(&token, "admin", json!({"reason": "beneficiary"})).await.refusal().2, 3306);
    let remove = async |user_id: Value| {
        world.call(&token, "/account/membership/remove", json!({"account_id": id, "user_id": user_id})).await
    };
    assert_eq!(remove(owner).await.refusal().2, 1003);
    assert_eq!(remove(json!(bob)).await.json(), json!({"account_id": id, "user_id": bob, "role": "admin"}));
    assert_eq!(remove(json!(bob)).await.refusal().2, 7001);
    assert_eq!(world.call(&bobs, "/account", json!({"account_id": id})).await.refusal().2, 3002);
    let unknown = json!({"account_id": id, "member_access_token": "STAGE_0"});
    assert_eq!(world.call(&token, "/account/membership/create", unknown).await.refusal().2, 1003);
}

#[tokio::test]
async fn countries_and_fee_schedules_come_with_permissions() {
    let (world, token, id) = shop().await;
    world.permit(&["country_ca", "country_gb", "fee_schedule"]);
    for (country, currency) in [("CA", "CAD"), ("GB", "GBP")] {
        let options = json!({"debit_opt_in": true});
        let body = json!({"name": "A", "description": "B", "country": country, "country_options": options});
        let made = world.ok(&token, "/account/create", body).await;
        assert_eq!((&made["country"], &made["currencies"]), (&json!(country), &json!([currency])));
        assert_eq!(made["balances"][0]["currency"], currency);
    }
    let set = async |slot: Value| {
        world.ok(&token, "/account/modify", json!({"account_id": id, "fee_schedule_slot": slot})).await
    };
    let fees = set(json!(0)).await["fee_schedule"].clone();
    assert_eq!(fees, json!([{"slot": 1, "description": "2.9% + $0.30", "currency": "USD"}]));
    assert_eq!(world.ok(&token, "/account/modify", json!({"account_id": id, "name": "N"})).await["fee_schedule"], fees);
    assert!(set(Value::Null).await.get("fee_schedule").is_none());
}

#[tokio::test]
async fn the_number_of_a_taken_reference_id_is_a_setting() {
    let (world, token, _) = shop().await;
    let body = json!({"name": "A", "description": "B", "reference_id": "r"});
    world.ok(&token, "/account/create", body.clone()).await;
    assert_eq!(world.call(&token, "/account/create", body.clone()).await.refusal().2, 1003);
    world.control("POST", "/settings", json!({"codes": {"duplicate_reference_id": 1008}})).await;
    assert_eq!(world.call(&token, "/account/create", body).await.refusal().2, 1008);
}
