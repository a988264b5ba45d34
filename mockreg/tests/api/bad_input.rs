//! Input that no honest client sends: refused with a clear error, and nobody else notices.

use std::time::Duration;

use mockreg::Registry;
use mockreg_proto::digest::Digest;

use crate::client::{Case, Client, check, foreign, open_upload, push_blob, registry, wait_for};

#[test]
fn malformed_names_and_references() {
    let registry = registry();
    let name = |name, path: &str| Case::new(name, "GET", path, 400).code("NAME_INVALID");
    let long = format!("/v2/{}/tags/list", "a".repeat(256));
    check(
        &registry,
        &[
            name("upper case", "/v2/Library/app/tags/list"),
            name("an empty segment", "/v2/a//b/tags/list"),
            name("a leading slash", "/v2//a/tags/list"),
            name("dots", "/v2/a/../b/manifests/v1"),
            name("escaped dots", "/v2/a/%2e%2e/b/manifests/v1"),
            name("a space", "/v2/a%20b/tags/list"),
            name("a NUL", "/v2/a%00b/tags/list"),
            name("not UTF-8", "/v2/a%ffb/tags/list"),
            name("too long", &long).says("255"),
            Case::new("on POST", "POST", "/v2/A/blobs/uploads/", 400).code("NAME_INVALID"),
            Case::new("on PUT", "PUT", "/v2/A/manifests/v1", 400).code("NAME_INVALID").body("{}"),
            Case::new("on HEAD", "HEAD", "/v2/A/manifests/v1", 400).code("NAME_INVALID"),
            Case::new("a tag", "GET", "/v2/a/manifests/-x", 400).code("TAG_INVALID"),
            Case::new("a long tag", "GET", format!("/v2/a/manifests/{}", "x".repeat(129)), 400)
                .code("TAG_INVALID"),
            Case::new("no digest", "GET", "/v2/a/blobs/latest", 400).code("DIGEST_INVALID"),
            Case::new("a short digest", "GET", "/v2/a/blobs/sha256:00", 400)
                .code("DIGEST_INVALID")
                .says("64"),
            Case::new("capitals", "GET", format!("/v2/a/blobs/sha256:{}", "A".repeat(64)), 400)
                .code("DIGEST_INVALID"),
            Case::new("another algorithm", "GET", format!("/v2/a/blobs/sha384:{}", "0".repeat(96)), 400)
                .code("DIGEST_INVALID")
                .says("sha512"),
            Case::new("too few digits", "GET", format!("/v2/a/blobs/sha512:{}", "0".repeat(64)), 400)
                .code("DIGEST_INVALID")
                .says("128"),
            Case::new("a manifest digest", "GET", "/v2/a/manifests/sha256:baddigeststring", 400)
                .code("DIGEST_INVALID"),
        ],
    );
}

#[test]
fn a_body_that_ends_too_early_keeps_what_came_and_hurts_nobody() {
    let registry = registry();
    let mut client = Client::of(&registry);
    let location = open_upload(&mut client, "a");
    let digest = Digest::of(&foreign(1_000));
    for (method, path) in [
        ("PUT", format!("{location}?digest={digest}")),
        ("POST", format!("/v2/a/blobs/uploads/?digest={digest}")),
        ("PUT", "/v2/a/manifests/v1".to_owned()),
    ] {
        let mut short = Client::of(&registry);
        short.head(method, &path, &[("Content-Length", "1000")]);
        short.raw(&foreign(400));
        drop(short);
    }
    for method in ["PUT", "POST"] {
        let record = wait_for(&registry, |record| record.method == method && record.bytes_in == 400);
        assert_eq!(record.end, "client_closed");
    }
    assert_eq!(client.get(&location).header("range"), Some("0-399"));
    assert_eq!(client.send("HEAD", &format!("/v2/a/blobs/{digest}"), &[], b"").status, 404);
    push_blob(&mut client, "a", &foreign(1_000));
}

#[test]
fn bytes_after_a_body_are_no_part_of_it() {
    let registry = registry();
    let mut client = Client::of(&registry);
    let location = open_upload(&mut client, "a");
    client.head("PATCH", &location, &[("Content-Length", "5")]);
    client.raw(b"hello, and more that was never announced\r\n\r\n");
    assert_eq!(client.answer(false).header("range"), Some("0-4"));
    // What follows is no request; the connection ends, the session does not.
    assert_eq!(client.answer_head().status, 400);
    assert_eq!(Client::of(&registry).get(&location).header("range"), Some("0-4"));
}

#[test]
fn chunks_that_are_none_break_the_body_only() {
    let registry = registry();
    let mut client = Client::of(&registry);
    let location = open_upload(&mut client, "a");
    client.head("PATCH", &location, &[("Transfer-Encoding", "chunked")]);
    client.raw(b"5\r\nhello\r\nzz\r\n");
    let record = wait_for(&registry, |record| record.method == "PATCH");
    assert_eq!((record.end.as_str(), record.bytes_in), ("error:malformed_body", 5));
    assert_eq!(Client::of(&registry).get(&location).header("range"), Some("0-4"));
}

#[test]
fn what_is_no_http_is_turned_away() {
    let registry = registry();
    let mut garbage = Client::of(&registry);
    garbage.raw(b"\0\x01\x02 what is this\r\n\r\n");
    assert_eq!(garbage.answer(false).status, 400);
    let mut endless = Client::of(&registry);
    endless.raw(format!("GET /v2/ HTTP/1.1\r\nX: {}\r\n", "x".repeat(600_000)).as_bytes());
    assert_eq!(endless.answer_head().status, 431);
    assert_eq!(Client::of(&registry).get("/v2/").status, 200);
    assert_eq!(registry.journal().len(), 1, "what was no request is in no journal");
}

#[test]
fn what_is_no_request_gets_an_error_body_like_any_other() {
    let registry = registry();
    let long = format!("GET /v2/{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(200_000));
    let many = format!("GET /v2/ HTTP/1.1\r\nX: {}\r\n", "x".repeat(600_000));
    for (head, status, message) in [
        ("PUT /v2/a/manifests/v1 HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", 400, "content-length"),
        ("\0\x01 what is this\r\n\r\n", 400, "invalid"),
        (&long, 414, "too long"),
        (&many, 431, "too large"),
    ] {
        let mut client = Client::of(&registry);
        client.raw(head.as_bytes());
        let answer = client.answer(false);
        assert_eq!((answer.status, answer.code().as_str()), (status, "UNSUPPORTED"), "{answer:?}");
        assert!(answer.text().contains(message) && !answer.details().is_empty(), "{answer:?}");
        assert!(
            answer.header("date").is_some() && answer.header("connection") == Some("close"),
            "{answer:?}"
        );
        assert!(client.is_ended());
    }
    // Behind an answer that is still under way, too: the answer comes first, whole.
    let mut client = Client::of(&registry);
    client.raw(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.answer(false).status, 200);
    client.raw(b"GET /v2/ HTTP/1.1\r\nContent-Length: five\r\n\r\n");
    assert_eq!(client.answer(false).code(), "UNSUPPORTED");
}

#[test]
fn a_request_names_its_host_once() {
    let registry = registry();
    for (head, status, says) in [
        ("GET /v2/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 200, ""),
        ("GET /v2/ HTTP/1.0\r\n\r\n", 200, ""),
        ("GET /v2/ HTTP/1.1\r\n\r\n", 400, "no Host header"),
        ("GET http://a.test/v2/ HTTP/1.1\r\n\r\n", 400, "no Host header"),
        ("GET /v2/ HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n", 400, "more than one Host"),
        ("GET /v2/ HTTP/1.1\r\nHost: a\"b\r\n\r\n", 400, "is no host"),
        ("PUT /v2/a/manifests/v1 HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 400, "no Host header"),
    ] {
        let mut client = Client::of(&registry);
        client.raw(head.as_bytes());
        let answer = client.answer(false);
        assert_eq!(answer.status, status, "{head}: {answer:?}");
        if status == 400 {
            assert_eq!(answer.code(), "UNSUPPORTED");
            assert!(answer.details().contains(says), "{answer:?}");
        }
    }
}

/// RFC 9112 §6.3: such a request may be served by its chunks, and its connection ends in any case. What follows it on
/// the connection could be a request by one reading and a body by the other, so it is neither.
#[test]
fn a_body_with_both_lengths_is_read_in_chunks_and_ends_the_connection() {
    let registry = registry();
    let lengths = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
    ];
    for lengths in lengths {
        let mut client = Client::of(&registry);
        let location = open_upload(&mut client, "a");
        client.raw(format!("PATCH {location} HTTP/1.1\r\nHost: x\r\n{lengths}\r\n\r\n").as_bytes());
        client.raw(b"3\r\nabc\r\n0\r\n\r\nGET /v2/hidden/tags/list HTTP/1.1\r\nHost: x\r\n\r\n");
        let answer = client.answer(false);
        assert_eq!((answer.status, answer.header("range")), (202, Some("0-2")), "{answer:?}");
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(client.is_ended());
    }
    assert!(registry.journal().iter().all(|record| record.repository != "hidden"));
}

#[test]
fn tls_on_the_plain_port_is_told_so_and_counted_apart() {
    let registry = registry();
    let mut client = Client::of(&registry);
    // The beginning of a ClientHello: a handshake record of TLS 1.0 (as all versions call themselves there).
    client.raw(&[22, 3, 1, 0, 5, 1, 0, 0, 1, 3]);
    let answer = client.answer(false);
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("plain HTTP"));
    assert!(client.is_ended());
    let counters = Client::new(registry.admin_addr()).get("/counters").json();
    assert_eq!([&counters["tls_hellos"], &counters["requests"]], [1, 0]);
    assert!(registry.journal().is_empty());
}

#[test]
fn slow_heads_and_silent_bodies_are_given_up() {
    // Short for a test, long for a machine that is busy with all the others.
    let short = Duration::from_secs(1);
    let registry = Registry::builder().header_timeout(short).body_idle(short).start().unwrap();
    let mut silent = Client::of(&registry);
    let mut slow = Client::of(&registry);
    slow.raw(b"GET /v2/ HTTP/1.1\r\nHos");
    assert!(silent.is_ended());
    assert!(slow.is_ended());
    let mut client = Client::of(&registry);
    let location = open_upload(&mut client, "a");
    client.head("PATCH", &location, &[("Content-Length", "10")]);
    client.raw(b"hello");
    let answer = client.answer(false);
    assert_eq!((answer.status, answer.code().as_str()), (408, "SIZE_INVALID"));
    let record = wait_for(&registry, |record| record.method == "PATCH");
    assert_eq!((record.end.as_str(), record.bytes_in), ("error:body_idle", 5));
    assert_eq!(Client::of(&registry).get(&location).header("range"), Some("0-4"));
}

#[test]
fn a_small_refused_body_leaves_the_connection_in_step() {
    let registry = registry();
    let mut client = Client::of(&registry);
    for _ in 0..3 {
        let refused = client.send("PATCH", "/v2/a/blobs/uploads/unknown", &[], &foreign(100_000));
        assert_eq!(refused.code(), "BLOB_UPLOAD_UNKNOWN");
    }
    assert_eq!(client.get("/v2/").status, 200);
    assert_eq!(registry.journal().iter().filter(|record| record.conn == 1).count(), 4);
}
