//! `/oauth2/token`.

use serde_json::json;

use super::{ApiCall, Body};
use crate::domain::ambient::Timestamp;
use crate::sandbox::hash::sha256;
use crate::sandbox::protocol::{self, ApiError, TEXT_MAX};
use crate::sandbox::state::{Event, Token, TokenKind, UserState};

/// What must be there beside the app's id and secret (WePay API docs, oauth2 page).
pub(super) const REQUIRED: [&str; 2] = ["code", "redirect_uri"];

/// What may be there. `state` and `grant_type` mean nothing, but shipped clients send them (PHP SDK; omniauth, meteor) and
/// were answered.
pub(super) const OPTIONAL: [&str; 3] = ["callback_uri", "state", "grant_type"];

/// Exchanges a code, and with that revokes every earlier token of the (user, app) (WePay API docs,
/// oauth2 and access tokens pages).
pub(super) fn exchange(call: &mut ApiCall<'_>) -> Result<Body, ApiError> {
    let context = call.context;
    let codes = &context.settings.codes;
    let app = call.client()?;
    let code_text = call.parameters.required_text("code", TEXT_MAX)?;
    let redirect_uri = call.parameters.required_text("redirect_uri", protocol::URI_MAX)?;
    let callback_uri = call.parameters.callback_uri(context.settings.lax_redirects)?;
    let code = context.state.code(&sha256(&code_text)).ok_or_else(ApiError::invalid_code)?;
    if code.client_id != app.client_id {
        return Err(ApiError::foreign_code());
    }
    call.facts.user_id = Some(code.user_id);
    let earlier = context.state.unrevoked(code.user_id, app.client_id);
    let at_us = context.now.as_micros();
    if code.is_used {
        if context.settings.reused_code_revokes {
            call.events.push(Event::TokensRevoked { sha256: earlier, at_us });
        }
        return Err(ApiError::reused_code(codes));
    }
    let issued_at = Timestamp::from_micros(code.issued_at_us);
    if context.now.since(issued_at) >= context.scaled(protocol::CODE_LIFE) {
        return Err(ApiError::expired_code());
    }
    if code.redirect_uri != redirect_uri {
        return Err(ApiError::redirect_mismatch(codes));
    }
    if context.state.user(code.user_id).is_none_or(|user| user.state != UserState::Registered) {
        return Err(ApiError::invalid_code());
    }
    let access_token = call.new_token();
    let hash = sha256(&access_token);
    call.facts.token = Some(hash.clone());
    call.events.push(Event::CodeUsed { sha256: code.sha256.clone() });
    if context.settings.token_revokes && !earlier.is_empty() {
        call.events.push(Event::TokensRevoked { sha256: earlier, at_us });
    }
    call.events.push(Event::TokenIssued(Token {
        sha256: hash,
        user_id: code.user_id,
        client_id: app.client_id,
        scope: code.scope.clone(),
        kind: TokenKind::Permanent,
        issued_at_us: at_us,
        expires_at_us: None,
        revoked_at_us: None,
    }));
    if let Some(callback_uri) = callback_uri {
        call.events.push(Event::CallbackSet { user_id: code.user_id, client_id: app.client_id, callback_uri });
    }
    // No `expires_in`: its absence means that the token lives until revoked.
    Ok(Body::of(&json!({ "user_id": code.user_id, "access_token": access_token, "token_type": "BEARER" })))
}
