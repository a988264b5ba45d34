//! Packet loss: datagrams vanish, each by its own draw.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Fates;
use crate::draw::{Hit, Identity};
use crate::item::{Item, Nanos};
use crate::machine::{Machine, Queue, Step};
use crate::toxic::Attributes;

#[derive(Debug)]
pub(crate) struct Loss {
    fates: Fates,
    queue: Queue,
}

impl Loss {
    pub(crate) fn new(name: Arc<str>, attributes: &Attributes, identity: &Identity) -> Self {
        let mut loss = Self { fates: Fates::new(name, identity, "packet_loss"), queue: Queue::default() };
        loss.update(attributes, 0);
        loss
    }
}

impl Machine for Loss {
    fn takes(&mut self, _now: Nanos) -> u64 {
        u64::MAX
    }

    fn offer(&mut self, item: Item, _now: Nanos) {
        if !item.is_data() || self.fates.strike(&item).is_none() {
            self.queue.push(item);
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
        if let Attributes::PacketLoss { loss_rate, correlation } = attributes {
            self.fates.set(*loss_rate, *correlation);
        }
    }

    fn release(&mut self, _removed: bool, _now: Nanos) -> VecDeque<Item> {
        self.queue.take()
    }
}
