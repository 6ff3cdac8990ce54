//! The account calls (WePay API docs, account page; lengths from WePay.NET).

mod names;

use serde_json::{Value, json};

use super::{ApiCall, rbits};
use crate::sandbox::parameters::Parameters;
use crate::sandbox::protocol::{ApiError, LONG_TEXT_MAX, SCOPE_MANAGE_ACCOUNTS, TEXT_MAX};
use crate::sandbox::state::{Account, AccountState, Details, Event, TokenKind};
use crate::sandbox::world::Context;

/// What `/account/create` and `/account/modify` both take.
const DETAILS: [&str; 11] = [
    "name",
    "description",
    "reference_id",
    "image_uri",
    "gaq_domains",
    "theme_object",
    "callback_uri",
    "country_options",
    "fee_schedule_slot",
    "support_contact_number",
    "rbits",
];

/// Kinds of account; the first is the default (recorded on stage).
const KINDS: [&str; 3] = ["personal", "business", "nonprofit"];

/// Countries, each with its currency. All but the first must be enabled for an app (WePay best practices), which no app
/// of the sandbox is.
const COUNTRIES: [(&str, &str); 3] = [("US", "USD"), ("CA", "CAD"), ("GB", "GBP")];

/// Digits of a merchant category code.
const MCC_DIGITS: usize = 4;

/// `/account`. A deleted account is answered with its state, so that a notice of its deletion can be understood (inferred).
pub(super) fn lookup(call: &mut ApiCall<'_>) -> Result<Value, ApiError> {
    let context = call.context;
    let (_, user) = call.authorize(SCOPE_MANAGE_ACCOUNTS)?;
    let account_id = call.parameters.required_id("account_id")?;
    call.parameters.refuse_unexpected(&["account_id"])?;
    let account = owned(context, account_id, user.user_id)?;
    call.facts.reference_id.clone_from(&account.details.reference_id);
    Ok(account.object())
}

/// `/account/find`: accounts of the token's user, newest first unless told otherwise, without deleted ones. Without
/// filter and limit it is all of them; a filter is a whole match (inferred).
pub(super) fn find(call: &mut ApiCall<'_>) -> Result<Value, ApiError> {
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
    let number =
        |name| call.parameters.integer(name).map(|number| number.and_then(|number| usize::try_from(number).ok()));
    let start = number("start")?.unwrap_or(0);
    let limit = number("limit")?.unwrap_or(usize::MAX);
    call.parameters.refuse_unexpected(&["name", "reference_id", "sort_order", "start", "limit"])?;
    let is_wanted = |account: &&Account| {
        account.state != AccountState::Deleted
            && (name.is_none() || name == account.details.name)
            && (reference_id.is_none() || reference_id == account.details.reference_id)
    };
    let mut found: Vec<&Account> = context.state.accounts_of(user.user_id).filter(is_wanted).collect();
    if !is_ascending {
        found.reverse();
    }
    Ok(found.into_iter().skip(start).take(limit).map(Account::object).collect())
}

/// `/account/create`. Works with a temporary token right after `/user/register`; the account is `pending` then, also that of a
/// registered user, until the person confirms.
pub(super) fn create(call: &mut ApiCall<'_>) -> Result<Value, ApiError> {
    let context = call.context;
    let (token, user) = call.authorize(SCOPE_MANAGE_ACCOUNTS)?;
    call.parameters.required_text("name", TEXT_MAX)?;
    call.parameters.required_text("description", LONG_TEXT_MAX)?;
    let details = details(context, &call.parameters)?;
    let kind = call.parameters.text("type", TEXT_MAX)?.unwrap_or_else(|| "personal".to_owned());
    if !KINDS.contains(&kind.as_str()) {
        return Err(ApiError::invalid_parameter("type parameter must be either personal, business, or nonprofit"));
    }
    let mcc = call.parameters.text("mcc", TEXT_MAX)?;
    if mcc.as_ref().is_some_and(|mcc| mcc.len() != MCC_DIGITS || !mcc.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(ApiError::invalid_parameter("mcc parameter must be a four digit code"));
    }
    let (country, currency) = place(&call.parameters)?;
    call.parameters.refuse_unexpected(&[&DETAILS[..], &["type", "mcc", "country", "currencies"]].concat())?;
    refuse_taken(context, user.user_id, token.client_id, details.reference_id.as_ref(), None)?;
    let is_pending = token.kind == TokenKind::Temporary;
    let account = Account {
        account_id: context.state.next_account_id(),
        owner_user_id: user.user_id,
        client_id: token.client_id,
        state: if is_pending { AccountState::Pending } else { AccountState::ActionRequired },
        kind,
        country,
        currency,
        mcc,
        details,
        created_at_us: context.now.as_micros(),
    };
    call.facts.account_id = Some(account.account_id);
    let body = account.object();
    call.events.push(Event::AccountMade(Box::new(account)));
    Ok(body)
}

/// `/account/modify`: what is not named stays.
pub(super) fn modify(call: &mut ApiCall<'_>) -> Result<Value, ApiError> {
    let context = call.context;
    let (token, user) = call.authorize(SCOPE_MANAGE_ACCOUNTS)?;
    let account_id = call.parameters.required_id("account_id")?;
    let details = details(context, &call.parameters)?;
    call.parameters.refuse_unexpected(&[&DETAILS[..], &["account_id"]].concat())?;
    let account = owned(context, account_id, user.user_id)?;
    if account.client_id != token.client_id {
        return Err(ApiError::other_apps_account());
    }
    if account.state == AccountState::Deleted {
        return Err(ApiError::deleted_account());
    }
    refuse_taken(context, user.user_id, token.client_id, details.reference_id.as_ref(), Some(account_id))?;
    let mut changed = account.clone();
    changed.update(details.clone());
    call.facts.reference_id.clone_from(&changed.details.reference_id);
    call.events.push(Event::AccountModified { account_id, details: Box::new(details) });
    Ok(changed.object())
}

/// An account of this user, whichever app made it.
fn owned<'a>(context: &Context<'a>, account_id: u64, user_id: u64) -> Result<&'a Account, ApiError> {
    let account = context.state.account(account_id).filter(|account| account.owner_user_id == user_id);
    account.ok_or_else(ApiError::foreign_account)
}

/// What the parameters say of an account. `country_options` means nothing here.
fn details(context: &Context<'_>, parameters: &Parameters) -> Result<Details, ApiError> {
    let name = parameters.text("name", TEXT_MAX)?;
    if let Some(name) = &name {
        names::check(name)?;
    }
    parameters.object("country_options")?;
    if let Some(rbits) = parameters.array("rbits")? {
        rbits::check(&rbits)?;
    }
    if parameters.integer("fee_schedule_slot")?.is_some() {
        return Err(ApiError::not_enabled("fee_schedule_slot"));
    }
    Ok(Details {
        name,
        description: parameters.text("description", LONG_TEXT_MAX)?,
        reference_id: parameters.text("reference_id", TEXT_MAX)?,
        image_uri: parameters.uri("image_uri")?,
        gaq_domains: parameters.array("gaq_domains")?,
        theme_object: parameters.object("theme_object")?,
        callback_uri: parameters.callback_uri(context.settings.lax_redirects)?,
        support_contact_number: parameters.object("support_contact_number")?,
    })
}

/// Country and currency; they must fit each other.
fn place(parameters: &Parameters) -> Result<(String, String), ApiError> {
    let country = parameters.text("country", TEXT_MAX)?.unwrap_or_else(|| "US".to_owned());
    let Some((country, currency)) = COUNTRIES.iter().find(|(known, _)| *known == country) else {
        return Err(ApiError::invalid_parameter("country parameter must be either US, CA, or GB"));
    };
    if parameters.array("currencies")?.is_some_and(|currencies| currencies != json!([currency])) {
        return Err(ApiError::invalid_parameter(format!(
            "currencies parameter must be [\"{currency}\"] for {country}"
        )));
    }
    if *country != "US" {
        return Err(ApiError::not_enabled(&format!("country {country}")));
    }
    Ok(((*country).to_owned(), (*currency).to_owned()))
}

/// A `reference_id` is unique per (app, user) among accounts that are not deleted (lookfirst's Java SDK; number and text
/// inferred).
fn refuse_taken(
    context: &Context<'_>,
    user_id: u64,
    client_id: u64,
    reference_id: Option<&String>,
    but: Option<u64>,
) -> Result<(), ApiError> {
    let Some(reference_id) = reference_id else { return Ok(()) };
    let is_taken = |account: &Account| {
        account.client_id == client_id && account.state != AccountState::Deleted && Some(account.account_id) != but
    };
    if context.state.accounts_with_reference(user_id, reference_id).any(is_taken) {
        return Err(ApiError::duplicate_reference_id(&context.settings.codes));
    }
    Ok(())
}
