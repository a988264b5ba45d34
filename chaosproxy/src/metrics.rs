//! Prometheus exposition: Toxiproxy's two byte counters under their names, and ours.

use std::sync::atomic::Ordering::Relaxed;

use chaosproxy_path::Stream;
use prometheus::core::Collector;
use prometheus::{Encoder, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

use crate::proxies::Proxies;
use crate::toxic::stream_name;

/// All metrics as text. Counts live in the proxies; a registry is filled from them for each scrape, so a deleted
/// proxy leaves no series behind.
pub(crate) async fn expose(proxies: &Proxies) -> String {
    let registry = Registry::new();
    traffic(&registry, proxies).await;
    connections(&registry, proxies).await;
    process(&registry);
    let mut text = Vec::new();
    let encoded = TextEncoder::new().encode(&registry.gather(), &mut text);
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
    let open = IntGaugeVec::new(Opts::new("chaosproxy_open_connections", "Connections open now"), &["proxy"]);
    let open = open.expect("the name and label are valid");
    for proxy in proxies.all().await {
        let (name, counters) = (&*proxy.live.name, &proxy.live.counters);
        for (outcome, count) in counters.outcomes() {
            ended.with_label_values(&[outcome.name(), name]).inc_by(count);
        }
        for (kind, count) in counters.snapshot("").faults {
            faults.with_label_values(&[kind.as_str(), name]).inc_by(count);
        }
        open.with_label_values(&[name]).set(gauge(counters.open.load(Relaxed)));
    }
    register(registry, ended);
    register(registry, faults);
    register(registry, open);
}

fn process(registry: &Registry) {
    let info = Opts::new("chaosproxy_build_info", "Always 1; the version is in the label");
    let info = IntGaugeVec::new(info, &["version"]).expect("the name and label are valid");
    info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    register(registry, info);
    if let Some(bytes) = stormyard_process::resident_bytes() {
        let resident = IntGauge::new("process_resident_memory_bytes", "Resident memory size in bytes");
        let resident = resident.expect("the name is valid");
        resident.set(gauge(bytes));
        register(registry, resident);
    }
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
