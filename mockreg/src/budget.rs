//! Room for pushed content in memory: one budget for everything, taken before bytes are kept and given back when they
//! are dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;

/// How many bytes may be kept, and how many are.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    used: AtomicU64,
}

/// There is no room for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "{used} of {limit} bytes of the memory budget are in use, and {asked} more do not fit; raise --memory-budget or \
     give a directory with --spill"
)]
pub(crate) struct OverBudget {
    limit: u64,
    used: u64,
    asked: u64,
}

impl Budget {
    /// An empty budget.
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicU64::new(0) })
    }

    /// Bytes in use.
    #[cfg(test)]
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

/// Room taken from a budget, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    budget: Arc<Budget>,
    bytes: u64,
    /// How much of the budget may be in use when it grows.
    ceiling: u64,
}

impl Room {
    /// No room yet.
    pub(crate) fn none(budget: &Arc<Budget>) -> Self {
        Self { budget: Arc::clone(budget), bytes: 0, ceiling: budget.limit }
    }

    /// No room yet, and never the last quarter of the budget: for what can go to disk, beside what cannot.
    pub(crate) fn modest(budget: &Arc<Budget>) -> Self {
        Self { budget: Arc::clone(budget), bytes: 0, ceiling: budget.limit - budget.limit / 4 }
    }

    /// Bytes of it.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives some of it back.
    pub(crate) fn shrink(&mut self, bytes: u64) {
        self.bytes -= bytes;
        self.budget.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Takes `bytes` more.
    pub(crate) fn grow(&mut self, bytes: u64) -> Result<(), OverBudget> {
        let limit = self.ceiling;
        let fits = |used: u64| used.checked_add(bytes).filter(|total| *total <= limit);
        match self.budget.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(_) => {
                self.bytes += bytes;
                Ok(())
            }
            Err(used) => Err(OverBudget { limit, used, asked: bytes }),
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_bounded_and_given_back() {
        let budget = Budget::new(100);
        let mut room = Room::none(&budget);
        room.grow(60).unwrap();
        assert_eq!(room.grow(41), Err(OverBudget { limit: 100, used: 60, asked: 41 }));
        room.grow(40).unwrap();
        room.shrink(30);
        assert_eq!((room.bytes(), budget.used()), (70, 70));
        assert!(Room::modest(&budget).grow(6).is_err() && Room::modest(&budget).grow(5).is_ok());
        drop(room);
        assert_eq!(budget.used(), 0);
        assert!(Room::none(&budget).grow(u64::MAX).is_err());
    }
}
