//! A plain HTTP client over one socket: what a measurement needs and no more, the same for every server.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::ops::Range;

/// What a download reads at once.
const BUFFER: usize = 256 << 10;

/// The head of an answer, and the connection behind it.
struct Answer {
    status: u16,
    length: Option<u64>,
    location: Option<String>,
    reader: BufReader<TcpStream>,
}

/// Sends a request without a body and returns status and body.
///
/// # Panics
/// The server does not answer with HTTP/1.1.
pub fn request(method: &str, address: &str, path: &str) -> (u16, String) {
    let mut answer = send(method, address, path, "");
    let mut body = String::new();
    answer.reader.read_to_string(&mut body).expect("the answer is text");
    (answer.status, body)
}

/// Downloads a path and throws it away; returns the number of body bytes.
///
/// # Panics
/// The server does not answer with 200 and a length.
pub fn download(address: &str, path: &str) -> u64 {
    let answer = send("GET", address, path, "");
    assert_eq!(answer.status, 200, "http://{address}{path}");
    discard(answer)
}

/// Downloads a range of a path and throws it away; returns the number of body bytes.
///
/// # Panics
/// The server does not answer with 206 and a length.
pub fn download_range(address: &str, path: &str, range: Range<u64>) -> u64 {
    let header = format!("range: bytes={}-{}\r\n", range.start, range.end - 1);
    let answer = send("GET", address, path, &header);
    assert_eq!(answer.status, 206, "http://{address}{path}");
    discard(answer)
}

/// Downloads a path into memory.
///
/// # Panics
/// The server does not answer with 200 and a length.
pub fn fetch(address: &str, path: &str) -> Vec<u8> {
    let mut answer = send("GET", address, path, "");
    assert_eq!(answer.status, 200, "http://{address}{path}");
    let length = answer.length.expect("a download has a length");
    let mut bytes = Vec::with_capacity(length as usize);
    answer.reader.by_ref().take(length).read_to_end(&mut bytes).expect("the connection holds");
    assert_eq!(bytes.len() as u64, length);
    bytes
}

/// Digest and path of the first layer of an image.
///
/// # Panics
/// The registry has no such image, or it has no layer.
pub fn layer(address: &str, image: &str) -> (String, String) {
    let manifest = fetch(address, &format!("/v2/{image}/manifests/latest"));
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("a manifest is JSON");
    let digest = manifest["layers"][0]["digest"].as_str().expect("a layer has a digest").to_owned();
    let path = format!("/v2/{image}/blobs/{digest}");
    (digest, path)
}

/// Uploads a blob as registries take it: an upload session, then one PUT with the whole of it.
///
/// # Panics
/// The server does not take it.
pub fn push_blob(address: &str, repository: &str, digest: &str, bytes: &[u8]) {
    let answer = send("POST", address, &format!("/v2/{repository}/blobs/uploads/"), "");
    assert_eq!(answer.status, 202, "an upload session of {address}");
    let location = answer.location.expect("a session has a location");
    let path = location.trim_start_matches("http://").trim_start_matches(address);
    let mark = if path.contains('?') { '&' } else { '?' };
    let mut stream = connect(address);
    let length = bytes.len();
    let head = format!(
        "PUT {path}{mark}digest={digest} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-type: application/octet-stream\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("the server reads requests");
    stream.write_all(bytes).expect("the server reads bodies");
    let answer = read_head(stream);
    assert_eq!(answer.status, 201, "a blob for {address}");
}

fn discard(answer: Answer) -> u64 {
    let length = answer.length.expect("a download has a length");
    let mut reader = answer.reader;
    let mut buffer = vec![0u8; BUFFER];
    // What the reader had taken in with the head belongs to the body.
    let mut received = reader.buffer().len() as u64;
    while received < length {
        match reader.get_mut().read(&mut buffer).expect("the connection holds") {
            0 => break,
            n => received += n as u64,
        }
    }
    received
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
    stream.set_nodelay(true).expect("a fresh socket");
    stream
}

fn send(method: &str, address: &str, path: &str, headers: &str) -> Answer {
    let mut stream = connect(address);
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: 0\r\n{headers}\r\n"
    )
    .expect("the server reads requests");
    read_head(stream)
}

fn read_head(stream: TcpStream) -> Answer {
    let mut reader = BufReader::with_capacity(4 << 10, stream);
    let mut line = String::new();
    reader.read_line(&mut line).expect("a status line");
    let status =
        line.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("said `{line}`"));
    let (mut length, mut location) = (None, None);
    loop {
        line.clear();
        reader.read_line(&mut line).expect("a header line");
        let Some((name, value)) = line.split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok();
        } else if name.eq_ignore_ascii_case("location") {
            location = Some(value.trim().to_owned());
        }
    }
    Answer { status, length, location, reader }
}
