//! Bodies of requests and answers, within bounds: of bytes, of time, and of how many may be big at once. A thousand
//! clients that send or read slowly have a thousand small buffers here, and a handful of big ones.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::ApiError;

/// Largest request body: a timeline of a thousand events fits ten times.
const BODY_LIMIT: usize = 4 << 20;
/// Bytes of a body that is too large which are read, and thrown away, before the answer: most clients look for one only
/// when they have sent everything, and find a reset where it was not taken.
const MOST_DISCARDED: usize = 16 << 20;
/// How long a client may take over a body, and how long a big one waits for its turn meanwhile.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);
/// A body of so many bytes is read and handled like any other; reading the JSON of a larger one would hold up a thread
/// that moves bytes for milliseconds. Two hundred proxies fit.
const SMALL: usize = 64 << 10;
/// Big bodies at once, from the first byte beyond a small one to the end of their handling: one takes up to twenty-five
/// times its size once it is read.
const MOST_BIG: usize = 2;
/// Answers at once that may be big, from the question to the last byte in the kernel: the ledger in memory is up to
/// some twenty megabytes of text.
const MOST_BIG_ANSWERS: usize = 4;
/// How long such a question waits for its turn.
const ANSWER_PATIENCE: Duration = Duration::from_secs(15);

/// The room there is for what is big.
#[derive(Debug)]
pub(super) struct Room {
    requests: Arc<Semaphore>,
    answers: Arc<Semaphore>,
}

/// A request's body. It has its place in the room until it is dropped.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Bytes,
    place: Option<OwnedSemaphorePermit>,
}

impl Body {
    /// Whether it is to be handled apart from threads that move bytes.
    pub(super) const fn is_big(&self) -> bool {
        self.place.is_some()
    }
}

/// A big answer on its way, and its place.
struct Held {
    bytes: Bytes,
    _place: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Room {
    pub(super) fn new() -> Self {
        Self {
            requests: Arc::new(Semaphore::new(MOST_BIG)),
            answers: Arc::new(Semaphore::new(MOST_BIG_ANSWERS)),
        }
    }

    /// Reads a body.
    ///
    /// # Errors
    /// It is too large, takes too long, or breaks off.
    pub(super) async fn read(&self, body: Incoming) -> Result<Body, ApiError> {
        let late = |_| ApiError::new(StatusCode::REQUEST_TIMEOUT, "request body took too long");
        tokio::time::timeout(BODY_TIMEOUT, self.collect(body)).await.map_err(late)?
    }

    async fn collect(&self, mut body: Incoming) -> Result<Body, ApiError> {
        let (mut bytes, mut place, mut seen) = (BytesMut::new(), None, 0);
        let mut is_too_large = body.size_hint().lower() > BODY_LIMIT as u64;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(ApiError::bad_body)?.into_data() else { continue };
            seen += data.len();
            is_too_large |= seen > BODY_LIMIT;
            if is_too_large {
                (bytes, place) = (BytesMut::new(), None);
                if seen > MOST_DISCARDED {
                    break;
                }
                continue;
            }
            if place.is_none() && seen > SMALL {
                place = Some(turn(&self.requests).await);
            }
            bytes.extend_from_slice(&data);
        }
        if is_too_large {
            let problem = format!("request body is larger than {BODY_LIMIT} bytes");
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, problem));
        }
        Ok(Body { bytes: bytes.freeze(), place })
    }

    /// Waits for the turn of a question with a big answer.
    ///
    /// # Errors
    /// Too many clients are reading too slowly.
    pub(super) async fn answer(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let busy = |_| {
            let problem = "too many large answers are on their way to clients that read slowly";
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, problem)
        };
        tokio::time::timeout(ANSWER_PATIENCE, turn(&self.answers)).await.map_err(busy)
    }
}

/// An answer's bytes that keep its place until the kernel has them.
pub(super) fn held(bytes: Bytes, place: OwnedSemaphorePermit) -> Bytes {
    Bytes::from_owner(Held { bytes, _place: place })
}

async fn turn(places: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    Arc::clone(places).acquire_owned().await.expect("nobody closes it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_big_answer_has_its_place_until_its_last_byte_is_gone() {
        let room = Room::new();
        let mut places = Vec::new();
        for _ in 0..MOST_BIG_ANSWERS {
            places.push(room.answer().await.unwrap());
        }
        let whole = held(Bytes::from_static(b"ledger"), places.pop().unwrap());
        let rest = whole.slice(3..);
        drop(whole);
        assert_eq!((room.answers.available_permits(), &rest[..]), (0, &b"ger"[..]));
        drop(rest);
        assert_eq!(room.answers.available_permits(), 1);
    }
}
