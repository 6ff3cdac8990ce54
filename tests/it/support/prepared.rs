//! What `scripts/test` prepares for tests that need more than Rust.

use std::ffi::OsString;
use std::io::Write as _;

/// What was prepared and stands in this variable; none, with a word about it, means that nobody did, which CI never permits.
#[expect(clippy::disallowed_methods, reason = "set by scripts/test and by whoever runs tests in CI")]
pub(crate) fn prepared(variable: &str) -> Option<OsString> {
    let prepared = std::env::var_os(variable);
    let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(prepared.is_some() || !is_ci, "in CI nothing is skipped: run scripts/test, which sets {variable}");
    if prepared.is_none() {
        let line = format!("skipped: {variable} is not set; run scripts/test, which prepares it\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
    prepared
}
