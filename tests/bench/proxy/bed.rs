//! What is measured, and between what: the proxies, the server behind them, and clients.

use std::any::Any;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use e2e::measure::memory_folder;
use e2e::peers::{HaProxy, Toxiproxy};
use e2e::server::Server;
use e2e::{processor, program};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// No read lasts longer: a proxy that serves nobody any more is not waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// One proxy in front of the server.
pub(crate) struct Subject {
    /// `host:port` of the proxy.
    pub(crate) address: String,
    pub(crate) pid: u32,
    /// `host:port` of its API, where it has one.
    api: String,
    /// Stops when this is dropped.
    _process: Box<dyn Any>,
}

pub(crate) type Subjects = Vec<(&'static str, Subject)>;

impl Subject {
    /// chaosproxy.
    pub(crate) fn ours(upstream: &str, arguments: &[&str]) -> Self {
        let server = Server::chaosproxy(arguments);
        let (pid, api) = (server.pid(), server.api());
        Self { address: create(&api, upstream), pid, api, _process: Box::new(server) }
    }

    /// Toxiproxy.
    pub(crate) fn toxiproxy(upstream: &str) -> Self {
        let server = Toxiproxy::start(&[]);
        let (pid, api) = (server.pid(), server.api.to_string());
        Self { address: create(&api, upstream), pid, api, _process: Box::new(server) }
    }

    fn haproxy(upstream: &str, global: &str, defaults: &str) -> Self {
        let prefix = tempfile::Builder::new().prefix("stormyard-").tempdir_in(memory_folder());
        let folder = prefix.expect("room in memory");
        let server = HaProxy::start(folder.path(), upstream, global, defaults);
        let (pid, address) = (server.pid(), server.address.clone());
        Self { address, pid, api: String::new(), _process: Box::new((server, folder)) }
    }

    /// Adds a toxic; HAProxy has none.
    pub(crate) fn add(&self, toxic: &Value) {
        let (status, said) = post(&self.api, "/proxies/bench/toxics", toxic);
        assert_eq!(status, 200, "{said}");
    }

    pub(crate) fn connect(&self) -> TcpStream {
        connect(&self.address)
    }

    /// Seconds on the clock and of the proxy's processors that something takes.
    pub(crate) fn cost(&self, work: impl FnOnce()) -> [f64; 2] {
        let (start, before) = (Instant::now(), processor::seconds(self.pid));
        work();
        [start.elapsed().as_secs_f64(), processor::seconds(self.pid) - before]
    }
}

/// Every proxy in front of `upstream`, ours first.
pub(crate) fn everyone(upstream: &str) -> Subjects {
    let splice = " option splice-request\n option splice-response";
    vec![
        ("chaosproxy -threads 1", Subject::ours(upstream, &["-threads", "1"])),
        ("chaosproxy", Subject::ours(upstream, &[])),
        ("haproxy splice-auto", Subject::haproxy(upstream, "", " option splice-auto")),
        ("haproxy splice", Subject::haproxy(upstream, " tune.pipesize 1048576", splice)),
        ("toxiproxy", Subject::toxiproxy(upstream)),
    ]
}

pub(crate) fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
    stream.set_nodelay(true).expect("a fresh socket");
    stream.set_read_timeout(Some(PATIENCE)).expect("a fresh socket");
    stream
}

fn create(api: &str, upstream: &str) -> String {
    let proxy = json!({"name": "bench", "listen": "127.0.0.1:0", "upstream": upstream});
    let (status, said) = post(api, "/proxies", &proxy);
    assert_eq!(status, 201, "{said}");
    let made: Value = serde_json::from_str(&said).expect("a proxy is JSON");
    made["listen"].as_str().expect("a proxy listens").to_owned()
}

fn post(api: &str, path: &str, body: &Value) -> (u16, String) {
    let (mut stream, body) = (connect(api), body.to_string());
    let length = body.len();
    write!(stream, "POST {path} HTTP/1.0\r\nhost: {api}\r\ncontent-length: {length}\r\n\r\n{body}")
        .expect("the API reads requests");
    let mut said = String::new();
    stream.read_to_string(&mut said).expect("the API answers in text");
    let (head, body) = said.split_once("\r\n\r\n").expect("an answer has a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, body.to_owned())
}

/// A server that sends to everyone as fast as they take it, each from a thread of its own.
pub(crate) fn fountain() -> String {
    pouring(f64::INFINITY)
}

/// A server that sends to everyone `rate` bytes a second, each from a thread of its own.
pub(crate) fn pouring(rate: f64) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = listener.local_addr().expect("a bound socket has an address").to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("connections can be accepted");
            thread::spawn(move || {
                let (block, mut pace) = (vec![7u8; 256 << 10], Pace::new(rate));
                while stream.write_all(&block).is_ok() {
                    pace.passed(block.len());
                }
            });
        }
    });
    address
}

/// Keeps whoever moves bytes to a rate.
pub(crate) struct Pace {
    start: Instant,
    bytes: f64,
    rate: f64,
}

impl Pace {
    /// Of `rate` bytes a second, from now on.
    pub(crate) fn new(rate: f64) -> Self {
        Self { start: Instant::now(), bytes: 0.0, rate }
    }

    /// Waits until these and all bytes before may have passed.
    pub(crate) fn passed(&mut self, bytes: usize) {
        self.bytes += bytes as f64;
        let due = Duration::from_secs_f64(self.bytes / self.rate);
        thread::sleep(due.saturating_sub(self.start.elapsed()));
    }
}

/// Bytes of a small request, and of its answer.
pub(crate) const REQUEST: usize = 128;
pub(crate) const ANSWER: usize = 512;

/// A server that answers requests of [`REQUEST`] bytes with [`ANSWER`] bytes, all from one thread.
pub(crate) fn answering() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = listener.local_addr().expect("a bound socket has an address").to_string();
    listener.set_nonblocking(true).expect("a fresh socket");
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("inside a runtime");
            loop {
                let (mut stream, _) = listener.accept().await.expect("connections can be accepted");
                stream.set_nodelay(true).expect("a fresh socket");
                tokio::spawn(async move {
                    let mut request = [0; REQUEST];
                    while stream.read_exact(&mut request).await.is_ok()
                        && stream.write_all(&[7; ANSWER]).await.is_ok()
                    {}
                });
            }
        });
    });
    address
}

/// One request and its answer.
pub(crate) fn ask(stream: &mut TcpStream) {
    stream.write_all(&[1; REQUEST]).expect("the connection holds");
    await_answer(stream);
}

pub(crate) fn await_answer(stream: &mut TcpStream) {
    stream.read_exact(&mut [0; ANSWER]).expect("the connection holds");
}

/// Lets this process and those it starts have as many descriptors as they may; how many that is.
pub(crate) fn most_descriptors() -> usize {
    let pid = std::process::id().to_string();
    let most = program::succeed(std::process::Command::new("prlimit").args([
        "--nofile",
        "--output",
        "HARD",
        "--noheadings",
    ]));
    let most = most.trim();
    program::succeed(std::process::Command::new("prlimit").args([
        "--pid",
        &pid,
        &format!("--nofile={most}:{most}"),
    ]));
    most.parse().expect("a number of descriptors")
}
