//! What a registry's journal tells about a replicator: retries, resumes, wasted bytes. Pure.

use std::collections::{BTreeMap, BTreeSet};

use mockreg_proto::journal::{Gap, Record};
use serde::{Deserialize, Serialize};

/// Figures computed from one registry's journal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Requests that reached the registry.
    pub requests: u64,
    /// Connections that carried at least one request.
    pub connections: u64,
    /// Requests that were a second or later try of the same thing: a manifest or blob asked for again after a
    /// request for it had broken or been refused, an upload session's state asked for, a session begun in vain.
    pub retries: u64,
    /// Transfers taken up where they broke: downloads that started past the first byte, upload sessions that were
    /// asked where they stand and knew.
    pub resumed: u64,
    /// Requests that ended before their answer or their body was complete.
    pub broken: u64,
    /// Body bytes received.
    pub bytes_in: u64,
    /// Body bytes sent.
    pub bytes_out: u64,
    /// Uploads that ended with a stored blob.
    pub committed_blobs: u64,
    /// Answers by status class, `2xx`, `4xx` …
    pub answers: BTreeMap<String, u64>,
}

impl Traffic {
    /// Computes the figures of `records`, which stand in the order of `seq` and begin after line `after`.
    ///
    /// # Errors
    /// Lines are missing: what would be computed is not what happened.
    pub fn of(records: &[Record], after: u64) -> Result<Self, Gap> {
        let mut last = after;
        for record in records {
            if record.seq != last + 1 {
                return Err(Gap { after: last, missing: record.seq.saturating_sub(last + 1) });
            }
            last = record.seq;
        }
        let mut traffic = Self { requests: records.len() as u64, ..Self::default() };
        let mut sessions_begun = 0u64;
        let mut connections = BTreeSet::new();
        let mut fetches: BTreeMap<_, Tries> = BTreeMap::new();
        for record in records {
            connections.insert(record.conn);
            traffic.count(record);
            sessions_begun += u64::from(record.begins_session());
            if record.is_fetch() {
                let identity = (&record.method, record.kind, &record.repository, &record.reference);
                fetches.entry(identity).or_default().add(record);
            }
        }
        traffic.connections = connections.len() as u64;
        traffic.retries += fetches.values().map(Tries::retries).sum::<u64>();
        traffic.retries += sessions_begun.saturating_sub(traffic.committed_blobs);
        Ok(traffic)
    }

    fn count(&mut self, record: &Record) {
        self.bytes_in += record.bytes_in;
        self.bytes_out += record.bytes_out;
        self.broken += u64::from(record.end != "complete");
        self.retries += u64::from(record.asks_a_session());
        self.resumed += u64::from(record.is_resumed());
        self.committed_blobs += u64::from(record.commits_blob());
        let class = match record.status {
            0 => "none".to_owned(),
            status => format!("{}xx", status / 100),
        };
        *self.answers.entry(class).or_default() += 1;
    }
}

/// Requests for one thing. Asking again is a retry only where asking had failed: a plan that repeats asks for
/// everything again and retries nothing.
#[derive(Default)]
struct Tries {
    all: u64,
    failed: u64,
}

impl Tries {
    fn add(&mut self, record: &Record) {
        self.all += 1;
        self.failed += u64::from(record.end != "complete" || record.status >= 400);
    }

    fn retries(&self) -> u64 {
        self.failed.min(self.all - 1)
    }
}

#[cfg(test)]
mod tests {
    use mockreg_proto::journal::Kind;

    use super::*;

    fn record(seq: u64, method: &str, kind: Kind, status: u16, attempt: u32) -> Record {
        Record {
            seq,
            t_ms: 0,
            run_id: None,
            side: "source".into(),
            conn: seq % 2,
            req: 1,
            method: method.into(),
            kind,
            repository: "a/b".into(),
            reference: "x".into(),
            stored: None,
            range: None,
            attempt,
            status,
            bytes_in: 10,
            bytes_out: 20,
            first_byte_ms: 1,
            total_ms: 2,
            check: None,
            end: "complete".into(),
        }
    }

    /// Two downloads of one blob (the second resumed after a break), two sessions for one commit, one of which was
    /// asked for its state: 1 + 1 + 1 retries.
    #[test]
    fn a_known_pattern_gives_exact_figures() {
        let mut broken = record(1, "GET", Kind::Blob, 200, 1);
        broken.end = "client_closed".into();
        let mut resumed = record(2, "GET", Kind::Blob, 206, 2);
        resumed.range = Some([5, 9]);
        let records = [
            broken,
            resumed,
            record(3, "POST", Kind::Upload, 202, 1),
            record(4, "GET", Kind::Upload, 204, 1),
            record(5, "POST", Kind::Upload, 202, 1),
            record(6, "PUT", Kind::Upload, 201, 1),
            record(7, "HEAD", Kind::Blob, 404, 2),
        ];
        let traffic = Traffic::of(&records, 0).unwrap();
        assert_eq!((traffic.retries, traffic.resumed, traffic.broken, traffic.committed_blobs), (3, 2, 1, 1));
        assert_eq!(
            (traffic.requests, traffic.connections, traffic.bytes_in, traffic.bytes_out),
            (7, 2, 70, 140)
        );
        assert_eq!(traffic.answers["2xx"], 6);
    }

    #[test]
    fn lost_lines_are_a_gap_and_not_a_figure() {
        let records = [record(1, "GET", Kind::Blob, 200, 1), record(4, "GET", Kind::Blob, 200, 1)];
        assert_eq!(Traffic::of(&records, 0), Err(Gap { after: 1, missing: 2 }));
        assert_eq!(Traffic::of(&records[1..], 0), Err(Gap { after: 0, missing: 3 }));
    }

    #[test]
    fn a_journal_may_begin_after_earlier_runs() {
        let records = [record(8, "GET", Kind::Blob, 200, 1)];
        assert_eq!(Traffic::of(&records, 7).unwrap().requests, 1);
    }

    #[test]
    fn asking_again_for_what_was_served_is_no_retry() {
        let records = [record(1, "GET", Kind::Blob, 200, 1), record(2, "GET", Kind::Blob, 200, 2)];
        assert_eq!(Traffic::of(&records, 0).unwrap().retries, 0);
    }

    #[test]
    fn an_empty_journal_is_all_zero() {
        assert_eq!(Traffic::of(&[], 0), Ok(Traffic::default()));
    }
}
