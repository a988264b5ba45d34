//! Duplicate: some datagrams go twice, the copy right behind the original. Toxics behind this one decide about the
//! copy apart.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Fates;
use crate::draw::{Hit, Identity};
use crate::item::{Item, Nanos, Which};
use crate::machine::{Machine, Queue, Step};
use crate::toxic::Attributes;

#[derive(Debug)]
pub(crate) struct Duplicate {
    fates: Fates,
    queue: Queue,
}

impl Duplicate {
    pub(crate) fn new(name: Arc<str>, attributes: &Attributes, identity: &Identity) -> Self {
        let mut duplicate = Self { fates: Fates::new(name, identity, "duplicate"), queue: Queue::default() };
        duplicate.update(attributes, 0);
        duplicate
    }
}

impl Machine for Duplicate {
    fn takes(&mut self, _now: Nanos) -> u64 {
        u64::MAX
    }

    fn offer(&mut self, item: Item, _now: Nanos) {
        let seed = if item.is_data() { self.fates.strike(&item) } else { None };
        let copy = seed.map(|seed| {
            // Never zero, which is the original.
            let copy = seed.child(["copy"]).draw() | 1;
            Item { which: Which { copy, ..item.which }, ..item.clone() }
        });
        self.queue.push(item);
        copy.into_iter().for_each(|copy| self.queue.push(copy));
    }

    fn poll(&mut self, _now: Nanos) -> Step {
        self.queue.pop().map_or(Step::Wait(None), Step::Pass)
    }

    fn held(&self) -> u64 {
        self.queue.cost()
    }

    fn hits(&mut self) -> Vec<Hit> {
        self.fates.hits()
    }

    fn update(&mut self, attributes: &Attributes, _now: Nanos) {
        if let Attributes::Duplicate { rate, correlation } = attributes {
            self.fates.set(*rate, *correlation);
        }
    }

    fn release(&mut self, _removed: bool, _now: Nanos) -> VecDeque<Item> {
        self.queue.take()
    }
}
