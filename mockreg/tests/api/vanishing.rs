//! Clients that go away, and servers that do.

use std::time::{Duration, Instant};

use mockreg::Registry;

use crate::client::{Client, image, open_upload, registry, wait_for};

#[test]
fn a_download_that_is_cut_off_counts_what_really_left() {
    let registry = registry();
    let size: u64 = 500_000_000;
    let digest = image("500mb").layers[0].digest;
    let mut client = Client::of(&registry);
    client.head("GET", &format!("/v2/synth/500mb/blobs/{digest}"), &[]);
    assert_eq!(client.answer_head().status, 200);
    let read = 3_000_000;
    client.read(read);
    drop(client);
    let record = wait_for(&registry, |record| record.reference == digest.to_string());
    assert_eq!((record.status, record.end.as_str()), (200, "client_closed"));
    // What the client read left for sure; beyond that only what the socket buffers of both sides hold.
    let most = read as u64 + (64 << 20);
    assert!((read as u64..most.min(size)).contains(&record.bytes_out), "{record:?}");
}

#[test]
fn ranges_that_a_client_drops_are_normal() {
    // As containerd fetches in parallel: open-ended ranges, each dropped after its part.
    let registry = registry();
    let digest = image("20mb").layers[0].digest;
    for start in [0, 5_000_000, 10_000_000] {
        let mut client = Client::of(&registry);
        client.head(
            "GET",
            &format!("/v2/synth/20mb/blobs/{digest}"),
            &[("Range", &format!("bytes={start}-"))],
        );
        assert_eq!(client.answer_head().status, 206);
        client.read(1_000_000);
    }
    let record = wait_for(&registry, |record| record.range == Some([10_000_000, 19_999_999]));
    assert_eq!((record.status, record.attempt), (206, 3));
    assert_eq!(Client::of(&registry).get("/v2/").status, 200);
}

#[test]
fn requests_on_a_connection_are_numbered() {
    let registry = registry();
    for _ in 0..2 {
        let mut client = Client::of(&registry);
        client.get("/v2/");
        client.send("HEAD", "/v2/synth/100kb/manifests/latest", &[], b"");
        client.get("/v2/synth/100kb/manifests/latest");
    }
    let records = registry.journal().into_iter();
    let mut seen: Vec<_> = records.map(|r| (r.conn, r.req, r.attempt, r.method)).collect();
    // Lines of two connections may be written in either order.
    seen.sort();
    let wanted = [
        (1, 1, 1, "GET"),
        (1, 2, 1, "HEAD"),
        (1, 3, 1, "GET"),
        (2, 1, 2, "GET"),
        (2, 2, 2, "HEAD"),
        (2, 3, 2, "GET"),
    ];
    assert_eq!(seen, wanted.map(|(conn, req, attempt, method)| (conn, req, attempt, method.to_owned())));
}

#[test]
fn pipelined_requests_are_each_accounted() {
    let registry = registry();
    let mut client = Client::of(&registry);
    client.raw("GET /v2/synth/1mb/manifests/x HTTP/1.1\r\nHost: h\r\n\r\n".repeat(5).as_bytes());
    let lengths: Vec<u64> = (0..5).map(|_| client.answer(false).body.len() as u64).collect();
    let records = registry.journal();
    assert_eq!(records.iter().map(|record| record.bytes_out).collect::<Vec<_>>(), lengths);
    assert!(records.iter().all(|record| record.end == "complete"));
}

#[test]
fn stopping_ends_transfers_and_frees_the_ports() {
    let registry = registry();
    let digest = image("500mb").layers[0].digest;
    let mut downloading = Client::of(&registry);
    downloading.head("GET", &format!("/v2/synth/500mb/blobs/{digest}"), &[]);
    assert_eq!(downloading.answer_head().status, 200);
    let mut uploading = Client::of(&registry);
    let location = open_upload(&mut uploading, "a");
    uploading.head("PATCH", &location, &[("Content-Length", "1000")]);
    let mut idle = Client::of(&registry);
    assert_eq!(idle.get("/v2/").status, 200);
    let (registry_addr, admin_addr) = (registry.registry_addr(), registry.admin_addr());
    let began = Instant::now();
    registry.stop();
    // Half a second of grace, and the time of a busy machine.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(idle.is_ended());
    let again = Registry::builder().listen(registry_addr).admin(admin_addr).start().unwrap();
    assert_eq!(Client::of(&again).get("/v2/").status, 200);
}

#[test]
fn a_registry_runs_inside_any_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let registry = registry();
        // This thread is the only one of the caller's runtime, and it is blocked meanwhile.
        assert_eq!(Client::of(&registry).get("/v2/synth/100kb/manifests/latest").status, 200);
        // One that cannot start leaves no runtime behind that this one would have to drop.
        let again = Registry::builder().listen(registry.registry_addr()).start();
        assert!(again.is_err());
        let nowhere = Registry::builder().journal_file("/nowhere/journal").start();
        assert!(nowhere.is_err());
        drop(registry);
    });
}
