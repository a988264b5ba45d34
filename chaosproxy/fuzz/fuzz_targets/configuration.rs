//! Files of proxies (`-config`).
#![no_main]

use chaosproxy::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| fuzzing::configuration(text));
