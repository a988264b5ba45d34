//! The median round trip of small requests, one after the other, and what each proxy adds to it.
//!
//! Client and server are kept on a processor each, where there are two. Left alone they share one now and then, where a
//! round trip takes a tenth, and which subject was that lucky would be what is measured.

use std::time::Instant;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use e2e::measure::{Candidate, interleave, size};

use crate::bed::{answering, ask, connect, everyone};

pub(crate) fn run() {
    let everywhere = sched_getaffinity(None).expect("it has a place to run");
    let allowed = || (0..CpuSet::MAX_CPU).filter(|cpu| everywhere.is_set(*cpu));
    // What is started from here runs where this runs.
    run_on(&only(allowed().next_back()));
    let upstream = answering();
    run_on(&everywhere);
    let subjects = everyone(&upstream);
    run_on(&only(allowed().next()));
    let addresses = std::iter::once(("direct", upstream.as_str()));
    let addresses = addresses.chain(subjects.iter().map(|(name, proxy)| (*name, proxy.address.as_str())));
    let candidates =
        addresses.map(|(name, address)| Candidate::new(name, move || median(address, size(2000, 100))));
    let what = "The median round trip of a small request on one connection; direct is without a proxy";
    let samples = interleave(size(9, 2), candidates.collect());
    run_on(&everywhere);
    samples.report_costs("proxy/round_trip", what, "µs", 1e6);
}

fn only(cpu: Option<usize>) -> CpuSet {
    let mut set = CpuSet::new();
    set.set(cpu.expect("there is a processor"));
    set
}

fn run_on(set: &CpuSet) {
    sched_setaffinity(None, set).expect("these are processors that it may run on");
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
