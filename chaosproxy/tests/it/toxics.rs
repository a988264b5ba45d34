//! Toxics over sockets. Delays and rates are medians over trials, with the tolerance of the reference's own tests.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use chaosproxy::{
    Attributes, ConnectionState, ConnectionView, CutAction, Distribution, LedgerLine, LedgerParameters,
    OutageKind, ProxyError, ProxyHandle, ProxySpec, Selection, Server, Toxic,
};

use crate::harness::*;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Median of 15 round trips within 10 ms above the delay of both directions.
#[test]
fn latency_delays_each_direction() {
    let (_server, proxy) = proxied(echo());
    proxy.add(Toxic::latency(ms(50), Duration::ZERO).upstream().named("up")).unwrap();
    let mut client = connect(proxy.listen_addr());
    let one_way = median((0..15).map(|_| ping(&mut client, b"x")));
    assert!((ms(50)..ms(60)).contains(&one_way), "{one_way:?}");
    proxy.add(Toxic::latency(ms(30), Duration::ZERO).named("down")).unwrap();
    let both = median((0..15).map(|_| ping(&mut client, b"x")));
    assert!((ms(80)..ms(95)).contains(&both), "{both:?}");
    proxy.remove("up").unwrap();
    proxy.remove("down").unwrap();
    let none = median((0..15).map(|_| ping(&mut client, b"x")));
    assert!(none < ms(5), "{none:?}");
}

/// A live connection has the new delay with its next byte; another type, direction or selection is refused, and what
/// was there stays. Medians of five.
#[test]
fn an_update_changes_a_toxic_in_place() {
    let (server, proxy) = proxied(echo());
    let slow = |delay| Toxic::latency(ms(delay), Duration::ZERO).named("slow");
    proxy.add(slow(20)).unwrap();
    let mut client = connect(proxy.listen_addr());
    let mut round_trip = || median((0..5).map(|_| ping(&mut client, b"x")));
    assert!((ms(20)..ms(60)).contains(&round_trip()));
    proxy.update(slow(80)).unwrap();
    assert!((ms(80)..ms(140)).contains(&round_trip()));
    let others = Selection::default().source("192.0.2.0/24").unwrap();
    for other in [slow(0).upstream(), slow(0).only(others), Toxic::bandwidth(1000).named("slow")] {
        assert!(matches!(proxy.update(other), Err(ProxyError::Unsuited(_))));
    }
    assert!(matches!(proxy.update(slow(0).named("no")), Err(ProxyError::ToxicNotFound)));
    let distribution = Distribution::Uniform;
    let nonsense = Toxic::new(Attributes::Latency { latency: -1, jitter: 0, distribution });
    assert!(matches!(proxy.update(nonsense.named("slow")), Err(ProxyError::Attributes(_))));
    assert!((ms(80)..ms(140)).contains(&round_trip()));
    proxy.update(slow(80).toxicity(0.0)).unwrap();
    assert!(round_trip() < ms(40));
    assert!(!server.connections()[0].toxics[0].affects);
}

/// A megabyte behind 100 ms of latency comes at once when it comes: latency does not throttle.
#[test]
fn latency_does_not_throttle() {
    let (_server, proxy) = proxied(source(1_200_000));
    proxy.add(Toxic::latency(ms(100), Duration::ZERO)).unwrap();
    let burst = median((0..7).map(|_| {
        let mut client = connect(proxy.listen_addr());
        client.read_exact(&mut [0; 1]).unwrap();
        let start = Instant::now();
        assert_eq!(read_all(&mut client, PATIENCE).0.len(), 1_199_999);
        start.elapsed()
    }));
    assert!(burst < ms(25), "{burst:?}");
}

/// 480 kB at 1000 KB/s: 480 ms, medians of 5 within 5 %.
#[test]
fn bandwidth_limits_the_rate() {
    let (_server, proxy) = proxied(source(480_000));
    proxy.add(Toxic::bandwidth(1_000_000)).unwrap();
    let time = median((0..5).map(|_| {
        let start = Instant::now();
        let mut client = connect(proxy.listen_addr());
        assert_eq!(read_all(&mut client, PATIENCE).0.len(), 480_000);
        start.elapsed()
    }));
    assert!((ms(456)..ms(504)).contains(&time), "{time:?}");
}

/// A millisecond of the rate at a time, strictly too: of 20 kB at 100 KB/s the first byte is there long before the first
/// 100 ms are, which the reference waits for, and no delivery is more than a busy reader finds together.
#[test]
fn bandwidth_sends_evenly() {
    for is_strict in [false, true] {
        let server = Server::builder().strict_compat(is_strict).start().unwrap();
        let listen = "127.0.0.1:0".to_owned();
        let spec = ProxySpec { listen, ..ProxySpec::new("source", source(20_000).to_string()) };
        let proxy = server.create(spec).unwrap();
        proxy.add(Toxic::bandwidth(100_000)).unwrap();
        let start = Instant::now();
        let mut client = connect(proxy.listen_addr());
        client.read_exact(&mut [0]).unwrap();
        assert!(start.elapsed() < ms(80), "{:?}", start.elapsed());
        let pieces = pieces(&mut client);
        assert_eq!(pieces.iter().sum::<usize>(), 19_999);
        assert!((50..=200).contains(&pieces.len()), "{} pieces: {pieces:?}", pieces.len());
    }
}

/// Eight downloads of 2 MB over a shared 40 MB/s: 400 ms together, none much before the others. The median of five
/// trials, for a busy machine may hold up one.
#[test]
fn shared_bandwidth_is_one_link() {
    let (_server, proxy) = proxied(source(2_000_000));
    proxy.add(Toxic::shared_bandwidth(40_000_000)).unwrap();
    let (mut first, mut last): (Vec<_>, Vec<_>) = (0..5).map(|_| eight_downloads(&proxy)).unzip();
    first.sort_unstable();
    last.sort_unstable();
    assert!(last[0] > ms(390) && last[2] < ms(440), "{last:?}");
    assert!(first[2] > ms(300), "equal shares end together: {first:?}");
}

/// How long the first and the last of eight take that begin at once.
fn eight_downloads(proxy: &ProxyHandle) -> (Duration, Duration) {
    let start = Instant::now();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let address = proxy.listen_addr();
            thread::spawn(move || {
                assert_eq!(read_all(&mut connect(address), PATIENCE).0.len(), 2_000_000);
                start.elapsed()
            })
        })
        .collect();
    let mut times: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    times.sort_unstable();
    (times[0], times[7])
}

/// 65,536 writes of two bytes, while toxics come, change and go: all arrive, in order.
#[test]
fn live_changes_lose_no_byte() {
    let (server, proxy) = proxied(echo());
    let mut client = connect(proxy.listen_addr());
    let mut writer = client.try_clone().unwrap();
    let api = server.api_addr();
    let writing = thread::spawn(move || {
        for n in 0..65_536u32 {
            writer.write_all(&(n as u16).to_be_bytes()).unwrap();
        }
    });
    let reading = thread::spawn(move || {
        let mut bytes = vec![0; 2 * 65_536];
        client.read_exact(&mut bytes).unwrap();
        bytes
    });
    let toxics = [
        Toxic::latency(ms(3), ms(2)),
        Toxic::latency(ms(1), Duration::ZERO).upstream(),
        Toxic::bandwidth(50_000_000),
        Toxic::shared_bandwidth(50_000_000).upstream(),
        Toxic::new(Attributes::Slicer { average_size: 64, size_variation: 32, delay: 1 }),
        Toxic::cut(i64::MAX as u64, CutAction::Reset),
        Toxic::new(Attributes::Noop).upstream(),
    ];
    let mut changes = 0;
    while !reading.is_finished() {
        let toxic = &toxics[changes % toxics.len()];
        let name = proxy.add(toxic.clone()).unwrap();
        let path = format!("/proxies/source/toxics/{name}");
        let update = http(api, "POST", &path, &[], r#"{"toxicity":0.7,"attributes":{"rate":30000}}"#);
        assert_eq!(update.status, 200);
        proxy.remove(&name).unwrap();
        changes += 1;
    }
    writing.join().unwrap();
    let expected: Vec<u8> = (0..65_536u32).flat_map(|n| (n as u16).to_be_bytes()).collect();
    assert!(reading.join().unwrap() == expected);
    assert!(changes > 10, "{changes} changes while it ran");
}

#[test]
fn reset_peer_gives_a_reset_on_both_sides() {
    let (seen, upstream_end) = std::sync::mpsc::channel();
    let server = upstream(move |mut stream| {
        seen.send(read_all(&mut stream, PATIENCE).1).unwrap();
    });
    let (_server, proxy) = proxied(server);
    proxy.add(Toxic::reset_peer(ms(100)).upstream()).unwrap();
    let mut client = connect(proxy.listen_addr());
    client.write_all(b"something").unwrap();
    let start = Instant::now();
    assert_eq!(read_all(&mut client, PATIENCE), (Vec::new(), End::Reset));
    let time = start.elapsed();
    assert!((ms(95)..ms(210)).contains(&time), "{time:?}");
    assert_eq!(upstream_end.recv_timeout(PATIENCE).unwrap(), End::Reset);
    assert_eq!(proxy.counts().faults["reset_peer"], 1);
}

#[test]
fn timeout_swallows_and_closes() {
    let (_server, proxy) = proxied(echo());
    proxy.add(Toxic::timeout(ms(100)).upstream()).unwrap();
    let mut client = connect(proxy.listen_addr());
    client.write_all(b"swallowed").unwrap();
    let start = Instant::now();
    assert_eq!(read_all(&mut client, PATIENCE), (Vec::new(), End::Fin));
    assert!((ms(90)..ms(400)).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[test]
fn removing_a_timeout_closes_both_sides_within_a_second() {
    let (seen, upstream_end) = std::sync::mpsc::channel();
    let server = upstream(move |mut stream| seen.send(read_all(&mut stream, PATIENCE)).unwrap());
    let (_server, proxy) = proxied(server);
    proxy.add(Toxic::timeout(Duration::ZERO).upstream().named("dead")).unwrap();
    let mut client = connect(proxy.listen_addr());
    client.write_all(b"swallowed").unwrap();
    eventually("it is connected", || proxy.counts().open == 1);
    thread::sleep(ms(50));
    let start = Instant::now();
    proxy.remove("dead").unwrap();
    assert!(start.elapsed() < ms(1000), "the change itself does not hang");
    assert_eq!(read_all(&mut client, ms(1000)), (Vec::new(), End::Fin));
    drop(client);
    assert_eq!(upstream_end.recv_timeout(PATIENCE).unwrap(), (Vec::new(), End::Fin));
}

#[test]
fn a_blocked_connection_does_not_block_changes() {
    let (_server, proxy) = proxied(source(1 << 30));
    let mut client = connect(proxy.listen_addr());
    client.read_exact(&mut [0; 1000]).unwrap();
    // The client reads no more; everything between the source and it is full.
    thread::sleep(ms(300));
    let start = Instant::now();
    let name = proxy.add(Toxic::bandwidth(0)).unwrap();
    proxy.remove(&name).unwrap();
    assert!(start.elapsed() < ms(1000), "{:?}", start.elapsed());
}

/// The rate of zero cuts the connection, and its removal goes on where it stopped.
#[test]
fn bandwidth_zero_stalls_without_loss() {
    let (_server, proxy) = proxied(source(3_000_000));
    let name = proxy.add(Toxic::bandwidth(0)).unwrap();
    let mut client = connect(proxy.listen_addr());
    assert_eq!(read_all(&mut client, ms(200)), (Vec::new(), End::Silence));
    proxy.remove(&name).unwrap();
    let (got, end) = read_all(&mut client, PATIENCE);
    assert_eq!((got.len(), end), (3_000_000, End::Fin));
}

/// Where the ledger says a connection breaks, it breaks: to the byte, in each of the three ways.
#[test]
fn a_cut_breaks_at_its_byte() {
    for (action, ends) in
        [(CutAction::Reset, End::Reset), (CutAction::Close, End::Fin), (CutAction::Stall, End::Silence)]
    {
        // More than the kernel holds on the way: a server that is done closes, and that ends a stall.
        let (server, proxy) =
            proxied(source(if action == CutAction::Stall { 100_000_000 } else { 5_000_000 }));
        proxy.add(Toxic::cut(400_000, action).named("cut")).unwrap();
        for ordinal in 1..=8 {
            let mut client = connect(proxy.listen_addr());
            let (got, end) = read_all(&mut client, ms(if action == CutAction::Stall { 300 } else { 5000 }));
            let identity = format!("source connection {ordinal}");
            let line = server.ledger().into_iter().find(|line| line.decision.identity == identity).unwrap();
            let after = cut_after(&line);
            assert_eq!(got.len() as u64, after, "{line:?}");
            assert!(
                got == pattern(0, BLOCK).repeat(80)[..got.len()],
                "the bytes before it are the right ones"
            );
            assert_eq!(end, ends);
            assert_eq!(line.observed.map(|observed| observed.bytes), Some(after));
        }
        eventually("closing ends stalled ones, too", || server.connections().is_empty());
        assert_eq!(proxy.counts().faults.values().sum::<u64>(), 8);
    }
}

/// Every connection at the same byte, in each of the three ways, and the ledger names it; 0 lets nothing pass.
#[test]
fn a_cut_at_an_offset_breaks_there() {
    const OFFSET: u64 = 100_000;
    for (offset, action, ends, silence) in [
        (OFFSET, CutAction::Reset, End::Reset, PATIENCE),
        (OFFSET, CutAction::Close, End::Fin, PATIENCE),
        (OFFSET, CutAction::Stall, End::Silence, ms(300)),
        (0, CutAction::Reset, End::Reset, PATIENCE),
    ] {
        // More than the kernel holds on the way, as above.
        let (server, proxy) = proxied(source(100_000_000));
        proxy.add(Toxic::cut_at(offset, action).named("cut")).unwrap();
        for _ in 0..3 {
            let (got, end) = read_all(&mut connect(proxy.listen_addr()), silence);
            assert_eq!((got.len() as u64, end), (offset, ends), "{action:?}");
            assert!(got == pattern(0, BLOCK).repeat(2)[..got.len()], "they are the right ones");
        }
        eventually("all have ended", || server.connections().is_empty());
        let lines = server.ledger();
        assert_eq!(lines.len(), 3);
        for line in lines {
            assert_eq!(line.decision.parameters, LedgerParameters::Offset { offset }, "{line:?}");
            assert_eq!((line.decision.fires, line.decision.action.as_str()), (true, action.name()));
            assert_eq!(line.observed.map(|observed| observed.bytes), Some(offset), "{line:?}");
        }
    }
}

/// Of 400,000 bytes a client that does not read holds a sixth, and the proxy's system keeps the rest for it.
#[test]
fn a_client_that_pauses_gets_every_byte_before_a_reset() {
    let (server, proxy) = proxied(source(5_000_000));
    proxy.add(Toxic::cut(400_000, CutAction::Reset).named("cut")).unwrap();
    let mut clients: Vec<_> = (0..8).map(|_| connect(proxy.listen_addr())).collect();
    thread::sleep(ms(1000));
    let mut got: Vec<_> = clients.iter_mut().map(|client| read_all(client, PATIENCE)).collect();
    eventually("all have ended", || server.connections().is_empty());
    // Those that connect at once may be accepted in any order.
    got.sort_by_key(|(bytes, _)| bytes.len());
    let lines = server.ledger();
    let mut wanted: Vec<_> = lines.iter().map(cut_after).collect();
    wanted.sort_unstable();
    assert!(wanted[6..].iter().all(|bytes| *bytes > 300_000), "too few to be kept: {wanted:?}");
    let sizes: Vec<_> = got.iter().map(|(bytes, end)| (bytes.len() as u64, *end)).collect();
    assert_eq!(sizes, wanted.iter().map(|bytes| (*bytes, End::Reset)).collect::<Vec<_>>());
    assert!(lines.iter().all(|line| line.observed.unwrap().bytes == cut_after(line)), "{lines:?}");
    assert!(got.iter().all(|(bytes, _)| *bytes == pattern(0, BLOCK).repeat(80)[..bytes.len()]));
}

#[test]
fn bytes_that_a_client_never_got_before_its_reset_are_not_claimed() {
    let (server, proxy) = proxied(source(5_000_000));
    proxy.add(Toxic::cut(400_000, CutAction::Reset).named("cut")).unwrap();
    let mut clients: Vec<_> = (0..8).map(|_| connect(proxy.listen_addr())).collect();
    // Whoever was to get little has it and is gone; the others wait for their readers. What they have is acknowledged
    // within a fifth of a second (tcp_delack_max).
    let is_waiting = |connection: &ConnectionView| connection.state == ConnectionState::Closing;
    eventually("they wait", || {
        let there = server.connections();
        proxy.counts().accepted == 8 && there.iter().all(is_waiting)
    });
    thread::sleep(ms(500));
    assert!(!server.connections().is_empty(), "nobody is waited for");
    server.outage("source", OutageKind::ResetAll, None).unwrap();
    eventually("all have ended", || server.connections().is_empty());
    let mut got: Vec<_> = clients.iter_mut().map(|client| read_all(client, PATIENCE)).collect();
    got.sort_by_key(|(bytes, _)| bytes.len());
    let lines = server.ledger();
    let mut claimed: Vec<_> = lines.iter().map(|line| line.observed.unwrap().bytes).collect();
    claimed.sort_unstable();
    assert_eq!(claimed, got.iter().map(|(bytes, _)| bytes.len() as u64).collect::<Vec<_>>());
    assert!(got.iter().all(|(_, end)| *end == End::Reset));
    let is_short = |line: &LedgerLine| line.observed.unwrap().bytes < cut_after(line);
    assert!(lines.iter().any(is_short), "all were taken: {claimed:?}");
}

fn cut_after(line: &LedgerLine) -> u64 {
    let LedgerParameters::After { after } = line.decision.parameters else { panic!("{line:?}") };
    after
}

/// A stalled connection stays open until a peer closes it.
#[test]
fn a_stall_ends_when_the_server_closes() {
    let server = upstream(|mut stream| {
        // Little, so that its FIN does not wait behind bytes that nobody takes.
        stream.write_all(&pattern(0, 1000)).unwrap();
        thread::sleep(ms(300));
    });
    let (_server, proxy) = proxied(server);
    proxy.add(Toxic::cut(1, CutAction::Stall)).unwrap();
    let mut client = connect(proxy.listen_addr());
    let start = Instant::now();
    let (_, end) = read_all(&mut client, PATIENCE);
    assert!(end != End::Silence && start.elapsed() > ms(150), "{end:?} after {:?}", start.elapsed());
}

/// 20 MB/s through 50 ms: the proxy holds what the delay needs (1 MB, and what the link queues before it), not what
/// the source could send.
#[test]
fn latency_holds_what_the_delay_needs() {
    let (server, proxy) = proxied(source(1 << 30));
    proxy.add(Toxic::bandwidth(20_000_000)).unwrap();
    proxy.add(Toxic::latency(ms(50), Duration::ZERO)).unwrap();
    let mut client = connect(proxy.listen_addr());
    let counter = |name: &str| -> u64 {
        let metrics = http(server.api_addr(), "GET", "/metrics", &[], "").body;
        let line =
            metrics.lines().find(|line| line.starts_with(&format!("{name}{{direction=\"downstream\"")));
        line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
    };
    let (start, mut buffer, mut got) = (Instant::now(), vec![0; 1 << 16], 0);
    while start.elapsed() < ms(1500) {
        got += client.read(&mut buffer).unwrap();
    }
    // Less where this had to wait for a processor.
    let rate = got as f64 / 1.45 / 1e6;
    assert!((15.0..=20.5).contains(&rate), "{rate} MB/s");
    let held = median((0..9).map(|_| {
        // Sent is read first, so that what moves between the two looks held, never the other way round.
        let sent = counter("toxiproxy_proxy_sent_bytes_total");
        counter("toxiproxy_proxy_received_bytes_total").saturating_sub(sent)
    }));
    // 1.15 · 20 MB/s · 50 ms + 256 KiB, 10 ms of the rate queued for the link, 5 ms between the two scrapes.
    assert!(held < 1_150_000 + 262_144 + 200_000 + 100_000, "{held}");
}

/// How many bytes come with each delivery until the end, where pieces are far enough apart to be told from each other.
fn pieces(client: &mut TcpStream) -> Vec<usize> {
    let (mut pieces, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        match client.read(&mut buffer).unwrap() {
            0 => return pieces,
            n => pieces.push(n),
        }
    }
}

/// 480 kB in pieces of 1024 give or take 512: 240 to 720 pieces, as the reference's own tests have it. None is longer
/// than the sum; a delay of 2 ms after each keeps most of them apart,
/// but for those that a busy reader finds together.
#[test]
fn slicer_cuts_into_pieces_of_its_size() {
    let (_server, proxy) = proxied(source(480_000));
    proxy
        .add(Toxic::new(Attributes::Slicer { average_size: 1024, size_variation: 512, delay: 2000 }))
        .unwrap();
    let start = Instant::now();
    let pieces = pieces(&mut connect(proxy.listen_addr()));
    let time = start.elapsed();
    assert_eq!(pieces.iter().sum::<usize>(), 480_000);
    assert!((240..=720).contains(&pieces.len()), "{} pieces", pieces.len());
    let whole = pieces.iter().filter(|piece| **piece <= 1024 + 512).count();
    assert!(whole * 2 >= pieces.len(), "{whole} of {} are short enough", pieces.len());
    assert!(time >= ms(2) * (pieces.len() as u32 - 1), "{} pieces in {time:?}", pieces.len());
}

/// Without variation 16 KiB that came together are sixteen pieces of 1024, 10 ms apart. A reader that had to wait for a
/// processor finds some of them together.
#[test]
fn slicer_without_variation_halves_exactly() {
    let server = upstream(|mut stream| {
        stream.write_all(&pattern(0, 16 * 1024)).unwrap();
    });
    let (_server, proxy) = proxied(server);
    let slicer = Attributes::Slicer { average_size: 1024, size_variation: 0, delay: 10_000 };
    proxy.add(Toxic::new(slicer)).unwrap();
    let start = Instant::now();
    let pieces = pieces(&mut connect(proxy.listen_addr()));
    let time = start.elapsed();
    assert_eq!(pieces.iter().sum::<usize>(), 16 * 1024);
    assert!(pieces.iter().all(|piece| piece % 1024 == 0), "{pieces:?}");
    assert!((12..=16).contains(&pieces.len()), "{pieces:?}");
    assert!(time >= ms(150), "fifteen delays: {time:?}");
}

/// The bytes come at once and the end 300 ms behind them, the median of five.
#[test]
fn slow_close_holds_the_end_only() {
    let (_server, proxy) = proxied(source(100_000));
    proxy.add(Toxic::new(Attributes::SlowClose { delay: 300 })).unwrap();
    let (bytes_after, end_after): (Vec<_>, Vec<_>) = (0..5)
        .map(|_| {
            let start = Instant::now();
            let mut client = connect(proxy.listen_addr());
            client.read_exact(&mut vec![0; 100_000]).unwrap();
            let last = Instant::now();
            assert_eq!(read_all(&mut client, PATIENCE), (Vec::new(), End::Fin));
            (last - start, last.elapsed())
        })
        .unzip();
    let (bytes_after, end_after) = (median(bytes_after), median(end_after));
    assert!(bytes_after < ms(100), "{bytes_after:?}");
    assert!((ms(290)..ms(400)).contains(&end_after), "{end_after:?}");
}

/// Of a source that has more, exactly so many bytes come, the right ones, and then the end.
#[test]
fn limit_data_lets_exactly_so_many_bytes_through() {
    for limit in [0, 1, 100_000] {
        let (_server, proxy) = proxied(source(1 << 30));
        proxy.add(Toxic::new(Attributes::LimitData { bytes: limit })).unwrap();
        let (got, end) = read_all(&mut connect(proxy.listen_addr()), PATIENCE);
        assert_eq!((got.len() as i64, end), (limit, End::Fin));
        assert!(got == pattern(0, limit as u64), "the right bytes of {limit}");
        eventually("it is gone", || proxy.counts().open == 0);
        assert_eq!(proxy.counts().faults["limit_data"], 1);
    }
}

/// The limit is for each connection, not for all of them; and one that is not reached leaves the end as it is.
#[test]
fn limit_data_counts_each_connection_apart() {
    let (_server, proxy) = proxied(source(1000));
    proxy.add(Toxic::new(Attributes::LimitData { bytes: 1001 })).unwrap();
    for _ in 0..3 {
        let (got, end) = read_all(&mut connect(proxy.listen_addr()), PATIENCE);
        assert_eq!((got.len(), end), (1000, End::Fin));
    }
    assert!(proxy.counts().faults.is_empty());
}
