//! Pulling: manifests, blobs, lists, and what is not there.

use mockreg::Registry;
use mockreg_proto::digest::Digest;
use mockreg_proto::journal::Kind;

use crate::client::{Case, Client, check, image, registry, wait_for};

#[test]
fn base_and_unknown_routes() {
    let registry = registry();
    check(
        &registry,
        &[
            Case::new("base", "GET", "/v2/", 200).has("content-type", "application/json").says("{}"),
            Case::new("base without slash", "GET", "/v2", 200),
            Case::new("base HEAD", "HEAD", "/v2/", 200).has("content-length", "2"),
            Case::new("base PUT", "PUT", "/v2/", 405).code("UNSUPPORTED").has("allow", "GET, HEAD"),
            Case::new("elsewhere", "GET", "/v1/", 404).code("UNSUPPORTED"),
            Case::new("no endpoint", "GET", "/v2/a/b/c", 404).code("UNSUPPORTED"),
            Case::new("blob POST", "POST", format!("/v2/a/blobs/{}", Digest::of(b"")), 405)
                .code("UNSUPPORTED")
                .has("allow", "GET, HEAD, DELETE"),
            Case::new("manifest PATCH", "PATCH", "/v2/a/manifests/v1", 405)
                .code("UNSUPPORTED")
                .has("allow", "GET, HEAD, PUT, DELETE"),
            Case::new("unknown parameters are ignored", "GET", "/v2/?ns=docker.io&x=%zz", 200),
        ],
    );
}

#[test]
fn manifests_by_tag_and_digest() {
    let (registry, image) = (registry(), image("100kb-x2"));
    let digest = image.manifest_digest;
    let (by_tag, by_digest) =
        ("/v2/synth/100kb-x2/manifests/any", format!("/v2/synth/100kb-x2/manifests/{digest}"));
    let whole = |case: Case| {
        case.has("content-type", image.manifest_media_type)
            .has("content-length", image.manifest.len().to_string())
            .has("docker-content-digest", digest.to_string())
            .has("etag", format!("\"{digest}\""))
    };
    let not_modified = |name, tag: String| {
        Case::new(name, "GET", by_tag, 304)
            .header("If-None-Match", tag)
            .has("docker-content-digest", digest.to_string())
            .has("etag", format!("\"{digest}\""))
    };
    check(
        &registry,
        &[
            whole(Case::new("by tag", "GET", by_tag, 200)).says("schemaVersion"),
            whole(Case::new("by digest", "GET", &by_digest, 200)),
            whole(Case::new("HEAD by tag", "HEAD", by_tag, 200)),
            whole(Case::new("HEAD by digest", "HEAD", &by_digest, 200)),
            whole(Case::new("escaped digest", "GET", by_digest.replace(':', "%3A"), 200)),
            not_modified("quoted", format!("\"{digest}\"")),
            not_modified("bare", digest.to_string()),
            not_modified("weak, in a list", format!("\"x\", W/\"{digest}\"")),
            not_modified("star", "*".into()),
            whole(Case::new("other", "GET", by_tag, 200).header("If-None-Match", "\"x\"")),
            Case::new("unknown digest", "GET", format!("/v2/synth/100kb/manifests/{}", Digest::of(b"")), 404)
                .code("MANIFEST_UNKNOWN"),
        ],
    );
    let mut client = Client::of(&registry);
    assert_eq!(client.get(by_tag).body, image.manifest);
}

#[test]
fn blobs_have_all_that_clients_resume_by() {
    let (registry, image) = (registry(), image("100kb"));
    let layer = image.layers[0].digest;
    let path = format!("/v2/synth/100kb/blobs/{layer}");
    let whole = |name, method| {
        Case::new(name, method, &path, 200)
            .has("content-length", "100000")
            .has("content-type", "application/octet-stream")
            .has("accept-ranges", "bytes")
            .has("docker-content-digest", layer.to_string())
            .has("etag", format!("\"{layer}\""))
            .lacks("content-encoding")
    };
    check(
        &registry,
        &[
            whole("GET", "GET").header("Accept-Encoding", "zstd,gzip,deflate"),
            whole("HEAD", "HEAD"),
            whole("HEAD ignores ranges", "HEAD").header("Range", "bytes=0-1"),
            Case::new("not modified", "GET", &path, 304).header("If-None-Match", format!("\"{layer}\"")),
            Case::new("unknown", "GET", format!("/v2/synth/100kb/blobs/{}", Digest::of(b"")), 404)
                .code("BLOB_UNKNOWN"),
            Case::new("unknown HEAD", "HEAD", format!("/v2/synth/100kb/blobs/{}", Digest::of(b"")), 404)
                .code("BLOB_UNKNOWN"),
        ],
    );
    let mut client = Client::of(&registry);
    assert_eq!(Digest::of(&client.get(&path).body), layer);
    let config = client.get(&format!("/v2/synth/100kb/blobs/{}", image.config_digest));
    assert_eq!(config.body, image.config);
    let record = wait_for(&registry, |record| record.reference == image.config_digest.to_string());
    assert_eq!((record.kind, record.bytes_out), (Kind::Blob, image.config.len() as u64));
}

#[test]
fn a_blob_is_found_by_digest_after_a_restart() {
    let digest = image("100kb").layers[0].digest;
    let (first, second) = (registry(), registry());
    for registry in [first, second] {
        let answer = Client::of(&registry).get(&format!("/v2/synth/100kb/blobs/{digest}"));
        assert_eq!((answer.status, Digest::of(&answer.body)), (200, digest));
    }
}

#[test]
fn what_cannot_be_made_says_why() {
    let registry = registry();
    check(
        &registry,
        &[
            Case::new("no size", "GET", "/v2/synth/huge/manifests/v1", 404)
                .code("NAME_UNKNOWN")
                .says("is not a size"),
            Case::new("too small", "GET", "/v2/synth/10/manifests/v1", 404).code("NAME_UNKNOWN").says("553"),
            Case::new("odd tar", "GET", "/v2/synth/10001-tar/manifests/v1", 404)
                .code("NAME_UNKNOWN")
                .says("512"),
            Case::new("no such form", "GET", "/v2/synth/1mb-lzma/manifests/v1", 404)
                .code("NAME_UNKNOWN")
                .says("-zstd"),
            Case::new("tags", "GET", "/v2/synth/huge/tags/list", 404).code("NAME_UNKNOWN"),
            Case::new("nowhere", "GET", "/v2/library/app/manifests/v1", 404)
                .code("NAME_UNKNOWN")
                .says("catalogue"),
            Case::new("nowhere, blob", "GET", format!("/v2/x/blobs/{}", Digest::of(b"")), 404)
                .code("NAME_UNKNOWN"),
            Case::new("nowhere, HEAD", "HEAD", "/v2/library/app/manifests/v1", 404).code("NAME_UNKNOWN"),
        ],
    );
    let off = Registry::builder().on_demand(false).start().unwrap();
    check(
        &off,
        &[Case::new("off", "GET", "/v2/synth/1mb/manifests/v1", 404).code("NAME_UNKNOWN").says("off")],
    );
}

const CATALOGUE: &str = "
schema_version: 1
repositories:
  - {name: library/app, tags: [v2, v1, latest], layers: [10kB, 20kB]}
  - {name: team/tags/list, tags: {prefix: r, count: 3}, layers: [10kB]}
";

fn with_catalogue() -> Registry {
    let catalogue = mockreg_proto::document::read("test", CATALOGUE).unwrap();
    Registry::builder().catalogue(catalogue).start().unwrap()
}

#[test]
fn lists_are_sorted_and_paged() {
    let registry = with_catalogue();
    let link = |text: &str| format!("<{text}>; rel=\"next\"");
    check(
        &registry,
        &[
            Case::new("catalogue", "GET", "/v2/_catalog", 200)
                .says(r#"{"repositories":["library/app","team/tags/list"]}"#)
                .lacks("link"),
            Case::new("catalogue page", "GET", "/v2/_catalog?n=1", 200)
                .says(r#"["library/app"]"#)
                .has("link", link("/v2/_catalog?n=1&last=library/app")),
            Case::new("catalogue end", "GET", "/v2/_catalog?n=1&last=library/app", 200)
                .says(r#"["team/tags/list"]"#)
                .lacks("link"),
            Case::new("tags", "GET", "/v2/library/app/tags/list", 200)
                .says(r#"{"name":"library/app","tags":["latest","v1","v2"]}"#),
            Case::new("tags page", "GET", "/v2/library/app/tags/list?n=2", 200)
                .says(r#"["latest","v1"]"#)
                .has("link", link("/v2/library/app/tags/list?n=2&last=v1")),
            Case::new("last alone", "GET", "/v2/library/app/tags/list?last=latest", 200)
                .says(r#"["v1","v2"]"#),
            Case::new("none", "GET", "/v2/library/app/tags/list?n=0", 200).says(r#""tags":[]"#).lacks("link"),
            Case::new("bad size", "GET", "/v2/library/app/tags/list?n=x", 400)
                .code("PAGINATION_NUMBER_INVALID"),
            Case::new("a name with tags/list", "GET", "/v2/team/tags/list/tags/list", 200)
                .says(r#"["r1","r2","r3"]"#),
            Case::new("made from its name", "GET", "/v2/synth/1mb/tags/list", 200).says(r#"["latest"]"#),
        ],
    );
}

#[test]
fn catalogue_images_pull_whole_and_are_not_shared_between_repositories() {
    let registry = with_catalogue();
    let mut client = Client::of(&registry);
    let manifest = client.get("/v2/library/app/manifests/v1").json();
    for descriptor in manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]) {
        let digest: Digest = descriptor["digest"].as_str().unwrap().parse().unwrap();
        let blob = client.get(&format!("/v2/library/app/blobs/{digest}"));
        assert_eq!(
            (Digest::of(&blob.body), blob.body.len() as u64),
            (digest, descriptor["size"].as_u64().unwrap())
        );
        assert_eq!(client.get(&format!("/v2/team/tags/list/blobs/{digest}")).status, 404);
    }
    assert_eq!(client.get("/v2/library/app/manifests/v3").code(), "MANIFEST_UNKNOWN");
}
