//! Digests without hashing whole layers. Layers of one stream begin alike, so the states of SHA-256 (and, for
//! tars, CRC-32) along a stream are kept at checkpoints; a digest takes up the last one before the layer's tail.
//! Checkpoints lie a mebibyte apart and from 128 MiB on a sixty-fourth of their octave: any digest hashes at most
//! that and the tail. Tables grow when asked for more; how they come to be known is nobody else's business.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZero;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::thread;

use mockreg_proto::digest::Digest;

use crate::gzip;
use crate::layer::Layer;
use crate::read::Source;
use crate::sha256::{Hasher, State};
use crate::spec::{Encoding, LayerSpec};
use crate::stream::{STREAMS, Stream};

/// Digests of layers. Share one by [`Arc`]; all methods take as long as hashing takes, so async callers call them
/// from a blocking thread.
#[derive(Debug)]
pub struct Tables {
    /// One chain for each stream and encoding, by [`chain_index`].
    chains: Vec<Chain>,
    /// Layers asked for before.
    known: Mutex<BTreeMap<LayerSpec, Known>>,
    /// Where what takes long to compute is kept between runs.
    archive: OnceLock<Arc<dyn Archive>>,
}

/// A place that outlives the process, for bytes by name. It may forget anything and fail in silence: what is kept
/// can be computed again. Names consist of letters, digits and `-`.
pub trait Archive: fmt::Debug + Send + Sync {
    /// The bytes last stored under `name`, whole and unchanged, or none.
    fn load(&self, name: &str) -> Option<Vec<u8>>;
    /// Keeps `bytes` under `name`, in place of what was there.
    fn store(&self, name: &str, bytes: &[u8]);
}

/// The digests of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerDigests {
    /// Digest of the blob.
    pub digest: Digest,
    /// Digest of the tar inside; the same for an uncompressed layer.
    pub diff_id: Digest,
    /// Bytes of the tar inside.
    pub tar_size: u64,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    digests: LayerDigests,
    crc: u32,
}

/// The checkpoints of one stream in one encoding.
#[derive(Debug)]
struct Chain {
    source: Source,
    /// Point n lies at byte [`offset_of`] n. Never empty, grows at its end only.
    points: RwLock<Vec<Point>>,
    /// Held by the one thread that makes the chain longer, while others read what there is.
    growing: Mutex<()>,
}

#[derive(Clone, Copy, Debug)]
struct Point {
    state: State,
    /// Of a tar chain; gzip needs that of its tar only.
    crc: u32,
}

/// SHA-256 and, where it is wanted, CRC-32 of the same bytes.
struct Hashes {
    sha256: Hasher,
    crc: Option<crc32fast::Hasher>,
}

/// Least distance of checkpoints. A power of two, so that later distances are multiples of it.
const SPACING: u64 = 1 << 20;

/// Checkpoints of an octave, once a share of it is more than [`SPACING`].
const PER_OCTAVE: u64 = 64;

/// Layers whose digests are remembered; beyond, the first in order are forgotten and computed again when asked
/// for. About 160 bytes each.
const KNOWN: usize = 1 << 16;

/// What a lock's holder leaves is whole at any moment, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Distance from the checkpoint at `offset` to the next.
fn spacing(offset: u64) -> u64 {
    let octave = 1 << offset.max(1).ilog2();
    (octave / PER_OCTAVE).max(SPACING)
}

/// Number of the last checkpoint at or before `offset`.
fn index_at(offset: u64) -> usize {
    let spacing = spacing(offset);
    // Every doubling of the distance skips as many points as lie in the octaves below it.
    let doublings = u64::from((spacing / SPACING).ilog2());
    (doublings * PER_OCTAVE + offset / spacing) as usize
}

/// Byte at which checkpoint `index` lies.
fn offset_of(index: usize) -> u64 {
    let index = index as u64;
    // Up to twice PER_OCTAVE the distance is SPACING; from there on it doubles every PER_OCTAVE points.
    let doublings = (index / PER_OCTAVE).saturating_sub(1);
    (index - doublings * PER_OCTAVE) * (SPACING << doublings)
}

fn chain_index(stream: Stream, encoding: Encoding) -> usize {
    2 * usize::from(stream.number()) + usize::from(encoding == Encoding::Gzip)
}

impl Default for Tables {
    fn default() -> Self {
        Self::new()
    }
}

impl Tables {
    /// Tables that know nothing yet.
    pub fn new() -> Self {
        let chain = |stream, encoding| Chain {
            source: Source::endless(stream, encoding),
            points: RwLock::new(vec![Hashes::new(encoding).point()]),
            growing: Mutex::new(()),
        };
        let chains = (0..STREAMS)
            .filter_map(Stream::numbered)
            .flat_map(|stream| [chain(stream, Encoding::Tar), chain(stream, Encoding::Gzip)])
            .collect();
        Self { chains, known: Mutex::default(), archive: OnceLock::new() }
    }

    /// The tables of the process, from which layers take their checksums. What is hashed for one registry in a
    /// process is known to all.
    pub fn shared() -> Arc<Self> {
        static SHARED: OnceLock<Arc<Tables>> = OnceLock::new();
        SHARED.get_or_init(Arc::default).clone()
    }

    /// Keeps there what takes long to compute, and looks there first. The first archive counts; later ones are
    /// ignored, for what is known already is known.
    pub fn keep_in(&self, archive: Arc<dyn Archive>) {
        let _ = self.archive.set(archive);
    }

    /// The digests of a layer.
    pub fn digests(&self, spec: LayerSpec) -> LayerDigests {
        self.known(spec).digests
    }

    /// Learns all that the digests of these layers take, on all processors: chains are sequential in themselves,
    /// but stand beside each other. Afterwards [`Tables::digests`] of them is a look-up.
    pub fn prepare(&self, specs: &[LayerSpec]) {
        let unknown: Vec<LayerSpec> = {
            let known = lock(&self.known);
            specs.iter().filter(|spec| !known.contains_key(spec)).copied().take(KNOWN).collect()
        };
        self.grow_for(&unknown);
        in_parallel(unknown, |spec| {
            self.known(spec);
        });
    }

    /// Learns the streams that a layer takes, as far as it takes them, and nothing of the layer itself: most of
    /// the work for [`Tables::digests`] of a layer like it.
    pub fn foresee(&self, spec: LayerSpec) {
        self.grow_for(&[spec]);
    }

    /// The last eight bytes of a gzip layer (RFC 1952, section 2.3): CRC-32 and length of the tar.
    pub(crate) fn trailer(&self, spec: LayerSpec) -> [u8; 8] {
        let known = self.known(spec);
        trailer(known.crc, known.digests.tar_size)
    }

    /// SHA-256 of the first `len` bytes of a stream or layer.
    pub(crate) fn prefix(&self, source: &Source, len: u64) -> Hasher {
        self.hash(source, len).sha256
    }

    fn hash(&self, source: &Source, len: u64) -> Hashes {
        let chain = self.chain(source.stream, source.encoding);
        let point = chain.grow(len.min(source.leading()));
        let from = offset_of(point);
        let mut hashes = chain.hashes_at(point);
        source.read(from, len - from).for_each(|piece| hashes.update(&piece));
        hashes
    }

    fn chain(&self, stream: Stream, encoding: Encoding) -> &Chain {
        &self.chains[chain_index(stream, encoding)]
    }

    fn known(&self, spec: LayerSpec) -> Known {
        if let Some(known) = lock(&self.known).get(&spec) {
            return *known;
        }
        let known = self.find(spec);
        let mut all = lock(&self.known);
        while all.len() >= KNOWN {
            all.pop_first();
        }
        all.insert(spec, known);
        known
    }

    /// Hashes what no checkpoint covers, blob and tar beside each other.
    fn find(&self, spec: LayerSpec) -> Known {
        let layer = Layer::new(spec);
        let tar_size = layer.tar_size();
        let tar = || self.hash(&layer.source(Encoding::Tar), tar_size);
        let (tar, blob) = match spec.encoding() {
            Encoding::Tar => (tar(), None),
            Encoding::Gzip => thread::scope(|scope| {
                let blob =
                    scope.spawn(|| self.prefix(&layer.source(Encoding::Gzip), layer.size() - gzip::TRAILER));
                (tar(), Some(blob.join().expect("hashing does not panic")))
            }),
        };
        let crc = tar.crc();
        let diff_id = tar.sha256.finalize();
        let digest = blob.map_or(diff_id, |mut blob| {
            blob.update(&trailer(crc, tar_size));
            blob.finalize()
        });
        Known { digests: LayerDigests { digest, diff_id, tar_size }, crc }
    }

    /// Makes every chain as long as the layers need, the longest way first.
    fn grow_for(&self, specs: &[LayerSpec]) {
        let mut needed: BTreeMap<usize, u64> = BTreeMap::new();
        for layer in specs.iter().map(|spec| Layer::new(*spec)) {
            for encoding in [Encoding::Tar, layer.spec().encoding()] {
                let reach = needed.entry(chain_index(layer.stream(), encoding)).or_default();
                *reach = layer.leading(encoding).max(*reach);
            }
        }
        let mut ways: Vec<(&Chain, u64)> = needed
            .into_iter()
            .map(|(chain, reach)| (&self.chains[chain], reach))
            .filter(|(chain, reach)| chain.reach() + SPACING <= *reach)
            .collect();
        ways.sort_by_key(|(chain, reach)| Reverse(reach.saturating_sub(chain.reach())));
        in_parallel(ways, |(chain, reach)| {
            chain.grow(reach);
        });
    }
}

impl Chain {
    /// The last checkpoint there is.
    fn last(&self) -> usize {
        self.points.read().unwrap_or_else(PoisonError::into_inner).len() - 1
    }

    /// The byte up to which the chain is known.
    fn reach(&self) -> u64 {
        offset_of(self.last())
    }

    /// Makes the chain reach the last checkpoint at or before `offset`, and gives that checkpoint.
    fn grow(&self, offset: u64) -> usize {
        let wanted = index_at(offset);
        if self.last() >= wanted {
            return wanted;
        }
        let _one_at_a_time = lock(&self.growing);
        for index in self.last()..wanted {
            let (from, to) = (offset_of(index), offset_of(index + 1));
            let mut hashes = self.hashes_at(index);
            self.source.read(from, to - from).for_each(|piece| hashes.update(&piece));
            self.points.write().unwrap_or_else(PoisonError::into_inner).push(hashes.point());
        }
        wanted
    }

    /// The hashes of everything before a checkpoint.
    fn hashes_at(&self, index: usize) -> Hashes {
        let point = self.points.read().unwrap_or_else(PoisonError::into_inner)[index];
        let length = offset_of(index);
        let crc = || crc32fast::Hasher::new_with_initial_len(point.crc, length);
        Hashes {
            sha256: Hasher::resume(point.state, length),
            crc: (self.source.encoding == Encoding::Tar).then(crc),
        }
    }
}

impl Hashes {
    fn new(encoding: Encoding) -> Self {
        Self { sha256: Hasher::new(), crc: (encoding == Encoding::Tar).then(crc32fast::Hasher::new) }
    }

    fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        if let Some(crc) = &mut self.crc {
            crc.update(bytes);
        }
    }

    fn crc(&self) -> u32 {
        self.crc.clone().map_or(0, crc32fast::Hasher::finalize)
    }

    fn point(&self) -> Point {
        let state = self.sha256.state().expect("checkpoints lie at multiples of the hash's block");
        Point { state, crc: self.crc() }
    }
}

fn trailer(crc: u32, tar_size: u64) -> [u8; 8] {
    // The length is counted modulo 2^32.
    let (crc, length) = (crc.to_le_bytes(), (tar_size as u32).to_le_bytes());
    [crc[0], crc[1], crc[2], crc[3], length[0], length[1], length[2], length[3]]
}

/// Does the jobs in their order, on as many threads as there are processors.
fn in_parallel<T: Send>(jobs: Vec<T>, work: impl Fn(T) + Sync) {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(jobs.len());
    let jobs = Mutex::new(jobs.into_iter());
    let next = || lock(&jobs).next();
    let run = || {
        while let Some(job) = next() {
            work(job);
        }
    };
    thread::scope(|scope| {
        (1..threads).for_each(|_| {
            scope.spawn(run);
        });
        run();
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Content, Form, LayerId};

    #[test]
    fn checkpoints_lie_where_the_format_says() {
        assert_eq!(offset_of(0), 0);
        let mut at = 0;
        for index in 0..800 {
            assert_eq!(offset_of(index), at, "{index}");
            assert_eq!(index_at(at), index);
            let next = at + (1u64 << 20).max((1 << at.max(1).ilog2()) / 64);
            assert_eq!(index_at(next - 1), index);
            at = next;
        }
        assert!(at > 176 << 30, "as far as the tar of the largest layer");
    }

    #[test]
    fn foreseeing_makes_the_chains_that_digests_take() {
        let tables = Tables::new();
        let id = LayerId::derive(1, "a", "", "", 0);
        let spec = LayerSpec::try_new(Form::Gzip, Content::Letters, 8 << 20, id).unwrap();
        tables.foresee(spec);
        let reach = |encoding| tables.chain(Stream::of(Content::Letters, id), encoding).reach();
        let before = [Encoding::Tar, Encoding::Gzip].map(reach);
        assert!(before[1] > 6 << 20 && before[0] > 16 << 20, "{before:?}");
        tables.digests(spec);
        assert_eq!([Encoding::Tar, Encoding::Gzip].map(reach), before);
    }

    #[test]
    fn a_chain_gives_the_hash_of_the_stream() {
        let tables = Tables::new();
        let stream = Stream::numbered(3).unwrap();
        for encoding in [Encoding::Tar, Encoding::Gzip] {
            let source = Source::endless(stream, encoding);
            for len in [0, 1, 10, SPACING - 1, SPACING, 3 * SPACING + 77, 2 * SPACING] {
                let mut whole = Hasher::new();
                source.read(0, len).for_each(|piece| whole.update(&piece));
                let prefix = tables.prefix(&source, len);
                assert_eq!(prefix.length(), len);
                assert_eq!(prefix.finalize(), whole.finalize(), "{encoding:?} {len}");
            }
        }
    }

    /// Many threads ask for layers of the same streams at once; each gets what it would have got alone.
    #[test]
    fn growing_from_many_threads_gives_one_truth() {
        let spec = |n: u32| {
            let id = LayerId::derive(1, "team/app", "", "", n);
            LayerSpec::try_new(Form::Gzip, Content::Letters, 1_000_000 + 700_000 * u64::from(n), id).unwrap()
        };
        let alone: Vec<_> = (0..12).map(|n| Tables::new().digests(spec(n))).collect();
        let tables = Tables::new();
        tables.prepare(&[spec(3), spec(11), spec(3)]);
        let together = Mutex::new(BTreeMap::new());
        in_parallel((0..12).rev().collect(), |n| {
            let digests = tables.digests(spec(n));
            lock(&together).insert(n, digests);
        });
        assert_eq!(lock(&together).values().copied().collect::<Vec<_>>(), alone);
    }
}
