//! The app calls (WePay API docs, app page).

use serde_json::{Value, json};

use super::ApiCall;
use crate::sandbox::protocol::ApiError;

/// `/app`: the app as its dashboard shows it. A header with a token is ignored (recorded on stage).
pub(super) fn lookup(call: &mut ApiCall<'_>) -> Result<Value, ApiError> {
    let app = call.client()?;
    call.parameters.refuse_unexpected(&["client_id", "client_secret"])?;
    Ok(json!({
        "client_id": app.client_id,
        "state": app.state,
        "status": "approved",
        "api_version": app.api_version,
        "theme_object": app.theme_object,
        "gaq_domains": app.gaq_domains.clone().unwrap_or_else(|| json!([])),
    }))
}
