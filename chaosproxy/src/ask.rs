//! One small HTTP request over a socket of its own, for the commands that are clients: the health check, `ctl` and
//! `top`. It speaks HTTP/1.0, whose answers are never in pieces and end with the connection.

use std::borrow::Cow;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixSocketAddr, UnixStream};
use std::time::Duration;

use http::Uri;
use thiserror::Error;

use crate::token::Token;
use crate::unix::{self, UnixAddress};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(3);
/// The part of an answer that is read: more proxies than one server has ports.
const LIMIT: u64 = 64 << 20;

/// Where a server listens unless it is told otherwise.
const USUAL: &str = "http://localhost:8474";

/// The server that is asked: the one that is named, or that of `TOXIPROXY_URL`, or the usual one.
pub(crate) fn server(named: Option<String>) -> String {
    let environment = || std::env::var("TOXIPROXY_URL").ok().filter(|url| !url.is_empty());
    named.or_else(environment).unwrap_or_else(|| USUAL.to_owned())
}

/// The URL of a server that may be named by its address alone.
pub(crate) fn url(server: &str) -> Cow<'_, str> {
    let has_scheme = server.contains("://") || unix::is_meant(server);
    if has_scheme { server.into() } else { format!("http://{server}").into() }
}

/// Why nobody answered.
#[derive(Debug, Error)]
pub(crate) enum AskError {
    /// It is neither `HOST:PORT`, `http://HOST:PORT[/PATH]` nor `unix:PATH`.
    #[error("not an address of the form HOST:PORT, http://HOST:PORT or unix:PATH")]
    Url,
    /// The address cannot be reached.
    #[error("dial {network} {address}: connect: {}", reason(.error))]
    Dial {
        /// `tcp` or `unix`.
        network: &'static str,
        /// The address, or the path.
        address: String,
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
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
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

/// Where a server is, what it is shown, and how long it may take.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    place: Place,
    path: String,
    token: Option<Token>,
    patience: Duration,
}

#[derive(Clone, Debug)]
enum Place {
    Tcp { authority: String, address: SocketAddr },
    Unix(UnixAddress),
}

impl Server {
    /// The server of an address or URL, which is shown `token`; each read and write may take `patience`.
    ///
    /// # Errors
    /// It is none, or its host has no address.
    pub(crate) fn of(server: &str, token: Option<Token>, patience: Duration) -> Result<Self, AskError> {
        if unix::is_meant(server) {
            let address = UnixAddress::parse(server).map_err(|_| AskError::Url)?;
            return Ok(Self { place: Place::Unix(address), path: String::new(), token, patience });
        }
        let url: Uri = url(server).parse().map_err(|_| AskError::Url)?;
        let (Some("http"), Some(host)) = (url.scheme_str(), url.host()) else { return Err(AskError::Url) };
        let port = url.port_u16().unwrap_or(80);
        let unknown = || AskError::NoSuchHost(host.to_owned());
        let found = (host.trim_matches(['[', ']']), port).to_socket_addrs().map_err(|_| unknown())?;
        let found: Vec<_> = found.collect();
        let address = found.iter().find(|address| address.is_ipv4()).or_else(|| found.first());
        let place =
            Place::Tcp { authority: format!("{host}:{port}"), address: *address.ok_or_else(unknown)? };
        Ok(Self { place, path: url.path().trim_end_matches('/').to_owned(), token, patience })
    }

    /// The path of its URL, without a slash at the end; mostly empty.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Asks it.
    ///
    /// # Errors
    /// It cannot be reached, or does not answer.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> Result<Reply, AskError> {
        match &self.place {
            Place::Tcp { authority, address } => {
                let dial = |error| AskError::Dial { network: "tcp", address: address.to_string(), error };
                let stream = TcpStream::connect_timeout(address, CONNECT).map_err(dial)?;
                stream.set_read_timeout(Some(self.patience))?;
                stream.set_write_timeout(Some(self.patience))?;
                self.exchange(stream, authority, method, path, body)
            }
            Place::Unix(address) => {
                let stream = connect(address).map_err(|error| {
                    let text = address.to_string();
                    let address = text.trim_start_matches("unix:").to_owned();
                    AskError::Dial { network: "unix", address, error }
                })?;
                stream.set_read_timeout(Some(self.patience))?;
                stream.set_write_timeout(Some(self.patience))?;
                self.exchange(stream, "localhost", method, path, body)
            }
        }
    }

    fn exchange(
        &self,
        mut stream: impl Read + Write,
        host: &str,
        method: &str,
        path: &str,
        body: &str,
    ) -> Result<Reply, AskError> {
        let agent = concat!("chaosproxy/", env!("CARGO_PKG_VERSION"));
        let token = self.token.as_ref();
        let token =
            token.map(|token| format!("Authorization: {}\r\n", token.authorization())).unwrap_or_default();
        let length = body.len();
        // In one piece: who refuses at the first bytes and closes resets a connection on which more is under way.
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: {agent}\r\n{token}\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.take(LIMIT).read_to_end(&mut answer)?;
        parse(&answer).ok_or(AskError::Malformed)
    }
}

fn connect(address: &UnixAddress) -> std::io::Result<UnixStream> {
    match address {
        UnixAddress::Abstract(name) => UnixStream::connect_addr(&UnixSocketAddr::from_abstract_name(name)?),
        UnixAddress::File(path) => UnixStream::connect(path),
        UnixAddress::Unnamed => Err(std::io::ErrorKind::InvalidInput.into()),
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
    fn a_server_is_an_address_or_a_url() {
        for (server, wanted) in [
            ("127.0.0.1:8474", "http://127.0.0.1:8474"),
            ("[::1]:1", "http://[::1]:1"),
            ("h", "http://h"),
            ("http://h:1/p", "http://h:1/p"),
            ("https://h", "https://h"),
            ("unix:/run/api.sock", "unix:/run/api.sock"),
        ] {
            assert_eq!(url(server), wanted);
        }
        let of = |server| Server::of(server, None, CONNECT);
        assert_eq!(of("127.0.0.1:1/p/").unwrap().path(), "/p");
        for server in ["", "http://", "https://127.0.0.1:1", "unix:", "a b:1"] {
            assert!(matches!(of(server), Err(AskError::Url)), "{server}");
        }
    }

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
