//! What the reference does not have, over sockets: corruption, stalls, limits and delays of acceptance, flaps, ramps.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use chaosproxy::{Admission, Manner, OutageKind, OverLimit, ProxySpec, Server, TimelineState, Toxic};
use serde_json::json;

use crate::harness::*;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Every struck byte, and no other, is in the ledger; the line after the last strike is still open.
#[test]
fn each_corrupted_byte_is_in_the_ledger() {
    let (server, proxy) = proxied(source(2_000_000));
    proxy.add(Toxic::corrupt(100_000).named("flip")).unwrap();
    let (got, end) = read_all(&mut connect(proxy.listen_addr()), PATIENCE);
    assert_eq!((got.len(), end), (2_000_000, End::Fin));
    let wanted = pattern(0, BLOCK).repeat(32);
    let places: Vec<u64> = (0..got.len()).filter(|n| got[*n] != wanted[*n]).map(|n| n as u64).collect();
    assert!((2..60).contains(&places.len()), "{places:?}");
    let lines = server.ledger();
    let observed: Vec<u64> = lines.iter().filter_map(|line| Some(line.observed?.bytes)).collect();
    assert_eq!(observed, places);
    assert_eq!(lines.len(), places.len() + 1);
    assert!(lines.iter().zip(1..).all(|(line, attempt)| line.decision.attempt == attempt));
    assert_eq!(proxy.counts().faults["corrupt"], places.len() as u64);
}

#[test]
fn a_stalled_direction_leaves_the_other_alone_and_goes_on_when_the_toxic_goes() {
    let (server, proxy) = proxied(echo());
    let name = proxy.add(Toxic::stall(4).upstream()).unwrap();
    let mut client = connect(proxy.listen_addr());
    client.write_all(b"12345678").unwrap();
    let (got, end) = read_all(&mut client, ms(200));
    assert_eq!((got.as_slice(), end), (b"1234".as_slice(), End::Silence));
    assert_eq!(proxy.counts().faults["stall"], 1);
    proxy.remove(&name).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut rest = [0; 4];
    client.read_exact(&mut rest).unwrap();
    assert_eq!(&rest, b"5678");
    drop(client);
    eventually("it is gone", || server.connections().is_empty());
}

/// Nothing would ever move again: the connection goes, and leaves nothing behind.
#[test]
fn a_stall_ends_with_the_other_direction() {
    let (server, proxy) = proxied(source(1000));
    proxy.add(Toxic::stall(0).upstream()).unwrap();
    let mut client = connect(proxy.listen_addr());
    client.write_all(b"never read").unwrap();
    let _until_the_end = client.read_to_end(&mut Vec::new());
    drop(client);
    eventually("it is gone", || server.connections().is_empty());
}

fn limited(admission: Admission) -> (Server, chaosproxy::ProxyHandle) {
    let server = Server::builder().start().unwrap();
    let spec = ProxySpec { admission, ..ProxySpec::new("source", echo().to_string()) };
    let proxy = server.create(spec).unwrap();
    (server, proxy)
}

#[test]
fn connections_beyond_the_limit_are_reset_and_counted() {
    let (server, proxy) = limited(Admission { max_connections: Some(2), ..Admission::default() });
    let mut served: Vec<_> = (0..2).map(|_| connect(proxy.listen_addr())).collect();
    served.iter_mut().for_each(|client| {
        ping(client, b"in");
    });
    let mut beyond = connect(proxy.listen_addr());
    assert_eq!(read_all(&mut beyond, PATIENCE), (Vec::new(), End::Reset));
    assert_eq!(proxy.counts().faults["max_connections:refuse"], 1);
    served.pop();
    eventually("one has gone", || server.connections().len() == 1);
    ping(&mut connect(proxy.listen_addr()), b"in its place");
    let shown = http(server.api_addr(), "GET", "/proxies/source", &[], "").json();
    assert_eq!((&shown["max_connections"], &shown["over_limit"]), (&json!(2), &json!("refuse")));
    let lifted = http(server.api_addr(), "POST", "/proxies/source", &[], r#"{"max_connections":0}"#).json();
    assert_eq!(lifted["max_connections"], json!(null));
    let mut more: Vec<_> = (0..4).map(|_| connect(proxy.listen_addr())).collect();
    more.iter_mut().for_each(|client| {
        ping(client, b"in");
    });
}

#[test]
fn held_connections_are_served_in_the_order_they_came() {
    let terms = Admission { max_connections: Some(1), over_limit: OverLimit::Hold, ..Admission::default() };
    let (server, proxy) = limited(terms);
    let mut first = connect(proxy.listen_addr());
    ping(&mut first, b"in");
    let mut second = connect(proxy.listen_addr());
    second.write_all(b"wait").unwrap();
    eventually("it is there", || server.connections().len() == 2);
    let mut third = connect(proxy.listen_addr());
    third.write_all(b"wait").unwrap();
    assert_eq!(read_all(&mut second, ms(100)), (Vec::new(), End::Silence));
    drop(first);
    second.set_read_timeout(Some(PATIENCE)).unwrap();
    second.read_exact(&mut [0; 4]).unwrap();
    assert_eq!(read_all(&mut third, ms(100)), (Vec::new(), End::Silence));
    drop(second);
    third.set_read_timeout(Some(PATIENCE)).unwrap();
    third.read_exact(&mut [0; 4]).unwrap();
    assert_eq!(proxy.counts().faults["max_connections:hold"], 2);
}

/// Median of 7 first round trips at 100 ms; the second is as fast as ever.
#[test]
fn a_new_connection_waits_for_its_dial() {
    let (server, proxy) = limited(Admission { accept_delay_ms: 100, ..Admission::default() });
    let first = median((0..7).map(|_| {
        let mut client = connect(proxy.listen_addr());
        let first = ping(&mut client, b"x");
        assert!(ping(&mut client, b"x") < ms(90));
        first
    }));
    assert!((ms(99)..ms(140)).contains(&first), "{first:?}");
    let bad = http(server.api_addr(), "POST", "/proxies/source", &[], r#"{"over_limit":"drop"}"#);
    assert_eq!(bad.status, 400);
    assert!(bad.body.contains("over_limit must be refuse or hold, not drop"), "{}", bad.body);
}

#[test]
fn a_flap_goes_down_and_up_until_it_is_ended() {
    let (server, proxy) = proxied_apart(echo());
    let manner = Manner { period_ms: Some(200), duty: Some(0.5), ..Manner::default() };
    let outage = server.outage_of("source", OutageKind::Flap, manner, None).unwrap();
    let mut turns = Vec::new();
    let start = Instant::now();
    while turns.len() < 6 {
        assert!(start.elapsed() < PATIENCE, "{turns:?}");
        let is_up = match TcpStream::connect(proxy.listen_addr()) {
            Ok(_) => true,
            // A listener that closes resets whom it has not accepted yet.
            Err(error) => {
                let kinds = [ErrorKind::ConnectionRefused, ErrorKind::ConnectionReset];
                assert!(kinds.contains(&error.kind()), "{error}");
                false
            }
        };
        if turns.last() != Some(&is_up) {
            turns.push(is_up);
        }
        // No more connections than the proxy accepts in that time.
        std::thread::sleep(ms(2));
    }
    assert!(!turns[0], "it begins with the time down");
    assert!(start.elapsed() >= ms(450), "five turns of 100 ms, and not all at once: {:?}", start.elapsed());
    server.end_outage(outage.id).unwrap();
    let mut client = connect(proxy.listen_addr());
    for _ in 0..10 {
        ping(&mut client, b"up for good");
        std::thread::sleep(ms(30));
    }
}

#[test]
fn a_reset_ends_a_flap() {
    let (server, proxy) = proxied_apart(echo());
    let api = server.api_addr();
    let body = r#"{"proxy":"source","kind":"flap","period_ms":40,"duty":0.9,"seeded_phase":true}"#;
    let begun = http(api, "POST", "/outages", &[], body);
    assert_eq!((begun.status, &begun.json()["period_ms"]), (201, &json!(40)));
    assert_eq!(http(api, "POST", "/reset", &[], "").status, 204);
    let mut client = connect(proxy.listen_addr());
    for _ in 0..10 {
        ping(&mut client, b"up");
        std::thread::sleep(ms(20));
    }
    assert_eq!(http(api, "GET", "/outages", &[], "").json()["outages"][0]["state"], "ended");
}

#[test]
fn a_ramp_moves_an_attribute_and_stays_at_its_end() {
    let (server, proxy) = proxied(echo());
    let api = server.api_addr();
    let ramp = |attribute: &str| {
        json!({"proxy": "source", "at_ms": 0, "for_ms": 400,
               "ramp": {"toxic": "slow", "attribute": attribute, "from": 10, "to": 90}})
    };
    let events = json!({"events": [ramp("latency"), ramp("rate")]}).to_string();
    assert_eq!(http(api, "PUT", "/timeline", &[], &events).status, 200);
    // Only now, so that it is not known yet what kind it is.
    proxy.add(Toxic::latency(Duration::ZERO, Duration::ZERO).named("slow")).unwrap();
    assert_eq!(http(api, "POST", "/timeline/start", &[], "").status, 200);
    let mut seen = Vec::new();
    while server.timeline().state != TimelineState::Finished {
        let toxic = http(api, "GET", "/proxies/source/toxics/slow", &[], "").json();
        seen.push(toxic["attributes"]["latency"].as_i64().unwrap());
    }
    seen.retain(|latency| *latency != 0);
    seen.dedup();
    assert!(
        seen.is_sorted() && seen.iter().all(|latency| [10, 30, 50, 70, 90].contains(latency)),
        "{seen:?}"
    );
    let toxic = http(api, "GET", "/proxies/source/toxics/slow", &[], "").json();
    assert_eq!(toxic["attributes"]["latency"], 90);
    let view = http(api, "GET", "/timeline", &[], "").json();
    assert_eq!(view["events"][0]["what"], "ramp:slow.latency");
    assert!(view["events"][0]["ended_ms"].as_u64().unwrap() >= 399, "{view}");
    assert_eq!(view["events"][1]["state"], "failed");
    assert_eq!(view["events"][1]["error"], "a latency toxic has no number rate to be moved");
}
