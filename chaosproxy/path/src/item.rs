//! What travels along a chain: pieces of the byte stream or whole datagrams, and the one thing that ends it.

use std::sync::Arc;

use bytes::Bytes;

/// Nanoseconds since a start that the driver chooses. It never goes back.
pub type Nanos = u64;

/// One millisecond, the unit of most toxics' attributes.
pub(crate) const MILLISECOND: Nanos = 1_000_000;

/// What a queued piece is charged beside its bytes against the buffer limit: its own entry in a queue and the
/// allocator's share. Without it a stream of two-byte writes would hold twenty times what it is charged for.
pub const ITEM_COST: u64 = 64;

/// Which toxic ended, stalled or corrupted a connection, and where in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strike {
    /// Name of the toxic.
    pub toxic: Arc<str>,
    /// Kind of fault as counters and ledger name it: `cut:reset`, `cut:stall`, `timeout`, `corrupt`, ….
    pub fault: &'static str,
    /// Bytes of this direction that passed the toxic before it struck.
    pub bytes: u64,
}

/// How a direction ends. It travels behind the bytes that came before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The source sent its last byte; the other direction goes on.
    Fin,
    /// Both sockets are closed in an orderly way.
    Close(Strike),
    /// Both sockets are reset; without a strike, because the source itself was.
    Reset(Option<Strike>),
    /// Nothing moves any more, in either direction, and the connection stays open.
    Stall(Strike),
}

/// One entry of a chain's queues.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) payload: Payload,
    /// When it reached the stage it is in: a logical time, at or before the real one.
    pub(crate) at: Nanos,
    /// When the proxy received it, moved on by every latency it passed. Latency counts from here, so that a delay
    /// absorbs what the bytes have waited elsewhere, as in Toxiproxy.
    pub(crate) stamp: Nanos,
    /// Of a datagram: which one it is.
    pub(crate) which: Which,
}

/// What tells a datagram from all others of its flow and direction; decisions about it are drawn under this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Which {
    /// Place in the order of arrival at the proxy, from 1.
    pub(crate) number: u64,
    /// A draw of its own where it is a copy; 0: the original.
    pub(crate) copy: u64,
}

/// Bytes, or the end.
#[derive(Clone, Debug)]
pub(crate) enum Payload {
    Data(Bytes),
    End(End),
}

impl Item {
    pub(crate) fn data(bytes: Bytes, now: Nanos) -> Self {
        Self { payload: Payload::Data(bytes), at: now, stamp: now, which: Which::default() }
    }

    /// The datagram of that number.
    pub(crate) fn datagram(bytes: Bytes, number: u64, now: Nanos) -> Self {
        Self { which: Which { number, copy: 0 }, ..Self::data(bytes, now) }
    }

    pub(crate) fn end(end: End, now: Nanos) -> Self {
        Self { payload: Payload::End(end), at: now, stamp: now, which: Which::default() }
    }

    pub(crate) const fn is_data(&self) -> bool {
        matches!(self.payload, Payload::Data(_))
    }

    /// Bytes of the stream in it.
    pub(crate) fn len(&self) -> u64 {
        match &self.payload {
            Payload::Data(bytes) => bytes.len() as u64,
            Payload::End(_) => 0,
        }
    }

    /// What it counts against the buffer limit.
    pub(crate) fn cost(&self) -> u64 {
        self.len() + ITEM_COST
    }
}
