//! The demo as people run it: it holds, it cleans up, and it notices each lie that it is told.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::support::process::{Ended, Process};

/// The demo promises to take under a minute; a loaded machine gets three.
const DEMO_MAX: Duration = Duration::from_secs(180);
/// Every caller of a development site may do everything.
const ALL_MAY_ALL: &str = r#"
[[grant]]
id = "everybody"
caller = "spiffe://dev.strongroom/*"
actions = [
    "merchant.onboard", "merchant.confirm", "merchant.read", "link.resolve", "token.read", "token.report",
    "token.verify", "token.history", "audit.read", "access.explain",
]
merchants = "all"
purpose = "see whether the demo notices"
"#;

async fn demo(arguments: &[&str]) -> Ended {
    let tmp = tempfile::tempdir().unwrap();
    let ended = Process::strongroom(&[&["demo"], arguments].concat(), tmp.path()).ended(DEMO_MAX).await;
    let left: Vec<_> = fs::read_dir(tmp.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.is_empty(), "the demo left {left:?} behind");
    ended
}

async fn fails_at(arguments: &[&str], step: &str) {
    let ended = demo(arguments).await;
    assert!(!ended.is_success, "{arguments:?}: {}", ended.stdout);
    let said = format!("step {step} does not hold");
    assert!(ended.stderr.contains(&said), "{arguments:?}: {said}? {}\n{}", ended.stderr, ended.stdout);
}

fn grants_file(dir: &Path) -> String {
    let path = dir.join("grants.toml");
    fs::write(&path, ALL_MAY_ALL).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn the_demo_holds_and_removes_its_directory() {
    let ended = demo(&[]).await;
    assert!(ended.is_success, "{}\n{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.contains("All steps held."), "{}", ended.stdout);
}

#[tokio::test]
async fn the_demo_notices_grants_that_permit_everybody_everything() {
    let dir = tempfile::tempdir().unwrap();
    fails_at(&["--grants", &grants_file(dir.path())], "stranger-refused").await;
}

#[tokio::test]
async fn the_demo_notices_a_provider_that_keeps_earlier_tokens_alive() {
    fails_at(&["--sandbox-keeps-tokens"], "wrong-user-consent").await;
}

#[tokio::test]
async fn the_demo_notices_a_product_that_takes_mints_for_harmless() {
    fails_at(&["--mints-are-harmless"], "second-authorization-refused").await;
}
