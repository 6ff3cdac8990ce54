//! `/user`, `/user/modify` and `/user/send_confirmation`.

use serde_json::{Map, Value, json};

use super::{ApiCall, rbits};
use crate::sandbox::protocol::{ApiError, LONG_TEXT_MAX, TEXT_MAX, VERSION_CALLBACK_EMPTY, VERSION_RBIT_IDS};
use crate::sandbox::state::{Event, Mail, RbitObject, TokenKind, User};

/// Subject, text and button of a confirmation mail that the app does not word itself; our own.
const SUBJECT: &str = "Please confirm your registration";
const MESSAGE: &str = "An application has registered you. Confirm it to keep your account.";
const BUTTON_TEXT: &str = "Confirm";

/// The user whose token this is.
pub(super) fn lookup(call: &mut ApiCall<'_>) -> Result<Value, ApiError> {
    let (token, user) = call.authenticate()?;
    Ok(object(call, user, call.context.state.callback(user.user_id, token.client_id), &[]))
}

/// Changes where notices about the user go, and takes rbits about the user.
pub(super) fn modify(call: &mut ApiCall<'_>) -> Result<Value, ApiError> {
    let context = call.context;
    let (token, user) = call.authenticate()?;
    let wanted = call.parameters.callback_uri(context.settings.lax_redirects)?;
    let (user_id, client_id) = (user.user_id, token.client_id);
    let told = rbits::from_parameter(call, (user_id, client_id), RbitObject::User, user_id)?;
    let told_ids: Vec<u64> = told.iter().map(|rbit| rbit.rbit_id).collect();
    if !told.is_empty() {
        call.events.push(Event::RbitsMade { rbits: told });
    }
    let callback_uri = wanted.as_ref().or_else(|| context.state.callback(user_id, client_id));
    let body = object(call, user, callback_uri, &told_ids);
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
    Ok(object(call, user, context.state.callback(user.user_id, token.client_id), &[]))
}

/// The user as every one of these calls answers it, with the rbits that this call itself brings (WePay API docs, user page;
/// `user_name`: official Java SDK, WePay.NET).
pub(super) fn object(call: &ApiCall<'_>, user: &User, callback_uri: Option<&String>, told: &[u64]) -> Value {
    let mut body = Map::new();
    let mut put = |name: &str, value: Value| drop(body.insert(name.to_owned(), value));
    put("user_id", json!(user.user_id));
    put("first_name", json!(user.first_name));
    put("last_name", json!(user.last_name));
    put("user_name", json!(format!("{} {}", user.first_name, user.last_name).trim()));
    put("email", json!(user.email));
    put("state", json!(user.state.as_str()));
    match callback_uri {
        Some(uri) => put("callback_uri", json!(uri)),
        None if call.version() >= VERSION_CALLBACK_EMPTY => put("callback_uri", json!("")),
        None => {}
    }
    if call.version() >= VERSION_RBIT_IDS {
        let client_id = call.app.map_or(0, |app| app.client_id);
        let kept = call.context.state.rbit_ids(RbitObject::User, user.user_id, client_id);
        let ids: Vec<u64> = kept.chain(told.iter().copied()).collect();
        // Not there when there are none (recorded in October 2016).
        if !ids.is_empty() {
            put("rbit_ids", json!(ids));
        }
    }
    Value::Object(body)
}
