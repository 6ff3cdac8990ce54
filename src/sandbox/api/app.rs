//! The app calls (WePay API docs, app page).

use serde_json::{Value, json};

use super::{ApiCall, Body, theme};
use crate::sandbox::protocol::ApiError;
use crate::sandbox::state::{App, Event};

/// The call that shows an app.
pub(super) const LOOKUP: &str = "/app";

/// `/app`: the app as its dashboard shows it.
pub(super) fn lookup(call: &mut ApiCall<'_>) -> Result<Body, ApiError> {
    Ok(Body::of(&object(call.client()?)))
}

/// `/app/modify`: what is not named stays; an empty list of domains clears them, as at accounts.
pub(super) fn modify(call: &mut ApiCall<'_>) -> Result<Body, ApiError> {
    let mut app = call.client()?.clone();
    app.theme_object = theme::read(&call.parameters)?.or(app.theme_object);
    app.gaq_domains = theme::domains(&call.parameters)?.or(app.gaq_domains);
    let body = object(&app);
    call.events.push(Event::AppChanged(Box::new(app)));
    Ok(Body::of(&body))
}

/// `status` is `approved` for every app, as in a sample row of django-wepay.
fn object(app: &App) -> Value {
    json!({
        "client_id": app.client_id,
        "state": app.state,
        "status": "approved",
        "api_version": app.api_version,
        "theme_object": app.theme_object.as_ref().map(|theme| theme::with_id(theme, app.client_id)),
        "gaq_domains": app.gaq_domains.clone().unwrap_or_else(|| json!([])),
    })
}
