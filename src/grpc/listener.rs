//! TCP accept and TLS handshake of our own: deadlines, a cap on connections, certificates that reload, the peer's
//! identity checked once per connection.
//!
//! The stream of ready connections goes to `serve_with_incoming` (gRPC, client certificates required) or to an HTTP
//! server (the public listener, server TLS only). No connection without TLS ever comes out of it. A connection that
//! breaks a rule is closed here and reported by a bounded channel: knocking cannot slow the accept loop down.

mod facts;
mod tls;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{self, ServerConnection};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::auth::IdentityFault;
use crate::domain::ambient::{Clock, SystemClock};

pub use facts::CertificateFacts;
pub use tls::{ClientChain, Handshake, Tls, TlsError, TlsFiles};

/// Longest handshake: several round trips around the world, and short enough that silent peers hold few slots.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);
/// Most connections at a time, handshakes included: each may cost some 100 KiB of buffers.
pub const CONNECTIONS_MAX: usize = 4096;
/// Pause after an `accept` that failed for lack of resources; without it the loop would spin until some are freed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections that are ready and not yet taken by the server, which takes them at once.
const READY_MAX: usize = 64;

/// Limits of a listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Most connections at a time; further ones wait in the operating system's queue.
    pub connections_max: usize,
    /// Longest handshake.
    pub handshake_deadline: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections_max: CONNECTIONS_MAX, handshake_deadline: HANDSHAKE_DEADLINE }
    }
}

/// Judges a peer at the end of the handshake.
pub trait Admission: Send + Sync + 'static {
    /// What requests of the connection carry.
    type Info: Clone + Send + Sync + 'static;

    /// Who the peer is.
    ///
    /// # Errors
    /// Which rule the peer breaks; its connection is then closed and reported.
    fn admit(&self, tls: &ServerConnection, handshake: &Handshake) -> Result<Self::Info, IdentityFault>;
}

/// Admits every peer that completed a handshake: for the public listener.
#[derive(Clone, Copy, Debug)]
pub struct Anyone;

/// What is known of a peer without identity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerAddr(pub SocketAddr);

impl Admission for Anyone {
    type Info = PeerAddr;

    fn admit(&self, _: &ServerConnection, handshake: &Handshake) -> Result<PeerAddr, IdentityFault> {
        Ok(PeerAddr(handshake.addr()))
    }
}

/// A connection attempt that did not become a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rejection {
    /// From where.
    pub addr: SocketAddr,
    /// Why.
    pub reason: RejectionReason,
}

/// Why a connection attempt did not become a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RejectionReason {
    /// The handshake took too long.
    Deadline,
    /// The peer went away before the handshake was done.
    ConnectionLost,
    /// What the peer sent is no acceptable TLS.
    Protocol,
    /// The client certificate is not valid yet.
    NotYetValid,
    /// The client certificate has ended.
    Expired,
    /// The client certificate comes from no authority of ours.
    UnknownIssuer,
    /// The client certificate is bad in another way.
    BadCertificate,
    /// The certificate is sound and breaks a rule of identity.
    Identity(IdentityFault),
}

impl RejectionReason {
    /// A stable code, for the audit.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Deadline => "handshake_deadline",
            Self::ConnectionLost => "connection_lost",
            Self::Protocol => "tls_protocol",
            Self::NotYetValid => "certificate_not_yet_valid",
            Self::Expired => "certificate_expired",
            Self::UnknownIssuer => "unknown_issuer",
            Self::BadCertificate => "bad_certificate",
            Self::Identity(fault) => fault.code(),
        }
    }

    fn of(error: &io::Error) -> Self {
        use rustls::{CertificateError as Bad, Error};
        let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
            return Self::ConnectionLost;
        };
        match error {
            Error::NoCertificatesPresented => Self::Identity(IdentityFault::NoCertificate),
            Error::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => Self::Expired,
            Error::InvalidCertificate(Bad::NotValidYet | Bad::NotValidYetContext { .. }) => Self::NotYetValid,
            Error::InvalidCertificate(Bad::UnknownIssuer) => Self::UnknownIssuer,
            Error::InvalidCertificate(Bad::InvalidPurpose | Bad::InvalidPurposeContext { .. }) => {
                Self::Identity(IdentityFault::NotForClients)
            }
            Error::InvalidCertificate(_) => Self::BadCertificate,
            _ => Self::Protocol,
        }
    }
}

/// Where rejections are reported. Never waits: what the channel cannot take is only counted.
#[derive(Clone, Debug)]
pub struct Rejections {
    sender: mpsc::Sender<Rejection>,
    unreported: Arc<AtomicU64>,
}

impl Rejections {
    /// A reporter and the channel of at most `capacity` rejections that it reports to.
    pub fn channel(capacity: usize) -> (Self, mpsc::Receiver<Rejection>) {
        let (sender, receiver) = mpsc::channel(capacity.max(1));
        (Self { sender, unreported: Arc::default() }, receiver)
    }

    /// How many rejections found the channel full or closed.
    pub fn unreported(&self) -> u64 {
        self.unreported.load(Ordering::Relaxed)
    }

    fn report(&self, rejection: Rejection) {
        if self.sender.try_send(rejection).is_err() {
            self.unreported.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Connections with their handshake done and their peer admitted. Dropping it ends the accept loop, not the
/// connections.
#[derive(Debug)]
pub struct Incoming<I> {
    ready: mpsc::Receiver<Connection<I>>,
    _accepting: JoinSet<()>,
}

impl<I: Clone + Send + Sync + 'static> Incoming<I> {
    /// Starts to accept. Must be called within a tokio runtime.
    pub fn start<A: Admission<Info = I>>(
        tcp: TcpListener,
        tls: Arc<Tls>,
        admission: A,
        limits: Limits,
        rejections: Rejections,
    ) -> Self {
        Self::over(tcp, Arc::new(Door { tls, admission, limits, rejections }))
    }

    fn over<A: Admission<Info = I>>(source: impl Source, door: Arc<Door<A>>) -> Self {
        let (sender, ready) = mpsc::channel(READY_MAX);
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(source, door, sender));
        Self { ready, _accepting: accepting }
    }

    /// The next connection; `None` never comes while the accept loop lives.
    pub async fn next(&mut self) -> Option<Connection<I>> {
        self.ready.recv().await
    }
}

impl<I> tokio_stream::Stream for Incoming<I> {
    type Item = io::Result<Connection<I>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.ready.poll_recv(cx).map(|connection| connection.map(Ok))
    }
}

/// A TLS connection whose peer was admitted. Holds one of the listener's slots until it is dropped.
pub struct Connection<I> {
    io: TlsStream<TcpStream>,
    info: I,
    _slot: OwnedSemaphorePermit,
}

impl<I> Connection<I> {
    /// What is known of the peer.
    pub fn info(&self) -> &I {
        &self.info
    }
}

impl<I: fmt::Debug> fmt::Debug for Connection<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("info", &self.info).finish_non_exhaustive()
    }
}

impl<I: Clone + Send + Sync + 'static> Connected for Connection<I> {
    type ConnectInfo = I;

    fn connect_info(&self) -> I {
        self.info.clone()
    }
}

impl<I: Unpin> AsyncRead for Connection<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<I: Unpin> AsyncWrite for Connection<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Where TCP connections come from; the tests have one that fails.
trait Source: Send + 'static {
    fn accept(&mut self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> + Send;
}

impl Source for TcpListener {
    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        TcpListener::accept(self).await
    }
}

/// Everything that one handshake needs.
struct Door<A> {
    tls: Arc<Tls>,
    admission: A,
    limits: Limits,
    rejections: Rejections,
}

/// Accepts until its task is aborted. No error of `accept` ends it (RUSTSEC-2024-0376 was such an end).
async fn accept<A: Admission>(mut source: impl Source, door: Arc<Door<A>>, ready: mpsc::Sender<Connection<A::Info>>) {
    let slots = Arc::new(Semaphore::new(door.limits.connections_max));
    // Aborted with this task.
    let mut handshakes = JoinSet::new();
    loop {
        while handshakes.try_join_next().is_some() {}
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        match source.accept().await {
            Ok((tcp, addr)) => {
                let (door, ready) = (Arc::clone(&door), ready.clone());
                handshakes.spawn(async move {
                    match door.handshake(tcp, addr, slot).await {
                        // It can only be refused when the server is gone; then so is the peer's reason to wait.
                        Ok(connection) => drop(ready.send(connection).await),
                        Err(reason) => door.rejections.report(Rejection { addr, reason }),
                    }
                });
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection; trying again");
                SystemClock.sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether the error is about the connection that was at the head of the queue, and the next may be fine.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

impl<A: Admission> Door<A> {
    async fn handshake(
        &self,
        tcp: TcpStream,
        addr: SocketAddr,
        slot: OwnedSemaphorePermit,
    ) -> Result<Connection<A::Info>, RejectionReason> {
        // Small frames must not wait for one another; a socket that refuses it still works.
        let _ = tcp.set_nodelay(true);
        let handshake = self.tls.handshake(addr);
        let acceptor = TlsAcceptor::from(Arc::clone(handshake.config()));
        // The machine's own time: a network deadline is not moved by an adjusted clock.
        let io = tokio::time::timeout(self.limits.handshake_deadline, acceptor.accept(tcp))
            .await
            .map_err(|_| RejectionReason::Deadline)?
            .map_err(|error| RejectionReason::of(&error))?;
        let (_, tls) = io.get_ref();
        if !handshake.speaks_our_protocol(tls) {
            return Err(RejectionReason::Protocol);
        }
        let info = self.admission.admit(tls, &handshake).map_err(RejectionReason::Identity)?;
        Ok(Connection { io, info, _slot: slot })
    }
}

#[cfg(all(test, feature = "sandbox"))]
mod tests;
