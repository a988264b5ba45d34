//! A chain of toxics over one direction of one connection, or of one flow of datagrams.
//!
//! Items move from stage to stage when they are due and the next stage has room; what leaves the last stage is
//! handed out one at a time. Nothing is lost by a change between two polls: a stage that goes hands what it holds
//! to the next one, in order.
//!
//! Datagrams go through whole: one in, one out, or none, or two. There is no back-pressure on them, so what comes when
//! the limit is reached is dropped, and counted.

use std::sync::Arc;

use bytes::Bytes;

use crate::draw::{Hit, Identity};
use crate::item::{End, ITEM_COST, Item, Nanos, Payload, Strike};
use crate::machine::{Machine, Queue, Step};
use crate::toxic::{Attributes, Protocol, Toxic};

/// What the driver is to do with its sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Out {
    /// Nothing now.
    Nothing,
    /// Write these bytes, all of them, before polling again.
    Deliver(Bytes),
    /// Shut down the writing side of the destination; the other direction goes on.
    FinWrite,
    /// Close both sockets in an orderly way.
    CloseBoth(Strike),
    /// Reset both sockets once the bytes before have been handed on.
    ResetBoth(Option<Strike>),
    /// Leave both sockets open and move nothing any more.
    StallBoth(Strike),
}

/// Answer of [`Chain::poll`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poll {
    /// What leaves.
    pub out: Out,
    /// Poll again at this time at the latest, whatever happens; `None`: nothing is waiting for time to pass.
    pub wake: Option<Nanos>,
    /// Bytes the chain takes now.
    pub credit: u64,
}

/// The toxics of one direction of one connection, and what they hold.
///
/// Times passed to its methods never go back. [`Chain::offer`] takes no more than the last poll's credit;
/// [`Chain::poll`] is called after every offer and change, at every `wake`, and after each delivery, unless the chain
/// [is transparent](Chain::is_transparent).
#[derive(Debug)]
pub struct Chain {
    identity: Identity,
    limit: u64,
    protocol: Protocol,
    /// Datagrams offered.
    offered: u64,
    /// Datagrams dropped for want of room, not yet told.
    overflowed: u64,
    slots: Vec<Slot>,
    /// Offered and not yet taken by the first stage.
    inlet: Option<Item>,
    /// Left the last stage and not yet handed out.
    outlet: Queue,
    /// Strikes that the connection outlives, not yet taken.
    struck: Vec<Strike>,
    /// Datagrams that were struck, not yet taken.
    hits: Vec<Hit>,
    source_ended: bool,
    finished: bool,
}

#[derive(Debug)]
struct Slot {
    toxic: Toxic,
    /// `None` where the toxic does not affect this connection, or does nothing.
    machine: Option<Box<dyn Machine>>,
    wake: Option<Nanos>,
    /// It passed an end: what comes after goes nowhere.
    ended: bool,
}

impl Chain {
    /// An empty chain that will hold at most `limit` bytes, bookkeeping included.
    pub fn new(identity: Identity, limit: u64) -> Self {
        Self::of(Protocol::Tcp, identity, limit)
    }

    /// The same for the datagrams of a flow. Its toxics are made by [`Toxic::for_datagrams`].
    pub fn of_datagrams(identity: Identity, limit: u64) -> Self {
        Self::of(Protocol::Udp, identity, limit)
    }

    fn of(protocol: Protocol, identity: Identity, limit: u64) -> Self {
        Self {
            identity,
            limit,
            protocol,
            offered: 0,
            overflowed: 0,
            slots: Vec::new(),
            inlet: None,
            outlet: Queue::default(),
            struck: Vec::new(),
            hits: Vec::new(),
            source_ended: false,
            finished: false,
        }
    }

    /// Adds a toxic at the end.
    pub fn attach(&mut self, toxic: &Toxic, now: Nanos) {
        let active = toxic.hits(&self.identity);
        let machine = if active { toxic.machine(&self.identity, now) } else { None };
        self.slots.push(Slot { toxic: toxic.clone(), machine, wake: None, ended: false });
    }

    /// Removes the toxic of that name; what it holds goes on at once, in order.
    pub fn detach(&mut self, name: &str, now: Nanos) {
        if let Some(index) = self.position(name) {
            self.release(index, true, now);
            self.slots.remove(index);
        }
    }

    /// Gives a toxic, found by its name, other attributes or another toxicity. The connection's draw stays, so
    /// whether it is affected changes only as the toxicity moves over it.
    pub fn update(&mut self, toxic: &Toxic, now: Nanos) {
        let Some(index) = self.position(toxic.name()) else { return };
        let (was, is) = (self.slots[index].toxic.hits(&self.identity), toxic.hits(&self.identity));
        let same_machine = shape(toxic.attributes()) == shape(self.slots[index].toxic.attributes());
        if was && (!is || !same_machine) {
            self.release(index, false, now);
        }
        let slot = &mut self.slots[index];
        slot.toxic = toxic.clone();
        match &mut slot.machine {
            Some(machine) if was && is && same_machine => machine.update(toxic.attributes(), now),
            machine => *machine = if is { toxic.machine(&self.identity, now) } else { None },
        }
    }

    /// Names of the toxics, in order.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.slots.iter().map(|slot| slot.toxic.name())
    }

    /// Takes bytes that were read at `now`, or a datagram. Nothing of a stream is ignored, as is everything after the
    /// end; an empty datagram is one like any other.
    pub fn offer(&mut self, bytes: Bytes, now: Nanos) {
        self.offered += 1;
        let item = match self.protocol {
            Protocol::Udp => Item::datagram(bytes, self.offered, now),
            Protocol::Tcp if bytes.is_empty() => return,
            Protocol::Tcp => Item::data(bytes, now),
        };
        if !self.source_ended {
            self.enter(item, now);
        }
    }

    /// Counts a datagram that was dropped before it came here, so that the numbers of those behind it stay what they are.
    pub const fn skip(&mut self) {
        self.offered += 1;
    }

    /// Takes the end of the source: its FIN or its reset.
    pub fn offer_end(&mut self, end: End, now: Nanos) {
        if !self.source_ended {
            self.source_ended = true;
            self.enter(Item::end(end, now), now);
        }
    }

    /// Moves what is due and says what leaves.
    pub fn poll(&mut self, now: Nanos) -> Poll {
        if self.finished {
            return Poll { out: Out::Nothing, wake: None, credit: 0 };
        }
        while self.outlet.is_empty() && self.pass(now) {}
        let out = self.outlet.pop().map_or(Out::Nothing, |item| self.hand_out(item));
        let wake = self.slots.iter().filter_map(|slot| slot.wake).min();
        Poll { out, wake, credit: self.credit(now) }
    }

    /// Strikes since the last call that did not end the connection: corrupted bytes, a direction that stalled. Those
    /// that end it come with [`Poll::out`].
    pub fn strikes(&mut self) -> Vec<Strike> {
        std::mem::take(&mut self.struck)
    }

    /// Datagrams that toxics dropped, copied or let overtake others since the last call, each with its decision.
    pub fn hits(&mut self) -> Vec<Hit> {
        std::mem::take(&mut self.hits)
    }

    /// Datagrams dropped since the last call because the chain held as much as it may.
    pub fn overflowed(&mut self) -> u64 {
        std::mem::take(&mut self.overflowed)
    }

    /// Whether a toxic has stopped this direction and nothing will leave before that changes.
    pub fn is_stalled(&self) -> bool {
        let stalls = |slot: &Slot| slot.machine.as_ref().is_some_and(|machine| machine.is_stalled());
        self.outlet.is_empty() && self.slots.iter().any(stalls)
    }

    /// Bytes the chain takes at `now`.
    pub fn credit(&mut self, now: Nanos) -> u64 {
        if self.finished || self.source_ended || self.inlet.is_some() {
            return 0;
        }
        let room = self.limit.saturating_sub(self.held() + ITEM_COST);
        let takes = self.room(0, now);
        takes.min(room)
    }

    /// What is held, bookkeeping included. The bytes in it are never more than the limit; bookkeeping is counted
    /// when bytes are let in, and grows when a toxic cuts them up.
    pub fn held(&self) -> u64 {
        let queued = self.inlet.as_ref().map_or(0, Item::cost) + self.outlet.cost();
        queued + self.slots.iter().filter_map(|slot| slot.machine.as_ref()).map(|m| m.held()).sum::<u64>()
    }

    /// Whether bytes would pass untouched and at once: no toxic affects the connection and nothing is held.
    pub fn is_transparent(&self) -> bool {
        !self.finished
            && !self.source_ended
            && self.inlet.is_none()
            && self.outlet.is_empty()
            && self.slots.iter().all(Slot::is_idle)
    }

    /// Whether an end has left: nothing will come any more.
    pub const fn is_finished(&self) -> bool {
        self.finished
    }

    /// One pass from the last stage to the first; whether anything moved.
    fn pass(&mut self, now: Nanos) -> bool {
        let mut moved = false;
        for index in (0..self.slots.len()).rev() {
            moved |= self.advance(index, now);
        }
        if self.inlet.is_some() && self.room(0, now) > 0 {
            let item = self.inlet.take().expect("it was there a moment ago");
            self.give(0, item, now);
            moved = true;
        }
        moved
    }

    /// Lets one stage give what is due to the next as long as that takes it.
    fn advance(&mut self, index: usize, now: Nanos) -> bool {
        let mut moved = false;
        self.slots[index].wake = None;
        while self.room(index + 1, now) > 0 {
            let slot = &mut self.slots[index];
            let Some(machine) = slot.machine.as_mut().filter(|_| !slot.ended) else { break };
            match machine.poll(now) {
                Step::Pass(item) => {
                    slot.ended = matches!(item.payload, Payload::End(_));
                    self.give(index + 1, item, now);
                    moved = true;
                }
                Step::Wait(wake) => {
                    self.slots[index].wake = wake;
                    break;
                }
            }
        }
        if let Some(machine) = &mut self.slots[index].machine {
            self.struck.append(&mut machine.strikes());
            self.hits.append(&mut machine.hits());
        }
        moved
    }

    /// What the first machine from `from` on takes, or the outlet behind the last one.
    fn room(&mut self, from: usize, now: Nanos) -> u64 {
        match self.slots[from..].iter_mut().find(|slot| !slot.is_idle()) {
            Some(slot) => slot.takes(now),
            // Datagrams that are due leave their queues at once: none is dropped behind one that has left.
            None if self.outlet.is_empty() || self.protocol == Protocol::Udp => u64::MAX,
            None => 0,
        }
    }

    fn give(&mut self, from: usize, item: Item, now: Nanos) {
        if self.protocol == Protocol::Udp && item.is_data() && self.held() + item.cost() > self.limit {
            self.overflowed += 1;
            return;
        }
        match self.slots[from..].iter_mut().find(|slot| !slot.is_idle()) {
            Some(slot) => slot.offer(item, now),
            None => self.outlet.push(item),
        }
    }

    /// Everything enters by the inlet, except behind the last bytes an end for which there is no room yet.
    fn enter(&mut self, item: Item, now: Nanos) {
        match self.inlet.take() {
            None => self.inlet = Some(item),
            Some(earlier) => {
                self.give(0, earlier, now);
                self.inlet = Some(item);
            }
        }
    }

    fn hand_out(&mut self, item: Item) -> Out {
        let end = match item.payload {
            Payload::Data(bytes) => return Out::Deliver(bytes),
            Payload::End(end) => end,
        };
        self.finished = true;
        match end {
            End::Fin => Out::FinWrite,
            End::Close(strike) => Out::CloseBoth(strike),
            End::Reset(strike) => Out::ResetBoth(strike),
            End::Stall(strike) => Out::StallBoth(strike),
        }
    }

    fn release(&mut self, index: usize, removed: bool, now: Nanos) {
        let slot = &mut self.slots[index];
        let machine = slot.machine.take().filter(|_| !slot.ended);
        let items = machine.map(|mut machine| machine.release(removed, now));
        for item in items.into_iter().flatten() {
            self.give(index + 1, item, now);
        }
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.slots.iter().position(|slot| &**slot.toxic.name() == name)
    }
}

impl Slot {
    /// Bytes pass it untouched.
    fn is_idle(&self) -> bool {
        self.machine.is_none() && !self.ended
    }

    fn takes(&mut self, now: Nanos) -> u64 {
        self.machine.as_mut().filter(|_| !self.ended).map_or(0, |machine| machine.takes(now))
    }

    fn offer(&mut self, item: Item, now: Nanos) {
        if let Some(machine) = self.machine.as_mut().filter(|_| !self.ended) {
            machine.offer(item, now);
        }
    }
}

/// What must stay the same for a machine to be updated in place; otherwise a new one takes over.
fn shape(attributes: &Attributes) -> (&'static str, bool) {
    (attributes.kind(), matches!(attributes, Attributes::Bandwidth { shared: true, .. }))
}
