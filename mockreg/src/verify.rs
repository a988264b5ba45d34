//! Comparing two repositories, or two whole registries, byte for byte: tags, the manifests they name, what those name.
//! It reads both sides as any client would, so either may be another program. Nothing is kept but digests: bytes are
//! hashed as they come, on a few connections at once.

mod address;
mod blob;
mod challenge;
mod connection;
mod listing;
mod manifest;
mod remote;
mod report;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use mockreg_proto::digest::Digest;
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::JoinSet;

pub use self::address::{Address, AddressError, Credentials};
pub use self::connection::{Authorities, CertificateError};
use self::remote::Remote;
pub use self::remote::RemoteError;
pub use self::report::{Difference, DifferenceKind, Outcome, Report, Tags};

/// Tags compared at once. Each reads both sides on a connection of its own, one blob at a time.
const TAGS_AT_ONCE: usize = 4;
/// Blobs whose comparison is remembered, so that tags which share them do not read them again. Each takes some 200
/// bytes; beyond the bound a blob is read once for each tag.
const MAX_REMEMBERED: usize = 200_000;

/// What to compare, and how the two sides are reached.
#[derive(Clone, Debug)]
pub struct Verification {
    source: Address,
    destination: Address,
    credentials: [Option<Credentials>; 2],
    authorities: Authorities,
    tags: BTreeSet<String>,
    allow_extra: bool,
}

/// Why two addresses cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// One names a repository and the other a whole registry.
    #[error(
        "one address names a repository and the other a whole registry; name a repository in both or in neither"
    )]
    Unlike,
    /// Nobody is known who could vouch for an `https` address.
    #[error("an https address needs the certificate of an authority to trust (--ca)")]
    NoAuthority,
    /// Tags were named for a whole registry.
    #[error("tags can be named for a repository, not for a whole registry")]
    TagsOfRegistry,
}

/// How far a verification has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Tags that have been compared.
    pub tags: u64,
    /// Tags known so far.
    pub of_tags: u64,
    /// Bytes of manifests and blobs read, both sides together.
    pub bytes: u64,
}

impl Verification {
    /// Compares all tags; what only the destination has counts as a difference.
    ///
    /// # Errors
    /// The two cannot be compared.
    pub fn try_new(source: Address, destination: Address) -> Result<Self, PlanError> {
        if source.repository().is_some() != destination.repository().is_some() {
            return Err(PlanError::Unlike);
        }
        Ok(Self {
            source,
            destination,
            credentials: [None, None],
            authorities: Authorities::default(),
            tags: BTreeSet::new(),
            allow_extra: false,
        })
    }

    /// Who to be, at the source and at the destination.
    #[must_use]
    pub fn credentials(mut self, source: Option<Credentials>, destination: Option<Credentials>) -> Self {
        self.credentials = [source, destination];
        self
    }

    /// Whose certificates to believe.
    #[must_use]
    pub fn authorities(mut self, authorities: Authorities) -> Self {
        self.authorities = authorities;
        self
    }

    /// Only these tags. None at all means every tag.
    #[must_use]
    pub fn tags(mut self, tags: impl IntoIterator<Item = String>) -> Self {
        self.tags.extend(tags);
        self
    }

    /// Whether the destination may have repositories and tags that the source has not.
    #[must_use]
    pub fn allow_extra(mut self, allow: bool) -> Self {
        self.allow_extra = allow;
        self
    }

    /// Compares. `progress` is called often, from several tasks.
    ///
    /// # Errors
    /// What was asked for cannot be done. A side that cannot be read is an outcome of the report.
    pub async fn run(self, progress: impl Fn(Progress) + Send + Sync + 'static) -> Result<Report, PlanError> {
        let addresses = [&self.source, &self.destination];
        if addresses.iter().any(|address| address.is_tls()) && self.authorities.is_empty() {
            return Err(PlanError::NoAuthority);
        }
        if self.source.repository().is_none() && !self.tags.is_empty() {
            return Err(PlanError::TagsOfRegistry);
        }
        let work = Arc::new(Work::new(self, Box::new(progress)));
        let failed = Arc::clone(&work).compare().await.err();
        Ok(work.report(failed.as_ref()))
    }
}

/// A pair of repositories that should hold the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Pair {
    source: Arc<str>,
    destination: Arc<str>,
}

/// The comparison of one blob: what is wrong with it, if anything, once that is known. Tags that share it wait.
type Compared = Arc<OnceCell<Option<String>>>;

/// A verification under way.
struct Work {
    plan: Verification,
    source: Remote,
    destination: Remote,
    report: Mutex<Report>,
    progress: Box<dyn Fn(Progress) + Send + Sync>,
    come: Mutex<Progress>,
    blobs: Mutex<HashMap<(Pair, Digest), Compared>>,
}

impl Work {
    fn new(plan: Verification, progress: Box<dyn Fn(Progress) + Send + Sync>) -> Self {
        let [source, destination] = plan.credentials.clone();
        Self {
            source: Remote::new(plan.source.clone(), source, &plan.authorities),
            destination: Remote::new(plan.destination.clone(), destination, &plan.authorities),
            report: Mutex::new(Report::new(&plan.source, &plan.destination)),
            progress,
            come: Mutex::default(),
            blobs: Mutex::default(),
            plan,
        }
    }

    fn noted(&self, note: impl FnOnce(&mut Report)) {
        note(&mut self.report.lock().expect("no holder of the report panics"));
    }

    fn told(&self, change: impl FnOnce(&mut Progress)) {
        let come = {
            let mut come = self.come.lock().expect("no holder of the progress panics");
            change(&mut come);
            *come
        };
        (self.progress)(come);
    }

    fn report(&self, failed: Option<&RemoteError>) -> Report {
        let report = self.report.lock().expect("no holder of the report panics").clone();
        let bytes = self.come.lock().expect("no holder of the progress panics").bytes;
        report.concluded(bytes, failed, self.plan.allow_extra)
    }

    /// Compares the two repositories, or those of all names.
    async fn compare(self: Arc<Self>) -> Result<(), RemoteError> {
        if let (Some(source), Some(destination)) =
            (self.plan.source.repository(), self.plan.destination.repository())
        {
            let pair = Pair { source: source.into(), destination: destination.into() };
            return self.repository(pair).await;
        }
        let (here, there) = tokio::join!(self.source.repositories(), self.destination.repositories());
        let (here, there) = (here?, there?);
        for extra in there.difference(&here) {
            self.noted(|report| report.differs(extra, None, DifferenceKind::Extra, Vec::new()));
        }
        for name in here {
            if there.contains(&name) {
                let name: Arc<str> = name.into();
                self.clone().repository(Pair { source: Arc::clone(&name), destination: name }).await?;
            } else {
                self.noted(|report| report.differs(&name, None, DifferenceKind::Missing, Vec::new()));
            }
        }
        Ok(())
    }

    /// Compares the tags of two repositories.
    async fn repository(self: Arc<Self>, pair: Pair) -> Result<(), RemoteError> {
        self.noted(|report| report.repositories += 1);
        let (here, there) =
            tokio::join!(self.source.tags(&pair.source), self.destination.tags(&pair.destination));
        let here = here?.ok_or_else(|| self.source.absent(&pair.source))?;
        let there = there?.unwrap_or_default();
        let asked = |tag: &&String| self.plan.tags.is_empty() || self.plan.tags.contains(*tag);
        let wanted: BTreeSet<&String> = if self.plan.tags.is_empty() {
            here.iter().collect()
        } else {
            // Registries may answer to tags that they do not list.
            self.plan.tags.iter().collect()
        };
        for extra in there.iter().filter(asked).filter(|tag| !here.contains(*tag) && !wanted.contains(*tag)) {
            self.noted(|report| report.tag(&pair.source, extra, DifferenceKind::Extra, Vec::new()));
        }
        self.told(|progress| progress.of_tags += wanted.len() as u64);
        let room = Arc::new(Semaphore::new(TAGS_AT_ONCE));
        let mut comparisons = JoinSet::new();
        for tag in wanted {
            let permit = Arc::clone(&room).acquire_owned().await.expect("nobody closes the semaphore");
            while let Some(done) = comparisons.try_join_next() {
                joined(done)?;
            }
            let (work, pair, tag) = (Arc::clone(&self), pair.clone(), tag.clone());
            comparisons.spawn(async move {
                let compared = work.tag(&pair, &tag).await;
                drop(permit);
                compared
            });
        }
        while let Some(done) = comparisons.join_next().await {
            joined(done)?;
        }
        Ok(())
    }

    /// Compares what one tag names.
    async fn tag(&self, pair: &Pair, tag: &str) -> Result<(), RemoteError> {
        let found = self.manifest(pair, tag).await?;
        self.noted(|report| match found {
            None => report.tag(&pair.source, tag, DifferenceKind::Missing, Vec::new()),
            Some(details) if details.is_empty() => report.tags.equal += 1,
            Some(details) => report.tag(&pair.source, tag, DifferenceKind::Different, details),
        });
        self.told(|progress| progress.tags += 1);
        Ok(())
    }
}

/// The result of a task; none of them panics or is aborted while its set lives.
fn joined(done: Result<Result<(), RemoteError>, tokio::task::JoinError>) -> Result<(), RemoteError> {
    done.expect("a comparison does not panic")
}
