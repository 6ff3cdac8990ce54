//! The call log: one entry for each call, however it ended.
//!
//! Handing an entry over never waits: between the answer to a mint and its commit nothing may stand. An entry that finds no
//! room is counted, not kept. Nothing of the provider's own words gets in but its error number and a class that we know.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::warn;

use crate::domain::ambient::Clock;
use crate::domain::provider_call::{About, CallOutcome, ProviderCall};

use super::{CallError, UnknownReason};

/// The error classes that are on record (`docs/provider.md` §6), and those of RFC 6749 §5.2.
const CLASSES: [&str; 10] = [
    "invalid_request",
    "invalid_parameter",
    "invalid_scope",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "access_denied",
    "processing_error",
    "throttle_exceeded",
];
const OTHER_CLASS: &str = "an error class that is not on record";
/// Longest error number that is kept: the longest on record has five digits; times and card numbers have more.
const CODE_DIGITS_MAX: usize = 6;
const OTHER_CODE: &str = "[not an error number]";
/// What an entry says whose call was dropped by us before it ended.
const ABANDONED: &str = "given up by us";

/// Where the entries go.
pub(super) struct CallLog {
    clock: Arc<dyn Clock>,
    calls: mpsc::Sender<ProviderCall>,
    dropped: AtomicU64,
}

impl CallLog {
    pub(super) fn new(clock: Arc<dyn Clock>, calls: mpsc::Sender<ProviderCall>) -> Self {
        Self { clock, calls, dropped: AtomicU64::new(0) }
    }

    /// Opens the entry of a call that is about to begin; `request` is redacted already.
    pub(super) fn begin(self: &Arc<Self>, call: &'static str, about: About, request: String) -> Entry {
        let at = self.clock.now();
        let call = ProviderCall {
            at,
            call,
            about,
            request,
            outcome: CallOutcome::Unknown,
            status: None,
            code: None,
            detail: ABANDONED.to_owned(),
            duration: Duration::ZERO,
        };
        Entry { log: Arc::clone(self), began: self.clock.boot(), call: Some(call) }
    }

    /// How many entries found no room.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn hand_over(&self, call: ProviderCall) {
        let name = call.call;
        if self.calls.try_send(call).is_ok() {
            return;
        }
        let dropped = self.dropped.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        // At 1, 2, 4, 8 …: a flood of these would hide what it is about.
        if dropped.is_power_of_two() {
            warn!(dropped, "the call log has no room: {dropped} calls are missing from it, {name} the newest");
        }
    }
}

/// The entry of a call under way. Dropped before its end, as when the caller is cancelled, it says so.
pub(super) struct Entry {
    log: Arc<CallLog>,
    began: Duration,
    call: Option<ProviderCall>,
}

impl Entry {
    /// Closes the entry with what came of the call.
    pub(super) fn end<T>(mut self, result: &Result<T, CallError>) {
        if let Some(call) = &mut self.call {
            describe(call, result.as_ref().err());
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(mut call) = self.call.take() {
            call.duration = self.log.clock.boot().saturating_sub(self.began);
            self.log.hand_over(call);
        }
    }
}

fn describe(call: &mut ProviderCall, failed: Option<&CallError>) {
    let (outcome, status, detail) = match failed {
        None => (CallOutcome::Done, Some(200), String::new()),
        Some(CallError::NotSent(reason)) => (CallOutcome::NotSent, None, reason.to_string()),
        Some(CallError::Refused(refusal)) => {
            call.code = refusal.code.as_deref().map(code);
            let class = CLASSES.into_iter().find(|class| *class == refusal.error).unwrap_or(OTHER_CLASS);
            (CallOutcome::Refused, Some(refusal.status), class.to_owned())
        }
        Some(CallError::OutcomeUnknown(unknown)) => {
            let status = match unknown.reason {
                UnknownReason::ServerError { status } | UnknownReason::Malformed { status } => Some(status),
                _ => None,
            };
            (CallOutcome::Unknown, status, unknown.reason.to_string())
        }
    };
    (call.outcome, call.status, call.detail) = (outcome, status, detail);
}

fn code(text: &str) -> String {
    let number = text.len() <= CODE_DIGITS_MAX && text.bytes().all(|b| b.is_ascii_digit());
    if number { text } else { OTHER_CODE }.to_owned()
}
