//! The main job by a caller in another language, with Python's own gRPC and an implementation of its own of the trail.

use std::process::Command;
use std::time::Duration;

use crate::support::prepared::prepared;
use crate::support::process::Process;

/// How long the whole journey may take.
const JOURNEY_MAX: Duration = Duration::from_secs(120);
/// How long a start may take.
const READY_MAX: Duration = Duration::from_secs(60);

#[tokio::test]
async fn the_journey_works_from_python() {
    let Some(python) = prepared("STRONGROOM_TEST_PYTHON") else { return };
    let dir = tempfile::tempdir().unwrap();
    let site = dir.path().join("site");
    let mut dev = Process::strongroom(&["dev", "--dir", site.to_str().unwrap()], dir.path());
    dev.line("ready", READY_MAX).await;
    let mut journey = Command::new(python);
    journey.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/journey.py")).arg(site.join("dev.json"));
    journey.env("PYTHONDONTWRITEBYTECODE", "1");
    let ended = Process::start(journey).ended(JOURNEY_MAX).await;
    assert!(ended.is_success, "{}\n{}", ended.stdout, ended.stderr);
    let last = ended.stdout.lines().last().unwrap_or_default();
    assert!(last.starts_with("journey: done"), "{last}");
    dev.terminate();
    let ended = dev.ended(READY_MAX).await;
    assert!(ended.is_success, "{}", ended.stderr);
}
