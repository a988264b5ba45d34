//! Downloads by way of a second listener: where the redirect leads, what is there, and what is refused.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use mockreg::policy::{Policy, RedirectPolicy};
use mockreg::{Auth, Registry, Tls};
use mockreg_proto::digest::Digest;
use mockreg_proto::units::Span;

use crate::client::{Answer, Client, bytes_of, image, layer};

fn start(redirects: RedirectPolicy) -> Registry {
    let policy = Policy { redirects, ..Policy::default() };
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Registry::builder().name("test").redirect_blobs(any_port).policy(policy).start().unwrap()
}

fn digest() -> Digest {
    image("5mb").layers[0].digest
}

fn blob() -> String {
    format!("/v2/synth/5mb/blobs/{}", digest())
}

/// The part of a redirect's URL that goes to the second listener.
fn target(registry: &Registry) -> String {
    let answer = Client::of(registry).get(&blob());
    assert_eq!((answer.status, answer.body.len()), (307, 0), "{answer:?}");
    let location = answer.header("location").unwrap().to_owned();
    let base = registry.downloads_url().unwrap();
    location.strip_prefix(&base).unwrap_or_else(|| panic!("{location} is not at {base}")).to_owned()
}

fn downloads(registry: &Registry) -> Client {
    Client::to(registry, registry.downloads_addr().unwrap())
}

fn xml_code(answer: &Answer) -> String {
    assert_eq!(answer.header("content-type"), Some("application/xml"));
    let text = answer.text();
    let (_, rest) = text.split_once("<Code>").unwrap_or_else(|| panic!("{text}"));
    rest.split_once("</Code>").unwrap().0.to_owned()
}

#[test]
fn a_blob_is_elsewhere_and_whole_there() {
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let secure = Registry::builder().name("test").tls(Tls::ephemeral()).redirect_blobs(any_port);
    for registry in [start(RedirectPolicy::default()), secure.start().unwrap()] {
        let path = target(&registry);
        let mut client = downloads(&registry);
        let answer = client.get(&path);
        assert!(answer.status == 200 && answer.body == bytes_of(layer("5mb")));
        assert_eq!(answer.header("docker-distribution-api-version"), None, "it is another server");
        let part = client.send("GET", &path, &[("Range", "bytes=10-19")], b"");
        assert_eq!((part.status, part.body.as_slice()), (206, &bytes_of(layer("5mb"))[10..20]));
        let head = client.send("HEAD", &path, &[], b"");
        assert_eq!((head.status, head.header("content-length")), (200, Some("5000000")));
        let beyond = client.send("GET", &path, &[("Range", "bytes=9000000-")], b"");
        assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */5000000")));
        assert_eq!(xml_code(&beyond), "InvalidRequest");
        let lines = registry.journal();
        assert_eq!((lines[0].status, lines[0].bytes_out), (307, 0));
        assert_eq!(
            (lines[1].status, lines[1].bytes_out, lines[1].reference.clone()),
            (200, 5_000_000, digest().to_string())
        );
        assert_ne!(lines[0].conn, lines[1].conn);
        assert_eq!(Client::new(registry.admin_addr()).get("/counters").json()["blobs_served"], 2);
    }
}

#[test]
fn only_downloads_are_elsewhere() {
    for heads in [false, true] {
        let registry = start(RedirectPolicy { heads, ..RedirectPolicy::default() });
        let mut client = Client::of(&registry);
        let head = client.send("HEAD", &blob(), &[], b"");
        assert_eq!(head.status, if heads { 307 } else { 200 });
        assert_eq!(client.get("/v2/synth/5mb/manifests/v1").status, 200);
        let unknown = format!("/v2/synth/5mb/blobs/{}", Digest::of(b"unknown"));
        assert_eq!(client.get(&unknown).code(), "BLOB_UNKNOWN");
    }
}

#[test]
fn the_redirect_leads_to_the_host_that_the_client_knows() {
    let registry = start(RedirectPolicy::default());
    let port = registry.downloads_addr().unwrap().port();
    for (host, wanted) in [
        ("reg.test", format!("http://reg.test:{port}/v2/")),
        ("reg.test:7777", format!("http://reg.test:{port}/v2/")),
        ("[::1]:7777", format!("http://[::1]:{port}/v2/")),
        ("[::1]", format!("http://[::1]:{port}/v2/")),
        ("a~b", format!("http://127.0.0.1:{port}/v2/")),
    ] {
        let mut client = Client::of(&registry);
        client.raw(format!("GET {} HTTP/1.1\r\nHost: {host}\r\n\r\n", blob()).as_bytes());
        let answer = client.answer(false);
        assert!(answer.header("location").unwrap().starts_with(&wanted), "{host}: {answer:?}");
    }
    let base_url = Some("https://cdn.test:5443/".to_owned());
    let registry = start(RedirectPolicy { base_url, ..RedirectPolicy::default() });
    let answer = Client::of(&registry).get(&blob());
    assert!(
        answer.header("location").unwrap().starts_with("https://cdn.test:5443/v2/synth/5mb/blobs/sha256:")
    );
}

#[test]
fn what_the_second_listener_does_not_take_is_refused_in_xml() {
    let registry = start(RedirectPolicy::default());
    let path = target(&registry);
    let mut client = downloads(&registry);
    for (method, path, headers, status, code) in [
        ("GET", path.as_str(), &[("Authorization", "Bearer x")][..], 400, "InvalidArgument"),
        ("GET", &blob(), &[], 403, "SignatureDoesNotMatch"),
        ("GET", &path.replace("5mb", "6mb"), &[], 403, "SignatureDoesNotMatch"),
        ("GET", &path.replace("expires_ms=", "expires_ms=1"), &[], 403, "SignatureDoesNotMatch"),
        ("PUT", &path, &[], 405, "MethodNotAllowed"),
        ("GET", "/v2/", &[], 404, "NoSuchKey"),
        ("GET", "/v2/synth/5mb/manifests/v1", &[], 404, "NoSuchKey"),
        ("GET", "/token", &[], 404, "NoSuchKey"),
        ("GET", "/", &[], 404, "NoSuchKey"),
    ] {
        let answer = client.send(method, path, headers, b"");
        assert_eq!((answer.status, xml_code(&answer).as_str()), (status, code), "{method} {path}");
    }
    assert_eq!(client.get(&path).status, 200, "the connection and the URL are still good");
    client.raw(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes());
    let hostless = client.answer(false);
    assert_eq!((hostless.status, xml_code(&hostless).as_str()), (400, "InvalidRequest"));
    let lenient = start(RedirectPolicy { takes_authorization: true, ..RedirectPolicy::default() });
    let path = target(&lenient);
    assert_eq!(downloads(&lenient).send("GET", &path, &[("Authorization", "Bearer x")], b"").status, 200);
}

#[test]
fn a_url_expires() {
    // Long enough for a busy machine to use it once before it is over.
    let lifetime = Duration::from_secs(2);
    let registry = start(RedirectPolicy { lifetime: Span(lifetime), ..RedirectPolicy::default() });
    let path = target(&registry);
    let mut client = downloads(&registry);
    assert_eq!(client.send("HEAD", &path, &[], b"").status, 200);
    std::thread::sleep(lifetime);
    let answer = client.get(&path);
    assert_eq!((answer.status, xml_code(&answer).as_str()), (403, "AccessDenied"));
    assert!(answer.text().contains("Request has expired"));
    assert_eq!(client.get(&target(&registry)).status, 200, "another one is to be had");
}

#[test]
fn a_url_for_one_use_is_used_up() {
    let registry = start(RedirectPolicy { one_use: true, ..RedirectPolicy::default() });
    let path = target(&registry);
    let mut client = downloads(&registry);
    let range = [("Range", "bytes=0-9")];
    assert_eq!(client.send("GET", &path, &range, b"").status, 206);
    let answer = client.send("GET", &path, &range, b"");
    assert_eq!((answer.status, xml_code(&answer).as_str()), (403, "AccessDenied"));
}

#[test]
fn the_second_listener_asks_nobody_who_they_are() {
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let auth = Auth::basic([("ann", "secret")]);
    let registry = Registry::builder().redirect_blobs(any_port).auth(auth).start().unwrap();
    assert_eq!(Client::of(&registry).get(&blob()).status, 401, "the registry does");
    let headers = [("Authorization", "Basic YW5uOnNlY3JldA==")];
    let answer = Client::of(&registry).send("GET", &blob(), &headers, b"");
    let location = answer.header("location").unwrap().to_owned();
    let path = location.strip_prefix(&registry.downloads_url().unwrap()).unwrap();
    assert_eq!(downloads(&registry).get(path).status, 200);
}
