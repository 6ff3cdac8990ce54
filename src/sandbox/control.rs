//! The control API: what a test may see and do that no client of WePay can. JSON; it only grows. `docs/sandbox.md` has
//! the reference.

mod accounts;
mod apps;
mod calls;
mod notices;
mod snapshot;
mod state;
mod users;

use std::time::Duration;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Host;

use super::api;
use super::faults::Plan;
use super::world::{Core, Media, Reply, Request};
use crate::domain::ambient::Clock as _;

pub(super) use snapshot::Snapshots;

/// Longest jump of the clock: ten years, enough for every documented period and far from any overflow.
const ADVANCE_S_MAX: u64 = 10 * 366 * 24 * 60 * 60;

/// Largest body of a request to the control API: a snapshot with a hundred thousand users, each with a token and an account, has
/// some 100 MiB.
pub(super) const BODY_MAX: usize = 256 * 1024 * 1024;

/// A refusal of the control API: HTTP status and what is wrong.
type Refusal = (u16, String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    advance_s: u64,
}

/// Answers a request below `/control/`; `path` is what follows.
pub(super) fn answer(core: &Core, request: &Request, path: &str) -> Reply {
    let (status, media, body) = match try_answer(core, request, path) {
        Ok((media, body)) => (200, media, body),
        Err((status, text)) => (status, Media::Json, json!({ "error": text }).to_string()),
    };
    Reply { status, media, headers: Vec::new(), body }
}

fn try_answer(core: &Core, request: &Request, path: &str) -> Result<(Media, String), Refusal> {
    if is_from_page(&request.headers) {
        return Err((403, "the control API does not answer pages of a browser".to_owned()));
    }
    if !may_be_json(&request.body) {
        return Err((400, "the body is no JSON".to_owned()));
    }
    core.lock().settle(core.clock.now()).map_err(|error| internal(&error))?;
    let segments: Vec<&str> = path.trim_end_matches('/').split('/').collect();
    match (request.method.as_str(), segments.as_slice()) {
        // Large ones are written as text at once.
        ("GET", ["calls.jsonl"]) => calls::lines(&core.lock(), &request.query).map(|lines| (Media::JsonLines, lines)),
        ("GET", ["snapshot"]) => snapshot::take(core).map(|document| (Media::Json, document)),
        (method, segments) => dispatch(core, request, method, segments).map(|body| (Media::Json, body.to_string())),
    }
}

/// A browser names the page that sends a request; no test client does. Without this any web page could move the clock. A page whose
/// own name leads here (DNS rebinding) need not be named, but its name stands in `Host`: ours are an address or `localhost`.
fn is_from_page(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ORIGIN) || headers.get(header::HOST).is_some_and(|host| !is_ours(host))
}

fn is_ours(host: &HeaderValue) -> bool {
    let authority = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
    authority.is_some_and(|authority| match Host::parse(authority.host()) {
        Ok(Host::Ipv4(address)) => address.is_loopback(),
        Ok(Host::Ipv6(address)) => address.is_loopback(),
        Ok(Host::Domain(name)) => name == "localhost",
        Err(_) => false,
    })
}

/// Whether it is nothing, or begins as JSON does. What takes no parameters looks no further, and must not be done by a form: that
/// is what notices are, whose receiver any client of the API can name.
fn may_be_json(body: &[u8]) -> bool {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    first.is_none_or(|first| b"{[\"-0123456789tfn".contains(first))
}

fn dispatch(core: &Core, request: &Request, method: &str, segments: &[&str]) -> Result<Value, Refusal> {
    match (method, segments) {
        ("GET", ["calls"]) => calls::list(&core.lock(), &request.query),
        ("POST", ["clock"]) => advance(core, &read(request)?),
        ("GET", ["clock"]) => Ok(clock(core)),
        ("POST", ["faults"]) => {
            let id = core.lock().faults.add(read::<Plan>(request)?).map_err(|text| (400, text))?;
            Ok(json!({ "id": id }))
        }
        ("GET", ["faults"]) => Ok(json!({ "faults": core.lock().faults.list() })),
        ("DELETE", ["faults"]) => Ok(json!({ "deleted": core.lock().faults.clear() })),
        ("POST", ["users"]) => users::make_user(core, request),
        ("POST", ["users", id, act @ ("confirm" | "revoke" | "delete")]) => {
            users::change_user(core, id, act, &read_or_default(request)?)
        }
        ("POST", ["tokens", "revoke"]) => users::revoke_token(core, &read(request)?),
        ("GET", ["mails"]) => users::mails(core, &request.query),
        (_, ["accounts", id, act]) => accounts::answer(core, request, id, act),
        ("GET", ["api"]) => Ok(json!({ "calls": api::describe() })),
        ("GET", ["apps"]) => Ok(apps::apps(core)),
        ("POST", ["apps"]) => apps::make_app(core, request),
        ("GET", ["apps", id]) => apps::app(core, id),
        ("POST", ["apps", id]) => apps::change_app(core, request, id),
        ("GET", ["app"]) => apps::first_app(core),
        (_, ["notices", path @ ..]) => notices::answer(core, request, path),
        ("GET", ["state"]) => Ok(state::state(core)),
        ("GET", ["settings"]) => Ok(json!(core.lock().settings)),
        ("POST", ["settings"]) => state::change_settings(core, request),
        ("DELETE", ["settings"]) => Ok(state::reset_settings(core)),
        ("POST", ["snapshot"]) => snapshot::put_back(core, read(request)?),
        (_, ["snapshots", named @ ..]) => snapshot::named(core, &request.method, named),
        _ => Err((404, format!("there is no {method} /control/{}", segments.join("/")))),
    }
}

fn read<T: DeserializeOwned>(request: &Request) -> Result<T, Refusal> {
    serde_json::from_slice(&request.body).map_err(|error| (400, format!("the body cannot be read: {error}")))
}

/// The same of a body that may be missing.
fn read_or_default<T: DeserializeOwned + Default>(request: &Request) -> Result<T, Refusal> {
    let is_empty = request.body.iter().all(u8::is_ascii_whitespace);
    // What a client sends that has no value for it.
    if is_empty || request.body.as_ref() == b"null" { Ok(T::default()) } else { read(request) }
}

fn internal(error: &std::io::Error) -> Refusal {
    (500, format!("the journal cannot be written: {error}"))
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
