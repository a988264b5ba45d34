//! From what a run measured and gathered to its result.

use std::collections::BTreeMap;

use super::{Evidence, Run, cpus};
use crate::drive::Driven;
use crate::result::{self, Environment, RunResult};
use crate::scenario::Side;
use crate::testbed::ProxyCounters;
use crate::verdict::{self, Observed};

/// Figures of the transfers, as the result has them.
struct Measured {
    wall_seconds: f64,
    bytes: result::Bytes,
    throughput_mb_s: f64,
    operations: result::Operations,
    latency_ms: result::Latencies,
    memory_mb: result::Memory,
    connections: result::Connections,
}

impl Run<'_> {
    /// The result; without transfers where there were none.
    pub(super) fn result(
        &self,
        driven: Option<&Driven>,
        evidence: &Evidence,
        replica: Option<result::Replica>,
        remarks: &[String],
    ) -> RunResult {
        let file = &self.request.scenario.file;
        let measured = self.measured(driven, evidence);
        let observed = self.observed(&measured, evidence, replica.as_ref());
        let criteria = verdict::judge(&file.criteria, &observed);
        let outcome = verdict::outcome(&criteria, &observed, self.request.strict);
        RunResult {
            schema_version: 1,
            run_id: self.run_id.to_owned(),
            scenario: file.name.clone(),
            scale: self.request.scenario.scale.clone(),
            factors: self.request.scenario.factors,
            seed: self.plan.seed,
            plan_hash: self.plan.plan_hash,
            outcome,
            exit_code: outcome.exit_code(),
            reasons: reasons(remarks, &observed, evidence),
            started: humantime::format_rfc3339_seconds(self.started).to_string(),
            wall_seconds: measured.wall_seconds,
            bytes: measured.bytes,
            throughput_mb_s: measured.throughput_mb_s,
            operations: measured.operations,
            failures: self.board.failures(),
            retries: retries(evidence, self.telemetry.retries()),
            faults_injected: faults(evidence),
            latency_ms: measured.latency_ms,
            memory_mb: measured.memory_mb,
            connections: measured.connections,
            replica,
            events: evidence.events.clone(),
            criteria,
            journals: evidence.journals.clone(),
            not_estimable: not_estimable(evidence),
            environment: environment(evidence),
        }
    }

    fn measured(&self, driven: Option<&Driven>, evidence: &Evidence) -> Measured {
        let wall_seconds = driven.map_or(0.0, |driven| driven.wall.as_secs_f64());
        let payload = self.telemetry.payload_bytes();
        let totals = self.telemetry.totals();
        let opened = totals.source.connections + totals.dest.connections;
        let requests = totals.source.requests + totals.dest.requests;
        Measured {
            wall_seconds,
            bytes: self.bytes(evidence, payload),
            throughput_mb_s: if wall_seconds > 0.0 { payload as f64 / 1e6 / wall_seconds } else { 0.0 },
            operations: operations(
                driven,
                self.plan.operations.len() as u64,
                self.request.scenario.file.repeat,
            ),
            latency_ms: result::Latencies {
                service: self.telemetry.service_latency().summary(),
                response: None,
                image: self.board.image_latency().summary(),
            },
            memory_mb: result::Memory { process_peak: evidence.peak_memory.map(|bytes| bytes as f64 / 1e6) },
            connections: result::Connections {
                opened,
                requests,
                reuse: (requests > 0).then(|| 1.0 - opened as f64 / requests as f64),
            },
        }
    }

    fn observed(
        &self,
        measured: &Measured,
        evidence: &Evidence,
        replica: Option<&result::Replica>,
    ) -> Observed {
        let speed_matters =
            self.request.scenario.file.criteria.keys().any(|metric| metric.depends_on_speed());
        let seen_by_dest = evidence.journals.get(Side::Dest.as_str()).map(|traffic| traffic.bytes_in);
        let service = measured.latency_ms.service;
        let interrupted = self.interrupt.is_cancelled();
        let finished = measured.operations.ok + measured.operations.failed;
        // What a person cut off has not failed.
        let not_run = if interrupted { 0 } else { measured.operations.not_run };
        Observed {
            throughput_mb_s: measured.throughput_mb_s,
            memory_mb: measured.memory_mb.process_peak,
            operations: finished + not_run,
            failed: measured.operations.failed + not_run,
            p99_ms: (service.p99, service.count),
            connections: (measured.connections.opened, measured.connections.requests),
            replica_exact: replica.map(result::Replica::is_exact),
            missed_events: evidence.events.iter().filter(|event| event.started.is_none()).count() as u64,
            generator_limited: speed_matters && evidence.cpu_share > SATURATED,
            payload_contradicted: seen_by_dest.is_some_and(|seen| seen < measured.bytes.payload),
            interrupted,
        }
    }

    /// Bytes on the wire are the proxy's count where there is one, else the replicator's own.
    fn bytes(&self, evidence: &Evidence, payload: u64) -> result::Bytes {
        let totals = self.telemetry.totals();
        let proxy = |side: Side| evidence.counters.get(side.as_str());
        result::Bytes {
            source_wire: proxy(Side::Source).map_or(totals.source.received, |c| c.bytes_downstream),
            dest_wire: proxy(Side::Dest).map_or(totals.dest.sent, |c| c.bytes_upstream),
            payload,
            unique: payload.min(self.plan.bytes()),
            reused: self.telemetry.reused_bytes(),
        }
    }
}

fn operations(driven: Option<&Driven>, planned: u64, repeat: bool) -> result::Operations {
    let Some(driven) = driven else {
        return result::Operations { total: planned, not_run: planned, ..result::Operations::default() };
    };
    let counts = driven.counts;
    // In a plan that repeats, the end of the time cuts operations off that nobody promised.
    let not_run = if repeat { 0 } else { driven.not_begun + counts.cut_off };
    result::Operations {
        total: counts.ok + counts.failed + not_run,
        ok: counts.ok,
        failed: counts.failed,
        not_run,
    }
}

fn retries(evidence: &Evidence, self_reported: u64) -> result::Retries {
    let journals: Vec<u64> = evidence.journals.values().map(|traffic| traffic.retries).collect();
    result::Retries { from_journals: (journals.len() == 2).then(|| journals.iter().sum()), self_reported }
}

fn faults(evidence: &Evidence) -> BTreeMap<String, u64> {
    let of_side = |(side, counters): (&&str, &ProxyCounters)| {
        let named = counters.faults.iter().map(|(kind, n)| (format!("{side} {kind}"), *n));
        named.collect::<Vec<_>>()
    };
    evidence.counters.iter().flat_map(of_side).collect()
}

fn reasons(remarks: &[String], observed: &Observed, evidence: &Evidence) -> Vec<String> {
    let mut reasons = remarks.to_vec();
    if observed.missed_events > 0 {
        let missed = evidence.events.iter().filter(|event| event.started.is_none());
        let named: Vec<String> = missed.map(|event| format!("{} ({})", event.what, event.planned)).collect();
        reasons.push(format!("events that did not happen: {}", named.join(", ")));
    }
    if observed.generator_limited {
        let share = evidence.cpu_share * 100.0;
        reasons.push(format!(
            "this machine was the limit: {share:.0} % of its processors were busy with the run"
        ));
    }
    if observed.payload_contradicted {
        reasons.push(
            "the destination's journal has received fewer bytes than the replicator says it committed"
                .to_owned(),
        );
    }
    if observed.replica_exact.is_none() && !observed.interrupted {
        reasons.push("the replica was not checked".to_owned());
    }
    reasons
}

fn not_estimable(evidence: &Evidence) -> BTreeMap<String, String> {
    let closed_loop = "in a closed loop a request has no intended start of its own".to_owned();
    let mut missing = evidence.missing.clone();
    missing.insert("latency_ms.response".to_owned(), closed_loop);
    missing
}

fn environment(evidence: &Evidence) -> Environment {
    Environment {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        system: system(),
        cpus: cpus(),
        cpu_share: evidence.cpu_share,
        testbed: evidence.testbed.clone(),
    }
}

fn system() -> String {
    let name = rustix::system::uname();
    [name.sysname(), name.release(), name.machine()].map(|part| part.to_string_lossy().into_owned()).join(" ")
}

/// Above this share of all processors, rates and latencies are those of this machine.
const SATURATED: f64 = 0.95;
