//! Proxies whose clients, servers or both are of the unix domain.

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use chaosproxy::{OutageKind, ProxyHandle, ProxySpec, Server, Toxic};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType, bind, connect as connect_to, socket_with,
};

use crate::harness::*;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A connection of either family.
trait Stream: Read + Write + Send + Sized + 'static {
    fn twin(&self) -> Self;
    fn finish(&self);
    fn patience(&self, patience: Duration);
}

macro_rules! stream {
    ($($kind:ty),*) => {$(impl Stream for $kind {
        fn twin(&self) -> Self {
            self.try_clone().unwrap()
        }
        fn finish(&self) {
            self.shutdown(Shutdown::Write).unwrap();
        }
        fn patience(&self, patience: Duration) {
            self.set_read_timeout(Some(patience)).unwrap();
        }
    })*};
}
stream!(TcpStream, UnixStream);

/// A server on a socket's file that sends back what it gets, and its end.
fn unix_echo(path: &Path) -> String {
    let listener = UnixListener::bind(path).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut buffer = [0; 65536];
                while let Ok(n @ 1..) = stream.read(&mut buffer) {
                    if stream.write_all(&buffer[..n]).is_err() {
                        return;
                    }
                }
                let _gone = stream.shutdown(Shutdown::Write);
            });
        }
    });
    address_of(path)
}

fn address_of(path: &Path) -> String {
    format!("unix:{}", path.display())
}

/// A server with one proxy, `source`, on a file of a folder of its own, in front of an echo on another.
struct Bench {
    server: Server,
    proxy: ProxyHandle,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("proxy.sock");
        let upstream = unix_echo(&folder.path().join("echo.sock"));
        let server = Server::builder().start().unwrap();
        let proxy = server.create(spec(&address_of(&path), &upstream)).unwrap();
        Self { server, proxy, path, _folder: folder }
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        http(self.server.api_addr(), method, path, &[], body)
    }
}

fn spec(listen: &str, upstream: &str) -> ProxySpec {
    ProxySpec { listen: listen.to_owned(), ..ProxySpec::new("source", upstream) }
}

/// Reads until the end, or until nothing comes for `silence`.
fn read_end(stream: &mut impl Stream, silence: Duration) -> (Vec<u8>, End) {
    stream.patience(silence);
    let mut bytes = Vec::new();
    let end = match stream.read_to_end(&mut bytes) {
        Ok(_) => End::Fin,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => End::Reset,
        Err(error) if error.kind() == ErrorKind::WouldBlock => End::Silence,
        Err(error) => panic!("{error}"),
    };
    (bytes, end)
}

fn roundtrip(stream: &mut UnixStream) {
    stream.write_all(b"hello").unwrap();
    let mut back = [0; 5];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"hello");
}

/// Sends 20 MB through an echo while toxics come and go, so that it is spliced and queued in turn.
fn passes_whole<S: Stream>(client: S, proxy: &ProxyHandle) {
    const BYTES: u64 = 20_000_000;
    let (mut reader, mut writer) = (client.twin(), client);
    let writing = thread::spawn(move || {
        writer.write_all(&pattern(0, BYTES)).unwrap();
        writer.finish();
    });
    let reading = thread::spawn(move || read_end(&mut reader, PATIENCE));
    while !reading.is_finished() {
        let name = proxy.add(Toxic::latency(ms(2), Duration::ZERO)).unwrap();
        thread::sleep(ms(2));
        proxy.remove(&name).unwrap();
        thread::sleep(ms(10));
    }
    writing.join().unwrap();
    let (got, end) = reading.join().unwrap();
    assert!(got == pattern(0, BYTES), "{} bytes of {BYTES}, or wrong ones", got.len());
    assert_eq!(end, End::Fin);
}

#[test]
fn a_stream_passes_whole_between_any_two_families() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("proxy.sock");
    let unix = unix_echo(&folder.path().join("echo.sock"));
    for upstream in [echo().to_string(), unix.clone(), unix.replace("unix:", "unix://")] {
        let server = Server::builder().start().unwrap();
        let proxy = server.create(spec(&address_of(&path), &upstream)).unwrap();
        passes_whole(UnixStream::connect(&path).unwrap(), &proxy);
    }
    let server = Server::builder().start().unwrap();
    let proxy = server.create(ProxySpec::new("source", unix)).unwrap();
    passes_whole(connect(proxy.listen_addr()), &proxy);
}

#[test]
fn names_without_a_file_work_on_both_sides() {
    let name = format!("stormyard-test-{}", std::process::id());
    let server = Server::builder().start().unwrap();
    let first = server.create(spec(&format!("unix:@{name}"), &echo().to_string())).unwrap();
    assert_eq!(first.listen(), format!("unix:@{name}"));
    let second = server.create(ProxySpec::new("second", format!("unix://@{name}"))).unwrap();
    ping(&mut connect(second.listen_addr()), b"hello");
    let third = ProxySpec { name: "third".into(), ..spec(&format!("unix:@{name}"), "u:1") };
    let busy = server.create(third).unwrap_err().to_string();
    assert_eq!(busy, format!("listen unix @{name}: bind: address already in use"));
}

/// Each toxic with what it makes of 300 bytes that are echoed.
#[test]
fn every_toxic_does_its_work_on_them() {
    let all = pattern(0, 300);
    let bench = Bench::new();
    let mut mismatches = Vec::new();
    for (toxic, bytes, ends) in [
        (r#"{"type":"noop"}"#, 300, &[End::Fin][..]),
        (r#"{"type":"latency","attributes":{"latency":20}}"#, 300, &[End::Fin]),
        (r#"{"type":"bandwidth","attributes":{"rate":10}}"#, 300, &[End::Fin]),
        (r#"{"type":"bandwidth","attributes":{"rate":10,"shared":true}}"#, 300, &[End::Fin]),
        (r#"{"type":"slow_close","attributes":{"delay":20}}"#, 300, &[End::Fin]),
        (
            r#"{"type":"slicer","attributes":{"average_size":50,"size_variation":10,"delay":10}}"#,
            300,
            &[End::Fin],
        ),
        (r#"{"type":"limit_data","attributes":{"bytes":100}}"#, 100, &[End::Fin]),
        (r#"{"type":"timeout","attributes":{"timeout":20}}"#, 0, &[End::Fin]),
        (r#"{"type":"timeout","attributes":{"timeout":0}}"#, 0, &[End::Silence]),
        (r#"{"type":"stall","attributes":{"bytes":100}}"#, 100, &[End::Silence]),
        // Over TCP these are resets; here what the proxy has read already leaves an ordinary end behind.
        (r#"{"type":"reset_peer","attributes":{"timeout":0}}"#, 0, &[End::Fin, End::Reset]),
        (r#"{"type":"reset_peer","attributes":{"timeout":20}}"#, 0, &[End::Fin, End::Reset]),
        (r#"{"type":"cut","attributes":{"mean_bytes":1,"action":"reset"}}"#, 300, &[End::Fin, End::Reset]),
    ] {
        let added = bench.call("POST", "/proxies/source/toxics", toxic);
        assert_eq!(added.status, 200, "{}", added.body);
        let mut client = bench.connect();
        // A toxic may be faster than the client.
        let _may_be_over = client.write_all(&all);
        // One that stalls is over when the other direction is: nothing would ever move again.
        if ends != [End::Silence] {
            let _may_be_over = client.shutdown(Shutdown::Write);
        }
        let (got, end) = read_end(&mut client, ms(300));
        let is_cut = toxic.contains("cut");
        let fits = all.starts_with(&got) && (got.len() == bytes || is_cut && got.len() < bytes);
        if !fits || !ends.contains(&end) {
            mismatches.push(format!("{toxic}: {} bytes, {end:?}", got.len()));
        }
        drop(client);
        let name = added.json()["name"].as_str().unwrap().to_owned();
        bench.proxy.remove(&name).unwrap();
    }
    assert!(mismatches.is_empty(), "{}", mismatches.join("\n"));
    eventually("nothing is left of them", || bench.server.connections().is_empty());
}

/// A peer that has sent what nobody read is told of a reset, the one case in which the system does so.
#[test]
fn a_reset_is_one_where_bytes_were_left_unread() {
    let bench = Bench::new();
    let mut client = bench.connect();
    roundtrip(&mut client);
    bench.server.outage("source", OutageKind::BlackHole, None).unwrap();
    client.write_all(b"never read").unwrap();
    bench.server.outage("source", OutageKind::ResetAll, None).unwrap();
    assert_eq!(read_end(&mut client, PATIENCE).1, End::Reset);
    assert_eq!(client.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn outages_hold_for_them() {
    let bench = Bench::new();
    let mut client = bench.connect();
    roundtrip(&mut client);
    let down = bench.server.outage("source", OutageKind::Down, None).unwrap();
    assert!(matches!(read_end(&mut client, PATIENCE), (bytes, End::Fin | End::Reset) if bytes.is_empty()));
    assert_eq!(UnixStream::connect(&bench.path).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    bench.server.end_outage(down.id).unwrap();
    roundtrip(&mut bench.connect());

    let silent = bench.server.outage("source", OutageKind::Silent, None).unwrap();
    let mut client = bench.connect();
    client.write_all(b"hello").unwrap();
    assert_eq!(read_end(&mut client, ms(100)), (Vec::new(), End::Silence));
    drop(client);
    eventually("who gives up is let go", || bench.server.connections().is_empty());
    bench.server.end_outage(silent.id).unwrap();

    let hole = bench.server.outage("source", OutageKind::BlackHole, None).unwrap();
    let mut client = bench.connect();
    client.write_all(b"hello").unwrap();
    assert_eq!(read_end(&mut client, ms(100)), (Vec::new(), End::Silence));
    bench.server.end_outage(hole.id).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.read_exact(&mut [0; 5]).unwrap();

    let made = bench.call("POST", "/outages", r#"{"proxy":"source","kind":"partial","share":1.0}"#);
    assert_eq!(made.status, 201, "{}", made.body);
    let mut client = bench.connect();
    assert!(matches!(read_end(&mut client, PATIENCE).1, End::Fin | End::Reset));
}

#[test]
fn a_file_goes_with_its_listener_and_comes_back_with_it() {
    let Bench { server, proxy, path, _folder } = Bench::new();
    assert!(path.exists());
    proxy.set_enabled(false).unwrap();
    assert!(!path.exists(), "disabled");
    proxy.set_enabled(true).unwrap();
    UnixStream::connect(&path).unwrap();
    let moved = format!(r#"{{"listen":"unix:{}.2"}}"#, path.display());
    assert_eq!(http(server.api_addr(), "POST", "/proxies/source", &[], &moved).status, 200);
    assert!(!path.exists(), "moved");
    UnixStream::connect(path.with_extension("sock.2")).unwrap();
    server.outage("source", OutageKind::Down, None).unwrap();
    server.stop();
    assert!(!path.with_extension("sock.2").exists(), "stopped while it was down");
}

#[test]
fn what_is_in_use_or_no_socket_is_refused_and_a_stale_file_is_not() {
    let bench = Bench::new();
    let folder = bench.path.parent().unwrap();
    let create = |path: &str| {
        let body = format!(r#"{{"name":"b","listen":"{path}","upstream":"u:1"}}"#);
        let answer = bench.call("POST", "/proxies", &body);
        (answer.status, answer.json()["error"].as_str().unwrap_or_default().to_owned())
    };
    let used = bench.path.display();
    let busy = format!("listen unix {used}: bind: address already in use");
    assert_eq!(create(&format!("unix:{used}")), (500, busy));
    roundtrip(&mut bench.connect());
    let precious = folder.join("precious");
    std::fs::write(&precious, "data").unwrap();
    let (status, error) = create(&address_of(&precious));
    assert!(status == 500 && error.contains("the file there is no socket"), "{error}");
    assert_eq!(std::fs::read(&precious).unwrap(), b"data");
    let missing = "listen unix: address unix:: missing path; write it like unix:/run/proxy.sock";
    assert_eq!(create("unix:"), (500, missing.to_owned()));
    let stale = folder.join("stale");
    drop(UnixListener::bind(&stale).unwrap());
    assert_eq!(create(&address_of(&stale)).0, 201);
    UnixStream::connect(&stale).unwrap();
}

/// Strictly, `unix` is a host whose port is a name, as in the reference.
#[test]
fn strictly_there_is_no_unix_domain() {
    let server = Server::builder().strict_compat(true).start().unwrap();
    for (listen, port) in
        [("unix:/run/x.sock", "/run/x.sock"), ("unix:///run/x.sock", "///run/x.sock"), ("unix:@x", "@x")]
    {
        let refused = server.create(spec(listen, "u:1")).unwrap_err().to_string();
        assert_eq!(refused, format!("listen tcp: lookup tcp/{port}: unknown port"));
    }
    let folder = tempfile::tempdir().unwrap();
    let proxy = server.create(spec("127.0.0.1:0", &unix_echo(&folder.path().join("echo.sock")))).unwrap();
    assert_eq!(read_all(&mut connect(proxy.listen_addr()), PATIENCE), (Vec::new(), End::Fin));
}

#[test]
fn a_dead_upstream_ends_the_client_and_one_that_is_none_is_refused() {
    let server = Server::builder().start().unwrap();
    let proxy = server.create(ProxySpec::new("source", "unix:/nonexistent/x.sock")).unwrap();
    assert_eq!(read_all(&mut connect(proxy.listen_addr()), PATIENCE), (Vec::new(), End::Fin));
    eventually("it is counted as refused", || proxy.counts().refused == 1);
    let none = server.create(ProxySpec::new("b", "unix:")).unwrap_err().to_string();
    assert_eq!(none, "address unix:: missing path; write it like unix:/run/proxy.sock");
}

#[test]
fn a_client_without_a_name_is_shown_as_such() {
    let bench = Bench::new();
    let mut client = bench.connect();
    roundtrip(&mut client);
    let shown = bench.call("GET", "/connections", "").json();
    assert_eq!(shown["connections"][0]["client"], "unix:");
    let metrics = bench.call("GET", "/metrics", "").body;
    assert!(metrics.contains(&format!("listener=\"{}\"", address_of(&bench.path))), "{metrics}");
}

/// A read ends behind bytes that a descriptor came with, although more are there: nobody may take that for an empty
/// socket. The descriptor itself stays behind.
#[test]
fn bytes_behind_a_passed_descriptor_do_not_wait() {
    let bench = Bench::new();
    let mut client = bench.connect();
    for _ in 0..20 {
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut passed = SendAncillaryBuffer::new(&mut space);
        let descriptors = [client.as_fd()];
        assert!(passed.push(SendAncillaryMessage::ScmRights(&descriptors)));
        let first = [IoSlice::new(b"first")];
        assert_eq!(rustix::net::sendmsg(&client, &first, &mut passed, SendFlags::empty()).unwrap(), 5);
        client.write_all(b"second").unwrap();
        let mut back = [0; 11];
        client.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"firstsecond");
    }
}

/// The same file by `-config` and the address by `ctl create`.
#[test]
fn the_program_takes_them_from_a_file_and_from_ctl() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = unix_echo(&folder.path().join("echo.sock"));
    let at = |name: &str| folder.path().join(name);
    let config = at("proxies.json");
    let text =
        format!(r#"[{{"name":"a","listen":"{}","upstream":"{upstream}"}}]"#, address_of(&at("a.sock")));
    std::fs::write(&config, text).unwrap();
    let arguments = ["-port", "0", "-config", config.to_str().unwrap()];
    let (running, api, _output) = crate::program::started(&mut crate::program::program(&arguments));
    let created = crate::program::program(&["ctl", "--host", &api.to_string(), "create"])
        .args(["-l", &address_of(&at("b.sock")), "-u", &address_of(&at("a.sock")), "b"])
        .output()
        .unwrap();
    assert!(created.status.success(), "{created:?}");
    roundtrip(&mut UnixStream::connect(at("b.sock")).unwrap());
    let pid = rustix::process::Pid::from_child(&running.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    eventually("both files are gone", || !at("a.sock").exists() && !at("b.sock").exists());
}

/// The longest path has no room for the zero behind it, and is one byte longer than std would bind.
#[test]
fn a_client_with_the_longest_name_is_served() {
    let bench = Bench::new();
    let stem = format!("{}/", bench.path.parent().unwrap().display());
    let name = format!("{stem}{}", "x".repeat(108 - stem.len()));
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
    bind(&socket, &SocketAddrUnix::new(name.as_str()).unwrap()).unwrap();
    connect_to(&socket, &SocketAddrUnix::new(&bench.path).unwrap()).unwrap();
    roundtrip(&mut UnixStream::from(socket));
    roundtrip(&mut bench.connect());
}
