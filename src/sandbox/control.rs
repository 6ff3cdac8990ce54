//! The control API: what a test may see and do that no client of WePay can. JSON; it only grows. `docs/sandbox.md` has
//! the reference.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::http::{HeaderMap, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::confirmation;
use super::faults::{Plan, call_name};
use super::hash::{prefix, random_hex};
use super::pages::new_user;
use super::state::{Account, AccountState, App, Event, Token, TokenKind, User, UserState};
use super::world::{Core, Media, Reply, Request, Settings, World};
use super::{app_owner_token, new_client, owner_account};
use crate::domain::ambient::{Clock as _, Timestamp};

/// Longest jump of the clock: ten years, enough for every documented period and far from any overflow.
const ADVANCE_S_MAX: u64 = 10 * 366 * 24 * 60 * 60;

/// A refusal of the control API: HTTP status and what is wrong.
type Refusal = (u16, String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    advance_s: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewState {
    state: AccountState,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewUser {
    email: String,
    password: String,
    first_name: String,
    last_name: String,
    #[serde(default)]
    state: Option<UserState>,
}

/// Answers a request below `/control/`; `path` is what follows.
pub(super) fn answer(core: &Core, request: &Request, path: &str) -> Reply {
    let result = if is_from_page(&request.headers) {
        Err((403, "the control API does not answer pages of a browser".to_owned()))
    } else {
        dispatch(core, request, path)
    };
    let (status, body) = match result {
        Ok(body) => (200, body),
        Err((status, text)) => (status, json!({ "error": text })),
    };
    Reply { status, media: Media::Json, headers: Vec::new(), body: body.to_string() }
}

/// A browser names the page that sends a request; no test client does. Without this any web page could move the clock.
fn is_from_page(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ORIGIN)
}

fn dispatch(core: &Core, request: &Request, path: &str) -> Result<Value, Refusal> {
    let segments: Vec<&str> = path.trim_end_matches('/').split('/').collect();
    match (request.method.as_str(), segments.as_slice()) {
        ("GET", ["calls"]) => calls(&core.lock(), &request.query),
        ("POST", ["clock"]) => advance(core, &read(request)?),
        ("GET", ["clock"]) => Ok(clock(core)),
        ("POST", ["faults"]) => {
            let id = core.lock().faults.add(read::<Plan>(request)?).map_err(|text| (400, text.to_owned()))?;
            Ok(json!({ "id": id }))
        }
        ("GET", ["faults"]) => Ok(json!({ "faults": core.lock().faults.list() })),
        ("DELETE", ["faults"]) => Ok(json!({ "deleted": core.lock().faults.clear() })),
        ("POST", ["users"]) => make_user(core, &read(request)?),
        ("POST", ["users", id, act @ ("confirm" | "revoke" | "delete")]) => change_user(core, id, act),
        ("GET", ["mails"]) => mails(core, &request.query),
        ("POST", ["accounts", id, "state"]) => change_account(core, id, &read(request)?),
        ("POST", ["apps"]) => make_app(core),
        ("GET", ["app"]) => app(&core.lock()),
        ("GET", ["state"]) => Ok(state(core)),
        ("GET", ["settings"]) => Ok(json!(core.lock().settings)),
        ("POST", ["settings"]) => change_settings(core, request),
        _ => Err((404, format!("there is no {} /control/{path}", request.method))),
    }
}

fn read<T: DeserializeOwned>(request: &Request) -> Result<T, Refusal> {
    serde_json::from_slice(&request.body).map_err(|error| (400, format!("the body cannot be read: {error}")))
}

fn internal(error: &std::io::Error) -> Refusal {
    (500, format!("the journal cannot be written: {error}"))
}

fn calls(world: &World, query: &str) -> Result<Value, Refusal> {
    let mut path = None;
    let mut after = 0_u64;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "path" => path = Some(format!("/v2{}", call_name(&value))),
            "after" => after = value.parse().map_err(|_| (400, "after must be a number".to_owned()))?,
            other => return Err((400, format!("there is no filter {other}"))),
        }
    }
    let is_wanted = |path: &Option<String>, called: &str| path.as_ref().is_none_or(|path| path == called);
    let calls = world.state.calls().iter().filter(|call| call.seq > after && is_wanted(&path, &call.path));
    Ok(json!({ "calls": calls.collect::<Vec<_>>() }))
}

fn advance(core: &Core, wish: &Advance) -> Result<Value, Refusal> {
    if wish.advance_s > ADVANCE_S_MAX {
        return Err((400, "advance_s is longer than ten years".to_owned()));
    }
    core.advance(Duration::from_secs(wish.advance_s)).map_err(|error| internal(&error))?;
    Ok(clock(core))
}

fn clock(core: &Core) -> Value {
    json!({ "now": core.clock.now().to_rfc3339(), "offset_s": core.clock.offset().as_secs() })
}

fn make_user(core: &Core, wish: &NewUser) -> Result<Value, Refusal> {
    let mut world = core.lock();
    let made = new_user(&core.context(&world), &wish.email, &wish.password, &wish.first_name, &wish.last_name);
    let mut user = made.map_err(|text| (400, text.to_owned()))?;
    user.state = wish.state.unwrap_or(UserState::Registered);
    let user_id = user.user_id;
    world.commit(vec![Event::UserMade(user)]).map_err(|error| internal(&error))?;
    Ok(json!({ "user_id": user_id }))
}

fn change_user(core: &Core, id: &str, act: &str) -> Result<Value, Refusal> {
    let mut world = core.lock();
    let user = id.parse().ok().and_then(|user_id| world.state.user(user_id));
    let user = user.ok_or_else(|| (404, format!("there is no user {id}")))?;
    let user_id = user.user_id;
    let now = core.clock.now();
    let mut revoked = 0;
    let events = match (act, user.state) {
        ("revoke", _) => {
            let client_id = world.state.first_app().map_or(0, |app| app.client_id);
            let sha256 = world.state.unrevoked(user_id, client_id);
            revoked = sha256.len();
            let at_us = now.as_micros();
            vec![Event::TokensRevoked { sha256, at_us }, Event::ApprovalWithdrawn { user_id, client_id }]
        }
        ("confirm", UserState::Deleted) => return Err((400, "the user is deleted".to_owned())),
        ("confirm", _) => {
            let temporary = world.state.tokens_of(user_id).filter(|token| token.kind == TokenKind::Temporary);
            let client_ids: BTreeSet<u64> = temporary.map(|token| token.client_id).collect();
            confirmation::events(&world.state, user, &Vec::from_iter(client_ids), now)
        }
        _ => vec![Event::UserChanged { user_id, state: UserState::Deleted }],
    };
    world.commit(events).map_err(|error| internal(&error))?;
    let state = world.state.user(user_id).map(|user| user.state.as_str());
    Ok(json!({ "user_id": user_id, "state": state, "revoked": revoked }))
}

fn change_account(core: &Core, id: &str, wish: &NewState) -> Result<Value, Refusal> {
    let mut world = core.lock();
    let account = id.parse().ok().and_then(|account_id| world.state.account(account_id));
    let account_id = account.ok_or_else(|| (404, format!("there is no account {id}")))?.account_id;
    world.commit(vec![Event::AccountChanged { account_id, state: wish.state }]).map_err(|error| internal(&error))?;
    Ok(json!({ "account_id": account_id, "state": wish.state }))
}

/// The mails sent, with the links that only their readers have.
fn mails(core: &Core, query: &str) -> Result<Value, Refusal> {
    let mut user_id = None;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "user_id" => user_id = Some(value.parse().map_err(|_| (400, "user_id must be a number".to_owned()))?),
            other => return Err((400, format!("there is no filter {other}"))),
        }
    }
    let world = core.lock();
    let wanted = world.state.mails().iter().filter(|mail| user_id.is_none_or(|user_id: u64| user_id == mail.user_id));
    let mails: Vec<Value> = wanted
        .map(|mail| {
            json!({
                "mail_id": mail.mail_id,
                "user_id": mail.user_id,
                "client_id": mail.client_id.to_string(),
                "to": mail.to,
                "subject": mail.subject,
                "message": mail.message,
                "button_text": mail.button_text,
                "link": world.state.app(mail.client_id).map(|app| confirmation::link(&core.ui, app, mail)),
                "sent_at": Timestamp::from_micros(mail.sent_at_us).to_rfc3339(),
            })
        })
        .collect();
    Ok(json!({ "mails": mails }))
}

fn make_app(core: &Core) -> Result<Value, Refusal> {
    let mut world = core.lock();
    let owner_user_id = world.state.first_app().map_or(0, |app| app.owner_user_id);
    let taken = |client_id| world.state.app(client_id).is_some();
    let client_id = new_client(core.entropy.as_ref(), &taken);
    let app = App { client_id, client_secret: random_hex::<5>(core.entropy.as_ref()), owner_user_id };
    let answer = json!({ "client_id": client_id.to_string(), "client_secret": app.client_secret });
    world.commit(vec![Event::AppMade(app)]).map_err(|error| internal(&error))?;
    Ok(answer)
}

fn app(world: &World) -> Result<Value, Refusal> {
    let app = world.state.first_app().ok_or_else(|| (404, "there is no app".to_owned()))?;
    Ok(json!({
        "client_id": app.client_id.to_string(),
        "owner_user_id": app.owner_user_id,
        "owner_access_token": app_owner_token(app),
        "owner_account_id": owner_account(&world.state, app),
    }))
}

fn change_settings(core: &Core, request: &Request) -> Result<Value, Refusal> {
    let changes: serde_json::Map<String, Value> = read(request)?;
    let mut world = core.lock();
    let mut all = json!(world.settings);
    for (name, value) in changes {
        match all.get_mut(&name) {
            Some(slot) => *slot = value,
            None => return Err((400, format!("there is no setting {name}"))),
        }
    }
    let settings: Settings = serde_json::from_value(all.clone()).map_err(|error| (400, error.to_string()))?;
    world.settings = settings;
    Ok(all)
}

fn state(core: &Core) -> Value {
    let world = core.lock();
    let now = core.clock.now();
    let users: Vec<Value> = world.state.users().map(|user| described_user(&world, user, now)).collect();
    let accounts: Vec<Value> = world.state.accounts().map(described_account).collect();
    let used = world.state.codes().filter(|code| code.is_used).count();
    json!({
        "users": users,
        "accounts": accounts,
        "mails": world.state.mails().len(),
        "codes": world.state.codes().count(),
        "codes_used": used,
        "calls": world.state.calls().len(),
        "settings": world.settings,
        "time_scale": core.time_scale,
        "journal_position": world.journal.position(),
        "clock_offset_s": core.clock.offset().as_secs(),
        "now": now.to_rfc3339(),
    })
}

fn described_user(world: &World, user: &User, now: Timestamp) -> Value {
    let tokens = world.state.tokens_of(user.user_id).map(|token| described_token(token, user, now));
    let tokens: Vec<Value> = tokens.collect();
    json!({
        "user_id": user.user_id,
        "email": user.email,
        "first_name": user.first_name,
        "last_name": user.last_name,
        "state": user.state,
        "tokens": tokens,
    })
}

fn described_account(account: &Account) -> Value {
    json!({
        "account_id": account.account_id,
        "owner_user_id": account.owner_user_id,
        "client_id": account.client_id.to_string(),
        "name": account.details.name,
        "reference_id": account.details.reference_id,
        "state": account.state,
        "type": account.kind,
        "callback_uri": account.details.callback_uri,
        "created_at": account.created_at(),
    })
}

fn described_token(token: &Token, user: &User, now: Timestamp) -> Value {
    let rfc3339 = |micros| Timestamp::from_micros(micros).to_rfc3339();
    json!({
        "token_sha256": prefix(&token.sha256),
        "client_id": token.client_id.to_string(),
        "kind": token.kind,
        "scope": token.scope.join(","),
        "live": token.is_live(now) && user.state != UserState::Deleted,
        "issued_at": rfc3339(token.issued_at_us),
        "expires_at": token.expires_at_us.map(rfc3339),
        "revoked_at": token.revoked_at_us.map(rfc3339),
    })
}
