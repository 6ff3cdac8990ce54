//! The pages: sound for everybody, what each takes and refuses, and what a signed-in person can do there.

mod authorize;
mod colors;
mod html;
mod safety;
mod settings;
mod update;

use serde_json::{Value, json};

use super::support::{Answer, Browser, PASSWORD, SCOPES, World};
use crate::sandbox::state::{App, Event};

const EMAIL: &str = "ada@shop.example";

/// All that the update page asks of a person in the United States.
pub(super) const DETAILS: [(&str, &str); 10] = [
    ("form", "update"),
    ("legal_name", "Ada Low"),
    ("date_of_birth", "1980-12-31"),
    ("address", "1 Invented Street"),
    ("city", "Nowhere"),
    ("region", "CA"),
    ("postal_code", "00000"),
    ("bank_name", "Invented Bank"),
    ("routing_number", "000000000"),
    ("account_number", "123456789"),
];

/// A person with an app's token and an account that it made.
async fn merchant(world: &World) -> (u64, String, u64) {
    let ada = world.make_user(EMAIL).await;
    let token = world.token(EMAIL).await;
    let account = world.ok(&token, "/account/create", json!({"name": "Ada's Shop", "description": "Bread"})).await;
    (ada, token, account["account_id"].as_u64().unwrap())
}

/// The address of an account's update page.
fn update_url(world: &World, account_id: u64, query: &str) -> String {
    let ui = &world.sandbox.endpoints().ui;
    format!("{}/api/account_update/{account_id}{query}", ui.strip_suffix("/v2").unwrap())
}

fn settings_url(world: &World) -> String {
    format!("{}/settings", world.sandbox.endpoints().ui)
}

/// A browser that is signed in at this page.
async fn signed_in<'a>(world: &'a World, url: &str, email: &str) -> Browser<'a> {
    let mut browser = Browser::new(world, url.to_owned());
    browser.log_in(email, PASSWORD).await;
    browser
}

/// Changes the app that was made first.
fn change_app(world: &World, change: impl FnOnce(&mut App)) {
    let mut world = world.sandbox.core.lock();
    let mut app = world.state.first_app().unwrap().clone();
    change(&mut app);
    world.commit(vec![Event::AppChanged(Box::new(app))]).unwrap();
}

/// The page is sound, and says this; the page.
fn sound(what: &str, page: Answer, status: u16, says: &str) -> Answer {
    assert_eq!(page.status, status, "{what}: {}", page.text);
    html::check(what, &page.text);
    assert!(page.text.contains(says), "{what} does not say {says:?}: {}", page.text);
    page
}

#[tokio::test]
async fn the_pages_of_an_authorization_are_sound_for_everybody() {
    let world = World::start().await;
    let url = world.authorize_url(SCOPES);
    for url in [url.clone(), format!("{url}&popup=1")] {
        let mut browser = Browser::new(&world, url.clone());
        sound("sign in", browser.open().await, 200, "Sign in to continue");
        let wrong = [("form", "login"), ("email", "\"><i>x"), ("password", "x")];
        sound("wrong password", browser.send_form(&wrong).await, 200, "is not right");
        let empty = [("form", "register"), ("email", EMAIL), ("first_name", "<i>"), ("password", "x")];
        sound("no name", browser.send_form(&empty).await, 200, "First and last name are needed");
    }
    world.make_user(EMAIL).await;
    let mut browser = signed_in(&world, &url, EMAIL).await;
    sound("consent", browser.open().await, 200, "Grant access?");
    sound("no decision", browser.send_form(&[("form", "consent")]).await, 400, "Nothing was chosen");
    sound("unknown form", browser.send_form(&[("form", "x")]).await, 400, "This form is unknown");
    sound("no csrf", browser.send_raw(&[("form", "consent")]).await, 403, "too old");
    browser.url.push_str("&popup=1");
    sound("consent in a popup", browser.open().await, 200, "class=\"compact\"");
    let bare = |method: &str, url: &str| world.client.request(method.parse().unwrap(), url);
    let pages = [
        (bare("GET", &url.replace("client_id=", "client_id=x")), 400, "cannot be used"),
        (bare("PUT", &url), 405, "cannot be done"),
        (bare("GET", &url.replace("/v2/", "/v3/")), 404, "nothing here"),
    ];
    for (request, status, says) in pages {
        sound("refusal", world.send(request).await, status, says);
    }
    world.fault(json!({"path": "/oauth2/authorize", "kind": "status", "status": 502})).await;
    sound("a proxy's page", world.send(bare("GET", &url)).await, 502, "scripted fault");
}

#[tokio::test]
async fn the_pages_of_a_confirmation_are_sound_for_everybody() {
    let world = World::start().await;
    let (ada, token) = world.register(EMAIL).await;
    world.ok(&token, "/user/send_confirmation", json!({})).await;
    let link = world.mails(ada).await[0]["link"].as_str().unwrap().to_owned();
    let mut browser = Browser::new(&world, link.clone());
    sound("confirm", browser.open().await, 200, "has registered you at WePay");
    let short = [("form", "confirm"), ("decision", "grant"), ("accept", "yes"), ("password", "seven 7")];
    sound("short password", browser.send_form(&short).await, 200, "A password of 8 to 255 characters");
    let whole = [("form", "confirm"), ("decision", "grant"), ("accept", "yes"), ("password", PASSWORD)];
    sound("thank you", browser.send_form(&whole).await, 200, "is confirmed");
    sound("again", browser.open().await, 200, "Already confirmed");
    sound("wrong key", Browser::new(&world, format!("{link}0")).open().await, 400, "not one that was sent");
    world.control("POST", &format!("/users/{ada}/delete"), Value::Null).await;
    sound("deleted", browser.open().await, 400, "is closed");
    let bob = world.make_user("bob@shop.example").await;
    let (_, token) = world.register("bob@shop.example").await;
    world.ok(&token, "/user/send_confirmation", json!({})).await;
    let link = world.mails(bob).await[0]["link"].as_str().unwrap().to_owned();
    let page = sound("no password needed", Browser::new(&world, link).open().await, 200, "Grant Access");
    assert!(!page.text.contains("confirm-password"));
}

#[tokio::test]
async fn the_update_page_is_sound_for_everybody_in_every_state() {
    let world = World::start().await;
    let (_, token, account_id) = merchant(&world).await;
    for query in ["", "?iframe=1", "?redirect_uri=http%3A%2F%2F127.0.0.1%3A9%2Fdone"] {
        let url = update_url(&world, account_id, query);
        sound("door", Browser::new(&world, url.clone()).open().await, 200, "Sign in to continue");
        let mut browser = signed_in(&world, &url, EMAIL).await;
        sound("form", browser.open().await, 200, "Complete your payment account");
        let wrong = [("form", "update"), ("routing_number", "021000021"), ("legal_name", "\"><i>")];
        sound("problems", browser.send_form(&wrong).await, 200, "Something is not right yet");
    }
    let order = json!({"name": "<i>Club</i>", "description": "Bread", "type": "nonprofit"});
    let club = world.ok(&token, "/account/create", order).await["account_id"].as_u64().unwrap();
    let mut browser = signed_in(&world, &update_url(&world, club, ""), EMAIL).await;
    let page = sound("organization", browser.open().await, 200, "About the organization");
    assert!(page.text.contains("name=\"ein\"") && !page.text.contains("date_of_birth") && !page.text.contains("<i>"));
    for (state, says) in [
        ("pending", "Confirm your registration first"),
        ("active", "Nothing is missing"),
        ("deleted", "This account is closed"),
    ] {
        world.control("POST", &format!("/accounts/{club}/state"), json!({"state": state})).await;
        sound(state, browser.open().await, 200, says);
        let sent = browser.send_raw(&[&DETAILS[..], &[("csrf", "x")]].concat()).await;
        assert_eq!(sent.status, 403);
        sound(state, browser.send_form(&DETAILS).await, 200, says);
        assert_eq!(account_state(&world, club).await, state, "the form changed what it must not");
    }
    sound("nobody's", signed_in(&world, &update_url(&world, 1, ""), EMAIL).await.open().await, 403, "not your account");
}

#[tokio::test]
async fn the_settings_are_sound_for_everybody() {
    let world = World::start().await;
    world.make_user("bob@shop.example").await;
    sound("door", Browser::new(&world, settings_url(&world)).open().await, 200, "Sign in to continue");
    let mut browser = signed_in(&world, &settings_url(&world), "bob@shop.example").await;
    sound("empty", browser.open().await, 200, "No application has access");
    merchant(&world).await;
    let mut browser = signed_in(&world, &settings_url(&world), EMAIL).await;
    sound("full", browser.open().await, 200, "Take back");
    sound("wrong app", browser.send_form(&[("form", "revoke"), ("client_id", "1")]).await, 200, "no such application");
    sound("wrong password", browser.send_form(&[("form", "close")]).await, 200, "The password is not right");
    browser.url.push_str("?done=revoked");
    sound("done", browser.open().await, 200, "The access was taken back");
    sound("close", browser.send_form(&[("form", "close"), ("password", PASSWORD)]).await, 200, "close it for good");
    let close = [("form", "close"), ("password", PASSWORD), ("accept", "yes")];
    sound("closed", browser.send_form(&close).await, 200, "Your WePay account is closed");
}

async fn account_state(world: &World, account_id: u64) -> String {
    let accounts = world.accounts().await;
    let account = accounts.iter().find(|account| account["account_id"] == account_id).unwrap();
    account["state"].as_str().unwrap().to_owned()
}
