//! The tar encoding: ustar headers (POSIX.1-1988) and bodies as they are. Every owner and time is zero, so the
//! bytes depend on the layer alone.

use std::io::Write as _;

use crate::entry::{Entry, Header, Segment};
use crate::pool::Image;
use crate::spec::{Content, LayerSpec};
use crate::stream::Stream;

/// A tar consists of blocks of this many bytes.
pub(crate) const BLOCK: u64 = 512;

/// Bytes of an encoded directory.
pub(crate) const DIRECTORY: u64 = BLOCK;

/// What must remain after an entry of the stream for the tail: header, keystream and end of the archive.
pub(crate) const LEAST_TAIL: u64 = BLOCK + NOISE + END_OF_ARCHIVE;

/// Zero bytes that end a tar.
pub(crate) const END_OF_ARCHIVE: u64 = 2 * BLOCK;

/// Most noise of a tail that has letters: enough that two layers never agree in it.
const NOISE: u64 = 4096;

/// Zeros that fill the last block of a body.
pub(crate) const fn padding(len: u64) -> u64 {
    len.next_multiple_of(BLOCK) - len
}

/// Bytes of an encoded file of a stream.
pub(crate) const fn file_length(body: u64) -> u64 {
    BLOCK + body.next_multiple_of(BLOCK)
}

/// Letters and noise of a tail that is `left` bytes with header and end.
pub(crate) fn tail(left: u64, content: Content) -> (u64, u64) {
    let room = left - BLOCK - END_OF_ARCHIVE;
    let noise = match content {
        Content::Letters => room.min(NOISE),
        Content::Incompressible => room,
    };
    (room - noise, noise)
}

/// The entry as a tar has it.
pub(crate) fn segments(entry: &Entry, out: &mut Vec<Segment>) {
    let body = &entry.body;
    out.push(Segment::Header(entry.header));
    out.push(Segment::Pool { image: Image::Letters, at: body.letters_at, len: body.letters });
    out.push(body.noise_segment(0, body.noise));
    out.push(Segment::Zeros(entry.zeros()));
}

/// The 512 bytes of a header.
pub(crate) fn header(header: &Header) -> [u8; BLOCK as usize] {
    let mut block = [0; BLOCK as usize];
    let mut put = |at: usize, text: std::fmt::Arguments<'_>| {
        (&mut block[at..]).write_fmt(text).expect("every field lies inside the block");
    };
    let (mode, kind, size) = match *header {
        Header::Directory { stream, cycle } => {
            put(0, format_args!("{stream}/d{cycle:08}/"));
            ("0000755", '5', 0)
        }
        Header::File { stream, cycle, file, size } => {
            put(0, format_args!("{stream}/d{cycle:08}/f{file:02}"));
            ("0000644", '0', size)
        }
        Header::Tail { spec, size } => {
            put(0, format_args!("{}/{}", Stream::of(&spec), record(&spec)));
            ("0000644", '0', size)
        }
    };
    put(100, format_args!("{mode}\x000000000\x000000000\0{size:011o}\x0000000000000\0        {kind}"));
    put(257, format_args!("ustar\x0000"));
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    (&mut block[148..]).write_fmt(format_args!("{sum:06o}\0 ")).expect("the checksum lies inside the block");
    block
}

/// The record of a layer in the name of its tail.
pub(crate) fn record(spec: &LayerSpec) -> String {
    format!("{RECORD}{}-{}-{}", spec.form(), spec.id(), spec.size())
}

/// What a record begins with: the version of the format is a part of it.
const RECORD: &str = "layer-v1-";

/// What the name in a header says of a layer's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name<'a> {
    /// Some entry of a stream.
    InStream(Stream),
    /// The tail of a layer.
    Tail {
        /// The stream it ends.
        stream: Stream,
        /// What it tells of the layer.
        record: Record<'a>,
    },
}

/// Form, identity and size of a layer, as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) form: &'a str,
    pub(crate) id: &'a str,
    pub(crate) size: &'a str,
}

/// Reads the name in a header; `None` if no layer has such a name. Proves nothing about the bytes.
pub(crate) fn name(header: &[u8]) -> Option<Name<'_>> {
    let end = header.iter().take(100).position(|byte| *byte == 0)?;
    let text = std::str::from_utf8(&header[..end]).ok()?;
    let (stream, rest) = text.split_once('/')?;
    let stream = Stream::named(stream)?;
    let Some(record) = rest.strip_prefix(RECORD) else { return Some(Name::InStream(stream)) };
    let mut parts = record.split('-');
    let record = Record { form: parts.next()?, id: parts.next()?, size: parts.next()? };
    parts.next().is_none().then_some(Name::Tail { stream, record })
}
