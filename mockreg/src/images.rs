//! Images that nobody pushed: those of the catalogue, and those under `synth/` that are made from their names. They
//! are built when first asked for, one at a time, and forgotten when nobody asks any more; the digests of the catalogue
//! are also computed ahead in the background.

mod built;
mod kept;
mod prepare;
mod recent;
mod repository;
mod search;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use mockreg_proto::digest::Digest;
use mockreg_proto::units::ByteCount;
use mockreg_synth::Tables;
use mockreg_synth::catalogue::Plan;
use mockreg_synth::name::{self, NameError};
use tokio::sync::Semaphore;
use tokio::task::JoinError;

pub(crate) use self::kept::KeptDigests;
use self::recent::Recent;
pub(crate) use self::repository::Repository;
use self::repository::Source;
pub(crate) use self::search::Searching;
use crate::cache::CacheDir;
use crate::content::Content;

/// Images from names that are remembered; twice as many at most. Each takes some hundred bytes and is quick to make
/// again.
const MAX_REMEMBERED: usize = 512;
/// Computing digests for longer than this is logged: a client waits for it, and its user wonders why.
const QUIET: Duration = Duration::from_secs(1);

/// Catalogue and images from names.
#[derive(Debug)]
pub(crate) struct Images {
    shared: Arc<Shared>,
    cache: CacheDir,
    seed: u64,
    on_demand: bool,
    catalogue: RwLock<Arc<Catalogue>>,
    remembered: Mutex<Remembered>,
}

/// What all repositories build their images with and in.
#[derive(Debug)]
struct Shared {
    tables: Arc<Tables>,
    recent: Recent,
    ids: AtomicU64,
    /// Turns of searches for digests, of which one at a time computes: requests need the other processors.
    searches: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Catalogue {
    plan: Arc<Plan>,
    /// Those of the plan's repositories that somebody has asked for.
    asked: RwLock<HashMap<String, Arc<Repository>>>,
    ready: AtomicBool,
}

/// Two generations, as the journal's attempts have them: what is in use stays, the rest is forgotten.
#[derive(Debug, Default)]
struct Remembered {
    young: HashMap<String, Arc<Repository>>,
    old: HashMap<String, Arc<Repository>>,
}

impl Images {
    /// An empty catalogue; `on_demand` says whether names under `synth/` are made.
    pub(crate) fn new(tables: Arc<Tables>, cache: CacheDir, seed: u64, on_demand: bool) -> Self {
        let (recent, ids, searches) = (Recent::default(), AtomicU64::default(), Arc::new(Semaphore::new(1)));
        let shared = Arc::new(Shared { tables, recent, ids, searches });
        Self { shared, cache, seed, on_demand, catalogue: RwLock::default(), remembered: Mutex::default() }
    }

    fn catalogue(&self) -> Arc<Catalogue> {
        self.catalogue.read().expect("no holder of the catalogue panics").clone()
    }

    /// Replaces the catalogue; [`Images::prepare`] then computes its digests ahead.
    pub(crate) fn replace(&self, plan: Plan) {
        let ready = AtomicBool::new(plan.is_empty());
        let new = Arc::new(Catalogue { plan: Arc::new(plan), asked: RwLock::default(), ready });
        *self.catalogue.write().expect("no holder of the catalogue panics") = new;
    }

    /// Computes the digests of the catalogue, or of its beginning if it is large. Requests do not wait for this: each
    /// computes what it needs.
    pub(crate) async fn prepare(&self) {
        let catalogue = self.catalogue();
        let (plan, tables) = (Arc::clone(&catalogue.plan), Arc::clone(&self.shared.tables));
        let wanted = || Arc::ptr_eq(&catalogue, &self.catalogue());
        match prepare::prepare(plan, tables, self.cache.clone(), wanted).await {
            Ok(()) => catalogue.ready.store(true, Ordering::Release),
            Err(error) => tracing::error!(%error, "the catalogue's digests were not prepared"),
        }
    }

    /// Whether the catalogue's digests are computed, as far as they are ahead.
    pub(crate) fn is_ready(&self) -> bool {
        self.catalogue().ready.load(Ordering::Acquire)
    }

    /// The images of `repository`: the catalogue's, or those made from its name. An error says why there are none.
    pub(crate) fn repository(&self, repository: &str) -> Result<Arc<Repository>, String> {
        if let Some(found) = self.catalogue().repository(repository, &self.shared) {
            return Ok(found);
        }
        if !self.on_demand {
            return Err(format!(
                "`{repository}` is neither pushed nor in the catalogue, and --on-demand is off"
            ));
        }
        self.made_from(repository).map_err(|error| match error {
            NameError::NotSynthetic(_) => {
                format!("`{repository}` is neither pushed nor in the catalogue; {error}")
            }
            error => error.to_string(),
        })
    }

    fn made_from(&self, repository: &str) -> Result<Arc<Repository>, NameError> {
        let mut remembered = self.remembered.lock().expect("no holder of the images panics");
        if let Some(found) = remembered.get(repository) {
            return Ok(found);
        }
        let source = Source::Named(Arc::new(name::tagged(repository, self.seed)?));
        let made = Arc::new(Repository::new(Arc::clone(&self.shared), repository, source));
        remembered.insert(repository, Arc::clone(&made));
        Ok(made)
    }

    /// Up to `most` names in the catalogue after `last`, sorted.
    pub(crate) fn names_after(&self, last: Option<&str>, most: usize) -> Vec<String> {
        self.catalogue()
            .plan
            .repositories_after(last)
            .take(most)
            .map(|found| found.name().to_owned())
            .collect()
    }

    /// A blob of any image that was built lately and that `accepts` takes, asked with the repository's name.
    pub(crate) fn blob_anywhere(&self, digest: &Digest, accepts: impl Fn(&str) -> bool) -> Option<Content> {
        self.shared
            .recent
            .find_anywhere(digest, |built| accepts(built.repository()).then(|| built.blob(digest)).flatten())
    }
}

impl Shared {
    fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }
}

impl Catalogue {
    fn repository(&self, name: &str, shared: &Arc<Shared>) -> Option<Arc<Repository>> {
        if let Some(found) = self.asked.read().expect("no holder of the repositories panics").get(name) {
            return Some(Arc::clone(found));
        }
        self.plan.repository(name)?;
        let mut asked = self.asked.write().expect("no holder of the repositories panics");
        let new =
            || Arc::new(Repository::new(Arc::clone(shared), name, Source::Planned(Arc::clone(&self.plan))));
        Some(Arc::clone(asked.entry(name.to_owned()).or_insert_with(new)))
    }
}

impl Remembered {
    fn get(&mut self, repository: &str) -> Option<Arc<Repository>> {
        if let Some(found) = self.young.get(repository) {
            return Some(Arc::clone(found));
        }
        let found = self.old.remove(repository)?;
        self.insert(repository, Arc::clone(&found));
        Some(found)
    }

    fn insert(&mut self, repository: &str, made: Arc<Repository>) {
        if self.young.len() >= MAX_REMEMBERED {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(repository.to_owned(), made);
    }
}

/// Runs what computes digests off the async threads, and says so if it takes long. The end is told from there, since
/// the work goes on when the client that asked for it is gone.
async fn computed<T: Send + 'static>(
    repository: &str,
    bytes: u64,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    let (started, name) = (Instant::now(), repository.to_owned());
    let mut working = tokio::task::spawn_blocking(move || {
        let done = work();
        let took = started.elapsed();
        if took > QUIET {
            let seconds = format_args!("{:.1}", took.as_secs_f64());
            tracing::info!(repository = name, %seconds, "digests ready");
        }
        done
    });
    if let Ok(done) = tokio::time::timeout(QUIET, &mut working).await {
        return done;
    }
    tracing::info!(repository, size = %ByteCount(bytes), "computing digests");
    working.await
}
