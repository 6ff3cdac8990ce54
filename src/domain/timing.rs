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
    /// A process that was not seen for this long, by the database's clock, is taken for dead; so long leads who leads, unless it renews
    /// that. It shows itself every third of it.
    pub lease: Duration,
}

/// The shortest lease: below it a process would be taken for dead because its machine is busy. Not scaled, because commits take as long
/// as they take.
const LEASE_SHORTEST: Duration = Duration::from_secs(3);

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
            lease: Duration::from_secs(15),
        }
    }
}

impl Timing {
    /// How often a process shows itself: two of three may get lost before anybody misses it.
    pub fn beat_interval(&self) -> Duration {
        self.lease / 3
    }

    /// Longest time from before an attempt is armed until it is sent: well below the lease, so that who was declared dead meanwhile,
    /// and its attempt put in doubt, does not send.
    pub fn send_within(&self) -> Duration {
        self.lease / 3
    }

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
            lease: (self.lease / by).max(LEASE_SHORTEST),
        }
    }
}
