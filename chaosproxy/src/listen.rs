//! Listening addresses: what a text means, binding it, and keeping a port reserved while nobody is to be let in.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket};

/// Connections the kernel queues for a proxy: a burst of a load generator fits, and no more memory is promised.
pub(crate) const BACKLOG: u32 = 1024;

/// Why a text is no address. The texts are those of Go's `net` package, which clients of Toxiproxy compare.
#[derive(Debug, Error)]
pub enum AddressError {
    /// There is no `:port`. Write `127.0.0.1:8666`.
    #[error("address {0}: missing port in address")]
    MissingPort(String),
    /// There is more than one. Write `[::1]:8666`.
    #[error("address {0}: too many colons in address")]
    TooManyColons(String),
    /// The port is no number between 0 and 65535.
    #[error("address {0}: invalid port")]
    InvalidPort(String),
    /// The port is a name. Write its number.
    #[error("lookup tcp/{0}: unknown port")]
    UnknownPort(String),
    /// The host name does not resolve.
    #[error("lookup {0}: no such host")]
    NoSuchHost(String),
    /// It is one of the unix domain that no socket can have. Write `unix:/run/proxy.sock`.
    #[error("address {address}: {problem}")]
    Unix {
        /// The text.
        address: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl AddressError {
    const fn network(&self) -> &'static str {
        if matches!(self, Self::Unix { .. }) { "unix" } else { "tcp" }
    }
}

/// Why a proxy cannot listen, in the words of Go as well.
#[derive(Debug, Error)]
pub enum ListenError {
    /// The text is no address.
    #[error("listen {network}: {0}", network = .0.network())]
    Address(#[from] AddressError),
    /// The address is in use, not of this machine, or not permitted. The text tells the reason, as Go's does, so
    /// that there is no source beside it.
    #[error("listen tcp {address}: bind: {}", reason(.error))]
    Bind {
        /// The address.
        address: String,
        /// What the system says.
        error: io::Error,
    },
    /// Somebody listens on that socket of the unix domain, the file there is none, or it cannot be made.
    #[error("listen unix {path}: bind: {}", reason(.error))]
    Unix {
        /// Its path or name.
        path: String,
        /// What the system says.
        error: io::Error,
    },
    /// The address for datagrams is in use, not of this machine, or not permitted.
    #[error("listen udp {address}: bind: {}", reason(.error))]
    Udp {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
}

impl ListenError {
    /// The same about an address without a host, which the reference shows as it was given.
    pub(crate) fn of_bare(self, listen: &str) -> Self {
        match self {
            Self::Bind { error, .. } => Self::Bind { address: listen.to_owned(), error },
            other => other,
        }
    }
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "address already in use".to_owned(),
        io::ErrorKind::AddrNotAvailable => "cannot assign requested address".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        _ => error.to_string().to_lowercase(),
    }
}

/// The address a text means: `HOST:PORT`, names resolved with IPv4 first; an empty host is `bare`, an empty text a
/// free port there.
///
/// # Errors
/// No port, no such port, no such host.
pub(crate) async fn resolve(listen: &str, bare: IpAddr) -> Result<SocketAddr, AddressError> {
    if listen.is_empty() {
        return Ok((bare, 0).into());
    }
    if let Ok(address) = listen.parse() {
        return Ok(address);
    }
    let (host, port) = listen.rsplit_once(':').ok_or_else(|| AddressError::MissingPort(listen.to_owned()))?;
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if bracketed.is_none() && host.contains(':') {
        return Err(AddressError::TooManyColons(listen.to_owned()));
    }
    let port = port_of(port)?;
    let host = bracketed.unwrap_or(host);
    if host.is_empty() {
        return Ok((bare, port).into());
    }
    let found =
        tokio::net::lookup_host((host, port)).await.map(Iterator::collect::<Vec<_>>).unwrap_or_default();
    let first = found.iter().find(|address| address.is_ipv4()).or_else(|| found.first());
    first.copied().ok_or_else(|| AddressError::NoSuchHost(host.to_owned()))
}

fn port_of(text: &str) -> Result<u16, AddressError> {
    if text.is_empty() {
        return Ok(0);
    }
    let is_number = text.trim_start_matches(['+', '-']).bytes().all(|byte| byte.is_ascii_digit());
    text.parse().map_err(|_| match is_number {
        true => AddressError::InvalidPort(text.to_owned()),
        false => AddressError::UnknownPort(text.to_owned()),
    })
}

/// Whether both mean the same listener: all addresses are all addresses in either family.
pub(crate) fn is_same(one: SocketAddr, other: SocketAddr) -> bool {
    let both_all = one.ip().is_unspecified() && other.ip().is_unspecified();
    one.port() == other.port() && (both_all || one.ip() == other.ip())
}

/// Listens.
///
/// # Errors
/// The address cannot be bound.
pub(crate) fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let listener = reserve(address).and_then(|socket| socket.listen(BACKLOG));
    listener.map_err(|error| ListenError::Bind { address: address.to_string(), error })
}

/// Listens on a reserved address.
///
/// # Errors
/// Another program listens there meanwhile.
pub(crate) fn open(reserved: TcpSocket, address: SocketAddr) -> Result<TcpListener, ListenError> {
    reserved.listen(BACKLOG).map_err(|error| ListenError::Bind { address: address.to_string(), error })
}

/// Binds without listening: connections are refused, and no other socket is given the port meanwhile.
///
/// `SO_REUSEADDR` lets it be bound although connections of the listener before it linger; unlike `SO_REUSEPORT` it
/// never lets two listeners have one port. All addresses of IPv4 are all addresses of both families, as in Go, where
/// the machine has both. Small writes to connections leave at once (`TCP_NODELAY`), which they have from their listener.
///
/// # Errors
/// The address cannot be bound.
pub(crate) fn reserve(address: SocketAddr) -> io::Result<TcpSocket> {
    let both = address.ip().is_unspecified().then(of_both_families).and_then(Result::ok);
    let (socket, address) = match both {
        Some(socket) => (socket, (Ipv6Addr::UNSPECIFIED, address.port()).into()),
        None if address.is_ipv4() => (TcpSocket::new_v4()?, address),
        None => (TcpSocket::new_v6()?, address),
    };
    socket.set_reuseaddr(true)?;
    socket.set_nodelay(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn of_both_families() -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v6()?;
    rustix::net::sockopt::set_ipv6_v6only(&socket, false)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    async fn resolve(listen: &str) -> Result<SocketAddr, AddressError> {
        super::resolve(listen, Ipv4Addr::LOCALHOST.into()).await
    }

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
        for (listen, text) in [
            ("local373", "address local373: missing port in address"),
            ("localhost:x", "lookup tcp/x: unknown port"),
            ("localhost:99999", "address 99999: invalid port"),
            ("127.0.0.1:-1", "address -1: invalid port"),
            ("a:b:c", "address a:b:c: too many colons in address"),
            ("300.0.0.1:1", "lookup 300.0.0.1: no such host"),
        ] {
            assert_eq!(error(listen).await, text);
        }
        let held = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = held.local_addr().unwrap();
        let busy = listen(address).unwrap_err().to_string();
        assert_eq!(busy, format!("listen tcp {address}: bind: address already in use"));
    }

    #[tokio::test]
    async fn all_addresses_of_one_family_are_those_of_both() {
        let listener = listen("0.0.0.0:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let has_both = of_both_families().is_ok();
        assert_eq!(address.ip().to_string(), if has_both { "::" } else { "0.0.0.0" });
        tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, address.port())).await.unwrap();
        let busy = listen((Ipv4Addr::UNSPECIFIED, address.port()).into()).unwrap_err().to_string();
        let wanted = format!("listen tcp 0.0.0.0:{}: bind: address already in use", address.port());
        assert_eq!(busy, wanted);
        let by = |text: &str| text.parse().unwrap();
        assert!(is_same(by("0.0.0.0:1"), by("[::]:1")) && !is_same(by("0.0.0.0:1"), by("[::]:2")));
        assert!(!is_same(by("127.0.0.1:1"), by("[::]:1")));
    }

    #[tokio::test]
    async fn small_writes_to_who_was_accepted_leave_at_once() {
        for address in ["127.0.0.1:0", "0.0.0.0:0"] {
            let listener = listen(address.parse().unwrap()).unwrap();
            let port = listener.local_addr().unwrap().port();
            let _client = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
            assert!(listener.accept().await.unwrap().0.nodelay().unwrap(), "{address}");
        }
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
