//! Datagrams over sockets: flows, every toxic, outages, bounds, and servers that come and go.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use chaosproxy::{
    Admission, Attributes, ConnectionState, CutAction, Distribution, LedgerLine, LedgerParameters,
    OutageKind, ProxyHandle, ProxySpec, Selection, Server, Toxic,
};
use serde_json::json;

use crate::harness::*;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A server that answers each datagram with what `answer` makes of it, if anything.
fn responder(answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        while let Ok((len, client)) = socket.recv_from(&mut buffer) {
            if let Some(bytes) = answer(&buffer[..len]) {
                socket.send_to(&bytes, client).unwrap();
            }
        }
    });
    address
}

fn echo() -> SocketAddr {
    responder(|bytes| Some(bytes.to_vec()))
}

fn spec(upstream: SocketAddr) -> ProxySpec {
    ProxySpec::new("dns", format!("udp://{upstream}"))
}

fn proxied(upstream: SocketAddr) -> (Server, ProxyHandle) {
    let server = Server::builder().start().unwrap();
    let proxy = server.create(spec(upstream)).unwrap();
    (server, proxy)
}

fn client(proxy: &ProxyHandle) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(proxy.listen_addr()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// The next datagram, if one comes within the time.
fn next(socket: &UdpSocket, within: Duration) -> Option<Vec<u8>> {
    socket.set_read_timeout(Some(within)).unwrap();
    let mut buffer = vec![0; 65_536];
    match socket.recv(&mut buffer) {
        Ok(len) => Some(buffer[..len].to_vec()),
        Err(error) => {
            let kinds = [ErrorKind::WouldBlock, ErrorKind::TimedOut, ErrorKind::ConnectionRefused];
            assert!(kinds.contains(&error.kind()), "{error}");
            None
        }
    }
}

fn ask(socket: &UdpSocket, bytes: &[u8]) -> Duration {
    let start = Instant::now();
    socket.send(bytes).unwrap();
    assert_eq!(next(socket, PATIENCE).as_deref(), Some(bytes));
    start.elapsed()
}

#[test]
fn datagrams_go_whole_from_the_empty_to_the_largest() {
    let (server, proxy) = proxied(echo());
    let client = client(&proxy);
    for size in [0, 1, 512, 1_472, 9_000, 65_507] {
        ask(&client, &pattern(0, size));
    }
    // A datagram may be here before it is counted there.
    eventually("the last is counted", || proxy.counts().datagrams_downstream == 6);
    let counts = proxy.counts();
    assert_eq!(counts.datagrams_upstream, 6);
    assert_eq!((counts.accepted, counts.bytes_upstream), (1, 76_492));
    assert_eq!((counts.dropped, counts.faults), (BTreeMap::new(), BTreeMap::new()));
    let shown = http(server.api_addr(), "GET", "/proxies/dns", &[], "").json();
    assert_eq!(shown["listen"], json!(format!("udp://{}", proxy.listen_addr())));
    let metrics = http(server.api_addr(), "GET", "/metrics", &[], "").body;
    assert!(
        metrics.contains("chaosproxy_datagrams_total{direction=\"upstream\",proxy=\"dns\"} 6"),
        "{metrics}"
    );
}

/// Eight clients at once, each with questions of its own; every answer comes to the one that asked.
#[test]
fn every_client_gets_its_own_answers() {
    let (server, proxy) = proxied(responder(|bytes| Some([b"answer to ".as_slice(), bytes].concat())));
    let clients: Vec<_> = (0..8).map(|_| client(&proxy)).collect();
    thread::scope(|scope| {
        for (n, client) in clients.iter().enumerate() {
            scope.spawn(move || {
                for question in 0..200 {
                    let text = format!("{n}/{question}");
                    client.send(text.as_bytes()).unwrap();
                    let answer = next(client, PATIENCE).unwrap();
                    assert_eq!(answer, format!("answer to {text}").as_bytes());
                }
            });
        }
    });
    let flows = server.connections();
    assert_eq!(flows.len(), 8);
    assert!(flows.iter().all(|flow| flow.state == ConnectionState::Open && flow.bytes_upstream > 0));
    let mut ports: Vec<_> = flows.iter().map(|flow| flow.client.clone()).collect();
    ports.sort();
    let mut wanted: Vec<_> = clients.iter().map(|client| client.local_addr().unwrap().to_string()).collect();
    wanted.sort();
    assert_eq!(ports, wanted);
    eventually("all are counted", || proxy.counts().datagrams_downstream == 1_600);
}

/// Sends numbered datagrams, 64 at a time, each 64 acknowledged by the proxy's own counts, so that no kernel's queue
/// overflows; gives what came back, and the decisions.
fn lossy_run(seed: u64, count: u32) -> (Vec<u32>, Vec<String>) {
    let server = Server::builder().seed(seed).start().unwrap();
    let proxy = server.create(spec(echo())).unwrap();
    proxy.add(Toxic::packet_loss(0.1).upstream().named("loss")).unwrap();
    let client = client(&proxy);
    let (mut arrived, mut sent) = (Vec::new(), 0);
    while sent < count {
        for _ in 0..64.min(count - sent) {
            client.send(&sent.to_be_bytes()).unwrap();
            sent += 1;
        }
        eventually("all are through or lost", || {
            let counts = proxy.counts();
            let lost = counts.faults.get("packet_loss").copied().unwrap_or(0);
            counts.datagrams_upstream + lost == u64::from(sent)
                && counts.datagrams_downstream == counts.datagrams_upstream
        });
        while arrived.len() < proxy.counts().datagrams_downstream as usize {
            let bytes = next(&client, PATIENCE).unwrap();
            arrived.push(u32::from_be_bytes(bytes.try_into().unwrap()));
        }
    }
    let line = |line: &LedgerLine| {
        assert!(line.observed.is_some());
        serde_json::to_string(&line.decision).unwrap()
    };
    let lines = server.ledger().iter().map(line).collect();
    for (n, line) in server.ledger().iter().enumerate() {
        let LedgerParameters::Datagram { datagram } = line.decision.parameters else { panic!("{line:?}") };
        assert!(!arrived.contains(&(datagram as u32 - 1)), "{line:?} arrived");
        assert_eq!((line.decision.attempt, &*line.decision.action), (n as u32 + 1, "packet_loss"));
    }
    (arrived, lines)
}

/// 20,000 at a rate of 0.1: the deviation is sqrt(20,000 · 0.1 · 0.9) = 42.4, six of it 255.
#[test]
fn a_tenth_is_lost_and_the_same_tenth_in_every_run() {
    let (arrived, lines) = lossy_run(1, 20_000);
    assert!((17_745..=18_255).contains(&arrived.len()), "{}", arrived.len());
    assert_eq!(arrived.len() + lines.len(), 20_000);
    assert!(arrived.is_sorted(), "loss does not reorder");
    let again = lossy_run(1, 20_000);
    assert!(lines == again.1 && arrived == again.0);
    assert_ne!(lossy_run(2, 1_000).1, lines[..lossy_run(1, 1_000).1.len()]);
}

/// What each toxic does to one exchange, beside those with a test of their own.
#[test]
fn copies_overtaking_and_flipped_bits_arrive_as_they_were_ordered() {
    let (server, proxy) = proxied(echo());
    let client = client(&proxy);
    let twice = proxy.add(Toxic::duplicate(1.0)).unwrap();
    client.send(b"once").unwrap();
    assert_eq!(
        [next(&client, PATIENCE), next(&client, PATIENCE)],
        [Some(b"once".to_vec()), Some(b"once".to_vec())]
    );
    proxy.remove(&twice).unwrap();

    let reorder = Attributes::Reorder { rate: 1.0, correlation: 0.0, gap: 4, delay: 1000 };
    let name = proxy.add(Toxic::new(reorder).upstream()).unwrap();
    b"1234".iter().for_each(|letter| {
        client.send(&[*letter]).unwrap();
    });
    let order: Vec<u8> = (0..4).map(|_| next(&client, PATIENCE).unwrap()[0]).collect();
    assert_eq!(order, b"4123");
    proxy.remove(&name).unwrap();

    let flip = proxy.add(Toxic::corrupt_at(5).named("flip")).unwrap();
    client.send(b"abcd").unwrap();
    assert_eq!(next(&client, PATIENCE).as_deref(), Some(b"abcd".as_slice()));
    client.send(b"efgh").unwrap();
    let got = next(&client, PATIENCE).unwrap();
    let flipped: Vec<_> = got.iter().zip(b"efgh").map(|(got, sent)| (got ^ sent).count_ones()).collect();
    assert_eq!(flipped, [0, 1, 0, 0]);
    proxy.remove(&flip).unwrap();

    ask(&client, b"as ever");
    let faults = proxy.counts().faults;
    let wanted = [("corrupt", 1), ("duplicate", 1), ("reorder", 1)].map(|(name, n)| (name.to_owned(), n));
    assert_eq!(faults, BTreeMap::from(wanted));
    let actions: Vec<_> = server.ledger().into_iter().map(|line| line.decision.action).collect();
    assert_eq!(actions, ["duplicate", "reorder", "corrupt"]);
}

/// Medians of 9 exchanges.
#[test]
fn latency_delays_each_direction_in_every_distribution() {
    let (_server, proxy) = proxied(echo());
    let client = client(&proxy);
    ask(&client, b"first");
    for distribution in [Distribution::Uniform, Distribution::Normal, Distribution::Lognormal] {
        let up = Toxic::spread_latency(ms(40), ms(2), distribution.clone()).upstream();
        let (up, down) = (proxy.add(up).unwrap(), proxy.add(Toxic::latency(ms(20), ms(0))).unwrap());
        let median = median((0..9).map(|_| ask(&client, b"slow")));
        assert!((ms(57)..ms(90)).contains(&median), "{median:?} with {distribution:?}");
        proxy.remove(&up).unwrap();
        proxy.remove(&down).unwrap();
    }
}

/// 100 datagrams of 1,000 bytes at 500 KB/s: 200 ms, and the queue takes 100 KB.
#[test]
fn bandwidth_paces_and_a_full_queue_drops_and_counts() {
    let (_server, proxy) = proxied(echo());
    let client = client(&proxy);
    proxy.add(Toxic::bandwidth(500_000).upstream()).unwrap();
    let start = Instant::now();
    (0..100).for_each(|_| {
        client.send(&[7; 1_000]).unwrap();
    });
    (0..100).for_each(|_| assert_eq!(next(&client, PATIENCE).map(|bytes| bytes.len()), Some(1_000)));
    assert!((ms(195)..ms(400)).contains(&start.elapsed()), "{:?}", start.elapsed());
    (0..150).for_each(|_| {
        client.send(&[7; 1_000]).unwrap();
    });
    let mut arrived = 0;
    while next(&client, ms(300)).is_some() {
        arrived += 1;
    }
    let dropped = proxy.counts().faults["bandwidth:drop"];
    assert_eq!(arrived + dropped, 150);
    assert!(arrived >= 100, "{arrived}: the queue, and what passed meanwhile");
}

#[test]
fn limits_end_the_flow_and_black_holes_do_not() {
    let (server, proxy) = proxied(echo());
    let client = client(&proxy);
    let limit = proxy.add(Toxic::new(Attributes::LimitData { bytes: 8 }).upstream()).unwrap();
    ask(&client, b"12345678");
    client.send(b"9").unwrap();
    eventually("the flow is gone", || server.connections().is_empty());
    // What comes now begins another, with a limit of its own.
    ask(&client, b"12345678");
    assert_eq!((proxy.counts().accepted, proxy.counts().faults["limit_data"]), (2, 1));
    proxy.remove(&limit).unwrap();

    for toxic in [Toxic::stall(0).upstream(), Toxic::timeout(Duration::ZERO), Toxic::stall(0)] {
        let name = proxy.add(toxic).unwrap();
        client.send(b"?").unwrap();
        assert_eq!(next(&client, ms(100)), None);
        proxy.remove(&name).unwrap();
        ask(&client, b"there again");
    }
    assert_eq!(proxy.counts().accepted, 2, "the flow went on");

    proxy.add(Toxic::cut(1, CutAction::Stall).named("cut")).unwrap();
    client.send(b"some more bytes than it lets pass").unwrap();
    assert_eq!(next(&client, ms(100)), None);
    assert_eq!(server.connections()[0].state, ConnectionState::Stalled);
    proxy.remove("cut").unwrap();
    client.send(b"for good").unwrap();
    assert_eq!(next(&client, ms(100)), None);
}

#[test]
fn toxics_of_streams_are_refused_with_the_reason_and_those_of_datagrams_too() {
    let (server, _proxy) = proxied(echo());
    server.create(ProxySpec::new("tcp", "127.0.0.1:1")).unwrap();
    let api = server.api_addr();
    let add = |proxy: &str, body: serde_json::Value| {
        let answer = http(api, "POST", &format!("/proxies/{proxy}/toxics"), &[], &body.to_string());
        (answer.status, answer.body)
    };
    for (proxy, kind, reason) in [
        ("dns", "slicer", "datagrams stay whole"),
        ("dns", "slow_close", "datagrams have none"),
        ("dns", "reset_peer", "datagrams have none"),
        ("tcp", "duplicate", "it is for proxies of udp:// addresses"),
        ("tcp", "reorder", "it is for proxies of udp:// addresses"),
        ("tcp", "packet_loss", "a byte stream has no packets to lose"),
    ] {
        let (status, body) = add(proxy, json!({"type": kind}));
        assert!(status == 400 && body.contains("invalid toxic type: ") && body.contains(reason), "{body}");
    }
    for (body, problem) in [
        (
            json!({"type": "cut", "attributes": {"mean_bytes": 1}}),
            "attribute action of a cut toxic must be stall",
        ),
        (json!({"type": "packet_loss", "attributes": {"loss_rate": 2}}), "must be a share between 0 and 1"),
        (json!({"type": "reorder", "attributes": {"rate": 0.5}}), "attribute delay of a reorder toxic"),
        (json!({"type": "duplicate", "attributes": {"rate": "x"}}), "cannot unmarshal string into Go struct"),
    ] {
        let (status, answer) = add("dns", body);
        assert!(status == 400 && answer.contains(problem), "{answer}");
    }
    let (status, body) =
        add("dns", json!({"type": "reorder", "attributes": {"rate": 0.25, "delay": 10, "gap": 3}}));
    assert_eq!(status, 200, "{body}");
    let shown: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(shown["attributes"], json!({"rate": 0.25, "correlation": 0, "gap": 3, "delay": 10}));
}

#[test]
fn addresses_of_two_protocols_are_refused() {
    let (server, proxy) = proxied(echo());
    let api = server.api_addr();
    let post = |path: &str, body: serde_json::Value| {
        let answer = http(api, "POST", path, &[], &body.to_string());
        (answer.status, answer.body)
    };
    let (status, body) = post("/proxies", json!({"name": "x", "listen": "udp://:0", "upstream": "h:53"}));
    assert!(status == 400 && body.contains("must both be udp://HOST:PORT, or neither"), "{body}");
    for change in [json!({"listen": "127.0.0.1:0"}), json!({"upstream": "127.0.0.1:53"})] {
        let (status, body) = post("/proxies/dns", change);
        assert!(status == 400 && body.contains("goes on carrying what it was made for"), "{body}");
    }
    let (status, body) = post("/proxies", json!({"name": "x", "upstream": "h:53", "idle_timeout_ms": 5}));
    assert!(status == 400 && body.contains("idle_timeout_ms is of flows of datagrams"), "{body}");
    let busy =
        json!({"name": "x", "listen": format!("udp://{}", proxy.listen_addr()), "upstream": "udp://h:53"});
    let (status, body) = post("/proxies", busy);
    let wanted = format!("listen udp {}: bind: address already in use", proxy.listen_addr());
    assert!(status == 500 && body.contains(&wanted), "{body}");
    let strict = Server::builder().strict_compat(true).start().unwrap();
    let body = json!({"name": "x", "listen": "udp://127.0.0.1:0", "upstream": "udp://h:53"}).to_string();
    let answer = http(strict.api_addr(), "POST", "/proxies", &[], &body);
    assert!(answer.body.contains("address udp://127.0.0.1:0: too many colons in address"), "{}", answer.body);
    ask(&client(&proxy), b"none the worse");
}

#[test]
fn a_server_that_goes_and_comes_back_ends_no_flow() {
    // An address of loopback that no other test binds: for a moment the port is nobody's.
    let gone = UdpSocket::bind("127.90.0.9:0").unwrap();
    let address = gone.local_addr().unwrap();
    let (server, proxy) = proxied(address);
    let client = client(&proxy);
    drop(gone);
    for _ in 0..3 {
        client.send(b"anyone?").unwrap();
        assert_eq!(next(&client, ms(50)), None);
    }
    assert!(proxy.counts().dropped["upstream_refused"] >= 1, "{:?}", proxy.counts());
    let back = UdpSocket::bind(address).unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 100];
        while let Ok((len, from)) = back.recv_from(&mut buffer) {
            back.send_to(&buffer[..len], from).unwrap();
        }
    });
    // The answer to the last of those that nobody got may still be on the socket: it costs no datagram.
    ask(&client, b"there you are");
    assert_eq!((server.connections().len(), proxy.counts().accepted), (1, 1));
}

#[test]
fn a_flow_ends_when_it_is_idle_and_the_next_datagram_begins_another() {
    let server = Server::builder().start().unwrap();
    let admission = Admission { idle_timeout_ms: Some(1000), ..Admission::default() };
    let proxy = server.create(ProxySpec { admission, ..spec(echo()) }).unwrap();
    let client = client(&proxy);
    for _ in 0..10 {
        ask(&client, b"busy");
        thread::sleep(ms(120));
    }
    assert_eq!(proxy.counts().accepted, 1);
    eventually("it has ended", || server.connections().is_empty());
    ask(&client, b"again");
    assert_eq!(proxy.counts().accepted, 2);
    let shown = http(server.api_addr(), "GET", "/proxies/dns", &[], "").json();
    assert_eq!(shown["idle_timeout_ms"], json!(1000));
}

#[test]
fn clients_beyond_the_limit_are_dropped_and_those_before_are_served() {
    let server = Server::builder().start().unwrap();
    let admission = Admission { max_connections: Some(2), ..Admission::default() };
    let proxy = server.create(ProxySpec { admission, ..spec(echo()) }).unwrap();
    let clients = [client(&proxy), client(&proxy), client(&proxy)];
    ask(&clients[0], b"in");
    ask(&clients[1], b"in");
    clients[2].send(b"out").unwrap();
    assert_eq!(next(&clients[2], ms(100)), None);
    assert_eq!(proxy.counts().faults["max_connections:refuse"], 1);
    ask(&clients[0], b"in");
}

/// An address of loopback that no other test binds: for the time down the port is nobody's.
#[test]
fn down_closes_the_socket_and_flaps_open_it_again() {
    let server = Server::builder().start().unwrap();
    let proxy = server.create(ProxySpec { listen: "udp://127.90.0.3:0".into(), ..spec(echo()) }).unwrap();
    let client = client(&proxy);
    ask(&client, b"before");
    let outage = server.outage("dns", OutageKind::Down, None).unwrap();
    client.send(b"anyone?").unwrap();
    let refused = client.recv(&mut [0; 10]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    server.end_outage(outage.id).unwrap();
    ask(&client, b"after");
    assert_eq!((proxy.counts().faults["outage:down"], proxy.counts().accepted), (1, 2));
    proxy.set_enabled(false).unwrap();
    client.send(b"anyone?").unwrap();
    assert_eq!(client.recv(&mut [0; 10]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    proxy.set_enabled(true).unwrap();
    ask(&client, b"enabled");
}

#[test]
fn outages_let_datagrams_vanish_and_leave_nothing_behind() {
    let (server, proxy) = proxied(echo());
    let client = client(&proxy);
    ask(&client, b"before");
    let outage = server.outage("dns", OutageKind::BlackHole, None).unwrap();
    client.send(b"into the hole").unwrap();
    assert_eq!(next(&client, ms(100)), None);
    assert_eq!(server.connections()[0].state, ConnectionState::Held);
    server.end_outage(outage.id).unwrap();
    ask(&client, b"after");

    let outage = server.outage("dns", OutageKind::Silent, None).unwrap();
    ask(&client, b"a flow that was there");
    let other = self::client(&proxy);
    other.send(b"a new one").unwrap();
    assert_eq!(next(&other, ms(100)), None);
    server.end_outage(outage.id).unwrap();

    server.outage("dns", OutageKind::ResetAll, None).unwrap();
    assert!(server.connections().is_empty());
    ask(&client, b"a new flow");
    let faults = proxy.counts().faults;
    assert_eq!((faults["outage:black_hole"], faults["outage:silent"], faults["outage:reset_all"]), (1, 1, 2));
}

/// Of 40 new flows the seeded half: all of the datagrams of one, or none.
#[test]
fn a_partial_outage_turns_whole_flows_away() {
    let (server, proxy) = proxied(echo());
    server.outage("dns", OutageKind::Partial, None).unwrap();
    let served = (1..=40).filter(|flow| {
        let client = client(&proxy);
        (0..2).for_each(|_| assert_eq!(client.send(b"?").unwrap(), 1));
        eventually("it is decided", || server.ledger().len() == *flow);
        let is_served = !server.ledger()[flow - 1].decision.fires;
        let patience = if is_served { PATIENCE } else { ms(20) };
        (0..2).for_each(|_| assert_eq!(next(&client, patience).is_some(), is_served));
        is_served
    });
    let served = served.count() as u64;
    eventually("all of the others vanish", || {
        proxy.counts().faults.get("outage:partial") == Some(&(2 * (40 - served)))
    });
    assert!((8..=32).contains(&served), "{served}");
}

/// A delay of a minute holds what comes; beyond an eighth of a MiB for each direction datagrams are dropped.
#[test]
fn what_a_flow_holds_is_bounded() {
    let server = Server::builder().buffer_limit(1 << 20).start().unwrap();
    let proxy = server.create(spec(echo())).unwrap();
    proxy.add(Toxic::latency(Duration::from_secs(60), ms(0)).upstream()).unwrap();
    let client = client(&proxy);
    for _ in 0..12 {
        client.send(&[7; 32_000]).unwrap();
        // The kernel's own queue never has many of them.
        thread::sleep(ms(5));
    }
    // 128 KiB in pieces of 32,064.
    eventually("the rest is dropped", || proxy.counts().dropped.get("overflow") == Some(&(12 - 4)));
    assert_eq!(proxy.counts().datagrams_upstream, 0);
}

/// Each port of a range has its own way to the server, and a toxic can be for one of them.
#[test]
fn ranges_and_selections_are_for_datagrams_too() {
    let first = UdpSocket::bind("127.90.0.10:0").unwrap();
    let base = first.local_addr().unwrap().port();
    let range = format!("udp://127.90.0.11:{base}-{}", base + 1);
    let server = Server::builder().start().unwrap();
    let proxy = server.create(ProxySpec { listen: range.clone(), ..spec(echo()) }).unwrap();
    assert_eq!(proxy.listen(), range);
    let only = Selection::default().port(&(base + 1).to_string()).unwrap();
    proxy.add(Toxic::packet_loss(1.0).only(only)).unwrap();
    let fates = proxy.listen_addrs().iter().map(|address| {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(address).unwrap();
        client.send(b"?").unwrap();
        let is_served = *address == proxy.listen_addr();
        next(&client, if is_served { PATIENCE } else { ms(50) }).is_some()
    });
    assert_eq!(fates.collect::<Vec<_>>(), [true, false]);
    let names = Selection::default().sni("registry.example.com").unwrap();
    let refused = proxy.add(Toxic::packet_loss(1.0).named("by_name").only(names)).unwrap_err();
    assert!(refused.to_string().contains("only.sni"), "{refused}");
    let api = server.api_addr();
    let moved = http(api, "POST", "/proxies/dns", &[], r#"{"listen":""}"#);
    assert!(moved.json()["listen"].as_str().unwrap().starts_with("udp://127.0.0.1:"), "{}", moved.body);
}
