//! Single sign-on: calls for users that an app registers and signs in itself (WePay.NET, whose comments mirror the
//! documentation; the official Java SDK). Each needs a permission of the app; `/user/change_email` and
//! `/user/mark_email_verified` are for users registered with `type` `sso` alone.
//!
//! How an app signs the token of `/user/request_sso_token` and hands it to a browser is not public, so no page here takes
//! one and nothing of it is kept. Of second factors (`/user/mfa/…`) the names and some parameters are public, but no
//! answer: no app is enabled for them.

use serde_json::json;

use super::{ApiCall, Body, users};
use crate::sandbox::confirmation;
use crate::sandbox::hash::random_uuid;
use crate::sandbox::protocol::{ApiError, SSO_TOKEN_LIFE, TEXT_MAX};
use crate::sandbox::state::{Event, Token, User, UserState};

/// What the text of a refusal calls it; inferred.
pub(super) const WHAT: &str = "single sign-on";

/// `/user/mark_email_verified`: the app vouches for the address; that confirms the registration like the person's own consent
/// does (WePay.NET: to be made within the time limits of a registration).
pub(super) fn mark_email_verified(call: &mut ApiCall<'_>) -> Result<Body, ApiError> {
    let (token, user) = own_user(call)?;
    let confirmed = confirmation::events(call.context.state, user, &[token.client_id], call.context.now);
    call.events.extend(confirmed);
    Ok(shown(call, token, &User { state: UserState::Registered, ..user.clone() }))
}

/// `/user/change_email`: the new address counts as verified. `cookie` is that of WePay's second factor.
pub(super) fn change_email(call: &mut ApiCall<'_>) -> Result<Body, ApiError> {
    let (token, user) = own_user(call)?;
    let email = call.parameters.email("email")?;
    call.parameters.text("cookie", TEXT_MAX)?;
    if call.context.state.user_by_email(&email).is_some_and(|other| other.user_id != user.user_id) {
        // A user is keyed by the address (WePay API docs, user page); number and text inferred.
        return Err(ApiError::invalid_parameter("email parameter must be unique, a user already has it"));
    }
    call.events.push(Event::EmailChanged { user_id: user.user_id, email: email.clone() });
    Ok(shown(call, token, &User { email, ..user.clone() }))
}

/// `/user/logout`: ends the person's sessions at WePay's pages.
pub(super) fn logout(call: &mut ApiCall<'_>) -> Result<Body, ApiError> {
    let (token, user) = call.authenticate()?;
    for sha256 in call.context.state.sessions_of(user.user_id) {
        call.events.push(Event::SessionClosed { sha256: sha256.to_owned() });
    }
    Ok(shown(call, token, user))
}

/// `/user/request_sso_token`: a UUID that is good for one use in ten minutes, and the second in which it ends.
pub(super) fn request_token(call: &mut ApiCall<'_>) -> Result<Body, ApiError> {
    call.authenticate()?;
    let context = call.context;
    let expires_at = context.now.plus(context.scaled(SSO_TOKEN_LIFE));
    Ok(Body::of(&json!({
        "sso_token": random_uuid(context.entropy),
        "expire_time": expires_at.as_micros().div_euclid(1_000_000),
    })))
}

/// All of `/user/mfa/…`.
pub(super) fn second_factor(_: &mut ApiCall<'_>) -> Result<Body, ApiError> {
    Err(ApiError::not_enabled("second factors"))
}

/// The token's user, whom the app must have registered for single sign-on.
fn own_user<'a>(call: &mut ApiCall<'a>) -> Result<(&'a Token, &'a User), ApiError> {
    let (token, user) = call.authenticate()?;
    if !call.context.state.is_single_sign_on(user.user_id, token.client_id) {
        return Err(ApiError::not_single_sign_on());
    }
    Ok((token, user))
}

fn shown(call: &ApiCall<'_>, token: &Token, user: &User) -> Body {
    users::shown(call, user, call.context.state.callback(user.user_id, token.client_id), &[])
}
