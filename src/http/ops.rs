//! Probes for whoever runs the process: is it alive, and should it get traffic.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tokio::sync::watch;
use tracing::warn;

use crate::domain::ambient::Clock;
use crate::service::Services;

/// Longest wait for one dependency: below the default period of a prober (Kubernetes: 10 s), so that answers never pile up.
const CHECK_DEADLINE: Duration = Duration::from_secs(2);

/// What readiness depends on.
#[derive(Clone)]
pub struct Readiness {
    /// Knows the database.
    pub services: Services,
    /// Whether the process takes calls: false before all listeners are open, and again from the start of the drain on.
    pub serving: watch::Receiver<bool>,
    /// Bounds the wait for a dependency.
    pub clock: Arc<dyn Clock>,
}

#[derive(Serialize)]
struct Report {
    ready: bool,
    serving: bool,
    database: &'static str,
}

/// `/livez`: 200 while the process runs; depends on nothing, so that no outage of a dependency gets it killed.
/// `/readyz`: 200 or 503, with a JSON object of dependencies: `{"ready", "serving", "database": "ok" | "unavailable"}`.
pub fn ops_router(readiness: Readiness) -> Router {
    Router::new().route("/livez", get(livez)).route("/readyz", get(readyz)).with_state(readiness)
}

async fn livez() -> Response {
    (NOT_KEPT, "ok\n").into_response()
}

async fn readyz(State(readiness): State<Readiness>) -> Response {
    let serving = *readiness.serving.borrow();
    let is_healthy = tokio::select! {
        health = readiness.services.health() => match health {
            Ok(()) => true,
            Err(error) => {
                warn!("not ready: {}: {}", error.kind().reason(), error.detail());
                false
            }
        },
        () = readiness.clock.sleep(CHECK_DEADLINE) => {
            warn!("not ready: the database did not answer within {CHECK_DEADLINE:?}");
            false
        }
    };
    let ready = serving && is_healthy;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let database = if is_healthy { "ok" } else { "unavailable" };
    (status, NOT_KEPT, Json(Report { ready, serving, database })).into_response()
}

/// An old answer of a probe is a wrong one.
const NOT_KEPT: [(header::HeaderName, HeaderValue); 1] =
    [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
