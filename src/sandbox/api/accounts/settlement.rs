//! Where an account's money goes: `/account/settlement_setup`, `/account/get_reserve_details`, `/account/request_review`.

use serde_json::{Value, json};

use super::access::Access;
use super::{ApiCall, Body, errors, stand, view};
use crate::domain::ambient::Timestamp;
use crate::sandbox::lifecycle;
use crate::sandbox::parameters::Parameters;
use crate::sandbox::protocol::{ApiError, TEXT_MAX};
use crate::sandbox::state::{Account, Bank, Cents, Change, Frequency, KycState, Review, Settlement};

/// Parts of a check's address, with their longest values (WePay.NET); the second is the one that may be missing.
const ADDRESS: [(&str, usize); 6] =
    [("address1", 60), ("address2", 60), ("city", 30), ("region", 30), ("postal_code", 14), ("country", 2)];

/// Digits of a bank account that its masked name shows (WePay API docs, account page).
const BANK_DIGITS: u64 = 10_000;

/// `/account/settlement_setup`. There is no `/settlement_bank/create` here: any id of a bank is taken.
pub(in crate::sandbox::api) fn setup(call: &mut ApiCall<'_>) -> Result<Body, ApiError> {
    let (access, (method, frequency)) = Access::with(call, |call| {
        let method = method(&call.parameters)?;
        Ok((method, frequency(&call.parameters, method)?))
    })?;
    let account = access.by_owner()?.confirmed()?.account;
    if account.standing.kyc == KycState::Unsubmitted {
        return Err(errors::kyc_first());
    }
    let (settlement, name) = match method {
        Some(bank_id) => (Settlement::Ach, format!("Sandbox Bank XXXXX{:04}", bank_id % BANK_DIGITS)),
        None => (Settlement::Check, account.details.name.clone().unwrap_or_default()),
    };
    let context = call.context;
    let bank = Bank::of(settlement, &name, frequency, context.now, |duration| context.scaled(duration));
    call.events.extend(lifecycle::after(account, vec![Change::Bank { bank: Some(bank) }]));
    Ok(Body::of(&json!({ "method": settlement.as_str(), "frequency": frequency.as_str() })))
}

/// `/account/get_reserve_details`: the next withdrawals. Recorded of an empty account: one of nothing, at once. That the balance
/// leaves first and what is held back one period later is inferred.
pub(in crate::sandbox::api) fn reserve_details(call: &mut ApiCall<'_>) -> Result<Body, ApiError> {
    let (Access { account, .. }, currency) = Access::with(call, |call| call.parameters.text("currency", TEXT_MAX))?;
    if currency.is_some_and(|currency| currency != account.currency) {
        return Err(ApiError::invalid_parameter("currency parameter must be the currency of the account"));
    }
    let standing = &account.standing;
    Ok(Body::of(&json!({
        "account_id": account.account_id,
        "currency": account.currency,
        "reserved_amount": standing.reserved.json(),
        "withdrawals_schedule": schedule(call, account),
    })))
}

fn schedule(call: &ApiCall<'_>, account: &Account) -> Vec<Value> {
    let now = call.context.now;
    let standing = &account.standing;
    let first = standing.bank.as_ref().map_or(now, |bank| bank.next(now));
    let mut amounts = vec![(first, standing.balance)];
    if standing.reserved > Cents::default() {
        amounts.push((standing.bank.as_ref().map_or(first, |bank| bank.next(first)), standing.reserved));
    }
    let entry = |(time, amount): (Timestamp, Cents)| json!({ "time": time.as_unix_seconds(), "amount": amount.json() });
    amounts.into_iter().map(entry).collect()
}

/// `/account/request_review`: a condition of card readers. Nobody reviews here; the control API says when it is done.
pub(in crate::sandbox::api) fn request_review(call: &mut ApiCall<'_>) -> Result<Body, ApiError> {
    let account = Access::of(call)?.by_owner()?.account;
    if account.standing.bank.is_none() {
        return Err(errors::settlement_first());
    }
    let mut changed = account.clone();
    if account.standing.review == Review::NotRequested {
        let change = Change::Reviewed { review: Review::Pending };
        changed.standing.apply(change.clone());
        stand(call, account, change);
    }
    Ok(Body::of(&changed.shown(view(call, account))))
}

/// How often money leaves; checks are not written every day.
fn frequency(parameters: &Parameters, bank_id: Option<u64>) -> Result<Frequency, ApiError> {
    match Frequency::parse(&parameters.required_text("frequency", TEXT_MAX)?) {
        None => Err(ApiError::invalid_parameter("frequency parameter must be either daily, weekly, or monthly")),
        Some(Frequency::Daily) if bank_id.is_none() => {
            Err(ApiError::invalid_parameter("frequency parameter cannot be daily for checks"))
        }
        Some(frequency) => Ok(frequency),
    }
}

/// The id of a bank, or none for a check to an address; exactly one of the two.
fn method(parameters: &Parameters) -> Result<Option<u64>, ApiError> {
    let name = "settlement_method";
    let method = parameters.nested(name)?.ok_or_else(|| ApiError::required(name))?;
    method.refuse_unexpected(&["settlement_bank_id", "send_check_to_address"])?;
    let bank_id = method.integer("settlement_bank_id")?;
    let address = method.nested("send_check_to_address")?;
    if bank_id.is_some() == address.is_some() {
        let text = "settlement_method parameter must have either settlement_bank_id or send_check_to_address";
        return Err(ApiError::invalid_parameter(text));
    }
    if let Some(address) = address {
        address.refuse_unexpected(&ADDRESS.map(|(name, _)| name))?;
        for (name, limit) in ADDRESS {
            if name == "address2" {
                address.text(name, limit)?;
            } else {
                address.required_text(name, limit)?;
            }
        }
    }
    Ok(bank_id)
}
