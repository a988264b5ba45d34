//! Seeds and keyed decisions. Randomness is never drawn from a shared generator: each decision is a hash of
//! (root seed, labels), so it depends on what is decided and never on when or by whom it was asked first.

use sha2::{Digest as _, Sha256};

/// A root or derived seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seed([u8; 32]);

impl Seed {
    /// The root seed of a run, from the number a user gave.
    pub fn root(number: u64) -> Self {
        Self(
            Sha256::new()
                .chain_update(b"stormyard seed v1\0")
                .chain_update(number.to_be_bytes())
                .finalize()
                .into(),
        )
    }

    /// A seed of its own for `labels`: SHA-256 of parent and labels, each label with its length before it, so
    /// that `["ab", "c"]` and `["a", "bc"]` differ.
    pub fn child<L: AsRef<[u8]>>(&self, labels: impl IntoIterator<Item = L>) -> Self {
        let mut hash = Sha256::new().chain_update(self.0);
        for label in labels {
            let label = label.as_ref();
            hash.update((label.len() as u64).to_be_bytes());
            hash.update(label);
        }
        Self(hash.finalize().into())
    }

    /// Key material for a named generator (ChaCha8 takes 32 bytes).
    pub const fn key(&self) -> [u8; 32] {
        self.0
    }

    /// The first 64 bits, big-endian: one uniform draw.
    pub const fn draw(&self) -> u64 {
        let b = &self.0;
        u64::from_be_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]])
    }
}

/// A uniform integer in `0..bound` from one draw, by the high half of the product (Lemire 2019, without the
/// rejection step: the bias is below `bound / 2^64`). Zero for a zero bound.
pub const fn below(draw: u64, bound: u64) -> u64 {
    ((draw as u128 * bound as u128) >> 64) as u64
}

/// Whether a draw falls under a probability. `probability` is clamped to `0.0..=1.0`; 0 never and 1 always fires.
pub fn fires(draw: u64, probability: f64) -> bool {
    // 2^53 steps: exactly what an f64 between 0 and 1 can tell apart.
    (draw >> 11) < (probability.clamp(0.0, 1.0) * (1u64 << 53) as f64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_do_not_run_together() {
        let root = Seed::root(1);
        assert_ne!(root.child(["ab", "c"]), root.child(["a", "bc"]));
        assert_ne!(root.child(["a"]), Seed::root(2).child(["a"]));
        assert_eq!(root.child(["a", "b"]), Seed::root(1).child(["a", "b"]));
    }

    #[test]
    fn derivation_is_frozen() {
        assert_eq!(format!("{:016x}", Seed::root(1).child(["cut", "7"]).draw()), "e34b24ccd400d923");
    }

    #[test]
    fn probability_zero_never_and_one_always_fires() {
        for draw in [0, 1, u64::MAX / 2, u64::MAX] {
            assert!(!fires(draw, 0.0));
            assert!(fires(draw, 1.0));
        }
    }

    /// n = 100,000 at p = 0.1: four standard deviations are 4 * sqrt(n p (1 - p)) = 380.
    #[test]
    fn fires_as_often_as_asked() {
        let root = Seed::root(1);
        let count = (0..100_000u32).filter(|i| fires(root.child([i.to_be_bytes()]).draw(), 0.1)).count();
        assert!((9_620..=10_380).contains(&count), "{count}");
    }

    #[test]
    fn below_stays_below() {
        assert_eq!(below(u64::MAX, 10), 9);
        assert_eq!(below(0, 10), 0);
        assert_eq!(below(u64::MAX, 0), 0);
    }
}
