//! What a request carries: nothing, bytes in memory, or a stream of known length fed while it is sent.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

/// Body of a request.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// Bytes in memory, perhaps none.
    Whole(Bytes),
    /// A stream of exactly `left` more bytes. Ends early, and with it the connection, when the feeder goes away.
    Fed { frames: mpsc::Receiver<Bytes>, left: u64 },
}

impl Outgoing {
    /// A stream of `length` bytes and its feeder, which waits while [`FRAMES_AHEAD`] frames have not been taken.
    pub(crate) fn fed(length: u64) -> (mpsc::Sender<Bytes>, Self) {
        let (feeder, frames) = mpsc::channel(FRAMES_AHEAD);
        (feeder, Self::Fed { frames, left: length })
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => None,
            Self::Whole(bytes) => Some(std::mem::take(bytes)),
            Self::Fed { left: 0, .. } => None,
            Self::Fed { frames, left } => {
                let frame = ready!(frames.poll_recv(cx));
                *left = left.saturating_sub(frame.as_ref().map_or(0, |frame| frame.len() as u64));
                frame
            }
        };
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.size_hint().exact() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Whole(bytes) => bytes.len() as u64,
            Self::Fed { left, .. } => *left,
        })
    }
}

/// Two frames keep the socket busy while the next one is fetched; each is at most a read buffer long.
const FRAMES_AHEAD: usize = 2;
