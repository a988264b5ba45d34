//! Latencies in an HDR histogram: 1 µs to 1 h at three significant digits, mergeable without loss.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// A latency distribution. Merging two of them is exact; percentiles are never averaged.
#[derive(Clone, Debug)]
pub struct Latency {
    histogram: Histogram<u64>,
}

/// The usual percentiles in milliseconds. All zero, with a count of zero, where nothing was recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencySummary {
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile; says something from 299 samples on (see [`crate::sample_size`]).
    pub p99: f64,
    /// 99.9th percentile; says something from 2,995 samples on.
    pub p999: f64,
    /// The slowest.
    pub max: f64,
    /// Number of samples.
    pub count: u64,
}

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

impl Latency {
    /// An empty distribution.
    pub fn new() -> Self {
        let histogram = Histogram::new_with_bounds(LOWEST_US, HIGHEST_US, SIGNIFICANT_DIGITS);
        Self { histogram: histogram.expect("the bounds are constants that HDR accepts") }
    }

    /// Adds one sample. What lies outside 1 µs..1 h is recorded at the nearer end.
    pub fn record(&mut self, sample: Duration) {
        let micros = u64::try_from(sample.as_micros()).unwrap_or(u64::MAX);
        self.histogram.saturating_record(micros.clamp(LOWEST_US, HIGHEST_US));
    }

    /// Adds all samples of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.histogram.add(&other.histogram).expect("all latency histograms have the same bounds");
    }

    /// Number of samples.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// Number of samples of at most `bound`, for cumulative buckets.
    pub fn count_within(&self, bound: Duration) -> u64 {
        let micros = u64::try_from(bound.as_micros()).unwrap_or(u64::MAX);
        self.histogram.count_between(0, micros.min(HIGHEST_US))
    }

    /// Sum of all samples in seconds, within a thousandth.
    pub fn sum_seconds(&self) -> f64 {
        self.histogram.mean() * self.count() as f64 / 1e6
    }

    /// The percentiles in milliseconds.
    pub fn summary(&self) -> LatencySummary {
        let millis = |quantile: f64| self.histogram.value_at_quantile(quantile) as f64 / 1e3;
        if self.histogram.is_empty() {
            return LatencySummary::default();
        }
        LatencySummary {
            p50: millis(0.5),
            p95: millis(0.95),
            p99: millis(0.99),
            p999: millis(0.999),
            max: self.histogram.max() as f64 / 1e3,
            count: self.count(),
        }
    }
}

/// One microsecond: below what a loopback request can take.
const LOWEST_US: u64 = 1;
/// One hour: above any limit that a scenario sets for one request.
const HIGHEST_US: u64 = 3_600_000_000;
/// Errors stay below 0.1 % of the value.
const SIGNIFICANT_DIGITS: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_recorded_is_all_zero() {
        assert_eq!(Latency::new().summary(), LatencySummary::default());
    }

    /// 1..=1000 ms: the q-th percentile is q * 1000 ms, within three significant digits.
    #[test]
    fn percentiles_are_within_a_thousandth() {
        let mut latency = Latency::new();
        (1..=1000).for_each(|ms| latency.record(Duration::from_millis(ms)));
        let s = latency.summary();
        for (got, wanted) in [(s.p50, 500.0), (s.p95, 950.0), (s.p99, 990.0), (s.max, 1000.0)] {
            assert!((got - wanted).abs() <= wanted / 1000.0 + 1e-9, "{got} is not {wanted}");
        }
        assert_eq!(s.count, 1000);
    }

    /// 1..=1000 ms: 100 samples within 100 ms, 500.5 s in all.
    #[test]
    fn buckets_and_sum_are_within_a_thousandth() {
        let mut latency = Latency::new();
        (1..=1000).for_each(|ms| latency.record(Duration::from_millis(ms)));
        assert!((99..=101).contains(&latency.count_within(Duration::from_millis(100))));
        assert_eq!(latency.count_within(Duration::from_secs(1 << 40)), 1000);
        assert!((latency.sum_seconds() - 500.5).abs() < 0.6, "{}", latency.sum_seconds());
    }

    #[test]
    fn extremes_are_kept_at_the_ends() {
        let mut latency = Latency::new();
        latency.record(Duration::ZERO);
        latency.record(Duration::from_secs(1 << 40));
        assert_eq!(latency.count(), 2);
    }

    proptest::proptest! {
        #[test]
        fn merging_equals_recording_together(
            a in proptest::collection::vec(1u64..10_000_000, 0..50),
            b in proptest::collection::vec(1u64..10_000_000, 0..50),
        ) {
            let of = |samples: &[u64]| {
                let mut latency = Latency::new();
                samples.iter().for_each(|us| latency.record(Duration::from_micros(*us)));
                latency
            };
            let mut merged = of(&a);
            merged.merge(&of(&b));
            proptest::prop_assert_eq!(merged.summary(), of(&[a, b].concat()).summary());
        }
    }
}
