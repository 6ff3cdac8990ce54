//! The API calls. Order of checks: route, version, body, authentication, scope, parameters, object.

use serde_json::{Map, Value, json};

use super::hash::{random_hex, sha256};
use super::parameters::{Parameters, bearer};
use super::protocol::{self, ApiError, TEXT_MAX};
use super::state::{App, Event, Token, TokenKind, User, UserState};
use super::world::{Context, Facts, Media, Outcome, Reply, Request};
use crate::domain::ambient::Timestamp;

/// Parameters of `/oauth2/token` (WePay API docs, oauth2 page). `state` and `grant_type` mean nothing, but shipped
/// clients send them (PHP SDK; omniauth, meteor) and were answered.
const TOKEN_PARAMETERS: [&str; 7] =
    ["client_id", "client_secret", "code", "redirect_uri", "callback_uri", "state", "grant_type"];

/// Answers one call.
pub(super) fn answer(context: &Context<'_>, request: &Request) -> Outcome {
    let mut facts = Facts::default();
    let mut events = Vec::new();
    let version = requested_version(request);
    let result = match &version {
        _ if !is_known(request) => Err(ApiError::unknown_call()),
        Err(error) => Err(error.clone()),
        Ok(_) => dispatch(context, request, &mut facts, &mut events),
    };
    let reply = match result {
        Ok(body) => Reply { status: 200, media: Media::Json, headers: Vec::new(), body: protocol::json_text(&body) },
        Err(error) => {
            facts.error_code = Some(error.code);
            error_reply(&error, version.unwrap_or(protocol::VERSION_DEFAULT))
        }
    };
    Outcome { reply, facts, events }
}

/// An error as an answer.
pub(super) fn error_reply(error: &ApiError, version: &str) -> Reply {
    let body = protocol::json_text(&error.envelope(version));
    Reply { status: error.status, media: Media::Json, headers: Vec::new(), body }
}

/// Whether the sandbox has this call; decided before anything else is looked at (recorded on stage: an unknown path with
/// a junk token answers 501).
fn is_known(request: &Request) -> bool {
    matches!(request.call.as_str(), "/user" | "/app" | "/oauth2/token")
        && matches!(request.method.as_str(), "GET" | "POST")
}

/// The API version asked for; an empty header counts as none (Ruby SDK, WePay.NET).
pub(super) fn requested_version(request: &Request) -> Result<&str, ApiError> {
    let header = request.headers.get("api-version").and_then(|value| value.to_str().ok()).unwrap_or_default().trim();
    match header {
        "" => Ok(protocol::VERSION_DEFAULT),
        known if protocol::VERSIONS.contains(&known) => Ok(known),
        _ => Err(ApiError::invalid_version()),
    }
}

fn dispatch(
    context: &Context<'_>,
    request: &Request,
    facts: &mut Facts,
    events: &mut Vec<Event>,
) -> Result<Value, ApiError> {
    let parameters = Parameters::read(&request.method, &request.query, &request.headers, &request.body)?;
    match request.call.as_str() {
        "/user" => user(context, request, &parameters, facts),
        "/app" => app(context, &parameters, facts),
        _ => token(context, &parameters, facts, events),
    }
}

/// `/user`: the user whose token this is.
fn user(
    context: &Context<'_>,
    request: &Request,
    parameters: &Parameters,
    facts: &mut Facts,
) -> Result<Value, ApiError> {
    let presented = bearer(&request.headers).ok_or_else(ApiError::no_token)?;
    let (token, user) = authenticate(context, presented, facts)?;
    if !token.scope.iter().any(|scope| scope == protocol::SCOPE_VIEW_USER) {
        return Err(ApiError::missing_scope(protocol::SCOPE_VIEW_USER));
    }
    parameters.refuse_unexpected(&[])?;
    let mut body = Map::new();
    body.insert("user_id".to_owned(), json!(user.user_id));
    body.insert("first_name".to_owned(), json!(user.first_name));
    body.insert("last_name".to_owned(), json!(user.last_name));
    body.insert("user_name".to_owned(), json!(format!("{} {}", user.first_name, user.last_name).trim()));
    body.insert("email".to_owned(), json!(user.email));
    body.insert("state".to_owned(), json!(user.state.as_str()));
    // Left out when unset (recorded on stage).
    if let Some(uri) = context.state.callback(user.user_id, token.client_id) {
        body.insert("callback_uri".to_owned(), json!(uri));
    }
    Ok(Value::Object(body))
}

/// The live token behind a presented one, with its user.
fn authenticate<'a>(
    context: &Context<'a>,
    presented: &str,
    facts: &mut Facts,
) -> Result<(&'a Token, &'a User), ApiError> {
    let hash = sha256(presented);
    facts.token = Some(hash.clone());
    if presented.starts_with(protocol::OTHER_TOKEN_PREFIX) {
        return Err(ApiError::wrong_environment());
    }
    let token = context.state.token(&hash).ok_or_else(ApiError::unknown_token)?;
    facts.user_id = Some(token.user_id);
    facts.client_id = Some(token.client_id);
    let user = context.state.user(token.user_id).ok_or_else(ApiError::unknown_token)?;
    if user.state == UserState::Deleted {
        return Err(ApiError::deleted_user());
    }
    if token.revoked_at_us.is_some() {
        return Err(ApiError::revoked_token());
    }
    Ok((token, user))
}

/// `/app`: the app as its dashboard shows it. A header with a token is ignored (recorded on stage).
fn app(context: &Context<'_>, parameters: &Parameters, facts: &mut Facts) -> Result<Value, ApiError> {
    let app = client(context, parameters, facts)?;
    parameters.refuse_unexpected(&["client_id", "client_secret"])?;
    Ok(json!({
        "client_id": app.client_id,
        "state": "active",
        "status": "approved",
        "api_version": protocol::VERSION_DEFAULT,
        "theme_object": null,
        "gaq_domains": [],
    }))
}

/// The app whose id and secret the parameters carry.
fn client<'a>(context: &Context<'a>, parameters: &Parameters, facts: &mut Facts) -> Result<&'a App, ApiError> {
    let client_id = parameters.required_id("client_id")?;
    let client_secret = parameters.required_text("client_secret", TEXT_MAX)?;
    let app = context.state.app(client_id).ok_or_else(ApiError::invalid_client)?;
    facts.client_id = Some(client_id);
    if sha256(&app.client_secret) != sha256(&client_secret) {
        return Err(ApiError::invalid_client());
    }
    Ok(app)
}

/// `/oauth2/token`: exchanges a code, and with that revokes every earlier token of the (user, app) (WePay API docs,
/// oauth2 and access tokens pages).
fn token(
    context: &Context<'_>,
    parameters: &Parameters,
    facts: &mut Facts,
    events: &mut Vec<Event>,
) -> Result<Value, ApiError> {
    let app = client(context, parameters, facts)?;
    let code_text = parameters.required_text("code", TEXT_MAX)?;
    let redirect_uri = parameters.required_text("redirect_uri", protocol::URI_MAX)?;
    let callback_uri = parameters.uri("callback_uri")?;
    parameters.refuse_unexpected(&TOKEN_PARAMETERS)?;
    let code = context.state.code(&sha256(&code_text)).ok_or_else(ApiError::invalid_code)?;
    if code.client_id != app.client_id {
        return Err(ApiError::foreign_code());
    }
    facts.user_id = Some(code.user_id);
    let earlier = context.state.unrevoked(code.user_id, app.client_id);
    let at_us = context.now.as_micros();
    if code.is_used {
        if context.settings.reused_code_revokes {
            events.push(Event::TokensRevoked { sha256: earlier, at_us });
        }
        return Err(ApiError::invalid_code());
    }
    let issued_at = Timestamp::from_micros(code.issued_at_us);
    if context.now.since(issued_at) >= context.scaled(protocol::CODE_LIFE) {
        return Err(ApiError::expired_code());
    }
    if code.redirect_uri != redirect_uri {
        return Err(ApiError::invalid_parameter("redirect_uri does not match the one the code was issued for"));
    }
    if context.state.user(code.user_id).is_none_or(|user| user.state != UserState::Registered) {
        return Err(ApiError::invalid_code());
    }
    let access_token = format!("{}{}", protocol::TOKEN_PREFIX, random_hex::<32>(context.entropy));
    let hash = sha256(&access_token);
    facts.token = Some(hash.clone());
    events.push(Event::CodeUsed { sha256: code.sha256.clone() });
    if context.settings.token_revokes && !earlier.is_empty() {
        events.push(Event::TokensRevoked { sha256: earlier, at_us });
    }
    events.push(Event::TokenIssued(Token {
        sha256: hash,
        user_id: code.user_id,
        client_id: app.client_id,
        scope: code.scope.clone(),
        kind: TokenKind::Permanent,
        issued_at_us: at_us,
        revoked_at_us: None,
    }));
    if let Some(callback_uri) = callback_uri {
        events.push(Event::CallbackSet { user_id: code.user_id, client_id: app.client_id, callback_uri });
    }
    // No `expires_in`: its absence means that the token lives until revoked.
    Ok(json!({ "user_id": code.user_id, "access_token": access_token, "token_type": "BEARER" }))
}
