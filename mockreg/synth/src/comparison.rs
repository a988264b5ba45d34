//! Recognising a layer while it arrives. Its first header says which stream it would be, from there on it is
//! compared with the stream (ten times faster than hashing it), and where it leaves the stream its tail's name
//! says which layer it would be. Names prove nothing: every byte is compared. What turns out to be anything else
//! is hashed from the last checkpoint on, so nothing is asked for twice.

#[cfg(test)]
mod tests;

use bytes::{Buf as _, Bytes};

use crate::layer::Layer;
use crate::read::{Read, Source};
use crate::sha256::Hasher;
use crate::spec::{Form, LayerId, LayerSpec};
use crate::stream::Stream;
use crate::tables::Tables;
use crate::tar::{self, Name, Record};
use crate::{gzip, zstd};

/// An upload beside the synthetic layer it may be. Feed it with [`Comparison::offer`]; at the end of the upload
/// ask [`Comparison::finish`]. Once it is foreign, or if nothing whole has arrived, go on with what
/// [`Comparison::resume`] gives.
#[derive(Debug)]
pub struct Comparison {
    phase: Phase,
    /// What the first `equal` bytes are equal to; nothing is while the first header arrives.
    source: Option<Source>,
    equal: u64,
    /// Bytes after those, taken in but not yet judged: at most a header and what stands before it.
    held: Vec<u8>,
}

/// What an upload can still be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A synthetic layer.
    Matching,
    /// Something else.
    Foreign,
}

/// A whole layer that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The layer.
    pub spec: LayerSpec,
    /// Whether its tar arrived, out of the compression the layer is stored in: then the digest of what arrived is
    /// the layer's diff_id, and [`Layer::read_tar`] makes it again.
    pub unpacked: bool,
}

#[derive(Debug)]
enum Phase {
    /// Up to the end of the first header.
    Head,
    /// As long as the bytes are those of the stream.
    Stream(Expected),
    /// From where they differ to the end of the header that begins at `start`, which must be a tail's.
    TailHeader {
        start: u64,
    },
    /// Up to `end`, which leaves the checksum of a gzip layer out.
    Layer {
        layer: Box<Layer>,
        expected: Expected,
        end: u64,
    },
    Foreign,
}

/// The bytes that come next, if all is well.
#[derive(Debug)]
struct Expected {
    read: Read,
    piece: Bytes,
}

impl Default for Comparison {
    fn default() -> Self {
        Self::new()
    }
}

impl Comparison {
    /// Before the first byte.
    pub fn new() -> Self {
        Self { phase: Phase::Head, source: None, equal: 0, held: Vec::new() }
    }

    /// Takes in the next bytes of the upload. If they make it foreign, only the first of them were taken in: as
    /// many as [`Comparison::matched`] has grown by. Once foreign, always foreign, and nothing is taken in.
    pub fn offer(&mut self, mut bytes: &[u8]) -> Verdict {
        while !bytes.is_empty() {
            if self.step(&mut bytes).is_none() {
                self.phase = Phase::Foreign;
                return Verdict::Foreign;
            }
        }
        match self.phase {
            Phase::Foreign => Verdict::Foreign,
            _ => Verdict::Matching,
        }
    }

    /// Bytes taken in. All but the last few hundred are known to be those of a synthetic layer, and
    /// [`Comparison::resume`] gives them all again.
    pub fn matched(&self) -> u64 {
        self.equal + self.held.len() as u64
    }

    /// A layer of the same stream, as large as what has arrived so far: for [`Tables::foresee`], while the rest is
    /// on its way. `None` before the stream is known, after it is left, and if it is the stream of one layer alone.
    pub fn so_far(&self) -> Option<LayerSpec> {
        let (Phase::Stream(_), Some(source)) = (&self.phase, self.source) else { return None };
        let (form, size) = match source.form {
            Form::Tar => (Form::Tar, self.equal - self.equal % tar::BLOCK),
            Form::Gzip | Form::Zstd => (source.form, self.equal),
        };
        let mut id = [0; 16];
        // Any id of this stream will do, and the last byte decides.
        id[15] = source.stream.number()?;
        LayerSpec::try_new(form, source.stream.content(), size, LayerId::from_bytes(id)).ok()
    }

    /// The layer whose blob has arrived: whole, and nothing beside it. The last bytes of a gzip layer are a
    /// checksum that only [`Tables::shared`] know, so this can take as long as [`Tables::digests`] does, and
    /// should be asked where that is.
    pub fn finish(&self) -> Option<LayerSpec> {
        self.arrival().filter(|arrival| !arrival.unpacked).map(|arrival| arrival.spec)
    }

    /// The same for a layer that may have arrived without its compression, as clients push one that they have
    /// unpacked before.
    pub fn arrival(&self) -> Option<Arrival> {
        let (Phase::Layer { layer, end, .. }, Some(source)) = (&self.phase, self.source) else { return None };
        let spec = layer.spec();
        let whole = self.equal == *end && self.matched() == layer.size_as(source.form);
        let checked = match source.form {
            Form::Tar | Form::Zstd => true,
            Form::Gzip => whole && self.held == Tables::shared().trailer(spec),
        };
        (whole && checked).then(|| Arrival { spec, unpacked: spec.form() != source.form })
    }

    /// What it takes to treat the upload as any other from here on: the hash of all bytes taken in, and a reader
    /// that makes them again. Hashes what no checkpoint covers, which is a long time for a stream that `tables`
    /// have never been asked about.
    pub fn resume(&self, tables: &Tables) -> (Hasher, impl Iterator<Item = Bytes> + Send + use<>) {
        let mut hasher = match &self.source {
            Some(source) => tables.prefix(source, self.equal),
            None => Hasher::new(),
        };
        hasher.update(&self.held);
        let equal = self.source.map(|source| source.read(0, self.equal));
        let held = Some(Bytes::copy_from_slice(&self.held)).filter(|held| !held.is_empty());
        (hasher, equal.into_iter().flatten().chain(held))
    }

    /// Takes in some of `bytes`; `None` if they make the upload foreign.
    fn step(&mut self, bytes: &mut &[u8]) -> Option<()> {
        match &mut self.phase {
            Phase::Head => self.take_head(bytes),
            Phase::Stream(expected) => {
                self.equal += expected.take_equal(bytes);
                if bytes.is_empty() { Some(()) } else { self.leave_stream() }
            }
            Phase::TailHeader { start } => {
                let start = *start;
                self.take_tail_header(start, bytes)
            }
            Phase::Layer { layer, expected, end } => {
                let trailer = layer.size_as(self.source?.form) - *end;
                self.equal += expected.take_equal(bytes);
                if self.equal < *end {
                    return if bytes.is_empty() { Some(()) } else { self.follow_twin() };
                }
                // More bytes than the checksum has are something else.
                hold(&mut self.held, trailer, bytes);
                bytes.is_empty().then_some(())
            }
            Phase::Foreign => None,
        }
    }

    fn take_head(&mut self, bytes: &mut &[u8]) -> Option<()> {
        let first = *self.held.first().or(bytes.first())?;
        let begins = |form: &Form| Source::preamble(*form).first() == Some(&first);
        let form = [Form::Gzip, Form::Zstd].into_iter().find(begins).unwrap_or(Form::Tar);
        let before = Source::preamble(form).len() as u64;
        let header_end = before + header_length(form);
        hold(&mut self.held, header_end, bytes);
        if (self.held.len() as u64) < header_end {
            return Some(());
        }
        let held = self.held.clone();
        match tar::name(header(&held))? {
            Name::InStream(stream) => self.follow(Source::endless(stream, form), u64::MAX, Phase::Stream),
            Name::Tail { stream, record } => self.follow_record(stream, record, form, before),
        }
    }

    /// The bytes differ from the stream. Unless that is within a header, this is no layer.
    fn leave_stream(&mut self) -> Option<()> {
        let start = self.source?.entry_start(self.equal);
        if self.equal >= start + header_length(self.source?.form) {
            return self.follow_twin();
        }
        self.phase = Phase::TailHeader { start };
        Some(())
    }

    /// The bytes differ from those of a private stream of letters, or of a layer of it. What was equal may also be
    /// the beginning of the incompressible stream of that name, which tells itself apart in its first file.
    fn follow_twin(&mut self) -> Option<()> {
        let source = self.source?;
        let stream = source.stream.twin()?;
        match &self.phase {
            Phase::Layer { layer, .. } => {
                let twin = layer.twin()?;
                self.follow_layer(twin, source.form)
            }
            _ => self.follow(Source::endless(stream, source.form), u64::MAX, Phase::Stream),
        }
    }

    /// Whether all that has arrived is the beginning of `other`.
    fn has_begun(&self, other: &Source) -> bool {
        let equal = self.source.is_none_or(|source| {
            source.stream == other.stream
                || source.read(0, self.equal).flatten().eq(other.read(0, self.equal).flatten())
        });
        equal && other.read(self.equal, self.held.len() as u64).flatten().eq(self.held.iter().copied())
    }

    fn take_tail_header(&mut self, start: u64, bytes: &mut &[u8]) -> Option<()> {
        let source = self.source?;
        let header_end = start + header_length(source.form);
        hold(&mut self.held, header_end - self.equal, bytes);
        if self.matched() < header_end {
            return Some(());
        }
        let mut whole: Vec<u8> = source.read(start, self.equal - start).flatten().collect();
        whole.extend_from_slice(&self.held);
        match tar::name(header(&whole))? {
            Name::Tail { stream, record } => self.follow_record(stream, record, source.form, start),
            Name::InStream(_) => None,
        }
    }

    /// Follows the layer that a record in `stream` tells of, if its tail begins at byte `start`.
    fn follow_record(&mut self, stream: Stream, record: Record<'_>, form: Form, start: u64) -> Option<()> {
        let begins_here = |stream| {
            let layer = layer(record, stream, form)?;
            (layer.leading(form) == start && self.has_begun(&layer.source(form))).then_some(layer)
        };
        let layer = begins_here(stream).or_else(|| begins_here(stream.twin()?))?;
        self.follow_layer(layer, form)
    }

    fn follow_layer(&mut self, layer: Layer, form: Form) -> Option<()> {
        let size = layer.size_as(form);
        let end = match form {
            Form::Tar | Form::Zstd => size,
            Form::Gzip => size - gzip::TRAILER,
        };
        self.follow(layer.source(form), end, |expected| Phase::Layer {
            layer: Box::new(layer),
            expected,
            end,
        })
    }

    /// Goes on with the bytes of `source` up to `end`, which must begin with all that has arrived.
    fn follow(&mut self, source: Source, end: u64, phase: impl FnOnce(Expected) -> Phase) -> Option<()> {
        if !self.has_begun(&source) {
            return None;
        }
        self.source = Some(source);
        self.equal += self.held.len() as u64;
        self.held.clear();
        self.phase = phase(Expected { read: source.read(self.equal, end - self.equal), piece: Bytes::new() });
        Some(())
    }
}

impl Expected {
    /// Moves past the leading bytes that are as expected, here and in `bytes`, and counts them.
    fn take_equal(&mut self, bytes: &mut &[u8]) -> u64 {
        let before = bytes.len();
        while !bytes.is_empty() && self.fill() {
            let len = self.piece.len().min(bytes.len());
            let equal = common_prefix(&self.piece[..len], &bytes[..len]);
            self.piece.advance(equal);
            *bytes = &bytes[equal..];
            if equal < len {
                break;
            }
        }
        (before - bytes.len()) as u64
    }

    /// Makes sure of a next byte; `false` at the end.
    fn fill(&mut self) -> bool {
        if self.piece.is_empty() {
            self.piece = self.read.next().unwrap_or_default();
        }
        !self.piece.is_empty()
    }
}

fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    // Whole slices compare at the speed of memory; where they differ is looked for once in an upload.
    if a == b { a.len() } else { a.iter().zip(b).take_while(|(a, b)| a == b).count() }
}

/// Takes bytes until `most` are held.
fn hold(held: &mut Vec<u8>, most: u64, bytes: &mut &[u8]) {
    let room = (most as usize).saturating_sub(held.len()).min(bytes.len());
    let (taken, rest) = bytes.split_at(room);
    held.extend_from_slice(taken);
    *bytes = rest;
}

/// Bytes of a header with what stands before it in its entry.
const fn header_length(form: Form) -> u64 {
    match form {
        Form::Tar => tar::DIRECTORY,
        Form::Gzip => gzip::DIRECTORY,
        Form::Zstd => zstd::DIRECTORY,
    }
}

/// The header that ends `bytes`.
fn header(bytes: &[u8]) -> &[u8] {
    &bytes[bytes.len() - tar::BLOCK as usize..]
}

/// The layer of `stream` that a record tells of, if there is one that can arrive in this form: as it is stored, or as
/// the tar inside.
fn layer(record: Record<'_>, stream: Stream, form: Form) -> Option<Layer> {
    let stored = [Form::Tar, Form::Gzip, Form::Zstd].into_iter().find(|known| known.name() == record.form)?;
    let (size, id) = (record.size.parse().ok()?, record.id.parse().ok()?);
    let spec = LayerSpec::try_new(stored, stream.content(), size, id).ok()?;
    let spec = if stream.number().is_none() { spec.unique() } else { spec };
    let layer = Layer::new(spec);
    ((form == Form::Tar || form == stored) && layer.stream() == stream).then_some(layer)
}
