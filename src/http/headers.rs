//! What every answer carries: nothing loads from elsewhere, nothing is kept, nothing leaks by `Referer`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use tracing::debug;

use super::pages;

/// Longest URI taken: a callback needs some 600 bytes, an invitation some 150.
pub(super) const URI_BYTES_MAX: usize = 8 * 1024;

/// Longest body taken: our one form has no fields.
pub(super) const BODY_BYTES_MAX: usize = 8 * 1024;

/// Longest request, its body included: nothing here asks anybody but our own database.
const REQUEST_MAX: Duration = Duration::from_secs(20);
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// The same on every answer.
const FIXED: [(HeaderName, HeaderValue); 5] = [
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (OPENER_POLICY, HeaderValue::from_static("same-origin")),
    (PERMISSIONS_POLICY, HeaderValue::from_static("camera=(), geolocation=(), microphone=(), payment=(), usb=()")),
    // A year, as preload lists and scanners expect; without subdomains: they are the platform's, not ours.
    (header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000")),
];

/// The policy of our pages. Other origins stand in `form-action` because browsers check every redirect of a posted form too,
/// and a provider that asks nothing redirects straight on to `return_url`. An origin that would break out of its directive is
/// left out: then the button leads nowhere, and nothing is opened.
pub(super) fn content_security_policy(form_targets: &[String]) -> HeaderValue {
    let is_source =
        |origin: &&String| origin.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b';' | b',' | b'\''));
    let targets: Vec<&str> = form_targets.iter().filter(is_source).map(String::as_str).collect();
    let text = format!(
        "default-src 'none'; style-src 'self'; form-action 'self' {}; frame-ancestors 'none'; base-uri 'none'",
        targets.join(" ")
    );
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"))
}

/// Wraps every route, also the ones that do not exist: limits first, then the answer, then its headers.
pub(super) async fn around(State(policy): State<Arc<HeaderValue>>, request: Request, next: Next) -> Response {
    let template = request.extensions().get::<MatchedPath>().cloned();
    let method = request.method().clone();
    let mut response = match refusal(&request) {
        Some(status) => pages::limit(status),
        None => match tokio::time::timeout(REQUEST_MAX, next.run(request)).await {
            Ok(response) => response,
            Err(_) => pages::limit(StatusCode::REQUEST_TIMEOUT),
        },
    };
    // The template, never the URI: it carries capabilities, codes and states.
    let route = template.as_ref().map_or("(none)", MatchedPath::as_str);
    debug!(http.method = %method, http.route = route, http.status = response.status().as_u16(), "answered");
    let headers = response.headers_mut();
    for (name, value) in &FIXED {
        headers.insert(name, value.clone());
    }
    headers.insert(header::CONTENT_SECURITY_POLICY, (*policy).clone());
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn refusal(request: &Request) -> Option<StatusCode> {
    let uri_bytes = request.uri().path_and_query().map_or(0, |text| text.as_str().len());
    if uri_bytes > URI_BYTES_MAX {
        return Some(StatusCode::URI_TOO_LONG);
    }
    declares_too_much(request.headers()).then_some(StatusCode::PAYLOAD_TOO_LARGE)
}

/// A body that says it is too long is refused before a byte of it is read. One that does not say is counted while it is read.
fn declares_too_much(headers: &HeaderMap) -> bool {
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    declared.is_some_and(|bytes| bytes > BODY_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_cannot_add_directives() {
        let policy = content_security_policy(&["https://provider.example".to_owned()]);
        assert!(
            policy.to_str().unwrap().contains("form-action 'self' https://provider.example; frame-ancestors 'none'")
        );
        for evil in ["https://a; script-src *", "https://a\nX: y", "'unsafe-inline'", "a,b", "é"] {
            let policy = content_security_policy(&[evil.to_owned()]);
            assert!(policy.to_str().unwrap().contains("form-action 'self' ;"), "{evil:?}");
        }
    }
}
