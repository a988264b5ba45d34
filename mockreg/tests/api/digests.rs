//! Content named by SHA-512: pushed in every way without saying so first, and answered in the algorithm asked for.

use mockreg_proto::digest::{Algorithm, Digest};
use mockreg_proto::journal::Check;
use mockreg_proto::media_type::{OCI_INDEX, OCI_MANIFEST};
use serde_json::{Value, json};

use crate::client::{
    Case, Client, bytes_of, check, counters, descriptor, foreign, layer, manifest, open_upload, registry,
    wait_for,
};

fn sha512(bytes: &[u8]) -> Digest {
    Digest::of_with(Algorithm::Sha512, bytes)
}

#[test]
fn blobs_go_in_by_sha512_in_every_way() {
    let registry = registry();
    let mut client = Client::of(&registry);
    let (empty, own, synthetic) = (Vec::new(), foreign(300_000), bytes_of(layer("2mb")));
    for bytes in [&empty, &own, &synthetic] {
        let digest = sha512(bytes);
        for way in ["post", "put", "stream", "chunks", "announced"] {
            let repository = format!("{way}/{}", bytes.len());
            let uploads = format!("/v2/{repository}/blobs/uploads/");
            let answer = match way {
                "post" => client.send("POST", &format!("{uploads}?digest={digest}"), &[], bytes),
                "announced" => {
                    let open = client.send("POST", &format!("{uploads}?digest-algorithm=sha512"), &[], b"");
                    let location = open.header("location").unwrap().to_owned();
                    client.send("PUT", &format!("{location}?digest={digest}"), &[], bytes)
                }
                "put" => {
                    let location = open_upload(&mut client, &repository);
                    client.send_chunked(
                        "PUT",
                        &format!("{location}?digest={digest}"),
                        &[],
                        &[&bytes[..]][..usize::from(!bytes.is_empty())],
                    )
                }
                _ => {
                    let location = open_upload(&mut client, &repository);
                    for (at, chunk) in bytes.chunks(100_000).enumerate() {
                        let range = format!("{}-{}", at * 100_000, at * 100_000 + chunk.len() - 1);
                        let ranged = [("Content-Range", range.as_str())];
                        let headers = if way == "chunks" { &ranged[..] } else { &[] };
                        assert_eq!(client.send("PATCH", &location, headers, chunk).status, 202);
                    }
                    client.send("PUT", &format!("{location}?digest={digest}"), &[], b"")
                }
            };
            assert_eq!(answer.status, 201, "{way}: {answer:?}");
            assert_eq!(answer.header("docker-content-digest"), Some(digest.to_string().as_str()));
            let location = answer.header("location").unwrap();
            assert_eq!(location, format!("/v2/{repository}/blobs/{digest}"));
            let got = client.get(location);
            assert!(got.status == 200 && got.body == *bytes, "{way}");
            assert_eq!(got.header("docker-content-digest"), Some(digest.to_string().as_str()));
            check(
                &registry,
                &[
                    Case::new("HEAD", "HEAD", location, 200)
                        .has("content-length", bytes.len().to_string())
                        .has("etag", format!("\"{digest}\"")),
                    Case::new("cached", "GET", location, 304)
                        .header("If-None-Match", digest.to_string())
                        .has("docker-content-digest", digest.to_string()),
                ],
            );
        }
    }
    let held = counters(&registry);
    assert_eq!([&held["recipes"], &held["blobs_stored"], &held["stored_bytes"]], [1, 3, 300_000]);
    wait_for(&registry, |record| record.check == Some(Check::Compare) && record.status == 201);
}

#[test]
fn a_wrong_sha512_stores_nothing_and_another_algorithm_is_unknown() {
    let registry = registry();
    let mut client = Client::of(&registry);
    let wrong = sha512(b"else");
    let location = open_upload(&mut client, "a");
    let put = client.send("PUT", &format!("{location}?digest={wrong}"), &[], &foreign(1_000));
    assert_eq!((put.status, put.code().as_str()), (400, "DIGEST_INVALID"));
    assert!(put.details().contains(&sha512(&foreign(1_000)).to_string()));
    check(
        &registry,
        &[
            Case::new("the session", "GET", &location, 404).code("BLOB_UPLOAD_UNKNOWN"),
            Case::new("the blob", "HEAD", format!("/v2/a/blobs/{wrong}"), 404),
            Case::new("single POST", "POST", format!("/v2/a/blobs/uploads/?digest={wrong}"), 400)
                .body("x")
                .code("DIGEST_INVALID"),
            Case::new("unknown algorithm", "POST", "/v2/a/blobs/uploads/?digest-algorithm=sha384", 400)
                .code("DIGEST_INVALID"),
        ],
    );
}

#[test]
fn manifests_answer_in_the_algorithm_they_are_asked_by_and_tags_in_theirs() {
    let registry = registry();
    let mut client = Client::of(&registry);
    let body = manifest(&mut client, "a").to_string();
    let (short, long) = (Digest::of(body.as_bytes()), sha512(body.as_bytes()));
    let put = client.send("PUT", &format!("/v2/a/manifests/{long}?tag=long"), &[], body.as_bytes());
    assert_eq!((put.status, put.header("oci-tag")), (201, Some("long")));
    assert_eq!(put.header("docker-content-digest"), Some(long.to_string().as_str()));
    assert_eq!(put.header("location"), Some(format!("/v2/a/manifests/{long}").as_str()));
    let by = |reference: &str, digest: Digest| {
        Case::new("GET", "GET", format!("/v2/a/manifests/{reference}"), 200)
            .has("docker-content-digest", digest.to_string())
            .has("etag", format!("\"{digest}\""))
            .has("content-length", body.len().to_string())
    };
    check(
        &registry,
        &[
            by(&long.to_string(), long),
            by("long", long),
            Case::new("not by the other", "GET", format!("/v2/a/manifests/{short}"), 404),
            Case::new("tag", "PUT", "/v2/a/manifests/short", 201)
                .body(body.as_str())
                .has("docker-content-digest", short.to_string()),
            by("short", short),
            by("long", long),
            by(&short.to_string(), short),
            Case::new("mismatch", "PUT", format!("/v2/a/manifests/{long}"), 400)
                .body(format!("{body} "))
                .code("DIGEST_INVALID"),
        ],
    );
    // Descriptors may have either.
    let index: Value = json!({
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [descriptor(OCI_MANIFEST, long, body.len()), descriptor(OCI_MANIFEST, short, body.len())],
    });
    assert_eq!(client.send("PUT", "/v2/a/manifests/index", &[], index.to_string().as_bytes()).status, 201);
}
