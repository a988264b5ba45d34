//! Outages: what a proxy does to its clients as a whole, and for how long.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::proxy::{Force, Proxy, ProxyError};

/// Outages remembered after their end, so that `GET /outages` tells what happened.
const REMEMBERED: usize = 256;

/// Share of new connections that a partial outage resets, where none is given.
pub const DEFAULT_SHARE: f64 = 0.5;

/// Share of each period that a flap is down, where none is given.
pub const DEFAULT_DUTY: f64 = 0.5;

/// The shortest period of a flap, in milliseconds: below, opening and closing a port would be all it does.
pub const LEAST_PERIOD_MS: u64 = 10;

/// Kinds of outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutageKind {
    /// New connections are refused, live ones reset at the start.
    Down,
    /// Connections are accepted, nothing moves; what was in flight goes on, complete, at the end.
    BlackHole,
    /// New connections are accepted and never answered; live ones are untouched.
    Silent,
    /// Live connections are reset once, at the start.
    ResetAll,
    /// A seeded share of new connections is reset at once.
    Partial,
    /// Down and up in turn.
    Flap,
}

/// How an outage goes on: what its kind alone does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manner {
    /// Share of new connections that is reset; of a partial outage only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub share: Option<f64>,
    /// Milliseconds from one time down to the next; of a flap only, which needs it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub period_ms: Option<u64>,
    /// Share of each period that is down; of a flap only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub duty: Option<f64>,
    /// Begin somewhere in the period that the seed and the proxy's label decide, not with the time down; of a flap
    /// only. Proxies that flap with one period do so apart then.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub seeded_phase: Option<bool>,
}

impl Manner {
    /// What is left of this for an outage of that kind, defaults filled in.
    ///
    /// # Errors
    /// Something is impossible, missing, or of another kind; the text names the field and what would be right.
    pub fn of(self, kind: OutageKind) -> Result<Self, String> {
        let is_share = |share: f64| share > 0.0 && share <= 1.0;
        let of_a_flap = [
            ("period_ms", self.period_ms.is_some()),
            ("duty", self.duty.is_some()),
            ("seeded_phase", self.seeded_phase.is_some()),
        ];
        if self.share.is_some_and(|share| !is_share(share)) {
            return Err("share must be above 0 and at most 1".to_owned());
        }
        let given = of_a_flap.into_iter().find(|(_, is_given)| *is_given);
        if let Some((field, _)) = given.filter(|_| kind != OutageKind::Flap) {
            return Err(format!("{field} is of a flap, not of {}", kind.name()));
        }
        if self.share.is_some() && kind != OutageKind::Partial {
            return Err(format!("share is of a partial outage, not of {}", kind.name()));
        }
        match kind {
            OutageKind::Partial => Ok(Self { share: Some(self.share.unwrap_or(DEFAULT_SHARE)), ..self }),
            OutageKind::Flap => {
                let duty = self.duty.unwrap_or(DEFAULT_DUTY);
                match self.period_ms {
                    None => Err("a flap needs period_ms, from one time down to the next".to_owned()),
                    Some(period) if period < LEAST_PERIOD_MS => {
                        Err(format!("period_ms must be at least {LEAST_PERIOD_MS}"))
                    }
                    Some(_) if !(duty > 0.0 && duty < 1.0) => Err("duty must be between 0 and 1".to_owned()),
                    Some(_) => Ok(Self { duty: Some(duty), ..self }),
                }
            }
            _ => Ok(Self::default()),
        }
    }
}

impl OutageKind {
    /// The kind by its name; the error says which there are.
    ///
    /// # Errors
    /// Unknown kinds.
    pub fn parse(name: &str) -> Result<Self, String> {
        match name {
            "down" => Ok(Self::Down),
            "black_hole" => Ok(Self::BlackHole),
            "silent" => Ok(Self::Silent),
            "reset_all" => Ok(Self::ResetAll),
            "partial" => Ok(Self::Partial),
            "flap" => Ok(Self::Flap),
            _ => Err(format!(
                "unknown outage kind {name}; known are down, black_hole, silent, reset_all, partial and flap"
            )),
        }
    }

    /// Its name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::BlackHole => "black_hole",
            Self::Silent => "silent",
            Self::ResetAll => "reset_all",
            Self::Partial => "partial",
            Self::Flap => "flap",
        }
    }

    /// Whether it shuts the door.
    pub(crate) const fn is_down(self) -> bool {
        matches!(self, Self::Down | Self::Flap)
    }

    /// Whether it is over as soon as it has begun.
    pub(crate) const fn is_instant(self) -> bool {
        matches!(self, Self::ResetAll)
    }
}

/// One outage, as it was ordered and as it goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outage {
    /// Names it in the API.
    pub id: u64,
    /// Name of the proxy.
    pub proxy: String,
    /// What happens.
    pub kind: OutageKind,
    /// Milliseconds from start to end; `None`: until it is deleted.
    pub for_ms: Option<u64>,
    /// How it goes on.
    #[serde(flatten)]
    pub manner: Manner,
    /// `active` or `ended`.
    pub state: OutageState,
    /// Milliseconds since the server started.
    pub started_ms: u64,
    /// Milliseconds since the server started.
    pub ended_ms: Option<u64>,
}

/// Whether an outage is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutageState {
    /// In force.
    Active,
    /// Over.
    Ended,
}

/// The outages of a server, in force and lately over.
#[derive(Debug)]
pub(crate) struct Outages {
    clock: Clock,
    list: Mutex<BTreeMap<u64, Ordered>>,
}

#[derive(Debug)]
struct Ordered {
    outage: Outage,
    proxy: Arc<Proxy>,
    /// The task that ends it in time.
    ending: Option<AbortHandle>,
    flapping: Option<Flapping>,
}

/// A flap under way. It is asked to stop and waited for: a door that is being opened or shut is not left halfway.
#[derive(Debug)]
struct Flapping {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Flapping {
    async fn stop(self) {
        self.stop.send_replace(true);
        let _nothing_in_it_panics = self.task.await;
    }
}

impl Outages {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, list: Mutex::default() }
    }

    /// Begins an outage; it is in force when this returns, and ends by itself after `for_ms`.
    pub(crate) async fn begin(
        self: &Arc<Self>,
        proxy: Arc<Proxy>,
        kind: OutageKind,
        manner: Manner,
        for_ms: Option<u64>,
    ) -> Outage {
        let outage = self.hold(proxy, kind, manner, for_ms).await;
        if let Some(for_ms) = for_ms.filter(|_| !kind.is_instant()) {
            let (outages, id) = (Arc::clone(self), outage.id);
            let task = tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(for_ms)).await;
                let _ended_by_hand = outages.end(id).await;
            });
            if let Some(ordered) = self.list().get_mut(&id) {
                ordered.ending = Some(task.abort_handle());
            }
        }
        outage
    }

    /// The same, but whoever calls ends it: `for_ms` is only shown.
    pub(crate) async fn hold(
        &self,
        proxy: Arc<Proxy>,
        kind: OutageKind,
        manner: Manner,
        for_ms: Option<u64>,
    ) -> Outage {
        let id = self.register(&proxy, kind, manner, for_ms);
        if kind == OutageKind::Flap {
            self.flap(&proxy, id, manner).await;
        } else {
            proxy.begin(id, Force { kind, share: manner.share }).await;
        }
        if kind.is_instant() {
            self.mark_ended(id);
        }
        self.list().get(&id).expect("registered above, and only ended ones are forgotten").outage.clone()
    }

    /// Begins to flap. If it begins with the time down, that is in force when this returns.
    async fn flap(&self, proxy: &Arc<Proxy>, id: u64, manner: Manner) {
        let phase = if manner.seeded_phase == Some(true) { proxy.live.flap_phase() } else { 0.0 };
        let turns = Turns::new(manner, phase);
        let start = Instant::now();
        if turns.is_down(0) {
            proxy.begin(id, Force { kind: OutageKind::Flap, share: None }).await;
        }
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(flap(Arc::clone(proxy), id, turns, start, stopped));
        if let Some(ordered) = self.list().get_mut(&id) {
            ordered.flapping = Some(Flapping { stop, task });
        }
    }

    fn register(&self, proxy: &Arc<Proxy>, kind: OutageKind, manner: Manner, for_ms: Option<u64>) -> u64 {
        let mut list = self.list();
        let id = list.last_key_value().map_or(1, |(last, _)| last + 1);
        let outage = Outage {
            id,
            proxy: proxy.live.name.to_string(),
            kind,
            for_ms,
            manner,
            state: OutageState::Active,
            started_ms: self.clock.now_ms(),
            ended_ms: None,
        };
        tracing::info!(
            outage = id,
            proxy = outage.proxy,
            kind = kind.name(),
            for_ms,
            share = manner.share,
            period_ms = manner.period_ms,
            duty = manner.duty,
            "outage began"
        );
        list.insert(id, Ordered { outage, proxy: Arc::clone(proxy), ending: None, flapping: None });
        id
    }

    /// Ends an outage.
    ///
    /// # Errors
    /// There is none with that id in force.
    pub(crate) async fn end(&self, id: u64) -> Result<(), ProxyError> {
        let (proxy, flapping) = match self.list().get_mut(&id) {
            Some(ordered) if ordered.outage.state == OutageState::Active => {
                (Arc::clone(&ordered.proxy), ordered.flapping.take())
            }
            _ => return Err(ProxyError::OutageNotFound),
        };
        if let Some(flapping) = flapping {
            flapping.stop().await;
        }
        proxy.end(id).await;
        self.mark_ended(id);
        Ok(())
    }

    /// All outages, those in force and the newest that are over, by id.
    pub(crate) fn all(&self) -> Vec<Outage> {
        self.list().values().map(|ordered| ordered.outage.clone()).collect()
    }

    /// One outage.
    pub(crate) fn get(&self, id: u64) -> Option<Outage> {
        self.list().get(&id).map(|ordered| ordered.outage.clone())
    }

    /// The proxy is about to end its outages itself, being reset or deleted.
    pub(crate) async fn cleared(&self, proxy: &str) {
        let flapping: Vec<_> = {
            let mut list = self.list();
            let of_proxy = list.values_mut().filter(|o| o.outage.proxy == proxy);
            of_proxy.filter_map(|ordered| ordered.flapping.take()).collect()
        };
        for flapping in flapping {
            flapping.stop().await;
        }
        let of_proxy: Vec<_> =
            self.list().values().filter(|o| o.outage.proxy == proxy).map(|o| o.outage.id).collect();
        of_proxy.into_iter().for_each(|id| self.mark_ended(id));
    }

    fn mark_ended(&self, id: u64) {
        let mut list = self.list();
        if let Some(ordered) = list.get_mut(&id).filter(|o| o.outage.state == OutageState::Active) {
            ordered.outage.state = OutageState::Ended;
            ordered.outage.ended_ms = Some(self.clock.now_ms());
            tracing::info!(outage = id, proxy = ordered.outage.proxy, "outage ended");
        }
        if let Some(ending) = list.get_mut(&id).and_then(|ordered| ordered.ending.take()) {
            // Harmless when it is that task that marks the end: nothing is left for it to do.
            ending.abort();
        }
        forget_oldest(&mut list);
    }

    fn list(&self) -> MutexGuard<'_, BTreeMap<u64, Ordered>> {
        // Entries are inserted and changed whole.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When a flap is down, in milliseconds since its start. Pure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Turns {
    period: u64,
    down: u64,
    /// How far into the period it begins.
    phase: u64,
}

impl Turns {
    fn new(manner: Manner, phase: f64) -> Self {
        let period = manner.period_ms.unwrap_or(LEAST_PERIOD_MS).max(LEAST_PERIOD_MS);
        let share = |of: f64| (period as f64 * of) as u64;
        let down = share(manner.duty.unwrap_or(DEFAULT_DUTY)).clamp(1, period - 1);
        Self { period, down, phase: share(phase).min(period - 1) }
    }

    const fn is_down(self, at: u64) -> bool {
        (at + self.phase) % self.period < self.down
    }

    /// The next turn after this moment.
    const fn next(self, at: u64) -> u64 {
        let place = (at + self.phase) % self.period;
        at + if place < self.down { self.down - place } else { self.period - place }
    }
}

/// Opens and shuts the door in turn, at times counted from the start, so that being late once makes no later turn late.
async fn flap(proxy: Arc<Proxy>, id: u64, turns: Turns, start: Instant, mut stopped: watch::Receiver<bool>) {
    let mut at = 0;
    while !*stopped.borrow() {
        at = turns.next(at);
        tokio::select! {
            () = tokio::time::sleep_until(start + Duration::from_millis(at)) => {}
            _ = stopped.changed() => return,
        }
        if turns.is_down(at) {
            proxy.begin(id, Force { kind: OutageKind::Flap, share: None }).await;
        } else {
            proxy.end(id).await;
        }
    }
}

/// Forgets the oldest outages that are over. The newest stays in any case: its id is the next one's base.
fn forget_oldest(list: &mut BTreeMap<u64, Ordered>) {
    let ended: Vec<_> =
        list.iter().filter(|(_, o)| o.outage.state == OutageState::Ended).map(|(id, _)| *id).collect();
    let surplus = ended.len().saturating_sub(REMEMBERED);
    for id in &ended[..surplus] {
        list.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flap(period_ms: u64, duty: f64) -> Manner {
        Manner { period_ms: Some(period_ms), duty: Some(duty), ..Manner::default() }
    }

    #[test]
    fn turns_alternate_at_fixed_times() {
        let turns = |phase| {
            let turns = Turns::new(flap(1000, 0.3), phase);
            let times = std::iter::successors(Some(0), |at| Some(turns.next(*at)));
            times.take(5).map(|at| (at, turns.is_down(at))).collect::<Vec<_>>()
        };
        assert_eq!(turns(0.0), [(0, true), (300, false), (1000, true), (1300, false), (2000, true)]);
        assert_eq!(turns(0.2), [(0, true), (100, false), (800, true), (1100, false), (1800, true)]);
        assert_eq!(turns(0.5), [(0, false), (500, true), (800, false), (1500, true), (1800, false)]);
    }

    #[test]
    fn a_flap_is_never_all_of_one() {
        for duty in [1e-9, 1.0 - 1e-9] {
            let turns = Turns::new(flap(10, duty), 0.999_999);
            assert!((0..10).any(|at| turns.is_down(at)) && (0..10).any(|at| !turns.is_down(at)));
        }
    }

    #[test]
    fn manners_that_cannot_be_say_what_would_be_right() {
        let share = Manner { share: Some(2.0), ..Manner::default() };
        let half = Manner { share: Some(0.5), ..Manner::default() };
        for (manner, kind, wanted) in [
            (share, OutageKind::Partial, "share must be above 0 and at most 1"),
            (Manner::default(), OutageKind::Flap, "a flap needs period_ms"),
            (flap(9, 0.5), OutageKind::Flap, "period_ms must be at least 10"),
            (flap(1000, 1.0), OutageKind::Flap, "duty must be between 0 and 1"),
            (flap(1000, 0.5), OutageKind::Down, "period_ms is of a flap, not of down"),
            (half, OutageKind::Down, "share is of a partial outage, not of down"),
            (
                Manner { share: half.share, ..flap(1000, 0.5) },
                OutageKind::Flap,
                "share is of a partial outage, not of flap",
            ),
        ] {
            let error = manner.of(kind).unwrap_err();
            assert!(error.starts_with(wanted), "{error}");
        }
        let filled = Manner { period_ms: Some(1000), ..Manner::default() }.of(OutageKind::Flap).unwrap();
        assert_eq!((filled.duty, filled.period_ms), (Some(0.5), Some(1000)));
        assert_eq!(Manner::default().of(OutageKind::Partial).unwrap().share, Some(0.5));
    }
}
