//! Bandwidth: bytes leave at a fixed rate, in pieces of at most a millisecond of it.
//!
//! A piece leaves when the last of its bytes would have passed the link: `max(arrival, previous departure) +
//! size / rate`. Only a little is queued (ten milliseconds of the rate); the rest stays with the sender, whose
//! upload then goes at the rate of the link. Rate zero stalls until the toxic changes or goes.
//!
//! A link that has been idle lets a burst through at once: a bucket of that many bytes, filled at the rate. It is kept
//! as a time, that at which the link would be free without it, and a burst is allowed to run ahead of that.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::item::{Item, Nanos, Payload};
use crate::machine::{Machine, Queue, Step};
use crate::pacer::{Pacer, ahead, duration};
use crate::toxic::{Attributes, kilobytes};

/// Pieces a second: each is a millisecond of the rate.
const PIECES_PER_SECOND: u64 = 1000;
/// Milliseconds of the rate that are queued, so that a wake-up a few milliseconds late does not idle the link.
const BACKLOG_MS: u64 = 10;
/// The least that is queued: one read of Toxiproxy's.
const LEAST_BACKLOG: u64 = 32 * 1024;
/// A shared link's turn is never longer than this, whatever its rate, so that many connections stay in step.
const LONGEST_TURN: u64 = 64 * 1024;

#[derive(Debug)]
pub(crate) struct Bandwidth {
    rate: u64,
    /// How far departures may run ahead of the link: the time that a burst takes on it.
    ahead: Nanos,
    queue: Queue,
    /// When the link will be free, in a time that runs `ahead` of the real one.
    free_at: Nanos,
}

impl Bandwidth {
    pub(crate) fn new(rate: u64, burst: u64) -> Self {
        Self { rate, ahead: ahead(burst, rate), queue: Queue::default(), free_at: 0 }
    }

    /// Size of the next piece, and when the link is free after it.
    fn next(&self) -> Option<(u64, Option<Nanos>)> {
        let head = self.queue.front()?;
        let start = self.free_at.max(head.at);
        match &head.payload {
            Payload::End(_) => Some((0, Some(start))),
            Payload::Data(bytes) => {
                let piece = (bytes.len() as u64).min((self.rate / PIECES_PER_SECOND).max(1));
                Some((piece, duration(piece, self.rate).map(|time| start + time)))
            }
        }
    }

    /// When what leaves the link at `free` departs, having come at `at`.
    fn departure(&self, free: Nanos, at: Nanos) -> Nanos {
        free.saturating_sub(self.ahead).max(at)
    }
}

/// Room in a queue that may hold `backlog`, in steps of a quarter so that reads do not get silly.
fn room(backlog: u64, held: u64) -> u64 {
    let room = backlog.saturating_sub(held);
    if room >= backlog / 4 { room } else { 0 }
}

fn backlog(rate: u64) -> u64 {
    (rate / 1000).saturating_mul(BACKLOG_MS).max(LEAST_BACKLOG)
}

impl Machine for Bandwidth {
    fn takes(&mut self, _now: Nanos) -> u64 {
        room(backlog(self.rate), self.queue.cost())
    }

    fn offer(&mut self, item: Item, _now: Nanos) {
        self.queue.push(item);
    }

    fn poll(&mut self, now: Nanos) -> Step {
        let Some((piece, free)) = self.next() else { return Step::Wait(None) };
        let at = self.queue.front().map_or(now, |head| head.at);
        match free.map(|free| (free, self.departure(free, at))) {
            Some((free, due)) if due <= now => {
                let mut item = self.queue.pop_up_to(piece).expect("there is a head, its piece was computed");
                self.free_at = free;
                item.at = due;
                Step::Pass(item)
            }
            later => Step::Wait(later.map(|(_, due)| due)),
        }
    }

    fn held(&self) -> u64 {
        self.queue.cost()
    }

    fn update(&mut self, attributes: &Attributes, now: Nanos) {
        if let Attributes::Bandwidth { rate, burst, .. } = attributes {
            self.rate = kilobytes(*rate);
            self.ahead = ahead(burst.unsigned_abs(), self.rate);
            // Time that passed at the old rate gives no credit at the new one: the bucket is empty.
            self.free_at = now + self.ahead;
        }
    }

    fn release(&mut self, _removed: bool, now: Nanos) -> VecDeque<Item> {
        release(&mut self.queue, now)
    }
}

fn release(queue: &mut Queue, now: Nanos) -> VecDeque<Item> {
    let mut items = queue.take();
    for item in &mut items {
        item.at = now;
    }
    items
}

/// The same over a link that all connections of the proxy share. A link's queue comes before its delay, so what
/// leaves here is stamped anew, and a latency behind it adds to the waiting.
#[derive(Debug)]
pub(crate) struct Shared {
    pacer: Arc<Pacer>,
    queue: Queue,
    free_at: Nanos,
    /// The turn that is reserved: bytes of it that have not left, and when it is over.
    turn: Option<(u64, Nanos)>,
    waiting: bool,
}

impl Shared {
    pub(crate) fn new(pacer: Arc<Pacer>) -> Self {
        Self { pacer, queue: Queue::default(), free_at: 0, turn: None, waiting: false }
    }

    /// The reserved turn, reserving one if there is something to send. It takes what is queued, in however many
    /// pieces it came: shares do not depend on how a sender cuts its bytes. An end takes no time on the link.
    fn turn(&mut self) -> Option<(u64, Nanos)> {
        if self.turn.is_none() {
            let head = self.queue.front()?;
            let ready = self.free_at.max(head.at);
            let longest = (self.pacer.rate() / PIECES_PER_SECOND).clamp(1, LONGEST_TURN);
            let bytes = self.queue.bytes().min(longest);
            self.turn = match head.payload {
                Payload::End(_) => Some((0, ready)),
                Payload::Data(_) => self.pacer.reserve(bytes, ready).map(|due| (bytes, due)),
            };
        }
        self.turn
    }

    fn note_waiting(&mut self) {
        let waiting = !self.queue.is_empty();
        if waiting != self.waiting {
            self.pacer.set_waiting(waiting);
            self.waiting = waiting;
        }
    }
}

impl Machine for Shared {
    fn takes(&mut self, _now: Nanos) -> u64 {
        let share = backlog(self.pacer.rate() / self.pacer.waiting()).max(2 * LONGEST_TURN);
        room(share, self.queue.cost())
    }

    fn offer(&mut self, item: Item, _now: Nanos) {
        self.queue.push(item);
        self.note_waiting();
    }

    fn poll(&mut self, now: Nanos) -> Step {
        match self.turn() {
            Some((left, due)) if due <= now => {
                let mut item = self.queue.pop_up_to(left).expect("a turn is reserved for what is queued");
                self.turn = Some((left - item.len(), due)).filter(|(left, _)| *left > 0);
                self.free_at = due;
                (item.at, item.stamp) = (due, due);
                self.note_waiting();
                Step::Pass(item)
            }
            turn => Step::Wait(turn.map(|(_, due)| due)),
        }
    }

    fn held(&self) -> u64 {
        self.queue.cost()
    }

    /// The pacer knows the new rate already. A turn reserved at a slower one would hold the head for long.
    fn update(&mut self, _attributes: &Attributes, now: Nanos) {
        self.turn = None;
        self.free_at = now;
    }

    fn release(&mut self, _removed: bool, now: Nanos) -> VecDeque<Item> {
        let items = release(&mut self.queue, now);
        self.turn = None;
        self.note_waiting();
        items
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.queue.take();
        self.note_waiting();
    }
}
