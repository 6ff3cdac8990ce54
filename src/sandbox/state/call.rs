//! The call log: one line for each request below `/v2`, kept small and in its final form only when somebody reads it.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;

use axum::http::Method;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::ambient::Timestamp;
use crate::sandbox::api;
use crate::sandbox::faults::Kind;
use crate::sandbox::protocol::VERSIONS;

/// How many calls are kept in memory: more than any test makes that looks at them, at about 200 bytes each. The oldest go.
const CALLS_KEPT_MAX: usize = 1_000_000;

/// Longest path that the call log keeps; our longest own path has 30 characters.
const PATH_MAX: usize = 100;

/// One request to the API or to the pages.
#[derive(Clone, Serialize, Deserialize)]
pub(in crate::sandbox) struct Call {
    /// 1, 2, 3 …
    pub(in crate::sandbox) seq: u64,
    /// Of a call inside of a batch: `seq` of the batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::sandbox) in_batch: Option<u64>,
    /// When, by the sandbox's clock.
    #[serde(with = "rfc3339")]
    pub(in crate::sandbox) at: Timestamp,
    /// HTTP method.
    #[serde(with = "method")]
    pub(in crate::sandbox) method: Method,
    /// What was called.
    pub(in crate::sandbox) path: CallPath,
    /// HTTP status of the answer; none when the connection was dropped.
    pub(in crate::sandbox) status: Option<u16>,
    /// `error_code` of the answer.
    pub(in crate::sandbox) error_code: Option<u32>,
    /// The user whose token or code it was, or who was signed in.
    pub(in crate::sandbox) user_id: Option<u64>,
    /// The app, when the request named one that is.
    #[serde(with = "digits")]
    pub(in crate::sandbox) client_id: Option<u64>,
    /// At the authorize page: the scope list exactly as received.
    pub(in crate::sandbox) scope: Option<Box<str>>,
    /// At `/user/register`: beginning of the SHA-256 of the e-mail address asked for, in small letters.
    pub(in crate::sandbox) email_sha256: Option<Box<str>>,
    /// At account calls: the account asked for, or made.
    pub(in crate::sandbox) account_id: Option<u64>,
    /// At account calls: the app's own id of it, as asked for or as it is.
    pub(in crate::sandbox) reference_id: Option<Box<str>>,
    /// Beginning of the SHA-256 of the token presented or issued.
    pub(in crate::sandbox) token_sha256: Option<TokenMark>,
    /// False when a fault dropped the answer.
    pub(in crate::sandbox) answered: bool,
    /// Kind of the fault that hit it.
    pub(in crate::sandbox) fault: Option<Kind>,
    /// The API version asked for.
    pub(in crate::sandbox) version: Option<CallVersion>,
}

/// A path below `/v2`. That of a known call costs no memory.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::sandbox) struct CallPath(Cow<'static, str>);

impl CallPath {
    /// From the path without `/v2`; a long one is cut.
    pub(in crate::sandbox) fn of(name: &str) -> Self {
        match api::known_path(name) {
            Some(known) => Self(Cow::Borrowed(known)),
            None => Self(Cow::Owned(name.chars().take(PATH_MAX).collect())),
        }
    }
}

impl fmt::Display for CallPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "/v2{}", self.0)
    }
}

impl Serialize for CallPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CallPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let path = Cow::<'_, str>::deserialize(deserializer)?;
        Ok(Self::of(path.strip_prefix("/v2").unwrap_or(&path)))
    }
}

/// An API version that there is.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
pub(in crate::sandbox) struct CallVersion(pub(in crate::sandbox) &'static str);

impl<'de> Deserialize<'de> for CallVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'_, str>::deserialize(deserializer)?;
        let known = VERSIONS.into_iter().find(|version| *version == text);
        known.map(Self).ok_or_else(|| D::Error::custom("not an API version"))
    }
}

/// The first 64 bits of a token's SHA-256: they tell any two tokens of a test apart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::sandbox) struct TokenMark(u64);

impl TokenMark {
    /// From the hexadecimal text of the hash.
    pub(in crate::sandbox) fn of(sha256: &str) -> Option<Self> {
        u64::from_str_radix(sha256.get(..16)?, 16).ok().map(Self)
    }
}

impl fmt::Display for TokenMark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

impl Serialize for TokenMark {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TokenMark {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'_, str>::deserialize(deserializer)?;
        Self::of(&text).ok_or_else(|| D::Error::custom("not the beginning of a SHA-256"))
    }
}

/// The newest calls, oldest first.
#[derive(Clone)]
pub(super) struct CallLog {
    kept: VecDeque<Call>,
    kept_max: usize,
    dropped: u64,
}

impl Default for CallLog {
    fn default() -> Self {
        Self { kept: VecDeque::new(), kept_max: CALLS_KEPT_MAX, dropped: 0 }
    }
}

impl CallLog {
    /// Adds a call, for the oldest when there are too many.
    pub(super) fn push(&mut self, call: Call) {
        if self.kept.len() >= self.kept_max {
            self.kept.pop_front();
            self.dropped = self.dropped.saturating_add(1);
        }
        self.kept.push_back(call);
    }

    /// The calls that are kept.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Call> + ExactSizeIterator {
        self.kept.iter()
    }

    /// How many older ones are gone.
    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The number of the next call.
    pub(super) fn next_seq(&self) -> u64 {
        self.kept.back().map_or(0, |call| call.seq).saturating_add(1)
    }
}

mod rfc3339 {
    use super::{Cow, Deserialize as _, Deserializer, Serializer, Timestamp};
    use serde::de::Error as _;

    pub(super) fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&at.to_rfc3339())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = Cow::<'_, str>::deserialize(deserializer)?;
        Timestamp::parse_rfc3339(&text).ok_or_else(|| D::Error::custom("not a time in RFC 3339"))
    }
}

mod method {
    use super::{Cow, Deserialize as _, Deserializer, Method, Serializer};
    use serde::de::Error as _;

    pub(super) fn serialize<S: Serializer>(method: &Method, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(method.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Method, D::Error> {
        Cow::<'_, str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

mod digits {
    use super::{Cow, Deserialize as _, Deserializer, Serializer};
    use serde::de::Error as _;

    pub(super) fn serialize<S: Serializer>(id: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
        match id {
            Some(id) => serializer.collect_str(id),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
        let text = Option::<Cow<'_, str>>::deserialize(deserializer)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn call(seq: u64) -> Call {
        Call {
            seq,
            in_batch: None,
            at: Timestamp::from_micros(1_700_000_000_000_001),
            method: Method::POST,
            path: CallPath::of("/user"),
            status: Some(200),
            error_code: None,
            user_id: Some(7),
            client_id: Some(123_456),
            scope: None,
            email_sha256: None,
            account_id: None,
            reference_id: Some("shop".into()),
            token_sha256: TokenMark::of("00ab7816bf8f01cfea41"),
            answered: true,
            fault: None,
            version: None,
        }
    }

    #[test]
    fn a_line_of_the_log_is_plain_json_and_comes_back_from_it() {
        let shown = json!({
            "seq": 3, "at": "2023-11-14T22:13:20.000001Z", "method": "POST", "path": "/v2/user", "status": 200,
            "error_code": null, "user_id": 7, "client_id": "123456", "scope": null, "email_sha256": null,
            "account_id": null, "reference_id": "shop", "token_sha256": "00ab7816bf8f01cf", "answered": true,
            "fault": null, "version": null,
        });
        assert_eq!(serde_json::to_value(call(3)).unwrap(), shown);
        let back: Call = serde_json::from_value(shown.clone()).unwrap();
        assert!(matches!(back.path, CallPath(Cow::Borrowed("/user"))), "a known path is not copied");
        assert_eq!(serde_json::to_value(back).unwrap(), shown);
        let mut wrong = shown;
        wrong["token_sha256"] = json!("é2345678901234567");
        assert!(serde_json::from_value::<Call>(wrong.clone()).is_err());
        wrong["token_sha256"] = Value::Null;
        wrong["at"] = json!("today");
        assert!(serde_json::from_value::<Call>(wrong).is_err());
    }

    #[test]
    fn a_long_unknown_path_is_cut() {
        let path = CallPath::of(&format!("/{}", "é".repeat(300))).to_string();
        assert_eq!(path.chars().count(), PATH_MAX + "/v2".len());
    }

    #[test]
    fn the_log_keeps_the_newest_calls_and_says_how_many_are_gone() {
        let mut log = CallLog { kept_max: 3, ..CallLog::default() };
        assert_eq!(log.next_seq(), 1);
        for seq in 1..=5 {
            log.push(call(seq));
        }
        assert_eq!(log.iter().map(|call| call.seq).collect::<Vec<_>>(), [3, 4, 5]);
        assert_eq!((log.dropped(), log.next_seq()), (2, 6));
    }
}
