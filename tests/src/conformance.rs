//! The OCI conformance suite as a process, and what it says. It exits with 0 where its own configuration is wrong, so
//! the exit code is not asked: the counts come from what it prints at the end, what was disabled from there and from
//! `results.yaml`, and where either is missing the run has failed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use crate::program;

/// Checks by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// As the specification has it.
    pub passed: u32,
    /// Against the specification.
    pub failed: u32,
    /// The suite itself could not go on.
    pub errors: u32,
    /// The registry said that it has no such feature.
    pub skipped: u32,
    /// Left out by the configuration.
    pub disabled: u32,
}

/// What a run of the suite has found.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How many checks ended how.
    pub counts: Counts,
    /// Checks, APIs and data sets that the configuration left out.
    pub disabled: BTreeSet<String>,
    /// Checks that failed or were skipped, each with what the suite says about it.
    pub trouble: Vec<String>,
}

/// The part of `results.yaml` that is read.
#[derive(Debug, Deserialize)]
struct Results {
    apis: BTreeMap<String, String>,
    data: BTreeMap<String, String>,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { passed, failed, errors, skipped, disabled } = self;
        write!(f, "{passed} passed, {failed} failed, {errors} errors, {skipped} skipped, {disabled} disabled")
    }
}

/// Runs the suite with `settings` (`OCI_…` variables) and reads its report.
///
/// # Panics
/// The suite is not installed, or wrote no report: then its configuration was wrong, and what it said is shown.
pub fn run(settings: &[(&str, &str)]) -> Outcome {
    let folder = tempfile::tempdir().expect("room for reports");
    let mut command = program::command("conformance");
    // Its own default file would be found in the folder it is started in.
    command.current_dir(folder.path()).env("OCI_RESULTS_DIR", folder.path());
    for (name, value) in settings {
        command.env(name, value);
    }
    read(&mut command, folder.path())
}

fn read(command: &mut Command, folder: &Path) -> Outcome {
    let output = program::run(command);
    let printed = String::from_utf8_lossy(&output.stdout);
    let report = |name: &str| {
        std::fs::read_to_string(folder.join(name)).unwrap_or_else(|error| {
            panic!("no {name} ({error}): {printed}{}", String::from_utf8_lossy(&output.stderr))
        })
    };
    let results = report("results.yaml");
    let results: Results = serde_saphyr::from_str(&results).expect("results.yaml has APIs and data sets");
    let disabled_sets = results.apis.iter().chain(&results.data).filter(|(_, status)| *status == "Disabled");
    let disabled_checks = printed.lines().filter_map(|line| Some(short(line.strip_suffix(": Disabled")?)));
    Outcome {
        counts: counts(&printed),
        disabled: disabled_sets
            .map(|(name, _)| name.clone())
            .chain(disabled_checks.map(str::to_owned))
            .collect(),
        trouble: trouble(&printed),
    }
}

/// The name of a check without what all have in front.
fn short(line: &str) -> &str {
    let name = line.trim();
    name.strip_prefix("OCI Conformance Test/").unwrap_or(name)
}

/// The summary, a line for each way to end: `  Skip..........................:          4`.
fn counts(printed: &str) -> Counts {
    let count = |status: &str| -> u32 {
        let of = |line: &str| {
            line.trim().strip_prefix(status)?.trim_start_matches('.').strip_prefix(':')?.trim().parse().ok()
        };
        printed.lines().find_map(of).unwrap_or_else(|| panic!("no count of {status} in {printed}"))
    };
    Counts {
        passed: count("Pass"),
        failed: count("FAIL"),
        errors: count("Error"),
        skipped: count("Skip"),
        disabled: count("Disabled"),
    }
}

/// Of each check that did not pass, its line and the lines of explanation below it. Checks above others carry no
/// explanation of their own and are left out.
fn trouble(printed: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = printed.lines().take_while(|line| !line.starts_with("Configuration:")).peekable();
    while let Some(line) = lines.next() {
        if ![": FAIL", ": Skip", ": Error"].iter().any(|end| line.ends_with(end)) {
            continue;
        }
        let mut text = short(line).to_owned();
        let mut explained = false;
        while let Some(reason) = lines.next_if(|line| line.trim_start().starts_with("- ")) {
            text.push_str("\n    ");
            text.push_str(reason.trim());
            explained = true;
        }
        if explained {
            found.push(text);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_come_from_the_summary() {
        let printed = "x: Skip\nOCI Conformance Result: FAIL\n  Disabled......................:          2\n  \
                       Skip..........................:        324\n  Pass..........................:          3\n  \
                       FAIL..........................:          1\n  Error.........................:          0\n";
        let wanted = Counts { passed: 3, failed: 1, errors: 0, skipped: 324, disabled: 2 };
        assert_eq!(counts(printed), wanted);
        assert_eq!(wanted.to_string(), "3 passed, 1 failed, 0 errors, 324 skipped, 2 disabled");
    }

    #[test]
    fn trouble_is_named_with_its_reason() {
        let printed = "Test results\nOCI Conformance Test: FAIL\n  OCI Conformance Test/ping: Pass\n  \
                       OCI Conformance Test/tags: FAIL\n    \
                       OCI Conformance Test/tags/list: FAIL\n     - status 500\n    \
                       OCI Conformance Test/tags/delete: Skip\n     - 405\n\nConfiguration:\n  x: FAIL\n   - no\n";
        assert_eq!(trouble(printed), ["tags/list: FAIL\n    - status 500", "tags/delete: Skip\n    - 405"]);
    }
}
