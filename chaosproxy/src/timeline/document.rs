//! A timeline as it is written, and as it is shown while it goes.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Events of a timeline: each is a task while it runs.
pub(super) const EVENTS: usize = 1000;

/// A timeline as it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timeline {
    /// In any order.
    pub events: Vec<TimelineEvent>,
}

/// One thing to happen. It has one of `at_ms`, `after_bytes` and `after_connections`, and one of `outage`, `toxic` and
/// `ramp`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimelineEvent {
    /// Name of the proxy.
    pub proxy: String,
    /// Milliseconds after the start of the timeline.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub at_ms: Option<u64>,
    /// Bytes forwarded by that proxy, both directions, since the start of the timeline.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub after_bytes: Option<u64>,
    /// Connections accepted by that proxy since it was made, whenever the timeline starts: the event begins with the one
    /// that has this number in the ledger, or at once where that has come already. Of a proxy of datagrams, flows.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub after_connections: Option<u64>,
    /// How long it lasts; only `reset_all` does without.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub for_ms: Option<u64>,
    /// Kind of outage.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub outage: Option<String>,
    /// Share of a partial outage, above 0 and at most 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub share: Option<f64>,
    /// Milliseconds from one time down to the next, of a flap.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub period_ms: Option<u64>,
    /// Share of each period that a flap is down, between 0 and 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub duty: Option<f64>,
    /// Whether a flap begins where the seed decides.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub seeded_phase: Option<bool>,
    /// A toxic as the toxics API takes it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub toxic: Option<serde_json::Value>,
    /// A change of a toxic that is there, over the time that the event lasts.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ramp: Option<Ramp>,
}

/// One attribute of a toxic moved evenly from a value to another, in steps of at most 100 ms. It stays there at the end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ramp {
    /// Name of the toxic, which is to be there when the event begins.
    pub toxic: String,
    /// Name of the attribute; or `toxicity`.
    pub attribute: String,
    /// Value at the beginning.
    pub from: f64,
    /// Value at the end.
    pub to: f64,
}

impl Ramp {
    /// The value after `step` of so many steps.
    pub(super) fn value(&self, step: u64, steps: u64) -> f64 {
        if step >= steps {
            return self.to;
        }
        self.from + (self.to - self.from) * (step as f64 / steps as f64)
    }
}

/// Why a timeline was refused.
#[derive(Debug, Error)]
pub enum TimelineError {
    /// An event that cannot be.
    #[error("events[{index}]: {problem}")]
    Event {
        /// Its place, from 0.
        index: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// Too many events.
    #[error("a timeline has at most {EVENTS} events, not {0}")]
    TooMany(usize),
    /// There is nothing to start.
    #[error("there is no timeline; put one first")]
    Missing,
    /// It is running.
    #[error("the timeline is running already")]
    Running,
    /// Another one is running, and whoever started it counts on what it does. End that first.
    #[error("a timeline is running; DELETE /timeline first")]
    Busy,
}

/// State of the timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimelineState {
    /// None, or not started.
    Idle,
    /// Started.
    Running,
    /// Every event is over.
    Finished,
}

/// State of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventState {
    /// Its time has not come.
    Pending,
    /// In force.
    Active,
    /// Over.
    Done,
    /// It could not happen, or not to its end.
    Failed,
}

impl EventState {
    /// Whether nothing comes of it any more.
    pub(super) const fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Failed)
    }
}

/// When an event is to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Planned {
    /// Milliseconds after the start of the timeline.
    AtMs(u64),
    /// Bytes forwarded by the proxy since then.
    AfterBytes(u64),
    /// Connections accepted by the proxy since it was made.
    AfterConnections(u64),
}

/// An event and how it goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventView {
    /// Its place in the timeline, from 0.
    pub index: usize,
    /// Name of the proxy.
    pub proxy: String,
    /// `outage:KIND`, `toxic:NAME` or `ramp:TOXIC.ATTRIBUTE`.
    pub what: String,
    /// When it is to begin.
    pub planned: Planned,
    /// How long it lasts.
    pub for_ms: Option<u64>,
    /// State.
    pub state: EventState,
    /// Milliseconds since the start of the timeline.
    pub started_ms: Option<u64>,
    /// Milliseconds since the start of the timeline.
    pub ended_ms: Option<u64>,
    /// Why it could not happen.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
}

/// The timeline and how it goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineView {
    /// State of the whole.
    pub state: TimelineState,
    /// The events, in the order they were given.
    pub events: Vec<EventView>,
}
