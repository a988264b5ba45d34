//! Digests without hashing whole layers. Layers of one stream begin alike, so a digest takes up the last checkpoint
//! before the layer's tail and hashes what follows. Layers with a stream to themselves cost a pass over all of their
//! bytes, once. Where checkpoints come from is in `checkpoint` and `shipped`.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZero;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

use mockreg_proto::digest::Digest;

use crate::checkpoint::{Chain, Hashes, SPACING, index_at, lock};
use crate::layer::Layer;
use crate::read::Source;
use crate::remembered::Remembered;
use crate::sha256::Hasher;
use crate::spec::{Form, LayerSpec};
use crate::stream::Stream;
use crate::{gzip, records, shipped};

/// Digests of layers. Share one by [`Arc`]; all methods take as long as hashing takes, so async callers call them
/// from a blocking thread.
pub struct Tables {
    /// One chain for each common stream and form, by [`shipped::chain_index`].
    chains: Vec<Chain>,
    /// Layers asked for before.
    known: Mutex<Remembered<LayerSpec, Known>>,
    /// Where what takes long to compute is kept between runs.
    archive: OnceLock<Arc<dyn Archive>>,
    /// Who is told of bytes that have been hashed.
    watcher: OnceLock<Watcher>,
    /// Held while a file of the archive is read, changed and written.
    keeping: Mutex<()>,
}

/// Hears how many bytes have been hashed since it was told before.
type Watcher = Box<dyn Fn(u64) + Send + Sync>;

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
    /// Digest of the blob: SHA-256.
    pub digest: Digest,
    /// Digest of the tar inside; the same for an uncompressed layer.
    pub diff_id: Digest,
    /// Bytes of the tar inside.
    pub tar_size: u64,
    /// CRC-32 of the tar inside, with which a gzip layer ends.
    pub tar_crc32: u32,
}

/// The same in half the room: there may be many.
#[derive(Clone, Copy, Debug)]
struct Known {
    digest: [u8; 32],
    diff_id: [u8; 32],
    tar_size: u64,
    tar_crc32: u32,
}

/// The last so many layers whose digests were asked for are remembered, and up to as many before them; the others are
/// computed again when asked for. About 130 bytes each.
const KNOWN: usize = 1 << 15;

/// Smaller layers are hashed in less time than it takes to start a thread, bytes.
const WORTH_A_THREAD: u64 = 256 << 10;

/// Tars from this size on take longer to hash than to look up in an archive.
const WORTH_KEEPING: u64 = 4 << 20;

/// Digests of unique layers are kept in 256 files by the first byte of the id, each at most this long: a hundred
/// thousand layers have room, and no file is slow to write anew.
const MOST_KEPT: usize = 4096;

impl Default for Tables {
    fn default() -> Self {
        Self::new()
    }
}

impl Tables {
    /// Tables that know what is shipped with the program.
    pub fn new() -> Self {
        Self::with(shipped::chains())
    }

    /// Tables that know nothing, and hash from the first byte on. For measuring, and for checking the others.
    pub fn bare() -> Self {
        Self::with(shipped::bare_chains())
    }

    fn with(chains: Vec<Chain>) -> Self {
        let known = Mutex::new(Remembered::new(KNOWN));
        Self { chains, known, archive: OnceLock::new(), watcher: OnceLock::new(), keeping: Mutex::default() }
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

    /// Tells `watcher` how many bytes have been hashed since it was told before, often and from several threads. The
    /// first one is told; later ones are ignored.
    pub fn watch(&self, watcher: impl Fn(u64) + Send + Sync + 'static) {
        let _ = self.watcher.set(Box::new(watcher));
    }

    fn told(&self, bytes: u64) {
        if let Some(watcher) = self.watcher.get() {
            watcher(bytes);
        }
    }

    /// Bytes that [`Tables::digests`] would hash now, blob and tar together.
    pub fn work(&self, spec: LayerSpec) -> u64 {
        let archive = self.archive();
        if lock(&self.known).has(&spec)
            || archive.is_some_and(|archive| worth_keeping(&spec) && kept(archive, &spec).is_some())
        {
            return 0;
        }
        let layer = Layer::new(spec);
        let of = |form: Form, len: u64| {
            let leading = layer.leading(form);
            let known =
                self.chain(layer.stream(), form).map_or(0, |chain| leading - chain.work(leading, archive));
            len - known
        };
        let blob = if spec.form() == Form::Tar { 0 } else { of(spec.form(), layer.size()) };
        of(Form::Tar, layer.tar_size()) + blob
    }

    /// The digests of a layer.
    pub fn digests(&self, spec: LayerSpec) -> LayerDigests {
        self.known(spec, Beside::Yes).into()
    }

    /// Takes over digests that were computed before, perhaps by another process: `digests` must be those that
    /// [`Tables::digests`] gave for `spec`. Afterwards they are a look-up.
    pub fn remember(&self, spec: LayerSpec, digests: &LayerDigests) {
        if let Some(known) = Known::of(digests) {
            self.insert(spec, known);
        }
    }

    /// Learns all that the digests of these layers take, on all processors: chains are sequential in themselves,
    /// but stand beside each other. Afterwards [`Tables::digests`] of them is a look-up.
    pub fn prepare(&self, specs: &[LayerSpec]) {
        let mut unknown: Vec<LayerSpec> = {
            let known = lock(&self.known);
            specs.iter().filter(|spec| !known.has(spec)).copied().take(KNOWN).collect()
        };
        // The longest way first, so that no processor is left with it at the end.
        unknown.sort_unstable_by_key(|spec| Reverse((spec.is_unique(), spec.size(), *spec)));
        unknown.dedup();
        self.grow_for(&unknown);
        let beside = if unknown.len() == 1 { Beside::Yes } else { Beside::No };
        in_parallel(unknown, |spec| {
            self.known(spec, beside);
        });
    }

    /// Learns the streams that a layer takes, as far as it takes them, and nothing of the layer itself: most of
    /// the work for [`Tables::digests`] of a layer like it.
    pub fn foresee(&self, spec: LayerSpec) {
        self.grow_for(&[spec]);
    }

    /// The last eight bytes of a gzip layer (RFC 1952, section 2.3): CRC-32 and length of the tar.
    pub(crate) fn trailer(&self, spec: LayerSpec) -> [u8; 8] {
        let known = self.known(spec, Beside::Yes);
        trailer(known.tar_crc32, known.tar_size)
    }

    /// SHA-256 of the first `len` bytes of a stream or layer.
    pub(crate) fn prefix(&self, source: &Source, len: u64) -> Hasher {
        self.hash(source, len).sha256
    }

    fn hash(&self, source: &Source, len: u64) -> Hashes {
        let mut hashes = match self.chain(source.stream, source.form) {
            Some(chain) => {
                chain.hashes_before(len.min(source.leading()), self.archive(), &|bytes| self.told(bytes))
            }
            None => Hashes::new(source.form),
        };
        let from = hashes.sha256.length();
        source.read(from, len - from).for_each(|piece| {
            hashes.update(&piece);
            self.told(piece.len() as u64);
        });
        hashes
    }

    /// The chain of a common stream.
    fn chain(&self, stream: Stream, form: Form) -> Option<&Chain> {
        Some(&self.chains[shipped::chain_index(stream, form)?])
    }

    fn archive(&self) -> Option<&dyn Archive> {
        self.archive.get().map(|archive| &**archive)
    }

    fn known(&self, spec: LayerSpec, beside: Beside) -> Known {
        if let Some(known) = lock(&self.known).get(&spec) {
            return known;
        }
        let beside = if spec.size() < WORTH_A_THREAD { Beside::No } else { beside };
        let archive = self.archive().filter(|_| worth_keeping(&spec));
        let kept = archive.and_then(|archive| kept(archive, &spec)).as_ref().and_then(Known::of);
        let known = kept.unwrap_or_else(|| self.find(spec, beside));
        self.insert(spec, known);
        if let Some(archive) = archive
            && kept.is_none()
        {
            let _one_at_a_time = lock(&self.keeping);
            keep(archive, spec, known.into());
        }
        known
    }

    fn insert(&self, spec: LayerSpec, known: Known) {
        lock(&self.known).insert(spec, known);
    }

    /// Hashes what no checkpoint covers, blob and tar one after the other or beside each other.
    fn find(&self, spec: LayerSpec, beside: Beside) -> Known {
        let layer = Layer::new(spec);
        let (form, tar_size) = (spec.form(), layer.tar_size());
        let tar = || self.hash(&layer.source(Form::Tar), tar_size);
        // The checksum at the end of gzip is of the tar, so it comes later.
        let ends = if form == Form::Gzip { gzip::TRAILER } else { 0 };
        let blob = || self.prefix(&layer.source(form), layer.size() - ends);
        let (tar, blob) = match (form, beside) {
            (Form::Tar, _) => (tar(), None),
            (_, Beside::No) => (tar(), Some(blob())),
            (_, Beside::Yes) => thread::scope(|scope| {
                let blob = scope.spawn(blob);
                (tar(), Some(blob.join().expect("hashing does not panic")))
            }),
        };
        let tar_crc32 = tar.crc();
        let diff_id = bytes_of(tar.sha256);
        let digest = blob.map_or(diff_id, |mut blob| {
            blob.update(&trailer(tar_crc32, tar_size)[..ends as usize]);
            bytes_of(blob)
        });
        Known { digest, diff_id, tar_size, tar_crc32 }
    }

    /// Makes every chain as long as the layers need, the longest way first.
    fn grow_for(&self, specs: &[LayerSpec]) {
        let mut needed: BTreeMap<usize, u64> = BTreeMap::new();
        for layer in specs.iter().map(|spec| Layer::new(*spec)) {
            for form in [Form::Tar, layer.spec().form()] {
                let Some(chain) = shipped::chain_index(layer.stream(), form) else { continue };
                let reach = needed.entry(chain).or_default();
                *reach = layer.leading(form).max(*reach);
            }
        }
        let mut ways: Vec<(&Chain, u64)> = needed
            .into_iter()
            .map(|(chain, reach)| (&self.chains[chain], reach))
            .filter(|(chain, reach)| chain.reach() + SPACING <= *reach)
            .collect();
        ways.sort_by_key(|(chain, reach)| Reverse(reach.saturating_sub(chain.reach())));
        in_parallel(ways, |(chain, reach)| {
            chain.grow(index_at(reach), self.archive(), &|bytes| self.told(bytes));
        });
    }
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tables").field("archive", &self.archive).finish_non_exhaustive()
    }
}

/// Whether blob and tar are hashed in two threads: not where other layers keep the processors busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beside {
    Yes,
    No,
}

impl Known {
    fn of(digests: &LayerDigests) -> Option<Self> {
        let bytes = |digest: &Digest| digest.as_bytes().try_into().ok();
        let (digest, diff_id) = (bytes(&digests.digest)?, bytes(&digests.diff_id)?);
        Some(Self { digest, diff_id, tar_size: digests.tar_size, tar_crc32: digests.tar_crc32 })
    }
}

impl From<Known> for LayerDigests {
    fn from(known: Known) -> Self {
        Self {
            digest: Digest::from_bytes(known.digest),
            diff_id: Digest::from_bytes(known.diff_id),
            tar_size: known.tar_size,
            tar_crc32: known.tar_crc32,
        }
    }
}

fn bytes_of(hasher: Hasher) -> [u8; 32] {
    hasher.finalize().as_bytes().try_into().expect("a SHA-256 has 32 bytes")
}

fn trailer(crc: u32, tar_size: u64) -> [u8; 8] {
    // The length is counted modulo 2^32.
    let (crc, length) = (crc.to_le_bytes(), (tar_size as u32).to_le_bytes());
    [crc[0], crc[1], crc[2], crc[3], length[0], length[1], length[2], length[3]]
}

fn worth_keeping(spec: &LayerSpec) -> bool {
    spec.is_unique() && Layer::new(*spec).tar_size() >= WORTH_KEEPING
}

/// What an archive calls the digests of unique layers like this one.
fn shelf(spec: &LayerSpec) -> String {
    format!("unique-{:02x}", spec.id().as_bytes()[0])
}

fn kept(archive: &dyn Archive, spec: &LayerSpec) -> Option<LayerDigests> {
    let records = records::decode(&archive.load(&shelf(spec))?)?;
    records.into_iter().find(|(other, _)| other == spec).map(|(_, digests)| digests)
}

fn keep(archive: &dyn Archive, spec: LayerSpec, digests: LayerDigests) {
    let shelf = shelf(&spec);
    let mut records = archive.load(&shelf).and_then(|bytes| records::decode(&bytes)).unwrap_or_default();
    // Another process may have kept it meanwhile.
    records.retain(|(other, _)| *other != spec);
    let surplus = (records.len() + 1).saturating_sub(MOST_KEPT);
    records.drain(..surplus);
    records.push((spec, digests));
    archive.store(&shelf, &records::encode(&records));
}

/// Does the jobs in their order, on as many threads as there are processors.
pub(crate) fn in_parallel<T: Send>(jobs: Vec<T>, work: impl Fn(T) + Sync) {
    // Counting the processors reads the files of control groups: far longer than most single jobs, or none, take.
    if jobs.len() < 2 {
        return jobs.into_iter().for_each(work);
    }
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
