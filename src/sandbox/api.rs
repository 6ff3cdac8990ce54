//! The API calls. Order of checks: route, version, body, authentication, scope, parameters, object, state.

mod accounts;
mod app;
mod rbits;
mod register;
mod tokens;
mod users;

use serde_json::Value;

use super::hash::{prefix_of, random_hex, sha256};
use super::parameters::{Parameters, bearer};
use super::protocol::{self, ApiError, TEXT_MAX};
use super::state::{App, Event, Token, User, UserState, email_key};
use super::world::{Context, Facts, Media, Outcome, Reply, Request};

/// What answers a call: the body of a 200, or the refusal.
type Handler = fn(&mut ApiCall<'_>) -> Result<Value, ApiError>;

/// The calls there are (WePay API docs). `resend_confirmation` is the old name of `send_confirmation` (change log of
/// 2015-02-25), still in use later.
const CALLS: [(&str, Handler); 15] = [
    ("/account", accounts::lookup),
    ("/account/create", accounts::create),
    ("/account/find", accounts::find),
    ("/account/modify", accounts::modify),
    ("/app", app::lookup),
    ("/oauth2/token", tokens::exchange),
    ("/rbit", rbits::lookup),
    ("/rbit/create", rbits::create),
    ("/rbit/delete", rbits::delete),
    ("/rbit/find", rbits::find),
    ("/user", users::lookup),
    ("/user/modify", users::modify),
    (REGISTER, register::register),
    ("/user/resend_confirmation", users::send_confirmation),
    ("/user/send_confirmation", users::send_confirmation),
];

/// The call that registers a user.
const REGISTER: &str = "/user/register";

/// Hexadecimal digits of an e-mail address's hash in the call log: 48 bits tell any two of a test apart.
const EMAIL_DIGITS: usize = 12;

/// A call being answered: what was asked, and what becomes of it.
pub(super) struct ApiCall<'a> {
    pub(super) context: &'a Context<'a>,
    /// The call's path, such as `/account/create`.
    pub(super) name: &'a str,
    /// The bearer token that came with it.
    pub(super) presented: Option<&'a str>,
    /// The API version asked for.
    version: Option<&'static str>,
    pub(super) parameters: Parameters,
    pub(super) facts: Facts,
    pub(super) events: Vec<Event>,
}

impl<'a> ApiCall<'a> {
    /// The API version in force: the one asked for, else that of the app's dashboard, once the app is known.
    pub(super) fn version(&self) -> &'a str {
        let app = self.facts.client_id.and_then(|client_id| self.context.state.app(client_id));
        self.version.or(app.map(|app| app.api_version.as_str())).unwrap_or(protocol::VERSION_DEFAULT)
    }

    /// The live token of a request, with its user. Past its life, a temporary token is refused like a revoked one: what
    /// WePay answers then is not known.
    fn authenticate(&mut self) -> Result<(&'a Token, &'a User), ApiError> {
        let context = self.context;
        let presented = self.presented.ok_or_else(ApiError::no_token)?;
        let hash = sha256(presented);
        self.facts.token = Some(hash.clone());
        if presented.starts_with(context.environment.other().token_prefix()) {
            return Err(ApiError::wrong_environment(context.environment));
        }
        let token = context.state.token(&hash).ok_or_else(ApiError::unknown_token)?;
        self.facts.user_id = Some(token.user_id);
        self.facts.client_id = Some(token.client_id);
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
    fn authorize(&mut self, scope: &str) -> Result<(&'a Token, &'a User), ApiError> {
        let (token, user) = self.authenticate()?;
        if !token.scope.iter().any(|has| has == scope) {
            return Err(ApiError::missing_scope(scope));
        }
        Ok((token, user))
    }

    /// The app whose id and secret the parameters carry.
    fn client(&mut self) -> Result<&'a App, ApiError> {
        let client_id = self.parameters.required_id("client_id")?;
        let client_secret = self.parameters.required_text("client_secret", TEXT_MAX)?;
        let app = self.context.state.app(client_id).ok_or_else(ApiError::invalid_client)?;
        self.facts.client_id = Some(client_id);
        if sha256(&app.client_secret) != sha256(&client_secret) {
            return Err(ApiError::invalid_client());
        }
        Ok(app)
    }

    /// A fresh access token: 64 lower-case hexadecimal digits behind the environment's name (WePay SDK samples).
    fn new_token(&self) -> String {
        format!("{}{}", self.context.environment.token_prefix(), random_hex::<32>(self.context.entropy))
    }
}

/// Answers one call.
pub(super) fn answer(context: &Context<'_>, request: &Request) -> Outcome {
    let Some((name, handler)) = CALLS.iter().find(|(name, _)| is_call(request, name)) else {
        let error = ApiError::unknown_call();
        let version = requested_version(request).ok().flatten().unwrap_or(protocol::VERSION_DEFAULT);
        let facts = Facts { error_code: Some(error.code), ..Facts::default() };
        return Outcome { reply: error_reply(&error, version), facts, events: Vec::new() };
    };
    let version = requested_version(request);
    let parameters = Parameters::read(&request.method, &request.query, &request.headers, &request.body);
    let (version, parameters, refused) = match (version, parameters) {
        (Ok(version), Ok(parameters)) => (version, parameters, None),
        (Err(error), _) => (None, Parameters::default(), Some(error)),
        (Ok(version), Err(error)) => (version, Parameters::default(), Some(error)),
    };
    let (facts, events) = (Facts::default(), Vec::new());
    let presented = bearer(&request.headers);
    let mut call = ApiCall { context, name, presented, version, parameters, facts, events };
    let result = match refused {
        Some(error) => Err(error),
        None => handler(&mut call),
    };
    let reply = match result {
        Ok(body) => Reply { status: 200, media: Media::Json, headers: Vec::new(), body: protocol::json_text(&body) },
        Err(error) => {
            call.facts.error_code = Some(error.code);
            error_reply(&error, call.version())
        }
    };
    Outcome { reply, facts: call.facts, events: call.events }
}

/// An error as an answer.
pub(super) fn error_reply(error: &ApiError, version: &str) -> Reply {
    let body = protocol::json_text(&error.envelope(version));
    Reply { status: error.status, media: Media::Json, headers: Vec::new(), body }
}

/// Whether there is a call of this name.
pub(super) fn is_known(call: &str) -> bool {
    CALLS.iter().any(|(name, _)| *name == call)
}

/// Whether a request is this call; decided before anything else is looked at (recorded on stage: an unknown path with a
/// junk token answers 501).
fn is_call(request: &Request, name: &str) -> bool {
    name == request.call && matches!(request.method.as_str(), "GET" | "POST")
}

/// The API version asked for; an empty header counts as none (Ruby SDK, WePay.NET).
pub(super) fn requested_version(request: &Request) -> Result<Option<&'static str>, ApiError> {
    let header = request.headers.get("api-version").and_then(|value| value.to_str().ok()).unwrap_or_default().trim();
    match protocol::VERSIONS.into_iter().find(|version| *version == header) {
        None if header.is_empty() => Ok(None),
        None => Err(ApiError::invalid_version()),
        known => Ok(known),
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
