//! Bandwidth of datagrams: a link with a queue before it. A datagram leaves when its last byte has passed the link;
//! one that comes to a full queue is dropped (drop-tail). Rate zero stalls until the toxic changes or goes.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Vanished;
use crate::item::{Item, Nanos, Strike};
use crate::machine::{Machine, Queue, Step};
use crate::pacer::Pacer;
use crate::toxic::{Attributes, kilobytes};

/// Milliseconds of the rate that the queue holds: the depth of a home router's, and less than what makes resolvers
/// give up.
const QUEUE_MS: u64 = 200;
/// The least that the queue holds: the largest datagram.
const LEAST_QUEUE: u64 = 64 * 1024;

#[derive(Debug)]
pub(crate) struct Link {
    /// The link, which all flows of the proxy may share.
    pacer: Arc<Pacer>,
    is_own: bool,
    queue: Queue,
    /// When the head leaves, once its place on the link is reserved.
    due: Option<Nanos>,
    dropped: Vanished,
}

impl Link {
    pub(crate) fn new(name: Arc<str>, pacer: Arc<Pacer>, is_own: bool) -> Self {
        Self {
            pacer,
            is_own,
            queue: Queue::default(),
            due: None,
            dropped: Vanished::new(name, "bandwidth:drop"),
        }
    }

    fn is_full(&self, len: u64) -> bool {
        let longest = (self.pacer.rate() / 1000).saturating_mul(QUEUE_MS).max(LEAST_QUEUE);
        self.queue.bytes() + len > longest
    }

    fn due(&mut self) -> Option<Nanos> {
        if self.due.is_none() {
            let head = self.queue.front()?;
            self.due = if head.is_data() { self.pacer.reserve(head.len(), head.at) } else { Some(head.at) };
        }
        self.due
    }
}

impl Machine for Link {
    fn offer(&mut self, item: Item, _now: Nanos) {
        if item.is_data() && self.is_full(item.len()) {
            self.dropped.note();
        } else {
            self.queue.push(item);
        }
    }

    fn poll(&mut self, now: Nanos) -> Step {
        match self.due() {
            Some(due) if due <= now => {
                self.due = None;
                let mut item = self.queue.pop().expect("a place is reserved for the head");
                self.dropped.passed += item.len();
                item.at = due;
                Step::Pass(item)
            }
            later => Step::Wait(later),
        }
    }

    fn held(&self) -> u64 {
        self.queue.cost()
    }

    fn strikes(&mut self) -> Vec<Strike> {
        self.dropped.strikes()
    }

    /// A shared link knows the new rate already. Places reserved at the old one are void, and the bucket is empty.
    fn update(&mut self, attributes: &Attributes, now: Nanos) {
        if let Attributes::Bandwidth { rate, burst, .. } = attributes
            && self.is_own
        {
            self.pacer.restart(kilobytes(*rate), burst.unsigned_abs(), now);
        }
        self.due = None;
    }

    fn release(&mut self, _removed: bool, now: Nanos) -> VecDeque<Item> {
        self.due = None;
        self.queue.take().into_iter().map(|item| Item { at: now, ..item }).collect()
    }
}
