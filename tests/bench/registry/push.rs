//! Blobs in, cleartext HTTP/1.1: one that mockreg could have made itself, which it compares instead of hashing, and
//! one that it has never seen. How fast this machine hashes stands beside them.

use std::hint::black_box;
use std::time::Instant;

use e2e::measure::{Candidate, interleave, size};
use e2e::peers::DockerRegistry;
use e2e::server::Server;
use e2e::transfer;
use mockreg_proto::digest::Digest;

use crate::folder;

pub(crate) fn run() {
    let (image, bytes) = size(("synth/1gib", 1u64 << 30), ("synth/128mib", 128 << 20));
    let folder = folder();
    // Room for what is no synthetic layer; nothing here is to be spilled.
    let mockreg = Server::mockreg(&["--memory-budget", "3GiB"]);
    let registry = DockerRegistry::start(folder.path());
    let (digest, path) = transfer::layer(&mockreg.registry(), image);
    let synthetic = transfer::fetch(&mockreg.registry(), &path);
    compare(&mockreg, &registry, "synthetic", &digest, &synthetic);
    drop(synthetic);
    let foreign = noise(bytes as usize);
    let digest = Digest::of(&foreign).to_string();
    compare(&mockreg, &registry, "foreign", &digest, &foreign);
}

fn compare(mockreg: &Server, registry: &DockerRegistry, kind: &str, digest: &str, content: &[u8]) {
    let ours = || {
        // A registry that has nothing: the blob is taken in anew every time.
        assert_eq!(transfer::request("POST", &mockreg.admin(), "/reset").0 / 100, 2);
        push(&mockreg.registry(), digest, content)
    };
    let candidates = vec![
        Candidate::new("mockreg", ours),
        Candidate::new("docker-registry", || push(&registry.address, digest, content)),
        Candidate::new("SHA-256 alone, sha2", || {
            let start = Instant::now();
            black_box(Digest::of(black_box(content)));
            start.elapsed().as_secs_f64()
        }),
    ];
    let what = format!("Push of one blob, {kind}, cleartext HTTP/1.1");
    let name = format!("registry/push_{kind}");
    interleave(size(7, 2), candidates).report(&name, &what, "GB/s", content.len() as f64 / 1e9);
}

fn push(address: &str, digest: &str, content: &[u8]) -> f64 {
    let start = Instant::now();
    transfer::push_blob(address, "bench/push", digest, content);
    start.elapsed().as_secs_f64()
}

/// Bytes that nobody has seen: xorshift64 (Marsaglia 2003).
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
