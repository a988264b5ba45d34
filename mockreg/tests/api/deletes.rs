//! Deleting tags, manifests and blobs: pushed ones, and those of images that the registry makes itself.

use mockreg::Registry;
use mockreg::policy::Policy;
use mockreg_proto::digest::Digest;
use mockreg_proto::journal::Check;
use serde_json::{Value, json};

use crate::client::{
    Case, Client, bytes_of, check, counters, foreign, image, layer, manifest, push_blob, put_manifest,
    registry,
};

fn delete(path: impl Into<String>, status: u16) -> Case {
    Case::new("delete", "DELETE", path, status)
}

fn head(name: &'static str, path: impl Into<String>, status: u16) -> Case {
    Case::new(name, "HEAD", path, status)
}

#[test]
fn a_deleted_tag_leaves_its_manifest_and_a_deleted_manifest_takes_its_tags() {
    let registry = registry();
    let mut client = Client::of(&registry);
    let body = manifest(&mut client, "a");
    let digest = put_manifest(&mut client, "a", "v1", &body);
    put_manifest(&mut client, "a", "v2", &body);
    let mut other = body.clone();
    other["annotations"] = json!({ "n": "2" });
    let (by_digest, by_other) =
        (format!("/v2/a/manifests/{digest}"), put_manifest(&mut client, "a", "v3", &other));
    check(
        &registry,
        &[
            delete("/v2/a/manifests/v1", 202).has("content-length", "0"),
            head("the tag", "/v2/a/manifests/v1", 404),
            head("another tag", "/v2/a/manifests/v2", 200),
            delete("/v2/a/manifests/v1", 404).code("MANIFEST_UNKNOWN"),
            delete(&by_digest, 202),
            head("the manifest", &by_digest, 404),
            head("its other tag", "/v2/a/manifests/v2", 404),
            head("another manifest", format!("/v2/a/manifests/{by_other}"), 200),
            delete(&by_digest, 404).code("MANIFEST_UNKNOWN"),
            Case::new("what is left", "GET", "/v2/a/tags/list", 200).says(r#""tags":["v3"]"#),
            delete("/v2/a/manifests/v3", 202),
            Case::new("nothing is left", "GET", "/v2/a/tags/list", 200).says(r#""tags":[]"#),
            delete("/v2/nowhere/manifests/v1", 404).code("NAME_UNKNOWN"),
            delete("/v2/a/manifests/-v", 400).code("TAG_INVALID"),
            delete("/v2/a/manifests/sha256:0", 400).code("DIGEST_INVALID"),
        ],
    );
    put_manifest(&mut client, "a", "v1", &body);
    check(&registry, &[head("pushed again", &by_digest, 200)]);
}

#[test]
fn a_deleted_blob_is_gone_from_one_repository_and_with_the_last_from_memory() {
    let registry = registry();
    let mut client = Client::of(&registry);
    let digest = push_blob(&mut client, "a", &foreign(50_000));
    let path = |repository: &str| format!("/v2/{repository}/blobs/{digest}");
    check(
        &registry,
        &[
            Case::new("mount", "POST", format!("/v2/b/blobs/uploads/?mount={digest}&from=a"), 201),
            delete(path("b"), 202).has("content-length", "0"),
            head("there", path("b"), 404),
            head("here", path("a"), 200),
            delete(path("b"), 404).code("BLOB_UNKNOWN"),
            delete("/v2/a/blobs/sha256:0", 400).code("DIGEST_INVALID"),
            delete(path("nowhere"), 404).code("NAME_UNKNOWN"),
        ],
    );
    assert_eq!(counters(&registry)["stored_bytes"], 50_000);
    check(&registry, &[delete(path("a"), 202), head("here", path("a"), 404)]);
    let held = counters(&registry);
    assert_eq!([&held["stored_bytes"], &held["blobs_stored"]], [0, 0]);
    let mount = Case::new("no mount", "POST", format!("/v2/b/blobs/uploads/?mount={digest}&from=a"), 202);
    check(&registry, &[mount]);
}

#[test]
fn room_of_deleted_content_is_there_for_other_content() {
    let registry = Registry::builder().memory_budget(100_000).start().unwrap();
    let mut client = Client::of(&registry);
    for round in 0..5 {
        let bytes = foreign(90_000 + round);
        let digest = push_blob(&mut client, "a", &bytes);
        assert_eq!(client.send("DELETE", &format!("/v2/a/blobs/{digest}"), &[], b"").status, 202);
    }
}

#[test]
fn a_synthetic_layer_is_compared_and_a_recipe_again_after_its_deletion() {
    let registry = registry();
    let mut client = Client::of(&registry);
    let bytes = bytes_of(layer("2mb"));
    for round in 1..=2 {
        let digest = push_blob(&mut client, "a", &bytes);
        let journal = registry.journal();
        let compared = journal.iter().filter(|line| line.check == Some(Check::Compare) && line.status == 201);
        assert_eq!(compared.count(), round);
        let held = counters(&registry);
        assert_eq!([&held["recipes"], &held["stored_bytes"]], [1, 0], "round {round}");
        assert!(client.get(&format!("/v2/a/blobs/{digest}")).body == bytes);
        assert_eq!(client.send("DELETE", &format!("/v2/a/blobs/{digest}"), &[], b"").status, 202);
        assert_eq!(counters(&registry)["recipes"], 0);
    }
}

const CATALOGUE: &str = "
schema_version: 1
repositories:
  - {name: app, tags: [v1, v2], layers: [10kB, 20kB]}
";

fn with_catalogue() -> Registry {
    let catalogue = mockreg_proto::document::read("test", CATALOGUE).unwrap();
    Registry::builder().catalogue(catalogue).start().unwrap()
}

#[test]
fn what_the_registry_makes_is_deleted_until_it_is_pushed_or_reset() {
    let registry = with_catalogue();
    let mut client = Client::of(&registry);
    let got = client.get("/v2/app/manifests/v1");
    let digest: Digest = got.header("docker-content-digest").unwrap().parse().unwrap();
    let blob = got.json()["layers"][0]["digest"].as_str().unwrap().to_owned();
    let bytes = client.get(&format!("/v2/app/blobs/{blob}")).body;
    let tags = |wanted: &'static str| Case::new("tags", "GET", "/v2/app/tags/list", 200).says(wanted);
    let (by_digest, blob_path) = (format!("/v2/app/manifests/{digest}"), format!("/v2/app/blobs/{blob}"));
    check(
        &registry,
        &[
            delete("/v2/app/manifests/v2", 202),
            head("the tag", "/v2/app/manifests/v2", 404),
            tags(r#"["v1"]"#),
            delete(&by_digest, 202),
            head("the manifest", &by_digest, 404),
            head("its tag", "/v2/app/manifests/v1", 404),
            tags(r#""tags":[]"#),
            delete(&by_digest, 404).code("MANIFEST_UNKNOWN"),
            delete(&blob_path, 202),
            head("the blob", &blob_path, 404),
            Case::new("no mount", "POST", format!("/v2/b/blobs/uploads/?mount={blob}"), 202),
            Case::new("no mount", "POST", format!("/v2/b/blobs/uploads/?mount={blob}&from=app"), 202),
        ],
    );
    let put = client.send("PUT", "/v2/app/manifests/v9", &[], &got.body);
    assert_eq!((put.status, put.code().as_str()), (404, "MANIFEST_BLOB_UNKNOWN"));
    push_blob(&mut client, "app", &bytes);
    assert_eq!(client.send("PUT", "/v2/app/manifests/v9", &[], &got.body).status, 201);
    check(
        &registry,
        &[
            head("pushed again", &by_digest, 200),
            head("pushed again", &blob_path, 200),
            head("a tag stays deleted", "/v2/app/manifests/v1", 404),
            tags(r#"["v9"]"#),
            delete("/v2/app/manifests/v9", 202),
            head("and uncovers nothing", "/v2/app/manifests/v9", 404),
        ],
    );
    Client::new(registry.admin_addr()).send("POST", "/reset", &[], b"");
    check(
        &registry,
        &[tags(r#"["v1","v2"]"#), head("reset", &by_digest, 200), head("reset", &blob_path, 200)],
    );
    check(&registry, &[delete(&by_digest, 202)]);
    Client::new(registry.admin_addr()).send("PUT", "/catalog", &[], CATALOGUE.as_bytes());
    check(&registry, &[head("another catalogue", &by_digest, 200)]);
}

/// What is listed is what was pushed to and what the catalogue has: a deletion alone makes no repository.
#[test]
fn a_repository_of_an_old_catalogue_is_listed_no_more() {
    let registry = with_catalogue();
    let mut client = Client::of(&registry);
    push_blob(&mut client, "pushed", b"content");
    let blob = Digest::of(b"content");
    let listed = |wanted: &'static str| Case::new("listed", "GET", "/v2/_catalog", 200).says(wanted);
    check(
        &registry,
        &[
            delete("/v2/app/manifests/v2", 202),
            delete("/v2/synth/10kb/manifests/v1", 202),
            delete(format!("/v2/pushed/blobs/{blob}"), 202),
            listed(r#"{"repositories":["app","pushed"]}"#),
        ],
    );
    let other = CATALOGUE.replace("app", "new");
    Client::new(registry.admin_addr()).send("PUT", "/catalog", &[], other.as_bytes());
    check(
        &registry,
        &[
            listed(r#"{"repositories":["new","pushed"]}"#),
            Case::new("gone", "GET", "/v2/app/tags/list", 404).code("NAME_UNKNOWN"),
            Case::new("empty", "GET", "/v2/pushed/tags/list", 200).says(r#""tags":[]"#),
            head("made again", "/v2/synth/10kb/manifests/v1", 200),
        ],
    );
}

#[test]
fn a_tag_pushed_over_one_of_the_catalogue_does_not_uncover_it() {
    let registry = with_catalogue();
    let mut client = Client::of(&registry);
    let body = manifest(&mut client, "app");
    let digest = put_manifest(&mut client, "app", "v1", &body);
    check(
        &registry,
        &[
            Case::new("pushed", "GET", "/v2/app/manifests/v1", 200)
                .has("docker-content-digest", digest.to_string()),
            delete(format!("/v2/app/manifests/{digest}"), 202),
            head("all its tags go", "/v2/app/manifests/v1", 404),
            head("others stay", "/v2/app/manifests/v2", 200),
        ],
    );
}

#[test]
fn an_image_made_from_its_name_is_deleted_too() {
    let registry = registry();
    let image = image("100kb");
    let layer = image.layers[0].digest;
    check(
        &registry,
        &[
            delete("/v2/synth/100kb/manifests/v1", 202),
            head("that tag", "/v2/synth/100kb/manifests/v1", 404),
            head("any other", "/v2/synth/100kb/manifests/v2", 200),
            delete(format!("/v2/synth/100kb/manifests/{}", image.manifest_digest), 202),
            head("none is left", "/v2/synth/100kb/manifests/v2", 404),
            Case::new("none is listed", "GET", "/v2/synth/100kb/tags/list", 200).says(r#""tags":[]"#),
            delete(format!("/v2/synth/100kb/blobs/{layer}"), 202),
            head("its layer", format!("/v2/synth/100kb/blobs/{layer}"), 404),
        ],
    );
}

#[test]
fn deletions_can_be_switched_off_one_by_one() {
    let policy = Policy {
        delete_tags: false,
        delete_manifests: false,
        delete_blobs: false,
        cancel_uploads: false,
        ..Policy::default()
    };
    let registry = Registry::builder().policy(policy).start().unwrap();
    let mut client = Client::of(&registry);
    let body = manifest(&mut client, "a");
    let digest = put_manifest(&mut client, "a", "v1", &body);
    let blob = Digest::of(b"layer");
    let upload = crate::client::open_upload(&mut client, "a");
    let off = |path: &str, allow: &str| delete(path, 405).code("UNSUPPORTED").has("allow", allow);
    check(
        &registry,
        &[
            off("/v2/a/manifests/v1", "GET, HEAD, PUT"),
            off(&format!("/v2/a/manifests/{digest}"), "GET, HEAD, PUT"),
            off(&format!("/v2/a/blobs/{blob}"), "GET, HEAD"),
            off(&upload, "GET, PATCH, PUT"),
            head("manifest", "/v2/a/manifests/v1", 200),
            head("blob", format!("/v2/a/blobs/{blob}"), 200),
            Case::new("upload", "GET", &upload, 204),
        ],
    );
    let only_tags = Policy { delete_tags: false, ..Policy::default() };
    let registry = Registry::builder().policy(only_tags).start().unwrap();
    let mut client = Client::of(&registry);
    let body: Value = manifest(&mut client, "a");
    let digest = put_manifest(&mut client, "a", "v1", &body);
    check(
        &registry,
        &[off("/v2/a/manifests/v1", "GET, HEAD, PUT"), delete(format!("/v2/a/manifests/{digest}"), 202)],
    );
}
