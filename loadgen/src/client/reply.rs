//! An answer: its head, its body frame by frame, and the connection that goes back to the pool when the body has
//! been read to its end. An answer dropped before that closes its connection.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, RETRY_AFTER};
use http::{HeaderMap, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use serde::Deserialize;

use super::connection::Connection;
use super::error::{Reason, RequestError};
use super::pool::{Shelf, Slots};
use super::retry_after;
use super::traffic::InFlight;

/// An answer of a registry.
#[derive(Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    body: Incoming,
    /// What is held while the body is read.
    held: Option<Held>,
    idle_timeout: Duration,
}

#[derive(Debug)]
struct Held {
    connection: Connection,
    shelf: Arc<Shelf>,
    reusable: bool,
    _in_flight: InFlight,
    _slots: Option<Slots>,
}

impl Reply {
    pub(crate) fn new(
        response: Response<Incoming>,
        connection: Connection,
        shelf: Arc<Shelf>,
        in_flight: InFlight,
        idle_timeout: Duration,
    ) -> Self {
        let (head, body) = response.into_parts();
        let reusable = head.version == Version::HTTP_11 && !says_close(&head.headers);
        let held = Held { connection, shelf, reusable, _in_flight: in_flight, _slots: None };
        let mut reply =
            Self { status: head.status, headers: head.headers, body, held: Some(held), idle_timeout };
        reply.release_at_end();
        reply
    }

    /// Keeps `slots` until the body has been read.
    pub(crate) fn holding(mut self, slots: Slots) -> Self {
        if let Some(held) = &mut self.held {
            held._slots = Some(slots);
        }
        self
    }

    /// The connection will not be used again: the request was answered before it had been sent whole.
    pub(crate) fn not_reusable(mut self) -> Self {
        if let Some(held) = &mut self.held {
            held.reusable = false;
        }
        self
    }

    /// A header as text; `None` where it is absent or no text.
    pub fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The announced length of the body.
    pub fn content_length(&self) -> Option<u64> {
        self.header(CONTENT_LENGTH)?.parse().ok()
    }

    /// The next piece of the body, never empty; `None` at its end. Cancel safe: what was not returned comes next
    /// time.
    ///
    /// # Errors
    /// A broken connection, or silence for the idle timeout.
    pub async fn frame(&mut self) -> Result<Option<Bytes>, RequestError> {
        while let Some(held) = &self.held {
            let next = held.connection.activity.guard(self.idle_timeout, self.body.frame());
            let frame = next.await.map_err(|_| RequestError::idle())?;
            let Some(frame) = frame.transpose()? else {
                self.release();
                return Ok(None);
            };
            self.release_at_end();
            match frame.into_data() {
                Ok(bytes) if !bytes.is_empty() => return Ok(Some(bytes)),
                // Trailers, or an empty piece.
                _ => {}
            }
        }
        Ok(None)
    }

    /// The whole body, at most `limit` bytes of it.
    ///
    /// # Errors
    /// As [`Reply::frame`], and a body that is longer.
    pub async fn bytes(mut self, limit: usize) -> Result<Bytes, RequestError> {
        let mut whole = BytesMut::new();
        while let Some(frame) = self.frame().await? {
            if whole.len() + frame.len() > limit {
                return Err(RequestError::wrong(
                    Reason::BadLength,
                    format!("the answer is longer than {limit} bytes"),
                ));
            }
            whole.extend_from_slice(&frame);
        }
        Ok(whole.freeze())
    }

    /// Reads what is left so that the connection can be used again. Best effort: a body that is longer than an error
    /// text, or a broken connection, closes it instead.
    pub async fn discard(self) {
        let _ = self.bytes(ERROR_TEXT_LIMIT).await;
    }

    /// The answer as an error, with what the registry says in its body.
    pub async fn into_error(self) -> RequestError {
        let status = self.status;
        let retry_after =
            self.header(RETRY_AFTER).and_then(|value| retry_after::parse(value, SystemTime::now()));
        let body = self.bytes(ERROR_TEXT_LIMIT).await.unwrap_or_default();
        let (code, message) = explain(&body);
        RequestError::Status { status, code, message, retry_after }
    }

    fn release_at_end(&mut self) {
        if self.body.is_end_stream() {
            self.release();
        }
    }

    fn release(&mut self) {
        if let Some(held) = self.held.take()
            && held.reusable
        {
            held.shelf.put(held.connection);
        }
    }
}

fn says_close(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.any(|value| value.split(',').any(|token| token.trim().eq_ignore_ascii_case("close")))
}

/// Code and message of a registry's error body; of any other body, no code and its beginning.
fn explain(body: &[u8]) -> (String, String) {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let parsed = serde_json::from_slice::<Errors>(body).ok().and_then(|body| body.errors.into_iter().next());
    match parsed {
        Some(entry) => (entry.code, entry.message),
        None => {
            let text = String::from_utf8_lossy(&body[..body.len().min(QUOTED)]);
            (String::new(), text.split_whitespace().collect::<Vec<_>>().join(" "))
        }
    }
}

/// Enough for any error body of a registry, and little enough to read in order to keep a connection.
const ERROR_TEXT_LIMIT: usize = 64 << 10;
/// How much of a foreign error body is quoted.
const QUOTED: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_bodies_are_read_as_far_as_they_go() {
        let json = br#"{"errors":[{"code":"BLOB_UNKNOWN","message":"no such blob","detail":{"x":1}}]}"#;
        assert_eq!(explain(json), ("BLOB_UNKNOWN".into(), "no such blob".into()));
        assert_eq!(explain(b"<html>\n  Bad   Gateway"), (String::new(), "<html> Bad Gateway".into()));
        assert_eq!(explain(br#"{"errors":[]}"#).0, "");
        assert_eq!(explain(b"\xff\xfe"), (String::new(), "\u{fffd}\u{fffd}".into()));
    }
}
