//! One flow: what outages and terms say to a new client, the socket to the server, and the forwarding both ways until
//! nothing has come for a while, a toxic ends it, or an order does.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tracing::debug;

use super::port;
use super::room::{Room, Share};
use super::traffic::{Ending, Traffic};
use crate::admission::{self, Admitted};
use crate::connection::{DIAL_TIMEOUT, is_turned_away};
use crate::counters::Outcome;
use crate::live::{ConnectionState, Kill, Orders, Visit};
use crate::protocol;

/// A datagram on its way from the clients' socket to its flow, and its share of the room.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) bytes: Bytes,
    pub(super) share: Share,
}

impl Letter {
    /// The datagram; its share goes back, since the flow counts what it holds.
    pub(super) fn open(self) -> Bytes {
        drop(self.share);
        self.bytes
    }
}

/// The client of a flow.
#[derive(Debug)]
pub(crate) struct Client {
    pub(super) address: SocketAddr,
    /// The socket that it sends to, and gets answers from.
    pub(super) socket: Arc<UdpSocket>,
    pub(super) inbox: mpsc::Receiver<Letter>,
    pub(super) room: Arc<Room>,
    pub(super) ended: mpsc::Sender<SocketAddr>,
}

/// Whatever ends it, the next datagram of this client begins another flow.
impl Drop for Client {
    fn drop(&mut self) {
        self.inbox.close();
        let _nobody_reads_any_more = self.ended.try_send(self.address);
    }
}

/// A flow. The client goes first: a proxy that waits for its flows to be gone may bind the socket's address again.
struct Flow {
    client: Client,
    visit: Visit,
}

/// Serves one client until its flow ends.
pub(crate) async fn converse(visit: Visit, client: Client) {
    let mut flow = Flow { client, visit };
    flow.visit.outcome = flow.run().await;
    let (proxy, connection) = (&flow.visit.live.name, flow.visit.record.ordinal);
    debug!(%proxy, connection, outcome = flow.visit.outcome.name(), "flow ended");
}

impl Flow {
    async fn run(&mut self) -> Outcome {
        match self.serve().await {
            Ok(outcome) => outcome,
            Err(Kill::Close) => Outcome::Stopped,
            Err(Kill::Reset(fault)) => {
                self.visit.live.counters.fault(fault);
                Outcome::Fault
            }
        }
    }

    async fn serve(&mut self) -> Result<Outcome, Kill> {
        let mut orders = self.visit.consult()?;
        if is_turned_away(&self.visit, &orders) {
            return self.discard(&orders, ConnectionState::Closing, "outage:partial").await;
        }
        if orders.silent {
            return self.discard(&orders, ConnectionState::Silent, "outage:silent").await;
        }
        if admission::admit(&mut self.visit, &mut orders).await? == Admitted::No {
            return Ok(Outcome::Fault);
        }
        let Some(server) = self.dial(&orders).await? else { return Ok(Outcome::Refused) };
        let mut traffic = Traffic::new(&mut self.visit, &mut self.client, server);
        match traffic.run().await {
            Ending::Idle => Ok(Outcome::Closed),
            Ending::Struck => Ok(Outcome::Fault),
            Ending::Killed(kill) => Err(kill),
        }
    }

    /// Lets everything that this client sends vanish, until it has sent nothing for a while.
    async fn discard(
        &mut self,
        orders: &Orders,
        state: ConnectionState,
        fault: &'static str,
    ) -> Result<Outcome, Kill> {
        self.visit.record.set_state(state);
        loop {
            tokio::select! {
                letter = tokio::time::timeout(orders.admission.idle_timeout(), self.client.inbox.recv()) => {
                    match letter {
                        Ok(Some(_)) => self.visit.live.counters.fault(fault),
                        Ok(None) | Err(_) => return Ok(Outcome::Fault),
                    }
                }
                kill = self.visit.killed() => return Err(kill),
            }
        }
    }

    /// A socket connected to the server; `None`: it has no address that can be reached.
    async fn dial(&mut self, orders: &Orders) -> Result<Option<UdpSocket>, Kill> {
        let upstream = orders.route.from(self.visit.record.port);
        let connected = tokio::select! {
            connected = tokio::time::timeout(DIAL_TIMEOUT, connect(&upstream)) => connected,
            kill = self.visit.killed() => return Err(kill),
        };
        let error = match connected {
            Ok(Ok(server)) => return Ok(Some(server)),
            Ok(Err(error)) => error,
            Err(_) => io::ErrorKind::TimedOut.into(),
        };
        // Once in a row, as for connections.
        if self.visit.live.is_reachable.swap(false, Relaxed) {
            let proxy = &self.visit.live.name;
            tracing::warn!(%proxy, %upstream, %error, "upstream server cannot be reached");
        }
        // Whoever goes on sending does not ask the resolver for each datagram.
        tokio::select! {
            () = tokio::time::sleep(DIAL_REST) => {}
            kill = self.visit.killed() => return Err(kill),
        }
        self.client.inbox.close();
        while self.client.inbox.try_recv().is_ok() {
            self.visit.live.counters.dropped("undeliverable");
        }
        Ok(None)
    }
}

/// How long a flow whose server cannot be reached stays, dropping what comes.
const DIAL_REST: Duration = Duration::from_millis(250);

/// Connects to the first address of the server that can be.
async fn connect(upstream: &str) -> io::Result<UdpSocket> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "no such host");
    for server in tokio::net::lookup_host(protocol::split(upstream).1).await? {
        let bind: SocketAddr = match server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(bind).await?;
        match socket.connect(server).await {
            Ok(()) => {
                port::grow(&socket);
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
