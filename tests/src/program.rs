//! Other people's programs: whether they are here, and what that means for a test.

use std::path::PathBuf;
use std::process::{Command, Output};

use libtest_mimic::{Failed, Trial};

/// Where a program is, if it is installed.
pub fn find(name: &str) -> Option<PathBuf> {
    let folders = std::env::split_paths(&std::env::var_os("PATH")?).collect::<Vec<_>>();
    let extra = ["/usr/sbin", "/sbin", "/root/go/bin"].map(PathBuf::from);
    folders.into_iter().chain(extra).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// A test that needs `programs`. Where one is missing it is ignored, with the reason in its name; with `CI=true` it
/// fails, because CI installs what `.ci/programs` lists.
pub fn trial(name: &str, programs: &[&str], test: impl FnOnce() + Send + 'static) -> Trial {
    let missing: Vec<&str> = programs.iter().copied().filter(|program| find(program).is_none()).collect();
    if missing.is_empty() {
        return Trial::test(name, move || {
            test();
            Ok(())
        });
    }
    let reason = format!("{name} (needs {})", missing.join(", "));
    let listed = include_str!("../../.ci/programs");
    let promised = missing
        .iter()
        .any(|program| listed.lines().any(|line| line.split_whitespace().any(|w| w == *program)));
    if std::env::var("CI").is_ok_and(|ci| ci == "true") && promised {
        return Trial::test(reason.clone(), move || Err(Failed::from(format!("CI must have it: {reason}"))));
    }
    Trial::test(reason, || Ok(())).with_ignored_flag(true)
}

/// Runs a command to its end and returns what it printed.
///
/// # Panics
/// It cannot be started or fails.
pub fn succeed(command: &mut Command) -> String {
    let output = run(command);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// Runs a command to its end.
///
/// # Panics
/// It cannot be started.
pub fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}
