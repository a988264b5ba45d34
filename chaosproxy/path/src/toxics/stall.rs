//! Stall: one direction stops after so many bytes, its end included, and the other goes on. What the sender has on the
//! way stays with it. Nothing is lost: removing the toxic, or raising its limit, goes on where it stopped.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::item::{Item, Nanos, Payload, Strike};
use crate::machine::{Machine, Queue, Step};
use crate::toxic::Attributes;

#[derive(Debug)]
pub(crate) struct Stall {
    name: Arc<str>,
    limit: u64,
    passed: u64,
    queue: Queue,
    /// It has been told that it struck.
    told: bool,
}

impl Stall {
    pub(crate) fn new(name: Arc<str>, bytes: i64) -> Self {
        Self { name, limit: bytes.unsigned_abs(), passed: 0, queue: Queue::default(), told: false }
    }

    const fn left(&self) -> u64 {
        self.limit.saturating_sub(self.passed)
    }

    /// A reset of the source is nothing that the stream carries.
    fn passes(item: &Item) -> bool {
        matches!(&item.payload, Payload::End(end) if *end != crate::End::Fin)
    }
}

impl Machine for Stall {
    /// No more than may pass, so that a stalled direction holds nothing of a source that is read directly.
    fn takes(&mut self, _now: Nanos) -> u64 {
        if self.queue.is_empty() { self.left() } else { 0 }
    }

    fn offer(&mut self, item: Item, _now: Nanos) {
        self.queue.push(item);
    }

    fn poll(&mut self, _now: Nanos) -> Step {
        let left = self.left();
        if left == 0 && !self.queue.front().is_some_and(Self::passes) {
            return Step::Wait(None);
        }
        self.queue.pass_counted(left, &mut self.passed)
    }

    fn held(&self) -> u64 {
        self.queue.cost()
    }

    fn strikes(&mut self) -> Vec<Strike> {
        if self.told || !self.is_stalled() {
            return Vec::new();
        }
        self.told = true;
        vec![Strike { toxic: Arc::clone(&self.name), fault: "stall", bytes: self.passed }]
    }

    fn is_stalled(&self) -> bool {
        self.left() == 0
    }

    /// Bytes that have passed still count.
    fn update(&mut self, attributes: &Attributes, _now: Nanos) {
        if let Attributes::Stall { bytes } = attributes {
            self.limit = bytes.unsigned_abs();
            self.told &= self.is_stalled();
        }
    }

    fn release(&mut self, _removed: bool, _now: Nanos) -> VecDeque<Item> {
        self.queue.take()
    }
}
