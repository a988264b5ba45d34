//! Timeout: all data vanishes; the connection closes when none has come for a while, or with its source.
//! Removing the toxic closes the connection too: what it swallowed is missing from the stream.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::item::{End, Item, Nanos, Payload, Strike};
use crate::machine::{Machine, Step};
use crate::toxic::Attributes;
use crate::toxics::milliseconds;

#[derive(Debug)]
pub(crate) struct Timeout {
    name: Arc<str>,
    timeout: i64,
    last_data: Nanos,
    end: Option<End>,
}

impl Timeout {
    pub(crate) const fn new(name: Arc<str>, timeout: i64, now: Nanos) -> Self {
        Self { name, timeout, last_data: now, end: None }
    }

    fn close(&self) -> End {
        End::Close(Strike { toxic: Arc::clone(&self.name), fault: "timeout", bytes: 0 })
    }
}

impl Machine for Timeout {
    fn offer(&mut self, item: Item, now: Nanos) {
        match item.payload {
            Payload::Data(_) => self.last_data = now,
            Payload::End(End::Fin) => self.end = Some(self.close()),
            Payload::End(end) => self.end = Some(end),
        }
    }

    fn poll(&mut self, now: Nanos) -> Step {
        let due = (self.timeout > 0).then(|| self.last_data + milliseconds(self.timeout));
        match (self.end.take(), due) {
            (Some(end), _) => Step::Pass(Item::end(end, now)),
            (None, Some(due)) if due <= now => Step::Pass(Item::end(self.close(), due)),
            (None, due) => Step::Wait(due),
        }
    }

    fn held(&self) -> u64 {
        0
    }

    fn update(&mut self, attributes: &Attributes, now: Nanos) {
        if let Attributes::Timeout { timeout } = attributes {
            self.timeout = *timeout;
            self.last_data = now;
        }
    }

    fn release(&mut self, removed: bool, now: Nanos) -> VecDeque<Item> {
        let end = self.end.take().or_else(|| removed.then(|| self.close()));
        end.map(|end| Item::end(end, now)).into_iter().collect()
    }
}
