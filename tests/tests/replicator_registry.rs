//! The replicator between two of our own registries: what it did is read from their journals.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::collections::BTreeMap;
use std::sync::Arc;

use loadgen::cancel::CancelToken;
use loadgen::evidence::replica::ReplicaCheck;
use loadgen::replicator::{ImageJob, Replicator, ReplicatorConfig, Telemetry};
use mockreg::Registry;
use mockreg_proto::document;
use mockreg_proto::journal::{Check, Kind, Record};
use mockreg_synth::catalogue::Catalogue;

/// Six tags that share their two leading layers; each has one of its own.
const CATALOGUE: &str = "
schema_version: 1
seed: 42
repositories:
  - name: library/app
    tags: [v1, v2, v3, v4, v5, v6]
    layers: [3MB, 2MB, 1MB]
";

struct Bed {
    source: Registry,
    dest: Registry,
    replicator: Replicator,
    telemetry: Arc<Telemetry>,
}

fn bed(config: ReplicatorConfig) -> Bed {
    let catalogue: Catalogue = document::read("catalogue", CATALOGUE).unwrap();
    let source = Registry::builder().name("source").catalogue(catalogue).start().unwrap();
    let dest = Registry::builder().name("dest").start().unwrap();
    let telemetry = Arc::new(Telemetry::new());
    let (from, to) = (source.url().parse().unwrap(), dest.url().parse().unwrap());
    let replicator = Replicator::new(config, from, to, telemetry.clone());
    Bed { source, dest, replicator, telemetry }
}

fn job(repository: &str, tag: &str) -> ImageJob {
    ImageJob {
        source_repository: repository.into(),
        source_tag: tag.into(),
        dest_repository: format!("run-1/{repository}"),
        dest_tag: tag.into(),
    }
}

/// How often each blob was asked for by `method`, with how many body bytes in all.
fn blobs(journal: &[Record], method: &str) -> BTreeMap<String, (usize, u64)> {
    let mut counts = BTreeMap::new();
    for record in journal.iter().filter(|record| record.kind == Kind::Blob && record.method == method) {
        let entry: &mut (usize, u64) = counts.entry(record.reference.clone()).or_default();
        *entry = (entry.0 + 1, entry.1 + record.bytes_out);
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_blob_crosses_once_and_the_replica_is_exact() {
    let bed = bed(ReplicatorConfig { chunk: 1_500_000, ..ReplicatorConfig::default() });
    let jobs: Vec<ImageJob> = (1..=6).map(|n| job("library/app", &format!("v{n}"))).collect();
    let copies: Vec<_> = jobs
        .iter()
        .cloned()
        .map(|job| {
            let replicator = bed.replicator.clone();
            tokio::spawn(async move { replicator.copy(&job, &CancelToken::new()).await.unwrap() })
        })
        .collect();
    let (mut payload, mut reused) = (0, 0);
    for copy in copies {
        let report = copy.await.unwrap();
        assert_eq!(report.retries, 0);
        payload += report.bytes_payload;
        reused += report.bytes_reused;
    }

    // Two shared layers, six own ones, six configurations.
    let source = bed.source.journal();
    let pulled = blobs(&source, "GET");
    assert_eq!(pulled.len(), 14, "{pulled:?}");
    assert!(pulled.values().all(|(count, _)| *count == 1), "{pulled:?}");
    assert!(source.iter().all(|record| record.end == "complete"), "{source:?}");
    let pulled_bytes: u64 = pulled.values().map(|(_, bytes)| bytes).sum();
    assert_eq!(reused, 5 * 5_000_000);
    let manifests: u64 =
        source.iter().filter(|record| record.kind == Kind::Manifest).map(|record| record.bytes_out).sum();
    assert_eq!(payload, pulled_bytes + manifests);
    assert_eq!(bed.telemetry.payload_bytes(), payload);

    let dest = bed.dest.journal();
    assert!(blobs(&dest, "HEAD").values().all(|(count, _)| *count == 1));
    let received: u64 = dest.iter().map(|record| record.bytes_in).sum();
    assert_eq!(received, payload, "no byte is sent twice");
    let compared = dest.iter().filter(|record| record.check == Some(Check::Compare)).count();
    assert!(compared >= 8, "layers are recognised while they arrive: {compared}");
    let last = dest.iter().filter(|record| record.method == "PUT" && record.kind == Kind::Manifest).count();
    assert_eq!(last, 6);

    let check = ReplicaCheck {
        source: bed.source.url().parse().unwrap(),
        dest: bed.dest.url().parse().unwrap(),
        full: true,
        seed: 1,
    };
    let replica = check.run(&jobs, &CancelToken::new()).await.unwrap();
    assert_eq!((replica.expected, replica.exact), (6, 6), "{:?}", replica.problems);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_image_is_sampled_and_a_small_one_of_any_kind_arrives() {
    let bed = bed(ReplicatorConfig::default());
    let jobs = [job("synth/80mib", "v1"), job("synth/1mib-tar", "v1"), job("synth/2mib-x3-c1", "v1")];
    for job in &jobs {
        bed.replicator.copy(job, &CancelToken::new()).await.unwrap();
    }
    let check = ReplicaCheck {
        source: bed.source.url().parse().unwrap(),
        dest: bed.dest.url().parse().unwrap(),
        full: false,
        seed: 1,
    };
    let replica = check.run(&jobs, &CancelToken::new()).await.unwrap();
    assert_eq!((replica.exact, replica.exact_sampled.count), (2, 1), "{:?}", replica.problems);
    assert!(replica.exact_sampled.share >= 0.05);
}
