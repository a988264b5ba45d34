//! One side of a comparison: GET with whatever it takes to be let in, through redirects, with a bound on silence.

use std::collections::HashMap;
use std::error::Error as _;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{
    ACCEPT, AUTHORIZATION, HOST, HeaderValue, LOCATION, RETRY_AFTER, USER_AGENT, WWW_AUTHENTICATE,
};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use serde::Deserialize;
use thiserror::Error;

use super::address::{Address, Credentials};
use super::challenge::Challenge;
use super::connection::{Authorities, Connections, Sender};

/// How long a side may send nothing.
const SILENCE: Duration = Duration::from_secs(60);
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
/// Most bytes of a token's answer; clients of registries read no more.
const MAX_TOKEN: usize = 1 << 20;
/// Most characters of a refusal that are shown.
const MAX_REASON: usize = 300;

/// A side that cannot be read.
#[derive(Debug, Error)]
#[error("{url}: {reason}")]
pub struct RemoteError {
    /// What was asked for.
    pub url: String,
    /// Why it was not had.
    pub reason: String,
}

/// One registry.
pub(super) struct Remote {
    address: Address,
    credentials: Option<Credentials>,
    connections: Connections,
    /// Authorization that was accepted, by repository; empty for what belongs to none.
    accepted: Mutex<HashMap<String, HeaderValue>>,
}

/// An answer whose body is still to come.
pub(super) struct Answer<'a> {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    body: Incoming,
    sender: Option<Sender>,
    from: Arc<Address>,
    url: String,
    connections: &'a Connections,
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
}

impl Remote {
    pub(super) fn new(address: Address, credentials: Option<Credentials>, authorities: &Authorities) -> Self {
        Self {
            address,
            credentials,
            connections: Connections::new(authorities.clone()),
            accepted: Mutex::default(),
        }
    }

    pub(super) fn error(&self, what: &str, reason: impl fmt::Display) -> RemoteError {
        RemoteError { url: format!("{} {what}", self.address), reason: reason.to_string() }
    }

    /// The error of a repository that is not there.
    pub(super) fn absent(&self, repository: &str) -> RemoteError {
        self.error("", format!("there is no repository `{repository}`"))
    }

    /// Asks, with authorization and through redirects as it takes. Any status but those comes back.
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
    async fn ask(
        &self,
        address: &Arc<Address>,
        path: &str,
        accept: &'static str,
        authorization: Option<HeaderValue>,
    ) -> Result<Answer<'_>, RemoteError> {
        let failed = |reason: String| RemoteError { url: format!("{} {path}", base(address)), reason };
        loop {
            let taken = self.connections.take(address).await;
            let (mut sender, kept) = taken.map_err(|error| failed(format!("cannot be reached: {error}")))?;
            let mut request = Request::get(path)
                .header(HOST, base(address).split_once("://").map_or("", |(_, authority)| authority))
                .header(USER_AGENT, concat!("mockreg/", env!("CARGO_PKG_VERSION")))
                .header(ACCEPT, accept)
                .body(Empty::<Bytes>::new())
                .map_err(|error| failed(error.to_string()))?;
            if let Some(authorization) = authorization.clone() {
                request.headers_mut().insert(AUTHORIZATION, authorization);
            }
            match tokio::time::timeout(SILENCE, sender.send_request(request)).await {
                Ok(Ok(response)) => {
                    let (head, body) = response.into_parts();
                    return Ok(Answer {
                        status: head.status,
                        headers: head.headers,
                        body,
                        sender: Some(sender),
                        from: Arc::clone(address),
                        url: format!("{} {path}", base(address)),
                        connections: &self.connections,
                    });
                }
                Ok(Err(_)) if kept => {}
                Ok(Err(error)) => return Err(failed(with_cause(&error))),
                Err(_) => return Err(failed(format!("no answer within {SILENCE:?}"))),
            }
        }
    }

    /// Does what a 401 asks for, so that the next request is let in. `tried` says whether something was accepted
    /// before: a token that ran out is replaced, a password that was refused once is wrong.
    async fn authorize(&self, get: Get<'_>, answer: Answer<'_>, tried: bool) -> Result<(), RemoteError> {
        let challenges: Vec<Challenge> = answer
            .headers
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|line| Challenge::parse(line.to_str().ok()?))
            .collect();
        let authorization = match challenges.first() {
            Some(Challenge::Basic) if !tried && let Some(credentials) = &self.credentials => {
                credentials.basic()
            }
            Some(Challenge::Bearer { realm, service, scope }) => {
                let token = self.token(realm, service.as_deref(), scope.as_deref()).await?;
                format!("Bearer {token}")
            }
            _ => return Err(answer.refused().await),
        };
        let value = HeaderValue::try_from(&authorization).map_err(|error| self.error(get.path, error))?;
        let before = self
            .accepted
            .lock()
            .expect("no holder of the list panics")
            .insert(get.repository.to_owned(), value.clone());
        // The service gives the same again, and the registry refuses it.
        if before.as_ref() == Some(&value) { Err(answer.refused().await) } else { Ok(()) }
    }

    /// A token from a token service: of the credentials, or anonymous.
    async fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        scope: Option<&str>,
    ) -> Result<String, RemoteError> {
        let refused = |reason: String| self.error(&format!("(token service {realm})"), reason);
        let relative = realm.starts_with('/').then(|| format!("{}{realm}", base(&self.address)));
        let uri: Uri =
            relative.as_deref().unwrap_or(realm).parse().map_err(|error| refused(format!("{error}")))?;
        let address = Address::of_uri(&uri).map_err(refused)?;
        let mut path = uri.path().to_owned();
        let given = uri.query().map(str::to_owned);
        let parameter = |name: &str, value: Option<&str>| {
            value.map(|value| format!("{name}={}", mockreg_proto::query::encode(value)))
        };
        let query = given.into_iter().chain(parameter("service", service)).chain(parameter("scope", scope));
        path = format!("{path}?{}", query.collect::<Vec<_>>().join("&"));
        let basic = self.credentials.as_ref().map(Credentials::basic);
        let basic =
            basic.map(HeaderValue::try_from).transpose().map_err(|error| refused(error.to_string()))?;
        let answer = self.ask(&Arc::new(address), &path, "application/json", basic).await?;
        if answer.status != StatusCode::OK {
            return Err(answer.refused().await);
        }
        let text = answer.whole(MAX_TOKEN).await?;
        let token: Token = serde_json::from_slice(&text).map_err(|error| refused(error.to_string()))?;
        token.access_token.or(token.token).ok_or_else(|| refused("its answer holds no token".into()))
    }
}

/// What a token service answers, as far as it is needed.
#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

/// The URL of a registry without a repository.
fn base(address: &Address) -> String {
    let text = address.to_string();
    text.strip_suffix(address.repository().unwrap_or_default())
        .map_or(text.as_str(), |base| base.trim_end_matches('/'))
        .to_owned()
}

fn wanted_wait(headers: &HeaderMap) -> Duration {
    let wanted = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    wanted.map_or(WAIT, Duration::from_secs).min(MAX_WAIT)
}

fn with_cause(error: &hyper::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

impl Answer<'_> {
    fn failed(&self, reason: impl fmt::Display) -> RemoteError {
        RemoteError { url: self.url.clone(), reason: reason.to_string() }
    }

    /// The next piece of the body; `None` at its end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, RemoteError> {
        loop {
            match tokio::time::timeout(SILENCE, self.body.frame()).await {
                Ok(None) => {
                    if let Some(sender) = self.sender.take() {
                        self.connections.keep(&self.from, sender);
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

    /// The error that this answer is.
    async fn refused(mut self) -> RemoteError {
        let piece = self.next().await.ok().flatten().unwrap_or_default();
        let text: String = String::from_utf8_lossy(&piece).trim().chars().take(MAX_REASON).collect();
        let status = self.status;
        self.failed(format!("answered {status}{}{text}", if text.is_empty() { "" } else { ": " }))
    }

    /// Where a redirect leads.
    fn elsewhere(&self) -> Result<(Arc<Address>, String), RemoteError> {
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
        let same = (address.is_tls(), address.host(), address.port())
            == (self.from.is_tls(), self.from.host(), self.from.port());
        Ok((if same { Arc::clone(&self.from) } else { Arc::new(address) }, path))
    }
}
