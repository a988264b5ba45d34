//! What a registry holds under a name, for tests that compare: the manifest's digest, what it names, and what of that
//! is missing.

use std::collections::BTreeSet;

use mockreg_proto::digest::Digest;
use mockreg_proto::reference::Reference;
use serde::Deserialize;

use crate::core::Core;

/// Indexes inside indexes are followed so deep; nobody makes three.
const MAX_DEPTH: usize = 4;

/// An image or index as one repository holds it. Two are equal if the manifests are the same bytes and the same
/// content is there: `assert_eq!(dest.image("app", "v1"), source.image("app", "v1"))`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldImage {
    /// Digest of its manifest.
    pub digest: Digest,
    /// Type of its manifest.
    pub media_type: String,
    /// Its config; an index has none.
    pub config: Option<Digest>,
    layers: Vec<Digest>,
    /// What an index lists, as far as the repository has it.
    pub children: Vec<HeldImage>,
    /// What it names and the repository has not, of itself and its children. Layers that are fetched from elsewhere
    /// are never missing.
    pub missing: BTreeSet<Digest>,
}

impl HeldImage {
    /// Its layers, the base first, without those of its children.
    pub fn layers(&self) -> &[Digest] {
        &self.layers
    }

    /// Config and layers of itself and its children, each once.
    pub fn blobs(&self) -> BTreeSet<Digest> {
        let own = self.config.into_iter().chain(self.layers.iter().copied());
        own.chain(self.children.iter().flat_map(Self::blobs)).collect()
    }
}

/// The keys of a manifest or index that name content.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Outline {
    config: Option<Descriptor>,
    layers: Vec<Descriptor>,
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    #[serde(default)]
    urls: Vec<String>,
}

impl Descriptor {
    fn digest(&self) -> Option<Digest> {
        self.digest.parse().ok()
    }
}

impl Core {
    /// What `repository` holds under `reference`; `None` if nothing, or if the manifest is none that can be read.
    pub(crate) async fn held(&self, repository: &str, reference: &Reference) -> Option<HeldImage> {
        Box::pin(self.held_within(repository, reference, MAX_DEPTH)).await
    }

    async fn held_within(&self, repository: &str, reference: &Reference, depth: usize) -> Option<HeldImage> {
        // Who asks from within the program waits as long as it takes.
        let manifest = loop {
            if let Ok(found) = self.find_manifest(repository, reference).await {
                break found?;
            }
        };
        let outline: Outline = serde_json::from_slice(&manifest.bytes).ok()?;
        let mut image = HeldImage {
            digest: manifest.digest,
            media_type: manifest.media_type().to_owned(),
            config: outline.config.as_ref().and_then(Descriptor::digest),
            layers: outline.layers.iter().filter_map(Descriptor::digest).collect(),
            children: Vec::new(),
            missing: BTreeSet::new(),
        };
        let own =
            outline.config.iter().chain(&outline.layers).filter(|descriptor| descriptor.urls.is_empty());
        for digest in own.filter_map(Descriptor::digest) {
            let found = loop {
                if let Ok(found) = self.find_blob(repository, &digest).await {
                    break found;
                }
            };
            if found.is_none() {
                image.missing.insert(digest);
            }
        }
        for digest in outline.manifests.iter().filter_map(Descriptor::digest).filter(|_| depth > 0) {
            match Box::pin(self.held_within(repository, &Reference::Digest(digest), depth - 1)).await {
                Some(child) => {
                    image.missing.extend(&child.missing);
                    image.children.push(child);
                }
                None => drop(image.missing.insert(digest)),
            }
        }
        Some(image)
    }
}
