//! One socket of TCP or of the unix domain, handled by readiness: reads and writes that never wait, closing in each of
//! its kinds, and the question whether a peer is gone that needs no reading. What the two families do differently is
//! here, and nobody who moves bytes need ask which one it has.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, Shutdown};
use tokio::io::{Interest, Ready};
use tokio::net::{TcpStream, UnixStream};

use crate::address::canonical;

/// Largest read. It fits the second-level cache, so bytes are written from where they were read.
pub(crate) const READ_SIZE: usize = 256 * 1024;
/// How long an orderly close waits for the peer's last bytes. Closing with unread bytes would be a reset; a peer
/// that never stops sending is not waited for longer than this.
const CLOSE_LINGER: Duration = Duration::from_secs(1);
/// How long a reset waits for a peer that takes nothing of the bytes before it, and for one that takes them slowly.
const DRAIN_PATIENCE: Duration = Duration::from_millis(500);
const DRAIN_LIMIT: Duration = Duration::from_secs(10);
/// How often the send queue is looked at meanwhile: there is no event for an empty one.
const DRAIN_LOOK: Duration = Duration::from_micros(500);

thread_local! {
    /// Bytes between reading and writing or queueing; a buffer of a thread, so that an idle connection has none.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_SIZE]);
}

/// A stream socket.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Has small writes leave at once, where the family would wait for more.
    pub(crate) fn send_at_once(&self) {
        if let Self::Tcp(stream) = self {
            // An error means that the peer is gone, which the first read will tell.
            let _already_gone = stream.set_nodelay(true);
        }
    }

    /// Waits until there is something of what one is interested in.
    pub(crate) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        match self {
            Self::Tcp(stream) => stream.ready(interest).await,
            Self::Unix(stream) => stream.ready(interest).await,
        }
    }

    fn try_io<R>(&self, interest: Interest, call: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        match self {
            Self::Tcp(stream) => stream.try_io(interest, call),
            Self::Unix(stream) => stream.try_io(interest, call),
        }
    }

    /// Addresses of the peer and of this end; `None` in the unix domain, and where the peer is gone.
    pub(crate) fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        match self {
            Self::Tcp(stream) => {
                Some((canonical(stream.peer_addr().ok()?), canonical(stream.local_addr().ok()?)))
            }
            Self::Unix(_) => None,
        }
    }

    const fn is_tcp(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
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

/// Reads at most `len` bytes and hands them to `take` where they lie.
pub(crate) fn read<T>(socket: &Socket, len: u64, take: impl FnOnce(&[u8]) -> T) -> Read<T> {
    SCRATCH.with_borrow_mut(|scratch| {
        let len = scratch.len().min(usize::try_from(len).unwrap_or(usize::MAX));
        let buffer = &mut scratch[..len];
        // In the unix domain a read also ends early behind bytes that descriptors came with: no sign of an empty
        // socket.
        let full = if socket.is_tcp() { len } else { 0 };
        match nonblocking(socket, Interest::READABLE, full, || {
            Ok(rustix::net::recv(socket, &mut *buffer, RecvFlags::empty())?.0)
        }) {
            Ok(Some(0)) => Read::End,
            Ok(Some(n)) => Read::Bytes(take(&buffer[..n])),
            Ok(None) => Read::Empty,
            Err(_) => Read::Broken,
        }
    })
}

/// Looks at no more than `len` of the bytes that have come, and leaves them there.
pub(crate) fn peek<T>(socket: impl AsFd, len: usize, look: impl FnOnce(&[u8]) -> T) -> Read<T> {
    SCRATCH.with_borrow_mut(|scratch| {
        let len = len.min(scratch.len());
        match rustix::net::recv(socket, &mut scratch[..len], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((0, _)) => Read::End,
            Ok((n, _)) => Read::Bytes(look(&scratch[..n])),
            Err(Errno::AGAIN | Errno::INTR) => Read::Empty,
            Err(_) => Read::Broken,
        }
    })
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
    Ok(nonblocking(socket, Interest::WRITABLE, bytes.len(), send)?.unwrap_or(0))
}

/// One system call under readiness. A short result means that the socket is drained or full, so readiness is
/// cleared at once instead of by another call that fails: for small requests that call is a good part of the cost.
///
/// `len` is what a full result would be; zero where a short one means nothing.
pub(crate) fn nonblocking(
    socket: &Socket,
    interest: Interest,
    len: usize,
    mut call: impl FnMut() -> io::Result<usize>,
) -> io::Result<Option<usize>> {
    let mut short = None;
    let result = socket.try_io(interest, || {
        loop {
            match call() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(n) if 0 < n && n < len => {
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
    if let Socket::Tcp(stream) = &socket {
        let _already_gone = stream.set_zero_linger();
    }
    drop(socket);
}

/// Waits until the peer's kernel has everything that was written, as long as it takes some of it. In the unix domain it
/// has it with the write, and keeps it for the peer whatever becomes of this socket.
pub(crate) async fn drained(socket: &Socket) {
    if !socket.is_tcp() {
        return;
    }
    let empty = async {
        let (mut left, mut since) = (u32::MAX, Instant::now());
        loop {
            match unsent(socket) {
                Ok(0) | Err(_) => return,
                Ok(bytes) if bytes < left => (left, since) = (bytes, Instant::now()),
                Ok(_) if since.elapsed() > DRAIN_PATIENCE => return,
                Ok(_) => {}
            }
            tokio::time::sleep(DRAIN_LOOK).await;
        }
    };
    let _peer_is_very_slow = tokio::time::timeout(DRAIN_LIMIT, empty).await;
}

/// Bytes written and not yet acknowledged (`SIOCOUTQ`).
#[expect(unsafe_code, reason = "rustix has this request only behind its unsafe generic call")]
fn unsent(socket: &Socket) -> io::Result<u32> {
    /// `SIOCOUTQ`, the same number as `TIOCOUTQ`: linux/sockios.h.
    const SIOCOUTQ: rustix::ioctl::Opcode = 0x5411;
    // SAFETY: the request writes one C int and reads nothing, as `Getter` with `i32` declares.
    let bytes = unsafe { rustix::ioctl::ioctl(socket, rustix::ioctl::Getter::<SIOCOUTQ, i32>::new()) }?;
    Ok(u32::try_from(bytes).unwrap_or(0))
}
