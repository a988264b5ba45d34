//! One connection from accept to end: what outages do to it at the door, the dial upstream, the forwarding (which
//! is the driver's), and the end in each of its kinds.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use chaosproxy_path::{Decision, Parameters, Stream, Strike};
use mockreg_proto::seed::fires;
use tracing::debug;

use crate::address::{self, Dialect};
use crate::admission::{self, Admitted};
use crate::counters::Outcome;
use crate::driver::{Driver, Ending};
use crate::introduction;
use crate::ledger::Observed;
use crate::live::{ConnectionState, Kill, Orders, Visit};
use crate::proxy_header::HeaderError;
use crate::socket::{self, Socket};

/// How long a dial may take. Toxiproxy has no limit and dials in its accept loop, where one dead server keeps
/// every client waiting; here only this connection waits.
pub(crate) const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves one client until its connection ends.
pub(crate) async fn serve(client: Socket, mut visit: Visit) {
    visit.outcome = converse(client, &mut visit).await;
    let (proxy, connection) = (&visit.live.name, visit.record.ordinal);
    debug!(%proxy, connection, outcome = visit.outcome.name(), "connection ended");
}

async fn converse(client: Socket, visit: &mut Visit) -> Outcome {
    // What toxics decide about every connection is written down before anything is awaited.
    let mut orders = match visit.consult() {
        Ok(orders) => orders,
        Err(kill) => return killed(kill, visit, [client]),
    };
    if visit.needs_introduction() {
        match introduction::read(&client, visit).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return reject(client, visit, error).await,
            Err(kill) => return killed(kill, visit, [client]),
        }
        orders = match visit.consult() {
            Ok(orders) => orders,
            Err(kill) => return killed(kill, visit, [client]),
        };
    }
    if is_turned_away(visit, &orders) {
        visit.live.counters.fault("outage:partial");
        socket::reset(client);
        return Outcome::Fault;
    }
    if orders.silent {
        return keep_silent(client, visit).await;
    }
    match admission::admit(visit, &mut orders).await {
        Ok(Admitted::Yes) => {}
        Ok(Admitted::No) => {
            visit.record.set_state(ConnectionState::Closing);
            socket::reset(client);
            return Outcome::Fault;
        }
        Err(kill) => return killed(kill, visit, [client]),
    }
    let header = introduction::to_send(&client, visit);
    match dial(visit, orders, &header).await {
        Ok(Some(server)) => forward(client, server, visit).await,
        Ok(None) => turn_away(client, visit, Outcome::Refused).await,
        Err(kill) => killed(kill, visit, [client]),
    }
}

/// Closes a connection that does not begin as it has to.
async fn reject(client: Socket, visit: &mut Visit, error: HeaderError) -> Outcome {
    let (proxy, connection) = (&visit.live.name, visit.record.ordinal);
    tracing::warn!(%proxy, connection, client = %visit.record.client, %error, "connection rejected");
    turn_away(client, visit, Outcome::Rejected).await
}

async fn turn_away(client: Socket, visit: &mut Visit, outcome: Outcome) -> Outcome {
    visit.record.set_state(ConnectionState::Closing);
    tokio::select! {
        () = socket::close(&client) => outcome,
        kill = visit.killed() => killed(kill, visit, [client]),
    }
}

/// Decides, for each partial outage in force or announced, whether this connection is of its share, and writes the
/// decision down; whether one in force resets it. Announced ones are decided too, so that every connection has the
/// same decisions in every run, whenever the outage comes.
pub(crate) fn is_turned_away(visit: &Visit, orders: &Orders) -> bool {
    const RULE: &str = "partial";
    let (live, ordinal) = (&visit.live, visit.record.ordinal);
    if orders.announced.is_empty() && orders.partial.is_none() {
        return false;
    }
    let draw = live.identity(ordinal).draw(RULE, "share");
    for share in orders.announced.iter().copied() {
        let is_hit = fires(draw, share);
        let parameters = Parameters::Share(share);
        let decision = Decision { rule: RULE.into(), draw, fires: is_hit, action: "reset", parameters };
        let line = live.ground.ledger.decide(live.whose(ordinal), 1, decision);
        if is_hit && orders.partial == Some(share) {
            live.ground.ledger.observe(line, Observed { t_ms: live.ground.clock.now_ms(), bytes: 0 });
        }
        live.ground.ledger.settle([line]);
    }
    orders.partial.is_some_and(|share| fires(draw, share))
}

/// Never answers; the connection ends when the client does, or by order. A client that ends its side may still listen,
/// but most that do have given up, and each of those would be kept for ever.
async fn keep_silent(client: Socket, visit: &mut Visit) -> Outcome {
    visit.record.set_state(ConnectionState::Silent);
    visit.live.counters.fault("outage:silent");
    tokio::select! {
        () = socket::closed_by_peer(&client) => Outcome::Fault,
        kill = visit.killed() => killed(kill, visit, [client]),
    }
}

/// Connects upstream, after a black hole if there is one, and sends the header. `None`: the server cannot be reached.
async fn dial(visit: &mut Visit, mut orders: Orders, header: &[u8]) -> Result<Option<Socket>, Kill> {
    if orders.black_hole {
        visit.record.set_state(ConnectionState::Held);
        visit.live.counters.fault("outage:black_hole");
        while orders.black_hole {
            visit.changed().await?;
            orders = visit.consult()?;
        }
        visit.record.set_state(ConnectionState::Dialing);
    }
    let dialect = visit.live.ground.dialect();
    let upstream = orders.route.from(visit.record.port);
    let connect = async {
        let mut connect = std::pin::pin!(connect(&upstream, dialect, header));
        // A near server has answered by the next look at the sockets; a timer set before it would wake the runtime up
        // once more for each connection.
        tokio::select! {
            biased;
            result = &mut connect => return Ok(result),
            () = tokio::task::yield_now() => {}
        }
        tokio::time::timeout(DIAL_TIMEOUT, connect).await
    };
    let live = Arc::clone(&visit.live);
    let failed = |error: &dyn std::fmt::Display| {
        // Once in a row: during an outage behind the proxy every client would add the same line.
        if live.is_reachable.swap(false, Relaxed) {
            let proxy = &live.name;
            tracing::warn!(%proxy, %upstream, %error, "upstream server cannot be reached");
        }
        Ok(None)
    };
    tokio::select! {
        result = connect => match result {
            Ok(Ok(server)) => {
                live.is_reachable.store(true, Relaxed);
                Ok(Some(server))
            }
            Ok(Err(error)) => failed(&error),
            Err(_) => failed(&format_args!("no answer within {DIAL_TIMEOUT:?}")),
        },
        kill = visit.killed() => Err(kill),
    }
}

async fn connect(upstream: &str, dialect: Dialect, header: &[u8]) -> std::io::Result<Socket> {
    let server = address::dial(upstream, dialect).await?;
    socket::write_all(&server, header).await?;
    Ok(server)
}

async fn forward(client: Socket, server: Socket, visit: &mut Visit) -> Outcome {
    visit.record.set_state(ConnectionState::Open);
    let mut driver = Driver::new(visit, [client, server]);
    let ending = driver.run().await;
    let sockets = driver.finish(&ending);
    match ending {
        Ending::Killed(kill) => killed(kill, visit, sockets),
        Ending::Over { broken: false } => Outcome::Closed,
        Ending::Over { broken: true } => {
            sockets.into_iter().for_each(socket::reset);
            Outcome::Reset
        }
        Ending::Close(_) => close(sockets, visit).await,
        Ending::Reset { to, strike } => reset(sockets, to, strike.as_ref(), visit).await,
        Ending::Stall(_) => stall(sockets, visit).await,
    }
}

async fn close(sockets: [Socket; 2], visit: &mut Visit) -> Outcome {
    visit.record.set_state(ConnectionState::Closing);
    let closing = async { tokio::join!(socket::close(&sockets[0]), socket::close(&sockets[1])) };
    tokio::select! {
        _ = closing => Outcome::Fault,
        kill = visit.killed() => killed(kill, visit, sockets),
    }
}

/// Resets both sockets once `to` has the bytes before. What it has not got by then is lost, and not claimed.
async fn reset(sockets: [Socket; 2], to: usize, strike: Option<&Strike>, visit: &mut Visit) -> Outcome {
    visit.record.set_state(ConnectionState::Closing);
    let is_killed = tokio::select! {
        () = socket::drained(&sockets[to]) => None,
        kill = visit.killed() => Some(kill),
    };
    if let Some(kill @ Kill::Close) = is_killed {
        return killed(kill, visit, sockets);
    }
    if let Some(strike) = strike {
        let stream = if to == 0 { Stream::Downstream } else { Stream::Upstream };
        visit.decisions.lose(&visit.live, strike, stream, socket::unsent(&sockets[to]));
    }
    if let Some(kill) = is_killed {
        return killed(kill, visit, sockets);
    }
    sockets.into_iter().for_each(socket::reset);
    if strike.is_some() { Outcome::Fault } else { Outcome::Reset }
}

/// Moves nothing any more, and leaves the connection open until a peer ends its side.
async fn stall(sockets: [Socket; 2], visit: &mut Visit) -> Outcome {
    visit.record.set_state(ConnectionState::Stalled);
    tokio::select! {
        () = socket::closed_by_peer(&sockets[0]) => Outcome::Fault,
        () = socket::closed_by_peer(&sockets[1]) => Outcome::Fault,
        kill = visit.killed() => killed(kill, visit, sockets),
    }
}

fn killed<const N: usize>(kill: Kill, visit: &Visit, sockets: [Socket; N]) -> Outcome {
    match kill {
        Kill::Close => Outcome::Stopped,
        Kill::Reset(fault) => {
            visit.live.counters.fault(fault);
            sockets.into_iter().for_each(socket::reset);
            Outcome::Fault
        }
    }
}

impl Ending {
    /// The toxic that brought it about.
    pub(crate) const fn strike(&self) -> Option<&Strike> {
        match self {
            Self::Close(strike) | Self::Stall(strike) | Self::Reset { strike: Some(strike), .. } => {
                Some(strike)
            }
            _ => None,
        }
    }
}
