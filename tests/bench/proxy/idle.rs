//! What thousands of connections that do nothing cost each proxy in resident memory.

use e2e::memory::resident;

use crate::bed::{answering, ask, everyone, most_descriptors};

/// As many as are wanted; each takes two descriptors of the proxy, and two of this process, which is client and server.
/// HAProxy counts on a pipe for every fourth connection where it splices, few as it may have, and took 7,990 with 20,000
/// descriptors.
const CONNECTIONS: usize = 10_000;
/// Descriptors for everything else.
const SPARE: usize = 600;

pub(crate) fn run() {
    let connections = CONNECTIONS.min((most_descriptors() - SPARE) / 3);
    // Made after the limit was raised: who is started inherits it.
    for (name, proxy) in everyone(&answering()) {
        ask(&mut proxy.connect());
        let before = resident(proxy.pid);
        let mut streams = Vec::with_capacity(connections);
        for _ in 0..connections {
            let mut stream = proxy.connect();
            ask(&mut stream);
            streams.push(stream);
        }
        let after = resident(proxy.pid);
        println!(
            "{name:<24} {:6.0} bytes of resident memory an idle connection ({connections} connections, n = 1)",
            (after as f64 - before as f64) / connections as f64
        );
    }
    println!();
}
