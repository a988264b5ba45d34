//! What a proxy is made from, how it is shown and changed, and why something was not done.

use chaosproxy_path::AttributesError;
use thiserror::Error;

use crate::address::Address;
use crate::admission::{Admission, OverLimit};
use crate::introduction::Introduction;
use crate::listen::{AddressError, ListenError};
use crate::live::Entry;
use crate::ports::PortsError;
use crate::protocol::MixedProtocols;
use crate::proxy_header::ProxyProtocol;
use crate::toxic::Toxic;

/// What a proxy is made from.
#[derive(Clone, Debug, PartialEq)]
pub struct ProxySpec {
    /// Its name in the API.
    pub name: String,
    /// Address it listens on, `HOST:PORT`, `HOST:8666-8697` for all of these ports, `unix:PATH`, or `udp://HOST:PORT` for
    /// datagrams; empty: a free port of loopback.
    pub listen: String,
    /// Address of the server behind it, in the same forms; where `listen` has a range of ports, one for all or as many.
    pub upstream: String,
    /// What decisions and the ledger call it, where that is not its name.
    pub label: Option<String>,
    /// Root of its decisions, where that is not the server's: the n-th connection decides what it would in a server
    /// started with this seed.
    pub seed: Option<u64>,
    /// Whether it listens from the start.
    pub enabled: bool,
    /// Terms for new connections.
    pub admission: Admission,
    /// How connections are introduced.
    pub introduction: Introduction,
    /// Its toxics from the start, in order: the first connection meets them.
    pub toxics: Vec<Toxic>,
}

impl ProxySpec {
    /// An enabled proxy on a free port of loopback.
    pub fn new(name: impl Into<String>, upstream: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            listen: String::new(),
            upstream: upstream.into(),
            label: None,
            seed: None,
            enabled: true,
            admission: Admission::default(),
            introduction: Introduction::default(),
            toxics: Vec::new(),
        }
    }

    /// With this toxic from the start, behind the others of its direction.
    #[must_use]
    pub fn toxic(mut self, toxic: Toxic) -> Self {
        self.toxics.push(toxic);
        self
    }
}

/// Why something asked of a proxy was not done.
#[derive(Debug, Error)]
pub enum ProxyError {
    /// There is no proxy of that name.
    #[error("proxy not found")]
    NotFound,
    /// There is one of that name already.
    #[error("proxy already exists")]
    Exists,
    /// The proxy has no toxic of that name.
    #[error("toxic not found")]
    ToxicNotFound,
    /// It has one of that name already.
    #[error("toxic already exists")]
    ToxicExists,
    /// A name or an upstream address is missing.
    #[error("missing required field: {0}")]
    MissingField(String),
    /// It is to be called `.` or `..`, which are steps in a path: no request could reach it.
    #[error("no request can reach what is called {0}: choose another name")]
    Name(String),
    /// The attributes make no sense.
    #[error(transparent)]
    Attributes(#[from] AttributesError),
    /// The new address is none. The proxy goes on as it was.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A range of ports is impossible, or those of `listen` and `upstream` do not go together. Nothing was done.
    #[error(transparent)]
    Ports(#[from] PortsError),
    /// It cannot listen.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// One address is of datagrams and the other is not.
    #[error(transparent)]
    Protocols(#[from] MixedProtocols),
    /// A proxy of that protocol does not have such a thing, or a toxic does not change in that.
    #[error("{0}")]
    Unsuited(&'static str),
    /// A proxy of that protocol does not have toxics of that kind.
    #[error("invalid toxic type: {0}")]
    ToxicType(&'static str),
    /// No outage of that kind goes so.
    #[error("{0}")]
    Outage(String),
    /// There is no outage with that id.
    #[error("outage not found")]
    OutageNotFound,
    /// The server has been stopped.
    #[error("the server has been stopped")]
    Stopped,
}

/// Whether requests can name something so.
///
/// # Errors
/// It is a step in a path.
pub(crate) fn check_name(name: &str) -> Result<(), ProxyError> {
    match name {
        "." | ".." => Err(ProxyError::Name(name.to_owned())),
        _ => Ok(()),
    }
}

/// A proxy as the API shows it.
#[derive(Clone, Debug)]
pub(crate) struct ProxyView {
    /// Its name.
    pub(crate) name: String,
    /// Resolved address if it has been started; what was asked for otherwise, and of several ports in any case.
    pub(crate) listen: String,
    /// Address of the server behind it.
    pub(crate) upstream: String,
    /// Whether it is enabled; an outage does not change that.
    pub(crate) enabled: bool,
    /// Upstream toxics, then downstream ones, each in order of addition.
    pub(crate) toxics: Vec<Entry>,
    /// What decisions call it.
    pub(crate) label: String,
    /// The seed of its own, where one was given.
    pub(crate) seed: Option<u64>,
    /// Terms for new connections.
    pub(crate) admission: Admission,
    /// How connections are introduced.
    pub(crate) introduction: Introduction,
    /// The addresses it really has, an outage or not; none if it is disabled.
    pub(crate) addresses: Vec<Address>,
}

/// A change of a proxy; what is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProxyUpdate {
    /// Another address to listen on.
    pub(crate) listen: Option<String>,
    /// Another server.
    pub(crate) upstream: Option<String>,
    /// On or off.
    pub(crate) enabled: Option<bool>,
    /// Another delay before the dial.
    pub(crate) accept_delay_ms: Option<u64>,
    /// Another limit of connections; zero is none.
    pub(crate) max_connections: Option<u64>,
    /// Another fate of those beyond.
    pub(crate) over_limit: Option<OverLimit>,
    /// Whether a PROXY header is required from now on.
    pub(crate) accept_proxy: Option<bool>,
    /// The header that servers are sent from now on; the inner `None` is none.
    pub(crate) send_proxy: Option<Option<ProxyProtocol>>,
    /// Whether names are looked for in any case.
    pub(crate) peek_sni: Option<bool>,
    /// Another time that flows of datagrams last without one; zero is the usual one.
    pub(crate) idle_timeout_ms: Option<u64>,
}

impl ProxyUpdate {
    /// The terms for new connections after this change.
    pub(crate) fn terms(&self, current: Admission) -> Admission {
        let positive = |new: Option<u64>, current| match new {
            Some(new) => Some(new).filter(|new| *new > 0),
            None => current,
        };
        Admission {
            accept_delay_ms: self.accept_delay_ms.unwrap_or(current.accept_delay_ms),
            max_connections: positive(self.max_connections, current.max_connections),
            over_limit: self.over_limit.unwrap_or(current.over_limit),
            idle_timeout_ms: positive(self.idle_timeout_ms, current.idle_timeout_ms),
        }
    }

    /// How connections are introduced after this change.
    pub(crate) fn introduction(&self, current: Introduction) -> Introduction {
        Introduction {
            accept_proxy: self.accept_proxy.unwrap_or(current.accept_proxy),
            send_proxy: self.send_proxy.unwrap_or(current.send_proxy),
            peek_sni: self.peek_sni.unwrap_or(current.peek_sni),
        }
    }
}
