//! Serves the public pages over connections that completed a TLS handshake.

use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceBuilder;

use crate::grpc::listener::{Incoming, PeerAddr};
use crate::http::Peer;

/// Longest wait for the header of a request (SEC-23).
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest header (SEC-23); hyper's buffer holds the whole of it.
const HEADER_BYTES_MAX: usize = 16 * 1024;

pub(super) async fn serve(mut incoming: Incoming<PeerAddr>, router: Router, stop: CancellationToken) {
    let connections = TaskTracker::new();
    loop {
        let next = tokio::select! {
            next = incoming.next() => next,
            () = stop.cancelled() => break,
        };
        let Some(connection) = next else { break };
        let peer = Peer(Some(connection.info().0));
        let service = ServiceBuilder::new()
            .map_request(move |mut request: hyper::Request<hyper::body::Incoming>| {
                request.extensions_mut().insert(peer.clone());
                request
            })
            .service(router.clone());
        let stop = stop.clone();
        connections.spawn(async move {
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_READ_TIMEOUT)
                .max_buf_size(HEADER_BYTES_MAX)
                .serve_connection(TokioIo::new(connection), TowerToHyperService::new(service));
            let mut served = std::pin::pin!(served);
            tokio::select! {
                // A browser that breaks off is no event of ours.
                _ended = served.as_mut() => return,
                () = stop.cancelled() => served.as_mut().graceful_shutdown(),
            }
            let _ended = served.await;
        });
    }
    connections.close();
    connections.wait().await;
}
