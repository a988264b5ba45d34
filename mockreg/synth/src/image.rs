//! Images: layers under a manifest and a config whose bytes are part of the format, so that the same image has
//! the same digest on every machine. Which layers an image has is decided in `name` and `catalogue`.

use bytes::Bytes;
use mockreg_proto::digest::Digest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::spec::{Form, LayerSpec};
use crate::tables::Tables;
use crate::tar;

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
    pub layers: Vec<LayerSpec>,
    /// Whose media types it speaks.
    pub media_types: MediaTypes,
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
    /// The layers, the base first.
    pub layers: Vec<ImageLayer>,
}

/// A layer of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageLayer {
    /// How to make it.
    pub spec: LayerSpec,
    /// Digest of the blob.
    pub digest: Digest,
    /// Digest of the tar inside.
    pub diff_id: Digest,
    /// Media type of the blob.
    pub media_type: &'static str,
}

/// What an image claims to run on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Platform {
    /// `linux/amd64`, the only one this version makes.
    #[default]
    LinuxAmd64,
}

/// Whose media types a manifest, its config and its layers have.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum MediaTypes {
    /// OCI image manifest 1.
    #[default]
    Oci,
    /// Docker image manifest, version 2, schema 2.
    Docker,
}

impl Platform {
    /// Operating system, as `GOOS` spells it.
    pub const fn os(self) -> &'static str {
        match self {
            Self::LinuxAmd64 => "linux",
        }
    }

    /// Processor architecture, as `GOARCH` spells it.
    pub const fn architecture(self) -> &'static str {
        match self {
            Self::LinuxAmd64 => "amd64",
        }
    }
}

impl MediaTypes {
    /// Media type of manifests.
    pub const fn manifest(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.manifest.v1+json",
            Self::Docker => "application/vnd.docker.distribution.manifest.v2+json",
        }
    }

    /// Media type of configs.
    pub const fn config(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.config.v1+json",
            Self::Docker => "application/vnd.docker.container.image.v1+json",
        }
    }

    /// Media type of a layer.
    pub const fn layer(self, spec: &LayerSpec) -> &'static str {
        match (self, spec.form()) {
            (Self::Oci, Form::Tar) => "application/vnd.oci.image.layer.v1.tar",
            (Self::Oci, Form::Gzip) => "application/vnd.oci.image.layer.v1.tar+gzip",
            // Docker's schema has none of its own; what writes one there uses this. Catalogues refuse it.
            (_, Form::Zstd) => "application/vnd.oci.image.layer.v1.tar+zstd",
            (Self::Docker, Form::Tar) => "application/vnd.docker.image.rootfs.diff.tar",
            (Self::Docker, Form::Gzip) => "application/vnd.docker.image.rootfs.diff.tar.gzip",
        }
    }
}

impl ImageSpec {
    /// Makes manifest and config. Takes as long as the digests of the layers take; async callers call it from a
    /// blocking thread.
    pub fn build(&self, tables: &Tables) -> Image {
        tables.prepare(&self.layers);
        let layers: Vec<ImageLayer> = self.layers.iter().map(|spec| self.layer(*spec, tables)).collect();
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
            layers,
        }
    }

    fn layer(&self, spec: LayerSpec, tables: &Tables) -> ImageLayer {
        let digests = tables.digests(spec);
        let media_type = self.media_types.layer(&spec);
        ImageLayer { spec, digest: digests.digest, diff_id: digests.diff_id, media_type }
    }

    fn config(&self, layers: &[ImageLayer]) -> Bytes {
        to_json(&Config {
            created: EPOCH,
            architecture: self.platform.architecture(),
            os: self.platform.os(),
            config: RuntimeConfig {},
            rootfs: RootFs { kind: "layers", diff_ids: layers.iter().map(|layer| layer.diff_id).collect() },
            history: layers
                .iter()
                .map(|layer| History { created: EPOCH, created_by: tar::record(&layer.spec) })
                .collect(),
        })
    }

    fn manifest(&self, config: &Bytes, config_digest: Digest, layers: &[ImageLayer]) -> Bytes {
        to_json(&Manifest {
            schema_version: 2,
            media_type: self.media_types.manifest(),
            config: Descriptor {
                media_type: self.media_types.config(),
                digest: config_digest,
                size: config.len() as u64,
            },
            layers: layers
                .iter()
                .map(|layer| Descriptor {
                    media_type: layer.media_type,
                    digest: layer.digest,
                    size: layer.spec.size(),
                })
                .collect(),
        })
    }
}

/// The only time in an image: its bytes depend on its name and seed alone.
const EPOCH: &str = "1970-01-01T00:00:00Z";

/// Key order of these structs is the order in the bytes, and so part of the format.
fn to_json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("structs of strings and numbers are JSON").into()
}

/// OCI image specification 1.1, `manifest.md`; the same keys as Docker's version 2, schema 2.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u32,
    media_type: &'static str,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: &'static str,
    digest: Digest,
    size: u64,
}

/// OCI image specification 1.1, `config.md`.
#[derive(Serialize)]
struct Config {
    created: &'static str,
    architecture: &'static str,
    os: &'static str,
    config: RuntimeConfig,
    rootfs: RootFs,
    history: Vec<History>,
}

/// Nothing to run: the images hold data. Some clients want the key all the same.
#[derive(Serialize)]
struct RuntimeConfig {}

#[derive(Serialize)]
struct RootFs {
    #[serde(rename = "type")]
    kind: &'static str,
    diff_ids: Vec<Digest>,
}

#[derive(Serialize)]
struct History {
    created: &'static str,
    /// The record of the layer, as the name of its last file has it.
    created_by: String,
}
