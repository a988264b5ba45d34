//! Latency of datagrams: each leaves a drawn delay after it came. Those with a shorter delay overtake others, as on
//! netem's link without a rate; a delay without jitter keeps the order.

use std::collections::VecDeque;
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::Schedule;
use crate::delay::Delay;
use crate::draw::Identity;
use crate::item::{Item, Nanos};
use crate::machine::{Machine, Step};
use crate::toxic::Attributes;

#[derive(Debug)]
pub(crate) struct Spread {
    name: Arc<str>,
    identity: Identity,
    delay: Delay,
    schedule: Schedule,
}

impl Spread {
    pub(crate) fn new(name: Arc<str>, attributes: &Attributes, identity: &Identity) -> Self {
        let (identity, delay) = (identity.clone(), Delay::Constant(0));
        let mut spread = Self { name, identity, delay, schedule: Schedule::default() };
        spread.update(attributes, 0);
        spread
    }

    /// Of each datagram from a generator of its own, so that it does not depend on those before.
    fn draw(&self, item: &Item) -> i64 {
        match self.delay {
            Delay::Constant(delay) => delay,
            ref spread => {
                let seed = self.identity.of_datagram(&self.name, item.which);
                spread.draw(&mut ChaCha8Rng::from_seed(seed.key()))
            }
        }
    }
}

impl Machine for Spread {
    fn offer(&mut self, item: Item, _now: Nanos) {
        let delay = if item.is_data() { self.draw(&item).max(0) } else { 0 };
        let due = item.at.saturating_add_signed(delay);
        self.schedule.push(item, due);
    }

    fn poll(&mut self, now: Nanos) -> Step {
        self.schedule.poll(now)
    }

    fn held(&self) -> u64 {
        self.schedule.cost
    }

    fn update(&mut self, attributes: &Attributes, _now: Nanos) {
        if let Attributes::Latency { latency, jitter, distribution } = attributes {
            self.delay = Delay::new(*latency, *jitter, distribution);
        }
    }

    fn release(&mut self, _removed: bool, now: Nanos) -> VecDeque<Item> {
        self.schedule.take(now)
    }
}
