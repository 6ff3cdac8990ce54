//! The provider's JSON: what we write and how strictly we read (`docs/provider.md` §3, §5, §6).
//!
//! The only place with the provider's field names. Reading is all or nothing: an answer that breaks one rule is no
//! answer, and the caller then keeps its bytes or forgets them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::Serialize;
use url::Url;
use zeroize::Zeroizing;

use crate::domain::name::{Email, Subject};
use crate::domain::secret::{AccessToken, AuthorizationCode};

use super::http::Answer;
use super::{AppState, CallError, Credentials, DESCRIPTION_CHARS_MAX, IssuedToken, NotSentReason, Refusal, User};

/// Room for a request body, so that it never grows and leaves copies: secret 255, code 255, two URIs of 2083 bytes,
/// escaped at worst sixfold.
const REQUEST_BYTES: usize = 32 * 1024;
/// Longest access token: known ones have 64 to 75 characters, the provider's columns hold 255.
const TOKEN_BYTES_MAX: usize = 2048;
/// Longest short text of an answer (states, versions, error classes): known ones are under 30 characters.
const WORD_BYTES_MAX: usize = 64;
/// Longest name of a user: the provider's limit.
const USER_NAME_CHARS_MAX: usize = 255;
/// A run of this many token characters in a description is taken for a secret. Codes have 50, tokens 64 and more; the
/// longest word of a known description is far shorter.
const SECRET_RUN_CHARS_MIN: usize = 40;

const REMOVED: &str = "[removed]";

#[derive(serde::Serialize)]
#[serde(untagged)]
enum ClientId<'a> {
    Number(u64),
    Text(&'a str),
}

#[derive(serde::Serialize)]
struct ExchangeRequest<'a> {
    client_id: ClientId<'a>,
    client_secret: &'a str,
    redirect_uri: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback_uri: Option<&'a str>,
}

#[derive(serde::Serialize)]
struct AppRequest<'a> {
    client_id: ClientId<'a>,
    client_secret: &'a str,
}

pub(super) fn exchange_body(
    credentials: &Credentials,
    code: &AuthorizationCode,
    redirect_uri: &Url,
    callback_uri: Option<&Url>,
) -> Result<Zeroizing<Vec<u8>>, CallError> {
    body(&ExchangeRequest {
        client_id: client_id(&credentials.client_id),
        client_secret: credentials.client_secret.expose(),
        redirect_uri: redirect_uri.as_str(),
        code: code.expose(),
        callback_uri: callback_uri.map(Url::as_str),
    })
}

pub(super) fn app_body(credentials: &Credentials) -> Result<Zeroizing<Vec<u8>>, CallError> {
    let client_secret = credentials.client_secret.expose();
    body(&AppRequest { client_id: client_id(&credentials.client_id), client_secret })
}

pub(super) fn empty_body() -> Zeroizing<Vec<u8>> {
    Zeroizing::new(b"{}".to_vec())
}

fn body(request: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, CallError> {
    let mut body = Zeroizing::new(Vec::with_capacity(REQUEST_BYTES));
    serde_json::to_writer(&mut *body, request).map_err(|_| CallError::NotSent(NotSentReason::Request))?;
    Ok(body)
}

/// The documented type is a number; an id that is none goes out as it is.
fn client_id(text: &str) -> ClientId<'_> {
    text.parse().ok().filter(|number: &u64| number.to_string() == text).map_or(ClientId::Text(text), ClientId::Number)
}

/// A valid token answer, or `None`.
pub(super) fn token(answer: &Answer) -> Option<IssuedToken> {
    let mut fields = success(answer)?;
    let Some(Json::Text(mut token)) = fields.remove("access_token") else { return None };
    let well_formed =
        !token.is_empty() && token.len() <= TOKEN_BYTES_MAX && token.bytes().all(|b| b.is_ascii_graphic());
    let bearer = fields.get("token_type")?.text()?.eq_ignore_ascii_case("bearer");
    if !well_formed || !bearer {
        return None;
    }
    let expires_in = match fields.get("expires_in") {
        None | Some(Json::Null) => None,
        Some(Json::Integer(seconds)) if (1..=i128::from(i64::MAX)).contains(seconds) => {
            Some(Duration::from_secs(u64::try_from(*seconds).ok()?))
        }
        Some(_) => return None,
    };
    let subject = subject(fields.get("user_id")?)?;
    Some(IssuedToken { subject, access_token: AccessToken::new(std::mem::take(&mut *token)), expires_in })
}

/// A valid user, or `None`.
pub(super) fn user(answer: &Answer) -> Option<User> {
    let fields = success(answer)?;
    let user_name = fields.get("user_name").and_then(Json::text);
    Some(User {
        subject: subject(fields.get("user_id")?)?,
        email: fields.get("email").and_then(Json::text).and_then(|text| Email::parse("email", text).ok()),
        user_name: user_name.map(|name| plain(name, USER_NAME_CHARS_MAX)),
        state: word(fields.get("state")?)?,
    })
}

/// The state of the app with this id, or `None`.
pub(super) fn app(answer: &Answer, client_id: &str) -> Option<AppState> {
    let fields = success(answer)?;
    let same = match fields.get("client_id")? {
        Json::Integer(number) => number.to_string() == client_id,
        other => other.text()? == client_id,
    };
    same.then_some(())?;
    let optional = |name| fields.get(name).and_then(word);
    Some(AppState {
        state: word(fields.get("state")?)?,
        status: optional("status"),
        api_version: optional("api_version"),
    })
}

/// A clean refusal: HTTP 4xx or 5xx, and the envelope with its three keys or five, nothing else in it.
pub(super) fn refusal(answer: &Answer, sent: &[&str]) -> Option<Refusal> {
    if !(400..600).contains(&answer.status) {
        return None;
    }
    let fields = object(&answer.body)?;
    let known = ["error", "error_code", "error_description", "details", "documentation_url"];
    if !fields.keys().all(|key| known.contains(&key.as_str())) {
        return None;
    }
    let code = match fields.get("error_code") {
        None | Some(Json::Null) => None,
        Some(Json::Integer(number)) => Some(number.to_string()),
        Some(other) => Some(word(other)?),
    };
    let description = match fields.get("error_description") {
        None | Some(Json::Null) => "",
        Some(other) => other.text()?,
    };
    Some(Refusal {
        status: answer.status,
        error: word(fields.get("error")?)?,
        code,
        description: plain(&without_secrets(description, sent), DESCRIPTION_CHARS_MAX),
    })
}

/// The fields of an HTTP 200 that does not also claim an error.
fn success(answer: &Answer) -> Option<BTreeMap<String, Json>> {
    (answer.status == 200).then(|| object(&answer.body)).flatten().filter(|fields| !fields.contains_key("error"))
}

/// The provider's user id: a positive 64-bit integer; the oldest documented answer has it as a string of digits.
fn subject(value: &Json) -> Option<Subject> {
    let id = match value {
        Json::Integer(number) => i64::try_from(*number).ok()?,
        other => {
            let text = other.text()?;
            text.parse::<i64>().ok().filter(|number| number.to_string() == text)?
        }
    };
    Subject::parse(&Some(id).filter(|id| *id > 0)?.to_string()).ok()
}

/// A short text of visible ASCII characters.
fn word(value: &Json) -> Option<String> {
    let text = value.text()?;
    let fits = !text.is_empty() && text.len() <= WORD_BYTES_MAX && text.bytes().all(|b| b.is_ascii_graphic());
    fits.then(|| text.to_owned())
}

/// Text from outside, fit for a log line or a page: bounded, without control, bidirectional or zero-width characters.
pub(super) fn plain(text: &str, chars_max: usize) -> String {
    let invisible = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().take(chars_max).map(|c| if invisible(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// The text without the secrets of the request and without anything as long as one.
pub(super) fn without_secrets(text: &str, sent: &[&str]) -> String {
    let mut text = text.to_owned();
    for secret in sent.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, REMOVED);
    }
    let of_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let mut clean = String::with_capacity(text.len());
    for piece in text.split_inclusive(|c: char| !of_token(c)) {
        let run = piece.trim_end_matches(|c: char| !of_token(c));
        clean.push_str(if run.len() >= SECRET_RUN_CHARS_MIN { REMOVED } else { run });
        clean.push_str(piece.strip_prefix(run).unwrap_or_default());
    }
    clean
}

fn object(body: &[u8]) -> Option<BTreeMap<String, Json>> {
    match serde_json::from_slice(body).ok()? {
        Json::Object(fields) => Some(fields),
        _ => None,
    }
}

/// A JSON value as far as we look into it. Reading one fails on a repeated key at any depth: two readers of such a text
/// could disagree about what it says. Texts are wiped.
enum Json {
    Null,
    Integer(i128),
    Text(Zeroizing<String>),
    Object(BTreeMap<String, Json>),
    /// Booleans, fractions, arrays: well-formed, never what we want.
    Other,
}

impl Json {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Integer(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(Json::Integer(number.into()))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(Zeroizing::new(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        while items.next_element::<Json>()?.is_some() {}
        Ok(Json::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some((key, value)) = entries.next_entry::<String, Json>()? {
            if fields.insert(key, value).is_some() {
                return Err(A::Error::custom("repeated key"));
            }
        }
        Ok(Json::Object(fields))
    }
}
