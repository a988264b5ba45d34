//! The socket under one connection, as the HTTP libraries see it: a stream that reports every byte it took to
//! `delivery`, and keeps back what hyper answers by itself, for `refusal` to say it better.
//!
//! Under TLS the stream takes bytes before they are encrypted; up to 256 KiB of them may then still wait for the
//! kernel (`tls` sets that bound), so a client that vanishes got so much less than is counted.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::delivery::Follow;

/// A stream whose outgoing bytes are followed.
pub(crate) struct Socket<S, F> {
    stream: S,
    outgoing: Arc<Mutex<F>>,
    refusal: Option<Vec<u8>>,
}

impl<S, F> Socket<S, F> {
    /// Follows `stream`.
    pub(crate) fn new(stream: S, outgoing: Arc<Mutex<F>>) -> Self {
        Self { stream, outgoing, refusal: None }
    }

    /// The stream again, and the head of the refusal that was kept back.
    pub(crate) fn into_parts(self) -> (S, Option<Vec<u8>>) {
        (self.stream, self.refusal)
    }
}

impl<S: AsyncRead + Unpin, F> AsyncRead for Socket<S, F> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin, F: Follow> AsyncWrite for Socket<S, F> {
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
            && outgoing.keeps_back(head)
        {
            this.refusal = Some(head.to_vec());
            return Poll::Ready(Ok(head.len()));
        }
        let written = ready!(Pin::new(&mut this.stream).poll_write_vectored(cx, bufs))?;
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
