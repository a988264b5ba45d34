//! What is recognised, what is not, and that what is not loses no byte.

use std::sync::LazyLock;

use mockreg_proto::digest::Digest;
use proptest::prelude::*;

use super::*;
use crate::spec::{Content, LayerId};
use crate::stream::Stream;

static TABLES: LazyLock<Tables> = LazyLock::new(Tables::new);

fn spec(form: Form, content: Content, size: u64, ordinal: u32) -> LayerSpec {
    LayerSpec::try_new(form, content, size, LayerId::derive(1, "team/app", "", "", ordinal)).unwrap()
}

/// Layers with no entries, few and many, in every form and content.
fn specs() -> Vec<LayerSpec> {
    let mut specs = Vec::new();
    for (ordinal, content) in [Content::Letters, Content::Incompressible].into_iter().enumerate() {
        for size in [553, 554, 4639, 5_156, 5_157, 10_000, 70_000, 200_001, 1_000_003, 3_500_000] {
            specs.push(spec(Form::Gzip, content, size, ordinal as u32));
        }
        for size in [528, 529, 4618, 5_140, 10_000, 60_000, 200_001, 1_000_003, 3_500_000] {
            specs.push(spec(Form::Zstd, content, size, ordinal as u32));
        }
        for size in [1536, 2048, 5632, 6144, 10_240, 1 << 20, 9 << 20] {
            specs.push(spec(Form::Tar, content, size, ordinal as u32));
        }
    }
    let unique: Vec<LayerSpec> =
        specs.iter().filter(|spec| spec.size() < 2_000_000).map(|spec| spec.unique()).collect();
    specs.extend(unique);
    specs
}

/// What arrives as `spec` is recognised as this: layers too small for letters have the same bytes with and without
/// them where their stream has the same name.
fn recognised(spec: LayerSpec) -> LayerSpec {
    let letters = LayerSpec::try_new(spec.form(), Content::Letters, spec.size(), spec.id()).unwrap().unique();
    let same = spec.is_unique() && Layer::new(letters).read(0, u64::MAX).flatten().eq(blob(spec));
    if same { letters } else { spec }
}

fn blob(spec: LayerSpec) -> Vec<u8> {
    Layer::new(spec).read(0, u64::MAX).flatten().collect()
}

/// Sends an upload in parts as a registry does; the layer it is, or the digest it is hashed to.
fn send<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> (Option<Arrival>, Digest) {
    let mut comparison = Comparison::new();
    let mut parts = parts.into_iter();
    let mut rest: &[u8] = &[];
    for part in parts.by_ref() {
        let before = comparison.matched();
        if comparison.offer(part) == Verdict::Foreign {
            rest = &part[(comparison.matched() - before) as usize..];
            break;
        }
    }
    let arrival = comparison.arrival().filter(|_| rest.is_empty());
    let (mut hasher, prefix) = comparison.resume(&TABLES);
    assert_eq!(hasher.length(), comparison.matched());
    // The bytes made again are those the hash has seen.
    let again: Vec<u8> = prefix.flatten().collect();
    assert_eq!(hasher.clone().finalize(), Digest::of(&again));
    hasher.update(rest);
    parts.for_each(|part| hasher.update(part));
    (arrival, hasher.finalize())
}

#[test]
fn a_layer_on_its_way_is_foreseen() {
    let mut foreseen = 0;
    for spec in specs() {
        let mut comparison = Comparison::new();
        let blob = blob(spec);
        comparison.offer(&blob[..blob.len() / 2]);
        let Some(so_far) = comparison.so_far() else { continue };
        assert_eq!(Stream::of(&so_far), Stream::of(&spec));
        assert_eq!(so_far.form(), spec.form());
        assert!((comparison.matched() - 511..=comparison.matched()).contains(&so_far.size()));
        foreseen += 1;
    }
    // Half of a smaller one ends in its tail, or before there is anything to foresee.
    let large = |spec: &&LayerSpec| spec.size() > 1_000_000 && !spec.is_unique();
    assert_eq!(foreseen, specs().iter().filter(large).count());
}

#[test]
fn every_whole_layer_is_recognised_in_any_parts() {
    for spec in specs() {
        let blob = blob(spec);
        for part in [1 + blob.len() / 7, 4096, 1 << 20] {
            let (arrival, digest) = send(blob.chunks(part));
            let wanted = Arrival { spec: recognised(spec), unpacked: false };
            assert_eq!(arrival, Some(wanted), "{spec:?}");
            assert_eq!(digest, Digest::of(&blob));
        }
    }
}

#[test]
fn single_bytes_are_parts_too() {
    for form in [Form::Gzip, Form::Zstd] {
        for content in [Content::Letters, Content::Incompressible] {
            for spec in [spec(form, content, 20_000, 0), spec(form, content, 20_000, 0).unique()] {
                assert_eq!(send(blob(spec).chunks(1)).0, Some(Arrival { spec, unpacked: false }), "{spec:?}");
            }
        }
    }
}

#[test]
fn finish_gives_whole_blobs_and_leaves_unpacked_ones_to_arrival() {
    let spec = spec(Form::Gzip, Content::Letters, 70_000, 4);
    let tar: Vec<u8> = Layer::new(spec).read_tar(0, u64::MAX).flatten().collect();
    let mut comparison = Comparison::new();
    assert_eq!(comparison.offer(&tar), Verdict::Matching);
    assert_eq!(comparison.finish(), None);
    assert_eq!(comparison.arrival(), Some(Arrival { spec, unpacked: true }));
    assert_eq!(comparison.matched(), tar.len() as u64);

    let mut comparison = Comparison::new();
    assert_eq!(comparison.offer(&blob(spec)), Verdict::Matching);
    assert_eq!(comparison.finish(), Some(spec));
}

#[test]
fn the_tar_of_every_compressed_layer_is_recognised() {
    for spec in specs().into_iter().filter(|spec| spec.form() != Form::Tar) {
        let tar: Vec<u8> = Layer::new(spec).read_tar(0, u64::MAX).flatten().collect();
        let (arrival, digest) = send(tar.chunks(65_536));
        assert_eq!(arrival, Some(Arrival { spec: recognised(spec), unpacked: true }), "{spec:?}");
        assert_eq!(digest, TABLES.digests(spec).diff_id);
    }
}

#[test]
fn one_flipped_bit_anywhere_is_foreign_and_hashes_to_what_it_is() {
    for spec in specs() {
        let blob = blob(spec);
        let layer = Layer::new(spec);
        let tail = layer.leading(spec.form()) as usize;
        let places = [0, 9, 20, 526, tail, tail + 5, tail + 30, tail + 516, blob.len() / 2, blob.len() - 9];
        for at in places.into_iter().chain([blob.len() - 8, blob.len() - 1]).filter(|at| *at < blob.len()) {
            let mut wrong = blob.clone();
            wrong[at] ^= 1;
            let (arrival, digest) = send(wrong.chunks(1000));
            assert_eq!(arrival, None, "{spec:?} {at}");
            assert_eq!(digest, Digest::of(&wrong), "{spec:?} {at}");
        }
    }
}

#[test]
fn a_layer_cut_short_or_with_more_behind_it_is_none() {
    for spec in specs() {
        let mut blob = blob(spec);
        for len in [0, 1, 500, 527, blob.len() / 2, blob.len() - 8, blob.len() - 1] {
            let (arrival, digest) = send(blob[..len].chunks(1000));
            assert_eq!((arrival, digest), (None, Digest::of(&blob[..len])), "{spec:?} {len}");
        }
        blob.push(0);
        assert_eq!(send(blob.chunks(1000)), (None, Digest::of(&blob)));
    }
}

#[test]
fn other_uploads_are_hashed() {
    let deflated = {
        use std::io::Write as _;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&b"some other archive".repeat(4000)).unwrap();
        encoder.finish().unwrap()
    };
    let text = br#"{"architecture":"amd64","os":"linux"}"#.repeat(30);
    let stream_alone: Vec<u8> =
        Source::endless(Stream::Common(2), Form::Gzip).read(0, 3_000_000).flatten().collect();
    for upload in [&[][..], b"s", b"{}", &[0; 2000], &deflated, &text, &stream_alone] {
        assert_eq!(send(upload.chunks(777)), (None, Digest::of(upload)));
    }
}

/// The beginning of one layer and the tail of another of the same stream: each byte is some layer's.
#[test]
fn a_tail_in_the_wrong_place_is_foreign() {
    let (long, short) =
        (spec(Form::Gzip, Content::Letters, 900_000, 0), spec(Form::Gzip, Content::Letters, 400_000, 0));
    let (long_layer, short_layer) = (Layer::new(long), Layer::new(short));
    let tail = short_layer.leading(Form::Gzip);
    let mut mixed: Vec<u8> = long_layer.read(0, long_layer.leading(Form::Gzip)).flatten().collect();
    mixed.extend(short_layer.read(tail, u64::MAX).flatten());
    assert_eq!(send(mixed.chunks(4096)), (None, Digest::of(&mixed)));
}

#[test]
fn names_are_read_as_written_or_not_at_all() {
    let read = |text: &str| {
        let mut header = [0; 512];
        header[..text.len()].copy_from_slice(text.as_bytes());
        tar::name(&header).map(|name| matches!(name, Name::Tail { .. }))
    };
    assert_eq!(read("s3/d00000000/f01"), Some(false));
    assert_eq!(read("s11/layer-v1-gzip-00-5"), Some(true));
    assert_eq!(read("s00112233445566778899aabbccddeeff/layer-v1-zstd-00-5"), Some(true));
    for other in ["", "s12/d00000000/", "s/d", "s3", "t3/d", "s3/layer-v1-gzip", "s3/layer-v1-gzip-00-5-6"] {
        assert_eq!(read(other), None, "{other}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_upload_is_itself_in_the_end(
        which in 0usize..100,
        flip in proptest::option::of(0.0f64..1.0),
        cut in proptest::option::of(0.0f64..1.0),
        parts in proptest::collection::vec(1usize..50_000, 1..6),
    ) {
        let specs = specs();
        let spec = specs[which % specs.len()];
        let mut bytes = blob(spec);
        let whole = bytes.len();
        if let Some(at) = flip {
            bytes[(at * whole as f64) as usize] ^= 0x10;
        }
        bytes.truncate(cut.map_or(whole, |share| (share * whole as f64) as usize));
        let mut split: Vec<&[u8]> = Vec::new();
        let mut rest = &bytes[..];
        for len in parts.into_iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (part, after) = rest.split_at(len.min(rest.len()));
            split.push(part);
            rest = after;
        }
        let (arrival, digest) = send(split);
        prop_assert_eq!(digest, Digest::of(&bytes));
        let untouched = flip.is_none() && cut.is_none();
        let wanted = Arrival { spec: recognised(spec), unpacked: false };
        prop_assert_eq!(arrival, untouched.then_some(wanted));
    }
}
