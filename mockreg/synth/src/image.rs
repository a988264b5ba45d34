//! Images: layers under a manifest and a config whose bytes are part of the format, so that the same image has
//! the same digest on every machine. Which layers an image has is decided in `name` and `catalogue`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::spec::LayerSpec;

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
