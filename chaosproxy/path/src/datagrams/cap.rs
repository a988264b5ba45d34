//! What strikes a flow after a number of bytes: `limit_data` and `cut` end or silence it, `stall` silences one
//! direction. The datagram that does not fit any more is the first that vanishes.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Vanished;
use crate::draw::Identity;
use crate::item::{End, Item, Nanos, Strike};
use crate::machine::{Machine, Queue, Step};
use crate::toxic::{Attributes, CutAction};
use crate::toxics::cut;

/// What happens at the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// The flow ends; what its client sends next begins another.
    Close,
    /// Nothing passes any more, in either direction.
    Silence,
    /// Nothing passes any more in this direction.
    Stall,
}

#[derive(Debug)]
pub(crate) struct Cap {
    /// The draw behind the limit of a cut.
    draw: u64,
    limit: u64,
    then: Then,
    queue: Queue,
    vanished: Vanished,
    /// It has struck: what is small enough to fit does not pass either.
    struck: bool,
}

impl Cap {
    pub(crate) fn new(name: Arc<str>, attributes: &Attributes, identity: &Identity) -> Self {
        let draw = cut::draw(identity, &name);
        let vanished = Vanished::new(name, fault(attributes));
        let queue = Queue::default();
        let mut cap = Self { draw, limit: 0, then: Then::Close, queue, vanished, struck: false };
        cap.update(attributes, 0);
        cap
    }

    fn strike(&mut self) {
        let strike = self.vanished.strike(self.vanished.fault);
        match self.then {
            Then::Stall => self.vanished.note(),
            Then::Close if !self.struck => self.queue.push(Item::end(End::Close(strike), 0)),
            Then::Silence if !self.struck => self.queue.push(Item::end(End::Stall(strike), 0)),
            Then::Close | Then::Silence => {}
        }
        self.struck = true;
    }
}

const fn fault(attributes: &Attributes) -> &'static str {
    match attributes {
        Attributes::Cut { action: CutAction::Close, .. } => "cut:close",
        Attributes::Cut { .. } => "cut:stall",
        Attributes::Stall { .. } => "stall",
        _ => "limit_data",
    }
}

impl Machine for Cap {
    fn offer(&mut self, item: Item, _now: Nanos) {
        // Zero lets nothing pass, not even an empty datagram.
        let fits = self.limit > 0 && self.vanished.passed.saturating_add(item.len()) <= self.limit;
        if item.is_data() && (self.struck || !fits) {
            self.strike();
        } else {
            self.vanished.passed += item.len();
            self.queue.push(item);
        }
    }

    fn poll(&mut self, now: Nanos) -> Step {
        let Some(mut item) = self.queue.pop() else { return Step::Wait(None) };
        if !item.is_data() {
            item.at = now;
        }
        Step::Pass(item)
    }

    fn held(&self) -> u64 {
        self.queue.cost()
    }

    fn strikes(&mut self) -> Vec<Strike> {
        self.vanished.strikes()
    }

    /// Bytes that have passed still count. It never strikes in the past.
    fn update(&mut self, attributes: &Attributes, _now: Nanos) {
        self.vanished.fault = fault(attributes);
        (self.limit, self.then) = match attributes {
            Attributes::LimitData { bytes } => (bytes.unsigned_abs(), Then::Close),
            Attributes::Stall { bytes } => {
                self.struck = false;
                (bytes.unsigned_abs(), Then::Stall)
            }
            Attributes::Cut { offset, mean_bytes, action } => {
                let silences = *action == CutAction::Stall;
                let then = if silences { Then::Silence } else { Then::Close };
                (cut::after(self.draw, *offset, *mean_bytes), then)
            }
            _ => return,
        };
    }

    fn release(&mut self, _removed: bool, _now: Nanos) -> VecDeque<Item> {
        self.queue.take()
    }
}
