//! `mockreg healthcheck`: for containers, whose images have no other program to ask with.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;

use super::Failure;

/// A server that takes longer is not well.
const TIMEOUT: Duration = Duration::from_secs(3);
/// A status line is shorter.
const MAX_ANSWER: u64 = 1024;

/// Asks a URL, and succeeds if the answer is 200.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mockreg healthcheck http://127.0.0.1:5080          (asks /healthz: is it up)
  mockreg healthcheck http://127.0.0.1:5080/readyz   (are the catalogue's digests computed)")]
pub(super) struct Healthcheck {
    /// Base URL of the admin port, or a URL with a path
    url: String,
}

impl Healthcheck {
    /// Asks.
    pub(super) fn run(self) -> Result<(), Failure> {
        let (authority, path) = split(&self.url).map_err(Failure::usage)?;
        let asked = ask(authority, path).with_context(|| format!("{} is not well", self.url));
        asked.map_err(|error| Failure { code: 1, error })
    }
}

/// Host with port, and path.
fn split(url: &str) -> anyhow::Result<(&str, &str)> {
    let rest = url.strip_prefix("http://").ok_or_else(|| anyhow!("`{url}` does not begin with http://"))?;
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    if !authority.contains(':') {
        bail!("`{url}` names no port");
    }
    Ok((authority, if path.len() > 1 { path } else { "/healthz" }))
}

fn ask(authority: &str, path: &str) -> anyhow::Result<()> {
    let address = authority.to_socket_addrs()?.next().ok_or_else(|| anyhow!("{authority} has no address"))?;
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) == Some("200") { Ok(()) } else { Err(anyhow!("it answered `{status}`")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_a_port_and_a_default_path() {
        assert_eq!(split("http://127.0.0.1:5080").unwrap(), ("127.0.0.1:5080", "/healthz"));
        assert_eq!(split("http://a:1/").unwrap(), ("a:1", "/healthz"));
        assert_eq!(split("http://a:1/readyz").unwrap(), ("a:1", "/readyz"));
        for url in ["https://a:1", "a:1", "http://a", ""] {
            assert!(split(url).is_err(), "{url}");
        }
    }
}
