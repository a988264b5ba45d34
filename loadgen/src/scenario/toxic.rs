//! Which toxics a scenario may use. The proxy's API is lenient, as its model's is: there, a misspelt attribute is
//! ignored and a fault silently missing. A scenario is checked before anything starts.

use mockreg_proto::document::nearest;

use super::Toxic;

/// Types of toxic and their attributes.
const KNOWN: &[(&str, &[&str])] = &[
    ("latency", &["latency", "jitter", "distribution", "file"]),
    ("bandwidth", &["rate", "burst", "shared"]),
    ("slow_close", &["delay"]),
    ("timeout", &["timeout"]),
    ("reset_peer", &["timeout"]),
    ("slicer", &["average_size", "size_variation", "delay"]),
    ("limit_data", &["bytes"]),
    ("cut", &["offset", "mean_bytes", "action"]),
    ("corrupt", &["offset", "mean_bytes", "bits"]),
    ("stall", &["bytes"]),
    ("noop", &[]),
];

/// What is wrong with a toxic, and what would be right.
pub(super) fn check(toxic: &Toxic) -> Result<(), String> {
    let Some((_, attributes)) = KNOWN.iter().find(|(kind, _)| *kind == toxic.kind) else {
        let kinds: Vec<&str> = KNOWN.iter().map(|(kind, _)| *kind).collect();
        return Err(unknown("type", &toxic.kind, &kinds));
    };
    if let Some(other) = toxic.attributes.keys().find(|key| !attributes.contains(&key.as_str())) {
        return Err(unknown("attribute", other, attributes));
    }
    if !["upstream", "downstream"].contains(&toxic.stream.as_str()) {
        return Err(unknown("stream", &toxic.stream, &["upstream", "downstream"]));
    }
    if !(0.0..=1.0).contains(&toxic.toxicity) {
        return Err(format!("toxicity {} is not between 0 and 1", toxic.toxicity));
    }
    Ok(())
}

fn unknown(what: &str, given: &str, known: &[&str]) -> String {
    match nearest(given, known.iter().copied()) {
        Some(near) => format!("unknown {what} `{given}`; did you mean `{near}`?"),
        None => format!("unknown {what} `{given}`; known are {}", known.join(", ")),
    }
}
