//! Clients that others wrote, as they are released, on whole journeys against the sandbox alone: what it answers must be what they
//! were written for.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::prepared::prepared;
use crate::support::process::Process;

/// How long a journey may take; some seconds on a machine with nothing else to do.
const JOURNEY_MAX: Duration = Duration::from_secs(120);
/// How long a start may take.
const READY_MAX: Duration = Duration::from_secs(60);

/// A sandbox of its own, its line in a file, and the journey with that file as its argument.
async fn travel(mut journey: Command) {
    let dir = tempfile::tempdir().unwrap();
    let mut sandbox = Process::strongroom(&["sandbox", "--listen", "127.0.0.1:0"], dir.path());
    let line = sandbox.line("{", READY_MAX).await;
    let endpoints = dir.path().join("sandbox.json");
    std::fs::write(&endpoints, line).unwrap();
    journey.arg(&endpoints).env("NO_PROXY", "*").env("PYTHONDONTWRITEBYTECODE", "1");
    let ended = Process::start(journey).ended(JOURNEY_MAX).await;
    assert!(ended.is_success, "{}\n{}", ended.stdout, ended.stderr);
    assert_eq!(ended.stdout.lines().last(), Some("journey: done"));
    sandbox.terminate();
    let ended = sandbox.ended(READY_MAX).await;
    assert!(ended.is_success && !ended.stderr.contains("panicked"), "{}", ended.stderr);
}

fn script(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(path)
}

#[tokio::test]
async fn the_official_python_client_completes_its_journeys() {
    let Some(python) = prepared("STRONGROOM_TEST_PYTHON") else { return };
    let mut journey = Command::new(python);
    journey.arg(script("python/client_journey.py"));
    travel(journey).await;
}

#[tokio::test]
async fn the_official_node_client_completes_its_journeys() {
    let Some(modules) = prepared("STRONGROOM_TEST_NODE_MODULES") else { return };
    let mut journey = Command::new("node");
    journey.arg(script("node/client_journey.js")).env("NODE_PATH", modules);
    travel(journey).await;
}
