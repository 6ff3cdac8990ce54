//! What becomes of a request: where it goes, the faults that are due, the decision, the journal, the call log.

use std::io;
use std::sync::Arc;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::Response;

use super::request::{BODY_TIME_MAX, Unread, read_body};
use super::response::{of_control, of_provider, of_write};
use crate::domain::ambient::Clock as _;
use crate::sandbox::faults::play::{Dropped, Start};
use crate::sandbox::faults::{Effect, Failure, call_name};
use crate::sandbox::protocol::{ApiError, BODY_MAX, VERSION_DEFAULT};
use crate::sandbox::state::{Call, CallPath, CallVersion, Event, TokenMark};
use crate::sandbox::world::{Core, Facts, Outcome, Reply, Request, World};
use crate::sandbox::{api, control, pages};

/// Answers a request, however it came here; without an answer the connection closes.
pub(in crate::sandbox) async fn answer(
    core: Arc<Core>,
    is_tls: bool,
    request: hyper::Request<impl HttpBody<Data = Bytes> + Unpin>,
) -> Result<Response<Body>, Dropped> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let body_max = if path.starts_with("/control/") { control::BODY_MAX } else { BODY_MAX };
    let body = match read_body(body, body_max, BODY_TIME_MAX).await {
        Ok(body) => body,
        Err(Unread::TooLarge) => {
            let error = ApiError { status: 413, ..ApiError::unparsable() };
            return Ok(of_provider(is_tls, api::error_reply(&error, VERSION_DEFAULT, "")));
        }
        Err(Unread::TooSlow) => return Ok(of_provider(is_tls, Reply::page(408, "The request did not come in time."))),
        Err(Unread::Broken) => return Err(Dropped),
    };
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let request = |call| Request { method: parts.method, call, query, headers: parts.headers, body };
    if let Some(rest) = path.strip_prefix("/control/") {
        let (rest, request) = (rest.to_owned(), request(path.to_owned()));
        // Always off the async threads: it may walk through everything there is.
        let reply = blocking(move || control::answer(&core, &request, &rest)).await?;
        return Ok(of_control(reply));
    }
    if !path.starts_with("/v2/") && !pages::is_outside(path) {
        let reply = Reply::page(404, "There is nothing here. The WePay sandbox answers below /v2/.");
        return Ok(of_provider(is_tls, reply));
    }
    let request = request(call_name(path));
    let (request, begun) = on_world(&core, request, begin).await?;
    match begun {
        Begun::Answered(reply) => Ok(of_provider(is_tls, reply)),
        // Rare and large: kept out of what every request carries.
        Begun::Hit(effect) => Box::pin(suffer(&core, is_tls, request, effect)).await,
    }
}

/// How far a request below `/v2/` came under one lock.
enum Begun {
    /// It is answered.
    Answered(Reply),
    /// Nothing has happened yet; this will.
    Hit(Effect),
}

/// Looks for a fault that is due; processes the request if there is none.
fn begin(core: &Core, request: &Request) -> Begun {
    let world = &mut *core.lock();
    if !world.faults.is_empty() {
        let World { state, faults, settings, .. } = world;
        if let Some(effect) = faults.take(state, settings, request) {
            return Begun::Hit(effect);
        }
    }
    Begun::Answered(process(core, world, request, None))
}

/// Answers a request that a fault hits.
async fn suffer(core: &Arc<Core>, is_tls: bool, request: Request, effect: Effect) -> Result<Response<Body>, Dropped> {
    match effect.start().await {
        Start::Process => {
            let hit = effect.clone();
            let process = move |core: &Core, request: &Request| process(core, &mut core.lock(), request, Some(&hit));
            let (_, reply) = on_world(core, request, process).await?;
            effect.send(of_provider(is_tls, reply)).await
        }
        Start::Drop => {
            let log = move |core: &Core, request: &Request| log_only(core, request, &effect, None);
            on_world(core, request, log).await?;
            Err(Dropped)
        }
        Start::Refuse(failure) => {
            let reply = failure.reply(&request);
            let log = move |core: &Core, request: &Request| log_only(core, request, &effect, Some(&failure));
            on_world(core, request, log).await?;
            Ok(of_provider(is_tls, reply))
        }
    }
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
    if is_durable { Box::pin(blocking(work)).await } else { Ok(work()) }
}

/// Runs something that may wait for the disk, off the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Dropped> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Dropped)
}

/// Decides what a request is answered. Only a batch changes the world meanwhile.
fn decide(core: &Core, world: &mut World, request: &Request) -> Outcome {
    if request.call == api::batch::NAME {
        return api::batch::answer(core, world, request);
    }
    let context = core.context(world);
    pages::answer(&context, request).unwrap_or_else(|| api::answer(&context, request))
}

/// Decides, journals, applies; the answer as it will be sent.
fn process(core: &Core, world: &mut World, request: &Request, effect: Option<&Effect>) -> Reply {
    if let Err(error) = world.settle(core.clock.now()) {
        return unwritten(&error);
    }
    let first = effect.map(|effect| effect.before(&world.state, request, core.clock.now())).unwrap_or_default();
    if !first.is_empty()
        && let Err(error) = world.commit(first)
    {
        return unwritten(&error);
    }
    let now = core.clock.now();
    let Outcome { mut reply, mut facts, mut events } = decide(core, world, request);
    if facts.error_code.is_none() && api::is_write(&request.call) {
        reply.headers.extend(of_write(core));
    }
    if let Some(effect) = effect {
        effect.spoil(request, now, &mut reply, &mut facts, &mut events);
    }
    if let Some((client_id, since)) = facts.counted {
        world.throttle.count(client_id, now, since);
    }
    let status = effect.is_none_or(Effect::answers).then_some(reply.status);
    events.push(Event::Called(record(core, world, request, effect, status, facts)));
    match world.commit(events) {
        Ok(()) => reply,
        Err(error) => unwritten(&error),
    }
}

fn unwritten(error: &io::Error) -> Reply {
    tracing::error!("the sandbox could not write its journal: {error}");
    api::error_reply(&ApiError::processing(), VERSION_DEFAULT, "")
}

/// Logs a call that a fault kept from being processed.
fn log_only(core: &Core, request: &Request, effect: &Effect, failure: Option<&Failure>) {
    let mut world = core.lock();
    let facts = Facts { error_code: failure.and_then(Failure::code), ..api::facts_of(request) };
    let call = record(core, &world, request, Some(effect), failure.map(Failure::status), facts);
    if let Err(error) = world.commit(vec![Event::Called(call)]) {
        tracing::error!("the sandbox could not write its journal: {error}");
    }
}

/// The call-log line; `status` is none when the connection is dropped.
pub(in crate::sandbox) fn record(
    core: &Core,
    world: &World,
    request: &Request,
    effect: Option<&Effect>,
    status: Option<u16>,
    facts: Facts,
) -> Call {
    Call {
        seq: world.state.next_call_seq(),
        in_batch: None,
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
        fault: effect.map(|effect| effect.kind),
        version: api::requested_version(request).ok().flatten().map(CallVersion),
    }
}
