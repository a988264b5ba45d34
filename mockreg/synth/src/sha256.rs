//! SHA-256 (FIPS 180-4) that can be left at a block border as eight words and taken up again. The compression
//! function is that of the crate `sha2`, which keeps its own state to itself; around it stands the padding.

use mockreg_proto::digest::Digest;
use sha2::block_api::compress256;

/// A running SHA-256.
#[derive(Clone, Debug)]
pub struct Hasher {
    state: State,
    /// Bytes hashed, those in `pending` included.
    length: u64,
    /// The beginning of the next block.
    pending: [u8; BLOCK],
}

/// All that a hash at a block border is, apart from how many bytes it has seen.
pub(crate) type State = [u32; 8];

const BLOCK: usize = 64;

/// FIPS 180-4, section 5.3.3.
const INITIAL: State =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

impl Hasher {
    /// The hash of nothing so far.
    pub fn new() -> Self {
        Self::resume(INITIAL, 0)
    }

    /// A hash that has seen `length` bytes, a whole number of blocks, and has come to `state`.
    pub(crate) fn resume(state: State, length: u64) -> Self {
        assert!(length.is_multiple_of(BLOCK as u64), "a hash is left at a block border only");
        Self { state, length, pending: [0; BLOCK] }
    }

    /// The state, if the bytes so far are whole blocks.
    pub(crate) fn state(&self) -> Option<State> {
        self.length.is_multiple_of(BLOCK as u64).then_some(self.state)
    }

    /// Bytes hashed so far.
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        let filled = (self.length % BLOCK as u64) as usize;
        self.length += bytes.len() as u64;
        if filled > 0 {
            let (head, rest) = bytes.split_at(bytes.len().min(BLOCK - filled));
            self.pending[filled..filled + head.len()].copy_from_slice(head);
            if filled + head.len() < BLOCK {
                return;
            }
            compress256(&mut self.state, &[self.pending]);
            bytes = rest;
        }
        let (blocks, rest) = bytes.as_chunks::<BLOCK>();
        compress256(&mut self.state, blocks);
        self.pending[..rest.len()].copy_from_slice(rest);
    }

    /// The digest of all bytes taken in.
    pub fn finalize(mut self) -> Digest {
        // FIPS 180-4, section 5.1.1: a one bit, zeros, and the length in bits as the last eight bytes of a block.
        let bits = self.length.wrapping_mul(8).to_be_bytes();
        let filled = (self.length % BLOCK as u64) as usize;
        let zeros = (2 * BLOCK - 9 - filled) % BLOCK;
        let mut padding = [0; 2 * BLOCK];
        padding[0] = 0x80;
        padding[1 + zeros..9 + zeros].copy_from_slice(&bits);
        self.update(&padding[..9 + zeros]);

        let mut digest = [0; 32];
        for (bytes, word) in digest.as_chunks_mut::<4>().0.iter_mut().zip(self.state) {
            *bytes = word.to_be_bytes();
        }
        Digest::from_bytes(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_of_padding_is_that_of_sha2() {
        let bytes: Vec<u8> = (0..=255).collect();
        for len in 0..200 {
            let mut hasher = Hasher::new();
            hasher.update(&bytes[..len]);
            assert_eq!(hasher.finalize(), Digest::of(&bytes[..len]), "{len}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_split_and_resumption_gives_the_same_digest(
            parts in proptest::collection::vec(proptest::collection::vec(0u8.., 0..300), 0..8),
        ) {
            let mut hasher = Hasher::new();
            for part in &parts {
                hasher.update(part);
                if let Some(state) = hasher.state() {
                    hasher = Hasher::resume(state, hasher.length());
                }
            }
            proptest::prop_assert_eq!(hasher.finalize(), Digest::of(&parts.concat()));
        }
    }
}
