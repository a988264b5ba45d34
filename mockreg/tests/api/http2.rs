//! HTTP/2: the same registry through streams, under TLS and with prior knowledge.

use std::time::Duration;

use mockreg::policy::{Policy, TokenPolicy};
use mockreg::{Auth, Registry, Tls};
use mockreg_proto::digest::Digest;
use mockreg_proto::units::ByteCount;

use crate::client::{bytes_of, foreign, image, layer, wait_for};
use crate::http2_client::{Client, TIMEOUT, next, read, send_all};

fn plain() -> Registry {
    Registry::builder().name("test").start().unwrap()
}

fn secure() -> Registry {
    Registry::builder().name("test").tls(Tls::ephemeral()).start().unwrap()
}

async fn open_upload(client: &mut Client) -> String {
    let answer = client.send("POST", "/v2/a/blobs/uploads/", &[], b"").await;
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.header("location").unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn pulls_and_pushes_are_what_they_are_over_http1() {
    for registry in [plain(), secure()] {
        let mut client = Client::of(&registry).await;
        let base = client.get("/v2/").await;
        assert_eq!(
            (base.status, base.header("docker-distribution-api-version")),
            (200, Some("registry/2.0"))
        );
        assert!(base.header("date").is_some());
        let digest = image("20mb").layers[0].digest;
        let path = format!("/v2/synth/20mb/blobs/{digest}");
        let blob = client.get(&path).await;
        assert!(blob.body == bytes_of(layer("20mb")));
        assert_eq!(blob.header("content-length"), Some("20000000"));
        let head = client.send("HEAD", &path, &[], b"").await;
        assert_eq!((head.header("content-length"), head.body.len()), (Some("20000000"), 0));
        let part = client.send("GET", &path, &[("range", "bytes=5-9")], b"").await;
        assert_eq!((part.status, part.body.len()), (206, 5));
        let unknown = client.get("/v2/nobody/tags/list").await;
        assert_eq!((unknown.status, unknown.code().as_str()), (404, "NAME_UNKNOWN"));
        for body in [foreign(3_000_000), bytes_of(layer("10mb"))] {
            let location = open_upload(&mut client).await;
            let patched = client.send("PATCH", &location, &[], &body).await;
            assert_eq!(
                patched.header("range"),
                Some(format!("0-{}", body.len() - 1).as_str()),
                "{patched:?}"
            );
            let digest = Digest::of(&body);
            let put = client.send("PUT", &format!("{location}?digest={digest}"), &[], b"").await;
            assert_eq!(put.status, 201);
            assert!(client.get(&format!("/v2/a/blobs/{digest}")).await.body == body);
        }
        let records = registry.journal();
        assert!(records.iter().all(|record| record.conn == 1 && record.end == "complete"), "{records:#?}");
        let out = |req| records.iter().find(|record| record.req == req).unwrap().bytes_out;
        assert_eq!([out(1), out(2), out(3), out(4)], [base.body.len() as u64, 20_000_000, 0, 5]);
        let patched: Vec<_> = records.iter().filter(|record| record.method == "PATCH").collect();
        assert_eq!([patched[0].bytes_in, patched[1].bytes_in], [3_000_000, 10_000_000]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_streams_share_one_connection() {
    let registry = secure();
    let client = Client::of(&registry).await;
    let path = format!("/v2/synth/5mb/blobs/{}", image("5mb").layers[0].digest);
    let wanted = bytes_of(layer("5mb"));
    let mut client = client;
    let mut answers = Vec::new();
    for _ in 0..40 {
        answers.push(tokio::spawn(read(client.begin("GET", &path, &[], true).await.0)));
    }
    for answer in answers {
        assert!(answer.await.unwrap().body == wanted);
    }
    let records = registry.journal();
    assert_eq!(records.iter().filter(|record| record.bytes_out == 5_000_000 && record.conn == 1).count(), 40);
    assert_eq!(records.iter().map(|record| record.req).max(), Some(40));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_is_given_up_counts_what_really_left() {
    let registry = secure();
    let mut client = Client::of(&registry).await;
    let path = format!("/v2/synth/500mb/blobs/{}", image("500mb").layers[0].digest);
    let (answer, _) = client.begin("GET", &path, &[], true).await;
    let mut stream = answer.await.unwrap().into_body();
    let mut got = 0;
    while got < 3_000_000 {
        got += next(&mut stream).await.unwrap().len() as u64;
    }
    drop(stream);
    let record = wait_for(&registry, |record| record.method == "GET");
    assert_eq!((record.status, record.end.as_str()), (200, "client_closed"));
    // Beyond what was read, at most the client's window and what the sockets of both sides hold.
    assert!((got..got + (16 << 20)).contains(&record.bytes_out), "{record:?}");
    assert_eq!(client.get("/v2/").await.status, 200, "the connection lives on");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_given_up_keeps_what_came() {
    let registry = plain();
    let mut client = Client::of(&registry).await;
    let location = open_upload(&mut client).await;
    let (_, mut upload) = client.begin("PATCH", &location, &[], false).await;
    upload.send_data(foreign(400).into(), false).unwrap();
    let status = loop {
        let status = client.get(&location).await;
        if status.header("range") == Some("0-399") {
            break status;
        }
    };
    assert_eq!(status.status, 204);
    upload.send_reset(h2::Reason::CANCEL);
    let record = wait_for(&registry, |record| record.method == "PATCH");
    assert_eq!((record.end.as_str(), record.bytes_in), ("client_closed", 400));
    assert_eq!(client.get(&location).await.header("range"), Some("0-399"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_that_is_a_lie_stores_nothing() {
    let registry = plain();
    let mut client = Client::of(&registry).await;
    let location = open_upload(&mut client).await;
    let digest = Digest::of(&foreign(400));
    let path = format!("{location}?digest={digest}");
    let (answer, mut upload) = client.begin("PUT", &path, &[("content-length", "1000")], false).await;
    upload.send_data(foreign(400).into(), true).unwrap();
    assert!(answer.await.is_err(), "the stream is reset (RFC 9113 §8.1.1)");
    let head = client.send("HEAD", &format!("/v2/a/blobs/{digest}"), &[], b"").await;
    assert_eq!(head.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_first_is_told_to_go_on_or_not() {
    let registry = plain();
    let mut client = Client::of(&registry).await;
    let location = open_upload(&mut client).await;
    let headers = [("expect", "100-continue")];
    let (mut answer, mut upload) = client.begin("PATCH", &location, &headers, false).await;
    let interim = std::future::poll_fn(|cx| answer.poll_informational(cx));
    let interim = tokio::time::timeout(TIMEOUT, interim).await.unwrap().unwrap().unwrap();
    assert_eq!(interim.status(), 100);
    send_all(&mut upload, &foreign(1000)).await;
    assert_eq!(read(answer).await.header("range"), Some("0-999"));
    let (answer, _upload) = client.begin("PATCH", "/v2/a/blobs/uploads/no", &headers, false).await;
    assert_eq!(read(answer).await.code(), "BLOB_UPLOAD_UNKNOWN");
    let refused = wait_for(&registry, |record| record.status == 404);
    assert_eq!(refused.bytes_in, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_body_spoils_no_other_stream() {
    let registry = plain();
    let mut client = Client::of(&registry).await;
    for len in [1000, 100_000, 30_000_000] {
        let refused = client.send("PATCH", "/v2/a/blobs/uploads/no", &[], &foreign(len)).await;
        assert_eq!(refused.code(), "BLOB_UPLOAD_UNKNOWN");
        assert_eq!(client.get("/v2/").await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_tokens_pass_and_larger_heads_are_refused() {
    let tokens = TokenPolicy { padded_to: ByteCount(32 << 10), ..TokenPolicy::default() };
    let policy = Policy { tokens, ..Policy::default() };
    let auth = Auth::bearer([("ann", "secret")]).anonymous_pull(true);
    let registry = Registry::builder().tls(Tls::ephemeral()).auth(auth).policy(policy).start().unwrap();
    let mut client = Client::of(&registry).await;
    let challenge = client.get("/v2/").await;
    let realm = format!("Bearer realm=\"{}/token\"", registry.url());
    assert!(challenge.header("www-authenticate").unwrap().starts_with(&realm), "{challenge:?}");
    let token = client.get("/token?scope=repository:synth/10kb:pull").await.json();
    let authorization = format!("Bearer {}", token["token"].as_str().unwrap());
    assert!(authorization.len() > 32 << 10);
    let headers = [("authorization", authorization.as_str())];
    assert_eq!(client.send("GET", "/v2/synth/10kb/manifests/v1", &headers, b"").await.status, 200);
    let huge = "x".repeat(100_000);
    let answer = client.send("GET", "/v2/", &[("authorization", &huge)], b"").await;
    assert_eq!(answer.status, 431);
    assert_eq!(client.get("/v2/").await.status, 401, "the connection lives on");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let short = Duration::from_secs(1);
    let registry = Registry::builder().header_timeout(short).start().unwrap();
    let mut idle = Client::of(&registry).await;
    assert_eq!(idle.get("/v2/").await.status, 200);
    let mut busy = Client::of(&registry).await;
    let path = format!("/v2/synth/20mb/blobs/{}", image("20mb").layers[0].digest);
    let (answer, _) = busy.begin("GET", &path, &[], true).await;
    let mut stream = answer.await.unwrap().into_body();
    // Slower than the limit for idle connections, all in all, but never still.
    let mut got = 0;
    while let Some(bytes) = next(&mut stream).await {
        got += bytes.len();
        if got % 10 == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    assert_eq!(got, 20_000_000);
    tokio::time::timeout(TIMEOUT, idle.connection).await.unwrap().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_ends_streams() {
    let registry = plain();
    let mut client = Client::of(&registry).await;
    let path = format!("/v2/synth/500mb/blobs/{}", image("500mb").layers[0].digest);
    let (answer, _) = client.begin("GET", &path, &[], true).await;
    let _unread = answer.await.unwrap();
    let began = std::time::Instant::now();
    tokio::task::spawn_blocking(move || registry.stop()).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // However it ends, it does.
    let _ = tokio::time::timeout(TIMEOUT, client.connection).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_names_one_host() {
    let registry = plain();
    let mut client = Client::of(&registry).await;
    let (path, whole) = ("/v2/".to_owned(), format!("{}/v2/", registry.url()));
    let own = registry.registry_addr().to_string();
    for (uri, hosts, status) in [
        (&whole, &[][..], 200),
        (&whole, &[own.as_str()], 200),
        (&whole, &["other.test"], 400),
        (&path, &["other.test"], 200),
        (&path, &[], 400),
        (&path, &["other.test", "other.test"], 400),
    ] {
        let headers: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
        let (answer, _) = client.begin_at("GET", uri, &headers, true).await;
        assert_eq!(read(answer).await.status, status, "{uri} {hosts:?}");
    }
}
