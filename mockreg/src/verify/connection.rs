//! Connections to one registry and to where it redirects: plain or TLS, HTTP/1.1, kept alive and used again.

use std::collections::HashMap;
use std::io;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::address::Address;
use crate::authorities::Authorities;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// Connections kept for later, of each address; as many tags as are compared at once need one.
const KEPT: usize = 8;

/// A connection that can take a request.
pub(super) type Sender = SendRequest<Empty<Bytes>>;

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
        let kept =
            || self.idle.lock().expect("no holder of the list panics").get_mut(&address.origin())?.pop();
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
        let kept = idle.entry(address.origin()).or_default();
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
        let config = self.authorities.config().map_err(io::Error::other)?;
        let name = ServerName::try_from(address.host().to_owned()).map_err(io::Error::other)?;
        let stream = TlsConnector::from(config).connect(name, stream).await?;
        handshake(TokioIo::new(stream)).await
    }
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
