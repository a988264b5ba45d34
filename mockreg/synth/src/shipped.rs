//! The checkpoints that come with the program, so that digests of large layers are ready at once. They stand in one
//! file, which is read where it lies: nothing is parsed at the start. Each follows from the one before by hashing
//! what lies between, so that any piece can be checked alone, and all of them can be derived anew.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Mutex;

use mockreg_proto::seed::Seed;

use crate::checkpoint::{Chain, Hashes, Point, index_at, lock, offset_of, step};
use crate::read::Source;
use crate::spec::Form;
use crate::stream::{Layout, STREAMS, Stream};
use crate::tables::in_parallel;

/// A stream in a form, whose hashes make one chain of checkpoints. Displays as `s3 gzip`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChainId {
    stream: Stream,
    form: Form,
}

/// What lies between two checkpoints that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Piece {
    chain: ChainId,
    /// Number of the checkpoint at its beginning.
    index: usize,
}

/// The file: [`MAGIC`], the number of points of each chain, the points of one chain after the other. The first point
/// of a chain, that of no bytes, is left out.
static FILE: &[u8] = include_bytes!("../tables/checkpoints-v1.bin");

/// What the file begins with; the version is that of the layers' format.
const MAGIC: &[u8; 16] = b"stormyard tables";

const FORMS: [Form; 3] = [Form::Tar, Form::Gzip, Form::Zstd];

const CHAINS: usize = STREAMS as usize * FORMS.len();

/// Place of a chain among all; `None` for streams that only one layer takes.
pub(crate) fn chain_index(stream: Stream, form: Form) -> Option<usize> {
    Some(FORMS.len() * usize::from(stream.number()?) + form as usize)
}

/// All chains as far as they are shipped, by [`chain_index`].
pub(crate) fn chains() -> Vec<Chain> {
    let parts = parts(FILE).expect("the file is a part of the program, and tests read it");
    ChainId::all().zip(parts).map(|(id, points)| Chain::new(id.stream, id.form, points)).collect()
}

/// All chains, with nothing known of them.
pub(crate) fn bare_chains() -> Vec<Chain> {
    ChainId::all().map(|id| Chain::new(id.stream, id.form, &[])).collect()
}

/// The points of each chain in a file; `None` for bytes that are no such file.
fn parts(file: &[u8]) -> Option<Vec<&[u8]>> {
    let (counts, mut points) = file.strip_prefix(MAGIC)?.split_at_checked(4 * CHAINS)?;
    let mut parts = Vec::with_capacity(CHAINS);
    for (id, count) in ChainId::all().zip(counts.as_chunks::<4>().0) {
        let length = u32::from_le_bytes(*count) as usize * Point::length(id.form);
        let (part, rest) = points.split_at_checked(length)?;
        parts.push(part);
        points = rest;
    }
    points.is_empty().then_some(parts)
}

/// The file that holds these chains: the points of each as [`ChainId::derive`] gives them, in the order of
/// [`ChainId::all`].
fn file(chains: &[Vec<u8>]) -> Vec<u8> {
    let mut file = MAGIC.to_vec();
    for (id, points) in ChainId::all().zip(chains) {
        let count = (points.len() / Point::length(id.form)) as u32;
        file.extend_from_slice(&count.to_le_bytes());
    }
    file.extend(chains.iter().flatten());
    file
}

/// Derives the file from nothing, for layers of at most `to` bytes, on all processors. `progress` is told the bytes
/// hashed since it was told before; [`ChainId::work`] says how many there are.
pub fn derive(to: u64, progress: impl Fn(u64) + Sync) -> Vec<u8> {
    let mut longest_first: Vec<ChainId> = ChainId::all().collect();
    longest_first.sort_by_key(|chain| Reverse(chain.work(to)));
    let derived = Mutex::new(BTreeMap::new());
    in_parallel(longest_first, |chain| {
        let points = chain.derive(to, &progress);
        lock(&derived).insert(chain, points);
    });
    let derived = lock(&derived);
    let chains: Vec<Vec<u8>> = ChainId::all().map(|chain| derived[&chain].clone()).collect();
    file(&chains)
}

/// Checks pieces on all processors, and gives those that are wrong. `progress` is as for [`derive()`].
pub fn check(pieces: Vec<Piece>, progress: impl Fn(u64) + Sync) -> Vec<Piece> {
    let wrong = Mutex::new(Vec::new());
    in_parallel(pieces, |piece| {
        if !piece.is_right() {
            lock(&wrong).push(piece);
        }
        progress(piece.len());
    });
    let mut wrong = lock(&wrong).clone();
    wrong.sort_unstable();
    wrong
}

/// `count` pieces drawn by a seed, each as likely as any other, so that most are of the first few gigabytes.
pub fn sample(count: usize, seed: u64) -> Vec<Piece> {
    let mut drawn: Vec<(u64, Piece)> =
        Piece::all().map(|piece| (Seed::root(seed).child([piece.to_string()]).draw(), piece)).collect();
    drawn.sort_unstable();
    drawn.into_iter().take(count).map(|(_, piece)| piece).collect()
}

impl ChainId {
    /// All chains, in the order they have in the file.
    pub fn all() -> impl Iterator<Item = Self> {
        Stream::common().flat_map(|stream| FORMS.map(|form| Self { stream, form }))
    }

    /// The pieces that take the chain to the last checkpoint that layers of at most `to` bytes need. A tar goes as
    /// far as the tars inside compressed layers of that size do.
    fn pieces_to(self, to: u64) -> Range<usize> {
        let content = self.stream.content();
        let inside = |form| {
            let entries = Layout::of(form, content).entry_at(to) + 1;
            Layout::of(Form::Tar, content).start(entries)
        };
        let reach = match self.form {
            Form::Tar => FORMS.into_iter().map(inside).max().unwrap_or(to),
            Form::Gzip | Form::Zstd => to,
        };
        0..index_at(reach)
    }

    /// Bytes that deriving the chain for layers of at most `to` bytes hashes.
    pub fn work(self, to: u64) -> u64 {
        offset_of(self.pieces_to(to).end)
    }

    /// Derives the chain from nothing, for layers of at most `to` bytes. `progress` is told the bytes hashed since
    /// it was told before. Takes half a second a gigabyte.
    fn derive(self, to: u64, progress: impl Fn(u64)) -> Vec<u8> {
        let source = Source::endless(self.stream, self.form);
        let mut point = Hashes::new(self.form).point();
        let mut points = Vec::new();
        for index in self.pieces_to(to) {
            point = step(&source, index, point.hashes(self.form, offset_of(index)));
            point.write(self.form, &mut points);
            progress(offset_of(index + 1) - offset_of(index));
        }
        points
    }

    fn points(self) -> &'static [u8] {
        let index = chain_index(self.stream, self.form).expect("only common streams have chains");
        parts(FILE).expect("the file is a part of the program, and tests read it")[index]
    }

    /// The byte to which the chain is shipped.
    pub fn reach(self) -> u64 {
        offset_of(self.points().len() / Point::length(self.form))
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.stream, self.form)
    }
}

impl Piece {
    /// All pieces that are shipped.
    pub fn all() -> impl Iterator<Item = Self> {
        ChainId::all().flat_map(|chain| {
            let count = chain.points().len() / Point::length(chain.form);
            (0..count).map(move |index| Self { chain, index })
        })
    }

    /// The chain it is a piece of.
    pub fn chain(self) -> ChainId {
        self.chain
    }

    /// The bytes of the stream that it covers.
    pub fn bytes(self) -> Range<u64> {
        offset_of(self.index)..offset_of(self.index + 1)
    }

    /// How many bytes that is.
    #[expect(clippy::len_without_is_empty, reason = "no piece is empty")]
    pub fn len(self) -> u64 {
        let Range { start, end } = self.bytes();
        end - start
    }

    /// Whether the checkpoint at its end is what comes of the checkpoint at its beginning and the bytes between.
    pub fn is_right(self) -> bool {
        self.follows(self.chain.points())
    }

    fn follows(self, points: &[u8]) -> bool {
        let form = self.chain.form;
        let point = |number: usize| points.chunks_exact(Point::length(form)).nth(number);
        let before = match self.index.checked_sub(1) {
            None => Hashes::new(form),
            Some(number) => match point(number) {
                Some(bytes) => Point::read(form, bytes).hashes(form, offset_of(self.index)),
                None => return false,
            },
        };
        let source = Source::endless(self.chain.stream, form);
        point(self.index).is_some_and(|bytes| Point::read(form, bytes) == step(&source, self.index, before))
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Range { start, end } = self.bytes();
        write!(f, "{} bytes {start} to {end}", self.chain)
    }
}

#[cfg(test)]
mod tests {
    use mockreg_proto::seed::below;

    use super::*;

    /// Layers up to this size are served without hashing more than a sixty-fourth of them.
    const SHIPPED: u64 = 16 << 30;

    #[test]
    fn chains_are_shipped_as_far_as_the_largest_common_layers_go() {
        assert_eq!(ChainId::all().count(), CHAINS);
        for (place, chain) in ChainId::all().enumerate() {
            assert_eq!(chain_index(chain.stream, chain.form), Some(place));
            assert!(chain.reach() >= SHIPPED, "{chain} {}", chain.reach());
            assert!(chain.reach() >= chain.work(SHIPPED), "{chain} {}", chain.reach());
        }
        // zstd packs a little better than gzip, so its tars are longer.
        let tar = ChainId::all().next().unwrap();
        assert!(tar.work(SHIPPED) > 41 << 30, "{}", tar.work(SHIPPED));
        assert!(FILE.len() < 1 << 20, "{}", FILE.len());
    }

    /// A sample of each chain: its first and last piece, and one drawn by a seed that changes with the variable
    /// below. All of them: `mockreg tables check --all`.
    #[test]
    fn a_sample_of_the_shipped_pieces_is_right() {
        let seed = option_env!("TABLES_SEED").and_then(|seed| seed.parse().ok()).unwrap_or(1);
        let mut sample = Vec::new();
        for chain in ChainId::all() {
            let pieces: Vec<Piece> = Piece::all().filter(|piece| piece.chain == chain).collect();
            let drawn = Seed::root(seed).child([chain.to_string()]).draw();
            // Of the first half: those are small, and the last one stands for the large ones.
            let drawn = below(drawn, pieces.len() as u64 / 2) as usize;
            sample.extend([pieces[0], pieces[drawn], pieces[pieces.len() - 1]]);
        }
        assert_eq!(check(sample, |_| ()), [], "seed {seed}");
    }

    #[test]
    fn derived_chains_are_the_shipped_ones() {
        let mut hashed = 0;
        for chain in ChainId::all().step_by(5) {
            let told = std::cell::Cell::new(0);
            let points = chain.derive(3 << 20, |bytes| told.set(told.get() + bytes));
            assert!(!points.is_empty());
            assert!(chain.points().starts_with(&points), "{chain}");
            assert_eq!(told.get(), chain.work(3 << 20));
            hashed += told.get();
        }
        assert!(hashed >= 24 << 20);
    }

    #[test]
    fn one_wrong_bit_is_found() {
        let chain = ChainId::all().nth(4).unwrap();
        let right = chain.derive(3 << 20, |_| ());
        let piece = |index| Piece { chain, index };
        assert!((0..3).all(|index| piece(index).follows(&right)));
        let mut wrong = right.clone();
        wrong[40] ^= 1;
        let found: Vec<bool> = (0..3).map(|index| piece(index).follows(&wrong)).collect();
        assert_eq!(found, [true, false, false], "the piece that ends there, and the one that begins there");
        assert!(!piece(3).follows(&right), "a piece that is not there");
    }

    #[test]
    fn a_file_is_read_as_it_was_written_or_not_at_all() {
        let chains: Vec<Vec<u8>> =
            ChainId::all().enumerate().map(|(n, id)| vec![n as u8; n * Point::length(id.form)]).collect();
        let file = file(&chains);
        assert_eq!(parts(&file).unwrap(), chains);
        for wrong in [&file[..file.len() - 1], &file[1..], &file[..50], &[]] {
            assert!(parts(wrong).is_none());
        }
        assert!(parts(&[&file[..], &[0]].concat()).is_none());
    }
}
