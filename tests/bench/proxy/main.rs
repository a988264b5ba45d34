//! chaosproxy against HAProxy and Toxiproxy, in turns, all between the same client and server over loopback: a stream,
//! small requests, new connections, round trips, latency and how exact it is, idle connections. A file for each;
//! `cargo bench -p e2e --bench proxy -- stream` runs a part.

mod bed;
mod connect;
mod delay;
mod exact;
mod idle;
mod request;
mod round_trip;
mod stream;

use e2e::program::find;

/// A measurement: its name, and how it is run.
type Part = (&'static str, fn());

const PARTS: [Part; 7] = [
    ("stream", stream::run),
    ("request", request::run),
    ("connect", connect::run),
    ("round_trip", round_trip::run),
    ("delay", delay::run),
    ("exact", exact::run),
    ("idle", idle::run),
];

fn main() {
    // Cargo adds `--bench`.
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let missing: Vec<&str> =
        ["haproxy", "toxiproxy-server"].into_iter().filter(|name| find(name).is_none()).collect();
    if !missing.is_empty() {
        println!("proxy: not measured, {} missing", missing.join(", "));
        return;
    }
    for (name, run) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|part| part == name) {
            run();
        }
    }
}
