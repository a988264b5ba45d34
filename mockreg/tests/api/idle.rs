//! Ten thousand connections that do nothing.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::client::Client;
use crate::program::Server;

/// As many as a busy cluster keeps open to its registry.
const WANTED: u64 = 10_000;
/// Descriptors that the other tests of this process, and the server beside its connections, may need.
const SPARE: u64 = 1_000;
/// 10,000 connections measured 164 MiB, the program itself among them; a buffer of 256 KiB kept by each would take
/// 2.6 GB.
const MOST_MEMORY: u64 = 400 << 20;

/// Raises this process's own limit of open files; the server raises its own. How many connections both allow.
fn connections() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let hard = limit.maximum.unwrap_or(u64::MAX);
    let count = WANTED.min(hard.saturating_sub(SPARE));
    if count < WANTED {
        eprintln!("the hard limit of {hard} open files allows {count} connections instead of {WANTED}");
    }
    count
}

#[test]
fn ten_thousand_idle_connections_leave_room_for_a_request() {
    let count = connections();
    assert!(count >= 100, "a limit that allows {count} connections shows nothing");
    let server = Server::start(&[]);
    let address = server.client().address();
    let idle: Vec<TcpStream> = (0..count)
        .map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: idle\r\n\r\n").unwrap();
            let mut start = [0; 12];
            stream.read_exact(&mut start).unwrap();
            assert_eq!(&start, b"HTTP/1.1 200");
            stream
        })
        .collect();
    let mut client = server.client();
    assert_eq!(client.get("/v2/synth/100kb/manifests/latest").status, 200);
    let mut admin = Client::new(server.admin());
    let counters = admin.get("/counters").json();
    assert!(counters["open_connections"].as_u64().unwrap() > count, "{counters}");
    let metrics = admin.get("/metrics").text();
    let resident = metrics.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
    let resident: u64 = resident.unwrap().parse().unwrap();
    eprintln!("{count} idle connections, {} MiB resident", resident >> 20);
    assert!(resident < MOST_MEMORY, "{resident} bytes for {count} connections");
    drop(idle);
    assert_eq!(client.get("/v2/").status, 200);
}
