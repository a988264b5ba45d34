//! Pushing manifests: exactly as they are, whole, and only with everything they name.

use mockreg_proto::digest::Digest;
use mockreg_proto::media_type::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use serde_json::{Value, json};

use crate::client::{Case, Client, check, descriptor, manifest, registry};

#[test]
fn bytes_and_type_come_back_as_they_were_pushed() {
    let registry = registry();
    let mut client = Client::of(&registry);
    let mut parsed = manifest(&mut client, "a");
    // Odd spacing and unknown keys are part of the bytes.
    parsed["custom"] = json!("kept");
    let bytes = format!("{parsed:#}\n").into_bytes();
    let digest = Digest::of(&bytes);
    let path = "/v2/a/manifests/v1";
    let put = client.send("PUT", path, &[("Content-Type", OCI_MANIFEST)], &bytes);
    assert_eq!(put.status, 201, "{put:?}");
    let location = put.header("location").unwrap().to_owned();
    assert_eq!(location, format!("/v2/a/manifests/{digest}"));
    assert_eq!(put.header("docker-content-digest"), Some(digest.to_string().as_str()));
    for path in [path, &location] {
        let got = client.get(path);
        assert!(got.body == bytes);
        assert_eq!(got.header("content-type"), Some(OCI_MANIFEST));
    }
    assert_eq!(client.get("/v2/a/tags/list").json()["tags"], json!(["v1"]));
    assert_eq!(client.get("/v2/_catalog").json()["repositories"], json!(["a"]));
    let chunked =
        client.send_chunked("PUT", "/v2/a/manifests/v2", &[("Content-Type", OCI_MANIFEST)], &[&bytes]);
    assert_eq!(chunked.status, 201, "{chunked:?}");
}

#[test]
fn the_type_is_the_header_then_the_manifest_then_a_guess() {
    let registry = registry();
    let mut client = Client::of(&registry);
    let mut oci = manifest(&mut client, "a");
    let path = "/v2/a/manifests/v1";
    let mut pushed = |body: &Value, headers: &[(&str, &str)]| {
        let put = client.send("PUT", path, headers, body.to_string().as_bytes());
        (put.status, client.get(path).header("content-type").map(str::to_owned))
    };
    assert_eq!(pushed(&oci, &[]), (201, Some(OCI_MANIFEST.into())));
    oci["mediaType"] = json!(DOCKER_MANIFEST);
    assert_eq!(pushed(&oci, &[]), (201, Some(DOCKER_MANIFEST.into())));
    let spelt = format!("{DOCKER_MANIFEST}; charset=utf-8");
    assert_eq!(pushed(&oci, &[("Content-Type", &spelt)]), (201, Some(spelt)));
    oci.as_object_mut().unwrap().remove("mediaType");
    assert_eq!(pushed(&oci, &[]), (201, Some(OCI_MANIFEST.into())));
    let index = json!({ "schemaVersion": 2, "manifests": [] });
    assert_eq!(pushed(&index, &[]), (201, Some(OCI_INDEX.into())));
    assert_eq!(pushed(&index, &[("Content-Type", DOCKER_LIST)]), (201, Some(DOCKER_LIST.into())));
}

#[test]
fn a_tag_moves_and_digests_stay() {
    let registry = registry();
    let mut client = Client::of(&registry);
    let one = manifest(&mut client, "a");
    let mut two = one.clone();
    two["annotations"] = json!({ "n": "2" });
    for body in [&one, &two] {
        assert_eq!(client.send("PUT", "/v2/a/manifests/v1", &[], body.to_string().as_bytes()).status, 201);
    }
    assert_eq!(client.get("/v2/a/manifests/v1").json(), two);
    let first = Digest::of(one.to_string().as_bytes());
    assert_eq!(client.get(&format!("/v2/a/manifests/{first}")).json(), one);
    assert_eq!(client.get("/v2/a/tags/list").json()["tags"], json!(["v1"]));
}

#[test]
fn missing_children_are_refused_and_all_named() {
    let registry = registry();
    let mut client = Client::of(&registry);
    let mut image = manifest(&mut client, "a");
    let missing = [Digest::of(b"one"), Digest::of(b"two")];
    for digest in missing {
        image["layers"].as_array_mut().unwrap().push(descriptor(
            "application/vnd.oci.image.layer.v1.tar",
            digest,
            3,
        ));
    }
    let put = client.send("PUT", "/v2/a/manifests/v1", &[], image.to_string().as_bytes());
    assert_eq!((put.status, put.code().as_str()), (404, "MANIFEST_BLOB_UNKNOWN"));
    assert!(missing.iter().all(|digest| put.details().contains(&digest.to_string())), "{put:?}");
    assert_eq!(client.get("/v2/a/manifests/v1").code(), "MANIFEST_UNKNOWN");

    let child = Digest::of(b"child");
    let manifests = [descriptor(OCI_MANIFEST, child, 5)];
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests });
    let put = client.send("PUT", "/v2/a/manifests/v1", &[], index.to_string().as_bytes());
    assert_eq!((put.status, put.code().as_str()), (404, "MANIFEST_BLOB_UNKNOWN"));
    assert!(put.details().contains(&format!("manifest {child}")));

    // What another repository has does not count.
    let elsewhere = manifest(&mut client, "a").to_string();
    assert_eq!(
        client.send("PUT", "/v2/b/manifests/v1", &[], elsewhere.as_bytes()).code(),
        "MANIFEST_BLOB_UNKNOWN"
    );
}

#[test]
fn sizes_that_differ_from_what_is_stored_are_refused_and_all_named() {
    let registry = registry();
    let mut client = Client::of(&registry);
    let mut put = |body: &Value| client.send("PUT", "/v2/a/manifests/v1", &[], body.to_string().as_bytes());
    let image = manifest(&mut Client::of(&registry), "a");
    for (config, layer) in [(3, 5), (2, 4), (0, 6)] {
        let mut wrong = image.clone();
        wrong["config"]["size"] = json!(config);
        wrong["layers"][0]["size"] = json!(layer);
        let refused = put(&wrong);
        assert_eq!((refused.status, refused.code().as_str()), (400, "MANIFEST_INVALID"));
        for (descriptor, is_wrong) in [(&image["config"], config != 2), (&image["layers"][0], layer != 5)] {
            let digest = descriptor["digest"].as_str().unwrap();
            assert_eq!(refused.details().contains(digest), is_wrong, "{refused:?}");
        }
    }
    assert_eq!(put(&image).status, 201);
    let child = Digest::of(image.to_string().as_bytes());
    let index = |size| {
        let manifests = [descriptor(OCI_MANIFEST, child, size)];
        json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests })
    };
    let refused = put(&index(5));
    assert_eq!((refused.status, refused.code().as_str()), (400, "MANIFEST_INVALID"));
    assert!(refused.details().contains(&format!("manifest {child}")), "{refused:?}");
    assert_eq!(put(&index(image.to_string().len())).status, 201);
}

#[test]
fn an_index_goes_in_after_its_manifests() {
    let registry = registry();
    let mut client = Client::of(&registry);
    let image = manifest(&mut client, "a").to_string();
    let digest = Digest::of(image.as_bytes());
    let path = format!("/v2/a/manifests/{digest}");
    assert_eq!(client.send("PUT", &path, &[], image.as_bytes()).status, 201);
    let index = json!({
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [descriptor(OCI_MANIFEST, digest, image.len())],
        // A subject may be missing: it is only referred to.
        "subject": descriptor(OCI_MANIFEST, Digest::of(b"nobody"), 6),
    });
    assert_eq!(client.send("PUT", "/v2/a/manifests/v1", &[], index.to_string().as_bytes()).status, 201);
    assert_eq!(client.get("/v2/a/tags/list").json()["tags"], json!(["v1"]));
}

#[test]
fn foreign_layers_need_not_be_there() {
    let registry = registry();
    let mut client = Client::of(&registry);
    let mut image = manifest(&mut client, "a");
    let mut with_urls = descriptor("application/vnd.oci.image.layer.v1.tar", Digest::of(b"u"), 1);
    with_urls["urls"] = json!(["https://example.com/u"]);
    let types = [
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ];
    let layers = image["layers"].as_array_mut().unwrap();
    layers.extend(types.map(|media_type| descriptor(media_type, Digest::of(media_type.as_bytes()), 1)));
    layers.push(with_urls);
    assert_eq!(client.send("PUT", "/v2/a/manifests/v1", &[], image.to_string().as_bytes()).status, 201);
}

#[test]
fn what_is_no_manifest_is_refused() {
    let registry = registry();
    let mut client = Client::of(&registry);
    let image = manifest(&mut client, "a");
    let digest = Digest::of(image.to_string().as_bytes());
    let invalid = |name, body: &str| {
        Case::new(name, "PUT", "/v2/a/manifests/v1", 400).code("MANIFEST_INVALID").body(body)
    };
    let without = |key: &str| {
        let mut image = image.clone();
        image.as_object_mut().unwrap().remove(key);
        image.to_string()
    };
    let with = |key: &str, value: Value| {
        let mut image = image.clone();
        image[key] = value;
        image.to_string()
    };
    let as_type = |case: Case, media_type: &str| case.header("Content-Type", media_type);
    check(
        &registry,
        &[
            invalid("nothing", ""),
            invalid("no JSON", "hello"),
            invalid("cut off", &image.to_string()[..100]),
            invalid("a list", "[]"),
            invalid("not UTF-8", "\u{fffd}").body([0xff, 0xfe]),
            invalid("no config", &without("config")).says("config"),
            invalid("no layers", &without("layers")).says("layers"),
            invalid("another version", &with("schemaVersion", json!(1))).says("schemaVersion"),
            invalid("no version", &without("schemaVersion")).says("schemaVersion"),
            invalid(
                "a bad digest",
                &with("config", json!({"mediaType": "x/y", "digest": "sha256:0", "size": 1})),
            ),
            invalid("another type", &with("mediaType", json!("application/json"))),
            as_type(invalid("types that differ", &image.to_string()), OCI_INDEX).says("Content-Type"),
            as_type(invalid("not a manifest's type", &image.to_string()), "application/json"),
            as_type(
                invalid("schema 1", "{\"schemaVersion\":1}"),
                "application/vnd.docker.distribution.manifest.v1+prettyjws",
            )
            .says("schema 1"),
            invalid("no type at all", r#"{"schemaVersion":2}"#),
            Case::new("another digest", "PUT", format!("/v2/a/manifests/{digest}"), 400)
                .code("DIGEST_INVALID")
                .body(format!("{image} ")),
            Case::new("a malformed digest", "PUT", "/v2/a/manifests/sha256:baddigeststring", 400)
                .code("DIGEST_INVALID")
                .body(image.to_string()),
            Case::new("a malformed tag", "PUT", "/v2/a/manifests/-v1", 400)
                .code("TAG_INVALID")
                .body(image.to_string()),
            Case::new("nothing was stored", "GET", "/v2/a/tags/list", 200).says("\"tags\":[]"),
        ],
    );
}

#[test]
fn large_manifests_up_to_the_limit() {
    let registry = registry();
    let mut client = Client::of(&registry);
    let mut image = manifest(&mut client, "a");
    let padded = |image: &mut Value, total: usize| {
        image["annotations"] = json!({ "padding": "" });
        let rest = total - image.to_string().len();
        image["annotations"]["padding"] = json!("x".repeat(rest));
        image.to_string()
    };
    let largest = padded(&mut image, 8 << 20);
    assert_eq!(client.send("PUT", "/v2/a/manifests/v1", &[], largest.as_bytes()).status, 201);
    let larger = padded(&mut image, (8 << 20) + 1);
    let refused = client.send("PUT", "/v2/a/manifests/v2", &[], larger.as_bytes());
    assert_eq!((refused.status, refused.code().as_str()), (413, "SIZE_INVALID"));
    let mut client = Client::of(&registry);
    let chunks: Vec<&[u8]> = larger.as_bytes().chunks(1 << 20).collect();
    let refused = client.send_chunked("PUT", "/v2/a/manifests/v2", &[], &chunks);
    assert_eq!((refused.status, refused.code().as_str()), (413, "SIZE_INVALID"));
}

#[test]
fn names_may_have_the_segments_of_routes() {
    let registry = registry();
    let mut client = Client::of(&registry);
    let name = "blobs/uploads/manifests/tags/list";
    let image = manifest(&mut client, name).to_string();
    assert_eq!(
        client.send("PUT", &format!("/v2/{name}/manifests/uploads"), &[], image.as_bytes()).status,
        201
    );
    assert_eq!(client.get(&format!("/v2/{name}/tags/list")).json()["tags"], json!(["uploads"]));
    assert_eq!(client.get(&format!("/v2/{name}/manifests/uploads")).text(), image);
}
