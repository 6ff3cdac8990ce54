//! `/user`, `/user/modify` and `/user/send_confirmation`.

use serde::Serialize;

use super::{ApiCall, Body, rbits};
use crate::sandbox::protocol::{ApiError, LONG_TEXT_MAX, TEXT_MAX, VERSION_CALLBACK_EMPTY, VERSION_RBIT_IDS};
use crate::sandbox::state::{Event, Mail, RbitObject, TokenKind, User};

/// Subject, text and button of a confirmation mail that the app does not word itself; our own.
const SUBJECT: &str = "Please confirm your registration";
const MESSAGE: &str = "An application has registered you. Confirm it to keep your account.";
const BUTTON_TEXT: &str = "Confirm";

/// The user whose token this is.
pub(super) fn lookup(call: &mut ApiCall<'_>) -> Result<Body, ApiError> {
    let (token, user) = call.authenticate()?;
    Ok(shown(call, user, call.context.state.callback(user.user_id, token.client_id), &[]))
}

/// Changes where notices about the user go, and takes rbits about the user.
pub(super) fn modify(call: &mut ApiCall<'_>) -> Result<Body, ApiError> {
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
    let body = shown(call, user, callback_uri, &told_ids);
    if let Some(callback_uri) = wanted {
        call.events.push(Event::CallbackSet { user_id, client_id, callback_uri });
    }
    Ok(body)
}

/// Sends the mail with which a person confirms a registration. The documentation names no scope for it.
pub(super) fn send_confirmation(call: &mut ApiCall<'_>) -> Result<Body, ApiError> {
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
    Ok(shown(call, user, context.state.callback(user.user_id, token.client_id), &[]))
}

/// The user as every one of these calls answers it, with the rbits that this call itself brings (WePay API docs, user page;
/// `user_name`: official Java SDK, WePay.NET).
#[derive(Serialize)]
struct Shown<'a> {
    user_id: u64,
    first_name: &'a str,
    last_name: &'a str,
    user_name: &'a str,
    email: &'a str,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback_uri: Option<&'a str>,
    /// Not there when there are none (recorded in October 2016).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rbit_ids: Vec<u64>,
}

/// The user as a call answers it.
pub(super) fn shown(call: &ApiCall<'_>, user: &User, callback_uri: Option<&String>, told: &[u64]) -> Body {
    let version = call.version();
    let mut rbit_ids = Vec::new();
    if version >= VERSION_RBIT_IDS {
        let client_id = call.app.map_or(0, |app| app.client_id);
        let kept = call.context.state.rbit_ids(RbitObject::User, user.user_id, client_id);
        rbit_ids.extend(kept.chain(told.iter().copied()));
    }
    let unset = (version >= VERSION_CALLBACK_EMPTY).then_some("");
    Body::of(&Shown {
        user_id: user.user_id,
        first_name: &user.first_name,
        last_name: &user.last_name,
        user_name: format!("{} {}", user.first_name, user.last_name).trim(),
        email: &user.email,
        state: user.state.as_str(),
        callback_uri: callback_uri.map(String::as_str).or(unset),
        rbit_ids,
    })
}
