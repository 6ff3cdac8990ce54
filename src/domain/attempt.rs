//! Attempts: the durable intent of something that can bring or kill tokens, and the only ways its state may change.

/// What an attempt is about to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AttemptKind {
    /// Redeem an authorization code at `/oauth2/token`.
    Exchange,
    /// Make a provider user by `/user/register`.
    Register,
    /// Take over credentials that exist already.
    Import,
}

impl AttemptKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Exchange, Self::Register, Self::Import];

    /// The stored form; also the cause of the version that comes of it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exchange => "exchange",
            Self::Register => "register",
            Self::Import => "import",
        }
    }

    /// The kind with this stored form.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Where an attempt stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AttemptState {
    /// Claimed by the process that will carry it out; nothing was sent.
    Received,
    /// From here on bytes may be on their way to the provider.
    Armed,
    /// A token came of it and is stored.
    Committed,
    /// The guard refused; nothing was sent.
    Refused,
    /// Nothing was sent, for another reason than the guard's.
    NotSent,
    /// The provider said no, in a well-formed answer.
    Rejected,
    /// Whether the provider acted is not known.
    InDoubt,
    /// Was in doubt; what it may have brought cannot be found, and a token that an exchange met is dead.
    Lost,
    /// Was in doubt; the token that was there lives, so it did not take effect.
    NotApplied,
    /// Was given up, in doubt or judged; its answer came late and is kept, as a candidate where there is another token.
    Late,
}

impl AttemptState {
    /// Every state.
    pub const ALL: [Self; 10] = [
        Self::Received,
        Self::Armed,
        Self::Committed,
        Self::Refused,
        Self::NotSent,
        Self::Rejected,
        Self::InDoubt,
        Self::Lost,
        Self::NotApplied,
        Self::Late,
    ];

    /// The stored form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Armed => "armed",
            Self::Committed => "committed",
            Self::Refused => "refused",
            Self::NotSent => "not_sent",
            Self::Rejected => "rejected",
            Self::InDoubt => "in_doubt",
            Self::Lost => "lost",
            Self::NotApplied => "not_applied",
            Self::Late => "late",
        }
    }

    /// The state with this stored form.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether it still stands in the way of another attempt for the same merchant (M3).
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Received | Self::Armed | Self::InDoubt)
    }

    /// Whether the table below has this step.
    pub fn may_become(self, next: Self) -> bool {
        TRANSITIONS.contains(&(self, next))
    }
}

/// Every step an attempt may take; there is no other writer of its state.
pub const TRANSITIONS: &[(AttemptState, AttemptState)] = {
    use AttemptState::{Armed, Committed, InDoubt, Late, Lost, NotApplied, NotSent, Received, Refused, Rejected};
    &[
        // The guard found a live token, or could not tell.
        (Received, Refused),
        // The owner died or gave up before it armed.
        (Received, NotSent),
        (Received, Armed),
        // The connection failed before a byte of the request was written.
        (Armed, NotSent),
        (Armed, Rejected),
        (Armed, Committed),
        (Armed, InDoubt),
        (InDoubt, NotApplied),
        (InDoubt, Lost),
        (InDoubt, Late),
        // No judgement outweighs a token in hand.
        (Lost, Late),
        (NotApplied, Late),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_settled_state_is_final_but_for_a_late_answer_and_every_open_one_has_a_way_out() {
        for state in AttemptState::ALL {
            let ways_out: Vec<_> = TRANSITIONS.iter().filter(|(from, _)| *from == state).map(|(_, to)| *to).collect();
            if state.is_open() {
                assert!(!ways_out.is_empty(), "{state:?}");
            } else if matches!(state, AttemptState::Lost | AttemptState::NotApplied) {
                assert_eq!(ways_out, [AttemptState::Late], "{state:?}");
            } else {
                assert_eq!(ways_out, [], "{state:?}");
            }
            assert_eq!(AttemptState::parse(state.as_str()), Some(state));
        }
    }

    #[test]
    fn every_state_but_the_first_can_be_reached() {
        for state in AttemptState::ALL.into_iter().filter(|state| *state != AttemptState::Received) {
            assert!(TRANSITIONS.iter().any(|(_, to)| *to == state), "{state:?}");
        }
        assert!(!TRANSITIONS.iter().any(|(_, to)| *to == AttemptState::Received));
    }

    #[test]
    fn nothing_is_sent_twice() {
        // Armed is entered once, from Received: no path leads back, so no attempt can send its code again (M3).
        let into_armed: Vec<_> = TRANSITIONS.iter().filter(|(_, to)| *to == AttemptState::Armed).collect();
        assert_eq!(into_armed, [&(AttemptState::Received, AttemptState::Armed)]);
    }
}
