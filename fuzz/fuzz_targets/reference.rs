//! A reference in a response, against the URL of its request.

#![no_main]

use libfuzzer_sys::fuzz_target;
use towerkeep::cache::fuzzing;

fuzz_target!(|bytes: &[u8]| {
    fuzzing::reference(bytes);
});
