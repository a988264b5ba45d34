//! Images by name against the golden file: manifest, config and layer digests, and the first and last bytes of
//! every layer. They are the same on every machine and in every release of one format version.
//!
//! The file is written by `cargo run --release -p mockreg-synth --example fixtures -- images`.
#![expect(clippy::unwrap_used, reason = "helpers of tests stand outside the test functions")]

use mockreg_proto::digest::{Digest, hex};
use mockreg_synth::catalogue;
use mockreg_synth::image::{Image, MediaTypes, PlannedLayer, TagSpec, Tagged};
use mockreg_synth::{Layer, Tables, name};
use oci_spec::image::{ImageConfiguration, ImageIndex, ImageManifest, MediaType};
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
            let size = layer.size();
            let spec = layer.plan.made().unwrap();
            let read = Layer::new(spec);
            json!({
                "id": spec.id().to_string(),
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

const KINDS: &str = include_str!("../../../fixtures/catalogues/kinds.yaml");

/// Everything that a tag of the catalogue of every kind names.
fn kind(repository: &str) -> (TagSpec, Tagged) {
    let plan = catalogue::read("kinds.yaml", KINDS).unwrap();
    let spec = plan.repository(repository).unwrap().images().next().unwrap();
    let tagged = spec.build(&Tables::shared());
    (spec, tagged)
}

/// A tag as the golden file has it.
fn describe_tag(tagged: &Tagged) -> Value {
    json!({
        "root": tagged.root().digest,
        "manifests": tagged.manifests().map(|it| json!([it.digest, it.media_type])).collect::<Vec<_>>(),
        "blobs": tagged.blobs().map(|blob| blob.digest).collect::<Vec<_>>(),
        "layers": tagged.layers().map(|it| json!([it.digest, it.media_type])).collect::<Vec<_>>(),
    })
}

#[test]
fn every_kind_of_manifest_is_that_of_the_format() {
    let vectors = vectors();
    let plan = catalogue::read("kinds.yaml", KINDS).unwrap();
    let multi = name::tagged("synth/10kb-multi", vectors["seed"].as_u64().unwrap()).unwrap();
    let tags: Vec<TagSpec> = plan.images().chain([multi]).collect();
    assert_eq!(tags.len(), vectors["kinds"].as_object().unwrap().len());
    let wrong: Vec<String> = tags
        .iter()
        .map(|tag| (format!("{}:{}", tag.images[0].repository, tag.images[0].tag), tag))
        .filter(|(name, tag)| describe_tag(&tag.build(&Tables::shared())) != vectors["kinds"][name])
        .map(|(name, _)| name)
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn indexes_are_what_the_specifications_ask_for() {
    for (repository, media_type, second) in [
        ("kinds/multi", "application/vnd.oci.image.index.v1+json", ("arm64", None)),
        (
            "kinds/docker-multi",
            "application/vnd.docker.distribution.manifest.list.v2+json",
            ("arm", Some("v7".to_owned())),
        ),
    ] {
        let (_, tagged) = kind(repository);
        let root = tagged.root();
        assert_eq!(root.media_type, media_type);
        let index = ImageIndex::from_reader(&root.bytes[..]).unwrap();
        assert_eq!((index.schema_version(), index.manifests().len()), (2, 2));
        assert_eq!(index.media_type().as_ref().unwrap().to_string(), media_type);
        for (descriptor, image) in index.manifests().iter().zip(&tagged.images) {
            assert_eq!(descriptor.digest().to_string(), Digest::of(&image.manifest).to_string());
            assert_eq!(descriptor.size(), image.manifest.len() as u64);
            assert_eq!(descriptor.media_type().to_string(), image.manifest_media_type);
            let platform = descriptor.platform().as_ref().unwrap();
            let config = ImageConfiguration::from_reader(&image.config[..]).unwrap();
            assert_eq!(
                (config.architecture(), config.variant()),
                (platform.architecture(), platform.variant())
            );
        }
        let platform = index.manifests()[1].platform().as_ref().unwrap();
        assert_eq!((platform.architecture().to_string().as_str(), platform.variant().clone()), second);
        let layers: Vec<Digest> = tagged.layers().map(|layer| layer.digest).collect();
        assert_eq!(layers.iter().collect::<std::collections::BTreeSet<_>>().len(), 4, "no layer is shared");
    }
}

#[test]
fn artifacts_refer_to_what_the_tag_names() {
    for repository in ["kinds/signed", "kinds/signed-multi"] {
        let (spec, tagged) = kind(repository);
        let root = tagged.root();
        assert_eq!(tagged.referrers.len() as u64, spec.referrers.count());
        for artifact in &tagged.referrers {
            let manifest = ImageManifest::from_reader(&artifact.manifest.bytes[..]).unwrap();
            let subject = manifest.subject().as_ref().unwrap();
            assert_eq!(subject.digest().to_string(), root.digest.to_string());
            assert_eq!(
                (subject.size(), subject.media_type().to_string()),
                (root.bytes.len() as u64, root.media_type.to_owned())
            );
            assert_eq!(manifest.artifact_type().as_ref().unwrap().to_string(), artifact.artifact_type);
            assert_eq!(manifest.config().digest().to_string(), Digest::of(b"{}").to_string());
            let annotations = manifest.annotations().as_ref().unwrap();
            assert!(artifact.annotations.iter().all(|(key, value)| annotations[*key] == *value));
            // Every blob that the manifest names is there, in the size it says.
            for named in manifest.layers().iter().chain([manifest.config()]) {
                let blob = tagged.blobs().find(|blob| blob.digest.to_string() == named.digest().to_string());
                assert_eq!(blob.unwrap().bytes.len() as u64, named.size());
            }
        }
        let digests: std::collections::BTreeSet<_> =
            tagged.referrers.iter().map(|artifact| artifact.manifest.digest).collect();
        assert_eq!(digests.len(), tagged.referrers.len(), "each is one of its own");
    }
}

#[test]
fn payloads_name_the_image_and_its_layers() {
    let (_, tagged) = kind("kinds/signed");
    let root = tagged.root().digest;
    let payload = |artifact: usize| -> Value {
        serde_json::from_slice(&tagged.referrers[artifact].blobs[1].bytes).unwrap()
    };
    assert_eq!(payload(0)["critical"]["image"]["docker-manifest-digest"], root.to_string());
    assert_eq!(payload(0)["critical"]["type"], "cosign container image signature");
    let sbom = payload(2);
    assert_eq!(sbom["spdxVersion"], "SPDX-2.3");
    assert_eq!(sbom["packages"][0]["checksums"][0]["checksumValue"], root.hex());
    let layer = tagged.images[0].layers[0].digest.hex();
    assert_eq!(sbom["packages"][1]["checksums"][0]["checksumValue"], layer);
}

#[test]
fn foreign_layers_have_a_url_and_a_true_digest() {
    for (repository, media_type) in [
        ("kinds/foreign", "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"),
        ("kinds/docker-foreign", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
    ] {
        let (_, tagged) = kind(repository);
        let manifest: Value = serde_json::from_slice(&tagged.images[0].manifest).unwrap();
        let layer = &tagged.images[0].layers[0];
        assert_eq!(manifest["layers"][0]["mediaType"], media_type);
        assert_eq!(
            manifest["layers"][0]["urls"][0],
            format!("https://layers.stormyard.example/{}", layer.digest)
        );
        assert!(manifest["layers"][1].get("urls").is_none());
        let spec = layer.plan.spec().unwrap();
        let bytes: Vec<u8> = Layer::new(spec).read(0, spec.size()).flatten().collect();
        assert_eq!((Digest::of(&bytes), layer.plan.made()), (layer.digest, None));
    }
}

/// The digest is one that clients know by heart: Docker's `digestSHA256GzippedEmptyTar`.
#[test]
fn the_empty_layer_is_the_one_that_clients_know() {
    use std::io::Read as _;
    let (_, tagged) = kind("kinds/empty");
    let empty = tagged.images[0].layers[1];
    assert_eq!(empty.plan, PlannedLayer::Empty);
    assert_eq!(
        empty.digest.to_string(),
        "sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4"
    );
    let blob = tagged.blobs().find(|blob| blob.digest == empty.digest).unwrap();
    let mut tar = Vec::new();
    flate2::read::GzDecoder::new(&blob.bytes[..]).read_to_end(&mut tar).unwrap();
    assert_eq!((tar.as_slice(), Digest::of(&tar)), (&[0; 1024][..], empty.diff_id));
    assert_eq!(tagged.images[0].layers[3], empty);
}
