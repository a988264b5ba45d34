//! Proxies to be created, changed and populated.
#![no_main]

use chaosproxy::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| fuzzing::proxy(body));
