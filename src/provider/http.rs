//! One HTTP request to the provider: its deadline, its limits, and whether a byte of it may have left.
//!
//! Knows nothing of what is asked. It follows no redirect, reads no proxy setting, keeps no cookie, asks for no
//! compression and sends nothing twice: each of these would carry a secret elsewhere or repeat a destructive call.

use std::error::Error as _;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, DATE, HeaderValue};
use reqwest::{ClientBuilder, Method, Request, Response, redirect, retry, tls};
use url::Url;
use zeroize::Zeroizing;

use crate::domain::ambient::Timestamp;
use crate::domain::secret::AccessToken;
use crate::domain::timing::Timing;

use super::{NotSentReason, UnknownReason};

/// The provider demands a User-Agent (`docs/provider.md` §2).
const USER_AGENT: &str = concat!("strongroom/", env!("CARGO_PKG_VERSION"));
/// Longest wait for TCP and TLS: three tries of a lost SYN (1 s, 2 s) and a slow handshake. Half of a shorter deadline
/// instead, so that a host that does not answer ends as "not sent" and not as "unknown".
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(5);

/// Which of the two ways a call takes.
#[derive(Clone, Copy)]
pub(super) enum Lane {
    /// Without effect: pooled connections.
    Probe,
    /// With an effect: a fresh HTTP/1.1 connection for this one request, so that a pooled one that has died never leaves a
    /// doubt; and time for an answer that is still coming.
    Mint,
}

/// The two clients and their deadlines.
pub(super) struct Http {
    probe: reqwest::Client,
    probe_deadline: Duration,
    mint: reqwest::Client,
    mint_deadline: Duration,
}

/// A whole answer.
pub(super) struct Answer {
    pub(super) status: u16,
    /// The provider's own time, whole seconds; `None` if the header is absent or unreadable.
    pub(super) date: Option<Timestamp>,
    pub(super) body: Zeroizing<Vec<u8>>,
}

/// No whole answer.
pub(super) enum Failure {
    NotSent(NotSentReason),
    Unknown { reason: UnknownReason, received: Zeroizing<Vec<u8>> },
}

impl Http {
    /// `plain`: the endpoint is a sandbox on a loopback address without TLS.
    pub(super) fn new(plain: bool, timing: &Timing) -> Result<Self, reqwest::Error> {
        Ok(Self {
            probe: builder(plain, timing.probe_deadline).build()?,
            probe_deadline: timing.probe_deadline,
            mint: builder(plain, timing.mint_deadline).http1_only().pool_max_idle_per_host(0).build()?,
            mint_deadline: timing.mint_deadline,
        })
    }

    /// Sends a JSON body by POST, once, and reads an answer of at most that many bytes.
    pub(super) async fn send(
        &self,
        lane: Lane,
        url: &Url,
        bearer: Option<&AccessToken>,
        body: Zeroizing<Vec<u8>>,
        answer_bytes_max: usize,
    ) -> Result<Answer, Failure> {
        let request = self.request(lane, url, bearer, body).ok_or(Failure::NotSent(NotSentReason::Request))?;
        let client = match lane {
            Lane::Probe => &self.probe,
            Lane::Mint => &self.mint,
        };
        match client.execute(request).await {
            Ok(response) => read(response, answer_bytes_max).await,
            Err(error) => Err(match not_sent(&error) {
                Some(reason) => Failure::NotSent(reason),
                None => Failure::Unknown { reason: unknown(&error), received: Zeroizing::default() },
            }),
        }
    }

    fn request(
        &self,
        lane: Lane,
        url: &Url,
        bearer: Option<&AccessToken>,
        body: Zeroizing<Vec<u8>>,
    ) -> Option<Request> {
        let mut request = Request::new(Method::POST, url.clone());
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(token) = bearer {
            headers.insert(AUTHORIZATION, authorization(token)?);
        }
        let deadline = match lane {
            Lane::Probe => self.probe_deadline,
            Lane::Mint => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
                self.mint_deadline
            }
        };
        *request.timeout_mut() = Some(deadline); // from the first look-up to the last byte of the answer
        *request.body_mut() = Some(Bytes::from_owner(body).into()); // wiped when the last handle of it is dropped
        Some(request)
    }
}

/// `Api-Version` is deliberately absent: `docs/provider.md` §2.
fn builder(plain: bool, deadline: Duration) -> ClientBuilder {
    let builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .no_proxy()
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT_MAX.min(deadline / 2))
        .https_only(!plain)
        .tls_version_min(tls::Version::TLS_1_2);
    // Without TLS no root certificate is needed, so a host that has none can still run the sandbox.
    if plain { builder.tls_certs_only([]) } else { builder }
}

/// `None` when the token cannot stand in a header.
fn authorization(token: &AccessToken) -> Option<HeaderValue> {
    let token = token.expose();
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return None;
    }
    let text = Zeroizing::new(format!("Bearer {token}").into_bytes());
    let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(text)).ok()?;
    value.set_sensitive(true); // no Debug text, never in an HPACK table
    Some(value)
}

async fn read(mut response: Response, bytes_max: usize) -> Result<Answer, Failure> {
    let status = response.status().as_u16();
    let date = response.headers().get(DATE).and_then(|value| http_date(value.to_str().ok()?));
    // Whole capacity at once: a growing vector leaves unwiped copies behind.
    let mut body = Zeroizing::new(Vec::with_capacity(bytes_max));
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                let room = bytes_max.saturating_sub(body.len());
                body.extend(chunk.iter().take(room));
                if chunk.len() > room {
                    return Err(Failure::Unknown { reason: UnknownReason::TooLarge, received: body });
                }
            }
            Ok(None) => return Ok(Answer { status, date, body }),
            Err(error) => return Err(Failure::Unknown { reason: unknown(&error), received: body }),
        }
    }
}

/// The one form of a date that servers send (RFC 9110 §5.6.7).
fn http_date(text: &str) -> Option<Timestamp> {
    let at = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc2822).ok()?;
    Some(Timestamp::from_unix_seconds(at.unix_timestamp()))
}

/// `Some` only when the failure is one of getting a connection or of the request itself.
fn not_sent(error: &reqwest::Error) -> Option<NotSentReason> {
    if error.is_dns() {
        Some(NotSentReason::NameResolution)
    } else if error.is_connect() {
        Some(NotSentReason::Connect)
    } else if error.is_builder() {
        Some(NotSentReason::Request)
    } else {
        None
    }
}

fn unknown(error: &reqwest::Error) -> UnknownReason {
    if error.is_timeout() {
        return UnknownReason::Timeout;
    }
    let mut causes = std::iter::successors(error.source(), |cause| (*cause).source());
    let unreadable = causes.any(|cause| cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse));
    if unreadable { UnknownReason::Protocol } else { UnknownReason::ConnectionLost }
}
