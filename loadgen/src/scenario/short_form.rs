//! The short form that Freightliner's load framework writes: `scenarios: {name: {duration, concurrent_workers,
//! expected_throughput, memory_limit_mb}}`. Each name is a built-in scenario; its values replace that scenario's.

use std::collections::BTreeMap;

use mockreg_proto::document;
use mockreg_proto::units::Span;
use serde::Deserialize;

use super::{Bound, Metric, ScenarioError, ScenarioFile, builtin};

#[derive(Deserialize)]
struct Probe {
    scenarios: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShortFile {
    scenarios: BTreeMap<String, Short>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Short {
    duration: Option<Span>,
    concurrent_workers: Option<usize>,
    /// MB/s.
    expected_throughput: Option<f64>,
    memory_limit_mb: Option<f64>,
}

/// Reads a scenario file of either form. `wanted` picks one of several short scenarios (`FILE#NAME`).
pub(super) fn read(path: &str, text: &str, wanted: Option<&str>) -> Result<ScenarioFile, ScenarioError> {
    let short = document::read::<Probe>(path, text).is_ok_and(|probe| probe.scenarios.is_some());
    if !short {
        return Ok(document::read(path, text)?);
    }
    let mut file: ShortFile = document::read(path, text)?;
    let invalid = |problem: String| ScenarioError::Invalid {
        scenario: path.to_owned(),
        key: "scenarios".to_owned(),
        problem,
    };
    let names: Vec<String> = file.scenarios.keys().cloned().collect();
    let name = match (wanted, names.as_slice()) {
        (Some(wanted), _) => wanted.to_owned(),
        (None, [only]) => only.clone(),
        (None, _) => {
            let problem =
                format!("names {} scenarios ({}); run one as {path}#NAME", names.len(), names.join(", "));
            return Err(invalid(problem));
        }
    };
    let short = file.scenarios.remove(&name).ok_or_else(|| invalid(format!("has no `{name}`")))?;
    let text = builtin(&name).ok_or_else(|| {
        invalid(format!(
            "`{name}` is no built-in scenario; write it in full (`loadgen scenarios --show smoke`)"
        ))
    })?;
    Ok(short.over(document::read(&name, text)?))
}

impl Short {
    fn over(self, mut file: ScenarioFile) -> ScenarioFile {
        file.duration = self.duration.unwrap_or(file.duration);
        file.workers = self.concurrent_workers.unwrap_or(file.workers);
        let criteria = [
            (Metric::ThroughputMbS, self.expected_throughput.map(Bound::AtLeast)),
            (Metric::MemoryMb, self.memory_limit_mb.map(Bound::AtMost)),
        ];
        file.criteria.extend(criteria.into_iter().filter_map(|(metric, bound)| Some((metric, bound?))));
        file
    }
}
