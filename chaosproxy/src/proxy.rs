//! One proxy: its door (the listener), its toxics and the outages in force. Every change goes through here, one at
//! a time, and ends as new orders to the connections.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chaosproxy_path::{Attributes, AttributesError, Stream, Toxic as Realised};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::{JoinHandle, JoinSet};

use crate::connection;
use crate::listen::{self, ListenError};
use crate::live::{Entry, Ground, Live, Orders};
use crate::outage::{DEFAULT_SHARE, OutageKind};
use crate::toxic::Toxic;

/// How long an accept loop rests when the process has no descriptors left.
const ACCEPT_REST: Duration = Duration::from_millis(50);
/// How often a proxy whose port was taken during an outage tries to have it back, and how long it waits between.
const REOPEN_TRIES: u32 = 40;
const REOPEN_REST: Duration = Duration::from_millis(250);

/// Different shares of partial outages that a proxy decides about: each is a ledger line for every connection.
const SHARES: usize = 16;

/// What a proxy is made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxySpec {
    /// Its name in the API.
    pub name: String,
    /// Address it listens on; empty: a free port of loopback.
    pub listen: String,
    /// Address of the server behind it.
    pub upstream: String,
    /// What decisions and the ledger call it, where that is not its name.
    pub label: Option<String>,
    /// Whether it listens from the start.
    pub enabled: bool,
}

impl ProxySpec {
    /// An enabled proxy on a free port of loopback.
    pub fn new(name: impl Into<String>, upstream: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            listen: String::new(),
            upstream: upstream.into(),
            label: None,
            enabled: true,
        }
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
    /// The attributes make no sense.
    #[error(transparent)]
    Attributes(#[from] AttributesError),
    /// It cannot listen.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// There is no outage with that id.
    #[error("outage not found")]
    OutageNotFound,
    /// The server has been stopped.
    #[error("the server has been stopped")]
    Stopped,
}

/// A proxy as the API shows it.
#[derive(Clone, Debug)]
pub(crate) struct ProxyView {
    /// Its name.
    pub(crate) name: String,
    /// Resolved address if it has been started; what was asked for otherwise.
    pub(crate) listen: String,
    /// Address of the server behind it.
    pub(crate) upstream: String,
    /// Whether it is enabled; an outage does not change that.
    pub(crate) enabled: bool,
    /// Upstream toxics, then downstream ones, each in order of addition.
    pub(crate) toxics: Vec<Realised>,
    /// What decisions call it.
    pub(crate) label: String,
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
}

/// An outage in force at one proxy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Force {
    pub(crate) kind: OutageKind,
    pub(crate) share: Option<f64>,
}

#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) live: Arc<Live>,
    state: tokio::sync::Mutex<State>,
    /// Tasks of connections. They end by order; dropping the proxy ends them too.
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Debug)]
struct State {
    listen: String,
    upstream: String,
    enabled: bool,
    door: Door,
    toxics: Vec<Entry>,
    next_id: u64,
    outages: BTreeMap<u64, Force>,
    announced: Vec<f64>,
}

#[derive(Debug)]
enum Door {
    Closed,
    Open {
        address: SocketAddr,
        accepting: JoinHandle<()>,
    },
    /// Closed by an outage, the port kept.
    Reserved {
        address: SocketAddr,
        socket: TcpSocket,
    },
    /// Closed by an outage, the port lost.
    Lost {
        address: SocketAddr,
    },
}

impl Proxy {
    /// A proxy; it listens if the description says so.
    ///
    /// # Errors
    /// It cannot listen.
    pub(crate) async fn create(spec: &ProxySpec, ground: Ground) -> Result<Arc<Self>, ProxyError> {
        let label = spec.label.as_deref().unwrap_or(&spec.name);
        let live = Live::new(&spec.name, label, &spec.upstream, ground);
        let state = State {
            listen: spec.listen.clone(),
            upstream: spec.upstream.clone(),
            enabled: false,
            door: Door::Closed,
            toxics: Vec::new(),
            next_id: 1,
            outages: BTreeMap::new(),
            announced: Vec::new(),
        };
        let proxy = Arc::new(Self {
            live: Arc::new(live),
            state: tokio::sync::Mutex::new(state),
            tasks: Mutex::default(),
        });
        if spec.enabled {
            proxy.enable(&mut *proxy.state.lock().await).await?;
        }
        Ok(proxy)
    }

    pub(crate) async fn view(&self) -> ProxyView {
        let state = self.state.lock().await;
        let of = |stream| {
            state.toxics.iter().map(|entry| &entry.toxic).filter(move |toxic| toxic.stream() == stream)
        };
        ProxyView {
            name: self.live.name.to_string(),
            listen: state.listen.clone(),
            upstream: state.upstream.clone(),
            enabled: state.enabled,
            toxics: of(Stream::Upstream).chain(of(Stream::Downstream)).cloned().collect(),
            label: self.live.label.to_string(),
        }
    }

    /// Whether it has these addresses already.
    pub(crate) async fn is_at(&self, listen: &str, upstream: &str) -> bool {
        let state = self.state.lock().await;
        state.upstream == upstream && state.listens_on(listen).await
    }

    /// Changes addresses and turns on or off. Another address drops all connections; toxics stay.
    ///
    /// # Errors
    /// It cannot listen on the new address; it is disabled then, at that address.
    pub(crate) async fn update(self: &Arc<Self>, update: &ProxyUpdate) -> Result<(), ProxyError> {
        let mut state = self.state.lock().await;
        let upstream = update.upstream.clone().unwrap_or_else(|| state.upstream.clone());
        let moves = match &update.listen {
            Some(listen) => !state.listens_on(listen).await,
            None => false,
        };
        let enabled = update.enabled.unwrap_or(state.enabled);
        if moves || upstream != state.upstream {
            self.disable(&mut state).await;
            if let Some(listen) = update.listen.clone().filter(|_| moves) {
                state.listen = listen;
            }
            state.upstream.clone_from(&upstream);
            self.live.order(|orders| orders.upstream = upstream.into()).await;
        }
        match (enabled, state.enabled) {
            (true, false) => self.enable(&mut state).await,
            (false, true) => {
                self.disable(&mut state).await;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Enables it, ends its outages and removes all toxics.
    ///
    /// # Errors
    /// It cannot listen.
    pub(crate) async fn reset(self: &Arc<Self>) -> Result<(), ProxyError> {
        let mut state = self.state.lock().await;
        state.toxics.clear();
        state.outages.clear();
        state.announced.clear();
        self.publish(&state).await;
        if state.enabled { self.reconcile(&mut state).await } else { self.enable(&mut state).await }
    }

    /// Closes the door and every connection, for good.
    pub(crate) async fn stop(&self) {
        self.disable(&mut *self.state.lock().await).await;
        self.tasks().abort_all();
    }

    /// Adds a toxic behind the others of its direction. Live connections have it when this returns.
    ///
    /// # Errors
    /// The name is taken, or the attributes make no sense.
    pub(crate) async fn add_toxic(&self, toxic: &Toxic) -> Result<Realised, ProxyError> {
        let mut state = self.state.lock().await;
        if state.position(&toxic.name()).is_ok() {
            return Err(ProxyError::ToxicExists);
        }
        let toxic = toxic.realise()?;
        let id = state.next_id;
        state.next_id += 1;
        state.toxics.push(Entry { id, revision: 0, toxic: toxic.clone() });
        self.publish(&state).await;
        Ok(toxic)
    }

    /// Whether it has a toxic of that name.
    pub(crate) async fn has_toxic(&self, name: &str) -> bool {
        self.state.lock().await.position(name).is_ok()
    }

    /// Changes a toxic: all of it, or nothing.
    ///
    /// # Errors
    /// There is none of that name, `change` refuses, or the attributes make no sense.
    pub(crate) async fn update_toxic<E: From<ProxyError>>(
        &self,
        name: &str,
        change: impl FnOnce(&mut Attributes, &mut f32) -> Result<(), E>,
    ) -> Result<Realised, E> {
        let mut state = self.state.lock().await;
        let index = state.position(name)?;
        let entry = &mut state.toxics[index];
        let (mut attributes, mut toxicity) = (entry.toxic.attributes().clone(), entry.toxic.toxicity());
        change(&mut attributes, &mut toxicity)?;
        let now = self.live.ground.clock.now();
        entry.toxic = entry.toxic.updated(toxicity, attributes, now).map_err(ProxyError::from)?;
        entry.revision += 1;
        let toxic = entry.toxic.clone();
        self.publish(&state).await;
        Ok(toxic)
    }

    /// Removes a toxic; what it holds goes on at once.
    ///
    /// # Errors
    /// There is none of that name.
    pub(crate) async fn remove_toxic(&self, name: &str) -> Result<(), ProxyError> {
        let mut state = self.state.lock().await;
        let index = state.position(name)?;
        state.toxics.remove(index);
        self.publish(&state).await;
        Ok(())
    }

    /// Makes every connection from now on decide about a partial outage of this share, whenever that begins.
    pub(crate) async fn announce(&self, share: f64) {
        let mut state = self.state.lock().await;
        state.announce(share);
        self.publish(&state).await;
    }

    /// An outage begins.
    pub(crate) async fn begin(self: &Arc<Self>, id: u64, force: Force) {
        let mut state = self.state.lock().await;
        match force.kind {
            OutageKind::ResetAll => self.reset_live("outage:reset_all").await,
            OutageKind::Partial => state.announce(force.share.unwrap_or(DEFAULT_SHARE)),
            _ => {}
        }
        if !force.kind.is_instant() {
            state.outages.insert(id, force);
            self.publish(&state).await;
        }
        if let Err(error) = self.reconcile(&mut state).await {
            tracing::error!(proxy = %self.live.name, %error, "the outage could not change the listener");
        }
        if force.kind == OutageKind::Down {
            self.reset_live("outage:down").await;
        }
    }

    /// An outage ends. If its port was taken meanwhile, this tries for ten seconds to have it back.
    pub(crate) async fn end(self: &Arc<Self>, id: u64) {
        for attempt in 1..=REOPEN_TRIES {
            let mut state = self.state.lock().await;
            if state.outages.remove(&id).is_some() {
                self.publish(&state).await;
            }
            match self.reconcile(&mut state).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::error!(proxy = %self.live.name, %error, attempt, "cannot listen again");
                }
            }
            drop(state);
            tokio::time::sleep(REOPEN_REST).await;
        }
    }

    async fn reset_live(&self, fault: &'static str) {
        self.live
            .order(|orders| {
                orders.reset += 1;
                orders.reset_by = fault;
            })
            .await;
        self.live.emptied().await;
    }

    async fn enable(self: &Arc<Self>, state: &mut State) -> Result<(), ProxyError> {
        let address = listen::resolve(&state.listen).await?;
        let listener = listen::listen(address)?;
        let address = listener.local_addr().unwrap_or(address);
        state.listen = address.to_string();
        state.enabled = true;
        state.door = self.open(listener, address);
        self.reconcile(state).await
    }

    async fn disable(&self, state: &mut State) {
        state.enabled = false;
        state.door.close().await;
        self.live.order(|orders| orders.closed += 1).await;
        self.live.emptied().await;
    }

    /// Opens or closes the door as outages in force have it.
    async fn reconcile(self: &Arc<Self>, state: &mut State) -> Result<(), ProxyError> {
        let down = state.outages.values().any(|force| force.kind == OutageKind::Down);
        state.door = match (std::mem::replace(&mut state.door, Door::Closed), down) {
            (Door::Open { address, accepting }, true) => {
                shut(accepting).await;
                Door::Lost { address }.reserved()
            }
            (Door::Reserved { address, socket }, false) => match listen::open(socket, address) {
                Ok(listener) => self.open(listener, address),
                Err(error) => {
                    state.door = Door::Lost { address };
                    return Err(error.into());
                }
            },
            (Door::Lost { address }, false) => match listen::listen(address) {
                Ok(listener) => self.open(listener, address),
                Err(error) => {
                    state.door = Door::Lost { address };
                    return Err(error.into());
                }
            },
            (Door::Lost { address }, true) => Door::Lost { address }.reserved(),
            (door, _) => door,
        };
        Ok(())
    }

    fn open(self: &Arc<Self>, listener: TcpListener, address: SocketAddr) -> Door {
        let proxy = Arc::clone(self);
        Door::Open { address, accepting: tokio::spawn(async move { proxy.accept(listener).await }) }
    }

    async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((client, address)) => {
                    let visit = self.live.enter(address);
                    let mut tasks = self.tasks();
                    while tasks.try_join_next().is_some() {}
                    tasks.spawn(connection::serve(client, visit));
                }
                Err(error) => {
                    tracing::warn!(proxy = %self.live.name, %error, "cannot accept");
                    tokio::time::sleep(ACCEPT_REST).await;
                }
            }
        }
    }

    async fn publish(&self, state: &State) {
        self.live.order(|orders| state.write(orders)).await;
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        // Only spawning and joining happen under the lock.
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn position(&self, toxic: &str) -> Result<usize, ProxyError> {
        self.toxics.iter().position(|entry| **entry.toxic.name() == *toxic).ok_or(ProxyError::ToxicNotFound)
    }

    /// Whether an address is the one it has already, also by another name.
    async fn listens_on(&self, listen: &str) -> bool {
        if listen == self.listen {
            return true;
        }
        let (current, new) = (listen::resolve(&self.listen).await, listen::resolve(listen).await);
        matches!((current, new), (Ok(current), Ok(new)) if current == new && new.port() != 0)
    }

    fn announce(&mut self, share: f64) {
        if !self.announced.contains(&share) {
            if self.announced.len() == SHARES {
                self.announced.remove(0);
            }
            self.announced.push(share);
        }
    }

    fn write(&self, orders: &mut Orders) {
        let any = |kind| self.outages.values().any(|force| force.kind == kind);
        orders.toxics = self.toxics.clone().into();
        orders.black_hole = any(OutageKind::BlackHole);
        orders.silent = any(OutageKind::Silent);
        let partial = self.outages.values().filter(|force| force.kind == OutageKind::Partial);
        orders.partial = partial.map(|force| force.share.unwrap_or(DEFAULT_SHARE)).reduce(f64::max);
        orders.announced = self.announced.as_slice().into();
    }
}

/// Ends an accept loop. Its listener is closed once it is joined: from then on connections are refused.
async fn shut(accepting: JoinHandle<()>) {
    accepting.abort();
    let _aborted = accepting.await;
}

impl Door {
    async fn close(&mut self) {
        if let Self::Open { accepting, .. } = std::mem::replace(self, Self::Closed) {
            shut(accepting).await;
        }
    }

    /// Keeps the port of a door that is to stay closed for a while, if that is possible.
    fn reserved(self) -> Self {
        match self {
            Self::Lost { address } => match listen::reserve(address) {
                Ok(socket) => Self::Reserved { address, socket },
                Err(_) => Self::Lost { address },
            },
            door => door,
        }
    }
}
