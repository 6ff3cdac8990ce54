//! The sandbox's authorize page: its query, and the forms that a browser sends there.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Err(broken) = strongroom::sandbox::fuzzing::authorize(input) {
        panic!("{broken}");
    }
});
