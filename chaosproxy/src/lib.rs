//! A proxy of streams (TCP, unix domain) and of datagrams (UDP) that makes networks fail on purpose, and the same way
//! twice. It speaks Toxiproxy's API, adds outages, a timeline, cuts at seeded bytes and shared bandwidth, and writes
//! every decision into a ledger.
//!
//! What happens to bytes in flight is decided in `chaosproxy-path`, without clock or sockets. Here are the
//! sockets, the clock, the API and the bookkeeping.
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::{TcpListener, TcpStream};
//! use std::time::{Duration, Instant};
//!
//! use chaosproxy::{ProxySpec, Server, Toxic};
//!
//! // A server that sends back what it gets.
//! let echo = TcpListener::bind("127.0.0.1:0")?;
//! let upstream = echo.local_addr()?.to_string();
//! std::thread::spawn(move || {
//!     let (stream, _) = echo.accept()?;
//!     std::io::copy(&mut &stream, &mut &stream)
//! });
//!
//! // A proxy in front of it, on a free port of loopback, and a client of that.
//! let server = Server::builder().seed(1).start()?;
//! let proxy = server.create(ProxySpec::new("echo", upstream))?;
//! let mut client = TcpStream::connect(proxy.listen_addr())?;
//! let mut round_trip = || {
//!     let start = Instant::now();
//!     client.write_all(b"ping")?;
//!     client.read_exact(&mut [0; 4])?;
//!     std::io::Result::Ok(start.elapsed())
//! };
//!
//! // The network is slow, and well again.
//! let latency = Duration::from_millis(200);
//! let slow = proxy.add(Toxic::latency(latency, Duration::ZERO))?;
//! assert!(round_trip()? >= latency);
//! proxy.remove(&slow)?;
//! assert!(round_trip()? < latency);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Where it departs from Toxiproxy: half-closed connections stay half open; dials run apart and in bounded time;
//! a toxic's toxicity is decided once for a connection; a toxicity of zero has no effect; a negative latency, jitter
//! or other attribute is refused; a refused change changes nothing; bytes are counted as they move; an invalid
//! `-config` and a busy API port end the program; `reset_peer` resets older connections too; `/reset` ends outages;
//! an empty listen address is loopback; every JSON body ends with a newline. The whole list, with reasons, is in
//! `docs/toxiproxy.md`.

mod address;
mod admission;
mod api;
mod ask;
mod attached;
pub mod cli;
mod client_hello;
mod clock;
pub mod config;
mod connection;
mod counters;
pub mod ctl;
mod datagrams;
mod decisions;
mod dial;
mod driver;
mod handle;
pub mod healthcheck;
mod histogram;
mod introduction;
mod ledger;
mod listen;
mod live;
pub mod log;
mod metrics;
mod outage;
mod pipe;
mod ports;
mod protocol;
mod proxies;
mod proxy;
mod proxy_header;
mod selection;
mod server;
mod socket;
mod terminal;
mod timeline;
mod token;
pub mod top;
mod toxic;
mod unix;
mod workers;

pub use admission::{Admission, DEFAULT_IDLE_MS, OverLimit};
#[cfg(fuzzing)]
pub use api::fuzzing;
pub use chaosproxy_path::{
    Attributes, AttributesError, CutAction, Distribution, Protocol, Stream, Table, TableError,
};
pub use counters::ProxyCounts;
pub use handle::ProxyHandle;
pub use introduction::Introduction;
pub use ledger::{LedgerDecision, LedgerLine, LedgerParameters, Observed};
pub use listen::{AddressError, ListenError};
pub use live::{ConnectionState, ConnectionToxic, ConnectionView};
pub use outage::{DEFAULT_DUTY, DEFAULT_SHARE, LEAST_PERIOD_MS, Manner, Outage, OutageKind, OutageState};
pub use ports::{Ports, PortsError};
pub use protocol::MixedProtocols;
pub use proxy::{ProxyError, ProxySpec};
pub use proxy_header::ProxyProtocol;
pub use selection::{Selection, SelectionError};
pub use server::{Builder, DEFAULT_BUFFER_LIMIT, Server, StartError};
pub use timeline::{
    EventState, EventView, Planned, Ramp, Timeline, TimelineError, TimelineEvent, TimelineState, TimelineView,
};
pub use token::{Token, TokenError};
pub use toxic::Toxic;
