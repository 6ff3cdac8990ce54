//! What becomes of a request: where it goes, the faults that are due, the decision, the journal, the call log.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Response;
use hyper::body::Incoming;

use super::request::{Unread, read_body};
use super::response::{of_control, of_provider, of_write};
use super::{Dropped, Site};
use crate::domain::ambient::{Clock as _, SystemClock};
use crate::sandbox::faults::{Effect, Failure, call_name};
use crate::sandbox::hash::sha256;
use crate::sandbox::parameters::bearer;
use crate::sandbox::protocol::{ApiError, BODY_MAX, VERSION_DEFAULT};
use crate::sandbox::state::{Call, CallPath, Event, TokenMark};
use crate::sandbox::world::{Core, Facts, Outcome, Reply, Request, World};
use crate::sandbox::{api, confirmation, control, pages};

/// Answers a request; without an answer the connection closes.
pub(super) async fn answer(site: Arc<Site>, request: hyper::Request<Incoming>) -> Result<Response<Body>, Dropped> {
    let (parts, body) = request.into_parts();
    let body = match read_body(body, BODY_MAX).await {
        Ok(body) => body,
        Err(Unread::TooLarge) => {
            let error = ApiError { status: 413, ..ApiError::unparsable() };
            return Ok(of_provider(&site, api::error_reply(&error, VERSION_DEFAULT)));
        }
        Err(Unread::TooSlow) => return Ok(of_provider(&site, Reply::page(408, "The request did not come in time."))),
        Err(Unread::Broken) => return Err(Dropped),
    };
    let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default().to_owned());
    let request = |call| Request { method: parts.method, call, query, headers: parts.headers, body };
    if let Some(rest) = path.strip_prefix("/control/") {
        let (rest, request) = (rest.to_owned(), request(path.to_owned()));
        let core = Arc::clone(&site.core);
        // Always off the async threads: it may walk through everything there is.
        let reply = blocking(move || control::answer(&core, &request, &rest)).await?;
        return Ok(of_control(reply));
    }
    if !path.starts_with("/v2/") {
        let reply = Reply::page(404, "There is nothing here. The WePay sandbox answers below /v2/.");
        return Ok(of_provider(&site, reply));
    }
    let request = request(call_name(path));
    play(&site, request).await
}

/// How far a request below `/v2/` came under one lock.
enum Step {
    /// It is answered.
    Answered(Reply),
    /// It is answered, but the answer waits.
    Held(Reply, Duration),
    /// Nobody gets an answer.
    Dropped,
    /// Nothing has happened yet, and nothing shall for this long.
    Waits(Duration),
}

/// Answers a request below `/v2/`, with the fault that is due, if any.
async fn play(site: &Site, request: Request) -> Result<Response<Body>, Dropped> {
    let (request, step) = on_world(&site.core, request, begin).await?;
    let reply = match step {
        Step::Answered(reply) => reply,
        Step::Dropped => return Err(Dropped),
        Step::Held(reply, delay) => {
            SystemClock.sleep(delay).await;
            reply
        }
        Step::Waits(delay) => {
            SystemClock.sleep(delay).await;
            let process = |core: &Core, request: &Request| process(core, &mut core.lock(), request, None);
            on_world(&site.core, request, process).await?.1
        }
    };
    Ok(of_provider(site, reply))
}

/// Does something to the world: at once where nothing is synced to a disk, else off the async threads.
async fn on_world<T: Send + 'static>(
    core: &Arc<Core>,
    request: Request,
    work: impl FnOnce(&Core, &Request) -> T + Send + 'static,
) -> Result<(Request, T), Dropped> {
    let core = Arc::clone(core);
    let is_durable = core.is_durable;
    let work = move || {
        let done = work(&core, &request);
        (request, done)
    };
    if is_durable { blocking(work).await } else { Ok(work()) }
}

/// Runs something that may wait for the disk, off the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Dropped> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Dropped)
}

/// Looks for a fault that is due, and processes the request unless that forbids it.
fn begin(core: &Core, request: &Request) -> Step {
    let mut world = core.lock();
    let effect = if world.faults.is_empty() { None } else { due(&mut world, request) };
    match &effect {
        Some(Effect::DelayBefore(delay)) => Step::Waits(*delay),
        Some(Effect::LoseBefore) => {
            log_only(core, &mut world, request, None);
            Step::Dropped
        }
        Some(Effect::Status(failure)) => {
            log_only(core, &mut world, request, Some(failure));
            Step::Answered(failed(failure, request))
        }
        _ => {
            let reply = process(core, &mut world, request, effect.as_ref());
            match effect {
                Some(Effect::LoseAfter) => Step::Dropped,
                Some(Effect::DelayAfter(delay)) => Step::Held(reply, delay),
                _ => Step::Answered(reply),
            }
        }
    }
}

/// The fault for this request.
fn due(world: &mut World, request: &Request) -> Option<Effect> {
    let token = bearer(&request.headers).map(sha256);
    let user_id = token.and_then(|token| world.state.token(&token)).map(|token| token.user_id);
    world.faults.take(&request.call, user_id)
}

/// Decides, journals, applies; the answer as it will be sent.
fn process(core: &Core, world: &mut World, request: &Request, effect: Option<&Effect>) -> Reply {
    let context = core.context(world);
    let now = context.now;
    let (Outcome { mut reply, mut facts, mut events }, is_api) = match request.call.as_str() {
        pages::CALL => (pages::answer(&context, request), false),
        confirmation::CALL => (pages::confirmation::answer(&context, request), false),
        _ => (api::answer(&context, request), true),
    };
    if is_api && !events.is_empty() {
        reply.headers.extend(of_write(core));
    }
    let mut answered = true;
    match effect {
        Some(Effect::LoseAfter) => answered = false,
        Some(Effect::StatusAfter(failure)) => {
            reply = failed(failure, request);
            facts.error_code = failure.code();
        }
        Some(Effect::Malformed) => {
            let half = reply.body.chars().count() / 2;
            reply.body = reply.body.chars().take(half).collect();
        }
        Some(Effect::RevokeAfter) => {
            if let Some(token) = &facts.token {
                events.push(Event::TokensRevoked { sha256: vec![token.clone()], at_us: now.as_micros() });
            }
        }
        _ => {}
    }
    if let Some((client_id, since)) = facts.counted {
        world.throttle.count(client_id, now, since);
    }
    let status = answered.then_some(reply.status);
    events.push(Event::Called(record(core, world, request, status, facts)));
    match world.commit(events) {
        Ok(()) => reply,
        Err(error) => {
            tracing::error!("the sandbox could not write its journal: {error}");
            api::error_reply(&ApiError::processing(), VERSION_DEFAULT)
        }
    }
}

/// Logs a call that a fault kept from being processed.
fn log_only(core: &Core, world: &mut World, request: &Request, failure: Option<&Failure>) {
    let facts = Facts { error_code: failure.and_then(Failure::code), ..api::facts_of(request) };
    let call = record(core, world, request, failure.map(Failure::status), facts);
    let logged: io::Result<()> = world.commit(vec![Event::Called(call)]);
    if let Err(error) = logged {
        tracing::error!("the sandbox could not write its journal: {error}");
    }
}

/// The call-log line; `status` is none when the connection is dropped.
fn record(core: &Core, world: &World, request: &Request, status: Option<u16>, facts: Facts) -> Call {
    Call {
        seq: world.state.next_call_seq(),
        at: core.clock.now(),
        method: request.method.clone(),
        path: CallPath::of(&request.call),
        status,
        error_code: facts.error_code,
        user_id: facts.user_id,
        client_id: facts.client_id,
        scope: facts.scope.map(String::into_boxed_str),
        email_sha256: facts.email_sha256.map(String::into_boxed_str),
        account_id: facts.account_id,
        reference_id: facts.reference_id.map(String::into_boxed_str),
        token_sha256: facts.token.as_deref().and_then(TokenMark::of),
        answered: status.is_some(),
    }
}

/// A scripted answer.
fn failed(failure: &Failure, request: &Request) -> Reply {
    match failure {
        Failure::Api(error) => {
            api::error_reply(error, api::requested_version(request).ok().flatten().unwrap_or(VERSION_DEFAULT))
        }
        Failure::Page(status) => Reply::page(*status, "The server cannot answer right now (a scripted fault)."),
    }
}
