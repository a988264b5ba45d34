//! What is asked of whom.

use std::fmt;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderName, HeaderValue, Method, Request};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body::Outgoing;
use super::endpoint::Endpoint;
use super::error::RequestError;

/// Which of the two registries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Where images come from.
    Source,
    /// Where images go.
    Dest,
}

impl Side {
    /// Both, in the order of the pipeline.
    pub const BOTH: [Self; 2] = [Self::Source, Self::Dest];

    /// `source` or `dest`: label of its proxy, its journal, its decisions.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Dest => "dest",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A registry and its part in the copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Its part.
    pub side: Side,
    /// Where it listens.
    pub endpoint: Endpoint,
}

/// One request, repeatable as long as its body is in memory.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// The registry.
    pub remote: &'a Remote,
    /// The method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Headers beside `Host` and `Content-Length`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: Bytes,
}

impl<'a> Call<'a> {
    /// A request without a body.
    pub fn new(remote: &'a Remote, method: Method, path: impl Into<String>) -> Self {
        Self { remote, method, path: path.into(), headers: Vec::new(), body: Bytes::new() }
    }

    /// The same with one more header. A value that no header may hold (control characters) is left out, and the
    /// registry says what it misses.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// The same with a body.
    #[must_use]
    pub fn body(mut self, body: Bytes) -> Self {
        self.body = body;
        self
    }

    pub(crate) fn build(&self) -> Result<Request<Outgoing>, RequestError> {
        self.build_with(Outgoing::Whole(self.body.clone()), self.body.len() as u64)
    }

    /// The request with a body from elsewhere, whose `Content-Length` is sent even where it is 0: registries refuse
    /// a POST without one.
    pub(crate) fn build_with(&self, body: Outgoing, length: u64) -> Result<Request<Outgoing>, RequestError> {
        let mut request = Request::builder().method(&self.method).uri(&self.path);
        request = request.header(HOST, self.remote.endpoint.host_header());
        if !matches!(self.method, Method::GET | Method::HEAD) {
            request = request.header(CONTENT_LENGTH, length);
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(body).map_err(|error| RequestError::Protocol(format!("`{}`: {error}", self.path)))
    }
}
