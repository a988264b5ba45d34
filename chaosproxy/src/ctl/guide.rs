//! What the help of `toxic` teaches: every type of toxic, its attributes with their units, and how they are used.

use std::fmt::Write as _;

/// A type of toxic: its name, what it does, and its attributes with their units.
type Line = (&'static str, &'static str, &'static str);

const STREAMS: &[Line] = &[
    (
        "latency",
        "data comes later, in order",
        "latency=MS jitter=MS distribution=uniform|normal|pareto|lognormal file=PATH",
    ),
    ("bandwidth", "a slow link; KB are 1000 bytes, 0 stalls", "rate=KB/S burst=BYTES shared=true|false"),
    ("slow_close", "only the end comes later", "delay=MS"),
    ("timeout", "all data vanishes, and the connection closes after so long; 0: never", "timeout=MS"),
    ("reset_peer", "a reset, so long after the first data", "timeout=MS"),
    (
        "slicer",
        "data in small pieces with pauses",
        "average_size=BYTES size_variation=BYTES delay=MICROSECONDS",
    ),
    ("limit_data", "the connection closes after so many bytes", "bytes=BYTES"),
    (
        "cut",
        "the connection breaks after so many bytes, or a seeded number of them",
        "offset=BYTES or mean_bytes=BYTES; action=reset|stall|close",
    ),
    (
        "corrupt",
        "flips bits of one byte, or at a seeded rate",
        "offset=BYTES or mean_bytes=BYTES; bits=1 to 8",
    ),
    ("stall", "one direction stops after so many bytes, the other goes on", "bytes=BYTES"),
    ("noop", "nothing", "none"),
];

const DATAGRAMS: &[Line] = &[
    ("packet_loss", "a share is lost", "loss_rate=SHARE correlation=SHARE"),
    ("duplicate", "a share goes twice", "rate=SHARE correlation=SHARE"),
    (
        "reorder",
        "all are delayed but a share, which overtakes",
        "rate=SHARE correlation=SHARE gap=NUMBER delay=MS",
    ),
];

/// All types of toxics.
pub(super) fn types() -> String {
    let mut text =
        String::from("Types of toxics and their attributes, whole numbers where nothing else is said:\n");
    add(&mut text, STREAMS);
    text += "\nOn proxies of datagrams (udp://) only; shares are from 0 to 1:\n";
    add(&mut text, DATAGRAMS);
    text
}

/// All types of toxics, and how they are added, changed and removed by the program of that name.
pub(super) fn toxics(program: &str) -> String {
    format!(
        "{}\nExamples:\n  \
         {program} toxic add -t latency -n slow -a latency=100 -a jitter=50 registry\n  \
         {program} toxic add -t bandwidth --upstream --toxicity 0.5 -a rate=1000 registry\n  \
         {program} toxic add -t cut -a mean_bytes=5000000 --only source=10.0.0.0/8 registry\n  \
         {program} toxic update -n slow -a latency=5,jitter=3 registry\n  \
         {program} toxic remove -n slow registry",
        types()
    )
}

fn add(text: &mut String, lines: &[Line]) {
    for (name, effect, attributes) in lines {
        let column = "";
        writeln!(text, "  {name:11} {effect}\n  {column:11}   {attributes}")
            .expect("a string takes everything");
    }
}

#[cfg(test)]
mod tests {
    use chaosproxy_path::Attributes;

    use super::*;

    /// Attributes that are texts, and one that is true or false.
    const WORDS: [&str; 4] = ["distribution", "file", "shared", "action"];

    #[test]
    fn every_type_and_every_attribute_is_one() {
        for (name, _, attributes) in STREAMS.iter().chain(DATAGRAMS) {
            let mut toxic = Attributes::defaults(name).unwrap_or_else(|| panic!("{name} is a toxic"));
            for (attribute, _) in attributes.split(' ').filter_map(|word| word.split_once('=')) {
                let is_known = toxic.number_mut(attribute).is_some()
                    || toxic.share_mut(attribute).is_some()
                    || WORDS.contains(&attribute);
                assert!(is_known, "{attribute} of {name}");
            }
        }
    }

    #[test]
    fn every_toxic_of_the_documentation_is_there() {
        let documented =
            include_str!("../../../docs/toxics.md").split("## Selecting connections").next().unwrap();
        let rows = documented.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
        let kinds: Vec<&str> =
            rows.map(|(name, _)| name).filter(|name| Attributes::defaults(name).is_some()).collect();
        assert!(kinds.len() >= 14, "{kinds:?}");
        for kind in kinds {
            assert!(types().contains(&format!("\n  {kind} ")), "{kind}");
        }
    }

    #[test]
    fn it_fits_a_terminal() {
        for line in toxics("chaosproxy ctl").lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }
}
