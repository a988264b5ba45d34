//! Scales: the same scenario smaller. A scale first replaces whole keys, then its factors multiply sizes, counts
//! and times, replaced values included.

use std::collections::BTreeMap;
use std::time::Duration;

use mockreg_proto::units::{ByteCount, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Bound, Corpus, Event, Metric, Network, ReplicatorSettings, ScenarioError, ScenarioFile, Toxic};

/// Factors of a scale. An absent one is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Factors {
    /// Sizes of images, `mean_bytes` of toxics, `after_bytes` of events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<f64>,
    /// Number of images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<f64>,
    /// Duration of the run, `at` and `for` of events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<f64>,
}

/// One named scale: factors, and keys that replace the scenario's own.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Scale {
    /// Sizes of images, `mean_bytes` of toxics, `after_bytes` of events.
    pub bytes: Option<f64>,
    /// Number of images.
    pub count: Option<f64>,
    /// Duration of the run, `at` and `for` of events.
    pub time: Option<f64>,
    /// Replaces the scenario's key of the same name.
    pub duration: Option<Span>,
    /// Replaces the scenario's key of the same name.
    pub repeat: Option<bool>,
    /// Replaces the scenario's key of the same name.
    pub workers: Option<usize>,
    /// Replaces the scenario's key of the same name.
    pub corpus: Option<Corpus>,
    /// Replaces the scenario's key of the same name.
    pub replicator: Option<ReplicatorSettings>,
    /// Replaces the scenario's key of the same name.
    pub network: Option<Network>,
    /// Replaces the scenario's key of the same name.
    pub timeline: Option<Vec<Event>>,
    /// Replaces the scenario's key of the same name.
    pub criteria: Option<BTreeMap<Metric, Bound>>,
}

/// Takes the wanted scale out of the file (or the default one), applies what it replaces, and returns its name and
/// factors. `full` always exists and changes nothing.
pub(super) fn choose(
    file: &mut ScenarioFile,
    wanted: Option<&str>,
) -> Result<(String, Factors), ScenarioError> {
    let mut scales = std::mem::take(&mut file.scales);
    let name = wanted.unwrap_or(if scales.contains_key(DEFAULT_SCALE) { DEFAULT_SCALE } else { FULL });
    match scales.remove(name) {
        Some(scale) => Ok((name.to_owned(), scale.replace_in(file))),
        None if name == FULL => Ok((name.to_owned(), Factors::default())),
        None => {
            let known: Vec<&str> = scales.keys().map(String::as_str).chain([FULL]).collect();
            Err(ScenarioError::UnknownScale {
                scenario: file.name.clone(),
                scale: name.to_owned(),
                known: known.join(", "),
            })
        }
    }
}

impl Scale {
    fn replace_in(self, file: &mut ScenarioFile) -> Factors {
        fn put<T>(place: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *place = value;
            }
        }
        put(&mut file.duration, self.duration);
        put(&mut file.repeat, self.repeat);
        put(&mut file.workers, self.workers);
        put(&mut file.corpus, self.corpus);
        put(&mut file.replicator, self.replicator);
        put(&mut file.network, self.network);
        put(&mut file.timeline, self.timeline);
        put(&mut file.criteria, self.criteria);
        Factors { bytes: self.bytes, count: self.count, time: self.time }
    }
}

impl Factors {
    /// Both sets of factors, one after the other.
    pub(super) fn times(self, other: Self) -> Self {
        let both = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => Some(a * b),
            (a, b) => a.or(b),
        };
        Self {
            bytes: both(self.bytes, other.bytes),
            count: both(self.count, other.count),
            time: both(self.time, other.time),
        }
    }

    pub(super) fn check(self, scenario: &str) -> Result<(), ScenarioError> {
        for (key, factor) in [("bytes", self.bytes), ("count", self.count), ("time", self.time)] {
            if factor.is_some_and(|f| !(f.is_finite() && f > 0.0)) {
                return Err(ScenarioError::Invalid {
                    scenario: scenario.to_owned(),
                    key: format!("scale factor {key}"),
                    problem: "must be a number above 0".to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Multiplies what each factor is about.
    pub(super) fn apply(self, file: &mut ScenarioFile) {
        let bytes = |size: &mut ByteCount| size.0 = scaled(size.0, self.bytes);
        let time = |span: &mut Span| {
            let nanos = u64::try_from(span.0.as_nanos()).unwrap_or(u64::MAX);
            span.0 = Duration::from_nanos(scaled(nanos, self.time));
        };
        bytes(&mut file.corpus.size.min);
        bytes(&mut file.corpus.size.max);
        let images = scaled(u64::from(file.corpus.images), self.count).max(1);
        file.corpus.images = u32::try_from(images).unwrap_or(u32::MAX);
        time(&mut file.duration);
        for event in &mut file.timeline {
            event.at.iter_mut().for_each(time);
            time(&mut event.lasts);
            event.after_bytes.iter_mut().for_each(bytes);
            event.toxic.iter_mut().for_each(|toxic| self.apply_to_toxic(toxic));
        }
        file.network.toxics.iter_mut().for_each(|toxic| self.apply_to_toxic(toxic));
    }

    fn apply_to_toxic(self, toxic: &mut Toxic) {
        let Some(value) = toxic.attributes.get_mut("mean_bytes") else { return };
        if let Ok(size) = serde_json::from_value::<ByteCount>(value.clone()) {
            *value = scaled(size.0, self.bytes).into();
        }
    }
}

/// `value` times `factor`, rounded down, never below 1 where it was not 0. Factors have at most 53 bits, and one
/// multiplication of doubles is the same on every machine.
fn scaled(value: u64, factor: Option<f64>) -> u64 {
    match factor {
        None => value,
        Some(factor) => ((value as f64 * factor) as u64).max(value.min(1)),
    }
}

/// What `loadgen run` does where the scenario has it: it fits into a minute on two cores.
const DEFAULT_SCALE: &str = "ci";
/// The scenario as written.
const FULL: &str = "full";
