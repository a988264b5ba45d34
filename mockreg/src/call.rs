//! One request in the hands of its handler: head, target, body, and the journal entry that follows it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, EXPECT, HOST, HeaderName};
use http::{HeaderMap, Method};
use mockreg_proto::digest::Digest;
use mockreg_proto::query::Query;
use mockreg_proto::reference::Reference;

use crate::auth::{Access, Sender};
use crate::core::Core;
use crate::exchange::Exchange;
use crate::inflow::{Broken, Inflow};
use crate::pace::Pace;
use crate::problem::{Fault, Problem};
use crate::quota::Client;
use crate::route::Target;

/// Most body bytes read after a refusal, so that the connection can serve the next request. More than that, and
/// closing is cheaper.
const DRAIN_BYTES: u64 = 256 << 10;
/// Longest wait for those bytes.
const DRAIN_TIME: Duration = Duration::from_millis(500);

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What a connection came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// The registry.
    Registry,
    /// The second listener, for downloads.
    Downloads,
}

/// How a connection came in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entrance {
    pub(crate) door: Door,
    /// The server's own address on it.
    pub(crate) local: SocketAddr,
    /// The client's.
    pub(crate) remote: SocketAddr,
    /// It is under TLS.
    pub(crate) secure: bool,
}

/// A request under way.
pub(crate) struct Call {
    pub(crate) core: Arc<Core>,
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) target: Target,
    pub(crate) query: Query,
    pub(crate) exchange: Exchange,
    /// What its sender may do; nothing until that was asked.
    pub(crate) access: Access,
    /// Who it counts against: an address, and a user once that was asked.
    pub(crate) client: Client,
    /// What every answer to it says, whatever else it says.
    pub(crate) notes: HeaderMap,
    entrance: Entrance,
    /// What the body draws on, and bytes that have come and are not yet paid for.
    pace: Option<Pace>,
    unpaid: usize,
    /// Host and port as the client has them.
    host: Option<String>,
    body: Inflow,
    /// The client waits for a go-ahead, which reading the body sends.
    waits: bool,
}

impl Call {
    /// Takes a request apart.
    pub(crate) fn new(
        core: Arc<Core>,
        request: http::Request<Inflow>,
        target: Target,
        exchange: Exchange,
        entrance: Entrance,
    ) -> Self {
        let (head, body) = request.into_parts();
        let waits = head.headers.contains_key(EXPECT);
        let query = Query::parse(head.uri.query());
        let authority = head.uri.authority().map(http::uri::Authority::as_str);
        let host = authority.or_else(|| head.headers.get(HOST)?.to_str().ok());
        Self {
            core,
            method: head.method,
            target,
            query,
            exchange,
            access: Access::Granted(Vec::new()),
            client: Client { address: entrance.remote.ip().to_canonical(), user: None },
            notes: HeaderMap::new(),
            entrance,
            pace: None,
            unpaid: 0,
            host: host.filter(|host| is_host(host)).map(ToOwned::to_owned),
            headers: head.headers,
            body,
            waits,
        }
    }

    /// Scheme, host and port under which the client reached this registry: what URLs for it begin with. A proxy in
    /// between may say by `X-Forwarded-Proto` that the client speaks TLS with it.
    pub(crate) fn origin(&self) -> String {
        let forwarded = self.header(&FORWARDED_PROTO).filter(|scheme| matches!(*scheme, "http" | "https"));
        match &self.host {
            Some(host) => format!("{}://{host}", forwarded.unwrap_or(self.scheme())),
            None => format!("{}://{}", forwarded.unwrap_or(self.scheme()), self.entrance.local),
        }
    }

    /// What URLs for another port of this server begin with: the host as the client has it, and that port.
    pub(crate) fn origin_at(&self, port: u16) -> String {
        let host = self.host.as_deref().map_or_else(|| self.entrance.local.ip().to_string(), without_port);
        format!("{}://{host}:{port}", self.scheme())
    }

    fn scheme(&self) -> &'static str {
        if self.entrance.secure { "https" } else { "http" }
    }

    /// Takes down who sent it.
    pub(crate) fn sent_by(&mut self, sender: Sender) {
        self.access = sender.access;
        self.client.user = sender.user;
    }

    /// Lets the body come no faster than `pace` allows.
    pub(crate) fn slow_down(&mut self, pace: Option<Pace>) {
        self.pace = pace;
    }

    /// Waits until what has come is allowed. If the future is dropped, the rest is waited for next time.
    async fn pay(&mut self) {
        let Some(pace) = &self.pace else { return };
        while self.unpaid > 0 {
            match pace.take(self.unpaid) {
                Ok(count) => self.unpaid -= count,
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    /// The repository.
    pub(crate) fn repository(&self) -> &str {
        &self.target.repository
    }

    /// A header as text; `None` where it is absent or not text.
    pub(crate) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The digest in the path.
    pub(crate) fn digest(&self) -> Result<Digest, Problem> {
        parse_digest(&self.target.reference)
    }

    /// The tag or digest in the path.
    pub(crate) fn reference(&self) -> Result<Reference, Problem> {
        use mockreg_proto::reference::NameError;
        self.target.reference.parse().map_err(|error: NameError| {
            let fault =
                if matches!(error, NameError::Digest(_)) { Fault::DigestInvalid } else { Fault::TagInvalid };
            Problem::new(fault, error.to_string())
        })
    }

    /// The `digest` parameter.
    pub(crate) fn digest_parameter(&self) -> Result<Digest, Problem> {
        let given = self.query.first("digest");
        parse_digest(
            given.ok_or_else(|| Problem::new(Fault::DigestInvalid, "the `digest` parameter is missing"))?,
        )
    }

    /// The announced length of the body; `None` where it comes in chunks.
    pub(crate) fn announced(&self) -> Option<u64> {
        let bare = || self.body.is_end().then_some(0);
        self.header(&CONTENT_LENGTH).and_then(|length| length.parse().ok()).or_else(bare)
    }

    /// The next piece of the body; `None` at its end. If the future is dropped, no byte is lost.
    ///
    /// # Errors
    /// The client went away, or sent nothing for too long.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        self.waits = false;
        self.pay().await;
        let idle = self.core.limits.body_idle;
        match tokio::time::timeout(idle, self.body.next()).await {
            Ok(None) => Ok(None),
            Ok(Some(Ok(bytes))) => {
                self.exchange.received(bytes.len() as u64);
                self.unpaid = bytes.len();
                Ok(Some(bytes))
            }
            Ok(Some(Err(Broken::Malformed(reason)))) => {
                self.exchange.broke("error:malformed_body");
                let detail = format!("the body is not in chunks as announced: {reason}");
                Err(Problem::new(Fault::BodyBroken, detail))
            }
            Ok(Some(Err(Broken::Gone))) => {
                self.exchange.broke("client_closed");
                Err(Problem::new(Fault::BodyBroken, "the body ended before what was announced had come"))
            }
            Err(_) => {
                self.exchange.broke("error:body_idle");
                Err(Problem::new(Fault::BodyIdle, format!("no byte of the body came for {idle:?}")))
            }
        }
    }

    /// Reads a little of a body that nobody wanted, so that the client can read why and go on.
    pub(crate) async fn drain(&mut self) {
        if self.waits || self.body.is_end() {
            return;
        }
        let read = async {
            let mut left = DRAIN_BYTES;
            while let Some(Ok(bytes)) = self.body.next().await {
                let count = bytes.len() as u64;
                self.exchange.received(count);
                let Some(rest) = left.checked_sub(count) else { return };
                left = rest;
            }
        };
        // What comes later is dropped with the connection.
        let _ = tokio::time::timeout(DRAIN_TIME, read).await;
    }
}

/// Whether `text` can stand in a URL as host and port: whatever else a client sends as its `Host` goes nowhere.
fn is_host(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    !text.is_empty() && text.bytes().all(fits)
}

/// The host of `host:port`, or of `host` alone.
fn without_port(host: &str) -> String {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            name.into()
        }
        _ => host.into(),
    }
}

/// A digest, or the answer to a malformed one.
pub(crate) fn parse_digest(text: &str) -> Result<Digest, Problem> {
    text.parse().map_err(|error: mockreg_proto::digest::DigestError| {
        Problem::new(Fault::DigestInvalid, error.to_string())
    })
}
