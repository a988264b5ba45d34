//! Four downloads under 200 ms of latency: a delay is no limit of the rate where the proxy holds what is under way, and
//! that takes memory.

use std::io::Read;
use std::time::{Duration, Instant};

use e2e::measure::{interleave_costs, size};
use e2e::memory::peak_resident;
use serde_json::json;

use crate::bed::{Subject, Subjects, fountain};

const CONNECTIONS: usize = 4;
/// Once bytes flow, it takes some latencies until the rate is steady.
const WARM_UP: Duration = Duration::from_millis(600);

pub(crate) fn run() {
    let upstream = fountain();
    let subjects: Subjects =
        vec![("chaosproxy", Subject::ours(&upstream, &[])), ("toxiproxy", Subject::toxiproxy(&upstream))];
    for (_, proxy) in &subjects {
        proxy.add(&json!({"type": "latency", "attributes": {"latency": 200}}));
    }
    let lasting = size(Duration::from_secs(2), Duration::from_millis(300));
    let [wall, cpu] = interleave_costs(size(7, 2), &subjects, |proxy| seconds_a_gigabyte(proxy, lasting));
    let what = format!("{CONNECTIONS} downloads under 200 ms of latency, together");
    wall.report("proxy/delay", &what, "GB/s", 1.0);
    let what = format!("Processor time of the proxy for {what}");
    cpu.report_costs("proxy/delay_cpu", &what, "CPU-s/GB", 1.0);
    for (name, proxy) in &subjects {
        println!(
            "{name}: {:.1} MiB resident at the most",
            peak_resident(proxy.pid) as f64 / f64::from(1 << 20)
        );
    }
    println!();
}

/// On the clock and of the proxy's processors, once the rate is steady.
fn seconds_a_gigabyte(proxy: &Subject, lasting: Duration) -> [f64; 2] {
    let download = |duration: Duration, streams: &mut [std::net::TcpStream]| -> u64 {
        std::thread::scope(|scope| {
            let end = Instant::now() + duration;
            let readers: Vec<_> = streams
                .iter_mut()
                .map(|stream| {
                    scope.spawn(move || {
                        let (mut received, mut buffer) = (0, vec![0; 256 << 10]);
                        while Instant::now() < end {
                            received += stream.read(&mut buffer).expect("the connection holds") as u64;
                        }
                        received
                    })
                })
                .collect();
            readers.into_iter().map(|reader| reader.join().expect("readers do not panic")).sum()
        })
    };
    let mut streams: Vec<_> = (0..CONNECTIONS).map(|_| proxy.connect()).collect();
    for stream in &mut streams {
        stream.read_exact(&mut [0]).expect("the connection holds");
    }
    download(WARM_UP, &mut streams);
    let mut bytes = 0;
    let costs = proxy.cost(|| bytes = download(lasting, &mut streams));
    costs.map(|cost| cost / (bytes as f64 / 1e9))
}
