//! One side of a comparison: GET with whatever it takes to be let in, through redirects, with a bound on silence. How
//! it is let in is in `login`, what comes back in `answer`.

use std::collections::HashMap;
use std::error::Error as _;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HOST, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::Empty;
use thiserror::Error;
use tokio::sync::OnceCell;

use super::address::{Address, Credentials};
use super::answer::Answer;
use super::connection::Connections;
use super::report::{Outcome, Side};
use crate::authorities::{Authorities, CertificateError};

/// How long a side may send nothing.
pub(super) const SILENCE: Duration = Duration::from_secs(60);
/// Redirects followed for one request; a registry needs one, its storage perhaps another.
const MAX_REDIRECTS: usize = 5;
/// Times a request is repeated because of a quota or an overload.
const MAX_REFUSALS: usize = 8;
/// Times a request is authorized anew: a token may run out just when it is used.
const MAX_DENIALS: usize = 2;
/// Longest wait that a `Retry-After` is believed.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// Wait where none is asked for.
const WAIT: Duration = Duration::from_secs(1);

/// A side that cannot be read.
#[derive(Debug, Error)]
#[error("{url}: {reason}")]
pub struct RemoteError {
    /// Which of the two it is.
    pub side: Side,
    /// What was asked for.
    pub url: String,
    /// Why it was not had.
    pub reason: String,
    /// What that makes of the comparison: never [`Outcome::Equal`] or [`Outcome::Different`].
    pub outcome: Outcome,
}

/// One registry.
pub(super) struct Remote {
    pub(super) side: Side,
    pub(super) address: Address,
    pub(super) credentials: Option<Credentials>,
    pub(super) connections: Connections,
    /// Authorization that was accepted, by repository; empty for what belongs to none.
    pub(super) accepted: Mutex<HashMap<String, HeaderValue>>,
    /// Whether it has a referrers API, once that is known.
    pub(super) lists_referrers: OnceCell<bool>,
}

/// A request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Get<'a> {
    /// Path and query.
    pub(super) path: &'a str,
    /// The repository it belongs to; empty if none.
    pub(super) repository: &'a str,
    /// Types that are understood.
    pub(super) accept: &'static str,
    /// Whether the registry need not know what this asks for: then a refusal comes back as an answer.
    pub(super) optional: bool,
}

impl<'a> Get<'a> {
    /// A request for something that every registry has or says 404 to.
    pub(super) const fn new(path: &'a str, repository: &'a str, accept: &'static str) -> Self {
        Self { path, repository, accept, optional: false }
    }
}

impl Remote {
    pub(super) fn new(
        side: Side,
        address: Address,
        credentials: Option<Credentials>,
        authorities: &Authorities,
    ) -> Self {
        Self {
            side,
            address,
            credentials,
            connections: Connections::new(authorities.clone()),
            accepted: Mutex::default(),
            lists_referrers: OnceCell::new(),
        }
    }

    /// An error that says nothing about the content: the side cannot be read.
    pub(super) fn error(&self, path: &str, reason: impl fmt::Display) -> RemoteError {
        self.failed(format!("{}{path}", self.address.origin()), reason, Outcome::Unreachable)
    }

    pub(super) fn failed(&self, url: String, reason: impl fmt::Display, outcome: Outcome) -> RemoteError {
        RemoteError { side: self.side, url, reason: reason.to_string(), outcome }
    }

    /// The error of something to be compared that is not there.
    pub(super) fn absent(&self, reason: impl fmt::Display) -> RemoteError {
        self.failed(self.address.origin(), reason, Outcome::Missing)
    }

    /// Asks, with authorization and through redirects as it takes. Success and 404 come back, and where the request is
    /// optional also what says that there is no such thing.
    pub(super) async fn get(&self, get: Get<'_>) -> Result<Answer<'_>, RemoteError> {
        let (mut refusals, mut denials) = (0, 0);
        loop {
            let authorization = self.accepted(get.repository);
            let answer = self.follow(get, authorization.clone()).await?;
            match answer.status {
                StatusCode::UNAUTHORIZED if denials < MAX_DENIALS => {
                    denials += 1;
                    self.authorize(get, answer, authorization.is_some()).await?;
                }
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
                    if refusals < MAX_REFUSALS =>
                {
                    refusals += 1;
                    tokio::time::sleep(wanted_wait(&answer.headers)).await;
                }
                status if status.is_success() || status == StatusCode::NOT_FOUND => return Ok(answer),
                status if get.optional && is_unknown(status) => return Ok(answer),
                _ => return Err(answer.refused().await),
            }
        }
    }

    fn accepted(&self, repository: &str) -> Option<HeaderValue> {
        self.accepted.lock().expect("no holder of the list panics").get(repository).cloned()
    }

    /// Asks, and where the answer is elsewhere, there. Authorization stays with the host it is for.
    async fn follow(
        &self,
        get: Get<'_>,
        authorization: Option<HeaderValue>,
    ) -> Result<Answer<'_>, RemoteError> {
        let registry = Arc::new(self.address.clone());
        let (mut address, mut path) = (Arc::clone(&registry), get.path.to_owned());
        for _ in 0..=MAX_REDIRECTS {
            let authorization = authorization.clone().filter(|_| address == registry);
            let answer = self.ask(&address, &path, get.accept, authorization).await?;
            if !answer.status.is_redirection() || answer.status == StatusCode::NOT_MODIFIED {
                return Ok(answer);
            }
            (address, path) = answer.elsewhere()?;
        }
        Err(self.error(get.path, format!("more than {MAX_REDIRECTS} redirects")))
    }

    /// One request and the head of its answer. A kept connection that turns out to be closed is replaced.
    pub(super) async fn ask(
        &self,
        address: &Arc<Address>,
        path: &str,
        accept: &'static str,
        authorization: Option<HeaderValue>,
    ) -> Result<Answer<'_>, RemoteError> {
        let url = format!("{}{path}", address.origin());
        let failed = |reason: String| self.failed(url.clone(), reason, Outcome::Unreachable);
        loop {
            let taken = self.connections.take(address).await;
            let (mut sender, kept) = taken.map_err(|error| self.unconnected(&url, &error))?;
            let mut request = Request::get(path)
                .header(HOST, address.authority())
                .header(USER_AGENT, concat!("mockreg/", env!("CARGO_PKG_VERSION")))
                .header(ACCEPT, accept)
                .body(Empty::<Bytes>::new())
                .map_err(|error| failed(error.to_string()))?;
            if let Some(authorization) = authorization.clone() {
                request.headers_mut().insert(AUTHORIZATION, authorization);
            }
            match tokio::time::timeout(SILENCE, sender.send_request(request)).await {
                Ok(Ok(response)) => return Ok(Answer::new(self, address, url, response, sender)),
                Ok(Err(_)) if kept => {}
                Ok(Err(error)) => return Err(failed(with_cause(&error))),
                Err(_) => return Err(failed(format!("no answer within {SILENCE:?}"))),
            }
        }
    }

    /// No connection was had.
    fn unconnected(&self, url: &str, error: &io::Error) -> RemoteError {
        match CertificateError::of_handshake(error) {
            Some(untrusted) => self.failed(url.to_owned(), untrusted, Outcome::Untrusted),
            None => self.failed(url.to_owned(), format!("cannot be reached: {error}"), Outcome::Unreachable),
        }
    }
}

/// What registries answer that do not know what was asked for, beside 404: 400 for a path they read otherwise, 405 for
/// one that has no GET, 406 for a type they do not have, 501 for what they know by name only.
fn is_unknown(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_REQUEST
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::NOT_ACCEPTABLE
            | StatusCode::NOT_IMPLEMENTED
    )
}

fn wanted_wait(headers: &HeaderMap) -> Duration {
    let wanted = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    wanted.map_or(WAIT, Duration::from_secs).min(MAX_WAIT)
}

pub(super) fn with_cause(error: &hyper::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
