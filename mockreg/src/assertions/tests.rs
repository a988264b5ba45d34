//! Each assertion holds where it should and says what is wrong where it should not.

use std::panic::{AssertUnwindSafe, catch_unwind};

use mockreg_proto::digest::Digest;
use mockreg_proto::journal::Record;
use serde_json::{Value, json};

use super::Journal;

/// A journal of lines that differ from a plain blob download as given; they are numbered from 1.
fn journal(lines: &[Value]) -> Journal {
    let record = |(at, line): (usize, &Value)| -> Record {
        let mut whole = json!({
            "seq": at + 1, "t_ms": 0, "side": "s", "conn": 1, "req": at + 1, "method": "GET", "kind": "blob",
            "repository": "a", "reference": digest(), "range": null, "attempt": 1, "status": 200, "bytes_in": 0,
            "bytes_out": 100, "first_byte_ms": 0, "total_ms": 0, "check": null, "end": "complete",
        });
        for (key, value) in line.as_object().unwrap() {
            whole[key] = value.clone();
        }
        serde_json::from_value(whole).unwrap()
    };
    Journal::of(lines.iter().enumerate().map(record).collect())
}

fn digest() -> Digest {
    Digest::of(b"layer")
}

fn whole() -> Value {
    json!({})
}

fn broken(bytes: u64) -> Value {
    json!({"end": "client_closed", "bytes_out": bytes})
}

fn range(first: u64, last: u64) -> Value {
    json!({"status": 206, "range": [first, last], "bytes_out": last - first + 1})
}

fn upload(method: &str, id: &str, status: u16) -> Value {
    json!({"kind": "upload", "method": method, "reference": id, "status": status, "bytes_out": 0})
}

fn commit(repository: &str, id: &str, check: &str) -> Value {
    json!({
        "kind": "upload",
        "method": if check.is_empty() { "POST" } else { "PUT" },
        "reference": id,
        "status": 201,
        "stored": digest(),
        "check": Some(check).filter(|check| !check.is_empty()),
        "repository": repository,
        "bytes_in": 100,
        "bytes_out": 0,
    })
}

fn manifest(method: &str, status: u16) -> Value {
    json!({"kind": "manifest", "method": method, "reference": "v1", "status": status})
}

fn token(scope: &str) -> Value {
    json!({"kind": "token", "reference": scope, "repository": ""})
}

/// What the assertion says if it does not hold.
fn complaint(assertion: impl FnOnce()) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(assertion)).err()?;
    Some(panic.downcast_ref::<String>().cloned().unwrap_or_default())
}

type Assertion = fn(&Journal);
type Lines = fn() -> Vec<Value>;

/// (assertion, lines of which it holds, lines of which it does not, what it then says)
const CASES: &[(Assertion, Lines, Lines, &str)] = &[
    (
        |j| {
            j.blobs().of(&digest()).fetched_once();
        },
        || vec![whole()],
        || vec![whole(), whole()],
        "fetched 2 times",
    ),
    (
        |j| {
            j.blobs().of(&digest()).fetched_once();
        },
        || vec![broken(40), range(40, 99)],
        Vec::new,
        "no line",
    ),
    (
        |j| {
            j.blobs().of(&digest()).fetched_once();
        },
        || vec![range(50, 99), range(0, 49)],
        || vec![broken(40)],
        "0 times",
    ),
    (
        |j| {
            j.blobs().of(&digest()).fetched(2);
        },
        || vec![whole(), whole()],
        || vec![whole()],
        "not 2",
    ),
    (
        |j| {
            j.blobs().of(&digest()).never_fetched();
        },
        || vec![json!({"method": "HEAD"})],
        || vec![broken(1)],
        "never",
    ),
    (
        |j| {
            j.blobs().of(&digest()).sent(100);
        },
        || vec![range(0, 49), range(50, 99)],
        || vec![broken(40), whole()],
        "140 bytes",
    ),
    (
        |j| {
            j.blobs().of(&digest()).every_byte_sent_once(100);
        },
        || vec![broken(40), range(40, 99)],
        || vec![broken(40), range(30, 99)],
        "10 bytes that were sent more than once",
    ),
    (
        |j| {
            j.blobs().of(&digest()).every_byte_sent_once(100);
        },
        || vec![whole()],
        || vec![range(0, 98)],
        "99 bytes",
    ),
    (
        |j| {
            j.blobs().of(&digest()).resumed();
        },
        || vec![broken(40), range(40, 99)],
        || vec![broken(40), whole()],
        "not resumed",
    ),
    (
        |j| {
            j.blobs().of(&digest()).resumed();
        },
        || vec![broken(40), range(40, 99)],
        || vec![whole()],
        "no download of it broke",
    ),
    (
        |j| {
            j.blobs().none_fetched_twice();
        },
        || vec![broken(40), whole()],
        || vec![whole(), range(0, 99)],
        "2 times, not once",
    ),
    (
        |j| {
            j.blobs().no_byte_sent_twice();
        },
        || vec![broken(40), range(40, 99)],
        || vec![broken(40), whole()],
        "40 bytes of blob",
    ),
    (
        |j| {
            j.blobs().of(&digest()).pushed_once();
        },
        || vec![commit("a", "u", "hash"), commit("b", "", "")],
        || vec![commit("a", "u", "hash"), commit("b", "w", "compare")],
        "pushed 2 times",
    ),
    (
        |j| {
            j.blobs().of(&digest()).mounted("b");
        },
        || vec![commit("b", "", "")],
        || vec![commit("b", "u", "hash")],
        "mounted into b",
    ),
    (
        |j| {
            j.uploads().all_ended();
        },
        || {
            vec![
                upload("POST", "u", 202),
                commit("a", "u", "hash"),
                upload("POST", "v", 202),
                upload("DELETE", "v", 204),
            ]
        },
        || vec![upload("POST", "u", 202), upload("PATCH", "u", 202)],
        "upload u was opened and never ended",
    ),
    (
        |j| {
            j.uploads().none_repeated();
        },
        || vec![commit("a", "u", "hash"), commit("b", "v", "hash")],
        || vec![commit("a", "u", "hash"), commit("a", "v", "hash")],
        "pushed to a 2 times",
    ),
    (
        |j| {
            j.uploads().committed(1);
        },
        || vec![commit("a", "u", "hash")],
        || vec![upload("PUT", "u", 400)],
        "0 blobs",
    ),
    (
        |j| {
            j.tokens().none_asked_twice();
        },
        || vec![token("x"), token("y")],
        || vec![token("x"), token("x")],
        "`x` was asked for 2 times",
    ),
    (
        |j| {
            j.tokens().issued(1);
        },
        || vec![token("x")],
        Vec::new,
        "0 tokens",
    ),
    (
        |j| {
            j.manifests().none_fetched_twice();
        },
        || vec![manifest("GET", 200), manifest("GET", 304)],
        || vec![manifest("GET", 200), manifest("GET", 200)],
        "manifest v1 of a was fetched 2 times",
    ),
    (
        |j| {
            j.manifests().none_pushed_twice();
        },
        || vec![manifest("PUT", 400), manifest("PUT", 201)],
        || vec![manifest("PUT", 201), manifest("PUT", 201)],
        "pushed 2 times",
    ),
    (
        |j| {
            j.manifests().of("a", "v1").fetched_once();
        },
        || vec![manifest("GET", 200)],
        || vec![manifest("GET", 404)],
        "0 times",
    ),
    (
        |j| {
            j.manifests().of("a", "v1").pushed_once();
        },
        || vec![manifest("PUT", 201)],
        || vec![manifest("GET", 200)],
        "0 times",
    ),
    (
        |j| {
            j.all_complete();
        },
        || vec![manifest("GET", 404)],
        || vec![whole(), broken(1)],
        "1 request ended early",
    ),
    (
        |j| {
            j.none_refused();
        },
        || vec![json!({"method": "HEAD", "status": 404}), json!({"status": 401})],
        || vec![json!({"status": 404})],
        "was refused",
    ),
    (
        |j| {
            j.none_rate_limited();
        },
        || vec![json!({"status": 404})],
        || vec![json!({"status": 429})],
        "met a quota",
    ),
];

#[test]
fn assertions_hold_and_complain_where_they_should() {
    let mut faults = Vec::new();
    for (at, (assertion, right, wrong, says)) in CASES.iter().enumerate() {
        if let Some(complaint) = complaint(|| assertion(&journal(&right()))) {
            faults.push(format!("case {at} should hold: {complaint}"));
        }
        match complaint(|| assertion(&journal(&wrong()))) {
            Some(complaint) if complaint.contains(says) => {}
            other => faults.push(format!("case {at} should say `{says}`: {other:?}")),
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn no_assertion_holds_where_lines_are_lost() {
    for (at, (assertion, right, _, _)) in CASES.iter().enumerate() {
        let lost = Journal { lost: 3, ..journal(&right()) };
        let said = complaint(|| assertion(&lost)).unwrap_or_default();
        assert!(said.contains("lost 3 lines"), "case {at}: {said}");
    }
}

#[test]
fn a_complaint_shows_the_lines_and_stays_short() {
    let said = complaint(|| {
        journal(&[range(0, 9), range(0, 9)]).blobs().of(&digest()).fetched_once();
    })
    .unwrap();
    let line = format!(
        "#2 GET a blob {} bytes 0-9 → 206, 10 out, complete (connection 1, attempt 1)",
        &digest().to_string()[..23]
    );
    assert!(said.contains(&line), "{said}");
    let many = complaint(|| {
        journal(&vec![broken(1); 1000]).all_complete();
    })
    .unwrap();
    assert!(many.contains("… and 980 more") && many.lines().count() == 22, "{many}");
}

#[test]
fn a_gap_in_the_numbers_is_lost_lines() {
    let mut records: Vec<Record> = journal(&[whole(), whole(), whole()]).into();
    records[2].seq = 10;
    assert_eq!(Journal::of(records).lost(), 7);
}

#[test]
fn parts_of_a_journal_can_be_asked() {
    let journal = journal(&[whole(), json!({"repository": "b", "end": "client_closed"}), json!({"conn": 2})]);
    journal.of_repository("a").all_complete().blobs().of(&digest()).fetched(2);
    journal.since(2).blobs().of(&digest()).fetched_once();
    assert_eq!((journal.connections(), journal.retries(), journal.resumes()), (2, 0, 0));
    assert_eq!(self::journal(&[broken(40), range(40, 99)]).retries(), 1);
    assert_eq!(self::journal(&[broken(40), range(40, 99)]).resumes(), 1);
}
