//! Reorder: all datagrams are delayed, but for some that go at once and so overtake those still waiting.
//!
//! The terms are those of Linux's netem (tc-netem(8), "reorder PERCENT gap DISTANCE"): one may overtake when at least
//! `gap - 1` have been delayed since the last that did, and it does so at the rate. A sender that is slower than one
//! datagram a delay sees nothing overtaken.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Fates, Schedule};
use crate::draw::{Hit, Identity};
use crate::item::{Item, Nanos};
use crate::machine::{Machine, Step};
use crate::toxic::Attributes;
use crate::toxics::milliseconds;

#[derive(Debug)]
pub(crate) struct Reorder {
    fates: Fates,
    gap: u64,
    delay: Nanos,
    /// Delayed since one overtook.
    delayed: u64,
    schedule: Schedule,
}

impl Reorder {
    pub(crate) fn new(name: Arc<str>, attributes: &Attributes, identity: &Identity) -> Self {
        let fates = Fates::new(name, identity, "reorder");
        let mut reorder = Self { fates, gap: 1, delay: 0, delayed: 0, schedule: Schedule::default() };
        reorder.update(attributes, 0);
        reorder
    }

    fn overtakes(&mut self, item: &Item) -> bool {
        let overtakes = self.delayed + 1 >= self.gap && self.fates.strike(item).is_some();
        self.delayed = if overtakes { 0 } else { self.delayed + 1 };
        overtakes
    }
}

impl Machine for Reorder {
    fn offer(&mut self, item: Item, _now: Nanos) {
        let goes_at_once = !item.is_data() || self.overtakes(&item);
        let due = if goes_at_once { item.at } else { item.at.saturating_add(self.delay) };
        self.schedule.push(item, due);
    }

    fn poll(&mut self, now: Nanos) -> Step {
        self.schedule.poll(now)
    }

    fn held(&self) -> u64 {
        self.schedule.cost
    }

    fn hits(&mut self) -> Vec<Hit> {
        self.fates.hits()
    }

    fn update(&mut self, attributes: &Attributes, _now: Nanos) {
        if let Attributes::Reorder { rate, correlation, gap, delay } = attributes {
            self.fates.set(*rate, *correlation);
            (self.gap, self.delay) = (gap.unsigned_abs(), milliseconds(*delay));
        }
    }

    fn release(&mut self, _removed: bool, now: Nanos) -> VecDeque<Item> {
        self.schedule.take(now)
    }
}
