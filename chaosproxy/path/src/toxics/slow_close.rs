//! Slow close: data passes, the end waits.

use std::collections::VecDeque;

use crate::item::{Item, Nanos, Payload};
use crate::machine::{Machine, Queue, Step};
use crate::toxic::Attributes;
use crate::toxics::milliseconds;

#[derive(Debug)]
pub(crate) struct SlowClose {
    delay: i64,
    queue: Queue,
    /// When the delay of the end began, if an update restarted it.
    restarted: Nanos,
}

impl SlowClose {
    pub(crate) fn new(delay: i64) -> Self {
        Self { delay, queue: Queue::default(), restarted: 0 }
    }
}

impl Machine for SlowClose {
    fn takes(&mut self, _now: Nanos) -> u64 {
        if self.queue.is_empty() { u64::MAX } else { 0 }
    }

    fn offer(&mut self, item: Item, _now: Nanos) {
        self.queue.push(item);
    }

    fn poll(&mut self, now: Nanos) -> Step {
        let Some(head) = self.queue.front() else { return Step::Wait(None) };
        let due = match head.payload {
            Payload::Data(_) => head.at,
            Payload::End(_) => head.at.max(self.restarted) + milliseconds(self.delay),
        };
        if due > now {
            return Step::Wait(Some(due));
        }
        let mut item = self.queue.pop().expect("the head was looked at");
        item.at = due;
        Step::Pass(item)
    }

    fn held(&self) -> u64 {
        self.queue.cost()
    }

    fn update(&mut self, attributes: &Attributes, now: Nanos) {
        if let Attributes::SlowClose { delay } = attributes {
            self.delay = *delay;
            self.restarted = now;
        }
    }

    fn release(&mut self, _removed: bool, _now: Nanos) -> VecDeque<Item> {
        self.queue.take()
    }
}
