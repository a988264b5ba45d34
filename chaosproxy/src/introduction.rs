//! Before a connection is forwarded: who it is from, by a PROXY header, and which name it asks for, by its TLS hello;
//! and the header that tells the server.
//!
//! The first bytes are looked at where they lie, in the kernel: a hello stays there and is forwarded like any other
//! bytes, and of a header exactly its own bytes are taken.

use std::os::fd::AsFd;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::Interest;

use crate::client_hello::{self, Hello};
use crate::live::{ConnectionState, Kill, Visit};
use crate::proxy_header::{self, Header, HeaderError, ProxyProtocol};
use crate::socket::{self, Read, Socket};

/// How long a client has for its header, and again for its hello: one lost packet is sent again meanwhile, as the
/// specification of the PROXY protocol asks (section 2).
const PATIENCE: Duration = Duration::from_secs(3);
/// Bytes that are looked at. The hellos of browsers have about 2 KiB; the library of a server takes 16 or more.
const FIRST_BYTES: usize = 16 << 10;

/// How connections of a proxy are introduced. It holds for those accepted from then on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Introduction {
    /// Each begins with a PROXY header of version 1 or 2, and is closed without one.
    pub accept_proxy: bool,
    /// The server is sent a header before anything else.
    pub send_proxy: Option<ProxyProtocol>,
    /// The name a TLS client asks for is looked for in any case, not only where a toxic hinges on it.
    pub peek_sni: bool,
}

/// Finds out what is to be known of a client before its connection is served. An inner error: it did not send the
/// header it owes.
pub(crate) async fn read(client: &Socket, visit: &mut Visit) -> Result<Result<(), HeaderError>, Kill> {
    if visit.introduction.accept_proxy {
        match wait(visit, header(client)).await?.unwrap_or(Err(HeaderError::Incomplete)) {
            Ok(header) => visit.introduced(header),
            Err(error) => return Ok(Err(error)),
        }
    }
    if visit.needs_name() {
        let found = wait(visit, peek(client, client_hello_name)).await?;
        if let Some(name) = found.flatten().flatten() {
            visit.record.asks_for(name);
        }
    }
    visit.record.set_state(ConnectionState::Dialing);
    Ok(Ok(()))
}

/// What the server is to be sent before anything else; nothing where it wants no header.
pub(crate) fn to_send(client: &Socket, visit: &Visit) -> Vec<u8> {
    let Some(version) = visit.introduction.send_proxy else { return Vec::new() };
    proxy_header::written(version, visit.header.as_ref(), client.ends())
}

/// Waits for something a client sends, no longer than it has; `None`: it took longer.
async fn wait<T>(visit: &mut Visit, what: impl Future<Output = T>) -> Result<Option<T>, Kill> {
    visit.record.set_state(ConnectionState::Reading);
    tokio::select! {
        found = tokio::time::timeout(PATIENCE, what) => Ok(found.ok()),
        kill = visit.killed() => Err(kill),
    }
}

/// Takes the header from the beginning of a connection.
async fn header(client: &Socket) -> Result<Header, HeaderError> {
    let header = peek(client, Header::read).await.unwrap_or(Err(HeaderError::Incomplete))?;
    loop {
        match socket::read(client, header.bytes.len() as u64, |bytes| *bytes == header.bytes) {
            Read::Bytes(true) => return Ok(header),
            // It is there, and this descriptor is still to be told.
            Read::Empty if client.ready(Interest::READABLE).await.is_ok() => {}
            _ => return Err(HeaderError::Incomplete),
        }
    }
}

fn client_hello_name(bytes: &[u8]) -> Option<Option<String>> {
    match client_hello::read(bytes) {
        Hello::Partial => None,
        Hello::Nameless => Some(None),
        Hello::Named(name) => Some(Some(name)),
    }
}

/// Looks at the first bytes until `judge` has seen enough of them; `None`: they end, or are too many, before.
///
/// It waits on a descriptor of its own for the same socket, whose readiness is forgotten when the bytes are not
/// enough; whoever reads the connection afterwards still knows that there are some.
async fn peek<T>(client: &Socket, judge: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
    let own = socket::watch(client.as_fd().try_clone_to_owned().ok()?, Interest::READABLE).ok()?;
    loop {
        let mut guard = own.readable().await.ok()?;
        match socket::peek(&own, FIRST_BYTES, |bytes| (bytes.len(), judge(bytes))) {
            Read::Bytes((_, Some(found))) => return Some(found),
            Read::Bytes((len, None)) if len == FIRST_BYTES || guard.ready().is_read_closed() => return None,
            Read::Bytes(_) | Read::Empty => guard.clear_ready(),
            Read::End | Read::Broken => return None,
        }
    }
}
