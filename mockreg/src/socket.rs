//! The socket under one connection, as hyper sees it: a TCP stream that reports every byte it took to `delivery`, and
//! keeps back what hyper answers by itself, for `refusal` to say it better.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::delivery::Outgoing;
use crate::refusal::is_refusal;

/// A TCP stream whose outgoing bytes are followed.
pub(crate) struct Socket {
    stream: TokioIo<TcpStream>,
    outgoing: Arc<Mutex<Outgoing>>,
    refusal: Option<Vec<u8>>,
}

impl Socket {
    /// Follows `stream`.
    pub(crate) fn new(stream: TcpStream, outgoing: Arc<Mutex<Outgoing>>) -> Self {
        Self { stream: TokioIo::new(stream), outgoing, refusal: None }
    }

    /// The stream again, and the head of the refusal that was kept back.
    pub(crate) fn into_parts(self) -> (TcpStream, Option<Vec<u8>>) {
        (self.stream.into_inner(), self.refusal)
    }
}

impl Read for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl Write for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Held locked through the system call and the accounting: whoever takes the lock afterwards sees both or
    /// neither.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let mut outgoing = this.outgoing.lock().expect("no holder of the outgoing half panics");
        if let [head] = bufs
            && outgoing.is_idle()
            && is_refusal(head)
        {
            this.refusal = Some(head.to_vec());
            return Poll::Ready(Ok(head.len()));
        }
        let written = std::task::ready!(Pin::new(&mut this.stream).poll_write_vectored(cx, bufs))?;
        let mut left = written;
        for buf in bufs {
            let count = left.min(buf.len());
            outgoing.wrote(&buf[..count]);
            left -= count;
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
