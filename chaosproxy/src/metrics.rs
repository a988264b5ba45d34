//! Prometheus exposition: Toxiproxy's two byte counters under their names, and ours; and where they are asked for,
//! the few figures of the process that scripts written for Toxiproxy look for under the names of Go's runtime.

use std::sync::atomic::Ordering::Relaxed;

use chaosproxy_path::{Protocol, Stream};
use prometheus::core::Collector;
use prometheus::proto::{self, MetricFamily};
use prometheus::{Encoder, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder};

use crate::histogram::Histogram;
use crate::proxies::Proxies;
use crate::server::Core;
use crate::toxic::stream_name;

/// All metrics as text. Counts live in the proxies; a registry is filled from them for each scrape, so a deleted
/// proxy leaves no series behind.
pub(crate) async fn expose(core: &Core) -> String {
    let registry = Registry::new();
    traffic(&registry, &core.proxies).await;
    connections(&registry, &core.proxies).await;
    process(&registry);
    if core.runtime_metrics {
        runtime(&registry);
    }
    let mut families = registry.gather();
    families.extend(ages(&core.proxies).await);
    families.extend(strikes(&core.proxies).await);
    let mut text = Vec::new();
    let encoded = TextEncoder::new().encode(&families, &mut text);
    encoded.expect("every family has a metric, and a vector takes all that is written");
    String::from_utf8(text).expect("names and labels are UTF-8")
}

async fn traffic(registry: &Registry, proxies: &Proxies) {
    let labels = ["direction", "listener", "proxy", "upstream"];
    let received =
        counter("toxiproxy_proxy_received_bytes_total", "Bytes read from clients and servers", &labels);
    let sent = counter("toxiproxy_proxy_sent_bytes_total", "Bytes written to servers and clients", &labels);
    for proxy in proxies.all().await {
        let view = proxy.view().await;
        for stream in [Stream::Upstream, Stream::Downstream] {
            let values = [stream_name(stream), &view.listen, &view.name, &view.upstream];
            received.with_label_values(&values).inc_by(proxy.live.counters.received_bytes(stream));
            sent.with_label_values(&values).inc_by(proxy.live.counters.sent_bytes(stream));
        }
    }
    register(registry, received);
    register(registry, sent);
}

async fn connections(registry: &Registry, proxies: &Proxies) {
    let ended =
        counter("chaosproxy_connections_total", "Connections that ended, by how", &["outcome", "proxy"]);
    let faults = counter("chaosproxy_faults_total", "Connections that a fault struck", &["kind", "proxy"]);
    let datagrams =
        counter("chaosproxy_datagrams_total", "Datagrams forwarded, by direction", &["direction", "proxy"]);
    let dropped = counter(
        "chaosproxy_dropped_datagrams_total",
        "Datagrams that were dropped though no fault wanted it",
        &["proxy", "why"],
    );
    let labels = ["proxy", "stream", "toxic", "type"];
    let affected =
        counter("chaosproxy_toxic_connections_total", "Connections that a toxic affected", &labels);
    let struck = counter(
        "chaosproxy_toxic_strikes_total",
        "Connections that a toxic ended or stalled for good",
        &labels,
    );
    let open = IntGaugeVec::new(Opts::new("chaosproxy_open_connections", "Connections open now"), &["proxy"]);
    let open = open.expect("the name and label are valid");
    for proxy in proxies.all().await {
        let (name, counters) = (&*proxy.live.name, &proxy.live.counters);
        for (outcome, count) in counters.outcomes() {
            ended.with_label_values(&[outcome.name(), name]).inc_by(count);
        }
        let counts = counters.snapshot("");
        for (kind, count) in counts.faults {
            faults.with_label_values(&[kind.as_str(), name]).inc_by(count);
        }
        for (why, count) in counts.dropped {
            dropped.with_label_values(&[name, why.as_str()]).inc_by(count);
        }
        if proxy.protocol() == Protocol::Udp {
            let both = [("upstream", counts.datagrams_upstream), ("downstream", counts.datagrams_downstream)];
            for (stream, count) in both {
                datagrams.with_label_values(&[stream, name]).inc_by(count);
            }
        }
        for (toxic, counts) in counters.toxics() {
            let values = [name, stream_name(toxic.stream), &toxic.name, toxic.kind];
            affected.with_label_values(&values).inc_by(counts.affected);
            struck.with_label_values(&values).inc_by(counts.strikes.count());
        }
        open.with_label_values(&[name]).set(gauge(counters.open.load(Relaxed)));
    }
    register(registry, ended);
    register(registry, dropped);
    register(registry, datagrams);
    register(registry, faults);
    register(registry, affected);
    register(registry, struck);
    register(registry, open);
}

/// How long connections lasted that have ended, a classic histogram for each proxy; `None` without proxies.
async fn ages(proxies: &Proxies) -> Option<MetricFamily> {
    let all = proxies.all().await;
    let metrics = all.iter().map(|proxy| {
        // Milliseconds, shown in seconds.
        histogram(&[("proxy", &proxy.live.name)], &proxy.live.counters.ages(), 1e3)
    });
    histograms(
        "chaosproxy_connection_duration_seconds",
        "From the acceptance of a connection to its end",
        metrics.collect(),
    )
}

/// How many bytes had passed toxics when they struck, as in the ledger; a classic histogram for each that has; `None`
/// while none has.
async fn strikes(proxies: &Proxies) -> Option<MetricFamily> {
    let mut metrics = Vec::new();
    for proxy in proxies.all().await {
        let toxics = proxy.live.counters.toxics();
        // Most toxics never strike, and a dozen lines for each of them would say nothing.
        metrics.extend(toxics.iter().filter(|(_, counts)| counts.strikes.count() > 0).map(
            |(toxic, counts)| {
                let labels = [
                    ("proxy", &*proxy.live.name),
                    ("stream", stream_name(toxic.stream)),
                    ("toxic", &*toxic.name),
                    ("type", toxic.kind),
                ];
                histogram(&labels, &counts.strikes, 1.0)
            },
        ));
    }
    histograms(
        "chaosproxy_toxic_strike_bytes",
        "Bytes that had passed a toxic when it struck; of one that strikes single datagrams, their sizes",
        metrics,
    )
}

/// A family of histograms; `None` without any, which the encoder refuses.
fn histograms(name: &str, help: &str, metrics: Vec<proto::Metric>) -> Option<MetricFamily> {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(proto::MetricType::HISTOGRAM);
    let is_empty = metrics.is_empty();
    family.set_metric(metrics);
    (!is_empty).then_some(family)
}

/// One of them, whose values are shown in units of so many.
fn histogram<const BOUNDS: usize>(
    labels: &[(&str, &str)],
    values: &Histogram<BOUNDS>,
    unit: f64,
) -> proto::Metric {
    let mut histogram = proto::Histogram::default();
    histogram.set_sample_count(values.count());
    histogram.set_sample_sum(values.sum() as f64 / unit);
    let bucket = |(bound, count): (u64, u64)| {
        let mut bucket = proto::Bucket::default();
        bucket.set_upper_bound(bound as f64 / unit);
        bucket.set_cumulative_count(count);
        bucket
    };
    histogram.set_bucket(values.cumulative().map(bucket).collect());
    let label = |(name, value): &(&str, &str)| {
        let mut label = proto::LabelPair::default();
        label.set_name((*name).to_owned());
        label.set_value((*value).to_owned());
        label
    };
    let mut metric = proto::Metric::default();
    metric.set_label(labels.iter().map(label).collect());
    metric.set_histogram(histogram);
    metric
}

fn process(registry: &Registry) {
    one(
        registry,
        "chaosproxy_build_info",
        "Always 1; the version is in the label",
        &[("version", env!("CARGO_PKG_VERSION"))],
        1,
    );
    if let Some(bytes) = stormyard_process::resident_bytes() {
        one(registry, "process_resident_memory_bytes", "Resident memory size in bytes", &[], bytes);
    }
}

/// This is no Go program; the names are those that scripts written for Toxiproxy look for, the figures our own.
fn runtime(registry: &Registry) {
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks() as u64;
    one(registry, "go_goroutines", "Tasks of the runtime that are alive, in place of goroutines", &[], tasks);
    one(registry, "go_info", "Always 1; this is no Go program", &[("version", "none")], 1);
    let build = [("checksum", ""), ("path", "chaosproxy"), ("version", env!("CARGO_PKG_VERSION"))];
    one(registry, "go_build_info", "Always 1; the program, which is no Go program", &build, 1);
    if let Some(threads) = stormyard_process::threads() {
        one(registry, "go_threads", "Threads of the process", &[], threads);
    }
    if let Some(bytes) = stormyard_process::virtual_bytes() {
        one(registry, "process_virtual_memory_bytes", "Virtual memory size in bytes", &[], bytes);
    }
    if let Ok(descriptors) = std::fs::read_dir("/proc/self/fd") {
        let count = descriptors.count() as u64;
        one(registry, "process_open_fds", "Number of open file descriptors", &[], count);
    }
}

/// Registers a family of one gauge.
fn one(registry: &Registry, name: &str, help: &str, labels: &[(&str, &str)], value: u64) {
    let (names, values): (Vec<_>, Vec<_>) = labels.iter().copied().unzip();
    let family = IntGaugeVec::new(Opts::new(name, help), &names).expect("names and labels here are valid");
    family.with_label_values(&values).set(gauge(value));
    register(registry, family);
}

fn counter(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, help), labels).expect("names and labels here are valid")
}

fn register(registry: &Registry, collector: impl Collector + 'static) {
    registry.register(Box::new(collector)).expect("each family is registered once");
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
