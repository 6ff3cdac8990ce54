//! What the provider sends when something of it changed: a form with the object's id. It repeats what is not answered by 200, for
//! two days; so 200 means that the notice is kept, and an outage is answered as one. Anybody can send here: the tag in the address
//! is what tells the provider's own.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use tracing::warn;
use url::form_urlencoded;

use super::connect::address;
use super::{Peer, Site, pages};
use crate::service::Noticed;

/// Longest body: two ids and a reference id take some 100 bytes.
pub(super) const BODY_BYTES_MAX: usize = 4 * 1024;
/// Most parameters that are looked at: a notice has two.
const PARAMETERS_MAX: usize = 32;
/// When to come back after an outage, in seconds. The provider has a schedule of its own.
const RETRY_AFTER_S: &str = "60";

/// Takes a notice.
pub(super) async fn receive(
    State(site): State<Site>,
    place: Result<Path<(String, String, String)>, PathRejection>,
    peer: Option<Extension<Peer>>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let Some(Path((_, kind, tag))) = place.ok().filter(|Path((app, ..))| site.serves(app)) else {
        return pages::not_found().await;
    };
    // Who has no address of ours is told nothing about bodies.
    let parameters = match body {
        Err(rejection) if site.services.is_notice_address(&kind, &tag) => {
            return (rejection.status(), "unreadable").into_response();
        }
        Err(_) => Vec::new(),
        Ok(body) => form_urlencoded::parse(&body).into_owned().take(PARAMETERS_MAX).collect(),
    };
    let call = site.call();
    match site.services.take_notice(&kind, &tag, &parameters, address(peer), call).await {
        Ok(Noticed::Kept) => (StatusCode::OK, "OK").into_response(),
        Ok(Noticed::NotOurs) => pages::not_found().await,
        Ok(Noticed::Unreadable) => (StatusCode::BAD_REQUEST, "unreadable").into_response(),
        Err(failed) => {
            warn!(call.id = %call, reason = failed.kind().reason(), "notice not kept: {failed}");
            (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, RETRY_AFTER_S)], "later").into_response()
        }
    }
}
