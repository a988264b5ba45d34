//! Ledger, counters, connections and metrics; and that the same seed decides the same.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use chaosproxy::{
    ConnectionState, CutAction, LedgerLine, OutageKind, ProxySpec, Server, Timeline, TimelineEvent, Toxic,
};

use crate::harness::*;

/// Runs 40 connections of different lengths, some of them at once, and gives the ledger's decisions by identity.
fn decisions(seed: u64, at_once: usize) -> BTreeMap<String, Vec<String>> {
    decisions_at(seed, None, at_once)
}

/// The same, with a seed of the proxy's own.
fn decisions_at(server: u64, proxy: Option<u64>, at_once: usize) -> BTreeMap<String, Vec<String>> {
    let server = Server::builder().seed(server).start().unwrap();
    let spec = ProxySpec {
        label: Some("source".into()),
        seed: proxy,
        ..ProxySpec::new(format!("run-{at_once}"), echo().to_string())
    };
    let proxy = server.create(spec.clone()).unwrap();
    proxy.add(Toxic::cut(200_000, CutAction::Reset).named("pull_reset")).unwrap();
    proxy.add(Toxic::cut(200_000, CutAction::Stall).upstream().named("push_stall")).unwrap();
    proxy.add(Toxic::latency(Duration::from_millis(1), Duration::ZERO).toxicity(0.5)).unwrap();
    let partial = TimelineEvent {
        proxy: spec.name,
        after_bytes: Some(100_000 * at_once as u64),
        for_ms: Some(50),
        outage: Some("partial".into()),
        ..TimelineEvent::default()
    };
    server.put_timeline(Timeline { events: vec![partial] }).unwrap();
    server.start_timeline().unwrap();
    for batch in 0..40 / at_once {
        let mut clients: Vec<_> = (0..at_once).map(|_| connect(proxy.listen_addr())).collect();
        for client in &mut clients {
            let _broken_by_a_cut = client.write_all(&vec![7; 10_000 * batch]);
        }
    }
    eventually("all are accepted", || proxy.counts().accepted == 40);
    eventually("all are decided", || server.ledger().len() == 160);
    let mut by_identity: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for LedgerLine { decision, .. } in server.ledger() {
        let text = serde_json::to_string(&decision).unwrap();
        by_identity.entry(decision.identity).or_default().push(text);
    }
    by_identity.values_mut().for_each(|lines| lines.sort());
    by_identity
}

#[test]
fn the_same_seed_decides_the_same_for_every_connection() {
    let first = decisions(1, 4);
    assert_eq!(first.len(), 40);
    assert_eq!(first, decisions(1, 20), "whatever the concurrency, the name and the time of the outage");
    let other = decisions(2, 4);
    for (identity, lines) in &first {
        assert_ne!(lines, &other[identity], "{identity}");
    }
}

#[test]
fn a_proxy_with_a_seed_of_its_own_decides_as_a_server_with_that_seed() {
    assert_eq!(decisions_at(2, Some(1), 10), decisions(1, 10));
}

#[test]
fn a_fault_that_struck_is_observed_and_one_that_did_not_is_not() {
    let (server, proxy) = proxied(source(1_000_000));
    proxy.add(Toxic::cut(1_000_000, CutAction::Reset).named("cut")).unwrap();
    for _ in 0..20 {
        read_all(&mut connect(proxy.listen_addr()), PATIENCE);
    }
    eventually("all have ended", || server.connections().is_empty());
    let lines = server.ledger();
    assert_eq!(lines.len(), 20);
    for line in &lines {
        let chaosproxy::LedgerParameters::After { after } = line.decision.parameters else {
            panic!("{line:?}")
        };
        assert_eq!(line.observed.is_some(), after <= 1_000_000, "{line:?}");
    }
    let struck = lines.iter().filter(|line| line.observed.is_some()).count() as u64;
    assert!(struck > 5 && struck < 18, "{struck} of 20 at 1 - 1/e");
    assert_eq!(proxy.counts().faults["cut:reset"], struck);
}

#[test]
fn the_ledger_is_served_as_lines_and_written_to_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.ndjson");
    let server = Server::builder().ledger_file(&path).start().unwrap();
    let proxy = server.create(ProxySpec::new("source", source(100_000).to_string())).unwrap();
    proxy.add(Toxic::cut(50_000, CutAction::Reset)).unwrap();
    for _ in 0..10 {
        read_all(&mut connect(proxy.listen_addr()), PATIENCE);
    }
    eventually("all have ended", || server.connections().is_empty());
    let served = http(server.api_addr(), "GET", "/ledger", &[], "");
    assert_eq!(served.header("content-type"), Some("application/x-ndjson"));
    let parse = |text: &str| -> Vec<LedgerLine> {
        let mut lines: Vec<_> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        lines.sort_by_key(|line: &LedgerLine| line.decision.identity.clone());
        lines
    };
    let served = parse(&served.body);
    assert_eq!(served.len(), 10);
    server.stop();
    assert_eq!(parse(&std::fs::read_to_string(&path).unwrap()), served);
}

#[test]
fn the_ledger_of_one_proxy_is_served_also_after_its_end() {
    let server = Server::builder().start().unwrap();
    let api = server.api_addr();
    let upstream = source(1000).to_string();
    for (name, connections) in [("run 1", 3), ("run 2", 5)] {
        let proxy = server
            .create(ProxySpec { label: Some("source".into()), ..ProxySpec::new(name, &*upstream) })
            .unwrap();
        proxy.add(Toxic::cut(50_000, CutAction::Reset)).unwrap();
        for _ in 0..connections {
            read_all(&mut connect(proxy.listen_addr()), PATIENCE);
        }
    }
    eventually("all have ended", || server.connections().is_empty());
    server.remove("run 1").unwrap();
    let identities = |path: &str| -> Vec<String> {
        let served = http(api, "GET", path, &[], "");
        assert_eq!(served.status, 200, "{path}");
        let line = |line| serde_json::from_str::<LedgerLine>(line).unwrap().decision.identity;
        served.body.lines().map(line).collect()
    };
    let first = |n| (1..=n).map(|n| format!("source connection {n}")).collect::<Vec<_>>();
    assert_eq!(identities("/ledger?proxy=run%201"), first(3));
    assert_eq!(identities("/ledger?proxy=run+2"), first(5));
    assert_eq!(identities("/ledger?proxy=run"), first(0), "the name is exact");
    assert_eq!(identities("/ledger").len(), 8);
    assert_eq!(http(api, "GET", "/ledger?label=source", &[], "").status, 400);
}

#[test]
fn counters_connections_and_metrics_are_live() {
    let (server, proxy) = proxied(echo());
    let api = server.api_addr();
    let mut client = connect(proxy.listen_addr());
    ping(&mut client, &[1; 1000]);
    // The answer may be here before it is counted there.
    eventually("it is counted", || proxy.counts().bytes_downstream == 1000);
    let counters = http(api, "GET", "/counters", &[], "").json();
    assert_eq!(
        counters["proxies"]["source"],
        serde_json::json!({
            "label": "source", "accepted": 1, "refused": 0, "rejected": 0, "open": 1,
            "bytes_upstream": 1000, "bytes_downstream": 1000, "faults": {}
        })
    );
    assert_eq!(counters["ledger"], serde_json::json!({"lines": 0, "dropped": 0}));
    let connections = http(api, "GET", "/connections", &[], "").json();
    let connection = &connections["connections"][0];
    assert_eq!((&connection["ordinal"], &connection["state"]), (&1.into(), &"open".into()));
    assert_eq!(connection["bytes_upstream"], 1000);
    assert_eq!(connection["client"], client.local_addr().unwrap().to_string());
    let listener = proxy.listen_addr();
    server.outage("source", OutageKind::ResetAll, None).unwrap();
    eventually("it is gone", || server.connections().is_empty());
    let metrics = http(api, "GET", "/metrics", &[], "").body;
    for line in [
        format!(
            "toxiproxy_proxy_sent_bytes_total{{direction=\"upstream\",listener=\"{listener}\",proxy=\"source\""
        ),
        "chaosproxy_faults_total{kind=\"outage:reset_all\",proxy=\"source\"} 1".to_owned(),
        "chaosproxy_connections_total{outcome=\"fault\",proxy=\"source\"} 1".to_owned(),
        "chaosproxy_open_connections{proxy=\"source\"} 0".to_owned(),
        "chaosproxy_build_info{version=".to_owned(),
        "process_resident_memory_bytes ".to_owned(),
    ] {
        assert!(metrics.contains(&line), "no {line} in\n{metrics}");
    }
    assert!(
        metrics
            .lines()
            .any(|line| line.starts_with("toxiproxy_proxy_received_bytes_total") && line.ends_with(" 1000"))
    );
}

#[test]
fn a_connection_that_waits_for_its_server_is_shown_as_held() {
    let (server, proxy) = proxied(echo());
    server.outage("source", OutageKind::BlackHole, None).unwrap();
    let _held = connect(proxy.listen_addr());
    eventually("it is held", || server.connections().iter().any(|c| c.state == ConnectionState::Held));
}

/// Ten connections, a toxic that affects about half of them, and one that ends them all: each is named where it acts.
#[test]
fn toxics_are_shown_by_connection_and_counted() {
    let (server, proxy) = proxied(echo());
    let api = server.api_addr();
    let half = r#"{"name":"half","type":"latency","toxicity":0.5,"attributes":{"latency":1}}"#;
    assert_eq!(http(api, "POST", "/proxies/source/toxics", &[], half).status, 200);
    let mut clients: Vec<_> = (0..10).map(|_| connect(proxy.listen_addr())).collect();
    for client in &mut clients {
        ping(client, b"hello");
    }
    let shown = http(api, "GET", "/connections", &[], "").json();
    let shown = shown["connections"].as_array().unwrap();
    let affected = shown.iter().filter(|view| view["toxics"][0]["affects"] == true).count();
    assert!((1..10).contains(&affected), "{shown:#?}");
    let toxic = &shown[0]["toxics"][0];
    assert_eq!([&toxic["name"], &toxic["type"], &toxic["stream"]], ["half", "latency", "downstream"]);
    assert!(shown.iter().all(|view| view["age_ms"].is_u64()));

    let end = r#"{"name":"end","type":"limit_data","stream":"upstream","attributes":{"bytes":1}}"#;
    assert_eq!(http(api, "POST", "/proxies/source/toxics", &[], end).status, 200);
    clients.iter_mut().for_each(|client| client.write_all(b"hello").unwrap());
    eventually("all are ended", || server.connections().is_empty());
    let metrics = http(api, "GET", "/metrics", &[], "").body;
    let series = |family: &str, stream: &str, toxic: &str, kind: &str| {
        format!("{family}{{proxy=\"source\",stream=\"{stream}\",toxic=\"{toxic}\",type=\"{kind}\"}}")
    };
    let ages = "chaosproxy_connection_duration_seconds";
    let strikes = |part: &str, bound: &str| {
        let labels = format!(r#"proxy="source",stream="upstream",toxic="end",type="limit_data"{bound}"#);
        format!("chaosproxy_toxic_strike_bytes_{part}{{{labels}}}")
    };
    for line in [
        format!(
            "{} {affected}",
            series("chaosproxy_toxic_connections_total", "downstream", "half", "latency")
        ),
        format!("{} 0", series("chaosproxy_toxic_strikes_total", "downstream", "half", "latency")),
        format!("{} 10", series("chaosproxy_toxic_connections_total", "upstream", "end", "limit_data")),
        format!("{} 10", series("chaosproxy_toxic_strikes_total", "upstream", "end", "limit_data")),
        // It let one byte of each pass.
        format!("{} 0", strikes("bucket", r#",le="0""#)),
        format!("{} 10", strikes("bucket", r#",le="1000""#)),
        format!("{} 10", strikes("bucket", r#",le="10000000000""#)),
        format!("{} 10", strikes("bucket", r#",le="+Inf""#)),
        format!("{} 10", strikes("sum", "")),
        format!("{} 10", strikes("count", "")),
        format!("{ages}_bucket{{proxy=\"source\",le=\"3600\"}} 10"),
        format!("{ages}_count{{proxy=\"source\"}} 10"),
    ] {
        assert!(metrics.lines().any(|found| found == line), "no {line} in\n{metrics}");
    }
    let of_half = |line: &&str| line.contains("strike_bytes") && line.contains("half");
    assert_eq!(metrics.lines().find(of_half), None, "one that never struck has no histogram");
}
