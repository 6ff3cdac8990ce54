//! The life of an account: what payments, identity, a bank account and time make of it.
//!
//! Pure functions over the state that answer events. Time itself is asked by [`World::settle`](super::world::World::settle),
//! before each request and when [`State::next_due`] has come. A temporary token that dies unconfirmed changes nothing of its
//! user or the accounts (inferred).

use std::time::Duration;

use super::protocol::CANNOT_TRANSACT;
use super::state::{Account, AccountState, Cents, Change, DisabledReason, Event, KycState, State};
use crate::domain::ambient::Timestamp;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long after its first payment an unconfirmed account takes further ones: 14 days (change list of 2014-01-08;
/// WePay.NET).
const UNCONFIRMED_DAYS: u32 = 14;

/// How long after its first payment an account may lack what is asked for: 30 days; then an unconfirmed one is deleted and
/// refunded, another one disabled (WePay.NET).
const LACKING_DAYS: u32 = 30;

/// What an unconfirmed account takes in all: 100,000 (WePay.NET; in dollars there, in the account's currency here).
const UNCONFIRMED_MAX: Cents = Cents(100_000 * 100);

/// What time has done to accounts by now; one step each, so ask again until there is nothing.
pub(super) fn due(state: &State, now: Timestamp) -> Vec<Event> {
    state.accounts_due(now).flat_map(overdue).collect()
}

fn overdue(account: &Account) -> Vec<Event> {
    let account_id = account.account_id;
    match (account.state, account.standing.is_blocked) {
        (AccountState::Pending, false) => vec![stands(account_id, Change::Blocked)],
        (AccountState::Pending, true) => deleted(account, None),
        _ => {
            let reason = DisabledReason::NoSettlementPath;
            let disabled = Event::AccountChanged { account_id, state: AccountState::Disabled };
            vec![disabled, stands(account_id, Change::DisabledFor { reason })]
        }
    }
}

/// A payment to an account; `is_pending` when the money is on its way still, `scaled` divides a documented duration by the
/// time scale.
///
/// # Errors
/// The account takes no payments, or none so large: [`CANNOT_TRANSACT`].
pub(super) fn paid(
    account: &Account,
    amount: Cents,
    is_pending: bool,
    now: Timestamp,
    scaled: impl Fn(Duration) -> Duration,
) -> Result<Event, &'static str> {
    let total = account.standing.received.plus(amount);
    let is_too_much = account.state == AccountState::Pending && total > UNCONFIRMED_MAX;
    if !account.payments().0 || is_too_much {
        return Err(CANNOT_TRANSACT);
    }
    let is_lacking = matches!(account.state, AccountState::Pending | AccountState::ActionRequired);
    let after = |days| is_lacking.then(|| now.plus(scaled(DAY.saturating_mul(days))).as_micros());
    let change = Change::Paid {
        amount,
        is_pending,
        at_us: now.as_micros(),
        blocks_at_us: after(UNCONFIRMED_DAYS),
        ends_at_us: after(LACKING_DAYS),
    };
    Ok(stands(account.account_id, change))
}

/// These changes of identity or bank, and what they make of the account: `active` when nothing is left to do, also out of
/// `disabled` for want of just that; `action_required` when an active one loses something (inferred).
pub(super) fn after(account: &Account, changes: Vec<Change>) -> Vec<Event> {
    let account_id = account.account_id;
    let mut standing = account.standing.clone();
    for change in &changes {
        standing.apply(change.clone());
    }
    let loses = |change: &Change| match change {
        Change::Kyc { state } => *state != KycState::Verified,
        Change::Bank { bank } => bank.is_none(),
        _ => false,
    };
    let is_mended = account.disabled_reason() == Some(DisabledReason::NoSettlementPath);
    let state = match account.state {
        AccountState::ActionRequired if standing.is_complete() => Some(AccountState::Active),
        AccountState::Disabled if standing.is_complete() && is_mended => Some(AccountState::Active),
        AccountState::Active if changes.iter().any(loses) => Some(AccountState::ActionRequired),
        _ => None,
    };
    let mut events: Vec<Event> = changes.into_iter().map(|change| stands(account_id, change)).collect();
    events.extend(state.map(|state| Event::AccountChanged { account_id, state }));
    events
}

/// The state of a pending account once its owner confirmed (inferred).
pub(super) fn confirmed(account: &Account) -> AccountState {
    if account.standing.is_complete() { AccountState::Active } else { AccountState::ActionRequired }
}

/// The end of an account; money that is still there goes back to the payers.
pub(super) fn deleted(account: &Account, reason: Option<String>) -> Vec<Event> {
    let account_id = account.account_id;
    let mut events = vec![Event::AccountChanged { account_id, state: AccountState::Deleted }];
    if !account.standing.is_empty() {
        events.push(stands(account_id, Change::Emptied { is_withdrawal: false }));
    }
    events.extend(reason.map(|reason| stands(account_id, Change::DeletedFor { reason })));
    events
}

/// The accounts of a user who is deleted go with the user (inferred: nobody else could ever reach them).
pub(super) fn user_deleted(state: &State, user_id: u64) -> Vec<Event> {
    let accounts = state.accounts_of(user_id).filter(|account| account.state != AccountState::Deleted);
    accounts.flat_map(|account| deleted(account, None)).collect()
}

/// One change of an account's standing.
pub(super) const fn stands(account_id: u64, change: Change) -> Event {
    Event::AccountStands { account_id, change }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sandbox::state::{Bank, Details, Frequency, Settlement, Standing};

    const ACCOUNT: u64 = 7;

    fn state(first: AccountState) -> State {
        let mut state = State::default();
        state.apply(Event::AccountMade(Box::new(Account {
            account_id: ACCOUNT,
            owner_user_id: 1,
            client_id: 1,
            state: first,
            kind: "personal".to_owned(),
            country: "US".to_owned(),
            currency: "USD".to_owned(),
            mcc: None,
            details: Details::default(),
            created_at_us: 0,
            standing: Standing::default(),
        })));
        state
    }

    /// What can happen to an account.
    #[derive(Clone, Debug)]
    enum Act {
        Pay(u64),
        Kyc(KycState),
        Bank(bool),
        Force(AccountState),
        Confirm,
        Wait(u64),
    }

    fn act() -> impl Strategy<Value = Act> {
        use AccountState::{ActionRequired, Active, Deleted, Disabled, Pending};
        use KycState::{InReview, RequireDocs, Unsubmitted, Verified};
        prop_oneof![
            4 => (1..6_000_000_u64).prop_map(Act::Pay),
            2 => prop::sample::select(vec![Unsubmitted, InReview, RequireDocs, Verified]).prop_map(Act::Kyc),
            2 => any::<bool>().prop_map(Act::Bank),
            1 => prop::sample::select(vec![Pending, ActionRequired, Active, Disabled, Deleted]).prop_map(Act::Force),
            1 => Just(Act::Confirm),
            4 => (0..20_u64).prop_map(Act::Wait),
        ]
    }

    fn events(account: &Account, act: &Act, now: Timestamp) -> Vec<Event> {
        let account_id = account.account_id;
        match act {
            Act::Pay(cents) => paid(account, Cents(*cents), false, now, |same| same).into_iter().collect(),
            Act::Kyc(state) => after(account, vec![Change::Kyc { state: *state }]),
            Act::Bank(is_there) => {
                let bank = is_there.then(|| Bank::of(Settlement::Ach, "B", Frequency::Daily, now, |same| same));
                after(account, vec![Change::Bank { bank }])
            }
            Act::Force(state) => vec![Event::AccountChanged { account_id, state: *state }],
            Act::Confirm if account.state == AccountState::Pending => {
                vec![Event::AccountChanged { account_id, state: confirmed(account) }]
            }
            Act::Confirm | Act::Wait(_) => Vec::new(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

        #[test]
        fn time_always_comes_to_rest_and_no_rule_is_broken_on_the_way(
            is_pending in any::<bool>(),
            acts in prop::collection::vec(act(), 0..40),
        ) {
            let first = if is_pending { AccountState::Pending } else { AccountState::ActionRequired };
            let mut state = state(first);
            let mut now = Timestamp::from_micros(0);
            for act in acts {
                if let Act::Wait(days) = act {
                    now = now.plus(DAY * u32::try_from(days).unwrap());
                }
                let account = state.account(ACCOUNT).unwrap();
                let before = (account.payments().0, account.standing.received);
                events(account, &act, now).into_iter().for_each(|event| state.apply(event));
                let mut steps = 0;
                while state.next_due().is_some_and(|at| at <= now) {
                    due(&state, now).into_iter().for_each(|event| state.apply(event));
                    steps += 1;
                    prop_assert!(steps <= 2, "blocked, then deleted, or disabled");
                }
                let account = state.account(ACCOUNT).unwrap();
                let standing = &account.standing;
                prop_assert_eq!(state.next_due().map(Timestamp::as_micros), account.due_at_us());
                prop_assert!(before.0 || standing.received == before.1, "nothing comes in where nothing may");
                let loses = match act {
                    Act::Bank(is_there) => !is_there,
                    Act::Kyc(state) => state != KycState::Verified,
                    _ => false,
                };
                let is_active = account.state == AccountState::Active;
                prop_assert!(!(loses && is_active), "who loses identity or bank is not active");
                let is_waiting = matches!(account.state, AccountState::Pending | AccountState::ActionRequired);
                prop_assert!(is_waiting || standing.ends_at_us.is_none());
            }
        }
    }
}
