//! Catalogues: which images a registry holds, written by a person (YAML) or by a program (JSON). The structs are
//! the file format; [`Catalogue::images`] is what a file means. `fixtures/catalogues/small.yaml` shows every key.
//! Nothing here makes a byte of an image.

mod shorthand;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use mockreg_proto::document::{self, DocumentError};
use mockreg_proto::reference::{RepositoryName, Tag};
use mockreg_proto::units::ByteCount;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use self::shorthand::{SchemaVersion, Unsupported};
use crate::image::{ImageSpec, MediaTypes, Platform};
use crate::name;
use crate::spec::{Content, Form, LayerId, LayerSpec, SpecError};

/// A catalogue file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    /// Version of the file format: 1.
    pub schema_version: SchemaVersion,
    /// Decides the content of every layer, together with repository, tag and place in the image. Default: 1.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// What repositories that do not say otherwise have.
    #[serde(default)]
    pub defaults: Defaults,
    /// The images. Several entries may name one repository if their tags differ.
    pub repositories: Vec<Repository>,
}

/// What repositories that do not say otherwise have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Defaults {
    /// How layers are packed. Default: gzip.
    pub format: Form,
    /// What the files in layers consist of. Default: letters, which compress 2.64 to 1.
    pub content: Content,
    /// Whose media types manifests use. Default: oci.
    pub media_types: MediaTypes,
}

/// Images of one repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Repository {
    /// Reserved: repositories that are generated instead of listed.
    #[serde(default, skip_serializing)]
    #[schemars(skip)]
    pub generate: Unsupported,
    /// Name of the repository, for example `library/app`; not under `synth/`.
    pub name: String,
    /// Tags; each is an image of its own.
    pub tags: Tags,
    /// Layers of every tag, the base first.
    pub layers: Layers,
    /// How many leading layers all tags have in common. Default: all but the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_layers: Option<u32>,
    /// As in `defaults`, for this entry alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Form>,
    /// As in `defaults`, for this entry alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// As in `defaults`, for this entry alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_types: Option<MediaTypes>,
    /// Reserved: images are of linux/amd64 alone.
    #[serde(default, skip_serializing)]
    #[schemars(skip)]
    pub platforms: Unsupported,
}

/// Tags, listed or numbered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Tags {
    /// `[v1, v2, latest]`
    Listed(Vec<String>),
    /// `{prefix: v, count: 40}`: `v1` to `v40`.
    Numbered(TagRange),
}

/// Numbered tags: `prefix` followed by 1 to `count`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TagRange {
    /// What stands before the number.
    pub prefix: String,
    /// How many tags; the first is number 1.
    pub count: u32,
}

/// Layers, listed or alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Layers {
    /// `[4MB, 60MB, {size: 300MB}]`
    Listed(Vec<LayerEntry>),
    /// `{count: 8, size: 50MB}`
    Alike(LayerCount),
}

/// One layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum LayerEntry {
    /// Its size: `60MB`.
    Size(ByteCount),
    /// Its size with more said about it: `{size: 60MB}`.
    Object(LayerObject),
}

/// One layer, spelt out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LayerObject {
    /// Bytes of the blob, compressed where the format compresses.
    pub size: ByteCount,
    /// Reserved: layers with a stream of their own. Only `false` for now.
    #[serde(default, skip_serializing, deserialize_with = "shorthand::not_unique")]
    #[schemars(skip)]
    pub unique: bool,
}

/// A number of layers of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LayerCount {
    /// How many layers.
    pub count: u32,
    /// Bytes of each blob, compressed where the format compresses.
    #[serde(deserialize_with = "shorthand::fixed_size")]
    pub size: ByteCount,
}

/// Why a well-formed catalogue describes no set of images.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("repository `{repository}`, key `{key}`: {reason}")]
pub struct CatalogueError {
    /// Place of the entry among `repositories`, from 0.
    pub entry: usize,
    /// The entry's `name`.
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
    #[error("the images of a catalogue have at most {MAX_PLANNED} layers in all")]
    TooManyImages,
    /// More shared layers than there are layers.
    #[error("{shared} layers cannot be shared where there are {layers}")]
    TooManyShared {
        /// Shared layers asked for.
        shared: u32,
        /// Layers there are.
        layers: usize,
    },
    /// Docker's schema 2 knows no zstd.
    #[error("Docker's media types have none for zstd layers; use `media_types: oci`")]
    NoMediaType,
    /// No layer of this size and form exists.
    #[error(transparent)]
    Layer(#[from] SpecError),
}

/// Layers of one image: overlay file systems mount no more, so no client can use them.
pub const MAX_LAYERS: usize = 127;

/// Layers of all images of one catalogue, those of several images counted in each. A layer is planned in 40 bytes
/// and an image of one layer in about 200, so this bounds a plan to about 100 MB.
pub const MAX_PLANNED: usize = 500_000;

fn default_seed() -> u64 {
    1
}

/// Reads a catalogue and plans its images: [`Catalogue`] and [`Catalogue::images`] in one step, where an error
/// in either names the file, the line and the key. `file_name` is what errors call the text.
///
/// # Errors
/// Texts that are no catalogue, and catalogues that describe no set of images.
pub fn read(file_name: &str, text: &str) -> Result<(Catalogue, Vec<ImageSpec>), DocumentError> {
    let catalogue: Catalogue = document::read(file_name, text)?;
    let images = catalogue.images().map_err(|error| {
        let place = document::place_of_key(text, &error.path());
        DocumentError {
            name: file_name.to_owned(),
            line: place.map(|(line, _)| line),
            column: place.map(|(_, column)| column),
            message: error.to_string(),
        }
    })?;
    Ok((catalogue, images))
}

/// What stands before keys that are not an entry's own.
const DEFAULTS: &str = "defaults.";

impl CatalogueError {
    /// The key from the top of the document: `repositories[3].layers[2]`.
    pub fn path(&self) -> String {
        if self.key.starts_with(DEFAULTS) {
            return self.key.clone();
        }
        format!("repositories[{}].{}", self.entry, self.key)
    }
}

impl Catalogue {
    /// The images, in the order of the file and of each entry's tags.
    ///
    /// # Errors
    /// Names, tags, sizes and counts that no image can have, with the repository and the key.
    pub fn images(&self) -> Result<Vec<ImageSpec>, CatalogueError> {
        let mut images = Vec::new();
        let mut taken = BTreeSet::new();
        let mut room = MAX_PLANNED;
        for (entry, repository) in self.repositories.iter().enumerate() {
            let failed =
                |(key, reason)| CatalogueError { entry, repository: repository.name.clone(), key, reason };
            let planned = self.entry_images(repository, room).map_err(failed)?;
            room -= planned.iter().map(|image| image.layers.len()).sum::<usize>();
            for (index, image) in planned.iter().enumerate() {
                if !taken.insert((image.repository.clone(), image.tag.clone())) {
                    let reason = CatalogueReason::RepeatedTag(image.tag.clone());
                    return Err(failed((format!("tags[{index}]"), reason)));
                }
            }
            images.extend(planned);
        }
        Ok(images)
    }

    fn entry_images(&self, entry: &Repository, room: usize) -> Result<Vec<ImageSpec>, Failure> {
        check_name(&entry.name)?;
        let sizes = entry.layers.sizes()?;
        let tags = entry.tags.names(room / sizes.len())?;
        let shared = entry.shared(sizes.len())?;
        let media_types = entry.media_types.unwrap_or(self.defaults.media_types);
        tags.into_iter()
            .map(|tag| {
                let layers = self.layers(entry, &tag, &sizes, shared)?;
                let repository = entry.name.clone();
                Ok(ImageSpec { repository, tag, platform: Platform::default(), layers, media_types })
            })
            .collect()
    }

    fn layers(
        &self,
        entry: &Repository,
        tag: &str,
        sizes: &[u64],
        shared: usize,
    ) -> Result<Vec<LayerSpec>, Failure> {
        let form = entry.format.unwrap_or(self.defaults.format);
        let content = entry.content.unwrap_or(self.defaults.content);
        let media_types = entry.media_types.unwrap_or(self.defaults.media_types);
        if (form, media_types) == (Form::Zstd, MediaTypes::Docker) {
            let key = if entry.format.is_some() { "format".to_owned() } else { format!("{DEFAULTS}format") };
            return Err((key, CatalogueReason::NoMediaType));
        }
        let layer = |(ordinal, &size): (usize, &u64)| {
            let tag = if ordinal < shared { "" } else { tag };
            let id = LayerId::derive(self.seed, &entry.name, "", tag, ordinal as u32);
            LayerSpec::try_new(form, content, size, id)
                .map_err(|error| (entry.layers.key(ordinal), error.into()))
        };
        sizes.iter().enumerate().map(layer).collect()
    }
}

/// The key that is wrong, and why.
type Failure = (String, CatalogueReason);

impl Repository {
    fn shared(&self, layers: usize) -> Result<usize, Failure> {
        let Some(shared) = self.shared_layers else { return Ok(layers - 1) };
        if shared as usize > layers {
            let reason = CatalogueReason::TooManyShared { shared, layers };
            return Err(("shared_layers".to_owned(), reason));
        }
        Ok(shared as usize)
    }
}

impl Tags {
    fn names(&self, room: usize) -> Result<Vec<String>, Failure> {
        let (count, key) = match self {
            Self::Listed(tags) => (tags.len(), "tags"),
            Self::Numbered(range) => (range.count as usize, "tags.count"),
        };
        if count == 0 {
            return Err((key.to_owned(), CatalogueReason::Empty));
        }
        if count > room {
            return Err((key.to_owned(), CatalogueReason::TooManyImages));
        }
        let names: Vec<String> = match self {
            Self::Listed(tags) => tags.clone(),
            Self::Numbered(range) => (1..=range.count).map(|n| format!("{}{n}", range.prefix)).collect(),
        };
        match names.iter().position(|tag| tag.parse::<Tag>().is_err()) {
            Some(bad) => Err((format!("tags[{bad}]"), CatalogueReason::BadTag(names[bad].clone()))),
            None => Ok(names),
        }
    }
}

impl Layers {
    fn sizes(&self) -> Result<Vec<u64>, Failure> {
        let (count, key) = match self {
            Self::Listed(layers) => (layers.len(), "layers"),
            Self::Alike(alike) => (alike.count as usize, "layers.count"),
        };
        match count {
            0 => Err((key.to_owned(), CatalogueReason::Empty)),
            1..=MAX_LAYERS => Ok(match self {
                Self::Listed(layers) => layers.iter().map(LayerEntry::size).collect(),
                Self::Alike(alike) => vec![alike.size.0; count],
            }),
            _ => Err((key.to_owned(), CatalogueReason::TooManyLayers(count))),
        }
    }

    /// The key that holds the size of a layer.
    fn key(&self, ordinal: usize) -> String {
        match self {
            Self::Listed(_) => format!("layers[{ordinal}]"),
            Self::Alike(_) => "layers.size".to_owned(),
        }
    }
}

impl LayerEntry {
    fn size(&self) -> u64 {
        match self {
            Self::Size(size) | Self::Object(LayerObject { size, .. }) => size.0,
        }
    }
}

fn check_name(name: &str) -> Result<(), Failure> {
    let fail = |reason| Err(("name".to_owned(), reason));
    match name {
        _ if name.parse::<RepositoryName>().is_err() => fail(CatalogueReason::BadName),
        _ if name.starts_with(name::PREFIX) => fail(CatalogueReason::ReservedName),
        _ => Ok(()),
    }
}
