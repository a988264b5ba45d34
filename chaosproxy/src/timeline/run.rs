//! One event of a timeline on its way: it waits for its time, happens, lasts and ends, and writes down when.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::document::{EventState, EventView, Planned, Ramp, TimelineState};
use crate::api;
use crate::clock::Clock;
use crate::outage::{Manner, OutageKind};
use crate::proxies::Proxies;
use crate::proxy::Proxy;
use crate::toxic::Toxic;

/// The longest step of a ramp.
const RAMP_STEP_MS: u64 = 100;

/// What an event does.
#[derive(Clone, Debug)]
pub(super) enum Action {
    Outage(OutageKind, Manner),
    Toxic(Toxic),
    Ramp(Ramp),
}

/// An event that can be.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) index: usize,
    pub(super) proxy: Arc<Proxy>,
    pub(super) planned: Planned,
    pub(super) for_ms: Option<u64>,
    pub(super) action: Action,
}

impl Plan {
    /// What it does, as it is shown.
    fn what(&self) -> String {
        match &self.action {
            Action::Outage(kind, _) => format!("outage:{}", kind.name()),
            Action::Toxic(toxic) => format!("toxic:{}", toxic.name()),
            Action::Ramp(ramp) => format!("ramp:{}.{}", ramp.toxic, ramp.attribute),
        }
    }
}

/// Where events write down how they go.
#[derive(Debug, Default)]
pub(super) struct Board {
    events: Mutex<Vec<EventView>>,
}

impl Board {
    pub(super) fn new(plans: &[Plan]) -> Self {
        let event = |plan: &Plan| EventView {
            index: plan.index,
            proxy: plan.proxy.live.name.to_string(),
            what: plan.what(),
            planned: plan.planned,
            for_ms: plan.for_ms,
            state: EventState::Pending,
            started_ms: None,
            ended_ms: None,
            error: None,
        };
        Self { events: Mutex::new(plans.iter().map(event).collect()) }
    }

    pub(super) fn state(&self, is_started: bool) -> TimelineState {
        match is_started {
            false => TimelineState::Idle,
            true if self.events().iter().all(|event| event.state.is_over()) => TimelineState::Finished,
            true => TimelineState::Running,
        }
    }

    pub(super) fn events(&self) -> MutexGuard<'_, Vec<EventView>> {
        // Plain values.
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One event on its way.
pub(super) struct Run {
    pub(super) plan: Plan,
    pub(super) clock: Clock,
    pub(super) start_ms: u64,
    pub(super) start_bytes: u64,
    pub(super) board: Arc<Board>,
    pub(super) proxies: Arc<Proxies>,
    pub(super) stopped: watch::Receiver<bool>,
}

impl Run {
    pub(super) async fn go(mut self) {
        if !self.triggered().await {
            return;
        }
        let result = self.begin().await;
        let (event, proxy, what) = (self.plan.index, &*self.plan.proxy.live.name, self.plan.what());
        match result {
            Ok(()) => {
                tracing::info!(event, proxy, what, "timeline event ended");
                self.note(|event, now| (event.state, event.ended_ms) = (EventState::Done, Some(now)));
            }
            Err(error) => {
                tracing::warn!(event, proxy, what, error, "timeline event failed");
                self.note(|event, _| (event.state, event.error) = (EventState::Failed, Some(error)));
            }
        }
    }

    /// Waits for its time; false if the timeline was ended before.
    async fn triggered(&mut self) -> bool {
        let counters = &self.plan.proxy.live.counters;
        let (start_bytes, planned) = (self.start_bytes, self.plan.planned);
        let time = async {
            match planned {
                Planned::AtMs(at) => tokio::time::sleep(Duration::from_millis(at)).await,
                Planned::AfterBytes(bytes) => {
                    counters.forwarded_at_least(start_bytes.saturating_add(bytes)).await;
                }
                Planned::AfterConnections(connections) => counters.accepted_at_least(connections).await,
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
            Action::Outage(kind, manner) => {
                self.note_start();
                let proxy = Arc::clone(&self.plan.proxy);
                let outage = self.proxies.outages.hold(proxy, kind, manner, self.plan.for_ms).await;
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
            Action::Ramp(ramp) => self.ramp(&ramp).await?,
        }
        Ok(())
    }

    /// Moves the attribute step by step, at times counted from the start; ends early with the timeline.
    async fn ramp(&mut self, ramp: &Ramp) -> Result<(), String> {
        let lasts = self.plan.for_ms.unwrap_or(0);
        let steps = lasts.div_ceil(RAMP_STEP_MS).max(1);
        let start = Instant::now();
        for step in 0..=steps {
            let at = start + Duration::from_millis(lasts * step / steps);
            tokio::select! {
                () = tokio::time::sleep_until(at) => {}
                _ = self.stopped.changed() => return Ok(()),
            }
            let value = ramp.value(step, steps);
            let change = |_: &_, attributes: &mut _, toxicity: &mut _| {
                api::set_attribute(&ramp.attribute, value, attributes, toxicity)
            };
            let updated = self.plan.proxy.update_toxic(&ramp.toxic, change).await;
            updated.map_err(|error| error.problem().to_owned())?;
            if step == 0 {
                self.note_start();
            }
        }
        Ok(())
    }

    fn note_start(&self) {
        self.note(|event, now| (event.state, event.started_ms) = (EventState::Active, Some(now)));
        let (event, proxy, what) = (self.plan.index, &*self.plan.proxy.live.name, self.plan.what());
        tracing::info!(event, proxy, what, "timeline event began");
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
