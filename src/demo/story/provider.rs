//! The provider as an outsider sees it: its call log, its users' settings, and whether a token works there.

use std::time::Duration;

use reqwest::{Client, Method, redirect};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::{Checked, Unmet, ensure};
use crate::demo::dev_json::DevJson;
use crate::demo::search::hex;
use crate::domain::ambient::{Clock as _, SystemClock};

/// The call that issues tokens.
pub(super) const TOKEN: &str = "/v2/oauth2/token";
/// The call that names a token's user.
pub(super) const USER: &str = "/v2/user";
/// The call that makes users.
pub(super) const REGISTER: &str = "/v2/user/register";
/// The call that makes accounts.
pub(super) const CREATE: &str = "/v2/account/create";
/// The call that looks for accounts.
pub(super) const FIND: &str = "/v2/account/find";
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
    /// False when the answer was lost.
    pub(super) answered: bool,
}

#[derive(Deserialize)]
struct Log {
    calls: Vec<Logged>,
}

/// A mail that the provider sent, with the link that only its reader has. No `Debug`: whoever has the link can confirm.
#[derive(Deserialize)]
pub(super) struct Mail {
    pub(super) to: String,
    pub(super) subject: String,
    pub(super) message: String,
    pub(super) button_text: String,
    pub(super) link: Url,
}

#[derive(Deserialize)]
struct Mails {
    mails: Vec<Mail>,
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
    /// The provider's user who owns our app: the product looks after that token whenever it likes.
    app_owner: Option<u64>,
}

impl Provider {
    /// The one of `dev.json`.
    pub(super) async fn new(dev: &DevJson) -> Checked<Self> {
        let http = Client::builder().no_proxy().redirect(redirect::Policy::none()).timeout(ANSWER_MAX).build();
        let http = http.map_err(|error| Unmet::new("an HTTP client", error.to_string()))?;
        let (api, control) = (dev.sandbox.api.clone(), dev.sandbox.control.clone());
        let nobody_yet = Self { http, api, control, app_owner: None };
        let app = nobody_yet.control(Method::GET, "/app", None).await?;
        Ok(Self { app_owner: app.get("owner_user_id").and_then(Value::as_u64), ..nobody_yet })
    }

    /// The calls after this one, oldest first; of one path, or all.
    pub(super) async fn calls(&self, path: &str, after: u64) -> Checked<Vec<Logged>> {
        let filter = if path.is_empty() { String::new() } else { format!("&path={path}") };
        let answer = self.control(Method::GET, &format!("/calls?after={after}{filter}"), None).await?;
        let log: Result<Log, _> = serde_json::from_value(answer);
        log.map(|log| log.calls).map_err(|error| Unmet::new("the sandbox's call log", error.to_string()))
    }

    /// Holds when nothing was called after this call, the app owner's own token apart: no merchant has to do with that.
    pub(super) async fn saw_nothing_since(&self, after: u64, expected: &str) -> Checked<()> {
        let mut calls = self.calls("", after).await?;
        calls.retain(|call| call.user_id.is_none() || call.user_id != self.app_owner);
        ensure(calls.is_empty(), expected, || {
            calls.iter().map(|call| format!("{} {}", call.method, call.path)).collect::<Vec<_>>().join(", ")
        })
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

    /// Holds when nothing that issues tokens was called after this call.
    pub(super) async fn minted_nothing_since(&self, after: u64) -> Checked<()> {
        let registered = self.calls(REGISTER, after).await?;
        ensure(registered.is_empty(), "no further /user/register at the provider", || {
            format!("{} of them", registered.len())
        })?;
        self.issued_nothing_since(after).await
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
        let body = self.ask("/user", token, &json!({})).await?;
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

    /// The mails that went to this user.
    pub(super) async fn mails(&self, subject: &str) -> Checked<Vec<Mail>> {
        let answer = self.control(Method::GET, &format!("/mails?user_id={subject}"), None).await?;
        let mails: Result<Mails, _> = serde_json::from_value(answer);
        mails.map(|mails| mails.mails).map_err(|error| Unmet::new("the mails of a user", error.to_string()))
    }

    /// Scripts what goes wrong with a call to come.
    pub(super) async fn script(&self, fault: Value) -> Checked<()> {
        self.control(Method::POST, "/faults", Some(fault)).await.map(drop)
    }

    /// The ids of the accounts with this name, as a service that holds the token would ask for them.
    pub(super) async fn accounts_named(&self, token: &str, name: &str) -> Checked<Vec<String>> {
        let accounts = self.ask("/account/find", token, &json!({ "name": name })).await?;
        let accounts = accounts.as_array().ok_or_else(|| Unmet::new("a list of accounts", "something else"))?;
        let id = |account: &Value| account.get("account_id").and_then(Value::as_u64).map(|id| id.to_string());
        Ok(accounts.iter().filter_map(id).collect())
    }

    /// Moves the clock that provider and product share.
    pub(super) async fn advance(&self, by: Duration) -> Checked<()> {
        self.control(Method::POST, "/clock", Some(json!({ "advance_s": by.as_secs() }))).await.map(drop)
    }

    async fn ask(&self, call: &str, token: &str, parameters: &Value) -> Checked<Value> {
        let request = self.http.post(format!("{}{call}", self.api)).bearer_auth(token);
        let request = request.header("content-type", "application/json").body(parameters.to_string());
        let answer = request.send().await.map_err(|error| no_answer(&error))?;
        let body = answer.bytes().await.map_err(|error| no_answer(&error))?;
        Ok(serde_json::from_slice(&body).unwrap_or_default())
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
