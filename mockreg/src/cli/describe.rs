//! `mockreg describe`

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use mockreg_proto::units::ByteCount;
use mockreg_synth::image::{Image, ImageSpec};
use serde::Serialize;

use super::{Cache, Failure, read_catalogue};

/// What a catalogue holds, with every digest, without serving it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mockreg describe --catalog images.yaml
  mockreg describe --catalog images.yaml --json | jq '.images[].manifest_digest'")]
pub(super) struct Describe {
    /// The catalogue (YAML or JSON)
    #[arg(long, value_name = "FILE")]
    catalog: PathBuf,
    #[command(flatten)]
    cache: Cache,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Description {
    images: Vec<ImageDescription>,
    total_bytes: u64,
}

#[derive(Serialize)]
struct ImageDescription {
    repository: String,
    tag: String,
    manifest_digest: String,
    manifest_media_type: String,
    config_digest: String,
    layers: Vec<LayerDescription>,
}

#[derive(Serialize)]
struct LayerDescription {
    digest: String,
    diff_id: String,
    media_type: String,
    size: u64,
}

impl Describe {
    /// Prints the description.
    pub(super) fn run(self) -> Result<(), Failure> {
        let specs = read_catalogue(&self.catalog)?;
        let tables = super::tables(&self.cache.open());
        let layers: Vec<_> = specs.iter().flat_map(|spec| spec.layers.iter().copied()).collect();
        tables.prepare(&layers);
        let images: Vec<_> = specs.iter().map(|spec| describe(spec, &spec.build(&tables))).collect();
        let total_bytes = images.iter().flat_map(|image| &image.layers).map(|layer| layer.size).sum();
        let description = Description { images, total_bytes };
        if self.json {
            println!("{}", serde_json::to_string(&description).expect("texts and numbers always serialise"));
        } else {
            print!("{}", description.text());
        }
        Ok(())
    }
}

fn describe(spec: &ImageSpec, image: &Image) -> ImageDescription {
    let layers = image.layers.iter().map(|layer| LayerDescription {
        digest: layer.digest.to_string(),
        diff_id: layer.diff_id.to_string(),
        media_type: layer.media_type.to_string(),
        size: layer.spec.size(),
    });
    ImageDescription {
        repository: spec.repository.clone(),
        tag: spec.tag.clone(),
        manifest_digest: image.manifest_digest.to_string(),
        manifest_media_type: image.manifest_media_type.to_string(),
        config_digest: image.config_digest.to_string(),
        layers: layers.collect(),
    }
}

impl Description {
    fn text(&self) -> String {
        let mut text = String::new();
        for image in &self.images {
            let name = format!("{}:{}", image.repository, image.tag);
            writeln!(text, "{name}  {}", image.manifest_digest).expect("a string takes everything");
            for layer in &image.layers {
                writeln!(text, "    {}  {}", layer.digest, ByteCount(layer.size))
                    .expect("a string takes everything");
            }
        }
        let (images, total) = (self.images.len(), ByteCount(self.total_bytes));
        writeln!(text, "{images} images, {total} in layers (shared ones counted each time)")
            .expect("a string takes everything");
        text
    }
}
