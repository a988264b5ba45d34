//! Cut: each connection breaks after its own, exponentially distributed number of bytes: a constant hazard per
//! byte, so that pooling connections does not change how many transfers break. Or all break at one place, for tests that
//! are about what is there.

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

/// Bytes that pass before the break: those that are wanted, or as many as the draw has under a mean.
pub(crate) fn after(draw: u64, offset: Option<i64>, mean_bytes: Option<i64>) -> u64 {
    let drawn = || mean_bytes.map_or(u64::MAX, |mean| exponential(draw, mean.unsigned_abs()));
    offset.map_or_else(drawn, i64::unsigned_abs)
}

impl Cut {
    pub(crate) fn new(name: Arc<str>, attributes: &Attributes, draw: u64) -> Self {
        let (action, queue) = (CutAction::default(), Queue::default());
        let mut cut = Self { name, draw, after: u64::MAX, action, passed: 0, queue };
        cut.update(attributes, 0);
        cut
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

    /// The same draw under another mean, or another place; bytes that have passed still count. It never strikes in the
    /// past: where the place has gone by, it strikes at once.
    fn update(&mut self, attributes: &Attributes, _now: Nanos) {
        if let Attributes::Cut { offset, mean_bytes, action } = attributes {
            self.after = after(self.draw, *offset, *mean_bytes);
            self.action = *action;
        }
    }

    fn release(&mut self, _removed: bool, _now: Nanos) -> VecDeque<Item> {
        self.queue.take()
    }
}
