//! Catalogue documents: read, planned or refused with a place, never more than their bound.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mockreg_synth::catalogue;

fuzz_target!(|text: &str| {
    match catalogue::read("fuzz", text) {
        Ok((_, images)) => assert!(images.iter().map(|image| image.layers.len()).sum::<usize>() <= catalogue::MAX_PLANNED),
        Err(error) => assert!(!error.message.is_empty()),
    }
});
