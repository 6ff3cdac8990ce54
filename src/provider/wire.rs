//! The provider's JSON: what we write and how strictly we read (`docs/provider.md` §3, §5 to §8).
//!
//! The only place that knows the fields of answers. Reading is all or nothing: an answer that breaks one rule is no
//! answer, and the caller then keeps its bytes or forgets them.

mod json;
mod request;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::domain::account::{AccountKind, AccountState, ProviderAccount};
use crate::domain::ambient::Timestamp;
use crate::domain::name::{Email, Subject};
use crate::domain::secret::AccessToken;

use super::http::Answer;
use super::{AppState, DESCRIPTION_CHARS_MAX, IssuedToken, Refusal, User};

use json::Json;

pub(super) use request::{LONG_TEXT_CHARS_MAX, PERSON_NAME_CHARS_MAX, Parameters, TEXT_CHARS_MAX};

/// Longest access token: known ones have 64 to 75 characters, the provider's columns hold 255.
const TOKEN_BYTES_MAX: usize = 2048;
/// Longest short text of an answer (states, versions, error classes): known ones are under 30 characters.
const WORD_BYTES_MAX: usize = 64;
/// Most action or disabled reasons of an account: three and seven are on record.
const REASONS_MAX: usize = 32;
/// A run of this many token characters in a description is taken for a secret. Codes have 50, tokens 64 and more; the
/// longest word of a known description is far shorter.
const SECRET_RUN_CHARS_MIN: usize = 40;

const REMOVED: &str = "[removed]";

/// Shorter values of a request are not looked for in a description: they would be found in every other word.
const ECHO_BYTES_MIN: usize = 3;

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
        user_name: user_name.map(|name| plain(name, TEXT_CHARS_MAX)),
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

/// A valid account, or `None`.
pub(super) fn account(answer: &Answer) -> Option<ProviderAccount> {
    account_of(&success(answer)?)
}

/// A list of valid accounts, or `None` if one is not.
pub(super) fn accounts(answer: &Answer) -> Option<Vec<ProviderAccount>> {
    if answer.status != 200 {
        return None;
    }
    let Json::Array(items) = serde_json::from_slice(&answer.body).ok()? else { return None };
    items.iter().map(|item| item.object().and_then(account_of)).collect()
}

fn account_of(fields: &BTreeMap<String, Json>) -> Option<ProviderAccount> {
    let state = word(fields.get("state")?)?;
    let kind = optional(fields, "type", word)?;
    let currency = match fields.get("currencies")? {
        Json::Array(currencies) => currencies.first().and_then(word)?,
        _ => return None,
    };
    Some(ProviderAccount {
        id: id(fields.get("account_id")?)?,
        name: plain(fields.get("name")?.text()?, TEXT_CHARS_MAX),
        description: optional(fields, "description", |text| Some(plain(text.text()?, LONG_TEXT_CHARS_MAX)))?
            .unwrap_or_default(),
        reference_id: optional(fields, "reference_id", |text| Some(plain(text.text()?, TEXT_CHARS_MAX)))?
            .filter(|id| !id.is_empty()),
        owner: optional(fields, "owner_user_id", subject)?,
        state: AccountState::parse(&state),
        action_reasons: optional(fields, "action_reasons", words)?.unwrap_or_default(),
        disabled_reasons: optional(fields, "disabled_reasons", words)?.unwrap_or_default(),
        kind: kind.as_deref().and_then(AccountKind::parse),
        country: word(fields.get("country")?)?,
        currency,
        created_at: optional(fields, "create_time", time)?,
        disablement_at: optional(fields, "disablement_time", time)?,
    })
}

/// A field that may be absent or `null`, which mean the same; `None` if it is there and wrong.
fn optional<T>(
    fields: &BTreeMap<String, Json>,
    name: &str,
    read: impl FnOnce(&Json) -> Option<T>,
) -> Option<Option<T>> {
    match fields.get(name) {
        None | Some(Json::Null) => Some(None),
        Some(value) => read(value).map(Some),
    }
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
        Some(other) => Some(without_secrets(&word(other)?, sent)),
    };
    let description = match fields.get("error_description") {
        None | Some(Json::Null) => "",
        Some(other) => other.text()?,
    };
    Some(Refusal {
        status: answer.status,
        error: without_secrets(&word(fields.get("error")?)?, sent),
        code,
        description: plain(&without_addresses(&without_secrets(description, sent)), DESCRIPTION_CHARS_MAX),
    })
}

/// The fields of an HTTP 200 that does not also claim an error.
fn success(answer: &Answer) -> Option<BTreeMap<String, Json>> {
    (answer.status == 200).then(|| object(&answer.body)).flatten().filter(|fields| !fields.contains_key("error"))
}

/// The provider's user id.
fn subject(value: &Json) -> Option<Subject> {
    Subject::parse(&id(value)?).ok()
}

/// A positive 64-bit integer; the oldest documented answer has it as a string of digits.
fn id(value: &Json) -> Option<String> {
    let id = match value {
        Json::Integer(number) => i64::try_from(*number).ok()?,
        other => {
            let text = other.text()?;
            text.parse::<i64>().ok().filter(|number| number.to_string() == text)?
        }
    };
    Some(id).filter(|id| *id > 0).map(|id| id.to_string())
}

/// Seconds since 1970.
fn time(value: &Json) -> Option<Timestamp> {
    match value {
        Json::Integer(seconds) => i64::try_from(*seconds).ok().filter(|at| *at > 0).map(Timestamp::from_unix_seconds),
        _ => None,
    }
}

fn words(value: &Json) -> Option<Vec<String>> {
    match value {
        Json::Array(items) if items.len() <= REASONS_MAX => items.iter().map(word).collect(),
        _ => None,
    }
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
    for secret in sent.iter().filter(|secret| secret.len() >= ECHO_BYTES_MIN) {
        text = without(&text, secret);
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

/// The text without e-mail addresses: an answer may name a person of whom the request said nothing, and a refusal is kept.
pub(super) fn without_addresses(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for piece in text.split_inclusive(char::is_whitespace) {
        let word = piece.trim_end();
        let is_address = ["@", "%40"].into_iter().any(|sign| {
            let sides = word.split_once(sign);
            sides.is_some_and(|(local, domain)| !local.is_empty() && domain.starts_with(char::is_alphanumeric))
        });
        clean.push_str(if is_address { REMOVED } else { word });
        clean.push_str(piece.strip_prefix(word).unwrap_or_default());
    }
    clean
}

/// The text without this part of it, in whatever letter case it stands there.
fn without(text: &str, part: &str) -> String {
    let (folded, part) = (text.to_ascii_lowercase(), part.to_ascii_lowercase());
    let mut clean = String::with_capacity(text.len());
    let mut rest = 0;
    // Folding ASCII moves no byte, so what is found there stands here.
    for (at, found) in folded.match_indices(&part) {
        clean.push_str(text.get(rest..at).unwrap_or_default());
        clean.push_str(REMOVED);
        rest = at.saturating_add(found.len());
    }
    clean.push_str(text.get(rest..).unwrap_or_default());
    clean
}

fn object(body: &[u8]) -> Option<BTreeMap<String, Json>> {
    match serde_json::from_slice(body).ok()? {
        Json::Object(fields) => Some(fields),
        _ => None,
    }
}
