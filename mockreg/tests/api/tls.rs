//! TLS: the whole registry under it, certificates, and clients that get it wrong.

use std::io::Read as _;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use mockreg::{Auth, Registry, Tls};

use crate::client::{Client, bytes_of, foreign, image, layer, push_blob, registry, wait_for};

fn secure() -> Registry {
    Registry::builder().name("test").tls(Tls::ephemeral()).start().unwrap()
}

#[test]
fn pulls_pushes_and_counts_are_as_without() {
    let registry = secure();
    assert!(registry.url().starts_with("https://127.0.0.1:"));
    let mut client = Client::of(&registry);
    let digest = image("5mb").layers[0].digest;
    let blob = client.get(&format!("/v2/synth/5mb/blobs/{digest}"));
    assert!(blob.body == bytes_of(layer("5mb")));
    let pushed = push_blob(&mut client, "a", &foreign(2_000_000));
    assert_eq!(client.get(&format!("/v2/a/blobs/{pushed}")).body, foreign(2_000_000));
    let lines = registry.journal();
    let moved: Vec<_> = lines.iter().map(|line| (line.bytes_in, line.bytes_out, line.end.as_str())).collect();
    assert_eq!(moved[0], (0, 5_000_000, "complete"));
    assert_eq!(moved[2], (2_000_000, 0, "complete"));
    assert_eq!(moved[3], (0, 2_000_000, "complete"));
}

#[test]
fn urls_say_https() {
    let auth = Auth::bearer([("ann", "secret")]);
    let registry = Registry::builder().tls(Tls::ephemeral()).auth(auth).start().unwrap();
    let answer = Client::of(&registry).get("/v2/");
    let realm = format!("Bearer realm=\"{}/token\",service=\"mockreg\"", registry.url());
    assert_eq!(answer.header("www-authenticate"), Some(realm.as_str()));
}

#[test]
fn a_download_that_is_cut_off_is_noticed() {
    let registry = secure();
    let digest = image("500mb").layers[0].digest;
    let mut client = Client::of(&registry);
    client.head("GET", &format!("/v2/synth/500mb/blobs/{digest}"), &[]);
    assert_eq!(client.answer_head().status, 200);
    client.read(3_000_000);
    drop(client);
    let record = wait_for(&registry, |record| record.reference == digest.to_string());
    assert_eq!((record.status, record.end.as_str()), (200, "client_closed"));
    assert!((3_000_000..100_000_000).contains(&record.bytes_out), "{record:?}");
}

#[test]
fn plain_http_is_told_so() {
    let registry = secure();
    for request in ["GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut client = Client::new(registry.registry_addr());
        client.raw(request.as_bytes());
        let answer = client.answer(false);
        assert_eq!(answer.status, 400);
        assert!(answer.text().contains("HTTP request to an HTTPS server"), "{answer:?}");
        assert!(client.is_ended());
    }
    assert!(registry.journal().is_empty());
}

#[test]
fn handshakes_that_fail_or_take_too_long_are_given_up() {
    let short = Duration::from_secs(1);
    let registry = Registry::builder().tls(Tls::ephemeral()).header_timeout(short).start().unwrap();
    // The beginning of a ClientHello, and nothing more.
    let mut slow = Client::new(registry.registry_addr());
    slow.raw(&[22, 3, 1, 0, 200, 1, 0]);
    let mut nonsense = Client::new(registry.registry_addr());
    nonsense.raw(&[22, 3, 1, 0, 5, 1, 0, 0, 1, 9]);
    assert!(slow.is_ended());
    let mut alert = [0; 64];
    let mut stranger = TcpStream::connect(registry.registry_addr()).unwrap();
    std::io::Write::write_all(&mut stranger, &[22, 3, 1, 0, 5, 1, 0, 0, 1, 9]).unwrap();
    assert!(stranger.read(&mut alert).unwrap() >= 7 && alert[0] == 21, "a TLS alert says what is wrong");
    assert_eq!(Client::of(&registry).get("/v2/").status, 200);
    let metrics = Client::new(registry.admin_addr()).get("/metrics").text();
    assert!(metrics.contains("mockreg_tls_failures_total 3\n"), "{metrics}");
}

#[test]
fn a_client_that_trusts_another_authority_refuses() {
    let (one, other) = (secure(), secure());
    let config = crate::client::trusting(other.ca_certificate().unwrap(), b"http/1.1");
    let mut session = rustls::ClientConnection::new(config, one.registry_addr().ip().into()).unwrap();
    let mut stream = TcpStream::connect(one.registry_addr()).unwrap();
    let error = session.complete_io(&mut stream).unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
    assert!(registry().ca_certificate().is_none());
}

#[test]
fn an_authority_outlives_its_registry_and_is_printed() {
    let directory = tempfile::tempdir().unwrap();
    let print = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mockreg"));
        command.arg("ca").arg("--dir").arg(directory.path()).output().unwrap()
    };
    let printed = String::from_utf8(print().stdout).unwrap();
    assert!(printed.starts_with("-----BEGIN CERTIFICATE-----"));
    for _ in 0..2 {
        let registry = Registry::builder().tls(Tls::auto(directory.path())).start().unwrap();
        assert_eq!(registry.ca_certificate(), Some(printed.as_str()));
        assert_eq!(Client::of(&registry).get("/v2/").status, 200);
    }
    assert_eq!(String::from_utf8(print().stdout).unwrap(), printed);
    let nowhere = Registry::builder().tls(Tls::auto("/proc/nowhere")).start();
    assert!(nowhere.is_err());
}
