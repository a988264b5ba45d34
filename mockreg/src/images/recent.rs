//! The images that are being asked for: built once for all who ask, and kept while they are in use. Two generations
//! by bytes: what is used moves to the young one, and when that is full the old one is forgotten. Anything forgotten
//! is made again.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use mockreg_proto::digest::Digest;
use tokio::sync::OnceCell;

use super::built::Built;

/// Bytes of one generation; twice as many are held at most. Some thousand images of ten layers: more than any client
/// has under way at once, and little beside the pool of letters.
const GENERATION: usize = 8 << 20;

/// Which image: of which repository, and which of its.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ImageKey {
    pub(super) repository: u64,
    pub(super) number: u32,
}

/// An image that is built or being built.
pub(super) type Slot = Arc<OnceCell<Arc<Built>>>;

#[derive(Debug, Default)]
pub(super) struct Recent(RwLock<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: Generation,
    old: Generation,
}

#[derive(Debug, Default)]
struct Generation {
    images: HashMap<ImageKey, Slot>,
    /// Which images hold a manifest or a blob.
    holders: HashMap<Digest, Vec<ImageKey>>,
    bytes: usize,
}

impl Recent {
    fn read(&self) -> RwLockReadGuard<'_, Generations> {
        self.0.read().expect("no holder of the images panics")
    }

    fn write(&self) -> RwLockWriteGuard<'_, Generations> {
        self.0.write().expect("no holder of the images panics")
    }

    /// The place of an image, to be filled by whoever comes first.
    pub(super) fn slot(&self, key: ImageKey) -> Slot {
        if let Some(slot) = self.read().young.images.get(&key) {
            return Arc::clone(slot);
        }
        let mut generations = self.write();
        let old = generations.old.images.remove(&key);
        let slot = match generations.young.images.entry(key) {
            // Somebody else was faster.
            Entry::Occupied(slot) => return Arc::clone(slot.get()),
            Entry::Vacant(place) => Arc::clone(place.insert(old.unwrap_or_default())),
        };
        if let Some(built) = slot.get() {
            let built = Arc::clone(built);
            generations.list(key, &built);
        }
        slot
    }

    /// Makes an image that has been built findable by its digests.
    pub(super) fn list(&self, key: ImageKey, built: &Arc<Built>) {
        self.write().list(key, built);
    }

    /// An image of `repository` that holds `digest`.
    pub(super) fn holder(&self, repository: u64, digest: &Digest) -> Option<ImageKey> {
        let generations = self.read();
        let find = |generation: &Generation| {
            let holders = generation.holders.get(digest)?;
            holders.iter().find(|key| key.repository == repository).copied()
        };
        find(&generations.young).or_else(|| find(&generations.old))
    }

    /// Something of an image of any repository that holds `digest`.
    pub(super) fn find_anywhere<T>(&self, digest: &Digest, take: impl Fn(&Built) -> Option<T>) -> Option<T> {
        let generations = self.read();
        [&generations.young, &generations.old].into_iter().find_map(|generation| {
            let keys = generation.holders.get(digest)?;
            keys.iter().find_map(|key| take(generation.images.get(key)?.get()?))
        })
    }
}

impl Generations {
    fn list(&mut self, key: ImageKey, built: &Built) {
        self.young.bytes += built.weight();
        for digest in built.digests() {
            let holders = self.young.holders.entry(*digest).or_default();
            if !holders.contains(&key) {
                holders.push(key);
            }
        }
        if self.young.bytes > GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(name: &str) -> Arc<Built> {
        let spec = mockreg_synth::name::tagged(name, 1).expect("a name of ours");
        Arc::new(Built::new(name.into(), spec, &mockreg_synth::Tables::shared()))
    }

    #[test]
    fn what_is_used_stays_and_the_rest_is_forgotten() {
        let recent = Recent::default();
        let key = |number| ImageKey { repository: 1, number };
        let (used, filler) = (built("synth/600"), built("synth/601"));
        let fill = |number| {
            recent.slot(key(number)).set(Arc::clone(&filler)).expect("a new slot is empty");
            recent.list(key(number), &filler);
        };
        recent.slot(key(0)).set(Arc::clone(&used)).unwrap();
        recent.list(key(0), &used);
        let per_generation = (GENERATION / filler.weight()) as u32 + 1;
        for number in 1..3 * per_generation {
            fill(number);
            if number % 100 == 0 {
                assert!(recent.slot(key(0)).get().is_some(), "{number}");
            }
        }
        let digest = used.root().digest;
        assert_eq!(recent.holder(1, &digest), Some(key(0)));
        assert_eq!(recent.holder(2, &digest), None, "another repository has it not");
        assert!(recent.slot(key(1)).get().is_none(), "forgotten");
        let images = recent.read().young.images.len() + recent.read().old.images.len();
        assert!(images as u32 <= 2 * per_generation + 2, "{images}");
    }
}
