//! Layers: how many entries of its stream a layer takes, what its tail must be for the size to come out to the
//! byte, and reading any part of it or of its tar. A layer is a few numbers; making one costs no memory.

use crate::entry::{Body, Entry, Header, Last};
use crate::keystream::Label;
use crate::pool;
use crate::read::{Read, Source};
use crate::spec::{Content, Form, LayerSpec};
use crate::stream::Stream;
use crate::{gzip, tar, zstd};

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
        let stream = Stream::of(&spec);
        let form = spec.form();
        let least_tail = match form {
            Form::Tar => tar::LEAST_TAIL,
            Form::Gzip => gzip::LEAST_TAIL,
            Form::Zstd => zstd::LEAST_TAIL,
        };
        // All entries that end early enough for a tail to fit behind them.
        let room = spec.size() - Source::preamble(form).len() as u64;
        let entries = match room.checked_sub(least_tail) {
            Some(room) => stream.layout(form).entry_at(room),
            None => 0,
        };
        let left = room - stream.layout(form).start(entries);
        Self { spec, stream, entries, tail: tail(spec, left) }
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
        self.leading(Form::Tar) + tar::BLOCK + self.tail.body.len() + self.tail.zeros()
    }

    /// The bytes of the blob from `offset` on, at most `len`; fewer at the end, none past it. Any byte is found at
    /// once. The last eight bytes of a gzip layer are the checksum of its tar: they come from
    /// [`Tables::shared`](crate::Tables::shared), at once if the layer's digests were asked for there before, and
    /// after hashing its tar if not.
    pub fn read(&self, offset: u64, len: u64) -> Read {
        self.read_as(self.spec.form(), offset, len)
    }

    /// The same for the uncompressed tar.
    pub fn read_tar(&self, offset: u64, len: u64) -> Read {
        self.read_as(Form::Tar, offset, len)
    }

    pub(crate) fn read_as(&self, form: Form, offset: u64, len: u64) -> Read {
        let size = self.size_as(form);
        let offset = offset.min(size);
        self.source(form).read(offset, len.min(size - offset))
    }

    pub(crate) fn size_as(&self, form: Form) -> u64 {
        match form {
            Form::Tar => self.tar_size(),
            Form::Gzip | Form::Zstd => self.size(),
        }
    }

    /// The incompressible layer whose tail has the same name as that of this one of letters.
    pub(crate) fn twin(&self) -> Option<Self> {
        let spec = self.spec;
        self.stream.twin()?;
        let twin = LayerSpec::try_new(spec.form(), Content::Incompressible, spec.size(), spec.id()).ok()?;
        Some(Self::new(twin.unique()))
    }

    pub(crate) fn stream(&self) -> Stream {
        self.stream
    }

    /// Bytes that the layer has in common with its stream: all before the tail.
    pub(crate) fn leading(&self, form: Form) -> u64 {
        self.source(form).leading()
    }

    pub(crate) fn source(&self, form: Form) -> Source {
        Source { stream: self.stream, form, tail: Some((self.entries, self.tail)) }
    }
}

/// The tail that makes a layer end `left` bytes after its leading entries.
fn tail(spec: LayerSpec, left: u64) -> Entry {
    let (letters, noise, blocks) = match spec.form() {
        Form::Tar => {
            let (letters, noise) = tar::tail(left, spec.content());
            (letters, noise, 1)
        }
        Form::Gzip => gzip::tail(left, spec.content()),
        Form::Zstd => zstd::tail(left, spec.content()),
    };
    let body = Body {
        letters_at: match spec.content() {
            Content::Letters => pool::place_of(spec.id()),
            Content::Incompressible => 0,
        },
        letters,
        noise_label: Some(Label::Tail(spec.id())),
        noise_at: 0,
        noise,
    };
    let header = Header::Tail { spec, size: body.len() };
    Entry { header, body, last: Some(Last { spec, blocks }) }
}
