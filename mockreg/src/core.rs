//! The registry without its ports: what it holds and can make, and where a name is looked up. Pushed content comes
//! first, then the catalogue, then what can be made from a name.

use std::sync::Arc;

use mockreg_proto::digest::Digest;
use mockreg_proto::reference::Reference;
use mockreg_synth::Tables;

use crate::auth::Guard;
use crate::config::Limits;
use crate::content::Content;
use crate::exchange::Telemetry;
use crate::images::Images;
use crate::metrics::Levels;
use crate::problem::{Fault, Problem};
use crate::sink::Workshop;
use crate::store::{Manifest, Store};
use crate::upload::Uploads;

/// Everything that requests share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) workshop: Workshop,
    pub(crate) images: Images,
    pub(crate) store: Store,
    pub(crate) uploads: Uploads,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) limits: Limits,
    pub(crate) auth: Guard,
}

impl Core {
    fn tables(&self) -> &Arc<Tables> {
        &self.workshop.tables
    }

    /// A blob that `repository` has; `None` if it has not.
    pub(crate) async fn find_blob(&self, repository: &str, digest: &Digest) -> Option<Content> {
        if let Some(pushed) = self.store.blob(repository, digest) {
            return Some(pushed);
        }
        self.images.repository(repository).ok()?.built(self.tables()).await.blob(digest)
    }

    /// A manifest that `repository` has; `None` if it has not.
    pub(crate) async fn find_manifest(
        &self,
        repository: &str,
        reference: &Reference,
    ) -> Option<Arc<Manifest>> {
        if let Some(pushed) = self.store.manifest(repository, reference) {
            return Some(pushed);
        }
        self.images.repository(repository).ok()?.built(self.tables()).await.manifest(reference)
    }

    /// As [`Core::find_blob`].
    ///
    /// # Errors
    /// The blob, or the whole repository, is unknown.
    pub(crate) async fn blob(&self, repository: &str, digest: &Digest) -> Result<Content, Problem> {
        self.find_blob(repository, digest)
            .await
            .ok_or_else(|| self.unknown(repository, Fault::BlobUnknown, digest))
    }

    /// As [`Core::find_manifest`].
    ///
    /// # Errors
    /// The manifest, or the whole repository, is unknown.
    pub(crate) async fn manifest(
        &self,
        repository: &str,
        reference: &Reference,
    ) -> Result<Arc<Manifest>, Problem> {
        let found = self.find_manifest(repository, reference).await;
        found.ok_or_else(|| self.unknown(repository, Fault::ManifestUnknown, reference))
    }

    /// The tags of `repository`, sorted.
    ///
    /// # Errors
    /// The repository is unknown.
    pub(crate) async fn tags(&self, repository: &str) -> Result<Vec<String>, Problem> {
        let pushed = self.store.tags(repository);
        let made = match self.images.repository(repository) {
            Ok(images) => images.built(self.tables()).await.tags(),
            Err(_) if pushed.is_some() => Vec::new(),
            Err(reason) => return Err(Problem::new(Fault::NameUnknown, reason)),
        };
        Ok(merged(pushed.unwrap_or_default(), made))
    }

    /// All repositories that are listed: those pushed to and those of the catalogue.
    pub(crate) fn repositories(&self) -> Vec<String> {
        merged(self.store.repositories(), self.images.names())
    }

    fn unknown(&self, repository: &str, fault: Fault, what: impl std::fmt::Display) -> Problem {
        match self.images.repository(repository) {
            Err(reason) if self.store.tags(repository).is_none() => Problem::new(Fault::NameUnknown, reason),
            _ => Problem::new(fault, format!("`{repository}` has no `{what}`")),
        }
    }

    /// What is held at this moment.
    pub(crate) fn levels(&self) -> Levels {
        let holdings = self.store.holdings();
        Levels {
            stored_bytes: holdings.bytes,
            recipes: holdings.recipes,
            blobs_stored: holdings.blobs,
            uploads_open: self.uploads.count(),
        }
    }

    /// Forgets uploads, pushed content, journal and counters; the catalogue stays.
    pub(crate) fn reset(&self, run_id: Option<&str>) {
        self.uploads.clear();
        self.store.clear();
        // Whoever has its answer already is part of what is forgotten.
        self.telemetry.settle();
        self.telemetry.journal.clear();
        self.telemetry.journal.begin_run(run_id);
        self.telemetry.metrics.reset();
    }
}

fn merged(one: Vec<String>, other: Vec<String>) -> Vec<String> {
    let mut all = one;
    all.extend(other);
    all.sort_unstable();
    all.dedup();
    all
}
