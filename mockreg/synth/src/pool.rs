//! The pool: 16 MiB of random letters, and the same letters packed as the codes of deflate and of zstd. Every
//! compressible byte a layer has is a slice of one of these three images, which is why layers cost no memory. Built
//! once, when first asked for, in about a tenth of a second; the image for zstd apart from the others, since most
//! processes never need it.

use std::sync::OnceLock;

use bytes::Bytes;

use crate::keystream::{Keystream, Label};
use crate::spec::LayerId;

/// Letters in the pool. A stream's files repeat after this many, so it is well above the 32 KiB window of
/// deflate and the 128 KiB window the zstd form declares.
pub(crate) const LETTERS: u64 = 16 << 20;

/// How a run of letters is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    /// One byte a letter, `a` to `g`.
    Letters,
    /// Three bits a letter: its Huffman code, as deflate packs them.
    Deflate,
    /// Three bits a letter, the last letter first: zstd reads Huffman streams from their end.
    Zstd,
}

/// The images that tar and gzip take.
pub(crate) struct Pool {
    letters: Bytes,
    deflate: Bytes,
}

/// Distinct letters. With the end-of-block code they make a complete code of three bits each.
const ALPHABET: u8 = 7;

/// Keystream bytes from here on are dropped: 252 is the largest multiple of 7 in a byte, so the rest is fair.
const DROPPED_FROM: u8 = 252;

/// Zstd gives codes of one length in the order of the symbols and writes them low bit first.
const ZSTD_CODES: [u32; ALPHABET as usize] = [0, 1, 2, 3, 4, 5, 6];

/// Deflate writes Huffman codes top bit first into bytes that fill from the low bit: codes 0 to 6, reversed.
const DEFLATE_CODES: [u32; ALPHABET as usize] = [0, 4, 2, 6, 1, 5, 3];

impl Image {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Letters, Self::Deflate, Self::Zstd];

    /// Its bytes: 16 MiB of letters, 6 MiB packed. The first call makes them.
    pub fn bytes(self) -> &'static Bytes {
        match self {
            Self::Letters => &pool().letters,
            Self::Deflate => &pool().deflate,
            Self::Zstd => zstd(),
        }
    }

    /// Its bytes, if something has made them.
    fn made(self) -> Option<&'static Bytes> {
        match self {
            Self::Letters => POOL.get().map(|pool| &pool.letters),
            Self::Deflate => POOL.get().map(|pool| &pool.deflate),
            Self::Zstd => ZSTD.get(),
        }
    }
}

/// Which image `bytes` are a slice of, and the byte of it at which they begin; `None` for bytes that stand anywhere
/// else in memory, though they be equal. A server that has an image in a file too can then send from there.
pub fn find(bytes: &[u8]) -> Option<(Image, u64)> {
    Image::ALL.into_iter().find_map(|image| {
        let made = image.made()?;
        let at = bytes.as_ptr().addr().checked_sub(made.as_ptr().addr())?;
        (at + bytes.len() <= made.len()).then_some((image, at as u64))
    })
}

static POOL: OnceLock<Pool> = OnceLock::new();
static ZSTD: OnceLock<Bytes> = OnceLock::new();

/// The one pool of the process.
pub(crate) fn pool() -> &'static Pool {
    POOL.get_or_init(|| {
        let symbols = symbols();
        let deflate = pack(&symbols, &DEFLATE_CODES);
        let letters = symbols.into_iter().map(|symbol| b'a' + symbol).collect::<Vec<_>>();
        // Leaked on purpose: static slices are shared without counting references, and the pool never goes.
        Pool { letters: Bytes::from_static(letters.leak()), deflate: Bytes::from_static(deflate.leak()) }
    })
}

/// The image that zstd takes.
fn zstd() -> &'static Bytes {
    ZSTD.get_or_init(|| {
        let reversed: Vec<u8> = pool().letters.iter().rev().map(|letter| letter - b'a').collect();
        Bytes::from_static(pack(&reversed, &ZSTD_CODES).leak())
    })
}

impl Pool {
    /// The first bytes of a run of `len` bytes of an image from byte `at` on, which counts past the end: all of
    /// it, or what lies before the end.
    pub(crate) fn slice(&self, image: Image, at: u64, len: u64) -> Bytes {
        let image = match image {
            Image::Letters => &self.letters,
            Image::Deflate => &self.deflate,
            Image::Zstd => zstd(),
        };
        let at = (at % image.len() as u64) as usize;
        let len = usize::try_from(len).unwrap_or(usize::MAX).min(image.len() - at);
        image.slice(at..at + len)
    }
}

/// A place in the pool that an id draws, at whole 32 letters: where the tail of its layer begins, and the files of a
/// layer that has a stream to itself.
pub(crate) fn place_of(id: LayerId) -> u64 {
    const STEP: u64 = 32;
    let number = id.as_bytes()[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    number % (LETTERS / STEP) * STEP
}

/// The letters as numbers 0 to 6.
fn symbols() -> Vec<u8> {
    // Read in pieces that stay in the cache, so that building takes no memory beside the result.
    const PIECE: usize = 64 << 10;
    let mut keystream = Keystream::new(Label::Pool);
    let mut piece = vec![0; PIECE];
    let mut symbols = Vec::with_capacity(LETTERS as usize + PIECE);
    let mut offset = 0;
    while symbols.len() < LETTERS as usize {
        keystream.fill(offset, &mut piece);
        offset += PIECE as u64;
        symbols.extend(piece.iter().filter(|byte| **byte < DROPPED_FROM).map(|byte| byte % ALPHABET));
    }
    symbols.truncate(LETTERS as usize);
    symbols
}

/// Eight letters in three bytes.
fn pack(symbols: &[u8], codes: &[u32; ALPHABET as usize]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(symbols.len() / 8 * 3);
    for eight in symbols.as_chunks::<8>().0 {
        let code = |(place, symbol): (usize, &u8)| codes[usize::from(*symbol)] << (3 * place);
        let bits: u32 = eight.iter().enumerate().map(code).sum();
        packed.extend_from_slice(&bits.to_le_bytes()[..3]);
    }
    packed
}

#[cfg(test)]
mod tests {
    use mockreg_proto::digest::Digest;

    use super::*;

    #[test]
    fn images_are_those_of_the_format() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../../fixtures/vectors/layers-v1.json")).unwrap();
        for (name, image) in [("tar", Image::Letters), ("deflate", Image::Deflate), ("zstd", Image::Zstd)] {
            let digest = Digest::of(&pool().slice(image, 0, u64::MAX)).hex();
            assert_eq!(digest, vectors["pool_sha256"][name], "{name}");
        }
    }

    #[test]
    fn a_run_ends_at_the_end_of_the_image_and_goes_on_at_its_start() {
        let end = LETTERS * 3 / 8;
        assert_eq!(pool().slice(Image::Deflate, end - 3, 100).len(), 3);
        assert_eq!(pool().slice(Image::Deflate, end + 5, 100), pool().slice(Image::Deflate, 5, 100));
        assert_eq!(pool().slice(Image::Letters, LETTERS - 1, 100).len(), 1);
    }

    #[test]
    fn slices_of_an_image_are_found_and_their_copies_are_not() {
        for image in Image::ALL {
            let whole = image.bytes();
            assert_eq!(find(whole), Some((image, 0)));
            let slice = &whole[whole.len() - 5..];
            assert_eq!(find(slice), Some((image, whole.len() as u64 - 5)));
            let copy = Bytes::copy_from_slice(slice);
            assert_eq!(find(&copy), None);
        }
    }
}
