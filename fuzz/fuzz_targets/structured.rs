//! `CDN-Cache-Control`, a structured field.

#![no_main]

use libfuzzer_sys::fuzz_target;
use towerkeep::cache::fuzzing;

fuzz_target!(|bytes: &[u8]| {
    fuzzing::structured(bytes);
});
