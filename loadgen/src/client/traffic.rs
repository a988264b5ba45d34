//! What the client did on the wire, in counters that may be read while it works.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use loadgen_stats::Latency;

use super::error::Reason;
use super::request::Side;

/// Counters of one side.
#[derive(Debug, Default)]
struct SideCounters {
    sent: AtomicU64,
    received: AtomicU64,
    connections: AtomicU64,
    requests: AtomicU64,
}

/// What moved between the client and one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SideTotals {
    /// Bytes written to sockets, heads included.
    pub sent: u64,
    /// Bytes read from sockets, heads included.
    pub received: u64,
    /// Connections opened.
    pub connections: u64,
    /// Requests sent, repeated ones each time.
    pub requests: u64,
}

/// Both sides and what went wrong, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrafficTotals {
    /// Between client and source registry.
    pub source: SideTotals,
    /// Between client and destination registry.
    pub dest: SideTotals,
    /// Requests that have been sent and whose answers are not complete.
    pub in_flight: u64,
    /// Blob transfers that broke after they had begun.
    pub broken_transfers: u64,
    /// Further attempts by reason, those at once after a stale connection included.
    pub retries: BTreeMap<&'static str, u64>,
}

/// The counters. All methods may be called from any thread at any time.
#[derive(Debug, Default)]
pub struct Traffic {
    source: SideCounters,
    dest: SideCounters,
    in_flight: AtomicU64,
    broken_transfers: AtomicU64,
    retries: [AtomicU64; Reason::ALL.len()],
    latency: Mutex<Latency>,
}

/// Counts a request as in flight while it lives.
#[derive(Debug)]
pub(crate) struct InFlight(std::sync::Arc<Traffic>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

impl Traffic {
    /// All zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// The counters now.
    pub fn totals(&self) -> TrafficTotals {
        let counts = Reason::ALL.iter().zip(&self.retries);
        TrafficTotals {
            source: self.source.totals(),
            dest: self.dest.totals(),
            in_flight: self.in_flight.load(Relaxed),
            broken_transfers: self.broken_transfers.load(Relaxed),
            retries: counts
                .map(|(reason, count)| (reason.as_str(), count.load(Relaxed)))
                .filter(|(_, count)| *count > 0)
                .collect(),
        }
    }

    /// Further attempts of all reasons.
    pub fn retries(&self) -> u64 {
        self.retries.iter().map(|count| count.load(Relaxed)).sum()
    }

    /// Service latencies: from the moment a request has been sent whole to the head of its answer.
    pub fn latency(&self) -> Latency {
        self.latency.lock().expect("recording does not panic").clone()
    }

    pub(crate) fn sent(&self, side: Side, count: u64) {
        self.side(side).sent.fetch_add(count, Relaxed);
    }

    pub(crate) fn received(&self, side: Side, count: u64) {
        self.side(side).received.fetch_add(count, Relaxed);
    }

    pub(crate) fn connected(&self, side: Side) {
        self.side(side).connections.fetch_add(1, Relaxed);
    }

    pub(crate) fn retried(&self, reason: Reason) {
        self.retries[reason as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn transfer_broke(&self) {
        self.broken_transfers.fetch_add(1, Relaxed);
    }

    pub(crate) fn answered(&self, after: Duration) {
        self.latency.lock().expect("recording does not panic").record(after);
    }

    pub(crate) fn requested(self: &std::sync::Arc<Self>, side: Side) -> InFlight {
        self.side(side).requests.fetch_add(1, Relaxed);
        self.in_flight.fetch_add(1, Relaxed);
        InFlight(self.clone())
    }

    fn side(&self, side: Side) -> &SideCounters {
        match side {
            Side::Source => &self.source,
            Side::Dest => &self.dest,
        }
    }
}

impl SideCounters {
    fn totals(&self) -> SideTotals {
        SideTotals {
            sent: self.sent.load(Relaxed),
            received: self.received.load(Relaxed),
            connections: self.connections.load(Relaxed),
            requests: self.requests.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn counters_add_up_by_side_and_reason() {
        let traffic = Arc::new(Traffic::new());
        traffic.sent(Side::Source, 3);
        traffic.received(Side::Dest, 4);
        traffic.connected(Side::Dest);
        traffic.retried(Reason::Reset);
        traffic.retried(Reason::Reset);
        let flying = traffic.requested(Side::Source);
        let totals = traffic.totals();
        assert_eq!(totals.source, SideTotals { sent: 3, requests: 1, ..SideTotals::default() });
        assert_eq!(totals.dest, SideTotals { received: 4, connections: 1, ..SideTotals::default() });
        assert_eq!((totals.in_flight, totals.retries), (1, BTreeMap::from([("reset", 2)])));
        drop(flying);
        assert_eq!((traffic.totals().in_flight, traffic.retries()), (0, 2));
    }
}
