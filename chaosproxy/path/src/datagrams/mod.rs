//! What toxics do to datagrams, one a file: machines of the same chain as those of a byte stream, for datagrams that
//! are never cut, joined or held back. What they share is here: the fate of one datagram, and a queue by due time.

pub(crate) mod cap;
pub(crate) mod copies;
pub(crate) mod link;
pub(crate) mod reorder;
pub(crate) mod spread;
pub(crate) mod void;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use mockreg_proto::seed::{Seed, fires};

use crate::draw::{Decision, Hit, Identity, Parameters};
use crate::item::{Item, Nanos, Strike};
use crate::machine::Step;

/// Decides about datagrams one by one, each by a draw of its own.
///
/// With a correlation `c` the fate of a datagram is that of the one before it, with probability `c`, and drawn anew
/// otherwise: runs get longer, by `1 / (1 - c)` on average, and the share stays the rate.
#[derive(Debug)]
struct Fates {
    name: Arc<str>,
    identity: Identity,
    /// What is done, as the ledger calls it.
    action: &'static str,
    rate: f64,
    correlation: f64,
    /// Whether the one before was struck.
    struck: bool,
    hits: Vec<Hit>,
}

impl Fates {
    fn new(name: Arc<str>, identity: &Identity, action: &'static str) -> Self {
        let identity = identity.clone();
        Self { name, identity, action, rate: 0.0, correlation: 0.0, struck: false, hits: Vec::new() }
    }

    const fn set(&mut self, rate: f64, correlation: f64) {
        (self.rate, self.correlation) = (rate, correlation);
    }

    /// The seed behind the decision, where this datagram is struck.
    fn strike(&mut self, item: &Item) -> Option<Seed> {
        let seed = self.identity.of_datagram(&self.name, item.which);
        let before = if self.struck { self.correlation } else { 0.0 };
        self.struck = fires(seed.draw(), self.rate * (1.0 - self.correlation) + before);
        if !self.struck {
            return None;
        }
        self.hits.push(Hit {
            decision: Decision {
                rule: Arc::clone(&self.name),
                draw: seed.draw(),
                fires: true,
                action: self.action,
                parameters: Parameters::Datagram(item.which.number),
            },
            bytes: item.len(),
        });
        Some(seed)
    }

    fn hits(&mut self) -> Vec<Hit> {
        std::mem::take(&mut self.hits)
    }
}

/// Datagrams by the time at which they leave, and in the order they came where that is the same.
#[derive(Debug, Default)]
struct Schedule {
    items: BTreeMap<(Nanos, u64), Item>,
    came: u64,
    cost: u64,
}

impl Schedule {
    /// An end leaves behind everything that came before it.
    fn push(&mut self, item: Item, due: Nanos) {
        let last = self.items.last_key_value().map_or(0, |((due, _), _)| *due);
        let due = if item.is_data() { due } else { due.max(last) };
        self.came += 1;
        self.cost += item.cost();
        self.items.insert((due, self.came), item);
    }

    fn poll(&mut self, now: Nanos) -> Step {
        match self.items.first_entry() {
            Some(entry) if entry.key().0 <= now => {
                let due = entry.key().0;
                let mut item = entry.remove();
                self.cost -= item.cost();
                item.at = due;
                Step::Pass(item)
            }
            later => Step::Wait(later.map(|entry| entry.key().0)),
        }
    }

    /// All of them, in the order they would have left.
    fn take(&mut self, now: Nanos) -> VecDeque<Item> {
        self.cost = 0;
        std::mem::take(&mut self.items).into_values().map(|item| Item { at: now, ..item }).collect()
    }
}

/// Datagrams that a toxic let vanish without a draw.
#[derive(Debug)]
struct Vanished {
    name: Arc<str>,
    fault: &'static str,
    /// Bytes that passed the toxic.
    passed: u64,
    strikes: Vec<Strike>,
}

impl Vanished {
    const fn new(name: Arc<str>, fault: &'static str) -> Self {
        Self { name, fault, passed: 0, strikes: Vec::new() }
    }

    fn strike(&self, fault: &'static str) -> Strike {
        Strike { toxic: Arc::clone(&self.name), fault, bytes: self.passed }
    }

    /// One more.
    fn note(&mut self) {
        self.strikes.push(self.strike(self.fault));
    }

    fn strikes(&mut self) -> Vec<Strike> {
        std::mem::take(&mut self.strikes)
    }
}
