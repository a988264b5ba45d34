//! The list of manifests that refer to another one.

use mockreg::Registry;
use mockreg::policy::Policy;
use mockreg_proto::digest::{Algorithm, Digest};
use mockreg_proto::media_type::{OCI_INDEX, OCI_MANIFEST};
use serde_json::{Value, json};

use crate::client::{Answer, Case, Client, check, descriptor, manifest, put_manifest, registry};

fn referring(body: &Value, subject: Digest, artifact_type: Option<&str>, note: &str) -> Value {
    let mut body = body.clone();
    body["subject"] = descriptor(OCI_MANIFEST, subject, 7);
    body["annotations"] = json!({ "note": note });
    if let Some(artifact_type) = artifact_type {
        body["artifactType"] = json!(artifact_type);
    }
    body
}

/// The notes of the manifests listed, sorted.
fn notes(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some(OCI_INDEX));
    let index = answer.json();
    assert_eq!((&index["schemaVersion"], &index["mediaType"]), (&json!(2), &json!(OCI_INDEX)));
    let manifests = index["manifests"].as_array().unwrap();
    let mut notes: Vec<_> =
        manifests.iter().map(|entry| entry["annotations"]["note"].as_str().unwrap().to_owned()).collect();
    notes.sort();
    notes
}

#[test]
fn there_is_always_a_list() {
    let registry = registry();
    let subject = Digest::of(b"nobody");
    check(
        &registry,
        &[
            Case::new("unknown repository", "GET", format!("/v2/nowhere/referrers/{subject}"), 200)
                .has("content-type", OCI_INDEX)
                .has("content-length", "88")
                .lacks("oci-filters-applied")
                .says(r#""manifests":[]"#),
            Case::new("HEAD", "HEAD", format!("/v2/nowhere/referrers/{subject}"), 200)
                .has("content-length", "88"),
            Case::new("filtered", "GET", format!("/v2/nowhere/referrers/{subject}?artifactType=a/b"), 200)
                .has("oci-filters-applied", "artifactType"),
            Case::new("bad digest", "GET", "/v2/nowhere/referrers/sha256:0", 400).code("DIGEST_INVALID"),
            Case::new("a tag", "GET", "/v2/nowhere/referrers/latest", 400).code("DIGEST_INVALID"),
            Case::new("bad name", "GET", format!("/v2/No/referrers/{subject}"), 400).code("NAME_INVALID"),
            Case::new("no such method", "POST", format!("/v2/a/referrers/{subject}"), 405)
                .code("UNSUPPORTED"),
        ],
    );
}

#[test]
fn referrers_are_listed_filtered_and_gone_when_deleted() {
    let registry = registry();
    let mut client = Client::of(&registry);
    let body = manifest(&mut client, "a");
    let subject = Digest::of(b"yet to come");
    let sbom = referring(&body, subject, Some("application/sbom+json"), "sbom");
    let text = sbom.to_string();
    let digest = Digest::of(text.as_bytes());
    for reference in [digest.to_string(), "tagged".into()] {
        let put = client.send("PUT", &format!("/v2/a/manifests/{reference}"), &[], text.as_bytes());
        assert_eq!((put.status, put.header("oci-subject")), (201, Some(subject.to_string().as_str())));
    }
    let image = put_manifest(&mut client, "a", "signature", &referring(&body, subject, None, "image"));
    let mut index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [] });
    index = referring(&index, subject, None, "index");
    put_manifest(&mut client, "a", "index", &index);
    let other = Digest::of_with(Algorithm::Sha512, b"another");
    put_manifest(&mut client, "a", "other", &referring(&body, other, None, "other"));

    let list = format!("/v2/a/referrers/{subject}");
    let all = client.get(&list);
    assert_eq!(notes(&all), ["image", "index", "sbom"]);
    assert_eq!((all.header("oci-filters-applied"), all.header("link")), (None, None));
    for entry in all.json()["manifests"].as_array().unwrap() {
        let (media_type, artifact_type) = match entry["annotations"]["note"].as_str().unwrap() {
            "sbom" => (OCI_MANIFEST, Some("application/sbom+json")),
            "image" => (OCI_MANIFEST, Some("application/vnd.oci.image.config.v1+json")),
            _ => (OCI_INDEX, None),
        };
        assert_eq!(entry["mediaType"], media_type);
        assert_eq!(entry.get("artifactType").map(|of| of.as_str().unwrap()), artifact_type);
        let manifest = client.get(&format!("/v2/a/manifests/{}", entry["digest"].as_str().unwrap()));
        assert_eq!(entry["size"], manifest.body.len());
    }
    for (filter, wanted) in [
        ("artifactType=application/sbom%2Bjson", vec!["sbom"]),
        ("artifactType=application%2Fvnd.oci.image.config.v1%2Bjson", vec!["image"]),
        (
            "artifactType=application/sbom%2Bjson&artifactType=application/vnd.oci.image.config.v1%2Bjson",
            vec!["image", "sbom"],
        ),
        ("artifactType=none/such", vec![]),
    ] {
        let answer = client.get(&format!("{list}?{filter}"));
        assert_eq!(notes(&answer), wanted, "{filter}");
        assert_eq!(answer.header("oci-filters-applied"), Some("artifactType"));
    }
    assert_eq!(notes(&client.get(&format!("{list}?artifactType="))), ["image", "index", "sbom"]);
    assert_eq!(notes(&client.get(&format!("/v2/a/referrers/{other}"))), ["other"]);
    assert_eq!(notes(&client.get(&format!("/v2/b/referrers/{subject}"))), [""; 0]);

    assert_eq!(client.send("DELETE", "/v2/a/manifests/tagged", &[], b"").status, 202);
    assert_eq!(notes(&client.get(&list)), ["image", "index", "sbom"], "a tag only");
    assert_eq!(client.send("DELETE", &format!("/v2/a/manifests/{image}"), &[], b"").status, 202);
    assert_eq!(notes(&client.get(&list)), ["index", "sbom"]);
}

#[test]
fn long_lists_come_in_pages_that_keep_the_filter() {
    let policy = Policy { referrers_page: Some(3), ..Policy::default() };
    let registry = Registry::builder().policy(policy).start().unwrap();
    let mut client = Client::of(&registry);
    let body = manifest(&mut client, "a");
    let subject = Digest::of(b"subject");
    for n in 0..10 {
        let artifact_type = if n % 2 == 0 { "a/b+c" } else { "d/e" };
        put_manifest(
            &mut client,
            "a",
            &format!("t{n}"),
            &referring(&body, subject, Some(artifact_type), &n.to_string()),
        );
    }
    for (filter, wanted, pages) in
        [("", (0..10).collect::<Vec<_>>(), 4), ("?artifactType=a/b%2Bc", vec![0, 2, 4, 6, 8], 2)]
    {
        let (mut path, mut found, mut count) = (format!("/v2/a/referrers/{subject}{filter}"), Vec::new(), 0);
        loop {
            let page = client.get(&path);
            found.extend(notes(&page));
            count += 1;
            let Some(link) = page.header("link") else { break };
            path = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned();
        }
        found.sort();
        assert_eq!((found, count), (wanted.iter().map(ToString::to_string).collect(), pages), "{filter}");
    }
    check(
        &registry,
        &[Case::new("bad page", "GET", format!("/v2/a/referrers/{subject}?last=x"), 400)
            .code("PAGINATION_NUMBER_INVALID")],
    );
}

#[test]
fn what_clients_listed_under_the_fallback_tag_is_in_the_list() {
    let registry = registry();
    let mut client = Client::of(&registry);
    let body = manifest(&mut client, "a");
    for subject in [Digest::of(b"subject"), Digest::of_with(Algorithm::Sha512, b"subject")] {
        // One with and one without a subject of its own; one that is not there.
        let both = referring(&body, subject, Some("a/b"), "both");
        let mut listed_only = body.clone();
        listed_only["annotations"] = json!({ "note": "inside" });
        let entry = |digest: Digest, note: &str, artifact_type: &str| {
            let mut entry = descriptor(OCI_MANIFEST, digest, 9);
            entry["artifactType"] = json!(artifact_type);
            entry["annotations"] = json!({ "note": note });
            entry
        };
        let both = put_manifest(&mut client, "a", "both", &both);
        let listed = put_manifest(&mut client, "a", "listed", &listed_only);
        let gone = put_manifest(&mut client, "a", "gone", &referring(&body, Digest::of(b"x"), None, "gone"));
        let index = json!({
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [entry(both, "twice", "a/b"), entry(listed, "listed", "c/d"), entry(gone, "gone", "c/d")],
        });
        let text = index.to_string();
        let tag = format!("{}-{}", subject.algorithm(), &subject.hex()[..64]);
        // Sizes in such lists are often wrong, and a registry that has the manifests knows better; not this one's.
        let put = client.send("PUT", &format!("/v2/a/manifests/{tag}"), &[], text.as_bytes());
        assert_eq!(put.status, 400, "{put:?}");
        let mut index = index;
        for entry in index["manifests"].as_array_mut().unwrap() {
            let path = format!("/v2/a/manifests/{}", entry["digest"].as_str().unwrap());
            entry["size"] = json!(client.get(&path).body.len());
        }
        put_manifest(&mut client, "a", &tag, &index);
        client.send("DELETE", &format!("/v2/a/manifests/{gone}"), &[], b"");
        let list = format!("/v2/a/referrers/{subject}");
        assert_eq!(notes(&client.get(&list)), ["both", "listed"]);
        assert_eq!(notes(&client.get(&format!("{list}?artifactType=c/d"))), ["listed"]);
    }
}

#[test]
fn a_registry_may_have_no_referrers_or_no_filter() {
    let off = Policy { referrers: false, ..Policy::default() };
    let registry = Registry::builder().policy(off).start().unwrap();
    let mut client = Client::of(&registry);
    let body = manifest(&mut client, "a");
    let subject = Digest::of(b"subject");
    let text = referring(&body, subject, Some("a/b"), "one").to_string();
    check(
        &registry,
        &[
            Case::new("push", "PUT", "/v2/a/manifests/v1", 201).body(text.as_str()).lacks("oci-subject"),
            Case::new("list", "GET", format!("/v2/a/referrers/{subject}"), 404).code("UNSUPPORTED"),
        ],
    );
    let unfiltered = Policy { referrers_filter: false, ..Policy::default() };
    let registry = Registry::builder().policy(unfiltered).start().unwrap();
    let mut client = Client::of(&registry);
    let body = manifest(&mut client, "a");
    put_manifest(&mut client, "a", "v1", &referring(&body, subject, Some("a/b"), "one"));
    let answer = client.get(&format!("/v2/a/referrers/{subject}?artifactType=none/such"));
    assert_eq!((notes(&answer), answer.header("oci-filters-applied")), (vec!["one".to_owned()], None));
}
