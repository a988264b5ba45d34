//! The replica check against destinations that are right, and against such that are wrong on purpose: one bit, one
//! blob, one tag at a time.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::sync::LazyLock;

use bytes::Bytes;
use e2e::fake_registry::FakeRegistry;
use e2e::stub::{Action, Stub, on};
use loadgen::cancel::CancelToken;
use loadgen::evidence::replica::{ReplicaCheck, verify_command};
use loadgen::replicator::ImageJob;
use loadgen::result::Replica;
use mockreg_proto::digest::Digest;

const MIB: usize = 1 << 20;

/// Bytes that differ everywhere, so that any shift shows.
fn content(length: usize, salt: u64) -> Bytes {
    let word = |index: u64| (index ^ salt << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    (0..length.div_ceil(8) as u64).flat_map(word).take(length).collect()
}

fn small() -> Bytes {
    content(3 * MIB + 5, 1)
}

/// Above the limit for reading images whole, together with `small`.
fn large() -> Bytes {
    static LARGE: LazyLock<Bytes> = LazyLock::new(|| content(70 * MIB, 2));
    LARGE.clone()
}

fn large_digest() -> Digest {
    static DIGEST: LazyLock<Digest> = LazyLock::new(|| Digest::of(&large()));
    *DIGEST
}

/// A registry with `a:v1`, `a:v2` (sharing a layer), the large `a:big`, and the index `a:multi`.
fn registry() -> FakeRegistry {
    static RIGHT: LazyLock<FakeRegistry> = LazyLock::new(build);
    RIGHT.clone()
}

fn build() -> FakeRegistry {
    let mut registry = FakeRegistry::new();
    let first = registry.add_image("a", "v1", &[small()]);
    let second = registry.add_image("a", "v2", &[small(), content(1000, 3)]);
    registry.add_image("a", "big", &[small(), large()]);
    registry.add_index("a", "multi", &[first, second]);
    registry
}

fn images() -> Vec<ImageJob> {
    ["v1", "v2", "big", "multi"]
        .map(|tag| ImageJob {
            source_repository: "a".into(),
            source_tag: tag.into(),
            dest_repository: "a".into(),
            dest_tag: tag.into(),
        })
        .to_vec()
}

/// What the check finds of a destination that was right before `spoil`.
async fn check(full: bool, spoil: impl FnOnce(&mut FakeRegistry)) -> Replica {
    let mut wrong = registry();
    spoil(&mut wrong);
    let source = Stub::start(registry(), vec![]).await;
    let dest = Stub::start(wrong, vec![]).await;
    run(&source, &dest, full).await
}

async fn run(source: &Stub, dest: &Stub, full: bool) -> Replica {
    let check = ReplicaCheck {
        source: source.url().parse().unwrap(),
        dest: dest.url().parse().unwrap(),
        full,
        seed: 1,
    };
    check.run(&images(), &CancelToken::new()).await.unwrap()
}

/// exact, sampled, mismatched, missing
fn counts(replica: &Replica) -> (u64, u64, u64, u64) {
    assert_eq!(replica.expected, 4);
    (replica.exact, replica.exact_sampled.count, replica.mismatched, replica.missing)
}

fn flip(registry: &mut FakeRegistry, content: &Bytes, at: usize) {
    let mut wrong = content.to_vec();
    wrong[at] ^= 1;
    registry.falsify_blob("a", Digest::of(content), wrong.into());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_equal_destination_is_exact_and_says_how_much_was_read() {
    let whole = check(true, |_| {}).await;
    assert_eq!(counts(&whole), (4, 0, 0, 0), "{:?}", whole.problems);
    let sampled = check(false, |_| {}).await;
    assert_eq!(counts(&sampled), (3, 1, 0, 0), "{:?}", sampled.problems);
    let share = sampled.exact_sampled.share;
    // 73 MiB: five pieces of 1 MiB of the large layer, the small one likewise in part.
    assert!((0.05..0.15).contains(&share), "{share}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_flipped_bit_anywhere_is_found_by_a_full_check() {
    for at in [0, 35 * MIB + 3, 70 * MIB - 1] {
        let replica = check(true, |registry| flip(registry, &large(), at)).await;
        assert_eq!(counts(&replica), (3, 0, 1, 0), "byte {at}: {:?}", replica.problems);
        assert!(replica.problems[0].starts_with("a:big: blob sha256:"), "{:?}", replica.problems);
    }
    for at in [0, MIB, 3 * MIB + 4] {
        let replica = check(false, |registry| flip(registry, &small(), at)).await;
        // Every image has this layer; the large one reads parts of it, with the first and the last byte.
        let (exact, sampled, mismatched, missing) = counts(&replica);
        assert_eq!((exact, missing, sampled + mismatched), (0, 0, 4), "byte {at}");
        assert!(mismatched >= 3, "byte {at}: {:?}", replica.problems);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sampled_check_always_sees_both_ends() {
    for at in [0, 70 * MIB - 1] {
        let replica = check(false, |registry| flip(registry, &large(), at)).await;
        assert_eq!(counts(&replica), (3, 0, 1, 0), "byte {at}: {:?}", replica.problems);
        assert!(replica.problems[0].contains("other bytes than the source's"), "{:?}", replica.problems);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_and_wrong_parts_are_told_apart_and_all_are_told() {
    let config = |registry: &FakeRegistry| {
        let manifest = registry.manifest("a", "v1").unwrap();
        let text = String::from_utf8_lossy(&manifest).into_owned();
        text.split('"').find_map(|piece| piece.parse::<Digest>().ok()).unwrap()
    };
    for (name, spoil, wanted) in [
        (
            "missing tag",
            Box::new(|registry: &mut FakeRegistry| registry.remove_manifest("a", "v2"))
                as Box<dyn Fn(&mut FakeRegistry)>,
            (2, 1, 0, 1),
        ),
        (
            "other image under a tag",
            Box::new(|registry: &mut FakeRegistry| {
                registry.add_image("a", "v2", &[content(10, 9)]);
            }),
            (2, 1, 1, 0),
        ),
        (
            "wrong configuration",
            Box::new(move |registry: &mut FakeRegistry| {
                registry.falsify_blob("a", config(registry), Bytes::from_static(b"{}"));
            }),
            // v1 itself and the index that holds it.
            (1, 1, 2, 0),
        ),
        (
            "truncated blob",
            Box::new(|registry: &mut FakeRegistry| {
                registry.falsify_blob("a", large_digest(), large().slice(..69 * MIB));
            }),
            (3, 0, 1, 0),
        ),
        (
            "lost blob",
            Box::new(|registry: &mut FakeRegistry| registry.remove_blob("a", large_digest())),
            (3, 0, 1, 0),
        ),
        (
            "lost manifest of an index",
            Box::new(|registry: &mut FakeRegistry| {
                let digest = Digest::of(&registry.manifest("a", "v1").unwrap());
                registry.remove_manifest("a", &digest.to_string());
            }),
            (2, 1, 1, 0),
        ),
        (
            "nothing at all",
            Box::new(|registry: &mut FakeRegistry| *registry = FakeRegistry::new()),
            (0, 0, 0, 4),
        ),
    ] {
        let replica = check(false, spoil).await;
        assert_eq!(counts(&replica), wanted, "{name}: {:?}", replica.problems);
        assert!(!replica.problems.is_empty(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_without_ranges_is_read_whole() {
    let source = Stub::start(registry(), vec![]).await;
    let large_path = format!("/blobs/{}", large_digest());
    let dest = Stub::start(registry(), vec![on("GET", large_path, Action::IgnoreRange).times(99)]).await;
    let replica = run(&source, &dest, false).await;
    assert_eq!(counts(&replica), (3, 1, 0, 0), "{:?}", replica.problems);
    assert!(replica.exact_sampled.share > 0.9, "{}", replica.exact_sampled.share);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_that_is_gone_is_nowhere_equal() {
    let source = Stub::start(registry(), vec![]).await;
    let gone = Stub::start(registry(), vec![on("GET", "/v2/", Action::LoseReply).times(9999)]).await;
    let replica = run(&source, &gone, false).await;
    assert_eq!((counts(&replica), replica.unreadable), ((0, 0, 0, 0), 4));
    assert!(!replica.is_exact());
    assert!(replica.problems[0].contains("given up"), "{:?}", replica.problems);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_repository_is_checked_by_the_sources_tags() {
    let source = Stub::start(registry(), vec![]).await;
    let mut wrong = registry();
    wrong.remove_manifest("a", "multi");
    let dest = Stub::start(wrong, vec![]).await;
    let reference = |stub: &Stub, tag: &str| format!("{}/a{tag}", stub.url()).parse().unwrap();
    let cancel = CancelToken::new();
    let check = |tag: &'static str| {
        let (from, to) = (reference(&source, tag), reference(&dest, tag));
        let cancel = &cancel;
        async move { verify_command(&from, &to, false, 1, cancel).await.unwrap() }
    };
    let all = check("").await;
    assert_eq!(counts(&all), (2, 1, 0, 1));
    let one = check(":v1").await;
    assert_eq!((one.expected, one.exact), (1, 1));
}
