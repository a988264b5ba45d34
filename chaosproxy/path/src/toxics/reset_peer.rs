//! Reset peer: the first data (or the end) arms it and is dropped; a while later both sockets are reset.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::item::{End, Item, Nanos, Strike};
use crate::machine::{Machine, Step};
use crate::toxic::Attributes;
use crate::toxics::milliseconds;

#[derive(Debug)]
pub(crate) struct ResetPeer {
    name: Arc<str>,
    timeout: i64,
    armed_at: Option<Nanos>,
}

impl ResetPeer {
    pub(crate) const fn new(name: Arc<str>, timeout: i64) -> Self {
        Self { name, timeout, armed_at: None }
    }

    fn reset(&self) -> End {
        End::Reset(Some(Strike { toxic: Arc::clone(&self.name), fault: "reset_peer", bytes: 0 }))
    }
}

impl Machine for ResetPeer {
    /// Once armed it takes nothing: the sender waits like the rest.
    fn takes(&mut self, _now: Nanos) -> u64 {
        if self.armed_at.is_none() { u64::MAX } else { 0 }
    }

    fn offer(&mut self, item: Item, _now: Nanos) {
        self.armed_at.get_or_insert(item.at);
    }

    fn poll(&mut self, now: Nanos) -> Step {
        let due = self.armed_at.map(|at| at + milliseconds(self.timeout));
        match due {
            Some(due) if due <= now => Step::Pass(Item::end(self.reset(), due)),
            due => Step::Wait(due),
        }
    }

    fn held(&self) -> u64 {
        0
    }

    fn update(&mut self, attributes: &Attributes, _now: Nanos) {
        if let Attributes::ResetPeer { timeout } = attributes {
            self.timeout = *timeout;
        }
    }

    /// An armed one has dropped bytes already: the stream cannot go on without them.
    fn release(&mut self, _removed: bool, now: Nanos) -> VecDeque<Item> {
        self.armed_at.map(|_| Item::end(self.reset(), now)).into_iter().collect()
    }
}
