//! What a catalogue describes, as clients meet it: every kind of manifest, artifacts, layers that lie elsewhere, and
//! more tags than anybody writes down.

use std::time::{Duration, Instant};

use mockreg::Registry;
use mockreg_proto::digest::Digest;
use serde_json::Value;

use crate::client::{Client, wait_for};

const KINDS: &str = include_str!("../../../fixtures/catalogues/kinds.yaml");
const TEN_TERABYTES: &str = include_str!("../../../fixtures/catalogues/ten-terabytes.yaml");
const MANY_TAGS: &str = include_str!("../../../fixtures/catalogues/many-tags.yaml");

fn with(text: &str) -> Registry {
    let catalogue = mockreg_proto::document::read("test", text).unwrap();
    Registry::builder().catalogue(catalogue).start().unwrap()
}

/// A manifest, checked against its digest and its own media type.
fn manifest(client: &mut Client, repository: &str, reference: &str) -> (String, Value) {
    let answer = client.get(&format!("/v2/{repository}/manifests/{reference}"));
    assert_eq!(answer.status, 200, "{repository} {reference}: {}", answer.text());
    let digest = answer.header("docker-content-digest").unwrap().to_owned();
    assert_eq!(Digest::of(&answer.body).to_string(), digest);
    assert_eq!(answer.header("content-type"), answer.json()["mediaType"].as_str());
    (digest, answer.json())
}

/// Fetches all that an image's manifest names; layers with a URL must not be there.
fn pull(client: &mut Client, repository: &str, manifest: &Value) {
    let layers = manifest["layers"].as_array().unwrap();
    for named in layers.iter().chain([&manifest["config"]]) {
        let digest = named["digest"].as_str().unwrap();
        let answer = client.get(&format!("/v2/{repository}/blobs/{digest}"));
        if named.get("urls").is_some() {
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (404, "BLOB_UNKNOWN"),
                "{repository} {digest}"
            );
        } else {
            assert_eq!(answer.status, 200, "{repository} {digest}");
            assert_eq!(answer.body.len() as u64, named["size"].as_u64().unwrap());
            assert_eq!(Digest::of(&answer.body).to_string(), digest);
        }
    }
}

#[test]
fn every_kind_of_manifest_can_be_pulled_whole() {
    let registry = with(KINDS);
    let mut client = Client::of(&registry);
    let repositories = client.get("/v2/_catalog").json();
    let repositories = repositories["repositories"].as_array().unwrap();
    assert_eq!(repositories.len(), 8);
    for repository in repositories.iter().map(|name| name.as_str().unwrap()) {
        let (_, root) = manifest(&mut client, repository, "v1");
        match root["manifests"].as_array() {
            None => pull(&mut client, repository, &root),
            Some(children) => {
                assert_eq!(children.len(), 2, "{repository}");
                for child in children {
                    let (_, image) = manifest(&mut client, repository, child["digest"].as_str().unwrap());
                    assert_eq!(image["mediaType"], child["mediaType"]);
                    pull(&mut client, repository, &image);
                }
            }
        }
    }
}

#[test]
fn artifacts_are_listed_for_what_they_refer_to() {
    let registry = with(KINDS);
    let mut client = Client::of(&registry);
    for (repository, tag, artifacts) in [
        ("kinds/signed", "v1", 3),
        ("kinds/signed", "v2", 3),
        ("kinds/signed-multi", "v1", 2),
        ("kinds/empty", "v1", 0),
    ] {
        let (subject, _) = manifest(&mut client, repository, tag);
        let listed = client.get(&format!("/v2/{repository}/referrers/{subject}")).json();
        let listed = listed["manifests"].as_array().unwrap().clone();
        assert_eq!(listed.len(), artifacts, "{repository}:{tag}");
        for entry in listed {
            let (_, artifact) = manifest(&mut client, repository, entry["digest"].as_str().unwrap());
            assert_eq!(artifact["subject"]["digest"], subject);
            assert_eq!(artifact["artifactType"], entry["artifactType"]);
            assert_eq!(artifact["annotations"], entry["annotations"]);
            pull(&mut client, repository, &artifact);
        }
    }
    let (subject, _) = manifest(&mut client, "kinds/signed", "v1");
    let path = format!("/v2/kinds/signed/referrers/{subject}?artifactType=application/spdx%2Bjson");
    assert_eq!(client.get(&path).json()["manifests"].as_array().unwrap().len(), 1);
}

/// After a restart a client may go on with digests that it knows: nothing has been asked for by tag.
#[test]
fn digests_are_found_without_their_tags() {
    let (mut known, names) = (Vec::new(), ["kinds/multi", "kinds/signed", "kinds/empty"]);
    let first = with(KINDS);
    for repository in names {
        let (digest, root) = manifest(&mut Client::of(&first), repository, "v1");
        let child = root["manifests"][1]["digest"].as_str().map(str::to_owned);
        known.push((repository, child.unwrap_or(digest)));
    }
    let second = with(KINDS);
    for (repository, digest) in known {
        manifest(&mut Client::of(&second), repository, &digest);
    }
    let unknown = Digest::of(b"nobody has this");
    for path in [
        format!("manifests/{unknown}"),
        format!("blobs/{unknown}"),
        format!("blobs/sha512:{}", "0".repeat(128)),
    ] {
        assert_eq!(Client::of(&second).get(&format!("/v2/kinds/signed/{path}")).status, 404, "{path}");
    }
}

#[test]
fn a_manifest_goes_with_all_tags_that_name_it() {
    let registry = with(
        "schema_version: 1\nrepositories:\n  \
         - {name: a, tags: {prefix: v, count: 20}, layers: [2kB], shared_layers: 1}\n  \
         - {name: b, tags: [x, y], layers: [2kB, 3kB]}",
    );
    let mut client = Client::of(&registry);
    for (repository, tag, left) in [("a", "v1", vec![]), ("b", "x", vec!["y"])] {
        let (digest, _) = manifest(&mut client, repository, tag);
        let answer = client.send("DELETE", &format!("/v2/{repository}/manifests/{digest}"), &[], b"");
        assert_eq!(answer.status, 202, "{}", answer.text());
        let tags = client.get(&format!("/v2/{repository}/tags/list")).json();
        assert_eq!(tags["tags"], serde_json::json!(left), "{repository}");
    }
    assert_eq!(client.get("/v2/a/manifests/v20").status, 404);
    assert_eq!(client.get("/v2/b/manifests/y").status, 200);
}

/// A list of 300,000 tags is read page by page; each page is made from its number on, so the last is as quick as the
/// first. All of them at once took 0.1 s; the bound is for a busy machine.
#[test]
fn hundreds_of_thousands_of_tags_are_listed_by_pages() {
    let registry = with(MANY_TAGS);
    let mut client = Client::of(&registry);
    let started = Instant::now();
    let (mut count, mut last) = (0, String::new());
    loop {
        let page = client.get(&format!("/v2/team/builds/tags/list?n=10000&last={last}")).json();
        let tags = page["tags"].as_array().unwrap().clone();
        assert!(tags.windows(2).all(|pair| pair[0].as_str() < pair[1].as_str()));
        count += tags.len();
        match tags.last() {
            Some(tag) => tag.as_str().unwrap().clone_into(&mut last),
            None => break,
        }
    }
    assert_eq!((count, last.as_str()), (300_000, "build-99999"));
    let (digest, image) = manifest(&mut client, "team/builds", "build-123456");
    manifest(&mut client, "team/builds", &digest);
    pull(&mut client, "team/builds", &image);
    assert_eq!(client.get("/v2/team/builds/manifests/build-300001").status, 404);
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

/// Nothing of 10 TB is computed before it is asked for: the registry answers long before that could be done.
#[test]
fn ten_terabytes_are_served_at_once() {
    let started = Instant::now();
    let registry = with(TEN_TERABYTES);
    let mut client = Client::of(&registry);
    let page = client.get("/v2/_catalog?n=2&last=hub/23997").json();
    assert_eq!(page["repositories"], serde_json::json!(["hub/23998", "hub/23999"]));
    let (_, image) = manifest(&mut client, "hub/24000", "v1");
    let layer = image["layers"][0]["digest"].as_str().unwrap();
    let answer = client.send("GET", &format!("/v2/hub/24000/blobs/{layer}"), &[("range", "bytes=0-1")], b"");
    assert_eq!((answer.status, answer.body.as_slice()), (206, &[0x1f, 0x8b][..]));
    // Planning alone takes some 0.1 s here and a few hundred milliseconds where tests are not optimised.
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    wait_for(&registry, |record| record.status == 206);
}

/// Digests that this process has not handed out: of the first and last image, of none, all at once and again.
#[test]
fn a_digest_is_found_among_thousands_of_images_or_not_at_all() {
    let text =
        "schema_version: 1\nrepositories: [{name: a, tags: {prefix: v, count: 3000}, layers: [2kB, 1kB]}]";
    let (known, asked) = (with(text), with(text));
    let digest = |tag: &str| manifest(&mut Client::of(&known), "a", tag).0;
    let (first, last) = (digest("v1"), digest("v3000"));
    let unknown = Digest::of(b"nobody has this");
    std::thread::scope(|scope| {
        for _ in 0..2 {
            for (path, status) in [
                (format!("/v2/a/manifests/{last}"), 200),
                (format!("/v2/a/manifests/{first}"), 200),
                (format!("/v2/a/manifests/{unknown}"), 404),
                (format!("/v2/a/blobs/{unknown}"), 404),
            ] {
                let asked = &asked;
                scope.spawn(move || assert_eq!(Client::of(asked).get(&path).status, status, "{path}"));
            }
        }
    });
    assert_eq!(Client::of(&asked).get(&format!("/v2/a/blobs/{unknown}")).code(), "BLOB_UNKNOWN");
}
