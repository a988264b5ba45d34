//! Four downloads under 200 ms of latency: a delay is no limit of the rate where the proxy holds what is under way, and
//! that takes memory.

use std::io::Read;
use std::time::{Duration, Instant};

use e2e::measure::{interleave_costs, size};
use e2e::memory::peak_resident;
use serde_json::json;

use crate::bed::{Pace, Subject, Subjects, fountain, pouring};

const CONNECTIONS: usize = 4;
/// Bytes a second of paced downloads together: about what Toxiproxy can do.
const PACE: u64 = 600_000_000;
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
    print_peaks(&subjects);
    drop(subjects);
    paced(&upstream, lasting);
}

/// What is under way is a rate times the latency: at one rate, which both can keep up, memory can be compared. The rate
/// is the server's or the client's; in the second case whatever the server sends before the first byte has left the
/// proxy, which is as fast as it can, is under way as well.
fn paced(upstream: &str, lasting: Duration) {
    let rate = PACE as f64 / CONNECTIONS as f64;
    let slow = pouring(rate);
    for (who, upstream, rate) in [("sent", slow.as_str(), f64::INFINITY), ("read", upstream, rate)] {
        println!(
            "{CONNECTIONS} downloads under 200 ms of latency, {who} at {} MB/s together",
            PACE / 1_000_000
        );
        let subjects: Subjects =
            vec![("chaosproxy", Subject::ours(upstream, &[])), ("toxiproxy", Subject::toxiproxy(upstream))];
        for (name, proxy) in &subjects {
            proxy.add(&json!({"type": "latency", "attributes": {"latency": 200}}));
            let streams: Vec<_> = (0..CONNECTIONS).map(|_| proxy.connect()).collect();
            let start = Instant::now();
            let received: u64 = std::thread::scope(|scope| {
                let reader = |mut stream: std::net::TcpStream| {
                    let (mut buffer, mut received, mut pace) = (vec![0; 64 << 10], 0, Pace::new(rate));
                    while start.elapsed() < lasting * 2 {
                        let n = stream.read(&mut buffer).expect("the connection holds");
                        received += n as u64;
                        pace.passed(n);
                    }
                    received
                };
                let readers: Vec<_> =
                    streams.into_iter().map(|stream| scope.spawn(move || reader(stream))).collect();
                readers.into_iter().map(|reader| reader.join().expect("readers do not panic")).sum()
            });
            let rate = received as f64 / 1e6 / start.elapsed().as_secs_f64();
            println!("{name}: {rate:.0} MB/s");
        }
        print_peaks(&subjects);
    }
}

fn print_peaks(subjects: &Subjects) {
    for (name, proxy) in subjects {
        let peak = peak_resident(proxy.pid) as f64 / f64::from(1 << 20);
        println!("{name}: {peak:.1} MiB resident at the most");
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
