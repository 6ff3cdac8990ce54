//! Requests to the sandbox's API, pages and control API: parsing, and every call with tokens and codes of each sort.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Err(broken) = strongroom::sandbox::fuzzing::request(input) {
        panic!("{broken}");
    }
});
