//! Counters of one server, for `/metrics` (Prometheus text 0.0.4) and `/counters`. Labels are few and bounded:
//! never a repository, tag or digest.

use std::sync::{Mutex, MutexGuard};

use http::Method;
use mockreg_proto::journal::Kind;
use prometheus::core::Collector;
use prometheus::{
    Encoder as _, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tally::Tallied;

/// From an index lookup to a 5 GiB layer over a slow link, in seconds.
const DURATION_BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0, 60.0, 300.0];

/// All instruments of one server.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    duration: Histogram,
    pub(crate) bytes_in: IntCounter,
    pub(crate) bytes_out: IntCounter,
    pub(crate) connections: IntCounter,
    pub(crate) open_connections: IntGauge,
    pub(crate) tls_hellos: IntCounter,
    pub(crate) tls_failures: IntCounter,
    pub(crate) blobs_served: IntCounter,
    pub(crate) tokens: IntCounter,
    stored_bytes: IntGauge,
    spilled_bytes: IntGauge,
    recipes: IntGauge,
    uploads_open: IntGauge,
    unique_pulled: IntGauge,
    unique_pushed: IntGauge,
    duplicate_bytes: IntGauge,
    in_flight_peak: IntGauge,
    resident: IntGauge,
    /// What was counted before the last reset.
    base: Mutex<Totals>,
}

/// What has been counted since the last reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Totals {
    /// Requests that have ended.
    pub requests: u64,
    /// Connections accepted.
    pub connections: u64,
    /// Body bytes received.
    pub bytes_in: u64,
    /// Body bytes handed to sockets.
    pub bytes_out: u64,
    /// Blob downloads, whole or ranges, sent to the end.
    pub blobs_served: u64,
    /// Tokens that the token service gave.
    pub tokens: u64,
    /// Connections that spoke TLS to the plain port.
    pub tls_hellos: u64,
}

/// What is held at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Levels {
    /// Bytes of pushed content in memory.
    pub stored_bytes: u64,
    /// Bytes of pushed content on disk.
    pub spilled_bytes: u64,
    /// Pushed layers kept as recipes.
    pub recipes: u64,
    /// Pushed blobs, recipes among them.
    pub blobs_stored: u64,
    /// Upload sessions open.
    pub uploads_open: u64,
}

impl Metrics {
    /// All instruments at zero.
    pub(crate) fn new() -> Self {
        let registry = Registry::new();
        let bytes = add(
            &registry,
            IntCounterVec::new(Opts::new("mockreg_bytes_total", "Body bytes"), &["direction"]),
        );
        let build = add(
            &registry,
            IntGaugeVec::new(
                Opts::new("mockreg_build_info", "Version of this program, always 1"),
                &["version"],
            ),
        );
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let counter = |name: &str, help: &str| add(&registry, IntCounter::new(name, help));
        let gauge = |name: &str, help: &str| add(&registry, IntGauge::new(name, help));
        Self {
            requests: add(
                &registry,
                IntCounterVec::new(
                    Opts::new("mockreg_requests_total", "Requests that have ended"),
                    &["method", "kind", "status"],
                ),
            ),
            duration: add(
                &registry,
                Histogram::with_opts(
                    HistogramOpts::new(
                        "mockreg_request_duration_seconds",
                        "From a request's arrival to the last byte of its answer",
                    )
                    .buckets(DURATION_BUCKETS.to_vec()),
                ),
            ),
            bytes_in: bytes.with_label_values(&["in"]),
            bytes_out: bytes.with_label_values(&["out"]),
            connections: counter("mockreg_connections_total", "Connections accepted"),
            open_connections: gauge("mockreg_open_connections", "Connections open now"),
            tls_failures: counter("mockreg_tls_failures_total", "TLS handshakes that failed"),
            tls_hellos: counter("mockreg_tls_hellos_total", "Connections that spoke TLS to the plain port"),
            tokens: counter("mockreg_tokens_total", "Tokens given out"),
            blobs_served: counter(
                "mockreg_blobs_served_total",
                "Blob downloads, whole or ranges, sent to the end",
            ),
            stored_bytes: gauge("mockreg_stored_bytes", "Bytes of pushed content in memory"),
            spilled_bytes: gauge("mockreg_spilled_bytes", "Bytes of pushed content on disk"),
            recipes: gauge("mockreg_recipes", "Pushed layers kept as recipes"),
            uploads_open: gauge("mockreg_uploads_open", "Upload sessions open now"),
            unique_pulled: gauge(
                "mockreg_unique_blobs_pulled",
                "Different blobs served whole or in part since the last reset",
            ),
            unique_pushed: gauge(
                "mockreg_unique_blobs_pushed",
                "Different blobs stored since the last reset",
            ),
            duplicate_bytes: gauge(
                "mockreg_duplicate_bytes",
                "Bytes of blobs that had been sent before, since the last reset",
            ),
            in_flight_peak: gauge(
                "mockreg_requests_in_flight_peak",
                "Most requests under way at once since the last reset",
            ),
            resident: gauge("process_resident_memory_bytes", "Resident memory of the process"),
            registry,
            base: Mutex::default(),
        }
    }

    /// Counts a request that has ended. `status` is 0 where no answer was sent.
    pub(crate) fn request(&self, method: &str, kind: Kind, status: u16, seconds: f64) {
        self.requests.with_label_values(&[bounded(method), kind_label(kind), &status.to_string()]).inc();
        self.duration.observe(seconds);
    }

    /// What was counted since the last [`Metrics::reset`].
    pub(crate) fn totals(&self) -> Totals {
        // The base first: what is counted meanwhile only adds.
        let base = *self.base();
        let now = self.absolute();
        Totals {
            requests: now.requests - base.requests,
            connections: now.connections - base.connections,
            bytes_in: now.bytes_in - base.bytes_in,
            bytes_out: now.bytes_out - base.bytes_out,
            blobs_served: now.blobs_served - base.blobs_served,
            tokens: now.tokens - base.tokens,
            tls_hellos: now.tls_hellos - base.tls_hellos,
        }
    }

    /// Counts from zero again in [`Metrics::totals`]; what Prometheus reads only ever grows.
    pub(crate) fn reset(&self) {
        let mut base = self.base();
        *base = self.absolute();
    }

    fn base(&self) -> MutexGuard<'_, Totals> {
        self.base.lock().expect("no holder of the totals panics")
    }

    fn absolute(&self) -> Totals {
        Totals {
            requests: self.duration.get_sample_count(),
            connections: self.connections.get(),
            bytes_in: self.bytes_in.get(),
            bytes_out: self.bytes_out.get(),
            blobs_served: self.blobs_served.get(),
            tokens: self.tokens.get(),
            tls_hellos: self.tls_hellos.get(),
        }
    }

    /// The text of `/metrics`.
    pub(crate) fn text(&self, levels: Levels, tallied: &Tallied) -> String {
        let set = |gauge: &IntGauge, value: u64| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        set(&self.stored_bytes, levels.stored_bytes);
        set(&self.spilled_bytes, levels.spilled_bytes);
        set(&self.recipes, levels.recipes);
        set(&self.uploads_open, levels.uploads_open);
        set(&self.unique_pulled, tallied.unique_blobs_pulled);
        set(&self.unique_pushed, tallied.unique_blobs_pushed);
        set(&self.duplicate_bytes, tallied.duplicate_bytes_out);
        set(&self.in_flight_peak, tallied.requests_in_flight_peak);
        set(&self.resident, stormyard_process::resident_bytes().unwrap_or(0));
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut text)
            .expect("a buffer takes everything, and the names are valid");
        String::from_utf8(text).expect("metric names, help and bounded labels are text")
    }
}

fn add<C: Collector + Clone + 'static>(registry: &Registry, instrument: prometheus::Result<C>) -> C {
    let instrument = instrument.expect("the names are valid");
    registry.register(Box::new(instrument.clone())).expect("every name is registered once");
    instrument
}

/// The method as a label: a client may invent any number of methods.
fn bounded(method: &str) -> &str {
    let known = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    if known.iter().any(|known| known.as_str() == method) { method } else { "other" }
}

fn kind_label(kind: Kind) -> &'static str {
    match kind {
        Kind::Base => "base",
        Kind::Manifest => "manifest",
        Kind::Blob => "blob",
        Kind::Upload => "upload",
        Kind::Tags => "tags",
        Kind::Catalog => "catalog",
        Kind::Token => "token",
        Kind::Referrers => "referrers",
        Kind::Other => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_every_instrument_and_no_invented_label() {
        let metrics = Metrics::new();
        metrics.request("GET", Kind::Blob, 200, 0.002);
        metrics.request("BREW", Kind::Other, 405, 0.002);
        metrics.bytes_out.inc_by(7);
        let levels =
            Levels { stored_bytes: 5, spilled_bytes: 6, recipes: 3, blobs_stored: 4, uploads_open: 1 };
        let text = metrics.text(levels, &Tallied { duplicate_bytes_out: 9, ..Tallied::default() });
        for line in [
            r#"mockreg_requests_total{kind="blob",method="GET",status="200"} 1"#,
            r#"mockreg_requests_total{kind="other",method="other",status="405"} 1"#,
            r#"mockreg_bytes_total{direction="out"} 7"#,
            "mockreg_stored_bytes 5",
            "mockreg_recipes 3",
            "mockreg_uploads_open 1",
            "mockreg_duplicate_bytes 9",
            "mockreg_request_duration_seconds_count 2",
            "mockreg_open_connections 0",
        ] {
            assert!(text.lines().any(|given| given == line), "{line} is missing in\n{text}");
        }
        assert!(text.contains("mockreg_build_info{version=\""));
        assert!(!text.contains("process_resident_memory_bytes 0\n"));
    }
}
