//! From figures to a verdict. Pure: the rules of what passes, what fails and what cannot be told.

use std::collections::BTreeMap;

use loadgen_stats::proportion::Proportion;
use loadgen_stats::sample_size;
use serde::{Deserialize, Serialize};

use crate::scenario::{Bound, Metric};

/// What a run showed, as far as the verdict needs it.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// 10^6 bytes of payload per second of wall time.
    pub throughput_mb_s: f64,
    /// Peak resident memory, 10^6 bytes.
    pub memory_mb: Option<f64>,
    /// Operations that count.
    pub operations: u64,
    /// Of these, how many failed or were not run.
    pub failed: u64,
    /// 99th percentile of service latency, ms, and its samples.
    pub p99_ms: (f64, u64),
    /// Connections opened and requests made.
    pub connections: (u64, u64),
    /// Whether the replica is exact; `None` where it was not checked.
    pub replica_exact: Option<bool>,
    /// Scheduled events that did not happen.
    pub missed_events: u64,
    /// The generator was the limit.
    pub generator_limited: bool,
    /// The destination's journal has received fewer bytes than the replicator says it committed.
    pub payload_contradicted: bool,
    /// Stopped by a person.
    pub interrupted: bool,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every estimable criterion passed and the replica is exact.
    Pass,
    /// A criterion failed, the replica differs, or nothing could be judged.
    Fail,
    /// The run says nothing about the replicator.
    Invalid,
    /// A person stopped it.
    Interrupted,
    /// Something could not be started or reached.
    Error,
}

/// Verdict on one criterion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Within its bound.
    Pass,
    /// Outside its bound.
    Fail,
    /// Too few samples to tell.
    NotEstimable,
}

/// One criterion and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Criterion {
    /// Name, as in the scenario.
    pub name: String,
    /// The bound, as in the scenario.
    pub wanted: String,
    /// What was observed; `None` where there was nothing to observe.
    pub got: Option<f64>,
    /// Whether it holds.
    pub verdict: Verdict,
    /// Samples it takes to judge it, or to claim it at 95 % confidence where that is more than there were.
    pub needs: Option<u64>,
    /// What a reader should know: an interval, a reason.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub note: Option<String>,
}

impl Outcome {
    /// Exit code of the program.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Fail => 1,
            Self::Error => 3,
            Self::Invalid => 5,
            Self::Interrupted => 130,
        }
    }
}

/// Judges every criterion. Where none is set on failures, none may happen.
pub fn judge(criteria: &BTreeMap<Metric, Bound>, observed: &Observed) -> Vec<Criterion> {
    let mut criteria = criteria.clone();
    criteria.entry(Metric::FailureRate).or_insert(Bound::AtMost(0.0));
    criteria.iter().map(|(metric, bound)| criterion(*metric, *bound, observed)).collect()
}

/// The outcome of the run. Interrupted goes before fail, fail before invalid, invalid before pass. `strict` makes
/// what cannot be told a failure.
pub fn outcome(criteria: &[Criterion], observed: &Observed, strict: bool) -> Outcome {
    let any = |verdict: Verdict| criteria.iter().any(|c| c.verdict == verdict);
    if observed.interrupted {
        Outcome::Interrupted
    } else if any(Verdict::Fail)
        || observed.replica_exact != Some(true)
        || (strict && any(Verdict::NotEstimable))
    {
        Outcome::Fail
    } else if observed.missed_events > 0 || observed.generator_limited || observed.payload_contradicted {
        Outcome::Invalid
    } else {
        Outcome::Pass
    }
}

fn criterion(metric: Metric, bound: Bound, observed: &Observed) -> Criterion {
    let (got, samples_needed, note) = match metric {
        Metric::ThroughputMbS => (Some(observed.throughput_mb_s), None, None),
        Metric::MemoryMb => (observed.memory_mb, None, None),
        Metric::FailureRate => failure_rate(bound, observed),
        Metric::P99Ms => p99(observed),
        Metric::ConnectionReuse => {
            let (opened, requests) = observed.connections;
            ((requests > 0).then(|| 1.0 - opened as f64 / requests as f64), None, None)
        }
    };
    let verdict = match got {
        None => Verdict::NotEstimable,
        Some(value) if bound.holds(value) => Verdict::Pass,
        Some(_) => Verdict::Fail,
    };
    Criterion {
        name: metric.name().to_owned(),
        wanted: bound.into(),
        got,
        verdict,
        needs: samples_needed,
        note,
    }
}

/// Judged as observed; beside it the interval, and how many operations a claim of the bound itself would take.
fn failure_rate(bound: Bound, observed: &Observed) -> (Option<f64>, Option<u64>, Option<String>) {
    if observed.operations == 0 {
        return (None, Some(1), Some("no operation ran".to_owned()));
    }
    let rate = Proportion::of(observed.failed, observed.operations);
    let claim = match bound {
        Bound::AtMost(limit) => sample_size::for_share(1.0 - limit),
        Bound::AtLeast(_) => None,
    };
    let percent = |share: f64| format!("{:.1}", share * 100.0);
    let note = format!("95 % interval {}–{} %, n = {}", percent(rate.low), percent(rate.high), rate.total);
    (Some(rate.share), claim.filter(|n| *n > observed.operations), Some(note))
}

fn p99(observed: &Observed) -> (Option<f64>, Option<u64>, Option<String>) {
    let (value, count) = observed.p99_ms;
    let needed = sample_size::for_share(0.99).expect("0.99 lies between 0 and 1");
    if count < needed {
        return (None, Some(needed), Some(format!("{count} requests are too few")));
    }
    (Some(value), None, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Observed {
        Observed {
            throughput_mb_s: 100.0,
            memory_mb: Some(300.0),
            operations: 50,
            p99_ms: (200.0, 1000),
            connections: (10, 100),
            replica_exact: Some(true),
            ..Observed::default()
        }
    }

    fn judged(metric: Metric, bound: Bound, observed: &Observed) -> Criterion {
        judge(&BTreeMap::from([(metric, bound)]), observed)
            .into_iter()
            .find(|c| c.name == metric.name())
            .unwrap()
    }

    fn outcome_of(observed: &Observed) -> Outcome {
        outcome(&judge(&BTreeMap::new(), observed), observed, false)
    }

    #[test]
    fn every_metric_passes_and_fails_at_its_bound() {
        let observed = Observed { failed: 5, ..good() };
        for (metric, passes, fails) in [
            (Metric::ThroughputMbS, Bound::AtLeast(100.0), Bound::AtLeast(100.1)),
            (Metric::MemoryMb, Bound::AtMost(300.0), Bound::AtMost(299.0)),
            (Metric::FailureRate, Bound::AtMost(0.1), Bound::AtMost(0.09)),
            (Metric::P99Ms, Bound::AtMost(200.0), Bound::AtMost(199.0)),
            (Metric::ConnectionReuse, Bound::AtLeast(0.9), Bound::AtLeast(0.91)),
        ] {
            assert_eq!(judged(metric, passes, &observed).verdict, Verdict::Pass, "{metric:?}");
            assert_eq!(judged(metric, fails, &observed).verdict, Verdict::Fail, "{metric:?}");
        }
    }

    #[test]
    fn too_few_samples_are_not_estimable_with_the_n_it_takes() {
        let observed = Observed { p99_ms: (1.0, 298), memory_mb: None, connections: (0, 0), ..good() };
        let p99 = judged(Metric::P99Ms, Bound::AtMost(1e9), &observed);
        assert_eq!((p99.verdict, p99.needs, p99.got), (Verdict::NotEstimable, Some(299), None));
        assert_eq!(judged(Metric::MemoryMb, Bound::AtMost(1.0), &observed).verdict, Verdict::NotEstimable);
        assert_eq!(
            judged(Metric::ConnectionReuse, Bound::AtLeast(0.0), &observed).verdict,
            Verdict::NotEstimable
        );
        let p99 = [p99];
        assert_eq!(outcome(&p99, &observed, false), Outcome::Pass);
        assert_eq!(outcome(&p99, &observed, true), Outcome::Fail);
    }

    #[test]
    fn a_failure_rate_says_what_a_claim_would_take() {
        let rate = judged(Metric::FailureRate, Bound::AtMost(0.01), &good());
        assert_eq!((rate.verdict, rate.got, rate.needs), (Verdict::Pass, Some(0.0), Some(299)));
        assert!(rate.note.unwrap().contains("n = 50"));
    }

    #[test]
    fn without_a_criterion_on_failures_none_may_happen() {
        assert_eq!(outcome_of(&good()), Outcome::Pass);
        assert_eq!(outcome_of(&Observed { failed: 1, ..good() }), Outcome::Fail);
    }

    #[test]
    fn precedence_is_interrupted_fail_invalid_pass() {
        let invalid = Observed { missed_events: 1, ..good() };
        let failed = Observed { failed: 1, ..invalid.clone() };
        let interrupted = Observed { interrupted: true, ..failed.clone() };
        assert_eq!(outcome_of(&interrupted), Outcome::Interrupted);
        assert_eq!(outcome_of(&failed), Outcome::Fail);
        assert_eq!(outcome_of(&invalid), Outcome::Invalid);
        assert_eq!(outcome_of(&Observed { generator_limited: true, ..good() }), Outcome::Invalid);
        assert_eq!(outcome_of(&Observed { payload_contradicted: true, ..good() }), Outcome::Invalid);
    }

    #[test]
    fn a_wrong_or_unchecked_replica_fails() {
        assert_eq!(outcome_of(&Observed { replica_exact: Some(false), ..good() }), Outcome::Fail);
        assert_eq!(outcome_of(&Observed { replica_exact: None, ..good() }), Outcome::Fail);
        assert_eq!(outcome_of(&Observed { operations: 0, ..good() }), Outcome::Pass);
    }

    #[test]
    fn exit_codes_are_the_documented_ones() {
        let codes = [Outcome::Pass, Outcome::Fail, Outcome::Error, Outcome::Invalid, Outcome::Interrupted];
        assert_eq!(codes.map(Outcome::exit_code), [0, 1, 3, 5, 130]);
    }
}
