//! WePay's literals: scopes, limits, error codes with their texts, and the error envelope.
//!
//! The sandbox shares no constant with the product, on purpose: were they shared, a mistake would agree with itself on
//! both sides. Sources are named by page; `docs/sandbox.md` says which facts are inferred.

use std::io;
use std::time::Duration;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};
use serde_json::{Map, Value, json};

use super::environment::Environment;
use super::settings::{Codes, Settings};

/// Scopes WePay knows. The first five are the current ones, the last three historic ones that its SDKs still send
/// (WePay API docs, permissions page; official SDKs).
pub(super) const SCOPES: [&str; 8] = [
    "manage_accounts",
    "collect_payments",
    "view_user",
    "preapprove_payments",
    "send_money",
    "manage_subscriptions",
    "view_balance",
    "refund_payments",
];

/// How many of them are current; `/user/register` wants all of these (WePay API docs, user page).
pub(super) const SCOPES_CURRENT: usize = 5;

/// The scope that `/user` and `/user/modify` need (WePay API docs, permissions page).
pub(super) const SCOPE_VIEW_USER: &str = "view_user";

/// The scope that every account call needs (same page).
pub(super) const SCOPE_MANAGE_ACCOUNTS: &str = "manage_accounts";

/// How long a temporary token lives: 90 days since [`VERSION_REGISTER`] (its change list).
pub(super) const TEMPORARY_LIFE: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// How long one lives that was asked for in the first version: 14 days (same list).
pub(super) const TEMPORARY_LIFE_2011: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// How long an authorization code lives: 10 minutes (WePay API docs, oauth2 page).
pub(super) const CODE_LIFE: Duration = Duration::from_secs(10 * 60);

/// How long a single sign-on token lives: 10 minutes (WePay.NET).
pub(super) const SSO_TOKEN_LIFE: Duration = Duration::from_secs(10 * 60);

/// How many calls one batch may carry (WePay API docs, batch page).
pub(super) const BATCH_MAX: usize = 50;

/// How long the sandbox's own pages remember who signed in; our choice, no source.
pub(super) const SESSION_LIFE: Duration = Duration::from_secs(60 * 60);

/// What an app can be enabled for (WePay API docs, account, user and kyc pages; names inferred): the pre-filled update page,
/// accounts in Canada and in Great Britain, fee schedules, settlement by call, identity by call, single sign-on. Second
/// factors are not among them: of their calls little more than the names is public, so no app here is ever enabled for them.
pub(super) const PERMISSIONS: [&str; 7] =
    ["prefill_info", "country_ca", "country_gb", "fee_schedule", "settlement", "kyc", PERMISSION_SSO];

/// The permission that the single sign-on calls need (WePay.NET: "permission required"; its name is inferred).
pub(super) const PERMISSION_SSO: &str = "sso";

/// Ordinary strings: 255 characters (WePay API docs, limits mirrored by WePay.NET).
pub(super) const TEXT_MAX: usize = 255;

/// First and last names: 127 characters (WePay API docs, user page).
pub(super) const NAME_MAX: usize = 127;

/// URIs: 2083 characters (WePay API docs, user and oauth2 pages).
pub(super) const URI_MAX: usize = 2083;

/// Descriptions and messages: 65,535 characters (WePay API docs, limits mirrored by WePay.NET).
pub(super) const LONG_TEXT_MAX: usize = 65_535;

/// Largest request body: the largest documented string has 65,535 characters (WePay.NET), each at most 12 bytes of
/// escaped JSON; the rest is headroom. WePay's own limit is not documented.
pub(super) const BODY_MAX: usize = 1024 * 1024;

/// The API version of the app's dashboard setting, in force without a header. Older than [`VERSION_DETAILS`], so that
/// errors have three keys unless the caller asks for more.
pub(super) const VERSION_DEFAULT: &str = "2018-03-21";

/// Since this version `/user/register` takes people who have a user already, and its tokens live longer (its change list).
pub(super) const VERSION_REGISTER: &str = "2014-01-08";

/// Since this version `/user/register` takes names of letters and digits alone (WePay API docs, change log).
pub(super) const VERSION_PLAIN_NAMES: &str = "2019-04-03";

/// Since this version errors carry `details` and `documentation_url` (WePay API docs, errors page).
pub(super) const VERSION_DETAILS: &str = "2018-08-29";

/// Since this version objects list the ids of their rbits (WePay API docs, rbit page: renamed in September 2015).
pub(super) const VERSION_RBIT_IDS: &str = "2015-09-09";

/// Since this version a user without a `callback_uri` has an empty one, instead of none: the newest when such a body was recorded
/// (README of catarse_payment_wepay, October 2016); which one brought it is inferred.
pub(super) const VERSION_CALLBACK_EMPTY: &str = "2016-08-10";

/// Every API version (WePay API docs, versioning page; the official Java SDK's folders).
pub(super) const VERSIONS: [&str; 17] = [
    "2011-01-15",
    "2014-01-08",
    "2015-08-15",
    "2015-09-09",
    "2015-11-18",
    "2016-03-30",
    "2016-05-18",
    "2016-06-22",
    "2016-07-13",
    "2016-08-10",
    "2016-12-07",
    "2017-02-01",
    "2017-05-31",
    "2018-03-21",
    "2018-08-29",
    "2018-10-03",
    "2019-04-03",
];

/// Where WePay's documentation stands.
const DOCUMENTATION: &str = "https://developer.wepay.com/api";

/// The text of an error that WePay itself cannot explain (WePay best practices, error 1008).
pub(super) const UNKNOWN_ERROR: &str = "there was an unknown error - please contact api@wepay.com for support";

/// The text of 3004 (WePay's error catalogue).
pub(super) const CANNOT_TRANSACT: &str = "this account can no longer transact";

/// The text of 4001 (recorded on stage: omnipay-wepay).
pub(super) const NO_CHECKOUT: &str = "there is no checkout with that ID";

/// A refusal as the API tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ApiError {
    /// HTTP status.
    pub(super) status: u16,
    /// The `error` value, a class of errors.
    pub(super) error: String,
    /// The `error_code`.
    pub(super) code: u32,
    /// The `error_description`.
    pub(super) description: String,
}

impl ApiError {
    /// A refusal of class `invalid_request`: HTTP 400 (recorded with 1003 and 1004).
    fn invalid_request(code: u32, description: impl Into<String>) -> Self {
        Self { status: 400, error: "invalid_request".to_owned(), code, description: description.into() }
    }

    /// A refusal of class `access_denied`: HTTP 401 (WePay API docs, errors page; not recorded for every code).
    fn access_denied(code: u32, description: impl Into<String>) -> Self {
        Self { status: 401, error: "access_denied".to_owned(), code, description: description.into() }
    }

    /// 1001 with HTTP 501, as recorded on stage.
    pub(super) fn unknown_call() -> Self {
        Self { status: 501, ..Self::invalid_request(1001, text_of(1001)) }
    }

    /// 1002: no Authorization header, or none that can be read (text from a log of real stage answers).
    pub(super) fn no_token() -> Self {
        Self::access_denied(1002, text_of(1002))
    }

    /// 1003: a parameter's value is wrong.
    pub(super) fn invalid_parameter(description: impl Into<String>) -> Self {
        Self::invalid_request(1003, description)
    }

    /// 1003: the call knows no such parameter (text from a live test of a public client).
    pub(super) fn unexpected(name: &str) -> Self {
        Self::invalid_parameter(format!("{name} parameter is unexpected"))
    }

    /// 1003: there is no such code (text known from wepay-rails; its number is inferred).
    pub(super) fn invalid_code() -> Self {
        Self::invalid_parameter("invalid code parameter")
    }

    /// The code was used before: answered like one that is unknown (inferred, so its number is a setting).
    pub(super) fn reused_code(codes: &Codes) -> Self {
        Self { code: codes.reused_code, ..Self::invalid_code() }
    }

    /// The code was issued for another `redirect_uri` (number a setting; class and text inferred).
    pub(super) fn redirect_mismatch(codes: &Codes) -> Self {
        Self::invalid_request(codes.redirect_mismatch, "redirect_uri does not match the one the code was issued for")
    }

    /// Another account of this (user, app) has this `reference_id` (number a setting; class and text inferred).
    pub(super) fn duplicate_reference_id(codes: &Codes) -> Self {
        let text = "reference_id parameter must be unique, an account already has it";
        Self::invalid_request(codes.duplicate_reference_id, text)
    }

    /// 1004: a required parameter is missing (recorded live).
    pub(super) fn required(name: &str) -> Self {
        Self::invalid_request(1004, format!("{name} parameter is required"))
    }

    /// 1005: the body cannot be read (number from the catalogue, text inferred).
    pub(super) fn unparsable() -> Self {
        Self::invalid_request(1005, "could not parse the request body")
    }

    /// 1002: a header is missing that every call must have (number and the headers' names from the catalogue, class and
    /// text inferred).
    pub(super) fn missing_header(name: &str) -> Self {
        Self::access_denied(1002, format!("the {name} header is required"))
    }

    /// 1006: no such token (number from the catalogue, text from wepay-rails).
    pub(super) fn unknown_token() -> Self {
        Self::access_denied(1006, text_of(1006))
    }

    /// A token of the other environment (text from an issue at WePay's PHP SDK; its number is a setting).
    pub(super) fn wrong_environment(here: Environment, codes: &Codes) -> Self {
        let (other, here) = (here.other().as_str(), here.as_str());
        let text = format!("You are trying to use an access_token from {other} on {here}");
        Self::access_denied(codes.wrong_environment, text)
    }

    /// A temporary token past its life: like a revoked one, or, where the settings say so, like one that never was. What
    /// WePay answers is not known.
    pub(super) fn expired_token(codes: &Codes) -> Self {
        let like = if codes.expired_token == 1006 { Self::unknown_token() } else { Self::revoked_token() };
        Self { code: codes.expired_token, ..like }
    }

    /// 1010: the token lacks a scope (body seen in a public crowdfunding app).
    pub(super) fn missing_scope(scope: &str) -> Self {
        let text = "access token does not have the necessary permissions for this action. Permission required:";
        Self::access_denied(1010, format!("{text} {scope}"))
    }

    /// 1010: something that WePay must enable for an app first (number from WePay best practices, text inferred).
    pub(super) fn not_enabled(what: &str) -> Self {
        Self::access_denied(1010, format!("this application does not have permission to use {what}"))
    }

    /// 1010: a call for people whom the app signs in itself (WePay.NET: not possible for others; number and text inferred).
    pub(super) fn not_single_sign_on() -> Self {
        Self::access_denied(1010, "this call is for users that were registered with type sso")
    }

    /// A scope list that is not all of the current ones, or names one that is not (class from the WePay API docs, errors
    /// page; number a setting, text inferred).
    pub(super) fn invalid_scope(codes: &Codes, description: impl Into<String>) -> Self {
        Self { error: "invalid_scope".to_owned(), ..Self::invalid_request(codes.invalid_scope, description) }
    }

    /// 3002: no such account, or somebody else's (recorded on stage).
    pub(super) fn foreign_account() -> Self {
        Self::access_denied(3002, text_of(3002))
    }

    /// 3002: an app changes its own accounts only (WePay API docs, errors page).
    pub(super) fn other_apps_account() -> Self {
        Self::access_denied(3002, "applications can only modify accounts they have created")
    }

    /// 3003: the account was deleted (number from the catalogue; class and text inferred).
    pub(super) fn deleted_account() -> Self {
        Self::invalid_request(3003, "this account has been deleted")
    }

    /// 7002: there is nothing to confirm (from a log of real stage answers; Invoice Ninja compares the text).
    pub(super) fn already_approved() -> Self {
        Self::invalid_request(7002, "This access_token is already approved.")
    }

    /// 1011: the token was revoked (number from the catalogue, text from wepay-rails).
    pub(super) fn revoked_token() -> Self {
        Self::access_denied(1011, text_of(1011))
    }

    /// 1012: the code is too old (number from the catalogue, text from django-wepay).
    pub(super) fn expired_code() -> Self {
        Self::invalid_request(1012, text_of(1012))
    }

    /// 1013: the code belongs to another app (number from the catalogue, text inferred).
    pub(super) fn foreign_code() -> Self {
        Self::invalid_request(1013, "the client_id does not match the client_id of the code")
    }

    /// 1015: no such API version (number from the catalogue, text inferred).
    pub(super) fn invalid_version() -> Self {
        Self::invalid_request(1015, "the Api-Version is invalid or has expired")
    }

    /// 1016: an API version that this app may not ask for (number from the catalogue, text inferred).
    pub(super) fn version_not_for_app() -> Self {
        Self::invalid_request(1016, "the Api-Version is not valid for this application")
    }

    /// 7003: the token's user is gone (number from the catalogue, text inferred).
    pub(super) fn deleted_user() -> Self {
        Self::access_denied(7003, "this user has been deleted")
    }

    /// Wrong client id or secret: class `invalid_client` (WePay API docs, errors page); its number is a setting, status and
    /// text are inferred.
    pub(super) fn invalid_client(codes: &Codes) -> Self {
        let description = "the client_id or client_secret is invalid".to_owned();
        Self { status: 401, error: "invalid_client".to_owned(), code: codes.invalid_client, description }
    }

    /// The app is disabled or deleted: the same class (same page); the rest is inferred.
    pub(super) fn disabled_app(codes: &Codes) -> Self {
        Self { description: "the application is disabled".to_owned(), ..Self::invalid_client(codes) }
    }

    /// 1008: something broke at the provider (class `processing_error`, HTTP 500).
    pub(super) fn processing() -> Self {
        Self { status: 500, error: "processing_error".to_owned(), code: 1008, description: UNKNOWN_ERROR.to_owned() }
    }

    /// 1007: too many calls (class and text: WePay best practices). Its HTTP status is not known.
    pub(super) fn throttled() -> Self {
        Self::scripted(429, 1007, None)
    }

    /// A scripted error: class and text follow from the code, where they have one; the text can be chosen.
    pub(super) fn scripted(status: u16, code: u32, description: Option<String>) -> Self {
        let error = match code {
            1002 | 1006 | 1010 | 1011 | 1014 | 3002 | 3302 | 4002 | 5002 | 6002 | 7001 | 7003 => "access_denied",
            1007 => "throttle_exceeded",
            1008 => "processing_error",
            _ => "invalid_request",
        };
        let description = description.unwrap_or_else(|| text_of(code).to_owned());
        Self { status, error: error.to_owned(), code, description }
    }

    /// With the HTTP status that the settings have for its code, if any.
    pub(super) fn with_status_of(mut self, settings: &Settings) -> Self {
        self.status = settings.http_status.get(&self.code).copied().unwrap_or(self.status);
        self
    }

    /// The page about a wrong or missing parameter is that of the call (bodies of omnipay-wepay; for a missing one inferred), any
    /// other that of the error's code (WePay best practices, an example of 1008).
    fn documentation_url(&self, call: &str) -> String {
        let call = call.trim_start_matches('/');
        match (self.code, call) {
            (1003 | 1004, name) if !name.is_empty() => {
                // These have a page of their own (WePay API docs, kyc page).
                let name = if name.starts_with("account/kyc") { name.trim_start_matches("account/") } else { name };
                let page = name.split('/').next().unwrap_or_default();
                let section = name.rsplit('/').next().unwrap_or_default();
                format!("{DOCUMENTATION}/api-calls/{page}#{section}")
            }
            (code, _) => format!("{DOCUMENTATION}/general/errors#{code}"),
        }
    }

    /// The body of an answer to a call, if it came so far that this is known: three keys, or five from [`VERSION_DETAILS`] on (a popular client breaks on a fourth key).
    pub(super) fn envelope(&self, version: &str, call: &str) -> Value {
        let mut body = Map::new();
        body.insert("error".to_owned(), json!(self.error));
        body.insert("error_description".to_owned(), json!(self.description));
        body.insert("error_code".to_owned(), json!(self.code));
        if version >= VERSION_DETAILS {
            body.insert("details".to_owned(), json!([]));
            body.insert("documentation_url".to_owned(), json!(self.documentation_url(call)));
        }
        Value::Object(body)
    }
}

/// The text of a code that has one; the codes of wrong values and of what only some calls answer have many.
fn text_of(code: u32) -> &'static str {
    match code {
        1001 => "that is not a recognized WePay API call",
        1002 => "could not parse authorization header, a valid access_token is required",
        1006 => "a valid access_token is required",
        1007 => "Your app has been throttled for making too many calls. Please retry this call later",
        1011 => "this access_token has been revoked",
        1012 => "the code has expired",
        3002 => "invalid account_id, account does not exist or does not belong to user",
        3004 => CANNOT_TRANSACT,
        4001 => NO_CHECKOUT,
        _ => UNKNOWN_ERROR,
    }
}

/// JSON text as WePay writes it: slashes escaped (recorded on stage).
pub(super) fn json_text(value: &impl Serialize) -> String {
    let mut text = Vec::with_capacity(JSON_USUAL);
    match value.serialize(&mut Serializer::with_formatter(&mut text, SlashesEscaped)) {
        Ok(()) => String::from_utf8(text).unwrap_or_default(),
        // What is answered has text keys only, and a vector takes everything.
        Err(_) => String::new(),
    }
}

/// Room for most answers: that of an account has about 1000 bytes.
const JSON_USUAL: usize = 1024;

/// Compact JSON with `\/` for each slash; a slash stands inside a string only.
struct SlashesEscaped;

impl Formatter for SlashesEscaped {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut parts = fragment.split('/');
        writer.write_all(parts.next().unwrap_or_default().as_bytes())?;
        parts.try_for_each(|part| {
            writer.write_all(b"\\/")?;
            writer.write_all(part.as_bytes())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_new_versions_see_five_keys() {
        let keys = |version| ApiError::unknown_call().envelope(version, "/null").as_object().unwrap().len();
        assert_eq!((keys("2011-01-15"), keys(VERSION_DEFAULT)), (3, 3));
        assert_eq!((keys("2018-08-29"), keys("2019-04-03")), (5, 5));
    }

    #[test]
    fn the_documentation_of_a_wrong_parameter_is_that_of_its_call_and_any_other_that_of_its_code() {
        let wrong = || ApiError::invalid_parameter("wrong");
        for (error, call, page) in [
            (ApiError::processing(), "/user/register", "general/errors#1008"),
            (ApiError::already_approved(), "/user/send_confirmation", "general/errors#7002"),
            (wrong(), "/user/register", "api-calls/user#register"),
            (wrong(), "/account", "api-calls/account#account"),
            (ApiError::required("name"), "/account/create", "api-calls/account#create"),
            (wrong(), "/account/kyc/create", "api-calls/kyc#create"),
            (wrong(), "/account/kyc", "api-calls/kyc#kyc"),
            (wrong(), "", "general/errors#1003"),
        ] {
            let body = error.envelope("2019-04-03", call);
            assert_eq!(body["documentation_url"], format!("https://developer.wepay.com/api/{page}"));
        }
    }

    #[test]
    fn a_scripted_error_is_like_one_that_happens() {
        for real in [
            ApiError::no_token(),
            ApiError::unknown_token(),
            ApiError::revoked_token(),
            ApiError::expired_code(),
            ApiError::foreign_account(),
            ApiError::processing(),
            ApiError::throttled(),
            ApiError::unknown_call(),
        ] {
            assert_eq!(ApiError::scripted(real.status, real.code, None), real);
        }
        let own = ApiError::scripted(400, 1011, Some("own".to_owned()));
        assert_eq!((own.status, own.description.as_str()), (400, "own"));
        assert_eq!(ApiError::scripted(401, 3302, None).error, "access_denied");
        assert_eq!(ApiError::scripted(400, 9999, None).description, UNKNOWN_ERROR);
    }

    #[test]
    fn slashes_are_escaped_and_still_parse() {
        let value = json!({"uri": "https://a.example/b\\/c"});
        let text = json_text(&value);
        assert!(text.contains(r"https:\/\/a.example\/b"));
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn the_text_is_plain_json_but_for_its_slashes() {
        let odd = ["", "/", "//", "a/b/", "\"/\\/\u{8}\n", "é/\u{1F600}/\u{2028}", "\u{7f}"];
        for text in odd {
            let value = json!({"a/b": [text, 1.5, -3, true, null, {"c": text}], "d": u64::MAX});
            assert_eq!(json_text(&value), value.to_string().replace('/', "\\/"));
        }
    }
}
