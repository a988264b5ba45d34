//! All proxies of a server, by name, and what is done to them together: populate, reset, stop.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use crate::address;
use crate::counters::ProxyCounts;
use crate::live::{ConnectionView, Ground};
use crate::outage::Outages;
use crate::proxy::{self, Proxy, ProxyError, ProxySpec, ProxyUpdate, ProxyView};

/// The proxies.
#[derive(Debug)]
pub(crate) struct Proxies {
    pub(crate) ground: Ground,
    pub(crate) outages: Arc<Outages>,
    map: tokio::sync::Mutex<BTreeMap<String, Arc<Proxy>>>,
    /// Changes with the map: there is to be none in it any more.
    is_stopped: AtomicBool,
}

impl Proxies {
    pub(crate) fn new(ground: Ground) -> Self {
        let outages = Arc::new(Outages::new(ground.clock));
        Self { ground, outages, map: tokio::sync::Mutex::default(), is_stopped: AtomicBool::new(false) }
    }

    /// Creates a proxy.
    ///
    /// # Errors
    /// A field is missing, the name is taken, or it cannot listen.
    pub(crate) async fn create(&self, spec: &ProxySpec) -> Result<Arc<Proxy>, ProxyError> {
        self.check(spec, "")?;
        let mut map = self.map.lock().await;
        if map.contains_key(&spec.name) {
            return Err(ProxyError::Exists);
        }
        let proxy = self.open(spec).await?;
        map.insert(spec.name.clone(), Arc::clone(&proxy));
        Ok(proxy)
    }

    /// A new proxy, while the map is locked.
    async fn open(&self, spec: &ProxySpec) -> Result<Arc<Proxy>, ProxyError> {
        if self.is_stopped.load(Relaxed) {
            return Err(ProxyError::Stopped);
        }
        Proxy::create(spec, self.ground.clone()).await
    }

    /// A proxy by its name.
    ///
    /// # Errors
    /// There is none.
    pub(crate) async fn get(&self, name: &str) -> Result<Arc<Proxy>, ProxyError> {
        self.map.lock().await.get(name).cloned().ok_or(ProxyError::NotFound)
    }

    /// All of them, by name.
    pub(crate) async fn all(&self) -> Vec<Arc<Proxy>> {
        self.map.lock().await.values().cloned().collect()
    }

    /// All of them as the API shows them, by name.
    pub(crate) async fn views(&self) -> Vec<ProxyView> {
        let mut views = Vec::new();
        for proxy in self.all().await {
            views.push(proxy.view().await);
        }
        views
    }

    /// Stops and removes a proxy.
    ///
    /// # Errors
    /// There is none of that name.
    pub(crate) async fn remove(&self, name: &str) -> Result<(), ProxyError> {
        let proxy = self.map.lock().await.remove(name).ok_or(ProxyError::NotFound)?;
        self.outages.cleared(name).await;
        proxy.stop().await;
        Ok(())
    }

    /// Creates or replaces proxies, in order; one that is as described already stays untouched, toxics and all; the
    /// toxics described, and a label or a seed that is not given, do not count.
    /// Nothing is done if any description is incomplete. A failure later leaves the earlier ones in place, which
    /// are returned in any case.
    pub(crate) async fn populate(&self, specs: &[ProxySpec]) -> (Vec<ProxyView>, Result<(), ProxyError>) {
        for (index, spec) in specs.iter().enumerate() {
            if let Err(error) = self.check(spec, &format!(" at proxy {}", index + 1)) {
                return (Vec::new(), Err(error));
            }
        }
        let mut done = Vec::new();
        for spec in specs {
            match self.place(spec).await {
                Ok(view) => done.push(view),
                Err(error) => return (done, Err(error)),
            }
        }
        (done, Ok(()))
    }

    /// A proxy that is replaced stays, turned off, if the new one cannot listen.
    async fn place(&self, spec: &ProxySpec) -> Result<ProxyView, ProxyError> {
        let mut map = self.map.lock().await;
        if let Some(existing) = map.get(&spec.name) {
            if existing.is_as(spec).await? {
                return Ok(existing.view().await);
            }
            self.outages.cleared(&spec.name).await;
            existing.turn_off().await;
        }
        let proxy = self.open(spec).await?;
        if let Some(replaced) = map.insert(spec.name.clone(), Arc::clone(&proxy)) {
            replaced.stop().await;
        }
        Ok(proxy.view().await)
    }

    /// Enables every proxy, ends outages and removes all toxics.
    ///
    /// # Errors
    /// One cannot listen; those after it are left alone.
    pub(crate) async fn reset(&self) -> Result<(), ProxyError> {
        for proxy in self.all().await {
            self.outages.cleared(&proxy.live.name).await;
            proxy.reset().await?;
        }
        Ok(())
    }

    /// Changes a proxy.
    ///
    /// # Errors
    /// There is none of that name, or it cannot listen.
    pub(crate) async fn update(&self, name: &str, update: &ProxyUpdate) -> Result<ProxyView, ProxyError> {
        let proxy = self.get(name).await?;
        proxy.update(update).await?;
        Ok(proxy.view().await)
    }

    /// Counts of each proxy, by name.
    pub(crate) async fn counts(&self) -> BTreeMap<String, ProxyCounts> {
        let count = |proxy: &Arc<Proxy>| proxy.live.counters.snapshot(&proxy.live.label);
        self.all().await.iter().map(|proxy| (proxy.live.name.to_string(), count(proxy))).collect()
    }

    /// Live connections of all proxies.
    pub(crate) async fn connections(&self) -> Vec<ConnectionView> {
        self.all().await.iter().flat_map(|proxy| proxy.live.connections()).collect()
    }

    /// Stops all proxies; a request that is still in hand creates no other.
    pub(crate) async fn stop(&self) {
        let mut map = self.map.lock().await;
        self.is_stopped.store(true, Relaxed);
        let proxies = std::mem::take(&mut *map);
        drop(map);
        for proxy in proxies.into_values() {
            proxy.stop().await;
        }
    }

    /// Whether a description is whole, its toxics have names of their own, and its addresses go together.
    fn check(&self, spec: &ProxySpec, place: &str) -> Result<(), ProxyError> {
        for (field, value) in [("name", &spec.name), ("upstream", &spec.upstream)] {
            if value.is_empty() {
                return Err(ProxyError::MissingField(format!("{field}{place}")));
            }
        }
        if !self.ground.strict_compat {
            proxy::check_name(&spec.name)?;
        }
        for (index, toxic) in spec.toxics.iter().enumerate() {
            if spec.toxics[..index].iter().any(|other| other.name() == toxic.name()) {
                return Err(ProxyError::ToxicExists);
            }
        }
        let dialect = self.ground.dialect();
        dialect.route(&spec.listen, &spec.upstream)?;
        Ok(address::check_upstream(&spec.upstream, dialect)?)
    }
}
