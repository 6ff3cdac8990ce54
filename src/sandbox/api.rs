//! The API calls. Order of checks: route, throttle, required headers, version, body, authentication, whether the app may ask
//! for the version, scope and permission, parameters (unexpected, then missing; then each call's own: types and lengths), object, state.

mod accounts;
mod app;
pub(super) mod batch;
mod rbits;
mod register;
mod sso;
mod table;
mod theme;
mod tokens;
mod users;

use axum::http::header;
use serde::Serialize;

use self::table::{Entry, Proof};
pub(super) use self::table::{describe, is_write};
use super::hash::{prefix_of, random_hex, sha256};
use super::parameters::{Parameters, bearer};
use super::protocol::{self, ApiError, TEXT_MAX};
use super::state::{App, AppState, Event, Token, User, UserState, email_key};
use super::world::{Context, Facts, Media, Outcome, Reply, Request};
use super::{pages, throttle};

/// The call that registers a user.
const REGISTER: &str = "/user/register";

/// Hexadecimal digits of an e-mail address's hash in the call log: 48 bits tell any two of a test apart.
const EMAIL_DIGITS: usize = 12;

/// A call being answered: what was asked, and what becomes of it.
pub(super) struct ApiCall<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) request: &'a Request,
    /// The API version asked for.
    asked_version: Option<&'static str>,
    pub(super) parameters: Parameters,
    /// Whose token came with it, once that is proved.
    bearer: Option<(&'a Token, &'a User)>,
    /// Which app calls, once that is proved.
    app: Option<&'a App>,
    pub(super) facts: Facts,
    pub(super) events: Vec<Event>,
}

impl<'a> ApiCall<'a> {
    fn new(context: &'a Context<'a>, request: &'a Request) -> Self {
        Self {
            context,
            request,
            asked_version: requested_version(request).ok().flatten(),
            parameters: Parameters::default(),
            bearer: None,
            app: None,
            facts: Facts::default(),
            events: Vec::new(),
        }
    }

    /// All checks that calls have in common.
    fn check(&mut self, entry: &Entry, is_inside: bool) -> Result<(), ApiError> {
        // The throttle must know which app calls, and the parameters may name it: they are read before it, and what is wrong with
        // them is said behind it.
        let Request { method, query, headers, body, .. } = self.request;
        let read = Parameters::read(method, query, headers, body).map(|parameters| self.parameters = parameters);
        if !is_inside && let Err(refusal) = throttle::admit(self) {
            // Whose calls are too many is known, and with that the version of the app's dashboard.
            self.app = self.facts.client_id.and_then(|client_id| self.context.state.app(client_id));
            return Err(refusal);
        }
        if self.context.settings.headers_required {
            self.require_headers()?;
        }
        requested_version(self.request)?;
        read?;
        match entry.proof {
            Proof::Client => drop(self.client()?),
            Proof::Token(None) => drop(self.authenticate()?),
            Proof::Token(Some(scope)) => drop(self.authorize(scope)?),
        }
        if let Some((permission, what)) = entry.permission {
            self.require_permission(permission, what)?;
        }
        if let Some(takes) = entry.takes {
            let of_the_client = if entry.proof == Proof::Client { &["client_id", "client_secret"][..] } else { &[] };
            let newer =
                takes.since.filter(|(version, _)| self.version() >= *version).map_or(&[][..], |(_, names)| names);
            self.parameters.refuse_others(&[of_the_client, takes.required, takes.optional, newer])?;
            self.parameters.require(takes.required)?;
        }
        Ok(())
    }

    /// The API version in force: the one asked for, else that of the app's dashboard, once the app is known.
    pub(super) fn version(&self) -> &'a str {
        self.asked_version.or(self.app.map(|app| app.api_version.as_str())).unwrap_or(protocol::VERSION_DEFAULT)
    }

    /// The live token of a request, with its user.
    pub(super) fn authenticate(&mut self) -> Result<(&'a Token, &'a User), ApiError> {
        if let Some(known) = self.bearer {
            return Ok(known);
        }
        let (context, codes) = (self.context, &self.context.settings.codes);
        let presented = bearer(&self.request.headers).ok_or_else(ApiError::no_token)?;
        let hash = sha256(presented);
        let token = context.state.token(&hash);
        self.facts.token = Some(hash);
        if presented.starts_with(context.environment.other().token_prefix()) {
            return Err(ApiError::wrong_environment(context.environment, codes));
        }
        let token = token.ok_or_else(ApiError::unknown_token)?;
        self.facts.user_id = Some(token.user_id);
        self.facts.client_id = Some(token.client_id);
        let user = context.state.user(token.user_id).ok_or_else(ApiError::unknown_token)?;
        if user.state == UserState::Deleted {
            return Err(ApiError::deleted_user());
        }
        if token.revoked_at_us.is_some() {
            return Err(ApiError::revoked_token());
        }
        if !token.is_live(context.now) {
            return Err(ApiError::expired_token(codes));
        }
        let app = context.state.app(token.client_id).ok_or_else(ApiError::unknown_token)?;
        self.enter(app)?;
        if app.state != AppState::Active {
            return Err(ApiError::disabled_app(codes));
        }
        self.bearer = Some((token, user));
        Ok((token, user))
    }

    /// The same, and the token must have this scope.
    pub(super) fn authorize(&mut self, scope: &str) -> Result<(&'a Token, &'a User), ApiError> {
        let (token, user) = self.authenticate()?;
        if !token.scope.iter().any(|has| has == scope) {
            return Err(ApiError::missing_scope(scope));
        }
        Ok((token, user))
    }

    /// The app whose id and secret the parameters carry. A disabled one may look at itself, where it learns just that
    /// (inferred: its look-up has a `state`), and nothing else.
    pub(super) fn client(&mut self) -> Result<&'a App, ApiError> {
        if let Some(known) = self.app {
            return Ok(known);
        }
        let codes = &self.context.settings.codes;
        let client_id = self.parameters.required_id("client_id")?;
        let client_secret = self.parameters.required_text("client_secret", TEXT_MAX)?;
        let app = self.context.state.app(client_id).ok_or_else(|| ApiError::invalid_client(codes))?;
        self.facts.client_id = Some(client_id);
        if sha256(&app.client_secret) != sha256(&client_secret) {
            return Err(ApiError::invalid_client(codes));
        }
        self.enter(app)?;
        if app.state != AppState::Active && self.request.call != app::LOOKUP {
            return Err(ApiError::disabled_app(codes));
        }
        Ok(app)
    }

    /// From here on it is known which app calls, so whether it may ask for that version: its own or the next one (from a
    /// comment in active_merchant's remote tests), where the settings are strict about it.
    fn enter(&mut self, app: &'a App) -> Result<(), ApiError> {
        self.app = Some(app);
        let Some(asked) = self.asked_version.filter(|_| self.context.settings.strict_versions) else { return Ok(()) };
        let position = |version: &str| protocol::VERSIONS.iter().position(|known| *known == version);
        let is_near = match (position(&app.api_version), position(asked)) {
            (Some(own), Some(asked)) => asked == own || asked == own.saturating_add(1),
            _ => false,
        };
        if is_near { Ok(()) } else { Err(ApiError::version_not_for_app()) }
    }

    /// What the catalogue says under 1002 that every call must have, where the settings insist on it. Authorization is
    /// looked at where it matters.
    fn require_headers(&self) -> Result<(), ApiError> {
        let Request { headers, body, .. } = self.request;
        if !headers.contains_key(header::USER_AGENT) {
            return Err(ApiError::missing_header("User-Agent"));
        }
        if !body.is_empty() && !headers.contains_key(header::CONTENT_TYPE) {
            return Err(ApiError::missing_header("Content-Type"));
        }
        Ok(())
    }

    /// Whether the app that calls is enabled for something; names in `protocol::PERMISSIONS`.
    pub(super) fn is_permitted(&self, permission: &str) -> bool {
        self.app.is_some_and(|app| app.permissions.contains(permission))
    }

    /// 1010 unless it is; `what` names it in the text.
    pub(super) fn require_permission(&self, permission: &str, what: &str) -> Result<(), ApiError> {
        if self.is_permitted(permission) { Ok(()) } else { Err(ApiError::not_enabled(what)) }
    }

    /// A fresh access token: 64 lower-case hexadecimal digits behind the environment's name (WePay SDK samples).
    fn new_token(&self) -> String {
        format!("{}{}", self.context.environment.token_prefix(), random_hex::<32>(self.context.entropy))
    }
}

/// What a call answers, in its final form: made where the things stand that it tells of, so that none is copied for it.
pub(super) struct Body(String);

impl Body {
    /// A value as WePay writes it.
    pub(super) fn of(value: &impl Serialize) -> Self {
        Self(protocol::json_text(value))
    }
}

/// How a call comes.
enum Way<'f> {
    /// Alone.
    Alone,
    /// As a batch, whose calls this reads.
    Batch(&'f mut dyn FnMut(&ApiCall<'_>) -> Result<(), ApiError>),
    /// Inside of a batch, where no call is throttled (WePay API docs, batch page).
    Inside,
}

/// Answers one call that comes alone.
pub(super) fn answer(context: &Context<'_>, request: &Request) -> Outcome {
    answer_by(Way::Alone, context, request)
}

fn answer_by(way: Way<'_>, context: &Context<'_>, request: &Request) -> Outcome {
    let mut call = ApiCall::new(context, request);
    // Before anything else is looked at (recorded on stage: an unknown path with a junk token answers 501).
    let entry = table::find(&request.call).filter(|_| matches!(request.method.as_str(), "GET" | "POST"));
    let result = match entry {
        None => Err(ApiError::unknown_call()),
        Some(entry) => call.check(entry, matches!(way, Way::Inside)).and_then(|()| match way {
            Way::Batch(read) => read(&call).map(|()| Body::of(&())),
            Way::Alone | Way::Inside => (entry.handler)(&mut call),
        }),
    };
    note_asked(&request.call, &call.parameters, &mut call.facts);
    let reply = match result {
        Ok(Body(body)) => Reply { status: 200, media: Media::Json, headers: Vec::new(), body },
        Err(error) => {
            call.facts.error_code = Some(error.code);
            error_reply(&error.with_status_of(context.settings), call.version(), &request.call)
        }
    };
    Outcome { reply, facts: call.facts, events: call.events }
}

/// An error as an answer to a call, with the status that it has; the call is empty where it does not matter.
pub(super) fn error_reply(error: &ApiError, version: &str, call: &str) -> Reply {
    let body = protocol::json_text(&error.envelope(version, call));
    Reply { status: error.status, media: Media::Json, headers: Vec::new(), body }
}

/// Whether there is a call of this name.
pub(super) fn is_known(call: &str) -> bool {
    table::find(call).is_some()
}

/// The API version asked for; an empty header counts as none (Ruby SDK, WePay.NET).
pub(super) fn requested_version(request: &Request) -> Result<Option<&'static str>, ApiError> {
    let header = request.headers.get("api-version").and_then(|value| value.to_str().ok()).unwrap_or_default().trim();
    if header.is_empty() {
        return Ok(None);
    }
    let known = protocol::VERSIONS.into_iter().find(|version| *version == header);
    known.map(Some).ok_or_else(ApiError::invalid_version)
}

/// A known path below `/v2`, the pages' too: what the call log need not copy.
pub(super) fn known_path(path: &str) -> Option<&'static str> {
    table::find(path).map(|entry| entry.name).or_else(|| pages::paths().find(|name| *name == path))
}

/// What the call log says of a call that was kept from being processed: read from the request alone.
pub(super) fn facts_of(request: &Request) -> Facts {
    let mut facts = Facts::default();
    if let Ok(parameters) = Parameters::read(&request.method, &request.query, &request.headers, &request.body) {
        note_asked(&request.call, &parameters, &mut facts);
    }
    facts
}

/// What the call log says of a call whatever became of it: what the parameters name and its handler did not find out better.
fn note_asked(name: &str, parameters: &Parameters, facts: &mut Facts) {
    if name.starts_with("/account") {
        facts.account_id = facts.account_id.or_else(|| parameters.required_id("account_id").ok());
        if facts.reference_id.is_none() {
            facts.reference_id = parameters.text("reference_id", TEXT_MAX).ok().flatten();
        }
    }
    if name == REGISTER
        && let Ok(Some(email)) = parameters.text("email", TEXT_MAX)
    {
        facts.email_sha256 = Some(prefix_of(&sha256(&email_key(&email)), EMAIL_DIGITS));
    }
}
