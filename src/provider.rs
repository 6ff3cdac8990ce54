//! The payment provider, WePay API v2: what we ask it, and how certain each answer is.
//!
//! The provider's facts that this layer rests on, each with its source, are in `docs/provider.md`; so are the
//! reasons of the classification. Nothing here retries, decides or stores: a call ends as success, as
//! [`CallError::NotSent`] (the far side cannot have acted), as [`CallError::Refused`] (it answered no) or as
//! [`CallError::OutcomeUnknown`] (it may have acted), and what that means is the caller's business. A call takes a
//! [`Permit`], and is its only one: whoever has none cannot make it, and a call that was throttled tells the budget.
//!
//! | module | holds |
//! |---|---|
//! | `accounts` | payment accounts |
//! | [`authorize`] | the browser's way to the provider's consent page |
//! | [`catalogue`] | the error numbers as data: what a refusal says about a token or an attempt |
//! | `error` | how a call fails |
//! | `http` | deadlines, limits, and whether a byte may have left |
//! | `log` | one entry for each call |
//! | `users` | users, their tokens, our app |
//! | `wire` | the provider's JSON |

mod accounts;
pub mod authorize;
pub mod catalogue;
mod error;
mod http;
mod log;
mod users;
mod wire;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use url::{Host, Url};

use crate::domain::ambient::Clock;
use crate::domain::app::Environment;
use crate::domain::budget::Permit;
use crate::domain::provider_call::{About, ProviderCall};
use crate::domain::secret::{AccessToken, ClientSecret};
use crate::domain::timing::Timing;
use crate::domain::token::{Capabilities, Refresh};

pub use accounts::{AccountChanges, LIST_BYTES_MAX, NewAccount};
pub use authorize::{AuthorizeRequest, SCOPES};
pub use catalogue::{
    CallKind, MintVerdict, Signal, already_confirmed, is_throttled, mint_verdict, reported_signal, signal,
};
pub use error::{ANSWER_BYTES_MAX, CallError, DESCRIPTION_CHARS_MAX, NotSentReason, Refusal, Unknown, UnknownReason};
pub use users::{AppState, ConfirmationMail, IssuedToken, Registration, User};

use error::{Keep, failed, judge};
use http::{Answer, Http, Lane};
use log::CallLog;
use wire::{Parameters, TEXT_CHARS_MAX};

/// What this provider is like: a mint revokes every earlier token of that (app, user), and there are no refresh tokens
/// (`docs/provider.md` §5). Whether `/user/register` revokes is documented nowhere, so it may; the limits of an unconfirmed user are
/// in §7.
pub const CAPABILITIES: Capabilities = Capabilities {
    mint_revokes: true,
    registration_may_revoke: true,
    unconfirmed_payments: Duration::from_secs(14 * 24 * 60 * 60),
    unconfirmed_life: Duration::from_secs(30 * 24 * 60 * 60),
    refresh: Refresh::None,
    code_life: Duration::from_secs(600),
    longest_call: Duration::from_secs(60),
    mandatory_scopes: &SCOPES,
};

/// Where the provider is: base URLs that end in `/v2` (`docs/provider.md` §1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoints {
    /// Base of the API calls.
    pub api: Url,
    /// Base of the browser pages.
    pub ui: Url,
}

impl Endpoints {
    /// The provider's own hosts in this environment.
    ///
    /// # Errors
    /// None in practice: the addresses are constants, and a test parses them.
    pub fn of(environment: Environment) -> Result<Self, SetupError> {
        let (api, ui) = match environment {
            Environment::Stage => ("https://stage.wepayapi.com/v2", "https://stage.wepay.com/v2"),
            Environment::Production => ("https://wepayapi.com/v2", "https://www.wepay.com/v2"),
        };
        let parse = |which, text| Url::parse(text).map_err(|_| SetupError::Endpoint { which, rule: "must be a URL" });
        Ok(Self { api: parse("api", api)?, ui: parse("ui", ui)? })
    }

    /// A sandbox on this host, for tests and development.
    ///
    /// # Errors
    /// [`SetupError::Endpoint`] unless both are plain `http` or `https` URLs that end in `/v2`, without user, query and
    /// fragment, on a loopback address; the API by address, since a name is what its resolver makes of it.
    pub fn overridden(api: Url, ui: Url) -> Result<Self, SetupError> {
        let api = loopback_base("api", api)?;
        let ui = loopback_base("ui", ui)?;
        if !is_loopback_address(&api) {
            return Err(SetupError::Endpoint { which: "api", rule: "must name a loopback address, not a host name" });
        }
        Ok(Self { api, ui })
    }
}

/// Who we are at the provider.
#[derive(Debug)]
pub struct Credentials {
    /// The provider's id of our app, as text.
    pub client_id: String,
    /// The app's secret; leaves only in POST bodies to the API host.
    pub client_secret: ClientSecret,
}

/// Why a client cannot be built. A fault of the configuration or of this host, never of the provider.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A base URL that we refuse to use.
    #[error("provider endpoint {which}: {rule}")]
    Endpoint {
        /// `api` or `ui`.
        which: &'static str,
        /// The rule it breaks, as a sentence fragment.
        rule: &'static str,
    },
    /// The HTTP client could not be built: most often no trusted root certificates on this host.
    #[error("cannot set up the HTTP client for the provider")]
    Http(#[source] reqwest::Error),
}

/// A client of the provider for one app. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
    log: Option<Arc<CallLog>>,
}

/// A call that may be made, once: whichever of its methods is called, it is used up.
pub struct OneCall {
    client: Client,
    about: About,
    permit: Permit,
}

struct Inner {
    credentials: Credentials,
    authorize: Url,
    api: Url,
    http: Http,
}

impl Client {
    /// A client of the provider at these addresses, without a call log. Opens no connection.
    ///
    /// # Errors
    /// [`SetupError`] for an API address that is neither `https` nor a loopback address, or a host without
    /// root certificates.
    pub fn new(endpoints: Endpoints, credentials: Credentials, timing: &Timing) -> Result<Self, SetupError> {
        let loopback = is_loopback_address(&endpoints.api);
        if endpoints.api.scheme() != "https" && !loopback {
            return Err(SetupError::Endpoint { which: "api", rule: "must be https" });
        }
        let authorize = below(&endpoints.ui, "/oauth2/authorize")
            .ok_or(SetupError::Endpoint { which: "ui", rule: "must be a base URL" })?;
        let http = Http::new(loopback && endpoints.api.scheme() == "http", timing).map_err(SetupError::Http)?;
        let inner = Inner { credentials, authorize, api: endpoints.api, http };
        Ok(Self { inner: Arc::new(inner), log: None })
    }

    /// This client, with one entry in the call log for every call that it or a clone of it makes. A full channel never
    /// makes a call wait: the entry is missing then, and [`unlogged`](Self::unlogged) counts it.
    #[must_use]
    pub fn with_log(self, clock: Arc<dyn Clock>, log: mpsc::Sender<ProviderCall>) -> Self {
        Self { log: Some(Arc::new(CallLog::new(clock, log))), ..self }
    }

    /// A call by this permit, logged as being about these.
    #[must_use]
    pub fn by(&self, permit: Permit, about: About) -> OneCall {
        OneCall { client: self.clone(), about, permit }
    }

    /// How many calls are missing from the call log because it had no room.
    pub fn unlogged(&self) -> u64 {
        self.log.as_ref().map_or(0, |log| log.dropped())
    }

    /// The provider's consent page for this journey: all five scopes, always (`docs/provider.md` §4).
    pub fn authorize_url(&self, request: &AuthorizeRequest<'_>) -> Url {
        authorize::url(&self.inner.authorize, self.client_id(), request)
    }

    fn client_id(&self) -> &str {
        &self.inner.credentials.client_id
    }

    /// The parameters of a call that our app makes in its own name.
    fn credentials(&self) -> Parameters<'_> {
        let Credentials { client_id, client_secret } = &self.inner.credentials;
        Parameters::default().id("client_id", client_id).text("client_secret", client_secret.expose(), TEXT_CHARS_MAX)
    }
}

impl OneCall {
    /// Makes the call, logs it, and tells the budget if it was one too many. `read` makes of an answer what was hoped for, or nothing.
    async fn perform<T>(&self, call: Call<'_>, read: impl FnOnce(&Answer) -> Option<T> + Send) -> Result<T, CallError> {
        self.permit.due().await;
        let entry = self.client.log.as_ref().map(|log| log.begin(call.path, self.about, call.parameters.shown()));
        let result = self.send(&call, read).await;
        if let Some(entry) = entry {
            entry.end(&result);
        }
        if result.as_ref().is_err_and(is_throttled) {
            self.permit.throttled();
        }
        result
    }

    async fn send<T>(&self, call: &Call<'_>, read: impl FnOnce(&Answer) -> Option<T> + Send) -> Result<T, CallError> {
        let unbuilt = || CallError::NotSent(NotSentReason::Request);
        let url = below(&self.client.inner.api, call.path).ok_or_else(unbuilt)?;
        let body = call.parameters.body().ok_or_else(unbuilt)?;
        match self.client.inner.http.send(call.lane, &url, call.bearer, body, call.answer_bytes_max).await {
            Ok(mut answer) => read(&answer).ok_or_else(|| {
                let mut sent: Vec<&str> = call.parameters.hidden().collect();
                sent.extend(call.bearer.map(AccessToken::expose));
                sent.push(self.client.inner.credentials.client_secret.expose());
                judge(&mut answer, &sent, call.keep)
            }),
            Err(failure) => Err(failed(failure, call.keep)),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("api", &self.inner.api.as_str()).finish_non_exhaustive()
    }
}

impl fmt::Debug for OneCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneCall").field("about", &self.about).finish_non_exhaustive()
    }
}

/// What is asked, and how it is sent.
struct Call<'a> {
    path: &'static str,
    lane: Lane,
    parameters: Parameters<'a>,
    bearer: Option<&'a AccessToken>,
    keep: Keep,
    answer_bytes_max: usize,
}

impl<'a> Call<'a> {
    fn new(path: &'static str, lane: Lane, parameters: Parameters<'a>) -> Self {
        Self { path, lane, parameters, bearer: None, keep: Keep::Nothing, answer_bytes_max: ANSWER_BYTES_MAX }
    }

    fn bearing(self, token: &'a AccessToken) -> Self {
        Self { bearer: Some(token), ..self }
    }

    fn keeping(self, keep: Keep) -> Self {
        Self { keep, ..self }
    }

    fn reading(self, answer_bytes_max: usize) -> Self {
        Self { answer_bytes_max, ..self }
    }
}

/// `path` begins with a slash.
fn below(base: &Url, path: &str) -> Option<Url> {
    Url::parse(&format!("{}{path}", base.as_str().trim_end_matches('/'))).ok()
}

fn loopback_base(which: &'static str, url: Url) -> Result<Url, SetupError> {
    let named_localhost = matches!(url.host(), Some(Host::Domain("localhost")));
    let rule = if !matches!(url.scheme(), "http" | "https") {
        Some("must be http or https")
    } else if !url.username().is_empty() || url.password().is_some() || url.query().or(url.fragment()).is_some() {
        Some("must not have a user, query or fragment")
    } else if url.path().trim_end_matches('/') != "/v2" {
        Some("must end in /v2")
    } else if !is_loopback_address(&url) && !named_localhost {
        Some("must be on a loopback address")
    } else {
        None
    };
    rule.map_or(Ok(url), |rule| Err(SetupError::Endpoint { which, rule }))
}

fn is_loopback_address(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(_)) | None => false,
    }
}
