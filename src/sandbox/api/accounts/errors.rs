//! Refusals of the account calls. Numbers are those of WePay's error catalogue (WePay.NET); classes, statuses and texts are
//! inferred unless said otherwise.

use crate::sandbox::protocol::ApiError;

/// 1003: what the account still holds keeps it from being deleted (the rule: WePay.NET; no source has its number).
pub(super) fn not_empty() -> ApiError {
    refused(1003, "an account with a balance or pending payments cannot be deleted")
}

/// 3006: identity can be given once.
pub(super) fn kyc_given() -> ApiError {
    refused(3006, "this account has already provided KYC information")
}

/// 3007: identity first.
pub(super) fn kyc_first() -> ApiError {
    refused(3007, "this account must complete KYC before this call can be made")
}

/// 3008: a way of settlement first.
pub(super) fn settlement_first() -> ApiError {
    refused(3008, "this account must complete its settlement information before requesting a review")
}

/// 3010: nobody asked for documents.
pub(super) fn no_documents_wanted() -> ApiError {
    refused(3010, "the KYC state of this account must be require_docs")
}

/// 3011: no such files.
pub(super) fn no_files() -> ApiError {
    refused(3011, "the files were not found or do not belong to this account")
}

/// 3012: a business or an organization without the person behind it.
pub(super) fn no_account_owner() -> ApiError {
    refused(3012, "account_owner parameter is required")
}

/// 3302: a member who is not the financial owner.
pub(super) fn not_the_admin() -> ApiError {
    denied(3302, "you must use the access_token of the financial administrator")
}

/// 3306: too late for another financial owner.
pub(super) fn admin_settled() -> ApiError {
    refused(3306, "the financial administrator cannot be changed once withdrawals have started")
}

/// 7001: not a member.
pub(super) fn no_member() -> ApiError {
    denied(7001, "user does not exist or is not a member of this account")
}

/// 7002: the owner has not confirmed (class and text recorded on stage, at `/account/get_update_uri`).
pub(super) fn pending() -> ApiError {
    denied(7002, "pending account cannot be updated; account owner must confirm WePay registration")
}

fn refused(code: u32, text: &str) -> ApiError {
    ApiError { code, ..ApiError::invalid_parameter(text) }
}

fn denied(code: u32, text: &str) -> ApiError {
    ApiError { code, description: text.to_owned(), ..ApiError::foreign_account() }
}
