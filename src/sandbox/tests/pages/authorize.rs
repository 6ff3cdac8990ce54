//! What the authorize page takes: prefilled persons, small windows, addresses as shipped clients write them.

use serde_json::{Value, json};

use super::{EMAIL, change_app};
use crate::sandbox::state::AppState;
use crate::sandbox::tests::support::{Browser, PASSWORD, REDIRECT, SCOPES, World, parameters};

fn page(world: &World) -> String {
    let endpoints = world.sandbox.endpoints();
    format!("{}/oauth2/authorize?client_id={}", endpoints.ui, endpoints.client_id)
}

#[tokio::test]
async fn what_the_sdks_do_not_encode_is_read_all_the_same() {
    let world = World::start().await;
    world.make_user(EMAIL).await;
    let encoded = "manage_accounts%2C%20view_user";
    for (redirect_uri, scope) in [
        (REDIRECT, "manage_accounts,view_user"),
        (REDIRECT, "manage_accounts,+view_user"),
        (REDIRECT, encoded),
        ("http://127.0.0.1:9/connect/callback?a=b", encoded),
        ("http%3A%2F%2F127.0.0.1%3A9%2Fconnect%2Fcallback", encoded),
    ] {
        let url = format!("{}&redirect_uri={redirect_uri}&scope={scope}&response_type=code&display=page", page(&world));
        let mut browser = Browser::new(&world, url);
        browser.log_in(EMAIL, PASSWORD).await;
        let back = browser.submit(&[("form", "consent"), ("decision", "grant")]).await;
        assert!(back.starts_with(REDIRECT), "{back}");
        let code = parameters(&back).into_iter().find(|(name, _)| name == "code").unwrap().1;
        let mut body = world.exchange_body(&code);
        if redirect_uri.contains('?') {
            body["redirect_uri"] = json!(redirect_uri);
        }
        let answer = world.send(world.post("/oauth2/token", &body)).await;
        assert_eq!(answer.status, 200, "{redirect_uri} {scope}: {}", answer.text);
    }
    let calls = world.calls("/oauth2/authorize").await;
    assert_eq!(calls[0]["scope"], "manage_accounts,view_user");
}

#[tokio::test]
async fn a_missing_parameter_is_named_and_a_popup_needs_a_redirect_uri_too() {
    let world = World::start().await;
    let open = async |url: String| {
        let answer = world.send(world.client.get(url)).await;
        assert_eq!((answer.status, answer.location), (400, None));
        answer.text
    };
    let ui = &world.sandbox.endpoints().ui;
    assert!(open(format!("{ui}/oauth2/authorize")).await.contains("The client_id parameter is required."));
    assert!(open(page(&world)).await.contains("The redirect_uri parameter is required."));
    let popup = open(format!("{}&scope={SCOPES}&popup=1", page(&world))).await;
    assert!(popup.contains("The redirect_uri parameter is required.") && popup.contains("by redirect alone"));
    let scopeless = open(format!("{}&redirect_uri={REDIRECT}&scope=", page(&world))).await;
    assert!(scopeless.contains("The scope parameter is required."));
}

#[tokio::test]
async fn a_popup_ends_in_a_redirect_like_any_other_window() {
    let world = World::start().await;
    world.make_user(EMAIL).await;
    let mut browser = Browser::new(&world, format!("{}&popup=1", world.authorize_url(SCOPES)));
    browser.log_in(EMAIL, PASSWORD).await;
    let consent = browser.open().await.text;
    assert!(consent.contains("class=\"compact\"") && consent.contains("by that redirect alone"));
    let back = browser.submit(&[("form", "consent"), ("decision", "grant")]).await;
    assert!(back.starts_with(&format!("{REDIRECT}?code=")), "{back}");
}

#[tokio::test]
async fn the_app_is_named_and_a_disabled_one_is_refused() {
    let world = World::start().await;
    let url = world.authorize_url(SCOPES);
    change_app(&world, |app| app.name = "Bakers & <b>Co</b>".to_owned());
    let shown = Browser::new(&world, url.clone()).open().await.text;
    assert!(shown.contains("Bakers &#38; &#60;b&#62;Co") && shown.contains(&world.sandbox.endpoints().client_id));
    for state in [AppState::Disabled, AppState::Deleted] {
        change_app(&world, |app| app.state = state);
        let answer = world.send(world.client.get(&url)).await;
        assert_eq!((answer.status, answer.location), (400, None));
        assert!(answer.text.contains("The application is disabled."));
    }
    change_app(&world, |app| app.state = AppState::Active);
    assert_eq!(world.send(world.client.get(&url)).await.status, 200);
}

#[tokio::test]
async fn an_apps_own_domain_counts_before_that_of_the_settings() {
    let world = World::start().await;
    let status = async |uri: &str| {
        let url = format!("{}&scope={SCOPES}&redirect_uri={uri}", page(&world));
        world.send(world.client.get(url)).await.status
    };
    world.control("POST", "/settings", json!({"registered_domain": "shop.example", "lax_redirects": false})).await;
    assert_eq!((status("https://shop.example/cb").await, status("https://own.example/cb").await), (200, 400));
    change_app(&world, |app| app.registered_domain = Some("own.example".to_owned()));
    assert_eq!((status("https://shop.example/cb").await, status("https://own.example/cb").await), (400, 200));
    assert_eq!(status(REDIRECT).await, 400);
}

#[tokio::test]
async fn the_country_is_prefilled_and_only_where_wepay_is_can_people_register() {
    let world = World::start().await;
    let url = world.authorize_url(SCOPES);
    for (query, chosen) in
        [("", "US"), ("&user_country=CA", "CA"), ("&user_country=ca", "CA"), ("&user_country=FR", "US")]
    {
        let shown = Browser::new(&world, format!("{url}{query}")).open().await.text;
        assert!(shown.contains(&format!("<option value=\"{chosen}\" selected>")), "{query}");
        assert_eq!(shown.matches(" selected").count(), 1);
    }
    let mut browser = Browser::new(&world, url);
    let person =
        [("form", "register"), ("email", EMAIL), ("password", PASSWORD), ("first_name", "A"), ("last_name", "L")];
    let abroad = browser.send_form(&[&person[..], &[("country", "FR")]].concat()).await;
    assert!(abroad.status == 200 && abroad.text.contains("in that country"), "{}", abroad.text);
    assert_eq!(browser.send_form(&[&person[..], &[("country", "CA")]].concat()).await.status, 303);
}

#[tokio::test]
async fn a_refused_registration_keeps_what_was_typed_but_the_password() {
    let world = World::start().await;
    let mut browser = Browser::new(&world, world.authorize_url(SCOPES));
    let typed = [("email", "eve@x.example"), ("first_name", "Eve"), ("last_name", "Own"), ("country", "CA")];
    for (password, status) in [("", 200), ("seven 7", 200), ("eight 88", 303)] {
        let form = [&[("form", "register"), ("password", password)], &typed[..]].concat();
        let answer = browser.send_form(&form).await;
        assert_eq!(answer.status, status, "{password}");
        if status == 200 {
            for kept in ["eve@x.example", "value=\"Eve\"", "value=\"Own\"", "<option value=\"CA\" selected>"] {
                assert!(answer.text.contains(kept), "{kept}");
            }
            assert!(answer.text.contains("A password of") && (password.is_empty() || !answer.text.contains(password)));
        }
    }
}

#[tokio::test]
async fn who_never_confirmed_is_told_how_when_logging_in() {
    let world = World::start().await;
    let (ada, _) = world.register(EMAIL).await;
    let login = [("form", "login"), ("email", EMAIL), ("password", PASSWORD)];
    let mut browser = Browser::new(&world, world.authorize_url(SCOPES));
    let told = browser.send_form(&login).await;
    assert!(told.status == 200 && told.text.contains("Follow the link in the confirmation mail"), "{}", told.text);
    world.control("POST", &format!("/users/{ada}/delete"), Value::Null).await;
    assert!(browser.send_form(&login).await.text.contains("The email or the password is not right."));
}
