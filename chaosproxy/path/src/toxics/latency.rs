//! Latency: every piece of data leaves a drawn delay after it was received, in order.
//!
//! Departures are logical times, `max(stamp + delay, previous departure)`, so a late timer delays one piece and
//! never the next. Ends are not delayed on their own; they wait for the data before them. The delay itself never
//! throttles; where the reader is slower than the source, what is admitted follows the rate delivered.

use std::collections::VecDeque;

use mockreg_proto::seed::Seed;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::delay::{Delay, longest};
use crate::item::{Item, MILLISECOND, Nanos, Payload};
use crate::machine::{Machine, Queue, Step};
use crate::recent::Recent;
use crate::toxic::Attributes;

/// A head later than this means that the reader is slow, not the timer: ours are some tens of microseconds late.
const LAG: Nanos = 5 * MILLISECOND;
/// What may be held beside rate · latency while the reader is slow, so that a slow start can speed up.
const HEADROOM: u64 = 256 * 1024;

#[derive(Debug)]
pub(crate) struct Latency {
    delay: Delay,
    longest: Nanos,
    draws: Box<ChaCha8Rng>,
    queue: Queue,
    /// Departures of what is queued, one for each.
    departures: VecDeque<Nanos>,
    last_departure: Nanos,
    delivered: Recent,
    lagging_until: Nanos,
}

impl Latency {
    pub(crate) fn new(attributes: &Attributes, seed: Seed) -> Self {
        let mut latency = Self {
            delay: Delay::Constant(0),
            longest: MILLISECOND,
            draws: Box::new(ChaCha8Rng::from_seed(seed.key())),
            queue: Queue::default(),
            departures: VecDeque::new(),
            last_departure: 0,
            delivered: Recent::new(MILLISECOND),
            lagging_until: 0,
        };
        latency.update(attributes, 0);
        latency
    }
}

impl Machine for Latency {
    fn takes(&mut self, now: Nanos) -> u64 {
        if self.departures.front().is_some_and(|due| due + LAG < now) {
            self.lagging_until = now + self.longest;
        }
        if now >= self.lagging_until {
            return u64::MAX;
        }
        let allowed = self.delivered.sum(now) / 100 * 115 + HEADROOM;
        allowed.saturating_sub(self.queue.cost())
    }

    /// One draw a piece, so that the n-th piece has the n-th delay.
    fn offer(&mut self, mut item: Item, _now: Nanos) {
        if matches!(item.payload, Payload::Data(_)) {
            item.stamp = item.stamp.saturating_add_signed(self.delay.draw(&mut self.draws));
        }
        let departure = item.stamp.max(item.at).max(self.last_departure);
        self.last_departure = departure;
        self.departures.push_back(departure);
        self.queue.push(item);
    }

    fn poll(&mut self, now: Nanos) -> Step {
        match self.departures.front().copied() {
            Some(due) if due <= now => {
                self.departures.pop_front();
                let mut item = self.queue.pop().expect("there is an item for each departure");
                item.at = due;
                self.delivered.add(item.len(), now);
                Step::Pass(item)
            }
            due => Step::Wait(due),
        }
    }

    fn held(&self) -> u64 {
        self.queue.cost()
    }

    fn update(&mut self, attributes: &Attributes, _now: Nanos) {
        if let Attributes::Latency { latency, jitter, distribution } = attributes {
            self.delay = Delay::new(*latency, *jitter, distribution);
            self.longest = longest(*latency, *jitter, distribution);
            self.delivered = Recent::new(self.longest);
        }
    }

    fn release(&mut self, _removed: bool, now: Nanos) -> VecDeque<Item> {
        self.departures.clear();
        let mut items = self.queue.take();
        for item in &mut items {
            (item.at, item.stamp) = (now, item.stamp.min(now));
        }
        items
    }
}
