//! What the workspace may be built from: the pure crates stay pure, licences stay permissive, dead and unwanted crates
//! stay out. Reads `cargo metadata`, so that it needs no further tool; `deny.toml` says the same to cargo-deny.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Direct dependencies that a pure crate may have, tests apart: data structures and arithmetic, nothing that could
/// reach a clock, a socket, a file or entropy.
const PURE: &[(&str, &[&str])] = &[
    ("mockreg-proto", &["base64", "schemars", "serde", "serde-saphyr", "sha2", "strsim", "thiserror"]),
    (
        "mockreg-synth",
        &[
            "bytes",
            "crc32fast",
            "libm",
            "mockreg-proto",
            "oci-spec",
            "rand_chacha",
            "schemars",
            "serde",
            "serde_json",
            "sha2",
            "thiserror",
        ],
    ),
    ("chaosproxy-path", &["bytes", "mockreg-proto", "rand_chacha", "rand_distr", "serde", "thiserror"]),
    ("loadgen-stats", &["hdrhistogram", "serde", "thiserror"]),
];

/// Which of our crates may depend on which: arrows point one way.
const ARROWS: &[(&str, &[&str])] = &[
    ("stormyard-process", &[]),
    ("mockreg-proto", &[]),
    ("mockreg-synth", &["mockreg-proto"]),
    ("chaosproxy-path", &["mockreg-proto"]),
    ("loadgen-stats", &[]),
    ("mockreg", &["mockreg-proto", "mockreg-synth", "stormyard-process"]),
    ("chaosproxy", &["chaosproxy-path", "mockreg-proto", "stormyard-process"]),
    (
        "loadgen",
        &["chaosproxy", "loadgen-stats", "mockreg", "mockreg-proto", "mockreg-synth", "stormyard-process"],
    ),
];

const LICENCES: &[&str] = &[
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "MIT",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Unicode-3.0",
    "Zlib",
    "MPL-2.0",
    "CC0-1.0",
    "0BSD",
    "Unlicense",
    "BSL-1.0",
];

const BANNED: &[(&str, &str)] = &[
    ("openssl-sys", "TLS is rustls"),
    ("native-tls", "TLS is rustls"),
    ("serde_yaml", "no longer maintained"),
    ("serde_yml", "unsound and archived"),
    ("backoff", "no longer maintained"),
];

fn metadata() -> Value {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let arguments =
        ["metadata", "--format-version", "1", "--locked", "--filter-platform", "x86_64-unknown-linux-gnu"];
    let output = Command::new(cargo).args(arguments).current_dir(e2e::binary::root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn packages(metadata: &Value) -> &[Value] {
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 50, "the dependency tree was not read");
    packages
}

/// Normal dependencies of each workspace member.
fn members(metadata: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let own = packages(metadata).iter().filter(|package| package["source"].is_null());
    own.map(|package| {
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        let normal = dependencies.filter(|dependency| dependency["kind"].is_null());
        let names = normal.map(|dependency| dependency["name"].as_str().unwrap().to_owned());
        (package["name"].as_str().unwrap().to_owned(), names.collect())
    })
    .collect()
}

#[test]
fn pure_crates_depend_on_nothing_impure() {
    let members = members(&metadata());
    for (name, allowed) in PURE {
        let extra: Vec<&String> = members[*name].iter().filter(|d| !allowed.contains(&d.as_str())).collect();
        assert!(extra.is_empty(), "{name} must not depend on {extra:?}");
    }
}

#[test]
fn arrows_between_our_crates_point_one_way() {
    let members = members(&metadata());
    for (name, allowed) in ARROWS {
        let own = members[*name].iter().filter(|dependency| members.contains_key(*dependency));
        let extra: Vec<&String> = own.filter(|dependency| !allowed.contains(&dependency.as_str())).collect();
        assert!(extra.is_empty(), "{name} must not depend on {extra:?}");
    }
}

#[test]
fn pure_crates_switch_the_bans_on() {
    for (folder, _) in
        [("mockreg/proto", ()), ("mockreg/synth", ()), ("chaosproxy/path", ()), ("loadgen/stats", ())]
    {
        let path = e2e::binary::root().join(folder).join("src/lib.rs");
        let text = std::fs::read_to_string(&path).unwrap();
        let switch = "#![deny(clippy::disallowed_methods, clippy::disallowed_types)]";
        assert!(text.contains(switch), "{} does not switch the bans of clippy.toml on", path.display());
    }
}

#[test]
fn licences_are_permissive() {
    let metadata = metadata();
    let refused = packages(&metadata).iter().filter_map(|package| {
        let licence = package["license"].as_str().unwrap_or("none given");
        (!permitted(licence)).then(|| format!("{}: {licence}", package["name"].as_str().unwrap()))
    });
    let refused: Vec<String> = refused.collect();
    assert!(refused.is_empty(), "licences that are not in the list: {refused:#?}");
}

/// An SPDX expression without nesting beyond one pair of parentheses: one side of each OR and all of each AND.
fn permitted(expression: &str) -> bool {
    let flat = expression.replace('/', " OR ").replace(['(', ')'], "");
    flat.split(" AND ").all(|part| part.split(" OR ").any(|licence| LICENCES.contains(&licence.trim())))
}

#[test]
fn expressions_are_read_as_spdx_means_them() {
    assert!(permitted("MIT OR GPL-3.0"));
    assert!(permitted("(MIT OR Apache-2.0) AND Unicode-3.0"));
    assert!(permitted("MIT/Apache-2.0"));
    assert!(!permitted("GPL-3.0"));
    assert!(!permitted("MIT AND GPL-3.0"));
}

#[test]
fn banned_crates_stay_out() {
    let metadata = metadata();
    for package in packages(&metadata) {
        let name = package["name"].as_str().unwrap();
        let banned = BANNED.iter().find(|(banned, _)| *banned == name);
        assert!(banned.is_none(), "{name} is in the tree: {}", banned.unwrap().1);
    }
}
