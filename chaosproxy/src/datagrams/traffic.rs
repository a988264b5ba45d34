//! Moves the datagrams of one flow, by readiness: what comes goes into the chain of its direction, what leaves the
//! chain is sent. Between two datagrams the flow sleeps until one comes, one is due, orders change, or it has been idle
//! for too long.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use chaosproxy_path::{Chain, Nanos, Out, Stream, Strike};
use tokio::net::UdpSocket;
use tokio::time::{Instant, Sleep};

use super::BUFFER;
use super::flow::{Client, Letter};
use super::room::Share;
use crate::attached::Attached;
use crate::clock::{Clock, Timer};
use crate::live::{ConnectionState, Kill, Visit};

/// Datagrams of one direction that are moved before others get a turn.
const BATCH: usize = 64;

thread_local! {
    /// A datagram between the socket and the chain; a buffer of a thread, so that an idle flow has none.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; BUFFER]);
}

/// Why a flow is over.
#[derive(Debug)]
pub(super) enum Ending {
    /// Nothing came for a while.
    Idle,
    /// A toxic ended it.
    Struck,
    /// By order.
    Killed(Kill),
}

/// One direction.
#[derive(Debug)]
struct Lane {
    stream: Stream,
    chain: Chain,
    wake: Option<Nanos>,
    /// What its chain holds, of the room of all flows.
    share: Share,
}

/// The owner of a flow while datagrams move. Lane 0 is upstream, lane 1 downstream.
#[derive(Debug)]
pub(super) struct Traffic<'a> {
    visit: &'a mut Visit,
    client: &'a mut Client,
    server: UdpSocket,
    clock: Clock,
    timer: Timer,
    lanes: [Lane; 2],
    attached: Attached,
    black_hole: bool,
    /// A cut has silenced the flow.
    silenced: Option<Strike>,
    /// When a datagram came last, and how long the flow lasts without one.
    last: Instant,
    idle: Duration,
    idle_timer: Pin<Box<Sleep>>,
    /// The inbox may get more.
    is_open: bool,
}

/// What woke it up.
enum Event {
    Orders,
    Letter(Option<Letter>),
    Server,
    Due,
    Idle,
}

impl<'a> Traffic<'a> {
    pub(super) fn new(visit: &'a mut Visit, client: &'a mut Client, server: UdpSocket) -> Self {
        let clock = visit.live.ground.clock;
        let room = client.room.clone();
        let identity = visit.live.identity(visit.record.ordinal);
        let lanes = [Stream::Upstream, Stream::Downstream].map(|stream| Lane {
            stream,
            chain: Chain::of_datagrams(identity.clone(), room.of_direction()),
            wake: None,
            share: room.share(),
        });
        Self {
            visit,
            client,
            server,
            clock,
            timer: Timer::new(clock),
            lanes,
            attached: Attached::default(),
            black_hole: false,
            silenced: None,
            last: Instant::now(),
            idle: Duration::ZERO,
            idle_timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            is_open: true,
        }
    }

    /// Forwards until there is a reason to stop.
    pub(super) async fn run(&mut self) -> Ending {
        match self.forward().await {
            Ok(never) => match never {},
            Err(ending) => ending,
        }
    }

    async fn forward(&mut self) -> Result<std::convert::Infallible, Ending> {
        self.obey()?;
        loop {
            for lane in 0..2 {
                self.deliver(lane).await?;
            }
            match self.wait().await {
                Event::Orders => self.obey()?,
                Event::Letter(Some(letter)) => self.take_letters(letter).await?,
                // The door was shut; the order to go follows.
                Event::Letter(None) => self.is_open = false,
                Event::Server => self.take_answers().await?,
                Event::Due => {}
                Event::Idle => self.look_whether_idle().await?,
            }
            if self.visit.orders.has_changed().unwrap_or(true) {
                self.obey()?;
            }
        }
    }

    /// Follows the newest orders.
    fn obey(&mut self) -> Result<(), Ending> {
        let orders = self.visit.consult().map_err(Ending::Killed)?;
        let chains = self.lanes.each_mut().map(|lane| &mut lane.chain);
        let _no_matter = self.attached.follow(&orders.toxics, chains, self.clock.now());
        self.black_hole = orders.black_hole;
        self.idle = orders.admission.idle_timeout();
        self.idle_timer.as_mut().reset(self.last + self.idle);
        let state = match (&self.silenced, self.black_hole) {
            (Some(_), _) => ConnectionState::Stalled,
            (None, true) => ConnectionState::Held,
            (None, false) => ConnectionState::Open,
        };
        self.visit.record.set_state(state);
        self.visit.live.applied(&self.visit.record, orders.version);
        Ok(())
    }

    async fn wait(&mut self) -> Event {
        let wake = self.wake();
        let (timer, orders) = (&mut self.timer, &mut self.visit.orders);
        tokio::select! {
            _ = orders.changed() => Event::Orders,
            letter = self.client.inbox.recv(), if self.is_open => Event::Letter(letter),
            _ = self.server.readable() => Event::Server,
            () = timer.until(wake.unwrap_or(0)), if wake.is_some() => Event::Due,
            () = &mut self.idle_timer => Event::Idle,
        }
    }

    fn wake(&self) -> Option<Nanos> {
        self.lanes.iter().filter_map(|lane| lane.wake).min()
    }

    async fn take_letters(&mut self, first: Letter) -> Result<(), Ending> {
        self.take(0, first.open()).await?;
        for _ in 1..BATCH {
            let Ok(letter) = self.client.inbox.try_recv() else { break };
            self.take(0, letter.open()).await?;
        }
        Ok(())
    }

    async fn take_answers(&mut self) -> Result<(), Ending> {
        for _ in 0..BATCH {
            let read = SCRATCH.with_borrow_mut(|scratch| {
                self.server.try_recv(scratch).map(|len| Bytes::copy_from_slice(&scratch[..len]))
            });
            match read {
                Ok(bytes) => {
                    self.visit.live.is_reachable.store(true, Relaxed);
                    self.take(1, bytes).await?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => self.note_refusal(&error),
            }
        }
        Ok(())
    }

    /// The server's machine says that nobody listens, or that it cannot be reached. It may come back: the flow goes on.
    fn note_refusal(&self, error: &io::Error) {
        let live = &self.visit.live;
        live.counters.dropped("upstream_refused");
        if live.is_reachable.swap(false, Relaxed) {
            tracing::warn!(proxy = %live.name, %error, "upstream server cannot be reached");
        }
    }

    /// A datagram came.
    async fn take(&mut self, lane: usize, bytes: Bytes) -> Result<(), Ending> {
        self.last = Instant::now();
        let live = &self.visit.live;
        live.counters.received(self.lanes[lane].stream, bytes.len() as u64);
        if self.black_hole {
            live.counters.fault("outage:black_hole");
            self.lanes[lane].chain.skip();
        } else if let Some(strike) = &self.silenced {
            live.counters.struck(strike);
        } else if self.client.room.take(bytes.len()).is_none() {
            live.counters.dropped("overflow");
            self.lanes[lane].chain.skip();
        } else {
            self.lanes[lane].chain.offer(bytes, self.clock.now());
            self.deliver(lane).await?;
        }
        Ok(())
    }

    /// Sends what leaves a chain.
    async fn deliver(&mut self, lane: usize) -> Result<(), Ending> {
        loop {
            let poll = self.lanes[lane].chain.poll(self.clock.now());
            self.lanes[lane].wake = poll.wake;
            self.note(lane);
            match poll.out {
                Out::Nothing => break,
                Out::Deliver(_) if self.black_hole => self.visit.live.counters.fault("outage:black_hole"),
                Out::Deliver(bytes) => self.send(lane, &bytes).await,
                Out::StallBoth(strike) => {
                    self.strike(&strike);
                    self.silence(strike);
                }
                Out::CloseBoth(strike) | Out::ResetBoth(Some(strike)) => {
                    self.strike(&strike);
                    return Err(Ending::Struck);
                }
                Out::FinWrite | Out::ResetBoth(None) => return Err(Ending::Struck),
            }
        }
        let held = self.lanes[lane].chain.held();
        self.lanes[lane].share.resize(held);
        Ok(())
    }

    /// From now on everything vanishes, what is on its way with it.
    fn silence(&mut self, strike: Strike) {
        self.visit.record.set_state(ConnectionState::Stalled);
        self.silenced = Some(strike);
    }

    async fn send(&mut self, lane: usize, bytes: &Bytes) {
        if let Some(strike) = self.silenced.clone() {
            return self.visit.live.counters.struck(&strike);
        }
        let sent = match lane {
            0 => match self.server.send(bytes).await {
                // The answer to an earlier one: this one has not been sent.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    self.note_refusal(&error);
                    self.server.send(bytes).await
                }
                sent => sent,
            },
            _ => self.client.socket.send_to(bytes, self.client.address).await,
        };
        let (live, stream) = (&self.visit.live, self.lanes[lane].stream);
        match sent {
            Ok(n) => {
                live.counters.sent_datagram(stream, n as u64);
                self.visit.record.delivered(stream, n as u64);
            }
            Err(error) => {
                tracing::debug!(proxy = %live.name, bytes = bytes.len(), %error, "cannot send a datagram");
                live.counters.dropped("undeliverable");
            }
        }
    }

    /// Writes down what toxics did to datagrams.
    fn note(&mut self, lane: usize) {
        let chain = &mut self.lanes[lane].chain;
        let (strikes, hits, overflowed) = (chain.strikes(), chain.hits(), chain.overflowed());
        let live = &self.visit.live;
        (0..overflowed).for_each(|_| live.counters.dropped("overflow"));
        for hit in hits {
            live.counters.struck(&hit.strike());
            self.visit.decisions.hit(live, self.visit.record.ordinal, hit);
        }
        strikes.iter().for_each(|strike| self.strike(strike));
    }

    fn strike(&mut self, strike: &Strike) {
        let live = &self.visit.live;
        live.counters.struck(strike);
        self.visit.decisions.observe(live, self.visit.record.ordinal, strike);
    }

    /// Ends the flow if it has been idle for long enough and nothing is about to leave. What slips into the inbox at
    /// the last moment is still taken; the next datagram begins another flow.
    async fn look_whether_idle(&mut self) -> Result<(), Ending> {
        let now = self.clock.now();
        // A little later than what is due, so that it leaves first.
        let until = |wake: Nanos| Duration::from_nanos(wake.saturating_sub(now)) + Duration::from_millis(1);
        let holding = self.lanes.iter().filter(|lane| lane.chain.held() > 0);
        let due = holding.filter_map(|lane| lane.wake).min().filter(|_| self.is_open).map(until);
        let left = self.idle.saturating_sub(self.last.elapsed());
        if let Some(wait) = due.into_iter().chain(Some(left)).max().filter(|wait| !wait.is_zero()) {
            self.idle_timer.as_mut().reset(Instant::now() + wait);
            return Ok(());
        }
        self.client.inbox.close();
        self.is_open = false;
        let mut is_late = false;
        while let Ok(letter) = self.client.inbox.try_recv() {
            is_late = true;
            self.take(0, letter.open()).await?;
        }
        if !is_late {
            return Err(Ending::Idle);
        }
        self.idle_timer.as_mut().reset(Instant::now() + self.idle);
        Ok(())
    }
}
