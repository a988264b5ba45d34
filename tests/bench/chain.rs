//! The whole chain: our replicator against `skopeo copy`, on the same image and registries, in turn.

use std::process::{Command, Stdio};
use std::time::Instant;

use e2e::measure::{Candidate, interleave, size};
use e2e::program::{find, succeed};
use e2e::server::Server;
use e2e::{binary, transfer};

fn main() {
    if find("skopeo").is_none() {
        println!("chain: not measured, skopeo is not installed");
        return;
    }
    let (image, bytes) = size(("synth/256mib-x4", 1u64 << 30), ("synth/64mib-x4", 256 << 20));
    let (source, dest) = (Server::mockreg(&["--name", "source"]), Server::mockreg(&["--name", "dest"]));
    let from = format!("{}/{image}:v1", source.registry());
    let to = format!("{}/copy/app:v1", dest.registry());
    let trial = |mut command: Command| {
        // A destination that has nothing: every byte moves, every time.
        assert_eq!(transfer::request("POST", &dest.admin(), "/reset").0 / 100, 2);
        let start = Instant::now();
        succeed(command.stdin(Stdio::null()));
        let seconds = start.elapsed().as_secs_f64();
        let (_, counters) = transfer::request("GET", &dest.admin(), "/counters");
        let counters: serde_json::Value = serde_json::from_str(&counters).expect("counters are JSON");
        assert!(counters["bytes_in"].as_u64() >= Some(bytes), "the bytes did not move: {counters}");
        seconds
    };
    let ours = || {
        let mut command = Command::new(binary::path("loadgen"));
        command.args(["copy", &from, &to]);
        trial(command)
    };
    let skopeo = || {
        let mut command = Command::new("skopeo");
        command.args(["copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false"]);
        command.args([format!("docker://{from}"), format!("docker://{to}")]);
        trial(command)
    };
    let candidates = vec![Candidate::new("loadgen copy", ours), Candidate::new("skopeo copy", skopeo)];
    let what = format!("Copying {image} between two mockregs, whole processes");
    interleave(size(7, 2), candidates).report("chain", &what, "MB/s", bytes as f64 / 1e6);
}
