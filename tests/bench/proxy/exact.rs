//! How exact delays and rates are, ours and Toxiproxy's in turns: what a round trip takes beyond the latency asked for,
//! and how far from a rate a download is.

use std::io::Read;
use std::time::Instant;

use e2e::measure::{Candidate, interleave, size};
use serde_json::json;

use crate::bed::{Subject, answering, ask, connect, fountain};

const LATENCY_MS: u64 = 100;
/// Bytes a second, and of a download at that rate after its first delivery: a second's worth.
const RATES: [u64; 3] = [10_000_000, 50_000_000, 100_000_000];

/// A proxy by name.
type Make = (&'static str, fn(&str) -> Subject);

const MAKES: [Make; 2] =
    [("chaosproxy", |upstream| Subject::ours(upstream, &[])), ("toxiproxy", Subject::toxiproxy)];

pub(crate) fn run() {
    let upstream = answering();
    let subjects = MAKES.map(|(name, make)| (name, make(&upstream)));
    for (_, proxy) in &subjects {
        proxy.add(&json!({"type": "latency", "attributes": {"latency": LATENCY_MS}}));
    }
    let candidates = subjects.iter().map(|(name, proxy)| Candidate::new(name, || beyond(&proxy.address)));
    let what = format!("A round trip beyond the {LATENCY_MS} ms of latency that were asked for");
    interleave(size(21, 2), candidates.collect()).report_costs("proxy/exact_latency", &what, "ms", 1e3);

    let upstream = fountain();
    for rate in RATES {
        let subjects = MAKES.map(|(name, make)| (name, make(&upstream)));
        for (_, proxy) in &subjects {
            proxy.add(&json!({"type": "bandwidth", "attributes": {"rate": rate / 1000}}));
        }
        let bytes = size(rate, rate / 10);
        let candidates =
            subjects.iter().map(|(name, proxy)| Candidate::new(name, move || seconds(proxy, bytes)));
        let megas = rate / 1_000_000;
        let what = format!("A download at {megas} MB/s, in MB/s");
        let name = format!("proxy/exact_rate_{megas}");
        interleave(size(5, 2), candidates.collect()).report(&name, &what, "MB/s", bytes as f64 / 1e6);
    }
}

/// The median of five round trips, without the latency.
fn beyond(address: &str) -> f64 {
    let mut stream = connect(address);
    let mut times = [(); 5].map(|()| {
        let start = Instant::now();
        ask(&mut stream);
        start.elapsed().as_secs_f64()
    });
    times.sort_unstable_by(f64::total_cmp);
    times[2] - LATENCY_MS as f64 / 1e3
}

/// Seconds for `bytes` after the first delivery.
fn seconds(proxy: &Subject, bytes: u64) -> f64 {
    let (mut stream, mut buffer) = (proxy.connect(), vec![0; 256 << 10]);
    let mut read = || stream.read(&mut buffer).expect("the connection holds") as u64;
    read();
    let (start, mut received) = (Instant::now(), 0);
    while received < bytes {
        received += read();
    }
    // Of the last read, only what was wanted.
    start.elapsed().as_secs_f64() * bytes as f64 / received as f64
}
