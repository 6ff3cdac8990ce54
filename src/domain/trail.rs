//! Trails: what happened, as signed records in a hash chain.
//!
//! A *record* is deterministic CBOR (RFC 8949 §4.2) of {format, trail, seq, time, hash of the previous record, events} and
//! an Ed25519 signature. The format is final; golden vectors hold it. The change trail has one event a record, its sequence is
//! the feed; a read trail has a batch of reads and denials a record.
//!
//! [`cbor`] has the encoding, [`verify`] what a reader with nothing but the public key can check, [`view`] what people see.

pub mod cbor;
pub mod verify;
pub mod view;

use std::collections::BTreeMap;

use super::ambient::Timestamp;
use super::id::{AttemptId, CallId, ConnectionId, FlowId, InvitationId, LinkId, MerchantId, TokenVersion, TrailId};

/// The record format this build writes.
pub const FORMAT: u8 = 1;

/// A record without predecessor names this as the hash of the previous one.
pub const GENESIS: Hash = Hash([0; 32]);

/// SHA-256 of a record's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hash(pub [u8; 32]);

/// An Ed25519 signature (RFC 8032).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signature(pub [u8; 64]);

/// An Ed25519 public key (RFC 8032).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PublicKey(pub [u8; 32]);

/// What signs records; the vault is one.
pub trait Signer: Send + Sync + 'static {
    /// The key that verifies what [`Signer::sign`] makes.
    fn public_key(&self) -> PublicKey;

    /// Signs the message.
    fn sign(&self, message: &[u8]) -> Signature;
}

/// What a record says happened. The text form is stored and signed: existing ones never change.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What an event says happened. The text form is stored and signed: existing ones never change.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum EventKind { $($(#[$doc])* $name,)* }

        impl EventKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stored form.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The kind with this stored form.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$name),)* _ => None }
            }
        }
    };
}

kinds! {
    /// The deployment was stamped with its app and keys.
    DeploymentStamped = "deployment.stamped",
    /// A read trail was opened by a process.
    TrailOpened = "trail.opened",
    /// A read trail was closed; details carry its size and head.
    TrailClosed = "trail.closed",
    /// A policy was loaded; its hash is in `policy`.
    PolicyLoaded = "policy.loaded",
    /// A merchant became known.
    MerchantCreated = "merchant.created",
    /// An invitation (our link) was issued.
    AuthorizationStarted = "authorization.started",
    /// The button on our page was pressed: a state was made and a browser bound.
    FlowStarted = "flow.started",
    /// A callback consumed the state of a flow.
    FlowConsumed = "flow.consumed",
    /// A flow ended; the reason says how.
    FlowEnded = "flow.ended",
    /// A callback was refused and nothing was consumed.
    CallbackRefused = "callback.refused",
    /// An attempt was claimed.
    AttemptReceived = "attempt.received",
    /// An attempt was armed: from here on bytes may be on their way to the provider.
    AttemptArmed = "attempt.armed",
    /// An attempt reached a state that is neither received nor armed nor committed; the reason names it.
    AttemptSettled = "attempt.settled",
    /// An answer of the provider that could not be read was kept, sealed.
    SalvageKept = "attempt.salvage_kept",
    /// A connection became known.
    ConnectionCreated = "connection.created",
    /// A token was stored as a new version.
    TokenStored = "token.stored",
    /// What is known of a version's liveness changed.
    LivenessChanged = "token.liveness_changed",
    /// A link was made; the reason is its state.
    LinkCreated = "link.created",
    /// A link changed its state; the reason is the new one.
    LinkChanged = "link.changed",
    /// A token could have been released to a caller.
    TokenRead = "token.read",
    /// A caller reported a provider error about a version.
    TokenReported = "token.reported",
    /// A caller had a version probed.
    TokenVerified = "token.verified",
    /// A caller listed token versions.
    VersionsListed = "token.versions_listed",
    /// A caller looked at merchants.
    MerchantRead = "merchant.read",
    /// A caller had a merchant's authorization started, or was refused.
    AuthorizationRequested = "authorization.requested",
    /// A caller confirmed a connection or resolved a held link, or was refused.
    LinkRequested = "link.requested",
    /// A caller had a merchant registered at the provider, or was refused.
    RegistrationRequested = "registration.requested",
    /// A caller had the provider ask a merchant for confirmation, or was refused.
    ConfirmationRequested = "confirmation.requested",
    /// A temporary token became permanent: its user confirmed.
    TokenConfirmed = "token.confirmed",
    /// A version that was kept beside a head which may have outlived it was judged: `promoted` to head, or `passed` over.
    CandidateJudged = "token.candidate_judged",
    /// A caller had an account made or changed, or was refused.
    AccountRequested = "account.requested",
    /// An account came to another state with us or at the provider; the reason is the new one.
    AccountChanged = "account.changed",
    /// A caller looked at accounts.
    AccountRead = "account.read",
    /// A caller had a name for an account judged.
    AccountNameChecked = "account.name_checked",
    /// The provider sent a notice, and it is stored.
    NoticeStored = "notice.stored",
    /// Somebody sent a notice to an address that we did not hand out.
    NoticeRefused = "notice.refused",
    /// A caller listed attempts.
    AttemptsListed = "attempts.listed",
    /// A caller read the audit.
    AuditRead = "audit.read",
    /// A caller asked who can read what.
    AccessExplained = "access.explained",
    /// A connection attempt did not become a call: handshake or identity failed.
    CallerRejected = "caller.rejected",
}

/// How it ended, as PCI DSS 10.2.2 asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was done, or could have been.
    Success,
    /// It was not permitted.
    Denied,
    /// It was permitted and did not come about.
    Failure,
}

impl Outcome {
    /// The stored form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Denied => "denied",
            Self::Failure => "failure",
        }
    }

    /// The outcome with this stored form.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Success, Self::Denied, Self::Failure].into_iter().find(|outcome| outcome.as_str() == text)
    }
}

/// One thing that happened. Ids and HMACs only: no secret, no personal data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// What.
    pub kind: EventKind,
    /// How it ended.
    pub outcome: Outcome,
    /// When.
    pub at: Timestamp,
    /// Who: a caller's identity, `merchant` for a browser, `provider` for its notices, or `system`.
    pub actor: String,
    /// From where: the address of a calling service.
    pub origin: Option<String>,
    /// Within which call.
    pub call: Option<CallId>,
    /// About which merchant.
    pub merchant: Option<MerchantId>,
    /// About which connection.
    pub connection: Option<ConnectionId>,
    /// About which token version of the connection.
    pub version: Option<TokenVersion>,
    /// About which link.
    pub link: Option<LinkId>,
    /// About which invitation.
    pub invitation: Option<InvitationId>,
    /// About which flow.
    pub flow: Option<FlowId>,
    /// About which attempt.
    pub attempt: Option<AttemptId>,
    /// About which other trail.
    pub trail: Option<TrailId>,
    /// Fingerprint of the token (keyed, 16 bytes): answers "was this leaked string ours".
    pub fingerprint: Option<[u8; 16]>,
    /// Which grant allowed it.
    pub grant: Option<String>,
    /// SHA-256 of the policy file it was decided by.
    pub policy: Option<Hash>,
    /// Why, or into what: a stable code.
    pub reason: Option<String>,
    /// More, by name; numbers in decimal.
    pub details: BTreeMap<String, String>,
}

impl Event {
    /// An event with nothing but the three things every event has.
    pub fn new(kind: EventKind, at: Timestamp, actor: impl Into<String>) -> Self {
        Self {
            kind,
            outcome: Outcome::Success,
            at,
            actor: actor.into(),
            origin: None,
            call: None,
            merchant: None,
            connection: None,
            version: None,
            link: None,
            invitation: None,
            flow: None,
            attempt: None,
            trail: None,
            fingerprint: None,
            grant: None,
            policy: None,
            reason: None,
            details: BTreeMap::new(),
        }
    }

    /// The same event with another outcome.
    #[must_use]
    pub fn outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }

    /// The same event about this merchant.
    #[must_use]
    pub fn merchant(mut self, merchant: MerchantId) -> Self {
        self.merchant = Some(merchant);
        self
    }

    /// The same event about this connection.
    #[must_use]
    pub fn connection(mut self, connection: ConnectionId) -> Self {
        self.connection = Some(connection);
        self
    }

    /// The same event about this attempt.
    #[must_use]
    pub fn attempt(mut self, attempt: AttemptId) -> Self {
        self.attempt = Some(attempt);
        self
    }

    /// The same event about this flow.
    #[must_use]
    pub fn flow(mut self, flow: FlowId) -> Self {
        self.flow = Some(flow);
        self
    }

    /// The same event about this invitation.
    #[must_use]
    pub fn invitation(mut self, invitation: InvitationId) -> Self {
        self.invitation = Some(invitation);
        self
    }

    /// The same event about this link.
    #[must_use]
    pub fn link(mut self, link: LinkId) -> Self {
        self.link = Some(link);
        self
    }

    /// The same event about this version of a connection.
    #[must_use]
    pub fn version(mut self, connection: ConnectionId, version: TokenVersion) -> Self {
        self.connection = Some(connection);
        self.version = Some(version);
        self
    }

    /// The same event with a reason.
    #[must_use]
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// The same event with one more detail.
    #[must_use]
    pub fn detail(mut self, name: &str, value: impl ToString) -> Self {
        self.details.insert(name.to_owned(), value.to_string());
        self
    }
}

/// Who acts, from where, within which call and by which grant: what all events of one act have in common.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Act {
    /// A caller's identity, `merchant` for a browser, `provider` for its notices, or `system`.
    pub actor: String,
    /// The peer's address, where there is one.
    pub origin: Option<String>,
    /// The call.
    pub call: Option<CallId>,
    /// The grant that allowed it.
    pub grant: Option<String>,
    /// SHA-256 of the policy file it was decided by.
    pub policy: Option<Hash>,
}

impl Act {
    /// What the service does of its own accord: recovery, housekeeping.
    pub fn system() -> Self {
        Self { actor: "system".to_owned(), origin: None, call: None, grant: None, policy: None }
    }

    /// What a merchant does in a browser. Its address is personal data, so it is no part of any event.
    pub fn browser(call: CallId) -> Self {
        Self { actor: "merchant".to_owned(), origin: None, call: Some(call), grant: None, policy: None }
    }

    /// An event of this act.
    pub fn event(&self, kind: EventKind, at: Timestamp) -> Event {
        Event {
            origin: self.origin.clone(),
            call: self.call,
            grant: self.grant.clone(),
            policy: self.policy,
            ..Event::new(kind, at, self.actor.clone())
        }
    }
}

/// What a record says, before it is encoded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Which trail.
    pub trail: TrailId,
    /// Its place in the trail: 1 for the first, without gaps.
    pub seq: u64,
    /// When it was made.
    pub time: Timestamp,
    /// Hash of the record before it; [`GENESIS`] for the first.
    pub previous: Hash,
    /// What happened, in order.
    pub events: Vec<Event>,
}

/// A record as it is stored, exported and verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SealedRecord {
    /// The encoded [`Record`].
    pub bytes: Vec<u8>,
    /// SHA-256 of the bytes.
    pub hash: Hash,
    /// Signature over [`cbor::signed_message`] of the bytes.
    pub signature: Signature,
}

/// The newest place of a trail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TrailHead {
    /// Which trail.
    pub trail: TrailId,
    /// How many records it has.
    pub seq: u64,
    /// Hash of the newest; [`GENESIS`] while there is none.
    pub hash: Hash,
}

/// A position in the feed: the sequence of a change record and the random tag beside it. Positions with one sequence and
/// different tags come from different histories.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// Sequence in the change trail.
    pub seq: u64,
    /// Random, drawn when the record was made.
    pub tag: [u8; 8],
}
