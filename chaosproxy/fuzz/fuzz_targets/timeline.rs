//! Timelines, by the API and by `-timeline`.
#![no_main]

use chaosproxy::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| fuzzing::timeline(body));
