//! Proxies of several ports: one to one or all to one, all or none, and what the API says of them.

use std::net::{SocketAddr, TcpListener};

use chaosproxy::{OutageKind, ProxyError, ProxySpec, Server};

use crate::harness::*;

/// So many ports in a row at an address that no other test listens on, free a moment ago; addresses in 127.91.0.0/16
/// are these tests' alone.
fn run_of_ports(host: &str, count: u16) -> u16 {
    (20_000..30_000)
        .step_by(usize::from(count))
        .find(|first| (*first..first + count).all(|port| TcpListener::bind((host, port)).is_ok()))
        .expect("there is such a run")
}

/// Servers that say which one they are, on ports in a row.
fn signed(host: &'static str, count: u16) -> u16 {
    let first = run_of_ports(host, count);
    for port in first..first + count {
        let listener = TcpListener::bind((host, port)).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                use std::io::Write;
                let _client_gone = write!(stream.unwrap(), "{port}");
            }
        });
    }
    first
}

fn spec(listen: &str, upstream: &str) -> ProxySpec {
    ProxySpec { listen: listen.to_owned(), ..ProxySpec::new("range", upstream) }
}

fn answer(address: SocketAddr) -> String {
    String::from_utf8(read_all(&mut connect(address), PATIENCE).0).unwrap()
}

#[test]
fn each_port_leads_to_the_one_in_its_place() {
    let (doors, servers) = (run_of_ports("127.91.1.1", 5), signed("127.91.1.2", 5));
    let server = Server::builder().start().unwrap();
    let listen = format!("127.91.1.1:{doors}-{}", doors + 4);
    let proxy = server.create(spec(&listen, &format!("127.91.1.2:{servers}-{}", servers + 4))).unwrap();
    assert_eq!(proxy.listen_addrs().len(), 5);
    assert_eq!(proxy.listen_addr(), SocketAddr::new("127.91.1.1".parse().unwrap(), doors));
    for (place, address) in (0u16..).zip(proxy.listen_addrs()) {
        assert_eq!(address.port(), doors + place);
        assert_eq!(answer(*address), (servers + place).to_string());
    }
    let shown = http(server.api_addr(), "GET", "/proxies/range", &[], "").json();
    assert_eq!(shown["listen"], listen.as_str(), "as it was written");
}

#[test]
fn all_ports_lead_to_a_single_one_and_connections_show_theirs() {
    let doors = run_of_ports("127.91.2.1", 3);
    let server = Server::builder().start().unwrap();
    let spec = spec(&format!("127.91.2.1:{doors}-{}", doors + 2), &echo().to_string());
    let proxy = server.create(spec).unwrap();
    let mut clients: Vec<_> = proxy.listen_addrs().iter().map(|address| connect(*address)).collect();
    for client in &mut clients {
        ping(client, b"x");
    }
    let mut ports: Vec<_> = server.connections().iter().map(|connection| connection.port).collect();
    ports.sort_unstable();
    assert_eq!(ports, [doors, doors + 1, doors + 2]);
    assert_eq!(proxy.counts().accepted, 3, "one proxy, one count");
}

#[test]
fn all_ports_are_bound_or_none() {
    let doors = run_of_ports("127.91.3.1", 4);
    let taken = TcpListener::bind(("127.91.3.1", doors + 2)).unwrap();
    let server = Server::builder().start().unwrap();
    let range = spec(&format!("127.91.3.1:{doors}-{}", doors + 3), "127.0.0.1:1");
    let error = server.create(range.clone()).unwrap_err().to_string();
    assert_eq!(error, format!("listen tcp 127.91.3.1:{}: bind: address already in use", doors + 2));
    for port in [doors, doors + 1, doors + 3] {
        TcpListener::bind(("127.91.3.1", port)).unwrap();
    }
    drop(taken);
    assert_eq!(server.create(range).unwrap().listen_addrs().len(), 4);
}

#[test]
fn an_outage_and_a_toggle_take_all_ports() {
    let doors = run_of_ports("127.91.4.1", 3);
    let server = Server::builder().start().unwrap();
    let proxy =
        server.create(spec(&format!("127.91.4.1:{doors}-{}", doors + 2), &echo().to_string())).unwrap();
    let are_open = |expected: bool| {
        for address in proxy.listen_addrs() {
            assert_eq!(std::net::TcpStream::connect(address).is_ok(), expected, "{address}");
        }
    };
    are_open(true);
    let outage = server.outage("range", OutageKind::Down, None).unwrap();
    are_open(false);
    server.end_outage(outage.id).unwrap();
    are_open(true);
    proxy.set_enabled(false).unwrap();
    are_open(false);
    proxy.set_enabled(true).unwrap();
    are_open(true);
}

#[test]
fn impossible_ranges_are_refused_with_the_remedy() {
    let server = Server::builder().start().unwrap();
    for (listen, upstream, problem) in [
        (
            "h:1-3",
            "b:1-2",
            "listen has 3 and upstream 2 ports; give upstream as many as listen, or one port for all",
        ),
        (
            "h:5",
            "b:1-2",
            "listen has 1 and upstream 2 ports; give upstream as many as listen, or one port for all",
        ),
        ("h:9-8", "b:1", "ports 9-8 run backwards; write 8-9"),
        ("h:0-8", "b:1", "port 0 is in no range; begin with 1 or higher"),
        (
            "h:1-2000",
            "b:1",
            "2000 ports are too many for one proxy, which has at most 1024; make several proxies",
        ),
    ] {
        let error = server.create(spec(listen, upstream)).unwrap_err();
        assert!(matches!(error, ProxyError::Ports(_)), "{error}");
        assert_eq!(error.to_string(), problem);
    }
    let body = r#"{"name":"x","listen":"127.0.0.1:1-3","upstream":"b:1-2"}"#;
    let answer = http(server.api_addr(), "POST", "/proxies", &[], body);
    assert_eq!(answer.status, 400, "{}", answer.body);
}

#[test]
fn an_update_moves_between_ranges_and_one_that_is_refused_changes_nothing() {
    let (one, other) = (run_of_ports("127.91.5.1", 2), run_of_ports("127.91.5.2", 2));
    let servers = signed("127.91.5.3", 2);
    let server = Server::builder().start().unwrap();
    let (listen, upstream) =
        (format!("127.91.5.1:{one}-{}", one + 1), format!("127.91.5.3:{servers}-{}", servers + 1));
    server.create(spec(&listen, &upstream)).unwrap();
    let change = |body: &str| http(server.api_addr(), "POST", "/proxies/range", &[], body);
    let at = |host: &str, port: u16| answer(SocketAddr::new(host.parse().unwrap(), port));
    assert_eq!(change(r#"{"upstream":"127.0.0.1:1-9"}"#).status, 400);
    assert_eq!(at("127.91.5.1", one + 1), (servers + 1).to_string());
    let moved = change(&format!(r#"{{"listen":"127.91.5.2:{other}-{}"}}"#, other + 1));
    assert_eq!(moved.status, 200, "{}", moved.body);
    assert_eq!(at("127.91.5.2", other + 1), (servers + 1).to_string());
    TcpListener::bind(("127.91.5.1", one)).unwrap();
    let same = change(&format!(r#"{{"listen":"127.91.5.2:{other}-{}","enabled":true}}"#, other + 1));
    assert_eq!((same.status, at("127.91.5.2", other)), (200, servers.to_string()));
}

#[test]
fn strict_compatibility_knows_no_ranges() {
    let server = Server::builder().strict_compat(true).start().unwrap();
    let create = |body: &str| http(server.api_addr(), "POST", "/proxies", &[], body);
    let listens = create(r#"{"name":"r","listen":"127.0.0.1:38666-38697","upstream":"127.0.0.1:9000-9031"}"#);
    let expected = r#"{"error":"listen tcp: lookup tcp/38666-38697: unknown port","status":500}"#;
    assert_eq!((listens.status, listens.body.trim()), (500, expected));
    let upstream = create(r#"{"name":"s","listen":"127.0.0.1:0","upstream":"127.0.0.1:9000-9031"}"#);
    assert_eq!(upstream.status, 201, "{}", upstream.body);
}
