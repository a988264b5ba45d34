//! How exact delays and rates are, over real sockets of loopback. A program of its own, in which one test runs at a
//! time: what is measured here is microseconds, and other tests keep processors busy.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

#[path = "../it/harness.rs"]
#[expect(dead_code, reason = "it is there for more tests than these")]
mod harness;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chaosproxy::{Attributes, Distribution, ProxySpec, Server, Stream, Toxic};
use chaosproxy_path::{Chain, Identity, Out};
use mockreg_proto::seed::Seed;

use crate::harness::*;

/// Lets one test run at a time.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A delay is what was asked for, within 0.3 ms: medians of 21 one-way transits with and without it, at the same pace,
/// seen by a client that polls instead of sleeping: a machine that was idle for some milliseconds is slow to wake up,
/// and what that costs client and server is none of the proxy's. It makes the proxy later too, never earlier, so of
/// three such trials the best one counts.
#[test]
fn latency_is_exact() {
    let _alone = alone();
    for latency in [1, 3, 10, 40].map(ms) {
        let pace = latency + ms(1);
        let (sent, sent_at) = std::sync::mpsc::sync_channel(1);
        let server = upstream(move |mut stream| {
            // It ends when the client does.
            while stream.write_all(b"x").is_ok() && sent.send(Instant::now()).is_ok() {
                std::thread::sleep(pace);
            }
        });
        let (_server, proxy) = proxied(server);
        let mut client = connect(proxy.listen_addr());
        client.set_nonblocking(true).unwrap();
        let mut transit = || {
            while client.read(&mut [0]).is_err() {
                std::hint::spin_loop();
            }
            let arrived = Instant::now();
            arrived.saturating_duration_since(sent_at.recv_timeout(PATIENCE).unwrap())
        };
        let mut transits = || median((0..21).map(|_| transit()));
        let off = [(); 3].map(|()| {
            let plain = transits();
            let name = proxy.add(Toxic::latency(latency, Duration::ZERO)).unwrap();
            let delayed = transits();
            proxy.remove(&name).unwrap();
            delayed.saturating_sub(plain).abs_diff(latency)
        });
        println!("{latency:?}: off by {off:?}");
        let off = off.into_iter().min().unwrap();
        assert!(off < Duration::from_micros(300), "{latency:?} is off by {off:?}");
    }
}

/// Delays that are compared.
const PIECES: usize = 1000;

/// Each delay of a spread is the one that the seed decides: a thousand of them, each piece sent when the one before has
/// come, have the deciles that the machine without sockets has, within 0.5 ms. Noise makes pieces later, never earlier,
/// so that one good trial of at most six is enough.
#[test]
fn deciles_of_spread_delays_are_those_of_the_seed() {
    let _alone = alone();
    let (mean, deviation) = (4, 1);
    let simulated = {
        let latency =
            Attributes::Latency { latency: mean, jitter: deviation, distribution: Distribution::Normal };
        let toxic =
            chaosproxy_path::Toxic::try_new("latency_downstream", Stream::Downstream, 1.0, latency).unwrap();
        let mut chain = Chain::new(Identity::new(Seed::root(1), "source", 1), 1 << 20);
        chain.attach(&toxic, 0);
        let delay = |sent: u64| {
            chain.offer(vec![b'x'].into(), sent);
            let due = chain.poll(sent).wake.unwrap_or(sent);
            assert!(matches!(chain.poll(due).out, Out::Deliver(_)), "a piece was due");
            Duration::from_nanos(due - sent)
        };
        // A second apart: none waits for the one before it.
        deciles((1..=PIECES as u64).map(|second| second * 1_000_000_000).map(delay))
    };
    let within = Duration::from_micros(500);
    let off = (0..6).map(|_| {
        let plain = deciles(transits(None, 100));
        let spread = Toxic::spread_latency(ms(mean as u64), ms(deviation as u64), Distribution::Normal);
        let measured = deciles(transits(Some(&spread), PIECES));
        let off = measured
            .iter()
            .zip(&simulated)
            .map(|(measured, simulated)| measured.saturating_sub(plain[4]).abs_diff(*simulated));
        let off = off.max().unwrap();
        println!("deciles of {PIECES} delays: off by {off:?} at the most");
        off
    });
    assert!(off.into_iter().any(|off| off < within), "no trial is within {within:?}");
}

/// The 10th to 90th percentiles.
fn deciles(times: impl IntoIterator<Item = Duration>) -> Vec<Duration> {
    let mut sorted: Vec<_> = times.into_iter().collect();
    sorted.sort_unstable();
    (1..10).map(|tenth| sorted[sorted.len() * tenth / 10]).collect()
}

/// One-way times of so many pieces of one connection, the first of its proxy, through a toxic.
fn transits(toxic: Option<&Toxic>, pieces: usize) -> Vec<Duration> {
    let (sent, sent_at) = std::sync::mpsc::sync_channel(1);
    let server = upstream(move |mut stream| {
        // The client answers each piece, and goes when it has enough.
        while stream.write_all(b"x").is_ok() && sent.send(Instant::now()).is_ok() {
            if !matches!(stream.read(&mut [0]), Ok(1)) {
                break;
            }
        }
    });
    let (_server, proxy) = proxied(server);
    if let Some(toxic) = toxic {
        proxy.add(toxic.clone()).unwrap();
    }
    let mut client = connect(proxy.listen_addr());
    client.set_nonblocking(true).unwrap();
    let transit = |_| {
        while client.read(&mut [0]).is_err() {
            std::hint::spin_loop();
        }
        let arrived = Instant::now();
        client.write_all(b"y").unwrap();
        arrived.saturating_duration_since(sent_at.recv_timeout(PATIENCE).unwrap())
    };
    (0..pieces).map(transit).collect()
}

/// A delay limits the rate only where what it holds meets the buffer limit, and then to limit / delay: 4 MiB / 100 ms =
/// 41.9 MB/s; a tenth of it may be bookkeeping and kernel buffers. With a larger limit the rate is many times that.
#[test]
fn a_delay_limits_the_rate_only_at_the_buffer_limit() {
    let _alone = alone();
    let rate_under = |limit: u64| {
        let server = Server::builder().buffer_limit(limit).start().unwrap();
        let proxy = server.create(ProxySpec::new("source", source(1 << 40).to_string())).unwrap();
        proxy.add(Toxic::latency(ms(100), Duration::ZERO)).unwrap();
        // The kernel's buffers fill and drain in the first rounds.
        let mut download = Download::start(proxy.listen_addr());
        download.read_for(ms(500));
        median((0..5).map(|_| download.read_for(ms(200)))) as f64
    };
    let (capped, free) = (rate_under(4 << 20), rate_under(128 << 20));
    let limit = f64::from(4 << 20) / 0.1;
    assert!((0.9 * limit..1.1 * limit).contains(&capped), "{:.1} MB/s", capped / 1e6);
    assert!(free > 3.0 * capped, "{:.1} MB/s with a larger limit", free / 1e6);
}

/// From 0.1 to 500 MB/s within 1 %: bytes after the first delivery over the time since then, the median of five. A
/// machine that moves less than three times a rate through the same path when nothing limits it cannot keep to it at
/// every moment, busy as it may be; there [`SLOW_SHARE`] of what it can do is enough, which a stalled link never has.
#[test]
fn bandwidth_is_exact() {
    let _alone = alone();
    let free = {
        let (_server, proxy) = proxied(source(800_000_000));
        proxy.add(Toxic::bandwidth(1_000_000_000_000)).unwrap();
        median((0..5).map(|_| Download::start(proxy.listen_addr()).read_bytes(400_000_000)))
    };
    println!("not limited: {:.0} MB/s", free as f64 / 1e6);
    for (rate, bytes) in [
        (100_000, 50_000),
        (1_000_000, 400_000),
        (10_000_000, 4_000_000),
        (100_000_000, 40_000_000),
        (500_000_000, 200_000_000),
    ] {
        let (_server, proxy) = proxied(source(2 * bytes));
        proxy.add(Toxic::bandwidth(rate)).unwrap();
        let measured = median((0..5).map(|_| Download::start(proxy.listen_addr()).read_bytes(bytes)));
        let share = measured as f64 / rate as f64;
        println!("{rate} B/s: {share:.4}");
        let can = (free as f64 / rate as f64).min(1.0);
        let least = if free >= 3 * rate { 0.99 } else { SLOW_SHARE * can };
        assert!((least..=1.01).contains(&share), "{rate} B/s were {measured}: {share:.4}");
    }
}

/// Of a rate that is near to all a machine can move, or of that, what comes in any case: pieces of a millisecond cost
/// more than those without a rate, and other programs want the processors as well.
const SLOW_SHARE: f64 = 0.6;

/// Errors do not add up: in a sixth of the test a stream falls behind its rate by less than 0.5 ms. The median of all
/// sixths, for a machine that sleeps longer than what is queued lasts (10 ms) leaves the link idle once, and that is
/// not made up for. Three seconds; `PACED_SECONDS=60` for a minute.
#[test]
fn a_paced_stream_drifts_from_its_rate_at_no_time() {
    let _alone = alone();
    let rate = 50_000_000;
    let seconds = std::env::var("PACED_SECONDS").map_or(3, |seconds| seconds.parse().expect("a number"));
    let (_server, proxy) = proxied(source(2 * rate * seconds));
    proxy.add(Toxic::bandwidth(rate)).unwrap();
    let mut download = Download::start(proxy.listen_addr());
    let mut behind = Vec::new();
    let start = Instant::now();
    let mut received = 0;
    for part in 1..=seconds * 10 {
        let due = rate * part / 10;
        received += download.skip(due - received);
        behind.push((start.elapsed().as_secs_f64() - received as f64 / rate as f64) * 1e3);
    }
    let sixth = behind.len() / 6;
    let mut lost: Vec<f64> = behind.iter().zip(&behind[sixth..]).map(|(then, now)| now - then).collect();
    lost.sort_by(f64::total_cmp);
    let lost = lost[lost.len() / 2];
    // Milliseconds. A timer that was 30 µs late for each piece of a millisecond would lose 30 ms a second.
    assert!(lost.abs() < 0.5, "{lost:.3} ms lost in a sixth of {seconds} s: {behind:.2?}");
    println!("{seconds} s: {lost:.3} ms lost in a sixth, {:.3} ms behind at last", behind[behind.len() - 1]);
}

/// A download whose clock starts with its first delivery.
struct Download {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Download {
    fn start(address: SocketAddr) -> Self {
        let mut download = Self { stream: connect(address), buffer: vec![0; 256 << 10] };
        download.read_some(u64::MAX);
        download
    }

    /// Bytes a second over the next `bytes`.
    fn read_bytes(&mut self, bytes: u64) -> u64 {
        let start = Instant::now();
        (self.skip(bytes) as f64 / start.elapsed().as_secs_f64()) as u64
    }

    /// Bytes a second over the next while.
    fn read_for(&mut self, time: Duration) -> u64 {
        let (start, mut received) = (Instant::now(), 0);
        while start.elapsed() < time {
            received += self.read_some(u64::MAX);
        }
        (received as f64 / start.elapsed().as_secs_f64()) as u64
    }

    fn skip(&mut self, bytes: u64) -> u64 {
        let mut received = 0;
        while received < bytes {
            received += self.read_some(bytes - received);
        }
        received
    }

    fn read_some(&mut self, most: u64) -> u64 {
        let most = self.buffer.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        let n = self.stream.read(&mut self.buffer[..most]).unwrap();
        assert_ne!(n, 0, "the source ended too early");
        n as u64
    }
}
