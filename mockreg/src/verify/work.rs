//! A verification under way: which repositories and tags are compared with which, several at once, and what is
//! remembered of it. Manifests, blobs and lists of referrers are compared in files of their own.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex};

use mockreg_proto::digest::Digest;
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::JoinSet;

use super::listing::Tags;
use super::manifest::Names;
use super::referrers::{Compared, is_substitute};
use super::remote::{Remote, RemoteError};
use super::report::{DifferenceKind, Report, Side};
use super::{Progress, Verification};

/// Tags compared at once. Each reads both sides on a connection of its own, one blob at a time.
const TAGS_AT_ONCE: usize = 4;
/// Blobs and lists of referrers whose comparison is remembered, so that tags which share them do not read them again.
/// Each takes some 200 bytes; beyond the bound what is shared is read once for each tag.
const MAX_REMEMBERED: usize = 200_000;

/// A pair of repositories that should hold the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pair {
    pub(super) source: Arc<str>,
    pub(super) destination: Arc<str>,
}

/// What is compared once for all tags that share it, which wait for each other.
type Once<T> = Mutex<HashMap<(Pair, Digest), Arc<OnceCell<T>>>>;

/// A verification under way.
pub(super) struct Work {
    pub(super) plan: Verification,
    pub(super) source: Remote,
    pub(super) destination: Remote,
    report: Mutex<Report>,
    progress: Box<dyn Fn(Progress) + Send + Sync>,
    come: Mutex<Progress>,
    /// What is wrong with a blob, if anything.
    pub(super) blobs: Once<Option<String>>,
    /// What came of comparing the lists of referrers of a manifest.
    pub(super) subjects: Once<Arc<Compared>>,
}

/// The place for what is known of `key`.
pub(super) fn remembered<K: Eq + Hash, T>(
    known: &Mutex<HashMap<K, Arc<OnceCell<T>>>>,
    key: K,
) -> Arc<OnceCell<T>> {
    let mut known = known.lock().expect("no holder of the list panics");
    if known.len() >= MAX_REMEMBERED {
        known.clear();
    }
    Arc::clone(known.entry(key).or_default())
}

impl Work {
    pub(super) fn new(plan: Verification, progress: Box<dyn Fn(Progress) + Send + Sync>) -> Self {
        let [source, destination] = plan.credentials.clone();
        let mut report = Report::new(&plan.source, &plan.destination);
        if plan.authorities.is_unchecked() {
            report.note("certificates were not checked, so either side may have been somebody else".into());
        }
        Self {
            source: Remote::new(Side::Source, plan.source.clone(), source, &plan.authorities),
            destination: Remote::new(
                Side::Destination,
                plan.destination.clone(),
                destination,
                &plan.authorities,
            ),
            report: Mutex::new(report),
            progress,
            come: Mutex::default(),
            blobs: Mutex::default(),
            subjects: Mutex::default(),
            plan,
        }
    }

    pub(super) fn noted(&self, note: impl FnOnce(&mut Report)) {
        note(&mut self.report.lock().expect("no holder of the report panics"));
    }

    pub(super) fn told(&self, change: impl FnOnce(&mut Progress)) {
        let come = {
            let mut come = self.come.lock().expect("no holder of the progress panics");
            change(&mut come);
            *come
        };
        (self.progress)(come);
    }

    /// What was found, up to where it `failed`.
    pub(super) fn report(&self, failed: Option<&RemoteError>) -> Report {
        let report = self.report.lock().expect("no holder of the report panics").clone();
        let bytes = self.come.lock().expect("no holder of the progress panics").bytes;
        report.concluded(bytes, failed, self.plan.allow_extra)
    }

    /// Compares the two repositories, or those of all names.
    pub(super) async fn compare(self: Arc<Self>) -> Result<(), RemoteError> {
        if let (Some(source), Some(destination)) =
            (self.plan.source.repository(), self.plan.destination.repository())
        {
            let pair = Pair { source: source.into(), destination: destination.into() };
            return self.repository(pair).await;
        }
        let (here, there) = tokio::join!(self.source.repositories(), self.destination.repositories());
        let (here, there) = (here?, there?);
        for extra in there.difference(&here) {
            self.noted(|report| report.repository(extra, DifferenceKind::Extra, Vec::new()));
        }
        for name in here {
            if there.contains(&name) {
                let name: Arc<str> = name.into();
                self.clone().repository(Pair { source: Arc::clone(&name), destination: name }).await?;
            } else {
                self.noted(|report| report.repository(&name, DifferenceKind::Missing, Vec::new()));
            }
        }
        Ok(())
    }

    /// Compares two repositories, where there are two.
    async fn repository(self: Arc<Self>, pair: Pair) -> Result<(), RemoteError> {
        self.noted(|report| report.repositories += 1);
        let (here, there) =
            tokio::join!(self.source.tags(&pair.source), self.destination.tags(&pair.destination));
        let only_at = |side: Side, kind: DifferenceKind, why: &str| {
            let details = vec![format!("there is no such repository at the {side} ({why})")];
            self.noted(|report| report.repository(&pair.source, kind, details));
        };
        match (self.listed(here?), self.listed(there?)) {
            (Ok(here), Ok(there)) => self.tags(pair, here, there).await?,
            (Ok(_), Err(why)) => only_at(Side::Destination, DifferenceKind::Missing, &why),
            // A list of all repositories may hold some whose last tag is gone.
            (Err(why), there) if self.plan.source.repository().is_none() => {
                if there.is_ok() {
                    only_at(Side::Source, DifferenceKind::Extra, &why);
                }
            }
            (Err(why), there) => {
                let either = if there.is_err() { ", and the destination has none either" } else { "" };
                let reason = format!("there is no repository `{}` ({why}){either}", pair.source);
                return Err(self.source.absent(reason));
            }
        }
        Ok(())
    }

    /// The tags of a repository, or why there is none. Where tags are named, a registry that has no list of tags may
    /// yet have them.
    fn listed(&self, tags: Tags) -> Result<BTreeSet<String>, String> {
        match tags {
            Tags::Listed(tags) => Ok(tags),
            Tags::NoRepository { named: false, .. } if self.named().is_some() => Ok(BTreeSet::new()),
            Tags::NoRepository { why, .. } => Err(why),
        }
    }

    /// The tags that are named, in the addresses or besides; none where all are meant.
    fn named(&self) -> Option<BTreeSet<Names>> {
        let plan = &self.plan;
        if let Some(source) = plan.source.tag() {
            let destination = plan.destination.tag().unwrap_or(source);
            return Some([Names { source: source.into(), destination: destination.into() }].into());
        }
        (!plan.tags.is_empty()).then(|| plan.tags.iter().cloned().map(Names::same).collect())
    }

    /// Compares the tags of two repositories. What is named is looked up whether it is listed or not.
    async fn tags(
        self: Arc<Self>,
        pair: Pair,
        mut here: BTreeSet<String>,
        mut there: BTreeSet<String>,
    ) -> Result<(), RemoteError> {
        if self.reads_lists_from_tags(&pair).await? {
            [&mut here, &mut there].into_iter().for_each(|tags| tags.retain(|tag| !is_substitute(tag)));
        }
        let Some(named) = self.named() else {
            for extra in there.difference(&here) {
                self.noted(|report| report.tag(&pair.source, extra, DifferenceKind::Extra, Vec::new()));
            }
            return self.all(pair, here.into_iter().map(Names::same).collect()).await;
        };
        self.all(pair, named).await
    }

    /// Compares these tags, a few at once.
    async fn all(self: Arc<Self>, pair: Pair, tags: BTreeSet<Names>) -> Result<(), RemoteError> {
        self.told(|progress| progress.of_tags += tags.len() as u64);
        let room = Arc::new(Semaphore::new(TAGS_AT_ONCE));
        let mut comparisons = JoinSet::new();
        for tag in tags {
            let permit = Arc::clone(&room).acquire_owned().await.expect("nobody closes the semaphore");
            while let Some(done) = comparisons.try_join_next() {
                joined(done)?;
            }
            let (work, pair) = (Arc::clone(&self), pair.clone());
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
    async fn tag(&self, pair: &Pair, tag: &Names) -> Result<(), RemoteError> {
        let found = self.manifest(pair, tag).await?;
        let name = &tag.source;
        self.noted(|report| match found {
            None => report.tag(&pair.source, name, DifferenceKind::Missing, Vec::new()),
            Some(details) if details.is_empty() => report.tags.equal += 1,
            Some(details) => report.tag(&pair.source, name, DifferenceKind::Different, details),
        });
        self.told(|progress| progress.tags += 1);
        Ok(())
    }
}

/// The result of a task; none of them panics or is aborted while its set lives.
fn joined(done: Result<Result<(), RemoteError>, tokio::task::JoinError>) -> Result<(), RemoteError> {
    done.expect("a comparison does not panic")
}
