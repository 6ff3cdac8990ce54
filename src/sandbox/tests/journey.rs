//! Authorize, exchange, use; what is refused and how; what the control API shows.

use serde_json::{Value, json};

use super::support::{Browser, PASSWORD, REDIRECT, SCOPES, World, options, parameters};
use crate::sandbox::protocol::BODY_MAX;
use crate::sandbox::{Error, Options, Sandbox};

#[tokio::test]
async fn a_new_user_registers_and_grants_and_the_token_works() {
    let world = World::start().await;
    let mut browser = Browser::new(&world, world.authorize_url(SCOPES));
    let page = browser.open().await;
    assert!(page.media.starts_with("text/html") && page.text.contains("WePay sandbox"));
    assert!(page.text.contains("value=\"ada@shop.example\"") && !page.text.contains("<b>"), "{}", page.text);
    let person = [("email", "ada@shop.example"), ("password", PASSWORD), ("first_name", "Ada"), ("last_name", "Low")];
    let again = browser.submit(&[&[("form", "register")], &person[..]].concat()).await;
    assert!(again.starts_with("/v2/oauth2/authorize?"));
    let consent = browser.open().await;
    for shown in SCOPES.split(',').chain(["Grant", "Deny", "ada@shop.example"]) {
        assert!(consent.text.contains(shown), "{shown}");
    }
    let back = browser.submit(&[("form", "consent"), ("decision", "grant")]).await;
    assert!(back.starts_with(REDIRECT));
    let answers = parameters(&back);
    assert_eq!((answers[0].0.as_str(), answers[1].clone()), ("code", ("state".to_owned(), "s/1 +".to_owned())));
    let code = &answers[0].1;
    assert!(code.len() == 50 && code.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)));

    let answer = world.exchange(code).await;
    assert_eq!((answer.status, answer.media.as_str()), (200, "application/json"));
    let issued = answer.json();
    assert_eq!(issued.as_object().unwrap().len(), 3);
    assert!(issued["user_id"].as_u64().unwrap() > u64::from(u32::MAX / 2) && issued["token_type"] == "BEARER");
    let token = issued["access_token"].as_str().unwrap();
    assert!(token.len() == 70 && token.starts_with("STAGE_"));
    let user = world.user(token).await.json();
    assert_eq!((&user["user_id"], &user["email"]), (&issued["user_id"], &json!("ada@shop.example")));
    assert_eq!((&user["state"], &user["first_name"]), (&json!("registered"), &json!("Ada")));
}

#[tokio::test]
async fn denying_goes_back_with_the_error_and_no_code() {
    let world = World::start().await;
    world.make_user("ada@shop.example").await;
    let mut browser = Browser::new(&world, world.authorize_url(SCOPES));
    browser.log_in("ADA@shop.example", PASSWORD).await;
    let deny = [("form", "consent"), ("decision", "deny")];
    let answers = parameters(&browser.submit(&deny).await);
    let names: Vec<&str> = answers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["error", "error_description", "state"]);
    assert_eq!(answers[0].1, "access_denied");
    world.control("POST", "/settings", json!({"state_on_denial": false})).await;
    assert_eq!(parameters(&browser.submit(&deny).await).len(), 2);
    assert_eq!(world.control("GET", "/state", Value::Null).await["codes"], 0);
}

#[tokio::test]
async fn a_wrong_link_never_redirects() {
    let world = World::start().await;
    let good = world.authorize_url(SCOPES);
    let client_id = world.sandbox.endpoints().client_id.clone();
    let encoded = "redirect_uri=http%3A%2F%2F127.0.0.1%3A9%2Fconnect%2Fcallback";
    for (from, to) in [
        (format!("client_id={client_id}"), "client_id=1".to_owned()),
        (format!("client_id={client_id}&"), String::new()),
        (encoded.to_owned(), "redirect_uri=%2Fcallback".to_owned()),
        (encoded.to_owned(), "redirect_uri=https%3A%2F%2Fevil.example%2F".to_owned()),
        (format!("{encoded}&"), String::new()),
        ("view_user".to_owned(), "view_everything".to_owned()),
        ("scope=".to_owned(), "scopes=".to_owned()),
    ] {
        let bad = good.replace(&from, &to);
        assert_ne!(bad, good, "{from}");
        let answer = world.send(world.client.get(&bad)).await;
        assert_eq!((answer.status, answer.location), (400, None), "{bad}");
        assert!(answer.text.contains("cannot be used"));
    }
    assert_eq!(world.send(world.client.get(&good)).await.status, 200);
}

#[tokio::test]
async fn forms_need_the_pages_own_token_and_the_right_password() {
    let world = World::start().await;
    world.make_user("ada@shop.example").await;
    let login = [("form", "login"), ("email", "ada@shop.example"), ("password", PASSWORD)];
    let mut browser = Browser::new(&world, world.authorize_url(SCOPES));
    assert_eq!(browser.send_raw(&login).await.status, 403);
    browser.open().await;
    assert_eq!(browser.send_raw(&[&login[..], &[("csrf", "0")]].concat()).await.status, 403);
    let wrong = browser.send_form(&[("form", "login"), ("email", "ada@shop.example"), ("password", "x")]).await;
    assert!(wrong.status == 200 && wrong.text.contains("role=\"alert\"") && wrong.location.is_none());
    let taken = [("email", "Ada@shop.example"), ("password", "y"), ("first_name", "A"), ("last_name", "B")];
    let taken = browser.send_form(&[&[("form", "register")], &taken[..]].concat()).await;
    assert!(taken.text.contains("already"), "{}", taken.text);
    let planted = browser.cookie.clone();
    browser.log_in("ada@shop.example", PASSWORD).await;
    assert_ne!(browser.cookie, planted, "signing in must not keep a cookie that somebody may have planted");
    assert!(browser.open().await.text.contains("Grant access?"));
    browser.submit(&[("form", "logout")]).await;
    assert!(browser.open().await.text.contains("Sign in to continue"));
}

#[tokio::test]
async fn a_pending_user_signs_in_only_after_confirming_and_a_deleted_one_never() {
    let world = World::start().await;
    let person = json!({
        "email": "ada@shop.example", "password": PASSWORD, "first_name": "Ada", "last_name": "Low", "state": "pending",
    });
    let ada = world.control("POST", "/users", person).await["user_id"].as_u64().unwrap();
    let login = [("form", "login"), ("email", "ada@shop.example"), ("password", PASSWORD)];
    let mut browser = Browser::new(&world, world.authorize_url(SCOPES));
    assert_eq!(browser.send_form(&login).await.status, 200);
    world.control("POST", &format!("/users/{ada}/confirm"), Value::Null).await;
    assert_eq!(browser.send_form(&login).await.status, 303);
    assert!(browser.open().await.text.contains("Grant access?"));
    let code = world.code("ada@shop.example").await;
    world.control("POST", &format!("/users/{ada}/delete"), Value::Null).await;
    assert!(browser.open().await.text.contains("Sign in to continue"), "the session dies with the user");
    assert_eq!(browser.send_form(&login).await.status, 200);
    assert_eq!(world.exchange(&code).await.refusal().2, 1003);
}

#[tokio::test]
async fn the_callback_uri_of_an_exchange_shows_in_the_user() {
    let world = World::start().await;
    world.make_user("ada@shop.example").await;
    let mut body = world.exchange_body(&world.code("ada@shop.example").await);
    body["callback_uri"] = json!("/notices");
    assert_eq!(world.send(world.post("/oauth2/token", &body)).await.refusal().2, 1003);
    body["callback_uri"] = json!("http://127.0.0.1:9/notices?a=b");
    let issued = world.send(world.post("/oauth2/token", &body)).await.json();
    let user = world.user(issued["access_token"].as_str().unwrap()).await;
    assert_eq!(user.json()["callback_uri"], "http://127.0.0.1:9/notices?a=b");
    assert!(user.text.contains(r"http:\/\/127.0.0.1"), "slashes are escaped: {}", user.text);
}

#[tokio::test]
async fn each_exchange_revokes_every_earlier_token_of_that_user_and_no_other() {
    let world = World::start().await;
    let ada = world.make_user("ada@shop.example").await;
    world.make_user("bob@shop.example").await;
    let first = world.token("ada@shop.example").await;
    let other = world.token("bob@shop.example").await;
    assert_eq!(world.user(&first).await.status, 200);
    let second = world.token("ada@shop.example").await;
    assert_eq!(world.user(&first).await.refusal(), (401, "access_denied".to_owned(), 1011));
    let third = world.token("ada@shop.example").await;
    assert_eq!(world.user(&second).await.refusal().2, 1011);
    assert_eq!((world.user(&third).await.status, world.user(&other).await.status), (200, 200));
    assert_eq!(world.user(world.sandbox.app_owner_token()).await.status, 200);
    assert_eq!(world.live(ada).await, [false, false, true]);
}

#[tokio::test]
async fn a_sandbox_told_not_to_revoke_keeps_the_old_token_alive() {
    let world = World::with(Options { token_revokes: false, ..options(None) }).await;
    let ada = world.make_user("ada@shop.example").await;
    let first = world.token("ada@shop.example").await;
    world.token("ada@shop.example").await;
    assert_eq!(world.user(&first).await.status, 200);
    assert_eq!(world.live(ada).await, [true, true]);
}

#[tokio::test]
async fn a_code_works_once_for_ten_minutes_for_its_app_and_redirect_uri() {
    let world = World::start().await;
    let ada = world.make_user("ada@shop.example").await;
    let code = world.code("ada@shop.example").await;
    let mut body = world.exchange_body(&code);
    body["redirect_uri"] = json!(format!("{REDIRECT}/"));
    assert_eq!(world.send(world.post("/oauth2/token", &body)).await.refusal().2, 1003);
    let app = world.control("POST", "/apps", Value::Null).await;
    let mut body = world.exchange_body(&code);
    body["client_id"] = app["client_id"].clone();
    assert_eq!(world.send(world.post("/oauth2/token", &body)).await.refusal().1, "invalid_client");
    body["client_secret"] = app["client_secret"].clone();
    assert_eq!(world.send(world.post("/oauth2/token", &body)).await.refusal().2, 1013);
    world.advance(599).await;
    let token = world.exchange(&code).await.json()["access_token"].as_str().unwrap().to_owned();
    let again = world.exchange(&code).await;
    assert_eq!(again.refusal(), (400, "invalid_request".to_owned(), 1003));
    assert_eq!(again.json()["error_description"], "invalid code parameter");
    assert_eq!(world.user(&token).await.status, 200, "a reused code does not revoke by default");
    world.control("POST", "/settings", json!({"reused_code_revokes": true})).await;
    world.exchange(&code).await;
    assert_eq!(world.live(ada).await, [false]);
    let late = world.code("ada@shop.example").await;
    world.advance(600).await;
    let late = world.exchange(&late).await;
    assert_eq!((late.refusal().2, &late.json()["error_description"]), (1012, &json!("the code has expired")));
}

#[tokio::test]
async fn the_time_scale_divides_the_life_of_a_code() {
    let world = World::with(Options { time_scale: 60, ..options(None) }).await;
    world.make_user("ada@shop.example").await;
    let code = world.code("ada@shop.example").await;
    world.advance(10).await;
    assert_eq!(world.exchange(&code).await.refusal().2, 1012);
}

#[tokio::test]
async fn the_exchange_takes_json_forms_and_queries_and_ignores_a_bearer() {
    let world = World::start().await;
    world.make_user("ada@shop.example").await;
    for way in ["json", "form", "query", "chunked", "slash"] {
        let body = world.exchange_body(&world.code("ada@shop.example").await);
        let pairs = body.as_object().unwrap().iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap()));
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        let request = match way {
            "form" => {
                let post = world.client.post(world.url("/oauth2/token"));
                post.header("content-type", "application/x-www-form-urlencoded").body(form + "&state=&grant_type=x")
            }
            "query" => world.client.get(world.url(&format!("/oauth2/token?{form}"))),
            "slash" => world.post("/oauth2/token/", &body),
            "chunked" => {
                let post = world.client.post(world.url("/oauth2/token")).header("transfer-encoding", "chunked");
                post.header("content-type", "application/json").body(body.to_string())
            }
            _ => world.post("/oauth2/token", &body),
        };
        let answer = world.send(request.header("authorization", "Bearer None")).await;
        assert_eq!(answer.status, 200, "{way}: {}", answer.text);
    }
}

#[tokio::test]
async fn missing_and_unexpected_parameters_are_named() {
    let world = World::start().await;
    let refusal = async |body: Value| {
        let answer = world.send(world.post("/oauth2/token", &body)).await;
        let text = answer.json()["error_description"].as_str().unwrap().to_owned();
        (answer.refusal().0, answer.refusal().2, text)
    };
    for name in ["client_id", "client_secret", "code", "redirect_uri"] {
        let mut body = world.exchange_body("x");
        body.as_object_mut().unwrap().remove(name);
        assert_eq!(refusal(body).await, (400, 1004, format!("{name} parameter is required")));
    }
    let mut body = world.exchange_body("x");
    body["cvv"] = json!("1");
    assert_eq!(refusal(body).await, (400, 1003, "cvv parameter is unexpected".to_owned()));
    assert_eq!(refusal(world.exchange_body("x")).await, (400, 1003, "invalid code parameter".to_owned()));
}

#[tokio::test]
async fn routing_comes_first_then_the_body_then_the_token() {
    let world = World::start().await;
    let unknown = world.send(world.post("/null", &json!({})).header("authorization", "Bearer junk")).await;
    assert_eq!(unknown.refusal(), (501, "invalid_request".to_owned(), 1001));
    assert_eq!(unknown.json()["error_description"], "that is not a recognized WePay API call");
    let junk = |call: &str| world.client.post(world.url(call)).body("{").header("authorization", "Bearer junk");
    assert_eq!(world.send(junk("/null")).await.refusal().2, 1001);
    assert_eq!(world.send(junk("/user")).await.refusal(), (400, "invalid_request".to_owned(), 1005));
    let app = world.post("/app", &json!({})).header("authorization", "Bearer None");
    assert_eq!(world.send(app).await.refusal(), (400, "invalid_request".to_owned(), 1004));
    let none = world.send(world.post("/user", &json!({}))).await;
    assert_eq!(none.refusal(), (401, "access_denied".to_owned(), 1002));
    assert_eq!(world.user("junk").await.refusal(), (401, "access_denied".to_owned(), 1006));
    let wrong = world.user("PRODUCTION_00").await.json()["error_description"].as_str().unwrap().to_owned();
    assert_eq!(wrong, "You are trying to use an access_token from production on stage");
    let large = world.client.post(world.url("/user")).body(" ".repeat(BODY_MAX + 1));
    assert_eq!(world.send(large).await.status, 413);
}

#[tokio::test]
async fn errors_have_five_keys_only_for_newer_versions() {
    let world = World::start().await;
    let keys = async |version: &str| {
        let answer = world.send(world.post("/user", &json!({})).header("api-version", version)).await;
        (answer.refusal().2, answer.json().as_object().unwrap().len(), answer.text)
    };
    let first = "2011-01-15 2014-01-08 2015-08-15 2015-09-09 2015-11-18 2016-03-30 2016-05-18 2016-06-22 2016-07-13";
    let then = "2016-08-10 2016-12-07 2017-02-01 2017-05-31 2018-03-21";
    for version in first.split(' ').chain(then.split(' ')).chain([""]) {
        assert_eq!(keys(version).await.1, 3, "{version}");
    }
    for version in ["2018-08-29", "2018-10-03", "2019-04-03"] {
        let (code, count, text) = keys(version).await;
        assert_eq!((code, count), (1002, 5), "{version}");
        assert!(text.contains(r"https:\/\/developer"), "{text}");
    }
    for unknown in ["2018-09-09", "2019-04-04", "2010-01-15", "3.0"] {
        assert_eq!(keys(unknown).await.0, 1015, "{unknown}");
    }
}

#[tokio::test]
async fn scopes_revocation_and_deletion_each_have_their_error() {
    let world = World::start().await;
    let ada = world.make_user("ada@shop.example").await;
    let code = world.code_with("ada@shop.example", "manage_accounts,collect_payments").await;
    let narrow = world.exchange(&code).await.json()["access_token"].as_str().unwrap().to_owned();
    let refused = world.user(&narrow).await;
    assert_eq!(refused.refusal().2, 1010);
    assert!(refused.text.contains("Permission required: view_user"));
    let token = world.token("ada@shop.example").await;
    let revoked = world.control("POST", &format!("/users/{ada}/revoke"), Value::Null).await;
    assert_eq!(revoked["revoked"], 1);
    assert_eq!(world.user(&token).await.refusal().2, 1011);
    let token = world.token("ada@shop.example").await;
    assert_eq!(world.control("POST", &format!("/users/{ada}/confirm"), Value::Null).await["state"], "registered");
    world.control("POST", &format!("/users/{ada}/delete"), Value::Null).await;
    assert_eq!(world.user(&token).await.refusal().2, 7003);
}

#[tokio::test]
async fn app_tells_about_the_app_for_its_secret_only() {
    let world = World::start().await;
    let endpoints = world.sandbox.endpoints();
    assert!(endpoints.client_id.len() == 6 && endpoints.client_secret.len() == 10);
    let client_id: u64 = endpoints.client_id.parse().unwrap();
    let ask = |secret: &str| world.post("/app", &json!({"client_id": client_id, "client_secret": secret}));
    let app = world.send(ask(&endpoints.client_secret)).await.json();
    assert_eq!((&app["client_id"], &app["state"]), (&json!(client_id), &json!("active")));
    assert_eq!(world.send(ask("0000000000")).await.refusal().1, "invalid_client");
    let shown = world.control("GET", "/app", Value::Null).await;
    assert_eq!(
        world.user(shown["owner_access_token"].as_str().unwrap()).await.json()["user_id"],
        shown["owner_user_id"]
    );
    assert!(!format!("{endpoints:?}").contains(&endpoints.client_secret));
}

#[tokio::test]
async fn the_call_log_tells_everything_but_secrets() {
    let world = World::start().await;
    let ada = world.make_user("ada@shop.example").await;
    let code = world.code("ada@shop.example").await;
    let token = world.exchange(&code).await.json()["access_token"].as_str().unwrap().to_owned();
    world.exchange(&code).await;
    world.user(&token).await;
    let seen = world.calls("/v2/oauth2/authorize").await;
    assert!(seen.len() >= 3 && seen.iter().all(|call| call["scope"] == SCOPES));
    assert_eq!(seen.last().unwrap()["user_id"], ada);
    let exchanges = world.calls("/oauth2/token").await;
    let outcome = |call: &Value| (call["status"].clone(), call["error_code"].clone(), call["answered"].clone());
    assert_eq!(outcome(&exchanges[0]), (json!(200), Value::Null, json!(true)));
    assert_eq!(outcome(&exchanges[1]), (json!(400), json!(1003), json!(true)));
    assert_eq!(exchanges[0]["client_id"], world.sandbox.endpoints().client_id);
    let user = world.calls("/user").await;
    assert_eq!((&user[0]["token_sha256"], &user[0]["user_id"]), (&exchanges[0]["token_sha256"], &json!(ada)));
    assert_eq!(exchanges[0]["token_sha256"], world.tokens(ada).await[0]["token_sha256"]);
    let after = user[0]["seq"].as_u64().unwrap() - 1;
    let rest = world.control("GET", &format!("/calls?after={after}"), Value::Null).await;
    assert_eq!(rest["calls"].as_array().unwrap().len(), 1);
    let everything = [
        world.control("GET", "/calls", Value::Null).await.to_string(),
        world.control("GET", "/state", Value::Null).await.to_string(),
    ];
    assert!(everything[0].contains("/v2/oauth2/token"), "the search finds what is there");
    for secret in [code.as_str(), &token, &token["STAGE_".len()..], PASSWORD, &world.sandbox.endpoints().client_secret]
    {
        assert!(everything.iter().all(|text| !text.contains(secret)));
    }
}

#[tokio::test]
async fn it_listens_on_loopback_only_and_control_answers_no_web_page() {
    let outside = Options { listen: "0.0.0.0:0".parse().unwrap(), ..options(None) };
    assert!(matches!(Sandbox::start(outside).await, Err(Error::NotLoopback(_))));
    let world = World::start().await;
    let url = format!("{}/clock", world.sandbox.endpoints().control);
    let request = world.client.post(&url).header("origin", "http://evil.example").body(r#"{"advance_s": 5}"#);
    assert_eq!(world.send(request).await.status, 403);
    for body in ["", "{}", r#"{"advance_s": -1}"#, r#"{"advance_s": 99999999999}"#] {
        assert_eq!(world.send(world.client.post(&url).body(body)).await.status, 400, "{body:?}");
    }
    assert_eq!(world.control("GET", "/clock", Value::Null).await["offset_s"], 0);
}
