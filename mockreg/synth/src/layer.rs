//! Layers: how many entries of its stream a layer takes, what its tail must be for the size to come out to the
//! byte, and reading any part of it or of its tar. A layer is a few numbers; making one costs no memory.

use crate::entry::{Body, Entry, Header, Last};
use crate::keystream::Label;
use crate::pool;
use crate::read::{Read, Source};
use crate::spec::{Content, Encoding, LayerSpec};
use crate::stream::Stream;
use crate::{gzip, tar};

/// A layer that can be read. Plain numbers: copy it freely.
#[derive(Clone, Copy, Debug)]
pub struct Layer {
    spec: LayerSpec,
    stream: Stream,
    /// Leading entries of the stream.
    entries: u64,
    tail: Entry,
}

impl Layer {
    /// Plans a layer.
    pub fn new(spec: LayerSpec) -> Self {
        let stream = Stream::of(spec.content(), spec.id());
        let encoding = spec.encoding();
        let least_tail = match encoding {
            Encoding::Tar => tar::LEAST_TAIL,
            Encoding::Gzip => gzip::LEAST_TAIL,
        };
        // All entries that end early enough for a tail to fit behind them.
        let room = spec.size() - Source::preamble(encoding).len() as u64;
        let entries = match room.checked_sub(least_tail) {
            Some(room) => stream.layout(encoding).entry_at(room),
            None => 0,
        };
        let left = room - stream.layout(encoding).start(entries);
        Self { spec, stream, entries, tail: tail(spec, stream, left) }
    }

    /// What the layer was asked to be.
    pub const fn spec(&self) -> LayerSpec {
        self.spec
    }

    /// Bytes of the blob.
    pub const fn size(&self) -> u64 {
        self.spec.size()
    }

    /// Bytes of the tar inside; the same as [`Layer::size`] for an uncompressed layer.
    pub fn tar_size(&self) -> u64 {
        self.leading(Encoding::Tar) + tar::BLOCK + self.tail.body.len() + self.tail.zeros()
    }

    /// The bytes of the blob from `offset` on, at most `len`; fewer at the end, none past it. Any byte is found at
    /// once. The last eight bytes of a gzip layer are the checksum of its tar: they come from
    /// [`Tables::shared`](crate::Tables::shared), at once if the layer's digests were asked for there before, and
    /// after hashing its tar if not.
    pub fn read(&self, offset: u64, len: u64) -> Read {
        self.read_as(self.spec.encoding(), offset, len)
    }

    /// The same for the uncompressed tar.
    pub fn read_tar(&self, offset: u64, len: u64) -> Read {
        self.read_as(Encoding::Tar, offset, len)
    }

    pub(crate) fn read_as(&self, encoding: Encoding, offset: u64, len: u64) -> Read {
        let size = self.size_as(encoding);
        let offset = offset.min(size);
        self.source(encoding).read(offset, len.min(size - offset))
    }

    pub(crate) fn size_as(&self, encoding: Encoding) -> u64 {
        match encoding {
            Encoding::Tar => self.tar_size(),
            Encoding::Gzip => self.size(),
        }
    }

    pub(crate) fn stream(&self) -> Stream {
        self.stream
    }

    /// Bytes that the layer has in common with its stream: all before the tail.
    pub(crate) fn leading(&self, encoding: Encoding) -> u64 {
        self.source(encoding).leading()
    }

    pub(crate) fn source(&self, encoding: Encoding) -> Source {
        Source { stream: self.stream, encoding, tail: Some((self.entries, self.tail)) }
    }
}

/// The tail that makes a layer end `left` bytes after its leading entries.
fn tail(spec: LayerSpec, stream: Stream, left: u64) -> Entry {
    let (letters, noise, blocks) = match spec.encoding() {
        Encoding::Tar => {
            let (letters, noise) = tar::tail(left, spec.content());
            (letters, noise, 1)
        }
        Encoding::Gzip => gzip::tail(left, spec.content()),
    };
    let body = Body {
        letters_at: letters_start(spec),
        letters,
        noise_label: Some(Label::Tail(spec.id())),
        noise_at: 0,
        noise,
    };
    let header = Header::Tail { stream, spec, size: body.len() };
    Entry { header, body, last: Some(Last { spec, blocks }) }
}

/// Where in the pool the tail's letters begin: drawn from the id, at whole 32 letters.
fn letters_start(spec: LayerSpec) -> u64 {
    const STEP: u64 = 32;
    let number = spec.id().as_bytes()[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    match spec.content() {
        Content::Letters => number % (pool::LETTERS / STEP) * STEP,
        Content::Incompressible => 0,
    }
}
