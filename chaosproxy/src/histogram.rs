//! How often values were within bounds, as metrics show it.

/// A histogram with these many bounds; what is above the last of them is only counted.
#[derive(Clone, Debug)]
pub(crate) struct Histogram<const BOUNDS: usize> {
    bounds: &'static [u64; BOUNDS],
    /// Values above the bound before, and not above this one.
    within: [u64; BOUNDS],
    count: u64,
    sum: u64,
}

impl<const BOUNDS: usize> Histogram<BOUNDS> {
    /// An empty one; bounds rise.
    pub(crate) const fn new(bounds: &'static [u64; BOUNDS]) -> Self {
        Self { bounds, within: [0; BOUNDS], count: 0, sum: 0 }
    }

    pub(crate) fn add(&mut self, value: u64) {
        if let Some(place) = self.bounds.iter().position(|bound| value <= *bound) {
            self.within[place] += 1;
        }
        self.count += 1;
        self.sum = self.sum.saturating_add(value);
    }

    /// Each bound, and how many values are not above it.
    pub(crate) fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        self.bounds.iter().zip(&self.within).scan(0, |below, (bound, within)| {
            *below += within;
            Some((*bound, *below))
        })
    }

    /// How many values there are.
    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    /// All of them together.
    pub(crate) const fn sum(&self) -> u64 {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_what_is_below_it() {
        let mut histogram = Histogram::new(&[0, 10, 100]);
        assert_eq!((histogram.count(), histogram.sum()), (0, 0));
        for value in [0, 1, 10, 11, 100, 101, u64::MAX] {
            histogram.add(value);
        }
        assert_eq!(histogram.cumulative().collect::<Vec<_>>(), [(0, 1), (10, 3), (100, 5)]);
        assert_eq!((histogram.count(), histogram.sum()), (7, u64::MAX));
    }
}
