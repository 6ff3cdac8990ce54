//! `/batch/create`: up to fifty calls in one (WePay API docs, batch page).
//!
//! Each call inside is answered as if it had come alone, on the state that the ones before it left, and is committed before
//! the next one is looked at (inferred). So a batch is no transaction, and a crash in the middle keeps its beginning. Calls
//! inside are not throttled (same page) and are never hit by scripted faults; the batch itself is like any other call.

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use serde_json::{Map, Value, json};

use super::{ApiCall, Body, Way};
use crate::sandbox::parameters::plain_path;
use crate::sandbox::protocol::{ApiError, BATCH_MAX, TEXT_MAX, VERSION_DEFAULT, json_text};
use crate::sandbox::server::answer::record;
use crate::sandbox::state::{Call, CallPath, Event};
use crate::sandbox::world::{Core, Outcome, Request, World};

/// The call's name.
pub(in crate::sandbox) const NAME: &str = "/batch/create";

/// What each of the calls may say (WePay API docs, batch page).
const FIELDS: [&str; 4] = ["call", "authorization", "reference_id", "parameters"];

/// Headers of the batch that count for each call in it (inferred).
const SHARED: [HeaderName; 4] = [
    header::USER_AGENT,
    HeaderName::from_static("api-version"),
    HeaderName::from_static("wepay-risk-token"),
    HeaderName::from_static("client-ip"),
];

/// One of the calls of a batch.
struct Inner {
    /// As it was asked for, to be told in the answer.
    call: String,
    reference_id: Option<Value>,
    request: Request,
}

/// Answers a batch. Unlike other calls it changes the world itself, call by call.
pub(in crate::sandbox) fn answer(core: &Core, world: &mut World, request: &Request) -> Outcome {
    let mut inner = Vec::new();
    let mut keep = |call: &ApiCall<'_>| read(call).map(|calls| inner = calls);
    let mut outcome = super::answer_by(Way::Batch(&mut keep), &core.context(world), request);
    if outcome.facts.error_code.is_some() {
        return outcome;
    }
    // The batch's own line follows those of its calls, all under one lock, so its number is known.
    let seq = world.state.next_call_seq().saturating_add(u64::try_from(inner.len()).unwrap_or(0));
    let answers: Vec<Value> = inner.into_iter().map(|inner| answer_one(core, world, inner, seq)).collect();
    outcome.reply.body = json_text(&json!({ "calls": answers }));
    outcome
}

/// What a batch inside of a batch gets; number and text are inferred.
pub(super) fn refuse_nested(_: &mut ApiCall<'_>) -> Result<Body, ApiError> {
    Err(ApiError::invalid_parameter("a batch cannot contain a batch"))
}

/// The calls of a batch; one that cannot be read refuses them all, before any is made. The documentation's limit has no known
/// error: a proxy before WePay was seen to answer 404 (django-wepay); here it is 1003.
fn read(call: &ApiCall<'_>) -> Result<Vec<Inner>, ApiError> {
    let calls = call.parameters.array("calls")?.unwrap_or_default();
    let calls = calls.as_array().map(Vec::as_slice).unwrap_or_default();
    if calls.len() > BATCH_MAX {
        return Err(ApiError::invalid_parameter(format!("a batch has at most {BATCH_MAX} calls")));
    }
    calls.iter().enumerate().map(|(index, wish)| read_one(call.request, index, wish)).collect()
}

fn read_one(outer: &Request, index: usize, wish: &Value) -> Result<Inner, ApiError> {
    let wrong =
        |name: &str, what: &str| ApiError::invalid_parameter(format!("Parameter 'calls[{index}]{name}' {what}"));
    let fields = wish.as_object().ok_or_else(|| wrong("", "expected object"))?;
    if let Some(name) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        return Err(ApiError::unexpected(&format!("calls[{index}].{name}")));
    }
    let call = match fields.get("call") {
        None | Some(Value::Null) => return Err(ApiError::required(&format!("calls[{index}].call"))),
        Some(Value::String(call)) if call.chars().count() <= TEXT_MAX => call.clone(),
        Some(_) => return Err(wrong(".call", "expected string")),
    };
    let reference_id = fields.get("reference_id").filter(|id| !id.is_null());
    if reference_id.is_some_and(|id| !id.is_number() && id.as_str().is_none_or(|id| id.chars().count() > TEXT_MAX)) {
        return Err(wrong(".reference_id", "expected string"));
    }
    let mut headers = HeaderMap::new();
    for name in SHARED {
        if let Some(value) = outer.headers.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Without a token that can be sent the call gets 1002, as the documentation says of one that lacks it.
    if let Some(value) = fields.get("authorization").and_then(Value::as_str).and_then(authorization) {
        headers.insert(header::AUTHORIZATION, value);
    }
    let body = match fields.get("parameters") {
        None | Some(Value::Null) => Bytes::new(),
        Some(parameters) => Bytes::from(parameters.to_string()),
    };
    // It begins with a slash and has no `/v2` (WePay API docs, batch page).
    let request = Request { method: Method::POST, call: plain_path(&call), query: String::new(), headers, body };
    Ok(Inner { call, reference_id: reference_id.cloned(), request })
}

/// The header for a token as a batch has it: bare (WePay API docs, batch page); one with `Bearer` before it is taken too.
fn authorization(token: &str) -> Option<HeaderValue> {
    let token = token.trim();
    let has_scheme = token.get(.."bearer".len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer"));
    let text = if has_scheme { token.to_owned() } else { format!("Bearer {token}") };
    HeaderValue::from_str(&text).ok()
}

/// The line of a batch that an end of the process cut off behind this call, the last one of the log: it was never answered. Without it
/// the next request would take its number, and the calls inside would be another's.
pub(in crate::sandbox) fn cut_off(last: &Call) -> Option<Call> {
    Some(Call {
        seq: last.in_batch?,
        in_batch: None,
        at: last.at,
        method: Method::POST,
        path: CallPath::of(NAME),
        status: None,
        error_code: None,
        user_id: None,
        client_id: None,
        scope: None,
        email_sha256: None,
        account_id: None,
        reference_id: None,
        token_sha256: None,
        answered: false,
        fault: None,
        version: last.version,
    })
}

/// Decides on one call, journals and applies it with its line of the call log, and tells what it answered.
fn answer_one(core: &Core, world: &mut World, inner: Inner, seq: u64) -> Value {
    let Inner { call, reference_id, request } = inner;
    let Outcome { reply, facts, mut events } = super::answer_by(Way::Inside, &core.context(world), &request);
    let mut line = record(core, world, &request, None, Some(reply.status), facts);
    line.in_batch = Some(seq);
    events.push(Event::Called(line));
    let reply = match world.commit(events) {
        Ok(()) => reply,
        Err(error) => {
            tracing::error!("the sandbox could not write its journal: {error}");
            super::error_reply(&ApiError::processing(), VERSION_DEFAULT, "")
        }
    };
    let mut answer = Map::new();
    answer.insert("call".to_owned(), json!(call));
    if let Some(reference_id) = reference_id {
        answer.insert("reference_id".to_owned(), reference_id);
    }
    answer.insert("response".to_owned(), serde_json::from_str(&reply.body).unwrap_or_default());
    Value::Object(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_bare_or_a_whole_header() {
        let text = |token: &str| authorization(token).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(text("STAGE_1").as_deref(), Some("Bearer STAGE_1"));
        assert_eq!(text(" bearer: STAGE_1 ").as_deref(), Some("bearer: STAGE_1"));
        assert_eq!(text("a\nb"), None);
    }
}
