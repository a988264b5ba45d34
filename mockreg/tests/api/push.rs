//! Pushing blobs: every way in, every way to be refused, and who waits for whom.

use std::time::Duration;

use mockreg::Registry;
use mockreg_proto::digest::Digest;
use proptest::prelude::*;

use crate::client::{Answer, Case, Client, check, foreign, open_upload, push_blob, registry, wait_for};

fn assert_pullable(client: &mut Client, answer: &Answer, bytes: &[u8]) {
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.header("docker-content-digest"), Some(Digest::of(bytes).to_string().as_str()));
    let pulled = client.get(answer.header("location").unwrap());
    assert!(pulled.status == 200 && pulled.body == bytes);
}

#[test]
fn one_put_one_post_a_stream_and_chunks() {
    let registry = registry();
    let mut client = Client::of(&registry);
    let bytes = foreign(200_000);
    let digest = Digest::of(&bytes);

    let location = open_upload(&mut client, "put");
    let put = client.send("PUT", &format!("{location}?digest={digest}"), &[], &bytes);
    assert_pullable(&mut client, &put, &bytes);
    assert_eq!(client.get(&location).code(), "BLOB_UPLOAD_UNKNOWN");

    let post = client.send("POST", &format!("/v2/post/blobs/uploads/?digest={digest}"), &[], &bytes);
    assert_pullable(&mut client, &post, &bytes);

    let location = open_upload(&mut client, "stream");
    let pieces: Vec<&[u8]> = bytes.chunks(70_000).collect();
    let patch = client.send_chunked("PATCH", &location, &[], &pieces);
    assert_eq!((patch.status, patch.header("range")), (202, Some("0-199999")));
    let put = client.send("PUT", &format!("{location}?digest={digest}"), &[], b"");
    assert_pullable(&mut client, &put, &bytes);

    let location = open_upload(&mut client, "chunks");
    let patch = client.send("PATCH", &location, &[("Content-Range", "0-49999")], &bytes[..50_000]);
    assert_eq!((patch.status, patch.header("range")), (202, Some("0-49999")));
    assert_eq!(patch.header("location"), Some(location.as_str()));
    assert!(location.ends_with(patch.header("docker-upload-uuid").unwrap()));
    let patch =
        client.send("PATCH", &location, &[("Content-Range", "50000-149999")], &bytes[50_000..150_000]);
    assert_eq!((patch.status, patch.header("range")), (202, Some("0-149999")));
    let last = [("Content-Range", "150000-199999")];
    let put = client.send("PUT", &format!("{location}?digest={digest}"), &last, &bytes[150_000..]);
    assert_pullable(&mut client, &put, &bytes);
}

#[test]
fn the_empty_blob_goes_in_every_way() {
    let registry = registry();
    let mut client = Client::of(&registry);
    let digest = Digest::of(b"");
    let location = open_upload(&mut client, "a");
    let patch = client.send("PATCH", &location, &[], b"");
    assert_eq!((patch.status, patch.header("range")), (202, Some("0-0")));
    let put = client.send("PUT", &format!("{location}?digest={digest}"), &[], b"");
    assert_pullable(&mut client, &put, b"");
    let post = client.send("POST", &format!("/v2/b/blobs/uploads/?digest={digest}"), &[], b"");
    assert_pullable(&mut client, &post, b"");
}

#[test]
fn a_chunk_out_of_order_is_refused_and_the_session_lives() {
    let registry = registry();
    let mut client = Client::of(&registry);
    let bytes = foreign(3_000);
    let location = open_upload(&mut client, "a");
    let refuse = |client: &mut Client, method, path: &str, range: &str, body: &[u8], has: &str| {
        let answer = client.send(method, path, &[("Content-Range", range)], body);
        assert_eq!((answer.status, answer.code().as_str()), (416, "RANGE_INVALID"), "{range}");
        assert_eq!(answer.header("location"), Some(location.as_str()));
        assert_eq!(answer.header("range"), Some(has), "{range}");
        let status = client.get(path);
        assert_eq!((status.status, status.header("range")), (204, Some(has)));
        assert_eq!(status.header("location"), Some(location.as_str()));
    };
    refuse(&mut client, "PATCH", &location, "1000-1999", &bytes[1_000..2_000], "0-0");
    assert_eq!(client.send("PATCH", &location, &[("Content-Range", "0-999")], &bytes[..1_000]).status, 202);
    refuse(&mut client, "PATCH", &location, "2000-2999", &bytes[2_000..], "0-999");
    refuse(&mut client, "PATCH", &location, "0-999", &bytes[..1_000], "0-999");
    refuse(&mut client, "PATCH", &location, "1000-1998", &bytes[1_000..2_000], "0-999");
    for malformed in
        ["bytes 1000-1999/3000", "1000", "1000-", "-5", "x-y", "1999-1000", "1000-99999999999999999999"]
    {
        refuse(&mut client, "PATCH", &location, malformed, &bytes[1_000..2_000], "0-999");
    }
    let put = format!("{location}?digest={}", Digest::of(&bytes));
    refuse(&mut client, "PUT", &put, "2000-2999", &bytes[2_000..], "0-999");
    assert_eq!(
        client.send("PATCH", &location, &[("Content-Range", "1000-1999")], &bytes[1_000..2_000]).status,
        202
    );
    let answer = client.send("PUT", &put, &[("Content-Range", "2000-2999")], &bytes[2_000..]);
    assert_pullable(&mut client, &answer, &bytes);
}

#[test]
fn a_chunked_body_must_have_the_length_of_its_range() {
    let registry = registry();
    let mut client = Client::of(&registry);
    let bytes = foreign(1_000);
    let location = open_upload(&mut client, "a");
    let long = client.send_chunked("PATCH", &location, &[("Content-Range", "0-499")], &[&bytes]);
    assert_eq!(
        (long.status, long.code().as_str(), long.header("range")),
        (400, "SIZE_INVALID", Some("0-499"))
    );
    let short = client.send_chunked("PATCH", &location, &[("Content-Range", "500-999")], &[&bytes[500..700]]);
    assert_eq!(
        (short.status, short.code().as_str(), short.header("range")),
        (400, "SIZE_INVALID", Some("0-699"))
    );
    let right = client.send_chunked("PATCH", &location, &[("Content-Range", "700-999")], &[&bytes[700..]]);
    assert_eq!(right.status, 202);
    let put = client.send("PUT", &format!("{location}?digest={}", Digest::of(&bytes)), &[], b"");
    assert_pullable(&mut client, &put, &bytes);
}

#[test]
fn wrong_and_malformed_digests_store_nothing() {
    let registry = registry();
    let mut client = Client::of(&registry);
    let (bytes, wrong) = (foreign(1_000), Digest::of(b"else"));
    let refused = |answer: &Answer| {
        assert_eq!((answer.status, answer.code().as_str()), (400, "DIGEST_INVALID"), "{answer:?}");
    };
    let location = open_upload(&mut client, "a");
    for malformed in ["", "?digest=", "?digest=sha256:baddigeststring", "?digest=md5:00", "?digest=nothing"] {
        refused(&client.send("PUT", &format!("{location}{malformed}"), &[], &bytes));
    }
    // Nothing of those bodies was taken, and the session still stands.
    assert_eq!(client.get(&location).header("range"), Some("0-0"));
    refused(&client.send("PUT", &format!("{location}?digest={wrong}"), &[], &bytes));
    assert_eq!(client.get(&location).code(), "BLOB_UPLOAD_UNKNOWN");
    refused(&client.send("POST", &format!("/v2/a/blobs/uploads/?digest={wrong}"), &[], &bytes));
    refused(&client.send("POST", "/v2/a/blobs/uploads/?digest=sha256:zz", &[], &bytes));
    let location = open_upload(&mut client, "a");
    assert_eq!(client.send("PATCH", &location, &[], &bytes).status, 202);
    refused(&client.send("PUT", &format!("{location}?digest={wrong}"), &[], b""));
    for digest in [wrong, Digest::of(&bytes)] {
        assert_eq!(client.send("HEAD", &format!("/v2/a/blobs/{digest}"), &[], b"").status, 404);
    }
}

#[test]
fn sessions_are_cancelled_and_belong_to_one_repository() {
    let registry = registry();
    let mut client = Client::of(&registry);
    let location = open_upload(&mut client, "a");
    let elsewhere = location.replace("/a/", "/b/");
    check(
        &registry,
        &[
            Case::new("elsewhere", "GET", &elsewhere, 404).code("BLOB_UPLOAD_UNKNOWN"),
            Case::new("elsewhere", "PATCH", &elsewhere, 404).code("BLOB_UPLOAD_UNKNOWN").body("x"),
            Case::new("here", "GET", &location, 204).has("range", "0-0"),
            Case::new("cancel", "DELETE", &location, 204).lacks("content-length"),
            Case::new("cancel again", "DELETE", &location, 404).code("BLOB_UPLOAD_UNKNOWN"),
            Case::new("gone", "PATCH", &location, 404).code("BLOB_UPLOAD_UNKNOWN").body("x"),
            Case::new("unknown", "PUT", "/v2/a/blobs/uploads/7?digest=sha256:0", 404)
                .code("BLOB_UPLOAD_UNKNOWN"),
            Case::new("no such method", "POST", &location, 405)
                .code("UNSUPPORTED")
                .has("allow", "GET, PATCH, PUT, DELETE"),
            Case::new("GET on uploads", "GET", "/v2/a/blobs/uploads/", 405)
                .code("UNSUPPORTED")
                .has("allow", "POST"),
        ],
    );
}

#[test]
fn an_abandoned_session_expires() {
    let registry = Registry::builder().upload_idle(Duration::from_millis(40)).start().unwrap();
    let mut client = Client::of(&registry);
    let location = open_upload(&mut client, "a");
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while client.get(&location).status == 204 {
        assert!(std::time::Instant::now() < deadline, "the session never expired");
        // Asking does not keep it alive, or this would never end.
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn mounting_links_what_is_there_and_opens_an_upload_otherwise() {
    let registry = registry();
    let mut client = Client::of(&registry);
    let digest = push_blob(&mut client, "from/here", b"blob");
    let synthetic = crate::client::image("100kb").layers[0].digest;
    let mounted = |case: Case, digest: Digest| {
        case.has("docker-content-digest", digest.to_string())
            .has("location", format!("/v2/to/blobs/{digest}"))
    };
    let unknown = Digest::of(b"unknown");
    check(
        &registry,
        &[
            Case::new("not yet", "HEAD", format!("/v2/to/blobs/{digest}"), 404).code("NAME_UNKNOWN"),
            mounted(
                Case::new(
                    "mount",
                    "POST",
                    format!("/v2/to/blobs/uploads/?mount={digest}&from=from/here"),
                    201,
                ),
                digest,
            ),
            Case::new("now", "GET", format!("/v2/to/blobs/{digest}"), 200).says("blob"),
            mounted(
                Case::new(
                    "of a made image",
                    "POST",
                    format!("/v2/to/blobs/uploads/?mount={synthetic}&from=synth/100kb"),
                    201,
                ),
                synthetic,
            ),
            Case::new("of a made image, there", "HEAD", format!("/v2/to/blobs/{synthetic}"), 200)
                .has("content-length", "100000"),
            Case::new("anonymous", "POST", format!("/v2/other/blobs/uploads/?mount={digest}"), 201),
            Case::new(
                "not there",
                "POST",
                format!("/v2/to/blobs/uploads/?mount={unknown}&from=from/here"),
                202,
            )
            .has("range", "0-0"),
            Case::new(
                "from nowhere",
                "POST",
                format!("/v2/to/blobs/uploads/?mount={digest}&from=nowhere"),
                202,
            ),
            Case::new("anonymous, not there", "POST", format!("/v2/to/blobs/uploads/?mount={unknown}"), 202),
            Case::new("any type", "POST", "/v2/to/blobs/uploads/", 202)
                .header("Content-Type", "application/json"),
            Case::new("malformed", "POST", "/v2/to/blobs/uploads/?mount=sha256:x&from=from/here", 400)
                .code("DIGEST_INVALID"),
        ],
    );
}

#[test]
fn an_upload_opened_by_a_failed_mount_is_filled_or_cancelled() {
    let registry = registry();
    let mut client = Client::of(&registry);
    let digest = Digest::of(b"blob");
    let mut open = || {
        let path = format!("/v2/a/blobs/uploads/?mount={digest}&from=elsewhere");
        let opened = client.send("POST", &path, &[], b"");
        assert_eq!(opened.status, 202);
        opened.header("location").unwrap().to_owned()
    };
    let (one, two) = (open(), open());
    assert_eq!(client.send("DELETE", &one, &[], b"").status, 204);
    let put = client.send("PUT", &format!("{two}?digest={digest}"), &[], b"blob");
    assert_pullable(&mut client, &put, b"blob");
}

#[test]
fn beyond_the_budget_is_refused_and_what_fits_is_not() {
    let registry = Registry::builder().memory_budget(100_000).start().unwrap();
    let mut client = Client::of(&registry);
    let location = open_upload(&mut client, "a");
    let answer = client.send("PATCH", &location, &[], &foreign(100_001));
    assert_eq!((answer.status, answer.code().as_str()), (413, "SIZE_INVALID"));
    assert!(answer.details().contains("--memory-budget"), "{}", answer.details());
    let mut client = Client::of(&registry);
    assert_eq!(
        client.get(&location).code(),
        "BLOB_UPLOAD_UNKNOWN",
        "the session is dropped and its room is free"
    );
    push_blob(&mut client, "a", &foreign(99_000));
    let post = format!("/v2/a/blobs/uploads/?digest={}", Digest::of(&foreign(1_001)));
    assert_eq!(client.send("POST", &post, &[], &foreign(1_001)).code(), "SIZE_INVALID");
    let mut client = Client::of(&registry);
    push_blob(&mut client, "a", &foreign(1_000));
    // A layer that is made again whenever it is read takes no room.
    push_blob(&mut client, "a", &crate::client::bytes_of(crate::client::layer("2mb")));
}

#[test]
fn a_refusal_in_mid_upload_is_read_by_its_client() {
    // Far more than socket buffers hold: without reading on, the reset would overtake the answer.
    let registry = Registry::builder().memory_budget(1_000_000).start().unwrap();
    let mut client = Client::of(&registry);
    let location = open_upload(&mut client, "a");
    let answer = client.send("PATCH", &location, &[], &foreign(30_000_000));
    assert_eq!((answer.status, answer.code().as_str()), (413, "SIZE_INVALID"));
}

#[test]
fn a_slow_upload_delays_no_other() {
    let registry = registry();
    let mut slow = Client::of(&registry);
    let slow_location = open_upload(&mut slow, "a");
    slow.head("PATCH", &slow_location, &[("Content-Length", "2000")]);
    slow.raw(&foreign(1_000));
    let mut other = Client::of(&registry);
    for _ in 0..20 {
        push_blob(&mut other, "a", &foreign(50_000));
    }
    assert_eq!(other.get(&slow_location).status, 204);
    slow.raw(&foreign(1_000));
    assert_eq!(slow.answer(false).status, 202);
}

#[test]
fn a_later_request_takes_an_upload_over() {
    let registry = registry();
    let bytes = foreign(2_000);
    let mut stuck = Client::of(&registry);
    let location = open_upload(&mut stuck, "a");
    stuck.head("PATCH", &location, &[("Content-Length", "2000")]);
    stuck.raw(&bytes[..1_000]);
    let mut client = Client::of(&registry);
    while client.get(&location).header("range") != Some("0-999") {
        std::thread::sleep(Duration::from_millis(1));
    }
    let put = format!("{location}?digest={}", Digest::of(&bytes));
    let answer = client.send("PUT", &put, &[("Content-Range", "1000-1999")], &bytes[1_000..]);
    assert_pullable(&mut client, &answer, &bytes);
    let displaced = stuck.answer(false);
    assert_eq!((displaced.status, displaced.code().as_str()), (416, "BLOB_UPLOAD_INVALID"));
}

#[test]
fn a_broken_upload_is_resumed_where_it_broke() {
    let registry = registry();
    let bytes = foreign(300_000);
    let mut client = Client::of(&registry);
    let location = open_upload(&mut client, "a");
    client.head("PATCH", &location, &[("Content-Length", "300000")]);
    client.raw(&bytes[..123_456]);
    drop(client);
    let record = wait_for(&registry, |record| record.method == "PATCH");
    assert_eq!((record.end.as_str(), record.bytes_in), ("client_closed", 123_456));
    let mut client = Client::of(&registry);
    let status = client.get(&location);
    assert_eq!((status.status, status.header("range")), (204, Some("0-123455")));
    let rest = [("Content-Range", "123456-299999")];
    assert_eq!(client.send("PATCH", &location, &rest, &bytes[123_456..]).status, 202);
    let put = client.send("PUT", &format!("{location}?digest={}", Digest::of(&bytes)), &[], b"");
    assert_pullable(&mut client, &put, &bytes);
}

#[test]
fn expect_100_continue_is_answered_before_the_body() {
    let registry = registry();
    let mut client = Client::of(&registry);
    let location = open_upload(&mut client, "a");
    let headers = [("Content-Length", "5"), ("Expect", "100-continue")];
    client.head("PATCH", &location, &headers);
    assert_eq!(client.answer_head().status, 100);
    client.raw(b"hello");
    assert_eq!(client.answer(false).header("range"), Some("0-4"));
    client.head("PATCH", "/v2/a/blobs/uploads/unknown", &headers);
    let refused = client.answer(false);
    assert_eq!((refused.status, refused.code().as_str()), (404, "BLOB_UPLOAD_UNKNOWN"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    /// Any bytes, in any chunks, each in any pieces, over any number of connections.
    #[test]
    fn any_split_into_chunks_is_the_same_blob(
        synthetic in 0usize..50_000,
        own in 0usize..50_000,
        chunk in 1_000usize..60_000,
        piece in 100usize..60_000,
    ) {
        let layer = crate::client::bytes_of(crate::client::layer("100kb"));
        let bytes = [&layer[..synthetic], &foreign(own)].concat();
        let registry = registry();
        let location = open_upload(&mut Client::of(&registry), "a");
        let mut at = 0;
        for part in bytes.chunks(chunk) {
            let mut client = Client::of(&registry);
            let range = format!("{at}-{}", at + part.len() - 1);
            let pieces: Vec<&[u8]> = part.chunks(piece).collect();
            let patch = client.send_chunked("PATCH", &location, &[("Content-Range", &range)], &pieces);
            prop_assert_eq!(patch.status, 202);
            at += part.len();
        }
        let mut client = Client::of(&registry);
        let put = client.send("PUT", &format!("{location}?digest={}", Digest::of(&bytes)), &[], b"");
        assert_pullable(&mut client, &put, &bytes);
    }
}
