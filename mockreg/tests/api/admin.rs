//! The admin port.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use mockreg::{Registry, StartError};
use mockreg_proto::journal::{Entry, Record};
use mockreg_synth::catalogue::{Catalogue, Plan};
use serde_json::{Value, json};

use crate::client::{Answer, Client, foreign, image, open_upload, push_blob, registry};

fn admin(registry: &Registry) -> Client {
    Client::new(registry.admin_addr())
}

fn records(answer: &Answer) -> Vec<Record> {
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn health_metrics_and_counters() {
    let registry = registry();
    let mut client = Client::of(&registry);
    let mut admin = admin(&registry);
    assert_eq!(admin.get("/healthz").status, 200);
    assert_eq!(admin.get("/readyz").status, 200);
    push_blob(&mut client, "a", &foreign(1_000));
    open_upload(&mut client, "a");
    client.get("/v2/synth/100kb/manifests/latest");
    let metrics = admin.get("/metrics");
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4"));
    for line in [
        r#"mockreg_requests_total{kind="upload",method="PUT",status="201"} 1"#,
        r#"mockreg_requests_total{kind="manifest",method="GET",status="200"} 1"#,
        r#"mockreg_bytes_total{direction="in"} 1000"#,
        "mockreg_open_connections 1",
        "mockreg_stored_bytes 1000",
        "mockreg_uploads_open 1",
        "mockreg_recipes 0",
    ] {
        assert!(
            metrics.text().lines().any(|given| given == line),
            "{line} is missing in\n{}",
            metrics.text()
        );
    }
    assert!(!metrics.text().contains("sha256"));
    let manifest = client.get("/v2/synth/100kb/manifests/latest").body.len();
    let counters = admin.get("/counters").json();
    let wanted = json!({
        "requests": 5, "connections": 1, "open_connections": 1, "bytes_in": 1000, "bytes_out": 2 * manifest,
        "blobs_served": 0, "blobs_stored": 1, "recipes": 0, "stored_bytes": 1000, "spilled_bytes": 0, "uploads_open": 1,
        "tls_hellos": 0, "journal": {"last_seq": 5, "dropped": 0}, "unique_blobs_pulled": 0,
        "unique_blobs_pushed": 1, "repeated_pushes": 0, "duplicate_bytes_out": 0, "blobs_not_followed": 0,
        "tokens": 0, "rate_limited": 0, "requests_in_flight_peak": 1, "open_connections_peak": 1,
        "by_kind": {"upload": {"201": 1, "202": 2}, "manifest": {"200": 2}},
    });
    assert_eq!(counters, wanted);
    assert_eq!(serde_json::to_value(registry.counters()).unwrap(), wanted);
}

#[test]
fn every_error_is_json_with_a_reason() {
    let registry = registry();
    let too_large = vec![b' '; (16 << 20) + 1];
    let cases: [(&str, &str, &[u8], u16, &str); 4] = [
        ("GET", "/nothing", b"", 404, "/nothing"),
        ("GET", "/journal?since=abc", b"", 400, "since"),
        ("POST", "/reset", b"[", 400, "request body"),
        ("PUT", "/catalog", &too_large, 413, "16777216"),
    ];
    for (method, path, body, status, says) in cases {
        let answer = admin(&registry).send(method, path, &[], body);
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (status, Some("application/json")),
            "{path}"
        );
        assert!(answer.text().ends_with("}\n"), "{answer:?}");
        let error = answer.json()["error"].as_str().unwrap_or_default().to_owned();
        assert!(error.contains(says), "{path}: {error}");
        assert_eq!(answer.header("allow"), None, "{answer:?}");
    }
}

#[test]
fn a_wrong_method_is_told_the_right_ones_on_every_route() {
    let registry = registry();
    let mut admin = admin(&registry);
    let document = admin.get("/openapi.json").json();
    let mut paths: Vec<_> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    paths.sort_unstable();
    let table = [
        ("/catalog", &["GET", "HEAD", "PUT"][..]),
        ("/counters", &["GET", "HEAD"]),
        ("/healthz", &["GET", "HEAD"]),
        ("/journal", &["DELETE", "GET", "HEAD"]),
        ("/metrics", &["GET", "HEAD"]),
        ("/openapi.json", &["GET", "HEAD"]),
        ("/readyz", &["GET", "HEAD"]),
        ("/reset", &["POST"]),
        ("/verify", &["POST"]),
    ];
    assert_eq!(table.map(|(path, _)| path)[..], paths[..], "every route has a row");
    for (path, methods) in table {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            if methods.contains(&method) {
                continue;
            }
            let answer = admin.send(method, path, &[], b"");
            assert_eq!((answer.status, answer.header("content-type")), (405, Some("application/json")));
            let sorted = |list: &str| {
                let mut list: Vec<_> = list.split(',').map(|method| method.trim().to_owned()).collect();
                list.sort_unstable();
                list
            };
            assert_eq!(sorted(answer.header("allow").unwrap()), methods, "{method} {path}");
            let error = answer.json()["error"].as_str().unwrap().to_owned();
            let told = error.strip_prefix(&format!("{method} {path}: this route answers ")).unwrap_or(&error);
            assert_eq!(sorted(told), methods, "{method} {path}: {error}");
        }
        let bare = admin.send("HEAD", path, &[], b"");
        assert_eq!(bare.status == 405, !methods.contains(&"HEAD"), "HEAD {path}");
    }
}

#[test]
fn the_journal_is_read_from_any_line_and_cleared() {
    let registry = registry();
    let mut client = Client::of(&registry);
    (0..5).for_each(|_| assert_eq!(client.get("/v2/").status, 200));
    let mut admin = admin(&registry);
    let all = records(&admin.get("/journal"));
    assert_eq!(all.iter().map(|record| record.seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(all, registry.journal());
    assert_eq!(all[4].side, "test");
    assert_eq!(records(&admin.get("/journal?since=3")).len(), 2);
    assert_eq!(records(&admin.get("/journal?since=5")).len(), 0);
    assert_eq!(admin.get("/journal?since=x").status, 400);
    assert_eq!(admin.send("DELETE", "/journal", &[], b"").status, 204);
    client.get("/v2/");
    let rest = records(&admin.get("/journal"));
    assert_eq!((rest.len(), rest[0].seq, rest[0].attempt), (1, 6, 1));
}

#[test]
fn a_reset_keeps_the_catalogue_and_stamps_the_run() {
    let registry = registry();
    let mut client = Client::of(&registry);
    let mut admin = admin(&registry);
    let catalogue = "schema_version: 1\nrepositories: [{name: c, tags: [v1], layers: [10kB]}]";
    assert_eq!(admin.send("PUT", "/catalog", &[], catalogue.as_bytes()).status, 204);
    let digest = push_blob(&mut client, "a", &foreign(1_000));
    let location = open_upload(&mut client, "a");
    assert_eq!(admin.send("POST", "/reset", &[], br#"{"run_id":"run-7"}"#).status, 204);
    assert_eq!(client.get(&location).code(), "BLOB_UPLOAD_UNKNOWN");
    assert_eq!(client.get(&format!("/v2/a/blobs/{digest}")).code(), "NAME_UNKNOWN");
    assert_eq!(client.get("/v2/c/manifests/v1").status, 200);
    let journal = registry.journal();
    assert_eq!(journal.len(), 3);
    assert!(journal.iter().all(|record| record.run_id.as_deref() == Some("run-7")));
    let counters = admin.get("/counters").json();
    assert_eq!([&counters["requests"], &counters["stored_bytes"], &counters["uploads_open"]], [3, 0, 0]);
    assert_eq!(admin.send("POST", "/reset", &[], b"").status, 204);
    client.get("/v2/");
    assert_eq!(registry.journal()[0].run_id, None);
    for malformed in [&b"{"[..], br#"{"runid":"x"}"#, b"[]", b" ", b"\xff"] {
        let refused = admin.send("POST", "/reset", &[], malformed);
        assert!(refused.status == 400 && refused.json()["error"].is_string(), "{refused:?}");
    }
}

#[test]
fn a_catalogue_is_replaced_and_a_wrong_one_changes_nothing() {
    let registry = registry();
    let (mut client, mut admin) = (Client::of(&registry), admin(&registry));
    let put = |admin: &mut Client, body: &[u8]| admin.send("PUT", "/catalog", &[], body);
    let yaml = "schema_version: 1\nrepositories:\n  - {name: one, tags: [v1], layers: [10kB]}\n";
    let json =
        br#"{"schema_version":1,"repositories":[{"name":"two","tags":["v1"],"layers":["10kB","1MB"]}]}"#;
    assert_eq!(put(&mut admin, yaml.as_bytes()).status, 204);
    assert_eq!(client.get("/v2/one/manifests/v1").status, 200);
    assert_eq!(put(&mut admin, json).status, 204);
    assert_eq!(client.get("/v2/one/manifests/v1").code(), "NAME_UNKNOWN");
    assert_eq!(client.get("/v2/two/manifests/v1").status, 200);
    let deadline = Instant::now() + Duration::from_secs(20);
    while admin.get("/readyz").status != 200 {
        assert!(Instant::now() < deadline, "never ready");
        std::thread::sleep(Duration::from_millis(5));
    }
    for (body, status, says) in [
        (yaml.replace("layers", "layer"), 400, "request body:3:"),
        (yaml.replace("tags", "tag"), 400, "did you mean `tags`"),
        (yaml.replace("10kB", "10 parsecs"), 400, "request body:3:"),
        (yaml.replace("10kB", "5B"), 422, "553"),
        (yaml.replace("one", "ONE"), 422, "ONE"),
        (yaml.replace("schema_version: 1", "schema_version: 9"), 400, "request body:1:"),
        ("{".into(), 400, "request body:"),
        (String::new(), 400, "request body"),
    ] {
        let refused = put(&mut admin, body.as_bytes());
        let error = refused.json()["error"].as_str().unwrap_or_default().to_owned();
        assert!(refused.status == status && error.contains(says), "{body}: {refused:?}");
    }
    let floats = br#"{"schema_version":1.0,"repositories":[{"name":"two","tags":{"prefix":"v","count":1.0},"layers":[10000.0]}]}"#;
    let odd = r#"{"schema_version":1.0,"repositories":[{"name":"a\u0092é\ud83d\ude00","tags":["v"],"layers":[1000]}]}"#;
    assert_eq!(
        put(&mut admin, odd.as_bytes()).status,
        422,
        "a catalogue, with a name that no repository has"
    );
    assert_eq!(put(&mut admin, floats).status, 204, "integers as some programs write them");
    assert_eq!(admin.get("/catalog").json()["repositories"][0]["tags"]["count"], 1);
    let refused = put(&mut admin, b"\xff\xfe");
    assert_eq!(refused.status, 400);
    assert_eq!(client.get("/v2/two/manifests/v1").status, 200);
    assert_eq!(put(&mut admin, &vec![b' '; (16 << 20) + 1]).status, 413);
}

#[test]
fn a_busy_port_is_an_error_that_names_it() {
    let first = registry();
    let error = Registry::builder().listen(first.registry_addr()).start().unwrap_err();
    let StartError::Listen { port: "registry", address, source } = &error else { panic!("{error:?}") };
    assert_eq!((*address, source.kind()), (first.registry_addr(), std::io::ErrorKind::AddrInUse));
    let error = Registry::builder().admin(first.admin_addr()).start().unwrap_err();
    assert!(error.to_string().contains(&first.admin_addr().to_string()));
    assert_eq!(Client::of(&first).get("/v2/").status, 200);
}

#[test]
fn wasted_bytes_and_repeated_pushes_are_counted() {
    let registry = registry();
    let mut client = Client::of(&registry);
    let layer = image("1mb").layers[0].digest;
    let path = format!("/v2/synth/1mb/blobs/{layer}");
    for range in ["bytes=0-499999", "bytes=500000-", "bytes=999000-", "bytes=0-9,20-29"] {
        assert_eq!(client.send("GET", &path, &[("Range", range)], b"").status, 206);
    }
    push_blob(&mut client, "a", b"one");
    push_blob(&mut client, "b", b"one");
    let tallied = registry.counters().tallied;
    assert_eq!((tallied.unique_blobs_pulled, tallied.duplicate_bytes_out), (1, 1_000));
    assert_eq!((tallied.unique_blobs_pushed, tallied.repeated_pushes), (1, 1));
}

#[test]
fn the_journal_is_followed_while_it_grows() {
    let registry = registry();
    let mut client = Client::of(&registry);
    client.get("/v2/");
    client.get("/v2/");
    let mut follower = admin(&registry);
    follower.head("GET", "/journal?follow=true&since=1", &[]);
    assert_eq!(follower.answer_head().header("content-type"), Some("application/x-ndjson"));
    let mut next = || -> Value { serde_json::from_slice(&follower.chunk()).unwrap() };
    assert_eq!(next()["seq"], 2);
    client.get("/v2/_catalog");
    let line = next();
    assert_eq!((&line["seq"], &line["kind"]), (&json!(3), &json!("catalog")));
    // Lines that are thrown away before the follower reads them are a gap, and it hears of it.
    admin(&registry).send("DELETE", "/journal", &[], b"");
    client.get("/v2/");
    assert_eq!(next()["seq"], 4);
    // The server stops although somebody follows.
    let began = Instant::now();
    registry.stop();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

/// The ring holds 200,000 lines at most; a follower that has fallen behind it is told how many it missed.
#[test]
fn a_follower_that_falls_behind_reads_of_the_gap() {
    let registry = registry();
    let mut client = Client::of(&registry);
    (0..5).for_each(|_| assert_eq!(client.get("/v2/").status, 200));
    admin(&registry).send("DELETE", "/journal", &[], b"");
    client.get("/v2/");
    let mut follower = admin(&registry);
    follower.head("GET", "/journal?follow=true&since=2", &[]);
    follower.answer_head();
    let text = String::from_utf8(follower.chunk()).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0], json!({"gap": {"after": 2, "missing": 3}}));
    assert_eq!(lines[1]["seq"], 6);
}

/// A plain read tells of lost lines as a follower is told: those that were cleared, to one who had read on, and nothing
/// to one who begins.
#[test]
fn a_plain_read_tells_of_lost_lines() {
    let registry = registry();
    let mut client = Client::of(&registry);
    let mut admin = admin(&registry);
    let read = |admin: &mut Client, since: u64| -> Vec<Result<u64, (u64, u64)>> {
        let text = admin.get(&format!("/journal?since={since}")).text();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        let told = |entry| match entry {
            Entry::Record(record) => Ok(record.seq),
            Entry::Gap { gap } => Err((gap.after, gap.missing)),
        };
        lines.map(told).collect()
    };
    (0..5).for_each(|_| assert_eq!(client.get("/v2/").status, 200));
    assert_eq!(read(&mut admin, 4), [Ok(5)]);
    admin.send("DELETE", "/journal", &[], b"");
    assert_eq!(read(&mut admin, 0), []);
    assert_eq!(read(&mut admin, 2), [Err((2, 3))], "also where nothing has come since");
    client.get("/v2/");
    client.get("/v2/");
    assert_eq!(read(&mut admin, 0), [Ok(6), Ok(7)]);
    assert_eq!(read(&mut admin, 2), [Err((2, 3)), Ok(6), Ok(7)]);
    assert_eq!(read(&mut admin, 5), [Ok(6), Ok(7)]);
    assert_eq!(read(&mut admin, 7), []);
    assert_eq!(read(&mut admin, 100), []);
}

#[test]
fn the_catalogue_is_given_back_as_it_was_put() {
    let registry = registry();
    let mut admin = admin(&registry);
    let empty = admin.get("/catalog");
    assert_eq!((empty.status, &empty.json()["repositories"]), (200, &json!([])));
    let yaml = "schema_version: 1\nseed: 7\nrepositories:\n  - {name: c, tags: [v1, v2], layers: [10kB]}\n";
    assert_eq!(admin.send("PUT", "/catalog", &[], yaml.as_bytes()).status, 204);
    let given = admin.get("/catalog");
    assert_eq!(given.json()["repositories"][0]["name"], "c");
    let other = self::registry();
    assert_eq!(Client::new(other.admin_addr()).send("PUT", "/catalog", &[], &given.body).status, 204);
    assert_eq!(other.image("c", "v2"), registry.image("c", "v2"));
    assert!(other.image("c", "v2").is_some());
    // What was planned by a program is in no document.
    let planned = Registry::builder().image("app", "v1", "10kb").start().unwrap();
    let catalogue = || mockreg_proto::document::read::<Catalogue>("test", yaml).unwrap();
    let several = Registry::builder().catalogue(catalogue()).catalogue(catalogue()).start().unwrap();
    for (registry, says) in [(planned, "planned by the program"), (several, "several catalogues")] {
        let mut admin = Client::new(registry.admin_addr());
        let refused = admin.get("/catalog");
        let error = refused.json()["error"].as_str().unwrap_or_default().to_owned();
        assert!(
            refused.status == 409 && error.contains(says) && error.contains("PUT /catalog"),
            "{refused:?}"
        );
        assert_eq!(admin.send("PUT", "/catalog", &[], yaml.as_bytes()).status, 204);
        assert_eq!(admin.get("/catalog").json(), given.json());
    }
    // A push is no part of it, and nothing planned is nothing.
    let bare = Registry::builder().images(Vec::new()).plan(Plan::default()).start().unwrap();
    push_blob(&mut Client::of(&bare), "a", b"content");
    assert_eq!(Client::new(bare.admin_addr()).get("/catalog").json(), empty.json());
    let one =
        Registry::builder().plan(Plan::new(catalogue()).unwrap()).plan(Plan::default()).start().unwrap();
    assert_eq!(Client::new(one.admin_addr()).get("/catalog").json(), given.json());
}

#[test]
fn slow_requests_are_given_up_on_this_port_too() {
    let short = Duration::from_secs(1);
    let registry = Registry::builder().header_timeout(short).body_idle(short).start().unwrap();
    let (mut silent, mut slow) = (admin(&registry), admin(&registry));
    slow.raw(b"GET /healthz HTTP/1.1\r\nHos");
    // A byte every tenth of a second is never silent for long; the body as a whole takes too long.
    let mut trickling = TcpStream::connect(registry.admin_addr()).unwrap();
    trickling.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    trickling.write_all(b"PUT /catalog HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n").unwrap();
    let mut writer = trickling.try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        while writer.write_all(b" ").is_ok() {
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let mut start = [0; 12];
    trickling.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 408");
    drop(trickling.shutdown(Shutdown::Both));
    writing.join().unwrap();
    assert!(silent.is_ended() && slow.is_ended());
    assert_eq!(admin(&registry).get("/healthz").status, 200);
}

#[test]
fn bodies_are_bounded_on_every_route() {
    let registry = registry();
    for (method, path, most) in [("PUT", "/catalog", 16 << 20), ("POST", "/reset", 64 << 10)] {
        let refused = admin(&registry).send(method, path, &[], &vec![b' '; most + 1]);
        assert_eq!(refused.status, 413, "{path}: {refused:?}");
        assert!(refused.json()["error"].as_str().unwrap().contains(&most.to_string()));
    }
}
