//! `/user`, `/user/modify` and `/user/send_confirmation`.

use serde_json::{Map, Value, json};

use super::{ApiCall, rbits};
use crate::sandbox::protocol::{ApiError, LONG_TEXT_MAX, SCOPE_VIEW_USER, TEXT_MAX};
use crate::sandbox::state::{Event, Mail, RbitObject, TokenKind, User};

/// Subject, text and button of a confirmation mail that the app does not word itself; our own.
const SUBJECT: &str = "Please confirm your registration";
const MESSAGE: &str = "An application has registered you. Confirm it to keep your account.";
const BUTTON_TEXT: &str = "Confirm";

/// The user whose token this is.
pub(super) fn lookup(call: &mut ApiCall<'_>) -> Result<Value, ApiError> {
    let context = call.context;
    let (token, user) = call.authorize(SCOPE_VIEW_USER)?;
    call.parameters.refuse_unexpected(&[])?;
    Ok(object(user, context.state.callback(user.user_id, token.client_id)))
}

/// Changes where notices about the user go, and takes rbits about the user.
pub(super) fn modify(call: &mut ApiCall<'_>) -> Result<Value, ApiError> {
    let context = call.context;
    let (token, user) = call.authorize(SCOPE_VIEW_USER)?;
    let wanted = call.parameters.callback_uri(context.settings.lax_redirects)?;
    call.parameters.refuse_unexpected(&["callback_uri", "rbits"])?;
    let (user_id, client_id) = (user.user_id, token.client_id);
    let told = rbits::from_parameter(call, (user_id, client_id), RbitObject::User, user_id)?;
    if !told.is_empty() {
        call.events.push(Event::RbitsMade(told));
    }
    let body = object(user, wanted.as_ref().or_else(|| context.state.callback(user_id, client_id)));
    if let Some(callback_uri) = wanted {
        call.events.push(Event::CallbackSet { user_id, client_id, callback_uri });
    }
    Ok(body)
}

/// Sends the mail with which a person confirms a registration. The documentation names no scope for it.
pub(super) fn send_confirmation(call: &mut ApiCall<'_>) -> Result<Value, ApiError> {
    let context = call.context;
    let (token, user) = call.authenticate()?;
    let message = call.parameters.text("email_message", LONG_TEXT_MAX)?;
    let subject = call.parameters.text("email_subject", TEXT_MAX)?;
    let button_text = call.parameters.text("email_button_text", TEXT_MAX)?;
    // The old name knows the message alone (WePay API docs before the renaming).
    let known = ["email_message", "email_subject", "email_button_text"];
    let known = if call.name.ends_with("resend_confirmation") { known.get(..1) } else { known.get(..) };
    call.parameters.refuse_unexpected(known.unwrap_or_default())?;
    if token.kind == TokenKind::Permanent {
        return Err(ApiError::already_approved());
    }
    let last = context.state.mails().last().map_or(0, |mail| mail.mail_id);
    call.events.push(Event::MailSent(Mail {
        mail_id: last.saturating_add(1),
        user_id: user.user_id,
        client_id: token.client_id,
        to: user.email.clone(),
        subject: subject.unwrap_or_else(|| SUBJECT.to_owned()),
        message: message.unwrap_or_else(|| MESSAGE.to_owned()),
        button_text: button_text.unwrap_or_else(|| BUTTON_TEXT.to_owned()),
        sent_at_us: context.now.as_micros(),
    }));
    Ok(object(user, context.state.callback(user.user_id, token.client_id)))
}

fn object(user: &User, callback_uri: Option<&String>) -> Value {
    let mut body = Map::new();
    body.insert("user_id".to_owned(), json!(user.user_id));
    body.insert("first_name".to_owned(), json!(user.first_name));
    body.insert("last_name".to_owned(), json!(user.last_name));
    body.insert("user_name".to_owned(), json!(format!("{} {}", user.first_name, user.last_name).trim()));
    body.insert("email".to_owned(), json!(user.email));
    body.insert("state".to_owned(), json!(user.state.as_str()));
    // Left out when unset (recorded on stage).
    if let Some(uri) = callback_uri {
        body.insert("callback_uri".to_owned(), json!(uri));
    }
    Value::Object(body)
}
