//! What keeps a person safe on the pages: cookies, headers, escaping.

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, header};

use super::{EMAIL, change_app, merchant, settings_url, signed_in, update_url};
use crate::domain::ambient::{AdjustableClock, SystemEntropy};
use crate::sandbox::tests::support::{Browser, PASSWORD, SCOPES, World, options};
use crate::sandbox::world::{Core, Request};
use crate::sandbox::{Environment, open_world, pages};

/// The cookies that a first look at the settings gives, when the pages stand at this address.
fn cookies(ui: &str) -> Vec<String> {
    let (clock, entropy) = (AdjustableClock::default().into(), std::sync::Arc::new(SystemEntropy));
    let world = open_world(&options(None)).unwrap();
    let core = Core::new(clock, entropy, 1, Environment::Stage, ui.to_owned(), world);
    let (call, query) = ("/settings".to_owned(), String::new());
    let request = Request { method: Method::GET, call, query, headers: HeaderMap::new(), body: Bytes::new() };
    let world = core.lock();
    let reply = pages::answer(&core.context(&world), &request).unwrap().reply;
    reply.headers.into_iter().filter(|(name, _)| name == header::SET_COOKIE).map(|(_, value)| value).collect()
}

#[test]
fn the_cookie_is_for_the_pages_alone_and_no_script_reads_it() {
    let plain = cookies("http://127.0.0.1:1/v2");
    assert_eq!(plain.len(), 2);
    for (cookie, path) in plain.iter().zip(["/v2", "/api"]) {
        assert!(cookie.starts_with("wepay_sandbox_session="), "{cookie}");
        assert!(cookie.ends_with(&format!("; HttpOnly; SameSite=Lax; Path={path}")), "{cookie}");
    }
    let values: Vec<&str> = plain.iter().map(|cookie| cookie.split(';').next().unwrap()).collect();
    assert_eq!(values[0], values[1]);
    assert!(cookies("https://127.0.0.1:1/v2").iter().all(|cookie| cookie.contains("; Secure;")));
}

#[tokio::test]
async fn no_page_may_be_kept_framed_or_made_to_load_anything() {
    let world = World::start().await;
    let (_, _, account_id) = merchant(&world).await;
    for url in [
        world.authorize_url(SCOPES),
        settings_url(&world),
        update_url(&world, account_id, ""),
        world.url("/user/confirm"),
    ] {
        let answer = world.client.get(&url).send().await.unwrap();
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        assert_eq!((header("cache-control").as_str(), header("referrer-policy").as_str()), ("no-store", "no-referrer"));
        let policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'";
        assert_eq!(
            (header("content-security-policy"), header("x-content-type-options")),
            (policy.into(), "nosniff".into())
        );
    }
}

#[tokio::test]
async fn what_people_and_apps_write_is_shown_as_text() {
    let world = World::start().await;
    let hostile = "\"'><script>alert(1)</script>";
    change_app(&world, |app| app.name = hostile.to_owned());
    let mut browser = Browser::new(&world, world.authorize_url(SCOPES));
    let person = [("email", EMAIL), ("password", PASSWORD), ("first_name", hostile), ("last_name", hostile)];
    browser.submit(&[&[("form", "register")], &person[..]].concat()).await;
    let consent = browser.open().await.text;
    let token = world.token(EMAIL).await;
    let order = serde_json::json!({"name": hostile, "description": "Bread"});
    let account_id = world.ok(&token, "/account/create", order).await["account_id"].as_u64().unwrap();
    let settings = signed_in(&world, &settings_url(&world), EMAIL).await.open().await.text;
    let update = signed_in(&world, &update_url(&world, account_id, "?x=\"><script>"), EMAIL).await.open().await.text;
    for page in [consent, settings, update] {
        super::html::check("hostile", &page);
        assert!(page.contains("&#60;script&#62;") && !page.contains("<script"), "{page}");
    }
}

#[tokio::test]
async fn an_address_with_letters_of_other_scripts_survives_signing_in() {
    let world = World::start().await;
    world.make_user(EMAIL).await;
    let url = world.authorize_url(SCOPES).replace("Ada", "%C3%89t%C3%A9");
    let mut browser = Browser::new(&world, url);
    let on = browser.submit(&[("form", "login"), ("email", EMAIL), ("password", PASSWORD)]).await;
    assert!(on.contains("user_name=%C3%89t%C3%A9") && on.is_ascii(), "{on}");
    assert!(browser.open().await.text.contains("Grant access?"));
}
