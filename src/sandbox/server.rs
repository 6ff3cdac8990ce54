//! HTTP/1.1 on one listener, in clear or over TLS: accepts, reads requests whole, and sends them to API, pages or control.
//!
//! A client that hangs up does not undo its request, as at the real provider: what nobody waits for any more goes on in a
//! task of its own. A client that is slow has its own time only, and not for ever.

pub(super) mod answer;
mod lasting;
mod request;
mod response;

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::lasting::{Lasting, Rest};
use super::world::Core;
use crate::domain::ambient::{Clock as _, SystemClock};

/// How long a client has for its TLS handshake; a good one takes milliseconds.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// How long to wait after a connection could not be taken: file descriptors come back when others are done, not by asking harder.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a connection may take for the head of a request, or lie idle before it: nginx's default `keepalive_timeout`.
const HEAD_MAX: Duration = Duration::from_secs(75);

/// The running listener.
pub(super) struct Server {
    rest: Rest,
}

/// What all connections share.
struct Site {
    core: Arc<Core>,
    tls: Option<TlsAcceptor>,
    rest: Rest,
}

impl Server {
    /// Starts to accept; with `tls`, nothing is answered in clear.
    pub(super) fn start(listener: TcpListener, core: Arc<Core>, tls: Option<TlsAcceptor>) -> Self {
        let rest = Rest { stop: CancellationToken::new(), tasks: TaskTracker::new() };
        let site = Arc::new(Site { core, tls, rest: rest.clone() });
        rest.tasks.spawn(accept(listener, site));
        Self { rest }
    }

    /// Drops every connection and waits until all tasks are gone.
    pub(super) async fn stop(self) {
        self.rest.stop.cancel();
        self.rest.tasks.close();
        self.rest.tasks.wait().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.rest.stop.cancel();
    }
}

async fn accept(listener: TcpListener, site: Arc<Site>) {
    loop {
        let accepted = tokio::select! {
            () = site.rest.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let rest = site.rest.clone();
                let connection = serve(stream, Arc::clone(&site));
                rest.tasks.spawn(async move { rest.stop.run_until_cancelled(connection).await });
            }
            // Out of file descriptors or a connection that died in the queue: others may still be served.
            Err(error) => {
                tracing::warn!("the sandbox could not accept a connection: {error}");
                SystemClock.sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, site: Arc<Site>) {
    // Answers are small and written at once; waiting for more would only delay them.
    drop(stream.set_nodelay(true));
    let Some(acceptor) = &site.tls else { return converse(stream, site).await };
    // Whoever speaks no TLS, or another, or none in time, learns it by the connection's end.
    if let Some(stream) = shake_hands(acceptor, stream, HANDSHAKE_MAX).await {
        converse(stream, site).await;
    }
}

/// The stream within, if the client finishes its handshake within `patience`.
async fn shake_hands<S: AsyncRead + AsyncWrite + Unpin>(
    acceptor: &TlsAcceptor,
    stream: S,
    patience: Duration,
) -> Option<TlsStream<S>> {
    tokio::select! {
        biased;
        handshake = acceptor.accept(stream) => handshake.ok(),
        () = SystemClock.sleep(patience) => None,
    }
}

/// Answers the requests of a connection, one after the other.
async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, site: Arc<Site>) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        Lasting::new(Box::pin(answer::answer(Arc::clone(&site.core), site.tls.is_some(), request)), site.rest.clone())
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_MAX);
    // An error here is a dropped connection: scripted, or the client's doing.
    drop(http.serve_connection(TokioIo::new(stream), service).await);
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;
    use crate::sandbox::tls;

    fn acceptor() -> TlsAcceptor {
        tls::open(tempfile::tempdir().unwrap().path()).unwrap().acceptor
    }

    #[tokio::test]
    async fn a_handshake_that_is_never_finished_ends_when_patience_does() {
        let (mut client, stream) = tokio::io::duplex(64);
        assert!(shake_hands(&acceptor(), stream, Duration::from_millis(1)).await.is_none());
        assert!(client.write_all(b"late").await.is_err(), "the connection is gone");
    }

    #[tokio::test]
    async fn who_speaks_no_tls_is_not_waited_for() {
        let (mut client, stream) = tokio::io::duplex(64);
        client.write_all(b"GET /v2/user HTTP/1.1\r\n\r\n").await.unwrap();
        assert!(shake_hands(&acceptor(), stream, Duration::MAX).await.is_none());
    }
}
