//! `/account/get_update_uri`: where the owner gives what the account lacks.
//!
//! The address names the account and nothing secret, as recorded: whoever has it must still sign in as the owner there.

use serde_json::{Value, json};
use url::form_urlencoded;

use super::access::Access;
use super::{ApiCall, Body, stand, view};
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
pub(in crate::sandbox::api) fn uri(call: &mut ApiCall<'_>) -> Result<Body, ApiError> {
    let (access, (is_framed, redirect_uri, prefill)) = Access::with(call, |call| {
        Ok((is_framed(&call.parameters)?, call.parameters.uri("redirect_uri")?, prefill(call)?))
    })?;
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
    Ok(Body::of(&json!({ "account_id": account.account_id, "uri": uri })))
}

fn is_framed(parameters: &Parameters) -> Result<bool, ApiError> {
    match parameters.text("mode", TEXT_MAX)?.as_deref() {
        None | Some("regular") => Ok(false),
        Some("iframe") => Ok(true),
        Some(_) => Err(ApiError::invalid_parameter("mode parameter must be either regular or iframe")),
    }
}

/// What the page shall show already, for apps with the permission; texts are measured, structures taken as they are.
fn prefill(call: &ApiCall<'_>) -> Result<Option<Value>, ApiError> {
    let name = "prefill_info";
    let Some(info) = call.parameters.nested(name)? else { return Ok(None) };
    call.require_permission(name, name)?;
    info.refuse_unexpected(&PREFILL)?;
    for name in ["email", "entity_name", "description"] {
        info.text(name, TEXT_MAX)?;
    }
    info.text("url", URI_MAX)?;
    for name in ["name", "phone", "entity_phone", "address", "entity_address", "date_of_birth"] {
        info.object(name)?;
    }
    call.parameters.object(name)
}
