//! Plays a fault: what it does before a request is looked at, to its answer, and while the answer is sent.
//!
//! Delays are real time: they are about a client's patience, which knows no sandbox clock.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderValue, Response, header};
use tokio_stream::StreamExt as _;

use super::plan::DELAY_MS_MAX;
use super::{Effect, Failure, Kind};
use crate::domain::ambient::{Clock as _, SystemClock, Timestamp};
use crate::sandbox::api;
use crate::sandbox::hash::sha256;
use crate::sandbox::parameters::bearer;
use crate::sandbox::protocol::VERSION_DEFAULT;
use crate::sandbox::state::{Event, State};
use crate::sandbox::world::{Facts, Media, Reply, Request};

/// Why a connection ends in the middle of an answer, or without one; hyper closes it when the service or the body fails.
#[derive(Debug, thiserror::Error)]
#[error("the answer was dropped")]
pub(in crate::sandbox) struct Dropped;

/// What becomes of a request before it is looked at.
pub(in crate::sandbox) enum Start {
    /// It is processed.
    Process,
    /// It never came: no answer.
    Drop,
    /// It is refused, and nothing happens.
    Refuse(Failure),
}

impl Effect {
    /// What happens to the request first; waits where the fault is a delay before.
    pub(in crate::sandbox) async fn start(&self) -> Start {
        match (self.kind, &self.failure) {
            (Kind::LoseBefore, _) => Start::Drop,
            (Kind::Status | Kind::Throttle, Some(failure)) => Start::Refuse(failure.clone()),
            (Kind::DelayBefore, _) => {
                SystemClock.sleep(self.delay).await;
                Start::Process
            }
            _ => Start::Process,
        }
    }

    /// What happens in a step of its own before the request is decided: the death of its token.
    pub(in crate::sandbox) fn before(&self, state: &State, request: &Request, now: Timestamp) -> Vec<Event> {
        let token = bearer(&request.headers).filter(|_| self.kind == Kind::RevokeBefore).map(sha256);
        let known = token.filter(|token| state.token(token).is_some());
        known.map(|token| Event::TokensRevoked { sha256: vec![token], at_us: now.as_micros() }).into_iter().collect()
    }

    /// Changes a decided answer, and what the step changes.
    pub(in crate::sandbox) fn spoil(
        &self,
        request: &Request,
        now: Timestamp,
        reply: &mut Reply,
        facts: &mut Facts,
        events: &mut Vec<Event>,
    ) {
        match (self.kind, &self.failure) {
            (Kind::StatusAfter, Some(failure)) => {
                *reply = failure.reply(request);
                facts.error_code = failure.code();
            }
            (Kind::Malformed, _) => {
                let half = reply.body.chars().count() / 2;
                reply.body = reply.body.chars().take(half).collect();
            }
            (Kind::Empty, _) => reply.body = String::new(),
            (Kind::WrongMedia, _) => {
                reply.media = if reply.media == Media::Html { Media::Json } else { Media::Html };
            }
            (Kind::RevokeAfter, _) => {
                if let Some(token) = &facts.token {
                    events.push(Event::TokensRevoked { sha256: vec![token.clone()], at_us: now.as_micros() });
                }
            }
            _ => {}
        }
    }

    /// Whether the client gets anything of an answer that was decided.
    pub(in crate::sandbox) fn answers(&self) -> bool {
        self.kind != Kind::LoseAfter
    }

    /// Sends a decided answer, or not.
    pub(in crate::sandbox) async fn send(&self, response: Response<Body>) -> Result<Response<Body>, Dropped> {
        match self.kind {
            Kind::LoseAfter => Err(Dropped),
            Kind::DelayAfter => {
                SystemClock.sleep(self.delay).await;
                Ok(response)
            }
            Kind::Cut => Ok(with_body(response, cut).await),
            Kind::Drip => {
                let delay = self.delay;
                Ok(with_body(response, move |whole| drip(whole, delay)).await)
            }
            _ => Ok(response),
        }
    }
}

impl Failure {
    /// The scripted answer.
    pub(in crate::sandbox) fn reply(&self, request: &Request) -> Reply {
        match self {
            Self::Api(error) => {
                let version = api::requested_version(request).ok().flatten().unwrap_or(VERSION_DEFAULT);
                api::error_reply(error, version, &request.call)
            }
            Self::Page(status) => Reply::page(*status, "The server cannot answer right now (a scripted fault)."),
        }
    }
}

/// Replaces a body by another way to send it; the header promises the whole length.
async fn with_body(response: Response<Body>, sent: impl FnOnce(Bytes) -> Body) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    // The body is ours, in memory: reading it cannot fail.
    let whole = to_bytes(body, usize::MAX).await.unwrap_or_default();
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(whole.len()));
    Response::from_parts(parts, sent(whole))
}

/// The first half, and then the end of the connection.
fn cut(whole: Bytes) -> Body {
    let half = whole.slice(..whole.len() / 2);
    let parts = tokio_stream::iter([Ok(half), Err(Dropped)]);
    Body::from_stream(parts.then(|part| async {
        if part.is_err() {
            // While the body has nothing to give, hyper sends what it has; else the half would be lost with the connection.
            tokio::task::yield_now().await;
        }
        part
    }))
}

/// One byte after the other; what has not gone after the longest delay of all goes at once.
fn drip(whole: Bytes, delay: Duration) -> Body {
    let pauses =
        u128::from(DELAY_MS_MAX).checked_div(delay.as_millis()).and_then(|pauses| usize::try_from(pauses).ok());
    let slow = pauses.unwrap_or(usize::MAX).min(whole.len());
    let bytes = (0..slow).map({
        let whole = whole.clone();
        move |at| whole.slice(at..at.saturating_add(1))
    });
    let rest = whole.slice(slow..);
    let parts = bytes.chain(std::iter::once(rest)).filter(|part| !part.is_empty());
    Body::from_stream(tokio_stream::iter(parts).then(move |part| async move {
        SystemClock.sleep(delay).await;
        Ok::<_, Infallible>(part)
    }))
}
