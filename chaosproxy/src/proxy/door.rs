//! A door of a proxy, which has one for each port: the listener and the task that accepts, and what becomes of the port while an outage keeps
//! it shut.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;

use crate::listen::{self, ListenError};

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

    /// The address it has, shut or open.
    pub(super) const fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Closed => None,
            Self::Open { address, .. } | Self::Reserved { address, .. } | Self::Lost { address } => {
                Some(*address)
            }
        }
    }

    /// Shuts an enabled door for an outage, or opens it again, as `is_down` has it.
    ///
    /// # Errors
    /// It cannot listen again.
    pub(super) async fn settle(
        &mut self,
        is_down: bool,
        accept: impl FnOnce(TcpListener) -> JoinHandle<()>,
    ) -> Result<(), ListenError> {
        match std::mem::replace(self, Self::Closed) {
            Self::Open { address, accepting } if is_down => {
                shut(accepting).await;
                *self = Self::reserved(address);
            }
            Self::Lost { address } if is_down => *self = Self::reserved(address),
            Self::Reserved { address, socket } if !is_down => {
                // Whatever comes of it, the port is lost or open afterwards.
                *self = Self::Lost { address };
                let accepting = accept(listen::open(socket, address)?);
                *self = Self::Open { address, accepting };
            }
            Self::Lost { address } if !is_down => {
                *self = Self::Lost { address };
                let accepting = accept(listen::listen(address)?);
                *self = Self::Open { address, accepting };
            }
            unchanged => *self = unchanged,
        }
        Ok(())
    }

    /// Keeps the port of a door that is to stay shut for a while, if that is possible.
    fn reserved(address: SocketAddr) -> Self {
        match listen::reserve(address) {
            Ok(socket) => Self::Reserved { address, socket },
            Err(_) => Self::Lost { address },
        }
    }
}

/// Ends an accept loop. Its listener is closed once it is joined.
async fn shut(accepting: JoinHandle<()>) {
    accepting.abort();
    let _aborted = accepting.await;
}
