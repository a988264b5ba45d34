//! Reading: the bytes of a stream or layer from any byte on, as slices of the pool wherever they are letters,
//! and as small buffers where they must be made. Finding the first byte is arithmetic; nothing before it is made.

use std::fmt;

use bytes::{Bytes, BytesMut};

use crate::entry::{Entry, Segment};
use crate::keystream::Keystream;
use crate::spec::Form;
use crate::stream::Stream;
use crate::{gzip, zstd};

/// The entries to read: all of a stream, or those a layer takes and its tail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    pub(crate) stream: Stream,
    pub(crate) form: Form,
    /// The end of a layer: how many entries of the stream stand before it, and the tail itself.
    pub(crate) tail: Option<(u64, Entry)>,
}

/// The bytes of a range, in pieces. None is empty; all but the last have at least 512 bytes, and none more than
/// 1 MiB.
pub struct Read {
    source: Source,
    /// Bytes still to come, those in `made` not counted.
    left: u64,
    /// What `segments` belongs to: 0 is what precedes the first entry, n + 1 is entry n.
    step: u64,
    segments: Vec<Segment>,
    /// Place in `segments`, and bytes of that segment that are done.
    current: usize,
    skip: u64,
    /// Bytes made and not yet given out.
    made: BytesMut,
    noise: Option<Keystream>,
}

/// Segments of most entries.
const FEW: usize = 8;

/// Largest piece: enough that the cost of a piece vanishes, and small beside what a connection buffers.
const PIECE: u64 = 1 << 20;

/// Pieces below this are put together: handing one on costs as much as copying it. What precedes the letters of a file
/// is longer, so letters are not copied for it.
const SMALL: usize = 512;

/// Bytes made in one go. Larger pieces leave the cache before they are used.
const MADE: usize = 64 << 10;

impl Source {
    /// A stream without end.
    pub(crate) fn endless(stream: Stream, form: Form) -> Self {
        Self { stream, form, tail: None }
    }

    /// Bytes before the first entry.
    pub(crate) const fn preamble(form: Form) -> &'static [u8] {
        match form {
            Form::Tar => &[],
            Form::Gzip => &gzip::MEMBER,
            Form::Zstd => &zstd::FRAME,
        }
    }

    /// The byte at which entry `index` of the stream begins.
    pub(crate) fn start(&self, index: u64) -> u64 {
        Self::preamble(self.form).len() as u64 + self.stream.layout(self.form).start(index)
    }

    /// The byte at which the entry begins that holds byte `offset`.
    pub(crate) fn entry_start(&self, offset: u64) -> u64 {
        offset - self.place(offset).1
    }

    /// Bytes before the tail: those that are the stream's.
    pub(crate) fn leading(&self) -> u64 {
        self.tail.map_or(u64::MAX, |(tail, _)| self.start(tail))
    }

    /// The `len` bytes from `offset` on, which must exist.
    pub(crate) fn read(&self, offset: u64, len: u64) -> Read {
        let (step, skip) = self.place(offset);
        let mut read = Read {
            source: *self,
            left: len,
            step,
            segments: Vec::with_capacity(FEW),
            current: 0,
            skip,
            made: BytesMut::new(),
            noise: None,
        };
        if len > 0 {
            self.segments(step, &mut read.segments);
            read.skip_segments();
        }
        read
    }

    /// The step that holds a byte, and the bytes of the step before it.
    fn place(&self, offset: u64) -> (u64, u64) {
        let Some(within) = offset.checked_sub(Self::preamble(self.form).len() as u64) else {
            return (0, offset);
        };
        let mut index = self.stream.layout(self.form).entry_at(within);
        if let Some((tail, _)) = self.tail {
            index = index.min(tail);
        }
        (index + 1, offset - self.start(index))
    }

    fn segments(&self, step: u64, out: &mut Vec<Segment>) {
        out.clear();
        match (step.checked_sub(1), self.tail) {
            (None, _) if self.form == Form::Tar => {}
            (None, _) => out.push(Segment::inline(Self::preamble(self.form))),
            (Some(index), Some((tail, entry))) if index == tail => entry.segments(self.form, out),
            (Some(index), _) => self.stream.entry(index).segments(self.form, out),
        }
    }
}

impl Read {
    /// Moves to the segment that holds the first byte.
    fn skip_segments(&mut self) {
        while let Some(segment) = self.segments.get(self.current)
            && self.skip >= segment.len()
        {
            self.skip -= segment.len();
            self.current += 1;
        }
    }

    /// The segment that holds the next byte.
    fn segment(&mut self) -> Segment {
        loop {
            if let Some(segment) = self.segments.get(self.current) {
                return *segment;
            }
            self.step += 1;
            self.current = 0;
            self.source.segments(self.step, &mut self.segments);
        }
    }

    fn advance(&mut self, len: usize, segment: &Segment) {
        self.left -= len as u64;
        self.skip += len as u64;
        if self.skip == segment.len() {
            self.current += 1;
            self.skip = 0;
        }
    }

    /// Takes `len` bytes of `segment` by copying or making them.
    fn make(&mut self, len: usize, segment: &Segment) {
        // Room for what is usually made, so that one allocation serves several pieces.
        self.made.reserve(len.max(SMALL));
        segment.append(self.skip, len, &mut self.noise, &mut self.made);
        self.advance(len, segment);
    }

    fn give_made(&mut self) -> Option<Bytes> {
        Some(self.made.split().freeze()).filter(|piece| !piece.is_empty())
    }
}

impl Iterator for Read {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        while self.left > 0 {
            let segment = self.segment();
            let left = self.left.min(segment.len() - self.skip);
            let pending = self.made.len();
            match segment.slice(self.skip, left.min(PIECE)) {
                Some(slice) if slice.len() < SMALL => self.make(slice.len(), &segment),
                Some(slice) if pending == 0 => {
                    self.advance(slice.len(), &segment);
                    return Some(slice);
                }
                Some(_) if pending >= SMALL => return self.give_made(),
                Some(_) => self.make(SMALL - pending, &segment),
                None => self.make((left as usize).min(MADE - pending.min(MADE - 1)), &segment),
            }
            if self.made.len() >= MADE {
                return self.give_made();
            }
        }
        self.give_made()
    }
}

impl fmt::Debug for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Read").field("source", &self.source).field("left", &self.left).finish_non_exhaustive()
    }
}
