//! What a proxy counts, live: connections, bytes, faults that struck, and the alarms that ring when so many bytes
//! have been forwarded or so many connections accepted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

use chaosproxy_path::{Stream, Strike, Toxic};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::histogram::Histogram;

/// How a connection ended, as metrics name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// Both sides closed.
    Closed,
    /// One side was reset, or vanished.
    Reset,
    /// A toxic or an outage ended it.
    Fault,
    /// The upstream server could not be reached.
    Refused,
    /// It did not begin with the PROXY header that is required.
    Rejected,
    /// The proxy was disabled, changed, deleted or stopped.
    Stopped,
}

impl Outcome {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Reset => "reset",
            Self::Fault => "fault",
            Self::Refused => "refused",
            Self::Rejected => "rejected",
            Self::Stopped => "stopped",
        }
    }
}

/// Counts of one proxy. Bytes are counted as they move, not when a connection ends.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    accepted: Watched,
    pub(crate) open: AtomicU64,
    /// Bytes read, by direction.
    received: [AtomicU64; 2],
    /// Bytes written, by direction.
    sent: [AtomicU64; 2],
    /// Datagrams written, by direction.
    datagrams: [AtomicU64; 2],
    named: Mutex<Named>,
    forwarded: Watched,
}

#[derive(Debug)]
struct Named {
    outcomes: BTreeMap<Outcome, u64>,
    faults: BTreeMap<&'static str, u64>,
    /// Datagrams that no fault dropped, by why.
    dropped: BTreeMap<&'static str, u64>,
    /// By the toxics that are or were there, of which [`MAX_TOXICS`] are told apart.
    toxics: BTreeMap<ToxicKey, ToxicCounts>,
    ages: Ages,
}

impl Default for Named {
    fn default() -> Self {
        Self {
            outcomes: BTreeMap::new(),
            faults: BTreeMap::new(),
            dropped: BTreeMap::new(),
            toxics: BTreeMap::new(),
            ages: Histogram::new(&AGE_BOUNDS),
        }
    }
}

/// A toxic as metrics name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ToxicKey {
    pub(crate) name: Arc<str>,
    pub(crate) kind: &'static str,
    pub(crate) stream: Stream,
}

/// What a toxic did.
#[derive(Clone, Debug)]
pub(crate) struct ToxicCounts {
    /// Connections that it affected.
    pub(crate) affected: u64,
    /// Its strikes, by the bytes of its direction that had passed it before; where it strikes single datagrams, by
    /// their sizes.
    pub(crate) strikes: Histogram<{ STRIKE_BOUNDS.len() }>,
}

impl Default for ToxicCounts {
    fn default() -> Self {
        Self { affected: 0, strikes: Histogram::new(&STRIKE_BOUNDS) }
    }
}

/// How many milliseconds connections lasted.
pub(crate) type Ages = Histogram<{ AGE_BOUNDS.len() }>;

/// Bounds of ages, in milliseconds: from one request on loopback to an hour of transfer.
const AGE_BOUNDS: [u64; 11] = [1, 5, 25, 100, 500, 2_000, 10_000, 60_000, 300_000, 900_000, 3_600_000];
/// Bounds of bytes before a strike: none, which is what a toxic that waits for time or the first data strikes after, and
/// powers of ten from a small manifest to a large image.
const STRIKE_BOUNDS: [u64; 9] =
    [0, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000, 10_000_000_000];
/// Toxics of a proxy that metrics tell apart in the life of a server. Names come from clients, and a script may make
/// up a new one each time; what comes later is not counted by toxic.
const MAX_TOXICS: usize = 256;

/// A count that grows, and an alarm that rings at the smallest number anyone waits for.
#[derive(Debug)]
struct Watched {
    count: AtomicU64,
    alarm: AtomicU64,
    bell: Notify,
}

impl Default for Watched {
    fn default() -> Self {
        Self { count: AtomicU64::new(0), alarm: AtomicU64::new(u64::MAX), bell: Notify::new() }
    }
}

impl Watched {
    fn add(&self, more: u64) {
        // With the alarm's own order: of one who waits and one who adds at the same moment, one sees the other.
        let count = self.count.fetch_add(more, SeqCst) + more;
        if count >= self.alarm.load(SeqCst) {
            self.alarm.store(u64::MAX, SeqCst);
            self.bell.notify_waiters();
        }
    }

    fn count(&self) -> u64 {
        self.count.load(SeqCst)
    }

    async fn at_least(&self, wanted: u64) {
        loop {
            let bell = self.bell.notified();
            tokio::pin!(bell);
            bell.as_mut().enable();
            self.alarm.fetch_min(wanted, SeqCst);
            if self.count() >= wanted {
                return;
            }
            bell.await;
        }
    }
}

/// The counts of one proxy at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyCounts {
    /// What decisions and metrics call the proxy.
    pub label: String,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections accepted and closed again because the upstream server could not be reached.
    pub refused: u64,
    /// Connections accepted and closed again because they did not begin with the PROXY header that is required.
    #[serde(default)]
    pub rejected: u64,
    /// Connections open now.
    pub open: u64,
    /// Bytes forwarded (delivered) from clients to the server.
    pub bytes_upstream: u64,
    /// Bytes forwarded (delivered) from the server to clients.
    pub bytes_downstream: u64,
    /// Connections that a fault really struck, by kind; of a proxy of datagrams, datagrams and flows.
    pub faults: BTreeMap<String, u64>,
    /// Datagrams forwarded from clients to the server.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub datagrams_upstream: u64,
    /// Datagrams forwarded from the server to clients.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub datagrams_downstream: u64,
    /// Datagrams that were dropped though no fault wanted it: `overflow` (more is held than may be), `max_flows` (of
    /// one client too many), `undeliverable` (the system did not send it); and `upstream_refused`, answers of the
    /// server's machine that nobody listens there.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub dropped: BTreeMap<String, u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Counters {
    pub(crate) fn received(&self, stream: Stream, bytes: u64) {
        self.received[stream as usize].fetch_add(bytes, Relaxed);
    }

    pub(crate) fn sent(&self, stream: Stream, bytes: u64) {
        self.sent[stream as usize].fetch_add(bytes, Relaxed);
        self.forwarded.add(bytes);
    }

    /// Bytes delivered in both directions.
    pub(crate) fn forwarded(&self) -> u64 {
        self.forwarded.count()
    }

    /// Waits until that many bytes have been delivered in both directions.
    pub(crate) async fn forwarded_at_least(&self, bytes: u64) {
        self.forwarded.at_least(bytes).await;
    }

    /// A connection was accepted.
    pub(crate) fn accept(&self) {
        self.accepted.add(1);
    }

    /// Waits until that many connections have been accepted.
    pub(crate) async fn accepted_at_least(&self, connections: u64) {
        self.accepted.at_least(connections).await;
    }

    /// A connection ended, `age_ms` after it was accepted.
    pub(crate) fn ended(&self, outcome: Outcome, age_ms: u64) {
        let mut named = self.named();
        *named.outcomes.entry(outcome).or_default() += 1;
        named.ages.add(age_ms);
    }

    /// A toxic affects one more connection.
    pub(crate) fn affected(&self, toxic: &Toxic) {
        let key = ToxicKey {
            name: Arc::clone(toxic.name()),
            kind: toxic.attributes().kind(),
            stream: toxic.stream(),
        };
        let mut named = self.named();
        if named.toxics.len() < MAX_TOXICS || named.toxics.contains_key(&key) {
            named.toxics.entry(key).or_default().affected += 1;
        }
    }

    /// A toxic ended or stalled a connection.
    pub(crate) fn struck(&self, strike: &Strike) {
        let mut named = self.named();
        *named.faults.entry(strike.fault).or_default() += 1;
        // Faults are called by the kind of their toxic first; another kind may have had the name before.
        let is_its = |key: &ToxicKey| key.name == strike.toxic && strike.fault.starts_with(key.kind);
        if let Some((_, counts)) = named.toxics.iter_mut().find(|(key, _)| is_its(key)) {
            counts.strikes.add(strike.bytes);
        }
    }

    pub(crate) fn toxics(&self) -> BTreeMap<ToxicKey, ToxicCounts> {
        self.named().toxics.clone()
    }

    pub(crate) fn ages(&self) -> Ages {
        self.named().ages.clone()
    }

    pub(crate) fn fault(&self, kind: &'static str) {
        *self.named().faults.entry(kind).or_default() += 1;
    }

    /// A datagram was delivered.
    pub(crate) fn sent_datagram(&self, stream: Stream, bytes: u64) {
        self.datagrams[stream as usize].fetch_add(1, Relaxed);
        self.sent(stream, bytes);
    }

    /// A datagram was dropped though no fault wanted it.
    pub(crate) fn dropped(&self, why: &'static str) {
        *self.named().dropped.entry(why).or_default() += 1;
    }

    pub(crate) fn received_bytes(&self, stream: Stream) -> u64 {
        self.received[stream as usize].load(Relaxed)
    }

    pub(crate) fn sent_bytes(&self, stream: Stream) -> u64 {
        self.sent[stream as usize].load(Relaxed)
    }

    pub(crate) fn outcomes(&self) -> BTreeMap<Outcome, u64> {
        self.named().outcomes.clone()
    }

    pub(crate) fn snapshot(&self, label: &str) -> ProxyCounts {
        let named = self.named();
        ProxyCounts {
            label: label.to_owned(),
            accepted: self.accepted.count(),
            refused: named.outcomes.get(&Outcome::Refused).copied().unwrap_or(0),
            rejected: named.outcomes.get(&Outcome::Rejected).copied().unwrap_or(0),
            open: self.open.load(Relaxed),
            bytes_upstream: self.sent_bytes(Stream::Upstream),
            bytes_downstream: self.sent_bytes(Stream::Downstream),
            faults: by_name(&named.faults),
            datagrams_upstream: self.datagrams[Stream::Upstream as usize].load(Relaxed),
            datagrams_downstream: self.datagrams[Stream::Downstream as usize].load(Relaxed),
            dropped: by_name(&named.dropped),
        }
    }

    fn named(&self) -> std::sync::MutexGuard<'_, Named> {
        // Counts are whole after any panic elsewhere.
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn by_name(counts: &BTreeMap<&'static str, u64>) -> BTreeMap<String, u64> {
    counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_alarm_rings_for_everyone_who_waits() {
        let counters = Arc::new(Counters::default());
        let waiters: Vec<_> = [500, 1000, 1]
            .map(|bytes| {
                let counters = Arc::clone(&counters);
                tokio::spawn(async move { counters.forwarded_at_least(bytes).await })
            })
            .into();
        for _ in 0..1000 {
            counters.sent(Stream::Upstream, 1);
            tokio::task::yield_now().await;
        }
        for waiter in waiters {
            tokio::time::timeout(Duration::from_secs(5), waiter).await.unwrap().unwrap();
        }
        assert_eq!(counters.snapshot("p").bytes_upstream, 1000);
    }
}
