//! PROXY headers in and out over sockets: who is believed to be the client, what the server is sent, what is refused.

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use chaosproxy::{Introduction, ProxyHandle, ProxyProtocol, Selection, Server, Toxic};

use crate::harness::*;

const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
/// 192.0.2.1:56324 to 192.0.2.2:443, with a field of another kind.
const BINARY: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x10\xc0\x00\x02\x01\xc0\x00\x02\x02\xdc\x04\x01\xbb\xe4\x00\x01x";
const TEXT: &[u8] = b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n";

fn accepting() -> (Server, ProxyHandle) {
    introduced(echo(), Introduction { accept_proxy: true, ..Introduction::default() })
}

#[test]
fn a_header_is_taken_away_and_its_address_is_the_clients() {
    let (server, proxy) = accepting();
    for header in [TEXT, BINARY] {
        let mut client = connect(proxy.listen_addr());
        client.write_all(&[header, b"hello"].concat()).unwrap();
        let mut back = [0; 5];
        std::io::Read::read_exact(&mut client, &mut back).unwrap();
        assert_eq!(&back, b"hello", "the server sees no header");
        assert_eq!(server.connections()[0].client, "192.0.2.1:56324");
        drop(client);
        eventually("it is gone", || server.connections().is_empty());
    }
    assert_eq!(proxy.counts().bytes_upstream, 10, "a header is no payload");
}

#[test]
fn a_header_may_come_byte_by_byte() {
    let (server, proxy) = accepting();
    let mut client = connect(proxy.listen_addr());
    for byte in BINARY {
        client.write_all(&[*byte]).unwrap();
        std::thread::sleep(Duration::from_millis(2));
    }
    ping(&mut client, b"x");
    assert_eq!(server.connections()[0].client, "192.0.2.1:56324");
}

#[test]
fn a_header_without_addresses_leaves_those_of_the_socket() {
    let (server, proxy) = accepting();
    for header in [LOCAL, b"PROXY UNKNOWN\r\n"] {
        let mut client = connect(proxy.listen_addr());
        client.write_all(header).unwrap();
        ping(&mut client, b"x");
        assert_eq!(server.connections()[0].client, client.local_addr().unwrap().to_string());
        drop(client);
        eventually("it is gone", || server.connections().is_empty());
    }
}

#[test]
fn what_is_no_header_is_closed_and_counted() {
    let (server, proxy) = accepting();
    for (count, bytes) in (1..).zip([
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"PROXY TCP4 x\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
    ]) {
        let mut client = connect(proxy.listen_addr());
        client.write_all(bytes).unwrap();
        let (got, end) = read_all(&mut client, PATIENCE);
        assert_eq!((got.len(), end), (0, End::Fin), "{}", bytes.escape_ascii());
        drop(client);
        eventually("it is counted", || proxy.counts().rejected == count);
    }
    let metrics = http(server.api_addr(), "GET", "/metrics", &[], "").body;
    assert!(
        metrics.contains(r#"chaosproxy_connections_total{outcome="rejected",proxy="source"} 3"#),
        "{metrics}"
    );
    assert_eq!(proxy.counts().bytes_upstream, 0);
}

/// Three seconds and what a busy machine adds; and a client that leaves is not waited for.
#[test]
fn a_client_that_owes_its_header_has_a_limit() {
    let (_server, proxy) = accepting();
    let (mut silent, mut slow, mut short) =
        (connect(proxy.listen_addr()), connect(proxy.listen_addr()), connect(proxy.listen_addr()));
    let start = Instant::now();
    slow.write_all(&TEXT[..20]).unwrap();
    short.write_all(&TEXT[..20]).unwrap();
    short.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut short, PATIENCE).1, End::Fin);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    for client in [&mut silent, &mut slow] {
        assert_eq!(read_all(client, PATIENCE).1, End::Fin);
    }
    assert!(start.elapsed() > Duration::from_millis(2900), "{:?}", start.elapsed());
    eventually("they are counted", || proxy.counts().rejected == 3);
}

#[test]
fn a_connection_that_owes_its_header_can_be_killed() {
    let (server, proxy) = accepting();
    let mut client = connect(proxy.listen_addr());
    eventually("it waits", || server.connections().iter().any(|view| view.state.name() == "reading"));
    let start = Instant::now();
    proxy.set_enabled(false).unwrap();
    assert_eq!(read_all(&mut client, PATIENCE).1, End::Fin);
    assert!(start.elapsed() < Duration::from_millis(1500), "{:?}", start.elapsed());
}

/// What the server gets before the client's own byte, for what the client sends before it.
fn sent(introduction: Introduction, header: &[u8]) -> (Vec<u8>, SocketAddr, SocketAddr) {
    let (seen, got) = std::sync::mpsc::channel();
    let server = upstream(move |mut stream| seen.send(read_all(&mut stream, PATIENCE).0).unwrap());
    let (_server, proxy) = introduced(server, introduction);
    let mut client = connect(proxy.listen_addr());
    client.write_all(&[header, b"!"].concat()).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let bytes = got.recv_timeout(PATIENCE).unwrap();
    let header = bytes.strip_suffix(b"!").expect("the client's byte is the last one");
    (header.to_vec(), client.local_addr().unwrap(), proxy.listen_addr())
}

#[test]
fn a_server_is_told_the_sockets_addresses() {
    let send =
        |send_proxy| sent(Introduction { send_proxy: Some(send_proxy), ..Introduction::default() }, b"");
    let (header, client, door) = send(ProxyProtocol::V1);
    let expected = format!("PROXY TCP4 {} {} {} {}\r\n", client.ip(), door.ip(), client.port(), door.port());
    assert_eq!(String::from_utf8(header).unwrap(), expected);
    let (header, client, door) = send(ProxyProtocol::V2);
    let ports = [client.port().to_be_bytes(), door.port().to_be_bytes()].concat();
    assert_eq!(
        header,
        [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\x7f\0\0\x01\x7f\0\0\x01", &ports[..]].concat()
    );
}

#[test]
fn a_server_is_told_what_the_header_told() {
    let both = |version| Introduction { accept_proxy: true, send_proxy: Some(version), peek_sni: false };
    let without_fields: &[u8] =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\xdc\x04\x01\xbb";
    for (accepted, version, expected) in [
        (TEXT, ProxyProtocol::V1, TEXT),
        (TEXT, ProxyProtocol::V2, without_fields),
        (BINARY, ProxyProtocol::V2, BINARY),
        (BINARY, ProxyProtocol::V1, TEXT),
        (LOCAL, ProxyProtocol::V1, b"PROXY UNKNOWN\r\n"),
        (b"PROXY UNKNOWN\r\n", ProxyProtocol::V2, LOCAL),
    ] {
        assert_eq!(sent(both(version), accepted).0, expected, "{}", accepted.escape_ascii());
    }
}

/// A server that greets first is reached although the client says nothing but its header.
#[test]
fn a_server_may_speak_first() {
    let server = upstream(|mut stream| drop(stream.write_all(b"220 ready")));
    let (_server, proxy) = introduced(server, Introduction { accept_proxy: true, ..Introduction::default() });
    let mut client = connect(proxy.listen_addr());
    client.write_all(TEXT).unwrap();
    assert_eq!(read_all(&mut client, PATIENCE).0, b"220 ready");
}

#[test]
fn toxics_select_by_the_headers_address() {
    let (server, proxy) = accepting();
    proxy.add(Toxic::stall(0).only(Selection::default().source("192.0.2.0/24").unwrap())).unwrap();
    proxy
        .add(Toxic::stall(0).named("loopback").only(Selection::default().source("127.0.0.0/8").unwrap()))
        .unwrap();
    let mut client = connect(proxy.listen_addr());
    client.write_all(BINARY).unwrap();
    eventually("it is served", || server.connections().first().is_some_and(|it| it.state.name() == "open"));
    let affects: Vec<_> = server.connections()[0].toxics.iter().map(|toxic| toxic.affects).collect();
    assert_eq!(affects, [true, false]);
}

#[test]
fn the_api_takes_shows_and_changes_the_fields() {
    let server = Server::builder().start().unwrap();
    let call = |path: &str, body: &str| http(server.api_addr(), "POST", path, &[], body);
    let body = r#"{"name":"p","upstream":"h:1","accept_proxy":true,"send_proxy":"v2","peek_sni":true}"#;
    let shown = call("/proxies", body).json();
    assert_eq!(
        (&shown["accept_proxy"], &shown["send_proxy"], &shown["peek_sni"]),
        (&true.into(), &"v2".into(), &true.into())
    );
    let shown = call("/proxies/p", r#"{"accept_proxy":false,"send_proxy":""}"#).json();
    assert_eq!(
        (shown.get("accept_proxy"), shown.get("send_proxy"), &shown["peek_sni"]),
        (None, None, &true.into())
    );
    let refused = call("/proxies/p", r#"{"send_proxy":"v3"}"#);
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("send_proxy must be v1, v2 or empty, not v3"), "{}", refused.body);
}

/// A change holds for those accepted from then on: an older connection stays as it is.
#[test]
fn a_requirement_begins_with_the_next_connection() {
    let (server, proxy) = proxied(echo());
    let mut old = connect(proxy.listen_addr());
    ping(&mut old, b"x");
    assert_eq!(
        http(server.api_addr(), "POST", "/proxies/source", &[], r#"{"accept_proxy":true}"#).status,
        200
    );
    ping(&mut old, b"x");
    let mut new = connect(proxy.listen_addr());
    new.write_all(b"no header").unwrap();
    assert_eq!(read_all(&mut new, PATIENCE).1, End::Fin);
    ping(&mut old, b"x");
}
