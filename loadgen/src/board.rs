//! What is going on in a run right now, written by its driver and read by progress, metrics and the result.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use loadgen_stats::Latency;
use serde::Serialize;

use crate::result::Failure;

/// Live state of a run. Every lock is held for a few assignments only.
#[derive(Debug)]
pub struct Board {
    state: Mutex<State>,
}

/// Phases of a run, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Registries and proxy are started or found.
    Starting,
    /// The source prepares the digests of the corpus.
    Preparing,
    /// Images are copied.
    Copying,
    /// Journals and counters are read.
    Gathering,
    /// The destination is read back.
    Verifying,
    /// Everything is over.
    Done,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    copying_since: Option<Instant>,
    counts: Counts,
    image_latency: Latency,
    failures: Vec<Failure>,
    weather: Weather,
    reasons: Vec<String>,
}

/// Operations by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Being copied.
    pub running: u64,
    /// Copied.
    pub ok: u64,
    /// Given up.
    pub failed: u64,
    /// Cut off by the end of the run.
    pub cut_off: u64,
}

/// What the proxy has done so far.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Weather {
    /// Connections struck, by side and kind.
    pub faults: BTreeMap<String, u64>,
    /// Events under way.
    pub active: Vec<String>,
}

/// A copy of the state for one look.
#[derive(Clone, Debug, Serialize)]
pub struct View {
    /// Phase.
    pub phase: Phase,
    /// Time since the first copy began.
    #[serde(skip)]
    pub elapsed: Duration,
    /// Operations by state.
    pub counts: Counts,
    /// What the proxy has done so far.
    pub weather: Weather,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                phase: Phase::Starting,
                copying_since: None,
                counts: Counts::default(),
                image_latency: Latency::new(),
                failures: Vec::new(),
                weather: Weather::default(),
                reasons: Vec::new(),
            }),
        }
    }
}

impl Board {
    /// Enters a phase.
    pub fn enter(&self, phase: Phase) {
        self.with(|state| {
            state.phase = phase;
            if phase == Phase::Copying {
                state.copying_since = Some(Instant::now());
            }
        });
    }

    /// An image is being copied.
    pub fn image_started(&self) {
        self.with(|state| state.counts.running += 1);
    }

    /// An image was copied within `time`.
    pub fn image_done(&self, time: Duration) {
        self.with(|state| {
            state.counts.running -= 1;
            state.counts.ok += 1;
            state.image_latency.record(time);
        });
    }

    /// An image was given up.
    pub fn image_failed(&self, failure: Failure) {
        self.with(|state| {
            state.counts.running -= 1;
            state.counts.failed += 1;
            if state.failures.len() < MAX_FAILURES {
                state.failures.push(failure);
            }
        });
    }

    /// An image was cut off by the end of the run.
    pub fn image_cut_off(&self) {
        self.with(|state| {
            state.counts.running -= 1;
            state.counts.cut_off += 1;
        });
    }

    /// What the proxy has done so far.
    pub fn set_weather(&self, weather: Weather) {
        self.with(|state| state.weather = weather);
    }

    /// Something that the outcome alone will not say.
    pub fn remark(&self, reason: String) {
        self.with(|state| state.reasons.push(reason));
    }

    /// Remarks so far.
    pub fn remarks(&self) -> Vec<String> {
        self.with(|state| state.reasons.clone())
    }

    /// The first failures.
    pub fn failures(&self) -> Vec<Failure> {
        self.with(|state| state.failures.clone())
    }

    /// Times of whole images.
    pub fn image_latency(&self) -> Latency {
        self.with(|state| state.image_latency.clone())
    }

    /// The state now.
    pub fn view(&self) -> View {
        self.with(|state| View {
            phase: state.phase,
            elapsed: state.copying_since.map_or(Duration::ZERO, |since| since.elapsed()),
            counts: state.counts,
            weather: state.weather.clone(),
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().expect("nothing panics while it holds the board"))
    }
}

/// Failures kept with their causes; more of them are counted only.
const MAX_FAILURES: usize = 20;
