//! Connections to one registry and to where it redirects: plain or TLS, HTTP/1.1, kept alive and used again.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::address::Address;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// Connections kept for later, of each address; as many tags as are compared at once need one.
const KEPT: usize = 8;

/// A connection that can take a request.
pub(super) type Sender = SendRequest<Empty<Bytes>>;

/// Certificates of authorities to believe; none by default.
#[derive(Clone, Debug, Default)]
pub struct Authorities {
    config: Option<Arc<ClientConfig>>,
}

/// A text is no list of certificates.
#[derive(Debug, Error)]
#[error("no certificate of an authority can be read: {0}")]
pub struct CertificateError(String);

impl Authorities {
    /// Certificates in PEM, one or more.
    ///
    /// # Errors
    /// There is none, or one cannot be read.
    pub fn try_from_pem(text: &[u8]) -> Result<Self, CertificateError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(text) {
            let certificate = certificate.map_err(|error| CertificateError(error.to_string()))?;
            roots.add(certificate).map_err(|error| CertificateError(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(CertificateError("the text has no `BEGIN CERTIFICATE`".into()));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| CertificateError(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Some(Arc::new(config)) })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.config.is_none()
    }
}

/// Makes connections and keeps idle ones.
#[derive(Debug)]
pub(super) struct Connections {
    authorities: Authorities,
    idle: Mutex<HashMap<String, Vec<Sender>>>,
}

impl Connections {
    pub(super) fn new(authorities: Authorities) -> Self {
        Self { authorities, idle: Mutex::default() }
    }

    /// A connection to `address`, and whether it was used before: then the registry may just be closing it.
    pub(super) async fn take(&self, address: &Address) -> io::Result<(Sender, bool)> {
        let kept = || self.idle.lock().expect("no holder of the list panics").get_mut(&key(address))?.pop();
        while let Some(mut sender) = kept() {
            if sender.ready().await.is_ok() {
                return Ok((sender, true));
            }
        }
        let made = tokio::time::timeout(CONNECT, self.connect(address)).await;
        made.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut))).map(|sender| (sender, false))
    }

    /// Keeps a connection whose answer has been read to the end.
    pub(super) fn keep(&self, address: &Address, sender: Sender) {
        let mut idle = self.idle.lock().expect("no holder of the list panics");
        let kept = idle.entry(key(address)).or_default();
        if kept.len() < KEPT && !sender.is_closed() {
            kept.push(sender);
        }
    }

    async fn connect(&self, address: &Address) -> io::Result<Sender> {
        let stream = TcpStream::connect((address.host(), address.port())).await?;
        stream.set_nodelay(true)?;
        if !address.is_tls() {
            return handshake(TokioIo::new(stream)).await;
        }
        let config = self.authorities.config.clone();
        let config =
            config.ok_or_else(|| io::Error::other("it speaks TLS, and no authority is trusted (--ca)"))?;
        let name = ServerName::try_from(address.host().to_owned()).map_err(io::Error::other)?;
        let stream = TlsConnector::from(config).connect(name, stream).await?;
        handshake(TokioIo::new(stream)).await
    }
}

fn key(address: &Address) -> String {
    format!("{}{}:{}", if address.is_tls() { "s" } else { "" }, address.host(), address.port())
}

/// Begins HTTP. The connection's own task ends with the connection.
async fn handshake(
    stream: impl hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
) -> io::Result<Sender> {
    let (sender, connection) = http1::handshake(stream).await.map_err(io::Error::other)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection ended early");
        }
    });
    Ok(sender)
}
