//! Why a request failed, and whether it is worth another attempt.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use http::StatusCode;
use mockreg::verify::CertificateError;
use thiserror::Error;

/// Why an attempt was broken. Bounded, so that it may label a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// No connection could be made.
    Connect,
    /// The connection was reset.
    Reset,
    /// The connection ended in the middle of an answer.
    Eof,
    /// No byte moved for the idle timeout.
    IdleTimeout,
    /// A pooled connection was found dead before any byte of the answer.
    Stale,
    /// The answer was not HTTP, or another error of the transport.
    Transport,
    /// 408.
    Status408,
    /// 416: the server does not have the range, or an upload stands elsewhere.
    Status416,
    /// 425.
    Status425,
    /// 429.
    Status429,
    /// 500, 502, 503, 504.
    Status5xx,
    /// The bytes are not those of the digest.
    DigestMismatch,
    /// The answer holds another range than the one asked for.
    BadRange,
    /// The answer is longer or shorter than the blob.
    BadLength,
    /// The content changed between two parts of a download.
    Changed,
    /// The registry has forgotten the upload session.
    SessionLost,
    /// The registry took less of a chunk than was sent.
    ShortCommit,
    /// The registry no longer has blobs that it had a moment ago.
    BlobsLost,
}

impl Reason {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Self; 18] = [
        Self::Connect,
        Self::Reset,
        Self::Eof,
        Self::IdleTimeout,
        Self::Stale,
        Self::Transport,
        Self::Status408,
        Self::Status416,
        Self::Status425,
        Self::Status429,
        Self::Status5xx,
        Self::DigestMismatch,
        Self::BadRange,
        Self::BadLength,
        Self::Changed,
        Self::SessionLost,
        Self::ShortCommit,
        Self::BlobsLost,
    ];

    /// The word for records and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Reset => "reset",
            Self::Eof => "eof",
            Self::IdleTimeout => "idle_timeout",
            Self::Stale => "stale",
            Self::Transport => "transport",
            Self::Status408 => "status_408",
            Self::Status416 => "status_416",
            Self::Status425 => "status_425",
            Self::Status429 => "status_429",
            Self::Status5xx => "status_5xx",
            Self::DigestMismatch => "digest_mismatch",
            Self::BadRange => "bad_range",
            Self::BadLength => "bad_length",
            Self::Changed => "changed",
            Self::SessionLost => "session_lost",
            Self::ShortCommit => "short_commit",
            Self::BlobsLost => "blobs_lost",
        }
    }
}

/// Why one attempt of a request failed.
#[derive(Debug, Error)]
pub enum RequestError {
    /// The connection failed or went silent.
    #[error("{}", transport_text(*.reason))]
    Transport {
        /// What happened to it.
        reason: Reason,
        /// The error underneath, where there is one.
        source: Option<Box<dyn StdError + Send + Sync>>,
    },
    /// The registry answered with an error.
    #[error("{status}{}", said(.code, .message))]
    Status {
        /// Its status.
        status: StatusCode,
        /// The first error code of its body, as spelt there; empty where the body is none of a registry.
        code: String,
        /// The message that came with the code, or the beginning of a body that is none of a registry.
        message: String,
        /// How long the registry asked to wait.
        retry_after: Option<Duration>,
    },
    /// The registry answered with success, but wrongly; another attempt may get a right answer.
    #[error("{message}")]
    Wrong {
        /// In what way.
        reason: Reason,
        /// In words.
        message: String,
    },
    /// The registry breaks the protocol in a way that will not get better.
    #[error("{0}")]
    Protocol(String),
    /// Its certificate is not believed, or nobody can be.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

fn transport_text(reason: Reason) -> &'static str {
    match reason {
        Reason::Connect => "cannot connect",
        Reason::Reset => "the connection was reset",
        Reason::Eof => "the connection ended too early",
        Reason::IdleTimeout => "no byte moved for the idle timeout",
        Reason::Stale => "the pooled connection had been closed",
        _ => "the connection failed",
    }
}

fn said(code: &str, message: &str) -> String {
    match (code, message) {
        ("", "") => String::new(),
        ("", message) => format!(": {message}"),
        (code, "") => format!(": {code}"),
        (code, message) => format!(": {code}: {message}"),
    }
}

impl RequestError {
    /// A silent connection.
    pub(crate) fn idle() -> Self {
        Self::Transport { reason: Reason::IdleTimeout, source: None }
    }

    /// A failed connection attempt.
    pub(crate) fn connect(source: io::Error) -> Self {
        Self::Transport { reason: Reason::Connect, source: Some(Box::new(source)) }
    }

    /// An answer that is wrong in the way of `reason`.
    pub(crate) fn wrong(reason: Reason, message: impl Into<String>) -> Self {
        Self::Wrong { reason, message: message.into() }
    }

    /// What to count another attempt under; `None` where another attempt is pointless.
    pub fn retry_reason(&self) -> Option<Reason> {
        match self {
            Self::Transport { reason, .. } | Self::Wrong { reason, .. } => Some(*reason),
            Self::Status { status, .. } => match status.as_u16() {
                408 => Some(Reason::Status408),
                416 => Some(Reason::Status416),
                425 => Some(Reason::Status425),
                429 => Some(Reason::Status429),
                500 | 502 | 503 | 504 => Some(Reason::Status5xx),
                _ => None,
            },
            Self::Protocol(_) | Self::Certificate(_) => None,
        }
    }

    /// Whether the connection had come to its end, as one that waited too long in a pool has.
    pub(crate) fn is_dead_connection(&self) -> bool {
        matches!(self, Self::Transport { reason: Reason::Reset | Reason::Eof, .. })
    }

    /// The same, of a connection that had been closed in the pool, if it is about a dead connection.
    pub(crate) fn stale(self) -> Self {
        match self {
            Self::Transport { reason: Reason::Reset | Reason::Eof, source } => {
                Self::Transport { reason: Reason::Stale, source }
            }
            other => other,
        }
    }

    /// How long the registry asked to wait, if it did.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The status, if it is an answer.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the registry's error has this code (`BLOB_UNKNOWN`).
    pub fn has_code(&self, wanted: &str) -> bool {
        matches!(self, Self::Status { code, .. } if code == wanted)
    }
}

impl From<hyper::Error> for RequestError {
    fn from(error: hyper::Error) -> Self {
        Self::Transport { reason: transport_reason(&error), source: Some(Box::new(error)) }
    }
}

fn transport_reason(error: &hyper::Error) -> Reason {
    let kind = causes(error).find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    match kind {
        Some(
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted,
        ) => Reason::Reset,
        Some(io::ErrorKind::UnexpectedEof) => Reason::Eof,
        None if error.is_incomplete_message() || error.is_closed() || error.is_canceled() => Reason::Eof,
        Some(_) | None => Reason::Transport,
    }
}

fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16) -> RequestError {
        RequestError::Status {
            status: StatusCode::from_u16(code).unwrap(),
            code: "DENIED".into(),
            message: "no".into(),
            retry_after: None,
        }
    }

    #[test]
    fn discriminants_index_the_list() {
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index, "{reason:?}");
        }
    }

    #[test]
    fn only_passing_troubles_are_worth_another_attempt() {
        for code in [408, 425, 429, 500, 502, 503, 504] {
            assert!(status(code).retry_reason().is_some(), "{code}");
        }
        for code in [301, 400, 401, 403, 404, 405, 409, 413, 501, 505] {
            assert!(status(code).retry_reason().is_none(), "{code}");
        }
    }

    #[test]
    fn errors_say_what_the_registry_said() {
        assert_eq!(status(403).to_string(), "403 Forbidden: DENIED: no");
    }
}
