//! The queries and forms of the pages.

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};
use url::form_urlencoded::Serializer;
use url::{Position, Url};

use super::{Answer, Stage, list};
use crate::sandbox::state::{AccountState, UserState};
use crate::sandbox::tests::pages::DETAILS;
use crate::sandbox::tests::support::{PASSWORD, parameters};

/// What a browser keeps of a page: where it is, its cookie, its forms' token.
struct Tab<'a> {
    stage: &'a Stage,
    target: String,
    cookie: String,
    csrf: String,
}

impl<'a> Tab<'a> {
    async fn open(stage: &'a Stage, target: &str) -> Self {
        let mut tab = Self { stage, target: target.to_owned(), cookie: String::new(), csrf: String::new() };
        let page = tab.get(target).await;
        assert_eq!(page.status, 200, "{}", page.text);
        tab.keep(&page);
        csrf(&page).clone_into(&mut tab.csrf);
        tab
    }

    /// The page behind its door.
    async fn signed_in(stage: &'a Stage, target: &str, email: &str) -> Self {
        let mut tab = Tab::open(stage, target).await;
        let entered = tab.post(&[("form", "login"), ("email", email), ("password", PASSWORD)]).await;
        assert_eq!(entered.status, 303, "{}", entered.text);
        tab.keep(&entered);
        csrf(&tab.get(target).await).clone_into(&mut tab.csrf);
        tab
    }

    fn keep(&mut self, answer: &Answer) {
        if let Some(cookie) = &answer.cookie {
            cookie.split(';').next().unwrap().clone_into(&mut self.cookie);
        }
    }

    async fn get(&self, target: &str) -> Answer {
        let request = Request::get(target).header(header::COOKIE, &self.cookie);
        self.stage.send(request.body(Body::empty()).unwrap()).await
    }

    /// A form of this page; its answer must be one that a page may give.
    async fn post_to(&self, target: &str, fields: &[(&str, &str)]) -> Answer {
        let csrf = [("csrf", self.csrf.as_str())];
        let csrf = csrf.iter().filter(|(name, _)| fields.iter().all(|(given, _)| given != name));
        let body = Serializer::new(String::new()).extend_pairs(fields.iter().chain(csrf)).finish();
        let request = Request::post(target).header(header::COOKIE, &self.cookie);
        let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let answer = self.stage.send(request.body(Body::from(body)).unwrap()).await;
        assert!(matches!(answer.status, 200 | 303 | 400 | 403), "{fields:?}: {}", answer.status);
        assert!(answer.status == 303 || answer.text.contains("sandbox"), "{fields:?}: {}", answer.text);
        answer
    }

    async fn post(&self, fields: &[(&str, &str)]) -> Answer {
        self.post_to(&self.target, fields).await
    }
}

/// The token of a page's forms.
fn csrf(page: &Answer) -> &str {
    page.text.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap()
}

/// The authorize page with these parameters instead of the usual ones.
fn authorize(stage: &Stage, name: &str, value: &str) -> String {
    let usual = stage.world.authorize_url(super::SCOPES);
    let mut pairs: Vec<(String, String)> =
        parameters(&usual).into_iter().filter(|(known, _)| known != name && known != "user_name").collect();
    pairs.push((name.to_owned(), value.to_owned()));
    format!("/v2/oauth2/authorize?{}", Serializer::new(String::new()).extend_pairs(pairs).finish())
}

/// What could be markup stands on no page as it was sent.
fn is_escaped(page: &Answer, string: &str, usual: &str) {
    let is_markup = string.contains('<') && !usual.contains(string);
    assert!(!(is_markup && page.text.contains(string)), "{string:?} stands on the page: {}", page.text);
}

const QUERY: [&str; 9] = [
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "user_name",
    "user_email",
    "user_country",
    "popup",
    "response_type",
];

#[tokio::test]
async fn the_authorize_page_shows_or_refuses_naughty_parameters_and_never_redirects() {
    let Some(strings) = list() else { return };
    let stage = Stage::new().await;
    let usual = authorize(&stage, "state", "s");
    let tab = Tab::open(&stage, &usual).await;
    let usual = tab.get(&usual).await.text;
    for name in QUERY {
        let mut shown = 0;
        // Longer ones do not fit into a request's first line.
        for string in strings.iter().filter(|string| string.len() < 10_000) {
            let page = tab.get(&authorize(&stage, name, string)).await;
            assert!(matches!(page.status, 200 | 400) && page.location.is_none(), "{name}={string:?}: {}", page.status);
            is_escaped(&page, string, &usual);
            shown += usize::from(page.status == 200);
        }
        let is_checked = matches!(name, "client_id" | "redirect_uri" | "scope");
        assert!(is_checked || shown > 0, "{name}: all were refused");
    }
}

#[tokio::test]
async fn the_state_comes_back_as_it_was_sent() {
    let Some(strings) = list() else { return };
    let stage = Stage::new().await;
    stage.world.make_user("eve@shop.example").await;
    let tab = Tab::signed_in(&stage, &authorize(&stage, "state", "s"), "eve@shop.example").await;
    for string in strings.iter().filter(|string| string.len() < 10_000) {
        for decision in ["grant", "deny"] {
            let target = authorize(&stage, "state", string);
            let back = tab.post_to(&target, &[("form", "consent"), ("decision", decision)]).await;
            let back = parameters(&back.location.unwrap_or_else(|| panic!("{string:?}: {}", back.text)));
            assert_eq!(back.iter().find(|(name, _)| name == "state").map(|(_, value)| value), Some(string));
        }
    }
}

#[tokio::test]
async fn a_person_registers_with_naughty_names_addresses_and_passwords_or_is_told_why_not() {
    let Some(strings) = list() else { return };
    let stage = Stage::new().await;
    let tab = Tab::open(&stage, &authorize(&stage, "state", "s")).await;
    for field in ["first_name", "last_name", "email", "password"] {
        let mut taken = 0;
        for (at, string) in strings.iter().enumerate() {
            let email = format!("{field}{at}@shop.example");
            let mut person = [
                ("form", "register"),
                ("first_name", "Ada"),
                ("last_name", "Low"),
                ("email", &email),
                ("password", PASSWORD),
            ];
            let odd = if field == "email" { format!("{string}.{at}@blns.example") } else { string.clone() };
            person.iter_mut().find(|(name, _)| *name == field).unwrap().1 = &odd;
            let value = |name| person.iter().find(|(known, _)| *known == name).unwrap().1;
            let before = stage.world.sandbox.core.lock().state.users().count();
            let answer = tab.post(&person).await;
            let core = &stage.world.sandbox.core;
            if answer.status == 200 {
                is_escaped(&answer, string, "");
                assert_eq!(core.lock().state.users().count(), before, "{field}: {string:?} was refused");
                continue;
            }
            assert_eq!(answer.status, 303, "{field}: {string:?}");
            taken += 1;
            let user = core.lock().state.user_by_email(value("email")).cloned();
            let user = user.unwrap_or_else(|| panic!("{string:?}: nobody has the address"));
            let kept = [user.first_name.as_str(), &user.last_name, &user.email];
            assert_eq!(kept, [value("first_name"), value("last_name"), value("email")], "{field}: {string:?}");
            assert!(user.state == UserState::Registered, "{string:?}");
            let entered = [("form", "login"), ("email", value("email")), ("password", value("password"))];
            assert_eq!(tab.post(&entered).await.status, 303, "{field}: {string:?} does not sign in");
        }
        assert!(taken > strings.len() / 4, "{field}: many are taken");
    }
}

#[tokio::test]
async fn nobody_signs_in_or_decides_with_a_naughty_string() {
    let Some(strings) = list() else { return };
    let stage = Stage::new().await;
    stage.world.make_user("eve@shop.example").await;
    let tab = Tab::open(&stage, &authorize(&stage, "state", "s")).await;
    let before = stage.fingerprint().await;
    for string in &strings {
        for fields in [
            [("form", "login"), ("email", string.as_str()), ("password", PASSWORD)],
            [("form", "login"), ("email", "eve@shop.example"), ("password", string)],
            [("form", string), ("email", "eve@shop.example"), ("password", PASSWORD)],
            [("form", "login"), ("email", "eve@shop.example"), ("csrf", string)],
        ] {
            let answer = tab.post(&fields).await;
            assert!(answer.location.is_none(), "{fields:?}");
            is_escaped(&answer, string, "");
        }
    }
    assert_eq!(stage.fingerprint().await, before);
}

#[tokio::test]
async fn the_confirmation_page_takes_naughty_passwords_and_no_naughty_links() {
    let Some(strings) = list() else { return };
    let stage = Stage::new().await;
    let mut taken = 0;
    for (at, string) in strings.iter().enumerate() {
        let email = format!("c{at}@shop.example");
        let issued = stage.call("/user/register", None, &stage.world.register_body(&email)).await.json();
        stage.call("/user/send_confirmation", issued["access_token"].as_str(), &json!({})).await;
        let mails = format!("/mails?user_id={}", issued["user_id"]);
        let mails = stage.control("GET", &mails, &Value::Null).await;
        let link = Url::parse(mails["mails"][0]["link"].as_str().unwrap()).unwrap();
        let target = link[Position::BeforePath..].to_owned();
        let tab = Tab::open(&stage, &target).await;
        for name in ["mail", "key"].into_iter().filter(|_| string.len() < 10_000) {
            let mut odd = link.clone();
            let pairs: Vec<_> = parameters(link.as_str()).into_iter().filter(|(known, _)| known != name).collect();
            odd.query_pairs_mut().clear().extend_pairs(pairs).append_pair(name, string);
            let page = tab.get(&odd[Position::BeforePath..]).await;
            assert_eq!((page.status, page.location.is_none()), (400, true), "{name}={string:?}");
        }
        let fields = [("form", "confirm"), ("password", string), ("accept", "yes"), ("decision", "grant")];
        let answer = tab.post(&fields).await;
        let user = stage.world.sandbox.core.lock().state.user_by_email(&email).cloned().unwrap();
        let is_confirmed = user.state == UserState::Registered;
        assert_eq!(
            is_confirmed,
            user.password.as_ref().is_some_and(|kept| kept.is(string)),
            "{string:?}: {}",
            answer.text
        );
        taken += usize::from(is_confirmed);
    }
    assert!(taken > strings.len() / 4, "many are taken");
}

/// A person with an account that waits for everything; its update page.
async fn merchant(stage: &Stage) -> (u64, String) {
    let eve = stage.world.make_user("eve@shop.example").await;
    let issued = stage.call("/user/register", None, &stage.world.register_body("eve@shop.example")).await.json();
    let order = json!({"name": "Eve's Shop", "description": "Bread"});
    let account = stage.call("/account/create", issued["access_token"].as_str(), &order).await.json();
    stage.control("POST", &format!("/users/{eve}/confirm"), &Value::Null).await;
    let account_id = account["account_id"].as_u64().unwrap();
    (account_id, format!("/api/account_update/{account_id}"))
}

#[tokio::test]
async fn the_account_update_page_keeps_a_naughty_name_of_a_bank_or_refuses_the_form() {
    let Some(strings) = list() else { return };
    let stage = Stage::new().await;
    let (account_id, target) = merchant(&stage).await;
    let tab = Tab::signed_in(&stage, &target, "eve@shop.example").await;
    stage.control("POST", "/snapshots/before", &Value::Null).await;
    let before = stage.fingerprint().await;
    for (field, _) in DETAILS {
        let (mut taken, mut refused) = (0, 0);
        for string in &strings {
            let form = DETAILS.map(|(name, value)| (name, if name == field { string } else { value }));
            let answer = tab.post(&form).await;
            is_escaped(&answer, string, "");
            let account = stage.world.sandbox.core.lock().state.account(account_id).cloned().unwrap();
            if account.state != AccountState::Active {
                let says = if field == "form" { "This form is unknown" } else { "Something is not right yet" };
                assert!(answer.text.contains(says), "{field}: {string:?}: {}", answer.text);
                assert_eq!(stage.fingerprint().await, before, "{field}: {string:?}: a refusal changed something");
                refused += 1;
                continue;
            }
            assert!(answer.text.contains("Thank you") && field != "form", "{field}: {string:?}: {}", answer.text);
            let bank = account.standing.bank.unwrap().name;
            let name = if field == "bank_name" { string.trim() } else { "Invented Bank" };
            assert!(bank.starts_with(&format!("{name} XXXXX")), "{field}: {string:?}: {bank:?}");
            stage.control("POST", "/snapshots/before/restore", &Value::Null).await;
            taken += 1;
        }
        let is_checked = matches!(field, "form" | "date_of_birth" | "routing_number");
        assert!(refused > 0 && (is_checked || taken > 0), "{field}: {taken} taken, {refused} refused");
    }
}

#[tokio::test]
async fn the_account_update_page_shows_or_refuses_naughty_links_and_redirects_nobody() {
    let Some(strings) = list() else { return };
    let stage = Stage::new().await;
    let (_, target) = merchant(&stage).await;
    let tab = Tab::signed_in(&stage, &target, "eve@shop.example").await;
    let (usual, before) = (tab.get(&target).await.text, stage.fingerprint().await);
    for string in strings.iter().filter(|string| string.len() < 10_000) {
        let mut url = Url::parse("http://127.0.0.1/").unwrap();
        url.set_path(&format!("{target}{string}"));
        // Points lead elsewhere.
        let path = Some(url.path()).filter(|path| path.starts_with(&target)).unwrap_or(&target);
        for (name, value) in [("iframe", string.as_str()), ("redirect_uri", string), ("x", string), (string, "1")] {
            let query = Serializer::new(String::new()).append_pair(name, value).finish();
            for target in [format!("{target}?{query}"), format!("{path}?{query}")] {
                let page = tab.get(&target).await;
                let is_page = matches!(page.status, 200 | 400 | 403) && page.location.is_none();
                assert!(is_page, "{target}: {}", page.status);
                assert!(page.text.contains("sandbox"), "{target}: {}", page.text);
                is_escaped(&page, string, &usual);
            }
        }
    }
    assert_eq!(stage.fingerprint().await, before);
}

#[tokio::test]
async fn the_settings_take_no_naughty_string_for_an_app_a_password_or_a_yes() {
    let Some(strings) = list() else { return };
    let stage = Stage::new().await;
    merchant(&stage).await;
    let tab = Tab::signed_in(&stage, "/v2/settings", "eve@shop.example").await;
    let (usual, before) = (tab.get("/v2/settings").await.text, stage.fingerprint().await);
    for string in &strings {
        for (fields, says) in [
            ([("form", "revoke"), ("client_id", string.as_str()), ("accept", "yes")], "There is no such application."),
            ([("form", "close"), ("password", string), ("accept", "yes")], "The password is not right."),
            ([("form", "close"), ("password", PASSWORD), ("accept", string)], "Say that you want to close it"),
            ([("form", string), ("password", PASSWORD), ("accept", "yes")], "This form is unknown"),
        ] {
            let answer = tab.post(&fields).await;
            assert!(answer.text.contains(says), "{fields:?}: {}", answer.text);
            is_escaped(&answer, string, &usual);
        }
        if string.len() < 10_000 {
            let query = Serializer::new(String::new()).append_pair("done", string).finish();
            let page = tab.get(&format!("/v2/settings?{query}")).await;
            assert_eq!(page.status, 200, "{string:?}");
            is_escaped(&page, string, &usual);
        }
    }
    assert_eq!(stage.fingerprint().await, before);
}
