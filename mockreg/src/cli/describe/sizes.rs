//! Many sizes in little memory: their percentiles to a five-hundredth, their count, sum, greatest and histogram
//! exactly.

use std::collections::BTreeMap;

use mockreg_proto::units::ByteCount;
use serde::Serialize;

/// Sizes, as many as there are, in at most 30,000 groups of those that agree in their first ten binary digits.
#[derive(Clone, Debug, Default)]
pub(super) struct Sizes {
    groups: BTreeMap<u64, Group>,
    /// How many there are of each number of decimal digits, by that number less one; 0 has one digit.
    decades: [u64; DECADES],
    count: u64,
    sum: u64,
    greatest: u64,
}

/// Sizes that agree in their first ten binary digits.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    count: u64,
    greatest: u64,
}

/// Decimal digits of the greatest size there may be.
const DECADES: usize = u64::MAX.ilog10() as usize + 1;

/// The shape of many sizes, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Percentiles {
    count: u64,
    mean: u64,
    p10: u64,
    p50: u64,
    p75: u64,
    p90: u64,
    p95: u64,
    p99: u64,
    max: u64,
}

/// A column of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Column {
    /// Sizes from here, in bytes.
    from: u64,
    /// To below here, in bytes.
    to: u64,
    count: u64,
}

fn decade(size: u64) -> usize {
    size.checked_ilog10().unwrap_or(0) as usize
}

/// A size with all but its first ten binary digits dropped: less than a five-hundredth below it.
fn group(size: u64) -> u64 {
    let dropped = (u64::BITS - size.leading_zeros()).saturating_sub(10);
    size >> dropped << dropped
}

impl Sizes {
    /// Adds one.
    pub(super) fn add(&mut self, size: u64) {
        let group = self.groups.entry(group(size)).or_default();
        (group.count, group.greatest) = (group.count + 1, group.greatest.max(size));
        self.decades[decade(size)] += 1;
        self.count += 1;
        self.sum += size;
        self.greatest = self.greatest.max(size);
    }

    /// The sum, in bytes.
    pub(super) const fn sum(&self) -> u64 {
        self.sum
    }

    /// A size that `part` of a hundred do not exceed: the greatest of the group in which the least such size is.
    fn percentile(&self, part: u64) -> u64 {
        let wanted = (self.count * part).div_ceil(100).max(1);
        let mut seen = 0;
        let mut groups = self.groups.values();
        let found = groups.find(|group| {
            seen += group.count;
            seen >= wanted
        });
        found.map_or(0, |group| group.greatest)
    }

    /// Their shape.
    pub(super) fn percentiles(&self) -> Percentiles {
        Percentiles {
            count: self.count,
            mean: self.sum.checked_div(self.count).unwrap_or_default(),
            p10: self.percentile(10),
            p50: self.percentile(50),
            p75: self.percentile(75),
            p90: self.percentile(90),
            p95: self.percentile(95),
            p99: self.percentile(99),
            max: self.greatest,
        }
    }

    /// How many there are of each power of ten, from the least to the greatest.
    pub(super) fn histogram(&self) -> Vec<Column> {
        let columns = self.decades.iter().enumerate().map(|(digits, count)| {
            let from = 10u64.pow(digits as u32);
            Column { from, to: from.saturating_mul(10), count: *count }
        });
        columns.filter(|column| column.count > 0).collect()
    }
}

impl Percentiles {
    /// One line.
    pub(super) fn text(&self) -> String {
        let parts = [
            ("mean", self.mean),
            ("p10", self.p10),
            ("p50", self.p50),
            ("p75", self.p75),
            ("p90", self.p90),
            ("p95", self.p95),
            ("p99", self.p99),
            ("max", self.max),
        ];
        parts.map(|(name, size)| format!("{name} {}", short(size))).join(", ")
    }
}

impl Column {
    /// One line, with a bar that is as long as the share of `all`.
    pub(super) fn text(&self, all: u64) -> String {
        /// Characters of a bar that is all there is.
        const WIDTH: f64 = 40.0;
        let share = self.count as f64 / all as f64;
        let bar = "#".repeat((share * WIDTH).ceil() as usize);
        let range = format!("{} - {}", short(self.from), short(self.to));
        format!("{range:>18}  {:>9}  {:>5.1} %  {bar}", self.count, share * 100.0)
    }
}

/// A size for a person: three digits and a decimal unit, the next one from where three digits would be a thousand.
pub(super) fn short(size: u64) -> String {
    const UNITS: [(u64, &str); 4] =
        [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    if size < 1_000 {
        return ByteCount(size).to_string();
    }
    let reached = |unit: u64| size >= unit - unit / 2_000;
    let (unit, name) = UNITS.into_iter().find(|(unit, _)| reached(*unit)).unwrap_or(UNITS[3]);
    let number = size as f64 / unit as f64;
    // As they are after rounding: 9.996 is 10.0.
    let digits = [(9.995, 2), (99.95, 1)].into_iter().find(|(below, _)| number < *below);
    format!("{number:.*} {name}", digits.map_or(0, |(_, digits)| digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_sorted_sizes() {
        let mut sizes = Sizes::default();
        (1..=1000u64).for_each(|n| sizes.add(n * 1_000_003));
        let shape = sizes.percentiles();
        for (got, wanted) in [(shape.p10, 100), (shape.p50, 500), (shape.p99, 990)] {
            let wanted = wanted as f64 * 1_000_003.0;
            assert!((got as f64 - wanted).abs() < wanted / 500.0, "{got} {wanted}");
        }
        assert_eq!((shape.count, shape.max, shape.mean), (1000, 1_000_003_000, 500_501_501));
        assert_eq!(Sizes::default().percentiles(), Percentiles::default());
    }

    #[test]
    fn sizes_that_are_all_alike_are_told_as_they_are() {
        let mut sizes = Sizes::default();
        (0..3).for_each(|_| sizes.add(1_000_000));
        let shape = sizes.percentiles();
        assert_eq!([shape.mean, shape.p10, shape.p50, shape.p99, shape.max], [1_000_000; 5]);
        assert!(shape.text().contains("p50 1.00 MB"), "{}", shape.text());
        let columns: Vec<_> = sizes.histogram().iter().map(|column| (column.from, column.count)).collect();
        assert_eq!(columns, [(1_000_000, 3)]);
    }

    #[test]
    fn a_histogram_counts_powers_of_ten() {
        let mut sizes = Sizes::default();
        [5, 600, 999, 1000, 1500, 2_000_000].into_iter().for_each(|size| sizes.add(size));
        let columns: Vec<_> = sizes.histogram().iter().map(|column| (column.from, column.count)).collect();
        assert_eq!(columns, [(1, 1), (100, 2), (1000, 2), (1_000_000, 1)]);
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!(
            [553, 4_000, 62_700_000, 594_000_000_000].map(short),
            ["553B", "4.00 kB", "62.7 MB", "594 GB"]
        );
        // At the edges: 999,499 has three digits in kB, 999,500 would be 1000 kB.
        assert_eq!(
            [0, 999, 1_000, 9_994, 9_995, 99_949, 99_950, 999_499, 999_500, 1_000_000, 999_999_999]
                .map(short),
            [
                "0B", "999B", "1.00 kB", "9.99 kB", "10.0 kB", "99.9 kB", "100 kB", "999 kB", "1.00 MB",
                "1.00 MB", "1.00 GB"
            ]
        );
    }
}
