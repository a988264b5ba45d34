//! Catalogues: which images a registry holds, written by a person (YAML) or by a program (JSON). The structs are
//! the file format; a [`Plan`] is what files mean. `docs/catalogues.md` explains every key. Nothing here makes a byte
//! of an image.

mod check;
mod error;
mod generate;
mod layers;
mod plan;
mod pulls;
mod repository;
mod shorthand;
mod size;
mod tags;
#[cfg(test)]
mod tests;

use mockreg_proto::document::{self, DocumentError};
use mockreg_proto::units::ByteCount;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::error::{CatalogueError, CatalogueReason, TagClash, TagOrigin};
pub use self::generate::{Generate, Generated, PopularityLaw};
use self::layers::Style;
pub use self::plan::Plan;
pub use self::pulls::{Pull, Pulls};
pub use self::repository::PlannedRepository;
pub use self::shorthand::SchemaVersion;
pub use self::size::{Counts, Size};
use crate::image::{MediaTypes, Platform, Referrers};
use crate::spec::{Content, Form};

/// A catalogue file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    pub repositories: Vec<Entry>,
}

/// One repository, or many that are generated.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Entry {
    /// `{name: library/app, tags: [v1], layers: [4MB]}`
    Listed(Repository),
    /// `{generate: {prefix: team, count: 200, layers: 3..12, size: hub2019}}`
    Generated(Generated),
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
    /// What the images run on; several stand under an index, with layers of their own each. Default: linux/amd64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<Platform>,
    /// Artifacts that refer to every tag. Default: none.
    #[serde(default, skip_serializing_if = "Referrers::is_none")]
    pub referrers: Referrers,
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
    /// `{count: 8, size: hub2019}`
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LayerObject {
    /// Bytes of the blob, compressed where the format compresses: a number, a range or a profile. Required, but for
    /// the empty layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// Whether the layer shares no byte with another: its digests cost a pass over all of it, once. Default: no.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unique: bool,
    /// Whether the layer lies elsewhere: the manifest gives a URL for it, and the registry does not serve it.
    /// Default: no.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub foreign: bool,
    /// Whether it is the layer without a file that old builders wrote for steps that change none. Default: no.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty: bool,
}

/// A number of layers that are sized alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LayerCount {
    /// How many layers.
    pub count: u32,
    /// Bytes of each blob, compressed where the format compresses: a number, a range or a profile.
    pub size: Size,
    /// As for a single layer. Default: no.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unique: bool,
}

/// Layers of one image: overlay file systems mount no more, so no client can use them.
pub const MAX_LAYERS: usize = 127;

/// Repositories of one catalogue. A plan keeps their names, in about a hundred bytes each.
pub const MAX_REPOSITORIES: u64 = 200_000;

/// Images of one catalogue. A registry that is asked for one by its digest keeps some forty bytes for each of its
/// repository, so this bounds them to 200 MB.
pub const MAX_IMAGES: u64 = 5_000_000;

fn default_seed() -> u64 {
    1
}

/// Reads and plans a catalogue: [`Catalogue`] and [`Plan::new`] in one step, where an error in either names the file,
/// the line and the key. `file_name` is what errors call the text.
///
/// # Errors
/// Texts that are no catalogue, and catalogues that describe no set of images.
pub fn read(file_name: &str, text: &str) -> Result<Plan, DocumentError> {
    let catalogue: Catalogue = document::read(file_name, text)?;
    Plan::new(catalogue)
        .map_err(|error| DocumentError::at_key(file_name, text, &error.path(), &error.to_string()))
}

impl Catalogue {
    fn style(&self, entry: &Entry) -> Style {
        let (form, content) = match entry {
            Entry::Listed(entry) => (entry.format, entry.content),
            Entry::Generated(entry) => (entry.generate.format, entry.generate.content),
        };
        Style {
            form: form.unwrap_or(self.defaults.format),
            content: content.unwrap_or(self.defaults.content),
        }
    }

    fn media_types(&self, entry: &Entry) -> MediaTypes {
        let own = match entry {
            Entry::Listed(entry) => entry.media_types,
            Entry::Generated(entry) => entry.generate.media_types,
        };
        own.unwrap_or(self.defaults.media_types)
    }
}

impl Entry {
    /// The repository's name, or the prefix of generated ones.
    fn name(&self) -> &str {
        match self {
            Self::Listed(entry) => &entry.name,
            Self::Generated(entry) => &entry.generate.prefix,
        }
    }

    fn repositories(&self) -> u64 {
        match self {
            Self::Listed(_) => 1,
            Self::Generated(entry) => entry.generate.count.into(),
        }
    }

    /// Images, as many as may be drawn.
    fn most_images(&self) -> u64 {
        match self {
            Self::Listed(Repository { tags: Tags::Listed(names), .. }) => names.len() as u64,
            Self::Listed(Repository { tags: Tags::Numbered(range), .. }) => range.count.into(),
            Self::Generated(entry) => u64::from(entry.generate.count) * u64::from(entry.generate.tags.most),
        }
    }
}

impl From<Repository> for Entry {
    fn from(repository: Repository) -> Self {
        Self::Listed(repository)
    }
}
