//! What confirming a registration does, and the secret in the link that leads there.
//!
//! The link is derived from the app's first secret, so that it can be shown again after a restart though the journal keeps none.

use super::hash::labelled;
use super::lifecycle;
use super::state::{Account, AccountState, App, Event, Mail, State, Token, TokenKind, User, UserState};
use crate::domain::ambient::Timestamp;

/// Path of the confirmation page below `/v2`; WePay's own is not known.
pub(super) const CALL: &str = "/user/confirm";

/// Where a mail's button leads; `ui` is the base URL of the pages.
pub(super) fn link(ui: &str, app: &App, mail: &Mail) -> String {
    format!("{ui}{CALL}?mail={}&key={}", mail.mail_id, key(app, mail))
}

/// What only the reader of a mail knows.
pub(super) fn key(app: &App, mail: &Mail) -> String {
    labelled("confirmation", &[&app.seed, &mail.mail_id.to_string(), &mail.user_id.to_string()])
}

/// Whether the user has nothing left to confirm for this app.
pub(super) fn is_done(state: &State, user: &User, client_id: u64, now: Timestamp) -> bool {
    user.state == UserState::Registered
        && state.is_approved(user.user_id, client_id)
        && temporary(state, user.user_id, client_id, now).next().is_none()
}

/// The user is registered, and for these apps access is granted: temporary tokens that still live become permanent, and what
/// the app made waits for its owner instead of the confirmation (WePay API docs, custom account page; what becomes of the accounts
/// is inferred).
pub(super) fn events(state: &State, user: &User, client_ids: &[u64], now: Timestamp) -> Vec<Event> {
    let user_id = user.user_id;
    let mut events = vec![Event::UserChanged { user_id, state: UserState::Registered }];
    for client_id in client_ids.iter().copied() {
        events.push(Event::Approved { user_id, client_id });
        let tokens = temporary(state, user_id, client_id, now);
        let sha256: Vec<String> = tokens.map(|token| token.sha256.clone()).collect();
        if !sha256.is_empty() {
            events.push(Event::TokensMadePermanent { sha256 });
        }
        events.extend(accounts_opened(state, user_id, client_id));
    }
    events
}

/// The temporary tokens of a (user, app) that still live.
fn temporary(state: &State, user_id: u64, client_id: u64, now: Timestamp) -> impl Iterator<Item = &Token> {
    let is_temporary =
        move |token: &&Token| token.client_id == client_id && token.kind == TokenKind::Temporary && token.is_live(now);
    state.tokens_of(user_id).filter(is_temporary)
}

/// Who grants an app access has confirmed what it made with temporary tokens: the accounts of (user, app) are pending no more.
pub(super) fn accounts_opened(state: &State, user_id: u64, client_id: u64) -> impl Iterator<Item = Event> {
    let is_pending = move |account: &&Account| account.client_id == client_id && account.state == AccountState::Pending;
    let pending = state.accounts_of(user_id).filter(is_pending);
    pending
        .map(|account| Event::AccountChanged { account_id: account.account_id, state: lifecycle::confirmed(account) })
}
