//! Which bytes of something have gone by: stretches that grow together, and how much of each new one was known. Pure.

/// Stretches of one blob, sorted, apart from each other: first byte and one past the last.
#[derive(Clone, Debug)]
pub(crate) struct Coverage {
    stretches: Vec<(u64, u64)>,
    most: usize,
}

impl Coverage {
    /// Nothing yet. Beyond `most` separate stretches the shortest is forgotten, so that later bytes of it count as
    /// new.
    pub(crate) fn new(most: usize) -> Self {
        Self { stretches: Vec::new(), most }
    }

    /// Adds a stretch and says how many of its bytes were there already.
    pub(crate) fn add(&mut self, first: u64, end: u64) -> u64 {
        let start = self.stretches.partition_point(|stretch| stretch.1 < first);
        let stop = self.stretches.partition_point(|stretch| stretch.0 <= end);
        let touched = &self.stretches[start..stop];
        let known =
            touched.iter().map(|stretch| stretch.1.min(end).saturating_sub(stretch.0.max(first))).sum();
        let joined = touched
            .iter()
            .fold((first, end), |joined, stretch| (joined.0.min(stretch.0), joined.1.max(stretch.1)));
        self.stretches.splice(start..stop, [joined]);
        if self.stretches.len() > self.most {
            let length = |at: &usize| self.stretches[*at].1 - self.stretches[*at].0;
            let shortest = (0..self.stretches.len()).min_by_key(length);
            self.stretches.remove(shortest.expect("there are more than the bound"));
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a plain set of byte positions: exact without a bound, never too high with one.
        #[test]
        fn coverage_counts_what_a_set_counts(
            stretches in prop::collection::vec((0u64..400, 1u64..20), 0..40),
            most in 1usize..8,
        ) {
            let (mut exact, mut bounded) = (Coverage::new(usize::MAX), Coverage::new(most));
            let (mut seen, mut wanted, mut lower) = (HashSet::new(), 0, 0);
            for (first, len) in stretches {
                let known = (first..first + len).filter(|byte| !seen.insert(*byte)).count() as u64;
                prop_assert_eq!(exact.add(first, first + len), known);
                prop_assert!(exact.stretches.windows(2).all(|pair| pair[0].1 < pair[1].0));
                wanted += known;
                lower += bounded.add(first, first + len);
                prop_assert!(bounded.stretches.len() <= most);
            }
            prop_assert!(lower <= wanted);
        }
    }
}
