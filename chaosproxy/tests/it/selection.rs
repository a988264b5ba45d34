//! Toxics that are for some connections only: by source, by port, by the name a TLS client asks for. The others go as
//! if there were none, and no byte is lost while a name is looked for.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chaosproxy::{CutAction, Introduction, ProxyHandle, ProxySpec, Selection, SelectionError, Server, Toxic};

use crate::harness::*;

/// What a real TLS client sends first; `padding` bytes of protocol names make it long.
fn hello(name: &'static str, padding: usize) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let roots = rustls::RootCertStore::empty();
    let mut config = config.unwrap().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![vec![b'x'; 100]; padding / 100];
    let mut client = rustls::ClientConnection::new(Arc::new(config), name.try_into().unwrap()).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// A connection from a certain address of loopback.
fn connect_from(source: &str, address: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(source.parse().unwrap(), 0).into()).unwrap();
    socket.connect(&address.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn only(narrow: impl FnOnce(Selection) -> Result<Selection, SelectionError>) -> Selection {
    narrow(Selection::default()).unwrap()
}

/// Whether an echo comes back; a toxic that stalls from the first byte on is what keeps it.
fn is_stalled(client: &mut TcpStream) -> bool {
    client.write_all(b"x").unwrap();
    read_all(client, Duration::from_millis(150)) == (Vec::new(), End::Silence)
}

#[test]
fn a_source_is_selected_and_another_goes_untouched() {
    let (server, proxy) = proxied(echo());
    proxy.add(Toxic::stall(0).only(only(|only| only.source("127.0.0.2/32")))).unwrap();
    let mut selected = connect_from("127.0.0.2", proxy.listen_addr());
    let mut other = connect_from("127.0.0.3", proxy.listen_addr());
    assert!(is_stalled(&mut selected));
    assert!(ping(&mut other, b"hello") < Duration::from_secs(1));
    let affects = |client: &str| {
        let views = server.connections();
        views.iter().find(|view| view.client.starts_with(client)).unwrap().toxics[0].affects
    };
    assert_eq!((affects("127.0.0.2:"), affects("127.0.0.3:")), (true, false));
}

#[test]
fn a_port_of_a_range_is_selected() {
    let server = Server::builder().start().unwrap();
    let first = (30_000..32_000)
        .step_by(2)
        .find(|port| (*port..port + 2).all(|port| std::net::TcpListener::bind(("127.92.0.1", port)).is_ok()))
        .unwrap();
    let listen = format!("127.92.0.1:{first}-{}", first + 1);
    let proxy = server.create(ProxySpec { listen, ..ProxySpec::new("range", echo().to_string()) }).unwrap();
    proxy.add(Toxic::stall(0).only(only(|only| only.port(&(first + 1).to_string())))).unwrap();
    let [one, two] = proxy.listen_addrs() else { panic!("two ports") };
    assert!(ping(&mut connect(*one), b"hello") < Duration::from_secs(1));
    assert!(is_stalled(&mut connect(*two)));
}

#[test]
fn a_source_port_is_selected() {
    let (_server, proxy) = proxied(echo());
    let (mut one, mut two) = (connect(proxy.listen_addr()), connect(proxy.listen_addr()));
    ping(&mut one, b"x");
    ping(&mut two, b"x");
    let port = one.local_addr().unwrap().port().to_string();
    let name = proxy.add(Toxic::stall(0).only(only(|only| only.source_port(&port)))).unwrap();
    assert!(is_stalled(&mut one), "also one that was there before");
    ping(&mut two, b"x");
    proxy.remove(&name).unwrap();
    let mut back = [0; 1];
    one.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"x", "what was held goes on");
}

#[test]
fn what_is_not_selected_has_no_line_and_no_count() {
    let (server, proxy) = proxied(echo());
    let cut = Toxic::cut(1 << 40, CutAction::Reset).named("cut").toxicity(0.5);
    proxy.add(cut.only(only(|only| only.source("127.0.0.2")))).unwrap();
    for n in 0..20 {
        let source = if n % 2 == 0 { "127.0.0.2" } else { "127.0.0.3" };
        ping(&mut connect_from(source, proxy.listen_addr()), b"x");
    }
    eventually("all are gone", || server.connections().is_empty());
    let lines = server.ledger();
    let ordinals: Vec<_> = lines.iter().map(|line| line.decision.identity.clone()).collect();
    let expected: Vec<_> = (0..10).map(|n| format!("source connection {}", 2 * n + 1)).collect();
    assert_eq!(ordinals, expected);
    let fired = lines.iter().filter(|line| line.decision.fires).count();
    assert!((1..10).contains(&fired), "toxicity is drawn among the selected: {fired}");
    let metrics = http(server.api_addr(), "GET", "/metrics", &[], "").body;
    let count = format!(
        r#"chaosproxy_toxic_connections_total{{proxy="source",stream="downstream",toxic="cut",type="cut"}} {fired}"#
    );
    assert!(metrics.contains(&count), "{metrics}");
}

/// The draw of a connection is the same with a selection as without.
#[test]
fn a_selection_leaves_the_draws_alone() {
    let decisions = |selection: Selection| {
        let (server, proxy) = proxied(echo());
        let cut = Toxic::cut(1 << 40, CutAction::Reset).named("cut").toxicity(0.5);
        proxy.add(cut.only(selection)).unwrap();
        for _ in 0..10 {
            ping(&mut connect(proxy.listen_addr()), b"x");
        }
        eventually("all are gone", || server.connections().is_empty());
        server.ledger().into_iter().map(|line| format!("{:?}", line.decision)).collect::<Vec<_>>()
    };
    let all = decisions(Selection::default());
    assert_eq!(all.len(), 10);
    assert_eq!(decisions(only(|only| only.source("127.0.0.0/8"))), all);
}

/// A proxy with a toxic for `*.slow.example`, the server told.
fn by_name() -> (Server, ProxyHandle) {
    let (server, proxy) = proxied(echo());
    proxy.add(Toxic::stall(0).named("slow").only(only(|only| only.sni("*.slow.example")))).unwrap();
    (server, proxy)
}

#[test]
fn a_name_is_selected_and_another_goes_untouched() {
    let (server, proxy) = by_name();
    for padding in [0, 4096] {
        let (slow, fast) = (hello("a.slow.example", padding), hello("fast.example", padding));
        let mut selected = connect(proxy.listen_addr());
        selected.write_all(&slow).unwrap();
        assert_eq!(read_all(&mut selected, Duration::from_millis(150)), (Vec::new(), End::Silence));
        let mut other = connect(proxy.listen_addr());
        ping(&mut other, &fast);
        let views = server.connections();
        let names: Vec<_> = views.iter().map(|view| view.sni.as_deref().unwrap()).collect();
        assert_eq!(names, ["a.slow.example", "fast.example"]);
        let affects: Vec<_> = views.iter().map(|view| view.toxics[0].affects).collect();
        assert_eq!(affects, [true, false]);
        drop((selected, other));
        eventually("they are gone", || server.connections().is_empty());
    }
}

#[test]
fn a_hello_may_come_in_pieces() {
    let (server, proxy) = by_name();
    for (name, is_slow) in [("a.slow.example", true), ("fast.example", false)] {
        let bytes = hello(name, 4096);
        let mut client = connect(proxy.listen_addr());
        for piece in bytes.chunks(bytes.len().div_ceil(3)) {
            client.write_all(piece).unwrap();
            std::thread::sleep(Duration::from_millis(30));
        }
        eventually("its name is known", || {
            server.connections().first().is_some_and(|it| it.sni.as_deref() == Some(name))
        });
        let (back, _) = read_all(&mut client, Duration::from_millis(300));
        assert!(back == if is_slow { Vec::new() } else { bytes }, "{name}: no byte is lost and none is held");
        drop(client);
        eventually("it is gone", || server.connections().is_empty());
    }
}

#[test]
fn other_protocols_pass_at_once() {
    let (server, proxy) = by_name();
    let mut client = connect(proxy.listen_addr());
    assert!(ping(&mut client, b"GET / HTTP/1.1\r\n\r\n") < Duration::from_secs(1));
    let view = server.connections().remove(0);
    assert_eq!((view.sni, view.toxics[0].affects), (None, false));
}

/// The beginning of a hello, and no more: after the time limit it goes on with every byte.
#[test]
fn a_hello_that_stops_short_goes_on_after_the_limit() {
    let (_server, proxy) = by_name();
    let bytes = hello("a.slow.example", 0);
    let mut client = connect(proxy.listen_addr());
    let start = Instant::now();
    client.write_all(&bytes[..100]).unwrap();
    let mut back = vec![0; 100];
    client.read_exact(&mut back).unwrap();
    assert_eq!(back, bytes[..100]);
    assert!(start.elapsed() > Duration::from_millis(2900), "{:?}", start.elapsed());
    assert!(ping(&mut client, b"the rest") < Duration::from_secs(1));
}

/// A client that waits for the server's first word has it after the time limit, and one that ends early at once.
#[test]
fn a_server_may_speak_first_and_a_client_may_end_early() {
    let (_server, proxy) = proxied(upstream(|mut stream| {
        drop(stream.write_all(b"220 ready"));
        drop(stream.read(&mut [0; 1]));
    }));
    proxy.add(Toxic::stall(0).upstream().only(only(|only| only.sni("a.b")))).unwrap();
    let mut waiting = connect(proxy.listen_addr());
    let mut ended = connect(proxy.listen_addr());
    let start = Instant::now();
    ended.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut ended, PATIENCE).0, b"220 ready");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    let mut greeting = [0; 9];
    waiting.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"220 ready");
}

/// Only where a name decides is it looked for: nothing else waits for a client's first bytes.
#[test]
fn without_a_toxic_on_names_nothing_waits() {
    let greeting = upstream(|mut stream| drop(stream.write_all(b"220 ready")));
    let (server, proxy) = proxied(greeting);
    let elsewhere = only(|only| only.source("10.0.0.0/8")?.sni("a.b"));
    proxy.add(Toxic::latency(Duration::ZERO, Duration::ZERO).only(elsewhere)).unwrap();
    let start = Instant::now();
    assert_eq!(read_all(&mut connect(proxy.listen_addr()), PATIENCE).0, b"220 ready");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert!(server.connections().iter().all(|view| view.sni.is_none()));
}

/// A stream behind a hello is spliced as ever: 30 MB there and back, byte for byte.
#[test]
fn a_long_transfer_behind_a_hello_loses_no_byte() {
    let (_server, proxy) = by_name();
    let bytes = [hello("fast.example", 4096), pattern(0, BLOCK).repeat(450)].concat();
    let mut client = connect(proxy.listen_addr());
    let mut writer = client.try_clone().unwrap();
    let sent = bytes.clone();
    let writing = std::thread::spawn(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let (back, end) = read_all(&mut client, PATIENCE);
    writing.join().unwrap();
    assert_eq!((back.len(), end), (bytes.len(), End::Fin));
    assert!(back == bytes);
}

#[test]
fn a_toxic_on_a_name_comes_and_goes_and_older_connections_are_not_selected() {
    let (server, proxy) = proxied(echo());
    let bytes = hello("a.slow.example", 0);
    let mut older = connect(proxy.listen_addr());
    ping(&mut older, &bytes);
    let toxic = Toxic::stall(0).named("slow").only(only(|only| only.sni("a.slow.example")));
    proxy.add(toxic.clone()).unwrap();
    ping(&mut older, b"still moving");
    assert_eq!(server.connections()[0].sni, None);
    let mut newer = connect(proxy.listen_addr());
    newer.write_all(&bytes).unwrap();
    assert_eq!(read_all(&mut newer, Duration::from_millis(150)), (Vec::new(), End::Silence));
    proxy.remove("slow").unwrap();
    let mut back = vec![0; bytes.len()];
    newer.set_read_timeout(Some(PATIENCE)).unwrap();
    newer.read_exact(&mut back).unwrap();
    assert_eq!(back, bytes);
    proxy.add(toxic).unwrap();
    assert!(is_stalled(&mut newer), "its name is known once and for all");
}

#[test]
fn a_proxy_may_look_for_names_in_any_case() {
    let (server, proxy) = introduced(echo(), Introduction { peek_sni: true, ..Introduction::default() });
    let mut client = connect(proxy.listen_addr());
    ping(&mut client, &hello("a.slow.example", 0));
    assert_eq!(server.connections()[0].sni.as_deref(), Some("a.slow.example"));
    proxy.add(Toxic::stall(0).only(only(|only| only.sni("*.example")))).unwrap();
    assert!(is_stalled(&mut client), "a toxic that comes later finds it");
}

/// The header, the hello and the rest, in one segment.
#[test]
fn a_hello_may_stand_behind_a_header() {
    let (_server, proxy) = introduced(echo(), Introduction { accept_proxy: true, ..Introduction::default() });
    proxy.add(Toxic::stall(0).only(only(|only| only.source("192.0.2.1")?.sni("*.slow.example")))).unwrap();
    for (name, is_slow) in [("a.slow.example", true), ("fast.example", false)] {
        let bytes = hello(name, 4096);
        let mut client = connect(proxy.listen_addr());
        client.write_all(&[b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", &bytes[..]].concat()).unwrap();
        let (back, _) = read_all(&mut client, Duration::from_millis(300));
        assert!(back == if is_slow { Vec::new() } else { bytes }, "{name}");
    }
}

#[test]
fn the_api_takes_shows_and_keeps_a_selection() {
    let (server, _proxy) = proxied(echo());
    let call = |path: &str, body: &str| http(server.api_addr(), "POST", path, &[], body);
    let only = r#"{"source":["10.0.0.0/8","fd00::1"],"source_port":["1024-2000"],"port":[8666,"8670-8680"],"sni":["*.example.com"]}"#;
    let body = format!(r#"{{"type":"noop","name":"n","toxicity":0.5,"only":{only}}}"#);
    let shown = call("/proxies/source/toxics", &body);
    assert_eq!(shown.status, 200, "{}", shown.body);
    let expected: serde_json::Value = serde_json::from_str(only).unwrap();
    assert_eq!(shown.json()["only"], expected);
    let changed = call("/proxies/source/toxics/n", r#"{"toxicity":0.7}"#).json();
    assert_eq!((&changed["only"], &changed["toxicity"]), (&expected, &0.7.into()));
    let again = call("/proxies/source/toxics/n", &shown.body);
    assert_eq!(again.status, 200, "what was shown may be sent back: {}", again.body);
    let refused = call("/proxies/source/toxics/n", r#"{"only":{"port":[1]}}"#);
    assert_eq!(refused.status, 400);
    assert!(
        refused.body.contains("only cannot be changed; remove the toxic and add it again"),
        "{}",
        refused.body
    );
    let everybody = call("/proxies/source/toxics", r#"{"type":"noop","name":"all","only":{}}"#).json();
    assert_eq!(everybody.get("only"), None);
}

#[test]
fn impossible_selections_are_refused_with_the_remedy() {
    let (server, _proxy) = proxied(echo());
    for (only, problem) in [
        (r#"{"sources":["10.0.0.1"]}"#, "unknown key `sources`; did you mean `source`?"),
        (r#"{"source":"10.0.0.1"}"#, "only.source must be a list with at least one value"),
        (r#"{"port":[]}"#, "only.port must be a list with at least one value"),
        (r#"{"port":[true]}"#, "only.port must be a list of texts or numbers, not true"),
        (r#"{"port":[70000]}"#, "only.port: 70000 is no port and no range of ports"),
        (r#"{"source":["x"]}"#, "only.source: x is no address and no prefix"),
        (r#"{"sni":["*"]}"#, "only.sni: * is no name"),
        ("7", "cannot unmarshal number into Go struct field ToxicWrapper.only of type object"),
    ] {
        let body = format!(r#"{{"type":"noop","only":{only}}}"#);
        let answer = http(server.api_addr(), "POST", "/proxies/source/toxics", &[], &body);
        assert_eq!(answer.status, 400, "{only}");
        assert!(answer.json()["error"].as_str().unwrap().contains(problem), "{only}: {}", answer.body);
    }
}
