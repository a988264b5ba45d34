//! The replicator through the proxy: transfers cut and stalled at seeded bytes on both sides, and outages while it
//! works. What it says of itself is compared with what the proxy did and what the registries saw.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::sync::Arc;
use std::time::Duration;

use chaosproxy::{CutAction, OutageKind, ProxyHandle, ProxySpec, Server, Toxic};
use loadgen::cancel::CancelToken;
use loadgen::evidence::replica::ReplicaCheck;
use loadgen::replicator::{ImageJob, ImageReport, Replicator, ReplicatorConfig, RetryPolicy, Telemetry};
use mockreg::Registry;
use mockreg_proto::document;
use mockreg_proto::journal::Kind;
use mockreg_synth::catalogue::Catalogue;

/// Twelve images of three layers, of which two are shared: 26 layers and configurations, 53 MB in all.
const CATALOGUE: &str = "
schema_version: 1
seed: 7
repositories:
  - name: library/app
    tags: [v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12]
    layers: [3MB, 2MB, 4MB]
";

struct Bed {
    source: Registry,
    dest: Registry,
    proxy: Server,
    source_proxy: ProxyHandle,
    dest_proxy: ProxyHandle,
    replicator: Replicator,
    telemetry: Arc<Telemetry>,
}

fn bed() -> Bed {
    let catalogue: Catalogue = document::read("catalogue", CATALOGUE).unwrap();
    let source = Registry::builder().name("source").catalogue(catalogue).start().unwrap();
    let dest = Registry::builder().name("dest").start().unwrap();
    let proxy = Server::builder().seed(1).start().unwrap();
    let source_proxy = proxy.create(ProxySpec::new("source", source.registry_addr().to_string())).unwrap();
    let dest_proxy = proxy.create(ProxySpec::new("dest", dest.registry_addr().to_string())).unwrap();
    let config = ReplicatorConfig {
        chunk: 1_000_000,
        idle_timeout: Duration::from_millis(500),
        retries: RetryPolicy {
            attempts: 100,
            base: Duration::from_millis(10),
            cap: Duration::from_millis(200),
            give_up: Duration::from_secs(30),
        },
        ..ReplicatorConfig::default()
    };
    let url = |proxy: &ProxyHandle| format!("http://{}", proxy.listen_addr()).parse().unwrap();
    let telemetry = Arc::new(Telemetry::new());
    let replicator = Replicator::new(config, url(&source_proxy), url(&dest_proxy), telemetry.clone());
    Bed { source, dest, proxy, source_proxy, dest_proxy, replicator, telemetry }
}

impl Bed {
    fn jobs() -> Vec<ImageJob> {
        let job = |n| ImageJob {
            source_repository: "library/app".into(),
            source_tag: format!("v{n}"),
            dest_repository: "run-1/app".into(),
            dest_tag: format!("v{n}"),
        };
        (1..=12).map(job).collect()
    }

    async fn copy_all(&self) -> Vec<ImageReport> {
        let copy = |job: ImageJob| {
            let replicator = self.replicator.clone();
            tokio::spawn(async move { replicator.copy(&job, &CancelToken::new()).await })
        };
        let mut reports = Vec::new();
        for copy in Self::jobs().into_iter().map(copy).collect::<Vec<_>>() {
            reports.push(copy.await.unwrap().unwrap());
        }
        reports
    }

    /// The replica is exact, every blob was committed once, and the accounts agree.
    async fn settles(&self, reports: &[ImageReport]) {
        let check = ReplicaCheck {
            source: self.source.url().parse().unwrap(),
            dest: self.dest.url().parse().unwrap(),
            full: true,
            seed: 1,
        };
        let replica = check.run(&Self::jobs(), &CancelToken::new()).await.unwrap();
        assert_eq!((replica.expected, replica.exact), (12, 12), "{:?}", replica.problems);
        let totals = self.telemetry.totals();
        let payload: u64 = reports.iter().map(|report| report.bytes_payload).sum();
        assert_eq!(self.telemetry.payload_bytes(), payload);
        assert!(payload > 53_000_000 && payload < 53_100_000, "{payload}");
        let of_images: u64 = reports.iter().map(|report| report.retries).sum();
        let stale = totals.retries.get("stale").copied().unwrap_or(0)
            + totals.retries.get("session_lost").copied().unwrap_or(0);
        assert!(of_images <= self.telemetry.retries() && of_images + stale >= self.telemetry.retries());
        assert_eq!(totals.in_flight, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_and_stalled_transfers_end_in_an_exact_replica() {
    let bed = bed();
    for proxy in [&bed.source_proxy, &bed.dest_proxy] {
        let direct = |toxic: Toxic| {
            if std::ptr::eq(proxy, &bed.source_proxy) { toxic.downstream() } else { toxic.upstream() }
        };
        proxy.add(direct(Toxic::cut(4_000_000, CutAction::Reset)).named("reset")).unwrap();
        proxy.add(direct(Toxic::cut(8_000_000, CutAction::Stall)).named("stall")).unwrap();
        proxy.add(Toxic::latency(Duration::from_millis(5), Duration::ZERO).downstream()).unwrap();
        proxy.add(Toxic::latency(Duration::from_millis(5), Duration::ZERO).upstream()).unwrap();
    }
    let reports = bed.copy_all().await;
    bed.settles(&reports).await;

    let totals = bed.telemetry.totals();
    let faults = |proxy: &ProxyHandle| -> u64 { proxy.counts().faults.values().sum() };
    let struck = faults(&bed.source_proxy) + faults(&bed.dest_proxy);
    assert!(struck >= 5, "{struck} faults");
    assert!(totals.broken_transfers >= 5, "{totals:?}");
    assert!(
        totals.retries.contains_key("reset") && totals.retries.contains_key("idle_timeout"),
        "{totals:?}"
    );
    // Broken transfers are resumed, not repeated: what is sent twice is what was in flight.
    let source = bed.source.journal();
    assert!(
        source.iter().any(|record| record.kind == Kind::Blob && record.status == 206),
        "a resumed download"
    );
    let received: u64 = bed.dest.journal().iter().map(|record| record.bytes_in).sum();
    assert!(received < 2 * 53_000_000, "{received}");
    drop(bed.proxy);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outages_are_outlasted() {
    let bed = bed();
    for proxy in [&bed.source_proxy, &bed.dest_proxy] {
        // 53 MB at 20 MB/s are 2.6 s: long enough to meet every outage.
        proxy.add(Toxic::shared_bandwidth(20_000_000).downstream()).unwrap();
        proxy.add(Toxic::shared_bandwidth(20_000_000).upstream()).unwrap();
    }
    let outages = async {
        for (side, kind) in [
            ("source", OutageKind::Down),
            ("dest", OutageKind::BlackHole),
            ("dest", OutageKind::Down),
            ("source", OutageKind::BlackHole),
        ] {
            tokio::time::sleep(Duration::from_millis(300)).await;
            bed.proxy.outage(side, kind, Some(Duration::from_millis(700))).unwrap();
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
    };
    let (reports, ()) = tokio::join!(bed.copy_all(), outages);
    bed.settles(&reports).await;
    let totals = bed.telemetry.totals();
    assert!(totals.broken_transfers >= 1, "{totals:?}");
    assert!(totals.retries.contains_key("connect"), "{totals:?}");
    assert!(totals.retries.contains_key("idle_timeout"), "{totals:?}");
}
