//! All durations of the mint protocol in one place.

use std::time::Duration;

/// Durations of the mint protocol. [`Timing::default`] has the provider's real ones; `serve` refuses smaller ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// How long an authorization code lives: 10 minutes (`docs/provider.md` §4).
    pub code_life: Duration,
    /// Deadline of a destructive call: 70 s, longer than the provider's own 60 s, so that we never hang up on an answer
    /// that is still coming (`docs/provider.md` §2).
    pub mint_deadline: Duration,
    /// Deadline of a probe.
    pub probe_deadline: Duration,
    /// After this long since the callback an attempt in doubt can no longer take effect: code life plus 30 s.
    pub quiescence: Duration,
    /// After this long since it was sent a call that carries no code can no longer take effect: the provider's own 60 s and a
    /// margin (`docs/provider.md` §2). For registrations and account creations.
    pub call_quiescence: Duration,
    /// Least time between the two probes that declare a token dead.
    pub death_confirmation: Duration,
    /// Evidence of liveness younger than this is good enough to refuse an authorization without a probe.
    pub evidence_fresh: Duration,
    /// How long a state lives after the button was pressed.
    pub state_life: Duration,
    /// How long an invitation lives.
    pub invitation_life: Duration,
    /// How often open attempts are looked at.
    pub recovery_interval: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            code_life: Duration::from_secs(600),
            mint_deadline: Duration::from_secs(70),
            probe_deadline: Duration::from_secs(10),
            quiescence: Duration::from_secs(630),
            call_quiescence: Duration::from_secs(80),
            death_confirmation: Duration::from_secs(5),
            evidence_fresh: Duration::from_secs(60),
            state_life: Duration::from_secs(30 * 60),
            invitation_life: Duration::from_secs(7 * 24 * 60 * 60),
            recovery_interval: Duration::from_secs(5),
        }
    }
}

impl Timing {
    /// Every duration divided by `scale` (tests against a loopback sandbox that shares the scale).
    #[must_use]
    pub fn scaled(self, scale: u32) -> Self {
        let by = scale.max(1);
        Self {
            code_life: self.code_life / by,
            mint_deadline: self.mint_deadline / by,
            probe_deadline: self.probe_deadline / by,
            quiescence: self.quiescence / by,
            call_quiescence: self.call_quiescence / by,
            death_confirmation: self.death_confirmation / by,
            evidence_fresh: self.evidence_fresh / by,
            state_life: self.state_life / by,
            invitation_life: self.invitation_life / by,
            recovery_interval: self.recovery_interval / by,
        }
    }
}
