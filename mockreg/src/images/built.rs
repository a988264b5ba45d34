//! Everything that one tag of a repository nobody pushed to consists of, ready to be served.

use std::sync::Arc;

use mockreg_proto::digest::Digest;
use mockreg_synth::image::{Stored, TagSpec};
use mockreg_synth::{Arrival, Tables};

use crate::content::{Content, Kept};
use crate::manifest::Manifest;

/// Bytes that an entry takes beside its content, about.
const ENTRY: usize = 300;

/// What a tag consists of. A few dozen entries, so they are looked through one by one.
#[derive(Debug)]
pub(crate) struct Built {
    repository: Arc<str>,
    spec: TagSpec,
    root: Arc<Manifest>,
    manifests: Vec<Arc<Manifest>>,
    blobs: Vec<(Digest, Content)>,
    weight: usize,
}

/// The digests of everything that a tag consists of. Computes them: not for async threads.
pub(super) fn digests(spec: &TagSpec, tables: &Tables) -> Vec<Digest> {
    let tagged = spec.build(tables);
    let manifests = tagged.manifests().map(|stored| stored.digest);
    let blobs = tagged.blobs().map(|blob| blob.digest);
    // Layers that lie elsewhere are not served.
    let layers = tagged.layers().filter(|layer| layer.plan.made().is_some()).map(|layer| layer.digest);
    manifests.chain(blobs).chain(layers).collect()
}

impl Built {
    /// Builds what a tag names. Computes digests: not for async threads.
    pub(super) fn new(repository: Arc<str>, spec: TagSpec, tables: &Tables) -> Self {
        let tagged = spec.build(tables);
        let made = |stored: Stored| Arc::new(Manifest::made(stored.digest, stored.media_type, stored.bytes));
        let root = made(tagged.root());
        let others = tagged.manifests().filter(|stored| stored.digest != root.digest).map(made);
        let manifests: Vec<_> = std::iter::once(Arc::clone(&root)).chain(others).collect();
        let mut weight: usize = manifests.iter().map(|manifest| manifest.bytes.len()).sum();
        let mut blobs = Vec::new();
        for blob in tagged.blobs() {
            weight += blob.bytes.len();
            blobs.push((blob.digest, Content::Kept(Arc::new(Kept::own(blob.bytes)))));
        }
        // Layers that lie elsewhere are not served.
        let made = tagged.layers().filter_map(|layer| Some((layer.digest, layer.plan.made()?)));
        blobs.extend(made.map(|(digest, spec)| (digest, Content::Recipe(Arrival { spec, unpacked: false }))));
        weight += ENTRY * (manifests.len() + blobs.len() + 1);
        Self { repository, spec, root, manifests, blobs, weight }
    }

    /// The repository it lies in.
    pub(super) fn repository(&self) -> &str {
        &self.repository
    }

    /// What it was built from.
    pub(super) fn spec(&self) -> &TagSpec {
        &self.spec
    }

    /// What the tag itself leads to.
    pub(super) fn root(&self) -> &Arc<Manifest> {
        &self.root
    }

    /// Bytes it takes in memory, about.
    pub(super) fn weight(&self) -> usize {
        self.weight
    }

    /// A manifest by its digest.
    pub(super) fn manifest(&self, digest: &Digest) -> Option<Arc<Manifest>> {
        self.manifests.iter().find(|manifest| manifest.digest == *digest).cloned()
    }

    /// A blob by its digest.
    pub(super) fn blob(&self, digest: &Digest) -> Option<Content> {
        self.blobs.iter().find(|(other, _)| other == digest).map(|(_, content)| content.clone())
    }

    /// The manifests that refer to `subject`.
    pub(super) fn referrers(&self, subject: &Digest) -> Vec<Arc<Manifest>> {
        let refers = |manifest: &&Arc<Manifest>| {
            manifest.referrer.as_ref().is_some_and(|referrer| referrer.subject == *subject)
        };
        self.manifests.iter().filter(refers).cloned().collect()
    }

    /// Whether a manifest or a blob of it has this digest.
    pub(super) fn holds(&self, digest: &Digest) -> bool {
        self.digests().any(|other| other == digest)
    }

    /// The digests of all of it.
    pub(super) fn digests(&self) -> impl Iterator<Item = &Digest> {
        let manifests = self.manifests.iter().map(|manifest| &manifest.digest);
        manifests.chain(self.blobs.iter().map(|(digest, _)| digest))
    }
}
