//! What all flows of a proxy may hold together. Each flow has a bound of its own besides, in its chains; copies that
//! a toxic makes are counted when they are there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use chaosproxy_path::ITEM_COST;

/// The least a proxy may hold: some of the largest datagrams.
const LEAST: u64 = 1 << 20;
/// Each direction of a flow may hold one part of so many: no flow drives the others out.
const PARTS: u64 = 8;

/// Bytes held by the flows of a proxy.
#[derive(Debug)]
pub(crate) struct Room {
    limit: u64,
    used: AtomicU64,
}

/// A part of it, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    room: Arc<Room>,
    bytes: u64,
}

impl Room {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit: limit.max(LEAST), used: AtomicU64::new(0) })
    }

    /// What one direction of a flow may hold.
    pub(super) const fn of_direction(&self) -> u64 {
        self.limit / PARTS
    }

    /// Room for a datagram of so many bytes, if there is.
    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> Option<Share> {
        let bytes = bytes as u64 + ITEM_COST;
        let used = self.used.fetch_add(bytes, Relaxed) + bytes;
        let share = Share { room: Arc::clone(self), bytes };
        (used <= self.limit).then_some(share)
    }

    /// A share of nothing, to grow and shrink.
    pub(super) fn share(self: &Arc<Self>) -> Share {
        Share { room: Arc::clone(self), bytes: 0 }
    }
}

impl Share {
    /// So much is held now.
    pub(super) fn resize(&mut self, bytes: u64) {
        self.room.used.fetch_add(bytes.wrapping_sub(self.bytes), Relaxed);
        self.bytes = bytes;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.resize(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back() {
        let room = Room::new(0);
        let shares: Vec<_> = std::iter::from_fn(|| room.take(65_507)).collect();
        assert_eq!(shares.len(), 15, "16 of 65,571 bytes are more than a MiB");
        let mut held = room.share();
        drop(shares);
        held.resize(1 << 20);
        assert!(room.take(0).is_none());
        held.resize(10);
        assert_eq!(room.used.load(Relaxed), 10);
        assert!(room.take(65_507).is_some());
    }
}
