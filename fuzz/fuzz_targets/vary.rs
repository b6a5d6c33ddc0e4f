//! The note about the variants of a URL.

#![no_main]

use libfuzzer_sys::fuzz_target;
use towerkeep::cache::fuzzing;

fuzz_target!(|bytes: &[u8]| {
    fuzzing::vary(bytes);
});
