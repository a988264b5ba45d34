//! Requests to admin and API ports: one connection each, bounded in time and size, apart from the replicator's pool
//! so that control traffic never counts as load.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::net::TcpStream;

/// An admin port or a proxy's API.
#[derive(Clone, Debug)]
pub struct Control {
    base: Uri,
    token: Option<chaosproxy::Token>,
}

/// Why a control request failed.
#[derive(Debug, Error)]
pub enum ControlError {
    /// The address is not `http://host:port`.
    #[error("`{0}` is no address; write it like http://127.0.0.1:8474")]
    Address(String),
    /// Nothing answered.
    #[error("{method} {url}: cannot reach it; is it running, and is this its admin or API port?")]
    Unreachable {
        /// Method of the request.
        method: Method,
        /// Its URL.
        url: String,
        /// Why.
        source: std::io::Error,
    },
    /// It answered with something else than HTTP, too much, or too late.
    #[error("{method} {url}: {problem}")]
    Broken {
        /// Method of the request.
        method: Method,
        /// Its URL.
        url: String,
        /// What went wrong.
        problem: String,
    },
    /// It refused.
    #[error("{method} {url}: {status}: {message}")]
    Refused {
        /// Method of the request.
        method: Method,
        /// Its URL.
        url: String,
        /// Status of the answer.
        status: StatusCode,
        /// Its body, which says why.
        message: String,
    },
}

impl Control {
    /// A client for `http://host:port`.
    ///
    /// # Errors
    /// The text is not such an address.
    pub fn try_new(url: &str) -> Result<Self, ControlError> {
        let base = url.trim_end_matches('/').parse::<Uri>().ok();
        let base = base.filter(|uri| uri.scheme_str() == Some("http") && uri.authority().is_some());
        base.map(|base| Self { base, token: None }).ok_or_else(|| ControlError::Address(url.to_owned()))
    }

    /// The same, showing a token with every request.
    #[must_use]
    pub fn showing(self, token: Option<chaosproxy::Token>) -> Self {
        Self { token, ..self }
    }

    /// `host:port`.
    pub fn authority(&self) -> &str {
        self.base.authority().map_or("", |authority| authority.as_str())
    }

    /// The body of a successful answer.
    ///
    /// # Errors
    /// Nothing answered in time, or with anything but 2xx.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Result<Bytes, ControlError> {
        let url = format!("http://{}{path}", self.authority());
        let (status, bytes) = match tokio::time::timeout(TIMEOUT, self.exchange(&method, path, body.into()))
            .await
        {
            Ok(Ok(answer)) => answer,
            Ok(Err(Exchange::Connect(source))) => {
                return Err(ControlError::Unreachable { method, url, source });
            }
            Ok(Err(Exchange::Http(problem))) => return Err(ControlError::Broken { method, url, problem }),
            Err(_) => {
                let problem = format!("no answer within {} s", TIMEOUT.as_secs());
                return Err(ControlError::Broken { method, url, problem });
            }
        };
        if status.is_success() {
            return Ok(bytes);
        }
        let message = String::from_utf8_lossy(&bytes).trim().to_owned();
        Err(ControlError::Refused { method, url, status, message })
    }

    /// GET, read as JSON.
    ///
    /// # Errors
    /// As [`Control::call`], and when the answer is not a `T`.
    pub async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, ControlError> {
        let bytes = self.call(Method::GET, path, Bytes::new()).await?;
        self.parse(path, &bytes)
    }

    /// GET, read as newline-separated JSON.
    ///
    /// # Errors
    /// As [`Control::call`], and when a line is not a `T`.
    pub async fn read_lines<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, ControlError> {
        let bytes = self.call(Method::GET, path, Bytes::new()).await?;
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| self.parse(path, line)).collect()
    }

    fn parse<T: DeserializeOwned>(&self, path: &str, bytes: &[u8]) -> Result<T, ControlError> {
        serde_json::from_slice(bytes).map_err(|error| ControlError::Broken {
            method: Method::GET,
            url: format!("http://{}{path}", self.authority()),
            problem: format!("unexpected answer: {error}"),
        })
    }

    async fn exchange(
        &self,
        method: &Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), Exchange> {
        let stream = TcpStream::connect(self.authority()).await.map_err(Exchange::Connect)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let mut request = Request::builder();
        if let Some(token) = &self.token {
            request = request.header("authorization", token.authorization());
        }
        let request = request
            .method(method)
            .uri(path)
            .header("host", self.authority())
            .header("connection", "close")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|error| Exchange::Http(error.to_string()))?;
        let driver = tokio::spawn(connection);
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        driver.abort();
        Ok((status, body.map_err(|error| Exchange::Http(error.to_string()))?.to_bytes()))
    }
}

enum Exchange {
    Connect(std::io::Error),
    Http(String),
}

impl From<hyper::Error> for Exchange {
    fn from(error: hyper::Error) -> Self {
        Self::Http(error.to_string())
    }
}

/// Control requests are small; a journal of 200,000 lines comes over loopback in a second.
const TIMEOUT: Duration = Duration::from_secs(20);
/// A full journal has 200,000 lines of about 500 bytes.
const MAX_ANSWER: usize = 256 << 20;
