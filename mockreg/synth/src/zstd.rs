//! The zstd form (RFC 8878): one frame of a 128 KiB window, without a content size or a checksum, so that it can be
//! begun without knowing its end. Letters are compressed blocks of Huffman literals cut from the pool at byte
//! borders, headers are raw blocks, and zeros are one byte with a count. No compressor runs, and no block refers to
//! an earlier one.

use crate::entry::{Entry, Last, Segment};
use crate::pool::{self, Image};
use crate::spec::Content;
use crate::tar;

/// Magic number, no content size, no checksum, no dictionary, a window of 2^17 bytes (RFC 8878, section 3.1.1.1).
pub(crate) const FRAME: [u8; 6] = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38];

/// Bytes of an encoded directory: a raw header.
pub(crate) const DIRECTORY: u64 = BLOCK_HEADER + tar::BLOCK;

/// What must remain after an entry of the stream for the tail: raw header, a raw block of at least 4,096 bytes of
/// keystream, the end of the archive as a repeated byte.
pub(crate) const LEAST_TAIL: u64 = DIRECTORY + BLOCK_HEADER + NOISE_LEAST + REPEATED;

/// Bytes before the letters of a compressed block: headers of the block and of its literals, the Huffman tree, the
/// lengths of three of the four streams.
pub(crate) const LETTERS_HEAD: usize = 3 + LITERALS_HEADER + TREE.len() + JUMP_TABLE;

/// Head of a block: whether it is the last, its type, its size (RFC 8878, section 3.1.1.2).
const BLOCK_HEADER: u64 = 3;
const RAW: u32 = 0;
const REPEATED_BYTE: u32 = 1;
const COMPRESSED: u32 = 2;

/// Bytes of a block that repeats a byte.
const REPEATED: u64 = BLOCK_HEADER + 1;

/// Most bytes that a block stands for: the window, and the most the format allows.
const BLOCK_MOST: u64 = 128 << 10;

/// Literals header with sizes of 18 bits each, and the type that brings a tree along (section 3.1.1.3.1.1).
const LITERALS_HEADER: usize = 5;
const WITH_TREE: u64 = 2;
const FOUR_STREAMS_18_BITS: u64 = 3;

/// The Huffman tree by weights of four bits (section 4.2.1.1): none for the 97 symbols below `a`, one each for `a`
/// to `g`. The weight of `h` is what is missing to a power of two, so `h` is the eighth leaf, which never occurs.
const TREE: [u8; 53] = {
    let mut tree = [0; 53];
    tree[0] = 127 + 104;
    tree[49] = 0x01;
    tree[50] = 0x11;
    tree[51] = 0x11;
    tree[52] = 0x11;
    tree
};

/// Two bytes for the length of each stream but the last (section 3.1.1.3.1.6).
const JUMP_TABLE: usize = 6;

/// Four streams, so that decoders decode them beside each other, as they do of real data.
const STREAMS: u64 = 4;

/// What ends a stream: a one bit in a byte of its own, since letters fill whole bytes.
const STREAM_END: u8 = 1;

/// No sequences: all of the block is literals.
const NO_SEQUENCES: u8 = 0;

/// Bytes of a compressed block beside its letters.
const AROUND_LETTERS: u64 = LETTERS_HEAD as u64 + STREAMS + 1;

/// Least noise of a tail that has letters. Letters come in runs of 32 (twelve bytes, three a stream), so up to
/// eleven bytes more, and 72 where one more block would not be filled, make the size exact.
const NOISE_LEAST: u64 = 4096;

/// Letters come in runs of this many: whole bytes in each of four streams.
const RUN: u64 = 32;

/// Bytes of a run.
const RUN_BYTES: u64 = RUN / 8 * 3;

/// Bytes of as many letters in as many blocks as it takes.
const fn letters_length(letters: u64) -> u64 {
    letters.div_ceil(BLOCK_MOST) * AROUND_LETTERS + letters / 8 * 3
}

/// Bytes of an encoded file of a stream.
pub(crate) const fn file_length(body: u64, content: Content) -> u64 {
    let padding = tar::padding(body);
    DIRECTORY
        + match content {
            Content::Letters if padding > 0 => letters_length(body) + REPEATED,
            Content::Letters => letters_length(body),
            Content::Incompressible => {
                let padded = body + padding;
                BLOCK_HEADER * padded.div_ceil(BLOCK_MOST) + padded
            }
        }
}

/// Letters, noise and raw blocks of a tail that is `left` bytes with header and end.
pub(crate) fn tail(left: u64, content: Content) -> (u64, u64, u64) {
    let room = left - DIRECTORY - REPEATED;
    match content {
        Content::Letters => {
            let letters = (room - BLOCK_HEADER).checked_sub(NOISE_LEAST).map_or(0, most_letters);
            (letters, room - BLOCK_HEADER - letters_length(letters), 1)
        }
        Content::Incompressible => {
            let blocks = room.div_ceil(BLOCK_MOST + BLOCK_HEADER).max(1);
            (0, room - BLOCK_HEADER * blocks, blocks)
        }
    }
}

/// The most letters, in runs, that take at most `room` bytes.
fn most_letters(room: u64) -> u64 {
    const FULL: u64 = letters_length(BLOCK_MOST);
    room / FULL * BLOCK_MOST + (room % FULL).saturating_sub(AROUND_LETTERS) / RUN_BYTES * RUN
}

/// The entry as zstd has it, without the frame's header.
pub(crate) fn segments(entry: &Entry, out: &mut Vec<Segment>) {
    out.push(block(RAW, tar::BLOCK));
    out.push(Segment::Header(entry.header));
    match &entry.last {
        None => stream_body(entry, out),
        Some(last) => tail_body(entry, last, out),
    }
}

fn stream_body(entry: &Entry, out: &mut Vec<Segment>) {
    let body = &entry.body;
    if body.letters > 0 {
        letters(body.letters_at, body.letters, out);
        if entry.zeros() > 0 {
            out.push(repeated_zeros(entry.zeros(), false));
        }
    } else {
        // The body and its padding lie in the same blocks.
        let padded = body.len() + entry.zeros();
        for from in (0..padded).step_by(BLOCK_MOST as usize) {
            let len = BLOCK_MOST.min(padded - from);
            let noise = len.min(body.noise.saturating_sub(from));
            out.push(block(RAW, len));
            out.push(body.noise_segment(from, noise));
            out.push(Segment::Zeros(len - noise));
        }
    }
}

fn tail_body(entry: &Entry, last: &Last, out: &mut Vec<Segment>) {
    let body = &entry.body;
    letters(body.letters_at, body.letters, out);
    for number in 0..last.blocks {
        let from = number * BLOCK_MOST;
        let len = BLOCK_MOST.min(body.noise.saturating_sub(from));
        out.push(block(RAW, len));
        out.push(body.noise_segment(from, len));
    }
    out.push(repeated_zeros(entry.zeros(), true));
}

/// Letters as compressed blocks: 72 bytes a block beside three bits a letter.
fn letters(at: u64, letters: u64, out: &mut Vec<Segment>) {
    // Growing step by step would take longer than all the rest of a random read.
    out.reserve((letters.div_ceil(BLOCK_MOST) * (1 + 2 * STREAMS)) as usize + 3);
    for from in (0..letters).step_by(BLOCK_MOST as usize) {
        let len = BLOCK_MOST.min(letters - from);
        let quarter = len / STREAMS;
        out.push(Segment::LettersHead(len));
        for stream in 0..STREAMS {
            out.push(reversed(at + from + stream * quarter, quarter));
            let last = stream == STREAMS - 1;
            out.push(Segment::inline(if last { &[STREAM_END, NO_SEQUENCES] } else { &[STREAM_END] }));
        }
    }
}

/// The run of `len` letters from `at` on, last letter first. The image begins with the pool's last letter, so a run
/// lies in it as far from the end as its own end lies from the pool's beginning.
fn reversed(at: u64, len: u64) -> Segment {
    let end = (at + len) % pool::LETTERS;
    Segment::Pool { image: Image::Zstd, at: (pool::LETTERS - end) / 8 * 3, len: len / 8 * 3 }
}

/// What stands before the four streams of a block of `letters`.
pub(crate) fn letters_head(letters: u64) -> [u8; LETTERS_HEAD] {
    let stream = letters / STREAMS / 8 * 3 + 1;
    let compressed = (TREE.len() + JUMP_TABLE) as u64 + STREAMS * stream;
    let literals = WITH_TREE | FOUR_STREAMS_18_BITS << 2 | letters << 4 | compressed << 22;
    let mut head = [0; LETTERS_HEAD];
    head[..3].copy_from_slice(&block_header(COMPRESSED, LITERALS_HEADER as u64 + compressed + 1, false));
    head[3..8].copy_from_slice(&literals.to_le_bytes()[..LITERALS_HEADER]);
    head[8..61].copy_from_slice(&TREE);
    let jump =
        u16::try_from(stream).expect("a quarter of a block's letters take 12 KiB at most").to_le_bytes();
    head[61..].copy_from_slice(&[jump, jump, jump].concat());
    head
}

fn repeated_zeros(count: u64, last: bool) -> Segment {
    let [a, b, c] = block_header(REPEATED_BYTE, count, last);
    Segment::inline(&[a, b, c, 0])
}

fn block(kind: u32, size: u64) -> Segment {
    Segment::inline(&block_header(kind, size, false))
}

fn block_header(kind: u32, size: u64, last: bool) -> [u8; 3] {
    let size = u32::try_from(size).expect("callers cut blocks to 128 KiB");
    let [a, b, c, _] = (u32::from(last) | kind << 1 | size << 3).to_le_bytes();
    [a, b, c]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest number of runs that fit, found by trying all.
    #[test]
    fn as_many_letters_as_fit() {
        let mut wanted = 0;
        for room in 0..200_000 {
            while letters_length(wanted + RUN) <= room {
                wanted += RUN;
            }
            assert_eq!(most_letters(room), wanted, "{room}");
        }
    }

    #[test]
    fn tails_fill_any_room() {
        for room in (3..200).chain(4_000..4_400).chain(53_000..54_000).chain(130_900..131_200) {
            let left = room + DIRECTORY + REPEATED;
            for content in [Content::Letters, Content::Incompressible] {
                let (letters, noise, blocks) = tail(left, content);
                assert_eq!(letters_length(letters) + noise + BLOCK_HEADER * blocks, room);
                assert!(noise <= blocks * BLOCK_MOST, "{room}");
                assert!(letters == 0 || noise >= NOISE_LEAST, "{room}");
            }
        }
    }

    #[test]
    fn a_block_of_letters_is_72_bytes_and_three_bits_a_letter() {
        assert_eq!(AROUND_LETTERS, 72);
        for letters in [RUN, 4096, BLOCK_MOST] {
            let mut segments = Vec::new();
            super::letters(pool::LETTERS - 32, letters, &mut segments);
            let length: u64 = segments.iter().map(Segment::len).sum();
            assert_eq!(length, letters_length(letters));
            let head = letters_head(letters);
            let size = u64::from(head[0] >> 3) | u64::from(head[1]) << 5 | u64::from(head[2]) << 13;
            assert_eq!(size, length - BLOCK_HEADER, "the block says how long it is");
        }
    }
}
