//! HTTP/1.1 on one listener: accepts, reads requests whole, sends them to API, pages or control, and plays the faults.
//!
//! A request is processed in a task of its own, as at the real provider: a client that hangs up does not undo it.

use std::io;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderValue, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::faults::play::{Dropped, Start};
use super::faults::{Effect, Failure, call_name};
use super::hash::prefix;
use super::protocol::{ApiError, BODY_MAX, VERSION_DEFAULT};
use super::state::{Call, Event};
use super::world::{Core, Facts, Media, Outcome, Reply, Request, World};
use super::{api, control, pages};
use crate::domain::ambient::Clock as _;

/// Longest path that the call log keeps; our longest own path has 20 characters.
const LOGGED_PATH_MAX: usize = 100;

/// The running listener.
pub(super) struct Server {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    /// Starts to accept.
    pub(super) fn start(listener: TcpListener, core: Arc<Core>) -> Self {
        let server = Self { stop: CancellationToken::new(), tasks: TaskTracker::new() };
        server.tasks.spawn(accept(listener, core, server.stop.clone(), server.tasks.clone()));
        server
    }

    /// Drops every connection and waits until all tasks are gone.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept(listener: TcpListener, core: Arc<Core>, stop: CancellationToken, tasks: TaskTracker) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = serve(stream, core.clone(), stop.clone(), tasks.clone());
                let stop = stop.clone();
                tasks.spawn(async move { stop.run_until_cancelled(connection).await });
            }
            // Out of file descriptors or a connection that died in the queue: others may still be served.
            Err(error) => {
                tracing::warn!("the sandbox could not accept a connection: {error}");
                tokio::task::yield_now().await;
            }
        }
    }
}

async fn serve(stream: TcpStream, core: Arc<Core>, stop: CancellationToken, tasks: TaskTracker) {
    // Answers are small and written at once; waiting for more would only delay them.
    drop(stream.set_nodelay(true));
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (core, stop, tasks) = (core.clone(), stop.clone(), tasks.clone());
        async move {
            let work = handle(core, request.map(Body::new));
            let task = tasks.spawn(async move { stop.run_until_cancelled(work).await });
            task.await.ok().flatten().unwrap_or(Err(Dropped))
        }
    });
    // An error here is a dropped connection: scripted, or the client's doing.
    drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

/// Answers one request, however it came here; an error is a connection that ends without an answer.
pub(super) async fn handle(core: Arc<Core>, request: hyper::Request<Body>) -> Result<Response<Body>, Dropped> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let body_max = if path.starts_with("/control/") { control::BODY_MAX } else { BODY_MAX };
    let Ok(body) = to_bytes(body, body_max).await else {
        let error = ApiError { status: 413, ..ApiError::unparsable() };
        return Ok(response(api::error_reply(&error, VERSION_DEFAULT)));
    };
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let mut request = Request { method: parts.method, call: path, query, headers: parts.headers, body };
    if let Some(rest) = request.call.strip_prefix("/control/") {
        let rest = rest.to_owned();
        let reply = blocking(move || control::answer(&core, &request, &rest)).await?;
        return Ok(response(reply));
    }
    if !request.call.starts_with("/v2/") && !pages::is_outside(&request.call) {
        return Ok(response(Reply::page(404, "There is nothing here. The WePay sandbox answers below /v2/.")));
    }
    request.call = call_name(&request.call);
    play(core, request).await
}

/// Runs something that locks the world and may wait for the disk, off the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Dropped> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Dropped)
}

/// Answers a request below `/v2/`, with the fault that is due, if any.
async fn play(core: Arc<Core>, request: Request) -> Result<Response<Body>, Dropped> {
    let effect = {
        let World { state, faults, settings, .. } = &mut *core.lock();
        faults.take(state, settings, &request)
    };
    let Some(effect) = effect else {
        return blocking(move || process(&core, &request, None)).await.map(response);
    };
    match effect.start().await {
        Start::Process => {
            let for_process = effect.clone();
            let reply = blocking(move || process(&core, &request, Some(&for_process))).await?;
            effect.send(response(reply)).await
        }
        Start::Drop => {
            blocking(move || log_only(&core, &request, &effect, None)).await?;
            Err(Dropped)
        }
        Start::Refuse(failure) => {
            let reply = failure.reply(&request);
            blocking(move || log_only(&core, &request, &effect, Some(&failure))).await?;
            Ok(response(reply))
        }
    }
}

/// Decides what a request is answered. Only a batch changes the world meanwhile.
pub(super) fn decide(core: &Core, world: &mut World, request: &Request) -> Outcome {
    if request.call == api::batch::NAME {
        return api::batch::answer(core, world, request);
    }
    let context = core.context(world);
    pages::answer(&context, request).unwrap_or_else(|| api::answer(&context, request))
}

/// Decides, journals, applies; the answer as it will be sent.
fn process(core: &Core, request: &Request, effect: Option<&Effect>) -> Reply {
    let mut world = core.lock();
    let first = effect.map(|effect| effect.before(&world.state, request, core.clock.now())).unwrap_or_default();
    if !first.is_empty()
        && let Err(error) = world.commit(first)
    {
        return unwritten(&error);
    }
    let Outcome { mut reply, mut facts, mut events } = decide(core, &mut world, request);
    if let Some(effect) = effect {
        effect.spoil(request, core.clock.now(), &mut reply, &mut facts, &mut events);
    }
    let status = effect.is_none_or(Effect::answers).then_some(reply.status);
    events.push(Event::Called(record(core, &world, request, effect, status, facts)));
    match world.commit(events) {
        Ok(()) => reply,
        Err(error) => unwritten(&error),
    }
}

fn unwritten(error: &io::Error) -> Reply {
    tracing::error!("the sandbox could not write its journal: {error}");
    api::error_reply(&ApiError::processing(), VERSION_DEFAULT)
}

/// Logs a call that a fault kept from being processed.
fn log_only(core: &Core, request: &Request, effect: &Effect, failure: Option<&Failure>) {
    let mut world = core.lock();
    let facts = Facts { error_code: failure.and_then(Failure::code), ..Facts::default() };
    let call = record(core, &world, request, Some(effect), failure.map(Failure::status), facts);
    if let Err(error) = world.commit(vec![Event::Called(call)]) {
        tracing::error!("the sandbox could not write its journal: {error}");
    }
}

/// The number of the newest line of the call log.
pub(super) fn last_seq(world: &World) -> u64 {
    world.state.calls().last().map_or(0, |call| call.seq)
}

/// The call-log line; `status` is none when the connection is dropped.
pub(super) fn record(
    core: &Core,
    world: &World,
    request: &Request,
    effect: Option<&Effect>,
    status: Option<u16>,
    mut facts: Facts,
) -> Call {
    let email_sha256 = api::note_asked(request, &mut facts);
    Call {
        seq: last_seq(world).saturating_add(1),
        in_batch: None,
        at: core.clock.now().to_rfc3339(),
        method: request.method.to_string(),
        path: format!("/v2{}", request.call).chars().take(LOGGED_PATH_MAX).collect(),
        status,
        error_code: facts.error_code,
        user_id: facts.user_id,
        client_id: facts.client_id.map(|id| id.to_string()),
        scope: facts.scope,
        email_sha256,
        account_id: facts.account_id,
        reference_id: facts.reference_id,
        token_sha256: facts.token.as_deref().map(prefix),
        answered: status.is_some(),
        fault: effect.map(|effect| effect.kind.as_str().to_owned()),
        version: api::requested_version(request).ok().flatten().map(str::to_owned),
    }
}

fn response(reply: Reply) -> Response<Body> {
    let media = match reply.media {
        // Without a charset, as recorded on stage.
        Media::Json => "application/json",
        Media::Html => "text/html; charset=utf-8",
        Media::JsonLines => "application/x-ndjson",
    };
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    for (name, value) in reply.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().append(name, value);
        }
    }
    response
}
