//! A plain HTTP client over one socket: what a measurement needs and no more, the same for every server.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// Sends a request without a body and returns status and body.
///
/// # Panics
/// The server does not answer with HTTP/1.1.
pub fn request(method: &str, address: &str, path: &str) -> (u16, String) {
    let (status, _, mut reader) = send(method, address, path);
    let mut body = String::new();
    reader.read_to_string(&mut body).expect("the answer is text");
    (status, body)
}

/// Downloads a path and throws it away; returns the number of body bytes.
///
/// # Panics
/// The server does not answer with 200 and a length.
pub fn download(address: &str, path: &str) -> u64 {
    let (status, length, mut reader) = send("GET", address, path);
    assert_eq!(status, 200, "http://{address}{path}");
    let length = length.expect("a download has a length");
    let mut buffer = vec![0u8; 1 << 20];
    let mut received = 0;
    while received < length {
        match reader.get_mut().read(&mut buffer).expect("the connection holds") {
            0 => break,
            n => received += n as u64,
        }
    }
    // What the reader had taken in with the head belongs to the body.
    received + reader.buffer().len() as u64
}

fn send(method: &str, address: &str, path: &str) -> (u16, Option<u64>, BufReader<TcpStream>) {
    let mut stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
    stream.set_nodelay(true).expect("a fresh socket");
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    )
    .expect("the server reads requests");
    let mut reader = BufReader::with_capacity(4 << 10, stream);
    let mut line = String::new();
    reader.read_line(&mut line).expect("a status line");
    let status =
        line.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("said `{line}`"));
    let mut length = None;
    loop {
        line.clear();
        reader.read_line(&mut line).expect("a header line");
        let Some((name, value)) = line.split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok();
        }
    }
    (status, length, reader)
}
