//! Packet loss as the reference has it: whole pieces of the stream vanish, and what follows moves up. That is
//! corruption and no loss of packets, so it is there only for those who need the reference to the letter.
//!
//! A piece goes with probability `loss_rate`, and `loss_rate + correlation` behind one that went. What the reference
//! loses besides, the end of the stream and the call that removes the toxic, is not lost here.

use std::collections::VecDeque;
use std::sync::Arc;

use mockreg_proto::seed::{Seed, fires};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::item::{Item, Nanos, Payload, Strike};
use crate::machine::{Machine, Queue, Step};
use crate::toxic::Attributes;

/// The reference's read: no piece is longer, so no more goes at once.
const PIECE: u64 = 32 * 1024;

#[derive(Debug)]
pub(crate) struct PacketLoss {
    name: Arc<str>,
    loss_rate: f64,
    correlation: f64,
    draws: Box<ChaCha8Rng>,
    lost: bool,
    passed: u64,
    queue: Queue,
    struck: Vec<Strike>,
}

impl PacketLoss {
    pub(crate) fn new(name: Arc<str>, attributes: &Attributes, seed: Seed) -> Self {
        let mut loss = Self {
            name,
            loss_rate: 0.0,
            correlation: 0.0,
            draws: Box::new(ChaCha8Rng::from_seed(seed.key())),
            lost: false,
            passed: 0,
            queue: Queue::default(),
            struck: Vec::new(),
        };
        loss.update(attributes, 0);
        loss
    }

    fn loses(&mut self) -> bool {
        let more = if self.lost { self.correlation } else { 0.0 };
        self.lost = fires(self.draws.next_u64(), self.loss_rate + more);
        self.lost
    }
}

impl Machine for PacketLoss {
    fn takes(&mut self, _now: Nanos) -> u64 {
        if self.queue.is_empty() { PIECE } else { 0 }
    }

    fn offer(&mut self, item: Item, _now: Nanos) {
        self.queue.push(item);
    }

    fn poll(&mut self, _now: Nanos) -> Step {
        while let Some(item) = self.queue.pop_up_to(PIECE) {
            if matches!(item.payload, Payload::Data(_)) && self.loses() {
                let strike =
                    Strike { toxic: Arc::clone(&self.name), fault: "packet_loss", bytes: self.passed };
                self.struck.push(strike);
                continue;
            }
            self.passed += item.len();
            return Step::Pass(item);
        }
        Step::Wait(None)
    }

    fn held(&self) -> u64 {
        self.queue.cost()
    }

    fn strikes(&mut self) -> Vec<Strike> {
        std::mem::take(&mut self.struck)
    }

    fn update(&mut self, attributes: &Attributes, _now: Nanos) {
        if let Attributes::PacketLoss { loss_rate, correlation } = attributes {
            (self.loss_rate, self.correlation) = (loss_rate.clamp(0.0, 1.0), correlation.clamp(0.0, 1.0));
        }
    }

    fn release(&mut self, _removed: bool, _now: Nanos) -> VecDeque<Item> {
        self.queue.take()
    }
}
