//! What a side answers: a head, a body piece by piece, and the error that it is where it is one.

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::LOCATION;
use http::{HeaderMap, Response, StatusCode, Uri};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::Deserialize;

use super::address::Address;
use super::connection::Sender;
use super::remote::{Remote, RemoteError, SILENCE, with_cause};
use super::report::Outcome;

/// Most bytes of an error's body that are read.
const MAX_ERROR: usize = 64 << 10;
/// Most characters of a refusal that are shown.
const MAX_REASON: usize = 300;

/// An answer whose body is still to come.
pub(super) struct Answer<'a> {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    body: Incoming,
    sender: Option<Sender>,
    from: Arc<Address>,
    url: String,
    remote: &'a Remote,
}

/// The body of an error, as the distribution specification has it.
#[derive(Deserialize)]
struct Problem {
    errors: Vec<Complaint>,
}

#[derive(Deserialize)]
struct Complaint {
    code: String,
    #[serde(default)]
    message: Option<String>,
}

/// A refusal: its code, where it is written as the specification wants it, and a text for people.
pub(super) struct Refusal {
    pub(super) code: Option<String>,
    /// Status, code and message.
    pub(super) text: String,
}

impl<'a> Answer<'a> {
    pub(super) fn new(
        remote: &'a Remote,
        from: &Arc<Address>,
        url: String,
        response: Response<Incoming>,
        sender: Sender,
    ) -> Self {
        let (head, body) = response.into_parts();
        let (status, headers, from) = (head.status, head.headers, Arc::clone(from));
        Self { status, headers, body, sender: Some(sender), from, url, remote }
    }

    fn failed(&self, reason: impl fmt::Display) -> RemoteError {
        self.remote.failed(self.url.clone(), reason, Outcome::Unreachable)
    }

    /// The next piece of the body; `None` at its end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, RemoteError> {
        loop {
            match tokio::time::timeout(SILENCE, self.body.frame()).await {
                Ok(None) => {
                    if let Some(sender) = self.sender.take() {
                        self.remote.connections.keep(&self.from, sender);
                    }
                    return Ok(None);
                }
                Ok(Some(Ok(frame))) => {
                    // Trailers mean nothing here.
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
                Ok(Some(Err(error))) => return Err(self.failed(with_cause(&error))),
                Err(_) => return Err(self.failed(io::Error::from(io::ErrorKind::TimedOut))),
            }
        }
    }

    /// The whole body, up to `most` bytes.
    pub(super) async fn whole(mut self, most: usize) -> Result<Bytes, RemoteError> {
        let mut whole = BytesMut::new();
        while let Some(piece) = self.next().await? {
            if whole.len() + piece.len() > most {
                return Err(self.failed(format!("the answer has more than {most} bytes")));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    /// Reads what is of no interest, so that the connection serves again.
    pub(super) async fn drained(mut self) -> Result<(), RemoteError> {
        while self.next().await?.is_some() {}
        Ok(())
    }

    /// What the answer refuses, and why. The status is known whatever becomes of the body.
    pub(super) async fn refusal(self) -> Refusal {
        let status = self.status;
        let body = self.whole(MAX_ERROR).await.unwrap_or_default();
        let first = |problem: Problem| problem.errors.into_iter().next();
        let (code, said) = match serde_json::from_slice(&body).ok().and_then(first) {
            Some(Complaint { code, message }) => {
                let message = message.filter(|message| !message.is_empty());
                let said = message.map_or_else(|| code.clone(), |message| format!("{code}, {message}"));
                (Some(code), said)
            }
            None => (None, String::from_utf8_lossy(&body).trim().to_owned()),
        };
        let said: String = said.chars().take(MAX_REASON).collect();
        let text = if said.is_empty() { status.to_string() } else { format!("{status}: {said}") };
        Refusal { code, text }
    }

    /// The error that this answer is.
    pub(super) async fn refused(self) -> RemoteError {
        let (remote, url, status) = (self.remote, self.url.clone(), self.status);
        let text = self.refusal().await.text;
        let (what, outcome) = match status {
            StatusCode::UNAUTHORIZED if remote.credentials.is_some() => {
                ("it does not take this name and password", Outcome::Refused)
            }
            StatusCode::UNAUTHORIZED => ("it wants a name and a password", Outcome::Refused),
            StatusCode::FORBIDDEN => ("it does not let this be read", Outcome::Refused),
            _ => return remote.failed(url, format!("it answered {text}"), Outcome::Unreachable),
        };
        remote.failed(url, format!("{what} ({text})"), outcome)
    }

    /// Where a redirect leads.
    pub(super) fn elsewhere(&self) -> Result<(Arc<Address>, String), RemoteError> {
        let location = self.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let location = location.ok_or_else(|| self.failed("a redirect without a Location"))?;
        let uri: Uri = location.parse().map_err(|error| self.failed(format!("`{location}`: {error}")))?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        if uri.authority().is_none() {
            return Ok((Arc::clone(&self.from), path));
        }
        let address =
            Address::of_uri(&uri).map_err(|reason| self.failed(format!("`{location}`: {reason}")))?;
        // The same place as before counts as the same, whichever repository was asked for.
        let same = address.origin() == self.from.origin();
        Ok((if same { Arc::clone(&self.from) } else { Arc::new(address) }, path))
    }
}
