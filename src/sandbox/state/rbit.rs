//! Rbits: what an app tells WePay's risk department about a user, an account or a payment.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What an rbit can be about (WePay API docs, rbit page).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::sandbox) enum RbitObject {
    /// A payment account.
    Account,
    /// A user.
    User,
    /// A payment; there are none here.
    Checkout,
    /// A permission to take payments later; there are none here.
    Preapproval,
    /// A stored card; there are none here.
    CreditCard,
}

impl RbitObject {
    /// All of them.
    pub(in crate::sandbox) const ALL: [Self; 5] =
        [Self::Account, Self::User, Self::Checkout, Self::Preapproval, Self::CreditCard];

    /// The name on the wire.
    pub(in crate::sandbox) const fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::User => "user",
            Self::Checkout => "checkout",
            Self::Preapproval => "preapproval",
            Self::CreditCard => "credit_card",
        }
    }
}

/// An rbit as kept.
#[derive(Clone, Serialize, Deserialize)]
pub(in crate::sandbox) struct Rbit {
    /// Id.
    pub(in crate::sandbox) rbit_id: u64,
    /// The user whose token brought it.
    pub(in crate::sandbox) user_id: u64,
    /// The app that said it; no other one sees it.
    pub(in crate::sandbox) client_id: u64,
    /// What it is about …
    pub(in crate::sandbox) object: RbitObject,
    /// … and which one.
    pub(in crate::sandbox) object_id: u64,
    /// What was said.
    pub(in crate::sandbox) said: Said,
}

/// The content of an rbit, alone or embedded in another call.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(in crate::sandbox) struct Said {
    /// Type, such as `business_name`.
    #[serde(rename = "type")]
    pub(in crate::sandbox) kind: String,
    /// What the type asks for.
    pub(in crate::sandbox) properties: Value,
    /// When the app learned it, in seconds since 1970.
    pub(in crate::sandbox) receive_time: u64,
    /// From whom, such as `user`.
    pub(in crate::sandbox) source: String,
    /// A remark for a human reader.
    pub(in crate::sandbox) note: Option<String>,
    /// Further ones that belong to it, as they came.
    pub(in crate::sandbox) related_rbits: Vec<Said>,
}

impl Rbit {
    /// The object of the rbit calls (keys: WePay API docs, rbit page; null for an absent note is inferred).
    pub(in crate::sandbox) fn as_answer(&self) -> Value {
        json!({
            "rbit_id": self.rbit_id,
            "associated_object_type": self.object.as_str(),
            "associated_object_id": self.object_id,
            "type": self.said.kind,
            "properties": self.said.properties,
            "receive_time": self.said.receive_time,
            "source": self.said.source,
            "note": self.said.note,
            "related_rbits": self.said.related_rbits,
        })
    }
}
