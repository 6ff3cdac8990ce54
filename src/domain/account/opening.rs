//! Opening an account at the provider: not destructive, but not idempotent either, so that a lost answer is a state and never a
//! reason to send again.

/// How far we are with opening an account.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OpeningState {
    /// Asked for; nothing is on its way.
    Requested,
    /// From here on bytes may be on their way to the provider.
    Sent,
    /// The provider has it.
    Open,
    /// The provider said no.
    Refused,
    /// Whether the provider made it is not known.
    InDoubt,
    /// Was in doubt, and is not at the provider; it can no longer come about by what was sent.
    Absent,
}

impl OpeningState {
    /// Every state.
    pub const ALL: [Self; 6] = [Self::Requested, Self::Sent, Self::Open, Self::Refused, Self::InDoubt, Self::Absent];

    /// The stored form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Sent => "sent",
            Self::Open => "open",
            Self::Refused => "refused",
            Self::InDoubt => "in_doubt",
            Self::Absent => "absent",
        }
    }

    /// The state with this stored form.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether something may still come about by what was sent.
    pub const fn is_unsettled(self) -> bool {
        matches!(self, Self::Sent | Self::InDoubt)
    }

    /// Whether the table below has this step.
    pub fn may_become(self, next: Self) -> bool {
        STEPS.contains(&(self, next))
    }
}

/// Every step that opening an account may take; there is no other writer of its state.
pub const STEPS: &[(OpeningState, OpeningState)] = {
    use OpeningState::{Absent, InDoubt, Open, Refused, Requested, Sent};
    &[
        (Requested, Sent),
        // Provably nothing was done: the same request may send it again.
        (Sent, Requested),
        (Sent, Open),
        (Sent, Refused),
        (Sent, InDoubt),
        // Found by its reference id.
        (InDoubt, Open),
        // Looked for after the provider could no longer be working on it, and not found.
        (InDoubt, Absent),
        (Absent, Sent),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unsettled_has_a_way_out_and_what_the_provider_decided_is_final() {
        for state in OpeningState::ALL {
            let ways_out = STEPS.iter().filter(|(from, _)| *from == state).count();
            let is_final = matches!(state, OpeningState::Open | OpeningState::Refused);
            assert_eq!(ways_out == 0, is_final, "{state:?}");
            assert!(!(is_final && state.is_unsettled()));
            assert_eq!(OpeningState::parse(state.as_str()), Some(state));
        }
    }

    #[test]
    fn nothing_is_sent_while_what_was_sent_could_still_come_about() {
        let before: Vec<_> = STEPS.iter().filter(|(_, to)| *to == OpeningState::Sent).map(|(from, _)| *from).collect();
        assert_eq!(before, [OpeningState::Requested, OpeningState::Absent]);
        assert!(before.iter().all(|from| !from.is_unsettled()));
        // What is in doubt never goes back to where it could be sent at once.
        assert!(!OpeningState::InDoubt.may_become(OpeningState::Requested));
    }

    #[test]
    fn every_state_but_the_first_can_be_reached() {
        for state in OpeningState::ALL {
            assert!(STEPS.iter().any(|(_, to)| *to == state), "{state:?}");
        }
    }
}
