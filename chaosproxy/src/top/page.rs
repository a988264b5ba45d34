//! A page: what two readings show together, as text that fits a terminal. Pure.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::live::ConnectionView;
use crate::outage::OutageState;

use super::reading::Reading;

/// Room on a terminal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) lines: usize,
}

/// Widths of a table's columns but the last, which takes what is left.
const PROXY_COLUMNS: [usize; 8] = [16, 22, 22, 6, 11, 11, 8, 8];
const CONNECTION_COLUMNS: [usize; 7] = [16, 7, 22, 9, 9, 11, 11];

/// The page about the server at `url`, from a reading and an earlier one.
pub(super) fn of(url: &str, before: &Reading, now: &Reading, size: Size) -> String {
    let elapsed = now.at.saturating_duration_since(before.at);
    let open: u64 = now.counts.values().map(|counts| counts.open).sum();
    let title = format!("chaosproxy at {url}: {} proxies, {open} connections open", now.proxies.len());
    let mut lines = vec![title, String::new()];
    lines.push(row(
        &PROXY_COLUMNS,
        &["PROXY", "LISTEN", "UPSTREAM", "OPEN", "UP/s", "DOWN/s", "ACCEPTED", "FAULTS", "NOW"],
    ));
    lines.extend(now.proxies.keys().map(|name| proxy(name, before, now, elapsed)));
    if !now.connections.is_empty() {
        let heads = ["CONNECTION OF", "NO.", "CLIENT", "STATE", "AGE", "UP/s", "DOWN/s", "TOXICS"];
        lines.extend([String::new(), row(&CONNECTION_COLUMNS, &heads)]);
        lines.extend(connections(before, now, elapsed));
    }
    fit(&lines, size)
}

fn proxy(name: &str, before: &Reading, now: &Reading, elapsed: Duration) -> String {
    let proxy = &now.proxies[name];
    let (earlier, counts) = (before.counts.get(name), now.counts.get(name).cloned().unwrap_or_default());
    let up = rate(earlier.map(|counts| counts.bytes_upstream), counts.bytes_upstream, elapsed);
    let down = rate(earlier.map(|counts| counts.bytes_downstream), counts.bytes_downstream, elapsed);
    let active = now.outages.iter().filter(|outage| outage.state == OutageState::Active);
    let outages =
        active.filter(|outage| outage.proxy == name).map(|outage| outage.kind.name().to_uppercase());
    let off = (!proxy.enabled).then(|| "disabled".to_owned());
    let toxics = proxy.toxics.iter().map(|toxic| toxic.name.clone());
    let state: Vec<String> = off.into_iter().chain(outages).chain(toxics).collect();
    row(
        &PROXY_COLUMNS,
        &[
            name,
            &proxy.listen,
            &proxy.upstream,
            &counts.open.to_string(),
            &up,
            &down,
            &counts.accepted.to_string(),
            &counts.faults.values().sum::<u64>().to_string(),
            &state.join(" "),
        ],
    )
}

/// The busiest first.
fn connections(before: &Reading, now: &Reading, elapsed: Duration) -> Vec<String> {
    let key = |view: &ConnectionView| (view.proxy.clone(), view.ordinal);
    let earlier: HashMap<_, _> = before.connections.iter().map(|view| (key(view), view)).collect();
    let moved = |view: &ConnectionView| {
        let (up, down) =
            earlier.get(&key(view)).map_or((0, 0), |view| (view.bytes_upstream, view.bytes_downstream));
        (
            view.bytes_upstream - up.min(view.bytes_upstream),
            view.bytes_downstream - down.min(view.bytes_downstream),
        )
    };
    let mut busy: Vec<_> = now.connections.iter().map(|view| (moved(view), view)).collect();
    busy.sort_by_key(|((up, down), _)| std::cmp::Reverse(up + down));
    let line = |((up, down), view): ((u64, u64), &ConnectionView)| {
        let struck = view.toxics.iter().filter(|toxic| toxic.affects).map(|toxic| toxic.name.as_str());
        row(
            &CONNECTION_COLUMNS,
            &[
                &view.proxy,
                &view.ordinal.to_string(),
                &view.client,
                view.state.name(),
                &format!("{} s", view.age_ms / 1000),
                &rate(Some(0), up, elapsed),
                &rate(Some(0), down, elapsed),
                &struck.collect::<Vec<_>>().join(" "),
            ],
        )
    };
    busy.into_iter().map(line).collect()
}

/// Bytes a second, with three digits at most before the unit. What was not there before has no rate yet.
fn rate(before: Option<u64>, now: u64, elapsed: Duration) -> String {
    let Some(before) = before.filter(|_| !elapsed.is_zero()) else { return "-".to_owned() };
    let mut value = now.saturating_sub(before) as f64 / elapsed.as_secs_f64();
    let mut unit = "B";
    for larger in ["kB", "MB", "GB"] {
        if value < 999.5 {
            break;
        }
        (value, unit) = (value / 1000.0, larger);
    }
    if unit == "B" { format!("{value:.0} B") } else { format!("{value:.1} {unit}") }
}

/// Cells in their columns, cut where they are too long; numbers stand to the left like words, for they differ in unit.
fn row(widths: &[usize], cells: &[&str]) -> String {
    let mut line = String::new();
    for (cell, width) in cells.iter().zip(widths.iter().map(Some).chain([None])) {
        match width {
            Some(width) => {
                let cut: String = cell.chars().take(*width).collect();
                write!(line, "{cut:width$} ").expect("a string takes everything");
            }
            None => line.push_str(cell),
        }
    }
    line.trim_end().to_owned()
}

/// As much as there is room for; what is left out is said.
fn fit(lines: &[String], size: Size) -> String {
    let shown = if lines.len() < size.lines { lines.len() } else { size.lines.saturating_sub(2) };
    let mut page = String::new();
    for line in &lines[..shown] {
        page.extend(line.chars().take(size.columns));
        page.push('\n');
    }
    if shown < lines.len() {
        writeln!(page, "… and {} lines more", lines.len() - shown).expect("a string takes everything");
    }
    page
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Instant;

    use serde_json::json;

    use super::*;
    use crate::counters::ProxyCounts;

    fn reading(at: Instant, bytes: u64) -> Reading {
        let toxic = json!({"name": "slow", "type": "latency", "stream": "downstream", "toxicity": 1, "attributes": {}});
        let proxy = json!({"name": "source", "listen": "127.0.0.1:8666", "upstream": "127.0.0.1:5000",
            "enabled": true, "toxics": [toxic]});
        let connection = |ordinal: u64, moved: u64| {
            json!({"proxy": "source", "label": "source", "ordinal": ordinal, "client": "127.0.0.1:40000",
                "opened_ms": 0, "age_ms": 61_000, "state": "open", "bytes_upstream": 7, "bytes_downstream": moved,
                "toxics": [{"name": "slow", "type": "latency", "stream": "downstream", "affects": ordinal == 2}]})
        };
        let counts = ProxyCounts {
            accepted: 3,
            open: 2,
            bytes_upstream: 14,
            bytes_downstream: bytes,
            faults: BTreeMap::from([("cut".to_owned(), 1)]),
            ..ProxyCounts::default()
        };
        let outage = json!({"id": 1, "proxy": "source", "kind": "black_hole", "for_ms": null, "state": "active",
            "started_ms": 5, "ended_ms": null});
        Reading {
            at,
            proxies: serde_json::from_value(json!({ "source": proxy })).unwrap(),
            counts: BTreeMap::from([("source".to_owned(), counts)]),
            connections: serde_json::from_value(json!([connection(1, 0), connection(2, bytes)])).unwrap(),
            outages: serde_json::from_value(json!([outage])).unwrap(),
        }
    }

    #[test]
    fn a_page_has_rates_states_and_what_strikes() {
        let begun = Instant::now();
        let (before, now) = (reading(begun, 0), reading(begun + Duration::from_secs(2), 25_000_000));
        let page = of("http://h:1", &before, &now, Size { columns: 200, lines: 50 });
        let lines: Vec<&str> = page.lines().collect();
        assert_eq!(lines[0], "chaosproxy at http://h:1: 1 proxies, 2 connections open");
        assert!(
            lines[3].starts_with("source           127.0.0.1:8666         127.0.0.1:5000         2"),
            "{page}"
        );
        assert!(lines[3].contains("0 B         12.5 MB     3        1        BLACK_HOLE slow"), "{page}");
        assert!(
            lines[6].contains("source           2       127.0.0.1:40000        open      61 s"),
            "{page}"
        );
        assert!(lines[6].ends_with("12.5 MB     slow") && !lines[7].contains("slow"), "{page}");
    }

    #[test]
    fn a_page_keeps_to_its_room() {
        let begun = Instant::now();
        let page = of("u", &reading(begun, 0), &reading(begun, 1), Size { columns: 20, lines: 6 });
        assert_eq!(page.lines().count(), 5);
        assert!(page.ends_with("… and 4 lines more\n"), "{page}");
        assert!(page.lines().all(|line| line.chars().count() <= 20), "{page}");
    }

    #[test]
    fn rates_have_three_digits_and_a_unit() {
        let rate = |bytes| rate(Some(0), bytes, Duration::from_secs(1));
        assert_eq!(
            [rate(0), rate(999), rate(1_000), rate(999_400), rate(999_500), rate(2_500_000_000)],
            ["0 B", "999 B", "1.0 kB", "999.4 kB", "1.0 MB", "2.5 GB"]
        );
    }
}
