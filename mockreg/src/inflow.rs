//! The body of a request, as either protocol brings it: pieces in order, taken one by one, so that a client sends no
//! faster than its bytes are used up.

use std::error::Error as _;
use std::future::poll_fn;

use bytes::Bytes;
use h2::RecvStream;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::sync::oneshot;

/// Why a body did not end as announced.
#[derive(Debug)]
pub(crate) enum Broken {
    /// It is not in the form that was announced.
    Malformed(String),
    /// The client went away, or gave the request up.
    Gone,
}

/// A body that is still to come.
pub(crate) enum Inflow {
    /// Of HTTP/1.1.
    One(Incoming),
    /// Of HTTP/2.
    Two(Stream),
}

/// A stream of HTTP/2.
pub(crate) struct Stream {
    stream: RecvStream,
    /// Bytes handed out and not yet given back to the client's window.
    lent: usize,
    /// Tells the connection that the client may send, where it waits for that.
    go_ahead: Option<oneshot::Sender<()>>,
}

impl From<Incoming> for Inflow {
    fn from(body: Incoming) -> Self {
        Self::One(body)
    }
}

impl Inflow {
    /// The body of a stream. `go_ahead` is used when it is read for the first time.
    pub(crate) fn stream(stream: RecvStream, go_ahead: Option<oneshot::Sender<()>>) -> Self {
        Self::Two(Stream { stream, lent: 0, go_ahead })
    }

    /// The next piece; `None` at the end. If the future is dropped, no byte is lost.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, Broken>> {
        match self {
            Self::One(body) => loop {
                match body.frame().await? {
                    // Trailers mean nothing here.
                    Ok(frame) => {
                        if let Ok(bytes) = frame.into_data() {
                            return Some(Ok(bytes));
                        }
                    }
                    Err(error) => return Some(Err(broken(&error))),
                }
            },
            Self::Two(stream) => stream.next().await,
        }
    }

    /// Whether nothing is to come any more.
    pub(crate) fn is_end(&self) -> bool {
        match self {
            Self::One(body) => body.is_end_stream(),
            Self::Two(stream) => stream.stream.is_end_stream(),
        }
    }
}

impl Stream {
    async fn next(&mut self) -> Option<Result<Bytes, Broken>> {
        if let Some(go_ahead) = self.go_ahead.take() {
            // Nobody listens where the stream has ended.
            let _ = go_ahead.send(());
        }
        // Whoever asks for more has used up what it had.
        let lent = std::mem::take(&mut self.lent);
        if lent > 0 && self.stream.flow_control().release_capacity(lent).is_err() {
            return Some(Err(Broken::Gone));
        }
        match poll_fn(|cx| self.stream.poll_data(cx)).await? {
            Ok(bytes) => {
                self.lent = bytes.len();
                Some(Ok(bytes))
            }
            // A stream whose length differs from what was announced is reset by the library.
            Err(_) => Some(Err(Broken::Gone)),
        }
    }
}

fn broken(error: &hyper::Error) -> Broken {
    use std::io::{Error as IoError, ErrorKind};
    let cause = error.source().and_then(|source| source.downcast_ref::<IoError>()).map(IoError::kind);
    match cause {
        Some(ErrorKind::InvalidInput | ErrorKind::InvalidData) => Broken::Malformed(error.to_string()),
        _ => Broken::Gone,
    }
}
