//! Delays of a latency against the distributions they are to have, in simulated time.
//!
//! Kolmogorov and Smirnov's test at n = 1,000: the largest distance between the drawn and the true distribution stays
//! below 1.95 / sqrt(n) in 999 of 1,000 runs. The seed is fixed, so these never fail by chance.

use std::sync::Arc;

use super::*;
use crate::{Distribution, Table};

const N: usize = 1_000;
/// Far longer than any delay, so that no piece waits for the one before it.
const APART: Nanos = 1_000_000 * MILLISECOND;

/// The delay of each of `n` pieces on one connection.
fn delays(n: usize, latency: i64, jitter: i64, distribution: Distribution) -> Vec<Nanos> {
    let mut chain = seeded(1, 1, &[toxic("slow", Attributes::Latency { latency, jitter, distribution })]);
    let delay = |index| {
        let start = index as Nanos * APART;
        chain.offer(pattern(0, 1), start);
        let due = chain.poll(start).wake.unwrap_or(start);
        assert!(due - start < APART, "{due}");
        assert!(matches!(chain.poll(due).out, Out::Deliver(_)));
        due - start
    };
    (0..n).map(delay).collect()
}

fn distance(mut delays: Vec<Nanos>, below: impl Fn(f64) -> f64) -> f64 {
    delays.sort_unstable();
    let n = delays.len() as f64;
    let gaps = delays.iter().enumerate().map(|(index, delay)| {
        let wanted = below(*delay as f64 / MILLISECOND as f64);
        (wanted - index as f64 / n).abs().max((wanted - (index + 1) as f64 / n).abs())
    });
    gaps.fold(0.0, f64::max)
}

fn follows(latency: i64, jitter: i64, distribution: Distribution, below: impl Fn(f64) -> f64) {
    let name = distribution.name();
    let distance = distance(delays(N, latency, jitter, distribution), below);
    assert!(distance < 1.95 / (N as f64).sqrt(), "{name}: {distance}");
}

fn normal(x: f64) -> f64 {
    0.5 * libm::erfc(-x / 2f64.sqrt())
}

fn table(text: &str) -> Distribution {
    Distribution::Table(Arc::new(Table::parse("delays.txt", text).unwrap()))
}

/// Whole milliseconds from 0 to 1999: a step of a two-thousandth, far below what is told apart.
#[test]
fn uniform_delays_are_uniform() {
    follows(1000, 1000, Distribution::Uniform, |ms| (ms + 0.5) / 2000.0);
}

#[test]
fn normal_delays_are_normal() {
    follows(500, 50, Distribution::Normal, |ms| normal((ms - 500.0) / 50.0));
}

/// Mean 100 and deviation 75: the shape is 1 + sqrt(1 + (100/75)²) = 8/3, the scale 100 · (5/3) / (8/3) = 62.5.
#[test]
fn pareto_delays_are_pareto() {
    follows(100, 75, Distribution::Pareto, |ms| 1.0 - (62.5 / ms).powf(8.0 / 3.0));
}

/// The logarithm has variance ln(1 + (jitter / latency)²) and mean ln(latency) less half of that.
#[test]
fn lognormal_delays_are_lognormal() {
    let variance = (1.0f64 + 0.25).ln();
    follows(100, 50, Distribution::Lognormal, |ms| {
        normal((ms.ln() - 100f64.ln() + variance / 2.0) / variance.sqrt())
    });
}

#[test]
fn delays_of_quantiles_follow_straight_lines_between_them() {
    let quantiles = table("# share, delay\n0 10\n0.5 20\n\n0.9 40 # one in ten is slower\n1 140\n");
    follows(5, 0, quantiles, |ms| match ms - 5.0 {
        ms if ms < 20.0 => (ms - 10.0) / 20.0,
        ms if ms < 40.0 => 0.5 + (ms - 20.0) / 50.0,
        ms => 0.9 + (ms - 40.0) / 1000.0,
    });
}

#[test]
fn delays_of_samples_are_among_them() {
    let text: String = (0..1000).map(|n| format!("{}\n", f64::from(n) / 4.0)).collect();
    follows(0, 0, table(&text), |ms| (ms + 0.125) / 250.0);
    let few = delays(100, 0, 0, table("1.5\n7"));
    assert!(few.iter().all(|delay| [1_500_000, 7_000_000].contains(delay)), "{few:?}");
}

/// A test that cannot tell distributions apart shows nothing.
#[test]
fn the_test_tells_distributions_apart() {
    let far = distance(delays(N, 500, 50, Distribution::Lognormal), |ms| normal((ms - 510.0) / 50.0));
    assert!(far > 1.95 / (N as f64).sqrt(), "{far}");
}

/// Changing these changes every recorded run: a breaking change.
#[test]
fn drawn_delays_are_frozen() {
    use Distribution as D;
    let first = |distribution| delays(4, 100, 50, distribution);
    let mut drawn: Vec<_> = [D::Uniform, D::Normal, D::Pareto, D::Lognormal].map(first).into();
    drawn.push(delays(4, 1, 0, table("0 10\n0.5 20\n1 140")));
    assert_eq!(drawn, FROZEN);
}

const FROZEN: [[Nanos; 4]; 5] = [
    [121_000_000, 116_000_000, 55_000_000, 109_000_000],
    [117_549_121, 128_132_027, 14_610_929, 126_472_228],
    [76_629_076, 78_245_377, 171_064_178, 80_927_983],
    [105_572_270, 116_673_444, 39_919_917, 114_858_141],
    [72_722_395, 61_506_142, 12_064_184, 44_918_138],
];

/// Delays that differ a lot still leave in the order they came.
#[test]
fn order_of_departure_is_kept() {
    let spread = Attributes::Latency { latency: 50, jitter: 100, distribution: Distribution::Pareto };
    let outcome = run(&mut chain(&[toxic("slow", spread)]), 100_000, 100, u64::MAX / 4);
    assert_eq!(outcome.bytes, pattern(0, 100_000));
    assert!(outcome.departures.is_sorted_by_key(|(at, _)| *at));
}

#[test]
fn tables_that_are_none_are_refused_with_their_line() {
    for (text, wanted) in [
        ("", "line 1: there is no delay"),
        ("# nothing\n", "line 1: there is no delay"),
        ("1\nfast\n", "line 2: needs a delay in milliseconds"),
        ("1\n0.5 2\n", "line 2: has another number of columns"),
        ("1 2 3\n", "line 1: needs a delay"),
        ("-1\n", "line 1: a delay is between"),
        ("NaN\n", "line 1: a delay is between"),
        ("0 1\n1.5 2\n", "line 2: the share must be"),
        ("0.1 1\n1 2\n", "line 1: the first share must be 0"),
        ("0 1\n0.5 2\n", "line 2: the last share must be 1"),
        ("0 1\n\n0 2\n1 3", "line 3: shares must rise"),
        ("0 3\n1 2", "line 2: delays must not fall"),
    ] {
        let error = Table::parse("t", text).unwrap_err().to_string();
        assert!(error.starts_with(wanted), "{text:?}: {error}");
    }
}
