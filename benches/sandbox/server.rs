//! The servers under load: child processes, pinned to the first core.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::header;
use serde_json::Value;

use super::Endpoints;

/// Clock ticks per second in `/proc/PID/stat`; the same on every Linux that Rust knows.
const TICKS_PER_SECOND: f64 = 100.0;

/// A server that does not outlive the measurement.
pub(super) struct Server(Child);

impl Server {
    /// The sandbox itself, as people start it but for its throttle.
    pub(super) fn sandbox() -> (Self, Endpoints) {
        let (server, line) = Self::start(&[env!("CARGO_BIN_EXE_strongroom"), "sandbox", "--throttle", "off"]);
        let told: Value = serde_json::from_str(&line).unwrap();
        let text = |name: &str| told.get(name).and_then(Value::as_str).unwrap().to_owned();
        let api = text("api").trim_start_matches("http://").trim_end_matches("/v2").to_owned();
        (server, Endpoints { api, client_id: text("client_id"), client_secret: text("client_secret") })
    }

    /// The bare echo; with its address.
    pub(super) fn echo(answer: &str) -> (Self, String) {
        let own = std::env::current_exe().unwrap();
        let (server, line) = Self::start(&[own.to_str().unwrap(), "--echo", answer]);
        (server, line.trim().to_owned())
    }

    fn start(command: &[&str]) -> (Self, String) {
        let mut pinned = Command::new("taskset");
        pinned.args(["-c", "0"]).args(command).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = pinned.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (Self(child), line)
    }

    /// Memory in use.
    pub(super) fn resident_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    }

    /// CPU time used so far, of the system and its own.
    pub(super) fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        // Behind the name, which may contain anything: state is the first field, utime and stime the 12th and 13th.
        let fields = stat.rsplit_once(") ").unwrap().1.split(' ').skip(11).take(2);
        let ticks: f64 = fields.map(|ticks| ticks.parse::<f64>().unwrap()).sum();
        Duration::from_secs_f64(ticks / TICKS_PER_SECOND)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Reads each request whole and answers always the same.
pub(super) fn echo(answer: String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let mut out = std::io::stdout();
        writeln!(out, "{}", listener.local_addr().unwrap()).unwrap();
        let answer = Bytes::from(answer);
        let handler = async move |body: Bytes| {
            drop(body);
            ([(header::CONTENT_TYPE, "application/json")], answer.clone())
        };
        axum::serve(listener, Router::new().fallback(handler)).await.unwrap();
    });
}
