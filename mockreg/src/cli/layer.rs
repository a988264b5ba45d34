//! `mockreg layer`

use std::io::{self, BufWriter, Write as _};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context as _, anyhow};
use clap::Args;
use mockreg_proto::content_range::ByteRange;
use mockreg_synth::image::PlannedLayer;
use mockreg_synth::name::{self, PREFIX};
use mockreg_synth::{Content, Form, Layer, LayerSpec, Tables};
use serde::Serialize;

use super::Failure;
use super::number::within;
use super::table_cache::TableCache;
use super::ticker::{Ticker, hashed, share};

/// Write the bytes of one layer to standard output, or what it is.
#[derive(Debug, Args)]
#[command(after_help = "\
The layer is one of an image made from its name, as a registry makes it under synth/. Digests of layers beyond 16 GiB \
have to be hashed the first time, at one or two gigabytes a second, and are kept in the cache directory.

Examples:
  mockreg layer synth/10mb > layer.tar.gz
  mockreg layer 1gib-x8 --index 7 --range 0-511 | xxd
  mockreg layer 300mib-zstd | zstd -dc | tar tv
  mockreg layer 5gib --info")]
pub(super) struct LayerCommand {
    /// Name of the image, with or without `synth/`: 5gib, 1gib-x8, 300mib-zstd, 300mib-tar, 64mib-c1
    name: String,
    /// Which of its layers, from 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    #[arg(value_parser = within(0..=u64::MAX), allow_negative_numbers = true)]
    index: u64,
    /// Seed of the image
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = within(0..=u64::MAX), allow_negative_numbers = true)]
    seed: u64,
    /// Only these bytes, first and last, from 0
    #[arg(long, value_name = "A-B", conflicts_with = "info")]
    range: Option<ByteRange>,
    #[command(flatten)]
    cache: TableCache,
    /// Print digests and sizes as JSON instead of the bytes
    #[arg(long)]
    info: bool,
}

#[derive(Serialize)]
struct Info {
    repository: String,
    index: u64,
    id: String,
    form: Form,
    content: Content,
    media_type: &'static str,
    digest: String,
    diff_id: String,
    size: u64,
    tar_size: u64,
}

impl LayerCommand {
    /// Writes the layer, or what it is.
    pub(super) fn run(self) -> Result<(), Failure> {
        let bare = self.name.strip_prefix(PREFIX).unwrap_or(&self.name);
        let repository = format!("{PREFIX}{bare}");
        let image =
            name::parse(&repository, self.seed).with_context(|| format!("no layer is called {repository}"));
        let image = image.map_err(Failure::usage)?;
        let layers: Vec<LayerSpec> = image.layers.iter().filter_map(PlannedLayer::made).collect();
        let spec = usize::try_from(self.index).ok().and_then(|index| layers.get(index).copied());
        let spec = spec.ok_or_else(|| {
            let last = layers.len() - 1;
            Failure::usage(anyhow!("--index {}: {repository} has layers 0 to {last}", self.index))
        })?;
        let layer = Layer::new(spec);
        let tables = super::tables(&self.cache.open()?);
        let ticker = telling(&tables, spec, self.info);
        if self.info {
            let digests = tables.digests(spec);
            // The result gets a line of its own.
            drop(ticker);
            let info = Info {
                repository,
                index: self.index,
                id: spec.id().to_string(),
                form: spec.form(),
                content: spec.content(),
                media_type: image.media_types.layer(&spec),
                digest: digests.digest.to_string(),
                diff_id: digests.diff_id.to_string(),
                size: spec.size(),
                tar_size: digests.tar_size,
            };
            println!("{}", serde_json::to_string_pretty(&info).expect("texts and numbers always serialise"));
            return Ok(());
        }
        let (offset, len) = self.range.map_or((0, spec.size()), |range| (range.first, range.len()));
        if offset >= spec.size() {
            let reason = anyhow!(
                "--range {offset}-…: the layer has {} bytes, so a range begins at {} at the latest",
                spec.size(),
                spec.size() - 1
            );
            return Err(Failure::usage(reason));
        }
        write(&layer, offset, len).map_err(|error| Failure::environment(error.context("standard output")))
    }
}

/// Says how far the digests are, or the checksum that a gzip layer ends with, if that takes long.
fn telling(tables: &Arc<Tables>, spec: LayerSpec, alone: bool) -> Ticker {
    let (done, total) = (hashed(tables), tables.work(spec));
    Ticker::start(alone, move |passed| {
        let done = done.load(Ordering::Relaxed);
        (done > 0 || alone).then(|| format!("hashed {}", share(done, total, passed)))
    })
}

fn write(layer: &Layer, offset: u64, len: u64) -> anyhow::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let written =
        layer.read(offset, len).try_for_each(|piece| out.write_all(&piece)).and_then(|()| out.flush());
    match written {
        // `mockreg layer 5gib | head -c 100` has what it wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}
