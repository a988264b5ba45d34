//! How an assertion that does not hold is told: what was wanted, and the lines that matter, short enough to read.

use std::fmt::Write as _;

use mockreg_proto::journal::Record;

/// Lines shown; a test that fails with thousands is not read to the end.
const SHOWN: usize = 20;
/// Characters of a reference shown: enough of a digest to tell it from others.
const REFERENCE: usize = 23;

/// Panics with `what` and the lines.
#[track_caller]
pub(super) fn fail(what: &str, records: &[&Record]) -> ! {
    panic!("{what}{}", listed(records));
}

/// The lines, one each, indented.
fn listed(records: &[&Record]) -> String {
    let mut text = if records.is_empty() { "; no line is about it" } else { ":" }.to_owned();
    for record in records.iter().take(SHOWN) {
        write!(text, "\n  {}", line(record)).expect("a string takes everything");
    }
    if records.len() > SHOWN {
        write!(text, "\n  … and {} more", records.len() - SHOWN).expect("a string takes everything");
    }
    text
}

/// `#7 GET a/b blob sha256:0123456789abcdef bytes 0-99 → 206, 100 out, complete (connection 3, attempt 1)`
fn line(record: &Record) -> String {
    let kind = serde_json::to_value(record.kind).expect("a word");
    let mut text = format!("#{} {} {}", record.seq, record.method, record.repository);
    let reference: String = record.reference.chars().take(REFERENCE).collect();
    write!(text, " {} {reference}", kind.as_str().unwrap_or_default()).expect("a string takes everything");
    if let Some([first, last]) = record.range {
        write!(text, " bytes {first}-{last}").expect("a string takes everything");
    }
    let moved = if record.bytes_in > 0 {
        format!("{} in", record.bytes_in)
    } else {
        format!("{} out", record.bytes_out)
    };
    let (status, end, conn, attempt) = (record.status, &record.end, record.conn, record.attempt);
    write!(text, " → {status}, {moved}, {end} (connection {conn}, attempt {attempt})")
        .expect("a string takes everything");
    text
}
