//! Random bytes by name: the ChaCha8 keystream under a key made from a label, readable at any offset. Three
//! things are made of it: the letters of the pool, incompressible files, and the end of each layer's last file.

use std::fmt;

use bytes::BytesMut;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};

use crate::spec::LayerId;

/// What a keystream is for; its key is the SHA-256 of this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Label {
    /// The letters every compressible layer is made of.
    Pool,
    /// The files of an incompressible stream.
    Stream(u8),
    /// The files of the stream that an incompressible layer has to itself.
    Private(LayerId),
    /// The last file of a layer.
    Tail(LayerId),
}

/// The keystream of one label. Cheap to make (one hash); reading on is cheaper than seeking.
pub(crate) struct Keystream {
    label: Label,
    generator: ChaCha8Rng,
    /// The byte the generator gives next, where that is known.
    position: Option<u64>,
}

/// The generator gives words and drops what is not used of one.
const WORD: u64 = 4;

impl Label {
    fn key(self) -> [u8; 32] {
        match self {
            Self::Pool => Sha256::digest("stormyard pool v1"),
            Self::Stream(number) => Sha256::digest(format!("stormyard stream v1 s{number}")),
            Self::Private(id) => Sha256::digest(format!("stormyard stream v1 s{id}")),
            Self::Tail(id) => {
                Sha256::new().chain_update("stormyard tail v1 ").chain_update(id.as_bytes()).finalize()
            }
        }
        .into()
    }
}

impl Keystream {
    pub(crate) fn new(label: Label) -> Self {
        Self { label, generator: ChaCha8Rng::from_seed(label.key()), position: Some(0) }
    }

    pub(crate) fn label(&self) -> Label {
        self.label
    }

    /// Appends the `len` bytes from `offset` on.
    pub(crate) fn append(&mut self, offset: u64, len: usize, out: &mut BytesMut) {
        let start = out.len();
        out.resize(start + len, 0);
        self.fill(offset, &mut out[start..]);
    }

    /// Fills `out` with the bytes from `offset` on.
    pub(crate) fn fill(&mut self, offset: u64, out: &mut [u8]) {
        if self.position != Some(offset) {
            self.generator.set_word_pos(u128::from(offset / WORD));
        }
        let into_word = (offset % WORD) as usize;
        let head = if into_word == 0 { 0 } else { (WORD as usize - into_word).min(out.len()) };
        let (head, rest) = out.split_at_mut(head);
        if !head.is_empty() {
            let word = self.generator.next_u32().to_le_bytes();
            head.copy_from_slice(&word[into_word..into_word + head.len()]);
        }
        let whole = rest.len() - rest.len() % WORD as usize;
        let (whole, tail) = rest.split_at_mut(whole);
        self.generator.fill_bytes(whole);
        if !tail.is_empty() {
            let word = self.generator.next_u32().to_le_bytes();
            tail.copy_from_slice(&word[..tail.len()]);
        }
        let end = offset + (head.len() + whole.len() + tail.len()) as u64;
        self.position = end.is_multiple_of(WORD).then_some(end);
    }
}

impl fmt::Debug for Keystream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keystream").field("label", &self.label).field("position", &self.position).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        /// Whatever was read before, bytes depend on label and offset alone.
        #[test]
        fn bytes_depend_on_the_offset_alone(cuts in proptest::collection::vec(0usize..700, 1..12)) {
            let mut whole = vec![0; 8192];
            Keystream::new(Label::Stream(9)).fill(0, &mut whole);
            let mut keystream = Keystream::new(Label::Stream(9));
            let mut at = 0;
            for len in cuts {
                let mut part = vec![0; len];
                keystream.fill(at as u64, &mut part);
                proptest::prop_assert_eq!(&part, &whole[at..at + len]);
                at += len;
            }
        }
    }

    #[test]
    fn labels_have_keystreams_of_their_own() {
        let first = |label| {
            let mut bytes = [0; 16];
            Keystream::new(label).fill(0, &mut bytes);
            bytes
        };
        assert_ne!(first(Label::Pool), first(Label::Stream(8)));
        assert_ne!(first(Label::Stream(8)), first(Label::Stream(9)));
        assert_ne!(first(Label::Stream(8)), first(Label::Tail(LayerId::from_bytes([0; 16]))));
    }
}
