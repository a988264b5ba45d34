//! One stream over TLS, by HTTP/2 and by HTTP/1.1, with curl for a client: reported, and compared with nothing, since
//! the client does most of the work.

use std::path::Path;

use e2e::measure::{Candidate, interleave, size};
use e2e::program::{command, succeed};
use e2e::server::Server;

use crate::folder;

pub(crate) fn run() {
    let (image, bytes) = size(("synth/1gib", 1u64 << 30), ("synth/128mib", 128 << 20));
    let folder = folder();
    let tls = folder.path().join("tls");
    let mockreg = Server::mockreg(&["--tls-auto", tls.to_str().expect("scratch folders are UTF-8")]);
    let ca = tls.join("ca.pem");
    let origin = format!("https://{}/v2/{image}", mockreg.registry());
    let manifest = succeed(curl(&ca).args(["--silent", "--fail", &format!("{origin}/manifests/v1")]));
    let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("a manifest is JSON");
    let url =
        format!("{origin}/blobs/{}", manifest["layers"][0]["digest"].as_str().expect("a layer has a digest"));
    let candidates = [("HTTP/2", "--http2"), ("HTTP/1.1", "--http1.1")]
        .map(|(name, version)| Candidate::new(name, || seconds(&ca, version, &url, bytes)));
    let what = format!("GET of the layer of {image} over TLS, one stream, curl");
    interleave(size(7, 2), candidates.into()).report("registry/tls", &what, "GB/s", bytes as f64 / 1e9);
}

fn curl(ca: &Path) -> std::process::Command {
    let mut curl = command("curl");
    curl.arg("--cacert").arg(ca);
    curl
}

fn seconds(ca: &Path, version: &str, url: &str, bytes: u64) -> f64 {
    let told = "%{http_version} %{size_download} %{time_total}";
    let said = succeed(curl(ca).args([
        "--silent",
        "--fail",
        version,
        "--output",
        "/dev/null",
        "--write-out",
        told,
        url,
    ]));
    let mut words = said.split(' ');
    let wanted = version.trim_start_matches("--http");
    assert_eq!((words.next(), words.next()), (Some(wanted), Some(&*bytes.to_string())), "{said}");
    words.next().and_then(|word| word.trim().parse().ok()).unwrap_or_else(|| panic!("no time in {said}"))
}
