//! How much a client may send ahead over HTTP/2. Wide windows let one stream fill a long link; but what is sent ahead
//! may have to be kept, so all connections together have one budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Memory that the windows of all connections may come to, at worst. Bodies are used up as they come, so that next to
/// none of it is ever taken.
const BUDGET: u64 = 1 << 30;
/// The window of a connection while there is plenty: 1 GB/s over a link of 16 ms.
const WIDE: u32 = 16 << 20;
/// The window of a connection while there is some.
const USUAL: u32 = 1 << 20;
/// The window when the budget is used up: the protocol's own (RFC 9113 §6.9.2), which no server can refuse.
const NARROW: u32 = 65_535;
/// The most that one stream of a connection may take of its window, so that others get their part.
const WIDE_STREAM: u32 = 8 << 20;

/// What is left of the budget.
#[derive(Debug)]
pub(crate) struct Windows {
    left: Arc<AtomicU64>,
}

impl Default for Windows {
    fn default() -> Self {
        Self { left: Arc::new(AtomicU64::new(BUDGET)) }
    }
}

/// The window of one connection, given back when it ends.
#[derive(Debug)]
pub(crate) struct Window {
    left: Arc<AtomicU64>,
    size: u32,
    taken: u64,
}

impl Windows {
    /// A window for a new connection: wide while half of the budget is left.
    pub(crate) fn take(&self) -> Window {
        let fitting = |left: u64| match left {
            left if left >= BUDGET / 2 => WIDE,
            left if left >= USUAL.into() => USUAL,
            _ => 0,
        };
        let take = |left| Some(left - u64::from(fitting(left)));
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        let taken = fitting(left.expect("the closure always has an answer"));
        Window { left: Arc::clone(&self.left), size: taken.max(NARROW), taken: taken.into() }
    }
}

impl Window {
    /// Bytes that the client may send ahead on the connection.
    pub(super) fn connection(&self) -> u32 {
        self.size
    }

    /// Bytes that it may send ahead on one stream.
    pub(super) fn stream(&self) -> u32 {
        self.size.min(WIDE_STREAM)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.left.fetch_add(self.taken, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_shrink_within_one_budget_and_come_back() {
        let windows = Windows::default();
        let open: Vec<Window> = (0..1000).map(|_| windows.take()).collect();
        assert_eq!((open[0].connection(), open[0].stream()), (WIDE, WIDE_STREAM));
        assert!(open[0].stream() >= 4 << 20);
        assert_eq!(open[100].connection(), USUAL);
        assert_eq!(open[999].connection(), NARROW);
        assert!(open.iter().map(|window| window.taken).sum::<u64>() <= BUDGET);
        drop(open);
        assert_eq!(windows.take().connection(), WIDE);
    }
}
