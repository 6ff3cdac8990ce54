//! Probes for whoever runs the process: is it alive, and should it get traffic.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::watch;

use crate::service::Standing;

/// `/livez`: 200 while the process runs; depends on nothing, so that no outage of a dependency gets it killed.
/// `/readyz`: 200 and `ready`, or 503 and why not, a line for each reason. It tells what was found last and asks nobody, so that no
/// flood of probes reaches the database.
pub fn ops_router(health: watch::Receiver<Standing>) -> Router {
    Router::new().route("/livez", get(livez)).route("/readyz", get(readyz)).with_state(health)
}

async fn livez() -> Response {
    (NOT_KEPT, "ok\n").into_response()
}

async fn readyz(State(health): State<watch::Receiver<Standing>>) -> Response {
    let hindrances = health.borrow().hindrances();
    if hindrances.is_empty() {
        return (NOT_KEPT, "ready\n").into_response();
    }
    let lines: String = hindrances.iter().map(|hindrance| format!("{hindrance}\n")).collect();
    (StatusCode::SERVICE_UNAVAILABLE, NOT_KEPT, lines).into_response()
}

/// An old answer of a probe is a wrong one.
const NOT_KEPT: [(header::HeaderName, HeaderValue); 1] =
    [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
