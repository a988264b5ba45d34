//! Toxics to be created and changed.
#![no_main]

use chaosproxy::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| fuzzing::toxic(body));
