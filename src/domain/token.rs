//! Token versions, what is known of their liveness, and the decision that guards every mint.

use std::time::Duration;

use super::ambient::Timestamp;
use super::id::{AttemptId, ConnectionId, TokenVersion};

/// What is known about whether the provider still accepts a token. Only evidence changes it (M6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Liveness {
    /// The provider accepted it when evidence was last taken.
    Live,
    /// There is a hint that it may be dead.
    Suspect,
    /// Declared revoked by the provider, twice, while it answered other calls.
    Dead,
    /// Its life is over by what the provider said when it was issued.
    Expired,
    /// Accepted, but not for everything.
    InsufficientScope,
}

impl Liveness {
    /// Every liveness.
    pub const ALL: [Self; 5] = [Self::Live, Self::Suspect, Self::Dead, Self::Expired, Self::InsufficientScope];

    /// The stored form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Suspect => "suspect",
            Self::Dead => "dead",
            Self::Expired => "expired",
            Self::InsufficientScope => "insufficient_scope",
        }
    }

    /// The liveness with this stored form.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|liveness| liveness.as_str() == text)
    }

    /// What a reader is told: a token whose life is over by the clock is expired, whatever the evidence said before.
    #[must_use]
    pub fn at(self, expires_at: Option<Timestamp>, now: Timestamp) -> Self {
        match expires_at {
            Some(end) if end <= now && self != Self::Dead => Self::Expired,
            _ => self,
        }
    }
}

/// What kind of token the provider issued.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IssuedKind {
    /// Lives until confirmed or expired (`/user/register`).
    Temporary,
    /// Lives until revoked (`/oauth2/token`).
    Permanent,
}

impl IssuedKind {
    /// The stored form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Temporary => "temporary",
            Self::Permanent => "permanent",
        }
    }

    /// The kind with this stored form.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Temporary, Self::Permanent].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// One token version, without the token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Version {
    /// Whose.
    pub connection: ConnectionId,
    /// Its number.
    pub number: TokenVersion,
    /// What the provider issued.
    pub issued_kind: IssuedKind,
    /// What brought it: an attempt kind's stored form.
    pub cause: String,
    /// The attempt that brought it; part of what its ciphertext is bound to.
    pub attempt: AttemptId,
    /// Keyed fingerprint of the token.
    pub fingerprint: [u8; 16],
    /// When it was stored.
    pub stored_at: Timestamp,
    /// Whether it is permanent by now: issued so, or confirmed since.
    pub permanent: bool,
    /// Whether its user was pending when the provider was asked with it.
    pub seen_pending: bool,
    /// Whether it waits to be judged against a head that may have outlived it.
    pub candidate: bool,
    /// When its life ends, if the provider said so.
    pub expires_at: Option<Timestamp>,
    /// What is known of its liveness.
    pub liveness: Liveness,
    /// What established that: `issued`, `probe`, `report`, `call`, `confirmation`, `superseded`, `in_doubt`, `registered_again`.
    pub evidence: String,
    /// When.
    pub evidence_at: Timestamp,
}

/// Where a provider user stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UserStanding {
    /// Registered by an app, not confirmed by its person.
    Pending,
    /// A person who confirmed.
    Registered,
    /// Deleted, or a word that we do not know.
    Other,
}

/// Whether a temporary token that the provider accepted at that moment has become permanent, and by what it shows.
///
/// That its user is registered says nothing alone: a user who was registered before the token was issued has still to confirm it, and
/// one who was pending may have signed up at the provider, which grants nothing (`elsewhere`: nobody asked for confirmation, or somebody
/// was sent to the authorize page since).
pub fn is_confirmed(
    version: &Version,
    standing: UserStanding,
    elsewhere: bool,
    accepted_at: Timestamp,
) -> Option<&'static str> {
    if version.seen_pending && standing == UserStanding::Registered && !elsewhere {
        return Some("user_confirmed");
    }
    version.expires_at.is_some_and(|end| end.plus(END_MARGIN) < accepted_at).then_some("outlived_its_end")
}

/// How far the provider's clock and ours may be apart before a token counts as having outlived its end.
pub const END_MARGIN: Duration = Duration::from_secs(60);

/// What differs between providers, as data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// Whether minting a token revokes every earlier one of that (app, user).
    pub mint_revokes: bool,
    /// Whether registering may do so too. Where that is not known, it may.
    pub registration_may_revoke: bool,
    /// While a registered user is unconfirmed, no new payments are taken this long after the first one.
    pub unconfirmed_payments: Duration,
    /// And this long after the first payment the user and its accounts are deleted.
    pub unconfirmed_life: Duration,
    /// Whether and how tokens can be refreshed.
    pub refresh: Refresh,
    /// How long an authorization code lives.
    pub code_life: Duration,
    /// After this long the provider itself gives up on a call.
    pub longest_call: Duration,
    /// The scopes that every token must have, all of them.
    pub mandatory_scopes: &'static [&'static str],
}

/// Whether and how tokens can be refreshed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refresh {
    /// There are no refresh tokens.
    None,
    /// A refresh token works again and again.
    Reusable,
    /// A refresh token works once and brings its successor.
    SingleUse,
}

/// What somebody wants to do that leads to a mint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    /// Send the merchant through the provider's authorize page. Harmless in itself: it stops needless codes before they exist.
    Authorize,
    /// Redeem a code. Destructive.
    Exchange,
    /// Register a user. To be taken as destructive where that is not known.
    Register,
}

/// What leave was given to revoke one live token (M1's two exceptions).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leave {
    /// Why.
    pub kind: LeaveKind,
    /// For exactly this connection…
    pub connection: ConnectionId,
    /// …and this head.
    pub version: TokenVersion,
}

/// Why a live token may be revoked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeaveKind {
    /// Two people approved it.
    Replacement,
    /// The head is the merchant's own temporary token.
    UpgradeTemporary,
}

/// The head that a mint could revoke.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeadFacts {
    /// Whose.
    pub connection: ConnectionId,
    /// Which.
    pub version: TokenVersion,
    /// What is known of it, expiry by the clock included.
    pub liveness: Liveness,
    /// When that was established.
    pub evidence_at: Timestamp,
    /// Whether it is permanent by now.
    pub permanent: bool,
}

/// What a probe made for this decision found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Finding {
    /// The provider accepts the token, and names the user it should.
    Alive,
    /// The provider declares it dead, confirmed as M6 demands.
    Dead,
    /// Accepted, but not for everything.
    InsufficientScope,
    /// Neither could be established.
    Unknown,
}

/// All that the guard looks at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MintFacts {
    /// The head of the connection that the merchant's active link leads to, if there is one.
    pub head: Option<HeadFacts>,
    /// Whether another attempt for this merchant or connection is received, armed or in doubt.
    pub other_attempt_open: bool,
    /// What a probe found, once one was made for this decision.
    pub finding: Option<Finding>,
    /// What leave was given.
    pub leave: Option<Leave>,
}

/// What the guard says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Nothing that works would be lost.
    Go,
    /// Probe the head, then ask again with the finding.
    Probe,
    /// Not now.
    Refuse(Refusal),
}

/// Why the guard refuses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// A live token would be revoked.
    StillLive,
    /// Whether a live token would be revoked cannot be told: unknown is a no, not a yes.
    LivenessUnknown,
    /// An earlier attempt could still take effect.
    AttemptUnresolved,
}

/// The redundant-call rule: whether a wish that leads to a mint may go on (M1, M3, M4).
///
/// Pure: the table test below has every branch. `evidence_fresh` is how old evidence of life may be to refuse an
/// authorization without a probe; an exchange is always decided on a probe made for it.
pub fn decide(can: &Capabilities, facts: &MintFacts, wish: Wish, evidence_fresh: Duration, now: Timestamp) -> Decision {
    if facts.other_attempt_open {
        return Decision::Refuse(Refusal::AttemptUnresolved);
    }
    let may_revoke = match wish {
        Wish::Authorize | Wish::Exchange => can.mint_revokes,
        Wish::Register => can.registration_may_revoke,
    };
    let Some(head) = facts.head.filter(|_| may_revoke) else {
        return Decision::Go;
    };
    if let Some(leave) = facts.leave.filter(|leave| leave_covers(*leave, &head)) {
        match (leave.kind, wish, facts.finding) {
            (LeaveKind::Replacement, ..) | (_, Wish::Authorize, _) | (.., Some(Finding::Alive)) => return Decision::Go,
            // Its user may have confirmed since: a temporary token that became permanent is nobody's to revoke.
            (LeaveKind::UpgradeTemporary, _, None) => return Decision::Probe,
            (LeaveKind::UpgradeTemporary, _, Some(_)) => {}
        }
    }
    match (facts.finding, head.liveness) {
        (Some(Finding::Alive | Finding::InsufficientScope), _) => Decision::Refuse(Refusal::StillLive),
        (Some(Finding::Dead), _) => Decision::Go,
        // Also past the end of its life: whose user confirmed it may have outlived what was said when it was issued.
        (Some(Finding::Unknown), _) => Decision::Refuse(Refusal::LivenessUnknown),
        (None, Liveness::Dead | Liveness::Expired) if wish == Wish::Authorize => Decision::Go,
        (None, Liveness::Live)
            if wish == Wish::Authorize && head.evidence_at <= now && now.since(head.evidence_at) <= evidence_fresh =>
        {
            Decision::Refuse(Refusal::StillLive)
        }
        (None, _) => Decision::Probe,
    }
}

/// A leave is good for exactly the head it was given for; an upgrade only while that head is still temporary.
fn leave_covers(leave: Leave, head: &HeadFacts) -> bool {
    leave.connection == head.connection
        && leave.version == head.version
        && match leave.kind {
            LeaveKind::Replacement => true,
            LeaveKind::UpgradeTemporary => !head.permanent,
        }
}

#[cfg(test)]
mod tests;
