//! What the provider keeps: the records behind apps, people, codes, tokens and mails.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::ambient::Timestamp;
use crate::sandbox::hash::Password;

/// State of a WePay user (WePay API docs, user page).
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::sandbox) enum UserState {
    /// Made by an app, not confirmed by the person.
    Pending,
    /// A person who can sign in.
    Registered,
    /// Gone, by own wish or by WePay support.
    Deleted,
}

impl UserState {
    /// The name on the wire.
    pub(in crate::sandbox) const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Registered => "registered",
            Self::Deleted => "deleted",
        }
    }
}

/// State of an app (WePay API docs, app page).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::sandbox) enum AppState {
    /// It may call.
    #[default]
    Active,
    /// Its calls are refused with `invalid_client`.
    Disabled,
    /// Gone.
    Deleted,
}

/// A registered app.
#[derive(Clone, Serialize, Deserialize)]
pub(in crate::sandbox) struct App {
    /// Public id, digits.
    pub(in crate::sandbox) client_id: u64,
    /// Ten lower-case hexadecimal digits.
    pub(in crate::sandbox) client_secret: String,
    /// Its first secret, from which the owner's token and the keys of mails are derived: they outlive a change of the secret.
    pub(in crate::sandbox) seed: String,
    /// The user who registered the app.
    pub(in crate::sandbox) owner_user_id: u64,
    /// What the pages call it.
    pub(in crate::sandbox) name: String,
    /// State.
    pub(in crate::sandbox) state: AppState,
    /// The API version of its dashboard setting, in force for calls without the header.
    pub(in crate::sandbox) api_version: String,
    /// What WePay enabled for it beside the ordinary calls; names in `protocol::PERMISSIONS`.
    pub(in crate::sandbox) permissions: BTreeSet<String>,
    /// The domain its redirect URIs must be on; none is that of the settings.
    pub(in crate::sandbox) registered_domain: Option<String>,
    /// Colours, as `/app/modify` set them.
    pub(in crate::sandbox) theme_object: Option<Value>,
    /// Analytics domains, as `/app/modify` set them.
    pub(in crate::sandbox) gaq_domains: Option<Value>,
}

/// A WePay user, keyed by e-mail address.
#[derive(Clone, Serialize, Deserialize)]
pub(in crate::sandbox) struct User {
    /// Id.
    pub(in crate::sandbox) user_id: u64,
    /// E-mail address as entered.
    pub(in crate::sandbox) email: String,
    /// First name.
    pub(in crate::sandbox) first_name: String,
    /// Last name.
    pub(in crate::sandbox) last_name: String,
    /// State.
    pub(in crate::sandbox) state: UserState,
    /// Nobody signs in without one.
    pub(in crate::sandbox) password: Option<Password>,
}

/// An authorization code.
#[derive(Clone, Serialize, Deserialize)]
pub(in crate::sandbox) struct Code {
    /// SHA-256 of the code.
    pub(in crate::sandbox) sha256: String,
    /// The app it was issued to.
    pub(in crate::sandbox) client_id: u64,
    /// Who granted.
    pub(in crate::sandbox) user_id: u64,
    /// Byte for byte as given to the authorize page.
    pub(in crate::sandbox) redirect_uri: String,
    /// What was granted.
    pub(in crate::sandbox) scope: Vec<String>,
    /// When, in microseconds since 1970.
    pub(in crate::sandbox) issued_at_us: i64,
    /// Whether it was exchanged.
    pub(in crate::sandbox) is_used: bool,
}

/// Kind of a token (WePay API docs, access tokens page).
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::sandbox) enum TokenKind {
    /// Lives until revoked.
    Permanent,
    /// Dies at its time unless the user approves the app before.
    Temporary,
}

/// An access token.
#[derive(Clone, Serialize, Deserialize)]
pub(in crate::sandbox) struct Token {
    /// SHA-256 of the token.
    pub(in crate::sandbox) sha256: String,
    /// Whose.
    pub(in crate::sandbox) user_id: u64,
    /// For which app.
    pub(in crate::sandbox) client_id: u64,
    /// What it may do.
    pub(in crate::sandbox) scope: Vec<String>,
    /// Kind.
    pub(in crate::sandbox) kind: TokenKind,
    /// When, in microseconds since 1970.
    pub(in crate::sandbox) issued_at_us: i64,
    /// When a temporary one dies; none for a permanent one.
    pub(in crate::sandbox) expires_at_us: Option<i64>,
    /// When it was revoked.
    pub(in crate::sandbox) revoked_at_us: Option<i64>,
}

impl Token {
    /// Whether it is neither revoked nor past its life.
    pub(in crate::sandbox) fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at_us.is_none() && self.expires_at_us.is_none_or(|at| now < Timestamp::from_micros(at))
    }
}

/// The mail of a `/user/send_confirmation`. Its link is made from it when somebody looks: the journal keeps no secret.
#[derive(Clone, Serialize, Deserialize)]
pub(in crate::sandbox) struct Mail {
    /// 1, 2, 3 …
    pub(in crate::sandbox) mail_id: u64,
    /// To whom.
    pub(in crate::sandbox) user_id: u64,
    /// For which app.
    pub(in crate::sandbox) client_id: u64,
    /// The address at that time.
    pub(in crate::sandbox) to: String,
    /// Subject.
    pub(in crate::sandbox) subject: String,
    /// What the app wrote.
    pub(in crate::sandbox) message: String,
    /// Text of the button that carries the link.
    pub(in crate::sandbox) button_text: String,
    /// When, in microseconds since 1970.
    pub(in crate::sandbox) sent_at_us: i64,
}
