//! A door of a proxy, which has one for each port: the listener and the task that accepts, and what becomes of the
//! address while an outage keeps it shut.

use tokio::task::JoinHandle;

use crate::address::{self, Address, Bound, Entrance, Reserved};
use crate::listen::ListenError;
use crate::unix::SocketFile;

#[derive(Debug)]
pub(super) enum Door {
    /// Disabled: the port is anybody's.
    Closed,
    /// Listening.
    Open { address: Address, accepting: JoinHandle<()>, file: Option<SocketFile> },
    /// Shut by an outage, the address kept.
    Reserved { address: Address, kept: Reserved },
    /// Shut by an outage, the address lost.
    Lost { address: Address },
}

impl Door {
    /// One that was just opened.
    pub(super) fn open(bound: Bound, accept: impl FnOnce(Entrance) -> JoinHandle<()>) -> Self {
        let Bound { address, entrance, file } = bound;
        Self::Open { address, accepting: accept(entrance), file }
    }

    /// Disables it. Connections are refused from now on.
    pub(super) async fn close(&mut self) {
        if let Self::Open { accepting, file, .. } = std::mem::replace(self, Self::Closed) {
            shut(accepting).await;
            drop(file);
        }
    }

    /// The address it has, shut or open.
    pub(super) const fn address(&self) -> Option<&Address> {
        match self {
            Self::Closed => None,
            Self::Open { address, .. } | Self::Reserved { address, .. } | Self::Lost { address } => {
                Some(address)
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
        accept: impl FnOnce(Entrance) -> JoinHandle<()>,
    ) -> Result<(), ListenError> {
        match std::mem::replace(self, Self::Closed) {
            Self::Open { address, accepting, file } if is_down => {
                shut(accepting).await;
                *self = Self::reserved(address, file);
            }
            Self::Lost { address } if is_down => *self = Self::reserved(address, None),
            Self::Reserved { address, kept } if !is_down => {
                // Whatever comes of it, the address is lost or open afterwards.
                *self = Self::Lost { address };
                *self = Self::open(kept.open()?, accept);
            }
            Self::Lost { address } if !is_down => {
                *self = Self::Lost { address: address.clone() };
                *self = Self::open(address::listen(&address)?, accept);
            }
            unchanged => *self = unchanged,
        }
        Ok(())
    }

    /// Keeps the address of a door that is to stay shut for a while, if that is possible.
    fn reserved(address: Address, file: Option<SocketFile>) -> Self {
        match address::reserve(&address, file) {
            Some(kept) => Self::Reserved { address, kept },
            None => Self::Lost { address },
        }
    }
}

/// Ends an accept loop. Its listener is closed once it is joined.
async fn shut(accepting: JoinHandle<()>) {
    accepting.abort();
    let _aborted = accepting.await;
}
