//! Cut: each connection breaks after its own, exponentially distributed number of bytes: a constant hazard per
//! byte, so that pooling connections does not change how many transfers break.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::draw::{Identity, exponential};
use crate::item::{End, Item, Nanos, Strike};
use crate::machine::{Machine, Queue, Step};
use crate::toxic::{Attributes, CutAction};

#[derive(Debug)]
pub(crate) struct Cut {
    name: Arc<str>,
    draw: u64,
    after: u64,
    action: CutAction,
    passed: u64,
    queue: Queue,
}

/// The draw that decides where a connection breaks.
pub(crate) fn draw(identity: &Identity, name: &str) -> u64 {
    identity.draw(name, "after")
}

/// Bytes that pass before the break.
pub(crate) fn after(draw: u64, mean_bytes: i64) -> u64 {
    exponential(draw, mean_bytes.unsigned_abs())
}

impl Cut {
    pub(crate) fn new(name: Arc<str>, mean_bytes: i64, action: CutAction, draw: u64) -> Self {
        let after = after(draw, mean_bytes);
        Self { name, draw, after, action, passed: 0, queue: Queue::default() }
    }

    fn end(&self) -> End {
        let strike = |fault| Strike { toxic: Arc::clone(&self.name), fault, bytes: self.passed };
        match self.action {
            CutAction::Reset => End::Reset(Some(strike("cut:reset"))),
            CutAction::Stall => End::Stall(strike("cut:stall")),
            CutAction::Close => End::Close(strike("cut:close")),
        }
    }
}

impl Machine for Cut {
    fn takes(&mut self, _now: Nanos) -> u64 {
        if self.queue.is_empty() && self.passed < self.after { u64::MAX } else { 0 }
    }

    fn offer(&mut self, item: Item, _now: Nanos) {
        self.queue.push(item);
    }

    fn poll(&mut self, now: Nanos) -> Step {
        if self.passed >= self.after {
            self.queue.take();
            return Step::Pass(Item::end(self.end(), now));
        }
        self.queue.pass_counted(self.after - self.passed, &mut self.passed)
    }

    fn held(&self) -> u64 {
        self.queue.cost()
    }

    /// The same draw under another mean; bytes that have passed still count. It never strikes in the past.
    fn update(&mut self, attributes: &Attributes, _now: Nanos) {
        if let Attributes::Cut { mean_bytes, action } = attributes {
            self.after = after(self.draw, *mean_bytes);
            self.action = *action;
        }
    }

    fn release(&mut self, _removed: bool, _now: Nanos) -> VecDeque<Item> {
        self.queue.take()
    }
}
