//! Which change causes which notice.
//!
//! A user notice: the user took the app's access back, was deleted, or changed state, as by confirming (WePay API docs, user
//! page). That `/oauth2/token` and `/user/register` revoke earlier tokens is no user's doing and causes none (inferred). An
//! account notice: the account changed state, also by time or by being deleted, or its owner was verified (WePay API docs,
//! account page; one for both when they come together is inferred). What is made causes none: whoever made it has the answer (inferred).

use super::record::Kind;
use crate::sandbox::state::{Change, Event, KycState, State};

/// A notice to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::sandbox) struct Cause {
    /// The app it goes to.
    pub(super) client_id: u64,
    /// What it is about.
    pub(super) kind: Kind,
    /// Which one.
    pub(super) object_id: u64,
    /// Where it goes.
    pub(super) uri: String,
}

/// What a step causes, given the state before it: one notice at most for each object and app (inferred).
pub(super) fn causes(before: &State, events: &[Event]) -> Vec<Cause> {
    let mut causes = Vec::new();
    for event in events {
        let further = match event {
            Event::UserChanged { user_id, state } => match before.user(*user_id) {
                Some(user) if user.state != *state => Cause::about_user(before, *user_id, None),
                _ => Vec::new(),
            },
            Event::ApprovalWithdrawn { user_id, client_id } => {
                let had_access =
                    before.is_approved(*user_id, *client_id) || !before.unrevoked(*user_id, *client_id).is_empty();
                if had_access { Cause::about_user(before, *user_id, Some(*client_id)) } else { Vec::new() }
            }
            Event::AccountChanged { account_id, state } => match before.account(*account_id) {
                Some(account) if account.state != *state => Cause::about_account(before, *account_id),
                _ => Vec::new(),
            },
            Event::AccountStands { account_id, change: Change::Kyc { state: KycState::Verified } } => {
                match before.account(*account_id) {
                    Some(account) if account.standing.kyc != KycState::Verified => {
                        Cause::about_account(before, *account_id)
                    }
                    _ => Vec::new(),
                }
            }
            _ => continue,
        };
        for cause in further {
            if !causes.contains(&cause) {
                causes.push(cause);
            }
        }
    }
    causes
}

impl Cause {
    /// A notice about a user to every app that wants them, or to one.
    pub(in crate::sandbox) fn about_user(state: &State, user_id: u64, only: Option<u64>) -> Vec<Self> {
        let wanted = state.callbacks_of(user_id).filter(|(client_id, _)| only.is_none_or(|only| only == *client_id));
        let cause = |(client_id, uri): (u64, &String)| Self {
            client_id,
            kind: Kind::User,
            object_id: user_id,
            uri: uri.clone(),
        };
        wanted.map(cause).collect()
    }

    /// A notice about an account to the app that made it, if that wants them.
    pub(in crate::sandbox) fn about_account(state: &State, account_id: u64) -> Vec<Self> {
        let cause = state.account(account_id).and_then(|account| {
            let uri = account.details.callback_uri.clone()?;
            Some(Self { client_id: account.client_id, kind: Kind::Account, object_id: account_id, uri })
        });
        cause.into_iter().collect()
    }
}
