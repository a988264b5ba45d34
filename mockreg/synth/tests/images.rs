//! Images by name against the golden file: manifest, config and layer digests, and the first and last bytes of
//! every layer. They are the same on every machine and in every release of one format version.
//!
//! The file is written by `cargo run --release -p mockreg-synth --example fixtures -- images`.
#![expect(clippy::unwrap_used, reason = "helpers of tests stand outside the test functions")]

use mockreg_proto::digest::{Digest, hex};
use mockreg_synth::image::{Image, MediaTypes};
use mockreg_synth::{Layer, Tables, name};
use oci_spec::image::{ImageConfiguration, ImageManifest, MediaType};
use serde_json::{Value, json};

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../fixtures/vectors/images-v1.json")).unwrap()
}

/// An image as the golden file has it.
fn describe(image: &Image) -> Value {
    let bytes = |read: mockreg_synth::Read| hex(&read.flatten().collect::<Vec<u8>>());
    let layers: Vec<Value> = image
        .layers
        .iter()
        .map(|layer| {
            let size = layer.spec.size();
            let read = Layer::new(layer.spec);
            json!({
                "id": layer.spec.id().to_string(),
                "digest": layer.digest,
                "diff_id": layer.diff_id,
                "size": size,
                "first": bytes(read.read(0, 24)),
                "last": bytes(read.read(size - 24, 24)),
            })
        })
        .collect();
    json!({
        "manifest": image.manifest_digest,
        "manifest_size": image.manifest.len(),
        "config": image.config_digest,
        "config_size": image.config.len(),
        "layers": layers,
    })
}

/// All images of the file, in one test: they share the tables, and the largest takes most of the time.
#[test]
fn images_are_those_of_the_format() {
    let vectors = vectors();
    let seed = vectors["seed"].as_u64().unwrap();
    let images = vectors["images"].as_object().unwrap();
    assert!(images.len() >= 10, "{}", images.len());
    let wrong: Vec<&String> = images
        .iter()
        .filter(|(repository, wanted)| {
            let spec = name::parse(repository, seed).unwrap();
            describe(&spec.build(&Tables::shared())) != **wanted
        })
        .map(|(repository, _)| repository)
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn manifests_and_configs_are_what_the_oci_specification_asks_for() {
    for media_types in [MediaTypes::Oci, MediaTypes::Docker] {
        let mut spec = name::parse("synth/20kb-x3", 1).unwrap();
        spec.media_types = media_types;
        let image = spec.build(&Tables::shared());
        let manifest = ImageManifest::from_reader(&image.manifest[..]).unwrap();
        let config = ImageConfiguration::from_reader(&image.config[..]).unwrap();

        assert_eq!(manifest.schema_version(), 2);
        assert_eq!(manifest.media_type().as_ref().unwrap(), &MediaType::from(image.manifest_media_type));
        assert_eq!(manifest.config().digest().to_string(), image.config_digest.to_string());
        assert_eq!(manifest.config().size(), image.config.len() as u64);
        assert_eq!(Digest::of(&image.config), image.config_digest);
        assert_eq!(Digest::of(&image.manifest), image.manifest_digest);
        assert_eq!(config.architecture().to_string(), "amd64");
        assert_eq!(config.os().to_string(), "linux");
        assert_eq!(config.rootfs().typ(), "layers");
        assert_eq!(config.history().as_ref().unwrap().len(), 3);
        for (layer, (descriptor, diff_id)) in
            image.layers.iter().zip(manifest.layers().iter().zip(config.rootfs().diff_ids()))
        {
            assert_eq!(descriptor.digest().to_string(), layer.digest.to_string());
            assert_eq!(descriptor.media_type(), &MediaType::from(layer.media_type));
            assert_eq!(descriptor.size(), 20_000);
            assert_eq!(*diff_id, layer.diff_id.to_string());
        }
    }
}

#[test]
fn docker_media_types_are_docker_s() {
    let mut spec = name::parse("synth/2048-tar", 1).unwrap();
    spec.media_types = MediaTypes::Docker;
    let image = spec.build(&Tables::shared());
    let types = |media_types: MediaTypes| [media_types.manifest(), media_types.config()];
    assert_eq!(
        types(MediaTypes::Docker),
        [
            "application/vnd.docker.distribution.manifest.v2+json",
            "application/vnd.docker.container.image.v1+json"
        ]
    );
    assert_eq!(image.layers[0].media_type, "application/vnd.docker.image.rootfs.diff.tar");
    let manifest: Value = serde_json::from_slice(&image.manifest).unwrap();
    assert_eq!(manifest["layers"][0]["mediaType"], image.layers[0].media_type);
}

/// The bytes themselves, once, for a person to read.
#[test]
fn the_least_image_reads_like_this() {
    let image = name::parse("synth/553", 1).unwrap().build(&Tables::shared());
    let config = r#"{"created":"1970-01-01T00:00:00Z","architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":["sha256:6e014d146317ea6789ff30d2aed1d1e90f7bbdbbc74686580a9e415d4889b06d"]},"history":[{"created":"1970-01-01T00:00:00Z","created_by":"layer-v1-gzip-b6b3179ce8c471ee1b82e8fde5af79f0-553"}]}"#;
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:3ebc479fefad640a5af3319fc6d71389d0425908a1a1d679873b299b489b4fbb","size":553}}]}}"#,
        Digest::of(config.as_bytes()),
        config.len()
    );
    assert_eq!(image.config, config);
    assert_eq!(image.manifest, manifest);
}
