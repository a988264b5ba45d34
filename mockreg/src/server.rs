//! A running registry: its ports, the threads that serve them, and the handle to all of it. It runs on a runtime of
//! its own, so it can be started from anywhere and is never starved by whoever started it.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use mockreg_proto::journal::Record;
use mockreg_proto::reference::{Reference, RepositoryName};
use mockreg_synth::Tables;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{Semaphore, watch};

use crate::admin::{self, Document};
use crate::assertions;
use crate::auth::Guard;
use crate::budget::Budget;
use crate::cache::CacheDir;
use crate::call::Door;
use crate::config::{Builder, StartError};
use crate::connection::{self, STOP_GRACE, Windows};
use crate::content::{SEGMENT, Storage};
use crate::core::Core;
use crate::counters::Counters;
use crate::exchange::Telemetry;
use crate::held::HeldImage;
use crate::images::Images;
use crate::journal::Journal;
use crate::journal_file::JournalFile;
use crate::pace::Paces;
use crate::quota::Meters;
use crate::redirect::Redirector;
use crate::sink::Workshop;
use crate::spill::Spill;
use crate::store::Store;
use crate::upload::Uploads;

/// Connections served at once; later ones wait in the kernel's queue. Above what one machine's file descriptors
/// usually allow.
const MAX_CONNECTIONS: usize = 16_384;
/// Connections the kernel holds until they are accepted: a burst of a thousand clients is not refused.
const BACKLOG: i32 = 1024;
/// After the system had no file descriptor left, the next attempt comes so much later.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Threads for digests and building. They burn a processor each, so more would only wait.
const BLOCKING_THREADS: usize = 16;

/// A running registry. Dropping it stops it.
#[derive(Debug)]
pub struct Registry {
    registry_addr: SocketAddr,
    admin_addr: SocketAddr,
    downloads_addr: Option<SocketAddr>,
    core: Arc<Core>,
    runtime: Handle,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Registry {
    /// A registry to be set up and started.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn start(builder: Builder) -> Result<Self, StartError> {
        let registry = listen("registry", builder.listen)?;
        let admin = listen("admin", builder.admin)?;
        let downloads = builder.redirect_blobs.map(|address| listen("downloads", address)).transpose()?;
        let local = |listener: &StdListener| listener.local_addr().map_err(StartError::Thread);
        let (registry_addr, admin_addr) = (local(&registry)?, local(&admin)?);
        let downloads_addr = downloads.as_ref().map(local).transpose()?;
        let (threads, name) = (builder.threads, format!("mockreg-{}", builder.name));
        let core = Arc::new(core(builder, downloads_addr)?);
        let (stop, stopped) = watch::channel(false);
        let serving = serve(Arc::clone(&core), Listeners { registry, admin, downloads }, stopped);
        let (thread, runtime) = own_thread(threads, name, serving).map_err(StartError::Thread)?;
        let thread = Some(thread);
        Ok(Self { registry_addr, admin_addr, downloads_addr, core, runtime, stop, thread })
    }

    /// The address of the registry port.
    pub fn registry_addr(&self) -> SocketAddr {
        self.registry_addr
    }

    /// The address of the admin port.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin_addr
    }

    /// The address of the second listener, where downloads of blobs are redirected to it.
    pub fn downloads_addr(&self) -> Option<SocketAddr> {
        self.downloads_addr
    }

    /// The base URL of the second listener, where downloads of blobs are redirected to it.
    pub fn downloads_url(&self) -> Option<String> {
        Some(format!("{}://{}", self.scheme(), self.downloads_addr?))
    }

    fn scheme(&self) -> &'static str {
        if self.core.tls.is_some() { "https" } else { "http" }
    }

    /// The base URL of the registry port: `http://127.0.0.1:5000`, or `https://…` where it speaks TLS.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme(), self.registry_addr)
    }

    /// The certificate of the registry's own authority, as PEM, for clients to trust. `None` without TLS, and where the
    /// certificate was given.
    pub fn ca_certificate(&self) -> Option<&str> {
        self.core.tls.as_ref()?.authority.as_deref()
    }

    /// The base URL of the admin port.
    pub fn admin_url(&self) -> String {
        format!("http://{}", self.admin_addr)
    }

    /// Every line that the journal still holds, with assertions about them.
    pub fn journal(&self) -> assertions::Journal {
        self.core.telemetry.settle();
        let journal = &self.core.telemetry.journal;
        let dropped = journal.extent().dropped;
        let mut records: Vec<Record> = Vec::new();
        loop {
            let batch = journal.after(records.last().map_or(0, |record| record.seq));
            if batch.is_empty() {
                return assertions::Journal::with_lost(records, dropped);
            }
            records.extend(batch);
        }
    }

    /// What has been counted since the start or the last reset, and what is held now.
    pub fn counters(&self) -> Counters {
        self.core.counters()
    }

    /// What `repository` holds under `reference`, a tag or a digest: pushed, from the catalogue, or made from its
    /// name. `None` if nothing. Waits for digests that are not computed yet.
    pub fn image(&self, repository: &str, reference: &str) -> Option<HeldImage> {
        let reference = reference.parse::<Reference>().ok()?;
        let repository = repository.parse::<RepositoryName>().ok()?;
        let core = Arc::clone(&self.core);
        let (found, held) = std::sync::mpsc::sync_channel(1);
        self.runtime.spawn(async move {
            // Whoever asks waits, so somebody is there.
            drop(found.send(core.held(repository.as_str(), &reference).await));
        });
        held.recv().ok().flatten()
    }

    /// Forgets uploads, pushed content, journal and counters, and stamps `run_id` into the journal from now on; the
    /// catalogue stays.
    pub fn reset(&self, run_id: Option<&str>) {
        self.core.reset(run_id);
    }

    /// Stops serving and waits until everything has ended: at most about a second, for requests under way.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A panic in there was reported where it happened.
            let _ = thread.join();
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.end();
    }
}

/// The tables of the process, which keep what they compute where the first registry told them to.
pub(crate) fn tables(cache: &CacheDir) -> Arc<Tables> {
    let tables = Tables::shared();
    if cache.keeps() {
        tables.keep_in(Arc::new(cache.clone()));
    }
    tables
}

fn core(builder: Builder, downloads: Option<SocketAddr>) -> Result<Core, StartError> {
    let journal_file = match builder.journal_file {
        None => None,
        Some(path) => match JournalFile::create(&path) {
            Ok(file) => Some(file),
            Err(source) => return Err(StartError::JournalFile { path, source }),
        },
    };
    let tls = builder.tls.map(|tls| tls.terminator(builder.listen.ip()));
    let spill = match builder.spill {
        None => None,
        Some(path) => match Spill::open(&path, SEGMENT) {
            Ok(spill) => Some(spill),
            Err(source) => return Err(StartError::Spill { path, source }),
        },
    };
    let storage = Storage { budget: Budget::new(builder.memory_budget), spill };
    let tables = tables(&builder.cache);
    let images = Images::new(Arc::clone(&tables), builder.cache, builder.seed, builder.on_demand);
    images.replace(builder.plan);
    Ok(Core {
        workshop: Workshop { tables, storage },
        images,
        document: Document::new(builder.given),
        store: Store::default(),
        uploads: Uploads::new(builder.seed, &builder.name, builder.upload_idle),
        telemetry: Arc::new(Telemetry::new(Journal::new(&builder.name, journal_file))),
        tls: tls.transpose().map_err(StartError::Tls)?,
        windows: Windows::default(),
        limits: builder.limits,
        redirects: downloads.map(|address| Redirector::new(builder.policy.redirects.clone(), address.port())),
        auth: Guard::new(builder.auth, builder.policy.tokens.clone()),
        meters: Meters::new(&builder.policy.quotas),
        paces: Paces::new(builder.policy.bandwidth),
        policy: builder.policy,
    })
}

/// A listening socket. The address may be in use by connections that are ending, but by no other listener.
fn listen(port: &'static str, address: SocketAddr) -> Result<StdListener, StartError> {
    let open = || -> io::Result<StdListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    };
    open().map_err(|source| StartError::Listen { port, address, source })
}

/// A thread with a runtime of its own. The runtime is made and dropped there, for the caller may be inside another
/// one, which does not allow that.
fn own_thread(
    threads: Option<usize>,
    name: String,
    serving: impl Future<Output = io::Result<()>> + Send + 'static,
) -> io::Result<(JoinHandle<()>, Handle)> {
    let (started, made) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name("mockreg".into()).spawn(move || {
        // Whoever starts a registry waits for one of these messages.
        match runtime(threads, name) {
            Err(error) => drop(started.send(Err(error))),
            Ok(runtime) => {
                drop(started.send(Ok(runtime.handle().clone())));
                run(runtime, serving);
            }
        }
    })?;
    let handle = made.recv().expect("the thread reports before anything else")?;
    Ok((thread, handle))
}

fn runtime(threads: Option<usize>, name: String) -> io::Result<Runtime> {
    let processors = || std::thread::available_parallelism().map_or(1, Into::into);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads.unwrap_or_else(processors))
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_name(name)
        .enable_all()
        .build()
}

fn run(runtime: Runtime, serving: impl Future<Output = io::Result<()>>) {
    if let Err(error) = runtime.block_on(serving) {
        tracing::error!(%error, "the registry stopped serving");
    }
    // Digests that are being computed cannot be interrupted; they are not waited for.
    runtime.shutdown_timeout(Duration::from_millis(100));
}

/// The ports.
struct Listeners {
    registry: StdListener,
    admin: StdListener,
    downloads: Option<StdListener>,
}

/// Serves all ports until told to stop.
async fn serve(core: Arc<Core>, listeners: Listeners, mut stop: watch::Receiver<bool>) -> io::Result<()> {
    let registry = TcpListener::from_std(listeners.registry)?;
    let admin = TcpListener::from_std(listeners.admin)?;
    let downloads = listeners.downloads.map(TcpListener::from_std).transpose()?;
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let preparing = tokio::spawn({
        let core = Arc::clone(&core);
        async move { core.images.prepare().await }
    });
    let sweeping = tokio::spawn(sweep(Arc::clone(&core)));
    let administering = tokio::spawn(admin::serve(Arc::clone(&core), admin, stop.clone()));
    let doors = Doors { core: &core, connections: &connections, stop: stop.clone(), next: AtomicU64::new(1) };
    tokio::select! {
        () = doors.accept(&registry, Door::Registry) => {}
        () = doors.accept_downloads(downloads.as_ref()) => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
    drop((registry, downloads));
    preparing.abort();
    sweeping.abort();
    // Each connection gives its permit back when it has ended, within its own grace.
    let all = u32::try_from(MAX_CONNECTIONS).expect("a bound of some thousands");
    let grace = STOP_GRACE + Duration::from_millis(200);
    if tokio::time::timeout(grace, connections.acquire_many(all)).await.is_err() {
        tracing::warn!("some connections did not end in time and are cut");
    }
    administering.abort();
    Ok(())
}

/// What the listeners share.
struct Doors<'a> {
    core: &'a Arc<Core>,
    connections: &'a Arc<Semaphore>,
    stop: watch::Receiver<bool>,
    /// The ordinal of the next connection.
    next: AtomicU64,
}

impl Doors<'_> {
    /// Accepts connections for ever.
    async fn accept(&self, listener: &TcpListener, door: Door) {
        loop {
            let permit = Arc::clone(self.connections).acquire_owned().await;
            let permit = permit.expect("nobody closes the semaphore");
            let stream = next(listener).await;
            let conn = self.next.fetch_add(1, Ordering::Relaxed);
            self.core.telemetry.metrics.connections.inc();
            let (core, stop) = (Arc::clone(self.core), self.stop.clone());
            tokio::spawn(async move {
                connection::serve(core, stream, conn, door, stop).await;
                drop(permit);
            });
        }
    }

    /// As [`Doors::accept`], if there is a second listener.
    async fn accept_downloads(&self, listener: Option<&TcpListener>) {
        match listener {
            Some(listener) => self.accept(listener, Door::Downloads).await,
            None => std::future::pending().await,
        }
    }
}

async fn next(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            // The client has gone already.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn sweep(core: Arc<Core>) {
    let mut ticks = tokio::time::interval(core.uploads.sweep_interval());
    loop {
        ticks.tick().await;
        core.uploads.sweep();
    }
}
