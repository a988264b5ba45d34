//! Content that clients pushed: blobs once for all repositories, with a link in each repository that has them;
//! manifests and tags in their repositories. What is deleted is gone at once and for every reader, and a blob that no
//! repository links any more gives its room back. Locks are held for look-ups only, never while bytes move.

mod repository;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use mockreg_proto::digest::Digest;
use mockreg_proto::reference::{Reference, Tag};
use thiserror::Error;

use self::repository::Repository;
use crate::content::Content;
use crate::manifest::Manifest;

pub(crate) use self::repository::Gone;

/// Most repositories, links, manifests, tags and deletions together. Each takes some 300 bytes beside the budget,
/// which counts content only.
const MAX_ENTRIES: usize = 1_000_000;

/// The registry holds [`MAX_ENTRIES`] things already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "{MAX_ENTRIES} links, manifests and tags are held already; `POST /reset` on the admin port clears them"
)]
pub(crate) struct Full;

/// Everything pushed.
#[derive(Debug, Default)]
pub(crate) struct Store {
    shelves: RwLock<Shelves>,
}

#[derive(Debug, Default)]
struct Shelves {
    blobs: HashMap<Digest, Shelf>,
    repositories: BTreeMap<Arc<str>, Repository>,
    entries: usize,
}

/// A blob and the repositories that have it.
#[derive(Debug)]
struct Shelf {
    content: Content,
    holders: Vec<Arc<str>>,
}

/// How much is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holdings {
    pub(crate) blobs: u64,
    pub(crate) recipes: u64,
    /// Bytes in memory.
    pub(crate) bytes: u64,
    /// Bytes on disk.
    pub(crate) spilled: u64,
}

impl Store {
    fn read(&self) -> RwLockReadGuard<'_, Shelves> {
        self.shelves.read().expect("no holder of the store panics")
    }

    fn write(&self) -> RwLockWriteGuard<'_, Shelves> {
        self.shelves.write().expect("no holder of the store panics")
    }

    /// A blob that `repository` has.
    pub(crate) fn blob(&self, repository: &str, digest: &Digest) -> Option<Content> {
        let shelves = self.read();
        shelves.repositories.get(repository)?.blobs.get(digest)?;
        shelves.blobs.get(digest).map(|shelf| shelf.content.clone())
    }

    /// A blob that any `readable` repository has.
    pub(crate) fn blob_anywhere(&self, digest: &Digest, readable: impl Fn(&str) -> bool) -> Option<Content> {
        let shelves = self.read();
        let shelf = shelves.blobs.get(digest)?;
        shelf.holders.iter().any(|holder| readable(holder)).then(|| shelf.content.clone())
    }

    /// Puts a blob into `repository`. Content that is there already is kept, so a digest never changes its pieces.
    pub(crate) fn put_blob(&self, repository: &str, digest: Digest, content: Content) -> Result<(), Full> {
        let mut shelves = self.write();
        let linked = shelves.change(repository, 1, |repository| repository.put_blob(digest))?;
        if linked {
            let (name, _) = shelves.repositories.get_key_value(repository).expect("it was just changed");
            let name = Arc::clone(name);
            let shelf = shelves.blobs.entry(digest);
            shelf.or_insert_with(|| Shelf { content, holders: Vec::new() }).holders.push(name);
        }
        Ok(())
    }

    /// Takes a blob out of `repository`; with `hide`, also where it belongs to an image that nobody pushed. Whether it
    /// was pushed here.
    pub(crate) fn remove_blob(&self, repository: &str, digest: &Digest, hide: bool) -> Result<bool, Full> {
        // Freed after the lock: it may be gigabytes.
        let mut freed = None;
        let mut shelves = self.write();
        let linked = shelves.change(repository, usize::from(hide), |repository| {
            if hide {
                Arc::make_mut(&mut repository.gone).blobs.insert(*digest);
            }
            repository.blobs.remove(digest)
        })?;
        if linked && let Some(shelf) = shelves.blobs.get_mut(digest) {
            shelf.holders.retain(|holder| **holder != *repository);
            if shelf.holders.is_empty() {
                freed = shelves.blobs.remove(digest);
            }
        }
        drop(shelves);
        drop(freed);
        Ok(linked)
    }

    /// The manifest that `reference` names in `repository`.
    pub(crate) fn manifest(&self, repository: &str, reference: &Reference) -> Option<Arc<Manifest>> {
        self.read().repositories.get(repository)?.manifest(reference).cloned()
    }

    /// Puts a manifest into `repository` and moves `tags` to it, all at once.
    pub(crate) fn put_manifest(
        &self,
        repository: &str,
        manifest: Manifest,
        tags: &[Tag],
    ) -> Result<(), Full> {
        let most = 1 + tags.len();
        self.write().change(repository, most, |repository| repository.put_manifest(manifest, tags))
    }

    /// Takes a tag out of `repository`, and leaves its manifest; `hide` as in [`Store::remove_blob`].
    pub(crate) fn remove_tag(&self, repository: &str, tag: &Tag, hide: bool) -> Result<bool, Full> {
        self.write()
            .change(repository, usize::from(hide), |repository| repository.remove_tag(tag.as_str(), hide))
    }

    /// Takes a manifest and all tags that lead to it out of `repository`; `hide` as in [`Store::remove_blob`].
    pub(crate) fn remove_manifest(
        &self,
        repository: &str,
        digest: &Digest,
        hide: bool,
    ) -> Result<bool, Full> {
        self.write()
            .change(repository, usize::from(hide), |repository| repository.remove_manifest(digest, hide))
    }

    /// What was deleted in `repository` of images that nobody pushed; `None` where nothing was.
    pub(crate) fn gone(&self, repository: &str) -> Option<Arc<Gone>> {
        self.read().repositories.get(repository).map(|repository| Arc::clone(&repository.gone))
    }

    /// Forgets all deletions of images that nobody pushed.
    pub(crate) fn uncover(&self) {
        let mut shelves = self.write();
        shelves.repositories.retain(|_, repository| repository.pushed);
        shelves.repositories.values_mut().for_each(|repository| repository.gone = Arc::default());
        shelves.entries = shelves.repositories.values().map(Repository::entries).sum();
    }

    /// Whether anything was ever pushed to `repository`, or deleted from it.
    pub(crate) fn knows(&self, repository: &str) -> bool {
        self.read().repositories.contains_key(repository)
    }

    /// Up to `most` tags of `repository` after `last`, in byte order.
    pub(crate) fn tags_after(&self, repository: &str, last: Option<&str>, most: usize) -> Vec<String> {
        let shelves = self.read();
        let found = shelves.repositories.get(repository);
        found.map(|repository| repository.tags_after(last, most)).unwrap_or_default()
    }

    /// Up to `most` repositories that something was pushed to, after `last`, in byte order.
    pub(crate) fn repositories_after(&self, last: Option<&str>, most: usize) -> Vec<String> {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        let shelves = self.read();
        let names = shelves.repositories.range::<str, _>((from, Bound::Unbounded));
        let pushed = names.filter(|(_, repository)| repository.pushed);
        pushed.take(most).map(|(name, _)| name.to_string()).collect()
    }

    /// The manifests in `repository` that refer to `subject`.
    pub(crate) fn referrers(&self, repository: &str, subject: &Digest) -> Vec<Arc<Manifest>> {
        let shelves = self.read();
        let found = shelves.repositories.get(repository);
        found.map(|repository| repository.referrers(subject)).unwrap_or_default()
    }

    /// How much is held.
    pub(crate) fn holdings(&self) -> Holdings {
        let shelves = self.read();
        let contents = || shelves.blobs.values().map(|shelf| &shelf.content);
        let manifests = shelves.repositories.values().flat_map(|repository| repository.manifests.values());
        Holdings {
            blobs: shelves.blobs.len() as u64,
            recipes: contents().filter(|content| matches!(content, Content::Recipe(_))).count() as u64,
            bytes: contents().map(Content::in_memory).sum::<u64>()
                + manifests.map(|manifest| manifest.bytes.len() as u64).sum::<u64>(),
            spilled: contents().map(Content::on_disk).sum(),
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        // Freed outside the lock: there may be a million entries.
        let old = std::mem::take(&mut *self.write());
        drop(old);
    }
}

impl Shelves {
    /// Changes a repository, which begins to exist by that, and counts its entries. `most` is how many the change can
    /// add.
    fn change<T>(
        &mut self,
        name: &str,
        most: usize,
        change: impl FnOnce(&mut Repository) -> T,
    ) -> Result<T, Full> {
        let known = self.repositories.contains_key(name);
        if self.entries + most + usize::from(!known) > MAX_ENTRIES {
            return Err(Full);
        }
        if !known {
            self.repositories.insert(name.into(), Repository::default());
            self.entries += 1;
        }
        let repository = self.repositories.get_mut(name).expect("it was just put there");
        let before = repository.entries();
        let result = change(repository);
        self.entries = self.entries - before + repository.entries();
        Ok(result)
    }
}
