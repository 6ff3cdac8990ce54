//! The state as the shortest history that leads to it, and the way back.

use std::collections::BTreeSet;

use super::{Event, Session, State, TokenKind, User, email_key};

impl State {
    /// Events that lead from nothing to this state, without its calls and its clock; always in the same order.
    pub(in crate::sandbox) fn history(&self) -> Vec<Event> {
        // Named one by one, so that nothing new is forgotten here. What is left out follows from the others.
        let Self {
            apps,
            first_app,
            users,
            emails,
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
        // An address that was freed belongs to whoever comes last.
        let has_address = |user: &&User| emails.get(&email_key(&user.email)) == Some(&user.user_id);
        let (owners, others): (Vec<&User>, Vec<&User>) = users.iter().partition(has_address);
        events.extend(others.into_iter().chain(owners).cloned().map(Event::UserMade));
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sandbox::state::{Code, Mail, Rbit, RbitObject, Said, Token, UserState};

    /// Something that happens to one of a few users, apps, tokens and codes; `number` counts the events.
    fn event(number: u64, (what, user, thing): (u8, u64, u8)) -> Event {
        let (user_id, client_id, sha256) = (user, u64::from(thing) % 2, thing.to_string());
        let token = |kind| {
            let (scope, issued_at_us, expires_at_us, revoked_at_us) = (Vec::new(), 1, None, None);
            let sha256 = sha256.clone();
            Token { sha256, user_id, client_id, scope, kind, issued_at_us, expires_at_us, revoked_at_us }
        };
        match what {
            0 => Event::UserMade(User {
                user_id,
                email: format!("{}@shop.example", user % 2),
                first_name: String::new(),
                last_name: String::new(),
                state: UserState::Pending,
                password: None,
            }),
            1 => Event::UserChanged { user_id, state: UserState::Registered },
            2 => Event::SessionOpened { sha256, user_id, at_us: 5 },
            3 => Event::SessionClosed { sha256 },
            4 => Event::CodeIssued(Code {
                sha256,
                client_id,
                user_id,
                redirect_uri: String::new(),
                scope: Vec::new(),
                issued_at_us: 1,
                is_used: false,
            }),
            5 => Event::CodeUsed { sha256 },
            6 => Event::TokenIssued(token(TokenKind::Permanent)),
            7 => Event::TokenIssued(token(TokenKind::Temporary)),
            8 => Event::TokensMadePermanent { sha256: vec![sha256] },
            9 => Event::TokensRevoked { sha256: vec![sha256], at_us: 9 },
            10 => Event::Approved { user_id, client_id },
            11 => Event::ApprovalWithdrawn { user_id, client_id },
            12 => Event::Registered { user_id, client_id, redirect_uri: Some(sha256) },
            13 => Event::CallbackSet { user_id, client_id, callback_uri: sha256 },
            14 => Event::MailSent(Mail {
                mail_id: 1,
                user_id,
                client_id,
                to: sha256,
                subject: String::new(),
                message: String::new(),
                button_text: String::new(),
                sent_at_us: 1,
            }),
            15 => Event::RbitDeleted { rbit_id: number.saturating_sub(u64::from(thing)) },
            _ => Event::RbitsMade {
                rbits: vec![Rbit {
                    rbit_id: number,
                    user_id,
                    client_id,
                    object: RbitObject::User,
                    object_id: user_id,
                    said: Said {
                        kind: "email".to_owned(),
                        properties: serde_json::json!({}),
                        receive_time: 1,
                        source: "user".to_owned(),
                        note: None,
                        related_rbits: Vec::new(),
                    },
                }],
            },
        }
    }

    /// An id is given once: a later event that would give it again did not happen.
    fn is_new(event: &Event, seen: &mut BTreeSet<String>) -> bool {
        match event {
            Event::UserMade(user) => seen.insert(format!("user {}", user.user_id)),
            Event::TokenIssued(token) => seen.insert(format!("token {}", token.sha256)),
            Event::CodeIssued(code) => seen.insert(format!("code {}", code.sha256)),
            _ => true,
        }
    }

    /// All that decisions look at, in one text.
    fn told(state: &State) -> String {
        let emails: BTreeSet<(&String, &u64)> = state.emails.iter().collect();
        let abouts = state.rbits_about.iter().filter(|(_, ids)| !ids.is_empty()).collect::<Vec<_>>();
        let history = serde_json::to_string(&state.history()).unwrap();
        format!("{emails:?} {abouts:?} {:?} {:?} {history}", state.grants, state.approvals)
    }

    proptest! {
        #[test]
        fn a_history_leads_to_the_state_it_was_made_of(happened in prop::collection::vec((0..17_u8, 0..4_u64, 0..8_u8), 0..80)) {
            let (mut state, mut seen) = (State::default(), BTreeSet::new());
            let happened = (0..).zip(happened).map(|(number, happened)| event(number, happened));
            for event in happened.filter(|event| is_new(event, &mut seen)) {
                state.apply(event);
            }
            let mut restored = State::default();
            restored.apply(event(0, (0, 3, 0)));
            restored.apply(Event::Restored { events: state.history() });
            prop_assert_eq!(told(&restored), told(&state));
        }
    }
}
