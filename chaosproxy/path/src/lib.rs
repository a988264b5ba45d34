//! What happens to the bytes of one direction of one connection, or to the datagrams of a flow, as a pure state
//! machine.
//!
//! A [`Chain`] takes what was read from one socket, passes it through its toxics and says what is to be written
//! to the other, and when to look again. There is no clock, socket or task here: time comes in as [`Nanos`],
//! randomness as the [`Identity`] of the connection, and so every toxic is tested in simulated time. The driver
//! around it owns the sockets, the clock and the waiting.
//!
//! ```
//! use bytes::Bytes;
//! use chaosproxy_path::{Attributes, Chain, Distribution, Identity, Out, Stream, Toxic};
//! use mockreg_proto::seed::Seed;
//!
//! let mut chain = Chain::new(Identity::new(Seed::root(1), "source", 1), 1 << 20);
//! let latency = Attributes::Latency { latency: 50, jitter: 0, distribution: Distribution::Uniform };
//! chain.attach(&Toxic::try_new("slow", Stream::Downstream, 1.0, latency)?, 0);
//! chain.offer(Bytes::from_static(b"hello"), 0);
//! assert_eq!(chain.poll(0).wake, Some(50_000_000));
//! assert_eq!(chain.poll(50_000_000).out, Out::Deliver(Bytes::from_static(b"hello")));
//! # Ok::<(), chaosproxy_path::AttributesError>(())
//! ```
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod chain;
mod datagrams;
mod delay;
mod draw;
mod item;
mod machine;
mod pacer;
mod recent;
mod toxic;
mod toxics;

pub use chain::{Chain, Out, Poll};
pub use delay::{Distribution, Table, TableError};
pub use draw::{Decision, Hit, Identity, Parameters, exponential};
pub use item::{End, ITEM_COST, Nanos, Strike};
pub use toxic::{Attributes, AttributesError, CutAction, Protocol, Stream, Toxic};

#[cfg(test)]
mod tests;
