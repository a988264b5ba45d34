//! The server's flags beside those of the real one: what each takes, and what it refuses. `-version` stands before each
//! line, so that neither starts a server and both have to read the rest.

use std::process::Command;

use e2e::binary;
use e2e::program::{command, run};

/// What follows `-version`.
const LINES: &[&str] = &[
    "",
    "-host x",
    "--host x",
    "-host=x",
    "--host=",
    "-host",
    "-host x -host y",
    "-port 1 -port=2 --port 3",
    "-config=-x",
    "-proxy-metrics -runtime-metrics",
    "-proxy-metrics=1 -proxy-metrics=0",
    "-proxy-metrics=t -proxy-metrics=f",
    "-proxy-metrics=T -proxy-metrics=F",
    "-proxy-metrics=true -proxy-metrics=false",
    "-proxy-metrics=TRUE -proxy-metrics=FALSE",
    "-runtime-metrics=True -runtime-metrics=False",
    "-proxy-metrics=tRUE",
    "-proxy-metrics=yes",
    "-proxy-metrics=2",
    "-proxy-metrics=",
    "-version=T",
    "-seed 7",
    "-seed -7",
    "-seed=+7",
    "-seed 0x10",
    "-seed -0X1f",
    "-seed 0o17",
    "-seed 017",
    "-seed 08",
    "-seed 0b101",
    "-seed 0b2",
    "-seed 0",
    "-seed 00",
    "-seed 1_000",
    "-seed 0x_ff",
    "-seed 0_7",
    "-seed 1__0",
    "-seed _1",
    "-seed 1_",
    "-seed 0_",
    "-seed 0x",
    "-seed 0x-1",
    "-seed --1",
    "-seed 1e3",
    "-seed ff",
    "-seed=",
    "-seed 9223372036854775807",
    "-seed -9223372036854775808",
    "-seed 9223372036854775808",
    "-unknown",
    "-help",
    "-h",
    "--",
];

/// The same, where ours refuses what the reference takes; `docs/toxiproxy.md` says why.
const REFUSED: &[&str] = &["word", "-proxy-metrics true", "-- word", "-port http", "-port=", "-config -x"];

fn code(mut program: Command, line: &str) -> Option<i32> {
    run(program.arg("-version").args(line.split_whitespace())).status.code()
}

pub(crate) fn compare() {
    let mut mismatches = Vec::new();
    for line in LINES.iter().chain(REFUSED) {
        let real = code(command("toxiproxy-server"), line);
        let ours = code(Command::new(binary::path("chaosproxy")), line);
        let wanted = if REFUSED.contains(line) { (Some(0), Some(2)) } else { (real, real) };
        if (real, ours) != wanted {
            mismatches.push(format!("{line}: the real one returns {real:?}, ours {ours:?}"));
        }
    }
    assert!(mismatches.is_empty(), "{}", mismatches.join("\n"));
}
