//! The real server as a process, ours in this one, and the plain HTTP client that both are asked with.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use e2e::program;

/// No call and no read lasts longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running Toxiproxy; killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Real {
    child: Child,
    pub(crate) api: SocketAddr,
}

impl Real {
    /// Starts it and waits until it answers.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let port = free_port().local_addr().unwrap().port();
        let mut command = program::command(crate::SERVER);
        command.args(["-host", "127.0.0.1", "-port", &port.to_string()]).args(flags);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let real = Self { child, api: (Ipv4Addr::LOCALHOST, port).into() };
        let start = Instant::now();
        while TcpStream::connect(real.api).is_err() {
            assert!(start.elapsed() < PATIENCE, "{command:?} does not listen");
            thread::sleep(Duration::from_millis(2));
        }
        real
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A port of loopback that stays free when it is given back: from below those that the system hands out by itself, and
/// each one once in a run.
pub(crate) fn free_port() -> TcpListener {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    // Runs beside this one begin elsewhere.
    let start = std::process::id().wrapping_mul(97);
    let candidates = (0..COUNT).map(|_| FIRST + start.wrapping_add(NEXT.fetch_add(1, Relaxed)) % COUNT);
    let mut free = candidates.filter_map(|port| TcpListener::bind(format!("127.0.0.1:{port}")).ok());
    free.next().expect("one of thousands of ports is free")
}

/// An answer to a request.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Names in lower case, and values.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) text: String,
}

/// One request in HTTP/1.0, whose answers come in one piece and end with the connection.
pub(crate) fn http(api: SocketAddr, method: &str, path: &str, headers: &[String], body: &str) -> Reply {
    let mut stream = TcpStream::connect(api).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let extra: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.0\r\nHost: x\r\n{extra}Content-Length: {length}\r\n\r\n");
    stream.write_all((head + body).as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap_or_else(|error| panic!("{method} {path}: {error}"));
    let text = String::from_utf8(bytes).unwrap();
    let (head, text) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{method} {path}: {text:?}"));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap().parse().unwrap();
    let header =
        |line: &str| line.split_once(": ").map(|(key, value)| (key.to_lowercase(), value.to_owned()));
    Reply { status, headers: lines.filter_map(header).collect(), text: text.to_owned() }
}
