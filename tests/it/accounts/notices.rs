//! The provider's notices: taken at the addresses that we handed out, kept over a restart, and nowhere else. The last tests let
//! the provider itself send them.

use std::time::Duration;

use reqwest::{Certificate, Client, Method, StatusCode, redirect};
use serde_json::{Value, json};
use strongroom::domain::trail::{Event, EventKind, Outcome};

use crate::support::app::TestApp;

/// What the provider sends about an account.
const BODY: &str = "account_id=4711";

/// The provider, sending.
struct Sender(Client);

impl Sender {
    fn of(app: &TestApp) -> Self {
        let authority = Certificate::from_pem(&std::fs::read(&app.dev().public_ca).unwrap()).unwrap();
        let client = Client::builder().no_proxy().redirect(redirect::Policy::none()).tls_certs_only([authority]);
        Self(client.build().unwrap())
    }

    async fn send(&self, url: &str, body: impl Into<String>) -> (StatusCode, String) {
        let request = self.0.post(url).header("content-type", "application/x-www-form-urlencoded").body(body.into());
        let answer = request.send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }
}

/// The address that the provider keeps for an account, and the one for a user.
async fn addresses(app: &TestApp) -> (String, String) {
    let shop = app.connected("ada-books").await;
    let made = app.create_account(&app.account_order(&shop, "Ada Books")).await.unwrap();
    let state = app.control(reqwest::Method::GET, "/state", None).await;
    let accounts = state["accounts"].as_array().unwrap();
    let account = accounts.iter().find(|account| account["reference_id"] == made.account_id.as_str()).unwrap();
    let token = app.token(&shop).await.access_token;
    let user = Client::builder().no_proxy().build().unwrap().post(format!("{}/user", app.dev().sandbox.api));
    let user = user.header("authorization", format!("Bearer {token}")).send().await.unwrap().text().await.unwrap();
    let user: Value = serde_json::from_str(&user).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&account["callback_uri"]), text(&user["callback_uri"]))
}

async fn kept(app: &TestApp) -> Vec<(String, String, i64)> {
    app.rows("SELECT kind, object_id, times FROM notices ORDER BY kind, object_id").await
}

#[tokio::test]
async fn a_notice_to_an_address_that_we_handed_out_is_kept_also_over_a_restart() {
    let app = TestApp::start().await;
    let (account, user) = addresses(&app).await;
    assert!(account.contains("/notices/app_") && account.contains("/account/") && user.contains("/user/"));
    let sender = Sender::of(&app);
    for _ in 0..3 {
        assert_eq!(sender.send(&account, BODY).await, (StatusCode::OK, "OK".to_owned()));
    }
    assert_eq!(sender.send(&user, "user_id=99&email=ada%40mail.example").await.0, StatusCode::OK);
    // A minute later it is news again.
    app.advance(Duration::from_secs(61)).await;
    let app = app.restart().await;
    let rows = [("account".to_owned(), "4711".to_owned(), 3), ("user".to_owned(), "99".to_owned(), 1)];
    assert_eq!(kept(&app).await, rows);
    assert_eq!(Sender::of(&app).send(&account, BODY).await.0, StatusCode::OK, "the address lives for ever");
    let events = app.events().await;
    let stored: Vec<_> = events.iter().filter(|event| event.kind == EventKind::NoticeStored).collect();
    // What repeats one of the same minute is counted, not recorded.
    let told = |event: &&Event| event.details.get("object").cloned().zip(event.details.get("times").cloned());
    let pair = |object: &str, times: &str| Some((object.to_owned(), times.to_owned()));
    let told: Vec<_> = stored.iter().map(told).collect();
    assert_eq!(told, [pair("4711", "1"), pair("99", "1"), pair("4711", "4")]);
    assert!(stored.iter().all(|event| event.actor == "provider" && !format!("{event:?}").contains("mail.example")));
    app.close().await;
}

#[tokio::test]
async fn nothing_else_is_a_notice() {
    let app = TestApp::start().await;
    let (account, user) = addresses(&app).await;
    let sender = Sender::of(&app);
    let tag = account.rsplit('/').next().unwrap();
    let base = account.strip_suffix(tag).unwrap();
    let other = || format!("{}A", &tag[..tag.len() - 1]);
    let forged = tag.strip_suffix('A').map_or_else(other, |head| format!("{head}B"));
    for elsewhere in [
        format!("{base}{forged}"),
        format!("{base}x"),
        // The tag of another kind.
        account.replace("/account/", "/user/"),
        user.replace("/user/", "/account/"),
        account.replace("/account/", "/checkout/"),
        account.replace("/app_", "/app_0"),
    ] {
        assert_eq!(sender.send(&elsewhere, BODY).await.0, StatusCode::NOT_FOUND, "{elsewhere}");
        assert_eq!(sender.send(&elsewhere, "x".repeat(6_000)).await.0, StatusCode::NOT_FOUND);
    }
    for unreadable in
        ["", "user_id=99", "account_id=", "account_id=abc", "account_id=1&account_id=2", "{\"account_id\":1}"]
    {
        assert_eq!(sender.send(&account, unreadable).await.0, StatusCode::BAD_REQUEST, "{unreadable}");
    }
    let long = format!("{BODY}&x={}", "x".repeat(5_000));
    assert_eq!(sender.send(&account, long).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    let looked_at = sender.0.get(&account).send().await.unwrap();
    assert_eq!(looked_at.status(), StatusCode::METHOD_NOT_ALLOWED);
    // Who knows one address cannot fill the table through it.
    let sent = many(&sender, &account).await;
    assert_eq!(sent.iter().filter(|status| **status == StatusCode::OK).count(), 8);
    assert!(sent.iter().all(|status| matches!(*status, StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE)));
    assert_eq!(kept(&app).await.len(), 8);
    let refused = app.events().await.into_iter().filter(|event| event.kind == EventKind::NoticeRefused);
    let refused: Vec<_> = refused.collect();
    assert_eq!(refused.len(), 10, "one for each address and body, but not of another app");
    assert!(refused.iter().all(|event| event.outcome == Outcome::Denied));
    app.close().await;
}

/// The answers to notices of ever new objects.
async fn many(sender: &Sender, address: &str) -> Vec<StatusCode> {
    let mut answers = Vec::new();
    for object in 0..12 {
        answers.push(sender.send(address, format!("account_id={object}")).await.0);
    }
    answers
}

#[tokio::test]
async fn a_notice_that_cannot_be_kept_is_asked_for_again() {
    let app = TestApp::start().await;
    let (account, _) = addresses(&app).await;
    let sender = Sender::of(&app);
    // Somebody else has the database: nothing can be written.
    let mut intruder = app.intruder().await;
    intruder.lock().await;
    assert_eq!(sender.send(&account, BODY).await.0, StatusCode::SERVICE_UNAVAILABLE);
    intruder.unlock().await;
    intruder.close().await;
    assert_eq!(kept(&app).await, []);
    assert_eq!(sender.send(&account, BODY).await.0, StatusCode::OK);
    assert_eq!(kept(&app).await, [("account".to_owned(), "4711".to_owned(), 1)]);
    app.close().await;
}

/// A shop with an account at the provider, where its notices begin.
struct Told {
    account_id: u64,
    user_id: u64,
}

impl Told {
    async fn of(app: &TestApp) -> Self {
        let shop = app.connected("ada-books").await;
        let made = app.create_account(&app.account_order(&shop, "Ada Books")).await.unwrap();
        let state = app.control(Method::GET, "/state", None).await;
        let accounts = state["accounts"].as_array().unwrap();
        let account = accounts.iter().find(|account| account["reference_id"] == made.account_id.as_str()).unwrap();
        let id = |name: &str| account[name].as_u64().unwrap();
        Self { account_id: id("account_id"), user_id: id("owner_user_id") }
    }

    /// Something happens to the account at the provider.
    async fn change_account(&self, app: &TestApp, state: &str) {
        let path = format!("/accounts/{}/state", self.account_id);
        app.control(Method::POST, &path, Some(json!({ "state": state }))).await;
    }

    fn account(&self, times: i64) -> (String, String, i64) {
        ("account".to_owned(), self.account_id.to_string(), times)
    }

    fn user(&self, times: i64) -> (String, String, i64) {
        ("user".to_owned(), self.user_id.to_string(), times)
    }
}

/// What the provider says of its notices: how each stands, and what its last try was answered.
async fn sent(app: &TestApp) -> Vec<(Value, Value)> {
    let answer = app.control(Method::GET, "/notices", None).await;
    let last =
        |notice: &Value| notice["tries"].as_array().unwrap().last().map_or(Value::Null, |last| last["status"].clone());
    answer["notices"].as_array().unwrap().iter().map(|notice| (notice["state"].clone(), last(notice))).collect()
}

#[tokio::test]
async fn what_changes_at_the_provider_is_told_and_kept() {
    let app = TestApp::start().await;
    let told = Told::of(&app).await;
    assert_eq!(sent(&app).await, [], "what the product did itself is no news");
    told.change_account(&app, "disabled").await;
    app.until("the account's notice", async || kept(&app).await == [told.account(1)]).await;
    app.revoke(&told.user_id.to_string()).await;
    app.until("the user's notice", async || kept(&app).await == [told.account(1), told.user(1)]).await;
    let delivered = (json!("delivered"), json!(200));
    app.until("the answers", async || sent(&app).await == [delivered.clone(), delivered.clone()]).await;
    app.close().await;
}

#[tokio::test]
async fn notices_that_waited_over_a_restart_come_reordered_and_twice() {
    let app = TestApp::start().await;
    let told = Told::of(&app).await;
    app.control(Method::POST, "/settings", Some(json!({ "notices": "hold" }))).await;
    told.change_account(&app, "active").await;
    told.change_account(&app, "disabled").await;
    app.revoke(&told.user_id.to_string()).await;
    let app = app.restart().await;
    assert_eq!(kept(&app).await, []);
    assert_eq!(sent(&app).await, vec![(json!("held"), Value::Null); 3]);
    app.control(Method::POST, "/notices/release", Some(json!({ "order": "reversed", "copies": 2 }))).await;
    app.until("all of them", async || kept(&app).await == [told.account(4), told.user(2)]).await;
    app.close().await;
}

#[tokio::test]
async fn a_notice_that_could_not_be_kept_comes_again_also_over_a_restart() {
    let app = TestApp::start().await;
    let told = Told::of(&app).await;
    let mut intruder = app.intruder().await;
    intruder.lock().await;
    told.change_account(&app, "disabled").await;
    app.until("the refusal", async || sent(&app).await == [(json!("failed"), json!(503))]).await;
    intruder.unlock().await;
    intruder.close().await;
    let app = app.restart().await;
    assert_eq!(kept(&app).await, []);
    // The provider comes again a quarter of an hour later.
    app.advance(Duration::from_secs(15 * 60)).await;
    app.until("the retry", async || kept(&app).await == [told.account(1)]).await;
    app.close().await;
}
