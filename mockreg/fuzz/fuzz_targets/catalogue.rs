//! Catalogue documents: read, planned or refused with a place, never more than their bound.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mockreg_synth::catalogue;

/// Images looked at of one plan; a document of a line can describe millions.
const LOOKED_AT: usize = 1_000;

fuzz_target!(|text: &str| {
    match catalogue::read("fuzz", text) {
        Ok(plan) => {
            assert!(plan.len() as u64 <= catalogue::MAX_REPOSITORIES);
            assert_eq!(plan.images().take(LOOKED_AT).count() == 0, plan.is_empty());
        }
        Err(error) => assert!(!error.message.is_empty()),
    }
});
