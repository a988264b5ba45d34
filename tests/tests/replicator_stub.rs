//! The replicator against registries that answer wrongly, late or not at all: one test for each way, and each shows
//! both that the copy is right in the end and how the replicator got there.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use e2e::fake_registry::FakeRegistry;
use e2e::stub::{Action, Answer, Cut, Logged, Rule, Stub, on};
use loadgen::cancel::CancelToken;
use loadgen::client::RequestError;
use loadgen::replicator::{
    CopyError, ImageJob, ImageReport, Replicator, ReplicatorConfig, RetryPolicy, Step, Telemetry, Verify,
};
use mockreg_proto::digest::Digest;

const MIB: usize = 1 << 20;

/// A source with one image of one layer, an empty destination, and a replicator between them.
struct Bed {
    source: Stub,
    dest: Stub,
    replicator: Replicator,
    telemetry: Arc<Telemetry>,
    layer: Bytes,
    manifest: Digest,
}

fn quick() -> ReplicatorConfig {
    ReplicatorConfig {
        idle_timeout: Duration::from_secs(1),
        retries: RetryPolicy {
            attempts: 6,
            base: Duration::from_millis(2),
            cap: Duration::from_millis(20),
            give_up: Duration::from_secs(10),
        },
        ..ReplicatorConfig::default()
    }
}

/// Bytes that differ everywhere, so that any shift shows.
fn content(length: usize, salt: u64) -> Bytes {
    let word = |index: u64| (index ^ salt << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    (0..length.div_ceil(8) as u64).flat_map(word).take(length).collect()
}

/// The layer of the image.
fn layer() -> Bytes {
    static LAYER: LazyLock<Bytes> = LazyLock::new(|| content(3 * MIB, 1));
    LAYER.clone()
}

async fn bed_with(source_rules: Vec<Rule>, dest_rules: Vec<Rule>, config: ReplicatorConfig) -> Bed {
    let layer = layer();
    let mut registry = FakeRegistry::new();
    let manifest = registry.add_image("src/app", "v1", std::slice::from_ref(&layer));
    let source = Stub::start(registry, source_rules).await;
    let dest = Stub::start(FakeRegistry::new(), dest_rules).await;
    let telemetry = Arc::new(Telemetry::new());
    let (from, to) = (source.url().parse().unwrap(), dest.url().parse().unwrap());
    let replicator = Replicator::new(config, from, to, telemetry.clone());
    Bed { source, dest, replicator, telemetry, layer, manifest }
}

async fn bed(source_rules: Vec<Rule>, dest_rules: Vec<Rule>) -> Bed {
    bed_with(source_rules, dest_rules, quick()).await
}

fn job(tag: &str) -> ImageJob {
    ImageJob {
        source_repository: "src/app".into(),
        source_tag: tag.into(),
        dest_repository: "dst/app".into(),
        dest_tag: tag.into(),
    }
}

impl Bed {
    async fn copy(&self) -> Result<ImageReport, CopyError> {
        self.replicator.copy(&job("v1"), &CancelToken::new()).await
    }

    /// Copies, and finds at the destination exactly what the source has.
    async fn copies(&self) -> ImageReport {
        let report = self.copy().await.unwrap();
        assert_eq!(report.manifest_digest, self.manifest);
        let dest = self.dest.registry();
        let manifest = dest.manifest("dst/app", "v1").unwrap();
        assert_eq!(Digest::of(&manifest), self.manifest);
        assert_eq!(dest.blob("dst/app", self.layer_digest()).unwrap(), self.layer);
        report
    }

    fn layer_digest(&self) -> Digest {
        Digest::of(&self.layer)
    }

    fn blob_path(&self) -> String {
        format!("/blobs/{}", self.layer_digest())
    }

    /// How often the layer was asked for, and with which `Range`.
    fn pulls(&self) -> Vec<Option<String>> {
        let range = |logged: Logged| logged.request.header("range").map(str::to_owned);
        self.source.requests("GET", &self.blob_path()).into_iter().map(range).collect()
    }

    fn retries(&self, reason: &str) -> u64 {
        self.telemetry.totals().retries.get(reason).copied().unwrap_or(0)
    }

    /// `Content-Range` of every PATCH that moved the layer, not the small configuration.
    fn patches(&self) -> Vec<String> {
        let range = |logged: Logged| logged.request.header("content-range").unwrap_or_default().to_owned();
        let last =
            |range: &String| range.split('-').next_back().and_then(|last| last.parse().ok()).unwrap_or(0);
        let layer = |range: &String| last(range) > 1000;
        self.dest.requests("PATCH", "/uploads/").into_iter().map(range).filter(layer).collect()
    }
}

fn layer_digest() -> String {
    Digest::of(&layer()).to_string()
}

fn layer_blob() -> String {
    format!("/blobs/{}", layer_digest())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_arrives_whole_and_a_second_copy_moves_nothing() {
    let bed = bed(vec![], vec![]).await;
    let first = bed.copies().await;
    let sizes: usize = 3 * MIB + bed.dest.registry().manifest("dst/app", "v1").unwrap().len();
    assert!(first.bytes_payload > sizes as u64 && first.bytes_payload < sizes as u64 + 500);
    assert_eq!((first.bytes_reused, first.retries), (0, 0));
    assert_eq!(bed.telemetry.payload_bytes(), first.bytes_payload);
    assert_eq!(bed.dest.registry().open_sessions(), 0);

    let second = bed.copies().await;
    assert_eq!((second.bytes_payload, second.bytes_reused), (0, first.bytes_payload));
    assert_eq!(bed.pulls().len(), 1);
    assert_eq!(bed.dest.requests("PUT", "/manifests/").len(), 1);
    let totals = bed.telemetry.totals();
    assert!(totals.source.received > 3 << 20 && totals.dest.sent > 3 << 20);
    assert_eq!((totals.in_flight, totals.broken_transfers), (0, 0));
    assert_eq!(bed.telemetry.service_latency().count(), totals.source.requests + totals.dest.requests);
}

/// A retry comes after what was asked for, in any form; what is no such thing is ignored. The back-off itself is below
/// 20 ms here, so anything shorter than 700 ms obeyed nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retry_after_is_obeyed_in_every_form() {
    let http_date =
        |from_now: u64| httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(from_now));
    // A date has whole seconds: 3 s from now is between 2 s and 3 s away, less what passes until it is asked.
    let forms = [
        (429, Some("1".to_owned()), 1000..2500),
        (503, Some(http_date(3)), 1000..3500),
        (500, Some("1".to_owned()), 1000..2500),
        (429, Some("0".to_owned()), 0..700),
        (429, Some(http_date(0)), 0..700),
        (503, Some("soon".to_owned()), 0..700),
        (429, Some("-7".to_owned()), 0..700),
        (429, None, 0..700),
        // Beyond all patience: one last attempt when the 4 s of `give_up` are over.
        (429, Some("99999999999999999999".to_owned()), 3950..6000),
    ];
    let mut running = Vec::new();
    for (status, value, expected) in forms {
        running.push(tokio::spawn(async move {
            let mut answer = Answer::error(status, "TOOMANYREQUESTS");
            if let Some(value) = &value {
                answer = answer.header("retry-after", value.as_str());
            }
            let mut config = quick();
            config.retries.give_up = Duration::from_secs(4);
            let rules = vec![on("GET", "/manifests/v1", Action::Answer(answer))];
            let bed = bed_with(rules, vec![], config).await;
            bed.copies().await;
            let asked = bed.source.requests("GET", "/manifests/v1");
            let gap = asked[1].at.duration_since(asked[0].at).as_millis();
            assert!(expected.contains(&gap), "{status} {value:?}: {gap} ms");
            assert_eq!(asked.len(), 2, "{status} {value:?}");
        }));
    }
    for test in running {
        test.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_passing_status_is_retried_and_counted() {
    for (status, reason) in [
        (408, "status_408"),
        (425, "status_425"),
        (429, "status_429"),
        (500, "status_5xx"),
        (502, "status_5xx"),
        (503, "status_5xx"),
        (504, "status_5xx"),
    ] {
        let answer = || Action::Answer(Answer::new(status).body("<html>trouble"));
        let source = vec![on("GET", "/manifests/v1", answer()), on("GET", layer_blob(), answer())];
        let dest = vec![
            on("HEAD", "/manifests/v1", answer()),
            on("HEAD", layer_blob(), answer()),
            on("POST", "/uploads/", answer()),
            on("PATCH", "/uploads/", answer()),
            on("PUT", "/uploads/", answer()),
            on("PUT", "/manifests/v1", answer()),
        ];
        let bed = bed(source, dest).await;
        let report = bed.copies().await;
        assert_eq!((report.retries, bed.retries(reason)), (8, 8), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_refusals_are_final_and_say_what_the_registry_said() {
    for status in [400, 401, 403, 405, 413, 501] {
        let denied = || Action::Answer(Answer::error(status, "DENIED"));
        for (source, dest, step) in [
            (Some("/manifests/v1"), None, Step::GetManifest),
            (Some("/blobs/"), None, Step::PullBlob),
            (None, Some("/manifests/v1"), Step::PutManifest),
        ] {
            let source = source.map(|path| on("GET", path, denied()).times(9)).into_iter().collect();
            let dest = dest.map(|path| on("PUT", path, denied()).times(9)).into_iter().collect();
            let bed = bed(source, dest).await;
            let error = bed.copy().await.unwrap_err();
            let CopyError::Refused { subject, cause } = &error else { panic!("{error:?}") };
            assert_eq!(subject.step, step, "{error}");
            assert!(cause.has_code("DENIED") && cause.to_string().contains("scripted"), "{cause}");
            assert_eq!(bed.telemetry.retries(), 0);
            assert!(bed.dest.registry().manifest("dst/app", "v1").is_none());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_stays_down_is_given_up_after_the_attempts() {
    let broken = Action::Answer(Answer::new(503));
    let bed = bed(vec![on("GET", "/manifests/v1", broken).times(99)], vec![]).await;
    let error = bed.copy().await.unwrap_err();
    assert!(matches!(error, CopyError::GaveUp { attempts: 6, .. }), "{error:?}");
    assert_eq!(bed.source.requests("GET", "/manifests/v1").len(), 6);
    assert_eq!(error.to_string(), "source src/app:v1: get manifest: given up after 6 attempts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_listening_is_retried_until_giving_up() {
    let gone = Stub::start(FakeRegistry::new(), vec![]).await;
    let nowhere = gone.url().parse().unwrap();
    drop(gone);
    let telemetry = Arc::new(Telemetry::new());
    let there = Stub::start(FakeRegistry::new(), vec![]).await;
    let replicator = Replicator::new(quick(), there.url().parse().unwrap(), nowhere, telemetry.clone());
    // The listener goes with its task, which the runtime ends when it gets to it.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let error = replicator.copy(&job("v1"), &CancelToken::new()).await.unwrap_err();
    assert!(matches!(error, CopyError::GaveUp { attempts: 6, .. }), "{error:?}");
    assert_eq!(telemetry.totals().retries.get("connect"), Some(&5));
}

/// Each cut costs exactly one resumed download, which begins where the first one ended and insists on the same blob.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_download_goes_on_where_it_was() {
    for (cut, reason) in [(Cut::Reset, "reset"), (Cut::Close, "eof"), (Cut::Stall, "idle_timeout")] {
        let bed = bed(vec![on("GET", layer_blob(), Action::CutAnswer(MIB + 17, cut))], vec![]).await;
        bed.copies().await;
        assert_eq!(bed.pulls(), [None, Some(format!("bytes={}-", MIB + 17))], "{cut:?}");
        let resumed = &bed.source.requests("GET", &bed.blob_path())[1].request;
        let etag = format!("\"{}\"", bed.layer_digest());
        assert_eq!(resumed.header("if-range"), Some(etag.as_str()));
        assert_eq!((bed.retries(reason), bed.telemetry.totals().broken_transfers), (1, 1), "{cut:?}");
        // The upload went on meanwhile: no byte was sent twice.
        assert_eq!(bed.patches(), [format!("0-{}", 3 * MIB - 1)]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_without_ranges_has_the_known_part_skipped() {
    let rules = vec![
        on("GET", layer_blob(), Action::CutAnswer(MIB + 17, Cut::Reset)),
        on("GET", layer_blob(), Action::IgnoreRange),
    ];
    let bed = bed(rules, vec![]).await;
    bed.copies().await;
    assert_eq!(bed.pulls().len(), 2);
    assert_eq!(bed.patches(), [format!("0-{}", 3 * MIB - 1)]);
}

/// The first answer to a range is unusable; the blob is then asked for without one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unusable_answers_to_a_range_are_replaced_by_the_whole() {
    for (second, reason) in [
        (Action::SetHeader("content-range", "bytes 0-99/3145728"), "bad_range"),
        (Action::SetHeader("content-range", "bytes 1048593-3145727/9999999"), "bad_range"),
        (Action::SetHeader("content-range", "junk"), "bad_range"),
        (Action::SetHeader("etag", "\"another\""), "changed"),
        (Action::Answer(Answer::error(416, "SIZE_INVALID")), "status_416"),
    ] {
        let name = format!("{second:?}");
        let rules = vec![
            on("GET", layer_blob(), Action::CutAnswer(MIB + 17, Cut::Close)),
            on("GET", layer_blob(), second),
        ];
        let bed = bed(rules, vec![]).await;
        bed.copies().await;
        assert_eq!(bed.pulls(), [None, Some(format!("bytes={}-", MIB + 17)), None], "{name}");
        assert_eq!(bed.retries(reason), 1, "{name}");
    }
}

/// A whole blob with another ETag is another blob than the one half read: both sides start over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_blob_starts_over() {
    let rules = vec![
        on("GET", layer_blob(), Action::CutAnswer(MIB, Cut::Close)),
        on("GET", layer_blob(), Action::Answer(Answer::new(200).header("etag", "\"another\"").body(layer()))),
    ];
    let bed = bed(rules, vec![]).await;
    bed.copies().await;
    assert_eq!(bed.retries("changed"), 1);
    assert_eq!(bed.patches().len(), 2);
    assert_eq!(bed.dest.registry().open_sessions(), 0, "the first session is cancelled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_bytes_are_never_committed() {
    for at in [0, MIB, 3 * MIB - 1] {
        let once = bed(vec![on("GET", layer_blob(), Action::Flip(at))], vec![]).await;
        once.copies().await;
        assert_eq!(once.retries("digest_mismatch"), 1, "byte {at}");
        assert_eq!(once.dest.registry().open_sessions(), 0);

        let always = bed(vec![on("GET", layer_blob(), Action::Flip(at)).times(99)], vec![]).await;
        let error = always.copy().await.unwrap_err();
        assert!(matches!(&error, CopyError::GaveUp { attempts: 4, .. }), "{error:?}");
        assert!(error.cause().unwrap().to_string().contains("bytes are sha256:"));
        assert!(always.dest.registry().blob("dst/app", always.layer_digest()).is_none());
        assert!(always.dest.registry().manifest("dst/app", "v1").is_none());
        // The last byte is held back until the whole is known to be right.
        assert!(always.dest.requests("PUT", "/uploads/").len() < 2, "only the configuration is closed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_verification_the_destination_still_refuses_damage() {
    let config = ReplicatorConfig { verify: Verify::None, ..quick() };
    let bed = bed_with(vec![on("GET", layer_blob(), Action::Flip(MIB))], vec![], config).await;
    bed.copies().await;
    assert_eq!(bed.retries("digest_mismatch"), 1);
    assert_eq!(bed.pulls(), [None, None]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_manifests_are_fetched_again() {
    let wrong = || vec![on("GET", "/manifests/v1", Action::Flip(30))];
    let once = bed(wrong(), vec![]).await;
    // The registry computes its digest header from the undamaged bytes.
    once.copies().await;
    assert_eq!(once.retries("digest_mismatch"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lengths_that_do_not_fit_are_noticed() {
    let whole = 3 * MIB as u64;
    let short = bed(vec![on("GET", layer_blob(), Action::Announce(whole + 5))], vec![]).await;
    short.copies().await;
    assert_eq!(short.retries("bad_length"), 1);
    let long = bed(vec![on("GET", layer_blob(), Action::Announce(whole - 5)).times(99)], vec![]).await;
    let error = long.copy().await.unwrap_err();
    assert!(matches!(&error, CopyError::GaveUp { attempts: 4, .. }), "{error:?}");
    assert!(error.cause().unwrap().to_string().contains("3145723 bytes, not 3145728"));
}

/// After a break the destination is asked where it stands, and only what it misses is sent again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_upload_goes_on_where_the_destination_stands() {
    for (cut, reason) in [(Cut::Reset, "reset"), (Cut::Stall, "idle_timeout")] {
        let rules = vec![on("PATCH", "/uploads/", Action::CutRequest(MIB + 17, cut)).of_length(MIB)];
        let config = ReplicatorConfig { chunk: 64 << 20, ..quick() };
        let bed = bed_with(vec![], rules, config).await;
        bed.copies().await;
        let last = 3 * MIB - 1;
        assert_eq!(bed.patches(), [format!("0-{last}"), format!("{}-{last}", MIB + 17)], "{cut:?}");
        assert_eq!(bed.pulls().last().unwrap().as_deref(), Some(format!("bytes={}-", MIB + 17).as_str()));
        assert_eq!(bed.retries(reason), 1, "{cut:?}: {:?}", bed.telemetry.totals().retries);
        assert_eq!(bed.dest.registry().open_sessions(), 0, "{cut:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_layer_is_sent_in_chunks() {
    let config = ReplicatorConfig { chunk: MIB as u64, ..quick() };
    for absolute in [false, true] {
        let bed = bed_with(vec![], vec![], config.clone()).await;
        bed.dest.registry().absolute_locations = absolute;
        bed.copies().await;
        assert_eq!(bed.patches(), ["0-1048575", "1048576-2097151", "2097152-3145727"]);
        let states = bed.dest.requests("PUT", "/uploads/");
        assert!(states.iter().all(|put| put.request.query.starts_with("_state=s&digest=")), "{states:?}");
        assert_eq!(bed.pulls().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_session_is_replaced() {
    let rules = vec![
        on("PATCH", "/uploads/", Action::CutRequest(MIB, Cut::Reset)).of_length(MIB),
        on("GET", "/uploads/", Action::LoseSession),
    ];
    let bed = bed(vec![], rules).await;
    bed.copies().await;
    assert_eq!(bed.retries("session_lost"), 1);
    assert_eq!(bed.patches(), [format!("0-{}", 3 * MIB - 1), format!("0-{}", 3 * MIB - 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_lost_between_chunks_is_replaced() {
    let config = ReplicatorConfig { chunk: MIB as u64, ..quick() };
    let bed =
        bed_with(vec![], vec![on("PATCH", "/uploads/", Action::LoseSession).of_length(MIB).after(1)], config)
            .await;
    bed.copies().await;
    assert_eq!(bed.retries("session_lost"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_offset_is_corrected_by_the_range_in_the_answer() {
    // The first chunk arrives, but its answer does not; what the registry says of where it stands is out of date.
    let rules = vec![
        on("PATCH", "/uploads/", Action::CutRequest(2 * MIB, Cut::Reset)).of_length(MIB),
        on("GET", "/uploads/", Action::SetHeader("range", "0-1048575")),
    ];
    let bed = bed(vec![], rules).await;
    bed.copies().await;
    let last = 3 * MIB - 1;
    let wanted = [format!("0-{last}"), format!("1048576-{last}"), format!("2097152-{last}")];
    assert_eq!(bed.patches(), wanted);
    assert_eq!(bed.retries("status_416"), 1);
}

/// The registry committed the blob, and nobody heard of it: the blob is looked for before anything is sent again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_reply_to_the_closing_put_costs_no_second_upload() {
    let bed = bed(vec![], vec![on("PUT", layer_digest(), Action::LoseReply)]).await;
    bed.copies().await;
    assert_eq!(bed.patches().len(), 1);
    assert_eq!(bed.pulls().len(), 1);
    assert_eq!(bed.dest.requests("HEAD", &bed.blob_path()).len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_before_the_whole_chunk_ends_the_chunk() {
    for status in [429, 503] {
        let at_once = Action::AnswerAtOnce(Answer::new(status));
        let rules = vec![on("PATCH", "/uploads/", at_once).of_length(MIB)];
        let bed = bed(vec![], rules).await;
        bed.copies().await;
        assert_eq!(bed.patches().len(), 2, "{status}");
    }
    let full = Action::AnswerAtOnce(Answer::error(413, "SIZE_INVALID"));
    let bed = bed(vec![], vec![on("PATCH", "/uploads/", full).times(9)]).await;
    let error = bed.copy().await.unwrap_err();
    assert!(error.cause().unwrap().has_code("SIZE_INVALID"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_location_at_another_registry_is_refused() {
    let elsewhere = Action::SetHeader("location", "http://192.0.2.1:5000/v2/dst/app/blobs/uploads/1");
    let bed = bed(vec![], vec![on("POST", "/uploads/", elsewhere).times(9)]).await;
    let error = bed.copy().await.unwrap_err();
    let Some(RequestError::Protocol(text)) = error.cause() else { panic!("{error:?}") };
    assert!(text.contains("192.0.2.1") && text.contains("Host"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blobs_that_the_destination_has_lost_are_brought_again() {
    let bed = bed(vec![], vec![on("PUT", "/manifests/v1", Action::LoseBlobs)]).await;
    bed.copies().await;
    assert_eq!(bed.retries("blobs_lost"), 1);
    assert_eq!(bed.pulls().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_comes_after_its_images() {
    let bed = bed(vec![], vec![]).await;
    let index = {
        let mut source = bed.source.registry();
        let arm = source.add_image("src/app", "arm", &[content(MIB, 2)]);
        source.add_index("src/app", "multi", &[bed.manifest, arm])
    };
    let report = bed.replicator.copy(&job("multi"), &CancelToken::new()).await.unwrap();
    assert_eq!(report.manifest_digest, index);
    let puts = bed.dest.requests("PUT", "/manifests/");
    let names: Vec<bool> = puts.iter().map(|put| put.request.path.ends_with("/multi")).collect();
    assert_eq!(names, [false, false, true]);
    assert_eq!(puts[2].request.header("content-type"), Some("application/vnd.oci.image.index.v1+json"));
}

/// Ten images that share two layers, all at once: each digest is looked for, fetched and sent once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_digest_is_fetched_once_whoever_needs_it() {
    let bed = bed(vec![], vec![]).await;
    let shared = [bed.layer.clone(), content(MIB, 7)];
    let tags: Vec<String> = (0..10).map(|n| format!("t{n}")).collect();
    for tag in &tags {
        bed.source.registry().add_image("src/app", tag, &shared);
    }
    let copies: Vec<_> = tags
        .iter()
        .map(|tag| {
            let (replicator, job) = (bed.replicator.clone(), job(tag));
            tokio::spawn(async move { replicator.copy(&job, &CancelToken::new()).await.unwrap() })
        })
        .collect();
    let mut reused = 0;
    for copy in copies {
        reused += copy.await.unwrap().bytes_reused;
    }
    assert_eq!(reused, 9 * 4 * MIB as u64);
    for layer in &shared {
        let path = format!("/blobs/{}", Digest::of(layer));
        assert_eq!(bed.source.requests("GET", &path).len(), 1);
        assert_eq!(bed.dest.requests("HEAD", &path).len(), 1);
    }
    assert_eq!(bed.patches().len(), 2);
}

/// Two connections, the least that can work, for ten images of several blobs at once: nobody waits for ever, and there
/// is never a third (but for one that is being closed to make room).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pool_is_bounded_and_never_blocks_itself() {
    let bed = bed_with(vec![], vec![], ReplicatorConfig { max_connections: 2, ..quick() }).await;
    let copies: Vec<_> = (0..10)
        .map(|n| {
            let tag = format!("t{n}");
            let layers: Vec<Bytes> = (0..4).map(|layer| content(50_000, 100 * n + layer)).collect();
            bed.source.registry().add_image("src/app", &tag, &layers);
            let (replicator, job) = (bed.replicator.clone(), job(&tag));
            tokio::spawn(async move { replicator.copy(&job, &CancelToken::new()).await })
        })
        .collect();
    for copy in copies {
        copy.await.unwrap().unwrap();
    }
    assert!(bed.source.most_open() <= 3 && bed.dest.most_open() <= 3);
}

/// A server may close an idle connection at any moment. Whatever the client notices first, the copy goes on at once,
/// and nothing but such connections is counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stale_connections_are_replaced_at_once() {
    let close = |method| on(method, "/v2/", Action::CloseAfter).times(99);
    let rules = vec![close("HEAD"), close("GET"), close("POST"), close("PUT")];
    let bed = bed(vec![on("GET", "/v2/", Action::CloseAfter).times(99)], rules).await;
    bed.copies().await;
    let totals = bed.telemetry.totals();
    assert!(totals.retries.keys().all(|reason| *reason == "stale"), "{:?}", totals.retries);
    assert!(totals.dest.connections > 4, "{totals:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelling_ends_every_wait_at_once() {
    let answer = Answer::new(503).header("retry-after", "60");
    for (source, dest) in [
        (vec![on("GET", layer_blob(), Action::CutAnswer(MIB, Cut::Stall))], vec![]),
        (vec![], vec![on("PATCH", "/uploads/", Action::CutRequest(10, Cut::Stall)).times(9)]),
        (vec![on("GET", "/manifests/v1", Action::Answer(answer))], vec![]),
    ] {
        let config = ReplicatorConfig {
            idle_timeout: Duration::from_secs(60),
            retries: RetryPolicy::default(),
            ..quick()
        };
        let bed = bed_with(source, dest, config).await;
        let cancel = CancelToken::new();
        let copying = tokio::spawn({
            let (replicator, cancel) = (bed.replicator.clone(), cancel.clone());
            async move { replicator.copy(&job("v1"), &cancel).await }
        });
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(!copying.is_finished());
        let thrown = Instant::now();
        cancel.cancel();
        assert!(copying.await.unwrap().unwrap_err().is_cancelled());
        assert!(thrown.elapsed() < Duration::from_secs(1), "{:?}", thrown.elapsed());
    }
}

/// A transfer that gets a little further each time goes on for as long as it has attempts; one that does not is given
/// up when the time is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn giving_up_counts_from_the_last_progress() {
    let retries = RetryPolicy {
        attempts: 1000,
        base: Duration::from_millis(20),
        cap: Duration::from_millis(40),
        give_up: Duration::from_millis(500),
    };
    let config = ReplicatorConfig { retries, ..quick() };
    // Each of 48 cuts lets 64 KiB through and costs about 20 ms of closing and 20 ms of back-off: 2 s in all.
    let creeping = vec![on("GET", layer_blob(), Action::CutAnswer(64 << 10, Cut::Reset)).times(47)];
    let bed = bed_with(creeping, vec![], config.clone()).await;
    bed.copies().await;
    assert_eq!(bed.pulls().len(), 48);

    let stuck = vec![on("GET", layer_blob(), Action::CutAnswer(0, Cut::Reset)).times(9999)];
    let bed = bed_with(stuck, vec![], config).await;
    let started = Instant::now();
    let error = bed.copy().await.unwrap_err();
    assert!(matches!(error, CopyError::GaveUp { .. }), "{error:?}");
    assert!(started.elapsed() >= Duration::from_millis(500), "{:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_repository_is_copied_by_its_list_of_tags() {
    use loadgen::replicator::{CopyCommand, copy_command};
    let bed = bed(vec![], vec![]).await;
    bed.source.registry().add_image("src/app", "v2", &[content(MIB, 3)]);
    let command = |tag: &str| CopyCommand {
        source: format!("{}/src/app{tag}", bed.source.url()).parse().unwrap(),
        dest: format!("{}/dst/app", bed.dest.url()).parse().unwrap(),
        config: quick(),
    };
    let all = copy_command(&command(""), bed.telemetry.clone(), &CancelToken::new()).await.unwrap();
    let names: Vec<&str> = all.tags.iter().map(|tag| tag.job.dest_tag.as_str()).collect();
    assert_eq!((names, all.is_complete()), (vec!["v1", "v2"], true));
    let missing = copy_command(&command(":v9"), bed.telemetry.clone(), &CancelToken::new()).await.unwrap();
    let error = missing.tags[0].outcome.as_ref().unwrap_err();
    assert!(error.cause().unwrap().has_code("MANIFEST_UNKNOWN"), "{error:?}");
}
