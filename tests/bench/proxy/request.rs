//! Small requests on kept-alive connections that are all busy: time and processor time of the proxy for each.

use e2e::measure::{interleave_costs, size};

use crate::bed::{ANSWER, REQUEST, answering, ask, await_answer, everyone};

const CONNECTIONS: usize = 32;

pub(crate) fn run() {
    let subjects = everyone(&answering());
    // Short turns and many of them: the machine's phases are longer than one.
    let rounds = size(400, 50);
    let [wall, cpu] = interleave_costs(size(41, 2), &subjects, |proxy| {
        let mut streams: Vec<_> = (0..CONNECTIONS).map(|_| proxy.connect()).collect();
        streams.iter_mut().for_each(ask);
        proxy.cost(|| {
            for _ in 0..rounds {
                for stream in &mut streams {
                    std::io::Write::write_all(stream, &[1; REQUEST]).expect("the connection holds");
                }
                streams.iter_mut().for_each(await_answer);
            }
        })
    });
    let requests = (rounds * CONNECTIONS) as f64;
    let what = format!(
        "A request of {REQUEST} and an answer of {ANSWER} bytes, {CONNECTIONS} kept-alive connections"
    );
    wall.report_costs("proxy/request", &what, "µs a request", 1e6 / requests);
    let what = format!("Processor time of the proxy: {what}");
    cpu.report_costs("proxy/request_cpu", &what, "CPU-µs a request", 1e6 / requests);
}
