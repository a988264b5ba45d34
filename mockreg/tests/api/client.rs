//! A client that sends exactly what a test wants and shows exactly what came back, which polite HTTP clients do not.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use mockreg::Registry;
use mockreg_proto::digest::Digest;
use mockreg_proto::journal::Record;
use mockreg_proto::media_type::OCI_MANIFEST;
use mockreg_synth::image::{Image, ImageSpec};
use mockreg_synth::{Layer, LayerSpec, Tables, name};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};

/// A test that waits longer has failed.
const TIMEOUT: Duration = Duration::from_secs(20);

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The code of the first error of an OCI error body, which must be typed as Docker wants it.
    pub(crate) fn code(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        self.json()["errors"][0]["code"].as_str().unwrap_or_default().to_owned()
    }

    /// All details of an OCI error body.
    pub(crate) fn details(&self) -> String {
        let body = self.json();
        let errors = body["errors"].as_array().expect("an error body has errors");
        errors.iter().filter_map(|error| error["detail"].as_str()).collect::<Vec<_>>().join("; ")
    }
}

/// A connection, under TLS or not.
trait Stream: std::io::Read + std::io::Write + Send {}

impl<S: std::io::Read + std::io::Write + Send> Stream for S {}

/// One connection.
pub(crate) struct Client {
    address: SocketAddr,
    stream: BufReader<Box<dyn Stream>>,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, stream: BufReader::new(Box::new(connect(address))) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A connection to a registry, under TLS where it speaks that.
    pub(crate) fn of(registry: &Registry) -> Self {
        Self::to(registry, registry.registry_addr())
    }

    /// As [`Client::of`], to another of its ports.
    pub(crate) fn to(registry: &Registry, address: SocketAddr) -> Self {
        let Some(authority) = registry.ca_certificate() else { return Self::new(address) };
        let session = rustls::ClientConnection::new(trusting(authority, b"http/1.1"), address.ip().into());
        let stream = rustls::StreamOwned::new(session.unwrap(), connect(address));
        Self { address, stream: BufReader::new(Box::new(stream)) }
    }

    /// Sends bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// Reads one chunk of a body that is sent in chunks.
    pub(crate) fn chunk(&mut self) -> Vec<u8> {
        let size = usize::from_str_radix(&self.line(), 16).unwrap();
        let bytes = self.read(size);
        self.line();
        bytes
    }

    /// Sends the head of a request.
    pub(crate) fn head(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        self.raw((head + "\r\n").as_bytes());
    }

    /// Sends a whole request with its length and reads the answer.
    pub(crate) fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let length = body.len().to_string();
        let mut headers = headers.to_vec();
        if !body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH") {
            headers.push(("Content-Length", &length));
        }
        self.head(method, path, &headers);
        // A server may refuse before it has read everything; the answer is what counts.
        let _ = self.stream.get_mut().write_all(body);
        self.answer(method == "HEAD")
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    /// Sends a body in chunks, without a length.
    pub(crate) fn send_chunked(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        pieces: &[&[u8]],
    ) -> Answer {
        let mut headers = headers.to_vec();
        headers.push(("Transfer-Encoding", "chunked"));
        self.head(method, path, &headers);
        for piece in pieces {
            self.raw(format!("{:x}\r\n", piece.len()).as_bytes());
            self.raw(piece);
            self.raw(b"\r\n");
        }
        self.raw(b"0\r\n\r\n");
        self.answer(false)
    }

    /// Reads an answer; `bare` if it has no body whatever its length says.
    pub(crate) fn answer(&mut self, bare: bool) -> Answer {
        let mut answer = self.answer_head();
        if bare || matches!(answer.status, 204 | 304) {
            return answer;
        }
        if answer.header("transfer-encoding") == Some("chunked") {
            answer.body = self.chunks();
        } else if let Some(length) = answer.header("content-length") {
            answer.body = vec![0; length.parse().unwrap()];
            self.stream.read_exact(&mut answer.body).unwrap();
        } else {
            self.stream.read_to_end(&mut answer.body).unwrap();
        }
        answer
    }

    /// Reads the head of an answer.
    pub(crate) fn answer_head(&mut self) -> Answer {
        let status_line = self.line();
        let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let mut headers = Vec::new();
        loop {
            let line = self.line();
            let Some((name, value)) = line.split_once(": ") else { break };
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let status = status.unwrap_or_else(|| panic!("not an answer: {status_line}"));
        Answer { status, headers, body: Vec::new() }
    }

    /// Reads `count` bytes of a body.
    pub(crate) fn read(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Whether the server ends the connection, by closing or resetting, before the timeout.
    pub(crate) fn is_ended(&mut self) -> bool {
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(count) => count == 0,
            Err(error) => {
                use std::io::ErrorKind::{ConnectionReset, UnexpectedEof};
                matches!(error.kind(), ConnectionReset | UnexpectedEof)
            }
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let size = usize::from_str_radix(&self.line(), 16).unwrap();
            body.extend(self.read(size));
            self.line();
            if size == 0 {
                return body;
            }
        }
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.set_write_timeout(Some(TIMEOUT)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// How a client that trusts `authority` and wants `protocol` speaks TLS.
pub(crate) fn trusting(authority: &str, protocol: &[u8]) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = config.unwrap().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    Arc::new(config)
}

/// A registry with the settings that most tests want.
pub(crate) fn registry() -> Registry {
    Registry::builder().name("test").start().unwrap()
}

/// An image made from its name, as the registry makes it.
pub(crate) fn image(name: &str) -> Image {
    spec(name).build(&Tables::shared())
}

fn spec(name: &str) -> ImageSpec {
    name::parse(&format!("synth/{name}"), 1).unwrap()
}

/// The first layer of an image made from its name.
pub(crate) fn layer(name: &str) -> LayerSpec {
    spec(name).layers[0].made().unwrap()
}

/// All bytes of a layer.
pub(crate) fn bytes_of(spec: LayerSpec) -> Vec<u8> {
    Layer::new(spec).read(0, spec.size()).flatten().collect()
}

/// Bytes that are no synthetic layer.
pub(crate) fn foreign(len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

/// Opens an upload and returns its address.
pub(crate) fn open_upload(client: &mut Client, repository: &str) -> String {
    open_upload_as(client, repository, &[])
}

fn open_upload_as(client: &mut Client, repository: &str, headers: &[(&str, &str)]) -> String {
    let answer = client.send("POST", &format!("/v2/{repository}/blobs/uploads/"), headers, b"");
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(answer.header("range"), Some("0-0"));
    assert!(answer.header("docker-upload-uuid").is_some());
    answer.header("location").unwrap().to_owned()
}

/// Pushes a blob in one PUT.
pub(crate) fn push_blob(client: &mut Client, repository: &str, bytes: &[u8]) -> Digest {
    push_blob_as(client, repository, bytes, &[])
}

/// Pushes a blob in one PUT, with headers that say who does.
pub(crate) fn push_blob_as(
    client: &mut Client,
    repository: &str,
    bytes: &[u8],
    headers: &[(&str, &str)],
) -> Digest {
    let digest = Digest::of(bytes);
    let location = open_upload_as(client, repository, headers);
    let joint = if location.contains('?') { '&' } else { '?' };
    let answer = client.send("PUT", &format!("{location}{joint}digest={digest}"), headers, bytes);
    assert_eq!(answer.status, 201, "{answer:?}");
    digest
}

/// A descriptor as manifests have it.
pub(crate) fn descriptor(media_type: &str, digest: Digest, size: usize) -> Value {
    json!({ "mediaType": media_type, "digest": digest.to_string(), "size": size })
}

/// A manifest over a config and a layer that `repository` has.
pub(crate) fn manifest(client: &mut Client, repository: &str) -> Value {
    let config = push_blob(client, repository, b"{}");
    let layer = push_blob(client, repository, b"layer");
    json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", config, 2),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", layer, 5)],
    })
}

/// Pushes a manifest under a tag or its digest, and returns its digest.
pub(crate) fn put_manifest(client: &mut Client, repository: &str, reference: &str, body: &Value) -> Digest {
    let text = body.to_string();
    let put = client.send("PUT", &format!("/v2/{repository}/manifests/{reference}"), &[], text.as_bytes());
    assert_eq!(put.status, 201, "{put:?}");
    Digest::of(text.as_bytes())
}

/// The counters of the admin port.
pub(crate) fn counters(registry: &Registry) -> Value {
    Client::new(registry.admin_addr()).get("/counters").json()
}

/// Waits until the journal has a line that `wanted` picks: for what only the server's side knows to be over.
pub(crate) fn wait_for(registry: &Registry, wanted: impl Fn(&Record) -> bool) -> Record {
    let deadline = std::time::Instant::now() + TIMEOUT;
    loop {
        if let Some(record) = registry.journal().into_iter().rfind(&wanted) {
            return record;
        }
        assert!(std::time::Instant::now() < deadline, "no such line in {:#?}", registry.journal());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// One row of a table: a request and what must come back.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) status: u16,
    /// Headers of the answer; `None` for one that must be absent.
    pub(crate) wanted: Vec<(&'static str, Option<String>)>,
    /// The OCI code, where it is an error.
    pub(crate) code: Option<&'static str>,
    /// Text that the body has, in the details where it is an error.
    pub(crate) says: &'static str,
}

impl Case {
    pub(crate) fn new(
        name: &'static str,
        method: &'static str,
        path: impl Into<String>,
        status: u16,
    ) -> Self {
        Self {
            name,
            method,
            path: path.into(),
            headers: Vec::new(),
            body: Vec::new(),
            status,
            wanted: Vec::new(),
            code: None,
            says: "",
        }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn has(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.wanted.push((name, Some(value.into())));
        self
    }

    pub(crate) fn lacks(mut self, name: &'static str) -> Self {
        self.wanted.push((name, None));
        self
    }

    pub(crate) fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    pub(crate) fn says(mut self, text: &'static str) -> Self {
        self.says = text;
        self
    }

    fn faults(&self, answer: &Answer) -> Vec<String> {
        let mut faults = Vec::new();
        let mut differ = |what: &str, got: String, wanted: String| {
            if got != wanted {
                faults.push(format!("{}: {what} is {got}, not {wanted}", self.name));
            }
        };
        differ("status", answer.status.to_string(), self.status.to_string());
        differ(
            "version",
            format!("{:?}", answer.header("docker-distribution-api-version")),
            format!("{:?}", Some("registry/2.0")),
        );
        for (name, wanted) in &self.wanted {
            differ(name, format!("{:?}", answer.header(name)), format!("{:?}", wanted.as_deref()));
        }
        if let Some(code) = self.code {
            if self.method == "HEAD" {
                differ("body", answer.text(), String::new());
                differ(
                    "type",
                    format!("{:?}", answer.header("content-type")),
                    format!("{:?}", Some("application/json")),
                );
            } else {
                differ("code", answer.code(), code.to_owned());
                differ("detail", answer.details().is_empty().to_string(), "false".into());
            }
        }
        if !answer.text().contains(self.says) {
            faults.push(format!("{}: `{}` is not in {}", self.name, self.says, answer.text()));
        }
        faults
    }
}

/// Sends every row over one connection and reports all that differ.
pub(crate) fn check(registry: &Registry, cases: &[Case]) {
    let mut client = Client::of(registry);
    let mut faults = Vec::new();
    for case in cases {
        let headers: Vec<_> = case.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = client.send(case.method, &case.path, &headers, &case.body);
        faults.extend(case.faults(&answer));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
