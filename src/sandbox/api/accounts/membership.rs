//! `/account/membership/…`: others than the owner with access to an account (WePay.NET, mirrored from the WePay API docs).
//!
//! Another admin is reviewed by WePay's risk team before anything changes; nobody reviews here, so the owner stays who it is.

use serde_json::{Value, json};

use super::access::Access;
use super::{ApiCall, Body, errors, stand};
use crate::sandbox::hash::sha256;
use crate::sandbox::parameters::Parameters;
use crate::sandbox::protocol::{ApiError, TEXT_MAX};
use crate::sandbox::state::{Account, Change, Role, UserState};

/// Why somebody shall be admin; all but the first want an explanation.
const REASONS: [&str; 3] = ["beneficiary", "other_organizer", "other"];

/// `/account/membership/create`: the user of another token becomes a member.
pub(in crate::sandbox::api) fn create(call: &mut ApiCall<'_>) -> Result<Body, ApiError> {
    let (access, (member, role)) = Access::with(call, |call| {
        let member = call.parameters.required_text("member_access_token", TEXT_MAX)?;
        Ok((member, role(&call.parameters, Some(Role::Moderator))?))
    })?;
    let context = call.context;
    let token = context.state.token(&sha256(&member)).filter(|token| token.is_live(context.now));
    let client_id = access.token.client_id;
    let token = token.filter(|token| token.client_id == client_id);
    let Some(token) = token else { return Err(ApiError::invalid_parameter("invalid member_access_token parameter")) };
    let access = access.by_admin()?;
    if token.user_id == access.user.user_id {
        return Err(ApiError::invalid_parameter("the user is the administrator of this account already"));
    }
    allow(call, access.account, token.user_id, role)?;
    Ok(Body::of(&changed(call, access.account, token.user_id, Some(role), role)))
}

/// `/account/membership/modify`.
pub(in crate::sandbox::api) fn modify(call: &mut ApiCall<'_>) -> Result<Body, ApiError> {
    let (access, (user_id, role)) =
        Access::with(call, |call| Ok((call.parameters.required_id("user_id")?, role(&call.parameters, None)?)))?;
    let account = access.by_admin()?.account;
    account.standing.role_of(user_id).ok_or_else(errors::no_member)?;
    allow(call, account, user_id, role)?;
    Ok(Body::of(&changed(call, account, user_id, Some(role), role)))
}

/// `/account/membership/remove`; the answer has the role that was (inferred). The owner stays.
pub(in crate::sandbox::api) fn remove(call: &mut ApiCall<'_>) -> Result<Body, ApiError> {
    let (access, user_id) = Access::with(call, |call| call.parameters.required_id("user_id"))?;
    let account = access.by_admin()?.account;
    if user_id == account.owner_user_id {
        return Err(ApiError::invalid_parameter("the only administrator of an account cannot be removed"));
    }
    let role = account.standing.role_of(user_id).ok_or_else(errors::no_member)?;
    Ok(Body::of(&changed(call, account, user_id, None, role)))
}

fn changed(call: &mut ApiCall<'_>, account: &Account, user_id: u64, now: Option<Role>, told: Role) -> Value {
    stand(call, account, Change::Member { user_id, role: now });
    json!({ "account_id": account.account_id, "user_id": user_id, "role": told.as_str() })
}

/// Nobody becomes admin of an account from which money has left, nor before confirming.
fn allow(call: &ApiCall<'_>, account: &Account, user_id: u64, role: Role) -> Result<(), ApiError> {
    if role != Role::Admin {
        return Ok(());
    }
    if account.standing.has_withdrawn {
        return Err(errors::admin_settled());
    }
    let user = call.context.state.user(user_id);
    if user.is_none_or(|user| user.state != UserState::Registered) {
        return Err(errors::pending());
    }
    Ok(())
}

/// The role asked for; an admin comes with a reason.
fn role(parameters: &Parameters, default: Option<Role>) -> Result<Role, ApiError> {
    let role = match parameters.text("role", TEXT_MAX)? {
        None => default.ok_or_else(|| ApiError::required("role"))?,
        Some(name) => Role::parse(&name)
            .ok_or_else(|| ApiError::invalid_parameter("role parameter must be either moderator, admin, or member"))?,
    };
    let context = parameters.nested("admin_context")?;
    if role == Role::Admin && context.is_none() {
        return Err(ApiError::required("admin_context"));
    }
    if let Some(context) = context {
        context.refuse_unexpected(&["reason", "explanation"])?;
        let reason = context.required_text("reason", TEXT_MAX)?;
        let explanation = context.text("explanation", TEXT_MAX)?;
        if !REASONS.contains(&reason.as_str()) {
            return Err(ApiError::invalid_parameter(
                "reason parameter must be either beneficiary, other_organizer, or other",
            ));
        }
        if REASONS.first() != Some(&reason.as_str()) && explanation.is_none() {
            return Err(ApiError::required("explanation"));
        }
    }
    Ok(role)
}
