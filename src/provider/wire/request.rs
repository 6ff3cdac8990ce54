//! The parameters of a call: one list, of which the body has all and the call log what is harmless.

use serde::ser::{Serialize, Serializer};
use url::Url;
use zeroize::Zeroizing;

use super::plain;

/// Longest ordinary text (`docs/provider.md` §3).
pub(in crate::provider) const TEXT_CHARS_MAX: usize = 255;
/// Longest first or last name (`docs/provider.md` §3).
pub(in crate::provider) const PERSON_NAME_CHARS_MAX: usize = 127;
/// Longest description or message (`docs/provider.md` §3).
pub(in crate::provider) const LONG_TEXT_CHARS_MAX: usize = 65_535;
/// Longest URI (`docs/provider.md` §3).
const URI_CHARS_MAX: usize = 2083;
/// Room for a body that holds a secret or a person's data, so that it never grows and leaves copies: a registration is the
/// longest, with secret, e-mail address, two names and a device of up to four bytes a character, and two URIs, escaped at
/// worst sixfold.
const BODY_BYTES: usize = 48 * 1024;
/// Longest value that the call log shows: the provider's limit of an account's name.
const SHOWN_CHARS_MAX: usize = 255;

const REDACTED: &str = "[redacted]";

/// The parameters of one call, in order.
#[derive(Default)]
pub(in crate::provider) struct Parameters<'a>(Vec<Parameter<'a>>);

struct Parameter<'a> {
    name: &'static str,
    value: Value<'a>,
    /// Most characters that the provider takes.
    chars_max: usize,
}

#[derive(serde::Serialize)]
#[serde(untagged)]
enum Value<'a> {
    Integer(i64),
    Text(&'a str),
    List([&'a str; 1]),
}

impl<'a> Parameters<'a> {
    /// With a text of at most this many characters.
    pub(in crate::provider) fn text(mut self, name: &'static str, text: &'a str, chars_max: usize) -> Self {
        self.0.push(Parameter { name, value: Value::Text(text), chars_max });
        self
    }

    /// With a text, if there is one.
    pub(in crate::provider) fn maybe(self, name: &'static str, text: Option<&'a str>, chars_max: usize) -> Self {
        match text {
            Some(text) => self.text(name, text, chars_max),
            None => self,
        }
    }

    /// With a URI.
    pub(in crate::provider) fn uri(self, name: &'static str, uri: Option<&'a Url>) -> Self {
        self.maybe(name, uri.map(Url::as_str), URI_CHARS_MAX)
    }

    /// With an id: the documented type is a number; an id that is none goes out as it is.
    pub(in crate::provider) fn id(self, name: &'static str, text: &'a str) -> Self {
        match text.parse().ok().filter(|number: &i64| number.to_string() == text) {
            Some(number) => self.integer(name, number),
            None => self.text(name, text, TEXT_CHARS_MAX),
        }
    }

    /// With a number.
    pub(in crate::provider) fn integer(mut self, name: &'static str, number: i64) -> Self {
        self.0.push(Parameter { name, value: Value::Integer(number), chars_max: 0 });
        self
    }

    /// With a list of one text.
    pub(in crate::provider) fn list_of_one(mut self, name: &'static str, text: &'a str) -> Self {
        self.0.push(Parameter { name, value: Value::List([text]), chars_max: TEXT_CHARS_MAX });
        self
    }

    /// The body of the request; `None` if a text is longer than the provider takes.
    pub(in crate::provider) fn body(&self) -> Option<Zeroizing<Vec<u8>>> {
        if !self.0.iter().all(Parameter::fits) {
            return None;
        }
        let mut body = Zeroizing::new(Vec::with_capacity(BODY_BYTES));
        serde_json::to_writer(&mut *body, self).ok()?;
        Some(body)
    }

    /// The parameters as JSON, without secrets and personal data.
    pub(in crate::provider) fn shown(&self) -> String {
        let shown = self.0.iter().map(|parameter| (parameter.name.to_owned(), parameter.shown()));
        serde_json::Value::Object(shown.collect()).to_string()
    }

    /// The texts that the call log does not show, and that an echo must not carry into a description.
    pub(in crate::provider) fn hidden(&self) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter_map(|parameter| match parameter.value {
            Value::Text(text) if !is_harmless(parameter.name) => Some(text),
            Value::Text(_) | Value::Integer(_) | Value::List(_) => None,
        })
    }
}

impl Serialize for Parameters<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|parameter| (parameter.name, &parameter.value)))
    }
}

impl Parameter<'_> {
    fn fits(&self) -> bool {
        match &self.value {
            Value::Integer(_) => true,
            Value::Text(text) | Value::List([text]) => text.chars().count() <= self.chars_max,
        }
    }

    fn shown(&self) -> serde_json::Value {
        match &self.value {
            _ if !is_harmless(self.name) => REDACTED.into(),
            Value::Integer(number) => (*number).into(),
            Value::Text(text) => match self.name {
                "callback_uri" => uri_shown(text, true),
                "redirect_uri" => uri_shown(text, false),
                _ => plain(text, SHOWN_CHARS_MAX),
            }
            .into(),
            Value::List([text]) => vec![plain(text, SHOWN_CHARS_MAX)].into(),
        }
    }
}

/// Whether people may see the value: what names our app, an account or a page of ours. Everything else is hidden, also what
/// a later call brings. `name` and `description` are an account's, which strangers read on their statements.
fn is_harmless(name: &str) -> bool {
    matches!(
        name,
        "client_id"
            | "scope"
            | "redirect_uri"
            | "callback_uri"
            | "account_id"
            | "reference_id"
            | "name"
            | "description"
            | "type"
            | "country"
            | "currencies"
    )
}

/// The URI without what authorizes: user, query, fragment, and the tag that ends the path of a notice.
fn uri_shown(text: &str, tagged: bool) -> String {
    let Ok(uri) = Url::parse(text) else { return REDACTED.to_owned() };
    let path = match uri.path().rsplit_once('/') {
        Some((path, _)) if tagged => format!("{path}/{REDACTED}"),
        _ => uri.path().to_owned(),
    };
    let query = if uri.query().or(uri.fragment()).is_some() { "?[redacted]" } else { "" };
    plain(&format!("{}{path}{query}", uri.origin().ascii_serialization()), URI_CHARS_MAX)
}
