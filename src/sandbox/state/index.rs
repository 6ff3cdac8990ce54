//! Accounts and mails with what finds them: no look-up walks through those of other people.

use std::collections::{BTreeSet, HashMap};

use super::{Account, Mail};
use crate::domain::ambient::Timestamp;

/// Values by their ids, which are given one after the other: where a value stands follows from its id, unless a snapshot left
/// some out.
#[derive(Clone)]
pub(super) struct ById<T>(Vec<(u64, T)>);

impl<T> Default for ById<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> ById<T> {
    fn place(&self, id: u64) -> Result<usize, usize> {
        let from_first = self.0.first().and_then(|(first, _)| usize::try_from(id.checked_sub(*first)?).ok());
        let guess = from_first.filter(|guess| self.0.get(*guess).is_some_and(|(found, _)| *found == id));
        guess.map_or_else(|| self.0.binary_search_by_key(&id, |(id, _)| *id), Ok)
    }

    /// The value of an id.
    pub(super) fn get(&self, id: u64) -> Option<&T> {
        self.place(id).ok().and_then(|place| self.0.get(place)).map(|(_, value)| value)
    }

    /// The value of an id, to be changed.
    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut T> {
        let place = self.place(id).ok()?;
        self.0.get_mut(place).map(|(_, value)| value)
    }

    /// Takes in a value, for the one that the id had.
    pub(super) fn put(&mut self, id: u64, value: T) {
        match self.place(id) {
            Ok(place) => {
                if let Some(kept) = self.0.get_mut(place) {
                    kept.1 = value;
                }
            }
            Err(place) => self.0.insert(place, (id, value)),
        }
    }

    /// All values, by their ids.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.0.iter().map(|(_, value)| value)
    }

    /// The newest id.
    pub(super) fn last_id(&self) -> Option<u64> {
        self.0.last().map(|(id, _)| *id)
    }
}

/// Every account.
#[derive(Clone, Default)]
pub(super) struct Accounts {
    by_id: ById<Account>,
    by_owner: HashMap<u64, Owned>,
    /// When time does something to an account, and to which.
    by_due_time: BTreeSet<(i64, u64)>,
}

/// The accounts of one user.
#[derive(Clone, Default)]
struct Owned {
    /// Oldest first.
    ids: Vec<u64>,
    /// The same ids by what apps call them.
    by_reference: HashMap<String, Vec<u64>>,
}

impl Accounts {
    /// Takes in a new account, or another version of one.
    pub(super) fn put(&mut self, account: Account) {
        let id = account.account_id;
        self.forget_reference(id);
        if let Some(at_us) = self.by_id.get(id).and_then(Account::due_at_us) {
            self.by_due_time.remove(&(at_us, id));
        }
        self.by_due_time.extend(account.due_at_us().map(|at_us| (at_us, id)));
        let owned = self.by_owner.entry(account.owner_user_id).or_default();
        if let Err(place) = owned.ids.binary_search(&id) {
            owned.ids.insert(place, id);
        }
        if let Some(reference_id) = &account.details.reference_id {
            owned.by_reference.entry(reference_id.clone()).or_default().push(id);
        }
        self.by_id.put(id, account);
    }

    /// Changes an account, if there is one; its owner stays.
    pub(super) fn change(&mut self, account_id: u64, change: impl FnOnce(&mut Account)) {
        if let Some(mut account) = self.by_id.get(account_id).cloned() {
            change(&mut account);
            self.put(account);
        }
    }

    /// An account by its id.
    pub(super) fn get(&self, account_id: u64) -> Option<&Account> {
        self.by_id.get(account_id)
    }

    /// All accounts, by id, which is by age.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Account> {
        self.by_id.iter()
    }

    /// The accounts of a user, oldest first.
    pub(super) fn of(&self, user_id: u64) -> impl DoubleEndedIterator<Item = &Account> {
        let owned = self.by_owner.get(&user_id);
        owned.into_iter().flat_map(|owned| &owned.ids).filter_map(|id| self.by_id.get(*id))
    }

    /// The accounts of a user with this `reference_id`, whichever app made them, in no order.
    pub(super) fn with_reference(&self, user_id: u64, reference_id: &str) -> impl Iterator<Item = &Account> {
        let ids = self.by_owner.get(&user_id).and_then(|owned| owned.by_reference.get(reference_id));
        ids.into_iter().flatten().filter_map(|id| self.by_id.get(*id))
    }

    /// When time does something to an account next.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.by_due_time.first().map(|(at_us, _)| Timestamp::from_micros(*at_us))
    }

    /// The accounts to which time has something to do by now, in the order of their times.
    pub(super) fn due(&self, now: Timestamp) -> impl Iterator<Item = &Account> {
        let due = self.by_due_time.range(..=(now.as_micros(), u64::MAX));
        due.filter_map(|(_, account_id)| self.by_id.get(*account_id))
    }

    /// The id of the newest account.
    pub(super) fn last_id(&self) -> Option<u64> {
        self.by_id.last_id()
    }

    fn forget_reference(&mut self, account_id: u64) {
        let Some(account) = self.by_id.get(account_id) else { return };
        let Some(reference_id) = &account.details.reference_id else { return };
        let Some(owned) = self.by_owner.get_mut(&account.owner_user_id) else { return };
        if let Some(ids) = owned.by_reference.get_mut(reference_id) {
            ids.retain(|id| *id != account_id);
            if ids.is_empty() {
                owned.by_reference.remove(reference_id);
            }
        }
    }
}

/// Every mail, oldest first.
#[derive(Clone, Default)]
pub(super) struct Mails {
    all: Vec<Mail>,
    /// Places of a user's mails.
    by_user: HashMap<u64, Vec<usize>>,
}

impl Mails {
    /// Takes in a mail, newer than all before.
    pub(super) fn push(&mut self, mail: Mail) {
        self.by_user.entry(mail.user_id).or_default().push(self.all.len());
        self.all.push(mail);
    }

    /// All of them.
    pub(super) fn all(&self) -> &[Mail] {
        &self.all
    }

    /// A mail by its id.
    pub(super) fn get(&self, mail_id: u64) -> Option<&Mail> {
        let place = self.all.binary_search_by_key(&mail_id, |mail| mail.mail_id).ok()?;
        self.all.get(place)
    }

    /// The mails to a user, oldest first.
    pub(super) fn of(&self, user_id: u64) -> impl Iterator<Item = &Mail> {
        self.by_user.get(&user_id).into_iter().flatten().filter_map(|place| self.all.get(*place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::state::{AccountState, Details, Standing};

    fn account(account_id: u64, owner_user_id: u64, reference_id: Option<&str>) -> Account {
        Account {
            account_id,
            owner_user_id,
            client_id: 1,
            state: AccountState::Active,
            kind: "personal".to_owned(),
            country: "US".to_owned(),
            currency: "USD".to_owned(),
            mcc: None,
            details: Details { reference_id: reference_id.map(str::to_owned), ..Details::default() },
            created_at_us: 0,
            standing: Standing::default(),
        }
    }

    #[test]
    fn accounts_are_found_by_owner_and_reference_whatever_changed() {
        let mut accounts = Accounts::default();
        for (id, owner, reference) in [(1, 7, Some("a")), (2, 8, Some("a")), (3, 7, None), (4, 7, Some("a"))] {
            accounts.put(account(id, owner, reference));
        }
        let of = |accounts: &Accounts, owner| accounts.of(owner).map(|account| account.account_id).collect::<Vec<_>>();
        let with = |accounts: &Accounts, owner, reference: &str| {
            let mut ids: Vec<u64> =
                accounts.with_reference(owner, reference).map(|account| account.account_id).collect();
            ids.sort_unstable();
            ids
        };
        assert_eq!((of(&accounts, 7), of(&accounts, 8), of(&accounts, 9)), (vec![1, 3, 4], vec![2], vec![]));
        assert_eq!((with(&accounts, 7, "a"), with(&accounts, 8, "a")), (vec![1, 4], vec![2]));
        accounts.change(1, |account| account.details.reference_id = Some("b".to_owned()));
        accounts.change(3, |account| account.details.reference_id = Some("b".to_owned()));
        accounts.change(4, |account| account.details.reference_id = None);
        accounts.change(9, |account| account.details.reference_id = Some("b".to_owned()));
        assert_eq!((with(&accounts, 7, "a"), with(&accounts, 7, "b")), (vec![], vec![1, 3]));
        assert_eq!((of(&accounts, 7), accounts.last_id(), accounts.iter().count()), (vec![1, 3, 4], Some(4), 4));
    }

    #[test]
    fn mails_are_found_by_id_and_by_user() {
        let mut mails = Mails::default();
        for (mail_id, user_id) in [(1, 7), (2, 8), (3, 7)] {
            mails.push(Mail {
                mail_id,
                user_id,
                client_id: 1,
                to: String::new(),
                subject: String::new(),
                message: String::new(),
                button_text: String::new(),
                sent_at_us: 0,
            });
        }
        assert_eq!(mails.get(2).map(|mail| mail.user_id), Some(8));
        assert!(mails.get(4).is_none() && mails.of(9).next().is_none());
        assert_eq!(mails.of(7).map(|mail| mail.mail_id).collect::<Vec<_>>(), [1, 3]);
    }
}
