//! Frames of HTTP/2 on their way out, gathered. The library flushes after every frame of 16 KiB; that made a record of
//! TLS, a system call and a packet of each, and two of those that do not fill a record. Here a flush that follows new
//! bytes waits until the connection has nothing more to write in this turn, or until there is a batch.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of a batch: eight full records of TLS (RFC 8446 §5.1). Copying them together costs less than what it saves,
/// and a thousand connections hold 128 MiB at the most, while they all send.
const BATCH: usize = 128 << 10;

/// A stream that writes in batches.
#[derive(Debug)]
pub(super) struct Gather<S> {
    stream: S,
    held: Vec<u8>,
    /// How many of the bytes held have gone.
    gone: usize,
    /// Bytes have come since the last flush.
    fresh: bool,
}

impl<S> Gather<S> {
    /// Gathers what is written to `stream`.
    pub(super) fn new(stream: S) -> Self {
        Self { stream, held: Vec::new(), gone: 0, fresh: false }
    }
}

impl<S: AsyncWrite + Unpin> Gather<S> {
    /// Writes everything held.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.gone < self.held.len() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.held[self.gone..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.gone += count,
            }
        }
        self.gone = 0;
        self.held.clear();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gather<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gather<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.held.len() >= BATCH {
            ready!(self.poll_drain(cx))?;
        }
        let before = self.held.len();
        for buf in bufs {
            let room = BATCH - self.held.len();
            self.held.extend_from_slice(&buf[..buf.len().min(room)]);
        }
        self.fresh = true;
        Poll::Ready(Ok(self.held.len() - before))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.fresh) && self.held.len() < BATCH {
            // The connection's turn ends with a flush. It has another turn, in case this one was that.
            cx.waker().wake_by_ref();
            return Poll::Ready(Ok(()));
        }
        if self.held.is_empty() {
            // A connection at rest holds no memory.
            self.held = Vec::new();
        }
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// Remembers each write.
    #[derive(Debug, Default)]
    struct Writes(Vec<Vec<u8>>);

    impl AsyncWrite for Writes {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            self.0.push(buf.to_vec());
            Poll::Ready(Ok(buf.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn frames_leave_in_batches_and_the_rest_at_the_end_of_a_turn() {
        let mut gather = Gather::new(Writes::default());
        let frame: Vec<u8> = (0..16_393).map(|byte| byte as u8).collect();
        for _ in 0..20 {
            gather.write_all(&frame).await.unwrap();
            gather.flush().await.unwrap();
        }
        let sizes = |gather: &Gather<Writes>| gather.stream.0.iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(&gather), [BATCH, BATCH]);
        gather.flush().await.unwrap();
        assert_eq!(sizes(&gather), [BATCH, BATCH, 20 * frame.len() - 2 * BATCH]);
        assert!(gather.stream.0.concat() == frame.repeat(20));
        gather.flush().await.unwrap();
        assert_eq!(gather.held.capacity(), 0, "nothing is held at rest");
    }

    #[tokio::test]
    async fn a_flush_that_waits_asks_for_another_turn() {
        let mut gather = Gather::new(Writes::default());
        gather.write_all(b"frame").await.unwrap();
        let mut turns = 0;
        poll_fn(|cx| {
            turns += 1;
            let flushed = Pin::new(&mut gather).poll_flush(cx);
            if gather.held.is_empty() { flushed.map(drop) } else { Poll::Pending }
        })
        .await;
        assert_eq!((turns, gather.stream.0.concat().as_slice()), (2, b"frame".as_slice()));
    }
}
