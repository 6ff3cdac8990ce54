//! A payment account as the provider keeps it.

mod money;
mod shape;
mod standing;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::ambient::Timestamp;

pub(in crate::sandbox) use money::Cents;
pub(in crate::sandbox) use shape::{View, since};
pub(in crate::sandbox) use standing::{
    Bank, Change, DisabledReason, Frequency, KycState, Review, Role, Settlement, Standing,
};

/// State of an account (WePay API docs, account page).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::sandbox) enum AccountState {
    /// Made with a temporary token that its owner has not confirmed.
    Pending,
    /// The owner must prove an identity and name a bank account; it takes payments already.
    ActionRequired,
    /// Nothing is open.
    Active,
    /// Takes no payments.
    Disabled,
    /// Gone for good.
    Deleted,
}

impl AccountState {
    /// The name on the wire.
    pub(in crate::sandbox) const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::ActionRequired => "action_required",
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Deleted => "deleted",
        }
    }
}

/// What an app may say of an account, at its creation and later; each call says some of it.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(in crate::sandbox) struct Details {
    /// Name, what a payer's statement shows behind `WPY*`.
    pub(in crate::sandbox) name: Option<String>,
    /// Description.
    pub(in crate::sandbox) description: Option<String>,
    /// The app's own id of it.
    pub(in crate::sandbox) reference_id: Option<String>,
    /// Picture.
    pub(in crate::sandbox) image_uri: Option<String>,
    /// Analytics domains; an empty list clears them.
    pub(in crate::sandbox) gaq_domains: Option<Value>,
    /// Colours.
    pub(in crate::sandbox) theme_object: Option<Value>,
    /// Where notices about it go.
    pub(in crate::sandbox) callback_uri: Option<String>,
    /// Telephone for payers.
    pub(in crate::sandbox) support_contact_number: Option<Value>,
}

impl Details {
    /// Takes over what the newer ones say.
    fn update(&mut self, newer: Self) {
        let Self {
            name,
            description,
            reference_id,
            image_uri,
            gaq_domains,
            theme_object,
            callback_uri,
            support_contact_number,
        } = newer;
        self.name = name.or(self.name.take());
        self.description = description.or(self.description.take());
        self.reference_id = reference_id.or(self.reference_id.take());
        self.image_uri = image_uri.or(self.image_uri.take());
        self.gaq_domains = gaq_domains.or(self.gaq_domains.take());
        self.theme_object = theme_object.or(self.theme_object.take());
        self.callback_uri = callback_uri.or(self.callback_uri.take());
        self.support_contact_number = support_contact_number.or(self.support_contact_number.take());
    }
}

/// A payment account.
#[derive(Clone, Serialize, Deserialize)]
pub(in crate::sandbox) struct Account {
    /// Id.
    pub(in crate::sandbox) account_id: u64,
    /// The user whose it is.
    pub(in crate::sandbox) owner_user_id: u64,
    /// The app that made it.
    pub(in crate::sandbox) client_id: u64,
    /// State.
    pub(in crate::sandbox) state: AccountState,
    /// `personal`, `business` or `nonprofit`.
    pub(in crate::sandbox) kind: String,
    /// Country.
    pub(in crate::sandbox) country: String,
    /// Its only currency.
    pub(in crate::sandbox) currency: String,
    /// Merchant category code.
    pub(in crate::sandbox) mcc: Option<String>,
    /// The rest.
    pub(in crate::sandbox) details: Details,
    /// When, in microseconds since 1970.
    pub(in crate::sandbox) created_at_us: i64,
    /// Identity, bank, money and members.
    pub(in crate::sandbox) standing: Standing,
}

impl Account {
    /// Takes over what a `/account/modify` says.
    pub(in crate::sandbox) fn update(&mut self, newer: Details) {
        self.details.update(newer);
    }

    /// Takes over a new state. A deadline is for an account that waits for its owner alone: what left that state once
    /// and fell back has none (inferred).
    pub(in crate::sandbox) fn enter(&mut self, state: AccountState) {
        self.state = state;
        if !matches!(state, AccountState::Pending | AccountState::ActionRequired) {
            (self.standing.blocks_at_us, self.standing.ends_at_us) = (None, None);
        }
        if state != AccountState::Disabled {
            self.standing.disabled_reason = None;
        }
    }

    /// When time itself does something to it: blocks payments to a pending account, deletes it, or disables one whose owner
    /// did not act.
    pub(in crate::sandbox) const fn due_at_us(&self) -> Option<i64> {
        match (self.state, self.standing.is_blocked) {
            (AccountState::Pending, false) => self.standing.blocks_at_us,
            (AccountState::Pending, true) | (AccountState::ActionRequired, _) => self.standing.ends_at_us,
            _ => None,
        }
    }

    /// Whether payments may come in and go out. A fresh account takes payments but pays nothing out (recorded on stage).
    pub(in crate::sandbox) const fn payments(&self) -> (bool, bool) {
        match self.state {
            AccountState::Pending => (!self.standing.is_blocked, false),
            AccountState::ActionRequired => (true, false),
            AccountState::Active => (true, true),
            AccountState::Disabled | AccountState::Deleted => (false, false),
        }
    }

    /// What the owner must do: both for a fresh account (recorded on stage), one less with each that is done. None for a
    /// pending one is inferred: its next step is the confirmation. `document` in the place of `kyc` is inferred, too.
    pub(in crate::sandbox) fn action_reasons(&self) -> impl Iterator<Item = &'static str> {
        let is_asked = self.state == AccountState::ActionRequired;
        let identity = match self.standing.kyc {
            KycState::Verified => None,
            KycState::RequireDocs => Some("document"),
            KycState::Unsubmitted | KycState::Unverified | KycState::InReview => Some("kyc"),
        };
        let bank = if self.standing.bank.is_none() { Some("bank_account") } else { None };
        identity.into_iter().chain(bank).filter(move |_| is_asked)
    }

    /// Why it was disabled; without a reason of its own what happens without identity and bank (WePay.NET's catalogue).
    pub(in crate::sandbox) fn disabled_reason(&self) -> Option<DisabledReason> {
        let is_disabled = self.state == AccountState::Disabled;
        is_disabled.then(|| self.standing.disabled_reason.unwrap_or(DisabledReason::NoSettlementPath))
    }

    /// When it was made, as RFC 3339.
    pub(in crate::sandbox) fn created_at(&self) -> String {
        Timestamp::from_micros(self.created_at_us).to_rfc3339()
    }
}
