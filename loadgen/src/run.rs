//! One run from plan to verdict, a step a phase: start, prepare, copy, gather, verify, judge. Whatever happens there
//! is a result.

mod conclusion;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hyper::Method;
use mockreg_proto::digest;
use mockreg_proto::journal::{Entry, Gap};
use mockreg_proto::ready_line::ReadyLine;
use mockreg_proto::seed::Seed;
use stormyard_process as process;

use crate::board::{Board, Phase};
use crate::cancel::CancelToken;
use crate::client::Endpoint;
use crate::drive::{self, Driven};
use crate::evidence::journal::Traffic;
use crate::evidence::replica::ReplicaCheck;
use crate::plan::Plan;
use crate::progress::{Goal, Progress, ProgressMode};
use crate::replicator::{Replicator, ReplicatorConfig, Telemetry};
use crate::result::{self, EventRecord, RunResult};
use crate::scenario::{Scenario, Side};
use crate::serve::{MetricsServer, Subject};
use crate::testbed::{ProxyCounters, Testbed, TestbedOptions};
use crate::verdict::Outcome;

/// What to run and how.
#[derive(Clone, Debug)]
pub struct Request {
    /// The scenario, scaled and checked.
    pub scenario: Scenario,
    /// Root seed.
    pub seed: u64,
    /// Which servers.
    pub testbed: TestbedOptions,
    /// Read every byte of the destination back.
    pub verify_full: bool,
    /// What cannot be told is a failure.
    pub strict: bool,
    /// Where evidence goes beside the result; `None`: nowhere.
    pub out: Option<PathBuf>,
    /// Where metrics are; `None`: the default address or any free one.
    pub metrics: Option<SocketAddr>,
    /// How long metrics stay after the end.
    pub linger: Duration,
    /// How progress is shown.
    pub progress: ProgressMode,
}

/// A name for a run: sortable by time, unique on a machine.
pub fn new_run_id() -> String {
    let now = SystemTime::now();
    let text: String =
        humantime::format_rfc3339_seconds(now).to_string().chars().filter(char::is_ascii_digit).collect();
    let nanos = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let unique = Seed::root(nanos as u64).child([std::process::id().to_be_bytes()]).draw();
    format!("{}-{}-{}", &text[..8], &text[8..], &digest::hex(&unique.to_be_bytes())[..4])
}

/// Runs. Errors of the environment and interruptions are outcomes of the result, not of this function.
pub async fn run(request: &Request, run_id: &str, interrupt: &CancelToken) -> RunResult {
    let run = Run::new(request, run_id, interrupt);
    match run.phases().await {
        Ok(result) => result,
        Err(Stop::Interrupted) => run.result(None, &Evidence::default(), None, &[]),
        Err(Stop::Environment(error)) => run.error(error),
    }
}

/// The result of a run that could not begin.
pub fn not_run(request: &Request, run_id: &str, problem: String) -> RunResult {
    Run::new(request, run_id, &CancelToken::new()).error(problem)
}

/// Why there is nothing to judge.
enum Stop {
    /// A person stopped it before anything was copied.
    Interrupted,
    /// Something could not be started or reached.
    Environment(String),
}

impl<E: std::error::Error> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Environment(crate::causes(&error))
    }
}

struct Run<'a> {
    request: &'a Request,
    run_id: &'a str,
    interrupt: &'a CancelToken,
    plan: Arc<Plan>,
    board: Arc<Board>,
    telemetry: Arc<Telemetry>,
    started: SystemTime,
}

/// What was gathered after the transfers.
#[derive(Default)]
struct Evidence {
    journals: BTreeMap<String, Traffic>,
    counters: BTreeMap<&'static str, ProxyCounters>,
    events: Vec<EventRecord>,
    missing: BTreeMap<String, String>,
    cpu_share: f64,
    peak_memory: Option<u64>,
    testbed: String,
}

impl Evidence {
    /// Something could not be read; the result names it with the reason.
    fn lacks(&mut self, what: &str, reason: String) {
        self.missing.insert(what.to_owned(), reason);
    }
}

impl<'a> Run<'a> {
    fn new(request: &'a Request, run_id: &'a str, interrupt: &'a CancelToken) -> Self {
        Self {
            request,
            run_id,
            interrupt,
            plan: Arc::new(Plan::draw(&request.scenario, request.seed)),
            board: Arc::default(),
            telemetry: Arc::default(),
            started: SystemTime::now(),
        }
    }

    fn error(&self, problem: String) -> RunResult {
        let mut result = self.result(None, &Evidence::default(), None, &[]);
        (result.outcome, result.exit_code) = (Outcome::Error, Outcome::Error.exit_code());
        result.criteria.clear();
        result.reasons = vec![problem];
        result
    }

    async fn phases(&self) -> Result<RunResult, Stop> {
        let metrics = self.serve_metrics().await?;
        let progress = self.show_progress();
        let mut bed = self.start_testbed().await?;
        let result = self.phases_on(&mut bed).await;
        bed.remove_proxies().await;
        drop(progress);
        if result.is_ok() && !self.request.linger.is_zero() {
            eprintln!("metrics stay at {} for {:?}", metrics.url(), self.request.linger);
            let _ = self.unless_interrupted(tokio::time::sleep(self.request.linger)).await;
        }
        result
    }

    async fn phases_on(&self, bed: &mut Testbed) -> Result<RunResult, Stop> {
        self.prepare(bed).await?;
        self.board.enter(Phase::Copying);
        let cpu_before = process::cpu_time();
        let driven = self.copy(bed).await?;
        let cpu = process::cpu_time().saturating_sub(cpu_before);
        let capacity = driven.wall.as_secs_f64() * cpus() as f64;
        let peak_memory = process::peak_resident_bytes();
        self.board.enter(Phase::Gathering);
        let mut evidence = self.gather(bed).await;
        evidence.cpu_share = if capacity > 0.0 { cpu.as_secs_f64() / capacity } else { 0.0 };
        evidence.peak_memory = peak_memory;
        self.board.enter(Phase::Verifying);
        let replica = self.verify(bed, &driven).await;
        self.board.enter(Phase::Done);
        Ok(self.result(Some(&driven), &evidence, replica, &self.board.remarks()))
    }

    async fn serve_metrics(&self) -> Result<MetricsServer, Stop> {
        let subject = Arc::new(Subject {
            scenario: self.request.scenario.file.name.clone(),
            scale: self.request.scenario.scale.clone(),
            run_id: self.run_id.to_owned(),
            plan_hash: self.plan.plan_hash.to_string(),
            images: self.plan.operations.len() as u64,
            board: Arc::clone(&self.board),
            telemetry: Arc::clone(&self.telemetry),
        });
        let server = MetricsServer::start(self.request.metrics, subject).await.map_err(|error| {
            let address = self.request.metrics.map_or_else(String::new, |address| address.to_string());
            Stop::Environment(format!(
                "cannot serve metrics at {address}: {error}; choose another --metrics address"
            ))
        })?;
        let mut ready = ReadyLine::new("loadgen", env!("CARGO_PKG_VERSION"));
        ready.metrics = Some(server.url());
        eprintln!("{}", serde_json::to_string(&ready).expect("a ready line is text"));
        Ok(server)
    }

    fn show_progress(&self) -> Progress {
        let once = !self.request.scenario.file.repeat;
        let goal = Goal {
            images: once.then_some(self.plan.operations.len() as u64),
            bytes: once.then(|| self.plan.bytes()),
        };
        Progress::start(self.request.progress, Arc::clone(&self.board), Arc::clone(&self.telemetry), goal)
    }

    async fn start_testbed(&self) -> Result<Testbed, Stop> {
        let options = &self.request.testbed;
        let start = Testbed::start(options, &self.request.scenario, &self.plan, self.run_id);
        match self.unless_interrupted(start).await {
            Ok(started) => Ok(started?),
            Err(stop) => {
                // A start that was cut off may have made proxies already.
                let removal = Testbed::remove_left_overs(options, self.run_id);
                let _ = tokio::time::timeout(LAST_WORDS, removal).await;
                Err(stop)
            }
        }
    }

    async fn prepare(&self, bed: &mut Testbed) -> Result<(), Stop> {
        self.board.enter(Phase::Preparing);
        self.unless_interrupted(bed.load_corpus(&self.plan)).await??;
        let ready = async {
            while !bed.is_ready().await {
                tokio::time::sleep(READY_POLL).await;
            }
        };
        self.unless_interrupted(ready).await?;
        Ok(bed.start_timeline().await?)
    }

    async fn copy(&self, bed: &Testbed) -> Result<Driven, Stop> {
        let file = &self.request.scenario.file;
        let through = |side| bed.party(side).through.parse::<Endpoint>();
        let (source, dest) = (through(Side::Source)?, through(Side::Dest)?);
        let config = ReplicatorConfig::of(&file.replicator, self.plan.seed);
        let replicator = Replicator::new(config, source, dest, Arc::clone(&self.telemetry));
        // The drive has a switch of its own, which the end of the time throws as well.
        let stop = CancelToken::new();
        let forward = {
            let (interrupt, stop) = (self.interrupt.clone(), stop.clone());
            tokio::spawn(async move {
                interrupt.cancelled().await;
                stop.cancel();
            })
        };
        let driven = drive::drive(file, &self.plan, bed, self.run_id, replicator, &self.board, &stop).await;
        forward.abort();
        Ok(driven)
    }

    /// Reads journals, counters and events. What cannot be read is named, never guessed. Bounded in time when a
    /// person waits for the end.
    async fn gather(&self, bed: &Testbed) -> Evidence {
        let mut evidence = Evidence { testbed: bed.description.clone(), ..Evidence::default() };
        let gathering = self.gather_into(bed, &mut evidence);
        if self.interrupt.is_cancelled() {
            if tokio::time::timeout(LAST_WORDS, gathering).await.is_err() {
                evidence.lacks("evidence", "interrupted while it was read".to_owned());
            }
        } else {
            gathering.await;
        }
        evidence
    }

    async fn gather_into(&self, bed: &Testbed, evidence: &mut Evidence) {
        match bed.events(&self.request.scenario.file.timeline).await {
            Ok(events) => evidence.events = events,
            Err(error) => evidence.lacks("events", crate::causes(&error)),
        }
        for side in Side::BOTH {
            match bed.proxy_counters(side).await {
                Ok(counters) => evidence.counters.extend(counters.map(|counters| (side.as_str(), counters))),
                Err(error) => evidence.lacks(&format!("{side} faults"), crate::causes(&error)),
            }
        }
        match bed.ledger().await {
            Ok(ledger) if !ledger.is_empty() => self.keep("ledger.ndjson", &ledger),
            Ok(_) => {}
            Err(error) => evidence.lacks("ledger", crate::causes(&error)),
        }
        // A stalled connection is still open at the registry, and a request is journalled when it has ended.
        bed.remove_proxies().await;
        bed.settle().await;
        for side in Side::BOTH {
            match self.journal(bed, side).await {
                Ok(traffic) => evidence.journals.extend([(side.to_string(), traffic)]),
                Err(reason) => evidence.lacks(&format!("{side} journal"), reason),
            }
        }
    }

    async fn journal(&self, bed: &Testbed, side: Side) -> Result<Traffic, String> {
        let admin = bed.party(side).admin.as_ref().ok_or("the registry has no journal that could be read")?;
        let after = bed.journal_start(side);
        let path = format!("/journal?since={after}");
        let text = admin.call(Method::GET, &path, Bytes::new()).await.map_err(|e| crate::causes(&e))?;
        self.keep(&format!("journal-{}.ndjson", side.as_str()), &text);
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let lost = |gap: Gap| {
            format!("{} lines after line {} were lost to the journal's bound", gap.missing, gap.after)
        };
        let mut records = Vec::new();
        for line in lines {
            match serde_json::from_slice(line).map_err(|error| format!("unexpected journal line: {error}"))? {
                Entry::Record(record) => records.push(*record),
                Entry::Gap { gap } => return Err(lost(gap)),
            }
        }
        Traffic::of(&records, after).map_err(lost)
    }

    /// Reads the destination back, past the proxy. `None` when a person stopped the run.
    async fn verify(&self, bed: &Testbed, driven: &Driven) -> Option<result::Replica> {
        let direct = |side| bed.party(side).direct.parse().ok();
        let check = ReplicaCheck {
            source: direct(Side::Source)?,
            dest: direct(Side::Dest)?,
            full: self.request.verify_full,
            seed: self.plan.seed,
        };
        check.run(&driven.copied, self.interrupt).await.ok()
    }

    /// Keeps evidence beside the result. A disk that is full shows when the result itself is written.
    fn keep(&self, name: &str, bytes: &[u8]) {
        let Some(out) = &self.request.out else { return };
        let written = std::fs::create_dir_all(out).and_then(|()| std::fs::write(out.join(name), bytes));
        if let Err(error) = written {
            self.board.remark(format!("{name} could not be kept: {error}"));
        }
    }

    async fn unless_interrupted<T>(&self, work: impl Future<Output = T>) -> Result<T, Stop> {
        tokio::select! {
            biased;
            () = self.interrupt.cancelled() => Err(Stop::Interrupted),
            done = work => Ok(done),
        }
    }
}

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// How often a source that prepares digests is asked whether it is done.
const READY_POLL: Duration = Duration::from_millis(100);
/// What may still be read or removed after an interruption; the whole stop has to fit into two seconds.
const LAST_WORDS: Duration = Duration::from_millis(800);
