//! mockreg against docker-registry and nginx, in turns, all serving from memory: blobs out, blobs in, manifests, and
//! the memory that many slow clients cost. A file for each; `cargo bench -p e2e --bench registry -- pull` runs a part.

mod manifest;
mod pull;
mod push;
mod slow;
mod tls;

use std::path::Path;

use e2e::measure::memory_folder;
use e2e::program::find;

/// A measurement: its name, what it takes, and how it is run.
type Part = (&'static str, &'static [&'static str], fn());

const PARTS: [Part; 5] = [
    ("pull", &["docker-registry", "nginx"], pull::run),
    ("push", &["docker-registry"], push::run),
    ("manifest", &["nginx", "wrk"], manifest::run),
    ("tls", &["curl"], tls::run),
    ("slow", &[], slow::run),
];

fn main() {
    // Cargo adds `--bench`.
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    for (name, programs, run) in PARTS {
        if !wanted.is_empty() && !wanted.iter().any(|part| part == name) {
            continue;
        }
        let missing: Vec<&str> = programs.iter().copied().filter(|program| find(program).is_none()).collect();
        if missing.is_empty() {
            run();
        } else {
            println!("registry/{name}: not measured, {} missing", missing.join(", "));
        }
    }
}

/// A scratch folder in memory.
fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("stormyard-").tempdir_in(memory_folder()).expect("room in memory")
}

/// Writes a blob to a file that nginx serves.
fn save(folder: &Path, name: &str, bytes: &[u8]) {
    std::fs::write(folder.join(name), bytes).expect("room in memory");
}
