//! `/user/register`: a token for a person who has not consented yet.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::json;

use super::{ApiCall, Body, rbits};
use crate::sandbox::hash::sha256;
use crate::sandbox::protocol::{
    ApiError, NAME_MAX, PERMISSION_SSO, SCOPES, SCOPES_CURRENT, TEMPORARY_LIFE, TEMPORARY_LIFE_2011, TEXT_MAX,
    VERSION_PLAIN_NAMES, VERSION_REGISTER,
};
use crate::sandbox::settings::Codes;
use crate::sandbox::state::{App, Event, RbitObject, Token, TokenKind, User, UserState};
use crate::sandbox::world::Context;

/// What must be there beside the app's id and secret (WePay API docs, user page; WePay.NET).
pub(super) const REQUIRED: [&str; 7] =
    ["email", "scope", "first_name", "last_name", "original_ip", "original_device", "tos_acceptance_time"];

/// What may be there (same sources).
pub(super) const OPTIONAL: [&str; 4] = ["redirect_uri", "callback_uri", "type", "rbits"];

/// What was asked, checked.
struct Asked {
    email: String,
    scope: Vec<String>,
    first_name: String,
    last_name: String,
    redirect_uri: Option<String>,
    callback_uri: Option<String>,
    is_single_sign_on: bool,
}

/// Makes a user, or finds the one with that address (since API version 2014-01-08 both succeed), and issues a temporary
/// token; a permanent one if that user has approved this app already (inferred from Invoice Ninja).
pub(super) fn register(call: &mut ApiCall<'_>) -> Result<Body, ApiError> {
    let context = call.context;
    let app = call.client()?;
    let asked = Asked::read(call)?;
    if asked.is_single_sign_on {
        call.require_permission(PERMISSION_SSO, "type sso")?;
    }
    let user_id = match context.state.user_by_email(&asked.email) {
        Some(_) if call.version() < VERSION_REGISTER => return Err(known_already()),
        Some(user) => user.user_id,
        None => {
            let user = new_user(context, &asked);
            let user_id = user.user_id;
            call.events.push(Event::UserMade(user));
            if asked.is_single_sign_on {
                // Somebody who has a user at WePay signs in there (inferred).
                call.events.push(Event::SingleSignOn { user_id, client_id: app.client_id });
            }
            user_id
        }
    };
    call.facts.user_id = Some(user_id);
    let told = rbits::from_parameter(call, (user_id, app.client_id), RbitObject::User, user_id)?;
    if !told.is_empty() {
        call.events.push(Event::RbitsMade { rbits: told });
    }
    if context.settings.register_revokes {
        let sha256 = context.state.unrevoked(user_id, app.client_id);
        if !sha256.is_empty() {
            call.events.push(Event::TokensRevoked { sha256, at_us: context.now.as_micros() });
        }
    }
    let (access_token, token) = issue(call, app, user_id, asked.scope);
    call.facts.token = Some(token.sha256.clone());
    let is_temporary = token.kind == TokenKind::Temporary;
    call.events.push(Event::TokenIssued(token));
    let client_id = app.client_id;
    call.events.push(Event::Registered { user_id, client_id, redirect_uri: asked.redirect_uri });
    if let Some(callback_uri) = asked.callback_uri {
        call.events.push(Event::CallbackSet { user_id, client_id, callback_uri });
    }
    let life = is_temporary.then(|| life_of_temporary(call).as_secs());
    Ok(Body::of(
        &json!({ "user_id": user_id, "access_token": access_token, "token_type": "BEARER", "expires_in": life }),
    ))
}

impl Asked {
    fn read(call: &ApiCall<'_>) -> Result<Self, ApiError> {
        let (context, parameters) = (call.context, &call.parameters);
        let email = parameters.email("email")?;
        let scope = all_scopes(&context.settings.codes, &parameters.required_text("scope", TEXT_MAX)?)?;
        let first_name = name(call, "first_name")?;
        let last_name = name(call, "last_name")?;
        let original_ip = parameters.required_text("original_ip", TEXT_MAX)?;
        if original_ip.parse::<Ipv4Addr>().is_err() {
            // The documented 16 characters have no room for more than IPv4.
            return Err(ApiError::invalid_parameter("invalid original_ip"));
        }
        parameters.required_text("original_device", TEXT_MAX)?;
        parameters.required_id("tos_acceptance_time")?;
        let redirect_uri = parameters.uri("redirect_uri")?;
        let callback_uri = parameters.callback_uri(context.settings.lax_redirects)?;
        let is_single_sign_on = match parameters.text("type", TEXT_MAX)?.as_deref() {
            None => false,
            Some("sso") => true,
            Some(_) => return Err(ApiError::invalid_parameter("type parameter must be sso")),
        };
        parameters.array("rbits")?;
        Ok(Self { email, scope, first_name, last_name, redirect_uri, callback_uri, is_single_sign_on })
    }
}

/// A first or last name. Letters are those of any script (inferred), and so is the text of the refusal.
fn name(call: &ApiCall<'_>, which: &str) -> Result<String, ApiError> {
    let name = call.parameters.required_text(which, NAME_MAX)?;
    if call.version() >= VERSION_PLAIN_NAMES && !name.chars().all(char::is_alphanumeric) {
        return Err(ApiError::invalid_parameter(format!("{which} must have alphanumeric characters only")));
    }
    Ok(name)
}

/// Before [`VERSION_REGISTER`] people who had a user already had to go to the authorize page (its change list; number and text
/// inferred).
fn known_already() -> ApiError {
    ApiError::invalid_parameter("a user with this email exists already and must authorize the application")
}

/// The scopes of a comma list that must name all current ones, in any order; historic ones may stand beside them.
fn all_scopes(codes: &Codes, list: &str) -> Result<Vec<String>, ApiError> {
    let scopes: Vec<String> = list.split(',').map(|scope| scope.trim().to_owned()).collect();
    if let Some(unknown) = scopes.iter().find(|scope| !SCOPES.contains(&scope.as_str())) {
        return Err(ApiError::invalid_scope(codes, format!("there is no scope {unknown}")));
    }
    match SCOPES.iter().take(SCOPES_CURRENT).find(|current| !scopes.iter().any(|scope| scope == *current)) {
        Some(missing) => Err(ApiError::invalid_scope(codes, format!("scope must contain {missing}"))),
        None => Ok(scopes),
    }
}

fn new_user(context: &Context<'_>, asked: &Asked) -> User {
    User {
        user_id: context.state.next_user_id(),
        email: asked.email.clone(),
        first_name: asked.first_name.clone(),
        last_name: asked.last_name.clone(),
        state: UserState::Pending,
        password: None,
    }
}

/// A fresh token and what is kept of it.
fn issue(call: &ApiCall<'_>, app: &App, user_id: u64, scope: Vec<String>) -> (String, Token) {
    let (context, access_token) = (call.context, call.new_token());
    let (kind, expires_at_us) = if context.state.is_approved(user_id, app.client_id) {
        (TokenKind::Permanent, None)
    } else {
        let expires_at = context.now.plus(life_of_temporary(call));
        (TokenKind::Temporary, Some(expires_at.as_micros()))
    };
    let token = Token {
        sha256: sha256(&access_token),
        user_id,
        client_id: app.client_id,
        scope,
        kind,
        issued_at_us: context.now.as_micros(),
        expires_at_us,
        revoked_at_us: None,
    };
    (access_token, token)
}

/// How long a temporary token lives here, which the version says that it is asked for in.
fn life_of_temporary(call: &ApiCall<'_>) -> Duration {
    let is_first = call.version() < VERSION_REGISTER;
    call.context.scaled(if is_first { TEMPORARY_LIFE_2011 } else { TEMPORARY_LIFE })
}
