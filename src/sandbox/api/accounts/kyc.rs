//! `/account/kyc…`: the owner's identity by call, for apps with the permission (WePay API docs, kyc page; WePay.NET).
//!
//! What people say of themselves is checked for its shape and forgotten, but for the name that the look-up shows.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::access::Access;
use super::{ApiCall, Body, errors, stand};
use crate::sandbox::lifecycle;
use crate::sandbox::parameters::Parameters;
use crate::sandbox::protocol::{ApiError, SCOPE_MANAGE_ACCOUNTS, TEXT_MAX};
use crate::sandbox::state::{Account, Change, KycState};

/// Identities are numbered like their accounts, this far above, so that a mix-up shows.
const KYC_ID_ABOVE: u64 = 2_000_000_000;

/// A first, middle or last name (WePay.NET). WePay cuts off what is longer; here nothing is changed on the way, so it is refused.
const NAME_MAX: usize = 35;

/// What an identity is of; exactly one of the three.
const KINDS: [&str; 3] = ["individual", "business", "organization"];

/// What an identity has: name, and whether it must be there. Compliance structures are taken as they are.
const INDIVIDUAL: [(&str, bool); 6] = [
    ("account_owner", true),
    ("mcc", false),
    ("primary_url", false),
    ("us_entity_compliance", false),
    ("ca_entity_compliance", false),
    ("gb_entity_compliance", false),
];
const ENTITY: [(&str, bool); 9] = [
    ("account_owner", true),
    ("legal_entity_name", true),
    ("primary_url", true),
    ("entity_description", true),
    ("address", true),
    ("mcc", false),
    ("us_entity_compliance", false),
    ("ca_entity_compliance", false),
    ("gb_entity_compliance", false),
];
const OWNER: [(&str, bool); 8] = [
    ("name", true),
    ("date_of_birth", true),
    ("address", true),
    ("phone", true),
    ("email", false),
    ("us_owner_compliance", false),
    ("ca_owner_compliance", false),
    ("gb_owner_compliance", false),
];

/// `/account/kyc`.
pub(in crate::sandbox::api) fn lookup(call: &mut ApiCall<'_>) -> Result<Body, ApiError> {
    let account = Access::of(call)?.by_owner()?.account;
    Ok(Body::of(&object(account, account.standing.kyc)))
}

/// `/account/kyc/create`. Identity is given once; it counts when the app has authorized it. A call from server to server comes
/// with the risk headers of the person behind it.
pub(in crate::sandbox::api) fn create(call: &mut ApiCall<'_>) -> Result<Body, ApiError> {
    let (access, (client_id, legal_name)) = Access::with(call, |call| {
        check_headers(call)?;
        Ok((call.parameters.required_id("client_id")?, legal_name(&call.parameters)?))
    })?;
    if client_id != access.token.client_id {
        return Err(ApiError::invalid_parameter("client_id does not match the client_id of the access_token"));
    }
    let account = access.by_owner()?.confirmed()?.account;
    if account.standing.is_submitted || account.standing.kyc != KycState::Unsubmitted {
        return Err(errors::kyc_given());
    }
    stand(call, account, Change::Submitted { legal_name });
    call.events.extend(lifecycle::after(account, vec![Change::Kyc { state: KycState::Unverified }]));
    Ok(Body::of(&json!({ "kyc_id": account.account_id.saturating_add(KYC_ID_ABOVE) })))
}

/// `/account/kyc/authorize`: the identity counts, and is found good at once (WePay's check is either that or takes its time; the
/// control API can put it at any state).
pub(in crate::sandbox::api) fn authorize(call: &mut ApiCall<'_>) -> Result<Body, ApiError> {
    let (token, user) = call.authorize(SCOPE_MANAGE_ACCOUNTS)?;
    let kyc_id = call.parameters.required_id("kyc_id")?;
    let account_id = kyc_id.saturating_sub(KYC_ID_ABOVE);
    let unknown = || ApiError::invalid_parameter("invalid kyc_id parameter");
    let account = Access::find(call, token, user, account_id).map_err(|_| unknown())?.by_owner()?.account;
    call.facts.account_id = Some(account_id);
    if !account.standing.is_submitted {
        return Err(unknown());
    }
    if account.standing.kyc != KycState::Unverified {
        return Err(errors::kyc_given());
    }
    call.events.extend(lifecycle::after(account, vec![Change::Kyc { state: KycState::Verified }]));
    Ok(Body::of(&object(account, KycState::Verified)))
}

/// `/account/kyc/modify`: documents. There is no `/file/upload` here, so no file is ever found.
pub(in crate::sandbox::api) fn modify(call: &mut ApiCall<'_>) -> Result<Body, ApiError> {
    let (access, _) =
        Access::with(call, |call| call.parameters.array("file_ids")?.ok_or_else(|| ApiError::required("file_ids")))?;
    let account = access.by_owner()?.account;
    if account.standing.kyc != KycState::RequireDocs {
        return Err(errors::no_documents_wanted());
    }
    Err(errors::no_files())
}

fn object(account: &Account, state: KycState) -> Value {
    json!({
        "account_id": account.account_id,
        "state": state.as_str(),
        "supporting_documents": [],
        "legal_name": account.standing.legal_name,
    })
}

/// `WePay-Risk-Token` (a UUID) and `Client-IP` (WePay API docs, risk headers page).
fn check_headers(call: &ApiCall<'_>) -> Result<(), ApiError> {
    let header = |name: &str| {
        let text = call.request.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().trim();
        if text.is_empty() { Err(ApiError::missing_header(name)) } else { Ok(text) }
    };
    let token = header("WePay-Risk-Token")?;
    let lengths = token.split('-').map(str::len);
    if !lengths.eq([8, 4, 4, 4, 12]) || !token.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit()) {
        return Err(ApiError::invalid_parameter("invalid WePay-Risk-Token"));
    }
    let address = header("Client-IP")?;
    address.parse::<IpAddr>().map(drop).map_err(|_| ApiError::invalid_parameter("invalid Client-IP"))
}

/// The owner's name in an identity that is whole.
fn legal_name(parameters: &Parameters) -> Result<Value, ApiError> {
    let mut given = Vec::new();
    for kind in KINDS {
        given.extend(parameters.nested(kind)?.map(|identity| (kind, identity)));
    }
    let [(kind, identity)] = given.as_slice() else {
        return Err(ApiError::invalid_parameter("exactly one of individual, business, or organization is required"));
    };
    let fields = if *kind == "individual" { &INDIVIDUAL[..] } else { &ENTITY[..] };
    let owner = identity.nested("account_owner")?.ok_or_else(errors::no_account_owner)?;
    check(identity, fields)?;
    check(&owner, &OWNER)?;
    owner.text("email", TEXT_MAX)?;
    let name = owner.nested("name")?.ok_or_else(|| ApiError::required("name"))?;
    name.refuse_unexpected(&["first", "middle", "last"])?;
    Ok(json!({
        "first": name.required_text("first", NAME_MAX)?,
        "middle": name.text("middle", NAME_MAX)?,
        "last": name.required_text("last", NAME_MAX)?,
    }))
}

fn check(part: &Parameters, fields: &[(&str, bool)]) -> Result<(), ApiError> {
    part.refuse_unexpected(&fields.iter().map(|(name, _)| *name).collect::<Vec<_>>())?;
    let is_there = |name: &str| part.raw(name).is_some_and(|value| !value.is_null());
    match fields.iter().find(|(name, is_required)| *is_required && !is_there(name)) {
        Some((name, _)) => Err(ApiError::required(name)),
        None => Ok(()),
    }
}
