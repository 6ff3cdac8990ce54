//! A listener on loopback that records each request and answers with scripted bytes.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What happens after a whole request was read.
#[derive(Clone)]
pub(super) enum Script {
    /// These bytes; the connection stays open.
    Answer(Vec<u8>),
    /// These bytes, then the connection ends.
    AnswerAndClose(Vec<u8>),
    /// These bytes, then nothing until the client gives up.
    AnswerAndHang(Vec<u8>),
}

impl Script {
    /// A whole HTTP answer with this status line, header lines (each ended by CRLF) and body.
    pub(super) fn http(status: &str, headers: &str, body: &[u8]) -> Self {
        let mut bytes = format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n", body.len()).into_bytes();
        bytes.extend_from_slice(body);
        Self::Answer(bytes)
    }

    pub(super) fn json(status: u16, body: &str) -> Self {
        Self::http(&format!("{status} x"), "content-type: application/json\r\n", body.as_bytes())
    }
}

#[derive(Default)]
struct Seen {
    connections: usize,
    requests: Vec<String>,
}

pub(super) struct Stub {
    address: String,
    script: Arc<Mutex<Script>>,
    seen: Arc<Mutex<Seen>>,
}

impl Stub {
    pub(super) async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stub = Self { address, script: Arc::new(Mutex::new(script)), seen: Arc::default() };
        let (script, seen) = (Arc::clone(&stub.script), Arc::clone(&stub.seen));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                seen.lock().unwrap().connections += 1;
                tokio::spawn(serve(stream, Arc::clone(&script), Arc::clone(&seen)));
            }
        });
        stub
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn play(&self, script: Script) {
        *self.script.lock().unwrap() = script;
    }

    pub(super) fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections
    }

    /// The requests so far, head and body.
    pub(super) fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().requests.clone()
    }
}

async fn serve(mut stream: TcpStream, script: Arc<Mutex<Script>>, seen: Arc<Mutex<Seen>>) {
    while let Some(request) = read_request(&mut stream).await {
        seen.lock().unwrap().requests.push(request);
        let step = script.lock().unwrap().clone();
        let (Script::Answer(bytes) | Script::AnswerAndClose(bytes) | Script::AnswerAndHang(bytes)) = &step;
        // A client that has seen enough hangs up: not a fault of the stub.
        let _ = stream.write_all(bytes).await;
        match step {
            Script::Answer(_) => {}
            Script::AnswerAndClose(_) => return,
            Script::AnswerAndHang(_) => {
                let _ = stream.read_to_end(&mut Vec::new()).await;
                return;
            }
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?.parse::<usize>().ok()?;
            if bytes.len() >= end + 4 + length {
                return String::from_utf8(bytes).ok();
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}
