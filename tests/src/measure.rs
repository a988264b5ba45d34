//! Side-by-side measurements: candidates take turns in one run, so that a drift of the machine meets all of them; what
//! is reported are ratios, pair by pair, with median, spread and n.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::binary;

/// One candidate: its name and a trial that returns seconds.
pub struct Candidate<'a> {
    /// Name in the table.
    pub name: &'static str,
    /// One trial, in seconds.
    pub trial: Box<dyn FnMut() -> f64 + 'a>,
}

impl<'a> Candidate<'a> {
    /// A candidate.
    pub fn new(name: &'static str, trial: impl FnMut() -> f64 + 'a) -> Self {
        Self { name, trial: Box::new(trial) }
    }
}

/// Seconds of every trial, by candidate.
#[derive(Clone, Debug)]
pub struct Samples(Vec<(&'static str, Vec<f64>)>);

/// Lets the candidates take turns: one warm-up each that does not count, then `rounds` that do.
pub fn interleave(rounds: usize, mut candidates: Vec<Candidate<'_>>) -> Samples {
    for candidate in &mut candidates {
        let _warm_up = (candidate.trial)();
    }
    let mut samples: Vec<(&'static str, Vec<f64>)> =
        candidates.iter().map(|c| (c.name, Vec::new())).collect();
    for _ in 0..rounds {
        for (candidate, (_, seconds)) in candidates.iter_mut().zip(&mut samples) {
            seconds.push((candidate.trial)());
        }
    }
    Samples(samples)
}

/// Lets the candidates take turns at a trial that has two costs, such as seconds on the clock and seconds of a
/// processor: one warm-up each that does not count, then `rounds` that do.
pub fn interleave_costs<C>(
    rounds: usize,
    candidates: &[(&'static str, C)],
    mut trial: impl FnMut(&C) -> [f64; 2],
) -> [Samples; 2] {
    let empty = || candidates.iter().map(|(name, _)| (*name, Vec::new())).collect::<Vec<_>>();
    let mut samples = [empty(), empty()];
    for round in 0..=rounds {
        for (index, (_, candidate)) in candidates.iter().enumerate() {
            let costs = trial(candidate);
            if round > 0 {
                for (samples, cost) in samples.iter_mut().zip(costs) {
                    samples[index].1.push(cost);
                }
            }
        }
    }
    samples.map(Samples)
}

impl Samples {
    /// What each candidate cost, in a unit of which a second has `per_second`, and how many times more each other one
    /// cost than the first, pair by pair.
    pub fn costs(&self, unit: &str, per_second: f64) -> String {
        let mut table = String::new();
        for (name, seconds) in &self.0 {
            let costs: Vec<f64> = seconds.iter().map(|s| s * per_second).collect();
            let (low, middle, high) = spread(&costs);
            let _ =
                writeln!(table, "{name:<24} {middle:9.3} {unit}  ({low:.3}–{high:.3}, n = {})", costs.len());
        }
        table + &self.ratio_lines()
    }

    /// How many times faster the first candidate was than each other, pair by pair: one line each.
    pub fn table(&self, unit: &str, amount: f64) -> String {
        let mut table = String::new();
        for (name, seconds) in &self.0 {
            let rates: Vec<f64> = seconds.iter().map(|s| amount / s).collect();
            let (low, middle, high) = spread(&rates);
            let _ =
                writeln!(table, "{name:<24} {middle:9.2} {unit}  ({low:.2}–{high:.2}, n = {})", rates.len());
        }
        table + &self.ratio_lines()
    }

    fn ratio_lines(&self) -> String {
        let mut lines = String::new();
        for (name, ratios) in self.ratios() {
            let (low, middle, high) = spread(&ratios);
            let first = self.0[0].0;
            let _ =
                writeln!(lines, "{first} / {name}: {middle:.2}×  ({low:.2}–{high:.2}, n = {})", ratios.len());
        }
        lines
    }

    fn ratios(&self) -> Vec<(&'static str, Vec<f64>)> {
        let (first, others) = self.0.split_first().expect("a measurement has candidates");
        let against =
            |other: &Vec<f64>| other.iter().zip(&first.1).map(|(theirs, ours)| theirs / ours).collect();
        others.iter().map(|(name, seconds)| (*name, against(seconds))).collect()
    }

    /// Prints the table and, with `BENCH_RECORD` set to a date, keeps it with its conditions under
    /// `fixtures/baselines/<date>-<name>.json`. A name is that of the benchmark, or `BENCHMARK/PART`.
    ///
    /// # Panics
    /// The record cannot be written.
    pub fn report(&self, name: &str, what: &str, unit: &str, amount: f64) {
        println!("{what}\n{}", self.table(unit, amount));
        self.record(name, what, &json!({"value": amount, "unit": unit.trim_end_matches("/s")}));
    }

    /// The same for costs; a ratio above one says that the first candidate cost less.
    ///
    /// # Panics
    /// The record cannot be written.
    pub fn report_costs(&self, name: &str, what: &str, unit: &str, per_second: f64) {
        println!("{what}\n{}", self.costs(unit, per_second));
        self.record(name, what, &json!({"value": 1.0 / per_second, "unit": format!("s a {unit}")}));
    }

    fn record(&self, name: &str, what: &str, amount: &Value) {
        let Ok(date) = std::env::var("BENCH_RECORD") else { return };
        let ratios = self.ratios().into_iter().map(|(name, ratios)| {
            let (low, median, high) = spread(&ratios);
            (name.to_owned(), json!({"median": median, "min": low, "max": high, "n": ratios.len()}))
        });
        let seconds: serde_json::Map<String, Value> =
            self.0.iter().map(|(name, seconds)| ((*name).to_owned(), json!(seconds))).collect();
        let bench = name.split('/').next().unwrap_or(name);
        let record = json!({
            "what": what,
            "command": format!("cargo bench -p e2e --bench {bench}"),
            "amount": amount,
            "seconds": seconds,
            "ratios_of_first": ratios.collect::<serde_json::Map<_, _>>(),
            "conditions": conditions(),
        });
        let folder = binary::root().join("fixtures/baselines");
        std::fs::create_dir_all(&folder).expect("the checkout can be written to");
        let path = folder.join(format!("{date}-{}.json", name.replace('/', "-")));
        let text = serde_json::to_string_pretty(&record).expect("plain data") + "\n";
        std::fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

/// Least, median, greatest.
fn spread(values: &[f64]) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2.0;
    (sorted[0], middle, sorted[sorted.len() - 1])
}

/// The commit, and `-dirty` where tracked files differ from it.
const GIT_STATE: [&str; 5] = ["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"];

fn conditions() -> Value {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    json!({
        "commit": output(Command::new("git").args(GIT_STATE).current_dir(binary::root())),
        "kernel": output(Command::new("uname").arg("-r")),
        "cpu": cpu.map(|(_, model)| model),
        "cpus": cpus,
        "profile": binary::directory().file_name().map(|profile| profile.to_string_lossy()),
    })
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// `quick` with `BENCH_QUICK` set: enough to show that a measurement still works.
pub fn size<T>(full: T, quick: T) -> T {
    if std::env::var_os("BENCH_QUICK").is_some() { quick } else { full }
}

/// Path of a scratch folder in memory, where the machine has one.
pub fn memory_folder() -> PathBuf {
    let shared = PathBuf::from("/dev/shm");
    if shared.is_dir() { shared } else { std::env::temp_dir() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_pair_by_pair() {
        let samples = Samples(vec![("ours", vec![1.0, 2.0, 4.0]), ("theirs", vec![2.0, 4.0, 4.0])]);
        assert_eq!(samples.ratios(), [("theirs", vec![2.0, 2.0, 1.0])]);
        assert!(samples.table("GB/s", 8.0).contains("ours / theirs: 2.00×  (1.00–2.00, n = 3)"));
    }

    #[test]
    fn costs_are_taken_in_turns_without_the_warm_up() {
        let mut turn = 0.0;
        let [wall, cpu] = interleave_costs(2, &[("ours", 1.0), ("theirs", 2.0)], |factor| {
            turn += 1.0;
            [turn, factor * turn]
        });
        assert_eq!(wall.0, [("ours", vec![3.0, 5.0]), ("theirs", vec![4.0, 6.0])]);
        assert_eq!(cpu.0, [("ours", vec![3.0, 5.0]), ("theirs", vec![8.0, 12.0])]);
        assert!(cpu.costs("ms", 1000.0).contains("ours / theirs: 2.53×  (2.40–2.67, n = 2)"));
    }

    #[test]
    fn candidates_take_turns_after_one_warm_up() {
        let order = std::cell::RefCell::new(Vec::new());
        let candidate = |name| {
            let order = &order;
            Candidate::new(name, move || {
                order.borrow_mut().push(name);
                1.0
            })
        };
        interleave(2, vec![candidate("a"), candidate("b")]);
        assert_eq!(*order.borrow(), ["a", "b", "a", "b", "a", "b"]);
    }
}
