//! The program itself: its flags, its first line, its exit codes.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use chaosproxy::{ProxySpec, Server};

use crate::harness::*;

pub(crate) fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chaosproxy"));
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Exit code, standard output, standard error.
fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = program(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[test]
fn it_says_where_it_listens_and_stops_on_sigterm() {
    let dir = tempfile::tempdir().unwrap();
    let (config, ports) = (dir.path().join("proxies.json"), dir.path().join("ports.json"));
    let upstream = echo();
    std::fs::write(
        &config,
        format!(r#"[{{"name":"source","listen":"localhost:0","upstream":"{upstream}"}}]"#),
    )
    .unwrap();
    let (config, ports) = (config.to_str().unwrap(), ports.to_str().unwrap());
    let command = program(&["-port=0", "-config", config, "-port-file", ports, "-seed", "7"]).spawn();
    let mut running = Running(command.unwrap());
    let mut line = String::new();
    BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&ready["event"], &ready["service"]), (&"ready".into(), &"chaosproxy".into()));
    assert_eq!(std::fs::read_to_string(ports).unwrap(), line);
    let api = ready["api"].as_str().unwrap().strip_prefix("http://").unwrap().parse().unwrap();
    let proxy = http(api, "GET", "/proxies/source", &[], "").json();
    ping(&mut connect(proxy["listen"].as_str().unwrap().parse().unwrap()), b"hello");
    assert_eq!(run(&["healthcheck", &format!("http://{api}")]).0, Some(0));
    let pid = rustix::process::Pid::from_child(&running.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
    assert!(!std::path::Path::new(ports).exists(), "the file of a server that is gone is gone");
    let mut log = String::new();
    running.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(!log.contains("panicked"), "{log}");
}

fn tell(running: &Running, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_child(&running.0), signal).unwrap();
}

#[test]
fn a_hangup_stops_it_in_order_where_there_is_nothing_to_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("api.sock");
    let host = format!("unix:{}", socket.display());
    // Whoever runs the tests may have had them ignore it, as nohup does.
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP", env!("CARGO_BIN_EXE_chaosproxy"), "-host", &host]);
    let mut running = Running(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(socket.exists(), "{line}");
    tell(&running, rustix::process::Signal::HUP);
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
    assert!(!socket.exists(), "a socket's file goes with its server");
}

#[test]
fn started_to_ignore_hangups_it_does() {
    let ready = |command: &mut Command| {
        let (running, api, _) = started(command);
        tell(&running, rustix::process::Signal::HUP);
        (running, api)
    };
    let mut shell = Command::new("sh");
    let program = format!("trap '' HUP; exec {} -port 0", env!("CARGO_BIN_EXE_chaosproxy"));
    let shell = shell.args(["-c", &program]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (mut running, api) = ready(shell);
    assert_eq!(http(api, "GET", "/version", &[], "").status, 200);
    tell(&running, rustix::process::Signal::TERM);
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
}

#[test]
fn the_port_file_of_another_server_stays() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ready.json");
    let (mut running, ..) = started(&mut program(&["-port", "0", "-port-file", file.to_str().unwrap()]));
    std::fs::write(&file, "another's").unwrap();
    tell(&running, rustix::process::Signal::TERM);
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "another's");
}

#[test]
fn without_a_host_the_api_is_everywhere() {
    let (_running, api, _) = started(&mut program(&["-host=", "-port=0"]));
    assert!(api.ip().is_unspecified(), "{api}");
    let families = if api.is_ipv6() { vec!["127.0.0.1", "::1"] } else { vec!["127.0.0.1"] };
    for loopback in families {
        let api = (loopback.parse::<std::net::IpAddr>().unwrap(), api.port()).into();
        assert_eq!(http(api, "GET", "/version", &[], "").status, 200, "{loopback}");
    }
}

#[test]
fn top_prints_a_page_of_a_server_and_says_where_there_is_none() {
    let (server, proxy) = proxied(echo());
    let mut client = connect(proxy.listen_addr());
    ping(&mut client, b"hello");
    let (code, page, error) = run(&["top", &server.url(), "-interval", "10ms", "-once"]);
    assert_eq!((code, error.as_str()), (Some(0), ""));
    let lines: Vec<&str> = page.lines().collect();
    assert_eq!(lines[0], format!("chaosproxy at {}: 1 proxies, 1 connections open", server.url()));
    assert!(lines[3].starts_with("source") && lines[3].contains(&proxy.listen_addr().to_string()), "{page}");
    assert!(lines[6].contains(&client.local_addr().unwrap().to_string()), "{page}");
    // An upstream server answers, but not as a chaosproxy does.
    let other = upstream(|mut stream| {
        let _asked = stream.read(&mut [0; 4096]);
        let _gone = std::io::Write::write_all(&mut stream, b"HTTP/1.0 404 Not Found\r\n\r\n");
    });
    let (code, _, error) = run(&["top", &format!("http://{other}")]);
    assert_eq!(code, Some(3));
    assert!(error.contains("GET /proxies: status 404; is this the API of a chaosproxy?"), "{error}");
    assert_eq!(run(&["top", "http://127.0.0.1:1"]).0, Some(3));
}

#[test]
fn clients_find_a_server_by_its_address_alone_and_top_by_the_environment() {
    let (server, _proxy) = proxied(echo());
    let address = server.api_addr().to_string();
    let once = ["-once", "-interval", "1ms"];
    let (code, page, error) = run(&[&["top", &address][..], &once].concat());
    assert_eq!((code, error.as_str()), (Some(0), ""));
    assert!(page.starts_with(&format!("chaosproxy at {address}: 1 proxies")), "{page}");
    assert_eq!(run(&["healthcheck", &address]), (Some(0), String::new(), String::new()));
    let mut command = program(&[&["top"][..], &once].concat());
    let output = command.env("TOXIPROXY_URL", &address).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), page);
    let (code, _, error) = run(&["top", "https://127.0.0.1:1"]);
    let wanted = "chaosproxy: https://127.0.0.1:1: not an address of the form HOST:PORT, http://HOST:PORT or unix:PATH\n";
    assert_eq!((code, error.as_str()), (Some(3), wanted));
}

#[test]
fn a_page_in_a_pipe_is_whole_or_as_wide_as_columns_says() {
    let server = Server::builder().start().unwrap();
    let upstream = format!("{}.example.com:5000", "registry.".repeat(20));
    server.create(ProxySpec::new("source", &upstream)).unwrap();
    let top = |columns: Option<&str>| {
        let mut command = program(&["top", &server.url(), "-once", "-interval", "1ms"]);
        command.env_remove("COLUMNS").envs(columns.map(|columns| ("COLUMNS", columns)));
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let longest = |page: &str| page.lines().map(|line| line.chars().count()).max().unwrap();
    let whole = top(None);
    assert!(whole.contains(&upstream) && longest(&whole) > 200, "{whole}");
    let cut = top(Some("50"));
    assert!(!cut.contains(&upstream) && longest(&cut) == 50 && cut.contains("…\n"), "{cut}");
}

/// A terminal of 100 columns: its own side, and the one for a program.
fn terminal() -> (std::fs::File, std::fs::File) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let outer = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&outer).unwrap();
    unlockpt(&outer).unwrap();
    let path = ptsname(&outer, Vec::new()).unwrap();
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY;
    let inner = rustix::fs::open(path.as_c_str(), flags, rustix::fs::Mode::empty()).unwrap();
    let size = rustix::termios::Winsize { ws_row: 30, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&outer, size).unwrap();
    (outer.into(), inner.into())
}

/// What a terminal gets, up to a text.
fn read_until(terminal: &mut impl Read, text: &str) -> String {
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let count = terminal.read(&mut buffer).unwrap();
        all.extend_from_slice(&buffer[..count]);
        let shown = String::from_utf8_lossy(&all);
        if shown.contains(text) {
            return shown.into_owned();
        }
    }
}

#[test]
fn in_a_terminal_top_goes_on_until_a_key_or_a_signal_ends_it_and_leaves_the_terminal_as_it_was() {
    type End = fn(&mut std::fs::File, &Running);
    let ends: [(End, i32); 3] = [
        (|terminal, _| std::io::Write::write_all(terminal, b"q").unwrap(), 0),
        (|terminal, _| std::io::Write::write_all(terminal, b"\x03").unwrap(), 0),
        (|_, running| tell(running, rustix::process::Signal::TERM), 143),
    ];
    let (server, _proxy) = proxied(echo());
    for (end, code) in ends {
        let (mut outer, inner) = terminal();
        let mode = || rustix::termios::tcgetattr(&inner).unwrap().local_modes;
        let before = mode();
        let mut command = program(&["top", &server.url(), "-interval", "20ms"]);
        let (input, output) = (inner.try_clone().unwrap(), inner.try_clone().unwrap());
        let mut running = Running(command.stdin(input).stdout(output).spawn().unwrap());
        for _page in 0..2 {
            read_until(&mut outer, "\x1b[Jchaosproxy at ");
        }
        assert_ne!(mode(), before);
        end(&mut outer, &running);
        assert_eq!(running.0.wait().unwrap().code(), Some(code));
        assert_eq!(mode(), before);
    }
}

#[test]
fn names_cannot_command_a_terminal_through_ctl() {
    let server = Server::builder().start().unwrap();
    server.create(ProxySpec::new("e\u{1b}[2J\nx", "127.0.0.1:1")).unwrap();
    let (mut outer, inner) = terminal();
    let (output, error) = (inner.try_clone().unwrap(), inner);
    let mut command = program(&["ctl", "-h", &server.url(), "list"]);
    let mut running = Running(command.stdout(output).stderr(error).spawn().unwrap());
    drop(command);
    let shown = read_until(&mut outer, "ctl inspect");
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
    assert!(shown.contains("e\\u{1b}[2J\\nx") && !shown.contains("\x1b[2J"), "{shown:?}");
}

#[test]
fn help_calls_the_client_by_the_name_it_was_called_by() {
    let (code, help, _) = run(&["ctl", "help", "list"]);
    assert_eq!(code, Some(0));
    assert!(
        help.contains("Usage: chaosproxy ctl list [OPTIONS]\n") && !help.contains("toxiproxy-cli"),
        "{help}"
    );
    for arguments in [&["ctl", "help"][..], &["top", "-help"], &["healthcheck", "-help"]] {
        let (code, help, _) = run(arguments);
        assert_eq!(code, Some(0), "{arguments:?}");
        assert!(!help.contains("<http"), "{help}");
    }
}

#[test]
fn a_busy_api_port_is_exit_3() {
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = busy.local_addr().unwrap().port().to_string();
    let (code, output, error) = run(&["-port", &port]);
    assert_eq!((code, output.as_str()), (Some(3), ""));
    assert!(error.contains(&format!("cannot serve the API on 127.0.0.1:{port}")), "{error}");
    assert!(error.contains("in use"), "{error}");
}

#[test]
fn a_busy_proxy_port_is_exit_3() {
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("proxies.json");
    let listen = busy.local_addr().unwrap();
    std::fs::write(&config, format!(r#"[{{"name":"a","listen":"{listen}","upstream":"u:1"}}]"#)).unwrap();
    let (code, _, error) = run(&["-port", "0", "-config", config.to_str().unwrap()]);
    assert_eq!(code, Some(3));
    let wanted = format!("chaosproxy: proxy a: listen tcp {listen}: bind: address already in use\n");
    assert_eq!(error, wanted);
}

#[test]
fn mistakes_are_exit_2_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let bad = dir.path().join("bad.json");
    std::fs::write(&bad, "[\n  {\"name\": 5}\n]").unwrap();
    let bad = bad.to_str().unwrap();
    for (arguments, part) in [
        (vec!["-unknown"], "'-unknown'"),
        (vec!["-port", "x"], "invalid value 'x'"),
        (vec!["-config", "/nonexistent.json"], "/nonexistent.json"),
        (vec!["-config", bad], "bad.json:2:12: proxy 1: "),
        (vec!["-config", "/dev/zero"], "cannot read /dev/zero: more than 16MiB in it"),
        (vec!["-port", "0", "-timeline", "/dev/zero"], "cannot read /dev/zero: more than 16MiB in it"),
        (vec!["-buffer-limit", "1"], "write 64KiB or more"),
        (vec!["-host", "unix:"], "chaosproxy: -host \"unix:\": missing path; write it like unix:/run/"),
        (vec!["-host", "unix:/nonexistent/api", "-port", "9999"], "-port 9999 is of a host"),
        (vec!["-ledger", "/nonexistent/f", "-port-file", "/nonexistent/f"], "are one file"),
        (vec!["-port", "0", "helthcheck"], "helthcheck"),
    ] {
        let (code, output, error) = run(&arguments);
        assert_eq!((code, output.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(error.contains(part), "{arguments:?}: {error}");
    }
}

#[test]
fn each_cause_of_a_failed_start_is_told_once() {
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = busy.local_addr().unwrap().port().to_string();
    for (arguments, code, wanted) in [
        (
            vec!["-port", "0", "-ledger", "/nonexistent/ledger"],
            3,
            "cannot create the ledger /nonexistent/ledger: No such file or directory (os error 2)".to_owned(),
        ),
        (
            vec!["-host", "127.0.0.1", "-port", &port],
            3,
            format!("cannot serve the API on 127.0.0.1:{port}: Address already in use (os error 98)"),
        ),
        (
            vec!["-config", "/nonexistent.json"],
            2,
            "cannot read /nonexistent.json: No such file or directory (os error 2)".to_owned(),
        ),
    ] {
        let (status, _, error) = run(&arguments);
        assert_eq!((status, error), (Some(code), format!("chaosproxy: {wanted}\n")), "{arguments:?}");
    }
}

#[test]
fn version_and_help_go_to_standard_output() {
    let (code, output, _) = run(&["-version"]);
    assert_eq!((code, output), (Some(0), format!("chaosproxy version {}\n", env!("CARGO_PKG_VERSION"))));
    let (code, output, _) = run(&["-help"]);
    assert_eq!(code, Some(0));
    assert!(output.contains(" -buffer-limit "), "{output}");
    assert_eq!(run(&["healthcheck", "http://127.0.0.1:1"]).0, Some(1));
}

#[test]
fn under_the_names_of_the_reference_it_answers_as_such() {
    let dir = tempfile::tempdir().unwrap();
    for (name, flags) in [
        ("toxiproxy-server", vec!["-version", "--version", "-version=true"]),
        ("toxiproxy-cli", vec!["-version", "--version", "-v"]),
    ] {
        let link = dir.path().join(name);
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_chaosproxy"), &link).unwrap();
        for flag in flags {
            let output = Command::new(&link).arg(flag).output().unwrap();
            let expected = format!("{name} version {}\n", env!("CARGO_PKG_VERSION"));
            assert_eq!(String::from_utf8(output.stdout).unwrap(), expected, "{name} {flag}");
        }
    }
}

/// Starts the program and returns it with its ready line and the rest of its output.
pub(crate) fn started(
    command: &mut Command,
) -> (Running, std::net::SocketAddr, BufReader<std::process::ChildStdout>) {
    let mut running = Running(command.spawn().unwrap());
    let mut output = BufReader::new(running.0.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
    let api = ready["api"].as_str().unwrap().strip_prefix("http://").unwrap().parse().unwrap();
    (running, api, output)
}

/// The seed decides which connections a toxic affects: the same for the same seed, others for another one.
#[test]
fn the_seed_on_the_command_line_decides() {
    let upstream = echo();
    let affected = |arguments: &[&str]| {
        let (_running, api, _) = started(&mut program(arguments));
        let proxy = format!(
            r#"{{"name":"p","listen":"127.0.0.1:0","upstream":"{upstream}",
                "toxics":[{{"name":"half","type":"latency","toxicity":0.5}}]}}"#
        );
        let created = http(api, "POST", "/proxies", &[], &proxy).json();
        let address = created["listen"].as_str().unwrap().parse().unwrap();
        let mut clients: Vec<_> = (0..32).map(|_| connect(address)).collect();
        for client in &mut clients {
            ping(client, b"here");
        }
        let shown = http(api, "GET", "/connections", &[], "").json();
        let connections = shown["connections"].as_array().unwrap().iter();
        connections.map(|connection| connection["toxics"][0]["affects"] == true).collect::<Vec<_>>()
    };
    let seven = affected(&["-port", "0", "-seed", "7"]);
    assert!(seven.len() == 32 && seven.contains(&true) && seven.contains(&false), "{seven:?}");
    assert_eq!(affected(&["-port", "0", "-seed", "0x7", "-threads", "1"]), seven);
    assert_ne!(affected(&["-port", "0", "-seed", "8"]), seven);
}

#[test]
fn ctl_controls_a_running_server() {
    let (_running, api, _) = started(&mut program(&["-port", "0"]));
    let url = format!("http://{api}");
    let ctl = |line: &str| {
        let mut command = program(&["ctl"]);
        let output = command.args(line.split_whitespace()).env("TOXIPROXY_URL", &url).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(ctl("create -l 127.0.0.1:0 -u u:1 p"), (Some(0), "Created new proxy p\n".to_owned()));
    let added = "Added upstream cut toxic 'cut_upstream' on proxy 'p'\n".to_owned();
    let line = "toxic add -t cut -u -a mean_bytes=5000 -a action=stall p";
    assert_eq!(ctl(line), (Some(0), added));
    let (code, shown) = ctl("inspect p");
    let wanted = "cut_upstream\ttype=cut\tstream=upstream\ttoxicity=1.00\tattributes=[\taction=stall\tmean_bytes=5000\t]\n";
    assert_eq!((code, shown.as_str()), (Some(0), wanted));
    assert_eq!(ctl("delete none").0, Some(1));
    assert_eq!(ctl("bogus").0, Some(3));
    assert_eq!(ctl("list -bogus").0, Some(2));
}

#[test]
fn strictly_a_bad_config_is_told_and_the_server_runs() {
    let busy = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let held = TcpListener::bind(busy).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for (text, part, proxies) in [
        ("nonsense".to_owned(), "proxies.json:1:2: ", 0),
        (
            format!(
                r#"[{{"name":"a","listen":"127.0.0.1:0","upstream":"u:1"}},
                    {{"name":"b","listen":"{busy}","upstream":"u:1"}},
                    {{"name":"c","listen":"127.0.0.1:0","upstream":"u:1"}}]"#
            ),
            "address already in use",
            1,
        ),
    ] {
        let config = dir.path().join("proxies.json");
        std::fs::write(&config, text).unwrap();
        let arguments = ["-port", "0", "-strict-compat", "-config", config.to_str().unwrap()];
        let (mut running, api, _) = started(&mut program(&arguments));
        let shown = http(api, "GET", "/proxies", &[], "").json();
        assert_eq!(shown.as_object().unwrap().len(), proxies, "{shown}");
        let _gone = running.0.kill();
        let mut told = String::new();
        running.0.stderr.take().unwrap().read_to_string(&mut told).unwrap();
        assert!(told.contains(part), "{told}");
    }
    drop(held);
}

#[test]
fn logs_go_where_they_are_sent_and_an_unknown_level_is_told() {
    for (flag, to_output) in [("-log-stdout", true), ("-log-stdout=false", false)] {
        let mut command = program(&["-port", "0", flag]);
        let (mut running, api, mut output) = started(command.env("LOG_LEVEL", "loud"));
        // The program may still be about to start its log.
        assert_eq!(http(api, "GET", "/version", &[], "").status, 200);
        let (mut out, mut error) = (String::new(), String::new());
        if to_output {
            output.read_line(&mut out).unwrap();
        }
        let _gone = running.0.kill();
        running.0.stderr.take().unwrap().read_to_string(&mut error).unwrap();
        let log = if to_output { &out } else { &error };
        assert!(log.contains("unknown level") && log.contains("loud"), "{log}");
        if to_output {
            let line: serde_json::Value = serde_json::from_str(&out).unwrap();
            assert_eq!((&line["level"], error.as_str()), (&"ERROR".into(), ""));
        }
    }
}

/// What the program says on standard error while the API is asked for these.
fn log_of(level: &str, calls: &[(&str, &str, &str)]) -> String {
    let mut command = program(&["-port", "0"]);
    let (mut running, api, _) = started(command.env("LOG_LEVEL", level));
    for (method, path, body) in calls {
        let answer = http(api, method, path, &[], body);
        assert!(answer.status < 300, "{method} {path}: {answer:?}");
    }
    tell(&running, rustix::process::Signal::TERM);
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
    let mut log = String::new();
    running.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    log
}

#[test]
fn each_change_is_a_line_of_the_log() {
    let event = r#"{"events":[{"proxy":"p\nq","at_ms":600000,"for_ms":9,"outage":"silent"}]}"#;
    let calls = [
        ("POST", "/proxies", r#"{"name":"p\nq","listen":"127.0.0.1:0","upstream":"u:1"}"#),
        ("POST", "/proxies/p%0Aq", r#"{"enabled":true}"#),
        ("POST", "/proxies/p%0Aq/toxics", r#"{"type":"latency","name":"slow","attributes":{"latency":7}}"#),
        ("POST", "/proxies/p%0Aq/toxics/slow", r#"{"attributes":{"latency":8}}"#),
        ("DELETE", "/proxies/p%0Aq/toxics/slow", ""),
        ("POST", "/outages", r#"{"proxy":"p\nq","kind":"silent","for_ms":600000}"#),
        ("DELETE", "/outages/1", ""),
        ("PUT", "/timeline", event),
        ("POST", "/timeline/start", ""),
        ("DELETE", "/timeline", ""),
        ("POST", "/reset", ""),
        ("POST", "/populate", r#"[{"name":"q","listen":"127.0.0.1:0","upstream":"u:1"}]"#),
        ("DELETE", "/proxies/p%0Aq", ""),
        ("GET", "/proxies", ""),
    ];
    let log = log_of("", &calls);
    let wanted = [
        r#"INFO chaosproxy::api::routes: proxy created proxy="p\nq" listen="127.0.0.1:"#,
        r#"proxy updated proxy="p\nq" listen="127.0.0.1:"#,
        r#"toxic added proxy="p\nq" toxic={"attributes":{"latency":7,"jitter":0},"name":"slow""#,
        r#"toxic updated proxy="p\nq" toxic={"attributes":{"latency":8,"jitter":0},"name":"slow""#,
        r#"toxic removed proxy="p\nq" toxic="slow""#,
        r#"outage began outage=1 proxy="p\nq" kind="silent" for_ms=600000"#,
        r#"outage ended outage=1 proxy="p\nq""#,
        "timeline put events=1",
        "timeline started",
        "timeline deleted",
        "all proxies reset",
        r#"proxies populated proxies=["q"]"#,
        r#"proxy deleted proxy="p\nq""#,
        "stopping",
    ];
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), wanted.len(), "{log}");
    for (line, wanted) in lines.iter().zip(wanted) {
        assert!(line.contains(wanted), "no {wanted} in {line}");
    }
}

#[test]
fn each_request_is_a_line_of_a_log_for_debugging() {
    let log = log_of("debug", &[("GET", "/proxies?a=b", ""), ("POST", "/reset", "")]);
    for wanted in [
        "API request method=GET uri=/proxies?a=b status=200",
        "API request method=POST uri=/reset status=204",
    ] {
        assert_eq!(log.matches(wanted).count(), 1, "{wanted}: {log}");
    }
}

#[test]
fn a_timeline_begins_with_the_program() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let config = file(
        "proxies.json",
        &format!(r#"[{{"name":"source","listen":"127.0.0.1:0","upstream":"{}"}}]"#, echo()),
    );
    let down = file("down.yaml", "events:\n  - {proxy: source, at_ms: 0, for_ms: 60000, outage: down}\n");
    let command = program(&["-port=0", "-config", &config, "-timeline", &down]).spawn();
    let mut running = Running(command.unwrap());
    let mut line = String::new();
    BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
    let api = ready["api"].as_str().unwrap().strip_prefix("http://").unwrap().parse().unwrap();
    let view = || http(api, "GET", "/timeline", &[], "").json();
    eventually("the outage has begun", || view()["events"][0]["started_ms"].is_u64());
    let proxy = http(api, "GET", "/proxies/source", &[], "").json();
    let listen: std::net::SocketAddr = proxy["listen"].as_str().unwrap().parse().unwrap();
    assert_eq!(
        std::net::TcpStream::connect(listen).unwrap_err().kind(),
        std::io::ErrorKind::ConnectionRefused
    );
    assert_eq!((&view()["state"], &proxy["enabled"]), (&"running".into(), &true.into()));

    let unknown = file("unknown.yaml", "events:\n  - {proxy: other, at_ms: 0, outage: reset_all}\n");
    let misspelt = file("misspelt.yaml", "events:\n  - {proxy: source, at_ms: 0, outag: down}\n");
    for (timeline, problem) in [(&unknown, "other"), (&misspelt, "misspelt.yaml:2:")] {
        let (code, _, said) = run(&["-port=0", "-config", &config, "-timeline", timeline]);
        assert!(code == Some(2) && said.contains(problem), "{code:?}: {said}");
    }
}
