//! How fast the sandbox answers, beside a bare axum echo: both on one core, loaded in turn from the other one.
//!
//! Run by `scripts/bench-sandbox`. Users, tokens and accounts are made over the API; every answer is checked. A server's rate is
//! its answers for each second that it had its core: that is its rate by the clock while nothing else holds it up, and stays so when
//! the client or other programs do. The bar is the median of the rounds' ratios of these; those by the clock are shown beside them.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::as_conversions,
    reason = "a measurement, not the product"
)]

#[path = "sandbox/client.rs"]
mod client;
#[path = "sandbox/server.rs"]
mod server;

use std::io::Write as _;
use std::process::{Command, ExitCode};
use std::time::Duration;

use client::{Load, Merchant};
use server::Server;

/// The least share of the echo's rate that the sandbox must reach.
const RATIO_MIN: f64 = 0.5;

/// Longest whole run: a hang fails instead of blocking.
const RUN_MAX: Duration = Duration::from_secs(30 * 60);

/// Before the first round, unmeasured, for each server.
const WARM_UP: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let number = |name: &str, default: u64| {
        let at = arguments.iter().position(|argument| argument == name);
        at.map_or(default, |at| arguments.get(at + 1).and_then(|value| value.parse().ok()).unwrap())
    };
    if let [role, body] = arguments.as_slice()
        && role == "--echo"
    {
        server::echo(body.clone());
        return ExitCode::SUCCESS;
    }
    // `cargo test --benches` and `cargo bench -- --test` only want to know that it builds and starts.
    if !has("--bench") || has("--test") {
        return ExitCode::SUCCESS;
    }
    if !has("--pinned") {
        let again = std::env::current_exe().unwrap();
        let status = Command::new("taskset").args(["-c", "1"]).arg(again).args(&arguments).arg("--pinned").status();
        return if status.unwrap().success() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let run = run(number("--users", 100_000), number("--rounds", 5), Duration::from_secs(number("--seconds", 5)));
    let is_fast = runtime.block_on(async { tokio::time::timeout(RUN_MAX, run).await }).unwrap();
    if is_fast { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn say(text: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "{text}").unwrap();
}

/// All of it; whether the bar was reached.
async fn run(users: u64, rounds: u64, each: Duration) -> bool {
    let (sandbox, endpoints) = Server::sandbox();
    let merchants = client::fill(&endpoints, users).await;
    say(&format!("sandbox: {users} users, each with a token and an account; VmRSS {} MiB", sandbox.resident_mib()));
    let answer = client::user_answer(&endpoints, &merchants).await;
    let (echo, echo_address) = Server::echo(&answer);
    let ours = Load::on_sandbox(&endpoints.api, merchants);
    let bare = Load::on_echo(&echo_address, &answer);
    for load in [&ours, &bare] {
        load.run(WARM_UP).await;
    }
    let mut ratios = Vec::new();
    for round in 1..=rounds {
        let bare = measured(&echo, &bare, each).await;
        let ours = measured(&sandbox, &ours, each).await;
        let ratio = ours.rate / bare.rate;
        say(&format!("round {round}: echo {bare}; sandbox {ours}; ratio {ratio:.3}"));
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios.get(ratios.len() / 2).copied().unwrap();
    say(&format!("median ratio {median:.3} (at least {RATIO_MIN}); sandbox VmRSS {} MiB", sandbox.resident_mib()));
    median >= RATIO_MIN
}

/// What a round showed.
struct Measured {
    /// Answers for each second of the server's CPU time.
    rate: f64,
    /// Answers per second by the clock.
    by_clock: f64,
    /// The server's share of its core.
    busy: f64,
}

impl std::fmt::Display for Measured {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rate, by_clock, busy } = self;
        write!(formatter, "{rate:.0}/s ({by_clock:.0}/s by the clock, busy {:.0} %)", busy * 100.0)
    }
}

async fn measured(server: &Server, load: &Load, each: Duration) -> Measured {
    let before = server.cpu();
    let (answers, took) = load.run(each).await;
    let cpu = (server.cpu() - before).as_secs_f64();
    let (answers, took) = (answers as f64, took.as_secs_f64());
    Measured { rate: answers / cpu, by_clock: answers / took, busy: cpu / took }
}

/// Where the sandbox answers, and its app.
struct Endpoints {
    /// Host and port.
    api: String,
    client_id: String,
    client_secret: String,
}

/// An id that stands in an answer, as the text to look for.
fn needle(merchant: &Merchant, key: &str) -> Vec<u8> {
    format!("\"{key}\":{},", merchant.user_id).into_bytes()
}
