//! A rolling restart: three servers are ended and started again, one after the other, while a client in another language reads tokens
//! and registers merchants. It knows their addresses and the service config that ships with the API, and not one of its calls fails.
//!
//! `scripts/rolling` does it at full length.

#![expect(clippy::print_stderr, reason = "each restart is told, with what was read until then")]

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use strongroom::demo::GrpcJson;

use crate::support::database::Engine;
use crate::support::installation::Setting;
use crate::support::prepared::prepared;
use crate::support::process::Process;
use crate::support::replicas::Replicas;

/// Servers.
const REPLICAS: usize = 3;
/// Names how many reads there must be; each server is restarted at least once, whatever that is.
const READS: &str = "STRONGROOM_ROLLING_READS";
/// How many there must be among all other tests: some seconds.
const READS_MIN: u64 = 2_000;
/// Longest wait for the first reads, and for an end.
const WAIT_MAX: Duration = Duration::from_secs(120);

#[expect(clippy::disallowed_methods, reason = "set by scripts/rolling")]
fn reads_wanted() -> u64 {
    std::env::var(READS).map_or(READS_MIN, |text| text.parse().unwrap())
}

/// The client, going on until it is told to stop.
struct Client {
    process: Process,
    stop: PathBuf,
}

impl Client {
    async fn start(replicas: &Replicas, python: std::ffi::OsString) -> Self {
        let installation = replicas.installation();
        let addresses: Vec<&str> = replicas.all().iter().map(|replica| &*replica.dev().grpc.address).collect();
        let mut dev = installation.dev().clone();
        dev.grpc = GrpcJson { address: format!("ipv4:{}", addresses.join(",")), ..dev.grpc };
        let (path, stop) = (installation.path("dev.json"), installation.path("stop"));
        dev.write(&path).unwrap();
        let mut command = Command::new(python);
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/rolling.py")).arg(path).arg(&stop);
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        let mut process = Process::start(command);
        process.line("journey: under way", WAIT_MAX).await;
        Self { process, stop }
    }

    /// How much it did until now, as it last said.
    fn progress(&self) -> (u64, String) {
        let printed = self.process.stdout();
        let last = printed.lines().rev().find_map(|line| line.strip_prefix("journey: ")).unwrap_or_default();
        let reads = last.split_once(" reads").and_then(|(count, _)| count.parse().ok()).unwrap_or(0);
        (reads, last.to_owned())
    }

    /// Stops it: what it did, and what failed.
    async fn done(self) -> Value {
        std::fs::write(&self.stop, "").unwrap();
        let ended = self.process.ended(WAIT_MAX).await;
        let last = ended.stdout.lines().last().unwrap_or_default();
        let done = serde_json::from_str(last);
        assert!(done.is_ok(), "{}\n{}", ended.stdout, ended.stderr);
        done.unwrap()
    }
}

#[tokio::test]
async fn a_rolling_restart_fails_not_one_call() {
    if !Engine::Postgres.is_for_this_run("on SQLite there is one process") {
        return;
    }
    let Some(python) = prepared("STRONGROOM_TEST_PYTHON") else { return };
    let setting = Setting { throttle: "sliding", tables: "[budget]\nshare = 30\n".to_owned(), ..Setting::default() };
    let mut replicas = Replicas::start(REPLICAS, setting).await.unwrap();
    let client = Client::start(&replicas, python).await;
    let wanted = reads_wanted();
    let mut restarts = [0; REPLICAS];
    for at in (0..REPLICAS).cycle() {
        let (reads, progress) = client.progress();
        if reads >= wanted && restarts.iter().all(|times| *times > 0) {
            break;
        }
        restarts[at] += 1;
        let replica = replicas.at(at);
        replica.terminate().await;
        replica.started().await;
        eprintln!("restarted {} for the {}. time; the client: {progress}", replica.name(), restarts[at]);
    }
    let done = client.done().await;
    eprintln!(
        "{} restarts: {} reads, {} registrations",
        restarts.iter().sum::<usize>(),
        done["reads"],
        done["registrations"]
    );
    assert_eq!(done["failed"], serde_json::json!([]), "{done:#}");
    assert!(done["reads"].as_u64().unwrap() >= wanted, "{done}");
    let registrations = done["registrations"].as_u64().unwrap();
    assert!(registrations > 0, "{done}");
    let calls = replicas.installation().control(Method::GET, "/calls?path=/v2/user/register", None).await;
    let calls = calls["calls"].as_array().unwrap();
    assert_eq!(u64::try_from(calls.len()).unwrap(), registrations, "none was sent twice: {calls:?}");
    for (replica, times) in replicas.all().iter().zip(restarts) {
        replica.logged("serving", times + 1).await;
        replica.logged("ending", times).await;
    }
    let verified = replicas.at(0).call("auditor", &["audit", "verify", "--json"]);
    assert!(verified.status.success(), "{verified:?}");
}
