//! Serves the public pages over connections that completed a TLS handshake.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;

use super::Peer;

/// Longest wait for the header of a request.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest header; hyper's buffer holds the whole of it.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// Serves the router on every connection until `stop`, then lets what is under way finish.
pub async fn serve<C>(
    mut incoming: impl Stream<Item = (C, SocketAddr)> + Send + Unpin,
    router: Router,
    stop: CancellationToken,
) where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    // Dropped with this future, so that nobody outlives a server that is cut off.
    let mut connections = JoinSet::new();
    loop {
        let next = tokio::select! {
            next = incoming.next() => next,
            Some(_ended) = connections.join_next() => continue,
            () = stop.cancelled() => None,
        };
        let Some((connection, address)) = next else { break };
        connections.spawn(converse(connection, Peer(Some(address)), router.clone(), stop.clone()));
    }
    while connections.join_next().await.is_some() {}
}

async fn converse<C>(connection: C, peer: Peer, router: Router, stop: CancellationToken)
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = ServiceBuilder::new()
        .map_request(move |mut request: hyper::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(peer);
            request
        })
        .service(router);
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
}
