//! The API calls. Order of checks: route, version, body, authentication, scope, parameters, object, state.

mod accounts;
mod register;
mod tokens;
mod users;

use serde_json::{Value, json};

use super::hash::{prefix_of, sha256};
use super::parameters::{Parameters, bearer};
use super::protocol::{self, ApiError, TEXT_MAX};
use super::state::{App, Event, Token, User, UserState, email_key};
use super::world::{Context, Facts, Media, Outcome, Reply, Request};

/// The calls there are (WePay API docs). `resend_confirmation` is the old name of `send_confirmation` (change log of
/// 2015-02-25), still in use later.
const CALLS: [&str; 11] = [
    "/account",
    ACCOUNT_CREATE,
    "/account/find",
    "/account/modify",
    "/app",
    "/oauth2/token",
    "/user",
    "/user/modify",
    REGISTER,
    "/user/resend_confirmation",
    "/user/send_confirmation",
];

/// The call that registers a user.
const REGISTER: &str = "/user/register";

/// The call that makes an account.
const ACCOUNT_CREATE: &str = "/account/create";

/// Hexadecimal digits of an e-mail address's hash in the call log: 48 bits tell any two of a test apart.
const EMAIL_DIGITS: usize = 12;

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
    CALLS.contains(&request.call.as_str()) && matches!(request.method.as_str(), "GET" | "POST")
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
        "/user" => users::lookup(context, request, &parameters, facts),
        "/user/modify" => users::modify(context, request, &parameters, facts, events),
        "/user/send_confirmation" | "/user/resend_confirmation" => {
            users::send_confirmation(context, request, &parameters, facts, events)
        }
        REGISTER => register::register(context, &parameters, facts, events),
        "/account" => accounts::lookup(context, request, &parameters, facts),
        ACCOUNT_CREATE => accounts::create(context, request, &parameters, facts, events),
        "/account/find" => accounts::find(context, request, &parameters, facts),
        "/account/modify" => accounts::modify(context, request, &parameters, facts, events),
        "/app" => app(context, &parameters, facts),
        _ => tokens::exchange(context, &parameters, facts, events),
    }
}

/// What the call log says of a call whatever became of it, refused and dropped ones too: read from the request alone.
pub(super) fn note_asked(request: &Request, facts: &mut Facts) -> Option<String> {
    let is_account = request.call.starts_with("/account");
    if !is_account && request.call != REGISTER {
        return None;
    }
    let parameters = Parameters::read(&request.method, &request.query, &request.headers, &request.body).ok()?;
    if is_account {
        facts.account_id = facts.account_id.or_else(|| parameters.required_id("account_id").ok());
        facts.reference_id = facts.reference_id.take().or_else(|| parameters.text("reference_id", TEXT_MAX).ok()?);
        return None;
    }
    let email = parameters.text("email", TEXT_MAX).ok()??;
    Some(prefix_of(&sha256(&email_key(&email)), EMAIL_DIGITS))
}

/// The live token of a request, with its user. Past its life, a temporary token is refused like a revoked one: what WePay
/// answers then is not known.
fn authenticate<'a>(
    context: &Context<'a>,
    request: &Request,
    facts: &mut Facts,
) -> Result<(&'a Token, &'a User), ApiError> {
    let presented = bearer(&request.headers).ok_or_else(ApiError::no_token)?;
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
    if !token.is_live(context.now) {
        return Err(ApiError::revoked_token());
    }
    Ok((token, user))
}

/// The same, and the token must have this scope.
fn authorize<'a>(
    context: &Context<'a>,
    request: &Request,
    scope: &str,
    facts: &mut Facts,
) -> Result<(&'a Token, &'a User), ApiError> {
    let (token, user) = authenticate(context, request, facts)?;
    if !token.scope.iter().any(|has| has == scope) {
        return Err(ApiError::missing_scope(scope));
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
