//! A page: what two readings show together, as text that fits a terminal. Pure.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::live::ConnectionView;
use crate::outage::OutageState;
use crate::terminal::shown;

use super::reading::Reading;

/// Room on a terminal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) lines: usize,
}

/// Least widths of a table's columns but the last, which takes what is left.
const PROXY_COLUMNS: [usize; 8] = [16, 22, 22, 6, 11, 11, 8, 8];
const CONNECTION_COLUMNS: [usize; 7] = [16, 7, 22, 9, 9, 11, 11];

/// The page about the server at `url`, from a reading and an earlier one.
pub(super) fn of(url: &str, before: &Reading, now: &Reading, size: Size) -> String {
    let elapsed = now.at.saturating_duration_since(before.at);
    let open: u64 = now.counts.values().map(|counts| counts.open).sum();
    let title =
        format!("chaosproxy at {}: {} proxies, {open} connections open", shown(url), now.proxies.len());
    let mut lines = vec![title, String::new()];
    let heads = ["PROXY", "LISTEN", "UPSTREAM", "OPEN", "UP/s", "DOWN/s", "ACCEPTED", "FAULTS", "NOW"];
    let proxies = now.proxies.keys().map(|name| proxy(name, before, now, elapsed));
    lines.extend(table(&PROXY_COLUMNS, heads, proxies, size.columns));
    if !now.connections.is_empty() {
        let heads = ["CONNECTION OF", "NO.", "CLIENT", "STATE", "AGE", "UP/s", "DOWN/s", "TOXICS"];
        lines.push(String::new());
        lines.extend(table(&CONNECTION_COLUMNS, heads, connections(before, now, elapsed), size.columns));
    }
    fit(&lines, size)
}

fn proxy(name: &str, before: &Reading, now: &Reading, elapsed: Duration) -> [String; 9] {
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
    [
        name.to_owned(),
        proxy.listen.clone(),
        proxy.upstream.clone(),
        counts.open.to_string(),
        up,
        down,
        counts.accepted.to_string(),
        counts.faults.values().sum::<u64>().to_string(),
        state.join(" "),
    ]
}

/// The busiest first.
fn connections(before: &Reading, now: &Reading, elapsed: Duration) -> Vec<[String; 8]> {
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
        [
            view.proxy.clone(),
            view.ordinal.to_string(),
            view.client.clone(),
            view.state.name().to_owned(),
            format!("{} s", view.age_ms / 1000),
            rate(Some(0), up, elapsed),
            rate(Some(0), down, elapsed),
            struck.collect::<Vec<_>>().join(" "),
        ]
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

/// Rows under their heads, in columns that are as wide as their cells if so there is room for everything, and otherwise
/// of their least widths. Numbers stand to the left like words, for they differ in unit.
fn table<const N: usize>(
    least: &[usize],
    heads: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
    columns: usize,
) -> Vec<String> {
    let printable = |cells: [String; N]| cells.map(|cell| shown(&cell).into_owned());
    let rows: Vec<_> =
        std::iter::once(heads.map(str::to_owned)).chain(rows.into_iter().map(printable)).collect();
    let longest = |column: usize| rows.iter().map(|row| width(&row[column])).max().unwrap_or(0);
    let whole: Vec<usize> = least.iter().enumerate().map(|(at, least)| longest(at).max(*least)).collect();
    let line = whole.iter().map(|width| width + 1).sum::<usize>() + longest(N - 1);
    let widths = if line <= columns { &whole } else { least };
    rows.iter().map(|cells| row(widths, cells)).collect()
}

fn row(widths: &[usize], cells: &[String]) -> String {
    let mut line = String::new();
    for (cell, width) in cells.iter().zip(widths.iter().map(Some).chain([None])) {
        match width {
            Some(width) => write!(line, "{:width$} ", cut(cell, *width)).expect("a string takes everything"),
            None => line.push_str(cell),
        }
    }
    line.trim_end().to_owned()
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// So much of a text as there is room for, and a mark where something is missing.
fn cut(text: &str, room: usize) -> Cow<'_, str> {
    if width(text) <= room {
        return text.into();
    }
    let kept: String = text.chars().take(room.saturating_sub(1)).collect();
    (kept + "…").into()
}

/// As much as there is room for; what is left out is said.
fn fit(lines: &[String], size: Size) -> String {
    let shown = if lines.len() < size.lines { lines.len() } else { size.lines.saturating_sub(2) };
    let mut page = String::new();
    for line in &lines[..shown] {
        page += &cut(line, size.columns);
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
    fn what_does_not_fit_is_marked_and_what_may_be_long_is_whole() {
        let begun = Instant::now();
        let long = "a.registry.with.a.name.of.some.length.example.com:5000";
        let mut now = reading(begun + Duration::from_secs(1), 1);
        now.proxies.get_mut("source").unwrap().upstream = long.to_owned();
        let page = |columns| of("u", &reading(begun, 0), &now, Size { columns, lines: 50 });
        assert!(
            page(usize::MAX).contains(&format!("127.0.0.1:8666         {long} 2")),
            "{}",
            page(usize::MAX)
        );
        assert!(page(150).contains(" a.registry.with.a.nam… 2 "), "{}", page(150));
        let narrow = page(50);
        let lines: Vec<&str> = narrow.lines().collect();
        assert!(lines[3].chars().count() == 50 && lines[3].ends_with('…'), "{narrow}");
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "ab…");
    }

    #[test]
    fn names_cannot_command_a_terminal() {
        let begun = Instant::now();
        let name = "e\u{1b}[31m\"\\\n\tx/y";
        let rename = |mut reading: Reading| {
            let mut proxy = reading.proxies.remove("source").unwrap();
            proxy.toxics[0].name = "\u{1b}[2J".to_owned();
            reading.proxies.insert(name.to_owned(), proxy);
            reading.connections[0].proxy = name.to_owned();
            reading
        };
        let (before, now) = (rename(reading(begun, 0)), rename(reading(begun + Duration::from_secs(1), 1)));
        let page = of("http://h\u{7}", &before, &now, Size { columns: usize::MAX, lines: usize::MAX });
        assert_eq!(page.lines().count(), 8, "{page}");
        assert!(!page.contains(|c: char| c.is_control() && c != '\n'), "{page:?}");
        assert_eq!(page.matches("e\\u{1b}[31m\"\\\\n\\tx/y").count(), 2, "{page}");
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
