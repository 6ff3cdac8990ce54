//! What people can do in their settings: see who has access, take it back, and leave.

use serde_json::{Value, json};

use super::{EMAIL, merchant, settings_url, signed_in};
use crate::sandbox::tests::support::{Browser, PASSWORD, SCOPES, World, parameters};

/// A token of a second app for the person; its client id and the token.
async fn second_app(world: &World) -> (String, String) {
    let app = world.control("POST", "/apps", Value::Null).await;
    let text = |name: &str| app[name].as_str().unwrap().to_owned();
    let first = &world.sandbox.endpoints().client_id;
    let url =
        world.authorize_url(SCOPES).replace(&format!("client_id={first}"), &format!("client_id={}", text("client_id")));
    let mut browser = Browser::new(world, url);
    browser.log_in(EMAIL, PASSWORD).await;
    let back = browser.submit(&[("form", "consent"), ("decision", "grant")]).await;
    let mut body = world.exchange_body(&parameters(&back)[0].1);
    (body["client_id"], body["client_secret"]) = (app["client_id"].clone(), app["client_secret"].clone());
    let answer = world.send(world.post("/oauth2/token", &body)).await.json();
    (text("client_id"), answer["access_token"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn taking_access_back_kills_that_apps_tokens_and_no_others() {
    let world = World::start().await;
    let (_, token, account_id) = merchant(&world).await;
    let (other_app, other_token) = second_app(&world).await;
    let first_app = world.sandbox.endpoints().client_id.clone();
    let mut browser = signed_in(&world, &settings_url(&world), EMAIL).await;
    let page = browser.open().await.text;
    for shown in [&first_app, &other_app, "manage_accounts", "Ada&#39;s Shop", &account_id.to_string()] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    let code = world.code(EMAIL).await;
    let revoke = [("form", "revoke"), ("client_id", first_app.as_str())];
    assert!(browser.submit(&revoke).await.ends_with("/v2/settings?done=revoked"));
    assert_eq!(world.user(&token).await.refusal().2, 1011);
    assert_eq!(world.user(&other_token).await.status, 200);
    let page = browser.open().await.text;
    assert!(!page.contains(&format!("value=\"{first_app}\"")) && page.contains(&format!("value=\"{other_app}\"")));
    assert!(browser.submit(&revoke).await.ends_with("revoked"), "twice is once");
    let again = world.exchange(&code).await;
    assert_eq!(again.status, 200, "a code that is out stays valid: {}", again.text);
    assert_eq!(world.user(again.json()["access_token"].as_str().unwrap()).await.status, 200);
}

#[tokio::test]
async fn a_registered_person_who_takes_access_back_must_confirm_again() {
    let world = World::start().await;
    let ada = world.make_user(EMAIL).await;
    let (_, token) = world.register(EMAIL).await;
    let client_id = world.sandbox.endpoints().client_id.clone();
    let mut browser = signed_in(&world, &settings_url(&world), EMAIL).await;
    assert!(browser.open().await.text.contains("unless you confirm it"), "a temporary token is access");
    browser.submit(&[("form", "revoke"), ("client_id", &client_id)]).await;
    assert_eq!(world.user(&token).await.refusal().2, 1011);
    let (same, _) = world.register(EMAIL).await;
    assert_eq!((same, world.tokens(ada).await[1]["kind"].clone()), (ada, json!("temporary")));
    world.control("POST", &format!("/users/{ada}/confirm"), Value::Null).await;
    let page = browser.open().await.text;
    assert!(page.contains("Since ") && !page.contains("unless you confirm it"), "{page}");
}

#[tokio::test]
async fn an_approval_without_a_token_shows_and_can_be_taken_back() {
    let world = World::start().await;
    world.make_user(EMAIL).await;
    world.code(EMAIL).await;
    let mut browser = signed_in(&world, &settings_url(&world), EMAIL).await;
    assert!(browser.open().await.text.contains("it holds no access token"));
    let client_id = world.sandbox.endpoints().client_id.clone();
    browser.submit(&[("form", "revoke"), ("client_id", &client_id)]).await;
    assert!(browser.open().await.text.contains("No application has access"));
}

#[tokio::test]
async fn closing_the_wepay_account_deletes_the_person_after_the_password() {
    let world = World::start().await;
    let (ada, token, _) = merchant(&world).await;
    let mut browser = signed_in(&world, &settings_url(&world), EMAIL).await;
    for wrong in [&[("password", "wrong"), ("accept", "yes")][..], &[("password", PASSWORD)], &[("accept", "yes")]] {
        assert!(browser.send_form(&[&[("form", "close")], wrong].concat()).await.text.contains("role=\"alert\""));
    }
    assert_eq!(world.user(&token).await.status, 200);
    let closed = browser.send_form(&[("form", "close"), ("password", PASSWORD), ("accept", "yes")]).await;
    assert!(closed.text.contains("Your WePay account is closed"), "{}", closed.text);
    assert_eq!(world.user(&token).await.refusal().2, 7003);
    assert!(browser.open().await.text.contains("Sign in to continue"), "the session is over");
    let login = [("form", "login"), ("email", EMAIL), ("password", PASSWORD)];
    assert_eq!(browser.send_form(&login).await.status, 200, "nobody signs in as them again");
    assert_ne!(world.make_user(EMAIL).await, ada, "the address is free for somebody else");
}

#[tokio::test]
async fn a_session_that_ended_while_the_page_was_open_changes_nothing() {
    let world = World::start().await;
    let (_, token, _) = merchant(&world).await;
    let mut browser = signed_in(&world, &settings_url(&world), EMAIL).await;
    let csrf = browser.open().await.text.split("name=\"csrf\" value=\"").nth(1).unwrap()[..64].to_owned();
    world.advance(60 * 60 + 1).await;
    let client_id = world.sandbox.endpoints().client_id.clone();
    for form in ["revoke", "close"] {
        let fields =
            [("form", form), ("client_id", &client_id), ("password", PASSWORD), ("accept", "yes"), ("csrf", &csrf)];
        assert_eq!(browser.send_raw(&fields).await.location.as_deref(), Some("/v2/settings"));
    }
    assert_eq!(world.user(&token).await.status, 200);
    assert_eq!(browser.send_raw(&[("form", "revoke"), ("client_id", &client_id)]).await.status, 403);
}
