//! Popularity: how often each of a number of images is asked for. A Zipf law over ranks, and a fixed shuffle that
//! spreads the ranks over the images, in memory that does not grow with their number. Nothing here draws: a caller
//! turns its own uniform draws into images, and may ask for the weight of any.

use mockreg_proto::seed::{Seed, below};

/// A Zipf law over `n` ranks: the share of rank r (from 1) is in proportion to r^-s.
#[derive(Clone, Debug)]
pub struct Zipf {
    n: u64,
    s: f64,
    /// `head[k]`: unscaled mass of the first k ranks.
    head: Vec<f64>,
    total: f64,
}

/// A Zipf law over images, of which the popular ones do not stand together.
#[derive(Clone, Debug)]
pub struct Popularity {
    zipf: Zipf,
    /// The image of rank r (from 0) is (stride · r + shift) mod n.
    stride: u64,
    shift: u64,
    /// stride · inverse = 1 mod n
    inverse: u64,
}

/// Ranks whose mass is summed one by one; from there on the Euler-Maclaurin formula errs by less than 10^-9.
const SUMMED: u64 = 64;
/// Steps of the search for an exponent: each halves the interval, so the last changes nothing that is printed.
const STEPS: u32 = 40;
/// Largest exponent: beyond it the second rank has less than a thousandth of the first.
pub const MAX_EXPONENT: f64 = 10.0;
/// Share of all requests that the most popular [`FITTED_TOP`] take where no exponent is given.
pub const FITTED_SHARE: f64 = 0.5;
/// Share of all images that counts as the most popular.
pub const FITTED_TOP: f64 = 0.01;

impl Zipf {
    /// The law with exponent `s`, from 0 (all alike) to [`MAX_EXPONENT`], over `n` ranks, at least one.
    ///
    /// # Panics
    /// If there is no rank, or the exponent is out of range.
    pub fn new(n: u64, s: f64) -> Self {
        assert!(n > 0, "a law over no ranks has no shares");
        assert!((0.0..=MAX_EXPONENT).contains(&s), "an exponent is 0 to {MAX_EXPONENT}, not {s}");
        let mut head = vec![0.0];
        for rank in 1..=n.min(SUMMED) {
            head.push(head[rank as usize - 1] + mass_of(rank, s));
        }
        let mut zipf = Self { n, s, head, total: 1.0 };
        zipf.total = zipf.mass(n);
        zipf
    }

    /// The law whose most popular hundredth, at least one rank, takes half of all; where a single rank is all there
    /// is, or two share evenly, exponent 0.
    pub fn fitted(n: u64) -> Self {
        let top = ((n as f64 * FITTED_TOP) as u64).max(1);
        let (mut low, mut high) = (0.0, MAX_EXPONENT);
        if Self::new(n, 0.0).share(top) >= FITTED_SHARE {
            return Self::new(n, 0.0);
        }
        for _ in 0..STEPS {
            let middle = f64::midpoint(low, high);
            let enough = Self::new(n, middle).share(top) >= FITTED_SHARE;
            (low, high) = if enough { (low, middle) } else { (middle, high) };
        }
        Self::new(n, high)
    }

    /// How many ranks there are.
    pub const fn len(&self) -> u64 {
        self.n
    }

    /// Always false: there is no law over no ranks.
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// The exponent.
    pub const fn exponent(&self) -> f64 {
        self.s
    }

    /// The share, of 1, that the first `ranks` take together.
    pub fn share(&self, ranks: u64) -> f64 {
        self.mass(ranks.min(self.n)) / self.total
    }

    /// The share of one rank, from 0.
    pub fn weight(&self, rank: u64) -> f64 {
        if rank < self.n { mass_of(rank + 1, self.s) / self.total } else { 0.0 }
    }

    /// The rank, from 0, that belongs to a uniform draw: the one where the shares of all before it reach
    /// `draw / 2^64`.
    pub fn rank(&self, draw: u64) -> u64 {
        let wanted = (draw >> 11) as f64 / (1u64 << 53) as f64 * self.total;
        let (mut low, mut high) = (0, self.n - 1);
        while low < high {
            let middle = low.midpoint(high);
            (low, high) = if self.mass(middle + 1) > wanted { (low, middle) } else { (middle + 1, high) };
        }
        low
    }

    /// Unscaled mass of the first `ranks`: the sum of r^-s, past [`SUMMED`] by the Euler-Maclaurin formula with one
    /// correction.
    fn mass(&self, ranks: u64) -> f64 {
        if let Some(mass) = self.head.get(ranks as usize) {
            return *mass;
        }
        let (from, to) = (SUMMED as f64, ranks as f64);
        let power = |x: f64, exponent: f64| libm::exp(exponent * libm::log(x));
        let integral = if (self.s - 1.0).abs() < 1e-9 {
            libm::log(to / from)
        } else {
            (power(to, 1.0 - self.s) - power(from, 1.0 - self.s)) / (1.0 - self.s)
        };
        let ends = (power(to, -self.s) - power(from, -self.s)) / 2.0;
        let slopes = self.s / 12.0 * (power(from, -self.s - 1.0) - power(to, -self.s - 1.0));
        self.head[SUMMED as usize] + integral + ends + slopes
    }
}

fn mass_of(rank: u64, s: f64) -> f64 {
    libm::exp(-s * libm::log(rank as f64))
}

impl Popularity {
    /// Spreads the ranks of `zipf` over as many images, by a shuffle that `seed` decides.
    pub fn new(zipf: Zipf, seed: &Seed) -> Self {
        let n = zipf.len();
        let shift = below(seed.child(["shift"]).draw(), n);
        // Near the golden section the first ranks spread most evenly; the next number without a common divisor.
        let golden = (n as f64 * 0.618_033_988_749_895) as u64;
        let mut stride = (golden + below(seed.child(["stride"]).draw(), n / 8 + 1)) % n;
        while greatest_common_divisor(stride, n) != 1 {
            stride = (stride + 1) % n.max(2);
        }
        Self { inverse: inverse(stride, n), zipf, stride, shift }
    }

    /// The law.
    pub const fn zipf(&self) -> &Zipf {
        &self.zipf
    }

    /// The image, from 0, that a uniform draw asks for.
    pub fn image(&self, draw: u64) -> u64 {
        self.of_rank(self.zipf.rank(draw))
    }

    /// The image, from 0, of a rank, from 0.
    ///
    /// # Panics
    /// If there is no such rank.
    pub fn of_rank(&self, rank: u64) -> u64 {
        let n = self.zipf.len();
        assert!(rank < n, "there are {n} ranks, so none has number {rank}");
        modular(self.stride, rank, self.shift, n)
    }

    /// The rank, from 0, of an image, from 0.
    ///
    /// # Panics
    /// If there is no such image.
    pub fn rank(&self, image: u64) -> u64 {
        let n = self.zipf.len();
        assert!(image < n, "there are {n} images, so none has number {image}");
        modular(self.inverse, image + n - self.shift, 0, n)
    }

    /// The share, of 1, of all requests that ask for an image.
    ///
    /// # Panics
    /// If there is no such image.
    pub fn weight(&self, image: u64) -> f64 {
        self.zipf.weight(self.rank(image))
    }
}

/// `(factor · x + shift) mod n`
fn modular(factor: u64, x: u64, shift: u64, n: u64) -> u64 {
    ((u128::from(factor) * u128::from(x) + u128::from(shift)) % u128::from(n)) as u64
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// The number whose product with `a` is 1 modulo `n`, by the extended Euclidean algorithm; `a` and `n` have no common
/// divisor.
fn inverse(a: u64, n: u64) -> u64 {
    let n = i128::from(n);
    let (mut r, mut next_r) = (n, i128::from(a));
    let (mut t, mut next_t) = (0, 1);
    while next_r != 0 {
        let quotient = r / next_r;
        (r, next_r) = (next_r, r - quotient * next_r);
        (t, next_t) = (next_t, t - quotient * next_t);
    }
    t.rem_euclid(n) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formula_is_the_sum() {
        for s in [0.0, 0.5, 0.9, 1.0, 1.3, 3.0] {
            let zipf = Zipf::new(200_000, s);
            let mut sum = 0.0;
            for rank in 1..=200_000u64 {
                sum += mass_of(rank, s);
                if [1, 64, 65, 1000, 200_000].contains(&rank) {
                    assert!((zipf.mass(rank) / sum - 1.0).abs() < 1e-9, "{s} {rank}");
                }
            }
        }
    }

    /// The published target: 1 % of the images take half of the pulls.
    #[test]
    fn the_fitted_exponent_gives_the_top_hundredth_half() {
        for (n, least, most) in
            [(100, 1.2, 1.7), (1_000, 1.0, 1.2), (10_000, 0.9, 1.05), (1_000_000, 0.8, 0.95)]
        {
            let zipf = Zipf::fitted(n);
            assert!((zipf.share(n / 100) - 0.5).abs() < 1e-6, "{n} {}", zipf.share(n / 100));
            assert!((least..most).contains(&zipf.exponent()), "{n} {}", zipf.exponent());
        }
        assert_eq!([1, 2].map(|n| Zipf::fitted(n).exponent()), [0.0, 0.0]);
    }

    #[test]
    fn ranks_follow_their_shares_at_both_ends() {
        let zipf = Zipf::new(1000, 1.0);
        assert_eq!((zipf.rank(0), zipf.rank(u64::MAX)), (0, 999));
        // One draw past the share of the first rank is the second's.
        let first = (zipf.weight(0) * 2f64.powi(64)) as u64;
        assert_eq!((zipf.rank(first - (1 << 12)), zipf.rank(first + (1 << 12))), (0, 1));
        let all: f64 = (0..1000).map(|rank| zipf.weight(rank)).sum();
        assert!((all - 1.0).abs() < 1e-9, "{all}");
    }

    /// n = 100,000 draws at shares of 1/4 and more: four standard deviations are 4 sqrt(n / 4 · 3 / 4) = 548.
    #[test]
    fn draws_come_as_often_as_the_law_says() {
        let root = Seed::root(1);
        let popularity = Popularity::new(Zipf::fitted(500), &root);
        let favourite = popularity.of_rank(0);
        let hits = (0..100_000u32)
            .filter(|n| popularity.image(root.child([n.to_be_bytes()]).draw()) == favourite)
            .count();
        let wanted = popularity.weight(favourite) * 1e5;
        assert!((hits as f64 - wanted).abs() < 548.0, "{hits} {wanted}");
    }

    proptest::proptest! {
        #[test]
        fn the_shuffle_is_one(n in 1u64..5000, number: u64) {
            let popularity = Popularity::new(Zipf::new(n, 1.0), &Seed::root(number));
            let mut seen = std::collections::BTreeSet::new();
            for rank in 0..n {
                let image = popularity.of_rank(rank);
                proptest::prop_assert!(image < n && seen.insert(image));
                proptest::prop_assert_eq!(popularity.rank(image), rank);
            }
        }

        #[test]
        fn a_larger_draw_is_never_a_smaller_rank(n in 1u64..1_000_000, s in 0.0..3.0, one: u64, other: u64) {
            let zipf = Zipf::new(n, s);
            let (less, more) = (zipf.rank(one.min(other)), zipf.rank(one.max(other)));
            proptest::prop_assert!(less <= more && more < n);
        }
    }
}
