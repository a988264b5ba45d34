//! What a layer is asked to be: its form, content, exact size and identity. Small values that are compared,
//! ordered and stored as keys; whether such a layer can exist is settled here, once. The bytes are made in
//! `layer`.

use std::fmt;
use std::str::FromStr;

use mockreg_proto::digest::{hex, unhex};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// How a layer's tar is packed.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// An uncompressed tar. Its size is a multiple of 512.
    Tar,
    /// A tar in one gzip member.
    #[default]
    Gzip,
    /// A tar in one zstd frame.
    Zstd,
}

/// What the files inside a layer consist of.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// Random letters that compress 2.64 to 1, the published median of real layers.
    #[default]
    Letters,
    /// Keystream bytes that do not compress.
    Incompressible,
}

/// Identity of a layer: sixteen bytes that stand in the name of its last file and decide its bytes there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayerId([u8; 16]);

/// A layer that can be made: form, content, size in bytes of the blob, identity, and whether its files are its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayerSpec {
    form: Form,
    content: Content,
    unique: bool,
    size: u64,
    id: LayerId,
}

/// Why there is no such layer. Each text is a sentence for the person who asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SpecError {
    /// Even an archive with one empty file is larger.
    #[error("a {form} layer has at least {least} bytes, not {size}")]
    TooSmall {
        /// The form asked for.
        form: Form,
        /// The size asked for, in bytes.
        size: u64,
        /// The least size of that form, in bytes.
        least: u64,
    },
    /// The size is beyond what the format is defined for.
    #[error("a layer has at most {MAX_LAYER} bytes (64GiB), not {0}")]
    TooLarge(u64),
    /// A tar consists of blocks of 512 bytes.
    #[error("a tar layer is a multiple of 512 bytes, which {0} is not")]
    NotWholeBlocks(u64),
}

/// Why a text is not a layer's identity.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("a layer id has 32 lower-case hex digits, not `{0}`")]
pub struct LayerIdError(String);

/// Largest blob the format is defined for: above it, cycle numbers and digests are untested.
pub const MAX_LAYER: u64 = 64 << 30;

impl Form {
    /// The name in layer names, configuration and repositories: `tar`, `gzip`, `zstd`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tar => "tar",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// Size of the smallest archive of the form, in bytes: one entry without a body, and the end.
    pub const fn least(self) -> u64 {
        match self {
            // Header, two zero blocks.
            Self::Tar => 512 + 1024,
            // Member header, stored header, an empty stored block, thirteen bytes of zeros, trailer.
            Self::Gzip => 10 + 517 + 5 + 13 + 8,
            // Frame header, raw header, an empty raw block, the zeros as one repeated byte.
            Self::Zstd => 6 + 515 + 3 + 4,
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl LayerId {
    /// The identity of layer `ordinal` of an image. `platform` is empty for single-platform images; `tag` is
    /// empty for layers that several tags share and for images made from their name. Its low three bits run
    /// through the streams, so that neighbours in an image never have the same bytes.
    pub fn derive(seed: u64, repository: &str, platform: &str, tag: &str, ordinal: u32) -> Self {
        let hash = |parts: &[&str]| -> [u8; 32] { Sha256::digest(parts.join("\0")).into() };
        let seed = seed.to_string();
        let long = hash(&["stormyard layer v1", &seed, repository, platform, tag, &ordinal.to_string()]);
        let first_stream = hash(&["stormyard image v1", &seed, repository])[0];
        let mut id = [0; 16];
        id.copy_from_slice(&long[..16]);
        id[15] = id[15] & 0xf8 | first_stream.wrapping_add(ordinal as u8) & 7;
        Self(id)
    }

    /// Wraps the sixteen bytes of an identity.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The sixteen bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl FromStr for LayerId {
    type Err = LayerIdError;

    fn from_str(text: &str) -> Result<Self, LayerIdError> {
        let bytes = unhex(text).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| LayerIdError(text.to_owned()))
    }
}

impl fmt::Display for LayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for LayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl LayerSpec {
    /// A layer of exactly `size` bytes, compressed where the form compresses.
    ///
    /// # Errors
    /// Sizes below the least of the form or above [`MAX_LAYER`], and tars that are no whole blocks.
    pub fn try_new(form: Form, content: Content, size: u64, id: LayerId) -> Result<Self, SpecError> {
        let least = form.least();
        if size < least {
            return Err(SpecError::TooSmall { form, size, least });
        }
        if size > MAX_LAYER {
            return Err(SpecError::TooLarge(size));
        }
        if form == Form::Tar && !size.is_multiple_of(512) {
            return Err(SpecError::NotWholeBlocks(size));
        }
        Ok(Self { form, content, unique: false, size, id })
    }

    /// The same layer with files of its own: no other layer begins with the same bytes. Nothing about it can be
    /// known beforehand, so its digest costs a pass over all of it.
    #[must_use]
    pub const fn unique(mut self) -> Self {
        self.unique = true;
        self
    }

    /// How the tar is packed.
    pub const fn form(&self) -> Form {
        self.form
    }

    /// What the files consist of.
    pub const fn content(&self) -> Content {
        self.content
    }

    /// Bytes of the blob, compressed where the form compresses.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The identity.
    pub const fn id(&self) -> LayerId {
        self.id
    }

    /// Whether its files are its own; see [`LayerSpec::unique`].
    pub const fn is_unique(&self) -> bool {
        self.unique
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_the_format() {
        let id = |repository, ordinal| LayerId::derive(1, repository, "", "", ordinal).to_string();
        assert_eq!(id("synth/553", 0), "b6b3179ce8c471ee1b82e8fde5af79f0");
        assert_eq!(id("synth/1000003", 0), "a63df79236b83c2bf532f816c1bdd050");
    }

    #[test]
    fn neighbours_run_through_the_eight_streams() {
        let stream = |ordinal| LayerId::derive(7, "team/app", "", "v1", ordinal).as_bytes()[15] & 7;
        let mut streams: Vec<_> = (250..258).map(stream).collect();
        streams.sort_unstable();
        assert_eq!(streams, [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn id_text_round_trips_and_nonsense_is_refused() {
        let text = "00112233445566778899aabbccddeeff";
        assert_eq!(text.parse::<LayerId>().unwrap().to_string(), text);
        for bad in ["", "0011", "00112233445566778899AABBCCDDEEFF", "00112233445566778899aabbccddeeff00"] {
            assert!(bad.parse::<LayerId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_cannot_be_made_says_why() {
        let id = LayerId::from_bytes([0; 16]);
        let error =
            |form, size| LayerSpec::try_new(form, Content::Letters, size, id).unwrap_err().to_string();
        assert_eq!(error(Form::Gzip, 552), "a gzip layer has at least 553 bytes, not 552");
        assert_eq!(error(Form::Tar, 1024), "a tar layer has at least 1536 bytes, not 1024");
        assert_eq!(error(Form::Tar, 1537), "a tar layer is a multiple of 512 bytes, which 1537 is not");
        assert_eq!(error(Form::Zstd, 527), "a zstd layer has at least 528 bytes, not 527");
        assert!(error(Form::Gzip, MAX_LAYER + 1).contains("64GiB"));
        assert!(LayerSpec::try_new(Form::Gzip, Content::Incompressible, MAX_LAYER, id).is_ok());
    }
}
