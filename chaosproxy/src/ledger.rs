//! The fault ledger: every decision about a connection, and beside it what came of it.
//!
//! It is a ring of the newest lines in memory, read by `GET /ledger`, and on demand a file. A line enters the ring
//! when its connection is accepted and the file when it is final: once the fault has struck, or the connection
//! has ended, so that each decision stands in the file exactly once.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use chaosproxy_path::{Decision, Parameters};
use serde::{Deserialize, Serialize};

/// Lines kept in memory: at two a connection those of 32,768 connections, in about 8 MiB.
const LINES: usize = 65_536;
/// Lines on their way to the file. Connections never wait for a disk; beyond this they are counted as dropped.
const FILE_QUEUE: usize = 16_384;

/// One line of the ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LedgerLine {
    /// What was decided: the same in every run with the same seed.
    pub decision: LedgerDecision,
    /// What came of it; absent where the connection ended first.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub observed: Option<Observed>,
}

/// The part of a line that the seed determines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LedgerDecision {
    /// Name of the toxic, or `partial` for an outage.
    pub rule: String,
    /// Determinism class: `D1`, the same for the same accept ordinal.
    pub class: String,
    /// `LABEL connection N`, N in the order of acceptance from 1.
    pub identity: String,
    /// 1, or higher where a live change of the toxic decided anew.
    pub attempt: u32,
    /// The draw, in hex.
    pub draw: String,
    /// Whether the connection is affected.
    pub fires: bool,
    /// What is done to it: `reset`, `stall`, `close`, or the kind of the toxic.
    pub action: String,
    /// How.
    pub parameters: LedgerParameters,
}

/// The numbers of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LedgerParameters {
    /// Of a cut and of corruption at a rate.
    After {
        /// Bytes that pass before it; of corruption, from the strike before, or the beginning, up to it.
        after: u64,
    },
    /// Of a cut and of corruption at one byte.
    Offset {
        /// The byte, from 0; of a cut, the first that does not pass.
        offset: u64,
    },
    /// Of a toxic that does not affect every connection.
    Toxicity {
        /// Share of connections.
        toxicity: f32,
    },
    /// Of a partial outage.
    Share {
        /// Share of connections.
        share: f64,
    },
    /// Of a toxic that strikes single datagrams.
    Datagram {
        /// Its place in its flow and direction, in the order of arrival from 1.
        datagram: u64,
    },
}

/// What came of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// Milliseconds since the server started.
    pub t_ms: u64,
    /// Bytes of the direction that had passed; those of the datagram, where one was struck. Of a reset that did not wait
    /// to the end, only what the peer's system has acknowledged.
    pub bytes: u64,
}

/// Whom a decision is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whose<'a> {
    /// Name of the proxy.
    pub(crate) proxy: &'a Arc<str>,
    /// Label of the proxy.
    pub(crate) label: &'a Arc<str>,
    /// The connection, in the order of acceptance from 1.
    pub(crate) ordinal: u64,
}

/// Names one line while its connection lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LineId(u64);

#[derive(Debug)]
struct Entry {
    /// Name of the proxy, which a reader may ask for long after that is gone; no part of the line.
    proxy: Arc<str>,
    label: Arc<str>,
    ordinal: u64,
    attempt: u32,
    decision: Decision,
    observed: Option<Observed>,
    is_final: bool,
}

/// The ledger of a server.
#[derive(Debug)]
pub(crate) struct Ledger {
    ring: Mutex<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    entries: VecDeque<Entry>,
    /// Number of the oldest entry.
    first: u64,
    dropped: u64,
    file: Option<LedgerFile>,
}

#[derive(Debug)]
struct LedgerFile {
    lines: SyncSender<String>,
    writer: JoinHandle<()>,
}

impl Ledger {
    /// A ledger that also writes to `path`, where one is given.
    ///
    /// # Errors
    /// The file cannot be created.
    pub(crate) fn open(path: Option<&Path>) -> std::io::Result<Self> {
        let file = path.map(LedgerFile::create).transpose()?;
        Ok(Self { ring: Mutex::new(Ring { file, ..Ring::default() }) })
    }

    /// Writes down a decision about a connection.
    pub(crate) fn decide(&self, of: Whose<'_>, attempt: u32, decision: Decision) -> LineId {
        let mut ring = self.ring();
        if ring.entries.len() == LINES {
            ring.evict();
        }
        let id = ring.first + ring.entries.len() as u64;
        ring.entries.push_back(Entry {
            proxy: Arc::clone(of.proxy),
            label: Arc::clone(of.label),
            ordinal: of.ordinal,
            attempt,
            decision,
            observed: None,
            is_final: false,
        });
        LineId(id)
    }

    /// Writes down that it struck. Counts once; a line that has left the ring is not called back.
    pub(crate) fn observe(&self, line: LineId, observed: Observed) {
        if let Some(entry) = self.ring().entry(line) {
            entry.observed.get_or_insert(observed);
        }
    }

    /// Takes back so many of the bytes that had passed when it struck.
    pub(crate) fn lose(&self, line: LineId, bytes: u64) {
        if let Some(observed) = self.ring().entry(line).and_then(|entry| entry.observed.as_mut()) {
            observed.bytes = observed.bytes.saturating_sub(bytes);
        }
    }

    /// The connection has ended: nothing will be added to its lines.
    pub(crate) fn settle(&self, lines: impl IntoIterator<Item = LineId>) {
        let mut ring = self.ring();
        for line in lines {
            ring.settle(line);
        }
    }

    /// The lines in memory, oldest first.
    pub(crate) fn lines(&self) -> Vec<LedgerLine> {
        self.ring().entries.iter().map(Entry::line).collect()
    }

    /// The lines in memory of the proxies that were ever called so, oldest first.
    pub(crate) fn lines_of(&self, proxy: &str) -> Vec<LedgerLine> {
        self.ring().entries.iter().filter(|entry| *entry.proxy == *proxy).map(Entry::line).collect()
    }

    /// Lines in memory, and lines that were lost to the ring or to a slow disk.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let ring = self.ring();
        (ring.entries.len() as u64, ring.dropped)
    }

    /// Writes what is still open to the file and waits until it is on its way to the disk.
    pub(crate) fn close(&self) {
        let mut ring = self.ring();
        let open = (ring.first..ring.first + ring.entries.len() as u64).map(LineId);
        open.for_each(|line| ring.settle(line));
        let file = ring.file.take();
        drop(ring);
        if let Some(LedgerFile { lines, writer }) = file {
            drop(lines);
            let _reported_by_the_thread = writer.join();
        }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        // An entry is pushed or changed whole; a panic elsewhere leaves the ring usable.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn entry(&mut self, line: LineId) -> Option<&mut Entry> {
        let index = line.0.checked_sub(self.first)?;
        self.entries.get_mut(usize::try_from(index).ok()?)
    }

    fn settle(&mut self, line: LineId) {
        let Some(entry) = self.entry(line).filter(|entry| !entry.is_final) else { return };
        entry.is_final = true;
        let line = entry.line();
        self.write(&line);
    }

    /// Makes room. A decision still open goes to the file as it is: late news of it would find no line.
    fn evict(&mut self) {
        self.settle(LineId(self.first));
        self.entries.pop_front();
        self.first += 1;
        self.dropped += u64::from(self.file.is_none());
    }

    fn write(&mut self, line: &LedgerLine) {
        let Some(file) = &self.file else { return };
        let text = serde_json::to_string(line).expect("a ledger line has string keys only");
        self.dropped += u64::from(file.lines.try_send(text).is_err());
    }
}

impl Entry {
    fn line(&self) -> LedgerLine {
        let Decision { rule, draw, fires, action, parameters } = &self.decision;
        LedgerLine {
            decision: LedgerDecision {
                rule: rule.to_string(),
                class: "D1".to_owned(),
                identity: format!("{} connection {}", self.label, self.ordinal),
                attempt: self.attempt,
                draw: format!("{draw:#018x}"),
                fires: *fires,
                action: (*action).to_owned(),
                parameters: match *parameters {
                    Parameters::After(after) => LedgerParameters::After { after },
                    Parameters::Offset(offset) => LedgerParameters::Offset { offset },
                    Parameters::Toxicity(toxicity) => LedgerParameters::Toxicity { toxicity },
                    Parameters::Share(share) => LedgerParameters::Share { share },
                    Parameters::Datagram(datagram) => LedgerParameters::Datagram { datagram },
                },
            },
            observed: self.observed,
        }
    }
}

impl LedgerFile {
    fn create(path: &Path) -> std::io::Result<Self> {
        let file = BufWriter::new(File::create(path)?);
        let (lines, queue) = sync_channel(FILE_QUEUE);
        let name = path.display().to_string();
        let writer = std::thread::Builder::new().name("ledger".into()).spawn(move || {
            if let Err(error) = write_lines(file, &queue) {
                tracing::error!(file = name, %error, "the ledger file cannot be written any more");
            }
        })?;
        Ok(Self { lines, writer })
    }
}

/// Writes until the ledger closes; flushes whenever there is nothing more to write.
fn write_lines(mut file: BufWriter<File>, queue: &Receiver<String>) -> std::io::Result<()> {
    while let Ok(line) = queue.recv() {
        writeln!(file, "{line}")?;
        for line in queue.try_iter() {
            writeln!(file, "{line}")?;
        }
        file.flush()?;
    }
    file.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(after: u64) -> Decision {
        let parameters = Parameters::After(after);
        Decision { rule: "pull_reset".into(), draw: 0x1f, fires: true, action: "reset", parameters }
    }

    fn decide(ledger: &Ledger, label: &str, ordinal: u64, decision: Decision) -> LineId {
        let (proxy, label) = (&format!("{label}-run1").into(), &label.into());
        ledger.decide(Whose { proxy, label, ordinal }, 1, decision)
    }

    #[test]
    fn a_line_reads_as_documented() {
        let ledger = Ledger::open(None).unwrap();
        let line = decide(&ledger, "source", 17, decision(1_048_576));
        let text = || serde_json::to_string(&ledger.lines()[0]).unwrap();
        let decided = r#"{"decision":{"rule":"pull_reset","class":"D1","identity":"source connection 17","attempt":1,"draw":"0x000000000000001f","fires":true,"action":"reset","parameters":{"after":1048576}}"#;
        assert_eq!(text(), format!("{decided}}}"));
        ledger.observe(line, Observed { t_ms: 1520, bytes: 1_048_576 });
        assert_eq!(text(), format!(r#"{decided},"observed":{{"t_ms":1520,"bytes":1048576}}}}"#));
        assert_eq!(serde_json::from_str::<LedgerLine>(&text()).unwrap(), ledger.lines()[0]);
    }

    #[test]
    fn the_ring_is_bounded_and_counts_what_it_drops() {
        let ledger = Ledger::open(None).unwrap();
        let lines: Vec<_> = (0..LINES as u64 + 10).map(|n| decide(&ledger, "p", n, decision(n))).collect();
        assert_eq!(ledger.counts(), (LINES as u64, 10));
        ledger.observe(lines[3], Observed { t_ms: 0, bytes: 0 });
        ledger.observe(lines[10], Observed { t_ms: 1, bytes: 10 });
        assert_eq!(ledger.lines().iter().filter(|line| line.observed.is_some()).count(), 1);
        assert_eq!(ledger.lines()[0].observed, Some(Observed { t_ms: 1, bytes: 10 }));
    }

    #[test]
    fn the_file_has_each_decision_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.ndjson");
        let ledger = Ledger::open(Some(&path)).unwrap();
        let lines: Vec<_> = (0..5).map(|n| decide(&ledger, "p", n, decision(n))).collect();
        ledger.observe(lines[1], Observed { t_ms: 1, bytes: 1 });
        ledger.settle([lines[1], lines[1], lines[2]]);
        ledger.close();
        let text = std::fs::read_to_string(&path).unwrap();
        let mut after: Vec<_> = text
            .lines()
            .map(|line| serde_json::from_str::<LedgerLine>(line).unwrap())
            .map(|line| (line.decision.identity, line.observed.is_some()))
            .collect();
        after.sort();
        let expected: Vec<_> = (0..5).map(|n| (format!("p connection {n}"), n == 1)).collect();
        assert_eq!(after, expected);
    }

    #[test]
    fn a_ledger_that_cannot_be_created_is_an_error() {
        assert!(Ledger::open(Some(Path::new("/nonexistent/ledger"))).is_err());
    }
}
