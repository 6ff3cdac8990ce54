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
    "merchant.onboard", "merchant.confirm", "merchant.link", "merchant.read", "link.resolve", "account.create",
    "account.update", "account.read", "token.read", "token.report", "token.verify", "token.history", "audit.read",
    "access.explain",
]
merchants = "all"
purpose = "see whether the demo notices"
"#;

/// The grants of a development site, from which a test of the demo takes something away.
const GRANTS: &str = include_str!("../../src/demo/grants.toml");
/// Somebody who may read one merchant's token too many.
const READS_SEASONAL: &str = r#"
[[grant]]
id = "curious"
caller = "spiffe://dev.strongroom/service/stranger"
actions = ["token.read"]
merchants = { labels = ["seasonal"] }
purpose = "see whether the demo notices"
"#;
/// How many steps the demo has.
const STEPS: usize = 18;

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

fn grants_file(dir: &Path, grants: &str) -> String {
    let path = dir.join("grants.toml");
    fs::write(&path, grants).unwrap();
    path.display().to_string()
}

async fn fails_with_grants_at(grants: &str, step: &str) {
    let dir = tempfile::tempdir().unwrap();
    fails_at(&["--grants", &grants_file(dir.path(), grants)], step).await;
}

async fn fails_with_faults_at(faults: &[&str], step: &str) {
    let arguments: Vec<&str> = faults.iter().flat_map(|fault| ["--sandbox-fault", fault]).collect();
    fails_at(&arguments, step).await;
}

/// The development grants without this action.
fn without(action: &str) -> String {
    let quoted = format!("\"{action}\", ");
    assert_eq!(GRANTS.matches(&quoted).count(), 1, "{action} stands once in the grants");
    GRANTS.replace(&quoted, "")
}

fn holds(ended: &Ended) {
    assert!(ended.is_success, "{}\n{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.contains("All steps held."), "{}", ended.stdout);
    let told = |step: &usize| ended.stdout.lines().any(|line| line.starts_with(&format!("{step:>2}. ")));
    assert_eq!((1..=STEPS + 1).filter(told).collect::<Vec<_>>(), (1..=STEPS).collect::<Vec<_>>(), "{}", ended.stdout);
}

#[tokio::test]
async fn the_demo_holds_and_removes_its_directory() {
    holds(&demo(&[]).await);
}

#[tokio::test]
async fn the_demo_holds_at_a_provider_where_registering_revokes_too() {
    holds(&demo(&["--sandbox-register-revokes"]).await);
}

#[tokio::test]
async fn the_demo_notices_grants_that_permit_everybody_everything() {
    fails_with_grants_at(ALL_MAY_ALL, "stranger-refused").await;
}

#[tokio::test]
async fn the_demo_notices_a_provider_that_keeps_earlier_tokens_alive() {
    fails_at(&["--sandbox-keeps-tokens"], "wrong-user-consent").await;
}

#[tokio::test]
async fn the_demo_notices_a_product_that_takes_mints_for_harmless() {
    fails_at(&["--mints-are-harmless"], "second-authorization-refused").await;
}

#[tokio::test]
async fn the_demo_notices_a_registration_whose_token_does_not_work() {
    let revoked = r#"{"path": "/user/register", "kind": "revoke_after"}"#;
    fails_with_faults_at(&[revoked], "registered").await;
}

#[tokio::test]
async fn the_demo_notices_a_further_merchant_that_is_not_linked() {
    fails_with_grants_at(&without("merchant.link"), "known-email-linked").await;
}

#[tokio::test]
async fn the_demo_notices_a_token_that_is_lost_on_the_way_to_permanence() {
    let revoked = r#"{"path": "/user/send_confirmation", "kind": "revoke_after"}"#;
    fails_with_faults_at(&[revoked], "confirmed-without-loss").await;
}

#[tokio::test]
async fn the_demo_notices_names_that_are_refused_for_no_reason_of_theirs() {
    fails_with_grants_at(&without("account.create"), "bad-name-refused").await;
}

#[tokio::test]
async fn the_demo_notices_a_suggested_name_that_becomes_no_account() {
    let refused = r#"{"path": "/account/create", "kind": "status", "status": 400, "error_code": 1003}"#;
    fails_with_faults_at(&[refused], "bad-name-refused").await;
}

#[tokio::test]
async fn the_demo_notices_a_second_account_that_is_not_made() {
    // The first creation takes the first fault, which does nothing.
    let nothing = r#"{"path": "/account/create", "kind": "delay_after", "delay_ms": 0}"#;
    let refused = r#"{"path": "/account/create", "kind": "status", "status": 400, "error_code": 1003}"#;
    fails_with_faults_at(&[nothing, refused], "second-account-no-new-token").await;
}

#[tokio::test]
async fn the_demo_notices_somebody_who_may_read_by_an_account() {
    fails_with_grants_at(&format!("{GRANTS}{READS_SEASONAL}"), "read-by-account").await;
}

#[tokio::test]
async fn the_demo_notices_an_account_that_is_not_found_again() {
    let unknown = r#"{"path": "/account/find", "kind": "status", "status": 503}"#;
    fails_with_faults_at(&[unknown], "lost-answer-found-once").await;
}
