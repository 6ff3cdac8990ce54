//! What is kept of a notice and of each time it was sent.

use serde::{Deserialize, Serialize};

/// What a notice is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::sandbox) enum Kind {
    /// A user.
    User,
    /// A payment account.
    Account,
}

impl Kind {
    /// The name of the id in a notice's body (WePay FAQ).
    pub(super) const fn parameter(self) -> &'static str {
        match self {
            Self::User => "user_id",
            Self::Account => "account_id",
        }
    }
}

/// How it stands with a notice.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "standing", rename_all = "snake_case")]
pub(in crate::sandbox) enum Standing {
    /// To be sent for the first time, or again after `retry` tries that failed.
    Waiting {
        retry: u32,
        /// When, in microseconds since 1970.
        due_us: i64,
        /// Until the control API releases it.
        is_held: bool,
    },
    /// The receiver answered 200.
    Delivered,
    /// The last retry failed.
    GivenUp,
    /// It is never sent.
    NotSent { reason: String },
}

/// Why a notice is being sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::sandbox) enum Source {
    /// It is due.
    Schedule,
    /// It was held and released, and its turn has come.
    Release,
    /// The control API asked for it.
    Request,
}

/// What went wrong with a try that got no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::sandbox) enum TryError {
    /// Nobody listens there.
    Refused,
    /// No TLS connection, or a certificate from nobody we know.
    Tls,
    /// No answer in time.
    Timeout,
    /// The connection ended early, or what came was no HTTP.
    Broken,
}

/// One request to the receiver.
#[derive(Clone, Serialize, Deserialize)]
pub(in crate::sandbox) struct Try {
    /// When it ended, in microseconds since 1970.
    pub(in crate::sandbox) at_us: i64,
    /// Why it was made.
    pub(in crate::sandbox) source: Source,
    /// HTTP status of the answer; none without one.
    pub(in crate::sandbox) status: Option<u16>,
    /// Why there was none.
    pub(in crate::sandbox) error: Option<TryError>,
}

/// A notice.
#[derive(Clone, Serialize, Deserialize)]
pub(in crate::sandbox) struct Notice {
    /// 1, 2, 3 …
    pub(in crate::sandbox) notice_id: u64,
    /// The app it goes to.
    pub(in crate::sandbox) client_id: u64,
    /// What it is about.
    pub(in crate::sandbox) kind: Kind,
    /// Which one.
    pub(in crate::sandbox) object_id: u64,
    /// Where it goes, byte for byte as the app gave it.
    pub(in crate::sandbox) uri: String,
    /// What is sent.
    pub(in crate::sandbox) body: String,
    /// When it was caused, in microseconds since 1970.
    pub(in crate::sandbox) queued_at_us: i64,
    /// How it stands.
    pub(in crate::sandbox) standing: Standing,
    /// How often it was sent so far.
    pub(in crate::sandbox) tries: Vec<Try>,
}
