//! Each switch of the policy that is not tested beside its subject: what it changes, and that it is off by itself.

use mockreg::Registry;
use mockreg::policy::{Accept, Catalog, Policy};
use mockreg_proto::digest::Digest;
use mockreg_proto::media_type::{DOCKER_LIST, OCI_INDEX, OCI_MANIFEST};
use mockreg_proto::units::ByteCount;
use serde_json::json;

use crate::client::{
    Case, Client, check, descriptor, foreign, manifest, open_upload, push_blob, put_manifest, registry,
};

const SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

fn with(policy: Policy) -> Registry {
    Registry::builder().policy(policy).start().unwrap()
}

#[test]
fn a_push_by_digest_sets_the_tags_of_its_parameters() {
    let registry = registry();
    let mut client = Client::of(&registry);
    let body = manifest(&mut client, "a").to_string();
    let path = format!("/v2/a/manifests/{}", Digest::of(body.as_bytes()));
    let ten: Vec<String> = (0..10).map(|n| format!("tag=v{n}")).collect();
    let put = client.send("PUT", &format!("{path}?{}", ten.join("&")), &[], body.as_bytes());
    let set: Vec<_> =
        put.headers.iter().filter(|(name, _)| name == "oci-tag").map(|(_, tag)| tag.clone()).collect();
    assert_eq!((put.status, set), (201, (0..10).map(|n| format!("v{n}")).collect()));
    let many: Vec<String> = (0..65).map(|n| format!("tag=m{n}")).collect();
    let put = |name, query: &str, status| {
        Case::new(name, "PUT", format!("{path}?{query}"), status).body(body.as_str())
    };
    check(
        &registry,
        &[
            Case::new("one of ten", "HEAD", "/v2/a/manifests/v9", 200),
            put("the most", &many[1..].join("&"), 201),
            put("too many", &many.join("&"), 414).code("TAG_INVALID"),
            Case::new("nothing was set", "HEAD", "/v2/a/manifests/m0", 404),
            put("malformed", "tag=good&tag=-bad", 400).code("TAG_INVALID"),
            Case::new("nothing was set", "HEAD", "/v2/a/manifests/good", 404),
            Case::new("beside a tag", "PUT", "/v2/a/manifests/v1?tag=beside", 201)
                .body(body.as_str())
                .lacks("oci-tag"),
            Case::new("nothing was set", "HEAD", "/v2/a/manifests/beside", 404),
        ],
    );
    let registry = with(Policy { tag_parameters: false, ..Policy::default() });
    let body = manifest(&mut Client::of(&registry), "a").to_string();
    check(
        &registry,
        &[
            Case::new("off", "PUT", format!("{path}?tag=v1"), 201).body(body.as_str()).lacks("oci-tag"),
            Case::new("off", "HEAD", "/v2/a/manifests/v1", 404),
        ],
    );
}

#[test]
fn accept_counts_only_where_the_policy_says_so() {
    let (asked, other) = ("application/x, application/vnd.oci.image.manifest.v1+json;q=0.1", "application/x");
    for (accept, status, code) in [
        (Accept::Ignored, 200, None),
        (Accept::NotFound, 404, Some("MANIFEST_UNKNOWN")),
        (Accept::NotAcceptable, 406, Some("UNSUPPORTED")),
    ] {
        let registry = with(Policy { accept, ..Policy::default() });
        let mut client = Client::of(&registry);
        let body = manifest(&mut client, "a");
        put_manifest(&mut client, "a", "v1", &body);
        let get = |name, status| Case::new(name, "GET", "/v2/a/manifests/v1", status);
        let mut refused = get("another type", status).header("Accept", other);
        refused.code = code;
        check(
            &registry,
            &[
                get("its type", 200).header("Accept", asked),
                get("the second line", 200).header("Accept", other).header("Accept", OCI_MANIFEST),
                get("anything", 200).header("Accept", "text/html, */*;q=0.8"),
                get("nothing said", 200),
                refused,
            ],
        );
    }
}

#[test]
fn a_list_is_downgraded_for_who_cannot_read_it() {
    let registry = with(Policy { downgrade_lists: true, ..Policy::default() });
    let mut client = Client::of(&registry);
    let amd = manifest(&mut client, "a");
    let mut arm = amd.clone();
    arm["annotations"] = json!({ "for": "arm64" });
    let mut entries = Vec::new();
    for (body, architecture) in [(&arm, "arm64"), (&amd, "amd64")] {
        let digest = put_manifest(&mut client, "a", architecture, body);
        let mut entry = descriptor(OCI_MANIFEST, digest, body.to_string().len());
        entry["platform"] = json!({ "os": "linux", "architecture": architecture });
        entries.push(entry);
    }
    let list = json!({ "schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": entries });
    let list_digest = put_manifest(&mut client, "a", "v1", &list);
    let only_arm = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries[..1] });
    put_manifest(&mut client, "a", "arm", &only_arm);
    let get = |name, reference: &str| Case::new(name, "GET", format!("/v2/a/manifests/{reference}"), 200);
    let amd_digest = entries[1]["digest"].as_str().unwrap();
    check(
        &registry,
        &[
            get("reads lists", "v1")
                .header("Accept", format!("{OCI_MANIFEST}, {DOCKER_LIST}"))
                .has("content-type", DOCKER_LIST),
            get("says nothing", "v1")
                .has("docker-content-digest", amd_digest)
                .has("content-type", OCI_MANIFEST),
            get("reads manifests", "v1")
                .header("Accept", OCI_MANIFEST)
                .has("docker-content-digest", amd_digest),
            get("by digest", &list_digest.to_string()).has("content-type", DOCKER_LIST),
            get("no such platform", "arm").has("content-type", OCI_INDEX),
            get("no list", "arm64").has("content-type", OCI_MANIFEST),
        ],
    );
}

#[test]
fn manifests_of_other_kinds_and_sizes_are_taken_where_the_policy_says_so() {
    let registry = with(Policy {
        schema1: true,
        allow_any_media_type: true,
        manifest_limit: ByteCount(2_000),
        ..Policy::default()
    });
    let mut client = Client::of(&registry);
    let image = manifest(&mut client, "a").to_string();
    let put = |name, status| Case::new(name, "PUT", "/v2/a/manifests/v1", status);
    let comes_back = |media_type: &str| {
        Case::new("back", "GET", "/v2/a/manifests/v1", 200).has("content-type", media_type)
    };
    check(
        &registry,
        &[
            put("schema 1", 201).header("Content-Type", SCHEMA1).body(r#"{"schemaVersion":1}"#),
            comes_back(SCHEMA1),
            put("another type", 201).header("Content-Type", "application/x").body("any bytes"),
            comes_back("application/x"),
            put("types that differ", 201).header("Content-Type", "application/y").body(image.as_str()),
            comes_back("application/y"),
            put("no type", 201).body("{}"),
            comes_back("application/octet-stream"),
            put("known types are read", 400)
                .header("Content-Type", OCI_MANIFEST)
                .body("{}")
                .code("MANIFEST_INVALID"),
            put("too large", 413).body("x".repeat(2_001)).code("SIZE_INVALID"),
        ],
    );
}

#[test]
fn a_manifest_whose_type_no_header_can_hold_is_refused() {
    let registry = registry();
    let body = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json;\u0001\n","manifests":[]}"#;
    let case = Case::new("put", "PUT", "/v2/a/manifests/v1", 400).body(body).code("MANIFEST_INVALID");
    check(&registry, &[case.says("mediaType")]);
}

#[test]
fn sparse_images_are_taken_where_the_policy_says_so() {
    let registry = with(Policy { allow_missing_content: true, ..Policy::default() });
    let missing = descriptor("application/vnd.oci.image.layer.v1.tar", Digest::of(b"x"), 1);
    let image =
        json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": missing, "layers": [missing] });
    let manifests = [descriptor(OCI_MANIFEST, Digest::of(b"y"), 1)];
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests });
    for body in [image, index] {
        put_manifest(&mut Client::of(&registry), "a", "v1", &body);
    }
}

#[test]
fn wrong_digests_and_lengths_are_let_through_where_the_policy_says_so() {
    let registry = with(Policy { allow_wrong_digest: true, allow_wrong_length: true, ..Policy::default() });
    let mut client = Client::of(&registry);
    let wrong = Digest::of(b"else");
    let location = open_upload(&mut client, "a");
    let put = client.send("PUT", &format!("{location}?digest={wrong}"), &[], b"content");
    assert_eq!((put.status, put.header("docker-content-digest")), (201, Some(wrong.to_string().as_str())));
    assert_eq!(client.get(&format!("/v2/a/blobs/{wrong}")).text(), "content");

    let location = open_upload(&mut client, "a");
    let short = client.send("PATCH", &location, &[("Content-Range", "0-99")], &foreign(60));
    assert_eq!((short.status, short.header("range")), (202, Some("0-59")));
    let long = client.send_chunked("PATCH", &location, &[("Content-Range", "60-69")], &[&foreign(100)[60..]]);
    assert_eq!((long.status, long.header("range")), (202, Some("0-99")));
    let put = client.send("PUT", &format!("{location}?digest={}", Digest::of(&foreign(100))), &[], b"");
    assert_eq!(put.status, 201);

    let mut body = manifest(&mut client, "a");
    body["layers"][0]["size"] = json!(77);
    check(
        &registry,
        &[
            Case::new("a size", "PUT", "/v2/a/manifests/v1", 201).body(body.to_string()),
            Case::new("a digest", "PUT", format!("/v2/a/manifests/{wrong}"), 201).body(body.to_string()),
            Case::new("as promised", "HEAD", format!("/v2/a/manifests/{wrong}"), 200)
                .has("docker-content-digest", wrong.to_string()),
        ],
    );
}

#[test]
fn several_ranges_may_be_answered_with_the_whole() {
    let registry = with(Policy { multipart_ranges: false, ..Policy::default() });
    let digest = push_blob(&mut Client::of(&registry), "a", b"0123456789");
    let get = |range: &str, status| {
        Case::new("ranges", "GET", format!("/v2/a/blobs/{digest}"), status).header("Range", range)
    };
    check(
        &registry,
        &[
            get("bytes=0-1,5-6", 200).says("0123456789"),
            get("bytes=2-3", 206).says("23"),
            get("bytes=50-,60-", 416),
        ],
    );
}

#[test]
fn uploads_may_be_opened_in_other_ways() {
    let registry = with(Policy {
        single_post: false,
        mount: false,
        anonymous_mount: false,
        chunk_min_length: Some(ByteCount(1_048_576)),
        upload_state: true,
        ..Policy::default()
    });
    let mut client = Client::of(&registry);
    let digest = Digest::of(b"blob");
    let opened = client.send("POST", &format!("/v2/a/blobs/uploads/?digest={digest}"), &[], b"blob");
    assert_eq!((opened.status, opened.header("range")), (202, Some("0-0")));
    assert_eq!(opened.header("oci-chunk-min-length"), Some("1048576"));
    let first = opened.header("location").unwrap().to_owned();
    assert!(first.ends_with("?_state=0"), "{first}");
    let patch = client.send("PATCH", &first, &[], b"bl");
    let second = patch.header("location").unwrap().to_owned();
    assert_eq!((patch.status, second.ends_with("?_state=2")), (202, true));
    let bare = second.split('?').next().unwrap().to_owned();
    for stale in [&first, &bare] {
        let refused = client.send("PATCH", stale, &[], b"ob");
        assert_eq!((refused.status, refused.code().as_str()), (416, "RANGE_INVALID"));
        assert_eq!(
            (refused.header("location"), refused.header("range")),
            (Some(second.as_str()), Some("0-1"))
        );
    }
    assert_eq!(client.get(&bare).header("location"), Some(second.as_str()));
    let put = client.send("PUT", &format!("{second}&digest={digest}"), &[], b"ob");
    assert_eq!(put.status, 201, "{put:?}");
    check(
        &registry,
        &[
            Case::new("mount", "POST", format!("/v2/b/blobs/uploads/?mount={digest}&from=a"), 202),
            Case::new("anonymous mount", "POST", format!("/v2/b/blobs/uploads/?mount={digest}"), 202),
        ],
    );
}

#[test]
fn mounts_are_switched_off_one_by_one() {
    for (policy, named, anonymous) in [
        (Policy { mount: false, ..Policy::default() }, 202, 201),
        (Policy { anonymous_mount: false, ..Policy::default() }, 201, 202),
    ] {
        let registry = with(policy);
        let digest = push_blob(&mut Client::of(&registry), "a", b"blob");
        check(
            &registry,
            &[
                Case::new("named", "POST", format!("/v2/b/blobs/uploads/?mount={digest}&from=a"), named),
                Case::new("anonymous", "POST", format!("/v2/c/blobs/uploads/?mount={digest}"), anonymous),
            ],
        );
    }
}

#[test]
fn the_list_of_repositories_has_four_moods() {
    let filled = |catalog| {
        let registry = with(Policy { catalog, ..Policy::default() });
        let mut client = Client::of(&registry);
        for name in ["a", "b", "c", "d", "e", "f"] {
            push_blob(&mut client, name, b"x");
        }
        registry
    };
    let get = |path: &str, status| Case::new("catalogue", "GET", path, status);
    check(&filled(Catalog::On), &[get("/v2/_catalog?n=2&last=b", 200).says(r#"["c","d"]"#)]);
    check(&filled(Catalog::Off), &[get("/v2/_catalog", 404).code("UNSUPPORTED")]);
    let challenge = "Basic realm=\"catalog\"";
    check(
        &filled(Catalog::Unauthorized),
        &[get("/v2/_catalog", 401).code("UNAUTHORIZED").has("www-authenticate", challenge)],
    );
    let unsorted = Client::of(&filled(Catalog::Unsorted)).get("/v2/_catalog?n=2");
    let mut names: Vec<_> = unsorted.json()["repositories"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect();
    assert!(!names.is_sorted() && unsorted.header("link").is_none());
    names.sort();
    assert_eq!(names, ["a", "b", "c", "d", "e", "f"]);
}

#[test]
fn the_namespace_is_ignored_or_echoed() {
    let case = || Case::new("ns", "GET", "/v2/synth/100kb/tags/list?ns=docker.io", 200);
    check(&registry(), &[case().lacks("oci-namespace")]);
    let echoing = with(Policy { echo_namespace: true, ..Policy::default() });
    check(
        &echoing,
        &[
            case().has("oci-namespace", "docker.io"),
            Case::new("no ns", "GET", "/v2/", 200).lacks("oci-namespace"),
            Case::new("no header", "GET", "/v2/?ns=%0a", 200).lacks("oci-namespace"),
        ],
    );
}
