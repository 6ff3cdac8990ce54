//! What a script may say of a fault.

use serde::{Deserialize, Serialize};

use crate::sandbox::{api, pages};

/// Longest scripted delay: ten minutes, longer than any deadline a client has.
pub(super) const DELAY_MS_MAX: u64 = 600_000;

/// Longest pause between two bytes of a dripping answer: a second is slower than any line, and most clients' deadlines are on the
/// whole answer.
const DRIP_MS_MAX: u64 = 1_000;

/// A fault as the control API takes it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::sandbox) struct Plan {
    /// Path of the call or page, with or without `/v2`; `*` means every one.
    pub(in crate::sandbox) path: String,
    /// What goes wrong.
    pub(in crate::sandbox) kind: Kind,
    /// Only calls with a token of this user; without, any call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::sandbox) user_id: Option<u64>,
    /// Only calls with a token of this app, or that name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::sandbox) client_id: Option<u64>,
    /// How many calls it hits.
    #[serde(default = "once")]
    pub(in crate::sandbox) times: u64,
    /// How many matching calls pass before.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(in crate::sandbox) skip: u64,
    /// How many of a hundred matching calls it hits, 1 to 100; without, every one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::sandbox) probability_percent: Option<u8>,
    /// Which ones those are: the same seed and the same calls, the same hits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::sandbox) seed: Option<u64>,
    /// For the delays: real milliseconds; for `drip`: those before each byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::sandbox) delay_ms: Option<u64>,
    /// For the statuses: HTTP status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::sandbox) status: Option<u16>,
    /// For the statuses: with a code the answer is an error body, without one an HTML page as a proxy sends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::sandbox) error_code: Option<u32>,
    /// For the statuses: text of the error body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::sandbox) error_description: Option<String>,
}

const fn once() -> u64 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::sandbox) enum Kind {
    /// The connection drops; nothing happened.
    LoseBefore,
    /// The change happens, then the connection drops.
    LoseAfter,
    /// Waits, then processes.
    DelayBefore,
    /// Processes, then waits before the answer.
    DelayAfter,
    /// Answers this status; nothing happened.
    Status,
    /// The change happens, then this status is answered.
    StatusAfter,
    /// Answers as the throttle does; nothing happened.
    Throttle,
    /// The change happens, then half of the answer's text is sent as if it were all.
    Malformed,
    /// The change happens, then the connection drops in the middle of the answer, whose header promised all of it.
    Cut,
    /// The change happens, then the answer comes byte by byte.
    Drip,
    /// The change happens, then the answer's status comes without a body.
    Empty,
    /// The change happens, then the answer comes under a media type that it is not.
    WrongMedia,
    /// The token used is revoked before the call is looked at.
    RevokeBefore,
    /// The token used or issued is revoked right after.
    RevokeAfter,
}

impl Plan {
    /// What is wrong with a self.
    pub(super) fn check(&self) -> Result<(), String> {
        let kind = self.kind;
        if self.path != "*" && !pages::is_page(&self.path) && !api::is_known(&self.path) {
            return Err(format!("there is no call or page {}", self.path));
        }
        if kind == Kind::Throttle && pages::is_page(&self.path) {
            return Err("pages are never throttled".to_owned());
        }
        if self.times == 0 {
            return Err("times must be at least 1".to_owned());
        }
        if self.probability_percent.is_some_and(|percent| !(1..=100).contains(&percent)) {
            return Err("probability_percent must be between 1 and 100".to_owned());
        }
        if self.seed.is_some() && self.probability_percent.is_none() {
            return Err("seed has no meaning without probability_percent".to_owned());
        }
        let longest = match kind {
            Kind::DelayBefore | Kind::DelayAfter => Some(DELAY_MS_MAX),
            Kind::Drip => Some(DRIP_MS_MAX),
            _ => None,
        };
        match (longest, self.delay_ms) {
            (None, Some(_)) => return Err("delay_ms has no meaning for this kind".to_owned()),
            (Some(_), None) => return Err("delay_ms is required for this kind".to_owned()),
            (Some(longest), Some(ms)) if ms > longest => {
                return Err(format!("delay_ms must be at most {longest} for this kind"));
            }
            _ => {}
        }
        let is_status = matches!(kind, Kind::Status | Kind::StatusAfter);
        match self.status {
            None if is_status => return Err("status is required for this kind".to_owned()),
            Some(status) if is_status && !(200..=599).contains(&status) => {
                return Err("status must be between 200 and 599".to_owned());
            }
            _ => {}
        }
        if !is_status && (self.status.is_some() || self.error_code.is_some() || self.error_description.is_some()) {
            return Err("status, error_code and error_description have no meaning for this kind".to_owned());
        }
        Ok(())
    }
}
