//! The calls there are: what answers each, what proves who calls, what it takes and whether it writes.

use serde_json::{Value, json};

use super::{ApiCall, accounts, app, batch, rbits, register, sso, tokens, users};
use crate::sandbox::protocol::{ApiError, SCOPE_MANAGE_ACCOUNTS, SCOPE_VIEW_USER};

/// What answers a call: the body of a 200, or the refusal.
pub(super) type Handler = fn(&mut ApiCall<'_>) -> Result<Value, ApiError>;

/// What proves who calls (WePay API docs, oauth2, user, app and batch pages).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::sandbox) enum Proof {
    /// An access token in the header; with the scope that it must have (WePay API docs, permissions page), if any.
    Token(Option<&'static str>),
    /// The parameters `client_id` and `client_secret`; a header with a token is ignored (recorded on stage).
    Client,
}

/// What a call takes, `client_id` and `client_secret` aside.
#[derive(Clone, Copy)]
pub(super) struct Takes {
    pub(super) required: &'static [&'static str],
    pub(super) optional: &'static [&'static str],
}

/// A call.
pub(in crate::sandbox) struct Entry {
    /// Its path, such as `/account/create`.
    pub(in crate::sandbox) name: &'static str,
    /// Whether it changes something at the provider; only such answers carry a cookie (recorded on stage).
    pub(in crate::sandbox) is_write: bool,
    /// What proves who calls.
    pub(in crate::sandbox) proof: Proof,
    /// What it takes; none where it looks itself.
    pub(super) takes: Option<Takes>,
    pub(super) handler: Handler,
}

impl Entry {
    const fn new(name: &'static str, is_write: bool, proof: Proof, handler: Handler) -> Self {
        Self { name, is_write, proof, takes: None, handler }
    }

    /// A call that changes nothing.
    const fn look_up(name: &'static str, proof: Proof, handler: Handler) -> Self {
        Self::new(name, false, proof, handler)
    }

    /// A call that changes something.
    const fn write(name: &'static str, proof: Proof, handler: Handler) -> Self {
        Self::new(name, true, proof, handler)
    }

    /// Names what it takes: what must be there, in the order in which it is missed, and what may be.
    const fn takes(mut self, required: &'static [&'static str], optional: &'static [&'static str]) -> Self {
        self.takes = Some(Takes { required, optional });
        self
    }
}

/// Scope `manage_accounts`: every account call (WePay API docs, permissions page).
const ACCOUNTS: Proof = Proof::Token(Some(SCOPE_MANAGE_ACCOUNTS));

/// Scope `view_user`: `/user` and `/user/modify` (same page).
const USER: Proof = Proof::Token(Some(SCOPE_VIEW_USER));

/// A token with whatever scope: the page names none for these.
const ANY_TOKEN: Proof = Proof::Token(None);

/// All calls, sorted by name (WePay API docs, one page for each family). `resend_confirmation` is the old name of
/// `send_confirmation` (change log of 2015-02-25), still in use later.
const CALLS: &[Entry] = &[
    Entry::look_up("/account", ACCOUNTS, accounts::lookup).takes(&["account_id"], &[]),
    Entry::write("/account/create", ACCOUNTS, accounts::create),
    Entry::write("/account/delete", ACCOUNTS, accounts::delete),
    Entry::look_up("/account/find", ACCOUNTS, accounts::find),
    Entry::look_up("/account/get_reserve_details", ACCOUNTS, accounts::settlement::reserve_details),
    Entry::look_up("/account/get_update_uri", ACCOUNTS, accounts::update::uri),
    Entry::look_up("/account/kyc", ACCOUNTS, accounts::kyc::lookup),
    Entry::write("/account/kyc/authorize", ACCOUNTS, accounts::kyc::authorize),
    Entry::write("/account/kyc/create", ACCOUNTS, accounts::kyc::create),
    Entry::write("/account/kyc/modify", ACCOUNTS, accounts::kyc::modify),
    Entry::write("/account/membership/create", ACCOUNTS, accounts::membership::create),
    Entry::write("/account/membership/modify", ACCOUNTS, accounts::membership::modify),
    Entry::write("/account/membership/remove", ACCOUNTS, accounts::membership::remove),
    Entry::write("/account/modify", ACCOUNTS, accounts::modify),
    Entry::write("/account/request_review", ACCOUNTS, accounts::settlement::request_review),
    Entry::write("/account/settlement_setup", ACCOUNTS, accounts::settlement::setup),
    Entry::look_up("/app", Proof::Client, app::lookup).takes(&[], &[]),
    Entry::write("/app/modify", Proof::Client, app::modify).takes(&[], &["theme_object", "gaq_domains"]),
    Entry::write(batch::NAME, Proof::Client, batch::refuse_nested).takes(&["calls"], &[]),
    Entry::write("/oauth2/token", Proof::Client, tokens::exchange).takes(&tokens::REQUIRED, &tokens::OPTIONAL),
    Entry::look_up("/rbit", ANY_TOKEN, rbits::lookup).takes(&["rbit_id"], &[]),
    Entry::write("/rbit/create", ANY_TOKEN, rbits::create).takes(&rbits::REQUIRED, &rbits::OPTIONAL),
    Entry::write("/rbit/delete", ANY_TOKEN, rbits::delete).takes(&["rbit_id"], &[]),
    Entry::look_up("/rbit/find", ANY_TOKEN, rbits::find)
        .takes(&[], &["associated_object_type", "associated_object_id", "type", "source"]),
    Entry::look_up("/user", USER, users::lookup).takes(&[], &[]),
    Entry::write("/user/change_email", ANY_TOKEN, sso::change_email).takes(&["email"], &["cookie"]),
    Entry::write("/user/logout", ANY_TOKEN, sso::logout).takes(&[], &[]),
    Entry::write("/user/mark_email_verified", ANY_TOKEN, sso::mark_email_verified).takes(&[], &[]),
    Entry::write("/user/mfa/confirm", ANY_TOKEN, sso::second_factor),
    Entry::write("/user/mfa/create", ANY_TOKEN, sso::second_factor),
    Entry::look_up("/user/mfa/find", ANY_TOKEN, sso::second_factor),
    Entry::write("/user/mfa/modify", ANY_TOKEN, sso::second_factor),
    Entry::write("/user/mfa/send_challenge", ANY_TOKEN, sso::second_factor),
    Entry::write("/user/mfa/send_default_challenge", ANY_TOKEN, sso::second_factor),
    Entry::look_up("/user/mfa/validate_cookie", ANY_TOKEN, sso::second_factor),
    Entry::write("/user/modify", USER, users::modify).takes(&[], &["callback_uri", "rbits"]),
    Entry::write(super::REGISTER, Proof::Client, register::register).takes(&register::REQUIRED, &register::OPTIONAL),
    Entry::write("/user/request_sso_token", ANY_TOKEN, sso::request_token).takes(&[], &[]),
    // The old name knows the message alone (WePay API docs before the renaming).
    Entry::write("/user/resend_confirmation", ANY_TOKEN, users::send_confirmation).takes(&[], &["email_message"]),
    Entry::write("/user/send_confirmation", ANY_TOKEN, users::send_confirmation)
        .takes(&[], &["email_message", "email_subject", "email_button_text"]),
];

/// The call of this name.
pub(super) fn find(name: &str) -> Option<&'static Entry> {
    CALLS.binary_search_by(|entry| entry.name.cmp(name)).ok().and_then(|index| CALLS.get(index))
}

/// All calls, by name.
pub(in crate::sandbox) fn calls() -> impl Iterator<Item = &'static Entry> {
    CALLS.iter()
}

/// All calls, for programs that go through them; `parameters` is null where they depend on the API version.
pub(in crate::sandbox) fn describe() -> Value {
    let described = |entry: &Entry| {
        let (auth, scope) = match entry.proof {
            Proof::Token(scope) => ("token", scope),
            Proof::Client => ("client", None),
        };
        let parameters = entry.takes.map(|takes| json!({ "required": takes.required, "optional": takes.optional }));
        json!({
            "call": entry.name,
            "writes": entry.is_write,
            "auth": auth,
            "scope": scope,
            "parameters": parameters,
        })
    };
    calls().map(described).collect()
}

/// Whether this is the name of a call that changes something.
pub(in crate::sandbox) fn is_write(name: &str) -> bool {
    find(name).is_some_and(|entry| entry.is_write)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_so_that_every_call_is_found() {
        assert!(CALLS.is_sorted_by(|one, other| one.name < other.name));
        assert!(calls().all(|entry| find(entry.name).is_some_and(|found| found.name == entry.name)));
        assert!(find("/user/").is_none() && find("").is_none());
    }

    #[test]
    fn what_only_looks_writes_nothing() {
        assert!(is_write("/user/register") && is_write("/app/modify"));
        assert!(!is_write("/user") && !is_write("/account/find") && !is_write("/nothing"));
    }
}
