//! Pipes that bytes are spliced through, from socket to socket without a copy: lent while bytes flow, given back
//! empty.
//!
//! A pipe's size decides the speed, so each gets the largest that an ordinary user may ask for. The kernel gives a
//! user that much only 64 times (`fs.pipe-user-pages-soft`); past that, pipes are smaller, and past twice that so
//! small that copying is faster. Hence the bounds below, and the descriptors that idle connections do not have.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::Interest;

use crate::socket::{Read, Socket, nonblocking};

/// Sizes to ask for, best first: `fs.pipe-max-size` as Linux ships it, and what is left to those who have many.
const SIZES: [usize; 4] = [1 << 20, 512 << 10, 256 << 10, 128 << 10];
/// A smaller pipe than the kernel's own default is not worth a system call for each filling.
const LEAST_SIZE: usize = 64 << 10;
/// Pipes out at one time: as many of the largest size as the kernel gives an ordinary user. Who comes later copies.
const MOST_LENT: usize = 64;
/// Empty pipes kept for the next. Making one takes a few microseconds; each costs two descriptors and pages of the
/// user's share.
const MOST_KEPT: usize = 16;

/// Pipes of one server.
#[derive(Debug, Default)]
pub(crate) struct Pipes {
    shelf: Mutex<Shelf>,
}

#[derive(Debug, Default)]
struct Shelf {
    kept: Vec<Ends>,
    lent: usize,
}

#[derive(Debug)]
struct Ends {
    output: OwnedFd,
    input: OwnedFd,
    size: usize,
}

/// A pipe on loan. Dropping it gives it back if it is empty, and destroys it with what it holds if it is not.
#[derive(Debug)]
pub(crate) struct Pipe {
    pipes: Arc<Pipes>,
    ends: Option<Ends>,
    filled: usize,
    moved: u64,
}

impl Pipes {
    /// Lends an empty pipe; `None` where there are none to be had, or no `splice`.
    pub(crate) fn lend(self: &Arc<Self>) -> Option<Pipe> {
        let kept = {
            let mut shelf = self.shelf();
            if shelf.lent == MOST_LENT {
                return None;
            }
            shelf.lent += 1;
            shelf.kept.pop()
        };
        let mut pipe = Pipe { pipes: Arc::clone(self), ends: kept, filled: 0, moved: 0 };
        if pipe.ends.is_none() {
            // Dropping it without ends gives back the right to one.
            pipe.ends = Some(system::make().ok()?);
        }
        Some(pipe)
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        // A list and a number, whole after any panic elsewhere.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pipe {
    /// Takes what the socket has and an empty pipe has room for. An empty one, because the kernel says "not now" both
    /// for a socket without bytes and for a full pipe, and forgetting that a socket is readable in the second case
    /// would stall it. `None`: urgent data is next, which only a read goes past.
    pub(crate) fn fill(&mut self, source: &Socket) -> Option<Read<usize>> {
        debug_assert!(self.is_empty(), "a pipe is drained before it is filled");
        let ends = self.ends();
        // Longer than anything: a short answer means that the pipe's slots are used up as often as that the socket
        // is drained, and only the next call tells.
        let mut is_urgent = false;
        let splice = || {
            let result = system::splice(source, &ends.input, ends.size);
            let is_nothing =
                result.as_ref().map_or_else(|error| error.kind() == io::ErrorKind::WouldBlock, |n| *n == 0);
            is_urgent = is_nothing && source.is_at_urgent_data();
            if is_urgent { Ok(0) } else { result }
        };
        let spliced = nonblocking(source, Interest::READABLE, |_| false, splice);
        if is_urgent {
            // Neither the end nor a reason to wait.
            return None;
        }
        Some(match spliced {
            Ok(Some(0)) => Read::End,
            Ok(Some(n)) => {
                self.filled = n;
                self.moved += n as u64;
                Read::Bytes(n)
            }
            Ok(None) => Read::Empty,
            Err(_) => Read::Broken,
        })
    }

    /// Gives the socket what it takes now. `Ok(0)`: nothing.
    pub(crate) fn drain(&mut self, destination: &Socket) -> io::Result<usize> {
        let (ends, filled) = (self.ends(), self.filled);
        let give = || system::splice(&ends.output, destination, filled);
        let n = nonblocking(destination, Interest::WRITABLE, |_| false, give)?.unwrap_or(0);
        self.filled -= n;
        Ok(n)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Bytes that went in since it was lent.
    pub(crate) const fn moved(&self) -> u64 {
        self.moved
    }

    const fn ends(&self) -> &Ends {
        self.ends.as_ref().expect("a pipe that was lent has ends until it is dropped")
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let mut shelf = self.pipes.shelf();
        shelf.lent -= 1;
        let reusable = self.ends.take().filter(|_| self.filled == 0);
        if shelf.kept.len() < MOST_KEPT {
            shelf.kept.extend(reusable);
        }
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::io;
    use std::os::fd::AsFd;

    use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with};

    use super::{Ends, LEAST_SIZE, SIZES};

    pub(super) fn make() -> io::Result<Ends> {
        let (output, input) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let granted = SIZES.iter().find_map(|size| fcntl_setpipe_size(&input, *size).ok());
        let size = granted.map_or_else(|| fcntl_getpipe_size(&input), Ok)?;
        if size < LEAST_SIZE {
            Err(io::ErrorKind::QuotaExceeded.into())
        } else {
            Ok(Ends { output, input, size })
        }
    }

    /// Moves at most `len` bytes; one of both is a pipe. Towards a peer that is gone it raises SIGPIPE, which Rust's
    /// runtime ignores.
    pub(super) fn splice(from: impl AsFd, to: impl AsFd, len: usize) -> io::Result<usize> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        Ok(rustix::pipe::splice(from, None, to, None, len, flags)?)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;
    use std::os::fd::AsFd;

    use super::Ends;

    pub(super) fn make() -> io::Result<Ends> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn splice(_from: impl AsFd, _to: impl AsFd, _len: usize) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpStream, UnixStream};

    use super::*;

    /// How many are kept, and lent.
    fn counts(pipes: &Pipes) -> (usize, usize) {
        let shelf = pipes.shelf();
        (shelf.kept.len(), shelf.lent)
    }

    async fn pair() -> (Socket, TcpStream) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connect = TcpStream::connect(listener.local_addr().unwrap());
        let (accepted, connected) = tokio::join!(listener.accept(), connect);
        (Socket::tcp(accepted.unwrap().0.into_std().unwrap()).unwrap(), connected.unwrap())
    }

    async fn fill(pipe: &mut Pipe, source: &Socket) -> Read<usize> {
        source.ready(Interest::READABLE).await.unwrap();
        pipe.fill(source).expect("no test sends urgent data")
    }

    #[tokio::test]
    async fn an_empty_pipe_is_kept_and_lent_again() {
        let pipes = Arc::new(Pipes::default());
        drop(pipes.lend().unwrap());
        assert_eq!(counts(&pipes), (1, 0));
        let _again = pipes.lend().unwrap();
        assert_eq!(counts(&pipes), (0, 1));
    }

    #[tokio::test]
    async fn a_pipe_with_bytes_is_never_lent_again() {
        let pipes = Arc::new(Pipes::default());
        let (here, there) = pair().await;
        assert_eq!(there.try_write(b"hello").unwrap(), 5);
        let mut pipe = pipes.lend().unwrap();
        assert!(matches!(fill(&mut pipe, &here).await, Read::Bytes(5)));
        drop(pipe);
        assert_eq!(counts(&pipes), (0, 0));
    }

    #[tokio::test]
    async fn what_goes_in_comes_out_and_the_end_is_told() {
        let pipes = Arc::new(Pipes::default());
        let ((here, there), (near, far)) = (pair().await, pair().await);
        assert_eq!(there.try_write(b"hello").unwrap(), 5);
        drop(there);
        let mut pipe = pipes.lend().unwrap();
        assert!(matches!(fill(&mut pipe, &here).await, Read::Bytes(5)));
        near.ready(Interest::WRITABLE).await.unwrap();
        assert_eq!(pipe.drain(&near).unwrap(), 5);
        assert!(pipe.is_empty() && pipe.moved() == 5);
        assert!(matches!(fill(&mut pipe, &here).await, Read::End));
        let mut got = [0; 5];
        far.readable().await.unwrap();
        assert_eq!((far.try_read(&mut got).unwrap(), &got), (5, b"hello"));
    }

    /// The unix domain: the same calls, another half of the kernel.
    #[tokio::test]
    async fn sockets_of_the_unix_domain_can_be_spliced_either_way() {
        let pipes = Arc::new(Pipes::default());
        let pair = || {
            let (one, other) = UnixStream::pair().unwrap();
            (Socket::unix(one.into_std().unwrap()).unwrap(), other)
        };
        let ((here, there), (near, far)) = (pair(), pair());
        let mut pipe = pipes.lend().unwrap();
        for text in [b"hello", b"again"] {
            there.writable().await.unwrap();
            assert_eq!(there.try_write(text).unwrap(), 5);
            assert!(matches!(fill(&mut pipe, &here).await, Read::Bytes(5)));
            near.ready(Interest::WRITABLE).await.unwrap();
            assert_eq!(pipe.drain(&near).unwrap(), 5);
            let mut got = [0; 5];
            far.readable().await.unwrap();
            assert_eq!((far.try_read(&mut got).unwrap(), &got), (5, text));
        }
        drop(far);
        assert_eq!(there.try_write(b"lost").unwrap(), 4);
        assert!(matches!(fill(&mut pipe, &here).await, Read::Bytes(4)));
        assert_eq!(pipe.drain(&near).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        drop(there);
        assert!(matches!(fill(&mut Pipes::lend(&pipes).unwrap(), &here).await, Read::End));
    }

    #[test]
    fn no_more_are_lent_than_the_kernel_gives_in_full_size() {
        let pipes = Arc::new(Pipes::default());
        let lent: Vec<_> = (0..MOST_LENT).map(|_| pipes.lend().unwrap()).collect();
        assert!(pipes.lend().is_none());
        drop(lent);
        assert_eq!(counts(&pipes), (MOST_KEPT, 0));
    }
}
