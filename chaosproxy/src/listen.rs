//! Listening addresses: what a text means, binding it, and keeping a port reserved while nobody is to be let in.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket};

/// Connections the kernel queues for a proxy: a burst of a load generator fits, and no more memory is promised.
const BACKLOG: u32 = 1024;

/// Why a proxy cannot listen. The texts are those of Go's `net` package, which clients of Toxiproxy compare.
#[derive(Debug, Error)]
pub enum ListenError {
    /// There is no `:port`. Write `127.0.0.1:8666`.
    #[error("listen tcp: address {0}: missing port in address")]
    MissingPort(String),
    /// The port is no number between 0 and 65535.
    #[error("listen tcp: address {0}: invalid port")]
    InvalidPort(String),
    /// The host name does not resolve.
    #[error("listen tcp: lookup {0}: no such host")]
    NoSuchHost(String),
    /// The address is in use, not of this machine, or not permitted. The text tells the reason, as Go's does, so
    /// that there is no source beside it.
    #[error("listen tcp {address}: bind: {}", reason(.error))]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "address already in use".to_owned(),
        io::ErrorKind::AddrNotAvailable => "cannot assign requested address".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string().to_lowercase(),
    }
}

/// The address a text means: `HOST:PORT`, names resolved with IPv4 first; an empty host is loopback, an empty text
/// a free port there.
///
/// # Errors
/// No port, no such port, no such host.
pub(crate) async fn resolve(listen: &str) -> Result<SocketAddr, ListenError> {
    if listen.is_empty() {
        return Ok((Ipv4Addr::LOCALHOST, 0).into());
    }
    if let Ok(address) = listen.parse() {
        return Ok(address);
    }
    let (host, port) = listen.rsplit_once(':').ok_or_else(|| ListenError::MissingPort(listen.to_owned()))?;
    let port: u16 = port.parse().map_err(|_| ListenError::InvalidPort(listen.to_owned()))?;
    if host.is_empty() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    let found =
        tokio::net::lookup_host((host, port)).await.map(Iterator::collect::<Vec<_>>).unwrap_or_default();
    let first = found.iter().find(|address| address.is_ipv4()).or_else(|| found.first());
    first.copied().ok_or_else(|| ListenError::NoSuchHost(host.to_owned()))
}

/// Listens.
///
/// # Errors
/// The address cannot be bound.
pub(crate) fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let listener = reserve(address).and_then(|socket| socket.listen(BACKLOG));
    listener.map_err(|error| ListenError::Bind { address, error })
}

/// Listens on a reserved address.
///
/// # Errors
/// Another program listens there meanwhile.
pub(crate) fn open(reserved: TcpSocket, address: SocketAddr) -> Result<TcpListener, ListenError> {
    reserved.listen(BACKLOG).map_err(|error| ListenError::Bind { address, error })
}

/// Binds without listening: connections are refused, and no other socket is given the port meanwhile.
///
/// `SO_REUSEADDR` lets it be bound although connections of the listener before it linger; unlike `SO_REUSEPORT` it
/// never lets two listeners have one port.
///
/// # Errors
/// The address cannot be bound.
pub(crate) fn reserve(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn texts_mean_addresses() {
        for (text, address) in [
            ("", "127.0.0.1:0"),
            (":3310", "127.0.0.1:3310"),
            ("localhost:3310", "127.0.0.1:3310"),
            ("0.0.0.0:1", "0.0.0.0:1"),
            ("[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(resolve(text).await.unwrap().to_string(), address, "{text}");
        }
    }

    #[tokio::test]
    async fn errors_read_like_the_reference() {
        let error = async |text| resolve(text).await.unwrap_err().to_string();
        assert_eq!(error("local373").await, "listen tcp: address local373: missing port in address");
        assert_eq!(error("localhost:x").await, "listen tcp: address localhost:x: invalid port");
        let held = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = held.local_addr().unwrap();
        let busy = listen(address).unwrap_err().to_string();
        assert_eq!(busy, format!("listen tcp {address}: bind: address already in use"));
    }

    #[tokio::test]
    async fn a_reserved_port_refuses_and_opens_again() {
        // An address of loopback that no other test listens on: for a moment the port is nobody's.
        let listener = listen("127.90.0.2:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let reserved = reserve(address).unwrap();
        let refused = tokio::net::TcpStream::connect(address).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let again = open(reserved, address).unwrap();
        assert_eq!(again.local_addr().unwrap(), address);
        tokio::net::TcpStream::connect(address).await.unwrap();
    }
}
