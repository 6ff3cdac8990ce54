//! How a call fails, and how certain it is that the far side did not act.

use std::fmt;

use zeroize::Zeroizing;

use crate::domain::secret::Secret;

use super::catalogue::{self, CallKind, Signal, signal};
use super::http::{Answer, Failure};
use super::wire;

/// How a call failed, and whether the far side may have acted.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Provably not one byte of the request was written.
    #[error("provider not called: {0}")]
    NotSent(NotSentReason),
    /// The provider answered with a well-formed error.
    #[error("provider refused: {0}")]
    Refused(Refusal),
    /// The request may have taken effect; no clear answer came back.
    #[error("outcome unknown: {0}")]
    OutcomeUnknown(Unknown),
}

impl CallError {
    /// What this failure says about the token that was sent with the call. A failure without a clear answer says
    /// nothing, apart from a bare HTTP 401.
    pub fn signal(&self, call: CallKind) -> Signal {
        match self {
            Self::NotSent(_) => Signal::Transient,
            Self::Refused(refusal) => signal(call, refusal),
            Self::OutcomeUnknown(unknown) => catalogue::unknown_signal(call, unknown.reason),
        }
    }
}

/// Why nothing was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotSentReason {
    /// The host name has no address.
    #[error("host name not resolved")]
    NameResolution,
    /// No connection: refused, unreachable, too slow, or the TLS handshake failed.
    #[error("no connection")]
    Connect,
    /// The request could not be built from its parts.
    #[error("request cannot be built")]
    Request,
}

/// A well-formed refusal. Text from outside is bounded, its control characters are replaced, and what looks like a
/// secret is removed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// The error's class, such as `access_denied`.
    pub error: String,
    /// The error's number as text; the list is open-ended and some refusals have none.
    pub code: Option<String>,
    /// For people; at most [`DESCRIPTION_CHARS_MAX`] characters.
    pub description: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code.as_deref().unwrap_or("none");
        write!(f, "{} (code {code}, HTTP {})", self.error, self.status)
    }
}

/// Longest description we keep of a refusal: recorded ones are under 150 characters.
pub const DESCRIPTION_CHARS_MAX: usize = 300;

/// A call without a clear answer.
#[derive(Debug)]
pub struct Unknown {
    /// What happened instead.
    pub reason: UnknownReason,
    /// Of a call that mints only: the bytes that came back, at most [`ANSWER_BYTES_MAX`], whole or cut short.
    pub salvage: Option<Secret<Vec<u8>>>,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

/// What happened instead of a clear answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UnknownReason {
    /// Our deadline passed.
    #[error("no answer in time")]
    Timeout,
    /// The connection ended before the answer did.
    #[error("connection lost")]
    ConnectionLost,
    /// What came back is not HTTP.
    #[error("answer is not HTTP")]
    Protocol,
    /// HTTP 5xx without a well-formed error in it.
    #[error("server error (HTTP {status})")]
    ServerError {
        /// HTTP status.
        status: u16,
    },
    /// Neither a valid answer nor a well-formed error.
    #[error("malformed answer (HTTP {status})")]
    Malformed {
        /// HTTP status.
        status: u16,
    },
    /// The answer is longer than [`ANSWER_BYTES_MAX`], or a list than [`LIST_BYTES_MAX`](super::LIST_BYTES_MAX).
    #[error("answer too large")]
    TooLarge,
}

/// Largest answer body we read: recorded ones are under 4 KiB, the rest is headroom.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Whether an answer's bytes outlive the call.
#[derive(Clone, Copy)]
pub(super) enum Keep {
    Body,
    Nothing,
}

/// Judges an answer that is not the one hoped for. `sent` are the secrets of the request, which an echo must not carry
/// into a description.
pub(super) fn judge(answer: &mut Answer, sent: &[&str], keep: Keep) -> CallError {
    if let Some(refusal) = wire::refusal(answer, sent) {
        return CallError::Refused(refusal);
    }
    let status = answer.status;
    let reason = match status {
        500..=599 => UnknownReason::ServerError { status },
        _ => UnknownReason::Malformed { status },
    };
    unknown(reason, &mut answer.body, keep)
}

pub(super) fn failed(failure: Failure, keep: Keep) -> CallError {
    match failure {
        Failure::NotSent(reason) => CallError::NotSent(reason),
        Failure::Unknown { reason, mut received } => unknown(reason, &mut received, keep),
    }
}

fn unknown(reason: UnknownReason, body: &mut Zeroizing<Vec<u8>>, keep: Keep) -> CallError {
    let salvage = match keep {
        Keep::Body if !body.is_empty() => Some(Secret::new(std::mem::take(&mut **body))),
        Keep::Body | Keep::Nothing => None,
    };
    CallError::OutcomeUnknown(Unknown { reason, salvage })
}
