//! Answers as HTTP, with the headers that WePay's had (recorded on stage: B-Sides/wepay-api in 2014, amphtml in 2017).

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use crate::sandbox::environment::Environment;
use crate::sandbox::hash::random_hex;
use crate::sandbox::world::{Core, Media, Reply};

/// Recorded with `max-age=2592000`. Zero forgets an earlier one: whatever else a developer serves on `localhost` must stay
/// reachable in clear.
const TRANSPORT_SECURITY: HeaderValue = HeaderValue::from_static("max-age=0");

/// An answer of API or pages.
pub(super) fn of_provider(is_tls: bool, reply: Reply) -> Response<Body> {
    let is_api = reply.media == Media::Json;
    let mut response = of_control(reply);
    let headers = response.headers_mut();
    headers.insert(header::SERVER, HeaderValue::from_static("nginx"));
    if is_api {
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::VARY, HeaderValue::from_static("Authorization"));
    }
    if is_tls {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, TRANSPORT_SECURITY);
    }
    response
}

/// An answer as it is; hyper adds its length and the date.
pub(super) fn of_control(reply: Reply) -> Response<Body> {
    let media = match reply.media {
        // Without a charset, as recorded on stage.
        Media::Json => "application/json",
        Media::Html => "text/html; charset=utf-8",
        Media::JsonLines => "application/x-ndjson",
    };
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    for (name, value) in reply.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.append(name, value);
        }
    }
    response
}

/// What an API call that changes something answers besides: a session cookie, which means nothing here and is not asked for
/// again, and no storing. All of it is recorded, the cookie twice with 26 letters and digits; production's domain is inferred.
pub(super) fn of_write(core: &Core) -> [(HeaderName, String); 5] {
    let domain = match core.environment {
        Environment::Stage => "stage.wepay.com",
        Environment::Production => "www.wepay.com",
    };
    let session = random_hex::<13>(core.entropy.as_ref());
    [
        (header::SET_COOKIE, format!("wepay={session}; path=/; domain={domain}; secure; HttpOnly")),
        (header::SET_COOKIE, format!("wepay={session}; path=/; domain={domain}; secure; httponly")),
        (header::CACHE_CONTROL, "no-store, no-cache, must-revalidate, post-check=0, pre-check=0".to_owned()),
        (header::PRAGMA, "no-cache".to_owned()),
        (header::EXPIRES, "Thu, 19 Nov 1981 08:52:00 GMT".to_owned()),
    ]
}
