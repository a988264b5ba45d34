//! Limit data: closes the connection after a number of bytes, counted since the toxic met the connection.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::item::{End, Item, Nanos, Strike};
use crate::machine::{Machine, Queue, Step};
use crate::toxic::Attributes;

#[derive(Debug)]
pub(crate) struct LimitData {
    name: Arc<str>,
    limit: u64,
    passed: u64,
    queue: Queue,
}

impl LimitData {
    pub(crate) fn new(name: Arc<str>, limit: i64) -> Self {
        Self { name, limit: limit.max(0).unsigned_abs(), passed: 0, queue: Queue::default() }
    }

    /// Zero closes with the first data, not before; any other limit as soon as it is reached.
    fn is_reached(&self) -> bool {
        let begun = self.passed > 0 || self.queue.front().is_some_and(|head| head.len() > 0);
        begun && self.passed >= self.limit
    }
}

impl Machine for LimitData {
    fn takes(&mut self, _now: Nanos) -> u64 {
        if self.queue.is_empty() && !self.is_reached() { u64::MAX } else { 0 }
    }

    fn offer(&mut self, item: Item, _now: Nanos) {
        self.queue.push(item);
    }

    fn poll(&mut self, now: Nanos) -> Step {
        if self.is_reached() {
            self.queue.take();
            let strike = Strike { toxic: Arc::clone(&self.name), fault: "limit_data", bytes: self.passed };
            return Step::Pass(Item::end(End::Close(strike), now));
        }
        self.queue.pass_counted(self.limit - self.passed.min(self.limit), &mut self.passed)
    }

    fn held(&self) -> u64 {
        self.queue.cost()
    }

    fn update(&mut self, attributes: &Attributes, _now: Nanos) {
        if let Attributes::LimitData { bytes } = attributes {
            self.limit = bytes.max(&0).unsigned_abs();
        }
    }

    fn release(&mut self, _removed: bool, _now: Nanos) -> VecDeque<Item> {
        self.queue.take()
    }
}
