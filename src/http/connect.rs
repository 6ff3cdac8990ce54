//! A merchant's journey: invitation → button → provider → callback → status → `return_url`.

use std::net::IpAddr;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::{Peer, Site, cookie, pages, query};
use crate::domain::id::FlowId;
use crate::service::{CallbackRefusal, Error, Landing, Pressed, Told};

/// The two variable parts of a path: the app, and a token or id below it.
type Place = Result<Path<(String, String)>, PathRejection>;

/// Set by every current browser, and by no page: says from where a request was caused (Fetch Metadata).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The page of an invitation. Looking has no effect: mail scanners and previews open links, too.
pub(super) async fn show_invitation(State(site): State<Site>, place: Place) -> Response {
    let Some(token) = site.below(place) else { return pages::not_found().await };
    let call = site.call();
    match site.services.view_invitation(&token).await {
        Ok(Some(view)) => pages::invitation(&view, &format!("/connect/{}/invitation/{token}", site.site.app)),
        Ok(None) => pages::invitation_gone(),
        Err(error) => pages::failure(call, &error),
    }
}

/// The button was pressed.
pub(super) async fn press(
    State(site): State<Site>,
    place: Place,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let Some(token) = site.below(place) else { return pages::not_found().await };
    if is_cross_site(&headers) {
        return pages::cross_site();
    }
    // The form has no fields; its body is read so that one without a declared length has a limit too.
    if let Err(rejection) = body {
        return pages::limit(rejection.status());
    }
    let call = site.call();
    match site.services.press(&token, cookie::read(&headers), call).await {
        Ok(Some(Pressed::ToProvider { url, cookie })) => match cookie::set(&cookie) {
            Some(cookie) => ([(header::SET_COOKIE, cookie)], see_other(url.as_str())).into_response(),
            None => pages::failure(call, &Error::internal("the browser's binding does not fit into a cookie")),
        },
        Ok(Some(Pressed::AlreadyConnected)) => pages::already_connected(),
        Ok(Some(Pressed::Busy)) => pages::busy(),
        Ok(None) => pages::invitation_gone(),
        Err(error) => pages::failure(call, &error),
    }
}

/// The provider sent the browser back. Always answers with a clean URL, so that code and state do not stay in the address bar.
pub(super) async fn callback(
    State(site): State<Site>,
    app: Result<Path<String>, PathRejection>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    if !app.is_ok_and(|Path(app)| site.serves(&app)) {
        return pages::not_found().await;
    }
    let call = site.call();
    let query = query::read(&query.unwrap_or_default(), &site.site.provider_ui_origin);
    let landing = site.services.callback(query.params, cookie::read(&headers), address(peer), call).await;
    match landing {
        Err(error) => pages::failure(call, &error),
        Ok(_) if query.is_at_fault => pages::callback_refused(CallbackRefusal::Malformed),
        Ok(Landing::Status(flow)) => see_other(&format!("/connect/{}/status/{flow}", site.site.app)),
        Ok(Landing::Refused(why)) => pages::callback_refused(why),
    }
}

/// What a HEAD of the callback gets: that it is there.
pub(super) async fn callback_head(State(site): State<Site>, app: Result<Path<String>, PathRejection>) -> Response {
    if app.is_ok_and(|Path(app)| site.serves(&app)) {
        return StatusCode::OK.into_response();
    }
    pages::not_found().await
}

/// How the journey stands, for the browser that made it.
pub(super) async fn status(State(site): State<Site>, place: Place, headers: HeaderMap) -> Response {
    let flow = site.below(place).and_then(|text| text.parse::<FlowId>().ok());
    let Some(flow) = flow else { return pages::not_found().await };
    let call = site.call();
    let view = match site.services.status(flow, cookie::read(&headers)).await {
        Ok(Some(view)) => view,
        Ok(None) => return pages::status_unknown(),
        Err(error) => return pages::failure(call, &error),
    };
    match (view.told, view.return_to) {
        (Told::Over(_), Some(url)) => see_other(url.as_str()),
        (Told::Over(outcome), None) => pages::over(outcome.as_str()),
        (Told::InDoubt(known_at), _) => pages::in_doubt(known_at),
        (Told::Working, _) => pages::working(),
    }
}

impl Site {
    /// What stands below our app in the path; `None` for another app, or for a path that is no text.
    fn below(&self, place: Place) -> Option<String> {
        let Path((app, below)) = place.ok()?;
        self.serves(&app).then_some(below)
    }
}

/// Whether another site's page made the browser send this. `Origin` cannot tell: our own pages say `Referrer-Policy:
/// no-referrer`, and with it a browser sends `Origin: null` for our form, as it does for a sandboxed frame of anybody's
/// (Fetch §3.2). A client without the header is no browser of today; the single-use link and the `__Host-` cookie remain.
fn is_cross_site(headers: &HeaderMap) -> bool {
    headers.get_all(SEC_FETCH_SITE).iter().any(|site| site != "same-origin" && site != "none")
}

/// Where the other end is: counted, never recorded.
pub(super) fn address(peer: Option<Extension<Peer>>) -> Option<IpAddr> {
    peer.and_then(|Extension(Peer(address))| address).map(|address| address.ip())
}

/// 303, the one redirect there is: it never repeats a POST, and never carries a body on (RFC 9700 §4.12).
fn see_other(location: &str) -> Response {
    match HeaderValue::try_from(location) {
        Ok(location) => (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response(),
        Err(_) => pages::unavailable(),
    }
}
