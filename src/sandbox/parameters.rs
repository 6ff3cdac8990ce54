//! Reads a call's parameters and its bearer token, as laxly as WePay does.

mod form;

use axum::http::{HeaderMap, Method, header};
use serde_json::{Map, Number, Value};

use super::protocol::{ApiError, TEXT_MAX, URI_MAX};

/// What some clients put before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Whole numbers up to here are exact as floating point: 2^53.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// A call's parameters by name.
#[derive(Default)]
pub(super) struct Parameters(Map<String, Value>);

impl Parameters {
    /// From the query of a GET, or from a form or JSON body; an empty body means none. All three were accepted, as the
    /// shipped clients show (PHP SDK: GET without parameters; omniauth: form; all others: JSON). The query of a POST is ignored.
    ///
    /// A body is a form where its type says so, unless it is an object of JSON all the same; else it is JSON, whatever its type
    /// and charset say, in UTF-8, with or without its byte order mark (all this is inferred). Of equal names the last counts.
    pub(super) fn read(method: &Method, query: &str, headers: &HeaderMap, body: &[u8]) -> Result<Self, ApiError> {
        if method == Method::GET {
            return Self::from_form(query.as_bytes());
        }
        let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body).trim_ascii();
        if body.is_empty() {
            return Ok(Self(Map::new()));
        }
        let is_form = headers.get(header::CONTENT_TYPE).is_some_and(|value| is_form(value.as_bytes()));
        if is_form && !body.starts_with(b"{") {
            return Self::from_form(body);
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(map)) => Ok(Self(map)),
            // What PHP's json_encode makes of an empty parameter list.
            Ok(Value::Array(items)) if items.is_empty() => Ok(Self(Map::new())),
            _ if is_form => Self::from_form(body),
            _ => Err(ApiError::unparsable()),
        }
    }

    fn from_form(text: &[u8]) -> Result<Self, ApiError> {
        form::parse(text).map(Self).ok_or_else(ApiError::unparsable)
    }

    /// 1003 for the first parameter that is in none of the lists. One without a value counts as absent.
    pub(super) fn refuse_others(&self, lists: &[&[&str]]) -> Result<(), ApiError> {
        let is_known = |name: &str| lists.iter().any(|list| list.contains(&name));
        match self.0.iter().find(|(name, value)| !value.is_null() && !is_known(name)) {
            Some((name, _)) => Err(ApiError::unexpected(name)),
            None => Ok(()),
        }
    }

    /// 1004 for the first of these that is not there. An empty text is there; whether it will do, each call says.
    pub(super) fn require(&self, names: &[&str]) -> Result<(), ApiError> {
        match names.iter().find(|name| self.0.get(**name).is_none_or(Value::is_null)) {
            Some(name) => Err(ApiError::required(name)),
            None => Ok(()),
        }
    }

    /// A parameter as it came.
    pub(super) fn raw(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The fields of an object that may be missing, to be read like parameters.
    pub(super) fn nested(&self, name: &str) -> Result<Option<Self>, ApiError> {
        Ok(match self.object(name)? {
            Some(Value::Object(fields)) => Some(Self(fields)),
            _ => None,
        })
    }

    /// 1003 for the first parameter that the call does not know.
    pub(super) fn refuse_unexpected(&self, known: &[&str]) -> Result<(), ApiError> {
        self.refuse_others(&[known])
    }

    /// A text that must be there; empty counts as missing.
    pub(super) fn required_text(&self, name: &str, limit: usize) -> Result<String, ApiError> {
        self.text(name, limit)?.ok_or_else(|| ApiError::required(name))
    }

    /// A text that may be missing. A number is taken as its digits.
    pub(super) fn text(&self, name: &str, limit: usize) -> Result<Option<String>, ApiError> {
        let text = match self.0.get(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) if text.is_empty() => return Ok(None),
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            Some(_) => return Err(ApiError::invalid_parameter(format!("Parameter '{name}' expected string"))),
        };
        if text.chars().count() > limit {
            return Err(ApiError::invalid_parameter(format!("{name} must be at most {limit} characters")));
        }
        Ok(Some(text))
    }

    /// An e-mail address that must be there; the text of the error is inferred.
    pub(super) fn email(&self, name: &str) -> Result<String, ApiError> {
        let email = self.required_text(name, TEXT_MAX)?;
        if is_address(&email) { Ok(email) } else { Err(ApiError::invalid_parameter(format!("invalid {name}"))) }
    }

    /// An id that must be there; digits in a string are accepted (recorded in 2014 and 2017), and so is a number that is whole
    /// though it has a decimal point (inferred).
    pub(super) fn required_id(&self, name: &str) -> Result<u64, ApiError> {
        let id = match self.0.get(name) {
            Some(Value::Number(number)) => whole(number),
            Some(Value::Bool(_)) => None,
            _ => {
                let text = self.required_text(name, TEXT_MAX)?;
                let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
                if is_number { text.parse().ok() } else { None }
            }
        };
        id.ok_or_else(|| ApiError::invalid_parameter(format!("Parameter '{name}' expected integer")))
    }

    /// A whole number that may be missing; digits in a string count as one.
    pub(super) fn integer(&self, name: &str) -> Result<Option<u64>, ApiError> {
        match self.text(name, TEXT_MAX)? {
            None => Ok(None),
            Some(_) => self.required_id(name).map(Some),
        }
    }

    /// A JSON array that may be missing.
    pub(super) fn array(&self, name: &str) -> Result<Option<Value>, ApiError> {
        self.shaped(name, "array", Value::is_array)
    }

    /// A JSON object that may be missing.
    pub(super) fn object(&self, name: &str) -> Result<Option<Value>, ApiError> {
        self.shaped(name, "object", Value::is_object)
    }

    fn shaped(&self, name: &str, shape: &str, is_shaped: fn(&Value) -> bool) -> Result<Option<Value>, ApiError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) if is_shaped(value) => Ok(Some(value.clone())),
            Some(_) => Err(ApiError::invalid_parameter(format!("Parameter '{name}' expected {shape}"))),
        }
    }

    /// Where notices shall go; may be missing. Full, and neither this machine nor WePay itself (WePay API docs, notices
    /// page; the texts are inferred); `is_lax` permits this machine.
    pub(super) fn callback_uri(&self, is_lax: bool) -> Result<Option<String>, ApiError> {
        let name = "callback_uri";
        let Some(uri) = self.uri(name)? else { return Ok(None) };
        if uri.to_ascii_lowercase().contains("wepay.com") {
            return Err(ApiError::invalid_parameter(format!("{name} cannot contain wepay.com")));
        }
        if !is_lax && is_this_machine(&uri) {
            return Err(ApiError::invalid_parameter(format!("{name} cannot be localhost or 127.0.0.1")));
        }
        Ok(Some(uri))
    }

    /// A full URI that may be missing.
    pub(super) fn uri(&self, name: &str) -> Result<Option<String>, ApiError> {
        match self.text(name, URI_MAX)? {
            Some(uri) if !is_full_uri(&uri) => Err(ApiError::invalid_parameter(not_full(name))),
            other => Ok(other),
        }
    }
}

/// A path without its percent-encoding and without slashes that say nothing; as it is when that is no text.
pub(super) fn plain_path(path: &str) -> String {
    let decoded = form::decode(path.as_bytes(), false).unwrap_or_else(|| path.to_owned());
    let mut plain = String::with_capacity(decoded.len());
    for segment in decoded.split('/').filter(|segment| !segment.is_empty()) {
        if !plain.is_empty() || decoded.starts_with('/') {
            plain.push('/');
        }
        plain.push_str(segment);
    }
    plain
}

/// Whether a content type is that of forms, whatever its charset.
fn is_form(media: &[u8]) -> bool {
    let name = b"application/x-www-form-urlencoded";
    media.trim_ascii_start().get(..name.len()).is_some_and(|media| media.eq_ignore_ascii_case(name))
}

/// The number, if it is a whole one that is not negative.
fn whole(number: &Number) -> Option<u64> {
    let exact = |float: &f64| float.fract() == 0.0 && (0.0..=EXACT_MAX).contains(float);
    number.as_u64().or_else(|| number.as_f64().filter(exact).and_then(|float| format!("{float:.0}").parse().ok()))
}

/// Whether a text can be an e-mail address: something on both sides of an at sign, and nothing that no address has, so that
/// what is kept is what was given.
pub(super) fn is_address(text: &str) -> bool {
    let has_both = text.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
    has_both && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// Whether a text is an absolute http or https URI with a host.
pub(super) fn is_full_uri(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// Whether a URI leads to a loopback address.
fn is_this_machine(text: &str) -> bool {
    match url::Url::parse(text).ok().as_ref().and_then(url::Url::host) {
        Some(url::Host::Domain(host)) => host == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// The text about a relative URI (from a log of real stage answers).
pub(super) fn not_full(name: &str) -> String {
    format!("{name} must be a full uri (ex https://www.wepay.com )")
}

/// The token of an Authorization header. Lax where WePay's own clients are sloppy: the scheme in any case, a colon after
/// it (iOS SDK, wepay-rails).
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim();
    let (scheme, rest) = value.split_at_checked("bearer".len())?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let rest = rest.strip_prefix(':').unwrap_or(rest);
    let token = rest.trim_start();
    let is_token = token.len() < rest.len() && !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    is_token.then_some(token)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn token_of(value: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap_or(HeaderValue::from_static("")));
        bearer(&headers).map(str::to_owned)
    }

    #[test]
    fn bearer_is_read_as_laxly_as_shipped_clients_write_it() {
        for value in ["Bearer abc", "Bearer: abc", "BEARER abc", "bearer  abc", " Bearer abc "] {
            assert_eq!(token_of(value).as_deref(), Some("abc"), "{value:?}");
        }
        for value in ["", "Bearer", "Bearer ", "Bearer:", "Bearerabc", "Basic abc", "Bearer a b", "abc"] {
            assert_eq!(token_of(value), None, "{value:?}");
        }
    }

    fn json(body: &str) -> Result<Parameters, ApiError> {
        Parameters::read(&Method::POST, "", &HeaderMap::new(), body.as_bytes())
    }

    fn typed(media: &str, body: &[u8]) -> Result<Parameters, ApiError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(media).unwrap());
        Parameters::read(&Method::POST, "code=query", &headers, body)
    }

    #[test]
    fn a_body_is_what_it_looks_like_rather_than_what_its_type_says() {
        let form = "Application/X-WWW-Form-Urlencoded; charset=ISO-8859-1";
        for (media, body) in [
            (form, &b"code=a"[..]),
            (form, b" {\"code\": \"a\"}"),
            ("application/json; charset=utf-8", b"{\"code\": \"b\", \"code\": \"a\"}"),
            ("text/plain", b"{\"code\": \"a\"}"),
            ("application/json", b"\xEF\xBB\xBF{\"code\": \"a\"}\n"),
        ] {
            let text = typed(media, body).unwrap().text("code", TEXT_MAX);
            assert_eq!(text, Ok(Some("a".to_owned())), "{media} {body:?}");
        }
        let odd = typed(form, b"{code=a").unwrap();
        assert_eq!(odd.refuse_unexpected(&[]), Err(ApiError::unexpected("{code")));
        let deep = format!("{{\"a\": {}1{}}}", "[".repeat(200), "]".repeat(200));
        for (media, body) in [
            (form, &b"code=%ff"[..]),
            ("application/json", b"code=a"),
            ("application/json", b"{\"code\": \"\xff\"}"),
            ("application/json", b"{\"code\": \"\\ud800\"}"),
            ("application/json", b"{\"code\": 1e999}"),
            ("application/json", b"{} {}"),
            ("application/json", deep.as_bytes()),
        ] {
            assert_eq!(typed(media, body).err(), Some(ApiError::unparsable()), "{media} {body:?}");
        }
    }

    #[test]
    fn a_path_is_read_without_its_encoding_and_idle_slashes() {
        for path in ["/user/modify", "/user/modify//", "//user//modify", "/%75ser%2Fmodify", "/user/modify/"] {
            assert_eq!(plain_path(path), "/user/modify", "{path}");
        }
        assert_eq!((plain_path("*"), plain_path("user/")), ("*".into(), "user".into()));
        assert_eq!(
            (plain_path("/a+b"), plain_path("/%ff"), plain_path("/")),
            ("/a+b".into(), "/%ff".into(), String::new())
        );
    }

    #[test]
    fn bodies_are_objects_or_nothing() {
        for body in ["", "  \n", "{}", "[]"] {
            assert!(json(body).unwrap().0.is_empty(), "{body:?}");
        }
        for body in ["null", "[1]", "\"x\"", "{", "client_id=1"] {
            assert_eq!(json(body).err(), Some(ApiError::unparsable()), "{body:?}");
        }
    }

    #[test]
    fn ids_may_be_numbers_or_digits_in_a_string() {
        let read = |body: &str| json(body).unwrap().required_id("client_id");
        for body in [r#"{"client_id": 123}"#, r#"{"client_id": 123.0}"#, r#"{"client_id": 1.23e2}"#] {
            assert_eq!(read(body), Ok(123), "{body}");
        }
        assert_eq!(read(r#"{"client_id": 18446744073709551615}"#), Ok(u64::MAX));
        assert_eq!(read(r#"{"client_id": "3800000001"}"#), Ok(3_800_000_001));
        assert_eq!(read("{}"), Err(ApiError::required("client_id")));
        assert_eq!(read(r#"{"client_id": ""}"#), Err(ApiError::required("client_id")));
        let wrong = ApiError::invalid_parameter("Parameter 'client_id' expected integer");
        for value in [r#""12x""#, "1.5", r#""-1""#, "-1", "-1.0", "1e300", "18446744073709551616", "true", r#""1.0""#] {
            assert_eq!(read(&format!(r#"{{"client_id": {value}}}"#)), Err(wrong.clone()), "{value}");
        }
    }

    #[test]
    fn notices_go_to_a_full_uri_elsewhere_and_in_lax_mode_here() {
        let read = |uri: &str, is_lax| json(&format!(r#"{{"callback_uri": "{uri}"}}"#)).unwrap().callback_uri(is_lax);
        assert!(read("https://shop.example/n?a=b", false).unwrap().is_some());
        for uri in ["http://localhost:1/n", "http://127.0.0.1/n", "http://[::1]/n"] {
            assert!(read(uri, true).is_ok() && read(uri, false).is_err(), "{uri}");
        }
        for uri in ["/n", "shop.example/n", "https://stage.WePay.com/n"] {
            assert!(read(uri, true).is_err(), "{uri}");
        }
        assert_eq!(json("{}").unwrap().callback_uri(false), Ok(None));
    }

    #[test]
    fn lists_objects_and_numbers_keep_their_shape() {
        let all = json(r#"{"list": [1], "object": {"a": 1}, "number": "12", "none": null}"#).unwrap();
        assert!(all.array("list").unwrap().is_some() && all.object("object").unwrap().is_some());
        assert_eq!((all.integer("number"), all.integer("none")), (Ok(Some(12)), Ok(None)));
        assert_eq!((all.array("none"), all.object("absent")), (Ok(None), Ok(None)));
        let wrong = |shape: &str| ApiError::invalid_parameter(format!("Parameter 'number' expected {shape}"));
        assert_eq!((all.array("number"), all.object("number")), (Err(wrong("array")), Err(wrong("object"))));
        assert!(all.integer("list").is_err());
    }

    #[test]
    fn unexpected_parameters_are_named() {
        let parameters = json(r#"{"code": "x", "cvv": 1}"#).unwrap();
        assert_eq!(parameters.refuse_unexpected(&["code"]), Err(ApiError::unexpected("cvv")));
        assert_eq!(parameters.refuse_unexpected(&["code", "cvv"]), Ok(()));
        assert_eq!(json(r#"{"cvv": null}"#).unwrap().refuse_unexpected(&[]), Ok(()), "null is absent");
    }

    #[test]
    fn the_first_parameter_that_is_missing_is_named() {
        let parameters = json(r#"{"a": 0, "b": "", "c": null, "d": false}"#).unwrap();
        assert_eq!(parameters.require(&["a", "b", "d"]), Ok(()));
        for name in ["c", "e"] {
            assert_eq!(parameters.require(&["a", name, "x"]), Err(ApiError::required(name)));
        }
    }
}
