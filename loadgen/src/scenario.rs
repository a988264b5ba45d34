//! What a scenario file may say, and what it means once a scale has been chosen.
//!
//! [`ScenarioFile`] is what was typed; [`resolve`] applies a scale, factors and `--param` settings and checks the
//! whole; [`Scenario`] is what the rest of the program works with. Reading never prints and never exits.

mod builtin;
mod file;
mod parameter;
mod scale;
mod short_form;
mod toxic;

use std::path::{Path, PathBuf};

use mockreg_proto::document::{self, DocumentError};
use mockreg_proto::units::Span;
use serde::Serialize;
use thiserror::Error;

pub use crate::client::Side;
pub use builtin::{BUILTIN, builtin};
pub use file::{
    Bound, Corpus, CountRange, Event, Metric, Network, Outage, ReplicatorSettings, Retries, ScenarioFile,
    SizeRange, Toxic,
};
pub use scale::{Factors, Scale};

/// A scenario ready to be planned: scaled and checked.
#[derive(Clone, Debug, Serialize)]
pub struct Scenario {
    /// The effective file; its `scales` are used up and empty.
    pub file: ScenarioFile,
    /// Name of the scale, `custom` where flags scaled further.
    pub scale: String,
    /// The factors that were applied.
    pub factors: Factors,
}

/// What a user asked for on the command line, beside the scenario itself.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// `--scale`; default `ci` where the scenario defines it, else `full`.
    pub scale: Option<String>,
    /// `--scale-bytes`, `--scale-count`, `--scale-time`.
    pub factors: Factors,
    /// `--workers`.
    pub workers: Option<usize>,
    /// `--duration`.
    pub duration: Option<Span>,
    /// `--param key=value`, later ones win.
    pub parameters: Vec<(String, String)>,
}

/// Why a scenario cannot be run.
#[derive(Debug, Error)]
pub enum ScenarioError {
    /// The name is no built-in scenario and no file.
    #[error("there is no built-in scenario and no file `{name}`; {hint}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// The nearest name, or the list of names.
        hint: String,
    },
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not a scenario.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// A key has a value that makes no sense.
    #[error("{scenario}: `{key}`: {problem}")]
    Invalid {
        /// Name of the scenario.
        scenario: String,
        /// The key, dotted.
        key: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// The scale is not defined by this scenario.
    #[error("{scenario} has no scale `{scale}`; it has {known}")]
    UnknownScale {
        /// Name of the scenario.
        scenario: String,
        /// What was asked for.
        scale: String,
        /// What there is.
        known: String,
    },
    /// Fewer bytes or images would end the run before its timed events.
    #[error(
        "{0}: its timeline has `at` events, which a run with fewer bytes or images would not reach; scale the time \
         as well (--scale-time) or choose a named scale"
    )]
    TimeNotScaled(String),
    /// `--param` does not fit.
    #[error("--param {key}={value}: {problem}")]
    Parameter {
        /// The dotted key.
        key: String,
        /// The value.
        value: String,
        /// What is wrong.
        problem: String,
    },
}

/// Finds a scenario: a built-in one by name, or a file by its path.
///
/// # Errors
/// Neither exists, or the file is not a scenario.
pub fn load(name: &str) -> Result<ScenarioFile, ScenarioError> {
    if let Some(text) = builtin(name) {
        return Ok(document::read(&format!("built-in scenario {name}"), text)?);
    }
    let (path, wanted) = name.split_once('#').map_or((name, None), |(path, part)| (path, Some(part)));
    if !Path::new(path).exists() {
        let hint = match document::nearest(name, BUILTIN.iter().map(|(name, _)| *name)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`loadgen scenarios` lists the built-in ones".to_owned(),
        };
        return Err(ScenarioError::Unknown { name: name.to_owned(), hint });
    }
    let text = std::fs::read_to_string(path)
        .map_err(|source| ScenarioError::Unreadable { path: path.into(), source })?;
    short_form::read(path, &text, wanted)
}

/// Applies scale, factors and parameters, and checks the whole.
///
/// # Errors
/// An unknown scale, a parameter that does not fit, or values that make no sense together.
pub fn resolve(mut file: ScenarioFile, wishes: &Wishes) -> Result<Scenario, ScenarioError> {
    let (scale, named) = scale::choose(&mut file, wishes.scale.as_deref())?;
    let by_flag = wishes.factors;
    let shrinks = by_flag.bytes.is_some() || by_flag.count.is_some();
    if shrinks && by_flag.time.is_none() && file.timeline.iter().any(|event| event.at.is_some()) {
        return Err(ScenarioError::TimeNotScaled(file.name));
    }
    let factors = named.times(by_flag);
    factors.check(&file.name)?;
    factors.apply(&mut file);
    let mut file = parameter::set(file, &wishes.parameters)?;
    file.workers = wishes.workers.unwrap_or(file.workers);
    file.duration = wishes.duration.unwrap_or(file.duration);
    check(&file)?;
    let scale = if by_flag == Factors::default() { scale } else { format!("{scale} (custom)") };
    Ok(Scenario { file, scale, factors })
}

/// Everything that the types cannot say.
fn check(file: &ScenarioFile) -> Result<(), ScenarioError> {
    let corpus = &file.corpus;
    let settings = &file.replicator;
    let checks = [
        (file.schema_version == 1, "schema_version", "this program reads version 1"),
        (!file.name.is_empty(), "name", "must not be empty"),
        (!file.duration.0.is_zero(), "duration", "must be longer than 0"),
        (file.workers >= 1, "workers", "at least one image is copied at a time"),
        (corpus.images >= 1, "corpus.images", "at least one image"),
        (corpus.tags_per_repository >= 1, "corpus.tags_per_repository", "at least one tag"),
        (corpus.size.min <= corpus.size.max, "corpus.size", "`min` must not be larger than `max`"),
        (*corpus.layers.0.start() >= 1, "corpus.layers", "at least one layer"),
        (*corpus.layers.0.end() <= MAX_LAYERS, "corpus.layers", "at most 64 layers"),
        (
            corpus.size.min.0 >= u64::from(*corpus.layers.0.end()) * MIN_LAYER,
            "corpus.size.min",
            "too small for that many layers; a layer has at least 553 bytes",
        ),
        (settings.tags_in_parallel >= 1, "replicator.tags_in_parallel", "at least 1"),
        (settings.max_connections >= 2, "replicator.max_connections", "at least 2: one to each side"),
        (settings.chunk.0 >= 1, "replicator.chunk", "at least one byte"),
        (!settings.idle_timeout.0.is_zero(), "replicator.idle_timeout", "must be longer than 0"),
        (settings.retries.attempts >= 1, "replicator.retries.attempts", "at least 1"),
        (
            settings.retries.base <= settings.retries.cap,
            "replicator.retries",
            "`base` must not be longer than `cap`",
        ),
        (
            file.network.rules.is_empty(),
            "network.rules",
            "registry-aware faults are not there yet; use toxics",
        ),
        (file.network.bandwidth.is_none_or(|rate| rate.0 >= 1000), "network.bandwidth", "at least 1kB/s"),
    ];
    for (holds, key, problem) in checks {
        if !holds {
            return Err(invalid(file, key, problem));
        }
    }
    let timed = file.timeline.iter().filter_map(|event| event.toxic.as_ref());
    for toxic in file.network.toxics.iter().chain(timed) {
        toxic::check(toxic).map_err(|problem| invalid(file, &format!("toxic {}", toxic.name), &problem))?;
    }
    file.timeline.iter().enumerate().try_for_each(|(index, event)| {
        let one = |a: bool, b: bool| a != b;
        let timed = one(event.at.is_some(), event.after_bytes.is_some());
        let acts = one(event.outage.is_some(), event.toxic.is_some());
        let key = format!("timeline[{index}]");
        match (timed, acts) {
            (false, _) => Err(invalid(file, &key, "give exactly one of `at` and `after_bytes`")),
            (_, false) => Err(invalid(file, &key, "give exactly one of `outage` and `toxic`")),
            _ if (event.outage == Some(Outage::Flap)) != event.period.is_some() => {
                Err(invalid(file, &key, "`period` is of a `flap`, which needs it"))
            }
            _ if event.duty.is_some() && event.period.is_none() => {
                Err(invalid(file, &key, "`duty` is of a `flap`"))
            }
            _ if event.lasts.0.is_zero() => Err(invalid(file, &key, "`for` must be longer than 0")),
            _ => Ok(()),
        }
    })
}

fn invalid(file: &ScenarioFile, key: &str, problem: &str) -> ScenarioError {
    ScenarioError::Invalid { scenario: file.name.clone(), key: key.to_owned(), problem: problem.to_owned() }
}

/// What a manifest of this program's registries may hold; real images stay below it.
const MAX_LAYERS: u32 = 64;
/// The least gzip layer of the synthetic format, bytes.
const MIN_LAYER: u64 = 553;

#[cfg(test)]
mod tests;
