//! An observed share and the interval around it.

use serde::{Deserialize, Serialize};

/// `hits` of `total`, with the 95 % interval of the true share.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proportion {
    /// Observed share, 0..1; 0 where `total` is 0.
    pub share: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// Number of trials.
    pub total: u64,
}

impl Proportion {
    /// Wilson's score interval (E. B. Wilson, J. Am. Stat. Assoc. 22, 1927) at 95 %: it stays inside 0..1 and
    /// is still usable where nothing or everything was a hit. The interval is 0..1 where `total` is 0.
    pub fn of(hits: u64, total: u64) -> Self {
        if total == 0 {
            return Self { share: 0.0, low: 0.0, high: 1.0, total };
        }
        let (n, z2) = (total as f64, Z95 * Z95);
        let share = hits as f64 / n;
        let middle = share + z2 / (2.0 * n);
        let spread = Z95 * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
        let end = |value: f64| (value / (1.0 + z2 / n)).clamp(0.0, 1.0);
        Self { share, low: end(middle - spread), high: end(middle + spread), total }
    }
}

/// The two-sided 95 % quantile of the standard normal distribution.
const Z95: f64 = 1.959_963_984_540_054;

#[cfg(test)]
mod tests {
    use super::*;

    /// Reference values from statsmodels' `proportion_confint(method="wilson")`.
    #[test]
    fn intervals_match_published_values() {
        for (hits, total, low, high) in
            [(0, 50, 0.0, 0.071_347_7), (1, 10, 0.017_876_2, 0.404_150_2), (5, 10, 0.236_593_1, 0.763_406_9)]
        {
            let p = Proportion::of(hits, total);
            assert!((p.low - low).abs() < 1e-6, "{p:?}");
            assert!((p.high - high).abs() < 1e-6, "{p:?}");
        }
    }

    #[test]
    fn nothing_tried_says_nothing() {
        let p = Proportion::of(0, 0);
        assert_eq!((p.low, p.high), (0.0, 1.0));
    }
}
