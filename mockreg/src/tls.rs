//! TLS on the registry port: a certificate that was given, or one from the registry's own certificate authority
//! (`authority`), and the connections it protects (`encrypted`). Which protocol is spoken underneath is agreed on in
//! the handshake (ALPN).

mod authority;
mod encrypted;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use tokio_rustls::TlsAcceptor;

pub(crate) use authority::{Authority, default_directory};
pub(crate) use encrypted::Encrypted;

/// What TLS calls HTTP/2 (RFC 9113 §3.2).
pub(crate) const H2: &[u8] = b"h2";
/// What TLS calls HTTP/1.1 (RFC 7301 §6).
const HTTP1: &[u8] = b"http/1.1";

/// Where a registry's certificate comes from.
///
/// ```
/// use mockreg::{Registry, Tls};
///
/// let registry = Registry::builder().tls(Tls::ephemeral()).start()?;
/// assert!(registry.url().starts_with("https://127.0.0.1:"));
/// let trusted = registry.ca_certificate().expect("it has a certificate authority of its own");
/// assert!(trusted.starts_with("-----BEGIN CERTIFICATE-----"));
/// # Ok::<(), mockreg::StartError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tls {
    source: Source,
    names: Vec<String>,
}

#[derive(Clone, Debug)]
enum Source {
    Files { certificate: PathBuf, key: PathBuf },
    Directory(PathBuf),
    Ephemeral,
}

/// Why a registry cannot speak TLS.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read, or not be written where it is to be made.
    #[error("{path} cannot be used")]
    File {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file holds no certificate, or no private key.
    #[error("{path} holds no {what} in PEM form")]
    Pem {
        /// The file.
        path: PathBuf,
        /// `certificate` or `private key`.
        what: &'static str,
    },
    /// Certificate and key do not belong together, or are of a kind that is not supported.
    #[error("certificate and key cannot be used together")]
    Pair(#[source] rustls::Error),
    /// The certificate of an authority was made with another key than the one beside it.
    #[error("{path} does not belong to ca-key.pem beside it; remove both to have new ones")]
    Strangers {
        /// The certificate.
        path: PathBuf,
    },
    /// No certificate can be made for these names.
    #[error("no certificate can be made")]
    Issue(#[source] rcgen::Error),
}

impl Tls {
    /// A certificate, with those between it and its root after it, and its private key: two PEM files.
    pub fn files(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self::of(Source::Files { certificate: certificate.into(), key: key.into() })
    }

    /// A certificate from an authority that lives in `directory` (`ca.pem`, `ca-key.pem`) and is made there the first
    /// time. It is for localhost, 127.0.0.1, `::1`, the host's name, and the address that the registry listens on.
    pub fn auto(directory: impl Into<PathBuf>) -> Self {
        Self::of(Source::Directory(directory.into()))
    }

    /// As [`Tls::auto`], from an authority that is gone when the registry stops.
    pub fn ephemeral() -> Self {
        Self::of(Source::Ephemeral)
    }

    fn of(source: Source) -> Self {
        Self { source, names: Vec::new() }
    }

    /// A further DNS name or IP address for which a certificate that is made is good.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.names.push(name.into());
        self
    }

    /// Reads or makes the certificate.
    pub(crate) fn terminator(&self, listen: IpAddr) -> Result<Terminator, TlsError> {
        let authority = match &self.source {
            Source::Files { certificate, key } => {
                let pair = (certificates(certificate)?, private_key(key)?);
                return Terminator::new(pair.0, pair.1, None);
            }
            Source::Directory(directory) => Authority::open(directory)?,
            Source::Ephemeral => Authority::fresh()?,
        };
        let (certificate, key) = authority.issue(self.all_names(listen))?;
        Terminator::new(vec![certificate], key, Some(authority.certificate().to_owned()))
    }

    fn all_names(&self, listen: IpAddr) -> Vec<String> {
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        // A container may be called anything.
        names.extend(Some(host).filter(|host| !host.is_empty() && host.is_ascii()));
        names.extend(Some(listen).filter(|listen| !listen.is_unspecified()).map(|listen| listen.to_string()));
        names.extend(self.names.iter().cloned());
        names.sort_unstable();
        names.dedup();
        names
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let missing = || TlsError::Pem { path: path.to_owned(), what: "certificate" };
    let read = CertificateDer::pem_slice_iter(&read(path)?).collect::<Result<Vec<_>, _>>();
    read.ok().filter(|read| !read.is_empty()).ok_or_else(missing)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read(path)?)
        .map_err(|_| TlsError::Pem { path: path.to_owned(), what: "private key" })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::File { path: path.to_owned(), source })
}

/// What ends TLS on accepted connections.
pub(crate) struct Terminator {
    pub(crate) acceptor: TlsAcceptor,
    /// The certificate of the registry's own authority, as PEM.
    pub(crate) authority: Option<String>,
}

impl std::fmt::Debug for Terminator {
    /// Keys stay out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terminator").finish_non_exhaustive()
    }
}

impl Terminator {
    fn new(
        certificates: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        authority: Option<String>,
    ) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Pair)?
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .map_err(TlsError::Pair)?;
        config.alpn_protocols = vec![H2.to_vec(), HTTP1.to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), authority })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn given_files_are_used_and_wrong_ones_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let authority = Authority::fresh().unwrap();
        let (_, other) = authority.issue(vec!["localhost".into()]).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        std::fs::write(path("c.pem"), certificate.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(path("k.pem"), key.serialize_pem()).unwrap();
        std::fs::write(path("empty"), "").unwrap();
        let stranger = rcgen::KeyPair::try_from(&other).unwrap();
        std::fs::write(path("other.pem"), stranger.serialize_pem()).unwrap();
        let start =
            |certificate: &str, key: &str| Tls::files(path(certificate), path(key)).terminator(LOOPBACK);
        assert!(start("c.pem", "k.pem").unwrap().authority.is_none());
        for (certificate, key, says) in [
            ("none", "k.pem", "none cannot be used"),
            ("empty", "k.pem", "empty holds no certificate"),
            ("c.pem", "empty", "empty holds no private key"),
            ("c.pem", "c.pem", "c.pem holds no private key"),
            ("c.pem", "other.pem", "together"),
        ] {
            let error = start(certificate, key).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_certificate_is_made_for_every_name() {
        let names =
            Tls::ephemeral().name("reg.test").name("10.1.2.3").all_names("192.0.2.1".parse().unwrap());
        for name in ["localhost", "127.0.0.1", "::1", "192.0.2.1", "reg.test", "10.1.2.3"] {
            assert!(names.iter().any(|given| given == name), "{names:?}");
        }
        assert!(Tls::ephemeral().name("Straße").terminator(LOOPBACK).is_err());
    }
}
