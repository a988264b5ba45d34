//! Writes the fixtures that are made from the code to standard output:
//!
//! ```text
//! cargo run -p mockreg-synth --example fixtures -- schema > fixtures/schemas/catalogue.json
//! cargo run --release -p mockreg-synth --example fixtures -- images > fixtures/vectors/images-v1.json
//! ```
//! The schema follows the code. The images do not: they are version 1 of the format, and a difference is an error.

use mockreg_proto::digest::hex;
use mockreg_synth::catalogue::{self, Catalogue};
use mockreg_synth::image::ImageLayer;
use mockreg_synth::{Layer, Tables, name};
use serde_json::{Map, Value, json};

/// From the least size to 5 GiB, in every form and content.
const IMAGES: [&str; 17] = [
    "synth/553",
    "synth/1000",
    "synth/1536-tar",
    "synth/553-gzip-c1",
    "synth/10000",
    "synth/66080-c1",
    "synth/1000003",
    "synth/1048576-tar-c1",
    "synth/3mb-x8",
    "synth/10mb",
    "synth/20mib-x4-c1",
    "synth/64mib",
    "synth/300mib-tar",
    "synth/528-zstd",
    "synth/10mb-zstd-c1",
    "synth/300mib-zstd",
    "synth/5gib",
];

const SEED: u64 = 1;

const KINDS: &str = include_str!("../../../fixtures/catalogues/kinds.yaml");

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("schema") => print(&schemars::schema_for!(Catalogue)),
        Some("images") => print(&images()),
        Some("kinds") => print(&kinds()),
        _ => eprintln!("usage: fixtures schema|images|kinds"),
    }
}

fn print(value: &impl serde::Serialize) {
    println!("{}", serde_json::to_string_pretty(value).expect("these values have string keys"));
}

fn images() -> Value {
    let images: Map<String, Value> =
        IMAGES.iter().map(|repository| ((*repository).to_owned(), image(repository))).collect();
    json!({
        "format": 1,
        "written_by": "cargo run --release -p mockreg-synth --example fixtures -- images",
        "seed": SEED,
        "images": images,
        "kinds": kinds(),
    })
}

/// Everything that the tags of a catalogue of every kind name, and a `-multi` image.
fn kinds() -> Value {
    let plan = catalogue::read("kinds.yaml", KINDS).expect("the catalogue above is valid");
    let multi = name::tagged("synth/10kb-multi", SEED).expect("the name is valid");
    let tags = plan.images().chain([multi]).map(|tag| {
        let tagged = tag.build(&Tables::shared());
        let manifests = tagged.manifests().map(|manifest| json!([manifest.digest, manifest.media_type]));
        let digests = json!({
            "root": tagged.root().digest,
            "manifests": manifests.collect::<Vec<_>>(),
            "blobs": tagged.blobs().map(|blob| blob.digest).collect::<Vec<_>>(),
            "layers": tagged.layers().map(|layer| json!([layer.digest, layer.media_type])).collect::<Vec<_>>(),
        });
        (format!("{}:{}", tag.images[0].repository, tag.images[0].tag), digests)
    });
    Value::Object(tags.collect())
}

fn image(repository: &str) -> Value {
    let image = name::parse(repository, SEED).expect("the names above are valid").build(&Tables::shared());
    json!({
        "manifest": image.manifest_digest,
        "manifest_size": image.manifest.len(),
        "config": image.config_digest,
        "config_size": image.config.len(),
        "layers": image.layers.iter().map(layer).collect::<Vec<_>>(),
    })
}

fn layer(layer: &ImageLayer) -> Value {
    let spec = layer.plan.made().expect("images made from their names have no other layers");
    let read = Layer::new(spec);
    let bytes = |offset| hex(&read.read(offset, 24).flatten().collect::<Vec<u8>>());
    json!({
        "id": spec.id().to_string(),
        "digest": layer.digest,
        "diff_id": layer.diff_id,
        "size": spec.size(),
        "first": bytes(0),
        "last": bytes(spec.size() - 24),
    })
}
