//! `loadgen run` as its users meet it: exit codes, the result file, repeatability, interruption, things that break.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use e2e::binary;
use e2e::server::Server;
use serde_json::Value;

/// One run at a time: two would fight for two cores and measure each other.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn loadgen(arguments: &[&str], out: &Path) -> Command {
    let mut command = Command::new(binary::path("loadgen"));
    command.args(arguments).arg("--out").arg(out).args(["--progress", "none", "--metrics", "127.0.0.1:0"]);
    command.stdin(Stdio::null());
    command
}

fn result(out: &Path) -> Value {
    let path = out.join("result.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// `network_resilience` at a fifth of its ci size: 50 images of 0.4 to 20 MB at half the rate, the same share of
/// broken transfers, the same events.
const SMALL: &[&str] =
    &["run", "network_resilience", "--scale-bytes=0.2", "--param=network.bandwidth=60MB/s"];

fn decisions(out: &Path) -> BTreeMap<(String, String, u64), Value> {
    let text = std::fs::read_to_string(out.join("ledger.ndjson")).unwrap();
    let decision = |line: &str| {
        let decision = serde_json::from_str::<Value>(line).unwrap()["decision"].clone();
        let text = |key: &str| decision[key].as_str().unwrap().to_owned();
        ((text("rule"), text("identity"), decision["attempt"].as_u64().unwrap()), decision)
    };
    text.lines().map(decision).collect()
}

#[test]
fn smoke_passes_and_says_what_moved() {
    let _alone = alone();
    let out = tempfile::tempdir().unwrap();
    let output = loadgen(&["run", "smoke", "--json"], out.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let result = result(out.path());
    let printed: Value = serde_json::from_slice(&output.stdout).expect("exactly one JSON object");
    assert_eq!(printed, result);
    assert_eq!((&result["outcome"], &result["exit_code"]), (&"pass".into(), &0.into()));
    assert_eq!(result["operations"]["ok"], 12);
    let payload = result["bytes"]["payload"].as_u64().unwrap();
    assert!(result["bytes"]["source_wire"].as_u64().unwrap() >= payload, "the payload came over the wire");
    assert!(result["bytes"]["dest_wire"].as_u64().unwrap() >= payload, "the payload went over the wire");
    assert!(
        result["journals"]["dest"]["bytes_in"].as_u64().unwrap() >= payload,
        "the destination received it"
    );
    assert_eq!(result["replica"]["expected"], 12);
    assert_eq!(result["replica"]["mismatched"], 0);
    assert_eq!(
        result["faults_injected"].as_object().unwrap().values().filter(|n| n.as_u64() > Some(0)).count(),
        0
    );
}

#[test]
fn faults_are_survived_and_the_same_seed_decides_the_same() {
    let _alone = alone();
    let runs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for out in &runs {
        let output = loadgen(SMALL, out.path()).output().unwrap();
        let page = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(0), "{page}{}", stderr(&output));
        let result = result(out.path());
        assert_eq!(result["operations"]["ok"], 50);
        assert_eq!(result["replica"]["mismatched"], 0);
        assert!(result["retries"]["from_journals"].as_u64().unwrap() > 0);
        let faults = result["faults_injected"].as_object().unwrap();
        let struck = |prefix: &str| -> u64 {
            faults.iter().filter(|(kind, _)| kind.starts_with(prefix)).map(|(_, n)| n.as_u64().unwrap()).sum()
        };
        // 476 MB at a hazard of one in 32 MB each for reset and stall: 30 expected on each side, fewer than ten with a
        // probability below 10^-5 (Poisson).
        assert!(struck("source cut") >= 10 && struck("dest cut") >= 10, "{faults:?}");
        let events = result["events"].as_array().unwrap();
        assert_eq!(events.len(), 6);
        assert!(events.iter().all(|event| event["started"].is_u64()), "{events:?}");
    }
    let [first, second] = runs.each_ref().map(|out| result(out.path())["plan_hash"].clone());
    assert_eq!(first, second);
    let [first, second] = runs.each_ref().map(|out| decisions(out.path()));
    let both: Vec<_> = first.keys().filter(|key| second.contains_key(*key)).collect();
    assert!(both.len() > 20, "the runs have only {} decisions in common", both.len());
    for key in both {
        assert_eq!(first[key], second[key], "{key:?}");
    }
}

/// Waits for the end, at most `limit`.
fn wait(mut child: Child, limit: Duration) -> Output {
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > limit {
            child.kill().unwrap();
            panic!("still running after {limit:?}: {}", stderr(&child.wait_with_output().unwrap()));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().unwrap()
}

fn interrupt(child: &Child) {
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[test]
fn an_interruption_at_any_moment_stops_within_two_seconds_and_writes_the_result() {
    let _alone = alone();
    for after_ms in [100, 800, 2500, 5000] {
        let out = tempfile::tempdir().unwrap();
        let mut command = loadgen(&["run", "network_resilience"], out.path());
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(after_ms));
        interrupt(&child);
        let output = wait(child, Duration::from_secs(2));
        assert_eq!(output.status.code(), Some(130), "after {after_ms} ms: {}", stderr(&output));
        assert_eq!(result(out.path())["outcome"], "interrupted");
    }
}

#[test]
fn a_running_scenario_can_be_watched() {
    let _alone = alone();
    let out = tempfile::tempdir().unwrap();
    let mut command = loadgen(&["run", "network_resilience"], out.path());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).expect("the ready line comes first");
    let address = ready["metrics"].as_str().unwrap().trim_start_matches("http://").to_owned();
    std::thread::sleep(Duration::from_secs(4));
    let view: Value = serde_json::from_str(&http_get(&address, "/metrics/scenarios")).unwrap();
    let view = &view["scenarios"][0];
    assert_eq!((&view["scenario"], &view["phase"]), (&"network_resilience".into(), &"copying".into()));
    assert!(view["payload_bytes"].as_u64().unwrap() > 0, "{view}");
    let text = http_get(&address, "/metrics");
    assert!(
        text.contains("loadgen_wire_bytes_total{side=\"source\",scenario=\"network_resilience\"} "),
        "{text}"
    );
    interrupt(&child);
    assert_eq!(wait(child, Duration::from_secs(2)).status.code(), Some(130));
}

/// A test bed of running servers, as arguments.
struct Running {
    source: Server,
    dest: Server,
    proxy: Server,
}

impl Running {
    fn start() -> Self {
        Self {
            source: Server::mockreg(&["--name", "source"]),
            dest: Server::mockreg(&["--name", "dest"]),
            proxy: Server::chaosproxy(&[]),
        }
    }

    fn arguments(&self) -> Vec<String> {
        let url = |address: String| format!("http://{address}");
        vec![
            format!("--source={}", url(self.source.registry())),
            format!("--source-admin={}", url(self.source.admin())),
            format!("--dest={}", url(self.dest.registry())),
            format!("--dest-admin={}", url(self.dest.admin())),
            format!("--proxy-api={}", url(self.proxy.api())),
        ]
    }
}

fn with<'a>(first: &[&'a str], more: &'a [String]) -> Vec<&'a str> {
    first.iter().copied().chain(more.iter().map(String::as_str)).collect()
}

#[test]
fn running_servers_are_used_and_left_as_they_were() {
    let _alone = alone();
    let running = Running::start();
    let servers = running.arguments();
    let toxic = r#"--param=network.toxics=[{"name": "c", "type": "cut", "attributes": {"mean_bytes": "1GB", "action": "reset"}}]"#;
    let draws = ["1", "1", "2"].map(|seed| {
        let out = tempfile::tempdir().unwrap();
        let arguments = with(&["run", "smoke", toxic, "--seed", seed], &servers);
        let output = loadgen(&arguments, out.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let result = result(out.path());
        assert!(
            result["bytes"]["payload"].as_u64().unwrap() > 100_000_000,
            "a second run moves its bytes again"
        );
        let first = ("c".to_owned(), "source connection 1".to_owned(), 1);
        decisions(out.path())[&first]["draw"].clone()
    });
    assert_eq!(draws[0], draws[1], "the same seed on the same proxy");
    assert_ne!(draws[0], draws[2], "another seed on the same proxy");
    assert_eq!(http_get(&running.proxy.api(), "/proxies").trim(), "{}");
}

/// The body of a GET, over a plain socket.
fn http_get(address: &str, path: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[test]
fn a_destination_that_dies_fails_the_run_without_a_hang() {
    let _alone = alone();
    let mut running = Running::start();
    let servers = running.arguments();
    let out = tempfile::tempdir().unwrap();
    let arguments = with(&["run", "smoke", "--param=network.bandwidth=10MB/s"], &servers);
    let child =
        loadgen(&arguments, out.path()).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(3));
    running.dest.kill();
    // Five seconds until a registry counts as gone, and what the reports take.
    let output = wait(child, Duration::from_secs(30));
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let result = result(out.path());
    assert_eq!(result["outcome"], "fail");
    let reasons = result["reasons"].to_string();
    assert!(reasons.contains("dest registry is gone"), "{reasons}");
}

#[test]
fn what_cannot_be_reached_or_started_is_exit_3_with_a_result() {
    let _alone = alone();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = busy.local_addr().map(|address| (busy, address)).unwrap();
    let closed_url = format!("http://{closed}");
    let cases: [(&[&str], &str); 4] = [
        (&["run", "smoke", "--dest", &closed_url], "cannot reach"),
        (&["run", "smoke", "--source", &closed_url], "cannot reach"),
        (&["run", "smoke", "--proxy-api", &closed_url], "cannot reach"),
        (&["run", "smoke", "--metrics", &busy.1.to_string()], "metrics"),
    ];
    for (arguments, part) in cases {
        let out = tempfile::tempdir().unwrap();
        let mut command = Command::new(binary::path("loadgen"));
        command.args(arguments).arg("--out").arg(out.path()).args(["--progress", "none"]);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{arguments:?}: {}", stderr(&output));
        let result = result(out.path());
        assert_eq!(result["outcome"], "error");
        assert!(result["reasons"].to_string().contains(part), "{arguments:?}: {}", result["reasons"]);
    }
}

#[test]
fn an_event_that_does_not_happen_makes_the_run_invalid() {
    let _alone = alone();
    let out = tempfile::tempdir().unwrap();
    let timeline =
        r#"--param=timeline=[{"after_bytes": "1TB", "for": "1s", "outage": "down", "side": "dest"}]"#;
    let output = loadgen(&["run", "smoke", timeline], out.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", stderr(&output));
    let result = result(out.path());
    assert_eq!(result["outcome"], "invalid");
    assert!(result["reasons"].to_string().contains("dest: outage down"), "{}", result["reasons"]);
}

#[test]
fn a_run_leaves_what_others_pushed_alone() {
    let _alone = alone();
    let running = Running::start();
    let mine = format!("{}/mine/app:v1", running.dest.registry());
    let source = format!("{}/synth/1mb:v1", running.source.registry());
    let loadgen_binary = binary::path("loadgen");
    let copied = Command::new(&loadgen_binary).args(["copy", &source, &mine]).output().unwrap();
    assert!(copied.status.success(), "{}", stderr(&copied));
    let out = tempfile::tempdir().unwrap();
    let servers = running.arguments();
    let output = loadgen(&with(&["run", "smoke"], &servers), out.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(result(out.path())["retries"]["from_journals"].is_u64(), "an older journal is no gap");
    let verified = Command::new(&loadgen_binary).args(["verify", &source, &mine]).output().unwrap();
    assert!(verified.status.success(), "{}", stderr(&verified));
}

#[test]
fn copy_and_verify_tell_unreachable_from_different() {
    let _alone = alone();
    let registry = Server::mockreg(&[]);
    let image = |repository: &str| format!("{}/{repository}:v1", registry.registry());
    let code = |arguments: &[&str]| {
        Command::new(binary::path("loadgen")).args(arguments).output().unwrap().status.code()
    };
    assert_eq!(code(&["copy", &image("synth/1mb"), &image("copy/a")]), Some(0));
    assert_eq!(code(&["verify", &format!("docker://{}", image("synth/1mb")), &image("copy/a")]), Some(0));
    assert_eq!(code(&["verify", &image("synth/2mb"), &image("copy/a")]), Some(1), "another image");
    assert_eq!(code(&["verify", &image("synth/1mb"), &image("copy/b")]), Some(1), "no such copy");
    assert_eq!(code(&["verify", "127.0.0.1:1/a:v1", &image("copy/a")]), Some(3), "no such registry");
    assert_eq!(code(&["copy", "127.0.0.1:1/a:v1", &image("copy/a")]), Some(3), "no such registry");
    assert_eq!(code(&["copy", "not an image", &image("copy/a")]), Some(2));
}

/// Whoever is trusted, by option or by the system, is trusted on both sides of a copy and by the check; nobody else is.
#[test]
fn copy_and_verify_speak_tls() {
    let _alone = alone();
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let authority = |name: &str| {
        let made = Command::new(binary::path("mockreg")).args(["ca", "--dir", &path(name)]).output().unwrap();
        let file = path(name) + "-certificates/ca.pem";
        std::fs::create_dir(path(name) + "-certificates").unwrap();
        std::fs::write(&file, made.stdout).unwrap();
        file
    };
    let (own, _strangers) = (authority("own"), authority("strangers"));
    let secure = Server::mockreg(&["--tls-auto", &path("own")]);
    let plain = Server::mockreg(&[]);
    let here = |image: &str| format!("https://{}/{image}", secure.registry());
    let there = |image: &str| format!("http://{}/{image}", plain.registry());
    let trusted = ["--ca", &own];
    for (arguments, more, system, code, says) in [
        (["copy", &here("synth/1mb:v1"), &there("copy/a:v1")], &trusted[..], "strangers", 0, ""),
        (["verify", &here("synth/1mb:v1/"), &there("copy/a:v1")], &trusted, "strangers", 0, "1 of 1 exact"),
        (["copy", &there("copy/a:v1"), &here("copy/b:v1")], &[], "own", 0, ""),
        (["verify", &there("copy/a"), &here("copy/b/")], &[], "own", 0, "1 of 1 exact"),
        (["verify", &here("synth/80mb:v1"), &here("synth/80mb:v2")], &[], "own", 0, "1 of 1 exact (1 by"),
        (["verify", &here("synth/2mb:v1"), &there("copy/a:v1")], &trusted, "strangers", 1, ""),
        (
            ["verify", &here("synth/1mb:v1"), &here("copy/b:v1")],
            &["--insecure"],
            "strangers",
            0,
            "not checked",
        ),
        (
            ["verify", &there("copy/a:v1"), &there("copy/a:v1")],
            &["--insecure"],
            "strangers",
            0,
            "1 of 1 exact",
        ),
        (["copy", &here("synth/1mb:v1"), &there("copy/c:v1")], &[], "strangers", 3, "--ca FILE"),
        (["verify", &there("copy/a:v1"), &here("copy/b:v1")], &[], "strangers", 3, "--ca FILE"),
        (["verify", &there("copy/a:v1"), &here("copy/b:v1")], &[], "nowhere", 2, "SSL_CERT_DIR"),
        (
            ["verify", &there("copy/a:v1"), &here("copy/b:v1")],
            &["--ca", "/nowhere"],
            "own",
            2,
            "--ca /nowhere",
        ),
    ] {
        let mut program = Command::new(binary::path("loadgen"));
        program.env("SSL_CERT_DIR", path(system) + "-certificates").env_remove("SSL_CERT_FILE");
        let output = program.args(arguments).args(more).output().unwrap();
        let said = stderr(&output) + &String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{arguments:?} {more:?}: {said}");
        assert!(said.contains(says), "{arguments:?} {more:?}: {said}");
    }
    let wrong = there("synth/1mb:v1").replace("http://", "https://");
    let mut program = Command::new(binary::path("loadgen"));
    let output = program.args(["verify", &wrong, &there("copy/a:v1"), "--insecure"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "clear text is no TLS: {}", stderr(&output));
}

#[test]
fn a_reader_that_leaves_early_is_no_panic() {
    let program = binary::path("loadgen");
    let command = format!("{} plan network_resilience | head -n 1", program.display());
    let output = Command::new("sh").args(["-c", &command]).output().unwrap();
    assert!(output.status.success());
    assert_eq!(stderr(&output), "");
}

#[test]
fn usage_errors_are_exit_2_and_name_the_place() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("mine.yaml");
    std::fs::write(&file, "schema_version: 1\nname: mine\nduration: 1m\nworkres: 3\n").unwrap();
    let file = file.to_str().unwrap();
    let cases: [(&[&str], &str); 8] = [
        (&["run", file], "mine.yaml:4:1: unknown key `workres`; did you mean `workers`?"),
        (&["run", "smok"], "did you mean `smoke`?"),
        (&["run", "smoke", "--scale", "huge"], "no scale `huge`"),
        (&["run", "network_resilience", "--scale", "full", "--scale-count", "0.1"], "--scale-time"),
        (&["run", "smoke", "--param", "workers=none"], "--param workers=none"),
        (&["run", "network_resilience", "--no-proxy"], "--no-proxy"),
        (&["run", "smoke", "--source", "nowhere"], "http://"),
        (&["frobnicate"], "unrecognized subcommand"),
    ];
    for (arguments, part) in cases {
        let output = Command::new(binary::path("loadgen")).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(part), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn a_plan_is_shown_without_running_it() {
    let plan = |seed: &str| -> Value {
        let arguments = ["plan", "network_resilience", "--json", "--seed", seed];
        let output = Command::new(binary::path("loadgen")).args(arguments).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    };
    assert_eq!(plan("1"), plan("1"));
    assert_ne!(plan("1")["plan_hash"], plan("2")["plan_hash"]);
    assert_eq!(plan("1")["operations"].as_array().unwrap().len(), 50);
}

#[test]
fn an_out_that_is_no_directory_is_exit_3_before_anything_runs() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let output = loadgen(&["run", "smoke"], &file.path().join("below")).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("--out"), "{}", stderr(&output));
    let result: Value = serde_json::from_slice(&output.stdout).expect("the result is on standard output");
    assert_eq!(result["outcome"], "error");
}
