//! What the replicator has done, in counters that the driver reads while it works. These are its own words: evidence
//! comes from journals and proxies.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use loadgen_stats::Latency;

use crate::client::{Traffic, TrafficTotals};

/// The counters. All methods may be called from any thread at any time.
#[derive(Debug, Default)]
pub struct Telemetry {
    /// What moved on the wire, and what went wrong there.
    pub traffic: Arc<Traffic>,
    payload: AtomicU64,
    reused: AtomicU64,
}

impl Telemetry {
    /// All zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes of blobs and manifests committed at the destination, each once.
    pub fn payload_bytes(&self) -> u64 {
        self.payload.load(Relaxed)
    }

    /// Bytes of blobs and manifests that were there already, each time one was needed.
    pub fn reused_bytes(&self) -> u64 {
        self.reused.load(Relaxed)
    }

    /// Bytes, connections and requests of both sides, requests in flight, broken transfers, retries by reason.
    pub fn totals(&self) -> TrafficTotals {
        self.traffic.totals()
    }

    /// Further attempts of all reasons.
    pub fn retries(&self) -> u64 {
        self.traffic.retries()
    }

    /// Service latencies: request sent whole to head of the answer.
    pub fn service_latency(&self) -> Latency {
        self.traffic.latency()
    }

    pub(crate) fn committed(&self, bytes: u64) {
        self.payload.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn reuse(&self, bytes: u64) {
        self.reused.fetch_add(bytes, Relaxed);
    }
}
