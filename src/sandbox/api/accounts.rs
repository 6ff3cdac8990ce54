//! The account calls (WePay API docs, account page; lengths from WePay.NET).

mod access;
mod details;
mod errors;
pub(super) mod kyc;
pub(super) mod membership;
mod names;
pub(super) mod settlement;
pub(super) mod update;

use serde_json::json;

use self::access::Access;
use super::{ApiCall, Body, rbits};
use crate::sandbox::lifecycle::{deleted, stands};
use crate::sandbox::protocol::{ApiError, LONG_TEXT_MAX, SCOPE_MANAGE_ACCOUNTS, TEXT_MAX};
use crate::sandbox::state::{Account, AccountState, Change, Event, Rbit, RbitObject, Standing, Token, TokenKind, View};
use crate::sandbox::world::Context;

/// Kinds of account; the first is the default (recorded on stage).
const KINDS: [&str; 3] = ["personal", "business", "nonprofit"];

/// `/account`. A deleted account is answered with its state, so that a notice of its deletion can be understood; a member
/// may look, too (both inferred).
pub(super) fn lookup(call: &mut ApiCall<'_>) -> Result<Body, ApiError> {
    let account = Access::of(call)?.account;
    Ok(Body::of(&account.shown(view(call, account))))
}

/// `/account/find`: accounts of the token's user, newest first unless told otherwise, without deleted ones. Without
/// filter and limit it is all of them; a filter is a whole match (inferred).
pub(super) fn find(call: &mut ApiCall<'_>) -> Result<Body, ApiError> {
    let context = call.context;
    let (_, user) = call.authorize(SCOPE_MANAGE_ACCOUNTS)?;
    let name = call.parameters.text("name", TEXT_MAX)?;
    let reference_id = call.parameters.text("reference_id", TEXT_MAX)?;
    let is_ascending =
        match call.parameters.text("sort_order", TEXT_MAX)?.unwrap_or_default().to_ascii_uppercase().as_str() {
            "" | "DESC" => false,
            "ASC" => true,
            _ => return Err(ApiError::invalid_parameter("sort_order parameter must be either ASC or DESC")),
        };
    let number = |number: Option<u64>| number.and_then(|number| usize::try_from(number).ok());
    let start = number(call.parameters.integer("start")?).unwrap_or(0);
    let limit = call.parameters.integer("limit")?.or(context.settings.find_limit.map(u64::from));
    let limit = number(limit).unwrap_or(usize::MAX);
    let is_wanted = |account: &&Account| {
        account.state != AccountState::Deleted
            && (name.is_none() || name == account.details.name)
            && (reference_id.is_none() || reference_id == account.details.reference_id)
    };
    let mut found: Vec<&Account> = context.state.accounts_of(user.user_id).filter(is_wanted).collect();
    if !is_ascending {
        found.reverse();
    }
    let wanted = found.into_iter().skip(start).take(limit);
    Ok(Body::of(&wanted.map(|account| account.shown(view(call, account))).collect::<Vec<_>>()))
}

/// `/account/create`. Works with a temporary token right after `/user/register`; the account is `pending` then, also that of a
/// registered user, until the person confirms.
pub(super) fn create(call: &mut ApiCall<'_>) -> Result<Body, ApiError> {
    let context = call.context;
    let (token, user) = call.authorize(SCOPE_MANAGE_ACCOUNTS)?;
    let details = details::read(call)?;
    call.parameters.required_text("description", LONG_TEXT_MAX)?;
    let kind = call.parameters.text("type", TEXT_MAX)?.unwrap_or_else(|| "personal".to_owned());
    if !KINDS.contains(&kind.as_str()) {
        return Err(ApiError::invalid_parameter("type parameter must be either personal, business, or nonprofit"));
    }
    let mcc = details::mcc(&call.parameters)?;
    let (country, currency) = details::place(call)?;
    let fee_schedule = details::fee_schedule(call)?;
    let account_id = context.state.next_account_id();
    let told = told(call, token, account_id)?;
    refuse_taken(context, token, details.reference_id.as_ref(), None)?;
    let is_pending = token.kind == TokenKind::Temporary;
    let mut account = Account {
        account_id,
        owner_user_id: user.user_id,
        client_id: token.client_id,
        state: if is_pending { AccountState::Pending } else { AccountState::ActionRequired },
        kind,
        country,
        currency,
        mcc,
        details,
        created_at_us: context.now.as_micros(),
        standing: Standing::default(),
    };
    if let Some(change) = fee_schedule {
        account.standing.apply(change);
    }
    call.facts.account_id = Some(account_id);
    let body = Body::of(&account.shown_new(View { rbit_ids: ids(&told), ..view(call, &account) }));
    call.events.push(Event::AccountMade(Box::new(account)));
    keep(call, told);
    Ok(body)
}

/// `/account/modify`: what is not named stays.
pub(super) fn modify(call: &mut ApiCall<'_>) -> Result<Body, ApiError> {
    let (token, user) = call.authorize(SCOPE_MANAGE_ACCOUNTS)?;
    let account_id = call.parameters.required_id("account_id")?;
    let details = details::read(call)?;
    let fee_schedule = details::fee_schedule(call)?;
    let told = told(call, token, account_id)?;
    let account = Access::find(call, token, user, account_id)?.by_editor()?.account;
    refuse_taken(call.context, token, details.reference_id.as_ref(), Some(account))?;
    let mut changed = account.clone();
    changed.update(details.clone());
    call.facts.reference_id.clone_from(&changed.details.reference_id);
    call.events.push(Event::AccountModified { account_id, details: Box::new(details) });
    if let Some(change) = fee_schedule {
        changed.standing.apply(change.clone());
        call.events.push(stands(account_id, change));
    }
    let mut view = view(call, account);
    view.rbit_ids.extend(ids(&told));
    let body = Body::of(&changed.shown(view));
    keep(call, told);
    Ok(body)
}

/// `/account/delete`, by the owner alone (inferred); for good.
pub(super) fn delete(call: &mut ApiCall<'_>) -> Result<Body, ApiError> {
    let (access, reason) = Access::with(call, |call| call.parameters.text("reason", TEXT_MAX))?;
    let account = access.by_owner()?.by_editor()?.account;
    if !account.standing.is_empty() {
        return Err(errors::not_empty());
    }
    call.events.extend(deleted(account, reason));
    Ok(Body::of(&json!({ "account_id": account.account_id, "state": AccountState::Deleted.as_str() })))
}

/// For whom an object of this account is made.
fn view<'a>(call: &ApiCall<'a>, account: &Account) -> View<'a> {
    let rbit_ids = call.context.state.rbit_ids(RbitObject::Account, account.account_id, account.client_id).collect();
    View { version: call.version(), now: call.context.now, ui: call.context.ui, rbit_ids }
}

/// What a call tells of the account.
fn told(call: &ApiCall<'_>, token: &Token, account_id: u64) -> Result<Vec<Rbit>, ApiError> {
    rbits::from_parameter(call, (token.user_id, token.client_id), RbitObject::Account, account_id)
}

fn ids(told: &[Rbit]) -> Vec<u64> {
    told.iter().map(|rbit| rbit.rbit_id).collect()
}

fn keep(call: &mut ApiCall<'_>, told: Vec<Rbit>) {
    if !told.is_empty() {
        call.events.push(Event::RbitsMade { rbits: told });
    }
}

/// A `reference_id` is unique per (app, user) among accounts that are not deleted (lookfirst's Java SDK; number and text
/// inferred). `changed` is the account that shall have it.
fn refuse_taken(
    context: &Context<'_>,
    token: &Token,
    reference_id: Option<&String>,
    changed: Option<&Account>,
) -> Result<(), ApiError> {
    let Some(reference_id) = reference_id else { return Ok(()) };
    let owner = changed.map_or(token.user_id, |account| account.owner_user_id);
    let is_taken = |account: &Account| {
        account.client_id == token.client_id
            && account.state != AccountState::Deleted
            && changed.is_none_or(|changed| changed.account_id != account.account_id)
    };
    if context.state.accounts_with_reference(owner, reference_id).any(is_taken) {
        return Err(ApiError::duplicate_reference_id(&context.settings.codes));
    }
    Ok(())
}

/// A change of this account's standing.
fn stand(call: &mut ApiCall<'_>, account: &Account, change: Change) {
    call.events.push(stands(account.account_id, change));
}
