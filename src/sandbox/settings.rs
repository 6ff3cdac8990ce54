//! What the control API can switch: everything about WePay that no public source states, and the lies that tests need.
//!
//! Not durable: each start begins with the options it was given. `docs/sandbox.md` documents every one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::notices::ANSWER_MAX_S;

/// How calls are counted against the limit of an app.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Throttle {
    /// Not at all.
    #[default]
    Off,
    /// The calls of the last ten seconds count, at any moment (WePay's next API version says so of itself).
    Sliding,
    /// The calls since the last multiple of ten seconds count.
    Fixed,
}

/// What becomes of a notice that is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Notices {
    /// It is sent.
    #[default]
    Send,
    /// It waits until the control API releases it.
    Hold,
    /// It is forgotten.
    Off,
}

/// Error codes that no public source tells.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Codes {
    /// A second use of an authorization code.
    pub(super) reused_code: u32,
    /// A `redirect_uri` that is not the one the code was issued for.
    pub(super) redirect_mismatch: u32,
    /// A wrong client id or secret, or a disabled app.
    pub(super) invalid_client: u32,
    /// A scope that is unknown, or missing where all are wanted.
    pub(super) invalid_scope: u32,
    /// A `reference_id` that another account of this (user, app) has.
    pub(super) duplicate_reference_id: u32,
    /// A token of the other environment.
    pub(super) wrong_environment: u32,
    /// A temporary token past its life.
    pub(super) expired_token: u32,
}

impl Default for Codes {
    fn default() -> Self {
        Self {
            reused_code: 1003,
            redirect_mismatch: 1003,
            invalid_client: 1003,
            invalid_scope: 1003,
            duplicate_reference_id: 1003,
            wrong_environment: 1006,
            expired_token: 1011,
        }
    }
}

/// All of them.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// `/oauth2/token` revokes earlier tokens of the (user, app): the truth. False only for tests of tests.
    pub(super) token_revokes: bool,
    /// `/user/register` does so too: not stated anywhere, so both can be played.
    pub(super) register_revokes: bool,
    /// Redirect and callback URIs may also point to a loopback address.
    pub(super) lax_redirects: bool,
    /// A denial carries the `state` back.
    pub(super) state_on_denial: bool,
    /// A second use of a code revokes the tokens of its (user, app), as RFC 6749 advises; not known of WePay.
    pub(super) reused_code_revokes: bool,
    /// The domain registered for apps that name none of their own; redirect URIs must be on it.
    pub(super) registered_domain: String,
    /// Whether and how calls are limited.
    pub(super) throttle: Throttle,
    /// How many calls an app has in a window (WePay API docs, throttling page: 30).
    pub(super) throttle_calls: u32,
    /// Length of the window in seconds (same page: 10); the time scale divides it.
    pub(super) throttle_window_s: u32,
    /// HTTP statuses of errors by `error_code`, where they shall differ from the sandbox's own.
    pub(super) http_status: BTreeMap<u32, u16>,
    /// Error codes that no source tells.
    pub(super) codes: Codes,
    /// How many results a find answers when no `limit` is given; none is all of them.
    pub(super) find_limit: Option<u32>,
    /// An `Api-Version` must be the app's own or the next one, else 1016.
    pub(super) strict_versions: bool,
    /// A call without the headers that the catalogue names (User-Agent; Content-Type where there is a body) gets 1002.
    pub(super) headers_required: bool,
    /// What becomes of notices.
    pub(super) notices: Notices,
    /// How often each notice is sent, each time as if it were the only one.
    pub(super) notice_copies: u32,
    /// `Content-Type` of a notice.
    pub(super) notice_content_type: String,
    /// `User-Agent` of a notice; empty sends none.
    pub(super) notice_user_agent: String,
    /// How many seconds a receiver has to answer a notice; real time, whatever the clock does.
    pub(super) notice_timeout_s: u32,
}

impl Settings {
    /// The settings of a fresh start.
    pub(super) fn new(token_revokes: bool, register_revokes: bool, throttle: Throttle) -> Self {
        Self {
            token_revokes,
            register_revokes,
            lax_redirects: true,
            state_on_denial: true,
            reused_code_revokes: false,
            registered_domain: "localhost".to_owned(),
            throttle,
            throttle_calls: 30,
            throttle_window_s: 10,
            http_status: BTreeMap::new(),
            codes: Codes::default(),
            find_limit: None,
            strict_versions: false,
            headers_required: false,
            notices: Notices::Send,
            notice_copies: 1,
            notice_content_type: "application/x-www-form-urlencoded".to_owned(),
            notice_user_agent: "WePay".to_owned(),
            notice_timeout_s: ANSWER_MAX_S,
        }
    }
}
