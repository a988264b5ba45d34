//! Bodies of answers: nothing, bytes at hand, or pieces made while they are sent. The length is always known, so
//! every answer has a Content-Length and none is sent in chunks.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};

/// An answer of the registry.
pub(crate) type Reply = Response<Body>;

/// Pieces of a body, made one by one.
pub(crate) type Pieces = Box<dyn Iterator<Item = Bytes> + Send>;

/// The body of an answer.
pub(crate) struct Body {
    pieces: Pieces,
    left: u64,
}

impl Body {
    /// No bytes.
    pub(crate) fn empty() -> Self {
        Self { pieces: Box::new(std::iter::empty()), left: 0 }
    }

    /// Bytes at hand.
    pub(crate) fn whole(bytes: Bytes) -> Self {
        let left = bytes.len() as u64;
        Self { pieces: Box::new(std::iter::once(bytes)), left }
    }

    /// Pieces that have `len` bytes together.
    pub(crate) fn pieces(len: u64, pieces: impl Iterator<Item = Bytes> + Send + 'static) -> Self {
        Self { pieces: Box::new(pieces), left: len }
    }

    /// The next piece, never an empty one.
    pub(crate) fn next_piece(&mut self) -> Option<Bytes> {
        let piece = self.pieces.find(|piece| !piece.is_empty())?;
        self.left = self.left.saturating_sub(piece.len() as u64);
        Some(piece)
    }

    /// Bytes that are still to come.
    pub(crate) fn len(&self) -> u64 {
        self.left
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.next_piece().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
