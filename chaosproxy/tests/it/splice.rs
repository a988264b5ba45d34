//! The way around the chains, and the change between it and them: no byte is lost, and nothing is held when it is over.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use chaosproxy::{Attributes, CutAction, Toxic};

use crate::harness::*;
use crate::program::{self, Running};

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A small generator with a seed of its own: the same changes in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        // Steele, Lea, Flood 2014 (SplitMix64), §5.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) as usize % n
    }
}

/// 65,536 writes of 16 KiB each way through an echo, while toxics come, change and go at random: a gigabyte that is
/// spliced and queued in turn arrives whole and in order.
#[test]
fn a_stream_that_is_spliced_and_queued_in_turn_loses_no_byte() {
    const WRITES: u64 = 65_536;
    const WRITE: u64 = 16 << 10;
    let (server, proxy) = proxied(echo());
    let mut client = connect(proxy.listen_addr());
    let mut writer = client.try_clone().unwrap();
    let writing = thread::spawn(move || {
        let twice = pattern(0, BLOCK + WRITE);
        for n in 0..WRITES {
            let from = (n * WRITE % BLOCK) as usize;
            writer.write_all(&twice[from..from + WRITE as usize]).unwrap();
        }
    });
    let reading = thread::spawn(move || {
        let (expected, mut buffer) = (pattern(0, BLOCK + (1 << 18)), vec![0; 1 << 18]);
        let mut received = 0;
        while received < WRITES * WRITE {
            let n = client.read(&mut buffer).unwrap();
            assert_ne!(n, 0, "it ended after {received} bytes");
            let from = (received % BLOCK) as usize;
            assert!(buffer[..n] == expected[from..from + n], "a wrong byte after {received}");
            received += n as u64;
        }
        received
    });
    let toxics = [
        Toxic::latency(ms(2), ms(1)),
        Toxic::latency(ms(1), Duration::ZERO).upstream(),
        Toxic::bandwidth(900_000_000),
        Toxic::shared_bandwidth(900_000_000).upstream(),
        Toxic::new(Attributes::Slicer { average_size: 4096, size_variation: 2048, delay: 0 }),
        Toxic::cut(i64::MAX as u64, CutAction::Reset),
        Toxic::new(Attributes::Noop).upstream(),
    ];
    let (mut random, mut present, mut changes) = (Random(1), [false; 7], 0);
    while !reading.is_finished() {
        let chosen = random.below(toxics.len());
        let name = format!("toxic{chosen}");
        let path = format!("/proxies/source/toxics/{name}");
        match random.below(3) {
            _ if !present[chosen] => drop(proxy.add(toxics[chosen].clone().named(&name)).unwrap()),
            0 => assert_eq!(http(server.api_addr(), "POST", &path, &[], r#"{"toxicity":0.5}"#).status, 200),
            _ => proxy.remove(&name).unwrap(),
        }
        present[chosen] = proxy_has(&server, &name);
        changes += 1;
        // Left alone for a while now and then, without toxics, so that it is spliced.
        if random.below(8) == 0 {
            for (index, present) in present.iter_mut().enumerate() {
                if std::mem::take(present) {
                    proxy.remove(&format!("toxic{index}")).unwrap();
                }
            }
            thread::sleep(ms(random.below(20) as u64));
        }
    }
    writing.join().unwrap();
    assert_eq!(reading.join().unwrap(), WRITES * WRITE);
    assert!(changes > 50, "{changes} changes while it ran");
}

fn proxy_has(server: &chaosproxy::Server, toxic: &str) -> bool {
    http(server.api_addr(), "GET", &format!("/proxies/source/toxics/{toxic}"), &[], "").status == 200
}

/// The program with one proxy, `source`: what it has open is all the proxy's.
struct Program {
    running: Running,
    api: SocketAddr,
    proxy: SocketAddr,
}

impl Program {
    fn start(upstream: SocketAddr) -> Self {
        Self::started(&mut program::program(&["-port=0"]), upstream)
    }

    /// The same with the figures of its runtime, and no more descriptors than `limit`.
    fn start_with(upstream: SocketAddr, limit: usize) -> Self {
        let mut command = Command::new("sh");
        let script = format!("ulimit -n {limit} && exec \"$0\" -port=0 -runtime-metrics");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_chaosproxy")]);
        Self::started(command.stdout(Stdio::piped()), upstream)
    }

    fn started(command: &mut Command, upstream: SocketAddr) -> Self {
        let (running, api, _output) = program::started(command.stderr(Stdio::null()));
        let spec = format!(r#"{{"name":"source","listen":"127.0.0.1:0","upstream":"{upstream}"}}"#);
        let made = http(api, "POST", "/proxies", &[], &spec).json();
        Self { running, api, proxy: made["listen"].as_str().unwrap().parse().unwrap() }
    }

    /// So many connections at once through one toxic, each with some bytes; every second one reads, every fifth aborts.
    fn through(&self, kind: &str, at_once: usize) {
        let added = http(self.api, "POST", "/proxies/source/toxics", &[], kind);
        assert_eq!(added.status, 200, "{}", added.body);
        let mut clients: Vec<_> = (0..at_once).map(|_| connect(self.proxy)).collect();
        if kind.contains("noop") {
            eventually("all are there at once", || self.connections() == at_once);
        }
        for (n, client) in clients.iter_mut().enumerate() {
            // Some are reset or cut meanwhile: that is what is tested.
            let _may_fail = client.write_all(&pattern(0, 500));
            if n % 2 == 0 {
                client.set_read_timeout(Some(ms(2))).unwrap();
                let _may_fail = client.read(&mut [0; 500]);
            }
            if n % 5 == 0 {
                rustix::net::sockopt::set_socket_linger(&*client, Some(Duration::ZERO)).unwrap();
            }
        }
        drop(clients);
        let name = added.json()["name"].as_str().unwrap().to_owned();
        let path = format!("/proxies/source/toxics/{name}");
        assert_eq!(http(self.api, "DELETE", &path, &[], "").status, 204);
        eventually("all are gone", || self.connections() == 0);
    }

    fn connections(&self) -> usize {
        http(self.api, "GET", "/connections", &[], "").json()["connections"].as_array().unwrap().len()
    }

    /// A figure of its metrics.
    fn figure(&self, name: &str) -> u64 {
        let metrics = http(self.api, "GET", "/metrics", &[], "").body;
        let line = metrics.lines().find(|line| line.starts_with(&format!("{name} ")));
        let line = line.unwrap_or_else(|| panic!("no {name} in {metrics}"));
        line[name.len()..].trim().parse::<f64>().unwrap() as u64
    }

    /// How many descriptors it has.
    fn open(&self) -> usize {
        std::fs::read_dir(self.descriptors()).unwrap().count()
    }

    /// Its table of descriptors.
    fn descriptors(&self) -> PathBuf {
        format!("/proc/{}/fd", self.running.0.id()).into()
    }

    fn pipes(&self) -> usize {
        pipes(&self.descriptors())
    }
}

/// How many ends of pipes there are in a table of descriptors.
fn pipes(descriptors: &Path) -> usize {
    let open = std::fs::read_dir(descriptors).unwrap();
    let targets = open.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    targets.filter(|target| target.to_string_lossy().starts_with("pipe:")).count()
}

/// Forty connections that have been spliced and are idle now hold no pipe: only the few empty ones that are kept for
/// the next are there, two descriptors each. Seen from outside, in the program's table of descriptors.
#[cfg(target_os = "linux")]
#[test]
fn an_idle_connection_holds_no_pipe() {
    const BULK: usize = 8 << 20;
    const KEPT: usize = 16;
    let upstream = upstream(|mut stream| {
        // A bulk for each byte.
        let bulk = vec![7; BULK];
        while stream.read_exact(&mut [0]).is_ok() && stream.write_all(&bulk).is_ok() {}
    });
    let running = Program::start(upstream);
    let before = running.pipes();
    let mut clients: Vec<_> = (0..40).map(|_| connect(running.proxy)).collect();
    let done = Arc::new(AtomicBool::new(false));
    let most = Arc::new(Mutex::new(0));
    let watching = {
        let (done, most, folder) = (Arc::clone(&done), Arc::clone(&most), running.descriptors());
        thread::spawn(move || {
            while !done.load(Relaxed) {
                let now = pipes(&folder);
                let mut most = most.lock().unwrap();
                *most = now.max(*most);
            }
        })
    };
    thread::scope(|scope| {
        for client in &mut clients {
            scope.spawn(|| {
                client.write_all(b"x").unwrap();
                client.read_exact(&mut vec![0; BULK]).unwrap();
            });
        }
    });
    done.store(true, Relaxed);
    watching.join().unwrap();
    assert!(*most.lock().unwrap() > before, "nothing was spliced");
    eventually("idle connections have given their pipes back", || running.pipes() <= before + 2 * KEPT);
    // They are connected all the same.
    clients[0].write_all(b"x").unwrap();
    clients[0].read_exact(&mut vec![0; BULK]).unwrap();
}

/// After as many connections at once as the limit of descriptors allows, through every toxic, closed and aborted:
/// tasks, descriptors, memory and connections are what they were. The limit is the usual soft one of 1,024 and not
/// the hard one, so that the test takes seconds; each connection has two descriptors. Memory is what a first round of
/// the same leaves, because an allocator keeps what it had at the most.
#[cfg(target_os = "linux")]
#[test]
fn nothing_is_left_of_as_many_connections_as_there_can_be_through_every_toxic() {
    const LIMIT: usize = 1024;
    /// What the program has besides: its own, the API's connections, empty pipes.
    const OTHERS: usize = 100;
    const AT_ONCE: usize = (LIMIT - OTHERS) / 2;
    raise_limit();
    let running = Program::start_with(echo(), LIMIT);
    ping(&mut connect(running.proxy), b"first");
    let (tasks, descriptors) = (running.figure("go_goroutines"), running.open());
    let connections = AT_ONCE * KINDS.len();
    let mut memory = Vec::new();
    for _round in 0..2 {
        for kind in KINDS {
            running.through(kind, AT_ONCE);
        }
        eventually("no connection is left", || running.connections() == 0);
        // The tasks that have ended are joined when the next one begins.
        ping(&mut connect(running.proxy), b"last");
        eventually("no task is left", || running.figure("go_goroutines") <= tasks);
        eventually("no descriptor is left", || running.open() <= descriptors);
        memory.push(running.figure("process_resident_memory_bytes"));
    }
    // The ledger keeps what was decided; a connection that were kept would be four kilobytes.
    let lines = http(running.api, "GET", "/counters", &[], "").json()["ledger"]["lines"].as_u64().unwrap();
    let allowed = 1_000_000 + lines * 256 + connections as u64 * 50;
    assert!(memory[1] <= memory[0] + allowed, "{memory:?}, {connections} connections, {lines} lines");
    eprintln!("{memory:?}, {connections} connections, {lines} lines");
}

/// Every toxic, such that its connections are there together and then end.
const KINDS: [&str; 15] = [
    r#"{"type":"latency","attributes":{"latency":1}}"#,
    r#"{"type":"latency","attributes":{"latency":10,"jitter":5,"distribution":"pareto"}}"#,
    r#"{"type":"bandwidth","attributes":{"rate":100000}}"#,
    r#"{"type":"bandwidth","attributes":{"rate":100000,"shared":true}}"#,
    r#"{"type":"slow_close","attributes":{"delay":1}}"#,
    r#"{"type":"timeout","attributes":{"timeout":5}}"#,
    r#"{"type":"reset_peer","attributes":{"timeout":1}}"#,
    r#"{"type":"slicer","attributes":{"average_size":100,"size_variation":10,"delay":10}}"#,
    r#"{"type":"limit_data","attributes":{"bytes":100}}"#,
    r#"{"type":"cut","attributes":{"mean_bytes":1000,"action":"reset"}}"#,
    r#"{"type":"cut","attributes":{"mean_bytes":1000,"action":"stall"}}"#,
    r#"{"type":"cut","attributes":{"mean_bytes":1000,"action":"close"}}"#,
    r#"{"type":"corrupt","attributes":{"mean_bytes":100,"bits":1}}"#,
    r#"{"type":"stall","attributes":{"bytes":100}}"#,
    r#"{"type":"noop"}"#,
];
