//! What tells a thrifty client from a wasteful one: requests by kind and status, which blobs moved, which bytes moved
//! more than once, how much went on at the same time. All of it in bounded memory: past the bound, what is counted is
//! a lower bound and says so.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use mockreg_proto::content_range::ByteRange;
use mockreg_proto::journal::Kind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::coverage::Coverage;
use crate::journal::Line;

/// Blobs followed, in each direction. One takes some 100 bytes, so all take some 10 MB.
const MAX_BLOBS: usize = 100_000;
/// Separate stretches remembered of one blob: as many as a client fetches in parallel, and some that broke.
const MAX_STRETCHES: usize = 32;

/// What tells a thrifty client from a wasteful one. Counted when a request ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tallied {
    /// Requests by kind and by status; status 0 is no answer.
    pub by_kind: BTreeMap<Kind, BTreeMap<u16, u64>>,
    /// Different blobs of which bytes were sent, in whichever repository.
    pub unique_blobs_pulled: u64,
    /// Different blobs that uploads have stored; a mount moves nothing and does not count.
    pub unique_blobs_pushed: u64,
    /// Uploads that stored a blob which an earlier upload had stored already.
    pub repeated_pushes: u64,
    /// Bytes of blobs that had been sent before, whoever asked: what a client that keeps what it has, and resumes where
    /// it broke, leaves at 0. Answers with several ranges are left out, and beyond 32 separate stretches of one blob
    /// the shortest is forgotten, so this is never too high.
    pub duplicate_bytes_out: u64,
    /// Blob transfers that were not followed, for the registry follows 100,000 different blobs in each direction.
    pub blobs_not_followed: u64,
    /// Requests answered with 429.
    pub rate_limited: u64,
    /// Most requests under way at once.
    pub requests_in_flight_peak: u64,
    /// Most connections open at once.
    pub open_connections_peak: u64,
}

/// The tally of one server.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    state: Mutex<State>,
    pub(crate) requests: Level,
    pub(crate) connections: Level,
}

#[derive(Debug, Default)]
struct State {
    counted: Tallied,
    pulled: HashMap<u64, Coverage>,
    pushed: HashSet<u64>,
}

/// How many there are, and how many there were at most.
#[derive(Debug, Default)]
pub(crate) struct Level {
    now: AtomicU64,
    peak: AtomicU64,
}

impl Level {
    /// One more.
    pub(crate) fn enter(&self) {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.peak.fetch_max(now, Ordering::Relaxed);
    }

    /// One less.
    pub(crate) fn leave(&self) {
        self.now.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many there are.
    pub(crate) fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    fn reset(&self) {
        self.peak.store(self.now.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

impl Tally {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the tally panics")
    }

    /// A request has ended.
    pub(crate) fn ended(&self, line: &Line) {
        let mut state = self.state();
        *state.counted.by_kind.entry(line.kind).or_default().entry(line.status).or_default() += 1;
        match (line.kind, line.status) {
            (_, 429) => state.counted.rate_limited += 1,
            (Kind::Blob, 200 | 206) if line.method == "GET" => state.pulled(line),
            (Kind::Upload, 201) => state.pushed(line),
            _ => {}
        }
    }

    /// What was counted since the last [`Tally::reset`].
    pub(crate) fn tallied(&self) -> Tallied {
        Tallied {
            requests_in_flight_peak: self.requests.peak(),
            open_connections_peak: self.connections.peak(),
            ..self.state().counted.clone()
        }
    }

    /// Counts from zero again; what is under way now is the new peak.
    pub(crate) fn reset(&self) {
        *self.state() = State::default();
        self.requests.reset();
        self.connections.reset();
    }
}

impl State {
    fn pulled(&mut self, line: &Line) {
        let Some((first, end)) = sent(line) else { return };
        let room = self.pulled.len() < MAX_BLOBS;
        let coverage = match self.pulled.entry(key(&line.reference)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) if room => {
                self.counted.unique_blobs_pulled += 1;
                new.insert(Coverage::new(MAX_STRETCHES))
            }
            Entry::Vacant(_) => {
                self.counted.blobs_not_followed += 1;
                return;
            }
        };
        self.counted.duplicate_bytes_out += coverage.add(first, end);
    }

    fn pushed(&mut self, line: &Line) {
        let Some(digest) = &line.stored else { return };
        // A mount goes through no check.
        if line.check.is_none() {
            return;
        }
        let key = key(**digest);
        if self.pushed.contains(&key) {
            self.counted.repeated_pushes += 1;
        } else if self.pushed.len() < MAX_BLOBS {
            self.pushed.insert(key);
            self.counted.unique_blobs_pushed += 1;
        } else {
            self.counted.blobs_not_followed += 1;
        }
    }
}

/// Which bytes of its blob a download sent, first and one past the last; `None` for nothing, and for several ranges.
fn sent(line: &Line) -> Option<(u64, u64)> {
    let first = match (line.status, line.range) {
        (200, _) => 0,
        (206, Some(range)) if line.bytes_out <= ByteRange::len(&range) => range.first,
        _ => return None,
    };
    (line.bytes_out > 0).then(|| (first, first.saturating_add(line.bytes_out)))
}

/// A collision of two of 100,000 keys of 64 bits has a chance of one in four thousand million.
fn key(of: impl Hash) -> u64 {
    let mut hash = DefaultHasher::new();
    of.hash(&mut hash);
    hash.finish()
}

#[cfg(test)]
mod tests {
    use mockreg_proto::digest::Digest;
    use mockreg_proto::journal::Check;

    use super::*;

    fn download(reference: &str, first: u64, bytes_out: u64) -> Line {
        let range = ByteRange::try_new(first, first + 99).unwrap();
        let reference = reference.into();
        Line { reference, range: Some(range), bytes_out, ..Line::example(Kind::Blob, "GET", 206) }
    }

    fn upload(content: &[u8], check: Option<Check>) -> Line {
        Line { stored: Some(Box::new(Digest::of(content))), check, ..Line::example(Kind::Upload, "PUT", 201) }
    }

    #[test]
    fn bytes_are_duplicate_where_they_were_sent_before() {
        let tally = Tally::default();
        for sent in [download("a", 0, 60), download("a", 60, 40), download("b", 0, 10), download("a", 50, 20)]
        {
            tally.ended(&sent);
        }
        tally.ended(&Line { bytes_out: 10_000, ..download("a", 0, 0) });
        let tallied = tally.tallied();
        assert_eq!((tallied.unique_blobs_pulled, tallied.duplicate_bytes_out), (2, 20), "{tallied:?}");
        assert_eq!(tallied.by_kind[&Kind::Blob][&206], 5);
    }

    #[test]
    fn pushes_count_once_each_and_mounts_not_at_all() {
        let tally = Tally::default();
        for push in [
            upload(b"a", Some(Check::Hash)),
            upload(b"b", Some(Check::Compare)),
            upload(b"a", Some(Check::Hash)),
            upload(b"c", None),
        ] {
            tally.ended(&push);
        }
        let tallied = tally.tallied();
        assert_eq!((tallied.unique_blobs_pushed, tallied.repeated_pushes), (2, 1));
    }

    #[test]
    fn limits_met_and_peaks_are_counted_and_a_reset_forgets() {
        let tally = Tally::default();
        (0..3).for_each(|_| tally.requests.enter());
        tally.requests.leave();
        tally.ended(&Line::example(Kind::Manifest, "GET", 429));
        let tallied = tally.tallied();
        assert_eq!((tallied.rate_limited, tallied.requests_in_flight_peak), (1, 3));
        tally.reset();
        assert_eq!(tally.tallied(), Tallied { requests_in_flight_peak: 2, ..Tallied::default() });
    }

    #[test]
    fn past_the_bound_blobs_are_counted_apart() {
        let tally = Tally::default();
        (0..MAX_BLOBS + 3).for_each(|n| tally.ended(&download(&n.to_string(), 0, 1)));
        let tallied = tally.tallied();
        assert_eq!((tallied.unique_blobs_pulled, tallied.blobs_not_followed), (MAX_BLOBS as u64, 3));
    }
}
