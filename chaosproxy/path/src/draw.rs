//! Decisions of a connection: keyed hashes of (seed, toxic, label, accept ordinal), never a shared generator, so
//! that the same connection meets the same fate in every run, whatever else the proxy is doing.

use std::sync::Arc;

use mockreg_proto::seed::Seed;

use crate::item::{Strike, Which};

/// Who a connection is to its toxics: the seed of the run, the label of its proxy and its place in the order of
/// accepted connections, from 1.
#[derive(Clone, Debug)]
pub struct Identity {
    seed: Seed,
    label: Arc<str>,
    ordinal: u64,
}

/// What was decided for one connection, or one datagram of a flow, as the fault ledger records it.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Name of the toxic or outage that decided.
    pub rule: Arc<str>,
    /// The draw behind it.
    pub draw: u64,
    /// Whether the connection is affected.
    pub fires: bool,
    /// What happens to it: `reset`, `stall`, `latency`, ….
    pub action: &'static str,
    /// Numbers that say how.
    pub parameters: Parameters,
}

/// The numbers of a [`Decision`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Parameters {
    /// Bytes that pass before a cut, or from one corrupted byte up to the next.
    After(u64),
    /// The byte of the stream to be corrupted, or not to come any more behind a cut, from 0.
    Offset(u64),
    /// Share of connections that a toxic affects.
    Toxicity(f32),
    /// Share of connections that a partial outage resets.
    Share(f64),
    /// The datagram of its flow and direction, in the order of arrival from 1.
    Datagram(u64),
}

/// A datagram that a toxic struck, by a decision about that one alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// What was decided.
    pub decision: Decision,
    /// Bytes of the datagram.
    pub bytes: u64,
}

impl Hit {
    /// The same as counters take it; `bytes` are those of the datagram.
    pub fn strike(&self) -> Strike {
        Strike { toxic: Arc::clone(&self.decision.rule), fault: self.decision.action, bytes: self.bytes }
    }
}

impl Identity {
    /// The identity of the `ordinal`-th connection of the proxy labelled `label`.
    pub fn new(seed: Seed, label: impl Into<Arc<str>>, ordinal: u64) -> Self {
        Self { seed, label: label.into(), ordinal }
    }

    /// Label of the proxy.
    pub fn label(&self) -> &Arc<str> {
        &self.label
    }

    /// Place in the order of accepted connections, from 1.
    pub const fn ordinal(&self) -> u64 {
        self.ordinal
    }

    /// A seed of its own for one draw of one rule.
    pub fn seed(&self, rule: &str, draw: &str) -> Seed {
        let ordinal = self.ordinal.to_be_bytes();
        self.seed.child([
            b"connection".as_slice(),
            rule.as_bytes(),
            self.label.as_bytes(),
            &ordinal,
            draw.as_bytes(),
        ])
    }

    /// A seed of its own for one rule and one datagram.
    pub(crate) fn of_datagram(&self, rule: &str, which: Which) -> Seed {
        let Which { number, copy } = which;
        let draw =
            if copy == 0 { format!("datagram {number}") } else { format!("datagram {number} {copy:x}") };
        self.seed(rule, &draw)
    }

    /// One uniform draw of one rule.
    pub fn draw(&self, rule: &str, draw: &str) -> u64 {
        self.seed(rule, draw).draw()
    }
}

/// An exponentially distributed number of bytes with the given mean, at least 1, from one uniform draw.
///
/// Inversion, `-ln(u) · mean` with `u = (draw + 1) / 2^64`, in integers only: floating-point logarithms differ
/// between machines in the last bit. The binary logarithm is taken bit by bit (square, compare with two, halve:
/// Knuth, The Art of Computer Programming 1, 1.2.2, exercise 28) to 40 fractional bits, then multiplied by ln 2.
/// The error is below `mean · 2^-39` plus one byte.
pub fn exponential(draw: u64, mean: u64) -> u64 {
    const FRACTION_BITS: u32 = 40;
    /// ln 2 · 2^64, rounded down.
    const LN_2: u128 = 0xb172_17f7_d1cf_79ab;
    // u as a 65-bit integer over 2^64; `draw == u64::MAX` is u = 1 exactly, whose logarithm is zero.
    let scaled = u128::from(draw) + 1;
    let whole = 64 - (127 - scaled.leading_zeros());
    // Mantissa in [1, 2) with 63 fractional bits.
    let mut mantissa = if whole == 0 { scaled >> 1 } else { scaled << (whole - 1) };
    let mut fraction = 0u128;
    for _ in 0..FRACTION_BITS {
        mantissa = (mantissa * mantissa) >> 63;
        fraction <<= 1;
        if mantissa >> 64 != 0 {
            mantissa >>= 1;
            fraction |= 1;
        }
    }
    // -log2(u) = whole - log2(mantissa)
    let negative_log2 = (u128::from(whole) << FRACTION_BITS) - fraction;
    let negative_ln = (negative_log2 * LN_2) >> 64;
    // -ln(u) <= 44.4 needs 46 bits, so the product stays inside 128.
    let bytes = (negative_ln * u128::from(mean)) >> FRACTION_BITS;
    u64::try_from(bytes).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Changing these changes every recorded run: a breaking change.
    #[test]
    fn exponential_is_frozen() {
        let mean = 4_000_000_000;
        let draws = [0, 1, 1 << 32, u64::MAX / 3, u64::MAX / 2, u64::MAX - (1 << 40), u64::MAX];
        let bytes = draws.map(|draw| exponential(draw, mean));
        assert_eq!(
            bytes,
            [177_445_678_223, 174_673_089_501, 88_722_839_110, 4_394_449_154, 2_772_588_722, 238, 1]
        );
    }

    #[test]
    fn exponential_agrees_with_the_logarithm() {
        for i in 0..10_000u64 {
            let draw = Identity::new(Seed::root(1), "x", i).draw("cut", "after");
            let expected = -((draw as f64 + 1.0) / 18_446_744_073_709_551_616.0).ln() * 1e9;
            let got = exponential(draw, 1_000_000_000) as f64;
            assert!((got - expected).abs() <= 2.0 + expected * 1e-9, "{draw}: {got} for {expected}");
        }
    }

    /// n = 20,000: the mean of exponentials has standard deviation mean/sqrt(n) = 0.7 %; four of them are 2.8 %.
    #[test]
    fn exponential_has_its_mean() {
        let draws = (0..20_000u64).map(|i| Identity::new(Seed::root(7), "x", i).draw("cut", "after"));
        let sum: u64 = draws.map(|draw| exponential(draw, 1_000_000)).sum();
        assert!((972_000..=1_028_000).contains(&(sum / 20_000)), "{}", sum / 20_000);
    }

    #[test]
    fn identities_draw_apart() {
        let draw =
            |seed, label, ordinal, rule| Identity::new(Seed::root(seed), label, ordinal).draw(rule, "after");
        let base = draw(1, "source", 1, "cut");
        assert_eq!(base, draw(1, "source", 1, "cut"));
        for other in [draw(2, "source", 1, "cut"), draw(1, "dest", 1, "cut"), draw(1, "source", 2, "cut")] {
            assert_ne!(base, other);
        }
        assert_ne!(base, draw(1, "source", 1, "cut2"));
    }
}
