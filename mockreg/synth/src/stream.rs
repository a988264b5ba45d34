//! Streams: endless sequences of files, of which a layer takes the beginning. Twelve of them are common, eight of
//! letters and four of incompressible bytes; a unique layer has one to itself. Which file lies at which byte is
//! arithmetic on one table, for every form; how a file is encoded is in `tar`, `gzip` and `zstd`.

use std::fmt;

use crate::entry::{Body, Entry, Header};
use crate::keystream::Label;
use crate::pool;
use crate::spec::{Content, Form, LayerId, LayerSpec};
use crate::{gzip, tar, zstd};

/// A stream. Displays as the directory that its files lie in: `s3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stream {
    /// One that many layers take: 0 to 7 letters, 8 to 11 incompressible.
    Common(u8),
    /// The stream of one unique layer.
    Private {
        /// That layer.
        id: LayerId,
        /// What its files consist of; the name does not say.
        content: Content,
    },
}

/// Where the entries of a cycle begin in one form: `starts[n]` is the byte of entry n, `starts[64]` the
/// length of the cycle.
pub(crate) struct Layout {
    starts: [u64; SLOTS + 1],
}

/// Streams there are.
pub(crate) const STREAMS: u8 = LETTER_STREAMS + NOISE_STREAMS;
const LETTER_STREAMS: u8 = 8;
const NOISE_STREAMS: u8 = 4;

/// Entries of a cycle: one directory and its files.
const SLOTS: usize = 1 + FILES;
const FILES: usize = 63;

/// Sizes of the files of a cycle by rank: spaced like the files of real layers, from 384 bytes to 2 MB. All are
/// multiples of 32, so a run of letters is whole bytes in every form.
const SIZES: [u64; FILES] = [
    384, 832, 1280, 1728, 2176, 2656, 3168, 3680, 4224, 4832, 5440, 6080, 6784, 7488, 8256, 9088, 9952,
    10880, 11840, 12864, 13952, 15136, 16352, 17664, 19072, 20576, 22176, 23872, 25696, 27648, 29728, 32000,
    34400, 36992, 39808, 42848, 46144, 49728, 53632, 57856, 62528, 67616, 73248, 79488, 86368, 94080, 102752,
    112480, 123552, 136224, 150848, 167872, 187936, 211904, 241024, 277184, 323168, 383776, 467360, 590688,
    793312, 1200512, 2097120,
];

/// File number j has the size of rank 29 j mod 63, so that large and small ones mix.
const BODIES: [u64; FILES] = {
    let mut bodies = [0; FILES];
    let mut j = 0;
    while j < FILES {
        bodies[j] = SIZES[29 * j % FILES];
        j += 1;
    }
    bodies
};

/// Bytes of all file bodies before each entry of a cycle, and of the whole cycle.
const BODY_STARTS: [u64; SLOTS + 1] = {
    let mut starts = [0; SLOTS + 1];
    let mut j = 0;
    while j < FILES {
        starts[j + 2] = starts[j + 1] + BODIES[j];
        j += 1;
    }
    starts
};

static TAR: Layout = Layout::new(Form::Tar, Content::Letters);
static GZIP: Layout = Layout::new(Form::Gzip, Content::Letters);
static GZIP_NOISE: Layout = Layout::new(Form::Gzip, Content::Incompressible);
static ZSTD: Layout = Layout::new(Form::Zstd, Content::Letters);
static ZSTD_NOISE: Layout = Layout::new(Form::Zstd, Content::Incompressible);

impl Layout {
    const fn new(form: Form, content: Content) -> Self {
        let mut starts = [0; SLOTS + 1];
        starts[1] = match form {
            Form::Tar => tar::DIRECTORY,
            Form::Gzip => gzip::DIRECTORY,
            Form::Zstd => zstd::DIRECTORY,
        };
        let mut j = 0;
        while j < FILES {
            let length = match form {
                Form::Tar => tar::file_length(BODIES[j]),
                Form::Gzip => gzip::file_length(BODIES[j], content),
                Form::Zstd => zstd::file_length(BODIES[j], content),
            };
            starts[j + 2] = starts[j + 1] + length;
            j += 1;
        }
        Self { starts }
    }

    /// The layout of streams of `content` in `form`.
    pub(crate) fn of(form: Form, content: Content) -> &'static Self {
        match (form, content) {
            (Form::Tar, _) => &TAR,
            (Form::Gzip, Content::Letters) => &GZIP,
            (Form::Gzip, Content::Incompressible) => &GZIP_NOISE,
            (Form::Zstd, Content::Letters) => &ZSTD,
            (Form::Zstd, Content::Incompressible) => &ZSTD_NOISE,
        }
    }

    fn cycle(&self) -> u64 {
        self.starts[SLOTS]
    }

    /// The byte, from the first entry on, at which entry `index` begins.
    pub(crate) fn start(&self, index: u64) -> u64 {
        let (cycle, slot) = cycle_and_slot(index);
        cycle * self.cycle() + self.starts[slot]
    }

    /// The entry that holds byte `offset`; a byte at a border belongs to the entry that begins there. Entries
    /// before it are those that end at or before the byte.
    pub(crate) fn entry_at(&self, offset: u64) -> u64 {
        let (cycle, within) = (offset / self.cycle(), offset % self.cycle());
        let slot = self.starts.partition_point(|start| *start <= within) - 1;
        cycle * SLOTS as u64 + slot as u64
    }
}

impl Stream {
    /// The stream that layers with this content and identity are made from.
    pub(crate) fn of(spec: &LayerSpec) -> Self {
        let (id, content) = (spec.id(), spec.content());
        let low = id.as_bytes()[15];
        match content {
            _ if spec.is_unique() => Self::Private { id, content },
            Content::Letters => Self::Common(low % LETTER_STREAMS),
            Content::Incompressible => Self::Common(LETTER_STREAMS + low % NOISE_STREAMS),
        }
    }

    /// The common streams, in order.
    pub(crate) fn common() -> impl Iterator<Item = Self> {
        (0..STREAMS).map(Self::Common)
    }

    /// The stream whose files lie in the directory `name`, if there is one. Of private streams it is the one of
    /// letters; [`Stream::twin`] gives the other of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let rest = name.strip_prefix('s')?;
        let common = rest.parse().ok().filter(|number| *number < STREAMS).map(Self::Common);
        let private = || rest.parse().ok().map(|id| Self::Private { id, content: Content::Letters });
        common.or_else(private)
    }

    /// The incompressible stream that has the same name as this one of letters.
    pub(crate) fn twin(self) -> Option<Self> {
        match self {
            Self::Private { id, content: Content::Letters } => {
                Some(Self::Private { id, content: Content::Incompressible })
            }
            Self::Private { .. } | Self::Common(_) => None,
        }
    }

    /// The number of a common stream.
    pub(crate) fn number(self) -> Option<u8> {
        match self {
            Self::Common(number) => Some(number),
            Self::Private { .. } => None,
        }
    }

    pub(crate) fn content(self) -> Content {
        match self {
            Self::Common(number) if number < LETTER_STREAMS => Content::Letters,
            Self::Common(_) => Content::Incompressible,
            Self::Private { content, .. } => content,
        }
    }

    pub(crate) fn layout(self, form: Form) -> &'static Layout {
        Layout::of(form, self.content())
    }

    /// Entry `index`, counted from 0 through all cycles.
    pub(crate) fn entry(self, index: u64) -> Entry {
        let (cycle, slot) = cycle_and_slot(index);
        let Some(file) = slot.checked_sub(1) else {
            return Entry::new(Header::Directory { stream: self, cycle }, Body::default());
        };
        let at = cycle * BODY_STARTS[SLOTS] + BODY_STARTS[slot];
        let header = Header::File { stream: self, cycle, file: file as u8, size: BODIES[file] };
        Entry::new(header, self.body(at, BODIES[file]))
    }

    fn body(self, at: u64, len: u64) -> Body {
        match self.content() {
            Content::Letters => {
                Body { letters_at: self.letters_start() + at, letters: len, ..Body::default() }
            }
            Content::Incompressible => {
                Body { noise_label: Some(self.label()), noise_at: at, noise: len, ..Body::default() }
            }
        }
    }

    /// Where in the pool its letters begin. Common streams begin an eighth of the pool apart, so that no two have
    /// the same bytes in one place.
    fn letters_start(self) -> u64 {
        match self {
            Self::Common(number) => u64::from(number) * (pool::LETTERS / u64::from(LETTER_STREAMS)),
            Self::Private { id, .. } => pool::place_of(id),
        }
    }

    fn label(self) -> Label {
        match self {
            Self::Common(number) => Label::Stream(number),
            Self::Private { id, .. } => Label::Private(id),
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Common(number) => write!(f, "s{number}"),
            Self::Private { id, .. } => write!(f, "s{id}"),
        }
    }
}

fn cycle_and_slot(index: u64) -> (u64, usize) {
    (index / SLOTS as u64, (index % SLOTS as u64) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Segment;

    #[test]
    fn a_cycle_is_as_long_as_the_format_says() {
        assert_eq!(TAR.cycle(), 8_820_224);
        assert_eq!(GZIP.cycle(), 3_340_584);
        assert_eq!(ZSTD.cycle(), 3_330_000);
        // In units of 32 letters the cycle is odd, so cycles walk through all of the pool before they repeat.
        assert_eq!(BODY_STARTS[SLOTS] / 32 % 2, 1);
        assert!(BODIES.iter().all(|size| size % 32 == 0));
    }

    /// The table is computed apart from the encoders; a difference would shift every later byte.
    #[test]
    fn entries_are_as_long_as_the_table_says() {
        for (form, number) in [(Form::Tar, 0), (Form::Gzip, 3), (Form::Zstd, 7)]
            .into_iter()
            .flat_map(|(form, number)| [(form, number), (form, 8 + number % 4)])
        {
            let stream = Stream::Common(number);
            let layout = stream.layout(form);
            for index in 0..3 * SLOTS as u64 {
                let mut segments = Vec::new();
                stream.entry(index).segments(form, &mut segments);
                let length: u64 = segments.iter().map(Segment::len).sum();
                assert_eq!(length, layout.start(index + 1) - layout.start(index), "{form:?} {index}");
            }
        }
    }

    #[test]
    fn every_byte_belongs_to_one_entry() {
        for layout in [&TAR, &GZIP, &GZIP_NOISE, &ZSTD, &ZSTD_NOISE] {
            for index in [0, 1, 2, 63, 64, 65, 1_000_000] {
                let start = layout.start(index);
                assert_eq!(layout.entry_at(start), index);
                assert_eq!(layout.entry_at(layout.start(index + 1) - 1), index);
            }
        }
    }

    #[test]
    fn names_are_those_of_the_directories() {
        let id = LayerId::derive(1, "a", "", "", 0);
        for stream in Stream::common().chain([Stream::Private { id, content: Content::Letters }]) {
            assert_eq!(Stream::named(&stream.to_string()), Some(stream));
            assert!(stream.twin().is_none_or(|twin| twin.to_string() == stream.to_string()));
        }
        for other in ["", "s", "s12", "s-1", "t3", "s0123456789abcdef", "3"] {
            assert_eq!(Stream::named(other), None, "{other}");
        }
    }
}
