//! What a toxic is to the chain: a queue with a mind of its own.

use std::collections::VecDeque;
use std::fmt;

use crate::draw::Hit;
use crate::item::{Item, Nanos, Strike};
use crate::toxic::Attributes;

/// What a machine does next.
#[derive(Debug)]
pub(crate) enum Step {
    /// This leaves now, at its logical time `at <= now`.
    Pass(Item),
    /// Nothing leaves before this time; `None`: before something arrives.
    Wait(Option<Nanos>),
}

/// One stage of a chain. Calls come in time order; after it passed an end it is not called again.
pub(crate) trait Machine: Send + fmt::Debug {
    /// Bytes it takes now; any number, unless it says otherwise. Zero is back-pressure. One item more than this may
    /// arrive, never two.
    fn takes(&mut self, _now: Nanos) -> u64 {
        u64::MAX
    }

    /// Takes an item.
    fn offer(&mut self, item: Item, now: Nanos);

    /// Lets one item go. Called only while the next stage takes something.
    fn poll(&mut self, now: Nanos) -> Step;

    /// What it holds, by [`Item::cost`].
    fn held(&self) -> u64;

    /// Strikes, since this was asked last, of a toxic that goes on after them. One that ends the connection tells it
    /// with the end.
    fn strikes(&mut self) -> Vec<Strike> {
        Vec::new()
    }

    /// Datagrams, since this was asked last, that it dropped, copied or let overtake others.
    fn hits(&mut self) -> Vec<Hit> {
        Vec::new()
    }

    /// Whether nothing will pass before the toxic changes or goes.
    fn is_stalled(&self) -> bool {
        false
    }

    /// New attributes of the same kind; they hold from the next item on.
    fn update(&mut self, attributes: &Attributes, now: Nanos);

    /// Gives up everything it holds, in order: the toxic is being removed, or no longer affects this connection.
    fn release(&mut self, removed: bool, now: Nanos) -> VecDeque<Item>;
}

/// An ordered queue that knows what it holds.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    items: VecDeque<Item>,
    cost: u64,
    bytes: u64,
}

impl Queue {
    pub(crate) fn push(&mut self, item: Item) {
        self.cost += item.cost();
        self.bytes += item.len();
        self.items.push_back(item);
    }

    pub(crate) fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.cost -= item.cost();
        self.bytes -= item.len();
        Some(item)
    }

    pub(crate) fn front(&self) -> Option<&Item> {
        self.items.front()
    }

    /// Cuts the first `len` bytes off the head, or takes all of it when it is not longer.
    pub(crate) fn pop_up_to(&mut self, len: u64) -> Option<Item> {
        use crate::item::Payload;
        let head = self.items.front_mut()?;
        let Item { at, stamp, which, .. } = *head;
        match &mut head.payload {
            Payload::Data(bytes) if bytes.len() as u64 > len => {
                let payload = Payload::Data(bytes.split_to(len as usize));
                self.cost -= len;
                self.bytes -= len;
                Some(Item { payload, at, stamp, which })
            }
            _ => self.pop(),
        }
    }

    /// Lets the head go, or its first `most` bytes if it is longer, and counts them: for a toxic that acts after so
    /// many bytes.
    pub(crate) fn pass_counted(&mut self, most: u64, passed: &mut u64) -> Step {
        let Some(item) = self.pop_up_to(most) else { return Step::Wait(None) };
        *passed += item.len();
        Step::Pass(item)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(crate) const fn cost(&self) -> u64 {
        self.cost
    }

    /// Bytes of the stream in it.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn take(&mut self) -> VecDeque<Item> {
        (self.cost, self.bytes) = (0, 0);
        std::mem::take(&mut self.items)
    }
}
