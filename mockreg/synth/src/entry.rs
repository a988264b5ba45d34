//! One entry of an archive: a header, a body of letters and noise, padding. An entry says what it consists of;
//! an encoding turns it into segments, and a segment into bytes, from any byte of it on. The encodings are files
//! of their own (`tar`, `gzip`, `zstd`); another one is another file and an arm here.

use bytes::{BufMut as _, Bytes, BytesMut};

use crate::keystream::{Keystream, Label};
use crate::pool::Image;
use crate::spec::{Form, LayerSpec};
use crate::stream::Stream;
use crate::tables::Tables;
use crate::{gzip, tar, zstd};

/// A directory or file of an archive, or the tail of a layer with the end of the archive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) header: Header,
    pub(crate) body: Body,
    /// Set for the tail of a layer: what ends the archive after it.
    pub(crate) last: Option<Last>,
}

/// What a tar header says; the tail's name is the record of the layer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Header {
    Directory { stream: Stream, cycle: u64 },
    File { stream: Stream, cycle: u64, file: u8, size: u64 },
    Tail { spec: LayerSpec, size: u64 },
}

/// Letters from the pool, then bytes of a keystream.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Body {
    /// Place of the first letter in the pool, counted past its end.
    pub(crate) letters_at: u64,
    pub(crate) letters: u64,
    pub(crate) noise_label: Option<Label>,
    pub(crate) noise_at: u64,
    pub(crate) noise: u64,
}

/// The end of a layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Last {
    pub(crate) spec: LayerSpec,
    /// Blocks the noise is cut into where it is stored; the last may be empty, to make the size exact.
    pub(crate) blocks: u64,
}

/// A run of encoded bytes of one kind.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Segment {
    Header(Header),
    Inline {
        bytes: [u8; INLINE],
        len: u8,
    },
    Zeros(u64),
    /// What stands before a run of letters in zstd.
    LettersHead(u64),
    Pool {
        image: Image,
        at: u64,
        len: u64,
    },
    Noise {
        label: Label,
        at: u64,
        len: u64,
    },
    /// CRC-32 and length of the tar of a gzip layer: known to the tables alone.
    Trailer(LayerSpec),
}

/// The longest fixed run of bytes between others: deflate's dynamic block header.
pub(crate) const INLINE: usize = 15;

impl Entry {
    pub(crate) fn new(header: Header, body: Body) -> Self {
        Self { header, body, last: None }
    }

    /// Zeros after the body: up to the next block of 512, and the end of the archive.
    pub(crate) fn zeros(&self) -> u64 {
        let end = if self.last.is_some() { tar::END_OF_ARCHIVE } else { 0 };
        tar::padding(self.body.len()) + end
    }

    /// Appends the entry's segments; none is empty.
    pub(crate) fn segments(&self, form: Form, out: &mut Vec<Segment>) {
        match form {
            Form::Tar => tar::segments(self, out),
            Form::Gzip => gzip::segments(self, out),
            Form::Zstd => zstd::segments(self, out),
        }
        out.retain(|segment| segment.len() > 0);
    }
}

impl Body {
    pub(crate) fn len(&self) -> u64 {
        self.letters + self.noise
    }

    /// `len` bytes of the noise from byte `from` of it on; no bytes where there is none.
    pub(crate) fn noise_segment(&self, from: u64, len: u64) -> Segment {
        match self.noise_label {
            Some(label) => Segment::Noise { label, at: self.noise_at + from, len },
            None => Segment::Zeros(0),
        }
    }
}

impl Segment {
    /// A short run of given bytes.
    ///
    /// # Panics
    /// If there are more than [`INLINE`]; encoders have nothing longer to say.
    pub(crate) fn inline(bytes: &[u8]) -> Self {
        let mut inline = [0; INLINE];
        inline[..bytes.len()].copy_from_slice(bytes);
        Self::Inline { bytes: inline, len: bytes.len() as u8 }
    }

    /// Bytes of the segment.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Header(_) => tar::BLOCK,
            Self::Inline { len, .. } => u64::from(*len),
            Self::LettersHead(_) => zstd::LETTERS_HEAD as u64,
            Self::Zeros(len) | Self::Pool { len, .. } | Self::Noise { len, .. } => *len,
            Self::Trailer(_) => gzip::TRAILER,
        }
    }

    /// The first bytes, without copying, of the part from byte `skip` on, at most `len`; `None` for segments
    /// that are no part of the pool.
    pub(crate) fn slice(&self, skip: u64, len: u64) -> Option<Bytes> {
        match self {
            Self::Pool { image, at, .. } => Some(image.slice(at + skip, len)),
            _ => None,
        }
    }

    /// Appends `len` bytes from byte `skip` on. `noise` keeps the keystream for the next segment of it.
    pub(crate) fn append(&self, skip: u64, len: usize, noise: &mut Option<Keystream>, out: &mut BytesMut) {
        let part = skip as usize..skip as usize + len;
        match self {
            Self::Header(header) => out.put_slice(&tar::header(header)[part]),
            Self::Inline { bytes, .. } => out.put_slice(&bytes[part]),
            Self::Zeros(_) => out.put_bytes(0, len),
            Self::LettersHead(letters) => out.put_slice(&zstd::letters_head(*letters)[part]),
            Self::Trailer(spec) => out.put_slice(&Tables::shared().trailer(*spec)[part]),
            Self::Noise { label, at, .. } => {
                if noise.as_ref().is_none_or(|keystream| keystream.label() != *label) {
                    *noise = None;
                }
                noise.get_or_insert_with(|| Keystream::new(*label)).append(at + skip, len, out);
            }
            Self::Pool { image, at, .. } => out.put_slice(&image.slice(at + skip, len as u64)),
        }
    }
}
