//! Handles of a running server: its proxies, driven from synchronous and asynchronous programs alike.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};

use tokio::runtime::Handle;

use crate::address::Address;
use crate::counters::ProxyCounts;
use crate::protocol;
use crate::proxy::{Proxy, ProxyError, ProxyUpdate, ProxyView};
use crate::toxic::Toxic;

/// Runs something on the server's runtime and waits for it, from synchronous and asynchronous callers alike.
pub(crate) fn run<T: Send + 'static>(
    runtime: Option<&Handle>,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, ProxyError> {
    let (done, result) = mpsc::sync_channel(1);
    runtime.ok_or(ProxyError::Stopped)?.spawn(async move {
        // The caller is waiting, unless its thread died.
        let _caller_gone = done.send(work.await);
    });
    result.recv().map_err(|_| ProxyError::Stopped)
}

/// A proxy of a running server.
#[derive(Clone, Debug)]
pub struct ProxyHandle {
    proxy: Arc<Proxy>,
    runtime: Option<Handle>,
    listen: String,
    /// What was bound; what is to be, where it is disabled and has been given as numbers.
    addresses: Vec<SocketAddr>,
}

impl ProxyHandle {
    pub(crate) fn new(proxy: Arc<Proxy>, runtime: Option<Handle>, view: ProxyView) -> Self {
        let addresses = match view.enabled {
            true => view.addresses.iter().filter_map(Address::inet).collect(),
            false => protocol::split(&view.listen).1.parse().into_iter().collect(),
        };
        Self { proxy, runtime, listen: view.listen, addresses }
    }

    /// Where it listened when this handle was made: `127.0.0.1:8666`, `unix:/run/proxy.sock`, `127.0.0.1:8666-8697`.
    pub fn listen(&self) -> &str {
        &self.listen
    }

    /// The same where it is an address of TCP or UDP; of several ports the first.
    ///
    /// # Panics
    /// Never for a proxy of TCP or UDP that was enabled when this handle was made; a disabled one may have a name for an
    /// address, and one of the unix domain has none of this kind.
    pub fn listen_addr(&self) -> SocketAddr {
        *self.addresses.first().expect("an enabled proxy of TCP or UDP has a resolved address")
    }

    /// All addresses of TCP or UDP it listened on when this handle was made, one for each port.
    pub fn listen_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Adds a toxic; live connections have it when this returns. Gives its name.
    ///
    /// # Errors
    /// The name is taken, or the attributes make no sense.
    pub fn add(&self, toxic: Toxic) -> Result<String, ProxyError> {
        self.run(async move |proxy| {
            proxy.add_toxic(&toxic).await.map(|entry| entry.toxic.name().to_string())
        })?
    }

    /// Gives the toxic of the same name these attributes and this toxicity; live connections have them when this
    /// returns. What it holds and what it has drawn stay. Unlike an update by the API, which leaves alone what it does
    /// not name, this sets everything.
    ///
    /// ```
    /// use std::time::Duration;
    /// use chaosproxy::{ProxySpec, Server, Toxic};
    ///
    /// let server = Server::builder().start()?;
    /// let proxy = server.create(ProxySpec::new("source", "127.0.0.1:5000"))?;
    /// let slow = |ms| Toxic::latency(Duration::from_millis(ms), Duration::ZERO).named("slow");
    /// proxy.add(slow(50))?;
    /// proxy.update(slow(200).toxicity(0.5))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// There is none of that name, it is of another type or direction or for other connections, or the attributes make
    /// no sense. Nothing is changed then.
    pub fn update(&self, toxic: Toxic) -> Result<(), ProxyError> {
        self.run(async move |proxy| proxy.replace_toxic(&toxic).await.map(drop))?
    }

    /// Removes a toxic.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn remove(&self, name: &str) -> Result<(), ProxyError> {
        let name = name.to_owned();
        self.run(async move |proxy| proxy.remove_toxic(&name).await)?
    }

    /// Enables it, or disables it and closes its connections.
    ///
    /// # Errors
    /// It cannot listen.
    pub fn set_enabled(&self, enabled: bool) -> Result<(), ProxyError> {
        let update = ProxyUpdate { enabled: Some(enabled), ..ProxyUpdate::default() };
        self.run(async move |proxy| proxy.update(&update).await)?
    }

    /// What it has counted.
    pub fn counts(&self) -> ProxyCounts {
        self.proxy.live.counters.snapshot(&self.proxy.live.label)
    }

    fn run<T: Send + 'static, F>(&self, work: impl FnOnce(Arc<Proxy>) -> F) -> Result<T, ProxyError>
    where
        F: Future<Output = T> + Send + 'static,
    {
        run(self.runtime.as_ref(), work(Arc::clone(&self.proxy)))
    }
}
