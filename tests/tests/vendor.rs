//! What a vendor profile claims, against the registry that it is like, where that registry can be run here.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::process::{Command, ExitCode};

use e2e::peers::DockerRegistry;
use e2e::program::{succeed_with_bytes, trial};
use e2e::server::Server;
use libtest_mimic::{Arguments, Trial};
use mockreg_proto::digest::Digest;

const BLOB: &[u8] = b"content";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn main() -> ExitCode {
    libtest_mimic::run(&Arguments::from_args(), trials()).exit_code()
}

fn trials() -> Vec<Trial> {
    vec![trial("old_2_7_answers_as_docker_registry_does", &["docker-registry", "curl"], old_2_7)]
}

/// One call: method, path, type of the body, body.
type Call<'a> = (&'a str, String, &'a str, &'a [u8]);

/// An answer, as far as two registries can be expected to agree: status, whether there is a link to a next page, and
/// what a list of tags says.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    linked: bool,
    tags: Option<serde_json::Value>,
}

/// Sends a call; gives the answer, and the `Location` in it.
fn send(registry: &str, (method, path, content_type, body): &Call) -> (Answer, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body");
    std::fs::write(&file, body).unwrap();
    let url = if path.starts_with("http") { path.clone() } else { format!("http://{registry}{path}") };
    let mut curl = Command::new("curl");
    curl.args(["-s", "-i", "-X", method, "-H", &format!("Content-Type: {content_type}"), &url]);
    if !body.is_empty() {
        curl.arg("--data-binary").arg(format!("@{}", file.display()));
    }
    let text = String::from_utf8(succeed_with_bytes(&mut curl)).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let header = |name: &str| {
        head.lines().find_map(|line| {
            let (given, value) = line.split_once(": ")?;
            given.eq_ignore_ascii_case(name).then(|| value.to_owned())
        })
    };
    let body: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let answer = Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        linked: header("link").is_some(),
        tags: body.and_then(|body| body.get("tags").cloned()),
    };
    (answer, header("location").unwrap_or_default())
}

/// Pushes an image with the tags v1, v2 and v3; gives the digest of its manifest.
fn push(registry: &str, blob: &Digest) -> Digest {
    let (opened, location) = send(registry, &("POST", "/v2/a/blobs/uploads/".into(), "", b""));
    assert_eq!(opened.status, 202);
    let location = if location.starts_with('/') { format!("http://{registry}{location}") } else { location };
    let path = format!("{location}&digest={blob}");
    let (stored, _) = send(registry, &("PUT", path, "application/octet-stream", BLOB));
    assert_eq!(stored.status, 201, "an upload's address carries its state");
    let manifest = manifest(blob);
    for tag in ["v2", "v1", "v3"] {
        let call = ("PUT", format!("/v2/a/manifests/{tag}"), OCI_MANIFEST, manifest.as_bytes());
        assert_eq!(send(registry, &call).0.status, 201);
    }
    Digest::of(manifest.as_bytes())
}

fn manifest(blob: &Digest) -> String {
    let digest = blob.to_string();
    let descriptor =
        |media_type: &str| serde_json::json!({"mediaType": media_type, "digest": digest, "size": BLOB.len()});
    serde_json::json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json"),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip")],
    })
    .to_string()
}

fn old_2_7() {
    let mockreg = Server::mockreg(&["--vendor", "old-2.7"]);
    let folder = tempfile::tempdir().unwrap();
    let peer = DockerRegistry::start(folder.path());
    let blob = Digest::of(BLOB);
    let registries = [mockreg.registry(), peer.address.clone()];
    let [digest, other] = [&registries[0], &registries[1]].map(|registry| push(registry, &blob));
    assert_eq!(digest, other);
    let manifest = manifest(&blob);
    let call = |method, path: &str| -> Call { (method, path.to_owned(), "", b"") };
    let uploads = "/v2/b/blobs/uploads/";
    let calls = [
        call("GET", "/v2/a/tags/list?n=1"),
        call("GET", "/v2/a/tags/list?n=1&last=v1"),
        call("GET", &format!("/v2/a/referrers/{digest}")),
        ("POST", format!("{uploads}?digest={blob}"), "application/octet-stream", BLOB),
        call("POST", &format!("{uploads}?mount={blob}")),
        call("POST", &format!("{uploads}?mount={blob}&from=a")),
        ("PUT", format!("/v2/a/manifests/{digest}?tag=v4"), OCI_MANIFEST, manifest.as_bytes()),
        call("GET", "/v2/a/tags/list"),
        call("DELETE", "/v2/a/manifests/v1"),
        call("DELETE", &format!("/v2/a/manifests/{digest}")),
        call("DELETE", &format!("/v2/a/blobs/{blob}")),
    ];
    let differing: Vec<String> = calls
        .iter()
        .filter_map(|call| {
            let [ours, theirs] = [&registries[0], &registries[1]].map(|registry| send(registry, call).0);
            (ours != theirs).then(|| format!("{} {}: {ours:?}, docker-registry {theirs:?}", call.0, call.1))
        })
        .collect();
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}
