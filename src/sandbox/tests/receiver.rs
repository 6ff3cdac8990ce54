//! What receives notices in tests: HTTP by hand, so that every byte can be looked at.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::support::until;

/// How a request is answered.
#[derive(Clone)]
pub(super) enum Say {
    /// With this status.
    Status(u16),
    /// With this text, whatever it is.
    Raw(&'static str),
    /// Not at all; the connection stays open.
    Hang,
    /// Not at all; the connection is closed.
    Drop,
    /// With 200, once this is true.
    When(watch::Receiver<bool>),
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(super) struct Received {
    pub(super) head: String,
    pub(super) body: String,
}

impl Received {
    /// The first line.
    pub(super) fn line(&self) -> &str {
        self.head.lines().next().unwrap()
    }

    /// The headers' names in small letters and their values.
    pub(super) fn headers(&self) -> Vec<(String, &str)> {
        let split = |line: &'_ str| line.split_once(": ").map(|(name, _)| name.to_ascii_lowercase()).unwrap();
        self.head.lines().skip(1).map(|line| (split(line), line.split_once(": ").unwrap().1)).collect()
    }
}

struct Shared {
    script: Mutex<VecDeque<Say>>,
    otherwise: Say,
    received: Mutex<Vec<Received>>,
}

/// A listener on loopback. Dropping it closes the port.
pub(super) struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Receiver {
    /// One that answers 200.
    pub(super) async fn start() -> Self {
        Self::saying(Vec::new(), Say::Status(200)).await
    }

    /// One that answers its requests in this way, and all others in that.
    pub(super) async fn saying(script: Vec<Say>, otherwise: Say) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), script, otherwise, None)
    }

    /// One that listens there, over TLS perhaps.
    pub(super) fn on(listener: TcpListener, script: Vec<Say>, otherwise: Say, tls: Option<TlsAcceptor>) -> Self {
        let address = listener.local_addr().unwrap();
        let shared = Shared { script: Mutex::new(script.into()), otherwise, received: Mutex::default() };
        let shared = Arc::new(shared);
        let task = tokio::spawn(accept(listener, shared.clone(), tls));
        Self { address, shared, task }
    }

    /// A port that nobody else gets and where nobody listens, for now.
    pub(super) fn closed_port() -> TcpSocket {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        socket
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn uri(&self, path_and_query: &str) -> String {
        format!("http://{}{path_and_query}", self.address)
    }

    pub(super) fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }

    pub(super) fn bodies(&self) -> Vec<String> {
        self.received().into_iter().map(|received| received.body).collect()
    }

    /// Waits until so many requests came, and no more.
    pub(super) async fn wait_for(&self, count: usize) -> Vec<Received> {
        until("the requests came", async || self.received().len() >= count).await;
        let received = self.received();
        assert_eq!(received.len(), count, "{received:?}");
        received
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, tls: Option<TlsAcceptor>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (shared, tls) = (shared.clone(), tls.clone());
        tokio::spawn(async move {
            match tls {
                None => answer(stream, &shared).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        answer(stream, &shared).await;
                    }
                }
            }
        });
    }
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, shared: &Shared) {
    let Some(received) = read(&mut stream).await else { return };
    shared.received.lock().unwrap().push(received);
    let say = shared.script.lock().unwrap().pop_front().unwrap_or_else(|| shared.otherwise.clone());
    let text = match say {
        Say::Status(status) => format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nOK"),
        Say::Raw(text) => text.to_owned(),
        Say::Drop => return,
        Say::Hang => return std::future::pending().await,
        Say::When(mut open) => {
            if open.wait_for(|open| *open).await.is_err() {
                return;
            }
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned()
        }
    };
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.flush().await;
    // Until the other side has read it.
    let _ = stream.read(&mut [0; 1]).await;
}

/// Head and as much body as it promises; none when the connection ends before.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Received> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Some(Received { head: head.to_owned(), body: body.to_owned() });
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}
