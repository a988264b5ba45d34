//! The pool: 16 MiB of random letters, and the same letters packed as the codes of deflate and of zstd. Every
//! compressible byte a layer has is a slice of one of these three images, which is why layers cost no memory. Each
//! is made once, when first asked for, in about a tenth of a second; most processes never need that for zstd.

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

/// Distinct letters. With the end-of-block code they make a complete code of three bits each.
const ALPHABET: u8 = 7;

/// Keystream bytes from here on are dropped: 252 is the largest multiple of 7 in a byte, so the rest is fair.
const DROPPED_FROM: u8 = 252;

/// Zstd gives codes of one length in the order of the symbols and writes them low bit first.
const ZSTD_CODES: [u32; ALPHABET as usize] = [0, 1, 2, 3, 4, 5, 6];

/// Deflate writes Huffman codes top bit first into bytes that fill from the low bit: codes 0 to 6, reversed.
const DEFLATE_CODES: [u32; ALPHABET as usize] = [0, 4, 2, 6, 1, 5, 3];

/// The images that something has made, in the order of [`Image::ALL`].
static MADE: [OnceLock<Bytes>; 3] = [const { OnceLock::new() }; 3];

impl Image {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Letters, Self::Deflate, Self::Zstd];

    /// Its bytes: 16 MiB of letters, 6 MiB packed. The first call makes them.
    pub fn bytes(self) -> &'static Bytes {
        MADE[self as usize].get_or_init(|| {
            let reversed = || Self::Letters.bytes().iter().rev().copied().collect::<Vec<_>>();
            let bytes = match self {
                Self::Letters => letters(),
                Self::Deflate => pack(Self::Letters.bytes(), &DEFLATE_CODES),
                Self::Zstd => pack(&reversed(), &ZSTD_CODES),
            };
            // Leaked on purpose: static slices are shared without counting references, and the pool never goes.
            Bytes::from_static(bytes.leak())
        })
    }

    /// The first bytes of a run of `len` of its bytes from byte `at` on, which counts past the end: all of it, or what
    /// lies before the end.
    pub(crate) fn slice(self, at: u64, len: u64) -> Bytes {
        let image = self.bytes();
        let at = (at % image.len() as u64) as usize;
        let len = usize::try_from(len).unwrap_or(usize::MAX).min(image.len() - at);
        image.slice(at..at + len)
    }
}

/// Which image `bytes` are a slice of, and the byte of it at which they begin; `None` for bytes that stand anywhere
/// else in memory, though they be equal. A server that has an image in a file too can then send from there.
pub fn find(bytes: &[u8]) -> Option<(Image, u64)> {
    Image::ALL.into_iter().find_map(|image| {
        let made = MADE[image as usize].get()?;
        let at = bytes.as_ptr().addr().checked_sub(made.as_ptr().addr())?;
        (at + bytes.len() <= made.len()).then_some((image, at as u64))
    })
}

/// A place in the pool that an id draws, at whole 32 letters: where the tail of its layer begins, and the files of a
/// layer that has a stream to itself.
pub(crate) fn place_of(id: LayerId) -> u64 {
    const STEP: u64 = 32;
    let number = id.as_bytes()[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    number % (LETTERS / STEP) * STEP
}

/// The letters, `a` to `g`.
fn letters() -> Vec<u8> {
    // Read in pieces that stay in the cache, so that building takes no memory beside the result.
    const PIECE: usize = 64 << 10;
    let mut keystream = Keystream::new(Label::Pool);
    let mut piece = vec![0; PIECE];
    let mut letters = Vec::with_capacity(LETTERS as usize + PIECE);
    let mut offset = 0;
    while letters.len() < LETTERS as usize {
        keystream.fill(offset, &mut piece);
        offset += PIECE as u64;
        let fair = piece.iter().filter(|byte| **byte < DROPPED_FROM);
        letters.extend(fair.map(|byte| b'a' + byte % ALPHABET));
    }
    letters.truncate(LETTERS as usize);
    letters
}

/// Eight letters in three bytes.
fn pack(letters: &[u8], codes: &[u32; ALPHABET as usize]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(letters.len() / 8 * 3);
    for eight in letters.as_chunks::<8>().0 {
        let code = |(place, letter): (usize, &u8)| codes[usize::from(*letter - b'a')] << (3 * place);
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
            let digest = Digest::of(&image.slice(0, u64::MAX)).hex();
            assert_eq!(digest, vectors["pool_sha256"][name], "{name}");
        }
    }

    #[test]
    fn a_run_ends_at_the_end_of_the_image_and_goes_on_at_its_start() {
        let end = LETTERS * 3 / 8;
        assert_eq!(Image::Deflate.slice(end - 3, 100).len(), 3);
        assert_eq!(Image::Deflate.slice(end + 5, 100), Image::Deflate.slice(5, 100));
        assert_eq!(Image::Letters.slice(LETTERS - 1, 100).len(), 1);
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
