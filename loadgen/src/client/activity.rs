//! When bytes last moved on a connection, and how many: a stream wrapper that notes each transfer, and the guard
//! that ends a wait when nothing has moved for the idle timeout.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::request::Side;
use super::traffic::Traffic;

/// What has moved on one connection.
#[derive(Debug)]
pub(crate) struct Activity {
    born: Instant,
    /// Microseconds after `born` of the last byte in either direction.
    last_micros: AtomicU64,
    received: AtomicU64,
    in_use: AtomicBool,
}

/// Nothing moved for the idle timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Idle;

impl Activity {
    pub(crate) fn new() -> Self {
        Self {
            born: Instant::now(),
            last_micros: AtomicU64::new(0),
            received: AtomicU64::new(0),
            in_use: AtomicBool::new(true),
        }
    }

    /// When a byte last moved; the connection's birth if none has.
    pub(crate) fn last(&self) -> Instant {
        self.born + Duration::from_micros(self.last_micros.load(Relaxed))
    }

    /// Bytes received since the connection was made.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    /// Whether a request has the connection.
    pub(crate) fn in_use(&self) -> bool {
        self.in_use.load(Relaxed)
    }

    /// Marks the connection as taken or returned; either counts as activity, so that the time in the pool starts
    /// anew.
    pub(crate) fn set_in_use(&self, in_use: bool) {
        self.in_use.store(in_use, Relaxed);
        self.touch();
    }

    fn touch(&self) {
        let micros = u64::try_from(self.born.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.last_micros.store(micros, Relaxed);
    }

    /// Waits for `future`, unless nothing moves on the connection for `limit`, counted from the start of the wait
    /// at the earliest: time in which nobody waited for this connection is not held against it.
    pub(crate) async fn guard<T>(&self, limit: Duration, future: impl Future<Output = T>) -> Result<T, Idle> {
        let mut future = pin!(future);
        let mut deadline = Instant::now() + limit;
        loop {
            match timeout_at(deadline, future.as_mut()).await {
                Ok(output) => return Ok(output),
                Err(_) if self.last() + limit > deadline => deadline = self.last() + limit,
                Err(_) => return Err(Idle),
            }
        }
    }
}

/// A TCP stream that tells [`Activity`] and [`Traffic`] what it moves.
#[derive(Debug)]
pub(crate) struct Metered {
    stream: TcpStream,
    activity: Arc<Activity>,
    traffic: Arc<Traffic>,
    side: Side,
}

impl Metered {
    pub(crate) fn new(stream: TcpStream, activity: Arc<Activity>, traffic: Arc<Traffic>, side: Side) -> Self {
        Self { stream, activity, traffic, side }
    }

    fn wrote(&self, result: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(count)) = result {
            self.activity.touch();
            self.traffic.sent(self.side, *count as u64);
        }
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let result = Pin::new(&mut this.stream).poll_read(cx, buffer);
        let count = (buffer.filled().len() - before) as u64;
        if count > 0 {
            this.activity.touch();
            this.activity.received.fetch_add(count, Relaxed);
            this.traffic.received(this.side, count);
        }
        result
    }
}

impl AsyncWrite for Metered {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write(cx, data);
        this.wrote(&result);
        result
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.wrote(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn a_wait_without_a_byte_ends_after_the_limit() {
        let limit = Duration::from_millis(30);
        let started = Instant::now();
        assert_eq!(Activity::new().guard(limit, std::future::pending::<()>()).await, Err(Idle));
        assert!(started.elapsed() >= limit);
    }

    #[tokio::test]
    async fn bytes_put_the_end_off() {
        let activity = Arc::new(Activity::new());
        let moving = tokio::spawn({
            let activity = activity.clone();
            async move {
                for _ in 0..10 {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    activity.touch();
                }
            }
        });
        // 200 ms in all, at most 20 ms and a scheduling delay between two bytes.
        assert!(activity.guard(Duration::from_millis(150), moving).await.is_ok_and(|joined| joined.is_ok()));
    }

    #[tokio::test]
    async fn what_is_ready_needs_no_time() {
        assert_eq!(Activity::new().guard(LIMIT, async { 7 }).await, Ok(7));
    }
}
