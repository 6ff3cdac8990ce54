//! The state as the shortest history that leads to it, and the way back.

use std::collections::BTreeSet;

use super::{Event, Session, State};
use crate::sandbox::state::TokenKind;

impl State {
    /// Events that lead from nothing to this state, without its calls and its clock; always in the same order.
    pub(in crate::sandbox) fn history(&self) -> Vec<Event> {
        // Named one by one, so that nothing new is forgotten here. What is left out follows from the others.
        let Self {
            apps,
            first_app,
            users,
            emails: _,
            sessions,
            codes: _,
            tokens: _,
            grants: _,
            callbacks,
            approvals: _,
            single_sign_on,
            registrations,
            accounts,
            rbits,
            rbits_about: _,
            last_rbit_id: _,
            mails,
            notices,
            calls: _,
            environment: _,
            clock_offset_us: _,
        } = self;
        let mut events: Vec<Event> = Vec::new();
        let first = first_app.and_then(|client_id| apps.get(&client_id));
        let others = apps.values().filter(|app| Some(app.client_id) != *first_app);
        events.extend(first.into_iter().chain(others).cloned().map(Event::AppMade));
        events.extend(users.values().cloned().map(Event::UserMade));
        let opened = |(sha256, session): (&String, &Session)| Event::SessionOpened {
            sha256: sha256.clone(),
            user_id: session.user_id,
            at_us: session.opened_at.as_micros(),
        };
        events.extend(in_order(sessions.iter()).map(opened));
        self.tell_grants(&mut events);
        events.extend(callbacks.iter().map(|((user_id, client_id), callback_uri)| Event::CallbackSet {
            user_id: *user_id,
            client_id: *client_id,
            callback_uri: callback_uri.clone(),
        }));
        let signed_in = single_sign_on.iter().copied();
        events.extend(signed_in.map(|(user_id, client_id)| Event::SingleSignOn { user_id, client_id }));
        events.extend(in_order(registrations.iter()).map(|((user_id, client_id), redirect_uri)| Event::Registered {
            user_id: *user_id,
            client_id: *client_id,
            redirect_uri: redirect_uri.clone(),
        }));
        events.extend(accounts.iter().cloned().map(|account| Event::AccountMade(Box::new(account))));
        if !rbits.is_empty() {
            events.push(Event::RbitsMade { rbits: rbits.values().cloned().collect() });
        }
        events.extend(mails.all().iter().cloned().map(Event::MailSent));
        events.extend(notices.history().map(Event::Notice));
        events
    }

    /// Codes, tokens in order of issue, and consent, which both of them imply and which may have been taken back since.
    fn tell_grants(&self, events: &mut Vec<Event>) {
        let mut implied = BTreeSet::new();
        for (_, code) in in_order(self.codes.iter()) {
            implied.insert((code.user_id, code.client_id));
            events.push(Event::CodeIssued(code.clone()));
        }
        for token in self.grants.values().flatten().filter_map(|sha256| self.tokens.get(sha256)) {
            if token.kind == TokenKind::Permanent {
                implied.insert((token.user_id, token.client_id));
            }
            events.push(Event::TokenIssued(token.clone()));
        }
        let withdrawn = implied.difference(&self.approvals).copied();
        events.extend(withdrawn.map(|(user_id, client_id)| Event::ApprovalWithdrawn { user_id, client_id }));
        let unimplied = self.approvals.difference(&implied).copied();
        events.extend(unimplied.map(|(user_id, client_id)| Event::Approved { user_id, client_id }));
    }

    /// Goes back to what a history leads to; calls and clock stay.
    pub(super) fn restore(&mut self, history: Vec<Event>) {
        let calls = std::mem::take(&mut self.calls);
        *self = Self { calls, environment: self.environment, clock_offset_us: self.clock_offset_us, ..Self::default() };
        for event in history {
            self.apply(event);
        }
    }
}

/// The entries of a map that has no order, by their keys.
fn in_order<'a, K: Ord + 'a, V: 'a>(
    entries: impl Iterator<Item = (&'a K, &'a V)>,
) -> impl Iterator<Item = (&'a K, &'a V)> {
    let mut entries: Vec<(&K, &V)> = entries.collect();
    entries.sort_by_key(|(key, _)| *key);
    entries.into_iter()
}
