//! The one error type of the service: a kind that callers act on, a text for the log, and what a caller may know beside it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::domain::name::FieldError;
use crate::store;

/// A result of the service.
pub type Result<T> = std::result::Result<T, Error>;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $reason:literal, $text:literal;)*) => {
        /// What a caller acts on. Each has one reason on the wire and one fixed text.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Kind { $($(#[$doc])* $name,)* }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The machine-readable reason: the name of the `ErrorReason` without its prefix, also in the trail.
            pub const fn reason(self) -> &'static str {
                match self { $(Self::$name => $reason,)* }
            }

            /// The text for people: what is the matter and the way out.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

kinds! {
    /// A field breaks a rule.
    InvalidArgument = "INVALID_ARGUMENT", "the request is not valid";
    /// No valid identity.
    Unauthenticated = "UNAUTHENTICATED", "the connection carries no valid identity";
    /// No grant.
    PermissionDenied = "PERMISSION_DENIED", "no grant allows this";
    /// Not there, or not to be known.
    NotFound = "NOT_FOUND", "there is no such thing, or you may not know of it";
    /// Same id, other content.
    RequestIdReused = "REQUEST_ID_REUSED", "this request_id was used before with other content";
    /// A mint would revoke a live token.
    TokenStillLive = "TOKEN_STILL_LIVE", "a live token exists; authorizing again would revoke it";
    /// Liveness cannot be told.
    LivenessUnknown = "LIVENESS_UNKNOWN", "whether the token lives cannot be told right now; nothing is minted on a guess";
    /// An earlier attempt is open.
    AttemptUnresolved = "ATTEMPT_UNRESOLVED", "an attempt for this merchant is not settled yet";
    /// No active link.
    NotConnected = "NOT_CONNECTED", "the merchant is not connected; use StartAuthorization";
    /// The link waits.
    LinkHeld = "LINK_HELD", "the merchant's link waits for ConfirmConnection or ResolveHeldLink";
    /// Dead.
    TokenDead = "TOKEN_DEAD", "the provider revoked the token; use StartAuthorization";
    /// Expired.
    TokenExpired = "TOKEN_EXPIRED", "the token's life is over; use StartAuthorization";
    /// A scope is missing.
    InsufficientScope = "INSUFFICIENT_SCOPE", "the token lacks a mandatory scope";
    /// `min_version` is not there.
    VersionNotAvailable = "VERSION_NOT_AVAILABLE", "the head is another connection's or older than min_version";
    /// Wrong confirmation value.
    ConfirmationInvalid = "CONFIRMATION_INVALID", "the confirmation does not belong to a waiting link of this merchant";
    /// Not held.
    LinkNotHeld = "LINK_NOT_HELD", "the link is not waiting for a decision";
    /// Not on the allow-list.
    ReturnUrlNotAllowed = "RETURN_URL_NOT_ALLOWED", "return_url is not on the allow-list";
    /// A connection has this e-mail address.
    ConnectionExists = "CONNECTION_EXISTS", "a connection with this e-mail address exists; use LinkMerchant, or StartAuthorization if its token is dead";
    /// The merchant has an active link.
    AlreadyLinked = "ALREADY_LINKED", "the merchant is linked to another connection already";
    /// The name would not be recognised on a statement, or the provider would refuse it.
    NameRefused = "NAME_REFUSED", "the account name breaks the rules for names on card statements";
    /// Whether an account was made is not known.
    AccountUnresolved = "ACCOUNT_UNRESOLVED", "whether the provider made the account is not known yet; repeat with the same request_id";
    /// There is no open account at the provider.
    AccountNotOpen = "ACCOUNT_NOT_OPEN", "the account is not open at the provider";
    /// The provider said no.
    ProviderRefused = "PROVIDER_REFUSED", "the provider refused";
    /// Nothing was sent, or the provider could not answer a question without effect.
    ProviderUnavailable = "PROVIDER_UNAVAILABLE", "the provider cannot be reached right now; nothing was changed";
    /// The provider may have acted.
    ProviderOutcomeUnknown = "PROVIDER_OUTCOME_UNKNOWN", "whether the provider did it is not known; look before asking again";
    /// No slot in the budget.
    ProviderBusy = "PROVIDER_BUSY", "the calls that we may make to the provider are spoken for; come back later";
    /// A lost race.
    Conflict = "CONFLICT", "somebody else changed this at the same time; read again";
    /// Too much at once.
    Overloaded = "OVERLOADED", "too much at once; come back later";
    /// Our own deadline passed.
    DeadlinePassed = "DEADLINE_PASSED", "our own deadline passed; it may have been done: repeat with the same request_id";
    /// The database or the audit takes no writes.
    StoreUnavailable = "STORE_UNAVAILABLE", "the database cannot be used right now; nothing was released or changed";
    /// A MAC or a ciphertext does not fit.
    DataCorrupt = "DATA_CORRUPT", "stored data failed its integrity check and is not used";
    /// A bug.
    Internal = "INTERNAL", "internal error";
}

/// Why the service did not do it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}: {detail}", kind.text())]
pub struct Error {
    kind: Kind,
    /// For the log; never sent.
    detail: String,
    /// What a caller may know beside the kind.
    metadata: BTreeMap<&'static str, String>,
    fields: Vec<FieldError>,
    retry_after: Option<Duration>,
}

impl Error {
    /// An error of this kind.
    pub fn new(kind: Kind) -> Self {
        Self { kind, detail: String::new(), metadata: BTreeMap::new(), fields: Vec::new(), retry_after: None }
    }

    /// A bug: something that must not happen did.
    pub fn internal(detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), ..Self::new(Kind::Internal) }
    }

    /// Fields that break rules.
    pub fn invalid(fields: Vec<FieldError>) -> Self {
        Self { fields, ..Self::new(Kind::InvalidArgument) }
    }

    /// The same error with fields that break rules.
    #[must_use]
    pub fn about_fields(mut self, fields: Vec<FieldError>) -> Self {
        self.fields = fields;
        self
    }

    /// The same error with one more thing that the caller may know.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.metadata.insert(name, value.to_string());
        self
    }

    /// The same error with a text for the log.
    #[must_use]
    pub fn because(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// The same error with a time to come back.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// What a caller acts on.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// For the log.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// What a caller may know beside the kind.
    pub fn metadata(&self) -> &BTreeMap<&'static str, String> {
        &self.metadata
    }

    /// Fields that break rules.
    pub fn fields(&self) -> &[FieldError] {
        &self.fields
    }

    /// When to come back.
    pub fn retry_delay(&self) -> Option<Duration> {
        self.retry_after
    }
}

/// How long a caller waits before it tries a busy or absent database again.
const STORE_RETRY: Duration = Duration::from_secs(1);

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        let detail = error.to_string();
        match error {
            store::Error::Conflict(_) => Self::new(Kind::Conflict).because(detail),
            store::Error::Corrupt(_) => Self::new(Kind::DataCorrupt).because(detail),
            store::Error::CommitUnknown { .. } => {
                Self::new(Kind::DeadlinePassed).because(detail).retry_after(STORE_RETRY)
            }
            _ => Self::new(Kind::StoreUnavailable).because(detail).retry_after(STORE_RETRY),
        }
    }
}

impl From<FieldError> for Error {
    fn from(error: FieldError) -> Self {
        Self::invalid(vec![error])
    }
}
