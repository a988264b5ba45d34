//! The OCI conformance suite against mockreg: nothing fails, nothing is skipped, and what is left out is exactly what
//! the suite's own defaults leave out.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

use e2e::binary;
use e2e::conformance::{self, Counts};
use e2e::program::trial;
use libtest_mimic::Arguments;
use mockreg::policy::Policy;
use mockreg::{Auth, Registry, Tls, Users};

/// A configuration of the suite.
struct Configuration {
    name: &'static str,
    version: &'static str,
    /// A checked-in file beside the variables, under the root of the workspace.
    file: Option<&'static str>,
    /// Whether manifests are pushed whose parts were not.
    sparse: bool,
    /// Checks, APIs and data sets that it leaves out.
    disabled: &'static [&'static str],
    /// Checks that passed when first none failed and none was skipped. The suite draws nothing at random that changes
    /// their number, so fewer means that something is no longer checked.
    least: u32,
}

const CONFIGURATIONS: [Configuration; 3] = [
    Configuration {
        name: "1.1",
        version: "1.1",
        file: None,
        sparse: false,
        disabled: &[
            "Blob upload cancel",
            "Manifest put with tag params",
            "Sparse Manifests",
            "Tag Param",
            "Tag Param sha512",
            "sha256 blobs/post cancel/blob-post-cancel",
            "sha512 blobs/post cancel/blob-post-cancel",
        ],
        least: 860,
    },
    Configuration {
        name: "dev",
        version: "dev",
        file: None,
        sparse: false,
        disabled: &["Sparse Manifests"],
        least: 986,
    },
    Configuration {
        name: "everything",
        version: "dev",
        file: Some("fixtures/conformance/everything.yaml"),
        sparse: true,
        disabled: &[],
        least: 1032,
    },
];

/// How the suite gets in.
#[derive(Clone, Copy)]
struct Door {
    name: &'static str,
    tls: bool,
    login: Option<fn(Users) -> Auth>,
}

const USER: &str = "alice";
const PASSWORD: &str = "opensesame";

const DOORS: [Door; 6] = [
    Door { name: "none/plain", tls: false, login: None },
    Door { name: "none/tls", tls: true, login: None },
    Door { name: "basic/plain", tls: false, login: Some(Auth::basic) },
    Door { name: "basic/tls", tls: true, login: Some(Auth::basic) },
    Door { name: "bearer/plain", tls: false, login: Some(Auth::bearer) },
    Door { name: "bearer/tls", tls: true, login: Some(Auth::bearer) },
];

fn main() -> ExitCode {
    let mut trials = Vec::new();
    // Where time is short, one way in shows the protocol.
    let doors = if std::env::var_os("STORMYARD_QUICK").is_some() { &DOORS[..1] } else { &DOORS };
    for configuration in &CONFIGURATIONS {
        for &door in doors {
            let name = format!("conformance/{}/{}", configuration.name, door.name);
            trials.push(trial(&name, &["conformance"], move || conforms(configuration, door)));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn conforms(configuration: &Configuration, door: Door) {
    let policy = Policy { allow_missing_content: configuration.sparse, ..Policy::default() };
    let mut builder = Registry::builder().policy(policy);
    if let Some(login) = door.login {
        builder = builder.auth(login([(USER, PASSWORD)].into()));
    }
    let folder = tempfile::tempdir().expect("room for a certificate");
    if door.tls {
        builder = builder.tls(Tls::auto(folder.path()));
    }
    let registry = builder.start().expect("ports are free");
    let address = registry.registry_addr().to_string();
    let file = configuration.file.map(|file| binary::root().join(file));
    let mut settings = vec![
        ("OCI_VERSION", configuration.version),
        ("OCI_REGISTRY", &address),
        ("OCI_TLS", if door.tls { "enabled" } else { "disabled" }),
        ("OCI_REPO1", "conformance/first"),
        ("OCI_REPO2", "conformance/second"),
    ];
    let ca = folder.path().join("ca.pem");
    if door.tls {
        settings.push(("SSL_CERT_FILE", ca.to_str().expect("scratch folders are UTF-8")));
    }
    if door.login.is_some() {
        settings.extend([("OCI_USERNAME", USER), ("OCI_PASSWORD", PASSWORD)]);
    }
    let file = file.as_deref().and_then(Path::to_str);
    settings.extend(file.map(|file| ("OCI_CONFIGURATION", file)));
    let outcome = conformance::run(&settings);
    println!("conformance/{}/{}: {}", configuration.name, door.name, outcome.counts);
    let Counts { passed, failed, errors, skipped, .. } = outcome.counts;
    assert_eq!((failed, errors, skipped), (0, 0, 0), "{}", outcome.trouble.join("\n"));
    let disabled: BTreeSet<String> = configuration.disabled.iter().map(|&name| name.to_owned()).collect();
    assert_eq!(outcome.disabled, disabled, "left out");
    assert!(passed >= configuration.least, "{passed} passed, {} did before", configuration.least);
}
