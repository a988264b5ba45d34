//! One proxy: its doors (the listeners), its toxics and the outages in force. Every change goes through here, one at
//! a time, and ends as new orders to the connections.

mod door;
mod spec;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chaosproxy_path::{Attributes, Protocol, Stream};
use mockreg_proto::seed::Seed;
use tokio::task::{JoinHandle, JoinSet};

use crate::address::{self, Address, Entrance, Listener};
use crate::connection;
use crate::datagrams::{self, Room};
use crate::introduction::Introduction;
use crate::listen::ListenError;
use crate::live::{Entry, Ground, Live};
use crate::outage::{DEFAULT_SHARE, OutageKind};
use crate::protocol;
use crate::toxic::Toxic;

use door::Door;
pub use spec::{ProxyError, ProxySpec};
pub(crate) use spec::{ProxyUpdate, ProxyView, check_name};
pub(crate) use state::Force;
use state::State;

/// How long an accept loop rests when the process has no descriptors left.
const ACCEPT_REST: Duration = Duration::from_millis(50);
/// How often a proxy whose port was taken during an outage tries to have it back, and how long it waits between.
const REOPEN_TRIES: u32 = 40;
const REOPEN_REST: Duration = Duration::from_millis(250);

/// What one that met a connection holds would have to go, and one that comes to it would stand behind the others.
const FIXED: ProxyError = ProxyError::Unsuited(
    "the type, stream and connections of a toxic cannot be changed; remove it and add it again",
);

/// A proxy. Whoever changes it holds its state until its connections follow.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) live: Arc<Live>,
    protocol: Protocol,
    /// The seed of its own, where one was given.
    seed: Option<u64>,
    state: tokio::sync::Mutex<State>,
    /// What its flows of datagrams may hold together.
    room: Arc<Room>,
    /// Tasks of connections. They end by order; dropping the proxy ends them too.
    tasks: Mutex<JoinSet<()>>,
}

impl Proxy {
    /// A proxy; it listens if the description says so.
    ///
    /// # Errors
    /// It cannot listen, or the description contradicts itself.
    pub(crate) async fn create(spec: &ProxySpec, ground: Ground) -> Result<Arc<Self>, ProxyError> {
        let protocol = ground.dialect().protocol(&spec.listen, &spec.upstream)?;
        check_terms(protocol, spec.admission.idle_timeout_ms, spec.introduction)?;
        let label = spec.label.as_deref().unwrap_or(&spec.name);
        let ground = Ground { seed: spec.seed.map_or(ground.seed, Seed::root), ..ground };
        let route = ground.dialect().route(&spec.listen, &spec.upstream)?;
        let live = Live::new(&spec.name, label, route, ground);
        let room = Room::new(live.ground.buffer_limit);
        let proxy = Arc::new(Self {
            live: Arc::new(live),
            protocol,
            seed: spec.seed,
            state: tokio::sync::Mutex::new(State::new(spec, protocol)),
            room,
            tasks: Mutex::default(),
        });
        let mut state = proxy.state.lock().await;
        for toxic in &spec.toxics {
            proxy.attach(&mut state, toxic)?;
        }
        proxy.publish(&state).await;
        if spec.enabled {
            proxy.enable(&mut state).await?;
        }
        drop(state);
        Ok(proxy)
    }

    pub(crate) async fn view(&self) -> ProxyView {
        let state = self.state.lock().await;
        let of = |stream| state.toxics.iter().filter(move |entry| entry.toxic.stream() == stream);
        ProxyView {
            name: self.live.name.to_string(),
            listen: state.listen.clone(),
            upstream: state.upstream.clone(),
            enabled: state.enabled,
            toxics: of(Stream::Upstream).chain(of(Stream::Downstream)).cloned().collect(),
            label: self.live.label.to_string(),
            seed: self.seed,
            admission: state.admission,
            introduction: state.introduction,
            addresses: state.doors.iter().filter_map(Door::address).cloned().collect(),
        }
    }

    /// Whether it is as described already: its addresses, and its label and seed as far as they are given.
    ///
    /// # Errors
    /// The address described is none, or contradicts the other.
    pub(crate) async fn is_as(&self, spec: &ProxySpec) -> Result<bool, ProxyError> {
        let decides_alike = spec.label.as_deref().is_none_or(|label| *label == *self.live.label)
            && spec.seed.is_none_or(|seed| Some(seed) == self.seed);
        if self.live.ground.dialect().protocol(&spec.listen, &spec.upstream)? != self.protocol {
            return Ok(false);
        }
        let state = self.state.lock().await;
        let listens_alike = state.listens_on(&spec.listen, self.live.ground.dialect()).await?;
        Ok(decides_alike && state.upstream == spec.upstream && listens_alike)
    }

    /// Changes addresses and turns on or off. Another address drops all connections; toxics stay.
    ///
    /// # Errors
    /// The new address is none, and nothing is done; or it cannot listen there, and is disabled then, at that address.
    pub(crate) async fn update(self: &Arc<Self>, update: &ProxyUpdate) -> Result<(), ProxyError> {
        let mut state = self.state.lock().await;
        let upstream = update.upstream.clone().unwrap_or_else(|| state.upstream.clone());
        // Without an address, a free port of what it carries.
        let new_listen = update.listen.as_deref().map(|listen| match listen {
            "" => protocol::joined(self.protocol, ""),
            listen => listen.to_owned(),
        });
        let dialect = self.live.ground.dialect();
        address::check_upstream(&upstream, dialect)?;
        let listen = new_listen.as_ref().unwrap_or(&state.listen);
        let route = dialect.route(listen, &upstream)?;
        let moves = match &new_listen {
            Some(listen) => !state.listens_on(listen, dialect).await?,
            None => false,
        };
        let enabled = update.enabled.unwrap_or(state.enabled);
        self.check_protocol(update)?;
        let (terms, introduction) = (update.terms(state.admission), update.introduction(state.introduction));
        if (terms, introduction) != (state.admission, state.introduction) {
            (state.admission, state.introduction) = (terms, introduction);
            self.publish(&state).await;
        }
        if moves || upstream != state.upstream {
            self.disable(&mut state).await;
            if let Some(listen) = new_listen.filter(|_| moves) {
                state.listen = listen;
            }
            state.upstream = upstream;
            self.live.order(|orders| orders.route = route.into()).await;
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

    /// Ends its outages, enables it and removes all toxics.
    ///
    /// # Errors
    /// It cannot listen; its toxics stay then.
    pub(crate) async fn reset(self: &Arc<Self>) -> Result<(), ProxyError> {
        let mut state = self.state.lock().await;
        state.outages.clear();
        state.announced.clear();
        self.publish(&state).await;
        if state.enabled { self.reconcile(&mut state).await } else { self.enable(&mut state).await }?;
        state.toxics.clear();
        self.publish(&state).await;
        Ok(())
    }

    /// Ends its outages, closes the door and every connection.
    pub(crate) async fn turn_off(&self) {
        let mut state = self.state.lock().await;
        state.outages.clear();
        self.disable(&mut state).await;
    }

    /// Closes the door and every connection, for good.
    pub(crate) async fn stop(&self) {
        self.turn_off().await;
        self.tasks().abort_all();
    }

    /// Adds a toxic behind the others of its direction. Live connections have it when this returns.
    ///
    /// # Errors
    /// The name is taken, or the attributes make no sense.
    pub(crate) async fn add_toxic(&self, toxic: &Toxic) -> Result<Entry, ProxyError> {
        let mut state = self.state.lock().await;
        let entry = self.attach(&mut state, toxic)?;
        self.publish(&state).await;
        Ok(entry)
    }

    fn attach(&self, state: &mut State, toxic: &Toxic) -> Result<Entry, ProxyError> {
        if state.position(&toxic.name()).is_ok() {
            return Err(ProxyError::ToxicExists);
        }
        let (stream, only) = (toxic.stream_as_spelt().into(), Arc::new(toxic.only.clone()));
        let toxic = self.make(toxic)?;
        let entry = Entry { id: state.next_id, revision: 0, toxic, stream, only };
        state.next_id += 1;
        self.roll_before(state, usize::MAX, entry.toxic.stream());
        state.toxics.push(entry.clone());
        Ok(entry)
    }

    /// A toxic as it would be here, added to nothing.
    ///
    /// # Errors
    /// It is of another protocol, or the attributes make no sense.
    pub(crate) fn make(&self, toxic: &Toxic) -> Result<chaosproxy_path::Toxic, ProxyError> {
        made(toxic, self.protocol, self.live.ground.strict_compat)
    }

    /// The toxic of that name as it is now.
    pub(crate) async fn toxic(&self, name: &str) -> Option<chaosproxy_path::Toxic> {
        let state = self.state.lock().await;
        state.position(name).ok().map(|index| state.toxics[index].toxic.clone())
    }

    /// What it carries.
    pub(crate) const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Refuses what another protocol would have; a proxy keeps the one it was made with.
    fn check_protocol(&self, update: &ProxyUpdate) -> Result<(), ProxyError> {
        check_terms(self.protocol, update.idle_timeout_ms, update.introduction(Introduction::default()))?;
        if self.live.ground.strict_compat {
            return Ok(());
        }
        let listen = update.listen.as_ref().filter(|listen| !listen.is_empty());
        let mut addresses = listen.into_iter().chain(&update.upstream);
        if addresses.any(|address| protocol::split(address).0 != self.protocol) {
            return Err(ProxyError::Unsuited(
                "a proxy goes on carrying what it was made for: connections, or datagrams (udp://); make another",
            ));
        }
        Ok(())
    }

    /// Whether it has a toxic of that name.
    pub(crate) async fn has_toxic(&self, name: &str) -> bool {
        self.toxic(name).await.is_some()
    }

    /// Changes a toxic: all of it, or nothing. `change` is told what it is so far.
    ///
    /// # Errors
    /// There is none of that name, `change` refuses, or the attributes make no sense.
    pub(crate) async fn update_toxic<E: From<ProxyError>>(
        &self,
        name: &str,
        change: impl FnOnce(&Entry, &mut Attributes, &mut f32) -> Result<(), E>,
    ) -> Result<Entry, E> {
        let mut state = self.state.lock().await;
        let index = state.position(name)?;
        let entry = &mut state.toxics[index];
        let (mut attributes, mut toxicity) = (entry.toxic.attributes().clone(), entry.toxic.toxicity());
        change(entry, &mut attributes, &mut toxicity)?;
        let now = self.live.ground.clock.now();
        entry.toxic = entry.toxic.updated(toxicity, attributes, now).map_err(ProxyError::from)?;
        if self.live.ground.strict_compat {
            entry.toxic = entry.toxic.rolled_again();
        }
        entry.revision += 1;
        let entry = entry.clone();
        self.publish(&state).await;
        Ok(entry)
    }

    /// Gives the toxic of the same name other attributes and another toxicity.
    ///
    /// # Errors
    /// There is none of that name, it is of another type or direction or for other connections, or the attributes make
    /// no sense.
    pub(crate) async fn replace_toxic(&self, toxic: &Toxic) -> Result<Entry, ProxyError> {
        self.update_toxic(&toxic.name(), |known, attributes, toxicity| {
            let is_fixed = known.toxic.stream() == toxic.stream
                && *known.only == toxic.only
                && attributes.kind() == toxic.attributes.kind();
            if !is_fixed {
                return Err(FIXED);
            }
            (*attributes, *toxicity) = (toxic.attributes.clone(), toxic.toxicity);
            Ok(())
        })
        .await
    }

    /// Removes a toxic; what it holds goes on at once.
    ///
    /// # Errors
    /// There is none of that name.
    pub(crate) async fn remove_toxic(&self, name: &str) -> Result<(), ProxyError> {
        let mut state = self.state.lock().await;
        let index = state.position(name)?;
        let removed = state.toxics.remove(index);
        self.roll_before(&mut state, index, removed.toxic.stream());
        self.publish(&state).await;
        Ok(())
    }

    /// Where the reference is followed, a toxic decides anew about every connection when the next of its direction
    /// comes or goes: the one before place `index`.
    fn roll_before(&self, state: &mut State, index: usize, stream: Stream) {
        let before = state.toxics.iter_mut().take(index).rfind(|entry| entry.toxic.stream() == stream);
        if let Some(entry) = before.filter(|_| self.live.ground.strict_compat) {
            entry.toxic = entry.toxic.rolled_again();
            entry.revision += 1;
        }
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
        if force.kind.is_down() {
            let is_flap = force.kind == OutageKind::Flap;
            self.reset_live(if is_flap { "outage:flap" } else { "outage:down" }).await;
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
        let dialect = self.live.ground.dialect();
        let addresses = Address::resolve_all(&state.listen, dialect).await.map_err(ListenError::from)?;
        let is_bare = self.live.ground.strict_compat && state.listen.starts_with(':');
        let bind = |address: &Address| {
            address::listen(address)
                .map_err(|error| if is_bare { error.of_bare(&state.listen) } else { error })
        };
        // All of them, or none: those before one that fails are given back.
        let bound = addresses.iter().map(bind).collect::<Result<Vec<_>, _>>()?;
        state.doors =
            bound.into_iter().map(|bound| Door::open(bound, |entrance| self.open(entrance))).collect();
        state.enabled = true;
        if let [door] = &state.doors[..]
            && let Some(address) = door.address()
        {
            state.listen = address.to_string();
        }
        self.reconcile(state).await
    }

    async fn disable(&self, state: &mut State) {
        state.enabled = false;
        for door in &mut state.doors {
            door.close().await;
        }
        state.doors.clear();
        self.live.order(|orders| orders.closed += 1).await;
        self.live.emptied().await;
    }

    /// Opens or shuts the doors as outages in force have it.
    async fn reconcile(self: &Arc<Self>, state: &mut State) -> Result<(), ProxyError> {
        let is_down = state.is_down();
        let mut all = Ok(());
        for door in &mut state.doors {
            all = all.and(door.settle(is_down, |entrance| self.open(entrance)).await);
        }
        Ok(all?)
    }

    fn open(self: &Arc<Self>, entrance: Entrance) -> JoinHandle<()> {
        let proxy = Arc::clone(self);
        match entrance {
            Entrance::Streams(listener) => tokio::spawn(async move { proxy.accept(listener).await }),
            Entrance::Datagrams(socket) => {
                let (live, room) = (Arc::clone(&self.live), Arc::clone(&self.room));
                let spawn = move |visit, client| proxy.spawn(datagrams::converse(visit, client));
                tokio::spawn(datagrams::serve(socket, live, room, spawn))
            }
        }
    }

    async fn accept(self: Arc<Self>, listener: Listener) {
        let port = listener.port();
        loop {
            match listener.accept_stream().await {
                Ok((client, address)) => {
                    let visit = self.live.enter(address, port);
                    self.spawn(connection::serve(client, visit));
                }
                Err(error) => {
                    tracing::warn!(proxy = %self.live.name, %error, "cannot accept");
                    tokio::time::sleep(ACCEPT_REST).await;
                }
            }
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    async fn publish(&self, state: &State) {
        self.live.order(|orders| state.write(orders)).await;
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        // Only spawning and joining happen under the lock.
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A toxic as it would be at a proxy of that protocol.
///
/// # Errors
/// No request can reach what is called so, it is of another protocol, or the attributes make no sense.
pub(crate) fn made(
    toxic: &Toxic,
    protocol: Protocol,
    is_strict: bool,
) -> Result<chaosproxy_path::Toxic, ProxyError> {
    if !is_strict {
        check_name(&toxic.name())?;
    }
    // The reference has this one for streams.
    let is_known = is_strict && matches!(toxic.attributes, Attributes::PacketLoss { .. });
    if let Some(reason) = toxic.attributes.refused_by(protocol).filter(|_| !is_known) {
        return Err(ProxyError::ToxicType(reason));
    }
    if protocol == Protocol::Udp && toxic.only.names() {
        return Err(ProxyError::Unsuited(
            "only.sni is of connections; datagrams (udp://) are not looked into",
        ));
    }
    Ok(toxic.realise(protocol, is_strict)?)
}

/// Refuses terms that a proxy of that protocol does not have.
fn check_terms(
    protocol: Protocol,
    idle_timeout_ms: Option<u64>,
    introduction: Introduction,
) -> Result<(), ProxyError> {
    match protocol {
        Protocol::Tcp if idle_timeout_ms.is_some_and(|idle| idle > 0) => Err(ProxyError::Unsuited(
            "idle_timeout_ms is of flows of datagrams (udp://); connections end when their ends do",
        )),
        Protocol::Udp if introduction != Introduction::default() => Err(ProxyError::Unsuited(
            "accept_proxy, send_proxy and peek_sni are of connections; datagrams (udp://) have nothing before them",
        )),
        _ => Ok(()),
    }
}
