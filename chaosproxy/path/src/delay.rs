//! How long a latency holds a piece: the distributions it draws from, and tables of measured delays.
//!
//! Of every distribution but the reference's own, `latency` is the mean and `jitter` the standard deviation, so that
//! one can be exchanged for another and the link stays as fast as it was. Numbers are drawn as floating point and
//! become whole nanoseconds at once; nothing is computed on in between.

use std::sync::Arc;

use mockreg_proto::seed::below;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use rand_distr::{Distribution as _, LogNormal, Normal, Pareto};
use thiserror::Error;

use crate::item::{MILLISECOND, Nanos};

/// Lines of a table: a day of one measurement a second.
const LONGEST_TABLE: usize = 100_000;
/// The longest delay of a table, in milliseconds: a day.
const LONGEST_DELAY_MS: f64 = 86_400_000.0;
/// Standard deviations above the mean that count as the longest delay of a distribution without an end.
const FAR: i64 = 4;
/// A century in nanoseconds, so that adding it to a time never overflows.
const LONGEST: i64 = 3_155_760_000_000_000_000;

/// How delays are spread.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Distribution {
    /// Whole milliseconds in `latency - jitter ..= latency + jitter - 1`, each as likely: the reference's.
    #[default]
    Uniform,
    /// Normal; what falls below zero is zero.
    Normal,
    /// Pareto of the first kind: no delay is below its scale, a few are far above the mean.
    Pareto,
    /// Lognormal: skewed, with a tail between the two.
    Lognormal,
    /// As measured: `latency` more than a value of the table.
    Table(Arc<Table>),
}

impl Distribution {
    /// The distribution of that name; those of a table come from its file.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "uniform" => Self::Uniform,
            "normal" => Self::Normal,
            "pareto" => Self::Pareto,
            "lognormal" => Self::Lognormal,
            _ => return None,
        })
    }

    /// Its name in the API.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Normal => "normal",
            Self::Pareto => "pareto",
            Self::Lognormal => "lognormal",
            Self::Table(_) => "file",
        }
    }
}

/// Delays as they were measured: samples, or the quantiles of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    name: String,
    values: Values,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Values {
    /// Each as likely as the others.
    Samples(Vec<Nanos>),
    /// Share of 2^64 below, and the delay there; straight lines between.
    Quantiles(Vec<(u64, Nanos)>),
}

/// Why a text is no table of delays: the line, from 1, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {problem}")]
pub struct TableError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong, and what would be right.
    pub problem: &'static str,
}

impl Table {
    /// Reads a table: a delay in milliseconds a line (samples), or a share from 0 to 1 and the delay that this share
    /// of all is at most (quantiles, rising from 0 to 1). Empty lines and what follows a `#` are skipped.
    ///
    /// # Errors
    /// A line that is none, delays that are no time of at most a day, quantiles out of order, too many lines, or none.
    pub fn parse(name: impl Into<String>, text: &str) -> Result<Self, TableError> {
        let mut rows: Vec<(usize, Vec<f64>)> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let fail = |problem| Err(TableError { line: index + 1, problem });
            let content = line.split('#').next().unwrap_or_default();
            let numbers: Result<Vec<f64>, _> = content.split_whitespace().map(str::parse).collect();
            match numbers {
                Ok(numbers) if numbers.is_empty() => {}
                Ok(numbers) if rows.first().is_some_and(|(_, first)| first.len() != numbers.len()) => {
                    return fail("has another number of columns than the lines before");
                }
                Ok(numbers) if numbers.len() <= 2 && rows.len() < LONGEST_TABLE => {
                    rows.push((index + 1, numbers));
                }
                Ok(numbers) if numbers.len() <= 2 => {
                    return fail("is one too many; a table has at most 100000");
                }
                _ => return fail("needs a delay in milliseconds, or a share from 0 to 1 and a delay"),
            }
        }
        let values = match rows.first() {
            None => return Err(TableError { line: 1, problem: "there is no delay in the whole table" }),
            Some((_, row)) if row.len() == 1 => samples(&rows)?,
            Some(_) => quantiles(&rows)?,
        };
        Ok(Self { name: name.into(), values })
    }

    /// Where it came from.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn sample(&self, draw: u64) -> Nanos {
        match &self.values {
            Values::Samples(samples) => samples[below(draw, samples.len() as u64) as usize],
            Values::Quantiles(knots) => {
                let above = knots.partition_point(|(share, _)| *share <= draw).clamp(1, knots.len() - 1);
                let ((from, low), (to, high)) = (knots[above - 1], knots[above]);
                let part = u128::from(high - low) * u128::from(draw - from);
                low + (part / u128::from(to - from).max(1)) as Nanos
            }
        }
    }

    fn longest(&self) -> Nanos {
        match &self.values {
            Values::Samples(samples) => samples.iter().copied().max().unwrap_or(0),
            Values::Quantiles(knots) => knots.last().map_or(0, |(_, delay)| *delay),
        }
    }
}

fn samples(rows: &[(usize, Vec<f64>)]) -> Result<Values, TableError> {
    rows.iter().map(|(line, row)| delay_of(*line, row[0])).collect::<Result<_, _>>().map(Values::Samples)
}

fn quantiles(rows: &[(usize, Vec<f64>)]) -> Result<Values, TableError> {
    let mut knots: Vec<(u64, Nanos)> = Vec::new();
    for (line, row) in rows {
        let fail = |problem| Err(TableError { line: *line, problem });
        if !(0.0..=1.0).contains(&row[0]) {
            return fail("the share must be between 0 and 1");
        }
        // 1 is 2^64 - 1: a cast to an integer saturates.
        let knot = ((row[0] * 18_446_744_073_709_551_616.0) as u64, delay_of(*line, row[1])?);
        match knots.last() {
            None if knot.0 != 0 => return fail("the first share must be 0: the shortest delay"),
            Some(last) if last.0 >= knot.0 => return fail("shares must rise"),
            Some(last) if last.1 > knot.1 => return fail("delays must not fall as shares rise"),
            _ => knots.push(knot),
        }
    }
    if knots.last().is_none_or(|(share, _)| *share != u64::MAX) {
        let line = rows.last().map_or(1, |(line, _)| *line);
        return Err(TableError { line, problem: "the last share must be 1: the longest delay" });
    }
    // One line cannot be both ends, so there are two at least.
    Ok(Values::Quantiles(knots))
}

fn delay_of(line: usize, milliseconds: f64) -> Result<Nanos, TableError> {
    if (0.0..=LONGEST_DELAY_MS).contains(&milliseconds) {
        return Ok((milliseconds * MILLISECOND as f64).round() as Nanos);
    }
    Err(TableError { line, problem: "a delay is between 0 and 86400000 milliseconds" })
}

/// The delays of one latency.
#[derive(Clone, Debug)]
pub(crate) enum Delay {
    Uniform { latency: i64, jitter: i64 },
    Constant(i64),
    Normal(Normal<f64>),
    Pareto(Pareto<f64>),
    Lognormal(LogNormal<f64>),
    Table(i64, Arc<Table>),
}

impl Delay {
    /// Delays of attributes in milliseconds.
    pub(crate) fn new(latency: i64, jitter: i64, distribution: &Distribution) -> Self {
        let constant = Self::Constant(nanos(latency));
        // In nanoseconds; attributes that make no sense were refused, and would be a constant.
        let (mean, deviation) = (nanos(latency) as f64, nanos(jitter) as f64);
        let spread = deviation / mean;
        match distribution {
            Distribution::Uniform if jitter > 0 => Self::Uniform { latency, jitter },
            Distribution::Table(table) => Self::Table(nanos(latency), Arc::clone(table)),
            _ if jitter <= 0 => constant,
            Distribution::Uniform | Distribution::Normal => {
                Normal::new(mean, deviation).map_or(constant, Self::Normal)
            }
            Distribution::Pareto => {
                // Mean and deviation of Pareto(scale, shape) solved for both; the shape is above 2.
                let shape = 1.0 + (1.0 + spread.powi(-2)).sqrt();
                Pareto::new(mean * (shape - 1.0) / shape, shape).map_or(constant, Self::Pareto)
            }
            Distribution::Lognormal => {
                LogNormal::from_mean_cv(mean, spread).map_or(constant, Self::Lognormal)
            }
        }
    }

    /// The next delay, in nanoseconds: negative only where the latency itself is.
    pub(crate) fn draw(&self, draws: &mut ChaCha8Rng) -> i64 {
        match self {
            Self::Uniform { latency, jitter } => {
                let offset = below(draws.next_u64(), jitter.unsigned_abs().saturating_mul(2)) as i64 - jitter;
                nanos(latency.saturating_add(offset))
            }
            Self::Constant(delay) => *delay,
            Self::Normal(normal) => whole(normal.sample(draws)),
            Self::Pareto(pareto) => whole(pareto.sample(draws)),
            Self::Lognormal(lognormal) => whole(lognormal.sample(draws)),
            Self::Table(more, table) => more.saturating_add_unsigned(table.sample(draws.next_u64())),
        }
    }
}

/// The longest delay, or what counts as it, of attributes in milliseconds.
pub(crate) fn longest(latency: i64, jitter: i64, distribution: &Distribution) -> Nanos {
    let most = match distribution {
        Distribution::Uniform => nanos(latency.saturating_add(jitter.max(0))),
        Distribution::Table(table) => nanos(latency).saturating_add_unsigned(table.longest()),
        _ => nanos(latency.saturating_add(jitter.max(0).saturating_mul(FAR))),
    };
    most.unsigned_abs().max(MILLISECOND)
}

fn nanos(milliseconds: i64) -> i64 {
    milliseconds.saturating_mul(MILLISECOND as i64).clamp(-LONGEST, LONGEST)
}

/// A drawn number as a time. Casts saturate, so that a far tail is a century.
fn whole(nanos: f64) -> i64 {
    (nanos.round() as i64).clamp(0, LONGEST)
}
