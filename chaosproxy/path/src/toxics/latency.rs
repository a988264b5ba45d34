//! Latency: every piece of data leaves `latency` ± `jitter` after it was received, in order.
//!
//! Departures are logical times, `max(stamp + delay, previous departure)`, so a late timer delays one piece and
//! never the next. Ends are not delayed on their own; they wait for the data before them. The delay itself never
//! throttles; where the reader is slower than the source, what is admitted follows the rate delivered.

use std::collections::VecDeque;

use mockreg_proto::seed::{Seed, below};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::item::{Item, MILLISECOND, Nanos, Payload};
use crate::machine::{Machine, Queue, Step};
use crate::recent::Recent;
use crate::toxic::Attributes;
use crate::toxics::milliseconds;

/// A head later than this means that the reader is slow, not the timer: ours are some tens of microseconds late.
const LAG: Nanos = 5 * MILLISECOND;
/// What may be held beside rate · latency while the reader is slow, so that a slow start can speed up.
const HEADROOM: u64 = 256 * 1024;

#[derive(Debug)]
pub(crate) struct Latency {
    latency: i64,
    jitter: i64,
    draws: Box<ChaCha8Rng>,
    queue: Queue,
    /// Departures of what is queued, one for each.
    departures: VecDeque<Nanos>,
    last_departure: Nanos,
    delivered: Recent,
    lagging_until: Nanos,
}

impl Latency {
    pub(crate) fn new(latency: i64, jitter: i64, seed: Seed) -> Self {
        Self {
            latency,
            jitter,
            draws: Box::new(ChaCha8Rng::from_seed(seed.key())),
            queue: Queue::default(),
            departures: VecDeque::new(),
            last_departure: 0,
            delivered: Recent::new(longest(latency, jitter)),
            lagging_until: 0,
        }
    }

    /// The delay of the next piece. One draw a piece, so that the n-th piece has the n-th delay.
    fn delay(&mut self) -> Nanos {
        let jitter = u64::try_from(self.jitter).unwrap_or(0);
        let offset = match jitter {
            0 => 0,
            _ => below(self.draws.next_u64(), jitter.saturating_mul(2)) as i64 - self.jitter,
        };
        milliseconds(self.latency.saturating_add(offset))
    }
}

/// The longest delay, the window over which delivery is measured.
fn longest(latency: i64, jitter: i64) -> Nanos {
    milliseconds(latency.saturating_add(jitter.max(0))).max(MILLISECOND)
}

impl Machine for Latency {
    fn takes(&mut self, now: Nanos) -> u64 {
        if self.departures.front().is_some_and(|due| due + LAG < now) {
            self.lagging_until = now + longest(self.latency, self.jitter);
        }
        if now >= self.lagging_until {
            return u64::MAX;
        }
        let allowed = self.delivered.sum(now) / 100 * 115 + HEADROOM;
        allowed.saturating_sub(self.queue.cost())
    }

    fn offer(&mut self, mut item: Item, _now: Nanos) {
        if matches!(item.payload, Payload::Data(_)) {
            item.stamp += self.delay();
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
        if let Attributes::Latency { latency, jitter } = attributes {
            (self.latency, self.jitter) = (*latency, *jitter);
            self.delivered = Recent::new(longest(*latency, *jitter));
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
