//! `/account/get_update_uri`: where the owner gives what the account lacks.
//!
//! The address names the account and nothing secret, as recorded: whoever has it must still sign in as the owner there.

use serde_json::{Value, json};
use url::form_urlencoded;

use super::access::Access;
use super::{ApiCall, stand, view};
use crate::sandbox::parameters::Parameters;
use crate::sandbox::protocol::{ApiError, TEXT_MAX, URI_MAX};
use crate::sandbox::state::Change;

/// What an app may know of the owner and the business already (WePay.NET, prefill structure).
const PREFILL: [&str; 10] = [
    "name",
    "email",
    "phone",
    "entity_phone",
    "address",
    "entity_address",
    "date_of_birth",
    "entity_name",
    "url",
    "description",
];

/// `/account/get_update_uri`.
pub(in crate::sandbox::api) fn uri(call: &mut ApiCall<'_>) -> Result<Value, ApiError> {
    let mode = call.parameters.text("mode", TEXT_MAX);
    let redirect_uri = call.parameters.uri("redirect_uri");
    let prefill = prefill(&call.parameters);
    let access = Access::of(call, &["account_id", "mode", "redirect_uri", "prefill_info"])?;
    let is_framed = match mode?.as_deref() {
        None | Some("regular") => false,
        Some("iframe") => true,
        Some(_) => return Err(ApiError::invalid_parameter("mode parameter must be either regular or iframe")),
    };
    let (redirect_uri, prefill) = (redirect_uri?, prefill?);
    if prefill.is_some() {
        call.require_permission("prefill_info", "prefill_info")?;
    }
    let account = access.by_owner()?.confirmed()?.account;
    let mut query = form_urlencoded::Serializer::new(String::new());
    if is_framed {
        query.append_pair("iframe", "1");
    }
    if let Some(redirect_uri) = redirect_uri {
        query.append_pair("redirect_uri", &redirect_uri);
    }
    let page = view(call, account).page(&format!("/api/account_update/{}", account.account_id));
    let query = query.finish();
    let uri = if query.is_empty() { page } else { format!("{page}?{query}") };
    if let Some(info) = prefill {
        stand(call, account, Change::Prefilled { info });
    }
    Ok(json!({ "account_id": account.account_id, "uri": uri }))
}

/// What the page shall show already; texts are measured, structures taken as they are.
fn prefill(parameters: &Parameters) -> Result<Option<Value>, ApiError> {
    let Some(info) = parameters.nested("prefill_info")? else { return Ok(None) };
    info.refuse_unexpected(&PREFILL)?;
    for name in ["email", "entity_name", "description"] {
        info.text(name, TEXT_MAX)?;
    }
    info.text("url", URI_MAX)?;
    for name in ["name", "phone", "entity_phone", "address", "entity_address", "date_of_birth"] {
        info.object(name)?;
    }
    parameters.object("prefill_info")
}
