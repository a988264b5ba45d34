//! The median round trip of small requests, one after the other, and what each proxy adds to it.

use std::time::Instant;

use e2e::measure::{Candidate, interleave, size};

use crate::bed::{answering, ask, connect, everyone};

pub(crate) fn run() {
    let upstream = answering();
    let subjects = everyone(&upstream);
    let addresses = std::iter::once(("direct", upstream.as_str()));
    let addresses = addresses.chain(subjects.iter().map(|(name, proxy)| (*name, proxy.address.as_str())));
    let candidates =
        addresses.map(|(name, address)| Candidate::new(name, move || median(address, size(2000, 100))));
    let what = "The median round trip of a small request on one connection; direct is without a proxy";
    interleave(size(9, 2), candidates.collect()).report_costs("proxy/round_trip", what, "µs", 1e6);
}

fn median(address: &str, requests: usize) -> f64 {
    let mut stream = connect(address);
    ask(&mut stream);
    let mut times: Vec<_> = (0..requests)
        .map(|_| {
            let start = Instant::now();
            ask(&mut stream);
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}
