//! Why a well-formed catalogue describes no set of images.

use std::fmt;

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
    /// The entry's `name`; where it is generated, the prefix of its names, or the one repository that is wrong.
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
    /// Another entry gives the repository this tag.
    #[error("{0}")]
    ClashingTag(Box<TagClash>),
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

/// A tag that two entries give to one repository.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("tag `{tag}` {own}, and {other} too")]
pub struct TagClash {
    /// The tag.
    pub tag: String,
    /// How the entry comes to it that is wrong.
    pub own: TagOrigin,
    /// How the entry before it does.
    pub other: TagOrigin,
}

/// How an entry comes to a tag, and which of the `repositories` it is, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagOrigin {
    /// It is in the entry's list.
    Listed(usize),
    /// It is one of the entry's numbered tags.
    Numbered(usize),
    /// It is one that the entry generates, together with its repository.
    Generated(usize),
}

impl fmt::Display for TagOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (how, entry) = match self {
            Self::Listed(entry) => ("listed", entry),
            Self::Numbered(entry) => ("numbered", entry),
            Self::Generated(entry) => ("generated", entry),
        };
        write!(f, "is {how} by `repositories[{entry}]`")
    }
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
