//! The control API: what a test may see and do that no client of WePay can. JSON; it only grows. `docs/sandbox.md` has
//! the reference.

mod accounts;
mod apps;
mod state;
mod users;

use std::time::Duration;

use axum::http::{HeaderMap, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::api;
use super::faults::{Plan, call_name};
use super::world::{Core, Media, Reply, Request, World};
use crate::domain::ambient::Clock as _;

/// Longest jump of the clock: ten years, enough for every documented period and far from any overflow.
const ADVANCE_S_MAX: u64 = 10 * 366 * 24 * 60 * 60;

/// A refusal of the control API: HTTP status and what is wrong.
type Refusal = (u16, String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    advance_s: u64,
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
        ("POST", ["users"]) => users::make_user(core, request),
        ("POST", ["users", id, act @ ("confirm" | "revoke" | "delete")]) => users::change_user(core, id, act),
        ("GET", ["mails"]) => users::mails(core, &request.query),
        (_, ["accounts", id, act]) => accounts::answer(core, request, id, act),
        ("GET", ["api"]) => Ok(json!({ "calls": api::describe() })),
        ("GET", ["apps"]) => Ok(apps::apps(core)),
        ("POST", ["apps"]) => apps::make_app(core, request),
        ("GET", ["apps", id]) => apps::app(core, id),
        ("POST", ["apps", id]) => apps::change_app(core, request, id),
        ("GET", ["app"]) => apps::first_app(core),
        ("GET", ["state"]) => Ok(state::state(core)),
        ("GET", ["settings"]) => Ok(json!(core.lock().settings)),
        ("POST", ["settings"]) => state::change_settings(core, request),
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
