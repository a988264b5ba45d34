//! Bytes, ends and failures without any fault.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use chaosproxy::{ProxyHandle, ProxySpec, Server, Toxic};

use crate::harness::*;

#[test]
fn a_stream_arrives_whole_in_both_directions() {
    let (_server, proxy) = proxied(echo());
    echoes_a_stream(&proxy);
}

/// One thread is another runtime than several.
#[test]
fn one_thread_serves_toxics_timers_and_the_api_and_stops() {
    let server = Server::builder().threads(1).start().unwrap();
    let proxy = server.create(ProxySpec::new("source", echo().to_string())).unwrap();
    echoes_a_stream(&proxy);
    let toxic = proxy.add(Toxic::latency(Duration::from_millis(30), Duration::ZERO)).unwrap();
    let start = Instant::now();
    let mut client = connect(proxy.listen_addr());
    client.write_all(b"late").unwrap();
    client.read_exact(&mut [0; 4]).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(30), "{:?}", start.elapsed());
    proxy.remove(&toxic).unwrap();
    // A body that is handled beside the one thread.
    let spaces = " ".repeat(100_000);
    let big = spaces + r#"{"name":"big","listen":"127.0.0.1:0","upstream":"127.0.0.1:1"}"#;
    assert_eq!(http(server.api_addr(), "POST", "/proxies", &[], &big).status, 201);
    assert_eq!(http(server.api_addr(), "GET", "/ledger", &[], "").status, 200);
    server.stop();
    assert_eq!(read_all(&mut client, PATIENCE).0.len(), 0);
}

/// One connection, twenty megabytes there and back, and nothing left afterwards.
fn echoes_a_stream(proxy: &ProxyHandle) {
    let sender = connect(proxy.listen_addr());
    let mut receiver = sender.try_clone().unwrap();
    let sent = pattern(0, 20_000_000);
    let writer = thread::spawn({
        let (mut sender, sent) = (sender, sent.clone());
        move || {
            sender.write_all(&sent).unwrap();
            sender.shutdown(Shutdown::Write).unwrap();
        }
    });
    let (got, end) = read_all(&mut receiver, PATIENCE);
    writer.join().unwrap();
    assert!(got == sent, "{} of {}", got.len(), sent.len());
    assert_eq!(end, End::Fin);
    eventually("the counters have it", || {
        let counts = proxy.counts();
        (counts.bytes_upstream, counts.bytes_downstream, counts.open) == (20_000_000, 20_000_000, 0)
    });
}

#[test]
fn a_half_closed_connection_stays_half_open() {
    // Answers only after it has seen the end of the request.
    let late = upstream(|mut stream| {
        let mut request = Vec::new();
        stream.read_to_end(&mut request).unwrap();
        stream.write_all(&pattern(0, 3_000_000)).unwrap();
    });
    let (_server, proxy) = proxied(late);
    proxy.add(Toxic::latency(Duration::from_millis(20), Duration::ZERO)).unwrap();
    let mut client = connect(proxy.listen_addr());
    client.write_all(b"request").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let (got, end) = read_all(&mut client, PATIENCE);
    assert!(got == pattern(0, 3_000_000), "{}", got.len());
    assert_eq!(end, End::Fin);
}

#[test]
fn a_dead_upstream_ends_the_client_within_half_a_second() {
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (_server, proxy) = proxied(dead);
    let mut client = connect(proxy.listen_addr());
    let (got, end) = read_all(&mut client, Duration::from_millis(500));
    assert_eq!((got.len(), end), (0, End::Fin));
    drop(client);
    eventually("it is counted as refused", || proxy.counts().refused == 1 && proxy.counts().open == 0);
}

/// A server whose accept queue is full never answers a dial. Everyone else goes on: clients are accepted, the API
/// answers, and disabling the proxy ends the dials.
#[test]
fn a_dial_that_hangs_holds_up_nobody() {
    let socket =
        rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &std::net::SocketAddrV4::new([127, 0, 0, 1].into(), 0)).unwrap();
    rustix::net::listen(&socket, 0).unwrap();
    let full = TcpListener::from(socket);
    let address = full.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        queued.push(stream);
        assert!(queued.len() < 100, "the queue of a listener with backlog 0 is short");
    }
    let (server, proxy) = proxied(address);
    let mut clients: Vec<_> = (0..5).map(|_| connect(proxy.listen_addr())).collect();
    eventually("all are accepted", || proxy.counts().accepted == 5);
    assert!(
        server
            .connections()
            .iter()
            .all(|connection| connection.state == chaosproxy::ConnectionState::Dialing)
    );
    let start = Instant::now();
    proxy.set_enabled(false).unwrap();
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    for client in &mut clients {
        assert!(matches!(read_all(client, PATIENCE).1, End::Fin | End::Reset));
    }
}

#[test]
fn a_reset_of_one_side_reaches_the_other_behind_its_bytes() {
    // Sends, then resets: closing with unread input does that.
    let rude = upstream(|mut stream| {
        stream.read_exact(&mut [0; 4]).unwrap();
        stream.write_all(&pattern(0, 10_000)).unwrap();
        thread::sleep(Duration::from_millis(50));
    });
    let (_server, proxy) = proxied(rude);
    proxy.add(Toxic::latency(Duration::from_millis(100), Duration::ZERO)).unwrap();
    let mut client = connect(proxy.listen_addr());
    client.write_all(b"request that is not read to its end").unwrap();
    let (got, end) = read_all(&mut client, PATIENCE);
    assert_eq!((got.len(), end), (10_000, End::Reset));
}

/// A client that has closed resets an answer; what it asked for and its orderly end still reach the server.
#[test]
fn the_end_of_a_client_that_takes_no_answer_is_no_reset() {
    let (seen, upstream_end) = std::sync::mpsc::channel();
    let talkative = upstream(move |mut stream| {
        for _ in 0..5 {
            thread::sleep(Duration::from_millis(10));
            stream.write_all(b"news").unwrap();
        }
        seen.send(read_all(&mut stream, PATIENCE)).unwrap();
    });
    let (_server, proxy) = proxied(talkative);
    proxy.add(Toxic::latency(Duration::from_millis(200), Duration::ZERO).upstream()).unwrap();
    let mut client = connect(proxy.listen_addr());
    client.write_all(b"request").unwrap();
    drop(client);
    assert_eq!(upstream_end.recv_timeout(PATIENCE).unwrap(), (b"request".to_vec(), End::Fin));
}

/// The abort of a client that is not being read, because its bytes stall, is noticed all the same: it passes behind
/// them once they go on.
#[test]
fn an_abort_behind_a_stall_is_passed_on() {
    let (seen, upstream_end) = std::sync::mpsc::channel();
    let server = upstream(move |mut stream| seen.send(read_all(&mut stream, PATIENCE)).unwrap());
    let (server, proxy) = proxied(server);
    let stall = proxy.add(Toxic::bandwidth(0).upstream()).unwrap();
    let mut client = connect(proxy.listen_addr());
    client.write_all(&pattern(0, 300_000)).unwrap();
    thread::sleep(Duration::from_millis(100));
    rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
    drop(client);
    thread::sleep(Duration::from_millis(100));
    proxy.remove(&stall).unwrap();
    let (got, end) = upstream_end.recv_timeout(PATIENCE).unwrap();
    assert!(end == End::Reset && got == pattern(0, got.len() as u64), "{} bytes, {end:?}", got.len());
    eventually("it is gone", || server.connections().is_empty());
}

#[test]
fn a_client_that_vanishes_frees_its_connection() {
    let (_server, proxy) = proxied(source(1 << 30));
    for _ in 0..20 {
        let mut client = connect(proxy.listen_addr());
        client.read_exact(&mut [0; 1000]).unwrap();
        drop(client);
    }
    eventually("no connection is left", || proxy.counts().open == 0);
}

/// 1,000 connections, some idle, some aborted, some with toxics coming and going: nothing is left of them.
#[test]
fn nothing_is_left_of_a_thousand_connections() {
    let (server, proxy) = proxied(echo());
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = descriptors();
    for round in 0..20u32 {
        let mut clients: Vec<_> = (0..50).map(|_| connect(proxy.listen_addr())).collect();
        let name = proxy.add(Toxic::latency(Duration::from_millis(1), Duration::ZERO)).unwrap();
        for client in clients.iter_mut().step_by(2) {
            ping(client, &round.to_be_bytes());
        }
        proxy.remove(&name).unwrap();
    }
    eventually("no connection is left", || server.connections().is_empty());
    eventually("no descriptor is left", || descriptors() <= before + 20);
}

#[test]
fn a_server_can_be_embedded_in_another_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (server, proxy) = proxied_apart(echo());
        ping(&mut connect(proxy.listen_addr()), b"hello");
        server.stop();
        assert!(std::net::TcpStream::connect(proxy.listen_addr()).is_err());
        assert!(proxy.add(Toxic::bandwidth(1000)).is_err(), "its server is gone");
    });
}

/// The mean cost of a round trip through the proxy is below 300 µs in each direction.
#[test]
fn the_proxy_adds_little_delay() {
    let server = echo();
    let (_server, proxy) = proxied(server);
    let (mut direct, mut through) = (connect(server), connect(proxy.listen_addr()));
    let direct = median((0..200).map(|_| ping(&mut direct, b"x")));
    let through = median((0..200).map(|_| ping(&mut through, b"x")));
    assert!(through < direct + Duration::from_micros(600), "{through:?} against {direct:?}");
}

/// Reads and splices end before urgent data; what stands behind it is passed on all the same, without it.
#[test]
fn urgent_data_holds_nothing_up() {
    let (_server, proxy) = proxied(upstream(|mut stream| {
        let received = io::copy(&mut stream, &mut io::sink()).unwrap_or(0);
        drop(stream.write_all(&received.to_le_bytes()));
    }));
    for toxic in [None, Some(Toxic::latency(Duration::from_millis(1), Duration::ZERO))] {
        let name = toxic.map(|toxic| proxy.add(toxic.upstream()).unwrap());
        for len in std::iter::repeat_n(3, 30).chain(std::iter::repeat_n(4_000_000, 5)) {
            let before = proxy.counts().bytes_upstream;
            let mut client = connect(proxy.listen_addr());
            client.set_nodelay(true).unwrap();
            client.write_all(&pattern(0, len)).unwrap();
            assert_eq!(rustix::net::send(&client, b"!", rustix::net::SendFlags::OOB), Ok(1));
            client.write_all(&pattern(0, len)).unwrap();
            // The end of the stream would be news, which wakes up whoever was left asleep.
            let all = before + 2 * len;
            eventually("all of it has come", || proxy.counts().bytes_upstream == all);
            client.shutdown(Shutdown::Write).unwrap();
            let mut received = [0; 8];
            client.read_exact(&mut received).unwrap();
            assert_eq!(u64::from_le_bytes(received), 2 * len);
        }
        if let Some(name) = name {
            proxy.remove(&name).unwrap();
        }
    }
}
