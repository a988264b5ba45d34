//! Every kind of outage, at new and at live connections.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use chaosproxy::{ConnectionState, OutageKind, OutageState, Toxic};

use crate::harness::*;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[test]
fn down_refuses_new_and_resets_live_connections() {
    let (server, proxy) = proxied(echo());
    let mut live = connect(proxy.listen_addr());
    ping(&mut live, b"before");
    let outage = server.outage("source", OutageKind::Down, Some(ms(300))).unwrap();
    assert_eq!(read_all(&mut live, PATIENCE), (Vec::new(), End::Reset));
    for _ in 0..5 {
        let refused = TcpStream::connect(proxy.listen_addr()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    }
    let start = Instant::now();
    eventually("it listens again", || TcpStream::connect(proxy.listen_addr()).is_ok());
    assert!((ms(200)..ms(700)).contains(&start.elapsed()), "{:?}", start.elapsed());
    ping(&mut connect(proxy.listen_addr()), b"after");
    assert_eq!(proxy.counts().faults["outage:down"], 1);
    assert_eq!(server.end_outage(outage.id).unwrap_err().to_string(), "outage not found");
}

/// In the middle of a download, with bytes held by a latency: all of them arrive, and nothing moved meanwhile.
#[test]
fn black_hole_holds_everything_and_goes_on_complete() {
    let (server, proxy) = proxied(source(30_000_000));
    proxy.add(Toxic::latency(ms(20), Duration::ZERO)).unwrap();
    let mut live = connect(proxy.listen_addr());
    let mut got = vec![0; 5_000_000];
    live.read_exact(&mut got).unwrap();
    server.outage("source", OutageKind::BlackHole, Some(ms(800))).unwrap();
    let mut late = connect(proxy.listen_addr());
    // What the proxy had handed to the kernel still arrives; then silence.
    got.extend(read_all(&mut live, ms(200)).0);
    let forwarded = proxy.counts().bytes_downstream;
    assert_eq!(read_all(&mut late, ms(100)), (Vec::new(), End::Silence));
    assert_eq!(proxy.counts().bytes_downstream, forwarded);
    assert!(server.connections().iter().all(|connection| connection.state == ConnectionState::Held));
    let (rest, end) = read_all(&mut live, PATIENCE);
    got.extend(rest);
    assert_eq!((got.len(), end), (30_000_000, End::Fin));
    assert!(got == pattern(0, BLOCK).repeat(470)[..30_000_000]);
    assert_eq!(read_all(&mut late, PATIENCE).0.len(), 30_000_000);
    assert_eq!(proxy.counts().faults["outage:black_hole"], 2);
}

#[test]
fn silent_never_answers_new_connections_and_leaves_live_ones() {
    let (server, proxy) = proxied(echo());
    let mut live = connect(proxy.listen_addr());
    ping(&mut live, b"before");
    server.outage("source", OutageKind::Silent, Some(ms(200))).unwrap();
    let mut silenced = connect(proxy.listen_addr());
    silenced.write_all(b"anyone?").unwrap();
    assert_eq!(read_all(&mut silenced, ms(500)), (Vec::new(), End::Silence), "not even after its end");
    ping(&mut live, b"still there");
    ping(&mut connect(proxy.listen_addr()), b"after");
    drop(silenced);
    eventually("closing it frees it", || {
        server.connections().iter().all(|c| c.state != ConnectionState::Silent)
    });
}

#[test]
fn reset_all_resets_live_connections_once() {
    let (server, proxy) = proxied(echo());
    let mut live: Vec<_> = (0..5).map(|_| connect(proxy.listen_addr())).collect();
    live.iter_mut().for_each(|client| {
        ping(client, b"before");
    });
    let outage = server.outage("source", OutageKind::ResetAll, None).unwrap();
    assert_eq!(outage.state, OutageState::Ended);
    for client in &mut live {
        assert_eq!(read_all(client, PATIENCE), (Vec::new(), End::Reset));
    }
    ping(&mut connect(proxy.listen_addr()), b"after");
    assert_eq!(proxy.counts().faults["outage:reset_all"], 5);
}

/// n = 200 at 0.5: four standard deviations are 28. The seed is fixed, so this never fails by chance.
#[test]
fn partial_resets_its_share() {
    let (server, proxy) = proxied(echo());
    let mut live = connect(proxy.listen_addr());
    ping(&mut live, b"before");
    let outage = server.outage("source", OutageKind::Partial, None).unwrap();
    let reset = (0..200).filter(|_| {
        // A client that is slow to notice that it is connected finds itself reset while it connects.
        let asked = TcpStream::connect(proxy.listen_addr()).and_then(|mut client| {
            client.set_read_timeout(Some(PATIENCE))?;
            client.write_all(b"hello")?;
            client.read_exact(&mut [0; 5])
        });
        match asked {
            Ok(()) => false,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                true
            }
        }
    });
    let reset = reset.count();
    assert!((72..=128).contains(&reset), "{reset}");
    ping(&mut live, b"live ones are untouched");
    assert_eq!(proxy.counts().faults["outage:partial"], reset as u64);
    server.end_outage(outage.id).unwrap();
    (0..20).for_each(|_| {
        ping(&mut connect(proxy.listen_addr()), b"after");
    });
}

#[test]
fn overlapping_outages_compose() {
    let (server, proxy) = proxied(echo());
    let long = server.outage("source", OutageKind::Down, None).unwrap();
    server.outage("source", OutageKind::Down, Some(ms(50))).unwrap();
    let hole = server.outage("source", OutageKind::BlackHole, None).unwrap();
    thread::sleep(ms(200));
    assert!(TcpStream::connect(proxy.listen_addr()).is_err(), "one of two has ended");
    server.end_outage(long.id).unwrap();
    let mut client = connect(proxy.listen_addr());
    client.write_all(b"hello").unwrap();
    assert_eq!(read_all(&mut client, ms(100)), (Vec::new(), End::Silence), "the black hole is still there");
    server.end_outage(hole.id).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.read_exact(&mut [0; 5]).unwrap();
}

/// A `down` in a black hole resets what the black hole holds.
#[test]
fn down_reaches_connections_in_a_black_hole() {
    let (server, proxy) = proxied(echo());
    server.outage("source", OutageKind::BlackHole, None).unwrap();
    let mut held = connect(proxy.listen_addr());
    eventually("it is accepted", || server.connections().len() == 1);
    server.outage("source", OutageKind::Down, None).unwrap();
    assert_eq!(read_all(&mut held, PATIENCE), (Vec::new(), End::Reset));
}

/// The port of a proxy that is down refuses connections and belongs to nobody else.
#[test]
fn the_port_stays_reserved_while_down() {
    let (server, proxy) = proxied_apart(echo());
    let address = proxy.listen_addr();
    server.outage("source", OutageKind::Down, None).unwrap();
    // The standard library would ask for SO_REUSEADDR, which shares a port that is bound and not listening.
    let bind = || {
        use rustix::net::{AddressFamily, SocketType};
        rustix::net::bind(
            rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap(),
            &address,
        )
    };
    assert_eq!(bind(), Err(rustix::io::Errno::ADDRINUSE));
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(http(server.api_addr(), "POST", "/reset", &[], "").status, 204);
    ping(&mut connect(address), b"a reset ends outages");
    server.remove("source").unwrap();
    eventually("a deleted proxy's port is free", || bind().is_ok());
}

#[test]
fn deleting_a_proxy_that_is_down_is_final() {
    let (server, proxy) = proxied_apart(echo());
    server.outage("source", OutageKind::Down, Some(ms(100))).unwrap();
    server.remove("source").unwrap();
    thread::sleep(ms(300));
    assert!(TcpStream::connect(proxy.listen_addr()).is_err());
}
