//! One small HTTP request over a socket of its own, for the commands that are clients: the health check and `ctl`.
//! It speaks HTTP/1.0, whose answers are never in pieces and end with the connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use http::Uri;
use thiserror::Error;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(3);
/// The part of an answer that is read: more proxies than one server has ports.
const LIMIT: u64 = 64 << 20;

/// Why nobody answered.
#[derive(Debug, Error)]
pub(crate) enum AskError {
    /// The URL is not `http://HOST:PORT[/PATH]`.
    #[error("not a URL of the form http://HOST:PORT")]
    Url,
    /// The address cannot be reached.
    #[error("dial tcp {address}: connect: {}", reason(.error))]
    Dial {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// The host has no address.
    #[error("dial tcp: lookup {0}: no such host")]
    NoSuchHost(String),
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// What came is no answer.
    #[error("malformed HTTP response")]
    Malformed,
}

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        std::io::ErrorKind::TimedOut => "i/o timeout".to_owned(),
        _ => error.to_string().to_lowercase(),
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    /// Its status.
    pub(crate) status: u16,
    /// Its body.
    pub(crate) body: Vec<u8>,
}

/// Where a server is, and how long it may take.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    authority: String,
    address: SocketAddr,
    patience: Duration,
}

impl Server {
    /// The server of a URL; each read and write may take `patience`.
    ///
    /// # Errors
    /// It is no such URL, or its host has no address.
    pub(crate) fn of(url: &Uri, patience: Duration) -> Result<Self, AskError> {
        let (Some("http"), Some(host)) = (url.scheme_str(), url.host()) else { return Err(AskError::Url) };
        let port = url.port_u16().unwrap_or(80);
        let unknown = || AskError::NoSuchHost(host.to_owned());
        let found = (host.trim_matches(['[', ']']), port).to_socket_addrs().map_err(|_| unknown())?;
        let found: Vec<_> = found.collect();
        let address = found.iter().find(|address| address.is_ipv4()).or_else(|| found.first());
        Ok(Self { authority: format!("{host}:{port}"), address: *address.ok_or_else(unknown)?, patience })
    }

    /// Asks it.
    ///
    /// # Errors
    /// It cannot be reached, or does not answer.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> Result<Reply, AskError> {
        let dial = |error| AskError::Dial { address: self.address, error };
        let mut stream = TcpStream::connect_timeout(&self.address, CONNECT).map_err(dial)?;
        stream.set_read_timeout(Some(self.patience))?;
        stream.set_write_timeout(Some(self.patience))?;
        let (host, length) = (&self.authority, body.len());
        let agent = concat!("chaosproxy/", env!("CARGO_PKG_VERSION"));
        write!(stream, "{method} {path} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: {agent}\r\n")?;
        write!(stream, "Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")?;
        let mut answer = Vec::new();
        stream.take(LIMIT).read_to_end(&mut answer)?;
        parse(&answer).ok_or(AskError::Malformed)
    }
}

fn parse(answer: &[u8]) -> Option<Reply> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.get(..3)?.parse().ok()?;
    Some(Reply { status, body: answer[end + 4..].to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_status_and_a_body() {
        let reply = |text: &str| parse(text.as_bytes());
        let ok = Reply { status: 200, body: b"x".to_vec() };
        assert_eq!(reply("HTTP/1.0 200 OK\r\nA: b\r\n\r\nx"), Some(ok));
        assert_eq!(reply("HTTP/1.1 204\r\n\r\n"), Some(Reply { status: 204, body: Vec::new() }));
        for text in ["", "\r\n\r\n", "HTTP/1.0 2\r\n\r\n", "SSH-2.0\r\n\r\n", "HTTP/1.0 200 OK\r\n"] {
            assert_eq!(reply(text), None, "{text}");
        }
    }
}
