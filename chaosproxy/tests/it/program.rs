//! The program itself: its flags, its first line, its exit codes.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use crate::harness::*;

fn program(arguments: &[&str]) -> Command {
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

struct Running(Child);

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
    let mut log = String::new();
    running.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(!log.contains("panicked"), "{log}");
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
        (vec!["-config", bad], "bad.json:2:3: proxy 1: "),
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
fn under_the_name_of_the_reference_it_answers_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("toxiproxy-server");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_chaosproxy"), &link).unwrap();
    let output = Command::new(&link).arg("-version").output().unwrap();
    let expected = format!("toxiproxy-server version {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
}
