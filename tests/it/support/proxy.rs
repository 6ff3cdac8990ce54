//! A proxy that misbehaves on purpose, between any client and a TCP server: it passes, delays, holds or swallows what goes through it,
//! each direction on its own, cuts or resets connections, and refuses new ones. What it does can be changed while it runs.
//!
//! For PostgreSQL without TLS it reads along what the client says, so that a connection ends at a chosen statement.
//!
//! It must not name our own crate: tests of single modules take it by its path.

// By its path, so that it is found by whoever takes this file by its own.
#[path = "proxy/frontend.rs"]
mod frontend;

use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::frontend::Frontend;

/// How much is read at once. A delay is for each such piece.
const PIECE_BYTES: usize = 16 * 1024;
/// Connections that wait to be accepted, as usual.
const BACKLOG: u32 = 1024;

/// What happens to what goes through in one direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flow {
    /// It goes on at once.
    Pass,
    /// It goes on after a while.
    Delay(Duration),
    /// It goes on when this is changed, and nothing further is taken in.
    Hold,
    /// It is gone, an end as well: who sent it believes that it arrived. Afterwards only a cut makes sense of the connection.
    Swallow,
}

/// How a connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// In order, as when a process exits.
    Close,
    /// By RST, as when a machine has forgotten it.
    Reset,
}

/// What is done at a statement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// It goes on.
    Pass,
    /// The server never hears of it, and the connection ends.
    CutBefore,
    /// It is sent on, and the connection ends at once: whether the server did it, the client cannot know.
    CutAfter,
    /// It is sent on, and the connection ends when the server has answered: it did it, and the client is not told.
    LoseAnswer,
}

/// Sees the text of each statement that is about to be executed.
type Watcher = Box<dyn FnMut(&str) -> Verdict + Send>;

/// A proxy on a port of its own; gone, with all its connections, when dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    server: SocketAddr,
    is_postgres: bool,
    to_server: watch::Sender<Flow>,
    to_client: watch::Sender<Flow>,
    end: watch::Sender<End>,
    refuses: watch::Sender<bool>,
    is_listening: watch::Sender<bool>,
    watcher: Mutex<Option<Watcher>>,
    accepted: AtomicUsize,
    open: watch::Sender<usize>,
    struck: AtomicUsize,
}

impl Proxy {
    /// One that knows nothing of what it passes.
    pub(crate) async fn start(server: SocketAddr) -> Self {
        Self::start_on(Ipv4Addr::LOCALHOST, server).await
    }

    /// As [`Proxy::start`], on another address of this machine.
    pub(crate) async fn start_on(address: Ipv4Addr, server: SocketAddr) -> Self {
        Self::with(address, server, false).await
    }

    /// One that reads along what a client says to PostgreSQL, in clear.
    pub(crate) async fn postgres(server: SocketAddr) -> Self {
        Self::with(Ipv4Addr::LOCALHOST, server, true).await
    }

    async fn with(address: Ipv4Addr, server: SocketAddr, is_postgres: bool) -> Self {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            server,
            is_postgres,
            to_server: watch::Sender::new(Flow::Pass),
            to_client: watch::Sender::new(Flow::Pass),
            end: watch::Sender::new(End::Close),
            refuses: watch::Sender::new(false),
            is_listening: watch::Sender::new(true),
            watcher: Mutex::new(None),
            accepted: AtomicUsize::new(0),
            open: watch::Sender::new(0),
            struck: AtomicUsize::new(0),
        });
        let accepting = tokio::spawn(accept(listener, address, Arc::clone(&shared)));
        Self { address, shared, accepting }
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets what happens in both directions, on connections there are and new ones.
    pub(crate) fn flow(&self, flow: Flow) {
        self.flow_to_server(flow);
        self.flow_to_client(flow);
    }

    /// As [`Proxy::flow`], for what the client sends.
    pub(crate) fn flow_to_server(&self, flow: Flow) {
        self.shared.to_server.send_replace(flow);
    }

    /// As [`Proxy::flow`], for what the server sends.
    pub(crate) fn flow_to_client(&self, flow: Flow) {
        self.shared.to_client.send_replace(flow);
    }

    /// Ends every connection there is, on both sides, and waits until they are gone.
    pub(crate) async fn cut(&self, how: End) {
        self.shared.end.send_replace(how);
        self.shared.open.subscribe().wait_for(|open| *open == 0).await.unwrap();
    }

    /// Refuses new connections, as if nobody listened, or takes them again. Those there are stay.
    pub(crate) async fn refuse(&self, refuses: bool) {
        self.shared.refuses.send_replace(refuses);
        self.shared.is_listening.subscribe().wait_for(|is| *is != refuses).await.unwrap();
    }

    /// Asks at every statement; replaces who was asked before.
    pub(crate) fn watch(&self, watcher: impl FnMut(&str) -> Verdict + Send + 'static) {
        assert!(self.shared.is_postgres, "only Proxy::postgres knows statements");
        *self.shared.watcher.lock().unwrap() = Some(Box::new(watcher));
    }

    /// Asks nobody any more.
    pub(crate) fn unwatch(&self) {
        *self.shared.watcher.lock().unwrap() = None;
    }

    /// How many connections were accepted so far.
    pub(crate) fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// How often a statement ended a connection.
    pub(crate) fn struck(&self) -> usize {
        self.shared.struck.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.shared.end.send_replace(End::Close);
    }
}

/// The verdict at every n-th COMMIT; all else passes.
pub(crate) fn at_each_commit(nth: usize, verdict: Verdict) -> impl FnMut(&str) -> Verdict + Send + 'static {
    let mut seen = 0_usize;
    move |statement| {
        if !statement.trim_start().to_ascii_uppercase().starts_with("COMMIT") {
            return Verdict::Pass;
        }
        seen += 1;
        if seen.is_multiple_of(nth) { verdict } else { Verdict::Pass }
    }
}

async fn accept(listener: TcpListener, address: SocketAddr, shared: Arc<Shared>) {
    let (mut listener, mut closed) = (Some(listener), None);
    let mut refuses = shared.refuses.subscribe();
    loop {
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => pending().await,
            }
        };
        tokio::select! {
            accepted = accepted => {
                // A client that is gone already is no reason to end.
                let Ok((client, _)) = accepted else { continue };
                shared.accepted.fetch_add(1, Ordering::SeqCst);
                shared.open.send_modify(|open| *open += 1);
                let (ends, shared) = (shared.end.subscribe(), Arc::clone(&shared));
                tokio::spawn(async move {
                    let _counted = Counted(Arc::clone(&shared));
                    carry(client, ends, &shared).await;
                });
            }
            changed = refuses.changed() => {
                if changed.is_err() {
                    return;
                }
                if *refuses.borrow() {
                    // Bound and not listening: nobody is let in, and nobody else is given the port.
                    drop(listener.take());
                    closed = Some(bound(address));
                } else if let Some(closed) = closed.take() {
                    listener = Some(closed.listen(BACKLOG).unwrap());
                }
                shared.is_listening.send_replace(listener.is_some());
            }
        }
    }
}

fn bound(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

/// A connection that is open, until dropped.
struct Counted(Arc<Shared>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open -= 1);
    }
}

/// One connection from its beginning to its end.
async fn carry(mut client: TcpStream, mut ends: watch::Receiver<End>, shared: &Shared) {
    let server = tokio::select! {
        server = TcpStream::connect(shared.server) => server,
        _ = ends.changed() => return,
    };
    let Ok(mut server) = server else {
        // Whoever swallows never lets the client know that nobody is behind.
        if *shared.to_server.borrow() == Flow::Swallow {
            let _ended = ends.changed().await;
        }
        return;
    };
    drop((client.set_nodelay(true), server.set_nodelay(true)));
    let loses = AtomicBool::new(false);
    let end = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let upward = Direction { from: from_client, to: to_server, flow: shared.to_server.subscribe() };
        let downward = Direction { from: from_server, to: to_client, flow: shared.to_client.subscribe() };
        tokio::select! {
            Err(end) = upward.speak(shared, &loses) => end,
            Err(end) = downward.answer(&loses) => end,
            _ = ends.changed() => *ends.borrow(),
            else => End::Close,
        }
    };
    if end == End::Reset {
        drop((client.set_zero_linger(), server.set_zero_linger()));
    }
}

/// One direction of a connection. Its work is well when only this direction is at its end, and an error when all of the connection is.
struct Direction<'a> {
    from: ReadHalf<'a>,
    to: WriteHalf<'a>,
    flow: watch::Receiver<Flow>,
}

impl Direction<'_> {
    /// What the client says.
    async fn speak(mut self, shared: &Shared, loses: &AtomicBool) -> Result<(), End> {
        let mut frontend = shared.is_postgres.then(Frontend::default);
        loop {
            let piece = self.read().await?;
            let Some(frontend) = frontend.as_mut().filter(|_| !piece.is_empty()) else {
                self.write(&piece).await?;
                if piece.is_empty() {
                    return Ok(());
                }
                continue;
            };
            frontend.take(&piece);
            while let Some((message, statement)) = frontend.next() {
                let verdict = statement.map_or(Verdict::Pass, |statement| shared.judge(&statement));
                if verdict == Verdict::CutBefore {
                    return Err(End::Close);
                }
                if verdict == Verdict::LoseAnswer {
                    loses.store(true, Ordering::SeqCst);
                }
                self.write(&message).await?;
                if verdict == Verdict::CutAfter {
                    return Err(End::Close);
                }
            }
        }
    }

    /// What the server says.
    async fn answer(mut self, loses: &AtomicBool) -> Result<(), End> {
        loop {
            let piece = self.read().await?;
            if loses.load(Ordering::SeqCst) {
                return Err(End::Close);
            }
            self.write(&piece).await?;
            if piece.is_empty() {
                return Ok(());
            }
        }
    }

    /// The next piece; an empty one is the end.
    async fn read(&mut self) -> Result<Vec<u8>, End> {
        let mut piece = vec![0; PIECE_BYTES];
        let length = self.from.read(&mut piece).await.map_err(|_| End::Reset)?;
        piece.truncate(length);
        Ok(piece)
    }

    /// Sends a piece on, as the flow is just now; an empty one is the end.
    async fn write(&mut self, piece: &[u8]) -> Result<(), End> {
        loop {
            let flow = *self.flow.borrow_and_update();
            match flow {
                Flow::Pass => break,
                Flow::Delay(delay) => {
                    if tokio::time::timeout(delay, self.flow.changed()).await.is_err() {
                        break;
                    }
                }
                Flow::Swallow if !piece.is_empty() => return Ok(()),
                Flow::Hold | Flow::Swallow => self.flow.changed().await.map_err(|_| End::Close)?,
            }
        }
        let written = if piece.is_empty() { self.to.shutdown().await } else { self.to.write_all(piece).await };
        written.map_err(|_| End::Reset)
    }
}

impl Shared {
    fn judge(&self, statement: &str) -> Verdict {
        let verdict = self.watcher.lock().unwrap().as_mut().map_or(Verdict::Pass, |watcher| watcher(statement));
        if verdict != Verdict::Pass {
            self.struck.fetch_add(1, Ordering::SeqCst);
        }
        verdict
    }
}
