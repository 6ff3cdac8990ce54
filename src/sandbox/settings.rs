//! What the control API can switch: everything about WePay that no public source states, and the lies that tests need.
//!
//! Not durable: each start begins with the options it was given. `docs/sandbox.md` documents every one.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use axum::http::HeaderValue;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Calls in a window: none at all would be an app that was never let in; above a million no test of a limit ends.
const THROTTLE_CALLS: RangeInclusive<u32> = 1..=1_000_000;

/// Seconds of a window: at most a day, beyond any limit that an API has.
const THROTTLE_WINDOW_S: RangeInclusive<u32> = 1..=86_400;

/// Error codes: four or five digits, like all of WePay's (WePay API docs, errors page).
const CODES: RangeInclusive<u32> = 1_001..=99_999;

/// HTTP statuses that an error may have.
const ERROR_STATUSES: RangeInclusive<u16> = 400..=599;

/// Copies of a notice: a hundred are duplicates enough for any test.
const NOTICE_COPIES: RangeInclusive<u32> = 1..=100;

/// Time for the answer to a notice: ten minutes is longer than any server waits.
const NOTICE_TIMEOUT_S: RangeInclusive<u32> = 1..=600;

/// Longest name of a domain (RFC 1035, section 2.3.4, as text).
const DOMAIN_MAX: usize = 253;

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
#[serde(deny_unknown_fields)]
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

    /// The same with some changed: all of them, or none and what is wrong with the first. An object replaces the one that is
    /// there, but for `codes`, of which only those named change.
    pub(super) fn changed(&self, changes: &Map<String, Value>) -> Result<Self, String> {
        let mut all = json!(self);
        for (name, value) in changes {
            let slot = all.get_mut(name).ok_or_else(|| format!("there is no setting {name}"))?;
            match (name.as_str(), slot.as_object_mut(), value.as_object()) {
                ("codes", Some(codes), Some(changed)) => codes.extend(changed.clone()),
                _ => *slot = value.clone(),
            }
        }
        let settings: Self = serde_json::from_value(all).map_err(|error| error.to_string())?;
        settings.check()?;
        Ok(settings)
    }

    /// What is wrong with the first setting that is.
    fn check(&self) -> Result<(), String> {
        let Codes {
            reused_code,
            redirect_mismatch,
            invalid_client,
            invalid_scope,
            duplicate_reference_id,
            wrong_environment,
            expired_token,
        } = self.codes;
        let codes = [
            reused_code,
            redirect_mismatch,
            invalid_client,
            invalid_scope,
            duplicate_reference_id,
            wrong_environment,
            expired_token,
        ];
        for code in codes {
            within("codes", &code, &CODES)?;
        }
        for (code, status) in &self.http_status {
            within("codes in http_status", code, &CODES)?;
            within("http_status", status, &ERROR_STATUSES)?;
        }
        within("throttle_calls", &self.throttle_calls, &THROTTLE_CALLS)?;
        within("throttle_window_s", &self.throttle_window_s, &THROTTLE_WINDOW_S)?;
        within("notice_copies", &self.notice_copies, &NOTICE_COPIES)?;
        within("notice_timeout_s", &self.notice_timeout_s, &NOTICE_TIMEOUT_S)?;
        within("find_limit", &self.find_limit.unwrap_or(1), &(1..=u32::MAX))?;
        if !is_domain(&self.registered_domain) {
            return Err("registered_domain must be the name of a domain in small letters".to_owned());
        }
        if self.notice_content_type.is_empty() {
            return Err("notice_content_type must not be empty".to_owned());
        }
        let headers =
            [("notice_content_type", &self.notice_content_type), ("notice_user_agent", &self.notice_user_agent)];
        match headers.into_iter().find(|(_, value)| HeaderValue::from_str(value).is_err()) {
            Some((name, _)) => Err(format!("{name} must be the value of a header")),
            None => Ok(()),
        }
    }
}

fn within<N: PartialOrd + std::fmt::Display>(name: &str, number: &N, range: &RangeInclusive<N>) -> Result<(), String> {
    if range.contains(number) {
        return Ok(());
    }
    Err(format!("{name} must be between {} and {}", range.start(), range.end()))
}

/// Whether a text can be the host of a redirect URI, as it stands in one: labels of letters, digits and hyphens, in small letters.
fn is_domain(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_label = |label: &str| !label.is_empty() && label.bytes().all(is_part);
    text.len() <= DOMAIN_MAX && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings::new(true, false, Throttle::Off)
    }

    fn changed(changes: Value) -> Result<Settings, String> {
        settings().changed(changes.as_object().unwrap())
    }

    #[test]
    fn the_settings_of_a_start_are_valid() {
        assert_eq!(settings().check(), Ok(()));
    }

    #[test]
    fn each_setting_takes_what_it_means_and_refuses_the_rest() {
        for (name, good, bad) in [
            ("token_revokes", vec![json!(false)], vec![json!(1), json!(null)]),
            ("register_revokes", vec![json!(true)], vec![json!("yes")]),
            ("lax_redirects", vec![json!(false)], vec![json!(0)]),
            ("state_on_denial", vec![json!(false)], vec![json!([])]),
            ("reused_code_revokes", vec![json!(true)], vec![json!({})]),
            ("strict_versions", vec![json!(true)], vec![json!("")]),
            ("headers_required", vec![json!(true)], vec![json!(2)]),
            (
                "registered_domain",
                vec![json!("shop.example"), json!("xn--a-b.example")],
                vec![json!(""), json!("Shop.example"), json!("a b"), json!("https://a.example"), json!("a..b")],
            ),
            ("throttle", vec![json!("off"), json!("sliding"), json!("fixed")], vec![json!("on"), json!(30)]),
            ("throttle_calls", vec![json!(1), json!(1_000_000)], vec![json!(0), json!(1_000_001), json!(-1)]),
            ("throttle_window_s", vec![json!(1), json!(86_400)], vec![json!(0), json!(86_401), json!(0.5)]),
            (
                "http_status",
                vec![json!({}), json!({"1007": 429, "99999": 599}), json!({"1001": 400})],
                vec![
                    json!({"1000": 400}),
                    json!({"100000": 400}),
                    json!({"1007": 399}),
                    json!({"1007": 600}),
                    json!([]),
                ],
            ),
            (
                "codes",
                vec![json!({"reused_code": 1012}), json!({})],
                vec![json!({"reused_code": 1000}), json!({"unknown": 1003}), json!(1003)],
            ),
            ("find_limit", vec![json!(null), json!(1)], vec![json!(0), json!("all")]),
            ("notices", vec![json!("send"), json!("hold"), json!("off")], vec![json!("on")]),
            ("notice_copies", vec![json!(1), json!(100)], vec![json!(0), json!(101)]),
            ("notice_timeout_s", vec![json!(1), json!(600)], vec![json!(0), json!(601), json!(1.5)]),
            ("notice_content_type", vec![json!("text/plain")], vec![json!(""), json!("a\nb")]),
            ("notice_user_agent", vec![json!(""), json!("WePay/2")], vec![json!("a\rb")]),
        ] {
            for value in good {
                assert!(changed(json!({ name: value.clone() })).is_ok(), "{name} {value}");
            }
            for value in bad {
                assert!(changed(json!({ name: value.clone() })).is_err(), "{name} {value}");
            }
        }
        assert_eq!(changed(json!({"colour": "red"})).unwrap_err(), "there is no setting colour");
    }

    #[test]
    fn codes_change_one_by_one_and_other_objects_whole() {
        let first = changed(json!({"codes": {"reused_code": 1012}, "http_status": {"1007": 503}})).unwrap();
        let changes = json!({"codes": {"expired_token": 1006}, "http_status": {"1011": 403}});
        let second = first.changed(changes.as_object().unwrap()).unwrap();
        assert_eq!((second.codes.reused_code, second.codes.expired_token), (1012, 1006));
        assert_eq!(second.http_status, BTreeMap::from([(1011, 403)]));
    }
}
