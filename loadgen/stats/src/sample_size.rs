//! How many samples a claim needs.

/// Samples without an exception that show, at 95 % confidence, that at least the share `share` of all behaves:
/// the smallest n with shareⁿ ≤ 0.05. A 99th percentile and a failure rate of 1 % both need 299.
/// `None` where no number would do (a share of 1 or more) or none is needed (0 or less).
pub fn for_share(share: f64) -> Option<u64> {
    (share > 0.0 && share < 1.0).then(|| (ALPHA.ln() / share.ln()).ceil() as u64)
}

/// One minus the confidence of every claim this program makes.
const ALPHA: f64 = 0.05;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_percentiles_need_the_known_counts() {
        for (share, n) in [(0.90, 29), (0.95, 59), (0.99, 299), (0.999, 2995)] {
            assert_eq!(for_share(share), Some(n));
        }
    }

    #[test]
    fn certainty_has_no_sample_size() {
        assert_eq!(for_share(1.0), None);
        assert_eq!(for_share(0.0), None);
    }
}
