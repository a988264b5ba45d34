//! Transfers through the real server and through ours, in one run: the same toxics, the same bytes, and what a client
//! and a server behind the proxy see of them. Times are compared as "at once" or "later than", with wide margins.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use chaosproxy::Server;
use e2e::peers::Toxiproxy;
use serde_json::Value;
use socket2::SockRef;

use crate::reference::{PATIENCE, http};

/// A transfer: what is done, as text of what was seen.
type Transfer = fn(&Bed) -> String;

/// What ours does where it is something else, and the reason.
type Difference = Option<(&'static str, &'static str)>;

/// Transfers by name, with what is not the same to the word.
const TRANSFERS: &[(&str, Transfer, Difference)] = &[
    ("without toxics", |bed| bed.echo(100_000), None),
    (
        "latency downstream",
        |bed| bed.with(r#"{"type":"latency","attributes":{"latency":200}}"#).timed(1000, 200),
        None,
    ),
    (
        "latency upstream and downstream",
        |bed| {
            let bed = bed.with(r#"{"type":"latency","attributes":{"latency":150}}"#);
            bed.with(r#"{"type":"latency","stream":"upstream","attributes":{"latency":150}}"#)
                .timed(1000, 300)
        },
        None,
    ),
    (
        "bandwidth",
        |bed| bed.with(r#"{"type":"bandwidth","attributes":{"rate":200}}"#).timed(100_000, 400),
        None,
    ),
    (
        "bandwidth of nothing stalls until it is removed",
        |bed| {
            let bed = bed.with(r#"{"type":"bandwidth","name":"t","attributes":{"rate":0}}"#);
            let mut client = bed.connect();
            client.write_all(&[7; 1000]).unwrap();
            let before = read(&mut client, Duration::from_millis(300));
            bed.api("DELETE", "/proxies/p/toxics/t", "");
            format!("{before}, then {}", read(&mut client, Duration::from_millis(500)))
        },
        None,
    ),
    (
        "slicer",
        |bed| {
            let slicer =
                r#"{"type":"slicer","attributes":{"average_size":100,"size_variation":50,"delay":10000}}"#;
            bed.with(slicer).timed(2000, 100)
        },
        None,
    ),
    (
        "limit_data lets so many bytes through and closes",
        |bed| {
            let mut client = bed.with(r#"{"type":"limit_data","attributes":{"bytes":700}}"#).connect();
            client.write_all(&[7; 1000]).unwrap();
            read(&mut client, PATIENCE)
        },
        None,
    ),
    (
        "limit_data of nothing closes on the first byte",
        |bed| {
            let mut client = bed.with(r#"{"type":"limit_data"}"#).connect();
            client.write_all(&[7; 10]).unwrap();
            read(&mut client, PATIENCE)
        },
        None,
    ),
    (
        "limit_data upstream cuts what the server gets",
        |bed| {
            let stream = r#"{"type":"limit_data","stream":"upstream","attributes":{"bytes":700}}"#;
            let mut client = bed.with(stream).connect();
            // An answer that is still unread when the reference closes would turn its end into a reset, now and then.
            client.write_all(&[b"answer at my end".as_slice(), &[7; 984]].concat()).unwrap();
            let _until_the_end = read(&mut client, PATIENCE);
            bed.seen()
        },
        None,
    ),
    (
        "timeout drops all and closes in time",
        |bed| {
            let mut client = bed.with(r#"{"type":"timeout","attributes":{"timeout":300}}"#).connect();
            client.write_all(&[7; 1000]).unwrap();
            let start = Instant::now();
            let seen = read(&mut client, PATIENCE);
            format!("{seen}, {}", later(start, 300))
        },
        None,
    ),
    (
        "timeout without end is silent, and its removal closes",
        |bed| {
            let mut client = bed.with(r#"{"type":"timeout","name":"t"}"#).connect();
            client.write_all(&[7; 1000]).unwrap();
            let before = read(&mut client, Duration::from_millis(300));
            bed.api("DELETE", "/proxies/p/toxics/t", "");
            format!("{before}, then {}", read(&mut client, PATIENCE))
        },
        None,
    ),
    (
        "reset_peer resets with the first bytes",
        |bed| {
            let mut client = bed.with(r#"{"type":"reset_peer","attributes":{"timeout":200}}"#).connect();
            client.write_all(&[7; 1000]).unwrap();
            let start = Instant::now();
            let seen = read(&mut client, PATIENCE);
            format!("{seen}, {}", later(start, 200))
        },
        None,
    ),
    (
        "reset_peer on a connection that was there before",
        |bed| {
            let mut client = bed.connect();
            ping(&mut client);
            bed.with(r#"{"type":"reset_peer"}"#);
            client.write_all(&[7; 1000]).unwrap();
            read(&mut client, PATIENCE)
        },
        Some(("0 bytes, reset", "reset_of_older_connections")),
    ),
    (
        "slow_close holds the end",
        |bed| {
            let bed = bed.with(r#"{"type":"slow_close","attributes":{"delay":400}}"#);
            let mut client = bed.connect();
            client.write_all(b"close").unwrap();
            let start = Instant::now();
            let seen = read(&mut client, PATIENCE);
            format!("{seen}, {}", later(start, 400))
        },
        None,
    ),
    ("noop", |bed| bed.with(r#"{"type":"noop"}"#).echo(100_000), None),
    (
        "toxicity of nothing has no effect on latency",
        |bed| bed.with(r#"{"type":"latency","toxicity":0,"attributes":{"latency":5000}}"#).timed(1000, 2000),
        None,
    ),
    (
        "toxicity of nothing does not spare a close by reset_peer",
        |bed| {
            let mut client = bed.with(r#"{"type":"reset_peer","toxicity":0}"#).connect();
            ping(&mut client);
            client.write_all(b"close").unwrap();
            read(&mut client, PATIENCE)
        },
        Some(("5 bytes, end", "toxicity_of_nothing")),
    ),
    (
        "a change takes hold of a live connection",
        |bed| {
            let bed = bed.with(r#"{"type":"latency","name":"t","attributes":{"latency":0}}"#);
            let mut client = bed.connect();
            ping(&mut client);
            bed.api("POST", "/proxies/p/toxics/t", r#"{"attributes":{"latency":300}}"#);
            let start = Instant::now();
            ping(&mut client);
            later(start, 300)
        },
        None,
    ),
    (
        "removing latency sends what it holds at once",
        |bed| {
            let bed = bed.with(r#"{"type":"latency","name":"t","attributes":{"latency":15000}}"#);
            let mut client = bed.connect();
            client.write_all(&[7; 1000]).unwrap();
            let before = read(&mut client, Duration::from_millis(200));
            bed.api("DELETE", "/proxies/p/toxics/t", "");
            format!("{before}, then {}", read(&mut client, Duration::from_millis(500)))
        },
        None,
    ),
    (
        "disabling ends live connections and refuses new ones",
        |bed| {
            let mut client = bed.connect();
            ping(&mut client);
            bed.api("POST", "/proxies/p", r#"{"enabled":false}"#);
            let live = read(&mut client, PATIENCE);
            let new = TcpStream::connect(bed.proxy)
                .map_or_else(|error| error.kind().to_string(), |_| "accepted".into());
            format!("{live}; new: {new}")
        },
        None,
    ),
    (
        "deleting ends live connections and refuses new ones",
        |bed| {
            let mut client = bed.connect();
            ping(&mut client);
            bed.api("DELETE", "/proxies/p", "");
            let live = read(&mut client, PATIENCE);
            let new = TcpStream::connect(bed.proxy)
                .map_or_else(|error| error.kind().to_string(), |_| "accepted".into());
            format!("{live}; new: {new}")
        },
        None,
    ),
    (
        "another upstream ends live connections",
        |bed| {
            let mut client = bed.connect();
            ping(&mut client);
            bed.api("POST", "/proxies/p", &format!(r#"{{"upstream":"{}"}}"#, server().0));
            let live = read(&mut client, PATIENCE);
            let mut client = bed.connect();
            ping(&mut client);
            format!("{live}; new: served")
        },
        None,
    ),
    (
        "an upstream that refuses ends the connection",
        |bed| {
            let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            bed.api("POST", "/proxies/p", &format!(r#"{{"upstream":"{closed}"}}"#));
            read(&mut bed.connect(), PATIENCE)
        },
        None,
    ),
    (
        "the same address by its name, with a connection open",
        |bed| {
            let mut client = bed.connect();
            ping(&mut client);
            let body = format!(r#"{{"listen":"localhost:{}"}}"#, bed.proxy.port());
            bed.api("POST", "/proxies/p", &body);
            read(&mut client, Duration::from_millis(300))
        },
        Some(("0 bytes, silence", "listening_by_name")),
    ),
    (
        "populating what is there already leaves connections and toxics",
        |bed| {
            let bed = bed.with(r#"{"type":"noop"}"#);
            let mut client = bed.connect();
            ping(&mut client);
            let (listen, upstream) = (bed.proxy, bed.upstream);
            let body = format!(r#"[{{"name":"p","listen":"{listen}","upstream":"{upstream}"}}]"#);
            bed.api("POST", "/populate", &body);
            let shown: Value = serde_json::from_str(&bed.api("GET", "/proxies/p", "")).unwrap();
            let toxics = shown["toxics"].as_array().unwrap().len();
            format!("{toxics} toxic, {}", read(&mut client, Duration::from_millis(300)))
        },
        None,
    ),
    (
        "a reset ends those whose timeout it removes",
        |bed| {
            let bed = bed.with(r#"{"type":"timeout"}"#);
            let mut client = bed.connect();
            client.write_all(&[7; 1000]).unwrap();
            let before = read(&mut client, Duration::from_millis(200));
            bed.api("POST", "/reset", "");
            format!("{before}, then {}", read(&mut client, PATIENCE))
        },
        None,
    ),
    (
        "a client that has sent all and waits for the answer",
        |bed| {
            let mut client = bed.connect();
            client.write_all(b"answer at my end").unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            read(&mut client, PATIENCE)
        },
        Some(("6 bytes, end", "half_close")),
    ),
    (
        "a client that resets",
        |bed| {
            let mut client = bed.connect();
            ping(&mut client);
            SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
            drop(client);
            bed.seen()
        },
        Some(("the server got 4 bytes, reset", "resets_passed_on")),
    ),
    (
        "removing a timeout that struck nobody",
        |bed| {
            let mut client = bed.with(r#"{"type":"timeout","name":"t","toxicity":0}"#).connect();
            ping(&mut client);
            bed.api("DELETE", "/proxies/p/toxics/t", "");
            read(&mut client, Duration::from_millis(300))
        },
        Some(("0 bytes, silence", "toxicity_of_nothing")),
    ),
];

/// A proxy called `p` in front of a server.
struct Bed {
    api: SocketAddr,
    proxy: SocketAddr,
    upstream: SocketAddr,
    seen: Receiver<(usize, &'static str)>,
}

pub(crate) fn compare() {
    let mut mismatches = Vec::new();
    for (name, transfer, ours_differ) in TRANSFERS {
        let real = Toxiproxy::start(&[]);
        let wanted = transfer(&Bed::new(real.api));
        if let Some((_, reason)) = ours_differ {
            assert!(reasons().contains_key(reason), "{name}: nobody explains {reason}");
        }
        for strict in [false, true] {
            // Being strict undoes what it says, and makes no other difference.
            let ours_differ = ours_differ.filter(|(_, reason)| !(strict && reasons()[reason].1));
            let expected = ours_differ.map_or(wanted.as_str(), |(ours, _)| ours);
            let server = Server::builder().strict_compat(strict).start().unwrap();
            let ours = transfer(&Bed::new(server.api_addr()));
            eprintln!("{name}: {wanted} | {ours}");
            if ours != expected || ours_differ.is_some() && ours == wanted {
                let ours = format!("{ours} (strict: {strict})");
                mismatches
                    .push(format!("{name}\n  real     {wanted}\n  expected {expected}\n  ours     {ours}"));
            }
        }
    }
    assert!(mismatches.is_empty(), "{}", mismatches.join("\n"));
}

/// Reasons of the differences above, and whether strict compatibility undoes them; the guide has them.
pub(crate) fn reasons() -> BTreeMap<&'static str, (&'static str, bool)> {
    BTreeMap::from([
        (
            "half_close",
            (
                "A connection that is closed in one direction stays open in the other until that ends as well; the \
                 reference closes both, and an answer under way is lost.",
                true,
            ),
        ),
        (
            "resets_passed_on",
            (
                "A peer that resets its connection is passed on as a reset; the reference closes the other side in order.",
                true,
            ),
        ),
        (
            "reset_of_older_connections",
            (
                "`reset_peer` resets connections that were there before it, too; the reference closes them.",
                true,
            ),
        ),
        (
            "toxicity_of_nothing",
            (
                "A toxic of toxicity 0 has no effect; the reference resets connections in front of `reset_peer` all \
                 the same, and closes those of a removed `timeout`.",
                true,
            ),
        ),
        (
            "listening_by_name",
            (
                "An update with the address that the proxy has already, under another name, changes nothing; 2.5.0 \
                 drops all connections, later versions do not.",
                false,
            ),
        ),
    ])
}

impl Bed {
    fn new(api: SocketAddr) -> Self {
        let (upstream, seen) = server();
        let body = format!(r#"{{"name":"p","listen":"127.0.0.1:0","upstream":"{upstream}"}}"#);
        let reply = http(api, "POST", "/proxies", &[], &body);
        assert_eq!(reply.status, 201, "{}", reply.text);
        let shown: Value = serde_json::from_str(&reply.text).unwrap();
        Self { api, proxy: shown["listen"].as_str().unwrap().parse().unwrap(), upstream, seen }
    }

    fn api(&self, method: &str, path: &str, body: &str) -> String {
        let reply = http(self.api, method, path, &[], body);
        assert!((200..300).contains(&reply.status), "{method} {path} {body}: {}", reply.text);
        reply.text
    }

    fn with(&self, toxic: &str) -> &Self {
        self.api("POST", "/proxies/p/toxics", toxic);
        self
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(self.proxy).unwrap()
    }

    fn echo(&self, bytes: usize) -> String {
        let mut client = self.connect();
        let mut writer = client.try_clone().unwrap();
        let sender = thread::spawn(move || writer.write_all(&vec![7; bytes]));
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut back = vec![0; bytes];
        let came = client.read_exact(&mut back).map(|()| back.iter().all(|byte| *byte == 7));
        sender.join().unwrap().unwrap();
        format!("{bytes} bytes and back: {came:?}")
    }

    fn timed(&self, bytes: usize, least_ms: u64) -> String {
        let start = Instant::now();
        let came = self.echo(bytes);
        format!("{came}, {}", later(start, least_ms))
    }

    /// Bytes that the server had got when its client was gone.
    fn seen(&self) -> String {
        let (bytes, end) = self.seen.recv_timeout(PATIENCE).unwrap();
        format!("the server got {bytes} bytes, {end}")
    }
}

/// Whether so many milliseconds have passed, give or take the grain of timers.
fn later(start: Instant, least_ms: u64) -> String {
    let passed = start.elapsed() + Duration::from_millis(15);
    let word = if passed >= Duration::from_millis(least_ms) { "after" } else { "before" };
    format!("{word} {least_ms} ms")
}

/// Sends back what it gets; ends when it gets `close`, and answers `answer at my end` when the client has ended.
fn server() -> (SocketAddr, Receiver<(usize, &'static str)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, seen) = mpsc::sync_channel(16);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, tell) = (stream.unwrap(), tell.clone());
            thread::spawn(move || {
                let _nobody_may_listen = tell.try_send(serve(&mut stream));
            });
        }
    });
    (address, seen)
}

/// Bytes that came, and how they ended.
fn serve(stream: &mut TcpStream) -> (usize, &'static str) {
    let (mut total, mut buffer) = (0, vec![0; 1 << 16]);
    let mut waits = false;
    let end = loop {
        let n = match stream.read(&mut buffer) {
            Ok(0) => break "end",
            Ok(n) => n,
            Err(_) => break "reset",
        };
        total += n;
        waits |= buffer.starts_with(b"answer at my end");
        if waits {
            continue;
        }
        if stream.write_all(&buffer[..n]).is_err() || buffer[..n] == *b"close" {
            break "closed";
        }
    };
    if waits {
        // Long enough for a proxy that closes both directions to have done so.
        thread::sleep(Duration::from_millis(150));
        let _gone = stream.write_all(b"answer");
    }
    (total, end)
}

fn ping(client: &mut TcpStream) {
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"ping").unwrap();
    let mut back = [0; 4];
    client.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"ping");
}

/// Reads until the end, or until nothing comes for so long.
fn read(client: &mut TcpStream, silence: Duration) -> String {
    client.set_read_timeout(Some(silence)).unwrap();
    let (mut total, mut buffer) = (0, vec![0; 1 << 16]);
    let end = loop {
        match client.read(&mut buffer) {
            Ok(0) => break "end",
            Ok(n) => total += n,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break "reset",
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                break "silence";
            }
            Err(error) => panic!("{error}"),
        }
    };
    format!("{total} bytes, {end}")
}
