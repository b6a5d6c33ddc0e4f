//! The fields of a request and its response: what is stored, and what it answers.

#![no_main]

use libfuzzer_sys::fuzz_target;
use towerkeep::cache::fuzzing;

fuzz_target!(|bytes: &[u8]| {
    fuzzing::policy(bytes);
});
