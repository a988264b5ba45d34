//! The guide for those who come from Toxiproxy has every difference that the tests know, in the words they have it in.

use std::collections::BTreeMap;

use crate::script::Script;
use crate::transfers;

pub(crate) fn compare() {
    let path = e2e::binary::root().join("docs/toxiproxy.md");
    let guide = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let script = Script::read(crate::api::RECORD);
    let mut rows: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
    for (name, reason) in &script.reasons {
        rows.insert(name, (&reason.why, if reason.undone_by_strict { "yes" } else { "no" }));
    }
    let mut missing = Vec::new();
    for (why, undone) in rows.values() {
        let row = format!("| {why} | {undone} |");
        if !guide.contains(&row) {
            missing.push(row);
        }
    }
    for (why, undone) in transfers::reasons().values() {
        let row = format!("| {why} | {} |", if *undone { "yes" } else { "no" });
        if !guide.contains(&row) {
            missing.push(row);
        }
    }
    assert!(missing.is_empty(), "{} lacks\n{}", path.display(), missing.join("\n"));
}
