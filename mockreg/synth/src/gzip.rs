//! The gzip encoding (RFC 1952 around RFC 1951): one member, in which letters are one dynamic block each, cut
//! from the pool at byte borders, and everything else lies in stored blocks. No compressor runs, so the bytes
//! never change with a library, and any entry can be encoded without what stands before it.

use crate::entry::{Entry, Last, Segment};
use crate::pool::Image;
use crate::spec::Content;
use crate::tar;

/// Header of the member: deflate, no name, no time, no flags, operating system unknown.
pub(crate) const MEMBER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// Bytes of the member's trailer: CRC-32 and length of what is packed.
pub(crate) const TRAILER: u64 = 8;

/// Bytes of an encoded directory: a stored header.
pub(crate) const DIRECTORY: u64 = STORED + tar::BLOCK;

/// What must remain after an entry of the stream for the tail: stored header, a stored block of at least 4,096
/// bytes of keystream, the end of the archive, the trailer.
pub(crate) const LEAST_TAIL: u64 = DIRECTORY + STORED + NOISE_LEAST + ZEROS as u64 + TRAILER;

/// Head of a stored block: type, length, complement of the length.
const STORED: u64 = 5;

/// Most bytes of a stored block.
const STORED_MOST: u64 = 65_535;

/// Head of a dynamic block, exactly 120 bits: seven letters `a` to `g` and the end of the block, three bits
/// each; no distance codes.
const DYNAMIC: [u8; 15] = [0x04, 0xc1, 0x01, 0x09, 0, 0, 0, 0x02, 0x20, 0xae, 0x56, 0x55, 0xff, 0x1f, 0xa4];

/// End of a dynamic block (three bits), then the type of a stored block.
const END_AND_STORED: u8 = 0x07;

/// Bytes of the block that ends every archive.
const ZEROS: usize = 13;

/// Least noise of a tail that has letters. Letters come in eights (three bytes), so up to two bytes more make
/// the size exact.
const NOISE_LEAST: u64 = 4096;

/// Bytes of an encoded file of a stream.
pub(crate) const fn file_length(body: u64, content: Content) -> u64 {
    let padded = body.next_multiple_of(tar::BLOCK);
    DIRECTORY
        + match content {
            Content::Letters => DYNAMIC.len() as u64 + body / 8 * 3 + STORED + (padded - body),
            Content::Incompressible => STORED * padded.div_ceil(STORED_MOST) + padded,
        }
}

/// Letters, noise and stored blocks of a tail that is `left` bytes with header, end and trailer.
pub(crate) fn tail(left: u64, content: Content) -> (u64, u64, u64) {
    let room = left - DIRECTORY - ZEROS as u64 - TRAILER;
    let around_letters = DYNAMIC.len() as u64 + STORED;
    match content {
        Content::Letters if room >= around_letters + NOISE_LEAST + 3 => {
            let noise = NOISE_LEAST + (room - around_letters - NOISE_LEAST) % 3;
            ((room - around_letters - noise) / 3 * 8, noise, 1)
        }
        Content::Letters => (0, room - STORED, 1),
        Content::Incompressible => {
            let blocks = room.div_ceil(STORED_MOST + STORED).max(1);
            (0, room - STORED * blocks, blocks)
        }
    }
}

/// The entry as gzip has it, without the member's header.
pub(crate) fn segments(entry: &Entry, out: &mut Vec<Segment>) {
    out.push(stored(tar::BLOCK));
    out.push(Segment::Header(entry.header));
    match &entry.last {
        None => stream_body(entry, out),
        Some(last) => tail_body(entry, last, out),
    }
}

fn stream_body(entry: &Entry, out: &mut Vec<Segment>) {
    let body = &entry.body;
    if body.letters > 0 {
        letters(entry, entry.zeros(), out);
        out.push(Segment::Zeros(entry.zeros()));
    } else if body.noise > 0 {
        // The body and its padding lie in the same blocks.
        let padded = body.len() + entry.zeros();
        for from in (0..padded).step_by(STORED_MOST as usize) {
            let len = STORED_MOST.min(padded - from);
            let noise = len.min(body.noise.saturating_sub(from));
            out.push(stored(len));
            out.push(body.noise_segment(from, noise));
            out.push(Segment::Zeros(len - noise));
        }
    }
}

fn tail_body(entry: &Entry, last: &Last, out: &mut Vec<Segment>) {
    let body = &entry.body;
    if body.letters > 0 {
        letters(entry, body.noise, out);
        out.push(body.noise_segment(0, body.noise));
    } else {
        for block in 0..last.blocks {
            let from = block * STORED_MOST;
            let len = STORED_MOST.min(body.noise.saturating_sub(from));
            out.push(stored(len));
            out.push(body.noise_segment(from, len));
        }
    }
    out.push(Segment::inline(&zeros(entry.zeros())));
    out.push(Segment::Trailer(last.spec));
}

/// The letters as a dynamic block, and the head of the stored block of `then` bytes that follows.
fn letters(entry: &Entry, then: u64, out: &mut Vec<Segment>) {
    let (at, letters) = (entry.body.letters_at, entry.body.letters);
    out.push(Segment::inline(&DYNAMIC));
    out.push(Segment::Pool { image: Image::Deflate, at: at / 8 * 3, len: letters / 8 * 3 });
    out.push(stored_after(END_AND_STORED, then));
}

fn stored(len: u64) -> Segment {
    stored_after(0, len)
}

fn stored_after(first: u8, len: u64) -> Segment {
    let len = u16::try_from(len).expect("callers cut blocks to what a stored block holds");
    let [low, high] = len.to_le_bytes();
    Segment::inline(&[first, low, high, !low, !high])
}

/// The final block for `count` zero bytes, 1,024 to 1,535: fixed Huffman codes, always thirteen bytes. Some zero
/// literals, one match of a length that makes the bits fit, as many matches of 258 as fit, one of the remainder,
/// all at distance 1. Of the combinations that fill thirteen bytes, the fewest literals and then the shortest
/// first match.
fn zeros(count: u64) -> [u8; ZEROS] {
    (1..=8)
        .flat_map(|literals| (3..=LONGEST).map(move |first| (literals, first)))
        .find_map(|(literals, first)| block_of_zeros(count, literals, first))
        .expect("all 512 counts have a solution, which a test goes through")
}

fn block_of_zeros(count: u64, literals: u64, first: u64) -> Option<[u8; ZEROS]> {
    let rest = count.checked_sub(literals + first)?;
    let (whole, remainder) = (rest / LONGEST, rest % LONGEST);
    if matches!(remainder, 1 | 2) {
        return None;
    }
    let mut bits = Bits::default();
    bits.push(1, 1); // the last block
    bits.push(1, 2); // fixed codes
    (0..literals).for_each(|_| bits.code(0x30, 8));
    bits.repeat(first);
    (0..whole).for_each(|_| bits.repeat(LONGEST));
    if remainder > 0 {
        bits.repeat(remainder);
    }
    bits.code(0, 7); // the end of the block
    bits.bytes()
}

/// The longest match of deflate.
const LONGEST: u64 = 258;

/// RFC 1951, section 3.2.5: shortest match of length codes 257 to 284. From the ninth on, every fourth code has
/// one more extra bit.
const SHORTEST: [u64; 28] = [
    3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195,
    227,
];

/// Bits in the order deflate writes them, low bit first. Bits past the 128th are counted, not kept.
#[derive(Default)]
struct Bits {
    value: u128,
    width: u32,
}

impl Bits {
    fn push(&mut self, value: u64, width: u32) {
        self.value |= u128::from(value).checked_shl(self.width).unwrap_or(0);
        self.width += width;
    }

    /// A Huffman code: its top bit comes first.
    fn code(&mut self, code: u64, width: u32) {
        self.push(code.reverse_bits() >> (64 - width), width);
    }

    /// A match of `length` at distance 1.
    fn repeat(&mut self, length: u64) {
        if length == LONGEST {
            self.code(0xc0 + 5, 8);
        } else {
            let index = SHORTEST.partition_point(|shortest| *shortest <= length) - 1;
            // RFC 1951, section 3.2.6: codes 256 to 279 have seven bits from 0, 280 to 287 eight from 0xc0.
            if index < 23 {
                self.code(index as u64 + 1, 7);
            } else {
                self.code(0xc0 + index as u64 - 23, 8);
            }
            self.push(length - SHORTEST[index], (index as u32 / 4).saturating_sub(1));
        }
        self.code(0, 5);
    }

    /// The bits as bytes, if they fill exactly thirteen.
    fn bytes(&self) -> Option<[u8; ZEROS]> {
        let fills = self.width.div_ceil(8) as usize == ZEROS;
        fills.then(|| self.value.to_le_bytes()[..ZEROS].try_into().expect("a slice of that length"))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use mockreg_proto::digest::hex;

    use super::*;

    #[test]
    fn zeros_are_those_of_the_format() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../../fixtures/vectors/layers-v1.json")).unwrap();
        let wanted = vectors["zeros_13"].as_object().unwrap();
        assert!(!wanted.is_empty());
        for (count, bytes) in wanted {
            assert_eq!(hex(&zeros(count.parse().unwrap())), *bytes, "{count}");
        }
    }

    #[test]
    fn every_count_of_zeros_has_a_block_that_inflates_to_it() {
        for count in 1024..=1535 {
            let mut inflated = Vec::new();
            flate2::read::DeflateDecoder::new(&zeros(count)[..]).read_to_end(&mut inflated).unwrap();
            assert_eq!(inflated, vec![0; count as usize]);
        }
    }

    /// Room for a tail may come in any size; at the edges of a stored block one more byte of room is an empty
    /// block, not a byte of noise.
    #[test]
    fn stored_tails_fill_any_room() {
        for room in (5..200).chain(65_500..65_600).chain(131_000..131_200) {
            let left = room + DIRECTORY + ZEROS as u64 + TRAILER;
            let (letters, noise, blocks) = tail(left, Content::Incompressible);
            assert_eq!(letters, 0);
            assert_eq!(noise + STORED * blocks, room);
            assert!(noise <= blocks * STORED_MOST, "{room}");
        }
    }
}
