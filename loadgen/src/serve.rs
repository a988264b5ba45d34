//! Metrics of a running load: Prometheus text and the same figures as JSON, on a port of their own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use loadgen_stats::{Latency, LatencySummary};
use prometheus::proto::{self, MetricFamily};
use prometheus::{Encoder, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};
use serde_json::json;
use stormyard_process as process;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::board::Board;
use crate::replicator::Telemetry;

/// What the metrics are about.
pub struct Subject {
    /// Name of the scenario: the only label whose values a user chooses.
    pub scenario: String,
    /// Name of the scale.
    pub scale: String,
    /// Id of the run.
    pub run_id: String,
    /// Hash of the plan.
    pub plan_hash: String,
    /// Images of the plan.
    pub images: u64,
    /// Driver's state.
    pub board: Arc<Board>,
    /// Replicator's counters.
    pub telemetry: Arc<Telemetry>,
}

/// A listening metrics port; stops when it is dropped.
#[derive(Debug)]
pub struct MetricsServer {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl MetricsServer {
    /// Listens at `wanted`, or at [`DEFAULT_ADDRESS`] and, if that is busy, at any free port.
    ///
    /// # Errors
    /// The wanted address cannot be listened at.
    pub async fn start(wanted: Option<SocketAddr>, subject: Arc<Subject>) -> std::io::Result<Self> {
        let listener = match wanted {
            Some(address) => TcpListener::bind(address).await?,
            None => match TcpListener::bind(DEFAULT_ADDRESS).await {
                Ok(listener) => listener,
                Err(_) => TcpListener::bind(("127.0.0.1", 0)).await?,
            },
        };
        let address = listener.local_addr()?;
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/metrics/scenarios", get(scenarios))
            .route("/healthz", get(|| async { "ok\n" }))
            .with_state(subject);
        let task = tokio::spawn(async move {
            // It ends with the run; an error of one connection does not end it.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, task })
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for MetricsServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn metrics(State(subject): State<Arc<Subject>>) -> Response {
    match exposition(&subject) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn scenarios(State(subject): State<Arc<Subject>>) -> Json<serde_json::Value> {
    let view = subject.board.view();
    let telemetry = &subject.telemetry;
    let totals = telemetry.totals();
    let seconds = view.elapsed.as_secs_f64();
    let payload = telemetry.payload_bytes();
    let rate = (seconds > 0.0).then(|| payload as f64 / 1e6 / seconds);
    Json(json!({
        "schema_version": 1,
        "scenarios": [{
            "scenario": subject.scenario,
            "scale": subject.scale,
            "run_id": subject.run_id,
            "plan_hash": subject.plan_hash,
            "phase": view.phase,
            "elapsed_seconds": seconds,
            "images_planned": subject.images,
            "operations": view.counts,
            "payload_bytes": payload,
            "throughput_mb_s": rate,
            "retries": totals.retries,
            "faults": view.weather.faults,
            "active_events": view.weather.active,
            "connections_opened": totals.source.connections + totals.dest.connections,
            "requests": totals.source.requests + totals.dest.requests,
            "service_latency_ms": filled(&telemetry.service_latency()),
            "image_latency_ms": filled(&subject.board.image_latency()),
        }]
    }))
}

/// Percentiles, where there is anything to take them of.
fn filled(latency: &Latency) -> Option<LatencySummary> {
    (latency.count() > 0).then(|| latency.summary())
}

/// The text format, made anew at each scrape from the counters that the run keeps anyway.
fn exposition(subject: &Subject) -> prometheus::Result<String> {
    let registry =
        Registry::new_custom(None, Some([("scenario".to_owned(), subject.scenario.clone())].into()))?;
    let view = subject.board.view();
    let telemetry = &subject.telemetry;
    let operations =
        [("ok", view.counts.ok), ("failed", view.counts.failed), ("cut_off", view.counts.cut_off)];
    counters(&registry, "loadgen_operations_total", "Image tags copied, by outcome", "outcome", operations)?;
    let totals = telemetry.totals();
    let wire = [("source", totals.source.received), ("dest", totals.dest.sent)];
    counters(&registry, "loadgen_wire_bytes_total", "Body bytes moved, by side", "side", wire)?;
    let retries = totals.retries.iter().map(|(reason, n)| (*reason, *n));
    counters(&registry, "loadgen_retries_total", "Second and later tries, by reason", "reason", retries)?;
    let singles = [
        (
            "loadgen_payload_bytes_total",
            "Bytes committed at the destination, each once",
            telemetry.payload_bytes(),
        ),
        (
            "loadgen_reused_bytes_total",
            "Bytes that were at the destination already",
            telemetry.reused_bytes(),
        ),
        (
            "loadgen_connections_opened_total",
            "Connections opened",
            totals.source.connections + totals.dest.connections,
        ),
        ("loadgen_requests_total", "Requests made", totals.source.requests + totals.dest.requests),
    ];
    for (name, help, value) in singles {
        let counter = IntCounter::new(name, help)?;
        counter.inc_by(value);
        registry.register(Box::new(counter))?;
    }
    let gauges = [
        ("loadgen_inflight_images", "Images being copied", view.counts.running),
        ("loadgen_process_resident_memory_bytes", "Resident memory", process::resident_bytes().unwrap_or(0)),
    ];
    for (name, help, value) in gauges {
        let gauge = IntGauge::new(name, help)?;
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(Box::new(gauge))?;
    }
    let info = IntGauge::with_opts(
        Opts::new("loadgen_build_info", "Always 1").const_label("version", env!("CARGO_PKG_VERSION")),
    )?;
    info.set(1);
    registry.register(Box::new(info))?;
    let mut families = registry.gather();
    let service = telemetry.service_latency();
    families.push(histogram(
        "loadgen_service_duration_seconds",
        "Request sent to response headers",
        subject,
        &service,
    ));
    let image = subject.board.image_latency();
    families.push(histogram("loadgen_operation_duration_seconds", "One image tag copied", subject, &image));
    let mut text = Vec::new();
    TextEncoder::new().encode(&families, &mut text)?;
    String::from_utf8(text).map_err(|error| prometheus::Error::Msg(error.to_string()))
}

fn counters<'a>(
    registry: &Registry,
    name: &str,
    help: &str,
    label: &str,
    values: impl IntoIterator<Item = (&'a str, u64)>,
) -> prometheus::Result<()> {
    let counters = IntCounterVec::new(Opts::new(name, help), &[label])?;
    for (value, count) in values {
        counters.with_label_values(&[value]).inc_by(count);
    }
    registry.register(Box::new(counters))
}

/// A classic histogram out of an HDR one, which has all that its buckets need.
fn histogram(name: &str, help: &str, subject: &Subject, latency: &Latency) -> MetricFamily {
    let mut histogram = proto::Histogram::default();
    histogram.set_sample_count(latency.count());
    histogram.set_sample_sum(latency.sum_seconds());
    let bucket = |millis: &u64| {
        let mut bucket = proto::Bucket::default();
        bucket.set_upper_bound(*millis as f64 / 1e3);
        bucket.set_cumulative_count(latency.count_within(Duration::from_millis(*millis)));
        bucket
    };
    histogram.set_bucket(BUCKETS_MS.iter().map(bucket).collect());
    let mut label = proto::LabelPair::default();
    label.set_name("scenario".to_owned());
    label.set_value(subject.scenario.clone());
    let mut metric = proto::Metric::default();
    metric.set_label(vec![label]);
    metric.set_histogram(histogram);
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(proto::MetricType::HISTOGRAM);
    family.set_metric(vec![metric]);
    family
}

/// From a loopback answer to an image that outlasted an outage.
const BUCKETS_MS: [u64; 16] =
    [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000];
/// Where metrics and dashboard are unless told otherwise.
pub const DEFAULT_ADDRESS: &str = "127.0.0.1:8080";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn subject() -> Subject {
        let board = Arc::<Board>::default();
        board.image_started();
        board.image_done(Duration::from_millis(20));
        Subject {
            scenario: "smoke".to_owned(),
            scale: "ci".to_owned(),
            run_id: "r".to_owned(),
            plan_hash: "h".to_owned(),
            images: 1,
            board,
            telemetry: Arc::default(),
        }
    }

    #[test]
    fn every_family_is_described_once_and_named_by_its_unit() {
        let text = exposition(&subject()).unwrap();
        let mut names = BTreeSet::new();
        for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let (name, kind) = line.split_once(' ').unwrap();
            assert!(names.insert(name.to_owned()), "{name} stands twice");
            assert!(text.contains(&format!("# HELP {name} ")), "{name} has no help");
            assert!(name.starts_with("loadgen_"), "{name}");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
        }
        assert!(names.len() >= 10, "{names:?}");
    }

    /// One image in 20 ms: in the bucket of 25 ms and all above, in none below.
    #[test]
    fn histograms_are_cumulative() {
        let text = exposition(&subject()).unwrap();
        let bucket = |bound: &str| {
            let line =
                format!("loadgen_operation_duration_seconds_bucket{{scenario=\"smoke\",le=\"{bound}\"}} ");
            text.lines().find_map(|found| found.strip_prefix(&line)).map(str::to_owned)
        };
        assert_eq!(bucket("0.01").as_deref(), Some("0"), "{text}");
        assert_eq!(bucket("0.025").as_deref(), Some("1"), "{text}");
        assert_eq!(bucket("+Inf").as_deref(), Some("1"), "{text}");
        assert!(text.contains("loadgen_operations_total{outcome=\"ok\",scenario=\"smoke\"} 1"), "{text}");
    }
}
