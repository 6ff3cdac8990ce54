//! The calls there are: what answers each, what proves who calls, what it takes and whether it writes.

use serde_json::{Value, json};

use super::{ApiCall, Body, accounts, app, batch, rbits, register, sso, tokens, users};
use crate::sandbox::protocol::{ApiError, PERMISSION_SSO, SCOPE_MANAGE_ACCOUNTS, SCOPE_VIEW_USER};
use crate::sandbox::state::since;

/// What answers a call: the body of a 200, or the refusal.
pub(super) type Handler = fn(&mut ApiCall<'_>) -> Result<Body, ApiError>;

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
    /// What it takes besides since an API version.
    pub(super) since: Option<(&'static str, &'static [&'static str])>,
}

/// A call.
pub(in crate::sandbox) struct Entry {
    /// Its path, such as `/account/create`.
    pub(in crate::sandbox) name: &'static str,
    /// Whether it changes something at the provider; only such answers carry a cookie (recorded on stage).
    pub(in crate::sandbox) is_write: bool,
    /// What proves who calls.
    pub(in crate::sandbox) proof: Proof,
    /// What its app must be enabled for: a name of `protocol::PERMISSIONS`, and what a refusal calls it.
    pub(super) permission: Option<(&'static str, &'static str)>,
    /// What it takes; none where nothing is known of it.
    pub(super) takes: Option<Takes>,
    pub(super) handler: Handler,
}

impl Entry {
    const fn new(name: &'static str, is_write: bool, proof: Proof, handler: Handler) -> Self {
        Self { name, is_write, proof, permission: None, takes: None, handler }
    }

    /// A call that changes nothing.
    const fn look_up(name: &'static str, proof: Proof, handler: Handler) -> Self {
        Self::new(name, false, proof, handler)
    }

    /// A call that changes something.
    const fn write(name: &'static str, proof: Proof, handler: Handler) -> Self {
        Self::new(name, true, proof, handler)
    }

    /// Names what its app must be enabled for.
    const fn needs(mut self, permission: &'static str, what: &'static str) -> Self {
        self.permission = Some((permission, what));
        self
    }

    /// Names what it takes: what must be there, in the order in which it is missed, and what may be.
    const fn takes(mut self, required: &'static [&'static str], optional: &'static [&'static str]) -> Self {
        self.takes = Some(Takes { required, optional, since: None });
        self
    }

    /// The same, with what may be there besides since an API version.
    const fn takes_since(
        self,
        required: &'static [&'static str],
        optional: &'static [&'static str],
        since: (&'static str, &'static [&'static str]),
    ) -> Self {
        let takes = Some(Takes { required, optional, since: Some(since) });
        Self { takes, ..self }
    }
}

/// Scope `manage_accounts`: every account call (WePay API docs, permissions page).
const ACCOUNTS: Proof = Proof::Token(Some(SCOPE_MANAGE_ACCOUNTS));

/// Scope `view_user`: `/user` and `/user/modify` (same page).
const USER: Proof = Proof::Token(Some(SCOPE_VIEW_USER));

/// A token with whatever scope: the page names none for these.
const ANY_TOKEN: Proof = Proof::Token(None);

/// What `/account/create` may say beside name and description (WePay API docs, account page; WePay.NET).
const CREATE: [&str; 12] = [
    "reference_id",
    "type",
    "image_uri",
    "gaq_domains",
    "theme_object",
    "mcc",
    "callback_uri",
    "country",
    "currencies",
    "country_options",
    "fee_schedule_slot",
    "rbits",
];

/// What `/account/modify` may say (same sources).
const MODIFY: [&str; 10] = [
    "name",
    "description",
    "reference_id",
    "image_uri",
    "gaq_domains",
    "theme_object",
    "callback_uri",
    "country_options",
    "fee_schedule_slot",
    "rbits",
];

/// What both may say since the version that brought it.
const CONTACT: (&str, &[&str]) = (since::CONTACT, &["support_contact_number"]);

/// All calls, sorted by name (WePay API docs, one page for each family). `resend_confirmation` is the old name of
/// `send_confirmation` (change log of 2015-02-25), still in use later.
const CALLS: &[Entry] = &[
    Entry::look_up("/account", ACCOUNTS, accounts::lookup).takes(&["account_id"], &[]),
    Entry::write("/account/create", ACCOUNTS, accounts::create).takes_since(&["name", "description"], &CREATE, CONTACT),
    Entry::write("/account/delete", ACCOUNTS, accounts::delete).takes(&["account_id"], &["reason"]),
    Entry::look_up("/account/find", ACCOUNTS, accounts::find).takes_since(
        &[],
        &["name", "reference_id", "sort_order"],
        (since::PAGING, &["start", "limit"]),
    ),
    Entry::look_up("/account/get_reserve_details", ACCOUNTS, accounts::settlement::reserve_details)
        .takes(&["account_id"], &["currency"]),
    Entry::look_up("/account/get_update_uri", ACCOUNTS, accounts::update::uri)
        .takes(&["account_id"], &["mode", "redirect_uri", "prefill_info"]),
    Entry::look_up("/account/kyc", ACCOUNTS, accounts::kyc::lookup).needs("kyc", "kyc").takes(&["account_id"], &[]),
    Entry::write("/account/kyc/authorize", ACCOUNTS, accounts::kyc::authorize)
        .needs("kyc", "kyc")
        .takes(&["kyc_id"], &[]),
    Entry::write("/account/kyc/create", ACCOUNTS, accounts::kyc::create)
        .needs("kyc", "kyc")
        .takes(&["client_id", "account_id"], &["individual", "business", "organization"]),
    Entry::write("/account/kyc/modify", ACCOUNTS, accounts::kyc::modify)
        .needs("kyc", "kyc")
        .takes(&["account_id", "file_ids"], &[]),
    Entry::write("/account/membership/create", ACCOUNTS, accounts::membership::create)
        .takes(&["account_id", "member_access_token"], &["role", "admin_context"]),
    Entry::write("/account/membership/modify", ACCOUNTS, accounts::membership::modify)
        .takes(&["account_id", "user_id", "role"], &["admin_context"]),
    Entry::write("/account/membership/remove", ACCOUNTS, accounts::membership::remove)
        .takes(&["account_id", "user_id"], &[]),
    Entry::write("/account/modify", ACCOUNTS, accounts::modify).takes_since(&["account_id"], &MODIFY, CONTACT),
    Entry::write("/account/request_review", ACCOUNTS, accounts::settlement::request_review).takes(&["account_id"], &[]),
    Entry::write("/account/settlement_setup", ACCOUNTS, accounts::settlement::setup)
        .needs("settlement", "settlement")
        .takes(&["account_id", "settlement_method", "frequency"], &[]),
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
    Entry::write("/user/change_email", ANY_TOKEN, sso::change_email)
        .needs(PERMISSION_SSO, sso::WHAT)
        .takes(&["email"], &["cookie"]),
    Entry::write("/user/logout", ANY_TOKEN, sso::logout).needs(PERMISSION_SSO, sso::WHAT).takes(&[], &[]),
    Entry::write("/user/mark_email_verified", ANY_TOKEN, sso::mark_email_verified)
        .needs(PERMISSION_SSO, sso::WHAT)
        .takes(&[], &[]),
    Entry::write("/user/mfa/confirm", ANY_TOKEN, sso::second_factor),
    Entry::write("/user/mfa/create", ANY_TOKEN, sso::second_factor),
    Entry::look_up("/user/mfa/find", ANY_TOKEN, sso::second_factor),
    Entry::write("/user/mfa/modify", ANY_TOKEN, sso::second_factor),
    Entry::write("/user/mfa/send_challenge", ANY_TOKEN, sso::second_factor),
    Entry::write("/user/mfa/send_default_challenge", ANY_TOKEN, sso::second_factor),
    Entry::look_up("/user/mfa/validate_cookie", ANY_TOKEN, sso::second_factor),
    Entry::write("/user/modify", USER, users::modify).takes(&[], &["callback_uri", "rbits"]),
    Entry::write(super::REGISTER, Proof::Client, register::register).takes(&register::REQUIRED, &register::OPTIONAL),
    Entry::write("/user/request_sso_token", ANY_TOKEN, sso::request_token)
        .needs(PERMISSION_SSO, sso::WHAT)
        .takes(&[], &[]),
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

/// All calls, for programs that go through them; `parameters` is null where nothing is known of them.
pub(in crate::sandbox) fn describe() -> Value {
    let described = |entry: &Entry| {
        let (auth, scope) = match entry.proof {
            Proof::Token(scope) => ("token", scope),
            Proof::Client => ("client", None),
        };
        let since = |(version, names)| json!({ "version": version, "optional": names });
        let parameters = entry.takes.map(
            |takes| json!({ "required": takes.required, "optional": takes.optional, "since": takes.since.map(since) }),
        );
        json!({
            "call": entry.name,
            "writes": entry.is_write,
            "auth": auth,
            "scope": scope,
            "permission": entry.permission.map(|(permission, _)| permission),
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
    fn calls_that_the_first_version_alone_had_are_unknown() {
        for name in ["/account/balance", "/account/add_bank", "/account/set_tax", "/account/get_tax"] {
            assert!(find(name).is_none(), "{name}");
        }
    }

    #[test]
    fn what_only_looks_writes_nothing() {
        assert!(is_write("/user/register") && is_write("/app/modify"));
        assert!(!is_write("/user") && !is_write("/account/find") && !is_write("/nothing"));
    }
}
