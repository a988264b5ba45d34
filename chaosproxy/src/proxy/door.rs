//! The door of a proxy: the listener and the task that accepts, and what becomes of the port while an outage keeps
//! it shut.

use std::net::SocketAddr;

use chaosproxy_path::Protocol;
use tokio::net::{TcpListener, TcpSocket, UdpSocket};
use tokio::task::JoinHandle;

use crate::datagrams;
use crate::listen::{self, ListenError};

/// What stands open to clients.
#[derive(Debug)]
pub(super) enum Listener {
    /// For connections.
    Streams(TcpListener),
    /// For datagrams.
    Datagrams(UdpSocket),
}

impl Listener {
    /// Opens one.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub(super) fn open(protocol: Protocol, address: SocketAddr) -> Result<Self, ListenError> {
        match protocol {
            Protocol::Tcp => listen::listen(address).map(Self::Streams),
            Protocol::Udp => datagrams::bind(address)
                .map(Self::Datagrams)
                .map_err(|error| ListenError::BindUdp { address, error }),
        }
    }

    /// The address it really has.
    pub(super) fn local_addr(&self) -> std::io::Result<SocketAddr> {
        match self {
            Self::Streams(listener) => listener.local_addr(),
            Self::Datagrams(socket) => socket.local_addr(),
        }
    }
}

#[derive(Debug)]
pub(super) enum Door {
    /// Disabled: the port is anybody's.
    Closed,
    /// Listening.
    Open { address: SocketAddr, accepting: JoinHandle<()> },
    /// Shut by an outage, the port kept.
    Reserved { address: SocketAddr, socket: TcpSocket },
    /// Shut by an outage, the port lost.
    Lost { address: SocketAddr },
}

impl Door {
    /// Disables it. Connections are refused from now on.
    pub(super) async fn close(&mut self) {
        if let Self::Open { accepting, .. } = std::mem::replace(self, Self::Closed) {
            shut(accepting).await;
        }
    }

    /// Shuts an enabled door for an outage, or opens it again, as `is_down` has it.
    ///
    /// # Errors
    /// It cannot listen again.
    pub(super) async fn settle(
        &mut self,
        protocol: Protocol,
        is_down: bool,
        accept: impl FnOnce(Listener) -> JoinHandle<()>,
    ) -> Result<(), ListenError> {
        match std::mem::replace(self, Self::Closed) {
            Self::Open { address, accepting } if is_down => {
                shut(accepting).await;
                *self = Self::reserved(protocol, address);
            }
            Self::Lost { address } if is_down => *self = Self::reserved(protocol, address),
            Self::Reserved { address, socket } if !is_down => {
                // Whatever comes of it, the port is lost or open afterwards.
                *self = Self::Lost { address };
                let accepting = accept(Listener::Streams(listen::open(socket, address)?));
                *self = Self::Open { address, accepting };
            }
            Self::Lost { address } if !is_down => {
                *self = Self::Lost { address };
                let accepting = accept(Listener::open(protocol, address)?);
                *self = Self::Open { address, accepting };
            }
            unchanged => *self = unchanged,
        }
        Ok(())
    }

    /// Keeps the port of a door that is to stay shut for a while, if that is possible: whoever sends datagrams to a
    /// port that is kept is not refused.
    fn reserved(protocol: Protocol, address: SocketAddr) -> Self {
        match protocol {
            Protocol::Tcp => listen::reserve(address)
                .map_or(Self::Lost { address }, |socket| Self::Reserved { address, socket }),
            Protocol::Udp => Self::Lost { address },
        }
    }
}

/// Ends an accept loop. Its listener is closed once it is joined.
async fn shut(accepting: JoinHandle<()>) {
    accepting.abort();
    let _aborted = accepting.await;
}
