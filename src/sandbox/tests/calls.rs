//! What all calls have in common, and the calls of users: order of checks, errors, versions, single sign-on.

use serde_json::{Value, json};

use super::support::{Answer, Browser, PASSWORD, SCOPES, World};

/// A call of `GET /control/api`.
struct Call {
    name: String,
    scope: Option<String>,
    is_client: bool,
    has_permission: bool,
    required: Vec<String>,
}

/// All calls whose parameters the sandbox names.
async fn calls(world: &World) -> Vec<Call> {
    let all = world.control("GET", "/api", Value::Null).await;
    let named = all["calls"].as_array().unwrap().iter().filter(|call| call["parameters"].is_object());
    let calls: Vec<Call> = named
        .map(|call| Call {
            name: call["call"].as_str().unwrap().to_owned(),
            scope: call["scope"].as_str().map(str::to_owned),
            is_client: call["auth"] == "client",
            has_permission: call["permission"].is_string(),
            required: serde_json::from_value(call["parameters"]["required"].clone()).unwrap(),
        })
        .collect();
    assert!(calls.len() > 30);
    calls
}

async fn send(world: &World, call: &str, token: &str, version: &str, body: String) -> Answer {
    let mut request = world.client.post(world.url(call)).header("api-version", version).body(body);
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    world.send(request).await
}

/// A text for each required parameter but those that `but` names.
fn values(call: &Call, but: &[&str]) -> serde_json::Map<String, Value> {
    let wanted = call.required.iter().filter(|name| !but.contains(&name.as_str()));
    wanted.map(|name| (name.clone(), json!({"wrong": "type"}))).collect()
}

#[tokio::test]
async fn every_call_checks_in_the_same_order() {
    let world = World::start().await;
    world.make_user("ada@shop.example").await;
    world.make_user("bob@shop.example").await;
    let endpoints = world.sandbox.endpoints().clone();
    let code = world.code_with("bob@shop.example", "refund_payments").await;
    let narrow = world.exchange(&code).await.json()["access_token"].as_str().unwrap().to_owned();
    let token = world.token("ada@shop.example").await;
    let path = format!("/apps/{}", endpoints.client_id);
    let all = json!({"permissions": ["sso", "kyc", "settlement"]});
    world.control("POST", &path, all.clone()).await;
    let settings = |on: bool| json!({"headers_required": on, "strict_versions": on});
    for call in calls(&world).await {
        let name = call.name.as_str();
        let refused =
            async |token: &str, version: &str, body: String| send(&world, name, token, version, body).await.refusal().2;
        world.control("POST", "/settings", settings(true)).await;
        assert_eq!(refused("", "1999-01-01", "{".to_owned()).await, 1002, "{name}: headers come first");
        world.control("POST", "/settings", settings(false)).await;
        assert_eq!(refused("", "1999-01-01", "{".to_owned()).await, 1015, "{name}: then the version");
        assert_eq!(refused("", "2019-04-03", "{".to_owned()).await, 1005, "{name}: then the body");
        let mut body = values(&call, &[]);
        body.insert("cvv".to_owned(), json!(1));
        let text = |body: &serde_json::Map<String, Value>| Value::Object(body.clone()).to_string();
        let token = if call.is_client { "" } else { token.as_str() };
        if call.is_client {
            assert_eq!(refused("", "2019-04-03", text(&body)).await, 1004, "{name}: then who calls");
            body.insert("client_id".to_owned(), json!(endpoints.client_id));
            body.insert("client_secret".to_owned(), json!("x"));
            let answer = send(&world, name, "", "2019-04-03", text(&body)).await;
            assert_eq!(answer.refusal(), (401, "invalid_client".to_owned(), 1003), "{name}: then who calls");
            body.insert("client_secret".to_owned(), json!(endpoints.client_secret));
        } else {
            assert_eq!(refused("", "2019-04-03", text(&body)).await, 1002, "{name}: then who calls");
            assert_eq!(refused("junk", "2019-04-03", text(&body)).await, 1006, "{name}: then who calls");
            if let Some(scope) = &call.scope {
                let answer = send(&world, name, &narrow, "", text(&body)).await;
                assert_eq!(answer.refusal(), (401, "access_denied".to_owned(), 1010), "{name}: then the scope");
                let description = answer.json()["error_description"].as_str().unwrap().to_owned();
                assert!(description.ends_with(&format!("Permission required: {scope}")), "{description}");
            }
        }
        if call.has_permission {
            world.control("POST", &path, json!({"permissions": []})).await;
            let answer = send(&world, name, token, "", text(&body)).await;
            assert_eq!(answer.refusal(), (401, "access_denied".to_owned(), 1010), "{name}: then the permission");
            world.control("POST", &path, all.clone()).await;
        }
        let mut strange = body.clone();
        strange.retain(|parameter, _| !call.required.contains(parameter));
        let answer = send(&world, name, token, "", text(&strange)).await;
        assert_eq!(answer.json()["error_description"], "cvv parameter is unexpected", "{name}: then strangers");
        body.remove("cvv");
        for missing in &call.required {
            let mut body = body.clone();
            body.remove(missing);
            let answer = send(&world, name, token, "", text(&body)).await;
            assert_eq!(answer.refusal(), (400, "invalid_request".to_owned(), 1004), "{name} without {missing}");
            assert_eq!(answer.json()["error_description"], format!("{missing} parameter is required"));
        }
    }
}

#[tokio::test]
async fn only_a_write_that_was_done_sets_the_cookie() {
    let world = World::start().await;
    world.make_user("ada@shop.example").await;
    let token = world.token("ada@shop.example").await;
    let endpoints = world.sandbox.endpoints();
    let client = json!({"client_id": endpoints.client_id, "client_secret": endpoints.client_secret});
    let mut batch = client.clone();
    batch["calls"] = json!([]);
    let is_set = |answer: &Answer| answer.cookie.as_ref().is_some_and(|cookie| cookie.starts_with("wepay="));
    for (call, body) in [("/user/modify", json!({})), ("/app/modify", client.clone()), ("/batch/create", batch)] {
        let answer = world.call(&token, call, body).await;
        assert!(answer.status == 200 && is_set(&answer), "{call}: {}", answer.text);
        let refused = world.call(&token, call, json!({"cvv": 1})).await;
        assert!(refused.status != 200 && !is_set(&refused), "{call}");
    }
    for (call, body) in [("/user", json!({})), ("/app", client), ("/account/find", json!({}))] {
        let answer = world.call(&token, call, body).await;
        assert!(answer.status == 200 && !is_set(&answer), "{call}: {}", answer.text);
    }
}

#[tokio::test]
async fn the_throttle_stands_behind_the_route_and_before_all_else() {
    let world = World::start().await;
    world.make_user("ada@shop.example").await;
    let token = world.token("ada@shop.example").await;
    let limits =
        json!({"throttle": "sliding", "throttle_calls": 1, "throttle_window_s": 86_400, "headers_required": true});
    world.control("POST", "/settings", limits).await;
    let refused =
        async |call: &str, body: &str| send(&world, call, &token, "1999-01-01", body.to_owned()).await.refusal().2;
    assert_eq!(refused("/user", "{").await, 1002, "the one call that is free");
    assert_eq!(refused("/user", "{").await, 1007);
    assert_eq!(refused("/null", "{").await, 1001);
}

#[tokio::test]
async fn the_version_must_fit_the_app_before_anything_of_the_call_is_looked_at() {
    let world = World::start().await;
    world.make_user("ada@shop.example").await;
    let token = world.token("ada@shop.example").await;
    let endpoints = world.sandbox.endpoints().clone();
    let client = json!({"client_id": endpoints.client_id, "client_secret": endpoints.client_secret}).to_string();
    let code =
        async |version: &str| send(&world, "/user", &token, version, "{\"cvv\": 1}".to_owned()).await.refusal().2;
    assert_eq!(code("2011-01-15").await, 1003, "any known version goes as long as nobody is strict about it");
    world.control("POST", "/settings", json!({"strict_versions": true})).await;
    for (version, expected) in [
        ("", 1003),
        ("2018-03-21", 1003),
        ("2018-08-29", 1003),
        ("2018-10-03", 1016),
        ("2017-05-31", 1016),
        ("1", 1015),
    ] {
        assert_eq!(code(version).await, expected, "{version}");
    }
    let code_of_few = world.code_with("ada@shop.example", "refund_payments").await;
    let scopeless = world.exchange(&code_of_few).await.json()["access_token"].as_str().unwrap().to_owned();
    let narrow = send(&world, "/user", &scopeless, "2018-10-03", String::new()).await;
    assert_eq!(narrow.refusal().2, 1016, "before the scope");
    let app = send(&world, "/app", "", "2019-04-03", client.clone()).await;
    assert_eq!((app.refusal().2, app.json().as_object().unwrap().len()), (1016, 5));
    let nobody = send(&world, "/app", "", "2019-04-03", "{}".to_owned()).await;
    assert_eq!(nobody.refusal().2, 1004, "without an app there is nothing to compare with");
    world.control("POST", &format!("/apps/{}", endpoints.client_id), json!({"api_version": "2019-04-03"})).await;
    assert_eq!(send(&world, "/app", "", "2019-04-03", client.clone()).await.status, 200);
    assert_eq!(send(&world, "/app", "", "2018-10-03", client).await.refusal().2, 1016);
}

#[tokio::test]
async fn headers_are_required_only_where_the_settings_say_so() {
    let world = World::start().await;
    world.make_user("ada@shop.example").await;
    let token = world.token("ada@shop.example").await;
    let request = || world.client.post(world.url("/user")).header("authorization", format!("Bearer {token}"));
    assert_eq!(world.send(request().body("{}")).await.status, 200);
    world.control("POST", "/settings", json!({"headers_required": true})).await;
    let answer = world.send(request().body("{}")).await;
    assert_eq!(answer.json()["error_description"], "the User-Agent header is required");
    let answer = world.send(request().header("user-agent", "x").body("{}")).await;
    assert_eq!(answer.refusal(), (401, "access_denied".to_owned(), 1002));
    assert_eq!(answer.json()["error_description"], "the Content-Type header is required");
    assert_eq!(world.send(request().header("user-agent", "x")).await.status, 200, "nothing has no type");
    let whole = request().header("user-agent", "x").header("content-type", "application/json").body("{}");
    assert_eq!(world.send(whole).await.status, 200);
}

#[tokio::test]
async fn errors_have_the_keys_of_the_version_in_force() {
    let world = World::start().await;
    world.make_user("ada@shop.example").await;
    let token = world.token("ada@shop.example").await;
    let path = format!("/apps/{}", world.sandbox.endpoints().client_id);
    world.control("POST", &path, json!({"api_version": "2018-10-03"})).await;
    let keys = async |token: &str, version: &str| {
        let answer = send(&world, "/user", token, version, "{\"cvv\": 1}".to_owned()).await.json();
        answer.as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    let three = ["error", "error_code", "error_description"];
    let five = ["details", "documentation_url", "error", "error_code", "error_description"];
    assert_eq!(keys(&token, "").await, five, "the dashboard's version");
    assert_eq!(keys(&token, "2018-03-21").await, three, "the header's goes first");
    assert_eq!(keys("junk", "").await, three, "whose dashboard it is, is not known yet");
    assert_eq!(keys("junk", "2018-08-29").await, five);
    world.control("POST", &path, json!({"api_version": "2018-03-21"})).await;
    assert_eq!(keys(&token, "").await, three);
    let unknown = send(&world, "/null", &token, "2019-04-03", String::new()).await.json();
    assert_eq!((unknown["details"].clone(), unknown.as_object().unwrap().len()), (json!([]), 5));
}

#[tokio::test]
async fn statuses_and_numbers_that_nobody_knows_are_settings() {
    let world = World::start().await;
    world.make_user("ada@shop.example").await;
    let token = world.token("ada@shop.example").await;
    let code = world.code("ada@shop.example").await;
    let spent = world.code("ada@shop.example").await;
    assert_eq!(world.exchange(&spent).await.status, 200);
    let (_, temporary) = world.register("eve@shop.example").await;
    world.advance(90 * 24 * 60 * 60).await;
    let fresh = world.code("ada@shop.example").await;
    let numbers = json!({
        "reused_code": 1101, "redirect_mismatch": 1102, "invalid_client": 1103, "invalid_scope": 1104,
        "duplicate_reference_id": 1105, "wrong_environment": 1106, "expired_token": 1006,
    });
    let statuses = json!({"1001": 404, "1011": 403, "1101": 409, "1006": 400});
    world.control("POST", "/settings", json!({"codes": numbers, "http_status": statuses})).await;
    assert_eq!(world.exchange(&spent).await.refusal(), (409, "invalid_request".to_owned(), 1101));
    let mut body = world.exchange_body(&fresh);
    body["redirect_uri"] = json!("http://127.0.0.1:9/else");
    assert_eq!(
        world.send(world.post("/oauth2/token", &body)).await.refusal(),
        (400, "invalid_request".to_owned(), 1102)
    );
    body["client_secret"] = json!("x");
    assert_eq!(
        world.send(world.post("/oauth2/token", &body)).await.refusal(),
        (401, "invalid_client".to_owned(), 1103)
    );
    let mut body = world.register_body("bob@shop.example");
    body["scope"] = json!("view_user");
    assert_eq!(
        world.send(world.post("/user/register", &body)).await.refusal(),
        (400, "invalid_scope".to_owned(), 1104)
    );
    let bob = {
        let issued = world.send(world.post("/user/register", &world.register_body("bob@shop.example"))).await.json();
        issued["access_token"].as_str().unwrap().to_owned()
    };
    let shop = json!({"name": "A", "description": "B", "reference_id": "r"});
    world.ok(&bob, "/account/create", shop.clone()).await;
    assert_eq!(world.call(&bob, "/account/create", shop).await.refusal().2, 1105);
    assert_eq!(world.user("PRODUCTION_00").await.refusal(), (401, "access_denied".to_owned(), 1106));
    let expired = world.user(&temporary).await;
    assert_eq!(expired.refusal(), (400, "access_denied".to_owned(), 1006));
    assert_eq!(expired.json()["error_description"], "a valid access_token is required");
    assert_eq!(world.user(&token).await.refusal(), (403, "access_denied".to_owned(), 1011));
    assert_eq!(world.send(world.post("/null", &json!({}))).await.refusal().0, 404);
    assert_eq!(world.exchange(&code).await.refusal().2, 1012, "what is not set stays");
}

#[tokio::test]
async fn the_recorded_user_is_met() {
    let world = World::start().await;
    let ada = world.make_user("ada@shop.example").await;
    let token = world.token("ada@shop.example").await;
    let user = async |version: &str| send(&world, "/user", &token, version, String::new()).await.json();
    let mut recorded = json!({
        "user_id": ada, "first_name": "Ada", "last_name": "Low", "user_name": "Ada Low", "email": "ada@shop.example",
        "state": "registered", "callback_uri": "",
    });
    for version in ["2016-08-10", "", "2019-04-03"] {
        assert_eq!(user(version).await, recorded, "{version}");
    }
    recorded.as_object_mut().unwrap().remove("callback_uri");
    for version in ["2011-01-15", "2014-01-08", "2016-07-13"] {
        assert_eq!(user(version).await, recorded, "{version}");
    }
}

#[tokio::test]
async fn the_user_has_rbit_ids_since_september_2015() {
    let world = World::start().await;
    let ada = world.make_user("ada@shop.example").await;
    let token = world.token("ada@shop.example").await;
    let said =
        json!({"type": "phone", "source": "user", "receive_time": 1_700_000_000, "properties": {"phone": "5550100"}});
    let modified = world.ok(&token, "/user/modify", json!({"rbits": [said]})).await;
    assert_eq!(modified["rbit_ids"].as_array().unwrap().len(), 1);
    let of = async |version: &str| send(&world, "/user", &token, version, String::new()).await.json();
    assert_eq!(of("").await, modified);
    for version in ["2011-01-15", "2014-01-08", "2015-08-15"] {
        assert!(of(version).await.get("rbit_ids").is_none(), "{version}");
    }
    for version in ["2015-09-09", "2019-04-03"] {
        assert_eq!(of(version).await["rbit_ids"], modified["rbit_ids"], "{version}");
    }
    let user = of("2015-08-15").await;
    assert_eq!(
        (&user["user_id"], &user["user_name"], user.get("callback_uri")),
        (&json!(ada), &json!("Ada Low"), None)
    );
    assert_eq!(user.as_object().unwrap().len(), 6);
}

#[tokio::test]
async fn registering_an_address_again_finds_its_user_in_whatever_state_until_it_is_deleted() {
    let world = World::start().await;
    let (ada, first) = world.register("ada@shop.example").await;
    let mut body = world.register_body("ADA@shop.example");
    body["first_name"] = json!("Eve");
    let again = world.send(world.post("/user/register", &body)).await.json();
    assert_eq!((again["user_id"].as_u64(), again["token_type"].as_str()), (Some(ada), Some("BEARER")));
    let user = world.user(again["access_token"].as_str().unwrap()).await.json();
    assert_eq!((&user["state"], &user["first_name"]), (&json!("pending"), &json!("Ada")), "the names stay");
    assert_eq!(world.user(&first).await.status, 200);
    world.control("POST", &format!("/users/{ada}/confirm"), Value::Null).await;
    let (registered, permanent) = world.register("ada@shop.example").await;
    assert_eq!(registered, ada);
    assert_eq!(world.user(&permanent).await.json()["state"], "registered");
    world.control("POST", &format!("/users/{ada}/delete"), Value::Null).await;
    assert_eq!(world.user(&permanent).await.refusal(), (401, "access_denied".to_owned(), 7003));
    let (other, token) = world.register("ada@shop.example").await;
    assert_ne!(other, ada, "a deleted user's address is free again");
    assert_eq!(world.user(&token).await.json()["state"], "pending");
}

/// An app that may sign people in itself.
async fn enabled() -> World {
    let world = World::start().await;
    let path = format!("/apps/{}", world.sandbox.endpoints().client_id);
    world.control("POST", &path, json!({"permissions": ["sso"]})).await;
    world
}

async fn register_sso(world: &World, email: &str) -> Answer {
    let mut body = world.register_body(email);
    body["type"] = json!("sso");
    world.send(world.post("/user/register", &body)).await
}

#[tokio::test]
async fn single_sign_on_needs_a_permission_and_second_factors_have_none() {
    let world = World::start().await;
    let denied = register_sso(&world, "ada@shop.example").await;
    assert_eq!(denied.refusal(), (401, "access_denied".to_owned(), 1010));
    let (_, token) = world.register("ada@shop.example").await;
    for call in ["/user/mark_email_verified", "/user/request_sso_token", "/user/logout"] {
        assert_eq!(world.call(&token, call, json!({})).await.refusal().2, 1010, "{call}");
    }
    let email = json!({"email": "b@shop.example"});
    assert_eq!(world.call(&token, "/user/change_email", email.clone()).await.refusal().2, 1010);
    let world = enabled().await;
    let (_, token) = world.register("ada@shop.example").await;
    assert_eq!(world.call(&token, "/user/change_email", email).await.refusal().2, 1010, "not registered so");
    assert_eq!(world.call(&token, "/user/mark_email_verified", json!({})).await.refusal().2, 1010, "not registered so");
    let names = ["create", "validate_cookie", "send_challenge", "send_default_challenge", "confirm", "find", "modify"];
    for name in names {
        let call = format!("/user/mfa/{name}");
        assert_eq!(world.call(&token, &call, json!({"mfa_id": 1})).await.refusal().2, 1010, "{call}");
        assert_eq!(world.send(world.post(&call, &json!({}))).await.refusal().2, 1002, "{call}");
    }
}

#[tokio::test]
async fn an_app_vouches_for_the_address_of_a_person_whom_it_signs_in() {
    let world = enabled().await;
    let issued = register_sso(&world, "ada@shop.example").await.json();
    assert_eq!(issued["expires_in"], 7_776_000);
    let token = issued["access_token"].as_str().unwrap();
    let account = world.ok(token, "/account/create", json!({"name": "A", "description": "B"})).await;
    assert_eq!(account["state"], "pending");
    let user = world.ok(token, "/user/mark_email_verified", json!({})).await;
    assert_eq!((&user["user_id"], &user["state"]), (&issued["user_id"], &json!("registered")));
    assert_eq!(world.user(token).await.json(), user);
    let account = world.ok(token, "/account", json!({"account_id": account["account_id"]})).await;
    assert_eq!(account["state"], "action_required");
    world.advance(91 * 24 * 60 * 60).await;
    assert_eq!(world.user(token).await.status, 200, "the token is permanent now");
}

#[tokio::test]
async fn an_address_is_changed_for_good_and_never_to_somebody_elses() {
    let world = enabled().await;
    world.make_user("bob@shop.example").await;
    let issued = register_sso(&world, "ada@shop.example").await.json();
    let (ada, token) = (issued["user_id"].as_u64().unwrap(), issued["access_token"].as_str().unwrap());
    let change =
        async |email: &str| world.call(token, "/user/change_email", json!({"email": email, "cookie": "x"})).await;
    assert_eq!(change("bob@shop.example").await.refusal(), (400, "invalid_request".to_owned(), 1003));
    assert_eq!(change("nobody").await.json()["error_description"], "invalid email");
    assert_eq!(change("Ada@shop.example").await.status, 200, "her own in another case");
    let user = change("eve@shop.example").await.json();
    assert_eq!((&user["email"], &user["user_id"]), (&json!("eve@shop.example"), &json!(ada)));
    assert_eq!(world.user(token).await.json()["email"], "eve@shop.example");
    assert_ne!(world.register("ada@shop.example").await.0, ada, "the old address is free");
    assert_eq!(world.register("eve@shop.example").await.0, ada);
    let kept = world.control("GET", "/snapshot", Value::Null).await;
    world.control("POST", "/snapshot", kept).await;
    assert_eq!(world.register("eve@shop.example").await.0, ada, "also after the history was told anew");
    assert_eq!(change("eva@shop.example").await.status, 200);
}

#[tokio::test]
async fn a_logout_ends_the_sessions_at_the_pages_and_no_token() {
    let world = enabled().await;
    world.make_user("ada@shop.example").await;
    world.make_user("bob@shop.example").await;
    let token = world.token("ada@shop.example").await;
    let mut browsers =
        [Browser::new(&world, world.authorize_url(SCOPES)), Browser::new(&world, world.authorize_url(SCOPES))];
    for (browser, email) in browsers.iter_mut().zip(["ada@shop.example", "bob@shop.example"]) {
        browser.log_in(email, PASSWORD).await;
    }
    let user = world.ok(&token, "/user/logout", json!({})).await;
    assert_eq!(user, world.user(&token).await.json());
    let [ada, bob] = &mut browsers;
    assert!(!ada.open().await.text.contains("value=\"grant\""));
    assert!(bob.open().await.text.contains("value=\"grant\""));
}

#[tokio::test]
async fn a_single_sign_on_token_is_a_uuid_for_ten_minutes() {
    let world = enabled().await;
    world.make_user("ada@shop.example").await;
    let token = world.token("ada@shop.example").await;
    let first = world.ok(&token, "/user/request_sso_token", json!({})).await;
    let second = world.ok(&token, "/user/request_sso_token", json!({})).await;
    assert_eq!(first["sso_token"].as_str().unwrap().split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
    assert_ne!(first["sso_token"], second["sso_token"]);
    assert_eq!(first.as_object().unwrap().len(), 2);
    let now = world.control("GET", "/clock", Value::Null).await["now"].as_str().unwrap().to_owned();
    let now = time::OffsetDateTime::parse(&now, &time::format_description::well_known::Rfc3339).unwrap();
    let life = first["expire_time"].as_i64().unwrap() - now.unix_timestamp();
    assert!((595..=600).contains(&life), "{life}");
}
