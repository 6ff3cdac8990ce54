//! A payment account as the provider keeps it, and the object its calls answer.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::domain::ambient::Timestamp;

/// Card networks of every account (the published answer of omnipay-wepay's tests, 2019).
const CARD_TYPES: [&str; 6] = ["visa", "mastercard", "american_express", "discover", "jcb", "diners_club"];

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

    /// What the owner must do: both for a fresh account (recorded on stage). None for a pending one is inferred: its
    /// next step is the confirmation.
    const fn action_reasons(self) -> &'static [&'static str] {
        match self {
            Self::ActionRequired => &["kyc", "bank_account"],
            Self::Pending | Self::Active | Self::Disabled | Self::Deleted => &[],
        }
    }

    /// Why it was disabled: what happens without identity and bank account (WePay.NET's catalogue).
    const fn disabled_reasons(self) -> &'static [&'static str] {
        match self {
            Self::Disabled => &["no_settlement_path"],
            Self::Pending | Self::ActionRequired | Self::Active | Self::Deleted => &[],
        }
    }

    /// Whether payments come in and go out. A fresh account takes payments but pays nothing out (recorded on stage).
    const fn payments(self) -> (&'static str, &'static str) {
        match self {
            Self::Pending | Self::ActionRequired => ("ok", "paused"),
            Self::Active => ("ok", "ok"),
            Self::Disabled | Self::Deleted => ("paused", "paused"),
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
}

impl Account {
    /// Takes over what a `/account/modify` says.
    pub(in crate::sandbox) fn update(&mut self, newer: Details) {
        self.details.update(newer);
    }

    /// The object of the account calls, in the shape of API version 2018-03-21 (WePay API docs, account page; the
    /// published answer of omnipay-wepay's tests). What the app did not set is left out, as on stage.
    pub(in crate::sandbox) fn object(&self) -> Value {
        let details = &self.details;
        let mut object = Map::new();
        let mut put = |name: &str, value: Value| drop(object.insert(name.to_owned(), value));
        put("account_id", json!(self.account_id));
        put("name", json!(details.name));
        put("state", json!(self.state.as_str()));
        put("description", json!(details.description));
        put("owner_user_id", json!(self.owner_user_id));
        put("type", json!(self.kind));
        put("create_time", json!(self.created_at_us.div_euclid(1_000_000)));
        put("disablement_time", Value::Null);
        put("country", json!(self.country));
        put("currencies", json!([self.currency]));
        put("balances", json!([self.balance()]));
        put("statuses", json!([self.status()]));
        put("action_reasons", json!(self.state.action_reasons()));
        put("disabled_reasons", json!(self.state.disabled_reasons()));
        put("image_uri", json!(details.image_uri));
        put("gaq_domains", details.gaq_domains.clone().unwrap_or_else(|| json!([])));
        put("rbit_ids", json!([]));
        put("supported_card_types", json!(CARD_TYPES));
        put("support_contact_number", json!(details.support_contact_number));
        let unset_is_absent = [
            ("reference_id", details.reference_id.clone().map(Value::String)),
            ("callback_uri", details.callback_uri.clone().map(Value::String)),
            ("mcc", self.mcc.clone().map(Value::String)),
            ("theme_object", details.theme_object.clone()),
        ];
        for (name, value) in unset_is_absent {
            if let Some(value) = value {
                put(name, value);
            }
        }
        Value::Object(object)
    }

    /// When it was made, as RFC 3339.
    pub(in crate::sandbox) fn created_at(&self) -> String {
        Timestamp::from_micros(self.created_at_us).to_rfc3339()
    }

    /// Always empty: the sandbox takes no payments.
    fn balance(&self) -> Value {
        json!({
            "currency": self.currency,
            "balance": 0,
            "incoming_pending_amount": 0,
            "outgoing_pending_amount": 0,
            "reserved_amount": 0,
            "disputed_amount": 0,
            "withdrawal_period": null,
            "withdrawal_next_time": null,
            "withdrawal_bank_name": null,
            "withdrawal_type": null,
        })
    }

    fn status(&self) -> Value {
        let (incoming, outgoing) = self.state.payments();
        json!({
            "currency": self.currency,
            "incoming_payments_status": incoming,
            "outgoing_payments_status": outgoing,
            "account_review_status": "not_requested",
        })
    }
}
