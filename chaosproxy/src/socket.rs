//! One socket of TCP or of the unix domain, handled by readiness: reads and writes that never wait, closing in each of
//! its kinds, and the question whether a peer is gone that needs no reading. What the two families do differently is
//! here, and nobody who moves bytes need ask which one it has.
//!
//! The runtime watches a socket for everything at once, and every packet that comes in is news to it. While a stream
//! comes in faster than it can be passed on, that would wake a thread up for each packet, though the connection waits
//! for the other socket; so a socket can be made deaf to what comes in.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use bytes::Bytes;
use rustix::io::Errno;
use rustix::ioctl::{Getter, Opcode};
use rustix::net::sockopt::{set_socket_linger, set_tcp_nodelay, socket_error};
use rustix::net::{
    AddressFamily, RecvFlags, Shutdown, SocketFlags, SocketType, getpeername, getsockname, socket_with,
};
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};

use crate::address::canonical;

/// Largest read. It fits the second-level cache, so bytes are written from where they were read.
pub(crate) const READ_SIZE: usize = 256 * 1024;
/// So many bytes of one read are kept without being copied: at most a seventh more memory than they need.
const MANY: usize = READ_SIZE / 8 * 7;
/// How long an orderly close waits for the peer's last bytes. Closing with unread bytes would be a reset; a peer
/// that never stops sending is not waited for longer than this.
const CLOSE_LINGER: Duration = Duration::from_secs(1);
/// How long a reset waits for a peer to take the bytes before it. A reader that pauses looks like one that never goes
/// on, so that nothing but time tells them apart; pauses of a few seconds are what garbage collectors and slow disks make.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);
/// How often the send queue is looked at meanwhile: there is no event for an empty one.
const DRAIN_LOOK: Duration = Duration::from_micros(500);
/// How rarely it comes to be looked at where nothing is taken, so that many peers that pause cost little.
const DRAIN_LOOK_AT_REST: Duration = Duration::from_millis(16);

thread_local! {
    /// Bytes between reading and writing or queueing; a buffer of a thread, so that an idle connection has none.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(READ_SIZE));
}

/// What the runtime watches a socket for, unless it is deaf.
const NEWS: Interest = Interest::READABLE.add(Interest::WRITABLE).add(Interest::PRIORITY);

/// A stream socket.
#[derive(Debug)]
pub(crate) struct Socket {
    /// `None`: the system had no memory to watch it in another way, so it is closed.
    fd: Option<AsyncFd<OwnedFd>>,
    is_tcp: bool,
    is_deaf: bool,
}

impl Socket {
    /// One of TCP, that does not block.
    pub(crate) fn tcp(fd: impl Into<OwnedFd>) -> io::Result<Self> {
        Ok(Self { fd: Some(watch(fd.into(), NEWS)?), is_tcp: true, is_deaf: false })
    }

    /// One of the unix domain, that does not block.
    pub(crate) fn unix(fd: impl Into<OwnedFd>) -> io::Result<Self> {
        Ok(Self { fd: Some(watch(fd.into(), NEWS)?), is_tcp: false, is_deaf: false })
    }

    /// Waits until there is something of what one is interested in. What comes in makes no deaf one readable. No two
    /// wait for reading at once: only the last of them would be told.
    pub(crate) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        let fd = self.fd.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        if interest == Interest::READABLE {
            // What connections mostly wait for. The runtime keeps a place for one who does; others are taken into a
            // list and out of it again.
            return poll_fn(|cx| fd.poll_read_ready(cx)).await.map(|guard| guard.ready());
        }
        fd.ready(interest).await.map(|guard| guard.ready())
    }

    /// Nobody is woken up by what comes in, a FIN included, until [`Self::hear`]; a reset and room to write still are
    /// news. Reading remains possible, and does not ask first whether there is something.
    pub(crate) fn deafen(&mut self) {
        if !std::mem::replace(&mut self.is_deaf, true) {
            self.watch_for(Interest::WRITABLE);
        }
    }

    /// Undoes [`Self::deafen`].
    pub(crate) fn hear(&mut self) {
        if std::mem::replace(&mut self.is_deaf, false) {
            self.watch_for(NEWS);
        }
    }

    fn watch_for(&mut self, interest: Interest) {
        let Some(fd) = self.fd.take() else { return };
        match watch(fd.into_inner(), interest) {
            Ok(fd) => self.fd = Some(fd),
            Err(error) => tracing::warn!(%error, "a socket is closed, for it cannot be watched"),
        }
    }

    fn try_io<R>(&self, interest: Interest, call: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        let fd = self.fd.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        if self.is_deaf && interest != Interest::WRITABLE { call() } else { fd.try_io(interest, |_| call()) }
    }

    /// Addresses of the peer and of this end; `None` in the unix domain, and where the peer is gone.
    pub(crate) fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        let [peer, here] = [getpeername(self).ok()??, getsockname(self).ok()?].map(SocketAddr::try_from);
        Some((canonical(peer.ok()?), canonical(here.ok()?)))
    }

    /// Whether urgent data is next, before which reading and splicing end though there may be more behind it. Only
    /// reading goes past it, and leaves it out, as other proxies do. The system is not asked before there is news of
    /// any: for small requests the call would be a twentieth of the cost.
    pub(crate) fn is_at_urgent_data(&self) -> bool {
        /// `SIOCATMARK`: asm-generic/sockios.h.
        const SIOCATMARK: Opcode = 0x8905;
        let ask = || match number_of::<SIOCATMARK>(self) {
            Ok(1..) => Ok(()),
            // The news is forgotten; that of the next urgent data is not.
            _ => Err(io::ErrorKind::WouldBlock.into()),
        };
        self.try_io(Interest::PRIORITY, ask).is_ok()
    }
}

/// Connects to an address of TCP, as long as that takes.
pub(crate) async fn connect(address: SocketAddr) -> io::Result<Socket> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let fd = socket_with(family, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?;
    // Small writes leave at once, where TCP would wait for more.
    set_tcp_nodelay(&fd, true)?;
    match rustix::net::connect(&fd, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    let socket = Socket::tcp(fd)?;
    // One that failed has hung up.
    if socket.ready(Interest::WRITABLE).await?.is_write_closed() {
        socket_error(&socket)??;
    }
    Ok(socket)
}

/// Has the runtime watch a descriptor.
#[expect(unsafe_code, reason = "tokio has no safe call that registers a descriptor")]
pub(crate) fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` gives the same descriptor every time and keeps it open until it is dropped, and the
    // `AsyncFd` owns it.
    Ok(unsafe { AsyncFd::register_with_interest(fd, interest) }?)
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // In the place of one that is lost no descriptor of a file: every call fails as on a closed one.
        self.fd.as_ref().map_or(rustix::fs::CWD, |fd| fd.get_ref().as_fd())
    }
}

/// Result of a read that does not wait.
#[derive(Debug)]
pub(crate) enum Read<T> {
    /// Bytes came; this is what became of them.
    Bytes(T),
    /// Nothing to read now.
    Empty,
    /// The peer sent its last byte.
    End,
    /// The connection is broken.
    Broken,
}

impl<T> Read<T> {
    pub(crate) fn map<R>(self, turn: impl FnOnce(T) -> R) -> Read<R> {
        match self {
            Self::Bytes(found) => Read::Bytes(turn(found)),
            Self::Empty => Read::Empty,
            Self::End => Read::End,
            Self::Broken => Read::Broken,
        }
    }
}

/// Reads at most `len` bytes and hands them to `take` where they lie.
pub(crate) fn read<T>(socket: &Socket, len: u64, take: impl FnOnce(&[u8]) -> T) -> Read<T> {
    fill(socket, len, |scratch| take(scratch))
}

/// Reads at most `len` bytes to keep. Many at once are kept where they lie, in a buffer that is little larger; few are
/// copied into one of their size.
pub(crate) fn read_bytes(socket: &Socket, len: u64) -> Read<Bytes> {
    fill(socket, len, |scratch| {
        if scratch.len() < MANY {
            return Bytes::copy_from_slice(scratch);
        }
        std::mem::replace(scratch, Vec::with_capacity(READ_SIZE)).into()
    })
}

fn fill<T>(socket: &Socket, len: u64, take: impl FnOnce(&mut Vec<u8>) -> T) -> Read<T> {
    SCRATCH.with_borrow_mut(|scratch| {
        let len = READ_SIZE.min(usize::try_from(len).unwrap_or(usize::MAX));
        // In the unix domain a read also ends early behind bytes that descriptors came with, and in TCP before urgent
        // data: no sign of an empty socket.
        let is_drained = |n| n < len && socket.is_tcp && !socket.is_at_urgent_data();
        let receive = || Ok(receive(socket, scratch, len, RecvFlags::empty())?);
        match nonblocking(socket, Interest::READABLE, is_drained, receive) {
            Ok(Some(0)) => Read::End,
            Ok(Some(_)) => Read::Bytes(take(scratch)),
            Ok(None) => Read::Empty,
            Err(_) => Read::Broken,
        }
    })
}

/// Looks at no more than `len` of the bytes that have come, and leaves them there.
pub(crate) fn peek<T>(socket: impl AsFd, len: usize, look: impl FnOnce(&[u8]) -> T) -> Read<T> {
    SCRATCH.with_borrow_mut(|scratch| {
        match receive(socket, scratch, len.min(READ_SIZE), RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok(0) => Read::End,
            Ok(_) => Read::Bytes(look(scratch)),
            Err(Errno::AGAIN | Errno::INTR) => Read::Empty,
            Err(_) => Read::Broken,
        }
    })
}

/// Has the next bytes, at most `len`, in a buffer in the place of what was there.
#[expect(unsafe_code, reason = "clearing a buffer that is to be filled would cost as much as copying it")]
fn receive(
    socket: impl AsFd,
    buffer: &mut Vec<u8>,
    len: usize,
    flags: RecvFlags,
) -> rustix::io::Result<usize> {
    buffer.clear();
    let ((received, _), _) = rustix::net::recv(socket, &mut buffer.spare_capacity_mut()[..len], flags)?;
    let received = received.len();
    // SAFETY: the kernel wrote the first `received` bytes of the room that the buffer has.
    unsafe { buffer.set_len(received) };
    Ok(received)
}

/// Writes all of it, and waits as long as that takes.
pub(crate) async fn write_all(socket: &Socket, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match write(socket, bytes)? {
            0 => drop(socket.ready(Interest::WRITABLE).await?),
            written => bytes = &bytes[written..],
        }
    }
    Ok(())
}

/// Writes what the socket takes now. `Ok(0)`: nothing.
pub(crate) fn write(socket: &Socket, bytes: &[u8]) -> io::Result<usize> {
    let send = || {
        // No SIGPIPE: Rust's runtime ignores it, and so do programs that embed this one.
        Ok(rustix::net::send(socket, bytes, rustix::net::SendFlags::NOSIGNAL)?)
    };
    Ok(nonblocking(socket, Interest::WRITABLE, |n| n < bytes.len(), send)?.unwrap_or(0))
}

/// One system call under readiness. A short result means that the socket is drained or full, so readiness is
/// cleared at once instead of by another call that fails: for small requests that call is a good part of the cost.
///
/// `is_short` tells of a result whether it says so.
pub(crate) fn nonblocking(
    socket: &Socket,
    interest: Interest,
    is_short: impl Fn(usize) -> bool,
    mut call: impl FnMut() -> io::Result<usize>,
) -> io::Result<Option<usize>> {
    let mut short = None;
    let result = socket.try_io(interest, || {
        loop {
            match call() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(n) if n > 0 && is_short(n) => {
                    short = Some(n);
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                other => return other,
            }
        }
    });
    match result {
        Ok(n) => Ok(Some(n)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(short),
        Err(error) => Err(error),
    }
}

/// Ends the writing side. An error means that the peer is gone already.
pub(crate) fn finish_writing(socket: &Socket) {
    let _already_gone = rustix::net::shutdown(socket, Shutdown::Write);
}

/// Waits until the peer has closed or reset, without reading a byte it sent.
pub(crate) async fn closed_by_peer(socket: &Socket) {
    loop {
        match socket.ready(Interest::READABLE | Interest::ERROR).await {
            Ok(ready) if !gone(ready) => {
                // Forget what is readable; the next event, data or end, sets it anew. Ends are never forgotten.
                let _cleared: io::Result<()> =
                    socket.try_io(Interest::READABLE, || Err(io::ErrorKind::WouldBlock.into()));
            }
            _ => return,
        }
    }
}

fn gone(ready: Ready) -> bool {
    ready.is_read_closed() || ready.is_error()
}

/// Closes in an orderly way: FIN, and what still comes in is discarded so that it does not turn into a reset.
pub(crate) async fn close(socket: &Socket) {
    finish_writing(socket);
    let discard = async {
        loop {
            match read(socket, READ_SIZE as u64, <[u8]>::len) {
                Read::Bytes(_) => tokio::task::yield_now().await,
                Read::Empty => {
                    if socket.ready(Interest::READABLE).await.is_err() {
                        return;
                    }
                }
                Read::End | Read::Broken => return,
            }
        }
    };
    let _peer_kept_sending = tokio::time::timeout(CLOSE_LINGER, discard).await;
}

/// Resets: RST to the peer, unsent and unread bytes are dropped. The unix domain has no such thing: there the peer
/// finds its connection reset if it had sent something that was not read, and the end of the stream otherwise; what
/// it writes from now on is a broken pipe.
pub(crate) fn reset(socket: Socket) {
    if socket.is_tcp {
        let _already_gone = set_socket_linger(&socket, Some(Duration::ZERO));
    }
    drop(socket);
}

/// Waits until the peer's kernel has everything that was written, until the peer is gone, or until the deadline.
pub(crate) async fn drained(socket: &Socket) {
    let empty = async {
        let (mut left, mut look) = (u64::MAX, DRAIN_LOOK);
        loop {
            let bytes = unsent(socket);
            if bytes == 0 {
                return;
            }
            look = if bytes < left { DRAIN_LOOK } else { DRAIN_LOOK_AT_REST.min(look * 2) };
            left = bytes;
            tokio::time::sleep(look).await;
        }
    };
    tokio::select! {
        biased;
        () = empty => {}
        // The queue of a connection that was reset keeps its length for ever.
        _is_gone = socket.ready(Interest::ERROR) => {}
        () = tokio::time::sleep(DRAIN_LIMIT) => {}
    }
}

/// Bytes written that the peer's kernel has not acknowledged (`SIOCOUTQ`). In the unix domain it has them with the
/// write, and keeps them for the peer whatever becomes of this socket.
pub(crate) fn unsent(socket: &Socket) -> u64 {
    /// `SIOCOUTQ`, the same number as `TIOCOUTQ`: linux/sockios.h.
    const SIOCOUTQ: Opcode = 0x5411;
    if !socket.is_tcp {
        return 0;
    }
    number_of::<SIOCOUTQ>(socket).map_or(0, |bytes| u64::try_from(bytes).unwrap_or(0))
}

/// The answer to one of the requests that put a C int where they are told to, and read nothing.
#[expect(unsafe_code, reason = "rustix has these requests only behind its unsafe generic call")]
fn number_of<const REQUEST: Opcode>(socket: &Socket) -> io::Result<i32> {
    // SAFETY: `Getter` with `i32` declares what such a request does.
    Ok(unsafe { rustix::ioctl::ioctl(socket, Getter::<REQUEST, i32>::new()) }?)
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream, UnixStream};

    use super::*;

    const NOBODY: Duration = Duration::from_millis(30);

    /// A socket of each family, and its peer's descriptor.
    async fn pairs() -> [(Socket, OwnedFd); 2] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connect = TcpStream::connect(listener.local_addr().unwrap());
        let (accepted, connected) = tokio::join!(listener.accept(), connect);
        let (accepted, _) = accepted.unwrap();
        let (near, far) = UnixStream::pair().unwrap();
        [
            (
                Socket::tcp(accepted.into_std().unwrap()).unwrap(),
                connected.unwrap().into_std().unwrap().into(),
            ),
            (Socket::unix(near.into_std().unwrap()).unwrap(), far.into_std().unwrap().into()),
        ]
    }

    fn send(peer: &OwnedFd, bytes: &[u8]) {
        assert_eq!(rustix::net::send(peer, bytes, rustix::net::SendFlags::NOSIGNAL), Ok(bytes.len()));
    }

    #[tokio::test]
    async fn a_deaf_socket_wakes_nobody_up_for_bytes_and_reads_them_all_the_same() {
        for (mut socket, peer) in pairs().await {
            socket.deafen();
            send(&peer, b"hello");
            let ready = socket.ready(Interest::READABLE);
            assert!(tokio::time::timeout(NOBODY, ready).await.is_err(), "{socket:?} was readable");
            assert!(matches!(read(&socket, 3, <[u8]>::len), Read::Bytes(3)));
            assert!(matches!(read(&socket, 3, <[u8]>::len), Read::Bytes(2)));
            assert!(matches!(read(&socket, 3, <[u8]>::len), Read::Empty));
        }
    }

    /// Also those that came while it was deaf.
    #[tokio::test]
    async fn a_socket_that_hears_again_is_readable_where_bytes_are() {
        for (mut socket, peer) in pairs().await {
            socket.deafen();
            send(&peer, b"hello");
            socket.hear();
            assert!(socket.ready(Interest::READABLE).await.unwrap().is_readable());
            assert!(matches!(read(&socket, 9, <[u8]>::len), Read::Bytes(5)));
        }
    }

    #[tokio::test]
    async fn a_deaf_socket_is_told_that_its_peer_is_gone_and_that_it_can_write() {
        for (mut socket, peer) in pairs().await {
            socket.deafen();
            assert!(socket.ready(Interest::WRITABLE).await.unwrap().is_writable());
            assert_eq!(write(&socket, b"unread").unwrap(), 6);
            // Closing with unread bytes resets, in either family.
            drop(peer);
            assert!(socket.ready(Interest::ERROR).await.unwrap().is_error(), "{socket:?}");
        }
    }
}
