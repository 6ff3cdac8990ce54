//! Reads a call's parameters and its bearer token, as laxly as WePay does.

use axum::http::{HeaderMap, Method, header};
use serde_json::{Map, Value};
use url::form_urlencoded;

use super::protocol::{ApiError, TEXT_MAX, URI_MAX};

/// A call's parameters by name.
#[derive(Default)]
pub(super) struct Parameters(Map<String, Value>);

impl Parameters {
    /// From the query of a GET, or from a form or JSON body; an empty body means none. All three were accepted, as the
    /// shipped clients show (PHP SDK: GET without parameters; omniauth: form; all others: JSON).
    pub(super) fn read(method: &Method, query: &str, headers: &HeaderMap, body: &[u8]) -> Result<Self, ApiError> {
        if method == Method::GET {
            return Ok(Self::from_form(query.as_bytes()));
        }
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self(Map::new()));
        }
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if content_type.trim().to_ascii_lowercase().starts_with("application/x-www-form-urlencoded") {
            return Ok(Self::from_form(body));
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(map)) => Ok(Self(map)),
            // What PHP's json_encode makes of an empty parameter list.
            Ok(Value::Array(items)) if items.is_empty() => Ok(Self(Map::new())),
            _ => Err(ApiError::unparsable()),
        }
    }

    fn from_form(text: &[u8]) -> Self {
        let pairs = form_urlencoded::parse(text);
        Self(pairs.map(|(name, value)| (name.into_owned(), Value::String(value.into_owned()))).collect())
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
        match self.0.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(ApiError::unexpected(name)),
            None => Ok(()),
        }
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

    /// An id that must be there; digits in a string are accepted (recorded in 2014 and 2017).
    pub(super) fn required_id(&self, name: &str) -> Result<u64, ApiError> {
        let text = self.required_text(name, TEXT_MAX)?;
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = if is_number { text.parse().ok() } else { None };
        number.ok_or_else(|| ApiError::invalid_parameter(format!("Parameter '{name}' expected integer")))
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
        assert_eq!(read(r#"{"client_id": 123}"#), Ok(123));
        assert_eq!(read(r#"{"client_id": "3800000001"}"#), Ok(3_800_000_001));
        assert_eq!(read("{}"), Err(ApiError::required("client_id")));
        assert_eq!(read(r#"{"client_id": ""}"#), Err(ApiError::required("client_id")));
        let wrong = ApiError::invalid_parameter("Parameter 'client_id' expected integer");
        for body in [r#"{"client_id": "12x"}"#, r#"{"client_id": 1.5}"#, r#"{"client_id": "-1"}"#] {
            assert_eq!(read(body), Err(wrong.clone()), "{body}");
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
    }
}
