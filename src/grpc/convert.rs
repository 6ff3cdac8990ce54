//! Conversions that several handlers share.

use std::str::FromStr;

use crate::domain::ambient::Timestamp;
use crate::domain::attempt::AttemptState;
use crate::domain::id::{BadId, ConnectionId, MerchantId, TokenVersion};
use crate::domain::merchant::LinkState;
use crate::domain::name::{ExternalId, FieldError};
use crate::domain::token::{Finding, IssuedKind, Liveness, Version};
use crate::service::MerchantKey;
use crate::service::{Error, LinkView, MerchantView, NextAction};
use crate::v1;

/// Page size when the caller names none…
const PAGE_SIZE_DEFAULT: usize = 50;
/// …and at most.
const PAGE_SIZE_MAX: usize = 100;

pub(super) fn id<T: FromStr<Err = BadId>>(field: &str, text: &str) -> Result<T, Error> {
    text.parse().map_err(|bad: BadId| FieldError::new(field, bad.to_string()).into())
}

/// `merchant_id` or `external_id`, exactly one.
pub(super) fn merchant_key(merchant_id: Option<&str>, external_id: Option<&str>) -> Result<MerchantKey, Error> {
    match (merchant_id, external_id) {
        (Some(text), None) => Ok(MerchantKey::Id(id::<MerchantId>("merchant_id", text)?)),
        (None, Some(text)) => Ok(MerchantKey::External(ExternalId::parse(text)?)),
        _ => Err(FieldError::new("merchant", "name it by merchant_id or external_id").into()),
    }
}

/// The merchant that a request names, whichever of the generated enums it does so with.
macro_rules! named {
    ($merchant:ident, $named:expr) => {
        match $named {
            Some($merchant::MerchantId(id)) => $crate::grpc::convert::merchant_key(Some(id), None),
            Some($merchant::ExternalId(id)) => $crate::grpc::convert::merchant_key(None, Some(id)),
            None => $crate::grpc::convert::merchant_key(None, None),
        }
    };
}
pub(super) use named;

pub(super) fn version_ref(field: &str, wanted: &v1::TokenVersionRef) -> Result<(ConnectionId, TokenVersion), Error> {
    if wanted.version == 0 {
        return Err(FieldError::new(format!("{field}.version"), "must be 1 or more").into());
    }
    Ok((id(&format!("{field}.connection_id"), &wanted.connection_id)?, TokenVersion(wanted.version)))
}

pub(super) fn page_size(wanted: i32) -> Result<usize, Error> {
    match usize::try_from(wanted) {
        Ok(0) => Ok(PAGE_SIZE_DEFAULT),
        Ok(size) => Ok(size.min(PAGE_SIZE_MAX)),
        Err(_) => Err(FieldError::new("page_size", "must not be negative").into()),
    }
}

pub(super) fn time(at: Timestamp) -> prost_types::Timestamp {
    let micros = at.as_micros();
    let nanos = micros.rem_euclid(1_000_000).saturating_mul(1_000);
    prost_types::Timestamp { seconds: at.as_unix_seconds(), nanos: i32::try_from(nanos).unwrap_or(0) }
}

/// Latest second of a protobuf timestamp: the end of the year 9999…
const SECONDS_MAX: i64 = 253_402_300_799;
/// …and the earliest: the beginning of the year 1.
const SECONDS_MIN: i64 = -62_135_596_800;

/// The time that a request gives; what is finer than a microsecond is cut off.
pub(super) fn instant(field: &str, at: &prost_types::Timestamp) -> Result<Timestamp, FieldError> {
    if !(SECONDS_MIN..=SECONDS_MAX).contains(&at.seconds) || !(0..1_000_000_000).contains(&at.nanos) {
        return Err(FieldError::new(field, "must be a time of the years 1 to 9999"));
    }
    let micros = at.seconds.saturating_mul(1_000_000).saturating_add(i64::from(at.nanos / 1_000));
    Ok(Timestamp::from_micros(micros))
}

/// A field that may be empty, then `None`.
pub(super) fn optional<T>(text: &str, parse: impl FnOnce(&str) -> Result<T, Error>) -> Result<Option<T>, Error> {
    if text.is_empty() { Ok(None) } else { parse(text).map(Some) }
}

/// Text of what may be absent, then empty.
pub(super) fn text(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

pub(super) fn bad_page_token() -> FieldError {
    FieldError::new("page_token", "must be the next_page_token of the page before")
}

pub(super) fn reference(version: &Version) -> v1::TokenVersionRef {
    v1::TokenVersionRef { connection_id: version.connection.to_string(), version: version.number.0 }
}

pub(super) const fn liveness(liveness: Liveness) -> v1::Liveness {
    match liveness {
        Liveness::Live => v1::Liveness::Live,
        Liveness::Suspect => v1::Liveness::Suspect,
        Liveness::Dead => v1::Liveness::Dead,
        Liveness::Expired => v1::Liveness::Expired,
        Liveness::InsufficientScope => v1::Liveness::InsufficientScope,
    }
}

pub(super) const fn finding(finding: Option<Finding>) -> v1::ProbeFinding {
    match finding {
        None => v1::ProbeFinding::Unspecified,
        Some(Finding::Alive) => v1::ProbeFinding::Alive,
        Some(Finding::Dead) => v1::ProbeFinding::Dead,
        Some(Finding::InsufficientScope) => v1::ProbeFinding::InsufficientScope,
        Some(Finding::Unknown) => v1::ProbeFinding::Unknown,
    }
}

pub(super) fn version(version: &Version, head: bool) -> v1::TokenVersion {
    v1::TokenVersion {
        r#ref: Some(reference(version)),
        head,
        issued_kind: match version.issued_kind {
            IssuedKind::Temporary => v1::IssuedKind::Temporary,
            IssuedKind::Permanent => v1::IssuedKind::Permanent,
        }
        .into(),
        cause: version.cause.clone(),
        attempt_id: version.attempt.to_string(),
        store_time: Some(time(version.stored_at)),
        expire_time: version.expires_at.map(time),
        liveness: liveness(version.liveness).into(),
        evidence_time: Some(time(version.evidence_at)),
        evidence: version.evidence.clone(),
        fingerprint: version.fingerprint.iter().map(|byte| format!("{byte:02x}")).collect(),
        permanent: version.permanent,
        candidate: version.candidate,
    }
}

pub(super) fn link(view: &LinkView) -> v1::Link {
    v1::Link {
        link_id: view.link.id.to_string(),
        merchant_id: view.link.merchant.to_string(),
        connection_id: view.link.connection.to_string(),
        subject: view.subject.to_string(),
        state: match view.link.state {
            LinkState::Active => v1::LinkState::Active,
            LinkState::Held => v1::LinkState::Held,
            LinkState::Closed => v1::LinkState::Closed,
        }
        .into(),
        create_time: Some(time(view.link.created_at)),
        head: view.head.as_ref().map(|head| version(head, true)),
        shared: view.shared,
        temporary: view.temporary.map(|temporary| v1::TemporaryToken {
            expire_time: temporary.ends_at.map(time),
            payments_block_earliest_time: temporary.payments_blocked_from.map(time),
            deletion_earliest_time: temporary.deleted_from.map(time),
        }),
    }
}

pub(super) fn merchant(view: &MerchantView) -> v1::Merchant {
    v1::Merchant {
        merchant_id: view.merchant.id.to_string(),
        external_id: view.merchant.external_id.to_string(),
        labels: view.merchant.labels.iter().map(ToString::to_string).collect(),
        create_time: Some(time(view.merchant.created_at)),
        links: view.links.iter().map(link).collect(),
        open_attempt: view.open_attempt.as_ref().map(|attempt| v1::OpenAttempt {
            attempt_id: attempt.id.to_string(),
            state: attempt_state(attempt.state).into(),
            since_time: Some(time(attempt.changed_at)),
            judge_time: attempt.judge_at.map(time),
        }),
        next_action: next_action(view.next_action).into(),
        next_action_text: view.next_action.text().to_owned(),
    }
}

pub(super) const fn attempt_state(state: AttemptState) -> v1::AttemptState {
    match state {
        AttemptState::Received => v1::AttemptState::Received,
        AttemptState::Armed => v1::AttemptState::Armed,
        AttemptState::Committed => v1::AttemptState::Committed,
        AttemptState::Refused => v1::AttemptState::Refused,
        AttemptState::NotSent => v1::AttemptState::NotSent,
        AttemptState::Rejected => v1::AttemptState::Rejected,
        AttemptState::InDoubt => v1::AttemptState::InDoubt,
        AttemptState::Lost => v1::AttemptState::Lost,
        AttemptState::NotApplied => v1::AttemptState::NotApplied,
        AttemptState::Late => v1::AttemptState::Late,
    }
}

const fn next_action(action: NextAction) -> v1::NextAction {
    match action {
        NextAction::None => v1::NextAction::None,
        NextAction::Connect => v1::NextAction::Connect,
        NextAction::Confirm => v1::NextAction::Confirm,
        NextAction::Reconnect => v1::NextAction::Reconnect,
        NextAction::Wait => v1::NextAction::Wait,
        NextAction::Replace => v1::NextAction::Replace,
        NextAction::GetConfirmed => v1::NextAction::GetConfirmed,
    }
}

/// The filter by state: unspecified means any.
pub(super) fn wanted_state(number: i32) -> Result<Option<AttemptState>, Error> {
    match v1::AttemptState::try_from(number) {
        Ok(v1::AttemptState::Unspecified) => Ok(None),
        Ok(wanted) => Ok(AttemptState::ALL.into_iter().find(|state| attempt_state(*state) == wanted)),
        Err(_) => Err(FieldError::new("state", "must be a value of the enum").into()),
    }
}

/// The filter by next action: unspecified means any.
pub(super) fn wanted_action(number: i32) -> Result<Option<NextAction>, Error> {
    match v1::NextAction::try_from(number) {
        Ok(v1::NextAction::Unspecified) => Ok(None),
        Ok(v1::NextAction::None) => Ok(Some(NextAction::None)),
        Ok(v1::NextAction::Connect) => Ok(Some(NextAction::Connect)),
        Ok(v1::NextAction::Confirm) => Ok(Some(NextAction::Confirm)),
        Ok(v1::NextAction::Reconnect) => Ok(Some(NextAction::Reconnect)),
        Ok(v1::NextAction::Wait) => Ok(Some(NextAction::Wait)),
        Ok(v1::NextAction::Replace) => Ok(Some(NextAction::Replace)),
        Ok(v1::NextAction::GetConfirmed) => Ok(Some(NextAction::GetConfirmed)),
        Err(_) => Err(FieldError::new("next_action", "must be a value of the enum").into()),
    }
}
