//! The timeline: outages and toxics that come and go by themselves, at a time or once so many bytes have been
//! forwarded.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::api;
use crate::clock::Clock;
use crate::outage::{DEFAULT_SHARE, OutageKind};
use crate::proxies::Proxies;
use crate::proxy::Proxy;
use crate::toxic::Toxic;

/// Events of a timeline: each is a task while it runs.
const EVENTS: usize = 1000;

/// A timeline as it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timeline {
    /// In any order.
    pub events: Vec<TimelineEvent>,
}

/// One thing to happen. It has one of `at_ms` and `after_bytes`, and one of `outage` and `toxic`.
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
    /// How long it lasts; only `reset_all` does without.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub for_ms: Option<u64>,
    /// Kind of outage.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub outage: Option<String>,
    /// Share of a partial outage, above 0 and at most 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub share: Option<f64>,
    /// A toxic as the toxics API takes it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub toxic: Option<serde_json::Value>,
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
}

/// State of the timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimelineState {
    /// None, or not started.
    Idle,
    /// Started.
    Running,
    /// Every event is done.
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
}

/// When an event is to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Planned {
    /// Milliseconds after the start of the timeline.
    AtMs(u64),
    /// Bytes forwarded by the proxy since then.
    AfterBytes(u64),
}

/// An event and how it goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventView {
    /// Its place in the timeline, from 0.
    pub index: usize,
    /// Name of the proxy.
    pub proxy: String,
    /// `outage:KIND` or `toxic:NAME`.
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

#[derive(Clone, Debug)]
enum Action {
    Outage(OutageKind, Option<f64>),
    Toxic(Toxic),
}

#[derive(Clone, Debug)]
struct Plan {
    index: usize,
    proxy: Arc<Proxy>,
    planned: Planned,
    for_ms: Option<u64>,
    action: Action,
}

/// The timeline of a server.
#[derive(Debug)]
pub(crate) struct Schedule {
    proxies: Arc<Proxies>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    plans: Vec<Plan>,
    board: Arc<Board>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    stop: watch::Sender<bool>,
    events: JoinSet<()>,
}

/// Where events write down how they go.
#[derive(Debug, Default)]
struct Board {
    events: Mutex<Vec<EventView>>,
}

impl Schedule {
    pub(crate) fn new(proxies: Arc<Proxies>) -> Self {
        Self { proxies, inner: Mutex::default() }
    }

    /// Replaces the timeline; a running one is ended, and what it had in force with it.
    ///
    /// # Errors
    /// Events that cannot be: the timeline stays as it was.
    pub(crate) async fn put(&self, timeline: &Timeline) -> Result<(), TimelineError> {
        if timeline.events.len() > EVENTS {
            return Err(TimelineError::TooMany(timeline.events.len()));
        }
        let mut plans = Vec::new();
        for (index, event) in timeline.events.iter().enumerate() {
            let plan = self.plan(index, event).await;
            plans.push(plan.map_err(|problem| TimelineError::Event { index, problem })?);
        }
        self.clear().await;
        for plan in &plans {
            if let Action::Outage(OutageKind::Partial, share) = plan.action {
                plan.proxy.announce(share.unwrap_or(DEFAULT_SHARE)).await;
            }
        }
        let mut inner = self.inner();
        inner.board = Arc::new(Board::new(&plans));
        inner.plans = plans;
        Ok(())
    }

    /// Starts the timeline, from the beginning if it is finished.
    ///
    /// # Errors
    /// There is none, or it is running.
    pub(crate) fn start(&self) -> Result<(), TimelineError> {
        let mut inner = self.inner();
        match inner.board.state(inner.running.is_some()) {
            _ if inner.plans.is_empty() => return Err(TimelineError::Missing),
            TimelineState::Running => return Err(TimelineError::Running),
            TimelineState::Idle | TimelineState::Finished => {}
        }
        let (stop, stopped) = watch::channel(false);
        let board = Arc::new(Board::new(&inner.plans));
        let clock = self.proxies.ground.clock;
        let mut events = JoinSet::new();
        for plan in inner.plans.clone() {
            let run = Run {
                start_ms: clock.now_ms(),
                start_bytes: plan.proxy.live.counters.forwarded(),
                clock,
                plan,
                board: Arc::clone(&board),
                proxies: Arc::clone(&self.proxies),
                stopped: stopped.clone(),
            };
            events.spawn(run.go());
        }
        inner.board = board;
        inner.running = Some(Running { stop, events });
        Ok(())
    }

    /// Ends what is in force and forgets the timeline.
    pub(crate) async fn clear(&self) {
        let running = {
            let mut inner = self.inner();
            inner.plans.clear();
            inner.board = Arc::default();
            inner.running.take()
        };
        if let Some(mut running) = running {
            running.stop.send_replace(true);
            while running.events.join_next().await.is_some() {}
        }
    }

    pub(crate) fn view(&self) -> TimelineView {
        let inner = self.inner();
        let events = inner.board.events().clone();
        TimelineView { state: inner.board.state(inner.running.is_some()), events }
    }

    async fn plan(&self, index: usize, event: &TimelineEvent) -> Result<Plan, String> {
        let proxy = self.proxies.get(&event.proxy).await;
        let proxy = proxy.map_err(|_| format!("there is no proxy {}", event.proxy))?;
        let planned = match (event.at_ms, event.after_bytes) {
            (Some(at), None) => Planned::AtMs(at),
            (None, Some(bytes)) => Planned::AfterBytes(bytes),
            _ => return Err("needs one of at_ms and after_bytes".to_owned()),
        };
        let action = match (&event.outage, &event.toxic) {
            (Some(kind), None) => Action::Outage(OutageKind::parse(kind)?, checked(event.share)?),
            (None, Some(toxic)) => Action::Toxic(api::toxic_of(toxic).map_err(|error| error.to_string())?),
            _ => return Err("needs one of outage and toxic".to_owned()),
        };
        let instant = matches!(action, Action::Outage(kind, _) if kind.is_instant());
        if event.for_ms.is_none() && !instant {
            return Err("needs for_ms".to_owned());
        }
        Ok(Plan { index, proxy, planned, for_ms: event.for_ms, action })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Fields are replaced whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A share that can be one.
pub(crate) fn checked(share: Option<f64>) -> Result<Option<f64>, String> {
    match share {
        Some(share) if !(share > 0.0 && share <= 1.0) => {
            Err("share must be above 0 and at most 1".to_owned())
        }
        share => Ok(share),
    }
}

impl Board {
    fn new(plans: &[Plan]) -> Self {
        let event = |plan: &Plan| EventView {
            index: plan.index,
            proxy: plan.proxy.live.name.to_string(),
            what: match &plan.action {
                Action::Outage(kind, _) => format!("outage:{}", kind.name()),
                Action::Toxic(toxic) => format!("toxic:{}", toxic.name()),
            },
            planned: plan.planned,
            for_ms: plan.for_ms,
            state: EventState::Pending,
            started_ms: None,
            ended_ms: None,
            error: None,
        };
        Self { events: Mutex::new(plans.iter().map(event).collect()) }
    }

    fn state(&self, is_started: bool) -> TimelineState {
        match is_started {
            false => TimelineState::Idle,
            true if self.events().iter().all(|event| event.state == EventState::Done) => {
                TimelineState::Finished
            }
            true => TimelineState::Running,
        }
    }

    fn events(&self) -> MutexGuard<'_, Vec<EventView>> {
        // Plain values.
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One event on its way.
struct Run {
    plan: Plan,
    clock: Clock,
    start_ms: u64,
    start_bytes: u64,
    board: Arc<Board>,
    proxies: Arc<Proxies>,
    stopped: watch::Receiver<bool>,
}

impl Run {
    async fn go(mut self) {
        if !self.triggered().await {
            return;
        }
        match self.begin().await {
            Ok(()) => {}
            Err(error) => {
                self.note(|event, _| (event.state, event.error) = (EventState::Done, Some(error)));
                return;
            }
        }
        self.note(|event, now| (event.state, event.ended_ms) = (EventState::Done, Some(now)));
    }

    /// Waits for its time; false if the timeline was ended before.
    async fn triggered(&mut self) -> bool {
        let counters = &self.plan.proxy.live.counters;
        let (start_bytes, planned) = (self.start_bytes, self.plan.planned);
        let time = async {
            match planned {
                Planned::AtMs(at) => tokio::time::sleep(Duration::from_millis(at)).await,
                Planned::AfterBytes(bytes) => counters.forwarded_at_least(start_bytes + bytes).await,
            }
        };
        tokio::select! {
            () = time => true,
            _ = self.stopped.changed() => false,
        }
    }

    /// Has it happen, from begin to end.
    async fn begin(&mut self) -> Result<(), String> {
        match self.plan.action.clone() {
            Action::Outage(kind, share) => {
                self.note_start();
                let proxy = Arc::clone(&self.plan.proxy);
                let outage = self.proxies.outages.begin(proxy, kind, share, None).await;
                if !kind.is_instant() {
                    self.last().await;
                    let _ended_by_hand = self.proxies.outages.end(outage.id).await;
                }
            }
            Action::Toxic(toxic) => {
                self.plan.proxy.add_toxic(&toxic).await.map_err(|error| error.to_string())?;
                self.note_start();
                self.last().await;
                let _removed_by_hand = self.plan.proxy.remove_toxic(&toxic.name()).await;
            }
        }
        Ok(())
    }

    fn note_start(&self) {
        self.note(|event, now| (event.state, event.started_ms) = (EventState::Active, Some(now)));
    }

    /// Waits as long as it lasts, or until the timeline is ended.
    async fn last(&mut self) {
        let time = Duration::from_millis(self.plan.for_ms.unwrap_or(0));
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            _ = self.stopped.changed() => {}
        }
    }

    fn note(&self, change: impl FnOnce(&mut EventView, u64)) {
        let now = self.clock.now_ms().saturating_sub(self.start_ms);
        change(&mut self.board.events()[self.plan.index], now);
    }
}
