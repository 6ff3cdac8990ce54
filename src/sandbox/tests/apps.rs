//! Apps: their calls, their dashboards, and that several do not touch each other.

use serde_json::{Value, json};

use super::support::{Answer, Browser, PASSWORD, REDIRECT, SCOPES, World, options, parameters};

fn client(app: &Value) -> Value {
    json!({"client_id": app["client_id"], "client_secret": app["client_secret"]})
}

async fn first_app(world: &World) -> Value {
    world.control("GET", "/app", Value::Null).await
}

/// Consent of a person to an app, and its token.
async fn token_for(world: &World, app: &Value, email: &str) -> String {
    let mut body = client(app);
    body["code"] = json!(code_for(world, app, email).await);
    body["redirect_uri"] = json!(REDIRECT);
    world.send(world.post("/oauth2/token", &body)).await.json()["access_token"].as_str().unwrap().to_owned()
}

async fn code_for(world: &World, app: &Value, email: &str) -> String {
    let own = world.sandbox.endpoints().client_id.as_str();
    let url = world.authorize_url(SCOPES).replace(own, app["client_id"].as_str().unwrap());
    let mut browser = Browser::new(world, url);
    browser.log_in(email, PASSWORD).await;
    let back = browser.submit(&[("form", "consent"), ("decision", "grant")]).await;
    parameters(&back).into_iter().find(|(name, _)| name == "code").unwrap().1
}

async fn control_refusal(world: &World, path: &str, body: Value) -> (u16, String) {
    let url = format!("{}{path}", world.sandbox.endpoints().control);
    let answer = world.send(world.client.post(url).body(body.to_string())).await;
    (answer.status, answer.json()["error"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn an_app_sets_its_looks_and_its_analytics() {
    let world = World::start().await;
    let app = first_app(&world).await;
    let modify = async |more: Value| {
        let mut body = client(&app);
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        world.send(world.post("/app/modify", &body)).await
    };
    let shown = async || world.send(world.post("/app", &client(&app))).await.json();
    let fresh = shown().await;
    assert_eq!(fresh["client_id"].to_string(), app["client_id"].as_str().unwrap());
    assert_eq!((&fresh["state"], &fresh["status"]), (&json!("active"), &json!("approved")));
    assert_eq!((&fresh["theme_object"], &fresh["gaq_domains"]), (&Value::Null, &json!([])));
    assert_eq!(fresh.as_object().unwrap().len(), 6);
    let theme = json!({"name": "Dark", "primary_color": "0a0a0a", "button_color": "ffffff"});
    let modified = modify(json!({"theme_object": theme, "gaq_domains": ["UA-1-1"]})).await.json();
    assert_eq!((&modified["theme_object"]["name"], &modified["gaq_domains"]), (&json!("Dark"), &json!(["UA-1-1"])));
    assert!(modified["theme_object"]["theme_id"].is_u64());
    assert_eq!(shown().await, modified);
    let cleared = modify(json!({"gaq_domains": []})).await.json();
    assert_eq!((&cleared["theme_object"], &cleared["gaq_domains"]), (&modified["theme_object"], &json!([])));
    let again = modify(json!({"theme_object": cleared["theme_object"]})).await;
    assert_eq!(again.json(), cleared, "what was answered can be sent back");
    for (wrong, text) in [
        (json!({"theme_object": "dark"}), "Parameter 'theme_object' expected object"),
        (json!({"theme_object": {"primary_color": "#fff"}}), "primary_color must be six hexadecimal digits"),
        (json!({"gaq_domains": "UA-1-1"}), "Parameter 'gaq_domains' expected array"),
        (json!({"name": "x"}), "name parameter is unexpected"),
    ] {
        assert_eq!(modify(wrong).await.json()["error_description"], text);
    }
    assert_eq!(shown().await, cleared, "a refusal changes nothing");
}

#[tokio::test]
async fn a_disabled_app_is_no_client_any_more_and_comes_back() {
    let world = World::start().await;
    let app = first_app(&world).await;
    world.make_user("ada@shop.example").await;
    let (token, code) = (world.token("ada@shop.example").await, world.code("ada@shop.example").await);
    let path = format!("/apps/{}", app["client_id"].as_str().unwrap());
    for state in ["disabled", "deleted"] {
        world.control("POST", &path, json!({ "state": state })).await;
        let refused = (401, "invalid_client".to_owned(), 1003);
        assert_eq!(world.exchange(&code).await.refusal(), refused);
        assert_eq!(world.user(&token).await.refusal(), refused);
        let register = world.post("/user/register", &world.register_body("bob@shop.example"));
        assert_eq!(world.send(register).await.refusal(), refused);
        assert_eq!(world.send(world.post("/app/modify", &client(&app))).await.refusal(), refused);
        let mut batch = client(&app);
        batch["calls"] = json!([]);
        assert_eq!(world.send(world.post("/batch/create", &batch)).await.refusal(), refused);
        assert_eq!(world.send(world.post("/app", &client(&app))).await.json()["state"], state, "it may ask why");
    }
    world.control("POST", &path, json!({"state": "active"})).await;
    assert_eq!(world.user(&token).await.status, 200);
    assert_eq!(world.exchange(&code).await.status, 200, "nothing was used up meanwhile");
}

#[tokio::test]
async fn tokens_approvals_and_codes_belong_to_one_app() {
    let world = World::start().await;
    let ada = world.make_user("ada@shop.example").await;
    let (one, two) = (first_app(&world).await, world.control("POST", "/apps", Value::Null).await);
    assert_ne!(one["client_id"], two["client_id"]);
    let first = token_for(&world, &one, "ada@shop.example").await;
    let second = token_for(&world, &two, "ada@shop.example").await;
    assert_eq!(world.user(&first).await.status, 200, "another app's exchange revokes nothing");
    let code = code_for(&world, &one, "ada@shop.example").await;
    let mut body = client(&two);
    (body["code"], body["redirect_uri"]) = (json!(code), json!(REDIRECT));
    assert_eq!(world.send(world.post("/oauth2/token", &body)).await.refusal().2, 1013);
    assert_eq!(world.user(&first).await.status, 200);
    world.ok(&first, "/user/modify", json!({"callback_uri": "http://127.0.0.1:9/one"})).await;
    assert_eq!(world.user(&second).await.json()["callback_uri"], "", "notices are agreed with each app");
    let shop = json!({"name": "A", "description": "B", "reference_id": "same"});
    let account = world.ok(&first, "/account/create", shop.clone()).await;
    world.ok(&second, "/account/create", shop.clone()).await;
    assert_eq!(world.call(&second, "/account/create", shop).await.refusal().2, 1003, "once for each (app, user)");
    let seen = world.ok(&second, "/account", json!({"account_id": account["account_id"]})).await;
    assert_eq!(seen["owner_user_id"], ada, "an account is the user's, whichever app made it");
    let change = json!({"account_id": account["account_id"], "name": "C"});
    assert_eq!(world.call(&second, "/account/modify", change).await.refusal(), (401, "access_denied".to_owned(), 3002));
    let third = token_for(&world, &two, "ada@shop.example").await;
    let statuses = [world.user(&first).await.status, world.user(&second).await.status, world.user(&third).await.status];
    assert_eq!(statuses, [200, 401, 200]);
    let owner = |app: &Value| app["owner_access_token"].as_str().unwrap().to_owned();
    let owners = [world.user(&owner(&one)).await, world.user(&owner(&two)).await];
    assert_eq!(
        owners.map(|answer| answer.json()["user_id"].clone()),
        [one["owner_user_id"].clone(), two["owner_user_id"].clone()]
    );
}

#[tokio::test]
async fn a_disabled_app_leaves_the_others_alone() {
    let world = World::start().await;
    world.make_user("ada@shop.example").await;
    let two = world.control("POST", "/apps", json!({"name": "Second", "registered_domain": "localhost"})).await;
    let (first, second) = (world.token("ada@shop.example").await, token_for(&world, &two, "ada@shop.example").await);
    world.control("POST", &format!("/apps/{}", two["client_id"].as_str().unwrap()), json!({"state": "disabled"})).await;
    assert_eq!(
        (world.user(&first).await.status, world.user(&second).await.refusal().1),
        (200, "invalid_client".to_owned())
    );
}

#[tokio::test]
async fn the_dashboard_makes_and_changes_apps_all_or_nothing() {
    let world = World::start().await;
    let owner = json!({"email": "boss@else.example", "password": PASSWORD, "first_name": "B", "last_name": "Oss"});
    let wish = json!({
        "name": "Else", "api_version": "2019-04-03", "permissions": ["sso", "kyc"], "registered_domain": "else.example",
        "owner": owner,
    });
    let app = world.control("POST", "/apps", wish).await;
    let path = format!("/apps/{}", app["client_id"].as_str().unwrap());
    assert_eq!(app["client_secret"].as_str().unwrap().len(), 10);
    assert_eq!(
        (&app["name"], &app["state"], &app["permissions"]),
        (&json!("Else"), &json!("active"), &json!(["kyc", "sso"]))
    );
    let user = world.user(app["owner_access_token"].as_str().unwrap()).await.json();
    assert_eq!((&user["email"], &user["user_id"]), (&json!("boss@else.example"), &app["owner_user_id"]));
    assert_eq!(world.control("GET", &path, Value::Null).await, app);
    let all = world.control("GET", "/apps", Value::Null).await["apps"].clone();
    assert_eq!(all.as_array().unwrap().len(), 2);
    assert!(all.as_array().unwrap().contains(&app) && all.as_array().unwrap().contains(&first_app(&world).await));
    for wrong in [
        json!({"permissions": ["sso", "everything"]}),
        json!({"permissions": ["mfa"]}),
        json!({"api_version": "2020-01-01"}),
        json!({"name": " "}),
        json!({"registered_domain": "https://x.example"}),
        json!({"state": "asleep"}),
        json!({"owner": owner}),
        json!({"nothing": 1}),
    ] {
        let mut body = json!({"name": "Changed"});
        body.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        assert_eq!(control_refusal(&world, &path, body).await.0, 400, "{wrong}");
    }
    assert_eq!(world.control("GET", &path, Value::Null).await, app);
    assert_eq!(control_refusal(&world, "/apps/1", json!({})).await.0, 404);
    assert_eq!(control_refusal(&world, "/apps", json!({"state": "disabled"})).await.0, 400);
    assert_eq!(control_refusal(&world, "/apps", json!({"owner": owner})).await.0, 400, "the address is taken");
    let changed = world.control("POST", &path, json!({"permissions": [], "registered_domain": null})).await;
    assert_eq!((&changed["permissions"], &changed["registered_domain"]), (&json!([]), &Value::Null));
    assert_eq!((&changed["name"], &changed["api_version"]), (&app["name"], &app["api_version"]));
}

#[tokio::test]
async fn a_fresh_secret_takes_the_old_ones_place_and_outlives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::with(options(Some(dir.path()))).await;
    let app = first_app(&world).await;
    let (ada, _) = world.register("ada@shop.example").await;
    let (_, token) = world.register("ada@shop.example").await;
    world.ok(&token, "/user/send_confirmation", json!({})).await;
    let link = world.mails(ada).await[0]["link"].clone();
    let path = format!("/apps/{}", app["client_id"].as_str().unwrap());
    let rotated =
        world.control("POST", &path, json!({"rotate_client_secret": true, "api_version": "2019-04-03"})).await;
    assert_ne!(rotated["client_secret"], app["client_secret"]);
    let look_up = async |world: &World, app: &Value| -> Answer { world.send(world.post("/app", &client(app))).await };
    assert_eq!(look_up(&world, &app).await.refusal().1, "invalid_client");
    assert_eq!(look_up(&world, &rotated).await.json()["api_version"], "2019-04-03");
    assert_eq!(rotated["owner_access_token"], app["owner_access_token"]);
    assert_eq!(world.mails(ada).await[0]["link"], link, "mails that are out stay good");
    world.sandbox.stop().await;
    let world = World::with(options(Some(dir.path()))).await;
    assert_eq!(world.sandbox.endpoints().client_secret, rotated["client_secret"].as_str().unwrap());
    assert_eq!(look_up(&world, &rotated).await.json()["api_version"], "2019-04-03");
    assert_eq!(world.user(world.sandbox.app_owner_token()).await.status, 200);
}
