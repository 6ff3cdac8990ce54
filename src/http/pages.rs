//! Every page and every sentence that a merchant can read. Plain HTML: no script, nothing from elsewhere.
//!
//! Askama escapes what it inserts, and what it inserts comes from the service, never from the request.

use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tracing::{error, warn};

use crate::domain::ambient::Timestamp;
use crate::domain::id::CallId;
use crate::service::{CallbackRefusal, Error, InvitationView, Kind};

mod text;

use text::Message;

/// How long a browser keeps the stylesheet, in seconds: an hour, so that a new release is not stuck behind an old look.
const STYLESHEET_CACHE: HeaderValue = HeaderValue::from_static("public, max-age=3600");

/// Seconds until a browser asks again while the outcome is worked on.
const WORKING_REFRESH_S: u16 = 1;
/// Seconds until a browser asks again while the outcome is in doubt: that takes minutes.
const IN_DOUBT_REFRESH_S: u16 = 15;
/// When to come back after an outage, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

#[derive(Template)]
#[template(path = "pages/invitation.html")]
struct InvitationPage<'a> {
    platform: &'a str,
    merchant: &'a str,
    permissions: Vec<&'a str>,
    until: String,
    action: &'a str,
}

#[derive(Template)]
#[template(path = "pages/message.html")]
struct MessagePage<'a> {
    message: &'a Message,
    refresh_s: Option<u16>,
    known_at: Option<String>,
    reference: Option<CallId>,
}

/// The page of an invitation; its button posts to `action`.
pub(super) fn invitation(view: &InvitationView, action: &str) -> Response {
    let permissions = view.scopes.iter().map(|scope| text::permission(scope)).collect();
    let until = for_people(view.expires_at);
    html(
        StatusCode::OK,
        &InvitationPage { platform: &view.platform_name, merchant: &view.merchant_name, permissions, until, action },
    )
}

/// The invitation is unknown or over; which of both is not told.
pub(super) fn invitation_gone() -> Response {
    message(StatusCode::NOT_FOUND, &text::INVITATION_GONE)
}

/// The button was pressed from another site's page.
pub(super) fn cross_site() -> Response {
    message(StatusCode::FORBIDDEN, &text::CROSS_SITE)
}

/// The button was pressed, and there is nothing to do.
pub(super) fn already_connected() -> Response {
    message(StatusCode::CONFLICT, &text::ALREADY_CONNECTED)
}

/// The button was pressed while an earlier attempt is open.
pub(super) fn busy() -> Response {
    message(StatusCode::CONFLICT, &text::BUSY)
}

/// The callback consumed nothing.
pub(super) fn callback_refused(why: CallbackRefusal) -> Response {
    match why {
        CallbackRefusal::UnknownState => message(StatusCode::BAD_REQUEST, &text::UNKNOWN_STATE),
        CallbackRefusal::OtherBrowser => message(StatusCode::FORBIDDEN, &text::OTHER_BROWSER),
        CallbackRefusal::Expired => message(StatusCode::GONE, &text::EXPIRED),
        CallbackRefusal::Malformed => message(StatusCode::BAD_REQUEST, &text::MALFORMED),
    }
}

/// No such journey, or another browser's.
pub(super) fn status_unknown() -> Response {
    message(StatusCode::NOT_FOUND, &text::STATUS_UNKNOWN)
}

/// The outcome is being worked on.
pub(super) fn working() -> Response {
    let page =
        MessagePage { message: &text::WORKING, refresh_s: Some(WORKING_REFRESH_S), known_at: None, reference: None };
    html(StatusCode::OK, &page)
}

/// The outcome is not known yet; it is at this time.
pub(super) fn in_doubt(known_at: Timestamp) -> Response {
    let page = MessagePage {
        message: &text::IN_DOUBT,
        refresh_s: Some(IN_DOUBT_REFRESH_S),
        known_at: Some(for_people(known_at)),
        reference: None,
    };
    html(StatusCode::OK, &page)
}

/// The outcome, by its stored form.
pub(super) fn over(outcome: &str) -> Response {
    message(StatusCode::OK, text::outcome(outcome))
}

/// There is nothing here.
pub(super) async fn not_found() -> Response {
    message(StatusCode::NOT_FOUND, &text::NOT_FOUND)
}

/// Not with this method.
pub(super) async fn method_not_allowed() -> Response {
    message(StatusCode::METHOD_NOT_ALLOWED, &text::METHOD_NOT_ALLOWED)
}

/// The request is longer than anything we would send.
pub(super) fn limit(status: StatusCode) -> Response {
    message(status, &text::LIMIT)
}

/// Something that must not happen did, and there is no error to log.
pub(super) fn unavailable() -> Response {
    message(StatusCode::INTERNAL_SERVER_ERROR, &text::FAILED)
}

/// The service could not do it. The twin of the table in `grpc`: which kinds are an outage, and which a fault of ours. The log
/// gets the detail, the page the call's id.
pub(super) fn failure(call: CallId, failed: &Error) -> Response {
    let (kind, detail) = (failed.kind().reason(), failed.detail());
    let (status, message) = match failed.kind() {
        Kind::StoreUnavailable
        | Kind::Overloaded
        | Kind::DeadlinePassed
        | Kind::Conflict
        | Kind::LivenessUnknown
        | Kind::ProviderUnavailable
        | Kind::ProviderBusy
        | Kind::ProviderOutcomeUnknown
        | Kind::AttemptUnresolved => (StatusCode::SERVICE_UNAVAILABLE, &text::UNAVAILABLE),
        Kind::DataCorrupt
        | Kind::Internal
        // None of these is an answer to a browser: that one comes here is a bug.
        | Kind::InvalidArgument
        | Kind::Unauthenticated
        | Kind::PermissionDenied
        | Kind::NotFound
        | Kind::RequestIdReused
        | Kind::TokenStillLive
        | Kind::NotConnected
        | Kind::LinkHeld
        | Kind::TokenDead
        | Kind::TokenExpired
        | Kind::InsufficientScope
        | Kind::VersionNotAvailable
        | Kind::ConfirmationInvalid
        | Kind::LinkNotHeld
        | Kind::ReturnUrlNotAllowed
        | Kind::ConnectionExists
        | Kind::AlreadyLinked
        | Kind::NameRefused
        | Kind::AccountUnresolved
        | Kind::AccountNotOpen
        | Kind::ProviderRefused => (StatusCode::INTERNAL_SERVER_ERROR, &text::FAILED),
    };
    let mut response = html(status, &MessagePage { message, refresh_s: None, known_at: None, reference: Some(call) });
    if status == StatusCode::SERVICE_UNAVAILABLE {
        warn!(call.id = %call, "a page could not be served: {kind}: {detail}");
        response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    } else {
        error!(call.id = %call, "a page could not be served: {kind}: {detail}");
    }
    response
}

/// The look of all pages.
pub(super) async fn stylesheet() -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8")),
        (header::CACHE_CONTROL, STYLESHEET_CACHE),
    ];
    (headers, include_str!("../../templates/pages/style.css")).into_response()
}

fn message(status: StatusCode, message: &Message) -> Response {
    html(status, &MessagePage { message, refresh_s: None, known_at: None, reference: None })
}

fn html(status: StatusCode, page: &impl Template) -> Response {
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"))];
    match page.render() {
        Ok(body) => (status, kind, body).into_response(),
        Err(failed) => {
            error!("a page could not be rendered: {failed}");
            (StatusCode::INTERNAL_SERVER_ERROR, "This page could not be made. Please try again.\n").into_response()
        }
    }
}

/// A time to the minute, rounded up so that it is never too early, in UTC.
fn for_people(at: Timestamp) -> String {
    const MINUTE_S: i64 = 60;
    let up = at.as_unix_seconds().saturating_add(MINUTE_S);
    let text = Timestamp::from_unix_seconds(up.saturating_sub(up.rem_euclid(MINUTE_S))).to_rfc3339();
    match text.split_once('T') {
        Some((date, time)) => format!("{date} {} UTC", time.get(..5).unwrap_or(time)),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_for_people_is_never_too_early() {
        let at = |text| for_people(Timestamp::parse_rfc3339(text).unwrap());
        assert_eq!(at("2026-03-02T14:05:01.5Z"), "2026-03-02 14:06 UTC");
        assert_eq!(at("2026-12-31T23:59:59.999999Z"), "2027-01-01 00:00 UTC");
    }
}
