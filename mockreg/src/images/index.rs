//! Which image of a repository holds a digest: what a client needs that asks by digest without having asked for the
//! tag in this process. Made once, by computing every digest of the repository, and kept in twelve bytes a digest.

use mockreg_proto::digest::Digest;

/// From the first eight bytes of digests to images.
#[derive(Debug)]
pub(super) struct Index {
    /// Sorted. A digest that several images hold stands once.
    starts: Box<[u64]>,
    /// The image of each, in the same order.
    numbers: Box<[u32]>,
}

/// Collects what an index is made of.
#[derive(Debug, Default)]
pub(super) struct Indexer(Vec<(u64, u32)>);

fn start(digest: &Digest) -> u64 {
    let first = digest.as_bytes().first_chunk().expect("a digest has 32 bytes at least");
    u64::from_be_bytes(*first)
}

impl Indexer {
    /// Image `number` holds these.
    pub(super) fn add<'a>(&mut self, number: u32, digests: impl Iterator<Item = &'a Digest>) {
        self.0.extend(digests.map(|digest| (start(digest), number)));
        // Shared layers come again with every tag: now and then they are thrown out, so that they take no room.
        if self.0.len() == self.0.capacity() {
            self.tidy();
        }
    }

    fn tidy(&mut self) {
        self.0.sort_unstable();
        self.0.dedup_by_key(|(start, _)| *start);
    }

    /// The index.
    pub(super) fn finish(mut self) -> Index {
        self.tidy();
        let (starts, numbers): (Vec<u64>, Vec<u32>) = self.0.into_iter().unzip();
        Index { starts: starts.into(), numbers: numbers.into() }
    }
}

impl Index {
    /// The image that may hold `digest`: no other does, but it may be another with the same beginning.
    pub(super) fn find(&self, digest: &Digest) -> Option<u32> {
        let at = self.starts.binary_search(&start(digest)).ok()?;
        Some(self.numbers[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_lead_to_the_first_image_that_holds_them() {
        let digests: Vec<Digest> = (0..5000u32).map(|n| Digest::of(&n.to_le_bytes())).collect();
        let mut indexer = Indexer::default();
        for (number, own) in digests.chunks(2).enumerate().skip(1) {
            indexer.add(number as u32, own.iter().chain(&digests[..2]));
        }
        let index = indexer.finish();
        assert_eq!(index.starts.len(), 5000);
        assert_eq!(index.find(&digests[0]), Some(1));
        assert_eq!(index.find(&digests[4999]), Some(2499));
        assert_eq!(index.find(&Digest::of(b"other")), None);
    }
}
