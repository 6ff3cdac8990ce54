//! The provider as an outsider sees it: its call log, its users' settings, and whether a token works there.

use std::time::Duration;

use reqwest::{Client, Method, redirect};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Checked, Unmet, ensure};
use crate::demo::dev_json::DevJson;
use crate::demo::search::hex;
use crate::domain::ambient::{Clock as _, SystemClock};

/// The call that issues tokens.
pub(super) const TOKEN: &str = "/v2/oauth2/token";
/// The call that names a token's user.
pub(super) const USER: &str = "/v2/user";
/// The page where people consent.
pub(super) const AUTHORIZE: &str = "/v2/oauth2/authorize";

/// Longest wait for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// Between two looks at something that is about to happen.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often something is looked at before it counts as not happening: 10 s.
pub(super) const LOOKS_MAX: usize = 200;
/// How many digits of a token's SHA-256 the call log shows.
const SHA256_DIGITS: usize = 16;

/// A line of the call log.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Logged {
    pub(super) seq: u64,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) status: Option<u16>,
    pub(super) user_id: Option<u64>,
    pub(super) scope: Option<String>,
    pub(super) token_sha256: Option<String>,
}

#[derive(Deserialize)]
struct Log {
    calls: Vec<Logged>,
}

/// What the provider says to a token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Word {
    /// It works, for this user.
    Works {
        /// The provider's id of the user.
        subject: String,
    },
    /// It does not, with this error code.
    Refused {
        /// The code.
        code: String,
    },
}

/// The sandbox.
pub(super) struct Provider {
    http: Client,
    api: String,
    control: String,
}

impl Provider {
    /// The one of `dev.json`.
    pub(super) fn new(dev: &DevJson) -> Checked<Self> {
        let http = Client::builder().no_proxy().redirect(redirect::Policy::none()).timeout(ANSWER_MAX).build();
        let http = http.map_err(|error| Unmet::new("an HTTP client", error.to_string()))?;
        Ok(Self { http, api: dev.sandbox.api.clone(), control: dev.sandbox.control.clone() })
    }

    /// The calls after this one, oldest first; of one path, or all.
    pub(super) async fn calls(&self, path: &str, after: u64) -> Checked<Vec<Logged>> {
        let filter = if path.is_empty() { String::new() } else { format!("&path={path}") };
        let answer = self.control(Method::GET, &format!("/calls?after={after}{filter}"), None).await?;
        let log: Result<Log, _> = serde_json::from_value(answer);
        log.map(|log| log.calls).map_err(|error| Unmet::new("the sandbox's call log", error.to_string()))
    }

    /// The newest call.
    pub(super) async fn newest(&self) -> Checked<u64> {
        Ok(self.calls("", 0).await?.last().map_or(0, |call| call.seq))
    }

    /// Holds when `/oauth2/token` was not called after this call.
    pub(super) async fn issued_nothing_since(&self, after: u64) -> Checked<()> {
        let calls = self.calls(TOKEN, after).await?;
        ensure(calls.is_empty(), "no further /oauth2/token at the provider", || format!("{} of them", calls.len()))
    }

    /// Waits until somebody has asked for this token's user after this call.
    pub(super) async fn checked_since(&self, token_sha256: &str, after: u64) -> Checked<()> {
        for _ in 0..LOOKS_MAX {
            let calls = self.calls(USER, after).await?;
            if calls.iter().any(|call| call.token_sha256.as_deref() == Some(token_sha256)) {
                return Ok(());
            }
            SystemClock.sleep(LOOK_EVERY).await;
        }
        Err(Unmet::new("the new token to be checked at the provider's /user", "no such call"))
    }

    /// Asks for the user of a token, as the service that holds it would.
    pub(super) async fn user(&self, token: &str) -> Checked<Word> {
        let url = format!("{}/user", self.api);
        let request = self.http.post(url).bearer_auth(token).header("content-type", "application/json").body("{}");
        let answer = request.send().await.map_err(|error| no_answer(&error))?;
        let body = answer.bytes().await.map_err(|error| no_answer(&error))?;
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        match (body.get("user_id").and_then(Value::as_u64), body.get("error_code").and_then(Value::as_u64)) {
            (Some(user_id), _) => Ok(Word::Works { subject: user_id.to_string() }),
            (None, Some(code)) => Ok(Word::Refused { code: code.to_string() }),
            (None, None) => Err(Unmet::new("a user or an error from the provider", "neither")),
        }
    }

    /// Holds when the token works, for this user.
    pub(super) async fn works(&self, token: &str, subject: &str) -> Checked<()> {
        let word = self.user(token).await?;
        let wanted = Word::Works { subject: subject.to_owned() };
        ensure(word == wanted, &format!("the token to work at the provider for user {subject}"), || format!("{word:?}"))
    }

    /// Holds when the provider says that the token was revoked.
    pub(super) async fn is_revoked(&self, which: &str, token: &str) -> Checked<()> {
        let word = self.user(token).await?;
        let wanted = Word::Refused { code: "1011".to_owned() };
        ensure(word == wanted, &format!("{which} to be revoked at the provider (1011)"), || format!("{word:?}"))
    }

    /// What the user does in the provider's settings: revokes what the app holds. Says how many tokens died.
    pub(super) async fn revoke(&self, subject: &str) -> Checked<u64> {
        let answer = self.control(Method::POST, &format!("/users/{subject}/revoke"), Some(json!({}))).await?;
        Ok(answer.get("revoked").and_then(Value::as_u64).unwrap_or(0))
    }

    /// Moves the clock that provider and product share.
    pub(super) async fn advance(&self, by: Duration) -> Checked<()> {
        self.control(Method::POST, "/clock", Some(json!({ "advance_s": by.as_secs() }))).await.map(drop)
    }

    async fn control(&self, method: Method, path: &str, body: Option<Value>) -> Checked<Value> {
        let mut request = self.http.request(method, format!("{}{path}", self.control));
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.map_err(|error| no_answer(&error))?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(|error| no_answer(&error))?;
        ensure(status.is_success(), "the sandbox's control API to answer", || status.to_string())?;
        serde_json::from_slice(&body).map_err(|error| Unmet::new("JSON from the sandbox", error.to_string()))
    }
}

/// How the call log shows a token.
pub(super) fn logged_form(token: &str) -> String {
    hex(&Sha256::digest(token)).chars().take(SHA256_DIGITS).collect()
}

fn no_answer(error: &reqwest::Error) -> Unmet {
    Unmet::new("an answer from the sandbox", error.to_string())
}
