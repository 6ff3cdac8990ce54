//! One call to the provider, as the call log keeps it: for people who ask what was sent when, and what came back.

use std::time::Duration;

use super::ambient::Timestamp;
use super::id::{AttemptId, ConnectionId, MerchantId};

/// What a call is about: all of it may be unknown.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct About {
    /// The attempt it carries out.
    pub attempt: Option<AttemptId>,
    /// The merchant.
    pub merchant: Option<MerchantId>,
    /// The connection whose token it carries.
    pub connection: Option<ConnectionId>,
}

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallOutcome {
    /// The provider did it.
    Done,
    /// Provably not one byte was written.
    NotSent,
    /// The provider said no.
    Refused,
    /// No clear answer.
    Unknown,
}

impl CallOutcome {
    /// Every outcome.
    pub const ALL: [Self; 4] = [Self::Done, Self::NotSent, Self::Refused, Self::Unknown];

    /// The stored form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::NotSent => "not_sent",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }

    /// The outcome with this stored form.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == text)
    }
}

/// One call. Neither secrets nor personal data: the request is redacted before it comes here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProviderCall {
    /// When it began.
    pub at: Timestamp,
    /// The provider's name of it, such as `/user/register`.
    pub call: &'static str,
    /// What it was about.
    pub about: About,
    /// Its parameters as JSON; every value that is not known to be harmless is replaced by `"[redacted]"`.
    pub request: String,
    /// How it ended.
    pub outcome: CallOutcome,
    /// HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// The provider's error code, if it gave one.
    pub code: Option<String>,
    /// The provider's error class or what happened instead of an answer; empty when it was done.
    pub detail: String,
    /// From its beginning to its end.
    pub duration: Duration,
}
