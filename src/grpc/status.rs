//! The one table from `service::Error` to the wire: code, reason, fixed text. Details of the inside go to the log, once.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use tracing::{error, info};

use crate::domain::id::CallId;
use crate::service::{Error, Kind};

/// The domain of every reason.
const DOMAIN: &str = "strongroom";

/// Which status code goes with which kind. The reason and the text are the kind's own.
pub(super) const fn code_of(kind: Kind) -> Code {
    match kind {
        Kind::InvalidArgument | Kind::ReturnUrlNotAllowed | Kind::NameRefused => Code::InvalidArgument,
        Kind::Unauthenticated => Code::Unauthenticated,
        Kind::PermissionDenied => Code::PermissionDenied,
        Kind::NotFound => Code::NotFound,
        Kind::RequestIdReused => Code::AlreadyExists,
        Kind::TokenStillLive
        | Kind::LivenessUnknown
        | Kind::AttemptUnresolved
        | Kind::NotConnected
        | Kind::LinkHeld
        | Kind::TokenDead
        | Kind::TokenExpired
        | Kind::InsufficientScope
        | Kind::VersionNotAvailable
        | Kind::ConfirmationInvalid
        | Kind::LinkNotHeld
        | Kind::ConnectionExists
        | Kind::AlreadyLinked
        | Kind::AccountUnresolved
        | Kind::AccountNotOpen
        | Kind::ProviderRefused => Code::FailedPrecondition,
        Kind::Conflict => Code::Aborted,
        Kind::Overloaded | Kind::ProviderBusy => Code::ResourceExhausted,
        Kind::DeadlinePassed | Kind::ProviderOutcomeUnknown => Code::DeadlineExceeded,
        Kind::StoreUnavailable | Kind::ProviderUnavailable => Code::Unavailable,
        Kind::DataCorrupt => Code::DataLoss,
        Kind::Internal => Code::Internal,
    }
}

/// The status of an error. What is ours alone is logged here and not sent.
pub(super) fn of(error: &Error, call: CallId) -> Status {
    let kind = error.kind();
    match code_of(kind) {
        Code::Internal | Code::DataLoss | Code::Unavailable | Code::DeadlineExceeded => {
            error!(call.id = %call, reason = kind.reason(), "call failed: {error}");
        }
        _ => info!(call.id = %call, reason = kind.reason(), "call refused"),
    }
    let mut metadata: HashMap<String, String> =
        error.metadata().iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    metadata.insert("call_id".to_owned(), call.to_string());
    let mut details = ErrorDetails::with_error_info(kind.reason(), DOMAIN, metadata);
    for field in error.fields() {
        details.add_bad_request_violation(&field.field, &field.rule);
    }
    if let Some(after) = error.retry_delay() {
        details.set_retry_info(Some(after));
    }
    Status::with_error_details(code_of(kind), kind.text(), details)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ambient::{SystemClock, SystemEntropy};
    use crate::v1::ErrorReason;

    /// Held against `tests/golden/error_table.txt`: which code goes with which reason never changes.
    #[test]
    fn the_table_of_codes_and_reasons_is_golden() {
        let table: String =
            Kind::ALL.iter().map(|kind| format!("{} {:?}: {}\n", kind.reason(), code_of(*kind), kind.text())).collect();
        assert_eq!(table, include_str!("../../tests/golden/error_table.txt"), "\n{table}");
    }

    #[test]
    fn every_reason_of_the_proto_is_a_kind_and_the_other_way_round() {
        for kind in Kind::ALL {
            let name = format!("ERROR_REASON_{}", kind.reason());
            assert!(ErrorReason::from_str_name(&name).is_some(), "{name}");
        }
        let reasons = (1..).map_while(|number| ErrorReason::try_from(number).ok()).count();
        assert_eq!(reasons, Kind::ALL.len());
    }

    #[test]
    fn what_is_ours_alone_is_not_sent() {
        let call = CallId::generate(&SystemClock, &SystemEntropy);
        let status = of(&Error::internal("canary detail"), call);
        assert!(!format!("{status:?}").contains("canary"));
        let info = status.get_details_error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("INTERNAL", "strongroom"));
        assert_eq!(info.metadata.get("call_id"), Some(&call.to_string()));
    }
}
