//! Images that nobody pushed: those of the catalogue, and those under `synth/` that are made from their names. They
//! are built when first asked for, one repository at a time; the catalogue is also built ahead in the background.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use mockreg_proto::digest::Digest;
use mockreg_proto::reference::Reference;
use mockreg_proto::units::ByteCount;
use mockreg_synth::image::{Image, ImageSpec};
use mockreg_synth::name::{self, NameError};
use mockreg_synth::{Arrival, LayerSpec, Tables};
use tokio::sync::OnceCell;
use tokio::task::JoinError;

use crate::content::{Content, Kept};
use crate::manifest::Manifest;

/// Images from names that are remembered; twice as many at most. Each takes some kilobytes and is quick to make
/// again.
const MAX_REMEMBERED: usize = 512;
/// Computing digests for longer than this is logged: a client waits for it, and its user wonders why.
const QUIET: Duration = Duration::from_secs(1);
/// The only tag that a list shows of an image made from its name; it answers to any.
const SHOWN_TAG: &str = "latest";

/// Catalogue and images from names.
#[derive(Debug)]
pub(crate) struct Images {
    tables: Arc<Tables>,
    seed: u64,
    on_demand: bool,
    catalogue: RwLock<Arc<Catalogue>>,
    remembered: Mutex<Remembered>,
}

#[derive(Debug, Default)]
struct Catalogue {
    repositories: BTreeMap<String, Arc<Repository>>,
    ready: AtomicBool,
}

/// Two generations, as the journal's attempts have them: what is in use stays, the rest is forgotten.
#[derive(Debug, Default)]
struct Remembered {
    young: HashMap<String, Arc<Repository>>,
    old: HashMap<String, Arc<Repository>>,
}

/// One repository's images, built once.
#[derive(Debug)]
pub(crate) struct Repository {
    specs: Vec<ImageSpec>,
    any_tag: bool,
    built: OnceCell<Built>,
}

/// Everything that one repository's images consist of.
#[derive(Debug, Default)]
pub(crate) struct Built {
    tags: BTreeMap<String, Digest>,
    any_tag: Option<Digest>,
    manifests: HashMap<Digest, Arc<Manifest>>,
    /// Manifests by the subject they refer to.
    referrers: HashMap<Digest, Vec<Digest>>,
    blobs: HashMap<Digest, Content>,
}

impl Images {
    /// An empty catalogue; `on_demand` says whether names under `synth/` are made.
    pub(crate) fn new(tables: Arc<Tables>, seed: u64, on_demand: bool) -> Self {
        Self { tables, seed, on_demand, catalogue: RwLock::default(), remembered: Mutex::default() }
    }

    fn catalogue(&self) -> Arc<Catalogue> {
        self.catalogue.read().expect("no holder of the catalogue panics").clone()
    }

    /// Replaces the catalogue; [`Images::prepare`] then builds it ahead.
    pub(crate) fn replace(&self, specs: Vec<ImageSpec>) {
        let mut grouped: BTreeMap<String, Vec<ImageSpec>> = BTreeMap::new();
        for spec in specs {
            grouped.entry(spec.repository.clone()).or_default().push(spec);
        }
        let repositories: BTreeMap<_, _> = grouped
            .into_iter()
            .map(|(name, specs)| (name, Arc::new(Repository::new(specs, false))))
            .collect();
        let ready = AtomicBool::new(repositories.is_empty());
        let new = Arc::new(Catalogue { repositories, ready });
        *self.catalogue.write().expect("no holder of the catalogue panics") = new;
    }

    /// Builds all of the catalogue. Requests do not wait for this: each builds what it needs.
    pub(crate) async fn prepare(&self) {
        let catalogue = self.catalogue();
        let images = catalogue.repositories.values().flat_map(|repository| &repository.specs);
        let specs: Vec<_> = images.flat_map(|image| image.layers.iter().copied()).collect();
        let (tables, bytes) = (Arc::clone(&self.tables), specs.iter().map(LayerSpec::size).sum());
        let prepare = move || tables.prepare(&specs);
        if let Err(error) = computed("(the whole catalogue)", bytes, prepare).await {
            tracing::error!(%error, "the catalogue's digests were not prepared");
            return;
        }
        for repository in catalogue.repositories.values() {
            repository.built(&self.tables).await;
        }
        catalogue.ready.store(true, Ordering::Release);
    }

    /// Whether all of the catalogue is built.
    pub(crate) fn is_ready(&self) -> bool {
        self.catalogue().ready.load(Ordering::Acquire)
    }

    /// The images of `repository`: the catalogue's, or those made from its name. An error says why there are none.
    pub(crate) fn repository(&self, repository: &str) -> Result<Arc<Repository>, String> {
        if let Some(found) = self.catalogue().repositories.get(repository) {
            return Ok(Arc::clone(found));
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
        let made = Arc::new(Repository::new(vec![name::parse(repository, self.seed)?], true));
        remembered.insert(repository, Arc::clone(&made));
        Ok(made)
    }

    /// Up to `most` names in the catalogue after `last`, sorted.
    pub(crate) fn names_after(&self, last: Option<&str>, most: usize) -> Vec<String> {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        let catalogue = self.catalogue();
        let names = catalogue.repositories.range::<str, _>((from, Bound::Unbounded));
        names.take(most).map(|(name, _)| name.clone()).collect()
    }

    /// A blob of any image that is built already and that `accepts` takes, asked with the repository's name.
    pub(crate) fn blob_anywhere(&self, digest: &Digest, accepts: impl Fn(&str) -> bool) -> Option<Content> {
        let find = |(name, repository): (&String, &Arc<Repository>)| {
            repository.built.get()?.blob(digest).filter(|_| accepts(name))
        };
        let in_catalogue = self.catalogue().repositories.iter().find_map(find);
        in_catalogue.or_else(|| {
            let remembered = self.remembered.lock().expect("no holder of the images panics");
            remembered.young.iter().chain(&remembered.old).find_map(find)
        })
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

impl Repository {
    fn new(specs: Vec<ImageSpec>, any_tag: bool) -> Self {
        Self { specs, any_tag, built: OnceCell::new() }
    }

    fn name(&self) -> &str {
        self.specs.first().map_or("", |image| &image.repository)
    }

    /// Bytes of all layers, those of several images counted in each.
    fn size(&self) -> u64 {
        self.specs.iter().flat_map(|image| &image.layers).map(LayerSpec::size).sum()
    }

    /// Its images, built off the async threads by whoever asks first; the others wait.
    pub(crate) async fn built(&self, tables: &Arc<Tables>) -> &Built {
        self.built
            .get_or_init(|| async {
                let (specs, tables, any_tag) = (self.specs.clone(), Arc::clone(tables), self.any_tag);
                let build = move || Built::new(&specs, &tables, any_tag);
                computed(self.name(), self.size(), build)
                    .await
                    .expect("building a planned image does not panic")
            })
            .await
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

impl Built {
    fn new(specs: &[ImageSpec], tables: &Tables, any_tag: bool) -> Self {
        let mut built = Self::default();
        for spec in specs {
            let digest = built.add(spec.build(tables));
            if any_tag {
                built.any_tag = Some(digest);
            } else {
                built.tags.insert(spec.tag.clone(), digest);
            }
        }
        built
    }

    fn add(&mut self, image: Image) -> Digest {
        let digest = image.manifest_digest;
        let config = Content::Kept(Arc::new(Kept::own(image.config)));
        self.blobs.insert(image.config_digest, config);
        let layers = image
            .layers
            .iter()
            .map(|layer| (layer.digest, Content::Recipe(Arrival { spec: layer.spec, unpacked: false })));
        self.blobs.extend(layers);
        let manifest = Manifest::made(digest, image.manifest_media_type, image.manifest);
        if let Some(referrer) = &manifest.referrer {
            self.referrers.entry(referrer.subject).or_default().push(digest);
        }
        self.manifests.insert(digest, Arc::new(manifest));
        digest
    }

    /// The manifest that `reference` names.
    pub(crate) fn manifest(&self, reference: &Reference) -> Option<Arc<Manifest>> {
        let digest = match reference {
            Reference::Digest(digest) => *digest,
            Reference::Tag(tag) => self.tags.get(tag.as_str()).copied().or(self.any_tag)?,
        };
        self.manifests.get(&digest).cloned()
    }

    /// A blob of any of its images.
    pub(crate) fn blob(&self, digest: &Digest) -> Option<Content> {
        self.blobs.get(digest).cloned()
    }

    /// Its manifests that refer to `subject`.
    pub(crate) fn referrers(&self, subject: &Digest) -> impl Iterator<Item = &Arc<Manifest>> {
        let digests = self.referrers.get(subject).into_iter().flatten();
        digests.filter_map(|digest| self.manifests.get(digest))
    }

    /// Its tags after `last`, sorted, with what they lead to.
    pub(crate) fn tags_after<'a>(
        &'a self,
        last: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a str, &'a Digest)> {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        let named = self.tags.range::<str, _>((from, Bound::Unbounded));
        let shown = self.any_tag.iter().map(|digest| (SHOWN_TAG, digest));
        named
            .map(|(tag, digest)| (tag.as_str(), digest))
            .chain(shown.filter(move |(tag, _)| last.is_none_or(|last| *tag > last)))
    }
}
