//! What a proxy and its connections share: the orders in force, who is connected, counts, and where decisions are
//! written down. Orders go one way, through a watch: a connection always sees the newest, never a queue of them,
//! and says which version it has applied.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use chaosproxy_path::{Identity, Stream, Toxic};
use mockreg_proto::seed::Seed;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

use crate::address::{Address, Dialect};
use crate::admission::Admission;
use crate::clock::Clock;
use crate::counters::{Counters, Outcome};
use crate::decisions::Decisions;
use crate::introduction::Introduction;
use crate::ledger::{Ledger, Whose};
use crate::pipe::Pipes;
use crate::ports::Route;
use crate::proxy_header::Header;
use crate::selection::{Selection, Subject};

/// How long a change waits for live connections to apply it. They do within microseconds; one that is busy closing
/// is not worth a hanging API.
const APPLY_WAIT: Duration = Duration::from_millis(250);
/// How long a stopping proxy waits for its connections to go.
const LEAVE_WAIT: Duration = Duration::from_secs(2);

/// What every proxy of a server needs.
#[derive(Clone, Debug)]
pub(crate) struct Ground {
    pub(crate) seed: Seed,
    pub(crate) clock: Clock,
    pub(crate) ledger: Arc<Ledger>,
    /// Bytes held for each direction of a connection.
    pub(crate) buffer_limit: u64,
    /// Lent to directions without toxics.
    pub(crate) pipes: Arc<Pipes>,
    /// Whether deviations from the reference are undone.
    pub(crate) strict_compat: bool,
}

impl Ground {
    /// How texts of addresses are read.
    pub(crate) const fn dialect(&self) -> Dialect {
        if self.strict_compat { Dialect::Reference } else { Dialect::Ours }
    }
}

/// One toxic in force. `id` tells it from another of the same name, `revision` from its earlier self.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) id: u64,
    pub(crate) revision: u64,
    pub(crate) toxic: Toxic,
    /// Its direction as it was spelt, for the API.
    pub(crate) stream: Arc<str>,
    /// The connections it is for.
    pub(crate) only: Arc<Selection>,
}

/// How connections are to behave from now on.
#[derive(Clone, Debug)]
pub(crate) struct Orders {
    pub(crate) version: u64,
    /// Where new connections go, by the port they came to.
    pub(crate) route: Arc<Route>,
    pub(crate) toxics: Arc<[Entry]>,
    /// Nothing moves.
    pub(crate) black_hole: bool,
    /// New connections are never answered.
    pub(crate) silent: bool,
    /// The share of new connections that is reset at once.
    pub(crate) partial: Option<f64>,
    /// Terms for new connections.
    pub(crate) admission: Admission,
    /// How new connections are introduced.
    pub(crate) introduction: Introduction,
    /// Shares of partial outages in force or announced: decided, and written down, for each new connection.
    pub(crate) announced: Arc<[f64]>,
    /// Connections accepted before the last such moment are closed, or reset.
    pub(crate) closed: u64,
    pub(crate) reset: u64,
    /// Which outage reset them.
    pub(crate) reset_by: &'static str,
}

/// When a connection was accepted, in terms of orders.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Born {
    closed: u64,
    reset: u64,
}

/// An order that ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kill {
    /// Close it, dropping what it holds.
    Close,
    /// Reset it, because of this fault.
    Reset(&'static str),
}

impl Orders {
    pub(crate) fn new(route: Route) -> Self {
        Self {
            version: 1,
            route: Arc::new(route),
            toxics: Arc::new([]),
            black_hole: false,
            silent: false,
            partial: None,
            admission: Admission::default(),
            introduction: Introduction::default(),
            announced: Arc::new([]),
            closed: 0,
            reset: 0,
            reset_by: "",
        }
    }

    pub(crate) fn kills(&self, born: Born) -> Option<Kill> {
        match () {
            () if self.reset > born.reset => Some(Kill::Reset(self.reset_by)),
            () if self.closed > born.closed => Some(Kill::Close),
            () => None,
        }
    }

    const fn now(&self) -> Born {
        Born { closed: self.closed, reset: self.reset }
    }
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionState {
    /// Waiting for the PROXY header or the TLS hello that it begins with.
    Reading,
    /// Connecting to the upstream server.
    Dialing,
    /// Forwarding.
    Open,
    /// Held by a black hole, a delay before the dial, or the limit of connections.
    Held,
    /// Accepted during a silent outage: never answered.
    Silent,
    /// Stalled by a cut.
    Stalled,
    /// Being closed or reset.
    Closing,
}

impl ConnectionState {
    /// Its name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reading => "reading",
            Self::Dialing => "dialing",
            Self::Open => "open",
            Self::Held => "held",
            Self::Silent => "silent",
            Self::Stalled => "stalled",
            Self::Closing => "closing",
        }
    }
}

const STATES: [ConnectionState; 7] = [
    ConnectionState::Reading,
    ConnectionState::Dialing,
    ConnectionState::Open,
    ConnectionState::Held,
    ConnectionState::Silent,
    ConnectionState::Stalled,
    ConnectionState::Closing,
];

/// A live connection, as `GET /connections` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionView {
    /// Name of the proxy.
    pub proxy: String,
    /// Label of the proxy.
    pub label: String,
    /// Place in the order of accepted connections, from 1.
    pub ordinal: u64,
    /// Address of the client, that of its PROXY header where it sent one; `unix:` for one of the unix domain, which
    /// mostly has none.
    pub client: String,
    /// The port of the proxy that it came to; 0 where that listens in the unix domain.
    #[serde(default)]
    pub port: u16,
    /// The name it asks for as a TLS client, where that was looked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sni: Option<String>,
    /// Milliseconds since the server started when it was accepted.
    pub opened_ms: u64,
    /// Milliseconds since then.
    pub age_ms: u64,
    /// What it is doing.
    pub state: ConnectionState,
    /// Bytes delivered to the server.
    pub bytes_upstream: u64,
    /// Bytes delivered to the client.
    pub bytes_downstream: u64,
    /// The toxics of its proxy, in order, and which of them affect it.
    pub toxics: Vec<ConnectionToxic>,
}

/// What a toxic means for one connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionToxic {
    /// Name of the toxic.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its direction.
    pub stream: Stream,
    /// Whether it is for this connection, and its toxicity hit it.
    pub affects: bool,
}

/// The proxy's record of one connection.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) ordinal: u64,
    pub(crate) born: Born,
    pub(crate) client: Address,
    /// The port of the proxy that it came to; 0 where that listens in the unix domain.
    pub(crate) port: u16,
    /// Where it comes from: known at once, unless it has to send a PROXY header first or is of the unix domain.
    source: OnceLock<SocketAddr>,
    sni: OnceLock<String>,
    opened_ms: u64,
    state: AtomicU8,
    /// Version of the orders it follows; the highest number where it follows none any more, or not yet.
    applied: AtomicU64,
    delivered: [AtomicU64; 2],
}

impl Record {
    pub(crate) fn set_state(&self, state: ConnectionState) {
        self.state.store(state as u8, Relaxed);
    }

    pub(crate) fn delivered(&self, stream: Stream, bytes: u64) {
        self.delivered[stream as usize].fetch_add(bytes, Relaxed);
    }

    /// The name it asks for is known now.
    pub(crate) fn asks_for(&self, name: String) {
        let _known_already = self.sni.set(name);
    }

    /// What is known of it, to those who select.
    fn subject(&self) -> Subject<'_> {
        let sni = self.sni.get().map(String::as_str);
        Subject { source: self.source.get().copied(), port: self.port, sni }
    }

    fn view(&self, live: &Live) -> ConnectionView {
        let (identity, subject) = (live.identity(self.ordinal), self.subject());
        let toxics = Arc::clone(&live.orders.borrow().toxics);
        ConnectionView {
            proxy: live.name.to_string(),
            label: live.label.to_string(),
            ordinal: self.ordinal,
            client: subject.source.map_or_else(|| self.client.to_string(), |source| source.to_string()),
            port: self.port,
            sni: subject.sni.map(str::to_owned),
            opened_ms: self.opened_ms,
            age_ms: live.ground.clock.now_ms().saturating_sub(self.opened_ms),
            state: STATES[usize::from(self.state.load(Relaxed)) % STATES.len()],
            bytes_upstream: self.delivered[Stream::Upstream as usize].load(Relaxed),
            bytes_downstream: self.delivered[Stream::Downstream as usize].load(Relaxed),
            toxics: toxics.iter().map(|entry| ConnectionToxic::of(entry, &subject, &identity)).collect(),
        }
    }
}

impl ConnectionToxic {
    fn of(Entry { toxic, only, .. }: &Entry, subject: &Subject<'_>, identity: &Identity) -> Self {
        Self {
            name: toxic.name().to_string(),
            kind: toxic.attributes().kind().to_owned(),
            stream: toxic.stream(),
            affects: only.selects(subject) && toxic.hits(identity),
        }
    }
}

/// The shared part of a proxy.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) name: Arc<str>,
    pub(crate) label: Arc<str>,
    pub(crate) ground: Ground,
    pub(crate) counters: Counters,
    pub(crate) orders: watch::Sender<Orders>,
    /// Whether the last dial succeeded.
    pub(crate) is_reachable: AtomicBool,
    records: Mutex<BTreeMap<u64, Arc<Record>>>,
    ordinals: AtomicU64,
    /// Rings when a connection applied orders or left.
    news: Notify,
}

impl Live {
    pub(crate) fn new(name: &str, label: &str, route: Route, ground: Ground) -> Self {
        Self {
            name: name.into(),
            label: label.into(),
            ground,
            counters: Counters::default(),
            orders: watch::Sender::new(Orders::new(route)),
            is_reachable: AtomicBool::new(true),
            records: Mutex::default(),
            ordinals: AtomicU64::new(0),
            news: Notify::new(),
        }
    }

    /// Registers a connection that was just accepted.
    pub(crate) fn enter(self: &Arc<Self>, client: Address, port: u16) -> Visit {
        let orders = self.orders.subscribe();
        let (born, introduction) = {
            let orders = orders.borrow();
            (orders.now(), orders.introduction)
        };
        let known = client.inet().filter(|_| !introduction.accept_proxy);
        let source = known.map_or_else(OnceLock::new, OnceLock::from);
        let record = Arc::new(Record {
            ordinal: self.ordinals.fetch_add(1, SeqCst) + 1,
            born,
            client,
            port,
            source,
            sni: OnceLock::new(),
            opened_ms: self.ground.clock.now_ms(),
            state: AtomicU8::new(ConnectionState::Dialing as u8),
            applied: AtomicU64::new(u64::MAX),
            delivered: Default::default(),
        });
        self.counters.open.fetch_add(1, Relaxed);
        self.records().insert(record.ordinal, Arc::clone(&record));
        // Last: what begins with this connection finds it.
        self.counters.accept();
        Visit {
            live: Arc::clone(self),
            record,
            orders,
            introduction,
            header: None,
            decisions: Decisions::default(),
            outcome: Outcome::Stopped,
            counted: Vec::new(),
        }
    }

    /// The identity decisions about a connection are made under.
    pub(crate) fn identity(&self, ordinal: u64) -> Identity {
        Identity::new(self.ground.seed, Arc::clone(&self.label), ordinal)
    }

    /// Where in its period a flap of this proxy begins: a share of it that the seed and the label decide.
    pub(crate) fn flap_phase(&self) -> f64 {
        let labels = [b"outage".as_slice(), b"flap", self.label.as_bytes(), b"phase"];
        // 2^53 steps: exactly what an f64 between 0 and 1 can tell apart.
        (self.ground.seed.child(labels).draw() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// What the ledger knows a connection by.
    pub(crate) const fn whose(&self, ordinal: u64) -> Whose<'_> {
        Whose { proxy: &self.name, label: &self.label, ordinal }
    }

    /// A connection says which orders it follows now.
    pub(crate) fn applied(&self, record: &Record, version: u64) {
        record.applied.store(version, SeqCst);
        self.news.notify_waiters();
    }

    /// Gives new orders, and waits until every live connection follows them.
    pub(crate) async fn order(&self, change: impl FnOnce(&mut Orders)) {
        let mut version = 0;
        self.orders.send_modify(|orders| {
            change(orders);
            orders.version += 1;
            version = orders.version;
        });
        let all = |record: &Record| record.applied.load(SeqCst) >= version;
        self.until(APPLY_WAIT, |records| records.values().all(|record| all(record))).await;
    }

    /// Waits until the connections that were ordered to go are gone.
    pub(crate) async fn emptied(&self) {
        let orders = self.orders.borrow().clone();
        self.until(LEAVE_WAIT, |records| records.values().all(|record| orders.kills(record.born).is_none()))
            .await;
    }

    /// Whether a connection is one of the first so many that are there, in the order of acceptance; those that are
    /// being closed do not count.
    pub(crate) fn is_among_first(&self, ordinal: u64, count: u64) -> bool {
        let closing = ConnectionState::Closing as u8;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let records = self.records();
        let before = records.range(..ordinal).filter(|(_, record)| record.state.load(Relaxed) != closing);
        before.take(count).count() < count
    }

    /// Waits until it is.
    pub(crate) async fn until_among_first(&self, ordinal: u64, count: u64) {
        loop {
            let news = self.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            if self.is_among_first(ordinal, count) {
                return;
            }
            news.await;
        }
    }

    async fn until(&self, limit: Duration, done: impl Fn(&BTreeMap<u64, Arc<Record>>) -> bool) {
        let wait = async {
            loop {
                let news = self.news.notified();
                tokio::pin!(news);
                news.as_mut().enable();
                if done(&self.records()) {
                    return;
                }
                news.await;
            }
        };
        if tokio::time::timeout(limit, wait).await.is_err() {
            tracing::warn!(proxy = %self.name, "some connections have not followed an order yet");
        }
    }

    pub(crate) fn connections(&self) -> Vec<ConnectionView> {
        self.records().values().map(|record| record.view(self)).collect()
    }

    fn records(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Record>>> {
        // Entries are inserted and removed whole.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's stay at its proxy: it is registered as long as this lives.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) live: Arc<Live>,
    pub(crate) record: Arc<Record>,
    pub(crate) orders: watch::Receiver<Orders>,
    /// How it is introduced, since it was accepted.
    pub(crate) introduction: Introduction,
    /// The PROXY header it began with.
    pub(crate) header: Option<Header>,
    pub(crate) decisions: Decisions,
    /// How it ended; stays at "stopped" if its task is dropped in the middle.
    pub(crate) outcome: Outcome,
    /// The toxics that were counted as affecting it.
    counted: Vec<u64>,
}

impl Visit {
    /// Its PROXY header has come.
    pub(crate) fn introduced(&mut self, header: Header) {
        let named = header.addresses.map(|(source, _)| source);
        if let Some(source) = named.or(self.record.client.inet()) {
            let _known_already = self.record.source.set(source);
        }
        self.header = Some(header);
    }

    /// Whether a toxic of this kind is for it now.
    pub(crate) fn has(&self, kind: &str) -> bool {
        let (orders, subject) = (self.orders.borrow(), self.record.subject());
        let is_meant =
            |entry: &Entry| entry.toxic.attributes().kind() == kind && entry.only.selects(&subject);
        orders.toxics.iter().any(is_meant)
    }

    /// Whether its first bytes are to be looked at before it is served.
    pub(crate) fn needs_introduction(&self) -> bool {
        self.introduction.accept_proxy || self.needs_name()
    }

    /// Whether the name it asks for matters.
    pub(crate) fn needs_name(&self) -> bool {
        let (orders, subject) = (self.orders.borrow(), self.record.subject());
        self.introduction.peek_sni || orders.toxics.iter().any(|entry| entry.only.hinges_on_name(&subject))
    }

    /// The newest orders, with the toxics that are for this connection; unless they (or the end of the proxy) end it.
    /// What these toxics decide is written down.
    pub(crate) fn consult(&mut self) -> Result<Orders, Kill> {
        let mut orders = self.orders.borrow_and_update().clone();
        let subject = self.record.subject();
        let is_for = |entry: &&Entry| entry.only.selects(&subject);
        if !orders.toxics.iter().all(|entry| is_for(&entry)) {
            orders.toxics = orders.toxics.iter().filter(is_for).cloned().collect();
        }
        self.decisions.follow(&self.live, self.record.ordinal, &orders.toxics);
        self.count(&orders.toxics);
        orders.kills(self.record.born).map_or(Ok(orders), Err)
    }

    /// Counts each toxic that affects this connection, once.
    fn count(&mut self, toxics: &[Entry]) {
        let identity = self.live.identity(self.record.ordinal);
        for Entry { id, toxic, .. } in toxics {
            if !self.counted.contains(id) && toxic.hits(&identity) {
                self.counted.push(*id);
                self.live.counters.affected(toxic);
            }
        }
    }

    /// Waits for newer orders.
    pub(crate) async fn changed(&mut self) -> Result<(), Kill> {
        self.orders.changed().await.map_err(|_| Kill::Close)
    }

    /// Waits until orders end this connection.
    pub(crate) async fn killed(&mut self) -> Kill {
        loop {
            if let Err(kill) = self.consult() {
                return kill;
            }
            if let Err(kill) = self.changed().await {
                return kill;
            }
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.decisions.settle(&self.live);
        self.live.records().remove(&self.record.ordinal);
        self.live.counters.open.fetch_sub(1, Relaxed);
        let age = self.live.ground.clock.now_ms().saturating_sub(self.record.opened_ms);
        self.live.counters.ended(self.outcome, age);
        self.live.news.notify_waiters();
    }
}
