//! Corrupt: bits of the stream flip, at one byte or at a seeded rate a byte; no byte more or less arrives.
//!
//! Gaps between corrupted bytes are exponential, as those of a cut: a constant hazard per byte. Each has its own
//! keyed draw, so that the k-th is the same however the bytes are cut into pieces. A change begins a new series at the
//! byte where it takes hold.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use mockreg_proto::seed::{Seed, below};

use crate::draw::{Identity, exponential};
use crate::item::{Item, Nanos, Payload, Strike};
use crate::machine::{Machine, Queue, Step};
use crate::toxic::Attributes;

#[derive(Debug)]
pub(crate) struct Corrupt {
    name: Arc<str>,
    identity: Identity,
    mean_bytes: Option<i64>,
    bits: u64,
    /// Strikes of this series.
    strikes: u64,
    /// The byte of the stream to be struck next.
    next: Option<u64>,
    passed: u64,
    queue: Queue,
    struck: Vec<Strike>,
}

/// The draws behind the strike after so many.
pub(crate) fn seed(identity: &Identity, name: &str, strikes: u64) -> Seed {
    identity.seed(name, &format!("strike {}", strikes + 1))
}

/// Bytes from one strike, or from the beginning, up to the next and with it.
pub(crate) fn gap(seed: &Seed, mean_bytes: i64) -> u64 {
    exponential(seed.draw(), mean_bytes.unsigned_abs())
}

/// So many different bits of a byte, from the part of the seed that the gap does not use.
fn mask(seed: &Seed, bits: u64) -> u8 {
    let mut places = [0, 1, 2, 3, 4, 5, 6, 7];
    let key = seed.key();
    let chosen = (0..bits.min(8) as usize).map(|taken| {
        let other = taken + below(u64::from(key[8 + taken]) << 56, 8 - taken as u64) as usize;
        places.swap(taken, other);
        1 << places[taken]
    });
    chosen.fold(0, |mask, bit: u8| mask | bit)
}

impl Corrupt {
    pub(crate) fn new(name: Arc<str>, attributes: &Attributes, identity: &Identity) -> Self {
        let mut corrupt = Self {
            name,
            identity: identity.clone(),
            mean_bytes: None,
            bits: 1,
            strikes: 0,
            next: None,
            passed: 0,
            queue: Queue::default(),
            struck: Vec::new(),
        };
        corrupt.update(attributes, 0);
        corrupt
    }

    fn seed(&self) -> Seed {
        seed(&self.identity, &self.name, self.strikes)
    }

    /// Flips what is to be flipped of a piece. Its bytes are copied only where something is.
    fn strike(&mut self, bytes: Bytes) -> Bytes {
        let end = self.passed + bytes.len() as u64;
        if self.next.is_none_or(|next| next >= end) {
            self.passed = end;
            return bytes;
        }
        let mut changed = BytesMut::from(bytes);
        while let Some(at) = self.next.filter(|next| *next < end) {
            changed[(at - self.passed) as usize] ^= mask(&self.seed(), self.bits);
            self.struck.push(Strike { toxic: Arc::clone(&self.name), fault: "corrupt", bytes: at });
            self.strikes += 1;
            self.next = self.mean_bytes.map(|mean| at.saturating_add(gap(&self.seed(), mean)));
        }
        self.passed = end;
        changed.freeze()
    }
}

impl Machine for Corrupt {
    fn takes(&mut self, _now: Nanos) -> u64 {
        if self.queue.is_empty() { u64::MAX } else { 0 }
    }

    fn offer(&mut self, item: Item, _now: Nanos) {
        self.queue.push(item);
    }

    fn poll(&mut self, _now: Nanos) -> Step {
        let Some(mut item) = self.queue.pop() else { return Step::Wait(None) };
        if let Payload::Data(bytes) = item.payload {
            item.payload = Payload::Data(self.strike(bytes));
        }
        Step::Pass(item)
    }

    fn held(&self) -> u64 {
        self.queue.cost()
    }

    fn strikes(&mut self) -> Vec<Strike> {
        std::mem::take(&mut self.struck)
    }

    /// An offset that has gone by is never struck.
    fn update(&mut self, attributes: &Attributes, _now: Nanos) {
        if let Attributes::Corrupt { offset, mean_bytes, bits } = attributes {
            (self.mean_bytes, self.bits, self.strikes) = (*mean_bytes, bits.unsigned_abs(), 0);
            let offset = offset.map(i64::unsigned_abs).filter(|offset| *offset >= self.passed);
            let drawn = mean_bytes.map(|mean| self.passed.saturating_add(gap(&self.seed(), mean) - 1));
            self.next = drawn.or(offset);
        }
    }

    fn release(&mut self, _removed: bool, _now: Nanos) -> VecDeque<Item> {
        self.queue.take()
    }
}
