//! The request journal: who asked for what, which attempt, how many bytes moved, how it ended. A bounded ring in
//! memory, and a file where one was asked for. What a request is and when it ends is `exchange`'s business.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard};

use mockreg_proto::content_range::ByteRange;
use mockreg_proto::digest::Digest;
use mockreg_proto::journal::{Check, Gap, Kind, Record};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::journal_file::JournalFile;

/// Most lines kept: a run of a thousand images of ten layers, each asked for ten times, with room to spare.
const MAX_LINES: usize = 200_000;
/// Most memory the lines may take, so that long names cannot fill it; about 100,000 usual lines.
const MAX_BYTES: usize = 32 << 20;
/// Identities whose attempts are counted at least; up to twice as many are. Each takes some 24 bytes.
const MAX_IDENTITIES: usize = 200_000;
/// Lines handed out under one lock, so that a reader of a full ring does not hold up the requests.
const BATCH: usize = 512;

/// One request, as it is kept: smaller than a [`Record`], which repeats the side and owns every word.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    pub(crate) seq: u64,
    pub(crate) t_ms: u64,
    pub(crate) run_id: Option<Arc<str>>,
    pub(crate) conn: u64,
    pub(crate) req: u64,
    pub(crate) method: Cow<'static, str>,
    pub(crate) kind: Kind,
    pub(crate) repository: Box<str>,
    pub(crate) reference: Box<str>,
    /// Boxed, for most requests store nothing.
    pub(crate) stored: Option<Box<Digest>>,
    pub(crate) range: Option<ByteRange>,
    pub(crate) attempt: u32,
    pub(crate) status: u16,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) first_byte_ms: u64,
    pub(crate) total_ms: u64,
    pub(crate) check: Option<Check>,
    pub(crate) end: &'static str,
}

impl Line {
    /// A request that ended well and moved nothing, for tests to change.
    #[cfg(test)]
    pub(crate) fn example(kind: Kind, method: &'static str, status: u16) -> Self {
        Self {
            conn: 1,
            req: 1,
            method: method.into(),
            kind,
            repository: "a".into(),
            reference: "x".into(),
            attempt: 1,
            status,
            end: "complete",
            ..Self::default()
        }
    }

    fn weight(&self) -> usize {
        let stored = if self.stored.is_some() { size_of::<Digest>() } else { 0 };
        size_of::<Self>()
            + stored
            + self.method.len()
            + self.repository.len()
            + self.reference.len()
            + self.end.len()
    }

    fn record(self, side: &str) -> Record {
        Record {
            seq: self.seq,
            t_ms: self.t_ms,
            run_id: self.run_id.map(|id| id.to_string()),
            side: side.to_owned(),
            conn: self.conn,
            req: self.req,
            method: self.method.into_owned(),
            kind: self.kind,
            repository: self.repository.into(),
            reference: self.reference.into(),
            stored: self.stored.map(|digest| *digest),
            range: self.range.map(|range| [range.first, range.last]),
            attempt: self.attempt,
            status: self.status,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            first_byte_ms: self.first_byte_ms,
            total_ms: self.total_ms,
            check: self.check,
            end: self.end.to_owned(),
        }
    }
}

/// How far the journal has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Extent {
    /// Number of the newest line; 0 before the first.
    pub last_seq: u64,
    /// Lines that the ring's bound pushed out.
    pub dropped: u64,
}

/// The journal of one server.
#[derive(Debug)]
pub(crate) struct Journal {
    side: String,
    state: Mutex<State>,
    /// Told of every new line.
    grown: Notify,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Line>,
    weight: usize,
    last_seq: u64,
    dropped: u64,
    /// Number of the last line that was cleared on purpose.
    cleared: u64,
    run_id: Option<Arc<str>>,
    attempts: Attempts,
    file: Option<JournalFile>,
}

/// Counts per identity in two generations: when the young one is full it becomes the old one, and what was not
/// asked for since is forgotten. So the bound holds, and identities in use keep their count.
#[derive(Debug, Default)]
struct Attempts {
    young: HashMap<u64, u32>,
    old: HashMap<u64, u32>,
}

impl Attempts {
    fn next(&mut self, identity: u64, bound: usize) -> u32 {
        if let Some(count) = self.young.get_mut(&identity) {
            *count = count.saturating_add(1);
            return *count;
        }
        let count = self.old.get(&identity).copied().unwrap_or(0).saturating_add(1);
        if self.young.len() >= bound {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(identity, count);
        count
    }
}

impl Journal {
    /// An empty journal. `side` labels every line; `file` gets each line as well.
    pub(crate) fn new(side: &str, file: Option<JournalFile>) -> Self {
        let state = Mutex::new(State { file, ..State::default() });
        Self { side: side.to_owned(), state, grown: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the journal panics")
    }

    /// Which request of its identity this one is, from 1.
    pub(crate) fn attempt(&self, method: &str, kind: Kind, repository: &str, reference: &str) -> u32 {
        let mut hash = DefaultHasher::new();
        (method, kind, repository, reference).hash(&mut hash);
        self.state().attempts.next(hash.finish(), MAX_IDENTITIES)
    }

    /// Adds a line, which gets its number and run here.
    pub(crate) fn push(&self, mut line: Line) {
        let mut state = self.state();
        state.last_seq += 1;
        line.seq = state.last_seq;
        line.run_id.clone_from(&state.run_id);
        if let Some(file) = &state.file {
            file.append(&line.clone().record(&self.side));
        }
        state.weight += line.weight();
        state.lines.push_back(line);
        while state.lines.len() > MAX_LINES || state.weight > MAX_BYTES {
            let Some(oldest) = state.lines.pop_front() else { break };
            state.weight -= oldest.weight();
            state.dropped += 1;
        }
        drop(state);
        self.grown.notify_waiters();
    }

    /// The line after which a reader begins that has read up to `since`. For one who has read nothing, what was cleared
    /// is not missing.
    pub(crate) fn start(&self, since: u64) -> u64 {
        if since == 0 { self.state().cleared } else { since }
    }

    /// What is missing between line `after` and line `next`.
    pub(crate) fn gap(after: u64, next: u64) -> Option<Gap> {
        let missing = next.saturating_sub(after.saturating_add(1));
        (missing > 0).then_some(Gap { after, missing })
    }

    /// As [`Journal::after`], but waits until there is a line.
    pub(crate) async fn next(&self, since: u64) -> Vec<Record> {
        loop {
            // Listened for before looking, so that no line comes unnoticed between the two.
            let grown = self.grown.notified();
            let batch = self.after(since);
            if !batch.is_empty() {
                return batch;
            }
            grown.await;
        }
    }

    /// Up to [`BATCH`] lines with numbers above `since`, oldest first. Empty when there are no more.
    pub(crate) fn after(&self, since: u64) -> Vec<Record> {
        let lines: Vec<Line> = {
            let state = self.state();
            let start = state.lines.partition_point(|line| line.seq <= since);
            state.lines.range(start..).take(BATCH).cloned().collect()
        };
        lines.into_iter().map(|line| line.record(&self.side)).collect()
    }

    /// Forgets all lines and attempts. Numbers go on, so that a reader who had fallen behind sees the gap.
    pub(crate) fn clear(&self) {
        let mut state = self.state();
        state.lines.clear();
        state.lines.shrink_to_fit();
        state.weight = 0;
        state.dropped = 0;
        state.cleared = state.last_seq;
        state.attempts = Attempts::default();
    }

    /// Stamps `run_id` into every line from now on.
    pub(crate) fn begin_run(&self, run_id: Option<&str>) {
        self.state().run_id = run_id.map(Arc::from);
    }

    /// How far it has come.
    pub(crate) fn extent(&self) -> Extent {
        let state = self.state();
        Extent { last_seq: state.last_seq, dropped: state.dropped }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(reference: &str) -> Line {
        Line { reference: reference.into(), ..Line::example(Kind::Blob, "GET", 200) }
    }

    fn all(journal: &Journal) -> Vec<Record> {
        let mut records = Vec::new();
        loop {
            let batch = journal.after(records.last().map_or(0, |record: &Record| record.seq));
            if batch.is_empty() {
                return records;
            }
            records.extend(batch);
        }
    }

    #[test]
    fn lines_are_numbered_and_read_from_any_place() {
        let journal = Journal::new("source", None);
        (0..1500).for_each(|i| journal.push(line(&i.to_string())));
        let records = all(&journal);
        assert_eq!(
            records.iter().map(|record| record.seq).collect::<Vec<_>>(),
            (1..=1500).collect::<Vec<_>>()
        );
        assert_eq!(records[7].reference, "7");
        assert_eq!(records[7].side, "source");
        assert_eq!(journal.after(1499).len(), 1);
        assert!(journal.after(1500).is_empty());
    }

    #[test]
    fn the_ring_is_bounded_in_lines_and_bytes_and_shows_the_gap() {
        let journal = Journal::new("source", None);
        let long = "x".repeat(1 << 20);
        (0..40).for_each(|_| journal.push(line(&long)));
        let extent = journal.extent();
        assert_eq!(extent.last_seq, 40);
        assert!(extent.dropped >= 8, "{extent:?}");
        let first = journal.after(0)[0].seq;
        assert_eq!(first, extent.dropped + 1);
        // It is missing to who begins now, too.
        let gap = Gap { after: 0, missing: extent.dropped };
        assert_eq!(Journal::gap(journal.start(0), first), Some(gap));
        assert!(journal.state().weight <= MAX_BYTES);
    }

    #[test]
    fn attempts_count_per_identity_and_stay_bounded() {
        let journal = Journal::new("source", None);
        let attempt = |method| journal.attempt(method, Kind::Blob, "a", "sha256:0");
        assert_eq!([attempt("GET"), attempt("GET"), attempt("HEAD"), attempt("GET")], [1, 2, 1, 3]);
        let mut attempts = Attempts::default();
        for identity in 0..100 {
            attempts.next(identity, 10);
            assert_eq!(attempts.next(1_000, 10) as u64, identity + 1, "an identity in use keeps its count");
            assert!(attempts.young.len() + attempts.old.len() <= 20);
        }
    }

    #[test]
    fn clearing_forgets_lines_and_attempts_but_not_the_numbers() {
        let journal = Journal::new("source", None);
        journal.push(line("a"));
        journal.attempt("GET", Kind::Blob, "a", "b");
        journal.clear();
        journal.begin_run(Some("run-7"));
        journal.push(line("b"));
        assert_eq!(journal.attempt("GET", Kind::Blob, "a", "b"), 1);
        let records = all(&journal);
        assert_eq!((records.len(), records[0].seq, records[0].run_id.as_deref()), (1, 2, Some("run-7")));
        // Nothing is missing to who begins now; who had read on is told.
        assert_eq!((journal.start(0), Journal::gap(journal.start(0), 2)), (1, None));
        assert_eq!(Journal::gap(journal.start(3), 9), Some(Gap { after: 3, missing: 5 }));
        assert_eq!(Journal::gap(u64::MAX, 1), None);
    }
}
