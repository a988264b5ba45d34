//! PROXY headers between HAProxy and chaosproxy, in both directions and both versions: each believes the other.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use chaosproxy::{Introduction, ProxyHandle, ProxyProtocol, ProxySpec, Server};
use e2e::peers::HaProxy;
use e2e::program::trial;
use libtest_mimic::{Arguments, Trial};

/// By itself it asks for as many descriptors as the system may give, and its pipes on top, and ends where it may not.
const LIMIT: &str = " maxconn 1000";
/// No read lasts longer.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    libtest_mimic::run(&Arguments::from_args(), trials()).exit_code()
}

fn trials() -> Vec<Trial> {
    vec![
        trial("haproxy_believes_our_headers", &["haproxy"], haproxy_believes_ours),
        trial("we_believe_the_headers_of_haproxy", &["haproxy"], we_believe_haproxy),
        trial("a_header_passes_between_two_haproxies", &["haproxy"], passes_between),
        trial("health_checks_of_haproxy_are_let_in", &["haproxy"], health_checks),
    ]
}

/// One that takes PROXY headers and answers each request with the address of its client.
fn teller(folder: &std::path::Path) -> HaProxy {
    let listen = |address: &str| {
        let answer = "http-request return status 200 content-type text/plain lf-string \"%ci:%cp\"";
        format!(" mode http\n bind {address} accept-proxy\n {answer}\n")
    };
    HaProxy::listening(folder, listen, LIMIT, "")
}

/// One that sends headers to a server, with these words behind its address.
fn sender(folder: &std::path::Path, server: SocketAddr, words: &str) -> HaProxy {
    HaProxy::start(folder, &format!("{server} {words}"), LIMIT, "")
}

fn proxied(upstream: &str, introduction: Introduction) -> (Server, ProxyHandle) {
    let server = Server::builder().start().unwrap();
    let proxy = server.create(ProxySpec { introduction, ..ProxySpec::new("p", upstream) }).unwrap();
    (server, proxy)
}

/// Whom the teller at the far end takes a new client for, and the client, which stays connected.
fn told(address: &str) -> (String, TcpStream) {
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let body = loop {
        let mut piece = [0; 1024];
        let n = client.read(&mut piece).unwrap();
        assert_ne!(n, 0, "it ended after {}", answer.escape_ascii());
        answer.extend_from_slice(&piece[..n]);
        let text = String::from_utf8(answer.clone()).unwrap();
        match text.split_once("\r\n\r\n") {
            Some((_, body)) if !body.is_empty() => break body.to_owned(),
            _ => {}
        }
    };
    (body, client)
}

fn address_of(client: &TcpStream) -> String {
    client.local_addr().unwrap().to_string()
}

fn haproxy_believes_ours() {
    let folder = tempfile::tempdir().unwrap();
    let teller = teller(folder.path());
    for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
        let introduction = Introduction { send_proxy: Some(version), ..Introduction::default() };
        let (_server, proxy) = proxied(&teller.address, introduction);
        let (body, client) = told(&proxy.listen_addr().to_string());
        assert_eq!(body, address_of(&client), "{version:?}");
    }
}

fn we_believe_haproxy() {
    let folder = tempfile::tempdir().unwrap();
    let teller = teller(folder.path());
    for words in ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"] {
        let introduction = Introduction {
            accept_proxy: true,
            send_proxy: Some(ProxyProtocol::V1),
            ..Introduction::default()
        };
        let (server, proxy) = proxied(&teller.address, introduction);
        let haproxy = sender(folder.path(), proxy.listen_addr(), words);
        let (_, client) = told(&haproxy.address);
        let views = server.connections();
        assert!(views.iter().any(|view| view.client == address_of(&client)), "{words}: {views:?}");
        assert_eq!(proxy.counts().rejected, 0, "{words}");
    }
}

/// The far end checks the sum over the header and its fields, so that they have to arrive as they were sent.
fn passes_between() {
    let folder = tempfile::tempdir().unwrap();
    let teller = teller(folder.path());
    for words in ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"] {
        for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
            let introduction =
                Introduction { accept_proxy: true, send_proxy: Some(version), ..Introduction::default() };
            let (_server, proxy) = proxied(&teller.address, introduction);
            let haproxy = sender(folder.path(), proxy.listen_addr(), words);
            let (body, client) = told(&haproxy.address);
            assert_eq!(body, address_of(&client), "{words}, then {version:?}");
        }
    }
}

/// They come with a header that tells no addresses.
fn health_checks() {
    let folder = tempfile::tempdir().unwrap();
    let teller = teller(folder.path());
    let introduction =
        Introduction { accept_proxy: true, send_proxy: Some(ProxyProtocol::V2), ..Introduction::default() };
    let (_server, proxy) = proxied(&teller.address, introduction);
    let words = "send-proxy-v2 check inter 50ms check-send-proxy";
    let haproxy = sender(folder.path(), proxy.listen_addr(), words);
    let start = Instant::now();
    while proxy.counts().accepted < 5 {
        assert!(start.elapsed() < PATIENCE, "no checks came");
        std::thread::sleep(Duration::from_millis(5));
    }
    let (body, client) = told(&haproxy.address);
    assert_eq!(body, address_of(&client), "the server is up");
    assert_eq!(proxy.counts().rejected, 0);
}
