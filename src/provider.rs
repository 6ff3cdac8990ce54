//! The payment provider, WePay API v2: what we ask it, and how certain each answer is.
//!
//! The provider's facts that this layer rests on, each with its source, are in `docs/provider.md`; so are the
//! reasons of the classification. Nothing here retries, decides or stores: a call ends as success, as
//! [`CallError::NotSent`] (the far side cannot have acted), as [`CallError::Refused`] (it answered no) or as
//! [`CallError::OutcomeUnknown`] (it may have acted), and what that means is the caller's business.
//!
//! | module | holds |
//! |---|---|
//! | [`authorize`] | the browser's way to the provider's consent page |
//! | [`catalogue`] | the error numbers as data: what a refusal says about a token or an exchange |
//! | `http` | deadlines, limits, and whether a byte may have left |
//! | `wire` | the provider's JSON, the only place with its field names |

pub mod authorize;
pub mod catalogue;
mod http;
mod wire;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use url::{Host, Url};
use zeroize::Zeroizing;

use crate::domain::app::Environment;
use crate::domain::name::{Email, Subject};
use crate::domain::secret::{AccessToken, AuthorizationCode, ClientSecret, Secret};
use crate::domain::timing::Timing;
use crate::domain::token::{Capabilities, Refresh};

pub use authorize::{AuthorizeRequest, SCOPES};
pub use catalogue::{CallKind, ExchangeVerdict, Signal, exchange_verdict, reported_signal, signal};

use http::{Answer, Failure, Http, Lane};

/// What this provider is like: a mint revokes every earlier token of that (app, user), and there are no refresh tokens
/// (`docs/provider.md` §5).
pub const CAPABILITIES: Capabilities = Capabilities {
    mint_revokes: true,
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

    fn api_call(&self, call: &'static str) -> Result<Url, SetupError> {
        below(&self.api, call).ok_or(SetupError::Endpoint { which: "api", rule: "must be a base URL" })
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
pub struct Client(Arc<Inner>);

struct Inner {
    credentials: Credentials,
    authorize: Url,
    token: Url,
    user: Url,
    app: Url,
    http: Http,
}

impl Client {
    /// A client of the provider at these addresses. Opens no connection.
    ///
    /// # Errors
    /// [`SetupError`] for an API address that is neither `https` nor a loopback address, or a host without
    /// root certificates.
    pub fn new(endpoints: Endpoints, credentials: Credentials, timing: &Timing) -> Result<Self, SetupError> {
        let loopback = is_loopback_address(&endpoints.api);
        if endpoints.api.scheme() != "https" && !loopback {
            return Err(SetupError::Endpoint { which: "api", rule: "must be https" });
        }
        let authorize = below(&endpoints.ui, "oauth2/authorize")
            .ok_or(SetupError::Endpoint { which: "ui", rule: "must be a base URL" })?;
        Ok(Self(Arc::new(Inner {
            credentials,
            authorize,
            token: endpoints.api_call("oauth2/token")?,
            user: endpoints.api_call("user")?,
            app: endpoints.api_call("app")?,
            http: Http::new(loopback && endpoints.api.scheme() == "http", timing).map_err(SetupError::Http)?,
        })))
    }

    /// The provider's consent page for this journey: all five scopes, always (`docs/provider.md` §4).
    pub fn authorize_url(&self, request: &AuthorizeRequest<'_>) -> Url {
        authorize::url(&self.0.authorize, &self.0.credentials.client_id, request)
    }

    /// Exchanges a code for a token. **Destructive**: it revokes every earlier token of that (user, app), also when the
    /// answer is lost (`docs/provider.md` §5). Sent at most once; bounded by [`Timing::mint_deadline`].
    /// `redirect_uri` must be the one of the authorize URL, `callback_uri` receives the provider's notices.
    ///
    /// # Errors
    /// [`CallError`]; [`exchange_verdict`] says what it means. Whatever bytes came back that are neither a valid token
    /// answer nor a clean refusal are in [`Unknown::salvage`], since they may hold the only live token.
    pub async fn exchange_code(
        &self,
        code: &AuthorizationCode,
        redirect_uri: &Url,
        callback_uri: Option<&Url>,
    ) -> Result<IssuedToken, CallError> {
        let credentials = &self.0.credentials;
        let body = wire::exchange_body(credentials, code, redirect_uri, callback_uri)?;
        let sent = [credentials.client_secret.expose(), code.expose()];
        match self.0.http.send(Lane::Mint, &self.0.token, None, body).await {
            Ok(mut answer) => wire::token(&answer).ok_or_else(|| judge(&mut answer, &sent, Keep::Body)),
            Err(failure) => Err(failed(failure, Keep::Body)),
        }
    }

    /// The user behind a token: the probe. Has no effect at the provider; bounded by [`Timing::probe_deadline`].
    ///
    /// # Errors
    /// [`CallError`]; [`CallError::signal`] says what it means for the token.
    pub async fn user(&self, token: &AccessToken) -> Result<User, CallError> {
        let sent = [token.expose(), self.0.credentials.client_secret.expose()];
        match self.0.http.send(Lane::Probe, &self.0.user, Some(token), wire::empty_body()).await {
            Ok(mut answer) => wire::user(&answer).ok_or_else(|| judge(&mut answer, &sent, Keep::Nothing)),
            Err(failure) => Err(failed(failure, Keep::Nothing)),
        }
    }

    /// Our app, by client id and secret: a probe of another kind, which shows whether the provider answers sensibly
    /// while tokens seem dead. Has no effect; bounded by [`Timing::probe_deadline`].
    ///
    /// # Errors
    /// [`CallError`]; an answer about another app counts as malformed.
    pub async fn app(&self) -> Result<AppState, CallError> {
        let credentials = &self.0.credentials;
        let body = wire::app_body(credentials)?;
        let sent = [credentials.client_secret.expose()];
        match self.0.http.send(Lane::Probe, &self.0.app, None, body).await {
            Ok(mut answer) => {
                wire::app(&answer, &credentials.client_id).ok_or_else(|| judge(&mut answer, &sent, Keep::Nothing))
            }
            Err(failure) => Err(failed(failure, Keep::Nothing)),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("token", &self.0.token.as_str()).finish_non_exhaustive()
    }
}

/// A token the provider has just issued. Its type was checked to be `bearer`.
#[derive(Debug)]
pub struct IssuedToken {
    /// Whose it is: the answer's user, never the one we expected.
    pub subject: Subject,
    /// The token itself.
    pub access_token: AccessToken,
    /// How long it lives from now; `None`: until it is revoked.
    pub expires_in: Option<Duration>,
}

/// The provider's user behind a token. `Debug` leaves out what is personal.
pub struct User {
    /// The provider's id of the user.
    pub subject: Subject,
    /// The address that identifies the user; `None` if absent or not an address.
    pub email: Option<Email>,
    /// Whole name, at most 255 characters.
    pub user_name: Option<String>,
    /// `pending`, `registered` or `deleted`; other texts are possible (`docs/provider.md` §3).
    pub state: String,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("subject", &self.subject).field("state", &self.state).finish_non_exhaustive()
    }
}

/// Our app, as the provider sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AppState {
    /// `active`, `disabled` or `deleted`.
    pub state: String,
    /// Review status, such as `approved`; not every API version sends it.
    pub status: Option<String>,
    /// The API version that calls without an `Api-Version` header get.
    pub api_version: Option<String>,
}

/// How a call failed, and whether the far side may have acted.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Provably not one byte of the request was written.
    #[error("provider not called: {0}")]
    NotSent(NotSentReason),
    /// The provider answered with a well-formed error.
    #[error("provider refused: {0}")]
    Refused(Refusal),
    /// The request may have taken effect; no clear answer came back.
    #[error("outcome unknown: {0}")]
    OutcomeUnknown(Unknown),
}

impl CallError {
    /// What this failure says about the token that was sent with the call. A failure without a clear answer says
    /// nothing, apart from a bare HTTP 401.
    pub fn signal(&self, call: CallKind) -> Signal {
        match self {
            Self::NotSent(_) => Signal::Transient,
            Self::Refused(refusal) => signal(call, refusal),
            Self::OutcomeUnknown(unknown) => catalogue::unknown_signal(call, unknown.reason),
        }
    }
}

/// Why nothing was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotSentReason {
    /// The host name has no address.
    #[error("host name not resolved")]
    NameResolution,
    /// No connection: refused, unreachable, too slow, or the TLS handshake failed.
    #[error("no connection")]
    Connect,
    /// The request could not be built from its parts.
    #[error("request cannot be built")]
    Request,
}

/// A well-formed refusal. Text from outside is bounded, its control characters are replaced, and what looks like a
/// secret is removed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// The error's class, such as `access_denied`.
    pub error: String,
    /// The error's number as text; the list is open-ended and some refusals have none.
    pub code: Option<String>,
    /// For people; at most [`DESCRIPTION_CHARS_MAX`] characters.
    pub description: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code.as_deref().unwrap_or("none");
        write!(f, "{} (code {code}, HTTP {})", self.error, self.status)
    }
}

/// Longest description we keep of a refusal: recorded ones are under 150 characters.
pub const DESCRIPTION_CHARS_MAX: usize = 300;

/// A call without a clear answer.
#[derive(Debug)]
pub struct Unknown {
    /// What happened instead.
    pub reason: UnknownReason,
    /// Of an exchange only: the bytes that came back, at most [`ANSWER_BYTES_MAX`], whole or cut short.
    pub salvage: Option<Secret<Vec<u8>>>,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

/// What happened instead of a clear answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UnknownReason {
    /// Our deadline passed.
    #[error("no answer in time")]
    Timeout,
    /// The connection ended before the answer did.
    #[error("connection lost")]
    ConnectionLost,
    /// What came back is not HTTP.
    #[error("answer is not HTTP")]
    Protocol,
    /// HTTP 5xx without a well-formed error in it.
    #[error("server error (HTTP {status})")]
    ServerError {
        /// HTTP status.
        status: u16,
    },
    /// Neither a valid answer nor a well-formed error.
    #[error("malformed answer (HTTP {status})")]
    Malformed {
        /// HTTP status.
        status: u16,
    },
    /// The answer is longer than [`ANSWER_BYTES_MAX`].
    #[error("answer too large")]
    TooLarge,
}

/// Largest answer body we read: recorded ones are under 4 KiB, the rest is headroom.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Whether an answer's bytes outlive the call.
#[derive(Clone, Copy)]
enum Keep {
    Body,
    Nothing,
}

/// Judges an answer that is not the one hoped for. `sent` are the secrets of the request, which an echo must not carry
/// into a description.
fn judge(answer: &mut Answer, sent: &[&str], keep: Keep) -> CallError {
    if let Some(refusal) = wire::refusal(answer, sent) {
        return CallError::Refused(refusal);
    }
    let status = answer.status;
    let reason = match status {
        500..=599 => UnknownReason::ServerError { status },
        _ => UnknownReason::Malformed { status },
    };
    unknown(reason, &mut answer.body, keep)
}

fn failed(failure: Failure, keep: Keep) -> CallError {
    match failure {
        Failure::NotSent(reason) => CallError::NotSent(reason),
        Failure::Unknown { reason, mut received } => unknown(reason, &mut received, keep),
    }
}

fn unknown(reason: UnknownReason, body: &mut Zeroizing<Vec<u8>>, keep: Keep) -> CallError {
    let salvage = match keep {
        Keep::Body if !body.is_empty() => Some(Secret::new(std::mem::take(&mut **body))),
        Keep::Body | Keep::Nothing => None,
    };
    CallError::OutcomeUnknown(Unknown { reason, salvage })
}

fn below(base: &Url, path: &str) -> Option<Url> {
    Url::parse(&format!("{}/{path}", base.as_str().trim_end_matches('/'))).ok()
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
