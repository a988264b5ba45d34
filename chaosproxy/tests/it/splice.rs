//! The way around the chains, and the change between it and them: no byte is lost, and nothing is held when it is over.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
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
        let (running, api, _output) =
            program::started(program::program(&["-port=0"]).stderr(std::process::Stdio::null()));
        let spec = format!(r#"{{"name":"source","listen":"127.0.0.1:0","upstream":"{upstream}"}}"#);
        let made = http(api, "POST", "/proxies", &[], &spec).json();
        Self { running, api, proxy: made["listen"].as_str().unwrap().parse().unwrap() }
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

/// After connections through every toxic, closed and aborted, descriptors and connections are what they were.
#[cfg(target_os = "linux")]
#[test]
fn nothing_is_left_of_connections_through_every_toxic() {
    let running = Program::start(echo());
    let open = || std::fs::read_dir(running.descriptors()).unwrap().count();
    let kinds = [
        r#"{"type":"latency","attributes":{"latency":1}}"#,
        r#"{"type":"bandwidth","attributes":{"rate":100000}}"#,
        r#"{"type":"bandwidth","attributes":{"rate":100000,"shared":true}}"#,
        r#"{"type":"slow_close","attributes":{"delay":1}}"#,
        r#"{"type":"timeout","attributes":{"timeout":5}}"#,
        r#"{"type":"reset_peer","attributes":{"timeout":1}}"#,
        r#"{"type":"slicer","attributes":{"average_size":100,"size_variation":10,"delay":10}}"#,
        r#"{"type":"limit_data","attributes":{"bytes":100}}"#,
        r#"{"type":"cut","attributes":{"mean_bytes":1000,"action":"reset"}}"#,
        r#"{"type":"cut","attributes":{"mean_bytes":1000,"action":"stall"}}"#,
        r#"{"type":"noop"}"#,
    ];
    ping(&mut connect(running.proxy), b"first");
    let before = open();
    for kind in kinds {
        let added = http(running.api, "POST", "/proxies/source/toxics", &[], kind);
        assert_eq!(added.status, 200, "{}", added.body);
        for _ in 0..4 {
            let mut clients: Vec<_> = (0..25).map(|_| connect(running.proxy)).collect();
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
        }
        let name = added.json()["name"].as_str().unwrap().to_owned();
        assert_eq!(
            http(running.api, "DELETE", &format!("/proxies/source/toxics/{name}"), &[], "").status,
            204
        );
    }
    let connections =
        || http(running.api, "GET", "/connections", &[], "").json()["connections"].as_array().unwrap().len();
    eventually("no connection is left", || connections() == 0);
    eventually("no descriptor is left", || open() <= before);
    ping(&mut connect(running.proxy), b"last");
}
