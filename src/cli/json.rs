//! The messages that several answers share, as JSON: field names of the API, states in lower case, times as RFC 3339, `null` for
//! what is absent.

use serde_json::{Value, json};

use super::text;
use crate::v1;

/// A merchant.
pub(crate) fn merchant(merchant: &v1::Merchant) -> Value {
    json!({
        "merchant_id": merchant.merchant_id,
        "external_id": merchant.external_id,
        "labels": merchant.labels,
        "create_time": text::time(merchant.create_time.as_ref()),
        "links": merchant.links.iter().map(link).collect::<Vec<_>>(),
        "open_attempt": merchant.open_attempt.as_ref().map(open_attempt),
        "next_action": text::next_action(merchant.next_action),
        "next_action_text": merchant.next_action_text,
    })
}

/// A link.
pub(crate) fn link(link: &v1::Link) -> Value {
    json!({
        "link_id": link.link_id,
        "merchant_id": link.merchant_id,
        "connection_id": link.connection_id,
        "subject": link.subject,
        "state": text::link_state(link.state),
        "create_time": text::time(link.create_time.as_ref()),
        "head": link.head.as_ref().map(token_version),
        "shared": link.shared,
        "temporary": link.temporary.as_ref().map(|temporary| json!({
            "expire_time": text::time(temporary.expire_time.as_ref()),
            "payments_block_earliest_time": text::time(temporary.payments_block_earliest_time.as_ref()),
            "deletion_earliest_time": text::time(temporary.deletion_earliest_time.as_ref()),
        })),
    })
}

/// A payment account.
pub(crate) fn account(account: &v1::Account) -> Value {
    let refusal = account
        .refusal
        .as_ref()
        .map(|refusal| json!({ "error": refusal.error, "code": refusal.code, "description": refusal.description }));
    json!({
        "account_id": account.account_id,
        "provider_account_id": account.provider_account_id,
        "merchant_id": account.merchant_id,
        "connection_id": account.connection_id,
        "opening": text::account_opening(account.opening),
        "name": account.name,
        "description": account.description,
        "kind": text::account_kind(account.kind),
        "country": account.country,
        "currency": account.currency,
        "state": text::account_state(account.state),
        "action_reasons": account.action_reasons,
        "disabled_reasons": account.disabled_reasons,
        "disablement_time": text::time(account.disablement_time.as_ref()),
        "seen_time": text::time(account.seen_time.as_ref()),
        "create_time": text::time(account.create_time.as_ref()),
        "refusal": refusal,
        "next_action": text::account_next_action(account.next_action),
        "next_action_text": account.next_action_text,
    })
}

/// A token version.
pub(crate) fn token_version(version: &v1::TokenVersion) -> Value {
    json!({
        "ref": version.r#ref.as_ref().map(version_ref),
        "head": version.head,
        "issued_kind": text::issued_kind(version.issued_kind),
        "cause": version.cause,
        "attempt_id": version.attempt_id,
        "store_time": text::time(version.store_time.as_ref()),
        "expire_time": text::time(version.expire_time.as_ref()),
        "liveness": text::liveness(version.liveness),
        "evidence_time": text::time(version.evidence_time.as_ref()),
        "evidence": version.evidence,
        "fingerprint": version.fingerprint,
        "permanent": version.permanent,
        "candidate": version.candidate,
    })
}

/// The name of a token version.
pub(crate) fn version_ref(version: &v1::TokenVersionRef) -> Value {
    json!({ "connection_id": version.connection_id, "version": version.version })
}

fn open_attempt(attempt: &v1::OpenAttempt) -> Value {
    json!({
        "attempt_id": attempt.attempt_id,
        "state": text::attempt_state(attempt.state),
        "since_time": text::time(attempt.since_time.as_ref()),
        "judge_time": text::time(attempt.judge_time.as_ref()),
    })
}
