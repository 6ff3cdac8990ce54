//! The gRPC API: an accept loop of our own, limits that are set and not inherited, and handlers that convert, call and convert.
//!
//! Who calls is established once per connection ([`auth`]); what they may do is decided in `service`. Errors reach the wire
//! through `status` only.

pub mod auth;
pub mod listener;

mod accounts;
mod admin;
mod audit;
mod convert;
mod deadline;
mod health;
mod onboarding;
mod status;
mod tokens;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Server;

use self::auth::Caller;
use self::listener::Incoming;
use crate::domain::ambient::{Clock, Entropy};
use crate::domain::id::CallId;
use crate::service::{Call, Error, Kind, Services, Standing};
use crate::v1;
use crate::v1::account_service_server::AccountServiceServer;
use crate::v1::admin_service_server::AdminServiceServer;
use crate::v1::audit_service_server::AuditServiceServer;
use crate::v1::onboarding_service_server::OnboardingServiceServer;
use crate::v1::token_service_server::TokenServiceServer;

/// Largest message either way: requests are a few hundred bytes, the largest answer is a page of merchants. tonic's own limits
/// are 4 MiB in and none out.
const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Largest request.
const REQUEST_BYTES_MAX: usize = 64 * 1024;
/// Requests at a time on one connection. tonic announces no limit unless it is set.
const STREAMS_MAX: u32 = 64;
/// Resets that we make before the connection is closed (CVE-2025-8671). tonic switches the limit off unless it is set.
const LOCAL_RESETS_MAX: usize = 256;
/// Resets of the peer that wait before the connection is closed (CVE-2023-44487).
const PENDING_RESETS_MAX: usize = 20;
/// Largest header block.
const HEADER_BYTES_MAX: u32 = 16 * 1024;
/// Largest frame.
const FRAME_BYTES_MAX: u32 = 16 * 1024;
/// How often an idle connection is asked whether it lives…
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// …and how long it may take to answer.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// After this long a connection is asked to go, so that certificates and load move on…
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(15 * 60);
/// …and after this long it is closed.
const CONNECTION_AGE_GRACE: Duration = Duration::from_secs(2 * 60);
/// Longest call: a probe that has to confirm a death, twice over.
const CALL_DEADLINE: Duration = Duration::from_secs(60);
/// Longest call that may wait for a mint: its own deadline, 70 s, and the probes before and after it.
const MINT_DEADLINE: Duration = Duration::from_secs(100);
/// Longest call that asks nobody but our own database.
const READ_DEADLINE: Duration = Duration::from_secs(5);

/// What every handler stands on.
#[derive(Clone)]
struct Desk {
    services: Services,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Desk {
    /// The call that a request is: refused, and recorded, unless its connection carries a caller that is still valid.
    async fn call<T: Sync>(&self, request: &tonic::Request<T>) -> Result<Call, Status> {
        self.call_within(request, CALL_DEADLINE).await
    }

    /// The same for a call that may wait for a mint.
    async fn mint_call<T: Sync>(&self, request: &tonic::Request<T>) -> Result<Call, Status> {
        self.call_within(request, MINT_DEADLINE).await
    }

    async fn call_within<T: Sync>(&self, request: &tonic::Request<T>, longest: Duration) -> Result<Call, Status> {
        let id = CallId::generate(&*self.clock, &*self.entropy);
        let deadline = Some(deadline::of(request.metadata(), longest));
        let call = |caller: &Caller| Call { id, caller: caller.id().clone(), origin: Some(caller.origin()), deadline };
        let fault = match auth::caller(request, self.clock.now()) {
            Ok(caller) => return Ok(call(&caller)),
            Err(fault) => fault,
        };
        if let Some(lapsed) = request.extensions().get::<Caller>() {
            self.services.record_lapsed(&call(lapsed), lapsed.addr().ip(), fault.code()).await;
        }
        Err(status::of(&Error::new(Kind::Unauthenticated).because(fault.to_string()), id))
    }

    /// Carries out a call that asks the provider.
    async fn run<T>(&self, call: &Call, work: impl Future<Output = Result<T, Error>>) -> Result<T, Status> {
        within(CALL_DEADLINE, work).await.map_err(|error| status::of(&error, call.id))
    }

    /// Carries out a call that may wait for a mint.
    async fn mint<T>(&self, call: &Call, work: impl Future<Output = Result<T, Error>>) -> Result<T, Status> {
        within(MINT_DEADLINE, work).await.map_err(|error| status::of(&error, call.id))
    }

    /// Carries out a call that asks nobody but our own database.
    async fn read<T>(&self, call: &Call, work: impl Future<Output = Result<T, Error>>) -> Result<T, Status> {
        within(READ_DEADLINE, work).await.map_err(|error| status::of(&error, call.id))
    }
}

async fn within<T>(deadline: Duration, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(deadline, work)
        .await
        .unwrap_or_else(|_| Err(Error::new(Kind::DeadlinePassed).retry_after(deadline)))
}

/// Serves the API to connections that carry a caller, until `stop`; then asks every connection to go (GOAWAY), answers what is under way
/// and ends. Clients that watch its health are told of `health`.
///
/// # Errors
/// When the server cannot go on: never because of one connection.
pub async fn serve(
    services: Services,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    incoming: Incoming<Caller>,
    health: watch::Receiver<Standing>,
    stop: CancellationToken,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let desk = Desk { services, clock, entropy };
    let (reporter, health_service) = tonic_health::server::health_reporter();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(v1::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    macro_rules! limited {
        ($service:expr) => {
            $service.max_decoding_message_size(REQUEST_BYTES_MAX).max_encoding_message_size(MESSAGE_BYTES_MAX)
        };
    }
    let served = Server::builder()
        .max_concurrent_streams(Some(STREAMS_MAX))
        .http2_max_local_error_reset_streams(Some(LOCAL_RESETS_MAX))
        .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS_MAX))
        .http2_max_header_list_size(Some(HEADER_BYTES_MAX))
        .max_frame_size(Some(FRAME_BYTES_MAX))
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_connection_age(CONNECTION_AGE_MAX)
        .max_connection_age_grace(CONNECTION_AGE_GRACE)
        .add_service(limited!(OnboardingServiceServer::new(onboarding::Onboarding(desk.clone()))))
        .add_service(limited!(AccountServiceServer::new(accounts::Accounts(desk.clone()))))
        .add_service(limited!(TokenServiceServer::new(tokens::Tokens(desk.clone()))))
        .add_service(limited!(AuditServiceServer::new(audit::Audit(desk.clone()))))
        .add_service(limited!(AdminServiceServer::new(admin::Admin(desk))))
        .add_service(health_service)
        .add_service(reflection)
        .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
    let mut served = pin!(served);
    tokio::select! {
        served = &mut served => return Ok(served?),
        () = health::follow(reporter, health, stop) => {}
    }
    Ok(served.await?)
}
