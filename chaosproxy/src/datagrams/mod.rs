//! Datagrams: the socket that clients send to, their flows, and what these hold together.
//!
//! A flow is one client address. It has a task, a connected socket to the server and a place among the connections of
//! its proxy, and so outages, live changes, counters and the ledger know it as they know a connection. There is no
//! back-pressure: what does not fit somewhere is dropped, and counted under a name.

mod flow;
mod port;
mod room;
mod traffic;

pub(crate) use flow::converse;
pub(crate) use port::{bind, serve};
pub(crate) use room::Room;

/// The largest datagram is 65,507 bytes (65,527 of IPv6): a buffer of this size never cuts one.
const BUFFER: usize = 64 * 1024;
