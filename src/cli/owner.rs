//! How the command line names merchants and token versions.

use crate::domain::id::{ConnectionId, MerchantId};
use crate::v1;

/// A merchant: our id, or the platform's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MerchantName {
    /// Ours, `mer_…`.
    Id(MerchantId),
    /// The platform's.
    External(String),
}

/// Makes the `oneof merchant` of a request; each request has its own type for it.
macro_rules! into_merchant {
    ($($module:ident),*) => {$(
        impl From<MerchantName> for v1::$module::Merchant {
            fn from(name: MerchantName) -> Self {
                match name {
                    MerchantName::Id(id) => Self::MerchantId(id.to_string()),
                    MerchantName::External(id) => Self::ExternalId(id),
                }
            }
        }
    )*};
}

into_merchant!(
    get_merchant_request,
    send_confirmation_request,
    verify_token_request,
    list_token_versions_request,
    explain_access_request,
    list_events_request,
    list_provider_calls_request,
    list_attempts_request,
    create_account_request,
    list_accounts_request
);

impl From<MerchantName> for v1::get_access_token_request::Owner {
    fn from(name: MerchantName) -> Self {
        match name {
            MerchantName::Id(id) => Self::MerchantId(id.to_string()),
            MerchantName::External(id) => Self::ExternalId(id),
        }
    }
}

/// Reads a merchant. What begins with `mer_` is our id; `external:` in front says that it is the platform's nevertheless.
///
/// # Errors
/// Text for the user: a mistyped id of ours is found here and not looked up as the platform's.
pub(crate) fn parse_merchant(text: &str) -> Result<MerchantName, String> {
    if let Some(external) = text.strip_prefix("external:") {
        return non_empty(external).map(MerchantName::External);
    }
    if text.starts_with("mer_") {
        return text
            .parse()
            .map(MerchantName::Id)
            .map_err(|bad| format!("{bad}; if it is the platform's own id, write external:{text}"));
    }
    non_empty(text).map(MerchantName::External)
}

/// Reads `con_…:N`.
///
/// # Errors
/// Text for the user.
pub(crate) fn parse_version(text: &str) -> Result<v1::TokenVersionRef, String> {
    let (connection, version) = text.split_once(':').ok_or("expected con_…:N, a connection and its version")?;
    let connection: ConnectionId = connection.parse().map_err(|bad| format!("{bad}"))?;
    let version = version.parse().ok().filter(|version| *version > 0).ok_or("versions are numbers from 1")?;
    Ok(v1::TokenVersionRef { connection_id: connection.to_string(), version })
}

fn non_empty(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("a merchant's id is not empty".to_owned()) } else { Ok(text.to_owned()) }
}
