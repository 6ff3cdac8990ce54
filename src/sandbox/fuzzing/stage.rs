//! The world that inputs are played in, and the way of a request through it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use axum::body::{Body, to_bytes};
use axum::http::header::{CONTENT_TYPE, LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use super::{Broken, split};
use crate::domain::ambient::{AdjustableClock, Entropy, Timestamp};
use crate::sandbox::environment::Environment;
use crate::sandbox::faults::call_name;
use crate::sandbox::hash::{Password, sha256};
use crate::sandbox::journal::Journal;
use crate::sandbox::notices::Desk;
use crate::sandbox::protocol::{PERMISSIONS, SCOPES, SCOPES_CURRENT};
use crate::sandbox::settings::{Settings, Throttle};
use crate::sandbox::state::{App, Code, Event, State, Token, TokenKind, User, UserState};
use crate::sandbox::world::{Core, World};
use crate::sandbox::{fresh_app, pages, server};

/// When it is on the stage, in seconds since 1970: a day of 2019, the provider's last year with API changes.
const NOW_S: i64 = 1_560_000_000;

/// Base URL of the stage's pages.
const UI: &str = "http://127.0.0.1:1/v2";

/// Largest answer that is read: far above what a few requests can bring together.
const ANSWER_MAX: usize = 16 * 1024 * 1024;

/// The two apps: the first may do everything an app can be enabled for, the second nothing of it.
const APPS: [(u64, &str); 2] = [(100_001, "0123456789"), (100_002, "abcdefabcd")];

/// The people: address and state; ids from the first user id on. All passwords are `pw`. The first owns the apps.
const PEOPLE: [(&str, UserState); 4] = [
    ("owner@platform.example", UserState::Registered),
    ("ada@shop.example", UserState::Registered),
    ("bob@shop.example", UserState::Pending),
    ("cyd@shop.example", UserState::Deleted),
];

/// Accounts that are made at the start: which token makes it, and the state it is put in.
const ACCOUNTS: [(&str, Option<&str>); 6] = [
    ("STAGE_live", None),
    ("STAGE_live", Some("active")),
    ("STAGE_live", Some("disabled")),
    ("STAGE_live", Some("deleted")),
    ("STAGE_other", Some("active")),
    ("STAGE_temporary", None),
];

/// Random bytes that are the same in each run.
#[derive(Default)]
struct Repeating(AtomicU64);

impl Entropy for Repeating {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(size_of::<u64>()) {
            // A bijection of the counter (splitmix64), so that no two draws are alike.
            let mut word = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            for (byte, random) in chunk.iter_mut().zip(word.to_le_bytes()) {
                *byte = random;
            }
        }
    }
}

/// A request of an input.
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) target: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Asked {
    /// A bare request.
    pub(super) fn new(method: Method, target: Uri) -> Self {
        Self { method, target, headers: HeaderMap::new(), body: Vec::new() }
    }

    /// Reads a request; none when an HTTP layer would not have let it pass.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let parts = split(bytes, b"\n\n");
        let head = parts.first()?;
        let mut lines = split(head, b"\n").into_iter();
        let first = lines.next()?;
        let space = first.iter().position(|byte| *byte == b' ')?;
        let (method, target) = first.split_at(space);
        let mut asked = Self::new(Method::from_bytes(method).ok()?, Uri::try_from(target.get(1..)?).ok()?);
        for line in lines {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
            let (name, value) = line.split_at(colon);
            if let Ok(name) = std::str::from_utf8(name) {
                asked.header(name, value.get(1..).unwrap_or_default().trim_ascii());
            }
        }
        asked.body = bytes.get(head.len().saturating_add(2)..).unwrap_or_default().to_vec();
        Some(asked)
    }

    /// Adds a header unless it could not stand in a request.
    pub(super) fn header(&mut self, name: &str, value: &[u8]) {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_bytes(value)) {
            self.headers.append(name, value);
        }
    }

    /// Whether it is neither slow by its own wish nor for another host: those hold a fuzzer up and find nothing.
    pub(super) fn is_playable(&self) -> bool {
        let waits = || {
            let kind =
                serde_json::from_slice::<Value>(&self.body).ok().and_then(|plan| Some(plan.get("kind")?.to_string()));
            kind.is_some_and(|kind| kind.contains("delay") || kind.contains("drip"))
        };
        !(self.target.path().starts_with("/control/faults") && waits())
    }

    /// Whether it is a call of the API.
    pub(super) fn is_api(&self) -> bool {
        let path = self.target.path();
        path.starts_with("/v2/") && !pages::is_page(&call_name(path))
    }

    /// Whether it goes to the control API.
    pub(super) fn is_control(&self) -> bool {
        self.target.path().starts_with("/control/")
    }

    fn request(&self) -> hyper::Request<Body> {
        let mut request = hyper::Request::new(Body::from(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

/// An answer, read whole.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: HeaderName) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The media type, with its parameters.
    pub(super) fn media(&self) -> &str {
        self.header(CONTENT_TYPE)
    }

    /// Where a redirect leads.
    pub(super) fn location(&self) -> Option<&str> {
        self.headers.contains_key(LOCATION).then(|| self.header(LOCATION))
    }

    /// The cookie it sets, as a browser sends it back.
    pub(super) fn cookie(&self) -> Option<String> {
        self.header(SET_COOKIE).split(';').next().filter(|pair| !pair.is_empty()).map(str::to_owned)
    }
}

thread_local! {
    /// One for all inputs of a thread: to make one costs more than to play an input.
    static RUNTIME: RefCell<std::io::Result<Runtime>> = RefCell::new(Builder::new_current_thread().enable_time().build());
}

/// A fresh world.
pub(super) struct Stage {
    core: Arc<Core>,
}

impl Stage {
    /// The world as every input finds it; made once and copied.
    pub(super) fn new() -> Result<Self, Broken> {
        static FIRST: OnceLock<Result<State, String>> = OnceLock::new();
        let first = FIRST.get_or_init(|| made().map_err(|Broken(problem)| problem));
        first.clone().map(Self::with).map_err(Broken)
    }

    fn with(state: State) -> Self {
        let clock = Arc::new(AdjustableClock::stopped_at(Timestamp::from_unix_seconds(NOW_S)));
        let settings = Settings::new(true, false, Throttle::Off);
        let world = World::new(state, Journal::in_memory(), settings, Desk::new(clock.clone()));
        let entropy = Arc::new(Repeating::default());
        Self { core: Core::new(clock, entropy, 1, Environment::Stage, UI.to_owned(), world) }
    }

    /// Sends a request the listener's way; none when the connection would have been dropped.
    pub(super) fn answer(&self, asked: &Asked) -> Result<Option<Answer>, Broken> {
        let work = async {
            let response = server::answer::answer(self.core.clone(), false, asked.request()).await.ok()?;
            let (head, body) = response.into_parts();
            let body = to_bytes(body, ANSWER_MAX).await.ok()?.to_vec();
            Some(Answer { status: head.status.as_u16(), headers: head.headers, body })
        };
        RUNTIME.with_borrow(|runtime| match runtime {
            Ok(runtime) => Ok(runtime.block_on(work)),
            Err(error) => Err(Broken(format!("no runtime: {error}"))),
        })
    }

    /// A JSON request that must succeed: the stage's own.
    fn ask(&self, path: &str, token: &str, body: &Value) -> Result<Value, Broken> {
        let target = Uri::try_from(path).map_err(|error| Broken(format!("{path}: {error}")))?;
        let mut asked = Asked::new(Method::POST, target);
        asked.header("authorization", format!("Bearer {token}").as_bytes());
        asked.body = body.to_string().into_bytes();
        let answer = self.answer(&asked)?.ok_or_else(|| Broken(format!("{path}: dropped")))?;
        match serde_json::from_slice(&answer.body) {
            Ok(body) if answer.status == 200 => Ok(body),
            _ => Err(Broken(format!("{path}: {} {}", answer.status, String::from_utf8_lossy(&answer.body)))),
        }
    }

    /// All that the provider knows, but for its log of calls.
    pub(super) fn known(&self) -> Result<String, Broken> {
        let history = self.core.lock().state.history();
        serde_json::to_string(&history).map_err(|error| Broken(format!("the state cannot be written: {error}")))
    }
}

/// Two apps, the people, a token and a code of each sort, and accounts in each state.
fn made() -> Result<State, Broken> {
    let mut state = State::default();
    let entropy = Repeating::default();
    let [owner, ada, bob, cyd] = PEOPLE.map(|(email, user_state)| {
        let user_id = state.next_user_id();
        state.apply(Event::UserMade(User {
            user_id,
            email: email.to_owned(),
            first_name: "Ada".to_owned(),
            last_name: "Low".to_owned(),
            state: user_state,
            password: Some(Password::new("pw", &entropy)),
        }));
        user_id
    });
    let [first, second] = APPS;
    for ((client_id, secret), is_enabled) in [(first, true), (second, false)] {
        let enabled = PERMISSIONS.iter().filter(|_| is_enabled).map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let app =
            App { client_secret: secret.to_owned(), permissions: enabled, ..fresh_app(&entropy, client_id, owner) };
        state.apply(Event::AppMade(app));
    }
    let (first, second) = (first.0, second.0);
    for event in tokens([
        ("STAGE_live", ada, first, TokenKind::Permanent, None),
        ("STAGE_narrow", ada, first, TokenKind::Permanent, Some(0)),
        ("STAGE_other", ada, second, TokenKind::Permanent, None),
        ("STAGE_temporary", bob, first, TokenKind::Temporary, None),
        ("STAGE_expired", bob, first, TokenKind::Temporary, Some(-1)),
        ("STAGE_gone", cyd, first, TokenKind::Permanent, None),
        ("STAGE_revoked", ada, first, TokenKind::Permanent, Some(-2)),
    ]) {
        state.apply(event);
    }
    for event in [
        code("code", ada, first, 0),
        code("late", ada, first, 3_600),
        code("foreign", ada, second, 0),
        code("used", ada, first, 60),
        Event::CodeUsed { sha256: sha256("used") },
        Event::Approved { user_id: ada, client_id: first },
        Event::SessionOpened { sha256: sha256(&"a".repeat(64)), user_id: ada, at_us: NOW_S.saturating_mul(1_000_000) },
    ] {
        state.apply(event);
    }
    with_accounts(state)
}

/// The tokens: text, user, app, kind; last: none is whole and live, 0 has one scope only, -1 is past its life, -2 was revoked.
fn tokens<const N: usize>(wanted: [(&str, u64, u64, TokenKind, Option<i64>); N]) -> [Event; N] {
    let at_us = |ago_s: i64| NOW_S.saturating_sub(ago_s).saturating_mul(1_000_000);
    wanted.map(|(text, user_id, client_id, kind, flaw)| {
        let scopes = if flaw == Some(0) { 2..3 } else { 0..SCOPES_CURRENT };
        let scope = SCOPES.get(scopes).unwrap_or_default().iter().map(|scope| (*scope).to_owned()).collect();
        let expires_at_us = match kind {
            TokenKind::Permanent => None,
            TokenKind::Temporary => Some(at_us(if flaw == Some(-1) { 1 } else { -3_600 })),
        };
        let revoked_at_us = (flaw == Some(-2)).then(|| at_us(5));
        Event::TokenIssued(Token {
            sha256: sha256(text),
            user_id,
            client_id,
            scope,
            kind,
            issued_at_us: at_us(10),
            expires_at_us,
            revoked_at_us,
        })
    })
}

fn code(text: &str, user_id: u64, client_id: u64, ago_s: i64) -> Event {
    Event::CodeIssued(Code {
        sha256: sha256(text),
        client_id,
        user_id,
        redirect_uri: "http://127.0.0.1/cb".to_owned(),
        scope: SCOPES.iter().take(SCOPES_CURRENT).map(|scope| (*scope).to_owned()).collect(),
        issued_at_us: NOW_S.saturating_sub(ago_s).saturating_mul(1_000_000),
        is_used: false,
    })
}

/// Makes the accounts as a client would, and takes the world as it is then.
fn with_accounts(state: State) -> Result<State, Broken> {
    let stage = Stage::with(state);
    for (number, (token, wanted)) in ACCOUNTS.into_iter().enumerate() {
        let body = json!({"name": format!("Shop {number}"), "description": "d", "reference_id": number.to_string()});
        let made = stage.ask("/v2/account/create", token, &body)?;
        let account_id = made.get("account_id").map(Value::to_string).unwrap_or_default();
        if let Some(wanted) = wanted {
            stage.ask(&format!("/control/accounts/{account_id}/state"), "", &json!({ "state": wanted }))?;
        }
    }
    stage.ask("/v2/user/send_confirmation", "STAGE_temporary", &json!({}))?;
    Ok(stage.core.lock().state.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_of(stage: &Stage, path: &str, token: &str, body: &Value) -> u64 {
        match stage.ask(path, token, body) {
            Ok(_) => 0,
            Err(Broken(text)) => {
                let body: Value = serde_json::from_str(&text[text.find('{').unwrap()..]).unwrap();
                body["error_code"].as_u64().unwrap()
            }
        }
    }

    #[test]
    fn tokens_and_codes_are_what_their_names_say() {
        let stage = Stage::new().unwrap();
        for (token, user, accounts) in [
            ("STAGE_live", 0, 0),
            ("STAGE_other", 0, 0),
            ("STAGE_temporary", 0, 0),
            ("STAGE_narrow", 0, 1010),
            ("STAGE_expired", 1011, 1011),
            ("STAGE_revoked", 1011, 1011),
            ("STAGE_gone", 7003, 7003),
            ("PRODUCTION_live", 1006, 1006),
        ] {
            assert_eq!(code_of(&stage, "/v2/user", token, &json!({})), user, "{token}");
            assert_eq!(code_of(&stage, "/v2/account/find", token, &json!({})), accounts, "{token}");
        }
        for (code, refusal) in [("late", 1012), ("foreign", 1013), ("used", 1003), ("code", 0), ("code", 1003)] {
            let [(client_id, secret), _] = APPS;
            let body = json!({
                "client_id": client_id, "client_secret": secret, "code": code, "redirect_uri": "http://127.0.0.1/cb",
            });
            assert_eq!(code_of(&stage, "/v2/oauth2/token", "", &body), refusal, "{code}");
        }
    }

    #[test]
    fn every_input_finds_the_same_world_and_the_same_chance() {
        let issued = || {
            let stage = Stage::new().unwrap();
            let before = stage.known().unwrap();
            let body = json!({"name": "A", "description": "B"});
            (
                before.clone(),
                stage.ask("/v2/account/create", "STAGE_live", &body).unwrap(),
                before == stage.known().unwrap(),
            )
        };
        let first = issued();
        assert!(!first.2, "what was made is known");
        assert_eq!(first, issued());
    }
}
