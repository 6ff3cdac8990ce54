//! The Big List of Naughty Strings through every text field of every call and form: each is kept as it is or refused in the usual
//! way, and a refusal changes nothing.
//!
//! The requests enter behind the HTTP layer, for there are tens of thousands; what only that layer sees (paths, queries, headers)
//! gets its strings over a connection. A panic anywhere ends the answer, which fails here.

mod fields;
mod pages;
// The tests from outside skip by the same rule.
#[path = "../../../tests/it/support/prepared.rs"]
mod prepared;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use reqwest::Client;
use serde_json::{Value, json};

use super::support::{SCOPES, World, options};
use crate::sandbox::protocol::{PERMISSIONS, VERSIONS};
use crate::sandbox::{Sandbox, server};
use fields::{By, Field, Row, Seen};

/// Largest answer that is read.
const ANSWER_MAX: usize = 16 * 1024 * 1024;

/// Kinds of error that a call may have (WePay API docs, errors page), without that of a broken provider.
const REFUSALS: [&str; 4] = ["invalid_request", "access_denied", "invalid_scope", "invalid_client"];

/// The list, as `scripts/test` installs it; none when nobody did.
fn list() -> Option<Vec<String>> {
    let modules = prepared::prepared("STRONGROOM_TEST_NODE_MODULES")?;
    let path = std::path::Path::new(&modules).join("big-list-of-naughty-strings/blns.json");
    let strings: Vec<String> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    // An id of 64 bits, a text longer than any short field, and bytes that only JSON can write are not on the list.
    let ours = ["9223372036854775807", "18446744073709551616", "a\u{0}b", "\u{7f}", "\u{feff}x", "\r\nx: y"];
    let ours = ours.into_iter().map(str::to_owned).chain([256, 2_084, 65_536].map(|length| "ß".repeat(length)));
    let all: Vec<String> = strings.into_iter().chain(ours).collect::<BTreeSet<_>>().into_iter().collect();
    assert!(all.len() > 400, "the list is short");
    Some(all)
}

/// An answer of either kind.
struct Answer {
    status: u16,
    location: Option<String>,
    cookie: Option<String>,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

/// A sandbox with the app's owner, and a person whom the app registered; the app may do everything an app can be enabled for.
struct Stage {
    world: World,
    temporary: String,
    /// The owner's: an active one, and one that was just made.
    account_id: u64,
    new_account_id: u64,
}

impl Stage {
    async fn new() -> Self {
        // One client for all: each would read the machine's certificates again, and none is used here.
        static CLIENT: LazyLock<Client> = LazyLock::new(Client::default);
        let world = World { sandbox: Sandbox::start(options(None)).await.unwrap(), client: CLIENT.clone() };
        let account_id = world.sandbox.app_owner_account_id();
        let mut stage = Self { world, temporary: String::new(), account_id, new_account_id: 0 };
        let app = format!("/apps/{}", stage.world.sandbox.endpoints().client_id);
        stage.control("POST", &app, &json!({ "permissions": PERMISSIONS })).await;
        let mut body = stage.world.register_body("ada@shop.example");
        body["type"] = json!("sso");
        let issued = stage.call("/user/register", None, &body).await.json();
        issued["access_token"].as_str().unwrap().clone_into(&mut stage.temporary);
        let owner = stage.world.sandbox.app_owner_token();
        let made = stage.call("/account/create", Some(owner), &json!({"name": "New", "description": "x"})).await.json();
        stage.new_account_id = made["account_id"].as_u64().unwrap();
        stage
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let shown = request.uri().to_string();
        let core = self.world.sandbox.core.clone();
        let answer =
            server::answer::answer(core, false, request).await.unwrap_or_else(|_| panic!("{shown}: no answer"));
        let header = |name| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (location, cookie) = (header(header::LOCATION), header(header::SET_COOKIE));
        let status = answer.status().as_u16();
        let body = to_bytes(answer.into_body(), ANSWER_MAX).await.unwrap();
        Answer { status, location, cookie, text: String::from_utf8(body.to_vec()).unwrap() }
    }

    async fn call(&self, call: &str, token: Option<&str>, body: &Value) -> Answer {
        let mut request = Request::post(format!("/v2{call}")).header(header::CONTENT_TYPE, "application/json");
        // The newest version takes the most parameters.
        request = request.header("api-version", VERSIONS[VERSIONS.len() - 1]);
        // Wanted by the calls that tell who somebody is.
        request = request.header("client-ip", "203.0.113.7");
        request = request.header("wepay-risk-token", "01234567-89ab-cdef-0123-456789abcdef");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    async fn control(&self, method: &str, path: &str, body: &Value) -> Value {
        let request = Request::builder().method(method).uri(format!("/control{path}"));
        let answer = self.send(request.body(Body::from(body.to_string())).unwrap()).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.json()
    }

    /// The call with this body, as the row says.
    async fn ask(&self, row: &Row, body: &Value) -> Answer {
        let token = match row.by {
            By::Owner => Some(self.world.sandbox.app_owner_token()),
            By::Temporary => Some(self.temporary.as_str()),
            By::Client => None,
        };
        self.call(row.call, token, body).await
    }

    /// The row's body, with the app's credentials where they belong.
    fn body(&self, row: &Row) -> Value {
        let endpoints = self.world.sandbox.endpoints();
        let mut body = (row.body)(self);
        if matches!(row.by, By::Client) {
            body["client_id"] = json!(endpoints.client_id);
            body["client_secret"] = json!(endpoints.client_secret);
        }
        body
    }

    /// Everything that a call could have changed: all but the log of calls.
    async fn fingerprint(&self) -> Value {
        let mut whole = self.control("GET", "/snapshot", &Value::Null).await;
        assert!(whole["state"].as_array().is_some_and(|events| !events.is_empty()));
        whole["state"].take()
    }

    /// What is to be seen of a value that was taken.
    async fn seen(&self, answer: &Value, seen: &Seen) -> Value {
        let owner = Some(self.world.sandbox.app_owner_token());
        let (whole, pointer) = match seen {
            Seen::Nowhere => panic!("there is nothing to see"),
            Seen::Answer(pointer) => (answer.clone(), pointer),
            Seen::Account(pointer) => {
                let shown = self.call("/account", owner, &json!({"account_id": answer["account_id"]})).await.json();
                assert_eq!(shown.pointer(pointer), answer.pointer(pointer), "shown and answered");
                (shown, pointer)
            }
            Seen::User(pointer) => {
                let token = answer["access_token"].as_str().or(owner);
                (self.call("/user", token, &json!({})).await.json(), pointer)
            }
            Seen::Mail(pointer) => {
                let world = self.world.sandbox.core.lock();
                let mail = world.state.mails().last().unwrap();
                let mail = json!({"subject": mail.subject, "message": mail.message, "button_text": mail.button_text});
                (mail, pointer)
            }
            Seen::App(pointer) => {
                let app = fields::ROWS.iter().find(|row| row.call == "/app").unwrap();
                (self.ask(app, &self.body(app)).await.json(), pointer)
            }
            Seen::Rbit(pointer) => {
                (self.call("/rbit", owner, &json!({"rbit_id": answer["rbit_id"]})).await.json(), pointer)
            }
            Seen::Kyc(pointer) => {
                let account = json!({"account_id": self.new_account_id});
                (self.call("/account/kyc", owner, &account).await.json(), pointer)
            }
        };
        whole.pointer(pointer).cloned().unwrap_or(Value::Null)
    }
}

/// Whether it is a refusal as WePay makes them; anything else that is not a success fails.
fn is_refusal(answer: &Answer, shown: &str) -> bool {
    if answer.status == 200 {
        return false;
    }
    let body = answer.json();
    let error = body["error"].as_str().unwrap_or_default();
    assert!((400..500).contains(&answer.status) && REFUSALS.contains(&error), "{shown}: {} {body}", answer.status);
    assert!(body["error_code"].is_u64() && body["error_description"].is_string(), "{shown}: {body}");
    assert_eq!(body.as_object().unwrap().len(), 5, "{shown}: {body}");
    true
}

/// The row's body with a text in one of its fields; `number` keeps what has to be unique so.
fn filled(stage: &Stage, row: &Row, field: &Field, number: usize, text: &str) -> Value {
    let mut body = stage.body(row);
    for name in ["email", "reference_id"] {
        if let Some(Value::String(unique)) = body.get_mut(name) {
            *unique = unique.replace('#', &number.to_string());
        }
    }
    let slot = body.pointer_mut(field.pointer);
    *slot.unwrap_or_else(|| panic!("{} has no {}", row.call, field.pointer)) = json!(text);
    body
}

/// One field, all strings; those that were refused, then once more to see that they changed nothing.
async fn try_field(row: &Row, field: &Field, strings: &[String]) -> (usize, usize) {
    let (stage, mut refused, mut taken) = (Stage::new().await, Vec::new(), 0);
    stage.control("POST", "/snapshots/before", &Value::Null).await;
    let before = stage.fingerprint().await;
    for string in strings {
        for template in field.templates {
            let number = refused.len() + taken;
            let text = template.replace('#', &number.to_string()).replace("{}", string);
            let shown = format!("{} {} {text:?}", row.call, field.pointer);
            let body = filled(&stage, row, field, number, &text);
            let answer = stage.ask(row, &body).await;
            if is_refusal(&answer, &shown) {
                assert!(!row.is_once || stage.fingerprint().await == before, "{shown}: a refusal changed something");
                refused.push(body);
                continue;
            }
            taken += 1;
            // Empty counts as not given.
            if !text.is_empty() && !matches!(field.seen, Seen::Nowhere) {
                assert_eq!(stage.seen(&answer.json(), &field.seen).await, json!(text), "{shown}");
            }
            if row.is_once {
                stage.control("POST", "/snapshots/before/restore", &Value::Null).await;
            }
        }
    }
    if row.is_once {
        return (taken, refused.len());
    }
    let stage = Stage::new().await;
    let before = stage.fingerprint().await;
    for body in &refused {
        let body = stage.moved(row, body);
        let answer = stage.ask(row, &body).await;
        assert!(is_refusal(&answer, row.call), "{} {body}: refused once and taken then", row.call);
    }
    assert_eq!(stage.fingerprint().await, before, "{} {}: a refusal changed something", row.call, field.pointer);
    (taken, refused.len())
}

impl Stage {
    /// A body made on another stage, with this one's ids and secrets where the other's were good.
    fn moved(&self, row: &Row, body: &Value) -> Value {
        let (ours, mut moved) = (self.body(row), body.clone());
        for name in ["client_id", "client_secret", "account_id"] {
            let is_naughty = row.fields.iter().any(|field| field.pointer.strip_prefix('/') == Some(name));
            if !is_naughty && let (Some(ours), Some(slot)) = (ours.get(name), moved.get_mut(name)) {
                *slot = ours.clone();
            }
        }
        moved
    }
}

/// All fields of the calls whose names begin so.
async fn try_calls(is_tried: fn(&str) -> bool) {
    let Some(strings) = list() else { return };
    for row in fields::ROWS.iter().filter(|row| is_tried(row.call)) {
        let stage = Stage::new().await;
        let answer = stage.ask(row, &stage.body(row)).await;
        assert_eq!(answer.status == 200, row.works, "{} as it stands: {}", row.call, answer.text);
        let (mut taken, mut refused) = (0, 0);
        for field in row.fields {
            let (more_taken, more_refused) = try_field(row, field, &strings).await;
            let is_kept = !matches!(field.seen, Seen::Nowhere);
            assert!(more_taken > 0 || !is_kept, "{} {}: never taken", row.call, field.pointer);
            (taken, refused) = (taken + more_taken, refused + more_refused);
        }
        assert!(taken + refused >= row.fields.len() * strings.len(), "{}", row.call);
    }
}

/// Accounts have most of the fields.
fn is_about_accounts(call: &str) -> bool {
    call.starts_with("/account")
}

#[tokio::test]
async fn every_text_field_of_the_account_calls_keeps_a_naughty_string_or_refuses_it() {
    try_calls(is_about_accounts).await;
}

#[tokio::test]
async fn every_text_field_of_all_other_calls_keeps_a_naughty_string_or_refuses_it() {
    try_calls(|call| !is_about_accounts(call)).await;
}

/// Where texts stand in a body.
fn texts(value: &Value, at: String, found: &mut BTreeSet<String>) {
    match value {
        Value::String(_) => drop(found.insert(at)),
        Value::Array(items) => items.iter().enumerate().for_each(|(n, item)| texts(item, format!("{at}/{n}"), found)),
        Value::Object(map) => map.iter().for_each(|(name, item)| texts(item, format!("{at}/{name}"), found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[tokio::test]
async fn every_call_and_every_text_that_it_takes_is_in_the_table() {
    let stage = Stage::new().await;
    let calls = stage.control("GET", "/api", &Value::Null).await;
    let calls = calls["calls"].as_array().unwrap();
    assert_eq!(fields::ROWS.len(), calls.len(), "a call has one row");
    let mut missing = Vec::new();
    for call in calls {
        let name = call["call"].as_str().unwrap();
        let row = fields::ROWS.iter().find(|row| row.call == name).unwrap_or_else(|| panic!("{name} has no row"));
        let body = stage.body(row);
        for kind in ["required", "optional"] {
            let parameters = call["parameters"][kind].as_array().into_iter().flatten().filter_map(Value::as_str);
            let is_in_body = |parameter: &str| body.get(parameter).is_some() || fields::INSTEAD.contains(&parameter);
            missing.extend(parameters.filter(|name| !is_in_body(name)).map(|parameter| format!("{name} {parameter}")));
        }
        let (mut wanted, mut named) = (BTreeSet::new(), BTreeSet::new());
        texts(&body, String::new(), &mut wanted);
        named.extend(row.fields.iter().map(|field| field.pointer.to_owned()));
        assert_eq!(named, wanted, "{name}: the fields of the row and the texts of its body");
    }
    assert!(missing.is_empty(), "no row's body has {missing:?}");
}

#[tokio::test]
async fn every_call_refuses_a_parameter_with_a_naughty_name() {
    let Some(strings) = list() else { return };
    for row in fields::ROWS {
        let stage = Stage::new().await;
        let base = stage.body(row);
        let before = stage.fingerprint().await;
        for string in strings.iter().filter(|string| string.chars().count() < 256) {
            let mut body = base.clone();
            body[string.as_str()] = json!(string);
            let answer = stage.ask(row, &body).await;
            let shown = format!("{} with {string:?}", row.call);
            assert!(is_refusal(&answer, &shown), "{shown} was taken");
        }
        assert_eq!(stage.fingerprint().await, before, "{}: a refusal changed something", row.call);
    }
}

#[tokio::test]
async fn paths_queries_and_headers_take_naughty_strings_like_any_other() {
    let Some(strings) = list() else { return };
    let world = World::start().await;
    let owner = format!("Bearer {}", world.sandbox.app_owner_token());
    // Longer ones do not fit into a request's first line.
    for string in strings.iter().filter(|string| string.len() < 10_000) {
        let shown = format!("{string:?}");
        let mut url = url::Url::parse(&world.url("/account/find")).unwrap();
        url.query_pairs_mut().append_pair("name", string);
        let found = world.send(world.client.get(url.clone()).header("authorization", &owner)).await;
        assert!(matches!(found.status, 200 | 400), "{shown}: {}", found.text);
        url.set_path(&format!("/v2/user/{string}"));
        if url.path().trim_end_matches('/') != "/v2/user" && url.path().starts_with("/v2/user/") {
            assert_eq!(world.send(world.client.get(url)).await.refusal().2, 1001, "{shown}");
        }
        for name in ["authorization", "api-version", "content-type", "client-ip", "cookie", "user-agent"] {
            let Ok(value) = reqwest::header::HeaderValue::from_bytes(string.as_bytes()) else { continue };
            let request = world.post("/user", &json!({})).header(name, value);
            let status = world.send(request).await.status;
            assert!(matches!(status, 400 | 401), "{name}: {shown}: {status}");
        }
    }
    assert_eq!(world.user(world.sandbox.app_owner_token()).await.status, 200, "it still answers, {SCOPES}");
}
