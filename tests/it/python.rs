//! The main job by a caller in another language, with Python's own gRPC and an implementation of its own of the trail.

use std::io::Write as _;
use std::process::Command;
use std::time::Duration;

use crate::support::process::Process;

/// How long the whole journey may take.
const JOURNEY_MAX: Duration = Duration::from_secs(120);
/// How long a start may take.
const READY_MAX: Duration = Duration::from_secs(60);

#[expect(clippy::disallowed_methods, reason = "set by scripts/test and by whoever runs tests in CI")]
fn python() -> Option<std::ffi::OsString> {
    let python = std::env::var_os("STRONGROOM_TEST_PYTHON");
    let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(python.is_some() || !is_ci, "in CI the journey in Python is not skipped: run scripts/test");
    python
}

#[tokio::test]
async fn the_journey_works_from_python() {
    let Some(python) = python() else {
        writeln!(std::io::stderr(), "the journey in Python was skipped: run scripts/test, which prepares it").unwrap();
        return;
    };
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
