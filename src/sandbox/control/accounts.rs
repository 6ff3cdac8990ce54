//! Accounts: what happens to them outside of the API.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Refusal, internal, read};
use crate::domain::ambient::Timestamp;
use crate::sandbox::lifecycle::{self, stands};
use crate::sandbox::state::{
    Account, AccountState, Bank, Cents, Change, DisabledReason, Event, Frequency, KycState, RbitObject, Review,
    Settlement, State,
};
use crate::sandbox::world::{Context, Core, Request};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewState {
    state: AccountState,
    reason: Option<DisabledReason>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Payment {
    amount: Value,
    #[serde(default)]
    pending: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Amount {
    amount: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewKyc {
    state: KycState,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewBank {
    name: String,
    #[serde(default = "weekly")]
    frequency: Frequency,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewReview {
    state: Review,
}

const fn weekly() -> Frequency {
    Frequency::Weekly
}

/// What a request to `/control/accounts/ID/…` does; answers the account as it is then.
pub(super) fn answer(core: &Core, request: &Request, id: &str, act: &str) -> Result<Value, Refusal> {
    let decide = match (request.method.as_str(), act) {
        ("POST", "state") => force_state,
        ("POST", "payments") => pay,
        ("POST", "clear") => |_: &Context<'_>, account: &Account, _: &Request| one(account, Change::Cleared),
        ("POST", "withdraw") => {
            |_: &Context<'_>, account: &Account, _: &Request| one(account, Change::Emptied { is_withdrawal: true })
        }
        ("POST", "reserve") => reserve,
        ("POST", "kyc") => set_kyc,
        ("POST", "bank") => set_bank,
        ("POST", "review") => |_: &Context<'_>, account: &Account, request: &Request| {
            one(account, Change::Reviewed { review: read::<NewReview>(request)?.state })
        },
        (method, act) => return Err((404, format!("there is no {method} /control/accounts/ID/{act}"))),
    };
    let mut world = core.lock();
    let account = id.parse().ok().and_then(|account_id| world.state.account(account_id));
    let account = account.ok_or_else(|| (404, format!("there is no account {id}")))?;
    let account_id = account.account_id;
    let events = decide(&core.context(&world), account, request)?;
    world.commit(events).map_err(|error| internal(&error))?;
    Ok(world.state.account(account_id).map(|account| described(&world.state, account)).unwrap_or_default())
}

/// An account as the control API shows it.
pub(super) fn described(state: &State, account: &Account) -> Value {
    let rbit_ids = state.rbit_ids(RbitObject::Account, account.account_id, account.client_id);
    let rfc3339 = |at_us: Option<i64>| at_us.map(|at_us| Timestamp::from_micros(at_us).to_rfc3339());
    let standing = &account.standing;
    let (incoming, outgoing) = account.payments();
    json!({
        "account_id": account.account_id,
        "owner_user_id": account.owner_user_id,
        "client_id": account.client_id.to_string(),
        "name": account.details.name,
        "reference_id": account.details.reference_id,
        "state": account.state,
        "type": account.kind,
        "callback_uri": account.details.callback_uri,
        "created_at": account.created_at(),
        "rbit_ids": rbit_ids.collect::<Vec<u64>>(),
        "kyc": standing.kyc,
        "bank": standing.bank.as_ref().map(|bank| json!({
            "name": bank.name,
            "method": bank.settlement,
            "frequency": bank.frequency,
        })),
        "review": standing.review,
        "disabled_reason": account.disabled_reason(),
        "delete_reason": standing.delete_reason,
        "takes_payments": incoming,
        "pays_out": outgoing,
        "balance": standing.balance.json(),
        "incoming_pending": standing.incoming.json(),
        "reserved": standing.reserved.json(),
        "received": standing.received.json(),
        "has_withdrawn": standing.has_withdrawn,
        "first_payment_at": rfc3339(standing.first_payment_at_us),
        "payments_blocked_at": rfc3339(standing.blocks_at_us),
        "ends_at": rfc3339(standing.ends_at_us),
        "next_due_at": rfc3339(account.due_at_us()),
        "members": standing.members,
        "prefill_info": standing.prefill_info,
    })
}

/// Forces a state; a reason belongs to `disabled` alone.
fn force_state(_: &Context<'_>, account: &Account, request: &Request) -> Result<Vec<Event>, Refusal> {
    let NewState { state, reason } = read(request)?;
    if reason.is_some() && state != AccountState::Disabled {
        return Err((400, "only a disabled account has a reason".to_owned()));
    }
    let mut events = vec![Event::AccountChanged { account_id: account.account_id, state }];
    events.extend(reason.map(|reason| stands(account.account_id, Change::DisabledFor { reason })));
    Ok(events)
}

/// Lets a payment come: there at once, or on its way with `pending`.
fn pay(context: &Context<'_>, account: &Account, request: &Request) -> Result<Vec<Event>, Refusal> {
    let Payment { amount, pending } = read(request)?;
    let scaled = |duration| context.scaled(duration);
    let paid = lifecycle::paid(account, cents(&amount)?, pending, context.now, scaled);
    paid.map(|event| vec![event]).map_err(|text| (400, format!("3004: {text}")))
}

/// Holds so much back, in the place of what was held back before.
fn reserve(_: &Context<'_>, account: &Account, request: &Request) -> Result<Vec<Event>, Refusal> {
    let amount = match read::<Amount>(request)?.amount {
        zero if zero == json!(0) => Cents::default(),
        amount => cents(&amount)?,
    };
    if amount > account.standing.balance.plus(account.standing.reserved) {
        return Err((400, "the balance is not so large".to_owned()));
    }
    one(account, Change::Reserved { amount })
}

fn set_kyc(_: &Context<'_>, account: &Account, request: &Request) -> Result<Vec<Event>, Refusal> {
    there(account)?;
    Ok(lifecycle::after(account, vec![Change::Kyc { state: read::<NewKyc>(request)?.state }]))
}

/// Names a bank account, or takes it away with `null`.
fn set_bank(context: &Context<'_>, account: &Account, request: &Request) -> Result<Vec<Event>, Refusal> {
    there(account)?;
    let bank = read::<Option<NewBank>>(request)?.map(|NewBank { name, frequency }| {
        Bank::of(Settlement::Ach, &name, frequency, context.now, |duration| context.scaled(duration))
    });
    Ok(lifecycle::after(account, vec![Change::Bank { bank }]))
}

fn there(account: &Account) -> Result<(), Refusal> {
    if account.state == AccountState::Deleted { Err((400, "the account is deleted".to_owned())) } else { Ok(()) }
}

fn one(account: &Account, change: Change) -> Result<Vec<Event>, Refusal> {
    Ok(vec![stands(account.account_id, change)])
}

fn cents(amount: &Value) -> Result<Cents, Refusal> {
    let cents = Cents::parse(amount).filter(|cents| *cents > Cents::default());
    cents.ok_or_else(|| (400, "amount must be positive, with at most two digits behind the point".to_owned()))
}
