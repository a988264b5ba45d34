//! Slicer: data leaves in small pieces with a delay after each.

use std::collections::VecDeque;

use mockreg_proto::seed::{Seed, below};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::item::{Item, Nanos};
use crate::machine::{Machine, Queue, Step};
use crate::toxic::Attributes;

/// Microseconds of a day: longer delays are as good as this.
const LONGEST_DELAY: u64 = 86_400_000_000;

#[derive(Debug)]
pub(crate) struct Slicer {
    /// Pieces up to this long stay whole.
    longest: u64,
    variation: u64,
    delay: Nanos,
    draws: Box<ChaCha8Rng>,
    queue: Queue,
    /// Lengths of the parts that the head of the queue has been halved into so far, the next one last; none where it
    /// has not been looked at. Halves of halves, so there are few of them.
    parts: Vec<u64>,
    free_at: Nanos,
}

impl Slicer {
    pub(crate) fn new(attributes: &Attributes, seed: Seed) -> Self {
        let mut slicer = Self {
            longest: 1,
            variation: 0,
            delay: 0,
            draws: Box::new(ChaCha8Rng::from_seed(seed.key())),
            queue: Queue::default(),
            parts: Vec::new(),
            free_at: 0,
        };
        slicer.update(attributes, 0);
        slicer
    }

    /// Halves what came together, off the middle by at most the variation, until its first part is short enough, and
    /// returns that. The second halves wait and are halved in their turn, as in the reference: halving what is left
    /// from its beginning again would make the pieces smaller. A variation larger than the piece, which crashes the
    /// reference, takes all but a byte or a byte only.
    fn next_piece(&mut self, head: u64) -> u64 {
        let mut len = self.parts.pop().unwrap_or(head);
        while len > self.longest {
            let offset = below(self.draws.next_u64(), self.variation.saturating_mul(2).saturating_add(1));
            let first = (len / 2).saturating_add(offset).saturating_sub(self.variation).clamp(1, len - 1);
            self.parts.push(len - first);
            len = first;
        }
        len
    }
}

impl Machine for Slicer {
    fn takes(&mut self, _now: Nanos) -> u64 {
        if self.queue.is_empty() { u64::MAX } else { 0 }
    }

    fn offer(&mut self, item: Item, _now: Nanos) {
        self.queue.push(item);
    }

    /// The size of a piece is drawn when it goes, once, so it does not depend on how often this is asked.
    fn poll(&mut self, now: Nanos) -> Step {
        let Some(head) = self.queue.front() else { return Step::Wait(None) };
        let (due, len) = (self.free_at.max(head.at), head.len());
        if due > now {
            return Step::Wait(Some(due));
        }
        let piece = self.next_piece(len);
        let mut item = self.queue.pop_up_to(piece).expect("the head was looked at");
        item.at = due;
        self.free_at = due + self.delay;
        Step::Pass(item)
    }

    fn held(&self) -> u64 {
        self.queue.cost()
    }

    fn update(&mut self, attributes: &Attributes, _now: Nanos) {
        if let Attributes::Slicer { average_size, size_variation, delay } = attributes {
            self.parts.clear();
            self.longest = average_size.saturating_add(*size_variation).max(1).unsigned_abs();
            self.variation = size_variation.max(&0).unsigned_abs();
            self.delay = delay.max(&0).unsigned_abs().min(LONGEST_DELAY) * 1000;
        }
    }

    fn release(&mut self, _removed: bool, _now: Nanos) -> VecDeque<Item> {
        self.parts.clear();
        self.queue.take()
    }
}
