//! Bodies of answers: nothing, bytes at hand, or pieces made while they are sent. The length is always known, so
//! every answer has a Content-Length and none is sent in chunks.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Sleep;

use crate::pace::Pace;

/// An answer of the registry.
pub(crate) type Reply = Response<Body>;

/// Pieces of a body, made one by one.
pub(crate) type Pieces = Box<dyn Iterator<Item = Bytes> + Send>;

/// The body of an answer.
pub(crate) struct Body {
    pieces: Pieces,
    left: u64,
    slow: Option<Slow>,
}

/// A body that is held back.
struct Slow {
    pace: Pace,
    /// What is left of the piece under way.
    piece: Bytes,
    wait: Option<Pin<Box<Sleep>>>,
}

impl Body {
    /// No bytes.
    pub(crate) fn empty() -> Self {
        Self { pieces: Box::new(std::iter::empty()), left: 0, slow: None }
    }

    /// Bytes at hand.
    pub(crate) fn whole(bytes: Bytes) -> Self {
        let left = bytes.len() as u64;
        Self { pieces: Box::new(std::iter::once(bytes)), left, slow: None }
    }

    /// Pieces that have `len` bytes together.
    pub(crate) fn pieces(len: u64, pieces: impl Iterator<Item = Bytes> + Send + 'static) -> Self {
        Self { pieces: Box::new(pieces), left: len, slow: None }
    }

    /// Lets it leave no faster than `pace` allows.
    pub(crate) fn slow_down(&mut self, pace: Pace) {
        self.slow = Some(Slow { pace, piece: Bytes::new(), wait: None });
    }

    /// The next piece, never an empty one, when it may leave.
    pub(crate) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let piece = match &mut self.slow {
            None => next(&mut self.pieces),
            Some(slow) => ready!(slow.poll(&mut self.pieces, cx)),
        };
        if let Some(piece) = &piece {
            self.left = self.left.saturating_sub(piece.len() as u64);
        }
        Poll::Ready(piece)
    }

    /// Bytes that are still to come.
    pub(crate) fn len(&self) -> u64 {
        self.left
    }
}

fn next(pieces: &mut Pieces) -> Option<Bytes> {
    pieces.find(|piece| !piece.is_empty())
}

impl Slow {
    /// As much of the next piece as may leave now.
    fn poll(&mut self, pieces: &mut Pieces, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            if let Some(wait) = &mut self.wait {
                ready!(wait.as_mut().poll(cx));
                self.wait = None;
            }
            if self.piece.is_empty() {
                let Some(piece) = next(pieces) else { return Poll::Ready(None) };
                self.piece = piece;
            }
            match self.pace.take(self.piece.len()) {
                Ok(count) => return Poll::Ready(Some(self.piece.split_to(count))),
                Err(wait) => self.wait = Some(Box::pin(tokio::time::sleep(wait))),
            }
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.poll_piece(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
