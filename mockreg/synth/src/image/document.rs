//! Manifests, indexes and configs as JSON. The order of the keys in these structs is the order of the bytes, and so
//! part of the format.

use bytes::Bytes;
use mockreg_proto::digest::Digest;
use serde::Serialize;

use super::platform::Platform;

/// The only time in an image: its bytes depend on its name and seed alone.
pub(super) const EPOCH: &str = "1970-01-01T00:00:00Z";

pub(super) fn to_json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("structs of strings and numbers are JSON").into()
}

/// OCI image specification 1.1, `manifest.md`; without `artifactType` and `subject` the same keys as Docker's version
/// 2, schema 2.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    pub(super) schema_version: u32,
    pub(super) media_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) artifact_type: Option<&'static str>,
    pub(super) config: Descriptor,
    pub(super) layers: Vec<Descriptor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) subject: Option<Descriptor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) annotations: Option<Annotations>,
}

/// OCI image specification 1.1, `image-index.md`; the same keys as Docker's manifest list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Index {
    pub(super) schema_version: u32,
    pub(super) media_type: &'static str,
    pub(super) manifests: Vec<Descriptor>,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub(super) media_type: &'static str,
    pub(super) digest: Digest,
    pub(super) size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) urls: Option<[String; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) annotations: Option<Annotations>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) platform: Option<PlatformWords>,
}

/// Annotations in the order of their bytes.
pub(super) type Annotations = std::collections::BTreeMap<&'static str, String>;

impl Descriptor {
    /// A descriptor of these bytes.
    pub(super) const fn of(media_type: &'static str, digest: Digest, size: u64) -> Self {
        Self { media_type, digest, size, urls: None, annotations: None, platform: None }
    }
}

/// A platform as configs and indexes spell it.
#[derive(Clone, Serialize)]
pub(super) struct PlatformWords {
    architecture: &'static str,
    os: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<&'static str>,
}

impl From<Platform> for PlatformWords {
    fn from(platform: Platform) -> Self {
        Self { architecture: platform.architecture(), os: platform.os(), variant: platform.variant() }
    }
}

/// OCI image specification 1.1, `config.md`.
#[derive(Serialize)]
pub(super) struct Config {
    pub(super) created: &'static str,
    #[serde(flatten)]
    pub(super) platform: PlatformWords,
    pub(super) config: RuntimeConfig,
    pub(super) rootfs: RootFs,
    pub(super) history: Vec<History>,
}

/// Nothing to run: the images hold data. Some clients want the key all the same.
#[derive(Serialize)]
pub(super) struct RuntimeConfig {}

#[derive(Serialize)]
pub(super) struct RootFs {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) diff_ids: Vec<Digest>,
}

#[derive(Serialize)]
pub(super) struct History {
    pub(super) created: &'static str,
    /// The record of the layer, as the name of its last file has it.
    pub(super) created_by: String,
}
