//! `mockreg healthcheck`: which URLs can be asked, over TLS too, and which answers are good.

use anyhow::{Context as _, anyhow};
use clap::Args;
use http::Uri;
use rustls_pki_types::ServerName;
use stormyard_process::health;

use super::Failure;
use super::trust::Trust;
use crate::authorities::Authorities;
use crate::verify::Address;

/// Ask a URL, and succeed if the answer is 200.
#[derive(Debug, Args)]
#[command(after_help = "\
Without a path, /healthz is asked for. Exits with 0 if the answer is 200, 1 if it is anything else or none within \
three seconds, and 2 if the command line is wrong. The admin port speaks plain HTTP; https is for the registry's own \
port and for what stands before either.

Examples:
  mockreg healthcheck http://127.0.0.1:5080
      Is it up?
  mockreg healthcheck http://127.0.0.1:5080/readyz
      Are the catalogue's digests computed?
  mockreg healthcheck https://localhost:5000/v2/ --ca ca.pem
      Does the registry answer under TLS?")]
pub(super) struct Healthcheck {
    /// Base URL of the admin port, or a URL with a path
    url: String,
    #[command(flatten)]
    trust: Trust,
}

/// Where to ask, and for what.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    address: Address,
    path: String,
}

impl Healthcheck {
    /// Asks.
    pub(super) fn run(self) -> Result<(), Failure> {
        let target = Target::of(&self.url).map_err(Failure::usage)?;
        let authorities = self.trust.authorities().map_err(Failure::usage)?;
        if target.address.is_tls() && authorities.is_unchecked() {
            eprintln!("mockreg: the certificate of {} is not checked (--insecure)", self.url);
        }
        let asked = target.ask(&authorities).with_context(|| format!("{} is not well", self.url));
        asked.map_err(Failure::found)
    }
}

impl Target {
    fn of(url: &str) -> anyhow::Result<Self> {
        let like = || format!("`{url}` is no URL like http://127.0.0.1:5080 or https://localhost:5000/v2/");
        let uri: Uri = url.parse().with_context(like)?;
        let address = Address::of_uri(&uri).map_err(|reason| anyhow!(reason)).with_context(like)?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self { address, path: if path == "/" { "/healthz".into() } else { path.into() } })
    }

    fn ask(&self, authorities: &Authorities) -> anyhow::Result<()> {
        let authority = self.address.authority();
        let line = if self.address.is_tls() {
            let name = ServerName::try_from(self.address.host().to_owned())?;
            let session = rustls::ClientConnection::new(authorities.config()?, name)?;
            let wrap = |stream| Ok(rustls::StreamOwned::new(session, stream));
            health::status_line(&authority, &self.path, wrap)?
        } else {
            health::status_line(&authority, &self.path, Ok)?
        };
        if line.split(' ').nth(1) == Some("200") { Ok(()) } else { Err(anyhow!("it answered `{line}`")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_a_default_path() {
        for (url, origin, path) in [
            ("http://127.0.0.1:5080", "http://127.0.0.1:5080", "/healthz"),
            ("http://a:1/", "http://a:1", "/healthz"),
            ("http://a:1/readyz", "http://a:1", "/readyz"),
            ("https://[::1]:5000/v2/?x=1", "https://[::1]:5000", "/v2/?x=1"),
            ("https://a", "https://a:443", "/healthz"),
        ] {
            let target = Target::of(url).unwrap();
            assert_eq!((target.address.origin().as_str(), target.path.as_str()), (origin, path));
        }
        for url in ["ftp://a:1", "a:1", "http://a:0", "http://u@a:1", ""] {
            let error = format!("{:#}", Target::of(url).unwrap_err());
            assert!(error.contains("http://127.0.0.1:5080"), "{url}: {error}");
        }
    }
}
