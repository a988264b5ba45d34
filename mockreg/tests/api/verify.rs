//! Comparing registries: what is equal, each way in which a copy can be wrong, and what cannot be known.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};

use mockreg::verify::{
    Address, Authorities, Credentials, DifferenceKind, Outcome, Report, Side, Verification,
};
use mockreg::{Auth, Registry, Tls};
use mockreg_proto::digest::Digest;
use serde_json::{Value, json};

use crate::client::{Client, foreign, image, push_blob, registry};

fn address(registry: &Registry, name: &str) -> Address {
    format!("{}/{name}", registry.url()).parse().unwrap()
}

fn run(plan: Verification) -> Report {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(plan.run(|_| {})).unwrap()
}

fn compare(source: Address, destination: Address) -> Report {
    run(Verification::try_new(source, destination).unwrap())
}

/// What was found of each tag.
fn found(report: &Report) -> Vec<(String, DifferenceKind)> {
    let name = |tag: &Option<String>| tag.clone().unwrap_or_default();
    report.differences.iter().map(|difference| (name(&difference.tag), difference.kind)).collect()
}

/// Pushes an image of one small layer.
fn push(registry: &Registry, repository: &str, tag: &str, layer: &[u8]) -> Digest {
    let mut client = Client::of(registry);
    let config = push_blob(&mut client, repository, b"{}");
    let digest = push_blob(&mut client, repository, layer);
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": layer.len()}],
    });
    put_manifest(&mut client, repository, tag, &manifest);
    digest
}

fn put_manifest(client: &mut Client, repository: &str, reference: &str, manifest: &Value) -> Digest {
    let kind = manifest["mediaType"].as_str().unwrap();
    let body = manifest.to_string();
    let path = format!("/v2/{repository}/manifests/{reference}");
    let answer = client.send("PUT", &path, &[("Content-Type", kind)], body.as_bytes());
    assert_eq!(answer.status, 201, "{answer:?}");
    Digest::of(body.as_bytes())
}

/// Everything under `repository`, by path: type and body.
fn crawl(registry: &Registry, repository: &str) -> BTreeMap<String, (String, Vec<u8>)> {
    let mut client = Client::of(registry);
    let mut pages = BTreeMap::new();
    let mut waiting = vec![format!("/v2/{repository}/tags/list?n=1000")];
    while let Some(path) = waiting.pop() {
        let answer = client.get(&path);
        assert_eq!(answer.status, 200, "{path}");
        let kind = answer.header("content-type").unwrap().to_owned();
        if let Ok(document) = serde_json::from_slice::<Value>(&answer.body) {
            let list = |key: &str| document[key].as_array().cloned().unwrap_or_default();
            let digest = |descriptor: &Value| descriptor["digest"].as_str().unwrap().to_owned();
            let tags = list("tags").into_iter().map(|tag| tag.as_str().unwrap().to_owned());
            let children = list("manifests").into_iter().map(|child| digest(&child));
            waiting.extend(tags.chain(children).map(|name| format!("/v2/{repository}/manifests/{name}")));
            let blobs = list("layers").into_iter().chain(document.get("config").cloned());
            waiting.extend(blobs.map(|blob| format!("/v2/{repository}/blobs/{}", digest(&blob))));
        }
        pages.insert(path, (kind, answer.body));
    }
    pages
}

/// A registry that serves exactly these pages, right or wrong, until the test ends.
fn serve(pages: BTreeMap<String, (String, Vec<u8>)>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (pages, mut stream) = (pages.clone(), stream.unwrap());
            std::thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let first = lines.next().unwrap().unwrap();
                let _ = lines.find(|line| line.as_ref().is_ok_and(String::is_empty));
                let (status, kind, body) = match pages.get(first.split(' ').nth(1).unwrap()) {
                    Some((kind, body)) => ("200 OK", kind.as_str(), body.as_slice()),
                    None => ("404 Not Found", "text/plain", &b"nothing"[..]),
                };
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
                );
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
            });
        }
    });
    address
}

/// Compares `a` with what a registry serves after `change` has been made to its pages.
fn compare_changed(
    source: &Registry,
    change: impl FnOnce(&mut BTreeMap<String, (String, Vec<u8>)>),
) -> Report {
    let mut pages = crawl(source, "a");
    change(&mut pages);
    let destination = serve(pages);
    compare(address(source, "a"), format!("http://{destination}/a").parse().unwrap())
}

#[test]
fn a_true_copy_is_equal_under_any_name() {
    let (source, destination) = (registry(), registry());
    for (registry, name) in [(&source, "a"), (&destination, "mirror/b")] {
        push(registry, name, "v1", &foreign(3_000_000));
        push(registry, name, "v2", &foreign(3_000_000));
    }
    let report = compare(address(&source, "a"), address(&destination, "mirror/b"));
    assert_eq!((report.outcome, report.tags.equal, report.repositories), (Outcome::Equal, 2, 1), "{report}");
    // The two tags share both blobs, which are read once from either side.
    assert_eq!((report.blobs, report.manifests), (2, 2));
    source.journal().blobs().none_fetched_twice().no_byte_sent_twice();
    assert!(
        report.bytes_read > 6_000_000 && report.to_string().starts_with("equal: tags: 2 equal, 0 different"),
        "{report}"
    );
}

#[test]
fn every_lie_of_a_destination_is_found() {
    let source = registry();
    let layer = push(&source, "a", "v1", &foreign(100_000));
    push(&source, "a", "v2", b"another");
    let blob = format!("/v2/a/blobs/{layer}");
    let config = format!("/v2/a/blobs/{}", Digest::of(b"{}"));
    let honest = compare_changed(&source, |_| {});
    assert_eq!(honest.outcome, Outcome::Equal, "the fake destination serves what it was given: {honest}");
    for at in [0, 50_000, 99_999] {
        let report = compare_changed(&source, |pages| pages.get_mut(&blob).unwrap().1[at] ^= 1);
        assert_eq!(
            (report.outcome, found(&report)),
            (Outcome::Different, vec![("v1".into(), DifferenceKind::Different)])
        );
        assert!(report.to_string().contains("100000 bytes with digest sha256:"), "{report}");
    }
    let short = compare_changed(&source, |pages| pages.get_mut(&blob).unwrap().1.truncate(99_999));
    assert!(short.outcome == Outcome::Different && short.to_string().contains("99999 bytes"), "{short}");
    let lost = compare_changed(&source, |pages| drop(pages.remove(&config)));
    assert_eq!(found(&lost).len(), 2, "both images have this config: {lost}");
    assert!(lost.to_string().contains("missing at the destination"), "{lost}");
    let missing = compare_changed(&source, |pages| drop(pages.remove("/v2/a/manifests/v2")));
    assert_eq!(found(&missing), [("v2".into(), DifferenceKind::Missing)]);
    let spaced = compare_changed(&source, |pages| pages.get_mut("/v2/a/manifests/v1").unwrap().1.push(b' '));
    assert_eq!(found(&spaced), [("v1".into(), DifferenceKind::Different)]);
    let typed = compare_changed(&source, |pages| {
        pages.get_mut("/v2/a/manifests/v1").unwrap().0 = "text/plain".into();
    });
    assert!(typed.to_string().contains("type `application/vnd.oci"), "{typed}");
    let list = br#"{"name":"a","tags":["v1","v2","v9"]}"#;
    let more =
        compare_changed(&source, |pages| pages.get_mut("/v2/a/tags/list?n=1000").unwrap().1 = list.to_vec());
    assert_eq!(
        (more.outcome, found(&more)),
        (Outcome::Different, vec![("v9".into(), DifferenceKind::Extra)])
    );
    assert_eq!((more.tags.equal, more.tags.extra), (2, 1));
}

#[test]
fn indexes_are_followed_into_their_images() {
    let (source, destination) = (registry(), registry());
    for (registry, layer) in [(&source, b"one"), (&destination, b"two")] {
        push(registry, "a", "image", layer);
        let mut client = Client::of(registry);
        let manifest = client.get("/v2/a/manifests/image");
        let digest = Digest::of(&manifest.body);
        let index = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [{
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": digest,
                "size": manifest.body.len(),
            }],
        });
        put_manifest(&mut client, "a", "index", &index);
    }
    let report = compare(address(&source, "a"), address(&source, "a"));
    assert_eq!((report.outcome, report.manifests), (Outcome::Equal, 3), "{report}");
    let digest = source.image("a", "index").unwrap().children[0].digest;
    let cut = compare_changed(&source, |pages| drop(pages.remove(&format!("/v2/a/manifests/{digest}"))));
    assert_eq!(found(&cut), [("index".into(), DifferenceKind::Different)]);
    let report = compare(address(&source, "a"), address(&destination, "a"));
    assert_eq!(report.tags.different, 2, "{report}");
}

#[test]
fn whole_registries_are_compared_by_their_lists() {
    let (source, destination) = (registry(), registry());
    for name in ["a", "b/c", "only/here"] {
        push(&source, name, "v1", name.as_bytes());
    }
    for name in ["a", "b/c", "only/there"] {
        push(&destination, name, "v1", name.as_bytes());
    }
    let (here, there): (Address, Address) =
        (source.url().parse().unwrap(), destination.url().parse().unwrap());
    let report = compare(here.clone(), there.clone());
    assert_eq!((report.outcome, report.tags.equal), (Outcome::Different, 2), "{report}");
    let kinds: Vec<_> =
        report.differences.iter().map(|found| (found.repository.as_str(), found.kind)).collect();
    assert_eq!(kinds, [("only/here", DifferenceKind::Missing), ("only/there", DifferenceKind::Extra)]);
    push(&destination, "only/here", "v1", b"only/here");
    let plan = Verification::try_new(here, there).unwrap();
    assert_eq!(run(plan.clone()).outcome, Outcome::Different);
    assert_eq!(run(plan.allow_extra(true)).outcome, Outcome::Equal);
}

/// A list comes in pages of 1,000.
#[test]
fn long_lists_are_read_to_their_end() {
    let tags: Vec<String> = (0..1_500).map(|n| format!("t{n}")).collect();
    let catalogue =
        json!({"schema_version": 1, "repositories": [{"name": "a", "tags": tags, "layers": ["1kB"]}]});
    let start =
        || Registry::builder().catalogue(serde_json::from_value(catalogue.clone()).unwrap()).start().unwrap();
    let (source, destination) = (start(), start());
    let report = compare(address(&source, "a"), address(&destination, "a"));
    assert_eq!((report.outcome, report.tags.equal), (Outcome::Equal, 1_500), "{report}");
}

/// An artifact that refers to `subject`, and its digest.
fn refer(registry: &Registry, repository: &str, subject: Digest, kind: &str) -> Digest {
    let mut client = Client::of(registry);
    let config = push_blob(&mut client, repository, b"{}");
    let layer = push_blob(&mut client, repository, kind.as_bytes());
    let artifact = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "artifactType": kind,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": config, "size": 2},
        "layers": [{"mediaType": "text/plain", "digest": layer, "size": kind.len()}],
        "subject": {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": subject, "size": 2},
    });
    let digest = Digest::of(artifact.to_string().as_bytes());
    put_manifest(&mut client, repository, &digest.to_string(), &artifact)
}

fn subject(registry: &Registry, repository: &str) -> Digest {
    Digest::of(&Client::of(registry).get(&format!("/v2/{repository}/manifests/v1")).body)
}

#[test]
fn lists_of_referrers_are_compared_and_what_they_name() {
    let paged = mockreg::policy::Policy { referrers_page: Some(2), ..Default::default() };
    let (source, destination) = (registry(), Registry::builder().policy(paged).start().unwrap());
    for registry in [&source, &destination] {
        push(registry, "a", "v1", b"one");
    }
    let verify = || compare(address(&source, "a"), address(&destination, "a"));
    let image = subject(&source, "a");
    let bare = verify();
    assert_eq!((bare.outcome, bare.manifests, bare.referrer_lists), (Outcome::Equal, 1, 1), "{bare}");
    assert!(bare.notes.is_empty(), "{bare}");
    // Five of them at a side that gives two a page: only whoever follows the links finds all equal.
    let kinds = ["application/one", "application/two", "application/three", "application/four"];
    for kind in kinds {
        refer(&source, "a", image, kind);
        refer(&destination, "a", image, kind);
    }
    let signed = refer(&source, "a", image, "application/signature");
    let lost = verify();
    assert_eq!((lost.outcome, found(&lost).len()), (Outcome::Different, 1), "{lost}");
    let wanted =
        format!("referrer {signed} (application/signature) of {image}: not listed at the destination");
    assert_eq!(lost.differences[0].details, [wanted]);
    refer(&destination, "a", image, "application/signature");
    let all = verify();
    // The image and its five artifacts, each with a list of its own.
    assert_eq!((all.outcome, all.manifests, all.referrer_lists), (Outcome::Equal, 6, 6), "{all}");
    // A referrer of a referrer, at the destination only.
    refer(&destination, "a", signed, "application/countersignature");
    let more = verify();
    assert_eq!(more.outcome, Outcome::Different, "{more}");
    assert!(more.to_string().contains("listed at the destination only"), "{more}");
    let plan = Verification::try_new(address(&source, "a"), address(&destination, "a")).unwrap();
    assert_eq!(run(plan.allow_extra(true)).outcome, Outcome::Equal);
}

/// A registry that has no referrers API keeps the list under a tag.
#[test]
fn tags_stand_for_lists_of_referrers_where_there_is_no_api() {
    let policy = mockreg::policy::Policy { referrers: false, ..Default::default() };
    let (source, destination) = (registry(), Registry::builder().policy(policy).start().unwrap());
    for registry in [&source, &destination] {
        push(registry, "a", "v1", b"one");
    }
    let image = subject(&source, "a");
    let signed = refer(&source, "a", image, "application/signature");
    refer(&destination, "a", image, "application/signature");
    let verify = || compare(address(&source, "a"), address(&destination, "a"));
    let lost = verify();
    assert!(lost.notes[0].starts_with("the destination has no referrers API"), "{lost}");
    assert_eq!(lost.notes.len(), 1, "{lost}");
    assert!(lost.to_string().contains(&format!("referrer {signed}")), "{lost}");
    let size = Client::of(&source).get(&format!("/v2/a/manifests/{signed}")).body.len();
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": signed, "size": size}],
    });
    let tag = image.to_string().replace(':', "-");
    put_manifest(&mut Client::of(&destination), "a", &tag, &index);
    let kept = verify();
    assert_eq!((kept.outcome, kept.tags.extra), (Outcome::Equal, 0), "{kept}");
    let back = compare(address(&destination, "a"), address(&source, "a"));
    assert_eq!(back.outcome, Outcome::Equal, "{back}");
    assert!(back.to_string().contains("note       the source has no referrers API"), "{back}");
}

#[test]
fn tags_can_be_named_in_the_addresses() {
    let (source, destination) = (registry(), registry());
    push(&source, "a", "v1", b"one");
    push(&source, "a", "v2", b"two");
    push(&destination, "a", "v1", b"one");
    push(&destination, "a", "other", b"two");
    for (here, there, outcome) in [
        ("a:v1", "a:v1", Outcome::Equal),
        ("a:v1", "a", Outcome::Equal),
        ("a:v2", "a:other", Outcome::Equal),
        ("a:v2", "a", Outcome::Different),
        ("a:v1", "a:other", Outcome::Different),
    ] {
        let report = compare(address(&source, here), address(&destination, there));
        assert_eq!(report.outcome, outcome, "{here} {there}: {report}");
        assert_eq!(report.tags.equal + report.tags.different + report.tags.missing, 1, "{report}");
    }
}

#[test]
fn tags_can_be_named() {
    let (source, destination) = (registry(), registry());
    push(&source, "a", "v1", b"one");
    push(&source, "a", "v2", b"two");
    push(&destination, "a", "v1", b"one");
    let plan = Verification::try_new(address(&source, "a"), address(&destination, "a")).unwrap();
    assert_eq!(run(plan.clone()).outcome, Outcome::Different);
    assert_eq!(run(plan.tags(["v1".to_owned()])).outcome, Outcome::Equal);
}

/// Each says what it is: nobody answers, there is no such repository, there is no list.
#[test]
fn what_cannot_be_read_is_neither_equal_nor_different() {
    let source = registry();
    push(&source, "a", "v1", b"one");
    let nowhere: Address = "http://127.0.0.1:1/a".parse().unwrap();
    let listless = serve(BTreeMap::new());
    for (here, there, outcome, side, says) in [
        (
            address(&source, "a"),
            nowhere.clone(),
            Outcome::Unreachable,
            Side::Destination,
            "http://127.0.0.1:1/v2/a/tags/list?n=1000: cannot be reached",
        ),
        (nowhere, address(&source, "a"), Outcome::Unreachable, Side::Source, "cannot be reached"),
        (
            address(&source, "b"),
            address(&source, "a"),
            Outcome::Missing,
            Side::Source,
            "there is no repository `b` (404 Not Found: NAME_UNKNOWN",
        ),
        (
            address(&source, "b"),
            address(&source, "c"),
            Outcome::Missing,
            Side::Source,
            "the destination has none either",
        ),
        (
            source.url().parse().unwrap(),
            format!("http://{listless}").parse().unwrap(),
            Outcome::Missing,
            Side::Destination,
            "it lists no repositories (404 Not Found: nothing)",
        ),
    ] {
        let report = compare(here, there);
        assert_eq!((report.outcome, report.error_side), (outcome, Some(side)), "{report:?}");
        assert!(report.error.as_ref().unwrap().contains(says), "{report:?}");
    }
}

#[test]
fn a_repository_at_one_side_only_is_said_to_be_missing() {
    let source = registry();
    push(&source, "a", "v1", b"one");
    let report = compare(address(&source, "a"), address(&source, "b"));
    assert_eq!(
        (report.outcome, report.missing_repositories, report.tags.missing),
        (Outcome::Different, 1, 0),
        "{report}"
    );
    let difference = &report.differences[0];
    assert_eq!((difference.tag.as_ref(), difference.kind), (None, DifferenceKind::Missing));
    assert!(difference.details[0].contains("at the destination (404 Not Found: NAME_UNKNOWN"), "{report}");
    assert!(report.to_string().contains("repositories: 1 missing, 0 extra"), "{report}");
    // One with other tags is there.
    push(&source, "b", "v2", b"one");
    let report = compare(address(&source, "a"), address(&source, "b"));
    assert_eq!((report.missing_repositories, report.tags.missing, report.tags.extra), (0, 1, 1), "{report}");
}

#[test]
fn addresses_say_what_is_wrong_with_them() {
    for (text, says) in [
        ("h/a", "needs a port"),
        ("library/app:v1", "needs a port"),
        ("ftp://h/a", "http://"),
        ("http://h:1/:v1", "no repository"),
        ("http://h:1/a:v 1", "not a tag"),
        ("http://h:1/a@sha256:00", "not by a digest"),
        ("http://h:5000/A", "repository name"),
        ("http://u:p@h/a", "apart"),
        ("http://h:0/a", "port"),
        ("http://h:70000/a", "port"),
        ("http://h/a?x=1", "query"),
        ("", "http://"),
        ("docker://", "http://"),
    ] {
        let error = text.parse::<Address>().unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
    for (text, shown) in [
        ("http://h", "http://h:80"),
        ("https://h/", "https://h:443"),
        ("http://[::1]:5000/a/b/", "http://[::1]:5000/a/b"),
        // As loadgen reads them.
        ("127.0.0.1:5000/app:v1", "http://127.0.0.1:5000/app:v1"),
        ("docker://127.0.0.1:5000/app:v1", "http://127.0.0.1:5000/app:v1"),
        ("[::1]:5000/a/b/c:x", "http://[::1]:5000/a/b/c:x"),
        ("http://registry.test/a", "http://registry.test:80/a"),
        ("localhost:5000", "http://localhost:5000"),
    ] {
        assert_eq!(text.parse::<Address>().unwrap().to_string(), shown);
    }
}

#[test]
fn the_admin_port_compares_too() {
    let (source, destination) = (registry(), registry());
    push(&source, "a", "v1", b"one");
    push(&destination, "a", "v1", b"one");
    let layer = image("100kb").layers[0].digest;
    assert!(source.image("synth/100kb", "x").unwrap().layers().contains(&layer));
    let mut admin = Client::new(source.admin_addr());
    let mut post = |body: Value| admin.send("POST", "/verify", &[], body.to_string().as_bytes());
    let equal = post(
        json!({"source": format!("{}/a", source.url()), "destination": format!("{}/a", destination.url())}),
    );
    assert_eq!((equal.status, &equal.json()["outcome"]), (200, &json!("equal")), "{equal:?}");
    let nowhere = post(json!({"source": source.url() + "/a", "destination": "http://127.0.0.1:1/a"}));
    assert_eq!((nowhere.status, &nowhere.json()["outcome"]), (200, &json!("unreachable")));
    for (body, status, says) in [
        (json!({"source": "http://h/a", "destination": "http://h"}), 422, "name a repository"),
        (json!({"source": "h/a", "destination": "http://h/a"}), 422, "http://"),
        (
            json!({"source": "https://h/a", "destination": "http://h/a", "ca": "x", "insecure": true}),
            422,
            "exclude each other",
        ),
        (json!({"source": "http://h/a:v1", "destination": "http://h/a", "tags": ["x"]}), 422, "no other"),
        (json!({"source": "http://h/a", "destination": "http://h/a:v1"}), 422, "name one there too"),
        (json!({"source": "https://h/a", "destination": "http://h/a", "ca": "x"}), 422, "BEGIN CERTIFICATE"),
        (json!({"source": "http://h", "destination": "http://h", "tags": ["x"]}), 422, "tags"),
        (json!({"source": "http://h"}), 400, "destination"),
        (json!({"from": "http://h"}), 400, "from"),
        (json!([]), 400, "object"),
    ] {
        let refused = post(body);
        let error = refused.json()["error"].as_str().unwrap_or_default().to_owned();
        assert!(refused.status == status && error.contains(says), "{refused:?}");
    }
}

/// Each side asks in its own way; the two are told apart, and a token is asked for once.
#[test]
fn registries_that_ask_who_is_there_are_let_in() {
    let start = |auth| {
        Registry::builder().image("a", "v1", "100kb").image("a", "v2", "100kb").auth(auth).start().unwrap()
    };
    let basic = start(Auth::basic([("ann", "secret")]));
    let bearer = start(Auth::bearer([("bob", "word")]));
    let open = start(Auth::bearer([("bob", "word")]).anonymous_pull(true));
    let user = |text: &str| Some(text.parse::<Credentials>().unwrap());
    let verify = |source: &Registry, destination: &Registry, users: [Option<Credentials>; 2]| {
        let [source_user, destination_user] = users;
        let plan = Verification::try_new(address(source, "a"), address(destination, "a")).unwrap();
        run(plan.credentials(source_user, destination_user))
    };
    let report = verify(&basic, &bearer, [user("ann:secret"), user("bob:word")]);
    assert_eq!((report.outcome, report.tags.equal), (Outcome::Equal, 2), "{report}");
    bearer.journal().tokens().none_asked_twice();
    assert_eq!(bearer.counters().totals.tokens, 1);
    assert_eq!(verify(&open, &basic, [None, user("ann:secret")]).outcome, Outcome::Equal);
    for users in
        [[user("ann:wrong"), user("bob:word")], [user("ann:secret"), user("bob:wrong")], [None, None]]
    {
        let report = verify(&basic, &bearer, users.clone());
        assert_eq!(report.outcome, Outcome::Refused, "{report}");
        let error = report.error.as_ref().unwrap();
        let says = if users[0].is_none() { "wants a name and a password" } else { "does not take this name" };
        assert!(error.contains(says) && error.contains("(401 Unauthorized"), "{error}");
        let right = users[0].as_ref().is_some_and(|user| *user == "ann:secret".parse().unwrap());
        let side = if right { Side::Destination } else { Side::Source };
        assert!(users == [None, None] || report.error_side == Some(side), "{report:?}");
    }
    // All repositories need another scope than one.
    let (here, there): (Address, Address) = (basic.url().parse().unwrap(), bearer.url().parse().unwrap());
    let all = Verification::try_new(here, there).unwrap().credentials(user("ann:secret"), user("bob:word"));
    assert_eq!(run(all).outcome, Outcome::Equal);
}

/// Blobs come from another port, by TLS, and the registry's token must not go there: it answers 403 to one that does.
#[test]
fn tls_and_redirects_are_followed() {
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let auth = Auth::bearer([("ann", "secret")]);
    let secure =
        Registry::builder().tls(Tls::ephemeral()).auth(auth).redirect_blobs(any_port).start().unwrap();
    let plain = registry();
    let authorities = Authorities::try_from_pem(secure.ca_certificate().unwrap().as_bytes()).unwrap();
    let verify = |here: Address, there: Address| Verification::try_new(here, there).unwrap();
    let (here, there) = (address(&secure, "synth/1mb"), address(&plain, "synth/1mb"));
    let user = Some("ann:secret".parse().unwrap());
    let plan = verify(here.clone(), there.clone()).credentials(user.clone(), None).authorities(authorities);
    let report = run(plan);
    assert_eq!((report.outcome, report.blobs), (Outcome::Equal, 2), "{report}");
    assert!(secure.journal().iter().any(|record| record.status == 307));
    // An authority that never signed for this registry vouches for nobody.
    let stranger = Registry::builder().tls(Tls::ephemeral()).start().unwrap();
    let strangers = Authorities::try_from_pem(stranger.ca_certificate().unwrap().as_bytes()).unwrap();
    let plan = verify(here, there).credentials(user, None);
    let report = run(plan.clone().authorities(strangers));
    assert_eq!((report.outcome, report.error_side), (Outcome::Untrusted, Some(Side::Source)), "{report:?}");
    assert!(report.error.as_ref().unwrap().contains("vouches for its certificate"), "{report:?}");
    // Whoever checks nothing gets there, and the report says so.
    let report = run(plan.authorities(Authorities::unchecked()));
    assert_eq!(report.outcome, Outcome::Equal, "{report:?}");
    assert!(report.notes[0].contains("certificates were not checked"), "{report}");
}
