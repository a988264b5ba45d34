//! `mockreg describe`

mod sizes;
mod summary;

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Args;
use mockreg_proto::units::ByteCount;
use mockreg_synth::catalogue::Plan;
use mockreg_synth::image::{PlannedLayer, TagSpec, Tagged};
use mockreg_synth::{LayerSpec, Tables};
use serde::Serialize;

use self::summary::{Counting, Summary};
use super::table_cache::TableCache;
use super::ticker::{Ticker, hashed};
use super::{Failure, read_catalogue, tables};
use crate::cache::CacheDir;
use crate::images::KeptDigests;

/// Say what a catalogue holds, without serving it.
#[derive(Debug, Args)]
#[command(after_help = "\
Prints repositories, images, bytes, unique bytes, percentiles of layer and image sizes, a histogram, how much is \
shared, and which images are popular. Digests are computed for --digests and --json alone: a millisecond a layer the \
first time, more for layers beyond 16 GiB or with a stream to themselves; then the cache directory has them.

Examples:
  mockreg describe --catalog images.yaml
  mockreg describe --catalog images.yaml --digests
  mockreg describe --catalog images.yaml --json | jq '.images[].manifest_digest'")]
pub(super) struct Describe {
    /// A catalogue (YAML or JSON); may be given several times
    #[arg(long, value_name = "FILE", required = true)]
    catalog: Vec<PathBuf>,
    /// Also list every image with the digests of its manifest and layers
    #[arg(long)]
    digests: bool,
    /// Print one JSON object, with every digest
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cache: TableCache,
}

/// Images that are described together: their layers are hashed beside each other.
const BATCH: usize = 64;

#[derive(Serialize)]
struct ImageDescription {
    repository: String,
    tag: String,
    /// Of the index, where there are several platforms.
    manifest_digest: String,
    manifest_media_type: &'static str,
    /// Of the first platform.
    config_digest: String,
    layers: Vec<LayerDescription>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    platforms: Vec<PlatformDescription>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    referrers: Vec<ReferrerDescription>,
}

#[derive(Serialize)]
struct PlatformDescription {
    platform: String,
    manifest_digest: String,
    config_digest: String,
    layers: Vec<LayerDescription>,
}

#[derive(Serialize)]
struct ReferrerDescription {
    manifest_digest: String,
    artifact_type: &'static str,
}

#[derive(Serialize)]
struct LayerDescription {
    digest: String,
    diff_id: String,
    media_type: &'static str,
    size: u64,
}

/// Where descriptions go, one after the other.
enum Listing<W: Write> {
    Text(W),
    Json {
        out: W,
        first: bool,
    },
    /// Nowhere: only the summary is wanted, and no digest.
    None(W),
}

impl Describe {
    /// Prints the description.
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut plan = Plan::default();
        for path in &self.catalog {
            plan = plan.followed_by(read_catalogue(path)?);
        }
        let out = BufWriter::new(io::stdout().lock());
        let mut listing = match (self.json, self.digests) {
            (true, _) => Listing::Json { out, first: true },
            (false, true) => Listing::Text(out),
            (false, false) => Listing::None(out),
        };
        let written = match listing {
            Listing::None(_) => {
                let mut counting = Counting::default();
                plan.images().for_each(|image| counting.add(&image));
                listing.finish(&counting.finish(&plan))
            }
            _ => {
                let cache = self.cache.open()?;
                with_digests(&plan, &mut listing, &cache).and_then(|summary| listing.finish(&summary))
            }
        };
        match written {
            // `mockreg describe … | head` has what it wanted.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other
                .map_err(|error| Failure::environment(anyhow::Error::new(error).context("standard output"))),
        }
    }
}

fn with_digests<W: Write>(plan: &Plan, listing: &mut Listing<W>, cache: &CacheDir) -> io::Result<Summary> {
    let tables = tables(cache);
    let mut kept = KeptDigests::of(plan, cache);
    let (mut counting, mut batch) = (Counting::default(), Vec::new());
    let described = Arc::new(AtomicU64::new(0));
    let _ticker = telling(&tables, Arc::clone(&described));
    for image in plan.images() {
        counting.add(&image);
        batch.push(image);
        if batch.len() == BATCH {
            listing.describe(&mut batch, &tables, &mut kept)?;
            described.store(counting.images(), Ordering::Relaxed);
        }
    }
    listing.describe(&mut batch, &tables, &mut kept)?;
    kept.keep();
    Ok(counting.finish(plan))
}

/// Says how far a long description is.
fn telling(tables: &Tables, described: Arc<AtomicU64>) -> Ticker {
    let hashed = hashed(tables);
    Ticker::start(false, move |passed| {
        let (images, hashed) = (described.load(Ordering::Relaxed), hashed.load(Ordering::Relaxed) as f64);
        let seconds = passed.as_secs();
        Some(format!("{images} images described, {:.1} GB hashed in {seconds} s", hashed / 1e9))
    })
}

impl<W: Write> Listing<W> {
    /// Describes the images of a batch, and empties it.
    fn describe(
        &mut self,
        batch: &mut Vec<TagSpec>,
        tables: &Tables,
        kept: &mut KeptDigests,
    ) -> io::Result<()> {
        let layers = batch.iter().flat_map(TagSpec::layers).filter_map(PlannedLayer::spec);
        let mut layers: Vec<LayerSpec> = layers.collect();
        layers.sort_unstable();
        layers.dedup();
        if !kept.teach(tables, &layers) {
            tables.prepare(&layers);
            kept.learn(tables, &layers);
        }
        batch.drain(..).try_for_each(|image| self.image(&describe(&image, &image.build(tables))))
    }

    fn image(&mut self, image: &ImageDescription) -> io::Result<()> {
        match self {
            Self::Text(out) => image.write(out),
            Self::Json { out, first } => {
                out.write_all(if std::mem::take(first) { b"{\"images\":[" } else { b"," })?;
                serde_json::to_writer(out, image).map_err(io::Error::from)
            }
            Self::None(_) => Ok(()),
        }
    }

    fn finish(&mut self, summary: &Summary) -> io::Result<()> {
        match self {
            Self::Text(out) | Self::None(out) => {
                out.write_all(summary.text().as_bytes())?;
                out.flush()
            }
            Self::Json { out, first } => {
                let start = if *first { "{\"images\":[" } else { "" };
                let summary_text =
                    serde_json::to_string(summary).expect("numbers and texts always serialise");
                let total = summary.total_bytes();
                writeln!(out, "{start}],\"total_bytes\":{total},\"summary\":{summary_text}}}")?;
                out.flush()
            }
        }
    }
}

impl ImageDescription {
    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{}:{}  {}", self.repository, self.tag, self.manifest_digest)?;
        for platform in &self.platforms {
            writeln!(out, "  {}  {}", platform.platform, platform.manifest_digest)?;
            write_layers(out, &platform.layers)?;
        }
        if self.platforms.is_empty() {
            write_layers(out, &self.layers)?;
        }
        self.referrers.iter().try_for_each(|referrer| {
            writeln!(out, "  <- {}  {}", referrer.manifest_digest, referrer.artifact_type)
        })
    }
}

fn write_layers(out: &mut impl Write, layers: &[LayerDescription]) -> io::Result<()> {
    layers.iter().try_for_each(|layer| writeln!(out, "    {}  {}", layer.digest, ByteCount(layer.size)))
}

fn describe(spec: &TagSpec, tagged: &Tagged) -> ImageDescription {
    let (root, first) = (tagged.root(), &tagged.images[0]);
    let platforms = tagged.images.iter().map(|image| PlatformDescription {
        platform: image.platform.to_string(),
        manifest_digest: image.manifest_digest.to_string(),
        config_digest: image.config_digest.to_string(),
        layers: layers(image),
    });
    let referrers = tagged.referrers.iter().map(|artifact| ReferrerDescription {
        manifest_digest: artifact.manifest.digest.to_string(),
        artifact_type: artifact.artifact_type,
    });
    ImageDescription {
        repository: spec.images[0].repository.clone(),
        tag: spec.images[0].tag.clone(),
        manifest_digest: root.digest.to_string(),
        manifest_media_type: root.media_type,
        config_digest: first.config_digest.to_string(),
        layers: layers(first),
        platforms: if tagged.index.is_some() { platforms.collect() } else { Vec::new() },
        referrers: referrers.collect(),
    }
}

fn layers(image: &mockreg_synth::image::Image) -> Vec<LayerDescription> {
    let describe = |layer: &mockreg_synth::image::ImageLayer| LayerDescription {
        digest: layer.digest.to_string(),
        diff_id: layer.diff_id.to_string(),
        media_type: layer.media_type,
        size: layer.size(),
    };
    image.layers.iter().map(describe).collect()
}
