//! The kept corpora of the fuzzers, each input played again as the fuzzer played it.

use std::fs;
use std::path::Path;

use crate::sandbox::fuzzing::{self, Broken};

/// Most inputs of a target, and the most bytes they have together: what a repository can carry and a test can play.
const FILES_MAX: usize = 500;
const BYTES_MAX: usize = 1024 * 1024;

fn replay(target: &str, play: fn(&[u8]) -> Result<(), Broken>) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut inputs: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort_unstable();
    assert!(!inputs.is_empty() && inputs.len() <= FILES_MAX, "{target}: {} inputs", inputs.len());
    let mut bytes = 0;
    for path in inputs {
        let input = fs::read(&path).unwrap();
        bytes += input.len();
        if let Err(broken) = play(&input) {
            panic!("{}: {broken}", path.display());
        }
    }
    assert!(bytes <= BYTES_MAX, "{target}: {bytes} bytes");
}

#[test]
fn every_kept_input_of_requests_is_answered_as_documented() {
    replay("request", fuzzing::request);
}

#[test]
fn every_kept_input_of_the_authorize_page_is_answered_as_documented() {
    replay("authorize", fuzzing::authorize);
}

/// A target without its corpus, or a corpus without its target, would be replayed by nobody.
#[test]
fn every_target_has_a_corpus_that_is_replayed() {
    let names = |dir: &str| {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(dir);
        let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        let mut names: Vec<_> = entries.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(names("fuzz_targets"), ["authorize", "request"]);
    assert_eq!(names("corpus"), names("fuzz_targets"));
}
