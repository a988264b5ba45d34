//! A running proxy server: its API, its proxies, and a runtime of its own, so that it is never starved by the
//! program it is embedded in and can be started and stopped from anywhere.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mockreg_proto::seed::Seed;
use thiserror::Error;
use tokio::task::JoinHandle;

use crate::address::{Address, Listener};
use crate::api::{self, Endpoint};
use crate::clock::Clock;
use crate::handle::{self, ProxyHandle};
use crate::ledger::{Ledger, LedgerLine};
use crate::listen::{self, AddressError};
use crate::live::{ConnectionView, Ground};
use crate::outage::{Manner, Outage, OutageKind};
use crate::proxies::Proxies;
use crate::proxy::{Proxy, ProxyError, ProxySpec, ProxyView};
use crate::timeline::{Schedule, Timeline, TimelineError, TimelineView};
use crate::token::{Guard, Token};
use crate::unix::{self, SocketFile, UnixAddress};
use crate::workers::Workers;

/// Bytes held for each direction of a connection, where nothing else is asked for.
pub const DEFAULT_BUFFER_LIMIT: u64 = 128 << 20;
/// The least that works: a read and its bookkeeping.
pub(crate) const LEAST_BUFFER_LIMIT: u64 = 64 << 10;
/// Connections the kernel queues for the API; a client is accepted within microseconds.
const API_BACKLOG: u32 = 128;

/// Why a server did not start. What is behind it is the error's source.
#[derive(Debug, Error)]
pub enum StartError {
    /// The API's address is in use or not of this machine. Choose another, or stop what is there.
    #[error("cannot serve the API on {address}")]
    Api {
        /// The address.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The ledger file cannot be created.
    #[error("cannot create the ledger {}", path.display())]
    Ledger {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A proxy it was to start with failed.
    #[error("proxy {name}")]
    Proxy {
        /// Its name.
        name: String,
        /// Why.
        source: ProxyError,
    },
    /// The system gives no threads.
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
}

/// What the API works on.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) proxies: Arc<Proxies>,
    pub(crate) timeline: Schedule,
    pub(crate) guard: Guard,
    /// Metrics that were asked for; they decide whether there are any where the reference is followed strictly.
    pub(crate) proxy_metrics: bool,
    pub(crate) runtime_metrics: bool,
}

impl Core {
    /// Whether deviations from the reference are undone.
    pub(crate) fn is_strict(&self) -> bool {
        self.proxies.ground.strict_compat
    }

    /// Whether an endpoint is there.
    pub(crate) fn serves(&self, endpoint: &Endpoint) -> bool {
        let is_hidden = self.is_strict() && !self.proxy_metrics && !self.runtime_metrics;
        *endpoint != Endpoint::Metrics || !is_hidden
    }
}

/// Settings of a server to be started.
#[derive(Clone, Debug)]
pub struct Builder {
    api: Address,
    token: Option<Token>,
    seed: u64,
    ledger: Option<PathBuf>,
    buffer_limit: u64,
    threads: Option<usize>,
    strict_compat: bool,
    proxy_metrics: bool,
    runtime_metrics: bool,
    proxies: Vec<ProxySpec>,
}

impl Builder {
    /// Address of the API; a free port of loopback by default.
    #[must_use]
    pub fn api(mut self, address: SocketAddr) -> Self {
        self.api = Address::Tcp(address);
        self
    }

    /// A socket's file for the API instead, `unix:PATH`, which only the user this runs as may connect to.
    ///
    /// # Errors
    /// It is no such address.
    pub fn api_socket(mut self, address: &str) -> Result<Self, AddressError> {
        self.api = Address::Unix(UnixAddress::parse(address)?);
        Ok(self)
    }

    /// What every request has to show, but those for `/version` and `/healthz`; nothing by default.
    #[must_use]
    pub fn token(mut self, token: Token) -> Self {
        self.token = Some(token);
        self
    }

    /// Root of every decision; 1 by default.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// A file for the ledger, beside the ring in memory.
    #[must_use]
    pub fn ledger_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ledger = Some(path.into());
        self
    }

    /// Bytes held for each direction of a connection; 128 MiB by default, at least 64 KiB.
    #[must_use]
    pub const fn buffer_limit(mut self, bytes: u64) -> Self {
        self.buffer_limit = bytes;
        self
    }

    /// Threads of its runtime; one for each processor by default.
    #[must_use]
    pub const fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Undoes every deviation from Toxiproxy that a client could depend on.
    #[must_use]
    pub const fn strict_compat(mut self, strict: bool) -> Self {
        self.strict_compat = strict;
        self
    }

    /// Toxiproxy's metrics of proxies. They are always there, but for strict compatibility.
    #[must_use]
    pub const fn proxy_metrics(mut self, wanted: bool) -> Self {
        self.proxy_metrics = wanted;
        self
    }

    /// The process, under the names that Go's runtime has for such things.
    #[must_use]
    pub const fn runtime_metrics(mut self, wanted: bool) -> Self {
        self.runtime_metrics = wanted;
        self
    }

    /// A proxy to start with. Enabled ones listen before [`Builder::start`] returns.
    #[must_use]
    pub fn proxy(mut self, spec: ProxySpec) -> Self {
        self.proxies.push(spec);
        self
    }

    /// Starts; returns when the API and all proxies listen.
    ///
    /// # Errors
    /// An address is busy, the ledger file cannot be created, or there are no threads.
    pub fn start(self) -> Result<Server, StartError> {
        let ledger = Ledger::open(self.ledger.as_deref()).map_err(|source| {
            let path = self.ledger.clone().unwrap_or_default();
            StartError::Ledger { path, source }
        })?;
        let ground = Ground {
            seed: Seed::root(self.seed),
            clock: Clock::start(),
            ledger: Arc::new(ledger),
            buffer_limit: self.buffer_limit.max(LEAST_BUFFER_LIMIT),
            pipes: Arc::default(),
            strict_compat: self.strict_compat,
        };
        let workers = Workers::start(self.threads).map_err(StartError::Runtime)?;
        let proxies = Arc::new(Proxies::new(ground));
        let core = Arc::new(Core {
            timeline: Schedule::new(Arc::clone(&proxies)),
            proxies,
            guard: Guard::new(self.token),
            proxy_metrics: self.proxy_metrics,
            runtime_metrics: self.runtime_metrics,
        });
        let mut server =
            Server { core, api: self.api.clone(), file: None, serving: None, workers: Some(workers) };
        let core = Arc::clone(&server.core);
        let opened = server.run(async move { open(&self.api, &self.proxies, core).await });
        let (api, file, serving) = opened.unwrap_or_else(|_| {
            Err(StartError::Runtime(io::Error::other("the runtime stopped while starting")))
        })?;
        (server.api, server.file, server.serving) = (api, file, Some(serving));
        Ok(server)
    }
}

/// Opens the API's port or socket, then the proxies, then serves.
async fn open(
    address: &Address,
    proxies: &[ProxySpec],
    core: Arc<Core>,
) -> Result<(Address, Option<SocketFile>, JoinHandle<()>), StartError> {
    let bound = open_api(address);
    let (listener, address, file) =
        bound.map_err(|source| StartError::Api { address: address.to_string(), source })?;
    for spec in proxies {
        let created = core.proxies.create(spec).await;
        created.map_err(|source| StartError::Proxy { name: spec.name.clone(), source })?;
    }
    Ok((address, file, tokio::spawn(api::serve(listener, core))))
}

fn open_api(address: &Address) -> io::Result<(Listener, Address, Option<SocketFile>)> {
    match address {
        Address::Tcp(address) => {
            let listener = listen::reserve(*address)?.listen(API_BACKLOG)?;
            let address = listener.local_addr()?;
            Ok((Listener::tcp(listener)?, Address::Tcp(address), None))
        }
        Address::Unix(address) => {
            let (listener, file) = unix::listen_privately(address)?;
            Ok((listener, Address::Unix(address.clone()), file))
        }
        // Nothing that sets the API's address makes one of these.
        Address::Udp(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub struct Server {
    core: Arc<Core>,
    api: Address,
    file: Option<SocketFile>,
    /// The API.
    serving: Option<JoinHandle<()>>,
    workers: Option<Workers>,
}

impl Server {
    /// Settings with their defaults.
    pub const fn builder() -> Builder {
        Builder {
            api: Address::Tcp(SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0)),
            token: None,
            seed: 1,
            ledger: None,
            buffer_limit: DEFAULT_BUFFER_LIMIT,
            threads: None,
            strict_compat: false,
            proxy_metrics: false,
            runtime_metrics: false,
            proxies: Vec::new(),
        }
    }

    /// Where the API listens.
    ///
    /// # Panics
    /// It is on a socket's file, which was asked for by [`Builder::api_socket`]; [`Server::url`] names that.
    pub fn api_addr(&self) -> SocketAddr {
        self.api.inet().unwrap_or_else(|| panic!("the API is on {}", self.api))
    }

    /// Base URL of the API: `http://127.0.0.1:8474`, or `unix:/run/api.sock`.
    pub fn url(&self) -> String {
        match &self.api {
            Address::Tcp(address) => format!("http://{address}"),
            other => other.to_string(),
        }
    }

    /// From now on the API asks for this token.
    pub fn set_token(&self, token: Token) {
        self.core.guard.change(token);
    }

    /// Creates a proxy.
    ///
    /// # Errors
    /// The name is taken, a field is missing, or it cannot listen.
    pub fn create(&self, spec: ProxySpec) -> Result<ProxyHandle, ProxyError> {
        let core = Arc::clone(&self.core);
        let (proxy, view) = self.run(async move {
            let proxy = core.proxies.create(&spec).await?;
            let view = proxy.view().await;
            Ok::<_, ProxyError>((proxy, view))
        })??;
        Ok(self.handle(proxy, view))
    }

    /// A proxy by its name.
    pub fn proxy(&self, name: &str) -> Option<ProxyHandle> {
        let (core, name) = (Arc::clone(&self.core), name.to_owned());
        let found = self.run(async move {
            let proxy = core.proxies.get(&name).await?;
            let view = proxy.view().await;
            Ok::<_, ProxyError>((proxy, view))
        });
        let (proxy, view) = found.ok()?.ok()?;
        Some(self.handle(proxy, view))
    }

    /// Removes a proxy and closes its connections.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn remove(&self, name: &str) -> Result<(), ProxyError> {
        let (core, name) = (Arc::clone(&self.core), name.to_owned());
        self.run(async move { core.proxies.remove(&name).await })?
    }

    /// Begins an outage; it is in force when this returns, and ends by itself after `time`, where one is given.
    ///
    /// # Errors
    /// There is no proxy of that name.
    pub fn outage(
        &self,
        proxy: &str,
        kind: OutageKind,
        time: Option<Duration>,
    ) -> Result<Outage, ProxyError> {
        self.outage_of(proxy, kind, Manner::default(), time)
    }

    /// The same with what the kind alone does not say: the share of a partial outage, the period of a flap.
    ///
    /// # Errors
    /// There is no proxy of that name, or an outage of that kind does not go so.
    pub fn outage_of(
        &self,
        proxy: &str,
        kind: OutageKind,
        manner: Manner,
        time: Option<Duration>,
    ) -> Result<Outage, ProxyError> {
        let manner = manner.of(kind).map_err(ProxyError::Outage)?;
        let (core, name) = (Arc::clone(&self.core), proxy.to_owned());
        let for_ms = time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        self.run(async move {
            let proxy = core.proxies.get(&name).await?;
            Ok(core.proxies.outages.begin(proxy, kind, manner, for_ms).await)
        })?
    }

    /// Ends an outage.
    ///
    /// # Errors
    /// There is none with that id in force.
    pub fn end_outage(&self, id: u64) -> Result<(), ProxyError> {
        let core = Arc::clone(&self.core);
        self.run(async move { core.proxies.outages.end(id).await })?
    }

    /// Replaces a timeline that is idle or finished.
    ///
    /// # Errors
    /// An event that cannot be, or another timeline that is running.
    pub fn put_timeline(&self, timeline: Timeline) -> Result<(), TimelineError> {
        let core = Arc::clone(&self.core);
        self.run(async move { core.timeline.put(&timeline).await }).unwrap_or(Err(TimelineError::Missing))
    }

    /// Starts the timeline.
    ///
    /// # Errors
    /// There is none, or it is running.
    pub fn start_timeline(&self) -> Result<(), TimelineError> {
        let core = Arc::clone(&self.core);
        self.run(async move { core.timeline.start() }).unwrap_or(Err(TimelineError::Missing))
    }

    /// Ends and forgets the timeline; what it has in force ends with it.
    pub fn clear_timeline(&self) {
        let core = Arc::clone(&self.core);
        let _nothing_runs_after_a_stop = self.run(async move { core.timeline.clear().await });
    }

    /// The timeline and how it goes.
    pub fn timeline(&self) -> TimelineView {
        self.core.timeline.view()
    }

    /// The ledger's lines in memory, oldest first.
    pub fn ledger(&self) -> Vec<LedgerLine> {
        self.core.proxies.ground.ledger.lines()
    }

    /// Live connections.
    pub fn connections(&self) -> Vec<ConnectionView> {
        let core = Arc::clone(&self.core);
        self.run(async move { core.proxies.connections().await }).unwrap_or_default()
    }

    /// Stops: closes the API, the proxies and their connections, and writes the rest of the ledger.
    pub fn stop(mut self) {
        self.shut_down();
    }

    fn shut_down(&mut self) {
        let (core, serving) = (Arc::clone(&self.core), self.serving.take());
        let closed = self.run(async move {
            if let Some(serving) = serving {
                serving.abort();
                let _cancelled = serving.await;
            }
            core.timeline.clear().await;
            core.proxies.stop().await;
        });
        let Some(workers) = self.workers.take() else { return };
        drop(self.file.take());
        debug_assert!(closed.is_ok(), "the runtime is there, and nothing in it panics");
        self.core.proxies.ground.ledger.close();
        workers.stop();
    }

    fn handle(&self, proxy: Arc<Proxy>, view: ProxyView) -> ProxyHandle {
        let runtime = self.workers.as_ref().map(|workers| workers.handle().clone());
        ProxyHandle::new(proxy, runtime, view)
    }

    fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, ProxyError> {
        handle::run(self.workers.as_ref().map(Workers::handle), work)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shut_down();
    }
}
