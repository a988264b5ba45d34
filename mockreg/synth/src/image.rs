//! Images: layers under a manifest and a config, images of several platforms under an index, and artifacts that refer
//! to them. Their bytes are part of the format, so that the same image has the same digest on every machine. Which
//! layers an image has is decided in `name` and `catalogue`.

mod artifact;
mod document;
mod media_types;
mod platform;

use bytes::Bytes;
use mockreg_proto::digest::Digest;

pub use self::artifact::{Artifact, MAX_REFERRERS, Referrers};
use self::document::{
    Config, Descriptor, EPOCH, History, Index, Manifest, PlatformWords, RootFs, RuntimeConfig, to_json,
};
pub use self::media_types::MediaTypes;
pub use self::platform::{Platform, UnknownPlatform};
use crate::spec::LayerSpec;
use crate::tables::Tables;
use crate::tar;

/// What one tag names, before any byte of it is made: an image or an index of images, and what refers to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagSpec {
    /// The images, one of each platform; several stand under an index. Never empty.
    pub images: Vec<ImageSpec>,
    /// The artifacts that refer to it.
    pub referrers: Referrers,
}

/// An image of one platform, before any byte of it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSpec {
    /// The repository it lies in.
    pub repository: String,
    /// Its tag; empty where every tag names the same image.
    pub tag: String,
    /// What it claims to run on.
    pub platform: Platform,
    /// Its layers, the base first.
    pub layers: Vec<PlannedLayer>,
    /// Whose media types it speaks.
    pub media_types: MediaTypes,
}

/// A layer of an image, before any byte of it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PlannedLayer {
    /// Made and served by the registry.
    Made(LayerSpec),
    /// Lies elsewhere: its descriptor has a URL, and the registry does not serve it.
    Foreign(LayerSpec),
    /// The layer without a file that old builders wrote for every step that changes none: 32 bytes, the same for all.
    Empty,
}

/// Bytes that stand under their own digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Digest of the bytes.
    pub digest: Digest,
    /// The bytes.
    pub bytes: Bytes,
}

/// A manifest or an index, to the byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Digest of the bytes.
    pub digest: Digest,
    /// Its media type.
    pub media_type: &'static str,
    /// The bytes: compact JSON.
    pub bytes: Bytes,
}

/// Everything that a tag names: manifests to the byte, and layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tagged {
    /// The images, one of each platform.
    pub images: Vec<Image>,
    /// The index over them, where there are several.
    pub index: Option<Stored>,
    /// What refers to the tag's manifest.
    pub referrers: Vec<Artifact>,
}

/// An image: its manifest and config to the byte, and its layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The manifest: compact JSON.
    pub manifest: Bytes,
    /// Digest of the manifest, which is the digest of the image.
    pub manifest_digest: Digest,
    /// Media type of the manifest.
    pub manifest_media_type: &'static str,
    /// The config: compact JSON.
    pub config: Bytes,
    /// Digest of the config, which some clients call the image id.
    pub config_digest: Digest,
    /// Media type of the config.
    pub config_media_type: &'static str,
    /// What it claims to run on.
    pub platform: Platform,
    /// The layers, the base first.
    pub layers: Vec<ImageLayer>,
}

/// A layer of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageLayer {
    /// How to make it.
    pub plan: PlannedLayer,
    /// Digest of the blob.
    pub digest: Digest,
    /// Digest of the tar inside.
    pub diff_id: Digest,
    /// Media type of the blob.
    pub media_type: &'static str,
}

/// The empty layer: the two zero blocks that end a tar, as Go's gzip packs them.
pub const EMPTY_LAYER: [u8; 32] = [
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x09, 0x6e, 0x88, 0x00, 0xff, 0x62, 0x18, 0x05, 0xa3, 0x60, 0x14, 0x8c,
    0x58, 0x00, 0x08, 0x00, 0x00, 0xff, 0xff, 0x2e, 0xaf, 0xb5, 0xef, 0x00, 0x04, 0x00, 0x00,
];
/// The tar inside [`EMPTY_LAYER`].
const EMPTY_TAR: [u8; 1024] = [0; 1024];

/// Where foreign layers claim to lie: a host that never exists (RFC 6761, section 6.5).
const FOREIGN_HOST: &str = "https://layers.stormyard.example";

impl PlannedLayer {
    /// The layer that stands behind it; `None` for the empty one.
    pub const fn spec(&self) -> Option<LayerSpec> {
        match self {
            Self::Made(spec) | Self::Foreign(spec) => Some(*spec),
            Self::Empty => None,
        }
    }

    /// The layer, if the registry makes it.
    pub const fn made(&self) -> Option<LayerSpec> {
        match self {
            Self::Made(spec) => Some(*spec),
            Self::Foreign(_) | Self::Empty => None,
        }
    }

    /// Bytes of the blob.
    pub const fn size(&self) -> u64 {
        match self {
            Self::Made(spec) | Self::Foreign(spec) => spec.size(),
            Self::Empty => EMPTY_LAYER.len() as u64,
        }
    }

    fn record(&self) -> String {
        self.spec().map_or_else(|| "empty layer".to_owned(), |spec| tar::record(&spec))
    }
}

impl From<LayerSpec> for PlannedLayer {
    fn from(spec: LayerSpec) -> Self {
        Self::Made(spec)
    }
}

impl Blob {
    fn of(bytes: Bytes) -> Self {
        Self { digest: Digest::of(&bytes), bytes }
    }
}

impl Stored {
    fn of(media_type: &'static str, bytes: Bytes) -> Self {
        Self { digest: Digest::of(&bytes), media_type, bytes }
    }
}

impl TagSpec {
    /// Makes everything that the tag names. Takes as long as the digests of the layers take; async callers call it
    /// from a blocking thread.
    pub fn build(&self, tables: &Tables) -> Tagged {
        let images: Vec<Image> = self.images.iter().map(|image| image.build(tables)).collect();
        let mut tagged = Tagged { images, index: None, referrers: Vec::new() };
        if let [first, _, ..] = &self.images[..] {
            tagged.index = Some(index(first.media_types, &tagged.images));
        }
        let root = tagged.root();
        tagged.referrers = self.referrers.build(&self.images[0].repository, &root, &tagged.images);
        tagged
    }

    /// Bytes of all layers, foreign ones apart, those of several images counted in each.
    pub fn size(&self) -> u64 {
        self.layers().filter(|layer| !matches!(layer, PlannedLayer::Foreign(_))).map(PlannedLayer::size).sum()
    }

    /// The same under no tag: two tags that name one image are alike then.
    #[must_use]
    pub fn untagged(&self) -> Self {
        let untagged = |image: &ImageSpec| ImageSpec { tag: String::new(), ..image.clone() };
        Self { images: self.images.iter().map(untagged).collect(), referrers: self.referrers }
    }

    /// All layers of all its images.
    pub fn layers(&self) -> impl Iterator<Item = &PlannedLayer> {
        self.images.iter().flat_map(|image| &image.layers)
    }
}

impl From<ImageSpec> for TagSpec {
    fn from(image: ImageSpec) -> Self {
        Self { images: vec![image], referrers: Referrers::default() }
    }
}

impl Tagged {
    /// What the tag itself names: the index, or else the manifest of its only image.
    pub fn root(&self) -> Stored {
        self.index.clone().unwrap_or_else(|| self.images[0].stored())
    }

    /// All manifests and indexes, those of artifacts among them.
    pub fn manifests(&self) -> impl Iterator<Item = Stored> {
        let images = self.images.iter().map(Image::stored);
        let artifacts = self.referrers.iter().map(|artifact| artifact.manifest.clone());
        images.chain(self.index.clone()).chain(artifacts)
    }

    /// All blobs that are kept as bytes: configs, the payloads of artifacts, the empty layer.
    pub fn blobs(&self) -> impl Iterator<Item = Blob> {
        let configs =
            self.images.iter().map(|image| Blob { digest: image.config_digest, bytes: image.config.clone() });
        let payloads = self.referrers.iter().flat_map(|artifact| artifact.blobs.iter().cloned());
        let empty = self.layers().find(|layer| layer.plan == PlannedLayer::Empty);
        let empty = empty.map(|layer| Blob { digest: layer.digest, bytes: Bytes::from_static(&EMPTY_LAYER) });
        configs.chain(payloads).chain(empty)
    }

    /// All layers of all its images.
    pub fn layers(&self) -> impl Iterator<Item = &ImageLayer> {
        self.images.iter().flat_map(|image| &image.layers)
    }
}

fn index(media_types: MediaTypes, images: &[Image]) -> Stored {
    let manifests = images.iter().map(|image| Descriptor {
        platform: Some(image.platform.into()),
        ..Descriptor::of(image.manifest_media_type, image.manifest_digest, image.manifest.len() as u64)
    });
    let document =
        Index { schema_version: 2, media_type: media_types.index(), manifests: manifests.collect() };
    Stored::of(media_types.index(), to_json(&document))
}

impl Image {
    fn stored(&self) -> Stored {
        let (digest, media_type) = (self.manifest_digest, self.manifest_media_type);
        Stored { digest, media_type, bytes: self.manifest.clone() }
    }
}

impl ImageLayer {
    /// Bytes of the blob.
    pub const fn size(&self) -> u64 {
        self.plan.size()
    }

    fn record(&self) -> String {
        self.plan.record()
    }

    fn descriptor(&self) -> Descriptor {
        let mut descriptor = Descriptor::of(self.media_type, self.digest, self.size());
        if let PlannedLayer::Foreign(_) = self.plan {
            descriptor.urls = Some([format!("{FOREIGN_HOST}/{}", self.digest)]);
        }
        descriptor
    }
}

impl ImageSpec {
    /// Makes manifest and config. Takes as long as the digests of the layers take; async callers call it from a
    /// blocking thread.
    pub fn build(&self, tables: &Tables) -> Image {
        let specs: Vec<LayerSpec> = self.layers.iter().filter_map(PlannedLayer::spec).collect();
        tables.prepare(&specs);
        let layers: Vec<ImageLayer> = self.layers.iter().map(|plan| self.layer(*plan, tables)).collect();
        let config = self.config(&layers);
        let config_digest = Digest::of(&config);
        let manifest = self.manifest(&config, config_digest, &layers);
        Image {
            manifest_digest: Digest::of(&manifest),
            manifest,
            manifest_media_type: self.media_types.manifest(),
            config,
            config_digest,
            config_media_type: self.media_types.config(),
            platform: self.platform,
            layers,
        }
    }

    fn layer(&self, plan: PlannedLayer, tables: &Tables) -> ImageLayer {
        let (digest, diff_id) = match plan.spec() {
            Some(spec) => {
                let digests = tables.digests(spec);
                (digests.digest, digests.diff_id)
            }
            None => (Digest::of(&EMPTY_LAYER), Digest::of(&EMPTY_TAR)),
        };
        ImageLayer { plan, digest, diff_id, media_type: self.media_types.of(&plan) }
    }

    fn config(&self, layers: &[ImageLayer]) -> Bytes {
        let history = |layer: &ImageLayer| History { created: EPOCH, created_by: layer.record() };
        to_json(&Config {
            created: EPOCH,
            platform: PlatformWords::from(self.platform),
            config: RuntimeConfig {},
            rootfs: RootFs { kind: "layers", diff_ids: layers.iter().map(|layer| layer.diff_id).collect() },
            history: layers.iter().map(history).collect(),
        })
    }

    fn manifest(&self, config: &Bytes, config_digest: Digest, layers: &[ImageLayer]) -> Bytes {
        to_json(&Manifest {
            schema_version: 2,
            media_type: self.media_types.manifest(),
            artifact_type: None,
            config: Descriptor::of(self.media_types.config(), config_digest, config.len() as u64),
            layers: layers.iter().map(ImageLayer::descriptor).collect(),
            subject: None,
            annotations: None,
        })
    }
}
