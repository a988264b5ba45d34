//! Repository names, tags, digests and media types: what is accepted is spelt as it was given.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mockreg_proto::digest::Digest;
use mockreg_proto::media_type::ManifestKind;
use mockreg_proto::reference::{Reference, RepositoryName};
use mockreg_synth::name;

fuzz_target!(|text: &str| {
    if let Ok(name) = text.parse::<RepositoryName>() {
        assert_eq!(name.as_str(), text);
        // A name that asks for an image to be made gets one, or a reason.
        let _ = name::parse(text, 1);
    }
    if let Ok(reference) = text.parse::<Reference>() {
        assert_eq!(reference.to_string(), text);
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
    }
    let _ = ManifestKind::of(text);
});
