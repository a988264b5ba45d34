//! The socket that clients send to: one task reads it and hands each datagram to the flow of its client, making flows
//! as new clients come.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::BUFFER;
use super::flow::{Client, Letter};
use super::room::Room;
use crate::address::{Address, canonical};
use crate::live::{Live, Visit};

/// Flows of a proxy: a quarter of the descriptors that a process commonly may have, with a timer for each. Datagrams of
/// further clients are dropped, so that no exchange under way suffers from new ones.
const MAX_FLOWS: usize = 4096;
/// Datagrams on their way from here to the task of their flow: a burst that comes while that is busy.
const QUEUE: usize = 512;
/// What the kernel is asked to keep of what has not been read. It gives what `net.core.rmem_max` allows.
const KERNEL_BUFFER: usize = 4 << 20;
/// How long reading rests after an error that is nobody's datagram.
const REST: Duration = Duration::from_millis(50);

/// Binds a socket for datagrams. All addresses of IPv4 are all addresses of both families, as for connections.
///
/// # Errors
/// The address cannot be bound.
pub(crate) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = match address.ip().is_unspecified() {
        true => bind_both(address.port()).or_else(|_| std::net::UdpSocket::bind(address)),
        false => std::net::UdpSocket::bind(address),
    }?;
    socket.set_nonblocking(true)?;
    grow(&socket);
    UdpSocket::from_std(socket)
}

/// Binds all addresses of both families, whatever the host's default is.
fn bind_both(port: u16) -> io::Result<std::net::UdpSocket> {
    let (family, kind) = (AddressFamily::INET6, SocketType::DGRAM);
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    rustix::net::sockopt::set_ipv6_v6only(&socket, false)?;
    rustix::net::bind(&socket, &SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))?;
    Ok(socket.into())
}

/// Asks for large buffers; smaller ones work too, and lose more of a burst.
pub(super) fn grow(socket: &impl std::os::fd::AsFd) {
    let _as_large_as_allowed = rustix::net::sockopt::set_socket_recv_buffer_size(socket, KERNEL_BUFFER);
    let _as_large_as_allowed = rustix::net::sockopt::set_socket_send_buffer_size(socket, KERNEL_BUFFER);
}

/// Reads until it is dropped. `spawn` runs the task of a flow, [`super::converse`].
pub(crate) async fn serve(
    socket: UdpSocket,
    live: Arc<Live>,
    room: Arc<Room>,
    spawn: impl Fn(Visit, Client) + Send,
) {
    let (ended, gone) = mpsc::channel(MAX_FLOWS);
    let number = socket.local_addr().map_or(0, |address| address.port());
    let mut port =
        Port { number, socket: Arc::new(socket), live, room, flows: HashMap::new(), ended, gone, spawn };
    let mut buffer = vec![0; BUFFER];
    loop {
        match port.socket.recv_from(&mut buffer).await {
            Ok((len, client)) => port.hand_on(&buffer[..len], client),
            Err(error) => {
                tracing::warn!(proxy = %port.live.name, %error, "cannot read datagrams");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

/// Who is served, and by which task.
struct Port<S> {
    socket: Arc<UdpSocket>,
    number: u16,
    live: Arc<Live>,
    room: Arc<Room>,
    flows: HashMap<SocketAddr, mpsc::Sender<Letter>>,
    /// Flows say here that they have ended; one place for each, so that none has to wait.
    ended: mpsc::Sender<SocketAddr>,
    gone: mpsc::Receiver<SocketAddr>,
    spawn: S,
}

impl<S: Fn(Visit, Client)> Port<S> {
    fn hand_on(&mut self, bytes: &[u8], client: SocketAddr) {
        self.forget_ended();
        let Some(share) = self.room.take(bytes.len()) else {
            return self.live.counters.dropped("overflow");
        };
        let letter = Letter { bytes: Bytes::copy_from_slice(bytes), share };
        match self.flows.get(&client) {
            None if self.live.counters.open.load(Relaxed) >= MAX_FLOWS as u64 => {
                self.live.counters.dropped("max_flows");
            }
            None => self.begin(client, letter),
            Some(flow) => match flow.try_send(letter) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => self.live.counters.dropped("overflow"),
                // It ended a moment ago, and the next begins in its place.
                Err(TrySendError::Closed(letter)) => self.begin(client, letter),
            },
        }
    }

    fn forget_ended(&mut self) {
        while let Ok(client) = self.gone.try_recv() {
            if self.flows.get(&client).is_some_and(mpsc::Sender::is_closed) {
                self.flows.remove(&client);
            }
        }
    }

    fn begin(&mut self, client: SocketAddr, letter: Letter) {
        let (sender, inbox) = mpsc::channel(QUEUE);
        let _an_empty_queue_takes_it = sender.try_send(letter);
        self.flows.insert(client, sender);
        // An IPv4 client of a socket of both families comes as one of IPv6.
        let visit = self.live.enter(Address::Udp(canonical(client)), self.number);
        let (socket, room) = (Arc::clone(&self.socket), Arc::clone(&self.room));
        (self.spawn)(visit, Client { address: client, socket, inbox, room, ended: self.ended.clone() });
    }
}
