//! Content that clients pushed: blobs once for all repositories, with a link in each repository that has them;
//! manifests and tags in their repositories. Locks are held for look-ups only, never while bytes move.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use mockreg_proto::digest::Digest;
use mockreg_proto::reference::Reference;
use thiserror::Error;

use crate::content::{Content, Room};

/// Most links, manifests and tags together. Each takes some 200 bytes beside the budget, which counts content only.
const MAX_ENTRIES: usize = 1_000_000;

/// A manifest, exactly as it was pushed or made.
#[derive(Debug)]
pub(crate) struct Manifest {
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
    pub(crate) bytes: Bytes,
    /// Absent for what the registry made itself.
    pub(crate) _room: Option<Room>,
}

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
    blobs: HashMap<Digest, Content>,
    repositories: BTreeMap<String, Repository>,
    entries: usize,
}

#[derive(Debug, Default)]
struct Repository {
    blobs: HashSet<Digest>,
    manifests: HashMap<Digest, Arc<Manifest>>,
    tags: BTreeMap<String, Digest>,
}

/// How much is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holdings {
    pub(crate) blobs: u64,
    pub(crate) recipes: u64,
    pub(crate) bytes: u64,
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
        shelves.blobs.get(digest).cloned()
    }

    /// A blob that any repository has.
    pub(crate) fn blob_anywhere(&self, digest: &Digest) -> Option<Content> {
        self.read().blobs.get(digest).cloned()
    }

    /// Puts a blob into `repository`. Content that is there already is kept, so a digest never changes its pieces.
    pub(crate) fn put_blob(&self, repository: &str, digest: Digest, content: Content) -> Result<(), Full> {
        let mut shelves = self.write();
        let held =
            shelves.repositories.get(repository).is_some_and(|repository| repository.blobs.contains(&digest));
        if held {
            return Ok(());
        }
        shelves.take_entry()?;
        shelves.blobs.entry(digest).or_insert(content);
        shelves.repositories.entry(repository.to_owned()).or_default().blobs.insert(digest);
        Ok(())
    }

    /// The manifest that `reference` names in `repository`.
    pub(crate) fn manifest(&self, repository: &str, reference: &Reference) -> Option<Arc<Manifest>> {
        let shelves = self.read();
        let repository = shelves.repositories.get(repository)?;
        let digest = match reference {
            Reference::Digest(digest) => digest,
            Reference::Tag(tag) => repository.tags.get(tag.as_str())?,
        };
        repository.manifests.get(digest).cloned()
    }

    /// Puts a manifest into `repository`, and moves the tag to it where it is pushed by one.
    pub(crate) fn put_manifest(
        &self,
        repository: &str,
        reference: &Reference,
        manifest: Manifest,
    ) -> Result<(), Full> {
        let mut shelves = self.write();
        // At most a manifest and a tag are new.
        shelves.take_entry()?;
        shelves.take_entry()?;
        let digest = manifest.digest;
        let repository = shelves.repositories.entry(repository.to_owned()).or_default();
        let mut spare = usize::from(repository.manifests.insert(digest, Arc::new(manifest)).is_some());
        spare += match reference {
            Reference::Tag(tag) => {
                usize::from(repository.tags.insert(tag.as_str().to_owned(), digest).is_some())
            }
            Reference::Digest(_) => 1,
        };
        shelves.entries -= spare;
        Ok(())
    }

    /// The tags of `repository`, sorted; `None` if nothing was ever pushed to it.
    pub(crate) fn tags(&self, repository: &str) -> Option<Vec<String>> {
        self.read().repositories.get(repository).map(|repository| repository.tags.keys().cloned().collect())
    }

    /// All repositories that have something, sorted.
    pub(crate) fn repositories(&self) -> Vec<String> {
        self.read().repositories.keys().cloned().collect()
    }

    /// How much is held.
    pub(crate) fn holdings(&self) -> Holdings {
        let shelves = self.read();
        let recipes = shelves.blobs.values().filter(|content| matches!(content, Content::Recipe(_))).count();
        Holdings {
            blobs: shelves.blobs.len() as u64,
            recipes: recipes as u64,
            bytes: shelves.blobs.values().map(Content::stored).sum::<u64>()
                + shelves
                    .repositories
                    .values()
                    .flat_map(|repository| repository.manifests.values())
                    .map(|manifest| manifest.bytes.len() as u64)
                    .sum::<u64>(),
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
    fn take_entry(&mut self) -> Result<(), Full> {
        if self.entries >= MAX_ENTRIES {
            return Err(Full);
        }
        self.entries += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Kept;

    fn content(text: &'static str) -> (Digest, Content) {
        let kept = Kept::own(Bytes::from_static(text.as_bytes()));
        (Digest::of(text.as_bytes()), Content::Kept(Arc::new(kept)))
    }

    fn manifest(text: &'static str) -> Manifest {
        Manifest {
            digest: Digest::of(text.as_bytes()),
            media_type: "m".into(),
            bytes: Bytes::from_static(text.as_bytes()),
            _room: None,
        }
    }

    #[test]
    fn a_blob_is_visible_only_where_it_was_pushed() {
        let store = Store::default();
        let (digest, blob) = content("x");
        store.put_blob("a", digest, blob).unwrap();
        assert!(store.blob("a", &digest).is_some());
        assert!(store.blob("b", &digest).is_none());
        assert!(store.blob_anywhere(&digest).is_some());
        assert_eq!(store.holdings(), Holdings { blobs: 1, recipes: 0, bytes: 1 });
    }

    #[test]
    fn a_tag_moves_and_the_old_manifest_stays() {
        let store = Store::default();
        let tag: Reference = "v1".parse().unwrap();
        store.put_manifest("a", &tag, manifest("one")).unwrap();
        store.put_manifest("a", &tag, manifest("two")).unwrap();
        store.put_manifest("a", &tag, manifest("two")).unwrap();
        assert_eq!(store.manifest("a", &tag).unwrap().bytes, "two");
        assert!(store.manifest("a", &Reference::Digest(Digest::of(b"one"))).is_some());
        assert_eq!(store.tags("a").unwrap(), ["v1"]);
        assert_eq!(store.read().entries, 3, "two manifests and a tag");
        store.clear();
        assert_eq!(store.tags("a"), None);
    }
}
