//! Upstream servers, clients and a small HTTP client for the tests: plain blocking sockets, so that nothing of the
//! proxy's own machinery is tested by itself.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use chaosproxy::{Introduction, ProxyHandle, ProxySpec, Server};

/// No read of a test lasts longer: a hanging test is a failing one.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A server that handles each connection on a thread of its own.
pub(crate) fn upstream(handle: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let handle = Arc::new(handle);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, handle) = (stream.unwrap(), Arc::clone(&handle));
            thread::spawn(move || handle(stream));
        }
    });
    address
}

/// Sends back what it gets, and its FIN.
pub(crate) fn echo() -> SocketAddr {
    upstream(|mut stream| {
        let mut buffer = [0; 65536];
        while let Ok(n @ 1..) = stream.read(&mut buffer) {
            if stream.write_all(&buffer[..n]).is_err() {
                return;
            }
        }
        let _gone = stream.shutdown(std::net::Shutdown::Write);
    })
}

/// Sends `bytes` bytes of the pattern as soon as it is connected, then closes when the client has.
pub(crate) fn source(bytes: u64) -> SocketAddr {
    upstream(move |mut stream| {
        let block = pattern(0, BLOCK);
        let mut sent = 0;
        while sent < bytes {
            let n = BLOCK.min(bytes - sent);
            if stream.write_all(&block[..n as usize]).is_err() {
                return;
            }
            sent += n;
        }
        let _gone = stream.shutdown(std::net::Shutdown::Write);
        let _until_closed = stream.read(&mut [0; 1024]);
    })
}

/// The pattern repeats after this many bytes.
pub(crate) const BLOCK: u64 = 251 * 256;

pub(crate) fn pattern(offset: u64, len: u64) -> Vec<u8> {
    (offset..offset + len).map(|n| ((n % 251) ^ (n / 251 % 256)) as u8).collect()
}

/// A server with one proxy, `source`, in front of `upstream`.
pub(crate) fn proxied(upstream: SocketAddr) -> (Server, ProxyHandle) {
    let server = Server::builder().start().unwrap();
    let proxy = server.create(ProxySpec::new("source", upstream.to_string())).unwrap();
    (server, proxy)
}

/// The same at an address of loopback that no other test listens on: a port that was given back may be anybody's the
/// next moment, and here it is certainly nobody's.
pub(crate) fn proxied_apart(upstream: SocketAddr) -> (Server, ProxyHandle) {
    let server = Server::builder().start().unwrap();
    let spec =
        ProxySpec { listen: "127.90.0.1:0".to_owned(), ..ProxySpec::new("source", upstream.to_string()) };
    let proxy = server.create(spec).unwrap();
    (server, proxy)
}

/// A proxy called `source` whose connections are introduced so.
pub(crate) fn introduced(upstream: SocketAddr, introduction: Introduction) -> (Server, ProxyHandle) {
    let server = Server::builder().start().unwrap();
    let spec = ProxySpec { introduction, ..ProxySpec::new("source", upstream.to_string()) };
    let proxy = server.create(spec).unwrap();
    (server, proxy)
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Fin,
    Reset,
    /// Nothing came for the given time.
    Silence,
}

/// Reads until the end, or until nothing comes for `silence`.
pub(crate) fn read_all(stream: &mut TcpStream, silence: Duration) -> (Vec<u8>, End) {
    stream.set_read_timeout(Some(silence)).unwrap();
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return (bytes, End::Fin),
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return (bytes, End::Reset),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return (bytes, End::Silence);
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// One round trip.
pub(crate) fn ping(stream: &mut TcpStream, bytes: &[u8]) -> Duration {
    let start = Instant::now();
    stream.write_all(bytes).unwrap();
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(back, bytes);
    start.elapsed()
}

pub(crate) fn median<T: Ord + Copy>(samples: impl IntoIterator<Item = T>) -> T {
    let mut samples: Vec<_> = samples.into_iter().collect();
    samples.sort_unstable();
    samples[samples.len() / 2]
}

/// Waits until something is so; says what was not, if that takes too long.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// An answer to an HTTP request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

pub(crate) fn http(api: SocketAddr, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
    let mut stream = connect(api);
    let extra: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{extra}Content-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let header = |line: &str| line.split_once(": ").map(|(k, v)| (k.to_lowercase(), v.to_owned())).unwrap();
    Answer { status, headers: lines.map(header).collect(), body: body.to_owned() }
}

/// Lets this process have as many descriptors as it may: clients, proxies and servers of a test are all in it.
#[cfg(target_os = "linux")]
pub(crate) fn raise_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
}
