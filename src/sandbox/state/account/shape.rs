//! The object of the account calls, as each API version answers it.
//!
//! Three bodies were recorded on stage and are met key by key: 2011-01-15 (December 2013) and 2014-01-08 (January 2014),
//! both by B-Sides/wepay-api, and the newest version of October 2016 (README of catarse_payment_wepay). What came in
//! between and after is dated by the change log where it says so, and inferred where it does not.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::{Account, AccountState, KycState};
use crate::domain::ambient::Timestamp;
use crate::sandbox::hash::labelled;

/// Card networks of every account (recorded in October 2016).
const CARD_TYPES: [&str; 6] = ["visa", "mastercard", "american_express", "discover", "jcb", "diners_club"];

/// Which API version brought what. Sources: the change log, unless said otherwise.
pub(in crate::sandbox) mod since {
    /// Balances, statuses and reasons took the place of addresses and limits.
    pub(in crate::sandbox) const STATUSES: &str = "2014-01-08";

    /// The owner's id, times and reasons of disablement, review, and what is unset as `null` instead of left out. The
    /// change log has the owner's id at 2014-06-18, which is no version; that it and the others came with the next one is
    /// inferred.
    pub(in crate::sandbox) const OWNER: &str = "2015-08-15";

    /// `rbits` was renamed `rbit_ids` (WePay API docs, rbit page: September 2015).
    pub(in crate::sandbox) const RBIT_IDS: &str = "2015-09-09";

    /// Card networks and the way of withdrawal: the newest version when a body with both was recorded; which one brought
    /// them is inferred.
    pub(in crate::sandbox) const CARD_TYPES: &str = "2016-08-10";

    /// The telephone number for payers; `mcc` is text.
    pub(in crate::sandbox) const CONTACT: &str = "2017-02-01";

    /// `/account/find` knows `start` and `limit` (WePay API docs, account page).
    pub(in crate::sandbox) const PAGING: &str = "2018-10-03";

    /// A name that cannot be has one text.
    pub(in crate::sandbox) const NAME_TEXT: &str = "2019-04-03";
}

/// What the first version says of every account (recorded in December 2013).
const PAYMENT_LIMIT: u64 = 50_000;

/// Digits of the secret in the first version's addresses (recorded in December 2013).
const URI_DIGITS: usize = 8;

/// Theme ids, account by account, lie this far below account ids, so that a mix-up shows.
const THEME_ID_BELOW: u64 = 1_000_000_000;

/// For whom an object is made.
pub(in crate::sandbox) struct View<'a> {
    /// The API version in force.
    pub(in crate::sandbox) version: &'a str,
    /// When.
    pub(in crate::sandbox) now: Timestamp,
    /// Base URL of the pages, ends in `/v2`.
    pub(in crate::sandbox) ui: &'a str,
    /// What the app told about the account.
    pub(in crate::sandbox) rbit_ids: Vec<u64>,
}

impl View<'_> {
    /// An address of the browser's side.
    pub(in crate::sandbox) fn page(&self, path: &str) -> String {
        format!("{}{path}", self.ui.strip_suffix("/v2").unwrap_or(self.ui))
    }

    fn is_since(&self, version: &str) -> bool {
        self.version >= version
    }
}

/// An object that is being written.
struct Object<M>(M);

impl<M: SerializeMap> Object<M> {
    fn put(&mut self, name: &str, value: impl Serialize) -> Result<(), M::Error> {
        self.0.serialize_entry(name, &value)
    }

    fn put_set(&mut self, name: &str, value: Option<impl Serialize>) -> Result<(), M::Error> {
        value.map_or(Ok(()), |value| self.put(name, value))
    }
}

/// An account as a call answers it.
pub(in crate::sandbox) struct Shown<'a> {
    account: &'a Account,
    view: View<'a>,
    is_new: bool,
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { account, view, is_new } = self;
        let mut object = Object(serializer.serialize_map(None)?);
        match (view.is_since(since::STATUSES), is_new) {
            (true, _) => account.put_today(&mut object, view)?,
            (false, false) => account.put_2011(&mut object, view)?,
            // What the first version answered to a creation (recorded in December 2013).
            (false, true) => {
                object.put("account_id", account.account_id)?;
                object.put("account_uri", account.uri(view))?;
            }
        }
        object.0.end()
    }
}

/// The one balance of an account.
struct Balance<'a>(&'a Account, &'a View<'a>);

/// The one status of an account.
struct Status<'a> {
    account: &'a Account,
    has_review: bool,
}

impl Account {
    /// The account as look-ups and changes answer it.
    pub(in crate::sandbox) const fn shown<'a>(&'a self, view: View<'a>) -> Shown<'a> {
        Shown { account: self, view, is_new: false }
    }

    /// The account as `/account/create` answers it.
    pub(in crate::sandbox) const fn shown_new<'a>(&'a self, view: View<'a>) -> Shown<'a> {
        Shown { account: self, view, is_new: true }
    }

    fn put_today<M: SerializeMap>(&self, object: &mut Object<M>, view: &View<'_>) -> Result<(), M::Error> {
        let is_since_owner = view.is_since(since::OWNER);
        object.put("account_id", self.account_id)?;
        object.put("name", self.details.name.as_deref())?;
        object.put("state", self.state.as_str())?;
        object.put("description", self.details.description.as_deref())?;
        object.put("type", self.kind.as_str())?;
        object.put("create_time", self.created_at_us.div_euclid(1_000_000))?;
        object.put("country", self.country.as_str())?;
        object.put("currencies", [self.currency.as_str()])?;
        object.put("balances", [Balance(self, view)])?;
        object.put("statuses", [Status { account: self, has_review: is_since_owner }])?;
        object.put("action_reasons", self.action_reasons().collect::<Vec<_>>())?;
        if is_since_owner {
            object.put("owner_user_id", self.owner_user_id)?;
            object.put("disablement_time", self.disablement_time())?;
            object.put("disabled_reasons", Vec::from_iter(self.disabled_reason().map(|reason| reason.as_str())))?;
        }
        if view.is_since(since::CARD_TYPES) {
            object.put("supported_card_types", CARD_TYPES.as_slice())?;
        }
        self.put_details(object, view)
    }

    /// What the app said of it. What it did not say is left out (recorded in 2014 for all, in 2016 for most); picture and domains
    /// are there with nothing in them (recorded in 2016).
    fn put_details<M: SerializeMap>(&self, object: &mut Object<M>, view: &View<'_>) -> Result<(), M::Error> {
        let details = &self.details;
        object.put_set("reference_id", details.reference_id.as_deref())?;
        object.put_set("callback_uri", details.callback_uri.as_deref())?;
        let domains = details.gaq_domains.as_ref().filter(|domains| **domains != json!([]));
        if view.is_since(since::OWNER) {
            object.put("image_uri", details.image_uri.as_deref())?;
            object.put("gaq_domains", domains.cloned().unwrap_or_else(|| json!([""])))?;
        } else {
            object.put_set("image_uri", details.image_uri.as_deref())?;
            object.put_set("gaq_domains", domains.cloned())?;
        }
        object.put_set("theme_object", details.theme_object.as_ref().map(|theme| self.theme(theme)))?;
        let is_since_contact = view.is_since(since::CONTACT);
        if is_since_contact {
            object.put("support_contact_number", details.support_contact_number.clone())?;
            object.put_set("mcc", self.mcc.as_deref())?;
        } else {
            object.put_set("mcc", self.mcc.as_ref().and_then(|mcc| mcc.parse::<u64>().ok()))?;
        }
        // Neither was recorded on an account that has none; left out then.
        let rbits = if view.is_since(since::RBIT_IDS) { "rbit_ids" } else { "rbits" };
        object.put_set(rbits, Some(view.rbit_ids.as_slice()).filter(|ids| !ids.is_empty()))?;
        // Counted from one here, from zero in the parameter (WePay.NET).
        let fees = self.standing.fee_schedule_slot.map(
            |slot| json!([{"slot": slot.saturating_add(1), "description": "2.9% + $0.30", "currency": self.currency}]),
        );
        object.put_set("fee_schedule", fees)
    }

    fn theme(&self, theme: &Value) -> Value {
        let mut theme = theme.clone();
        if let Value::Object(fields) = &mut theme {
            fields.insert("theme_id".to_owned(), json!(self.account_id.saturating_sub(THEME_ID_BELOW)));
        }
        theme
    }

    /// When it will be disabled unless its owner acts, in seconds.
    fn disablement_time(&self) -> Option<i64> {
        let is_waiting = self.state == AccountState::ActionRequired;
        self.standing.ends_at_us.filter(|_| is_waiting).map(|at| at.div_euclid(1_000_000))
    }

    /// The first version's object: three states, addresses instead of reasons. The names of what concerns withdrawals are
    /// those that the change list of 2014-01-08 takes away; when they are there is inferred.
    fn put_2011<M: SerializeMap>(&self, object: &mut Object<M>, view: &View<'_>) -> Result<(), M::Error> {
        let details = &self.details;
        let state = match self.state {
            AccountState::Disabled | AccountState::Deleted => self.state,
            AccountState::Pending | AccountState::ActionRequired | AccountState::Active => AccountState::Active,
        };
        let verification = match self.standing.kyc {
            KycState::Unsubmitted => "unverified",
            KycState::Unverified | KycState::InReview | KycState::RequireDocs => "pending",
            KycState::Verified => "verified",
        };
        object.put("account_id", self.account_id)?;
        object.put("name", details.name.as_deref())?;
        object.put("state", state.as_str())?;
        object.put("description", details.description.as_deref())?;
        object.put("account_uri", self.uri(view))?;
        object.put("payment_limit", PAYMENT_LIMIT)?;
        object.put("verification_state", verification)?;
        object.put("type", self.kind.as_str())?;
        object.put("auto_withdrawal", self.standing.bank.is_some())?;
        object.put("create_time", self.created_at_us.div_euclid(1_000_000))?;
        if self.standing.kyc != KycState::Verified {
            let owner = self.owner_user_id.to_string();
            let secret: String = labelled("account verify", &[&owner]).chars().take(URI_DIGITS).collect();
            object.put("verification_uri", view.page(&format!("/api/account_verify/{}/{secret}", self.account_id)))?;
        }
        if let Some(bank) = &self.standing.bank {
            object.put("withdrawal_period", bank.frequency.as_str())?;
            object.put("withdrawal_bank_name", bank.name.as_str())?;
            object.put("next_withdrawal_time", bank.next(view.now).as_unix_seconds())?;
        }
        object.put_set("reference_id", details.reference_id.as_deref())?;
        object.put_set("callback_uri", details.callback_uri.as_deref())?;
        object.put_set("image_uri", details.image_uri.as_deref())?;
        object.put_set("gaq_domains", details.gaq_domains.clone().filter(|domains| *domains != json!([])))?;
        object.put_set("theme_object", details.theme_object.as_ref().map(|theme| self.theme(theme)))?;
        object.put_set("mcc", self.mcc.as_ref().and_then(|mcc| mcc.parse::<u64>().ok()))
    }

    fn uri(&self, view: &View<'_>) -> String {
        view.page(&format!("/account/{}", self.account_id))
    }
}

impl Serialize for Balance<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(Account { standing, currency, .. }, view) = self;
        let bank = standing.bank.as_ref();
        let mut balance = Object(serializer.serialize_map(None)?);
        balance.put("currency", currency.as_str())?;
        balance.put("balance", standing.balance.json())?;
        balance.put("incoming_pending_amount", standing.incoming.json())?;
        // Nothing leaves by itself, and nobody disputes a payment here.
        balance.put("outgoing_pending_amount", 0)?;
        balance.put("reserved_amount", standing.reserved.json())?;
        balance.put("disputed_amount", 0)?;
        balance.put("withdrawal_period", bank.map(|bank| bank.frequency.as_str()))?;
        balance.put("withdrawal_next_time", bank.map(|bank| bank.next(view.now).as_unix_seconds()))?;
        balance.put("withdrawal_bank_name", bank.map(|bank| bank.name.as_str()))?;
        if view.is_since(since::CARD_TYPES) {
            balance.put("withdrawal_type", bank.map(|bank| bank.settlement.as_str()))?;
        }
        balance.0.end()
    }
}

impl Serialize for Status<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { account, has_review } = self;
        let (incoming, outgoing) = account.payments();
        let word = |is_ok| if is_ok { "ok" } else { "paused" };
        let mut status = Object(serializer.serialize_map(None)?);
        status.put("currency", account.currency.as_str())?;
        status.put("incoming_payments_status", word(incoming))?;
        status.put("outgoing_payments_status", word(outgoing))?;
        if *has_review {
            status.put("account_review_status", account.standing.review.as_str())?;
        }
        status.0.end()
    }
}
