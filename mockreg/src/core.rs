//! The registry without its ports: what it holds and can make, and where a name is looked up. Pushed content comes
//! first, then the catalogue, then what can be made from a name.

use std::collections::BTreeMap;
use std::sync::Arc;

use mockreg_proto::digest::Digest;
use mockreg_proto::reference::{Reference, Tag};
use mockreg_synth::catalogue::Plan;

use crate::admin::Document;
use crate::auth::Guard;
use crate::config::Limits;
use crate::connection::Windows;
use crate::content::Content;
use crate::counters::Counters;
use crate::exchange::Telemetry;
use crate::images::{Images, Searching};
use crate::manifest::{self, Listing, Manifest};
use crate::metrics::Levels;
use crate::pace::Paces;
use crate::policy::Policy;
use crate::problem::{Fault, Problem};
use crate::quota::Meters;
use crate::redirect::Redirector;
use crate::sink::Workshop;
use crate::store::{Full, Gone, Store};
use crate::tls::Terminator;
use crate::upload::Uploads;

/// Everything that requests share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) workshop: Workshop,
    pub(crate) images: Images,
    pub(crate) document: Document,
    pub(crate) store: Store,
    pub(crate) uploads: Uploads,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) limits: Limits,
    pub(crate) auth: Guard,
    pub(crate) tls: Option<Terminator>,
    pub(crate) redirects: Option<Redirector>,
    /// What clients may send ahead over HTTP/2, all together.
    pub(crate) windows: Windows,
    pub(crate) meters: Meters,
    pub(crate) paces: Paces,
    pub(crate) policy: Policy,
}

impl Core {
    /// A blob that `repository` has; `None` if it has not.
    ///
    /// # Errors
    /// It is still looked for.
    pub(crate) async fn find_blob(
        &self,
        repository: &str,
        digest: &Digest,
    ) -> Result<Option<Content>, Searching> {
        if let Some(pushed) = self.store.blob(repository, digest) {
            return Ok(Some(pushed));
        }
        let Ok(images) = self.images.repository(repository) else { return Ok(None) };
        let made = images.blob(digest).await?;
        Ok(made.filter(|_| !self.is_gone(repository, |gone| gone.has_blob(digest))))
    }

    /// A blob that any `readable` repository has: pushed, or of an image that was built lately.
    pub(crate) fn find_blob_anywhere(
        &self,
        digest: &Digest,
        readable: impl Fn(&str) -> bool,
    ) -> Option<Content> {
        let there = |name: &str| readable(name) && !self.is_gone(name, |gone| gone.has_blob(digest));
        self.store.blob_anywhere(digest, &readable).or_else(|| self.images.blob_anywhere(digest, there))
    }

    /// A manifest that `repository` has; `None` if it has not.
    ///
    /// # Errors
    /// It is still looked for.
    pub(crate) async fn find_manifest(
        &self,
        repository: &str,
        reference: &Reference,
    ) -> Result<Option<Arc<Manifest>>, Searching> {
        if let Some(pushed) = self.store.manifest(repository, reference) {
            return Ok(Some(pushed));
        }
        let Ok(images) = self.images.repository(repository) else { return Ok(None) };
        let made = images.manifest(reference).await?;
        let is_gone = |made: &Arc<Manifest>| {
            self.is_gone(repository, |gone| match reference {
                Reference::Tag(tag) => gone.has_tag(tag.as_str(), &made.digest),
                Reference::Digest(digest) => gone.has_manifest(digest),
            })
        };
        Ok(made.filter(|made| !is_gone(made)))
    }

    /// Whether something of an image that nobody pushed was deleted.
    fn is_gone(&self, repository: &str, has: impl Fn(&Gone) -> bool) -> bool {
        self.store.gone(repository).is_some_and(|gone| has(&gone))
    }

    /// As [`Core::find_blob`].
    ///
    /// # Errors
    /// The blob, or the whole repository, is unknown, or it is still looked for.
    pub(crate) async fn blob(&self, repository: &str, digest: &Digest) -> Result<Content, Problem> {
        self.find_blob(repository, digest)
            .await?
            .ok_or_else(|| self.unknown(repository, Fault::BlobUnknown, digest))
    }

    /// As [`Core::find_manifest`].
    ///
    /// # Errors
    /// The manifest, or the whole repository, is unknown, or it is still looked for.
    pub(crate) async fn manifest(
        &self,
        repository: &str,
        reference: &Reference,
    ) -> Result<Arc<Manifest>, Problem> {
        let found = self.find_manifest(repository, reference).await?;
        found.ok_or_else(|| self.unknown(repository, Fault::ManifestUnknown, reference))
    }

    /// Takes a blob out of `repository`.
    ///
    /// # Errors
    /// It is unknown.
    pub(crate) async fn delete_blob(&self, repository: &str, digest: &Digest) -> Result<(), Problem> {
        self.blob(repository, digest).await?;
        let hide = self.images.repository(repository).is_ok();
        deleted(self.store.remove_blob(repository, digest, hide))
    }

    /// Takes a tag, or a manifest with all its tags, out of `repository`.
    ///
    /// # Errors
    /// It is unknown.
    pub(crate) async fn delete_manifest(
        &self,
        repository: &str,
        reference: &Reference,
    ) -> Result<(), Problem> {
        self.manifest(repository, reference).await?;
        let hide = self.images.repository(repository).is_ok();
        deleted(match reference {
            Reference::Tag(tag) => self.store.remove_tag(repository, tag, hide),
            Reference::Digest(digest) => self.store.remove_manifest(repository, digest, hide),
        })
    }

    /// Everything in `repository` that refers to `subject`, by digest: pushed manifests, those the registry makes,
    /// and those that a client without a referrers API has listed under the subject's tag.
    ///
    /// # Errors
    /// Some are still looked for.
    pub(crate) async fn referrers(
        &self,
        repository: &str,
        subject: &Digest,
    ) -> Result<BTreeMap<Digest, Listing>, Searching> {
        let mut found = self.store.referrers(repository, subject);
        if let Ok(images) = self.images.repository(repository) {
            let made = images.referrers(subject).await?.into_iter();
            let there = made.filter(|made| !self.is_gone(repository, |gone| gone.has_manifest(&made.digest)));
            found.extend(there);
        }
        let mut listed = self.listed_under_tag(repository, subject).await?;
        let entries =
            found.iter().filter_map(|manifest| Some((manifest.digest, manifest.referrer.as_ref()?)));
        listed.extend(entries.map(|(digest, referrer)| (digest, referrer.listing.clone())));
        Ok(listed)
    }

    /// The referrers tag schema of the specification: an index under `sha256-<hex>`.
    async fn listed_under_tag(
        &self,
        repository: &str,
        subject: &Digest,
    ) -> Result<BTreeMap<Digest, Listing>, Searching> {
        let mut listed = BTreeMap::new();
        let tag: Tag = manifest::fallback_tag(subject).parse().expect("letters, digits and a dash are a tag");
        let Some(index) = self.store.manifest(repository, &Reference::Tag(tag)) else {
            return Ok(listed);
        };
        for (digest, listing) in manifest::listed(&index.bytes) {
            if self.find_manifest(repository, &Reference::Digest(digest)).await?.is_some() {
                listed.insert(digest, listing);
            }
        }
        Ok(listed)
    }

    /// Up to `most` tags of `repository` after `last`, in byte order.
    ///
    /// # Errors
    /// The repository is unknown, or a deleted manifest whose tags are not listed is still looked for.
    pub(crate) async fn tags_after(
        &self,
        repository: &str,
        last: Option<&str>,
        most: usize,
    ) -> Result<Vec<String>, Problem> {
        let pushed = self.store.tags_after(repository, last, most);
        let made = match self.images.repository(repository) {
            Ok(images) => {
                let gone = self.store.gone(repository).unwrap_or_default();
                images.tags_after(last, most, &gone).await?
            }
            Err(_) if self.store.knows(repository) => Vec::new(),
            Err(reason) => return Err(Problem::new(Fault::NameUnknown, reason)),
        };
        Ok(merged(pushed, made, most))
    }

    /// Up to `most` repositories after `last`, in byte order: those pushed to and those of the catalogue.
    pub(crate) fn repositories_after(&self, last: Option<&str>, most: usize) -> Vec<String> {
        let pushed = self.store.repositories_after(last, most);
        merged(pushed, self.images.names_after(last, most), most)
    }

    /// Replaces all that the catalogue offered; what was deleted of the old one is no matter any more.
    pub(crate) fn replace_catalogue(&self, plan: Plan) {
        self.images.replace(plan);
        self.store.uncover();
    }

    fn unknown(&self, repository: &str, fault: Fault, what: impl std::fmt::Display) -> Problem {
        match self.images.repository(repository) {
            Err(reason) if !self.store.knows(repository) => Problem::new(Fault::NameUnknown, reason),
            _ => Problem::new(fault, format!("`{repository}` has no `{what}`")),
        }
    }

    /// What is held at this moment.
    pub(crate) fn levels(&self) -> Levels {
        let holdings = self.store.holdings();
        Levels {
            stored_bytes: holdings.bytes,
            spilled_bytes: holdings.spilled,
            recipes: holdings.recipes,
            blobs_stored: holdings.blobs,
            uploads_open: self.uploads.count(),
        }
    }

    /// What has been counted and what is held.
    pub(crate) fn counters(&self) -> Counters {
        self.telemetry.settle();
        Counters {
            totals: self.telemetry.metrics.totals(),
            levels: self.levels(),
            tallied: self.telemetry.tally.tallied(),
            open_connections: self.telemetry.metrics.open_connections.get().unsigned_abs(),
            journal: self.telemetry.journal.extent(),
        }
    }

    /// Forgets uploads, pushed content, journal and counters; the catalogue stays.
    pub(crate) fn reset(&self, run_id: Option<&str>) {
        self.uploads.clear();
        self.store.clear();
        self.meters.reset();
        // Whoever has its answer already is part of what is forgotten.
        self.telemetry.settle();
        self.telemetry.journal.clear();
        self.telemetry.journal.begin_run(run_id);
        self.telemetry.metrics.reset();
        self.telemetry.tally.reset();
    }
}

fn deleted(removed: Result<bool, Full>) -> Result<(), Problem> {
    removed.map(drop).map_err(|error| Problem::new(Fault::TooManyEntries, error.to_string()))
}

/// The first `most` names of two sorted lists.
fn merged(one: Vec<String>, other: Vec<String>, most: usize) -> Vec<String> {
    let mut all = one;
    if !other.is_empty() {
        all.extend(other);
        // Two sorted runs: a merge, for this sort.
        all.sort();
        all.dedup();
    }
    all.truncate(most);
    all
}
