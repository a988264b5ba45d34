//! Our own programs, built once: from `E2E_BIN_DIR`, or by cargo, in release mode for tests and as they are shipped for
//! measurements.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Path of one of our programs: `mockreg`, `chaosproxy` or `loadgen`.
///
/// # Panics
/// It cannot be built, or is not in `E2E_BIN_DIR`.
pub fn path(name: &str) -> PathBuf {
    let path = directory().join(name);
    assert!(path.exists(), "{} does not exist; build it, or unset E2E_BIN_DIR", path.display());
    path
}

/// Where they are; the last part of it is the profile that cargo built them with.
///
/// # Panics
/// They cannot be built.
pub fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| match std::env::var_os("E2E_BIN_DIR") {
        Some(directory) => root().join(directory),
        None => build(),
    })
}

/// Root of the workspace.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package lies in a folder of the workspace")
}

fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["--locked", "-p", "mockreg", "-p", "chaosproxy", "-p", "loadgen"];
    let mut command = Command::new(cargo);
    let status = command.args(["build", "--profile", PROFILE]).args(arguments).current_dir(root()).status();
    assert!(status.is_ok_and(|status| status.success()), "our programs do not build");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join(PROFILE)
}

/// Measurements are built without debug assertions, tests with them.
const PROFILE: &str = if cfg!(debug_assertions) { "release" } else { "dist" };
