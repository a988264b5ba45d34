//! New connections, each for one small request: time and processor time of the proxy for each.

use std::io::Write;

use e2e::measure::{interleave_costs, size};

use crate::bed::{REQUEST, answering, await_answer, everyone};

/// Connections at one time.
const BATCH: usize = 16;

pub(crate) fn run() {
    let subjects = everyone(&answering());
    // Short turns and many of them: the machine's phases are longer than one.
    let batches = size(120, 10);
    let [wall, cpu] = interleave_costs(size(41, 2), &subjects, |proxy| {
        proxy.cost(|| {
            for _ in 0..batches {
                let mut streams: Vec<_> = (0..BATCH).map(|_| proxy.connect()).collect();
                for stream in &mut streams {
                    stream.write_all(&[1; REQUEST]).expect("the connection holds");
                }
                streams.iter_mut().for_each(await_answer);
            }
        })
    });
    let connections = (batches * BATCH) as f64;
    let what = format!("A new connection with one small request, {BATCH} at a time");
    wall.report("proxy/connect", &what, "connections/s", connections);
    let what = format!("Processor time of the proxy: {what}");
    cpu.report_costs("proxy/connect_cpu", &what, "CPU-µs a connection", 1e6 / connections);
}
