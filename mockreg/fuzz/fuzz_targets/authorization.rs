//! `Authorization` headers: whatever they say, nobody gets a name or a password that was not written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mockreg_proto::authorization::Authorization;

fuzz_target!(|header: &str| {
    match Authorization::parse(header) {
        // Base64 has four characters for three.
        Authorization::Basic(name, password) => assert!(name.len() + password.len() < header.len()),
        Authorization::Bearer(token) => {
            assert!(header.ends_with(token.as_str()) || header.trim_end().ends_with(&token));
        }
        Authorization::Nobody | Authorization::Malformed(_) => {}
    }
});
