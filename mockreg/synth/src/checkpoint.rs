//! Checkpoints: the state of SHA-256 (and, for tars, CRC-32) after the first bytes of a stream, at places fixed for
//! all streams. They lie a mebibyte apart and from 128 MiB on a sixty-fourth of their octave, so that a hash taken up
//! at the last one before a place has that much to do at most. The first of a chain are shipped with the program
//! (`shipped`); what lies beyond is hashed when asked for and kept.

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use crate::read::Source;
use crate::sha256::{Hasher, State};
use crate::spec::Form;
use crate::stream::Stream;
use crate::tables::Archive;

/// The checkpoints of one stream in one form.
#[derive(Debug)]
pub(crate) struct Chain {
    source: Source,
    /// Points from number 1 on that came with the program.
    shipped: &'static [u8],
    /// Points after those. Grows at its end only.
    grown: RwLock<Vec<Point>>,
    /// Held by the one thread that makes the chain longer, while others read what there is. Whether the archive was
    /// asked yet.
    growing: Mutex<bool>,
}

/// The hashes of everything before a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    state: State,
    /// Of a tar; gzip needs that of its tar only.
    crc: u32,
}

/// SHA-256 and, of a tar, CRC-32 of the same bytes.
pub(crate) struct Hashes {
    pub(crate) sha256: Hasher,
    crc: Option<crc32fast::Hasher>,
}

/// Least distance of checkpoints. A power of two, so that later distances are multiples of it.
pub(crate) const SPACING: u64 = 1 << 20;

/// Checkpoints of an octave, once a share of it is more than [`SPACING`].
const PER_OCTAVE: u64 = 64;

/// What a lock's holder leaves is whole at any moment, so a panic elsewhere does not spoil it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Distance from the checkpoint at `offset` to the next.
fn spacing(offset: u64) -> u64 {
    let octave = 1 << offset.max(1).ilog2();
    (octave / PER_OCTAVE).max(SPACING)
}

/// Number of the last checkpoint at or before `offset`.
pub(crate) fn index_at(offset: u64) -> usize {
    let spacing = spacing(offset);
    // Every doubling of the distance skips as many points as lie in the octaves below it.
    let doublings = u64::from((spacing / SPACING).ilog2());
    (doublings * PER_OCTAVE + offset / spacing) as usize
}

/// Byte at which checkpoint `index` lies.
pub(crate) fn offset_of(index: usize) -> u64 {
    let index = index as u64;
    // Up to twice PER_OCTAVE the distance is SPACING; from there on it doubles every PER_OCTAVE points.
    let doublings = (index / PER_OCTAVE).saturating_sub(1);
    (index - doublings * PER_OCTAVE) * (SPACING << doublings)
}

impl Chain {
    /// A chain that knows what `shipped` says, which is whole points of its form.
    pub(crate) fn new(stream: Stream, form: Form, shipped: &'static [u8]) -> Self {
        let source = Source::endless(stream, form);
        Self { source, shipped, grown: RwLock::default(), growing: Mutex::new(false) }
    }

    /// Number of the last checkpoint there is.
    fn last(&self) -> usize {
        self.shipped_points() + self.grown.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn shipped_points(&self) -> usize {
        self.shipped.len() / Point::length(self.source.form)
    }

    /// The byte up to which the chain is known.
    pub(crate) fn reach(&self) -> u64 {
        offset_of(self.last())
    }

    /// Makes the chain reach the last checkpoint at or before `offset`, and gives the hashes of everything before
    /// that.
    pub(crate) fn hashes_before(
        &self,
        offset: u64,
        archive: Option<&dyn Archive>,
        told: &dyn Fn(u64),
    ) -> Hashes {
        let index = index_at(offset);
        self.grow(index, archive, told);
        self.hashes_at(index)
    }

    /// Bytes to hash before the hashes of everything before `offset` are known.
    pub(crate) fn work(&self, offset: u64, archive: Option<&dyn Archive>) -> u64 {
        let index = index_at(offset);
        if self.last() < index {
            self.ask(&mut lock(&self.growing), archive);
        }
        offset - offset_of(self.last().min(index))
    }

    /// Takes over what the archive knows, once. `asked` is what `growing` guards.
    fn ask(&self, asked: &mut bool, archive: Option<&dyn Archive>) {
        if let Some(archive) = archive
            && !*asked
        {
            *asked = true;
            self.adopt(&archive.load(&self.name()).unwrap_or_default());
        }
    }

    /// Makes the chain reach checkpoint `wanted`. `told` hears of the bytes hashed for it, piece by piece.
    pub(crate) fn grow(&self, wanted: usize, archive: Option<&dyn Archive>, told: &dyn Fn(u64)) {
        if self.last() >= wanted {
            return;
        }
        let mut asked = lock(&self.growing);
        self.ask(&mut asked, archive);
        let before = self.last();
        for index in before..wanted {
            let point = step(&self.source, index, self.hashes_at(index));
            self.grown.write().unwrap_or_else(PoisonError::into_inner).push(point);
            told(offset_of(index + 1) - offset_of(index));
        }
        if let Some(archive) = archive
            && before < wanted
        {
            archive.store(&self.name(), &self.kept());
        }
    }

    /// What the archive calls the chain.
    fn name(&self) -> String {
        format!("chain-{}-{}", self.source.stream, self.source.form)
    }

    /// What the archive gets: the number of the first point that was not shipped, and the points.
    fn kept(&self) -> Vec<u8> {
        let mut bytes = (self.shipped_points() as u64 + 1).to_le_bytes().to_vec();
        let points = self.grown.read().unwrap_or_else(PoisonError::into_inner);
        points.iter().for_each(|point| point.write(self.source.form, &mut bytes));
        bytes
    }

    /// Takes over what an archive kept, perhaps for a program that shipped more or less than this one.
    fn adopt(&self, kept: &[u8]) {
        let Some((first, points)) = kept.split_first_chunk() else { return };
        let next = self.last() as u64 + 1;
        let Some(known) = next.checked_sub(u64::from_le_bytes(*first)) else { return };
        let new = points.chunks_exact(Point::length(self.source.form)).skip(known as usize);
        let new = new.map(|bytes| Point::read(self.source.form, bytes));
        self.grown.write().unwrap_or_else(PoisonError::into_inner).extend(new);
    }

    /// The hashes of everything before a checkpoint that is known.
    pub(crate) fn hashes_at(&self, index: usize) -> Hashes {
        let form = self.source.form;
        let Some(number) = index.checked_sub(1) else { return Hashes::new(form) };
        let point = match self.shipped.chunks_exact(Point::length(form)).nth(number) {
            Some(bytes) => Point::read(form, bytes),
            None => {
                let grown = self.grown.read().unwrap_or_else(PoisonError::into_inner);
                grown[number - self.shipped_points()]
            }
        };
        point.hashes(form, offset_of(index))
    }
}

/// The checkpoint after `index`, from the hashes of everything before that.
pub(crate) fn step(source: &Source, index: usize, mut hashes: Hashes) -> Point {
    let (from, to) = (offset_of(index), offset_of(index + 1));
    source.read(from, to - from).for_each(|piece| hashes.update(&piece));
    hashes.point()
}

impl Point {
    /// Bytes of a point in tables and archives.
    pub(crate) const fn length(form: Form) -> usize {
        match form {
            Form::Tar => 36,
            Form::Gzip | Form::Zstd => 32,
        }
    }

    /// Reads a point of [`Point::length`] bytes: words in little-endian order, the CRC of a tar last.
    pub(crate) fn read(form: Form, bytes: &[u8]) -> Self {
        let mut words = bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word));
        let state = std::array::from_fn(|_| words.next().unwrap_or_default());
        Self { state, crc: if form == Form::Tar { words.next().unwrap_or_default() } else { 0 } }
    }

    /// Appends the point as [`Point::read`] reads it.
    pub(crate) fn write(&self, form: Form, out: &mut Vec<u8>) {
        let crc = Some(self.crc).filter(|_| form == Form::Tar);
        out.extend(self.state.into_iter().chain(crc).flat_map(u32::to_le_bytes));
    }

    /// The hashes after `length` bytes.
    pub(crate) fn hashes(&self, form: Form, length: u64) -> Hashes {
        let crc = || crc32fast::Hasher::new_with_initial_len(self.crc, length);
        Hashes { sha256: Hasher::resume(self.state, length), crc: (form == Form::Tar).then(crc) }
    }
}

impl Hashes {
    /// The hashes of nothing.
    pub(crate) fn new(form: Form) -> Self {
        Self { sha256: Hasher::new(), crc: (form == Form::Tar).then(crc32fast::Hasher::new) }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        if let Some(crc) = &mut self.crc {
            crc.update(bytes);
        }
    }

    /// The CRC-32 of a tar; 0 where it is not computed.
    pub(crate) fn crc(&self) -> u32 {
        self.crc.clone().map_or(0, crc32fast::Hasher::finalize)
    }

    pub(crate) fn point(&self) -> Point {
        let state = self.sha256.state().expect("checkpoints lie at multiples of the hash's block");
        Point { state, crc: self.crc() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Debug, Default)]
    struct Memory(Mutex<BTreeMap<String, Vec<u8>>>);

    impl Archive for Memory {
        fn load(&self, name: &str) -> Option<Vec<u8>> {
            lock(&self.0).get(name).cloned()
        }

        fn store(&self, name: &str, bytes: &[u8]) {
            lock(&self.0).insert(name.to_owned(), bytes.to_vec());
        }
    }

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
    fn points_read_back_as_they_were_written() {
        for form in [Form::Tar, Form::Gzip, Form::Zstd] {
            let crc = if form == Form::Tar { 77 } else { 0 };
            let point = Point { state: [1, 2, 3, 4, 5, 6, 7, u32::MAX], crc };
            let mut bytes = Vec::new();
            point.write(form, &mut bytes);
            assert_eq!(bytes.len(), Point::length(form));
            assert_eq!(Point::read(form, &bytes), point);
        }
    }

    /// What one process has grown, the next takes from the archive, whatever part of it was shipped with that.
    #[test]
    fn a_chain_goes_on_where_the_archive_leaves_it() {
        let archive = Memory::default();
        let chain = |shipped| Chain::new(Stream::Common(5), Form::Tar, shipped);
        let first = chain(&[]);
        first.grow(3, Some(&archive), &|_| ());
        let wanted: Vec<Point> = (0..4).map(|index| first.hashes_at(index).point()).collect();
        let kept = lock(&archive.0)["chain-s5-tar"].clone();
        assert_eq!(kept.len(), 8 + 3 * 36);

        for shipped in [0, 1, 2, 3] {
            let shipped: &'static [u8] = kept[8..8 + 36 * shipped].to_vec().leak();
            let next = chain(shipped);
            next.adopt(&kept);
            assert_eq!(next.last(), 3);
            let points: Vec<Point> = (0..4).map(|index| next.hashes_at(index).point()).collect();
            assert_eq!(points, wanted);
        }
        // Points that do not follow on, or are no points, are of no use.
        let gap = [&9u64.to_le_bytes()[..], &kept[8..]].concat();
        for useless in [&gap[..], &[], &kept[..7], &kept[..20]] {
            let next = chain(&[]);
            next.adopt(useless);
            assert_eq!(next.last(), 0);
        }
        let next = chain(&[]);
        next.grow(4, Some(&archive), &|_| ());
        assert_eq!(next.hashes_at(3).point(), wanted[3]);
        assert_eq!(lock(&archive.0)["chain-s5-tar"].len(), 8 + 4 * 36, "and what is new is kept");
    }
}
