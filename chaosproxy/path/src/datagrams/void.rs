//! Timeout of datagrams: all of them vanish; the flow ends when none has come for a while. Without the toxic it goes
//! on with those that come then.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Vanished;
use crate::item::{End, Item, Nanos, Strike};
use crate::machine::{Machine, Step};
use crate::toxic::Attributes;
use crate::toxics::milliseconds;

#[derive(Debug)]
pub(crate) struct Void {
    timeout: Nanos,
    last: Nanos,
    end: Option<Item>,
    vanished: Vanished,
}

impl Void {
    pub(crate) fn new(name: Arc<str>, timeout: i64, now: Nanos) -> Self {
        let vanished = Vanished::new(name, "timeout");
        Self { timeout: milliseconds(timeout), last: now, end: None, vanished }
    }
}

impl Machine for Void {
    fn offer(&mut self, item: Item, now: Nanos) {
        if item.is_data() {
            self.last = now;
            self.vanished.note();
        } else {
            self.end = Some(item);
        }
    }

    fn poll(&mut self, now: Nanos) -> Step {
        let due = (self.timeout > 0).then(|| self.last + self.timeout);
        match (self.end.take(), due) {
            (Some(end), _) => Step::Pass(end),
            (None, Some(due)) if due <= now => {
                Step::Pass(Item::end(End::Close(self.vanished.strike("timeout:close")), due))
            }
            (None, due) => Step::Wait(due),
        }
    }

    fn held(&self) -> u64 {
        0
    }

    fn strikes(&mut self) -> Vec<Strike> {
        self.vanished.strikes()
    }

    fn update(&mut self, attributes: &Attributes, now: Nanos) {
        if let Attributes::Timeout { timeout } = attributes {
            (self.timeout, self.last) = (milliseconds(*timeout), now);
        }
    }

    fn release(&mut self, _removed: bool, _now: Nanos) -> VecDeque<Item> {
        self.end.take().into_iter().collect()
    }
}
