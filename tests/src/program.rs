//! Other people's programs: whether they are here, what that means for a test, and how they are run.

use std::path::PathBuf;
use std::process::{Command, Output};

use libtest_mimic::{Failed, Trial};

use crate::binary;

/// Least version of Go that builds what `.ci/go-programs` lists.
const GO: (u32, u32) = (1, 24);

/// Where a program is, if it is installed: on the path, in the folders of the system's own programs, or where
/// `go install` puts its own.
pub fn find(name: &str) -> Option<PathBuf> {
    let on_path = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join("go/bin"));
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let built = binary::root().join("target/go-bin");
    let mut folders = on_path.into_iter().flatten().chain(system).chain([built]).chain(home);
    folders.find_map(|folder| Some(folder.join(name)).filter(|path| path.is_file()))
}

/// A command of an installed program.
///
/// # Panics
/// It is not installed; a trial says beforehand what it needs.
pub fn command(name: &str) -> Command {
    Command::new(find(name).unwrap_or_else(|| panic!("{name} is not installed")))
}

/// A test that needs `programs`. Where one is missing it is ignored, with the reason in its name; with `CI=true` it
/// fails, because CI installs what `.ci/programs` and, beside a Go that is new enough, `.ci/go-programs` list.
pub fn trial(name: &str, programs: &[&str], test: impl FnOnce() + Send + 'static) -> Trial {
    let missing: Vec<&str> = programs.iter().copied().filter(|program| find(program).is_none()).collect();
    if missing.is_empty() {
        return Trial::test(name, move || {
            test();
            Ok(())
        });
    }
    let reason = format!("needs {}", missing.join(", "));
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    if ci && missing.iter().any(|program| promised(program)) {
        let reason = format!("{name} ({reason})");
        return Trial::test(reason.clone(), move || Err(Failed::from(format!("CI must have it: {reason}"))));
    }
    ignored(name, &reason)
}

/// A test that is not run, with the reason in its name.
pub fn ignored(name: &str, reason: &str) -> Trial {
    Trial::test(format!("{name} ({reason})"), || Ok(())).with_ignored_flag(true)
}

/// Whether CI installs the program.
fn promised(program: &str) -> bool {
    let debian = include_str!("../../.ci/programs");
    let go = include_str!("../../.ci/go-programs");
    let listed = |list: &str| {
        let lines = list.lines().filter(|line| !line.starts_with('#'));
        lines.flat_map(|line| line.split_whitespace().skip(1)).any(|word| word == program)
    };
    listed(debian) || listed(go) && go_version().is_some_and(|version| version >= GO)
}

/// Version of the Go that is installed, if any.
fn go_version() -> Option<(u32, u32)> {
    let output = Command::new(find("go")?).args(["env", "GOVERSION"]).output().ok()?;
    parse_go_version(&String::from_utf8_lossy(&output.stdout))
}

fn parse_go_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim().strip_prefix("go")?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Runs a command to its end and returns what it printed.
///
/// # Panics
/// It cannot be started or fails.
pub fn succeed(command: &mut Command) -> String {
    String::from_utf8_lossy(&succeed_with_bytes(command)).into_owned()
}

/// Runs a command to its end and returns the bytes it wrote to standard output.
///
/// # Panics
/// It cannot be started or fails.
pub fn succeed_with_bytes(command: &mut Command) -> Vec<u8> {
    let output = run(command);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    output.stdout
}

/// Runs a command to its end.
///
/// # Panics
/// It cannot be started.
pub fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_versions_are_compared_by_number() {
        assert_eq!(parse_go_version("go1.26.8\n"), Some((1, 26)));
        assert_eq!(parse_go_version("go1.19"), Some((1, 19)));
        assert_eq!(parse_go_version("devel"), None);
    }

    #[test]
    fn ci_promises_the_programs_of_its_lists_and_no_packages() {
        for program in ["skopeo", "dockerd", "nginx"] {
            assert!(promised(program), "{program}");
        }
        for word in ["nginx-light", "docker.io", "no-such-program", "#"] {
            assert!(!promised(word), "{word}");
        }
    }
}
