//! Comparing two repositories, or two whole registries, byte for byte: tags, the manifests they name, what those name
//! and what refers to them. It reads both sides as any client would, so either may be another program. Nothing is kept
//! but digests: bytes are hashed as they come, on a few connections at once. Here is what can be asked for; `work` does
//! it.

mod address;
mod answer;
mod blob;
mod challenge;
mod connection;
mod listing;
mod login;
mod manifest;
mod referrers;
mod remote;
mod report;
mod work;

use std::collections::BTreeSet;
use std::sync::Arc;

pub use self::address::{Address, AddressError, Credentials, CredentialsError};
pub use self::remote::RemoteError;
pub use self::report::{Difference, DifferenceKind, Outcome, Report, Side, Tags};
use self::work::Work;
pub use crate::authorities::{Authorities, CertificateError};

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
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// One names a repository and the other a whole registry.
    #[error(
        "one address names a repository and the other a whole registry; name a repository in both or in neither"
    )]
    Unlike,
    /// Nobody can be believed, and an address is of `https`.
    #[error(transparent)]
    Certificates(#[from] CertificateError),
    /// A tag is named at the destination only.
    #[error("the destination's address names a tag and the source's none; name one there too")]
    TagOfDestination,
    /// Tags are named in the addresses and besides.
    #[error("the source's address names a tag, so no other can be named with --tag (`tags`)")]
    TagsTwice,
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
    /// Compares the tags that the addresses name, or all; what only the destination has counts as a difference.
    ///
    /// # Errors
    /// The two cannot be compared.
    pub fn try_new(source: Address, destination: Address) -> Result<Self, PlanError> {
        if source.repository().is_some() != destination.repository().is_some() {
            return Err(PlanError::Unlike);
        }
        if source.tag().is_none() && destination.tag().is_some() {
            return Err(PlanError::TagOfDestination);
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

    /// Only these tags. None at all means those of the addresses, else every tag.
    #[must_use]
    pub fn tags(mut self, tags: impl IntoIterator<Item = String>) -> Self {
        self.tags.extend(tags);
        self
    }

    /// Whether the destination may have repositories, tags and referrers that the source has not.
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
        if addresses.iter().any(|address| address.is_tls()) {
            self.authorities.config()?;
        }
        if self.source.repository().is_none() && !self.tags.is_empty() {
            return Err(PlanError::TagsOfRegistry);
        }
        if self.source.tag().is_some() && !self.tags.is_empty() {
            return Err(PlanError::TagsTwice);
        }
        let work = Arc::new(Work::new(self, Box::new(progress)));
        let failed = Arc::clone(&work).compare().await.err();
        Ok(work.report(failed.as_ref()))
    }
}
