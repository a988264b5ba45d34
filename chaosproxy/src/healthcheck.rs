//! `chaosproxy healthcheck URL`: one small HTTP request, for containers that have nothing else to make it with.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use http::Uri;
use thiserror::Error;

/// How long connecting, and each read, may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// The part of an answer that is looked at.
const HEAD: u64 = 4096;

/// Why a server is not healthy.
#[derive(Debug, Error)]
pub enum HealthError {
    /// The URL is not `http://HOST:PORT[/PATH]`.
    #[error("not a URL of the form http://HOST:PORT")]
    Url,
    /// It cannot be reached, or does not answer.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// It answers something else than 2xx.
    #[error("answered {0}")]
    Status(String),
}

/// Asks `url`, with the path `/healthz` where it has none, whether its server is well.
///
/// # Errors
/// It is not, or cannot be asked.
pub fn check(url: &str) -> Result<(), HealthError> {
    let uri: Uri = url.parse().map_err(|_| HealthError::Url)?;
    let (Some("http"), Some(host)) = (uri.scheme_str(), uri.host()) else { return Err(HealthError::Url) };
    let path = if uri.path() == "/" { "/healthz" } else { uri.path() };
    let port = uri.port_u16().unwrap_or(80);
    let address = (host.trim_matches(['[', ']']), port).to_socket_addrs()?.next().ok_or(HealthError::Url)?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(HEAD).read_to_end(&mut answer)?;
    let line = String::from_utf8_lossy(&answer);
    let status = line.lines().next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    if status.len() == 3 && status.starts_with('2') {
        Ok(())
    } else {
        Err(HealthError::Status(status.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_server_is_healthy_and_others_are_not() {
        let server = crate::Server::builder().start().unwrap();
        check(&server.url()).unwrap();
        check(&format!("{}/version", server.url())).unwrap();
        assert!(
            matches!(check(&format!("{}/proxies/none", server.url())), Err(HealthError::Status(s)) if s == "404")
        );
        let url = server.url();
        server.stop();
        assert!(matches!(check(&url), Err(HealthError::Io(_))));
        for url in ["", "127.0.0.1:8474", "https://127.0.0.1:1", "http://"] {
            assert!(matches!(check(url), Err(HealthError::Url)), "{url}");
        }
    }
}
