//! Why a well-formed catalogue describes no set of images.

use thiserror::Error;

use super::{MAX_IMAGES, MAX_LAYERS, MAX_REPOSITORIES};
use crate::image::MAX_REFERRERS;
use crate::name;
use crate::popularity::MAX_EXPONENT;
use crate::spec::SpecError;

/// Why a well-formed catalogue describes no set of images.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("repository `{repository}`, key `{key}`: {reason}")]
pub struct CatalogueError {
    /// Place of the entry among `repositories`, from 0.
    pub entry: usize,
    /// The entry's `name`, or the prefix of its names where it is generated.
    pub repository: String,
    /// The key that is wrong, with its index in a list: `layers[2]`. Where a default is at fault, `defaults.format`.
    pub key: String,
    /// What is wrong with it.
    pub reason: CatalogueReason,
}

/// What is wrong with a key of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CatalogueReason {
    /// Not a repository name of the OCI distribution specification.
    #[error(
        "a repository name has lower-case letters and digits, joined by `.`, `_`, `-` and `/`, up to 255 in all"
    )]
    BadName,
    /// Names under `synth/` have a meaning of their own.
    #[error("images under `{}` are made from their name; choose another", name::PREFIX)]
    ReservedName,
    /// Not a tag of the OCI distribution specification.
    #[error(
        "`{0}` is not a tag: letters, digits, `_`, `.` and `-`, not beginning with `.` or `-`, up to 128"
    )]
    BadTag(String),
    /// The repository already has this tag.
    #[error("tag `{0}` stands twice in this repository")]
    RepeatedTag(String),
    /// An empty list, or a count of 0.
    #[error("there must be at least one")]
    Empty,
    /// Too many layers for one image.
    #[error("an image has at most {MAX_LAYERS} layers, not {0}")]
    TooManyLayers(usize),
    /// More than a catalogue may hold, together with the entries before.
    #[error("a catalogue has at most {MAX_IMAGES} images in all")]
    TooManyImages,
    /// More than a catalogue may hold, together with the entries before.
    #[error("a catalogue has at most {MAX_REPOSITORIES} repositories in all")]
    TooManyRepositories,
    /// More artifacts of one kind than one image may have.
    #[error("at most {MAX_REFERRERS} artifacts of one kind refer to an image, not {0}")]
    TooManyReferrers(u32),
    /// More shared layers than there are layers.
    #[error("{shared} layers cannot be shared where there are {layers}")]
    TooManyShared {
        /// Shared layers asked for.
        shared: u32,
        /// Layers there are.
        layers: usize,
    },
    /// An image of one platform stands twice.
    #[error("platform `{0}` stands twice")]
    RepeatedPlatform(String),
    /// A layer without a size.
    #[error("a layer has a `size`, unless it is the empty one: `{{empty: true}}`")]
    NoSize,
    /// The empty layer has nothing to choose.
    #[error("the empty layer is always the same 32 bytes; write `{{empty: true}}` alone")]
    NotEmpty,
    /// A number that is no share.
    #[error("a share is a number from 0 to 1, not {0}")]
    BadShare(String),
    /// A number that is no exponent.
    #[error("an exponent is a number from 0 to {MAX_EXPONENT}, not {0}")]
    BadExponent(String),
    /// Images of one layer cannot stand on another's.
    #[error("an image that stands on another's layers has two at least; let `layers` reach 2 or more")]
    NoRoomForBase,
    /// Docker's schema 2 knows no zstd.
    #[error("Docker's media types have none for zstd layers; use `media_types: oci`")]
    NoMediaType,
    /// No layer of this size and form exists.
    #[error(transparent)]
    Layer(#[from] SpecError),
}

/// What stands before keys that are not an entry's own.
pub(super) const DEFAULTS: &str = "defaults.";

/// The key that is wrong, and why.
pub(super) type Failure = (String, CatalogueReason);

impl CatalogueError {
    /// The key from the top of the document: `repositories[3].layers[2]`.
    pub fn path(&self) -> String {
        if self.key.starts_with(DEFAULTS) {
            return self.key.clone();
        }
        format!("repositories[{}].{}", self.entry, self.key)
    }
}
