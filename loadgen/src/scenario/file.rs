//! The scenario file: its keys, their defaults, and the small notations inside strings.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use mockreg_proto::units::{ByteCount, ByteRate, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Scale;
use crate::client::Side;

/// A scenario as its file has it (YAML or JSON).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScenarioFile {
    /// Version of this format: 1.
    pub schema_version: u32,
    /// Name of the scenario, in results and metrics.
    pub name: String,
    /// One line for people.
    #[serde(default)]
    pub description: String,
    /// Limit of the run.
    pub duration: Span,
    /// true: the plan repeats under fresh prefixes until `duration`; false (default): once, and what was not run
    /// by then fails.
    #[serde(default)]
    pub repeat: bool,
    /// Images being copied at once, in total. Default 10.
    #[serde(default = "default_workers")]
    pub workers: usize,
    /// The images to copy.
    pub corpus: Corpus,
    /// How the built-in replicator works.
    #[serde(default)]
    pub replicator: ReplicatorSettings,
    /// What the network between replicator and registries is like. Default: nothing in the way.
    #[serde(default)]
    pub network: Network,
    /// What happens when. Default: nothing.
    #[serde(default)]
    pub timeline: Vec<Event>,
    /// What the run must show, `metric: "<= value"` or `">= value"`. Default: an exact replica only.
    #[serde(default)]
    pub criteria: BTreeMap<Metric, Bound>,
    /// Named scales: each replaces whole keys and then multiplies sizes, counts and times.
    #[serde(default)]
    pub scales: BTreeMap<String, Scale>,
}

/// The images of a scenario, drawn from the seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Corpus {
    /// Number of images (tags), at least 1.
    pub images: u32,
    /// Compressed bytes of an image, drawn uniformly.
    pub size: SizeRange,
    /// Layers of an image, drawn uniformly: `8` or `3..15`, both ends included.
    #[serde(default = "default_layers")]
    pub layers: CountRange,
    /// Tags that share a repository. Default 1.
    #[serde(default = "default_tags")]
    pub tags_per_repository: u32,
}

/// Smallest and largest size, both included.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SizeRange {
    /// Smallest.
    pub min: ByteCount,
    /// Largest.
    pub max: ByteCount,
}

/// `8` or `3..15`, both ends included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "CountText", into = "CountText")]
#[schemars(with = "CountText")]
pub struct CountRange(pub RangeInclusive<u32>);

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum CountText {
    Number(u32),
    Text(String),
}

/// How the built-in replicator works.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReplicatorSettings {
    /// Images of one repository copied at once. Default 5.
    pub tags_in_parallel: usize,
    /// Connections of the process, both sides together. Default 200.
    pub max_connections: usize,
    /// Upper bound of one upload request. Default 50MB.
    pub chunk: ByteCount,
    /// No byte for so long: the attempt is broken and retried. Default 30s.
    pub idle_timeout: Span,
    /// When to try again, and when to stop.
    pub retries: Retries,
}

/// When to try again, and when to stop; whichever limit comes first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retries {
    /// Attempts of one transfer. Default 100.
    pub attempts: u32,
    /// First back-off, doubled each time. Default 100ms.
    pub base: Span,
    /// Longest back-off. Default 5s.
    pub cap: Span,
    /// Time without progress after which a transfer has failed. Default 120s.
    pub give_up: Span,
}

/// The network of a scenario. An entry applies to both sides unless it names one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Round-trip time, half in each direction.
    pub rtt: Option<Span>,
    /// Rate of a side in each direction, all connections together.
    pub bandwidth: Option<ByteRate>,
    /// Further toxics, by Toxiproxy's JSON names.
    pub toxics: Vec<Toxic>,
    /// Registry-aware faults. This version has none: only an empty list is accepted.
    pub rules: Vec<serde_json::Value>,
}

/// A toxic, as the proxy's API takes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Toxic {
    /// Name; decisions depend on it.
    pub name: String,
    /// Which side. Default: both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub side: Option<Side>,
    /// `latency`, `bandwidth`, `timeout`, `reset_peer`, `cut` …
    #[serde(rename = "type")]
    pub kind: String,
    /// `upstream` (towards the registry) or `downstream` (default).
    #[serde(default = "default_stream")]
    pub stream: String,
    /// Share of connections it strikes, 0..1. Default 1.
    #[serde(default = "default_toxicity")]
    pub toxicity: f64,
    /// The toxic's attributes; sizes may be written like 4GB.
    #[serde(default)]
    pub attributes: BTreeMap<String, serde_json::Value>,
}

/// One scheduled event: exactly one of `at` and `after_bytes`, exactly one of `outage` and `toxic`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Since the start of the transfers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Span>,
    /// After so many bytes forwarded by that side's proxy, both directions, retries included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_bytes: Option<ByteCount>,
    /// How long.
    #[serde(rename = "for")]
    pub lasts: Span,
    /// Which side. Default: both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub side: Option<Side>,
    /// The kind of outage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outage: Option<Outage>,
    /// Share of new connections that a `partial` outage resets, 0..1. Default 0.5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// From one time down to the next, of a `flap`, which needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<Span>,
    /// Share of each period that a `flap` is down, 0..1. Default 0.5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duty: Option<f64>,
    /// A toxic that is there for the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toxic: Option<Toxic>,
}

/// Kinds of outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outage {
    /// New connections refused, live ones reset.
    Down,
    /// Nothing moves; it goes on, complete, when the outage ends.
    BlackHole,
    /// New connections accepted and never answered.
    Silent,
    /// Live connections reset once, at the start.
    ResetAll,
    /// A seeded share of new connections reset at once.
    Partial,
    /// Down and up in turn.
    Flap,
}

/// What a criterion can be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// 10^6 bytes of payload per second of wall time.
    ThroughputMbS,
    /// Peak resident memory of the process, 10^6 bytes.
    MemoryMb,
    /// Failed operations as a share of all.
    FailureRate,
    /// 99th percentile of service latency, milliseconds.
    P99Ms,
    /// 1 − connections opened / requests.
    ConnectionReuse,
}

/// `"<= 0.01"` or `">= 70"`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum Bound {
    /// The value or less.
    AtMost(f64),
    /// The value or more.
    AtLeast(f64),
}

impl Metric {
    /// The key in `criteria`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ThroughputMbS => "throughput_mb_s",
            Self::MemoryMb => "memory_mb",
            Self::FailureRate => "failure_rate",
            Self::P99Ms => "p99_ms",
            Self::ConnectionReuse => "connection_reuse",
        }
    }

    /// Whether a generator at its own limit would spoil the figure.
    pub const fn depends_on_speed(self) -> bool {
        matches!(self, Self::ThroughputMbS | Self::P99Ms)
    }
}

impl Bound {
    /// Whether `value` is within the bound.
    pub fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
        }
    }
}

impl TryFrom<String> for Bound {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let help = || format!("`{text}` is no bound; write \"<= 0.01\" or \">= 70\"");
        let (sign, number) = text.trim().split_at_checked(2).ok_or_else(help)?;
        let number = number.trim().parse::<f64>().ok().filter(|n| n.is_finite()).ok_or_else(help)?;
        match sign {
            "<=" => Ok(Self::AtMost(number)),
            ">=" => Ok(Self::AtLeast(number)),
            _ => Err(help()),
        }
    }
}

impl From<Bound> for String {
    fn from(bound: Bound) -> Self {
        match bound {
            Bound::AtMost(limit) => format!("<= {limit}"),
            Bound::AtLeast(limit) => format!(">= {limit}"),
        }
    }
}

impl TryFrom<CountText> for CountRange {
    type Error = String;

    fn try_from(text: CountText) -> Result<Self, String> {
        let range = match &text {
            CountText::Number(n) => Some(*n..=*n),
            CountText::Text(text) => match text.split_once("..") {
                Some((low, high)) => {
                    low.trim().parse().ok().zip(high.trim().parse().ok()).map(|(a, b)| a..=b)
                }
                None => text.trim().parse().ok().map(|n| n..=n),
            },
        };
        let text = match text {
            CountText::Number(n) => n.to_string(),
            CountText::Text(text) => text,
        };
        match range {
            Some(range) if !range.is_empty() => Ok(Self(range)),
            _ => Err(format!("`{text}` is no range; write 8 or 3..15")),
        }
    }
}

impl From<CountRange> for CountText {
    fn from(range: CountRange) -> Self {
        match (range.0.start(), range.0.end()) {
            (low, high) if low == high => Self::Number(*low),
            (low, high) => Self::Text(format!("{low}..{high}")),
        }
    }
}

impl Default for ReplicatorSettings {
    fn default() -> Self {
        Self {
            tags_in_parallel: 5,
            max_connections: 200,
            chunk: ByteCount(50_000_000),
            idle_timeout: Span(std::time::Duration::from_secs(30)),
            retries: Retries::default(),
        }
    }
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            attempts: 100,
            base: Span(std::time::Duration::from_millis(100)),
            cap: Span(std::time::Duration::from_secs(5)),
            give_up: Span(std::time::Duration::from_secs(120)),
        }
    }
}

fn default_workers() -> usize {
    10
}
fn default_layers() -> CountRange {
    CountRange(1..=1)
}
fn default_tags() -> u32 {
    1
}
fn default_stream() -> String {
    "downstream".to_owned()
}
fn default_toxicity() -> f64 {
    1.0
}
