//! Payment accounts of a user, by the user's token.
//!
//! An answer counts only if it is about the account that was asked for: by its id, or by our own reference id, by which an
//! account is found again whose creation had no clear outcome (`docs/provider.md` §8).

use std::fmt;

use url::Url;

use crate::domain::account::{AccountKind, ProviderAccount};
use crate::domain::secret::AccessToken;

use super::wire::{self, LONG_TEXT_CHARS_MAX, Parameters, TEXT_CHARS_MAX};
use super::{Call, CallError, Lane, OneCall};

/// Largest list of accounts we read: a recorded account has some 2 KiB, so this is room for hundreds.
pub const LIST_BYTES_MAX: usize = 1024 * 1024;

/// An account to be made. `Debug` leaves out the notices' address, which authorizes.
#[derive(Clone, Copy)]
pub struct NewAccount<'a> {
    /// What payers read on their statements, at most 255 characters.
    pub name: &'a str,
    /// What it is for, at most 65 535 characters.
    pub description: &'a str,
    /// Ours, at most 255 characters; unique among the accounts that our app makes for a user.
    pub reference_id: &'a str,
    /// Whose money it is.
    pub kind: AccountKind,
    /// Two-letter country code.
    pub country: &'a str,
    /// Three-letter currency code.
    pub currency: &'a str,
    /// Receives the provider's notices about the account.
    pub callback_uri: &'a Url,
}

impl fmt::Debug for NewAccount<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewAccount")
            .field("name", &self.name)
            .field("reference_id", &self.reference_id)
            .finish_non_exhaustive()
    }
}

/// What is to change of an account; `None` leaves it as it is.
#[derive(Clone, Copy, Default, Debug)]
pub struct AccountChanges<'a> {
    /// At most 255 characters.
    pub name: Option<&'a str>,
    /// At most 65 535 characters.
    pub description: Option<&'a str>,
}

impl OneCall {
    /// Makes an account for the user behind the token. Not idempotent: sent at most once; bounded by
    /// [`Timing::mint_deadline`](crate::domain::timing::Timing::mint_deadline).
    ///
    /// # Errors
    /// [`CallError`]; [`mint_verdict`](super::mint_verdict) says whether an account may have been made, which
    /// [`find_accounts`](Self::find_accounts) then finds by its reference id.
    pub async fn create_account(
        self,
        token: &AccessToken,
        wanted: &NewAccount<'_>,
    ) -> Result<ProviderAccount, CallError> {
        let parameters = Parameters::default()
            .text("name", wanted.name, TEXT_CHARS_MAX)
            .text("description", wanted.description, LONG_TEXT_CHARS_MAX)
            .text("reference_id", wanted.reference_id, TEXT_CHARS_MAX)
            .text("type", wanted.kind.as_str(), TEXT_CHARS_MAX)
            .text("country", wanted.country, TEXT_CHARS_MAX)
            .list_of_one("currencies", wanted.currency)
            .uri("callback_uri", Some(wanted.callback_uri));
        let asked_for = |account: &ProviderAccount| account.reference_id.as_deref() == Some(wanted.reference_id);
        let call = Call::new("/account/create", Lane::Mint, parameters).bearing(token);
        self.perform(call, |answer| wire::account(answer).filter(asked_for)).await
    }

    /// One account. Has no effect; bounded by [`Timing::probe_deadline`](crate::domain::timing::Timing::probe_deadline).
    ///
    /// # Errors
    /// [`CallError`]; an answer about another account counts as malformed.
    pub async fn account(self, token: &AccessToken, id: &str) -> Result<ProviderAccount, CallError> {
        let call = Call::new("/account", Lane::Probe, Parameters::default().id("account_id", id)).bearing(token);
        self.perform(call, |answer| wire::account(answer).filter(|account| account.id == id)).await
    }

    /// The accounts of the user behind the token, deleted ones excepted; with a reference id those that have it. Has no
    /// effect; bounded by [`Timing::probe_deadline`](crate::domain::timing::Timing::probe_deadline).
    ///
    /// # Errors
    /// [`CallError`]; a list with one account that was not asked for counts as malformed, one longer than
    /// [`LIST_BYTES_MAX`] as too large.
    pub async fn find_accounts(
        self,
        token: &AccessToken,
        reference_id: Option<&str>,
    ) -> Result<Vec<ProviderAccount>, CallError> {
        let parameters = Parameters::default().maybe("reference_id", reference_id, TEXT_CHARS_MAX);
        let asked_for =
            |account: &ProviderAccount| reference_id.is_none() || account.reference_id.as_deref() == reference_id;
        let call = Call::new("/account/find", Lane::Probe, parameters).bearing(token).reading(LIST_BYTES_MAX);
        self.perform(call, |answer| wire::accounts(answer).filter(|accounts| accounts.iter().all(asked_for))).await
    }

    /// Changes an account's name or description. The same change twice is one change; sent once all the same, and bounded
    /// by [`Timing::mint_deadline`](crate::domain::timing::Timing::mint_deadline).
    ///
    /// # Errors
    /// [`CallError`]; an answer about another account counts as malformed.
    pub async fn modify_account(
        self,
        token: &AccessToken,
        id: &str,
        changes: &AccountChanges<'_>,
    ) -> Result<ProviderAccount, CallError> {
        let parameters = Parameters::default().id("account_id", id).maybe("name", changes.name, TEXT_CHARS_MAX).maybe(
            "description",
            changes.description,
            LONG_TEXT_CHARS_MAX,
        );
        let call = Call::new("/account/modify", Lane::Mint, parameters).bearing(token);
        self.perform(call, |answer| wire::account(answer).filter(|account| account.id == id)).await
    }
}
