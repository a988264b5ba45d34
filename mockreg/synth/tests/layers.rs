//! Layers against programs and libraries that know nothing of them: GNU tar, gzip, zstd, flate2, the crate zstd, sha2.
#![expect(clippy::unwrap_used, reason = "helpers of tests stand outside the test functions")]

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use flate2::bufread::{DeflateDecoder, GzDecoder};
use mockreg_proto::digest::Digest;
use mockreg_synth::{Comparison, Content, Form, Layer, LayerId, LayerSpec, MAX_LAYER, Read, Tables};
use proptest::prelude::*;

fn layer(form: Form, content: Content, size: u64, ordinal: u32) -> Layer {
    let id = LayerId::derive(3, "oracle/app", "", "v1", ordinal);
    Layer::new(LayerSpec::try_new(form, content, size, id).unwrap())
}

fn collect(read: Read) -> Vec<u8> {
    read.flatten().collect()
}

fn blob(layer: &Layer) -> Vec<u8> {
    collect(layer.read(0, u64::MAX))
}

/// Runs a program with `input` on its standard input.
fn run(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} is needed here: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Entries of a tar by name, directories with an empty body: every checksum right, names distinct, the end in its
/// place.
fn entries(tar: &[u8]) -> Vec<(String, &[u8])> {
    let text = |field: &[u8]| String::from_utf8(field.split(|b| *b == 0).next().unwrap().to_vec()).unwrap();
    let octal = |field: &[u8]| u64::from_str_radix(text(field).trim(), 8).unwrap();
    let mut entries: Vec<(String, &[u8])> = Vec::new();
    let mut names = std::collections::BTreeSet::new();
    let mut at = 0;
    while tar[at] != 0 {
        let header = &tar[at..at + 512];
        let sum: u64 = header.iter().map(|b| u64::from(*b)).sum();
        let field: u64 = header[148..156].iter().map(|b| u64::from(*b)).sum();
        assert_eq!(octal(&header[148..156]), sum - field + 8 * u64::from(b' '));
        let (name, size) = (text(&header[..100]), octal(&header[124..136]) as usize);
        assert!(names.insert(name.clone()), "{name} stands twice");
        at += 512;
        let (body, padding) = tar[at..at + size.next_multiple_of(512)].split_at(size);
        assert!(padding.iter().all(|b| *b == 0));
        at += body.len() + padding.len();
        entries.push((name, body));
    }
    assert_eq!(tar[at..], [0; 1024], "an archive ends with two blocks of zeros");
    entries
}

fn check_layer(layer: &Layer) {
    let spec = layer.spec();
    let blob = blob(layer);
    assert_eq!(blob.len() as u64, spec.size(), "{spec:?}");
    let tar = match spec.form() {
        Form::Gzip => {
            let mut tar = Vec::new();
            let mut decoder = GzDecoder::new(&blob[..]);
            decoder.read_to_end(&mut tar).unwrap_or_else(|error| panic!("{spec:?}: {error}"));
            assert!(decoder.into_inner().is_empty(), "one member and nothing behind it");
            tar
        }
        Form::Zstd => zstd::stream::decode_all(&blob[..]).unwrap_or_else(|error| panic!("{spec:?}: {error}")),
        Form::Tar => blob,
    };
    assert_eq!(tar.len() as u64, layer.tar_size(), "{spec:?}");
    let (last, _) = entries(&tar).pop().unwrap();
    assert!(last.ends_with(&format!("layer-v1-{}-{}-{}", spec.form(), spec.id(), spec.size())));
    assert_eq!(collect(layer.read_tar(0, u64::MAX)), tar, "{spec:?}");
}

/// Every size near the least ones, where tails change their shape, then steps that are multiples of nothing.
#[test]
fn thousands_of_sizes_are_exact_and_well_formed() {
    let gzip_sizes = || (553..1100).chain(4_600..5_300).chain((9_000..400_000).step_by(1_009));
    let mut checked = 0;
    for content in [Content::Letters, Content::Incompressible] {
        for size in gzip_sizes() {
            check_layer(&layer(Form::Gzip, content, size, size as u32));
            checked += 1;
        }
        for size in (528..1100).chain(4_600..5_300).chain((9_000..400_000).step_by(1_009)) {
            check_layer(&layer(Form::Zstd, content, size, size as u32));
            checked += 1;
        }
        for blocks in (3..40).chain((40..900).step_by(7)) {
            check_layer(&layer(Form::Tar, content, blocks * 512, blocks as u32));
            checked += 1;
        }
    }
    // Sizes around whole stored blocks of the noise in a tail.
    for size in (66_050..66_110).chain(131_560..131_660) {
        check_layer(&layer(Form::Gzip, Content::Incompressible, size, 0));
        checked += 1;
    }
    // Sizes around whole raw blocks, and around whole blocks of letters, of a tail.
    for size in 131_600..131_660 {
        check_layer(&layer(Form::Zstd, Content::Incompressible, size, 0));
        checked += 1;
    }
    for size in 53_300..53_440 {
        check_layer(&layer(Form::Zstd, Content::Letters, size, 0));
        checked += 1;
    }
    assert!(checked > 6_000, "{checked}");
}

#[test]
fn larger_layers_pass_several_cycles() {
    check_layer(&layer(Form::Gzip, Content::Letters, 30_000_001, 5));
    check_layer(&layer(Form::Gzip, Content::Incompressible, 30_000_001, 6));
    check_layer(&layer(Form::Zstd, Content::Letters, 30_000_001, 5));
    check_layer(&layer(Form::Zstd, Content::Incompressible, 30_000_001, 6));
    check_layer(&layer(Form::Tar, Content::Letters, 40 << 20, 7));
}

#[test]
fn unique_layers_are_well_formed_too() {
    for content in [Content::Letters, Content::Incompressible] {
        for (form, size) in
            [(Form::Gzip, 700), (Form::Gzip, 12_345_678), (Form::Zstd, 12_345_678), (Form::Tar, 6 << 20)]
        {
            check_layer(&Layer::new(layer(form, content, size, 3).spec().unique()));
        }
    }
}

/// The program, which decodes in pieces as clients do, where the library above is asked for the whole.
#[test]
fn zstd_finds_nothing_wrong() {
    for content in [Content::Letters, Content::Incompressible] {
        for size in [528, 5_000, 1_000_003, 12_345_678] {
            let layer = layer(Form::Zstd, content, size, 1);
            run("zstd", &["-tq"], &blob(&layer));
            assert!(
                run("zstd", &["-dcq"], &blob(&layer)) == collect(layer.read_tar(0, u64::MAX)),
                "{content:?} {size}"
            );
        }
    }
}

#[test]
fn gzip_finds_nothing_wrong() {
    for content in [Content::Letters, Content::Incompressible] {
        for size in [553, 5_000, 1_000_003, 12_345_678] {
            let layer = layer(Form::Gzip, content, size, 1);
            run("gzip", &["-t"], &blob(&layer));
            assert_eq!(
                run("gzip", &["-dc"], &blob(&layer)),
                collect(layer.read_tar(0, u64::MAX)),
                "{content:?} {size}"
            );
        }
    }
}

#[test]
fn gnu_tar_lists_and_unpacks() {
    let layer = layer(Form::Gzip, Content::Letters, 4_000_000, 2);
    let listing = String::from_utf8(run("tar", &["-tvzf", "-"], &blob(&layer))).unwrap();
    let lines: Vec<&str> = listing.lines().collect();
    assert!(lines[0].starts_with("drwxr-xr-x 0/0 "), "{}", lines[0]);
    assert!(lines[1].starts_with("-rw-r--r-- 0/0 ") && lines[1].contains("1970-01-01"), "{}", lines[1]);
    assert!(lines.last().unwrap().contains("/layer-v1-gzip-"), "{listing}");

    // What it unpacks is, file by file, what lies in the tar.
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().to_str().unwrap();
    let tar_layer = self::layer(Form::Tar, Content::Incompressible, 3 << 20, 3);
    run("tar", &["-xzf", "-", "-C", root], &blob(&layer));
    run("tar", &["-xf", "-", "-C", root], &blob(&tar_layer));
    for layer in [layer, tar_layer] {
        let tar = collect(layer.read_tar(0, u64::MAX));
        let files = entries(&tar).into_iter().filter(|(name, _)| !name.ends_with('/'));
        let wrong: Vec<String> = files
            .filter(|(name, body)| std::fs::read(directory.path().join(name)).unwrap() != *body)
            .map(|(name, _)| name)
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
    // The eighth file, 29 · 7 mod 63 = 14, has 8,256 bytes.
    let stream = lines[0].split_whitespace().last().unwrap();
    let file = std::fs::read(directory.path().join(stream).join("f07")).unwrap();
    assert_eq!(file.len(), 8_256);
    assert!(file.iter().all(|letter| (b'a'..=b'g').contains(letter)));
}

/// Compressible content compresses as real layers do: 2.64 to 1.
#[test]
fn the_ratio_is_that_of_real_layers() {
    let layer = layer(Form::Gzip, Content::Letters, 50_000_000, 4);
    let ratio = layer.tar_size() as f64 / layer.size() as f64;
    assert!((2.60..2.68).contains(&ratio), "{ratio}");
    let zstd = self::layer(Form::Zstd, Content::Letters, 50_000_000, 4);
    assert!((2.60..2.68).contains(&(zstd.tar_size() as f64 / zstd.size() as f64)));
}

/// Neighbours in an image never have the same bytes anywhere but in what every archive has.
#[test]
fn bytes_of_neighbours_differ() {
    for (content, apart) in [(Content::Letters, 8), (Content::Incompressible, 4)] {
        let layers: Vec<Vec<u8>> =
            (0..apart).map(|n| blob(&layer(Form::Gzip, content, 1_000_000, n))).collect();
        for (n, a) in layers.iter().enumerate() {
            for b in &layers[n + 1..] {
                let same = a.chunks(1024).zip(b.chunks(1024)).skip(1).filter(|(a, b)| a == b).count();
                assert_eq!(same, 0, "{content:?}");
            }
        }
    }
}

/// Servers move these between threads; that they can is checked when this compiles.
#[test]
fn readers_and_tables_may_cross_threads() {
    fn moves<T: Send + 'static>() {}
    fn shares<T: Sync + 'static>() {}
    moves::<Read>();
    moves::<Comparison>();
    shares::<Tables>();
    shares::<Layer>();
}

#[test]
fn reads_are_clamped_at_the_end() {
    let layer = layer(Form::Gzip, Content::Letters, 10_000, 0);
    assert_eq!(collect(layer.read(9_999, 500)).len(), 1);
    assert_eq!(layer.read(10_000, 1).count(), 0);
    assert_eq!(layer.read(u64::MAX, u64::MAX).count(), 0);
    assert_eq!(layer.read(5, 0).count(), 0);
    assert_eq!(collect(layer.read_tar(layer.tar_size() - 3, 500)), [0; 3]);
}

#[test]
fn pieces_are_neither_tiny_nor_huge() {
    for (form, content) in [
        (Form::Gzip, Content::Letters),
        (Form::Gzip, Content::Incompressible),
        (Form::Tar, Content::Letters),
        (Form::Zstd, Content::Letters),
        (Form::Zstd, Content::Incompressible),
    ] {
        let pieces: Vec<usize> =
            layer(form, content, 20 << 20, 0).read(777, 19 << 20).map(|piece| piece.len()).collect();
        let (last, others) = pieces.split_last().unwrap();
        assert!(*last > 0);
        assert!(others.iter().all(|len| (512..=1 << 20).contains(len)), "{form} {content:?}");
    }
}

/// The far end of the largest layer is read as fast as its beginning, its parts agree with each other, and it says
/// there what it says of a small layer: the tail's record, and the end of the archive.
#[test]
fn the_largest_layer_is_read_anywhere() {
    for form in [Form::Tar, Form::Gzip, Form::Zstd] {
        for content in [Content::Letters, Content::Incompressible] {
            let layer = layer(form, content, MAX_LAYER, 0);
            for at in [MAX_LAYER / 2, u64::from(u32::MAX) - 77, MAX_LAYER - 5_000_000] {
                let whole = collect(layer.read(at, 4_000_000));
                assert_eq!(whole.len(), 4_000_000);
                assert_eq!(
                    collect(layer.read(at + 1_234_567, 1000)),
                    whole[1_234_567..1_235_567],
                    "{form} {at}"
                );
            }
            let tar = layer.tar_size();
            assert_eq!(collect(layer.read_tar(tar - 1024, 1024)), [0; 1024]);
            assert!(content == Content::Incompressible || form == Form::Tar || tar > 168 << 30, "{tar}");
            let end = collect(layer.read_tar(tar - 3_000_000, 3_000_000));
            let record = format!("/layer-v1-{form}-{}-{MAX_LAYER}\0", layer.spec().id());
            let found = end.windows(record.len()).position(|window| window == record.as_bytes());
            assert!(found.is_some(), "{form} {content:?}");
        }
    }
}

/// The last entry of the stream and the tail of layers of 64 GiB, checksum apart, computed by the reference
/// implementation of the format: from this byte to that, and their SHA-256.
#[test]
fn the_ends_of_the_largest_layers_are_those_of_the_format() {
    let vectors = [
        (
            Form::Tar,
            Content::Letters,
            68719386112,
            68719476736,
            "8832d4efd6722c9b47ab91d0d97cc746e555296da65c4f16ced61ba76aedc54e",
        ),
        (
            Form::Tar,
            Content::Incompressible,
            68719386112,
            68719476736,
            "b00f09f3d16b90063df188ef104f227f73149530aa20ea3f3da6d426e464f0a2",
        ),
        (
            Form::Gzip,
            Content::Letters,
            68719429736,
            68719476728,
            "2211f30f2195eaf4663b992238e38e5bcaa68b61094e7d09dc484dacc46ffe7f",
        ),
        (
            Form::Gzip,
            Content::Incompressible,
            68719390704,
            68719476728,
            "5394956981bff12bc91c50feb45f76be4cf4b52933b63833a7263b7f69c5dd3c",
        ),
        (
            Form::Zstd,
            Content::Letters,
            68719404784,
            68719476736,
            "95ca776f2b58b9d5da046653dc7f46ccc3a8043885487e42b04b648690c5a334",
        ),
        (
            Form::Zstd,
            Content::Incompressible,
            68719302144,
            68719476736,
            "0f62f604b3ef0716b2a2308c8305643c2d18fe952bb78b175f35e09721ab3204",
        ),
    ];
    for (form, content, from, to, wanted) in vectors {
        let bytes = collect(layer(form, content, MAX_LAYER, 0).read(from, to - from));
        assert_eq!(Digest::of(&bytes).hex(), wanted, "{form} {content:?}");
    }
}

/// Far into a stream: what the formats say of entries 60 GiB away, decoded from there on without what stands before.
#[test]
fn far_parts_decode_on_their_own() {
    // Cycle n of gzip begins at 10 + 3,340,584 n, of zstd at 6 + 3,330,000 n, of tar at 8,820,224 n.
    let cycle = 19_000u64;
    let tar =
        collect(layer(Form::Gzip, Content::Letters, MAX_LAYER, 3).read_tar(8_820_224 * cycle, 8_820_224));
    let name = String::from_utf8(tar[..tar.iter().position(|b| *b == 0).unwrap()].to_vec()).unwrap();
    assert!(name.ends_with("/d00019000/"), "{name}");

    let gzip =
        collect(layer(Form::Gzip, Content::Letters, MAX_LAYER, 3).read(10 + 3_340_584 * cycle, 3_340_584));
    let mut unpacked = Vec::new();
    // A cycle is no whole deflate stream, since no block of it is the last: the final, empty one is added.
    let ended = [&gzip[..], &[1, 0, 0, 0xff, 0xff]].concat();
    DeflateDecoder::new(&ended[..]).read_to_end(&mut unpacked).unwrap();
    assert!(unpacked == tar, "the gzip cycle unpacks to that of the tar");

    let zstd =
        collect(layer(Form::Zstd, Content::Letters, MAX_LAYER, 3).read(6 + 3_330_000 * cycle, 3_330_000));
    let begun = [&[0x28, 0xb5, 0x2f, 0xfd, 0, 0x38], &zstd[..], &[1, 0, 0]].concat();
    assert!(zstd::stream::decode_all(&begun[..]).unwrap() == tar, "and so does that of zstd");
}

#[test]
fn digests_are_those_of_the_bytes() {
    for (form, content, size) in [
        (Form::Gzip, Content::Letters, 20_000_000),
        (Form::Gzip, Content::Incompressible, 20_000_000),
        (Form::Tar, Content::Letters, 20 << 20),
        (Form::Tar, Content::Incompressible, 3 << 20),
        (Form::Gzip, Content::Letters, 553),
        (Form::Zstd, Content::Letters, 20_000_000),
        (Form::Zstd, Content::Incompressible, 20_000_000),
    ] {
        let layer = layer(form, content, size, 9);
        let digests = Tables::shared().digests(layer.spec());
        assert_eq!(digests.digest, Digest::of(&blob(&layer)), "{form} {content:?} {size}");
        assert_eq!(digests.diff_id, Digest::of(&collect(layer.read_tar(0, u64::MAX))));
        assert_eq!(digests.tar_size, layer.tar_size());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Any split into ranges re-assembles to the digest, for the blob and for the tar inside.
    #[test]
    fn any_split_into_ranges_reassembles_to_the_digest(
        form in prop_oneof![Just(Form::Gzip), Just(Form::Tar), Just(Form::Zstd)],
        content in prop_oneof![Just(Content::Letters), Just(Content::Incompressible)],
        size in 553u64..6_000_000,
        ordinal in 0u32..12,
        unique: bool,
        mut cuts in proptest::collection::vec(0.0f64..1.0, 0..9),
    ) {
        let size = if form == Form::Tar { size.next_multiple_of(512).max(1536) } else { size };
        let spec = layer(form, content, size, ordinal).spec();
        let layer = Layer::new(if unique { spec.unique() } else { spec });
        let digests = Tables::shared().digests(layer.spec());
        cuts.sort_by(f64::total_cmp);
        let split = |size: u64, read: &dyn Fn(u64, u64) -> Read| {
            let mut places: Vec<u64> = cuts.iter().map(|cut| (cut * size as f64) as u64).collect();
            places.insert(0, 0);
            places.push(size);
            let parts = places.windows(2).map(|pair| collect(read(pair[0], pair[1] - pair[0])));
            Digest::of(&parts.collect::<Vec<_>>().concat())
        };
        prop_assert_eq!(split(size, &|at, len| layer.read(at, len)), digests.digest);
        prop_assert_eq!(split(layer.tar_size(), &|at, len| layer.read_tar(at, len)), digests.diff_id);
    }
}
