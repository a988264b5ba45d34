//! Outages: what a proxy does to its clients as a whole, and for how long.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::AbortHandle;

use crate::clock::Clock;
use crate::proxy::{Force, Proxy, ProxyError};

/// Outages remembered after their end, so that `GET /outages` tells what happened.
const REMEMBERED: usize = 256;

/// Share of new connections that a partial outage resets, where none is given.
pub const DEFAULT_SHARE: f64 = 0.5;

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
}

impl OutageKind {
    /// The kind by its name; the error says which there are.
    ///
    /// # Errors
    /// Unknown kinds, and `flap`, which this version does not have.
    pub fn parse(name: &str) -> Result<Self, String> {
        match name {
            "down" => Ok(Self::Down),
            "black_hole" => Ok(Self::BlackHole),
            "silent" => Ok(Self::Silent),
            "reset_all" => Ok(Self::ResetAll),
            "partial" => Ok(Self::Partial),
            "flap" => Err("outage kind flap is not supported yet; use several down outages".to_owned()),
            _ => Err(format!(
                "unknown outage kind {name}; known are down, black_hole, silent, reset_all and partial"
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
        }
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
    /// Share of new connections that is reset; of a partial outage only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub share: Option<f64>,
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
        share: Option<f64>,
        for_ms: Option<u64>,
    ) -> Outage {
        let share = (kind == OutageKind::Partial).then(|| share.unwrap_or(DEFAULT_SHARE));
        let id = self.register(&proxy, kind, share, for_ms);
        proxy.begin(id, Force { kind, share }).await;
        if kind.is_instant() {
            self.mark_ended(id);
        } else if let Some(for_ms) = for_ms {
            let outages = Arc::clone(self);
            let task = tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(for_ms)).await;
                let _ended_by_hand = outages.end(id).await;
            });
            if let Some(ordered) = self.list().get_mut(&id) {
                ordered.ending = Some(task.abort_handle());
            }
        }
        self.list().get(&id).expect("registered above, and only ended ones are forgotten").outage.clone()
    }

    fn register(&self, proxy: &Arc<Proxy>, kind: OutageKind, share: Option<f64>, for_ms: Option<u64>) -> u64 {
        let mut list = self.list();
        let id = list.last_key_value().map_or(1, |(last, _)| last + 1);
        let outage = Outage {
            id,
            proxy: proxy.live.name.to_string(),
            kind,
            for_ms,
            share,
            state: OutageState::Active,
            started_ms: self.clock.now_ms(),
            ended_ms: None,
        };
        list.insert(id, Ordered { outage, proxy: Arc::clone(proxy), ending: None });
        id
    }

    /// Ends an outage.
    ///
    /// # Errors
    /// There is none with that id in force.
    pub(crate) async fn end(&self, id: u64) -> Result<(), ProxyError> {
        let proxy = match self.list().get(&id) {
            Some(ordered) if ordered.outage.state == OutageState::Active => Arc::clone(&ordered.proxy),
            _ => return Err(ProxyError::OutageNotFound),
        };
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

    /// The proxy ended its outages itself, being reset or deleted.
    pub(crate) fn cleared(&self, proxy: &str) {
        let of_proxy: Vec<_> =
            self.list().values().filter(|o| o.outage.proxy == proxy).map(|o| o.outage.id).collect();
        of_proxy.into_iter().for_each(|id| self.mark_ended(id));
    }

    fn mark_ended(&self, id: u64) {
        let mut list = self.list();
        if let Some(ordered) = list.get_mut(&id).filter(|o| o.outage.state == OutageState::Active) {
            ordered.outage.state = OutageState::Ended;
            ordered.outage.ended_ms = Some(self.clock.now_ms());
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

/// Forgets the oldest outages that are over. The newest stays in any case: its id is the next one's base.
fn forget_oldest(list: &mut BTreeMap<u64, Ordered>) {
    let ended: Vec<_> =
        list.iter().filter(|(_, o)| o.outage.state == OutageState::Ended).map(|(id, _)| *id).collect();
    let surplus = ended.len().saturating_sub(REMEMBERED);
    for id in &ended[..surplus] {
        list.remove(id);
    }
}
