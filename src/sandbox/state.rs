//! What the provider knows: apps, people, codes, tokens, accounts, mails, sessions and every call; changed by [`Event`]s
//! alone.
//!
//! An event says what happened, not what was asked, so that replaying the journal needs no decision. Secrets are hashed
//! before they come here; only the app's client secret stays readable, because it must be handed out again.

mod account;
mod call;
mod event;
mod history;
mod index;
mod rbit;
mod records;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use self::call::CallLog;
use self::index::{Accounts, ById, Mails};
use super::environment::Environment;
use super::notices::Book;
use crate::domain::ambient::Timestamp;

pub(super) use account::{
    Account, AccountState, Bank, Cents, Change, Details, DisabledReason, Frequency, KycState, Review, Role, Settlement,
    Standing, View, since,
};
pub(super) use call::{Call, CallPath, CallVersion, TokenMark};
pub(super) use event::Event;
pub(super) use rbit::{Rbit, RbitObject, Said};
pub(super) use records::{App, AppState, Code, Mail, Token, TokenKind, User, UserState};

/// The first user id given: above 2^31, as recorded ids are (stage transcripts of 2015 to 2017), so that a client
/// with 32-bit ids fails here and not in production.
const FIRST_USER_ID: u64 = 3_800_000_001;

/// The first account id given: above 2^31 for the same reason, and far from user ids, so that a mix-up shows.
const FIRST_ACCOUNT_ID: u64 = 2_900_000_001;

/// The first rbit id given: above 2^31 and far from the others for the same reasons.
const FIRST_RBIT_ID: u64 = 2_300_000_001;

/// A session of the pages.
#[derive(Clone, Copy)]
struct Session {
    user_id: u64,
    opened_at: Timestamp,
}

/// Everything the provider knows.
#[derive(Clone, Default)]
pub(super) struct State {
    apps: BTreeMap<u64, App>,
    first_app: Option<u64>,
    users: ById<User>,
    emails: HashMap<String, u64>,
    sessions: HashMap<String, Session>,
    codes: HashMap<String, Code>,
    tokens: HashMap<String, Token>,
    /// Hashes of all tokens of a (user, app), in order of issue.
    grants: BTreeMap<(u64, u64), Vec<String>>,
    callbacks: BTreeMap<(u64, u64), String>,
    /// (user, app) pairs with the user's consent.
    approvals: BTreeSet<(u64, u64)>,
    /// (user, app) pairs where the app signs the user in itself.
    single_sign_on: BTreeSet<(u64, u64)>,
    /// Where a (user, app) goes after confirming, as the last registration said.
    registrations: HashMap<(u64, u64), Option<String>>,
    rbits: BTreeMap<u64, Rbit>,
    /// Their ids by object, in order.
    rbits_about: BTreeMap<(RbitObject, u64), Vec<u64>>,
    /// The last id given, of deleted ones too.
    last_rbit_id: Option<u64>,
    accounts: Accounts,
    mails: Mails,
    notices: Book,
    calls: CallLog,
    environment: Option<Environment>,
    clock_offset_us: i64,
}

impl State {
    /// Takes in one event. Events about unknown things change nothing.
    pub(super) fn apply(&mut self, event: Event) {
        match event {
            Event::Founded { environment } => self.environment = Some(environment),
            Event::AppMade(app) => {
                self.first_app.get_or_insert(app.client_id);
                self.apps.insert(app.client_id, app);
            }
            Event::AppChanged(app) => drop(self.apps.insert(app.client_id, *app)),
            Event::UserMade(user) => {
                let key = email_key(&user.email);
                // Of a history told anew: somebody may have taken the address over meanwhile.
                if user.state != UserState::Deleted || !self.emails.contains_key(&key) {
                    self.emails.insert(key, user.user_id);
                }
                self.users.put(user.user_id, user);
            }
            Event::UserChanged { user_id, state } => {
                if let Some(user) = self.users.get_mut(user_id) {
                    user.state = state;
                }
            }
            Event::EmailChanged { user_id, email } => self.change_email(user_id, email),
            Event::SingleSignOn { user_id, client_id } => drop(self.single_sign_on.insert((user_id, client_id))),
            Event::PasswordSet { user_id, password } => {
                if let Some(user) = self.users.get_mut(user_id) {
                    user.password = Some(password);
                }
            }
            Event::SessionOpened { sha256, user_id, at_us } => {
                self.sessions.insert(sha256, Session { user_id, opened_at: Timestamp::from_micros(at_us) });
            }
            Event::SessionClosed { sha256 } => drop(self.sessions.remove(&sha256)),
            Event::Registered { user_id, client_id, redirect_uri } => {
                self.registrations.insert((user_id, client_id), redirect_uri);
            }
            Event::MailSent(mail) => self.mails.push(mail),
            Event::CallbackSet { user_id, client_id, callback_uri } => {
                self.callbacks.insert((user_id, client_id), callback_uri);
            }
            Event::AccountMade(account) => self.accounts.put(*account),
            Event::AccountChanged { account_id, state } => self.accounts.change(account_id, |it| it.enter(state)),
            Event::AccountStands { account_id, change } => {
                self.accounts.change(account_id, |it| it.standing.apply(change));
            }
            Event::AccountModified { account_id, details } => {
                self.accounts.change(account_id, |it| it.update(*details));
            }
            Event::RbitsMade { rbits } => self.keep_rbits(rbits),
            Event::RbitDeleted { rbit_id } => self.forget_rbit(rbit_id),
            Event::ClockAdvanced { offset_us } => self.clock_offset_us = self.clock_offset_us.max(offset_us),
            Event::Notice(change) => self.notices.apply(change),
            Event::Restored { events } => self.restore(events),
            Event::Called(call) => self.calls.push(call),
            about_grants @ (Event::Approved { .. }
            | Event::ApprovalWithdrawn { .. }
            | Event::CodeIssued(_)
            | Event::CodeUsed { .. }
            | Event::TokenIssued(_)
            | Event::TokensMadePermanent { .. }
            | Event::TokensRevoked { .. }) => self.apply_to_grants(about_grants),
        }
    }

    /// Takes in an event about consent, codes or tokens.
    fn apply_to_grants(&mut self, event: Event) {
        match event {
            Event::Approved { user_id, client_id } => drop(self.approvals.insert((user_id, client_id))),
            Event::ApprovalWithdrawn { user_id, client_id } => drop(self.approvals.remove(&(user_id, client_id))),
            Event::CodeIssued(code) => {
                // A code is what the person's consent was answered with.
                self.approvals.insert((code.user_id, code.client_id));
                self.codes.insert(code.sha256.clone(), code);
            }
            Event::CodeUsed { sha256 } => {
                if let Some(code) = self.codes.get_mut(&sha256) {
                    code.is_used = true;
                }
            }
            Event::TokenIssued(token) => {
                if token.kind == TokenKind::Permanent {
                    self.approvals.insert((token.user_id, token.client_id));
                }
                self.grants.entry((token.user_id, token.client_id)).or_default().push(token.sha256.clone());
                self.tokens.insert(token.sha256.clone(), token);
            }
            Event::TokensMadePermanent { sha256 } => {
                for sha256 in sha256 {
                    if let Some(token) = self.tokens.get_mut(&sha256) {
                        (token.kind, token.expires_at_us) = (TokenKind::Permanent, None);
                    }
                }
            }
            Event::TokensRevoked { sha256, at_us } => {
                for sha256 in sha256 {
                    if let Some(token) = self.tokens.get_mut(&sha256) {
                        token.revoked_at_us.get_or_insert(at_us);
                    }
                }
            }
            // `apply` has taken in all the others.
            _ => {}
        }
    }

    /// The old address is free again.
    fn change_email(&mut self, user_id: u64, email: String) {
        if let Some(user) = self.users.get_mut(user_id) {
            let old = email_key(&user.email);
            if self.emails.get(&old) == Some(&user_id) {
                self.emails.remove(&old);
            }
            self.emails.insert(email_key(&email), user_id);
            user.email = email;
        }
    }

    fn keep_rbits(&mut self, rbits: Vec<Rbit>) {
        for rbit in rbits {
            self.last_rbit_id = self.last_rbit_id.max(Some(rbit.rbit_id));
            self.rbits_about.entry((rbit.object, rbit.object_id)).or_default().push(rbit.rbit_id);
            self.rbits.insert(rbit.rbit_id, rbit);
        }
    }

    fn forget_rbit(&mut self, rbit_id: u64) {
        let Some(rbit) = self.rbits.remove(&rbit_id) else { return };
        if let Some(ids) = self.rbits_about.get_mut(&(rbit.object, rbit.object_id)) {
            ids.retain(|id| *id != rbit_id);
        }
    }

    /// The app made at first start.
    pub(super) fn first_app(&self) -> Option<&App> {
        self.first_app.and_then(|client_id| self.apps.get(&client_id))
    }

    /// All apps, by client id.
    pub(super) fn apps(&self) -> impl Iterator<Item = &App> {
        self.apps.values()
    }

    /// An app by its client id.
    pub(super) fn app(&self, client_id: u64) -> Option<&App> {
        self.apps.get(&client_id)
    }

    /// A user by id.
    pub(super) fn user(&self, user_id: u64) -> Option<&User> {
        self.users.get(user_id)
    }

    /// The user with this e-mail address; case does not matter. A deleted user's address is free again.
    pub(super) fn user_by_email(&self, email: &str) -> Option<&User> {
        let user = self.emails.get(&email_key(email)).and_then(|user_id| self.users.get(*user_id));
        user.filter(|user| user.state != UserState::Deleted)
    }

    /// All users, by id.
    pub(super) fn users(&self) -> impl Iterator<Item = &User> {
        self.users.iter()
    }

    /// The id of the next user.
    pub(super) fn next_user_id(&self) -> u64 {
        self.users.last_id().map_or(FIRST_USER_ID, |last| last.saturating_add(1))
    }

    /// Who signed in with this session, unless it was opened before `since`.
    pub(super) fn session_user(&self, sha256: &str, since: Timestamp) -> Option<&User> {
        let session = self.sessions.get(sha256).filter(|session| session.opened_at >= since)?;
        self.users.get(session.user_id).filter(|user| user.state == UserState::Registered)
    }

    /// The hashes of a user's sessions at the pages.
    pub(super) fn sessions_of(&self, user_id: u64) -> impl Iterator<Item = &str> {
        let own = self.sessions.iter().filter(move |(_, session)| session.user_id == user_id);
        own.map(|(sha256, _)| sha256.as_str())
    }

    /// Whether the app signs the user in itself.
    pub(super) fn is_single_sign_on(&self, user_id: u64, client_id: u64) -> bool {
        self.single_sign_on.contains(&(user_id, client_id))
    }

    /// A code by its hash.
    pub(super) fn code(&self, sha256: &str) -> Option<&Code> {
        self.codes.get(sha256)
    }

    /// All codes ever issued, in no order.
    pub(super) fn codes(&self) -> impl Iterator<Item = &Code> {
        self.codes.values()
    }

    /// A token by its hash.
    pub(super) fn token(&self, sha256: &str) -> Option<&Token> {
        self.tokens.get(sha256)
    }

    /// All tokens of a user, app by app, in order of issue.
    pub(super) fn tokens_of(&self, user_id: u64) -> impl Iterator<Item = &Token> {
        self.grants
            .range((user_id, u64::MIN)..=(user_id, u64::MAX))
            .flat_map(|(_, hashes)| hashes)
            .filter_map(|sha256| self.tokens.get(sha256))
    }

    /// Hashes of the tokens of a (user, app) that were not revoked.
    pub(super) fn unrevoked(&self, user_id: u64, client_id: u64) -> Vec<String> {
        self.tokens_of(user_id)
            .filter(|token| token.client_id == client_id && token.revoked_at_us.is_none())
            .map(|token| token.sha256.clone())
            .collect()
    }

    /// Whether the user has consented to the app's access.
    pub(super) fn is_approved(&self, user_id: u64, client_id: u64) -> bool {
        self.approvals.contains(&(user_id, client_id))
    }

    /// The apps to whose access the user has consented.
    pub(super) fn approved_apps(&self, user_id: u64) -> impl Iterator<Item = u64> {
        self.approvals.range((user_id, u64::MIN)..=(user_id, u64::MAX)).map(|(_, client_id)| *client_id)
    }

    /// Where a user goes after confirming.
    pub(super) fn after_confirmation(&self, user_id: u64, client_id: u64) -> Option<&String> {
        self.registrations.get(&(user_id, client_id)).and_then(Option::as_ref)
    }

    /// An account by its id.
    pub(super) fn account(&self, account_id: u64) -> Option<&Account> {
        self.accounts.get(account_id)
    }

    /// All accounts, by id, which is by age.
    pub(super) fn accounts(&self) -> impl DoubleEndedIterator<Item = &Account> {
        self.accounts.iter()
    }

    /// The accounts of a user, whichever app made them, oldest first.
    pub(super) fn accounts_of(&self, user_id: u64) -> impl DoubleEndedIterator<Item = &Account> {
        self.accounts.of(user_id)
    }

    /// The accounts of a user that an app gave this `reference_id`, whichever app, in no order.
    pub(super) fn accounts_with_reference(&self, user_id: u64, reference_id: &str) -> impl Iterator<Item = &Account> {
        self.accounts.with_reference(user_id, reference_id)
    }

    /// When time does something to an account next.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.accounts.next_due()
    }

    /// The accounts to which time has something to do by now, in the order of their times.
    pub(super) fn accounts_due(&self, now: Timestamp) -> impl Iterator<Item = &Account> {
        self.accounts.due(now)
    }

    /// The id of the next account.
    pub(super) fn next_account_id(&self) -> u64 {
        self.accounts.last_id().map_or(FIRST_ACCOUNT_ID, |last| last.saturating_add(1))
    }

    /// An rbit by its id.
    pub(super) fn rbit(&self, rbit_id: u64) -> Option<&Rbit> {
        self.rbits.get(&rbit_id)
    }

    /// All rbits, by id, which is by age.
    pub(super) fn rbits(&self) -> impl Iterator<Item = &Rbit> {
        self.rbits.values()
    }

    /// Ids of the rbits that an app told about an object, oldest first.
    pub(super) fn rbit_ids(&self, object: RbitObject, object_id: u64, client_id: u64) -> impl Iterator<Item = u64> {
        let ids = self.rbits_about.get(&(object, object_id)).into_iter().flatten();
        ids.filter(move |id| self.rbits.get(id).is_some_and(|rbit| rbit.client_id == client_id)).copied()
    }

    /// The id of the next rbit.
    pub(super) fn next_rbit_id(&self) -> u64 {
        self.last_rbit_id.map_or(FIRST_RBIT_ID, |last| last.saturating_add(1))
    }

    /// Every mail so far, oldest first.
    pub(super) fn mails(&self) -> &[Mail] {
        self.mails.all()
    }

    /// A mail by its id.
    pub(super) fn mail(&self, mail_id: u64) -> Option<&Mail> {
        self.mails.get(mail_id)
    }

    /// The mails to a user, oldest first.
    pub(super) fn mails_of(&self, user_id: u64) -> impl Iterator<Item = &Mail> {
        self.mails.of(user_id)
    }

    /// Where an app wants notices about a user.
    pub(super) fn callback(&self, user_id: u64, client_id: u64) -> Option<&String> {
        self.callbacks.get(&(user_id, client_id))
    }

    /// Where notices about a user go, app by app.
    pub(super) fn callbacks_of(&self, user_id: u64) -> impl Iterator<Item = (u64, &String)> {
        let of_user = self.callbacks.range((user_id, u64::MIN)..=(user_id, u64::MAX));
        of_user.map(|((_, client_id), callback_uri)| (*client_id, callback_uri))
    }

    /// Every notice so far.
    pub(super) const fn notices(&self) -> &Book {
        &self.notices
    }

    /// The newest calls, oldest first.
    pub(super) fn calls(&self) -> impl DoubleEndedIterator<Item = &Call> + ExactSizeIterator {
        self.calls.iter()
    }

    /// How many older calls are kept no more.
    pub(super) const fn calls_dropped(&self) -> u64 {
        self.calls.dropped()
    }

    /// The number of the next call.
    pub(super) fn next_call_seq(&self) -> u64 {
        self.calls.next_seq()
    }

    /// As which environment the sandbox was made; none before it was.
    pub(super) const fn environment(&self) -> Option<Environment> {
        self.environment
    }

    /// How far the clock was moved ahead, in microseconds.
    pub(super) const fn clock_offset_us(&self) -> i64 {
        self.clock_offset_us
    }
}

/// What tells two addresses apart: small letters, no space around.
pub(super) fn email_key(email: &str) -> String {
    email.trim().to_lowercase()
}
