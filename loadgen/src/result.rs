//! The record of a run, as `result.json` has it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use loadgen_stats::LatencySummary;
use mockreg_proto::digest::Digest;
use serde::{Deserialize, Serialize};

use crate::evidence::journal::Traffic;
use crate::scenario::Factors;
use crate::verdict::{Criterion, Outcome};

/// One run: what was asked, what moved, what was injected, what came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunResult {
    /// Version of this record: 1.
    pub schema_version: u32,
    /// Id of the run; images stand under `run-<id>/` at the destination.
    pub run_id: String,
    /// Name of the scenario.
    pub scenario: String,
    /// Name of the scale; results of different scales are never compared.
    pub scale: String,
    /// The factors that were applied.
    pub factors: Factors,
    /// Root seed.
    pub seed: u64,
    /// Hash of the plan.
    pub plan_hash: Digest,
    /// How it ended.
    pub outcome: Outcome,
    /// Exit code of the program.
    pub exit_code: u8,
    /// Why, where the outcome alone does not say it.
    pub reasons: Vec<String>,
    /// Start of the run, RFC 3339, UTC.
    pub started: String,
    /// Time of the transfers.
    pub wall_seconds: f64,
    /// Bytes moved.
    pub bytes: Bytes,
    /// 10^6 bytes of payload per second.
    pub throughput_mb_s: f64,
    /// Image tags copied.
    pub operations: Operations,
    /// The first failures, with their causes.
    pub failures: Vec<Failure>,
    /// Second and later tries.
    pub retries: Retries,
    /// Connections that a fault really struck, by side and kind.
    pub faults_injected: BTreeMap<String, u64>,
    /// Latencies in milliseconds.
    pub latency_ms: Latencies,
    /// Memory, 10^6 bytes.
    pub memory_mb: Memory,
    /// Connections and requests of the replicator.
    pub connections: Connections,
    /// What the destination's content was found to be; `None` where it was not checked.
    pub replica: Option<Replica>,
    /// Scheduled events.
    pub events: Vec<EventRecord>,
    /// Criteria and verdicts.
    pub criteria: Vec<Criterion>,
    /// Figures from the registries' journals, by side.
    pub journals: BTreeMap<String, Traffic>,
    /// What could not be told, and why.
    pub not_estimable: BTreeMap<String, String>,
    /// Where it ran.
    pub environment: Environment,
}

/// Bytes moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bytes {
    /// Bytes that came from the source side.
    pub source_wire: u64,
    /// Bytes that went to the destination side.
    pub dest_wire: u64,
    /// Bytes of blobs and manifests committed at the destination in this run, each once.
    pub payload: u64,
    /// Of the payload, what the plan holds once (a repeated plan moves it again).
    pub unique: u64,
    /// Bytes that were there already or could be mounted.
    pub reused: u64,
}

/// Image tags copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operations {
    /// All that count.
    pub total: u64,
    /// Copied.
    pub ok: u64,
    /// Given up.
    pub failed: u64,
    /// Not tried, or not finished when the run ended.
    pub not_run: u64,
}

/// An operation that was given up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// `repository:tag` at the source.
    pub image: String,
    /// The chain of causes.
    pub error: String,
}

/// Second and later tries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retries {
    /// As the registries saw them; `None` where there is no journal.
    pub from_journals: Option<u64>,
    /// As the replicator counts them.
    pub self_reported: u64,
}

/// Latencies in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Latencies {
    /// Request sent to response headers.
    pub service: LatencySummary,
    /// From the intended start; `None` in a closed loop, where a request has no intended start of its own.
    pub response: Option<LatencySummary>,
    /// One image, from first request to committed manifest.
    pub image: LatencySummary,
}

/// Memory, 10^6 bytes.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Memory {
    /// Peak resident memory of this process (with everything it embeds); `None` where the system does not tell.
    pub process_peak: Option<f64>,
}

/// Connections and requests of the replicator.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Connections {
    /// Connections opened.
    pub opened: u64,
    /// Requests made.
    pub requests: u64,
    /// 1 − opened / requests; `None` without a request.
    pub reuse: Option<f64>,
}

/// What the destination's content was found to be.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Replica {
    /// Images looked at.
    pub expected: u64,
    /// Read back whole and equal.
    pub exact: u64,
    /// Read back in part and equal.
    pub exact_sampled: Sampled,
    /// Different.
    pub mismatched: u64,
    /// Not there.
    pub missing: u64,
    /// Could not be read at one of the sides: nothing is known of them.
    pub unreadable: u64,
    /// The first problems, in words.
    pub problems: Vec<String>,
}

impl Replica {
    /// Whether every image is there and equal, as far as it was read.
    pub const fn is_exact(&self) -> bool {
        self.expected > 0 && self.mismatched + self.missing + self.unreadable == 0
    }
}

/// Images of which a share was read back.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Sampled {
    /// Images.
    pub count: u64,
    /// Share of their bytes that was read back, 0..1.
    pub share: f64,
}

/// One scheduled event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventRecord {
    /// `source: outage down`
    pub what: String,
    /// Its trigger.
    pub planned: String,
    /// Milliseconds after the start; `None` where it did not happen.
    pub started: Option<u64>,
    /// Milliseconds after the start; `None` where the run ended first.
    pub ended: Option<u64>,
}

/// Where a run took place.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Environment {
    /// Version of loadgen.
    pub version: String,
    /// Kernel and architecture.
    pub system: String,
    /// Processors this process may use.
    pub cpus: usize,
    /// Share of these processors that this process used during the transfers, 0..1.
    pub cpu_share: f64,
    /// `embedded` or the addresses of the registries and the proxy.
    pub testbed: String,
}

/// Makes the directory of a result and removes what an earlier run has left there.
///
/// # Errors
/// It cannot be made, or not be written to.
pub fn prepare(directory: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    for name in FILES {
        match std::fs::remove_file(directory.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// What a run writes.
const FILES: [&str; 4] = ["result.json", "ledger.ndjson", "journal-source.ndjson", "journal-dest.ndjson"];

impl RunResult {
    /// Writes `result.json` into `directory`, whole or not at all.
    ///
    /// # Errors
    /// The directory cannot be made or written (full disk, missing rights).
    pub fn write(&self, directory: &Path) -> std::io::Result<PathBuf> {
        std::fs::create_dir_all(directory)?;
        let path = directory.join("result.json");
        let text = serde_json::to_string_pretty(self)? + "\n";
        let unfinished = directory.join(".result.json.unfinished");
        let written = std::fs::write(&unfinished, text).and_then(|()| std::fs::rename(&unfinished, &path));
        if written.is_err() {
            // The error is what counts; a left-over file of a full disk is only in the way.
            let _ = std::fs::remove_file(&unfinished);
        }
        written.map(|()| path)
    }
}
