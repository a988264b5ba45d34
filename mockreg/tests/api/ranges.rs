//! Downloads in parts, in every form that clients ask for them.

use mockreg::Registry;
use mockreg_proto::digest::Digest;
use proptest::prelude::*;

use crate::client::{Case, Client, bytes_of, check, layer, registry};

const SIZE: usize = 100_000;

/// A registry, the path of a blob of [`SIZE`] bytes, its digest and its bytes.
fn blob() -> (Registry, String, Digest, Vec<u8>) {
    let registry = registry();
    let bytes = bytes_of(layer("100kb"));
    let digest = Digest::of(&bytes);
    (registry, format!("/v2/synth/100kb/blobs/{digest}"), digest, bytes)
}

#[test]
fn every_form_of_one_range() {
    let (registry, path, digest, bytes) = blob();
    let mut client = Client::of(&registry);
    for (range, first, last) in [
        ("bytes=0-0", 0, 0),
        ("bytes=0-99999", 0, 99_999),
        ("bytes=500-999", 500, 999),
        ("bytes=500-", 500, 99_999),
        ("bytes=-500", 99_500, 99_999),
        ("bytes=-1000000", 0, 99_999),
        // One past the end, as regclient asks.
        ("bytes=500-100000", 500, 99_999),
        ("bytes=99999-99999999999", 99_999, 99_999),
        // A last position that no 64 bits hold.
        ("bytes=0-99999999999999999999999", 0, 99_999),
        ("Bytes = 1-2", 1, 2),
        // Of several ranges one exists.
        ("bytes=200000-300000,7-9", 7, 9),
    ] {
        let answer = client.send("GET", &path, &[("Range", range)], b"");
        assert_eq!(answer.status, 206, "{range}");
        assert_eq!(
            answer.header("content-range"),
            Some(format!("bytes {first}-{last}/{SIZE}").as_str()),
            "{range}"
        );
        assert_eq!(answer.header("content-length"), Some((last - first + 1).to_string().as_str()));
        assert_eq!(answer.header("docker-content-digest"), Some(digest.to_string().as_str()));
        assert!(answer.body == bytes[first..=last], "{range}");
    }
    let record = registry.journal().into_iter().rfind(|record| record.status == 206).unwrap();
    assert_eq!((record.range, record.bytes_out, record.attempt), (Some([7, 9]), 3, 11));
}

#[test]
fn ranges_that_cannot_be_served() {
    let (registry, path, digest, _) = blob();
    let outside = |name, range: &str| {
        Case::new(name, "GET", &path, 416)
            .header("Range", range)
            .code("RANGE_INVALID")
            .has("content-range", format!("bytes */{SIZE}"))
    };
    let whole = |name, range: &str| {
        Case::new(name, "GET", &path, 200).header("Range", range).has("content-length", SIZE.to_string())
    };
    check(
        &registry,
        &[
            outside("range_past_end_is_416", "bytes=100000-"),
            outside("far past the end", "bytes=99999999999999-"),
            outside("backwards", "bytes=500-0"),
            outside("nothing", "bytes=-0"),
            outside("no numbers", "bytes=a-b"),
            outside("no range", "bytes="),
            outside("a sign", "bytes=+1-2"),
            outside("a start beyond 64 bits", "bytes=99999999999999999999-"),
            whole("another unit", "items=0-5"),
            whole("overlapping beyond the whole", "bytes=0-99999,0-99999"),
            whole("if-range of other content", "bytes=0-5").header("If-Range", "\"x\""),
            whole("if-range with a date", "bytes=0-5").header("If-Range", "Tue, 15 Nov 1994 12:45:26 GMT"),
            whole("if-range is strong", "bytes=0-5").header("If-Range", format!("W/\"{digest}\"")),
            Case::new("if-range of this content", "GET", &path, 206)
                .header("Range", "bytes=0-5")
                .header("If-Range", format!("\"{digest}\""))
                .has("content-length", "6"),
            Case::new("too many", "GET", &path, 400)
                .header("Range", format!("bytes={}", vec!["1-1"; 1025].join(",")))
                .code("RANGE_INVALID"),
        ],
    );
}

#[test]
fn an_empty_blob_has_no_ranges() {
    let registry = registry();
    let mut client = Client::of(&registry);
    let digest = crate::client::push_blob(&mut client, "a", b"");
    check(
        &registry,
        &[
            Case::new("whole", "GET", format!("/v2/a/blobs/{digest}"), 200).has("content-length", "0"),
            Case::new("HEAD", "HEAD", format!("/v2/a/blobs/{digest}"), 200).has("content-length", "0"),
            Case::new("range", "GET", format!("/v2/a/blobs/{digest}"), 416)
                .header("Range", "bytes=0-")
                .has("content-range", "bytes */0")
                .code("RANGE_INVALID"),
        ],
    );
}

/// The parts of a multipart body, each with its Content-Range.
fn parts(body: &[u8], boundary: &str) -> Vec<(String, Vec<u8>)> {
    let find = |bytes: &[u8], needle: &[u8]| bytes.windows(needle.len()).position(|window| window == needle);
    let delimiter = format!("\r\n--{boundary}");
    let mut rest = body;
    let mut parts = Vec::new();
    loop {
        let start = find(rest, delimiter.as_bytes()).unwrap() + delimiter.len();
        rest = &rest[start..];
        if rest.starts_with(b"--") {
            assert_eq!(rest, b"--\r\n");
            return parts;
        }
        let head = find(rest, b"\r\n\r\n").unwrap();
        let range = String::from_utf8(rest[..head].to_vec()).unwrap();
        let range = range.lines().find_map(|line| line.strip_prefix("Content-Range: ")).unwrap().to_owned();
        rest = &rest[head + 4..];
        let end = find(rest, delimiter.as_bytes()).unwrap();
        parts.push((range, rest[..end].to_vec()));
    }
}

#[test]
fn several_ranges_come_as_parts() {
    let (registry, path, _, bytes) = blob();
    let mut client = Client::of(&registry);
    let answer = client.send("GET", &path, &[("Range", "bytes=0-9, 50000-50999,-1")], b"");
    assert_eq!(answer.status, 206);
    let boundary =
        answer.header("content-type").unwrap().strip_prefix("multipart/byteranges; boundary=").unwrap();
    assert!(boundary.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | ':')), "{boundary}");
    let wanted = [(0, 9), (50_000, 50_999), (99_999, 99_999)]
        .map(|(first, last)| (format!("bytes {first}-{last}/{SIZE}"), bytes[first..=last].to_vec()));
    assert!(parts(&answer.body, boundary) == wanted);
    // The connection is in step: the length was right.
    assert_eq!(client.get("/v2/").status, 200);
}

#[test]
fn as_many_ranges_as_are_allowed() {
    let (registry, path, ..) = blob();
    let ranges: Vec<String> = (0..1024).map(|i| format!("{}-{}", i * 90, i * 90 + 1)).collect();
    let header = format!("bytes={}", ranges.join(","));
    let answer = Client::of(&registry).send("GET", &path, &[("Range", &header)], b"");
    assert_eq!(answer.status, 206);
    let boundary = answer.header("content-type").unwrap().rsplit('=').next().unwrap();
    assert_eq!(parts(&answer.body, boundary).len(), 1024);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_split_into_ranges_reassembles_to_the_digest(mut cuts in prop::collection::vec(1..SIZE, 0..8)) {
        let (registry, path, digest, _) = blob();
        let mut client = Client::of(&registry);
        cuts.extend([0, SIZE]);
        cuts.sort_unstable();
        cuts.dedup();
        let mut whole = Vec::new();
        for pair in cuts.windows(2) {
            let range = format!("bytes={}-{}", pair[0], pair[1] - 1);
            whole.extend(client.send("GET", &path, &[("Range", &range)], b"").body);
        }
        prop_assert_eq!(Digest::of(&whole), digest);
    }
}
