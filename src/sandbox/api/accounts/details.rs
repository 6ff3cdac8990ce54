//! What `/account/create` and `/account/modify` say of an account, checked.

use serde_json::{Value, json};

use super::{ApiCall, names};
use crate::sandbox::api::theme;
use crate::sandbox::parameters::Parameters;
use crate::sandbox::protocol::{ApiError, LONG_TEXT_MAX, TEXT_MAX};
use crate::sandbox::state::{Change, Details, since};

/// What both calls take; the first has come with [`since::CONTACT`].
const KNOWN: [&str; 11] = [
    CONTACT,
    "name",
    "description",
    "reference_id",
    "image_uri",
    "gaq_domains",
    "theme_object",
    "callback_uri",
    "country_options",
    "fee_schedule_slot",
    "rbits",
];

/// A telephone number for payers.
const CONTACT: &str = "support_contact_number";

/// Countries, each with its currency and the permission an app needs for it (WePay best practices: all but the first
/// must be enabled).
const COUNTRIES: [(&str, &str, Option<&str>); 3] =
    [("US", "USD", None), ("CA", "CAD", Some("country_ca")), ("GB", "GBP", Some("country_gb"))];

/// Digits of a merchant category code.
const MCC_DIGITS: usize = 4;

/// Digits of a telephone's country code (WePay.NET: one to three, perhaps behind a plus).
const COUNTRY_CODE_DIGITS: usize = 3;

/// The parameters of both calls in a version.
pub(super) fn known(version: &str) -> &'static [&'static str] {
    match KNOWN.split_first() {
        Some((_, ever)) if version < since::CONTACT => ever,
        _ => &KNOWN,
    }
}

/// What the parameters say of an account. `country_options` means nothing here.
pub(super) fn read(call: &ApiCall<'_>) -> Result<Details, ApiError> {
    let parameters = &call.parameters;
    names::check(parameters.raw("name"), call.version())?;
    check_country_options(parameters)?;
    Ok(Details {
        name: parameters.text("name", TEXT_MAX)?,
        description: parameters.text("description", LONG_TEXT_MAX)?,
        reference_id: parameters.text("reference_id", TEXT_MAX)?,
        image_uri: parameters.uri("image_uri")?,
        gaq_domains: theme::domains(parameters)?,
        theme_object: theme::read(parameters)?,
        callback_uri: parameters.callback_uri(call.context.settings.lax_redirects)?,
        support_contact_number: contact(parameters)?,
    })
}

/// The change of fee schedule that is asked for, with the app's permission alone; null takes it away.
pub(super) fn fee_schedule(call: &ApiCall<'_>) -> Result<Option<Change>, ApiError> {
    let name = "fee_schedule_slot";
    match call.parameters.raw(name) {
        None => Ok(None),
        Some(Value::Null) => Ok(call.is_permitted("fee_schedule").then_some(Change::FeeSchedule { slot: None })),
        Some(_) => {
            let slot = call.parameters.integer(name)?;
            call.require_permission("fee_schedule", name)?;
            Ok(slot.map(|slot| Change::FeeSchedule { slot: Some(slot) }))
        }
    }
}

/// Country and currency; they must fit each other.
pub(super) fn place(call: &ApiCall<'_>) -> Result<(String, String), ApiError> {
    let country = call.parameters.text("country", TEXT_MAX)?.unwrap_or_else(|| "US".to_owned());
    let Some((country, currency, permission)) = COUNTRIES.iter().find(|(known, ..)| *known == country) else {
        return Err(ApiError::invalid_parameter("country parameter must be either US, CA, or GB"));
    };
    if call.parameters.array("currencies")?.is_some_and(|currencies| currencies != json!([currency])) {
        return Err(ApiError::invalid_parameter(format!(
            "currencies parameter must be [\"{currency}\"] for {country}"
        )));
    }
    if let Some(permission) = permission {
        call.require_permission(permission, &format!("country {country}"))?;
    }
    Ok(((*country).to_owned(), (*currency).to_owned()))
}

/// A merchant category code: digits in a string, a number in older versions; both are taken in all.
pub(super) fn mcc(parameters: &Parameters) -> Result<Option<String>, ApiError> {
    let mcc = parameters.text("mcc", TEXT_MAX)?;
    if mcc.as_ref().is_some_and(|mcc| mcc.len() != MCC_DIGITS || !mcc.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(ApiError::invalid_parameter("mcc parameter must be a four digit code"));
    }
    Ok(mcc)
}

/// Whether debit cards are taken in Canada; for accounts elsewhere it is taken and means nothing (inferred).
fn check_country_options(parameters: &Parameters) -> Result<(), ApiError> {
    let Some(options) = parameters.nested("country_options")? else { return Ok(()) };
    options.refuse_unexpected(&["debit_opt_in"])?;
    match options.raw("debit_opt_in") {
        None | Some(Value::Null | Value::Bool(_)) => Ok(()),
        Some(_) => Err(ApiError::invalid_parameter("Parameter 'debit_opt_in' expected boolean")),
    }
}

/// A telephone number for payers.
fn contact(parameters: &Parameters) -> Result<Option<Value>, ApiError> {
    let Some(contact) = parameters.nested(CONTACT)? else { return Ok(None) };
    contact.refuse_unexpected(&["country_code", "phone_number"])?;
    let country_code = contact.required_text("country_code", TEXT_MAX)?;
    let phone_number = contact.required_text("phone_number", TEXT_MAX)?;
    let digits = country_code.strip_prefix('+').unwrap_or(&country_code);
    if !(1..=COUNTRY_CODE_DIGITS).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ApiError::invalid_parameter("country_code must be one to three digits"));
    }
    Ok(Some(json!({ "country_code": country_code, "phone_number": phone_number })))
}
