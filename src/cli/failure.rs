//! Why a command did not come about: local faults and decoded refusals, each with its exit code.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::text::{pairs, plain};
use crate::domain::trail::view;

/// The reason of a request that is to be repeated until it is settled.
pub(crate) const ACCOUNT_UNRESOLVED: &str = "ACCOUNT_UNRESOLVED";
/// Reason of a call whose outcome may be told by the same call later: it is not known yet what became of a registration.
const ATTEMPT_UNRESOLVED: &str = "ATTEMPT_UNRESOLVED";

/// Why not. Never carries a token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line, or what it names, is wrong.
    #[error("{0}")]
    Usage(String),
    /// A local file cannot be used.
    #[error("{path}: {fault}", path = path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why not.
        fault: io::Error,
    },
    /// The server cannot be reached.
    #[error("cannot reach {address}: {fault}")]
    Connect {
        /// Where it should be.
        address: String,
        /// Why not.
        fault: String,
    },
    /// The server refused, or the call broke.
    #[error("{}", status.message())]
    Status {
        /// Its answer.
        status: Box<Status>,
        /// The request id of a call that changes something: repeating it is safe with the same one.
        request_id: Option<String>,
    },
    /// The server's answer lacks what the API promises.
    #[error("answer of the server lacks {0}")]
    Answer(&'static str),
    /// Standard output failed.
    #[error("cannot write the answer: {0}")]
    Output(io::Error),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Status { status: Box::new(status), request_id: None }
    }
}

impl Failure {
    /// A fault of a local file.
    pub(crate) fn file(path: impl Into<PathBuf>, fault: io::Error) -> Self {
        Self::File { path: path.into(), fault }
    }

    /// A failed call that changes something.
    pub(crate) fn mutating(status: Status, request_id: &str) -> Self {
        Self::Status { status: Box::new(status), request_id: Some(request_id.to_owned()) }
    }

    /// See [`super::EXIT_CODES`].
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::File { .. } => 2,
            Self::Connect { .. } => 6,
            Self::Status { status, .. } => class(status.code()),
            Self::Answer(_) | Self::Output(_) => 1,
        }
    }

    /// As it is printed, for programs or for people.
    pub(crate) fn print(&self, json: bool) -> String {
        match (self, json) {
            (Self::Status { status, request_id }, true) => {
                view::to_line(&json!({ "error": status_to_json(status, request_id.as_deref()) }))
            }
            (_, true) => view::to_line(&json!({ "error": { "message": self.to_string() } })),
            (Self::Status { status, request_id }, false) => status_to_text(status, request_id.as_deref()),
            (_, false) => format!("error: {}", plain(&self.to_string())),
        }
    }
}

/// An error and everything behind it, the parts apart from each other.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

const fn class(code: Code) -> u8 {
    match code {
        Code::InvalidArgument => 2,
        Code::PermissionDenied | Code::Unauthenticated => 3,
        Code::NotFound => 4,
        Code::FailedPrecondition => 5,
        Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded => 6,
        _ => 1,
    }
}

fn status_to_json(status: &Status, request_id: Option<&str>) -> Value {
    let details = status.get_error_details();
    let metadata: serde_json::Map<_, _> =
        metadata(&details).into_iter().map(|(name, value)| (name, Value::String(value))).collect();
    let violations: Vec<_> = violations(&details)
        .into_iter()
        .map(|(field, description)| json!({ "field": field, "description": description }))
        .collect();
    json!({
        "code": code_name(status.code()),
        "reason": details.error_info().map(|info| info.reason.as_str()),
        "message": status.message(),
        "metadata": metadata,
        "retry_after_s": retry_seconds(&details),
        "field_violations": violations,
        "cause": status.source().map(chain),
        "request_id": request_id,
    })
}

fn status_to_text(status: &Status, request_id: Option<&str>) -> String {
    let details = status.get_error_details();
    let message = if status.message().is_empty() { "the call failed" } else { status.message() };
    let mut rows = vec![("code".to_owned(), code_name(status.code()))];
    if let Some(info) = details.error_info() {
        rows.push(("reason".to_owned(), info.reason.clone()));
    }
    rows.extend(metadata(&details));
    rows.extend(violations(&details).into_iter().map(|(field, said)| (format!("field {field}"), said)));
    if let Some(seconds) = retry_seconds(&details) {
        rows.push(("retry after".to_owned(), format!("{seconds} s")));
    }
    if let Some(cause) = status.source() {
        rows.push(("cause".to_owned(), chain(cause)));
    }
    let is_unresolved = |reason: &str| [ACCOUNT_UNRESOLVED, ATTEMPT_UNRESOLVED].contains(&reason);
    let is_open = details.error_info().is_some_and(|info| is_unresolved(&info.reason))
        || class(status.code()) == 6
        || status.code() == Code::Unknown;
    if let Some(id) = request_id.filter(|_| is_open) {
        rows.push(("repeat with".to_owned(), format!("--request-id {id}")));
    }
    format!("error: {}\n{}", plain(message), pairs("  ", &rows).trim_end_matches('\n'))
}

/// What the reason comes with, sorted: the evidence.
fn metadata(details: &ErrorDetails) -> Vec<(String, String)> {
    let metadata = details.error_info().map(|info| info.metadata.clone()).unwrap_or_default();
    let mut metadata: Vec<_> = metadata.into_iter().collect();
    metadata.sort();
    metadata
}

fn violations(details: &ErrorDetails) -> Vec<(String, String)> {
    let violations = details.bad_request().map(|request| request.field_violations.as_slice()).unwrap_or_default();
    violations.iter().map(|violation| (violation.field.clone(), violation.description.clone())).collect()
}

/// Rounded up: whoever waits that long does not come too early.
fn retry_seconds(details: &ErrorDetails) -> Option<u64> {
    let delay = details.retry_info()?.retry_delay?;
    Some(delay.as_secs().saturating_add(u64::from(delay.subsec_nanos() > 0)))
}

/// `FAILED_PRECONDITION`, as the specification of gRPC writes it.
fn code_name(code: Code) -> String {
    let mut name = String::new();
    for c in format!("{code:?}").chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(c.to_ascii_uppercase());
    }
    name
}
