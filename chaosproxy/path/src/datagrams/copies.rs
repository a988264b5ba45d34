//! How often a datagram leaves, each by its own draw: packet loss lets some vanish, duplicate sends some twice, the copy
//! right behind the original. Toxics behind this one decide about the copy apart.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Fates;
use crate::draw::{Hit, Identity};
use crate::item::{Item, Nanos, Which};
use crate::machine::{Machine, Queue, Step};
use crate::toxic::Attributes;

#[derive(Debug)]
pub(crate) struct Copies {
    fates: Fates,
    /// Those that are struck go twice; otherwise not at all.
    doubles: bool,
    queue: Queue,
}

impl Copies {
    /// Struck datagrams vanish.
    pub(crate) fn lost(name: Arc<str>, attributes: &Attributes, identity: &Identity) -> Self {
        Self::new(Fates::new(name, identity, "packet_loss"), false, attributes)
    }

    /// Struck datagrams go twice.
    pub(crate) fn doubled(name: Arc<str>, attributes: &Attributes, identity: &Identity) -> Self {
        Self::new(Fates::new(name, identity, "duplicate"), true, attributes)
    }

    fn new(fates: Fates, doubles: bool, attributes: &Attributes) -> Self {
        let mut copies = Self { fates, doubles, queue: Queue::default() };
        copies.update(attributes, 0);
        copies
    }
}

impl Machine for Copies {
    fn offer(&mut self, item: Item, _now: Nanos) {
        let seed = if item.is_data() { self.fates.strike(&item) } else { None };
        match seed {
            None => self.queue.push(item),
            Some(seed) if self.doubles => {
                // Never zero, which is the original.
                let copy = seed.child(["copy"]).draw() | 1;
                let copy = Item { which: Which { copy, ..item.which }, ..item.clone() };
                self.queue.push(item);
                self.queue.push(copy);
            }
            Some(_) => {}
        }
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
        if let Attributes::PacketLoss { loss_rate: rate, correlation }
        | Attributes::Duplicate { rate, correlation } = attributes
        {
            self.fates.set(*rate, *correlation);
        }
    }

    fn release(&mut self, _removed: bool, _now: Nanos) -> VecDeque<Item> {
        self.queue.take()
    }
}
