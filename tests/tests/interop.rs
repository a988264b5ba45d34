//! Other people's programs against ours. Where one is missing its tests show as ignored with the reason.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::process::{Command, ExitCode};

use e2e::program::{find, run, succeed, trial};
use e2e::server::Server;
use e2e::{binary, memory};
use libtest_mimic::{Arguments, Trial};
use serde_json::Value;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // They move gigabytes and measure memory: one at a time.
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, trials()).exit_code()
}

fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial("skopeo_inspects_an_image_by_name", &["skopeo"], skopeo_inspects),
        trial("skopeo_copies_between_two_registries", &["skopeo"], skopeo_copies_between),
        trial("skopeo_copies_out_and_in_again", &["skopeo", "tar", "gzip"], skopeo_copies_out_and_in),
        trial("skopeo_reads_a_catalogue", &["skopeo"], skopeo_reads_a_catalogue),
        trial("curl_drives_the_proxys_api", &["curl"], curl_drives_the_api),
        trial("a_full_disk_sends_the_result_to_standard_output", &["mount", "umount"], full_disk),
    ];
    if std::env::var_os("STORMYARD_QUICK").is_none() {
        trials.push(trial("skopeo_copies_five_gibibytes_through_the_proxy", &["skopeo"], skopeo_copies_5gib));
    }
    trials
}

fn skopeo(arguments: &[&str]) -> Command {
    let mut command = Command::new("skopeo");
    command.args(arguments);
    command
}

fn digest(registry: &str, image: &str) -> String {
    let url = format!("docker://{registry}/{image}");
    let text = succeed(&mut skopeo(&["inspect", "--tls-verify=false", &url]));
    let inspected: Value = serde_json::from_str(&text).unwrap();
    inspected["Digest"].as_str().unwrap().to_owned()
}

fn copy(from: &str, to: &str) {
    let plain = ["copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false"];
    succeed(&mut skopeo(&[&plain[..], &[from, to]].concat()));
}

fn skopeo_inspects() {
    let registry = Server::mockreg(&[]);
    let url = format!("docker://{}/synth/1mib-x8:latest", registry.registry());
    let text = succeed(&mut skopeo(&["inspect", "--tls-verify=false", &url]));
    let inspected: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(inspected["Layers"].as_array().unwrap().len(), 8);
    assert_eq!(inspected["Architecture"], "amd64");
}

fn skopeo_copies_between() {
    let (source, dest) = (Server::mockreg(&["--name", "source"]), Server::mockreg(&["--name", "dest"]));
    for image in ["synth/10mb", "synth/5mb-x3-tar", "synth/4mb-c1", "synth/553"] {
        let image = image.replace("5mb-x3-tar", "5242880-x3-tar");
        copy(
            &format!("docker://{}/{image}:v1", source.registry()),
            &format!("docker://{}/copy/{image}:v1", dest.registry()),
        );
        assert_eq!(
            digest(&source.registry(), &format!("{image}:v1")),
            digest(&dest.registry(), &format!("copy/{image}:v1"))
        );
    }
}

/// Out to a folder, where GNU tar and gzip read the layer, and from there into another registry.
fn skopeo_copies_out_and_in() {
    let (source, dest) = (Server::mockreg(&[]), Server::mockreg(&[]));
    let folder = tempfile::tempdir().unwrap();
    let dir = format!("dir:{}", folder.path().display());
    copy(&format!("docker://{}/synth/5mb:v1", source.registry()), &dir);
    let manifest = std::fs::read_to_string(folder.path().join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    let layer = manifest["layers"][0]["digest"].as_str().unwrap().trim_start_matches("sha256:");
    let listing = succeed(Command::new("tar").arg("-tvzf").arg(folder.path().join(layer)));
    assert!(listing.lines().count() > 50, "{listing}");
    copy(&dir, &format!("docker://{}/back/again:v1", dest.registry()));
    assert_eq!(digest(&source.registry(), "synth/5mb:v1"), digest(&dest.registry(), "back/again:v1"));
}

fn skopeo_reads_a_catalogue() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("catalogue.yaml");
    let text = "schema_version: 1\nrepositories:\n  - {name: team/app, tags: [v1, v2], layers: [4MB, 1MB]}\n";
    std::fs::write(&file, text).unwrap();
    let registry = Server::mockreg(&["--catalog", file.to_str().unwrap()]);
    let url = format!("docker://{}/team/app", registry.registry());
    let tags: Value =
        serde_json::from_str(&succeed(&mut skopeo(&["list-tags", "--tls-verify=false", &url]))).unwrap();
    assert_eq!(tags["Tags"], serde_json::json!(["v1", "v2"]));
    assert_ne!(digest(&registry.registry(), "team/app:v1"), digest(&registry.registry(), "team/app:v2"));
}

fn curl_drives_the_api() {
    let (registry, proxy) = (Server::mockreg(&[]), Server::chaosproxy(&[]));
    let api = |path: &str| format!("http://{}{path}", proxy.api());
    let body = format!(r#"{{"name":"p","listen":"127.0.0.1:0","upstream":"{}"}}"#, registry.registry());
    let created = succeed(Command::new("curl").args(["-sf", "-d", &body, &api("/proxies")]));
    let created: Value = serde_json::from_str(&created).unwrap();
    let latency = r#"{"type":"latency","attributes":{"latency":150}}"#;
    succeed(Command::new("curl").args(["-sf", "-d", latency, &api("/proxies/p/toxics")]));
    let url = format!("http://{}/v2/", created["listen"].as_str().unwrap());
    let took = succeed(Command::new("curl").args(["-sf", "-o", "/dev/null", "-w", "%{time_total}", &url]));
    let seconds: f64 = took.trim().parse().unwrap();
    assert!((0.15..0.65).contains(&seconds), "{seconds} s with 150 ms of latency");
}

/// The acceptance test of size: 5 GiB pulled through the proxy and pushed into a second registry, every process
/// below 64 MiB.
fn skopeo_copies_5gib() {
    let source = Server::mockreg(&["--name", "source"]);
    let dest = Server::mockreg(&["--name", "dest"]);
    let proxy = Server::chaosproxy(&[]);
    let through = |name: &str, upstream: String| {
        let body = format!(r#"{{"name":"{name}","listen":"127.0.0.1:0","upstream":"{upstream}"}}"#);
        let url = format!("http://{}/proxies", proxy.api());
        let created: Value =
            serde_json::from_str(&succeed(Command::new("curl").args(["-sf", "-d", &body, &url]))).unwrap();
        created["listen"].as_str().unwrap().to_owned()
    };
    let (from, to) = (through("source", source.registry()), through("dest", dest.registry()));
    copy(&format!("docker://{from}/synth/5gib:v1"), &format!("docker://{to}/replica/big:v1"));
    assert_eq!(digest(&source.registry(), "synth/5gib:v1"), digest(&dest.registry(), "replica/big:v1"));
    let counters: Value = serde_json::from_str(&succeed(
        Command::new("curl").args(["-sf", &format!("http://{}/counters", dest.admin())]),
    ))
    .unwrap();
    assert!(counters["bytes_in"].as_u64().unwrap() >= 5 << 30, "{counters}");
    assert_eq!(counters["stored_bytes"].as_u64().unwrap() >> 20, 0, "kept as a recipe: {counters}");
    for (name, server) in [("source", &source), ("dest", &dest), ("proxy", &proxy)] {
        let peak = memory::peak_resident(server.pid());
        eprintln!("{name}: peak resident {:.1} MiB", peak as f64 / f64::from(1 << 20));
        assert!(peak < 64 << 20, "{name} took {peak} bytes");
    }
}

/// A file system of 64 KiB that is full before the run ends: the result stands on standard output, exit 3.
fn full_disk() {
    let folder = tempfile::tempdir().unwrap();
    let mount =
        run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(folder.path()));
    assert!(mount.status.success(), "mounting takes root: {}", String::from_utf8_lossy(&mount.stderr));
    std::fs::write(folder.path().join("filler"), vec![0u8; 60 << 10]).unwrap();
    let arguments = [
        "run",
        "smoke",
        "--progress",
        "none",
        "--metrics",
        "127.0.0.1:0",
        "--param",
        "corpus.images=2",
        "--out",
    ];
    let output = run(Command::new(binary::path("loadgen")).args(arguments).arg(folder.path()));
    let _ = run(Command::new(find("umount").unwrap()).arg(folder.path()));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("cannot write the result"), "{text}");
    let result: Value = serde_json::from_slice(&output.stdout).expect("the result is on standard output");
    assert_eq!(result["scenario"], "smoke");
}
