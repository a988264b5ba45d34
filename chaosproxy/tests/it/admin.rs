//! Who may ask the API, over what, and what clients that mean no good can do: nothing to others.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use chaosproxy::{Server, Token};

use crate::harness::*;
use crate::program::{Running, program, started};

const MUST_SHOW: &str = "{\"error\":\"unauthorized: this server asks for a token; send it as Authorization: \
                         Bearer TOKEN\",\"status\":401}\n";

/// Exit code, standard output and standard error of a client.
fn client(arguments: &[&str], token_file: &Path) -> (Option<i32>, String, String) {
    let mut command = program(arguments);
    command.env_remove("TOXIPROXY_URL").env("CHAOSPROXY_TOKEN_FILE", token_file);
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn every_request_but_two_shows_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "secret\n").unwrap();
    let server = Server::builder().token(Token::read(&file).unwrap()).start().unwrap();
    let ask =
        |method: &str, path: &str, headers: &[&str]| http(server.api_addr(), method, path, headers, "{}");
    for path in ["/version", "/healthz"] {
        assert_eq!(ask("GET", path, &[]).status, 200, "{path}");
    }
    for (method, path) in [
        ("GET", "/proxies"),
        ("POST", "/proxies"),
        ("POST", "/populate"),
        ("POST", "/reset"),
        ("GET", "/metrics"),
        ("GET", "/ledger"),
        ("GET", "/connections"),
        ("PUT", "/timeline"),
        ("DELETE", "/proxies/none"),
        ("GET", "/nowhere"),
        ("GET", "//proxies"),
        ("GET", "//version"),
    ] {
        for headers in [&[][..], &["Authorization: Bearer wrong"], &["Authorization: Basic secret"]] {
            let answer = ask(method, path, headers);
            assert_eq!(
                (answer.status, answer.body.as_str()),
                (401, MUST_SHOW),
                "{method} {path} {headers:?}"
            );
            assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"chaosproxy\""));
            assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
        }
    }
    let shown = ["Authorization: Bearer secret"];
    assert_eq!(ask("GET", "/proxies", &shown).body, "{}\n");
    assert_eq!(ask("GET", "/nowhere", &shown).status, 404);
}

#[test]
fn clients_show_the_token_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let (file, none) = (folder.path().join("token"), Path::new(""));
    std::fs::write(&file, "secret\n").unwrap();
    let name = file.to_str().unwrap();
    let (_running, api, _output) = started(&mut program(&["-port", "0", "-token-file", name]));
    let url = format!("http://{api}");
    for (arguments, unshown) in [
        (vec!["ctl", "--host", &url, "list"], Some(1)),
        (vec!["top", &url, "-once", "-interval", "1ms"], Some(3)),
        (vec!["healthcheck", &url], Some(0)),
    ] {
        let asked = client(&arguments, none);
        assert_eq!(asked.0, unshown, "{arguments:?}: {asked:?}");
        assert_eq!(client(&arguments, &file).0, Some(0), "{arguments:?}, by the environment");
        let verb = if arguments[0] == "ctl" { 1 } else { arguments.len() };
        let flagged = [&arguments[..verb], &["-token-file", name], &arguments[verb..]].concat();
        assert_eq!(client(&flagged, none).0, Some(0), "{flagged:?}");
    }
    let inner = format!("{url}/proxies");
    assert_eq!(client(&["healthcheck", &inner], none).0, Some(1));
    assert_eq!(client(&["healthcheck", &inner], &file).0, Some(0));
    let refused = client(&["ctl", "--host", &url, "list"], none).2;
    assert!(refused.contains("HTTP 401: unauthorized: this server asks for a token"), "{refused}");
    let refused = client(&["top", &url], none).2;
    assert!(refused.contains("name its file by -token-file or CHAOSPROXY_TOKEN_FILE"), "{refused}");
    let missing = client(&["ctl", "--host", &url, "list"], Path::new("/nonexistent/token")).2;
    assert_eq!(
        missing.lines().next(),
        Some("cannot read the token file /nonexistent/token: No such file or directory (os error 2)")
    );
}

#[test]
fn a_token_file_without_a_token_is_exit_2_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "\n").unwrap();
    let name = file.to_str().unwrap();
    let run = |name: &str| {
        let output = program(&["-port", "0", "-token-file", name]).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let remedy = "write a token into it, for example by `openssl rand -hex 32`";
    assert_eq!(run(name), (Some(2), format!("chaosproxy: token file {name}: it is empty; {remedy}\n")));
    let missing = "cannot read the token file /nonexistent/token: No such file or directory (os error 2)";
    assert_eq!(run("/nonexistent/token"), (Some(2), format!("chaosproxy: {missing}\n")));
}

fn hang_up(running: &Running) {
    let pid = rustix::process::Pid::from_child(&running.0);
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
}

#[test]
fn the_token_is_read_again_at_sighup_and_a_bad_one_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "old").unwrap();
    let (mut running, api, _output) =
        started(&mut program(&["-port", "0", "-token-file", file.to_str().unwrap()]));
    let mut log = BufReader::new(running.0.stderr.take().unwrap());
    let status =
        |token: &str| http(api, "GET", "/proxies", &[&format!("Authorization: Bearer {token}")], "").status;
    assert_eq!((status("old"), status("new")), (200, 401));
    std::fs::write(&file, "new").unwrap();
    hang_up(&running);
    eventually("the new one is in force", || (status("old"), status("new")) == (401, 200));
    std::fs::write(&file, "").unwrap();
    hang_up(&running);
    let mut told = String::new();
    while !told.contains("the token stays as it was") {
        assert_ne!(log.read_line(&mut told).unwrap(), 0, "{told}");
    }
    assert_eq!(status("new"), 200);
}

#[test]
fn the_api_can_be_on_a_socket_of_its_owner() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("api.sock");
    let host = format!("unix:{}", path.display());
    let mut running = Running(program(&["-host", &host]).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(ready["api"], host.as_str());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let none = Path::new("");
    let created = client(&["ctl", "--host", &host, "create", "-l", "127.0.0.1:0", "-u", "u:1", "p"], none);
    assert_eq!((created.0, created.1.as_str()), (Some(0), "Created new proxy p\n"));
    let page = client(&["top", &host, "-once", "-interval", "1ms"], none);
    assert!(page.0 == Some(0) && page.1.contains(&format!("chaosproxy at {host}: 1 proxies")), "{page:?}");
    assert_eq!(client(&["healthcheck", &host], none).0, Some(0));
    let busy = client(&["-host", &host], none);
    let in_use = format!("chaosproxy: cannot serve the API on {host}: address in use\n");
    assert_eq!((busy.0, busy.2), (Some(3), in_use));
    let pid = rustix::process::Pid::from_child(&running.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
    assert!(!path.exists());
    let gone = client(&["ctl", "--host", &host, "list"], none).2;
    assert!(
        gone.contains(&format!("dial unix {}: connect: no such file or directory", path.display())),
        "{gone}"
    );
    let open = client(&["-host", "unix:@name"], none);
    assert!(open.0 == Some(3) && open.2.contains("open to every user; give it a path"), "{open:?}");
}

/// A stream through a proxy that never ends, and how many bytes of it have come.
struct Flow {
    bytes: Arc<AtomicU64>,
    ends: Arc<AtomicBool>,
    reading: Option<thread::JoinHandle<()>>,
}

impl Flow {
    fn start(proxy: SocketAddr) -> Self {
        let mut stream = connect(proxy);
        let (bytes, ends) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let reading = thread::spawn({
            let (bytes, ends) = (Arc::clone(&bytes), Arc::clone(&ends));
            move || {
                let mut buffer = vec![0; 1 << 16];
                while !ends.load(Relaxed) {
                    let n = stream.read(&mut buffer).unwrap();
                    bytes.fetch_add(n as u64, Relaxed);
                }
            }
        });
        Self { bytes, ends, reading: Some(reading) }
    }

    /// Waits until so many more have come.
    fn moves(&self, more: u64, meanwhile: &str) {
        let from = self.bytes.load(Relaxed);
        eventually(meanwhile, || self.bytes.load(Relaxed) >= from + more);
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.ends.store(true, Relaxed);
        // A panic of the reader is what the assertion about it says.
        let _panicked = self.reading.take().map(thread::JoinHandle::join);
    }
}

fn say(api: SocketAddr, text: &[u8]) -> TcpStream {
    let mut stream = connect(api);
    stream.write_all(text).unwrap();
    stream
}

/// A thousand clients that begin requests and do not go on, in each of the places where one can stop; a body that is
/// too large, and one that is costly to read. Bytes flow as before, and the API answers others.
#[test]
fn slow_and_hostile_clients_of_the_api_hold_up_nobody() {
    const MANY: usize = 250;
    const MORE: u64 = 20_000_000;
    raise_limit();
    let (server, proxy) = proxied(source(u64::MAX));
    let api = server.api_addr();
    let flow = Flow::start(proxy.listen_addr());
    flow.moves(MORE, "it flows at first");
    let mut held: Vec<TcpStream> = Vec::new();
    let post = "POST /proxies HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n";
    let much = format!("{post}{}", " ".repeat(100_000));
    for _ in 0..MANY {
        held.push(say(api, b""));
        held.push(say(api, b"GET /version HTTP/1.1\r\nHost: x\r\nX-Slow: "));
        held.push(say(api, post.as_bytes()));
        // Nobody reads beyond the first that are big, and the kernel's buffers are large enough for the rest.
        held.push(say(api, much.as_bytes()));
    }
    held.push(say(api, b"GET "));
    assert!(held.len() > 1000);
    flow.moves(MORE, "it flows beside a thousand slow clients");
    let noop = r#"{"type":"noop"}"#;
    assert_eq!(http(api, "POST", "/proxies/source/toxics", &[], noop).status, 200);
    assert_eq!(http(api, "GET", "/proxies", &[], "").status, 200);

    // Whoever waits for a turn has 15 s for that and the body together: so much younger is the next than those held.
    thread::sleep(Duration::from_secs(3));
    let costly = format!("[{}0]", "0,".repeat(2_000_000));
    let rude = thread::spawn(move || {
        let mut stream = connect(api);
        let length = costly.len();
        let head = "POST /populate HTTP/1.1\r\nHost: x\r\nConnection: close";
        write!(stream, "{head}\r\nContent-Length: {length}\r\n\r\n{costly}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    let large = http(api, "POST", "/populate", &[], &" ".repeat(10_000_000));
    assert_eq!((large.status, large.json()["status"].as_u64()), (413, Some(413)));
    flow.moves(MORE, "it flows beside large bodies");
    // Those that were held first are closed for lack of time, and the large one has its turn.
    let answer = rude.join().unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    flow.moves(MORE, "it flows at last");
}

/// There is room for 1,024 connections: with 1,200 that do nothing the newest are there, and the oldest are closed.
#[test]
fn idle_clients_beyond_the_limit_make_room_for_others() {
    raise_limit();
    let server = Server::builder().start().unwrap();
    let api = server.api_addr();
    let mut idle: Vec<TcpStream> = (0..1200).map(|_| say(api, b"")).collect();
    assert_eq!(http(api, "GET", "/version", &[], "").status, 200);
    assert_eq!(idle[0].read(&mut [0]).unwrap(), 0, "the oldest is closed");
    let newest = idle.last_mut().unwrap();
    newest.write_all(b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    newest.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// Clients that ask for a change and go while it is made: it is made whole, or not at all where they were too fast. In a
/// process of its own: one that starts others has its listeners open twice for a moment, and cannot listen again then.
#[test]
fn a_change_is_whole_though_its_client_has_gone() {
    let (_running, api, _output) = started(&mut program(&["-port", "0"]));
    let spec = format!(r#"{{"name":"source","listen":"127.90.0.1:0","upstream":"{}"}}"#, echo());
    let made = http(api, "POST", "/proxies", &[], &spec).json();
    let proxy: SocketAddr = made["listen"].as_str().unwrap().parse().unwrap();
    let shown = || http(api, "GET", "/proxies/source", &[], "").json();
    for n in 0..30 {
        // The change before may still be at it.
        let _clients: Vec<_> = (0..20).filter_map(|_| TcpStream::connect(proxy).ok()).collect();
        let body = format!(r#"{{"upstream":"127.0.0.1:{}"}}"#, 1000 + n);
        let length = body.len();
        let head =
            format!("POST /proxies/source HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}");
        let client = say(api, head.as_bytes());
        // Some go before, some after, and most while.
        thread::sleep(Duration::from_micros(100 * (n % 10)));
        drop(client);
        assert_eq!(shown()["enabled"], true, "change {n}");
    }
    assert_ne!(shown()["upstream"], made["upstream"], "none was made at all");
}
