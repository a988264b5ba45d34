//! What one repository holds: links to blobs, manifests, tags, who refers to whom, and what was deleted of the
//! images that the registry makes itself.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use mockreg_proto::digest::Digest;
use mockreg_proto::reference::{Reference, Tag};

use crate::manifest::Manifest;

/// One repository that something was pushed to or deleted from.
#[derive(Debug, Default)]
pub(super) struct Repository {
    pub(super) blobs: HashSet<Digest>,
    pub(super) manifests: HashMap<Digest, Arc<Manifest>>,
    /// Each leads to a manifest that is here, in the algorithm it was pushed with.
    tags: BTreeMap<String, Digest>,
    /// The manifests here that refer to a subject, which may itself be missing.
    referrers: HashMap<Digest, BTreeSet<Digest>>,
    /// Shared with whoever looks things up, and copied when it changes meanwhile.
    pub(super) gone: Arc<Gone>,
    /// Something was pushed here, whether it is still there or not.
    pub(super) pushed: bool,
}

/// Deleted tags, manifests and blobs of images that nobody pushed: those images can be made again at any time, so
/// the registry remembers that they are not wanted. Pushed content is looked up first, so pushing again helps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gone {
    pub(super) blobs: HashSet<Digest>,
    manifests: HashSet<Digest>,
    tags: HashSet<String>,
}

impl Gone {
    /// Whether a blob is gone.
    pub(crate) fn has_blob(&self, digest: &Digest) -> bool {
        self.blobs.contains(digest)
    }

    /// Whether a manifest is gone.
    pub(crate) fn has_manifest(&self, digest: &Digest) -> bool {
        self.manifests.contains(digest)
    }

    /// Whether a tag is gone, by itself or with the manifest it leads to.
    pub(crate) fn has_tag(&self, tag: &str, digest: &Digest) -> bool {
        self.tags.contains(tag) || self.has_manifest(digest)
    }

    /// Whether a tag is gone by itself, whatever it leads to.
    pub(crate) fn has_tag_name(&self, tag: &str) -> bool {
        self.tags.contains(tag)
    }

    /// The manifests that are gone.
    pub(crate) fn manifests(&self) -> impl Iterator<Item = &Digest> {
        self.manifests.iter()
    }

    fn len(&self) -> usize {
        self.blobs.len() + self.manifests.len() + self.tags.len()
    }
}

impl Repository {
    /// What it adds to the number of entries; itself is one.
    pub(super) fn entries(&self) -> usize {
        1 + self.blobs.len() + self.manifests.len() + self.tags.len() + self.gone.len()
    }

    pub(super) fn manifest(&self, reference: &Reference) -> Option<&Arc<Manifest>> {
        let digest = match reference {
            Reference::Digest(digest) => digest,
            Reference::Tag(tag) => self.tags.get(tag.as_str())?,
        };
        self.manifests.get(digest)
    }

    /// Links a blob. Whether it was not linked before.
    pub(super) fn put_blob(&mut self, digest: Digest) -> bool {
        self.pushed = true;
        self.blobs.insert(digest)
    }

    pub(super) fn put_manifest(&mut self, manifest: Manifest, tags: &[Tag]) {
        self.pushed = true;
        let digest = manifest.digest;
        if let Some(referrer) = &manifest.referrer {
            self.referrers.entry(referrer.subject).or_default().insert(digest);
        }
        self.manifests.insert(digest, Arc::new(manifest));
        self.tags.extend(tags.iter().map(|tag| (tag.as_str().to_owned(), digest)));
    }

    /// Removes a tag; with `hide`, also one of an image that nobody pushed. Whether it was here.
    pub(super) fn remove_tag(&mut self, tag: &str, hide: bool) -> bool {
        if hide {
            Arc::make_mut(&mut self.gone).tags.insert(tag.to_owned());
        }
        self.tags.remove(tag).is_some()
    }

    /// Removes a manifest and its tags, as [`Repository::remove_tag`] does.
    pub(super) fn remove_manifest(&mut self, digest: &Digest, hide: bool) -> bool {
        let ended: Vec<String> = self.tags.extract_if(.., |_, to| to == digest).map(|(tag, _)| tag).collect();
        if hide {
            let gone = Arc::make_mut(&mut self.gone);
            gone.manifests.insert(*digest);
            // Tags that stood before those of an image nobody pushed do not uncover them.
            gone.tags.extend(ended);
        }
        let Some(removed) = self.manifests.remove(digest) else { return false };
        if let Some(referrer) = &removed.referrer
            && let Some(others) = self.referrers.get_mut(&referrer.subject)
        {
            others.remove(digest);
            if others.is_empty() {
                self.referrers.remove(&referrer.subject);
            }
        }
        true
    }

    /// Up to `most` tags after `last`, in byte order.
    pub(super) fn tags_after(&self, last: Option<&str>, most: usize) -> Vec<String> {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        let tags = self.tags.range::<str, _>((from, Bound::Unbounded));
        tags.take(most).map(|(tag, _)| tag.clone()).collect()
    }

    /// The manifests that refer to `subject`.
    pub(super) fn referrers(&self, subject: &Digest) -> Vec<Arc<Manifest>> {
        let digests = self.referrers.get(subject).into_iter().flatten();
        digests.filter_map(|digest| self.manifests.get(digest).cloned()).collect()
    }
}
