//! The result as a person reads it: one page of text, from the record alone.

use std::fmt::Write as _;

use crate::result::RunResult;
use crate::verdict::{Criterion, Outcome, Verdict};

/// Whether the page is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// ANSI colours.
    Ansi,
    /// None.
    Plain,
}

/// The page.
pub fn page(result: &RunResult, colour: Colour) -> String {
    let paint = Paint(colour);
    let mut page = String::new();
    page += &heading(result, paint);
    if result.outcome == Outcome::Error {
        result.reasons.iter().for_each(|reason| page += &format!("  {reason}\n"));
        return page;
    }
    for (title, rows) in [
        ("Moved", moved(result)),
        ("Went wrong on purpose", injected(result)),
        ("What the replicator did about it", reaction(result)),
        ("Latency", latency(result)),
        ("Criteria", criteria(result, paint)),
        ("Remarks", remarks(result)),
    ] {
        if !rows.is_empty() {
            let _ = writeln!(page, "\n{}", paint.bold(title));
            rows.iter().for_each(|(name, value)| page += &row(name, value));
        }
    }
    page
}

fn heading(result: &RunResult, paint: Paint) -> String {
    let verdict = match result.outcome {
        Outcome::Pass => paint.green("PASS"),
        Outcome::Fail => paint.red("FAIL"),
        Outcome::Error => paint.red("ERROR"),
        Outcome::Invalid => paint.yellow("INVALID"),
        Outcome::Interrupted => paint.yellow("INTERRUPTED"),
    };
    let plan = result.plan_hash.hex();
    format!(
        "{}  {} · scale {} · seed {} · plan {}\n",
        verdict,
        paint.bold(&result.scenario),
        result.scale,
        result.seed,
        &plan[..12],
    )
}

type Rows = Vec<(String, String)>;

fn rows<const N: usize>(rows: [(&str, String); N]) -> Rows {
    rows.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn moved(result: &RunResult) -> Rows {
    let ops = result.operations;
    let mut images = format!("{} of {} copied", ops.ok, ops.total);
    if ops.failed > 0 {
        let _ = write!(images, ", {} failed", ops.failed);
    }
    if ops.not_run > 0 {
        let _ = write!(images, ", {} not run", ops.not_run);
    }
    let rate = format!("{:.1} MB/s over {:.1} s", result.throughput_mb_s, result.wall_seconds);
    let mut table =
        rows([("images", images), ("payload", format!("{} · {rate}", size(result.bytes.payload)))]);
    let wire = format!(
        "{} from the source, {} to the destination",
        size(result.bytes.source_wire),
        size(result.bytes.dest_wire)
    );
    table.push(("on the wire".to_owned(), wire));
    if let Some(replica) = &result.replica {
        table.push(("replica".to_owned(), replica_line(replica)));
    }
    if let Some(peak) = result.memory_mb.process_peak {
        table.push((
            "memory".to_owned(),
            format!("{peak:.0} MB at the peak, this process with all it embeds"),
        ));
    }
    table
}

/// What a replica was found to be, on one line.
pub fn replica_line(replica: &crate::result::Replica) -> String {
    let mut line = format!("{} of {} exact", replica.exact + replica.exact_sampled.count, replica.expected);
    if replica.exact_sampled.count > 0 {
        let sampled = &replica.exact_sampled;
        let _ = write!(
            line,
            " ({} by reading back {:.0} % of their bytes)",
            sampled.count,
            sampled.share * 100.0
        );
    }
    let counts = [
        (replica.mismatched, "different"),
        (replica.missing, "missing"),
        (replica.unreadable, "could not be read"),
    ];
    for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
        let _ = write!(line, ", {count} {what}");
    }
    line
}

fn injected(result: &RunResult) -> Rows {
    let faults =
        result.faults_injected.iter().map(|(kind, n)| (kind.clone(), format!("{n} connections struck")));
    let events = result.events.iter().map(|event| {
        // `source: outage partial` here is `source outage:partial` among the faults.
        let kind = event.what.replace(": outage ", " outage:");
        let idle = kind != event.what && !result.faults_injected.contains_key(&kind);
        let struck = if idle && event.started.is_some() { "; struck no connection" } else { "" };
        let span = match (event.started, event.ended) {
            (Some(start), Some(end)) => {
                format!("from {:.1} s to {:.1} s", start as f64 / 1e3, end as f64 / 1e3)
            }
            (Some(start), None) => format!("from {:.1} s to the end", start as f64 / 1e3),
            _ => "did not happen".to_owned(),
        };
        (event.what.clone(), span + struck)
    });
    events.chain(faults).collect()
}

fn reaction(result: &RunResult) -> Rows {
    let seen = match result.retries.from_journals {
        Some(n) => format!("{n} seen by the registries, {} counted by itself", result.retries.self_reported),
        None => format!("{} counted by itself (no journal)", result.retries.self_reported),
    };
    let mut table = rows([("retries", seen)]);
    for (side, traffic) in &result.journals {
        let broken = format!("{} requests cut off, {} transfers resumed", traffic.broken, traffic.resumed);
        table.push((side.clone(), broken));
    }
    let connections = &result.connections;
    if let Some(reuse) = connections.reuse {
        let line =
            format!("{} for {} requests (reuse {:.2})", connections.opened, connections.requests, reuse);
        table.push(("connections".to_owned(), line));
    }
    table
}

fn latency(result: &RunResult) -> Rows {
    let line = |s: loadgen_stats::LatencySummary| {
        format!(
            "p50 {:.0} ms · p95 {:.0} ms · p99 {:.0} ms · max {:.0} ms · n {}",
            s.p50, s.p95, s.p99, s.max, s.count
        )
    };
    let latencies =
        [("request to headers", result.latency_ms.service), ("whole image", result.latency_ms.image)];
    let filled = latencies.into_iter().filter(|(_, summary)| summary.count > 0);
    filled.map(|(name, summary)| (name.to_owned(), line(summary))).collect()
}

fn criteria(result: &RunResult, paint: Paint) -> Rows {
    result
        .criteria
        .iter()
        .map(|criterion| (criterion.name.clone(), criterion_line(criterion, paint)))
        .collect()
}

fn criterion_line(criterion: &Criterion, paint: Paint) -> String {
    let verdict = match criterion.verdict {
        Verdict::Pass => paint.green("pass"),
        Verdict::Fail => paint.red("fail"),
        Verdict::NotEstimable => paint.yellow("not estimable"),
    };
    let got = criterion.got.map_or("–".to_owned(), |got| format!("{}", (got * 1e4).round() / 1e4));
    let mut line = format!("{verdict}  {got} (wanted {})", criterion.wanted);
    if let Some(note) = &criterion.note {
        let _ = write!(line, "; {note}");
    }
    if let Some(needs) = criterion.needs {
        let _ = write!(line, "; a claim takes n = {needs}");
    }
    line
}

fn remarks(result: &RunResult) -> Rows {
    let reasons = result.reasons.iter().map(|reason| ("note".to_owned(), reason.clone()));
    let failures = result
        .failures
        .iter()
        .take(SHOWN)
        .map(|f| ("failed".to_owned(), format!("{}: {}", f.image, f.error)));
    let problems = result.replica.iter().flat_map(|replica| replica.problems.iter().take(SHOWN));
    let problems = problems.map(|problem| ("replica".to_owned(), problem.clone()));
    // Why there is no response latency stands in the record; on a page that shows none it would be noise.
    let untold = result.not_estimable.iter().filter(|(what, _)| *what != "latency_ms.response");
    let untold = untold.map(|(what, why)| (what.clone(), format!("not estimable: {why}")));
    reasons.chain(failures).chain(problems).chain(untold).collect()
}

fn row(name: &str, value: &str) -> String {
    format!("  {name:<26} {value}\n")
}

/// Decimal, three digits: `2.55 GB`.
fn size(bytes: u64) -> String {
    let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.2} {name}", bytes as f64 / unit as f64),
        None => format!("{bytes} B"),
    }
}

#[derive(Clone, Copy)]
struct Paint(Colour);

impl Paint {
    fn with(self, code: &str, text: &str) -> String {
        match self.0 {
            Colour::Ansi => format!("\x1b[{code}m{text}\x1b[0m"),
            Colour::Plain => text.to_owned(),
        }
    }
    fn bold(self, text: &str) -> String {
        self.with("1", text)
    }
    fn green(self, text: &str) -> String {
        self.with("1;32", text)
    }
    fn red(self, text: &str) -> String {
        self.with("1;31", text)
    }
    fn yellow(self, text: &str) -> String {
        self.with("1;33", text)
    }
}

/// Failures and problems on the page; the record has more.
const SHOWN: usize = 5;
