//! The timeline: outages and toxics that come and go by themselves, at a time or once so many bytes have been
//! forwarded or so many connections accepted.

mod document;
mod run;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::api;
use crate::outage::{DEFAULT_SHARE, Manner, OutageKind};
use crate::proxies::Proxies;
use crate::proxy::Proxy;
use crate::toxic::Toxic;

use document::EVENTS;
pub use document::{
    EventState, EventView, Planned, Ramp, Timeline, TimelineError, TimelineEvent, TimelineState, TimelineView,
};
use run::{Action, Board, Plan, Run};

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

impl Inner {
    fn state(&self) -> TimelineState {
        self.board.state(self.running.is_some())
    }
}

impl Schedule {
    pub(crate) fn new(proxies: Arc<Proxies>) -> Self {
        Self { proxies, inner: Mutex::default() }
    }

    /// Replaces a timeline that is idle or finished.
    ///
    /// # Errors
    /// One is running, or there are events that cannot be: the timeline stays as it was.
    pub(crate) async fn put(&self, timeline: &Timeline) -> Result<(), TimelineError> {
        if timeline.events.len() > EVENTS {
            return Err(TimelineError::TooMany(timeline.events.len()));
        }
        let mut plans = Vec::new();
        for (index, event) in timeline.events.iter().enumerate() {
            let plan = self.plan(index, event).await;
            plans.push(plan.map_err(|problem| TimelineError::Event { index, problem })?);
        }
        for (index, plan) in plans.iter().enumerate() {
            let possible = check_ramp(plan, &plans).await;
            possible.map_err(|problem| TimelineError::Event { index, problem })?;
        }
        self.replace(&plans)?;
        for plan in &plans {
            if let Action::Outage(OutageKind::Partial, manner) = plan.action {
                plan.proxy.announce(manner.share.unwrap_or(DEFAULT_SHARE)).await;
            }
        }
        Ok(())
    }

    fn replace(&self, plans: &[Plan]) -> Result<(), TimelineError> {
        let mut inner = self.inner();
        if inner.state() == TimelineState::Running {
            return Err(TimelineError::Busy);
        }
        // Nothing is left to end: every event of a finished timeline has ended what it had in force.
        *inner = Inner { plans: plans.to_vec(), board: Arc::new(Board::new(plans)), running: None };
        Ok(())
    }

    /// Starts the timeline, from the beginning if it is finished.
    ///
    /// # Errors
    /// There is none, or it is running.
    pub(crate) fn start(&self) -> Result<(), TimelineError> {
        let mut inner = self.inner();
        match inner.state() {
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
        TimelineView { state: inner.state(), events }
    }

    async fn plan(&self, index: usize, event: &TimelineEvent) -> Result<Plan, String> {
        let proxy = self.proxies.get(&event.proxy).await;
        let proxy = proxy.map_err(|_| format!("there is no proxy {}", event.proxy))?;
        let planned = trigger(event)?;
        let manner = Manner {
            share: event.share,
            period_ms: event.period_ms,
            duty: event.duty,
            seeded_phase: event.seeded_phase,
        };
        if event.outage.is_none() && manner != Manner::default() {
            return Err("share, period_ms, duty and seeded_phase are of outages".to_owned());
        }
        let action = self.action(event, manner, &proxy)?;
        let instant = matches!(action, Action::Outage(kind, _) if kind.is_instant());
        match event.for_ms {
            None if !instant => return Err("needs for_ms".to_owned()),
            Some(0) if !instant => return Err("for_ms must be at least 1: nothing lasts no time".to_owned()),
            _ => {}
        }
        Ok(Plan { index, proxy, planned, for_ms: event.for_ms, action })
    }

    fn action(&self, event: &TimelineEvent, manner: Manner, proxy: &Proxy) -> Result<Action, String> {
        match (&event.outage, &event.toxic, &event.ramp) {
            (Some(kind), None, None) => {
                let kind = OutageKind::parse(kind)?;
                Ok(Action::Outage(kind, manner.of(kind)?))
            }
            (None, None, Some(ramp)) if !(ramp.from.is_finite() && ramp.to.is_finite()) => {
                Err("ramp.from and ramp.to must be numbers".to_owned())
            }
            (None, None, Some(ramp)) => Ok(Action::Ramp(ramp.clone())),
            (None, Some(toxic), None) => {
                let toxic = api::toxic_of(toxic, proxy.protocol(), self.proxies.ground.strict_compat)
                    .map_err(|error| error.problem().to_owned())?;
                proxy.make(&toxic).map_err(|error| error.to_string())?;
                Ok(Action::Toxic(toxic))
            }
            (None, None, None) => Err("needs one of outage, toxic and ramp".to_owned()),
            _ => Err("has two of outage, toxic and ramp, and is to be one; make two events of it".to_owned()),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Fields are replaced whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// By what an event begins.
fn trigger(event: &TimelineEvent) -> Result<Planned, String> {
    let triggers = [
        event.at_ms.map(Planned::AtMs),
        event.after_bytes.map(Planned::AfterBytes),
        event.after_connections.map(Planned::AfterConnections),
    ];
    let mut given = triggers.into_iter().flatten();
    match (given.next(), given.next()) {
        (Some(planned), None) => Ok(planned),
        (None, _) => Err("needs one of at_ms, after_bytes and after_connections".to_owned()),
        (Some(_), Some(_)) => {
            Err("has two of at_ms, after_bytes and after_connections, and begins by one".to_owned())
        }
    }
}

/// Refuses a ramp that none of the toxics it may be about can follow: the one that its proxy has under that name, and
/// those that the timeline adds. Without any, whatever comes by then is not known yet.
async fn check_ramp(plan: &Plan, all: &[Plan]) -> Result<(), String> {
    let Action::Ramp(ramp) = &plan.action else { return Ok(()) };
    let added = all.iter().filter(|other| other.proxy.live.name == plan.proxy.live.name);
    let added = added.filter_map(|other| match &other.action {
        Action::Toxic(toxic) if toxic.name() == ramp.toxic => Some(toxic.clone()),
        _ => None,
    });
    let there = plan.proxy.toxic(&ramp.toxic).await;
    let there = there.map(|toxic| Toxic::new(toxic.attributes().clone()).toxicity(toxic.toxicity()));
    let mut result = Ok(());
    for toxic in there.into_iter().chain(added) {
        result = follows(&plan.proxy, toxic, ramp);
        if result.is_ok() {
            break;
        }
    }
    result
}

/// Whether a toxic can have both ends of a ramp; what is between them it can have then, too.
fn follows(proxy: &Proxy, mut toxic: Toxic, ramp: &Ramp) -> Result<(), String> {
    for value in [ramp.from, ramp.to] {
        api::set_attribute(&ramp.attribute, value, &mut toxic.attributes, &mut toxic.toxicity)
            .map_err(|error| error.problem().to_owned())?;
        proxy.make(&toxic).map_err(|error| error.to_string())?;
    }
    Ok(())
}
