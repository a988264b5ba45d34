//! Moves the bytes of one connection: both directions in one task, by readiness. It reads what the chains have
//! room for, polls them, writes what leaves, keeps what a socket does not take, and sleeps until a socket, the
//! clock or an order wants something.
//!
//! Nothing here waits while it holds bytes outside a chain or a remainder, so a live change or a dropped wait
//! loses none.

mod lane;

use std::convert::Infallible;
use std::future::pending;

use bytes::Bytes;
use chaosproxy_path::{Chain, End, Nanos, Out, Stream, Strike};
use tokio::io::{Interest, Ready};
use tokio::task::{coop::consume_budget, yield_now};

use crate::attached::Attached;
use crate::clock::{Clock, Timer};
use crate::driver::lane::Lane;
use crate::live::{ConnectionState, Kill, Orders, Visit};
use crate::socket::{self, READ_SIZE, Read, Socket};

/// Bytes each direction moves, in and out, before others run; spliced ones take half a millisecond. System calls that
/// succeed never yield on their own.
const TURN: u64 = 4 << 20;

/// The toxic whose resets depend, in the reference, on when its connection began.
const RESET_PEER: &str = "reset_peer";

/// Why forwarding is over.
#[derive(Debug)]
pub(crate) enum Ending {
    /// Both directions ended by themselves; `broken` if a peer was reset or vanished.
    Over { broken: bool },
    /// Both sockets are to be closed.
    Close(Strike),
    /// Both are to be reset, once socket `to` has got the bytes before it; without a strike its source was reset.
    Reset { to: usize, strike: Option<Strike> },
    /// Both stay open and nothing moves.
    Stall(Strike),
    /// By order.
    Killed(Kill),
}

/// The owner of both sockets while bytes move.
#[derive(Debug)]
pub(crate) struct Driver<'a> {
    visit: &'a mut Visit,
    clock: Clock,
    timer: Timer,
    sockets: [Socket; 2],
    lanes: [Lane; 2],
    /// The peer of this socket was reset or vanished.
    broken: [bool; 2],
    attached: Attached,
    /// How connections end in the reference, where that is followed.
    reference: Option<Reference>,
    held: bool,
    budget: u64,
}

/// In the reference a direction that has ended ends the other, in order, though the peer was reset.
#[derive(Clone, Copy, Debug)]
struct Reference {
    /// There was a `reset_peer` when the connection began: then each of its closes is a reset, and otherwise none.
    resets: bool,
}

impl<'a> Driver<'a> {
    pub(crate) fn new(visit: &'a mut Visit, sockets: [Socket; 2]) -> Self {
        let clock = visit.live.ground.clock;
        let identity = visit.live.identity(visit.record.ordinal);
        let limit = visit.live.ground.buffer_limit;
        let lanes = [Stream::Upstream, Stream::Downstream]
            .map(|stream| Lane::new(stream, Chain::new(identity.clone(), limit)));
        let timer = Timer::new(clock);
        let attached = Attached::default();
        let reference = visit.live.ground.strict_compat.then(|| Reference { resets: visit.has(RESET_PEER) });
        let broken = [false; 2];
        Self { visit, clock, timer, sockets, lanes, broken, attached, reference, held: false, budget: 0 }
    }

    /// Forwards until there is a reason to stop.
    pub(crate) async fn run(&mut self) -> Ending {
        match self.forward().await {
            Ok(never) => match never {},
            Err(ending) => match self.reference {
                Some(reference) => reference.ends(ending),
                None => ending,
            },
        }
    }

    /// Notes the end and gives the sockets back.
    pub(crate) fn finish(mut self, ending: &Ending) -> [Socket; 2] {
        if matches!(ending, Ending::Close(_) | Ending::Stall(_)) {
            // Their peers are waited for.
            self.sockets.iter_mut().for_each(Socket::hear);
        }
        let live = &self.visit.live;
        // What comes now (draining, lingering, stalling) follows no more orders than the one to go.
        live.applied(&self.visit.record, u64::MAX);
        if let Some(strike) = ending.strike() {
            live.counters.struck(strike);
            self.visit.decisions.observe(live, self.visit.record.ordinal, strike);
        }
        self.sockets
    }

    async fn forward(&mut self) -> Result<Infallible, Ending> {
        // A receiver beside the one that `obey` reads, so that one wait for orders lasts through all waits for sockets.
        // It may be told of what is followed already.
        let mut orders = self.visit.orders.clone();
        loop {
            self.obey()?;
            tokio::select! {
                biased;
                changed = orders.changed() => changed.map_err(|_| Ending::Killed(Kill::Close))?,
                moved = self.carry() => match moved? {},
            }
        }
    }

    /// Moves bytes until there is a reason to stop; dropped where orders change.
    async fn carry(&mut self) -> Result<Infallible, Ending> {
        if self.held {
            self.lanes.iter_mut().for_each(Lane::return_pipe);
            return pending().await;
        }
        loop {
            if self.turn()? {
                yield_now().await;
            } else {
                self.wait().await;
                // However busy the sockets are, orders are looked at now and then.
                consume_budget().await;
            }
        }
    }

    /// Follows the newest orders.
    fn obey(&mut self) -> Result<(), Ending> {
        let orders = self.visit.consult().map_err(Ending::Killed)?;
        let chains = self.lanes.each_mut().map(|lane| &mut lane.chain);
        let lost_timeout = self.attached.follow(&orders.toxics, chains, self.clock.now());
        if self.reference.is_some() && lost_timeout {
            // One that struck closes the connection by itself.
            if !self.held {
                self.turn()?;
            }
            return Err(Ending::Over { broken: false });
        }
        self.hold(&orders);
        self.visit.live.applied(&self.visit.record, orders.version);
        Ok(())
    }

    fn hold(&mut self, orders: &Orders) {
        if orders.black_hole && !self.held {
            self.visit.live.counters.fault("outage:black_hole");
        }
        self.held = orders.black_hole;
        self.visit.record.set_state(if self.held { ConnectionState::Held } else { ConnectionState::Open });
    }

    /// Moves what can be moved now; whether there is more to do at once.
    fn turn(&mut self) -> Result<bool, Ending> {
        let mut more = false;
        for lane in 0..2 {
            self.budget = TURN;
            self.pump(lane)?;
            more |= self.budget == 0;
        }
        // Where one direction has ended and a toxic stalls the other, nothing would ever move again.
        let [one, other] = &self.lanes;
        let is_over = |lane: &Lane, other: &Lane| lane.over || other.over && lane.chain.is_stalled();
        if is_over(one, other) && is_over(other, one) {
            return Err(Ending::Over { broken: self.broken.contains(&true) });
        }
        Ok(more)
    }

    /// Delivers and reads in turn until one of them has nothing to do, or the turn is over.
    fn pump(&mut self, lane: usize) -> Result<(), Ending> {
        while self.budget > 0 && self.deliver(lane)? && self.take(lane) {}
        Ok(())
    }

    /// Writes what leaves the chain. Whether all of it went.
    fn deliver(&mut self, lane: usize) -> Result<bool, Ending> {
        while !self.lanes[lane].over && self.budget > 0 {
            if !self.flush(lane) {
                return Ok(false);
            }
            let Lane { chain, credit, wake, .. } = &mut self.lanes[lane];
            if chain.is_transparent() {
                // Bytes go around it, as many as come and whatever the time.
                (*credit, *wake) = (u64::MAX, None);
                return Ok(true);
            }
            let poll = chain.poll(self.clock.now());
            (*credit, *wake) = (poll.credit, poll.wake);
            self.note(lane);
            match poll.out {
                Out::Nothing => return Ok(true),
                Out::Deliver(bytes) => self.lanes[lane].remainder = bytes,
                Out::FinWrite => {
                    if self.reference.is_some_and(|reference| reference.resets) {
                        return Err(Ending::Reset { to: 1 - lane, strike: None });
                    }
                    // Where the other direction has ended in order, closing follows at once and says the same.
                    let says_more = self.broken.contains(&true) || self.reference.is_some();
                    if says_more || !self.lanes[1 - lane].over {
                        socket::finish_writing(&self.sockets[1 - lane]);
                    }
                    self.lanes[lane].over = true;
                    if self.reference.is_some() {
                        self.end(1 - lane, End::Fin);
                        // The other direction has something to do now.
                        self.budget = 0;
                    }
                }
                Out::CloseBoth(strike) => return Err(Ending::Close(strike)),
                Out::ResetBoth(strike) => return Err(Ending::Reset { to: 1 - lane, strike }),
                Out::StallBoth(strike) => return Err(Ending::Stall(strike)),
            }
        }
        Ok(false)
    }

    /// Writes down strikes that the connection outlives.
    fn note(&mut self, lane: usize) {
        for strike in self.lanes[lane].chain.strikes() {
            let live = &self.visit.live;
            live.counters.struck(&strike);
            self.visit.decisions.observe(live, self.visit.record.ordinal, &strike);
        }
    }

    /// Writes what is on its way. Whether all of it went.
    fn flush(&mut self, lane: usize) -> bool {
        while !self.lanes[lane].is_flushed() {
            match self.lanes[lane].write(&self.sockets[1 - lane]) {
                Ok(0) => return false,
                Ok(n) => self.count_sent(lane, n),
                Err(_) => {
                    self.lose(1 - lane);
                    return false;
                }
            }
        }
        true
    }

    /// Reads into the chain, or past an empty one straight into the destination, or into a pipe to it. Whether there
    /// is something new.
    fn take(&mut self, lane: usize) -> bool {
        if !self.lanes[lane].wants_bytes() {
            return false;
        }
        let read = if !self.lanes[lane].chain.is_transparent() {
            self.offer(lane)
        } else if self.has_pipe(lane) {
            self.splice(lane)
        } else {
            self.relay(lane)
        };
        let end = match read {
            Read::Empty => return false,
            Read::Bytes(n) => {
                self.visit.live.counters.received(self.lanes[lane].stream, n as u64);
                self.budget = self.budget.saturating_sub(n as u64);
                return true;
            }
            _ if self.reference.is_some() => End::Fin,
            Read::End if self.broken[lane] => End::Reset(None),
            Read::End => End::Fin,
            Read::Broken => End::Reset(None),
        };
        self.broken[lane] |= end != End::Fin;
        self.end(lane, end);
        true
    }

    /// Nothing more comes into a lane.
    fn end(&mut self, lane: usize, end: End) {
        let lane = &mut self.lanes[lane];
        if std::mem::take(&mut lane.reading) {
            lane.chain.offer_end(end, self.clock.now());
        }
    }

    /// Whether the next bytes go through a pipe, which is borrowed if need be.
    fn has_pipe(&mut self, lane: usize) -> bool {
        let lane = &mut self.lanes[lane];
        if lane.is_bulk() && lane.pipe.is_none() {
            lane.pipe = self.visit.live.ground.pipes.lend();
        }
        lane.pipe.is_some()
    }

    fn splice(&mut self, lane: usize) -> Read<usize> {
        let pipe = self.lanes[lane].pipe.as_mut().expect("it was lent a moment ago");
        pipe.fill(&self.sockets[lane]).unwrap_or_else(|| self.relay(lane))
    }

    fn offer(&mut self, lane: usize) -> Read<usize> {
        let Lane { chain, credit, .. } = &mut self.lanes[lane];
        let now = self.clock.now();
        socket::read_bytes(&self.sockets[lane], *credit).map(|bytes| {
            let len = bytes.len();
            chain.offer(bytes, now);
            len
        })
    }

    fn relay(&mut self, lane: usize) -> Read<usize> {
        let [source, destination] = [&self.sockets[lane], &self.sockets[1 - lane]];
        let read = socket::read(source, READ_SIZE as u64, |bytes| {
            let written = socket::write(destination, bytes);
            let rest = &bytes[written.as_ref().map_or(0, |n| *n)..];
            (bytes.len(), written, Bytes::copy_from_slice(rest))
        });
        read.map(|(len, written, rest)| {
            match written {
                Ok(written) => {
                    self.lanes[lane].remainder = rest;
                    self.lanes[lane].note_read(len);
                    self.count_sent(lane, written);
                }
                Err(_) => self.lose(1 - lane),
            }
            len
        })
    }

    fn count_sent(&mut self, lane: usize, bytes: usize) {
        let stream = self.lanes[lane].stream;
        self.visit.live.counters.sent(stream, bytes as u64);
        self.visit.record.delivered(stream, bytes as u64);
        self.budget = self.budget.saturating_sub(bytes as u64);
    }

    /// The peer of a socket is gone: nothing can be delivered to it. What it sent before still is, and its reset
    /// follows behind.
    fn lose(&mut self, socket: usize) {
        self.broken[socket] = true;
        self.lanes[1 - socket].abandon();
        let from = &mut self.lanes[socket];
        if !from.wants_bytes() && from.is_flushed() && from.chain.held() == 0 {
            from.abandon();
        }
    }

    /// Sleeps until a socket is ready for what is wanted of it, or something is due.
    async fn wait(&mut self) {
        self.lanes.iter_mut().for_each(Lane::return_pipe);
        for (lane, socket) in self.lanes.iter().zip(&mut self.sockets) {
            if lane.wants_bytes() {
                socket.hear();
            } else if lane.is_blocked_bulk() {
                socket.deafen();
            }
        }
        let interests = [self.interest(0), self.interest(1)];
        let wake = self.wake();
        let [client, server] = &self.sockets;
        let timer = &mut self.timer;
        let ready = tokio::select! {
            // Whoever comes first, both directions are looked at afterwards.
            biased;
            ready = client.ready(interests[0].unwrap_or(Interest::READABLE)), if interests[0].is_some() => (0, ready),
            ready = server.ready(interests[1].unwrap_or(Interest::READABLE)), if interests[1].is_some() => (1, ready),
            () = timer.until(wake.unwrap_or(0)), if wake.is_some() => return,
            // Nothing but orders changes anything now.
            else => return pending().await,
        };
        let (socket, ready) = (ready.0, ready.1.unwrap_or(Ready::ERROR));
        if ready.is_error() && !self.lanes[socket].wants_bytes() {
            self.lose(socket);
        }
    }

    /// What is wanted of a socket. One that is not read is watched for a reset, so that an abort is not overlooked.
    fn interest(&self, socket: usize) -> Option<Interest> {
        let reads = self.lanes[socket].wants_bytes().then_some(Interest::READABLE);
        let writes = (!self.lanes[1 - socket].is_flushed()).then_some(Interest::WRITABLE);
        let aborts = (reads.is_none() && !self.broken[socket]).then_some(Interest::ERROR);
        [reads, writes, aborts].into_iter().flatten().reduce(Interest::add)
    }

    /// When time will have something to do. A lane whose destination is full waits for that instead.
    fn wake(&self) -> Option<Nanos> {
        let timed = self.lanes.iter().filter(|lane| !lane.over && lane.is_flushed());
        timed.filter_map(|lane| lane.wake).min()
    }
}

impl Reference {
    /// How a connection ends there that would end like this here.
    fn ends(self, ending: Ending) -> Ending {
        match (self.resets, ending) {
            (true, Ending::Close(strike)) => Ending::Reset { to: 0, strike: Some(strike) },
            (true, Ending::Over { .. }) => Ending::Over { broken: true },
            (false, Ending::Reset { strike: Some(strike), .. }) if strike.fault == RESET_PEER => {
                Ending::Close(strike)
            }
            (false, Ending::Reset { strike: None, .. } | Ending::Over { .. }) => {
                Ending::Over { broken: false }
            }
            (_, ending) => ending,
        }
    }
}
