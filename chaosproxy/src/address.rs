//! Where a proxy listens and where it dials, and how a text is read: in our dialect, which knows the unix domain and
//! datagrams, or in that of the reference, which knows neither.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use chaosproxy_path::Protocol;
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with, acceptfrom_with};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::{TcpListener, TcpSocket, UdpSocket, UnixListener};

use crate::datagrams;
use crate::dial;
use crate::listen::{self, AddressError, ListenError};
use crate::ports::{PortsError, Route, Span};
use crate::protocol::{self, MixedProtocols};
use crate::socket::{self, Socket};
use crate::unix::{self, SocketFile, UnixAddress};

/// How texts of addresses are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `unix:` is the unix domain, `udp://` is for datagrams, and an address without a host is loopback.
    Ours,
    /// Both are hosts like any other, and an address without a host is everybody's.
    Reference,
}

impl Dialect {
    const fn bare_host(self) -> IpAddr {
        IpAddr::V4(match self {
            Self::Ours => Ipv4Addr::LOCALHOST,
            Self::Reference => Ipv4Addr::UNSPECIFIED,
        })
    }

    fn is_unix(self, text: &str) -> bool {
        self == Self::Ours && unix::is_meant(text)
    }

    /// What a proxy with these addresses carries.
    ///
    /// # Errors
    /// One is for datagrams and the other is not.
    pub(crate) fn protocol(self, listen: &str, upstream: &str) -> Result<Protocol, MixedProtocols> {
        match self {
            Self::Ours => protocol::of(listen, upstream),
            Self::Reference => Ok(Protocol::Tcp),
        }
    }

    /// A text as an address of several ports, which the reference does not know.
    fn span(self, text: &str) -> Option<Span> {
        let may_be = self == Self::Ours && !self.is_unix(text);
        may_be.then(|| Span::of(text).ok().flatten()).flatten()
    }

    /// Where connections go that come to one address on their way to another.
    ///
    /// # Errors
    /// One of both has an impossible range of ports, or the widths differ.
    pub(crate) fn route(self, listen: &str, upstream: &str) -> Result<Route, PortsError> {
        if self == Self::Reference || self.is_unix(upstream) {
            return Ok(Route::One(upstream.to_owned()));
        }
        Route::try_new(if self.is_unix(listen) { "" } else { listen }, upstream)
    }
}

/// An address to listen on, or that of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    Udp(SocketAddr),
    Unix(UnixAddress),
}

impl Address {
    /// The address a text means.
    ///
    /// # Errors
    /// It means none.
    pub(crate) async fn resolve(text: &str, dialect: Dialect) -> Result<Self, AddressError> {
        if dialect.is_unix(text) {
            return UnixAddress::parse(text).map(Self::Unix);
        }
        match protocol::split(text) {
            (Protocol::Udp, text) if dialect == Dialect::Ours => {
                listen::resolve(text, dialect.bare_host()).await.map(Self::Udp)
            }
            _ => listen::resolve(text, dialect.bare_host()).await.map(Self::Tcp),
        }
    }

    /// The addresses a text means, one for each port of a range.
    ///
    /// # Errors
    /// It means none.
    pub(crate) async fn resolve_all(text: &str, dialect: Dialect) -> Result<Vec<Self>, AddressError> {
        let Some(span) = dialect.span(text) else { return Ok(vec![Self::resolve(text, dialect).await?]) };
        let first = Self::resolve(&span.at(span.ports.first()), dialect).await?;
        let at = |port| {
            let mut address = first.clone();
            if let Self::Tcp(address) | Self::Udp(address) = &mut address {
                address.set_port(port);
            }
            address
        };
        Ok(span.ports.iter().map(at).collect())
    }

    /// It as an address of the internet.
    pub(crate) const fn inet(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) | Self::Udp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// Whether a listener at `self` is one at `other`; a port that is still to be chosen is no other's.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(one), Self::Tcp(other)) | (Self::Udp(one), Self::Udp(other)) => {
                other.port() != 0 && listen::is_same(*one, *other)
            }
            (one, other) => one == other,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Udp(address) => protocol::joined(Protocol::Udp, address).fmt(f),
            Self::Unix(address) => address.fmt(f),
        }
    }
}

/// An address of IPv4 as one: a client of a listener of both families comes as one of IPv6.
pub(crate) const fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Refuses an upstream that cannot be any. A host is not looked up before there is somebody to connect.
///
/// # Errors
/// It is of the unix domain, and has no path that a socket could have.
pub(crate) fn check_upstream(text: &str, dialect: Dialect) -> Result<(), AddressError> {
    if dialect.is_unix(text) { UnixAddress::parse(text).map(drop) } else { Ok(()) }
}

/// Connects to an upstream.
///
/// # Errors
/// It means no address, or nobody listens there.
pub(crate) async fn dial(upstream: &str, dialect: Dialect) -> io::Result<Socket> {
    if !dialect.is_unix(upstream) {
        return dial::connect(upstream).await;
    }
    let address = UnixAddress::parse(upstream).map_err(io::Error::other)?;
    unix::connect(&address).await
}

/// What stands open to clients.
#[derive(Debug)]
pub(crate) enum Entrance {
    /// Accepts connections.
    Streams(Listener),
    /// Takes datagrams.
    Datagrams(UdpSocket),
}

/// A listening socket. It accepts by itself: a stream of the runtime would be registered as one, and then anew as a
/// [`Socket`]; and in the unix domain the runtime panics at a client whose name has all 108 bytes.
#[derive(Debug)]
pub(crate) struct Listener {
    fd: AsyncFd<OwnedFd>,
    /// `None` in the unix domain.
    port: Option<u16>,
}

impl Listener {
    pub(crate) fn tcp(listener: TcpListener) -> io::Result<Self> {
        let port = Some(listener.local_addr()?.port());
        Ok(Self { fd: socket::watch(listener.into_std()?.into(), Interest::READABLE)?, port })
    }

    pub(crate) fn unix(listener: UnixListener) -> io::Result<Self> {
        Ok(Self { fd: socket::watch(listener.into_std()?.into(), Interest::READABLE)?, port: None })
    }

    /// Its port; 0 in the unix domain.
    pub(crate) fn port(&self) -> u16 {
        self.port.unwrap_or(0)
    }

    /// The next connection, which does not block, and whose it is.
    pub(crate) async fn accept(&self) -> io::Result<(OwnedFd, Address)> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        if self.port.is_some() {
            let accept = |fd: &OwnedFd| Ok(acceptfrom_with(fd, flags)?);
            let (fd, peer) = self.fd.async_io(Interest::READABLE, accept).await?;
            let peer = SocketAddr::try_from(peer.ok_or(Errno::NOTCONN)?)?;
            return Ok((fd, Address::Tcp(canonical(peer))));
        }
        let accept = |fd: &OwnedFd| Ok(accept_with(fd, flags)?);
        let stream = UnixStream::from(self.fd.async_io(Interest::READABLE, accept).await?);
        let peer = stream.peer_addr().map_or(UnixAddress::Unnamed, |peer| UnixAddress::of_peer(&peer));
        Ok((stream.into(), Address::Unix(peer)))
    }

    /// The same, to be forwarded.
    pub(crate) async fn accept_stream(&self) -> io::Result<(Socket, Address)> {
        let (fd, peer) = self.accept().await?;
        let socket = if self.port.is_some() { Socket::tcp(fd) } else { Socket::unix(fd) };
        Ok((socket?, peer))
    }
}

/// An entrance, the address it really has, and its file, which is to be dropped after it.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) address: Address,
    pub(crate) entrance: Entrance,
    pub(crate) file: Option<SocketFile>,
}

/// Listens.
///
/// # Errors
/// The address cannot be bound.
pub(crate) fn listen(address: &Address) -> Result<Bound, ListenError> {
    match address {
        Address::Tcp(address) => tcp(listen::listen(*address)?, *address),
        Address::Udp(address) => {
            let bind = |error| ListenError::Udp { address: *address, error };
            let socket = datagrams::bind(*address).map_err(bind)?;
            let address = Address::Udp(socket.local_addr().map_err(bind)?);
            Ok(Bound { address, entrance: Entrance::Datagrams(socket), file: None })
        }
        Address::Unix(address) => {
            let (listener, file) = unix::listen(address)?;
            let entrance = Entrance::Streams(listener);
            Ok(Bound { address: Address::Unix(address.clone()), entrance, file })
        }
    }
}

fn tcp(listener: TcpListener, asked: SocketAddr) -> Result<Bound, ListenError> {
    let address = Address::Tcp(listener.local_addr().unwrap_or(asked));
    let listener =
        Listener::tcp(listener).map_err(|error| ListenError::Bind { address: asked.to_string(), error })?;
    Ok(Bound { address, entrance: Entrance::Streams(listener), file: None })
}

/// An address that is kept while nobody is let in: connections are refused, and nobody else gets it. The file of a
/// socket looks like a stale one meanwhile, which another program may replace. A port of datagrams is not kept: whoever
/// sends to one that is bound is not refused.
#[derive(Debug)]
pub(crate) enum Reserved {
    Port(SocketAddr, TcpSocket),
    File(UnixAddress, SocketFile),
}

/// Keeps the address of a listener that has been closed, with the file it had; `None` where that is not possible.
pub(crate) fn reserve(address: &Address, file: Option<SocketFile>) -> Option<Reserved> {
    match address {
        Address::Tcp(address) => Some(Reserved::Port(*address, listen::reserve(*address).ok()?)),
        Address::Udp(_) => None,
        Address::Unix(address) => Some(Reserved::File(address.clone(), file?)),
    }
}

impl Reserved {
    /// Listens there again.
    ///
    /// # Errors
    /// Somebody else does meanwhile.
    pub(crate) fn open(self) -> Result<Bound, ListenError> {
        match self {
            Self::Port(address, socket) => tcp(listen::open(socket, address)?, address),
            Self::File(address, file) => {
                // Gone before the new one comes, which could have its number.
                drop(file);
                listen(&Address::Unix(address))
            }
        }
    }
}
