//! The built-in replicator: copies images from one registry to another so that nothing is sent twice that need not
//! be, nothing is committed that is not what its digest says, and every fault on the way is met by a bounded retry.
//!
//! An image is copied as manifest → configuration and layers → manifest again, last: children of an index first, up
//! to [`BLOBS_AT_ONCE`] blobs of an image side by side. A blob streams from a `Pull`, which verifies it and
//! resumes broken downloads, into a `Push`, which sends it in chunks and resumes broken uploads; between them
//! are a few frames and nothing else. What happens once per destination repository (the look whether a blob is there,
//! and its transfer) happens in a `flight`, so that the set of requests does not depend on who comes first.
//!
//! How many images are copied at once is the caller's decision; connections are bounded by the client's pool.

mod backoff;
mod blob;
mod command;
mod config;
mod error;
mod flight;
mod image;
mod manifest;
mod pull;
mod push;
mod reference;
mod retry;
mod tags;
mod telemetry;

use std::sync::Arc;

pub use backoff::RetryPolicy;
pub use command::{CopiedTag, CopyCommand, CopySummary, copy_command};
pub use config::{ReplicatorConfig, Verify};
pub use error::{CopyError, Step, Subject};
pub(crate) use manifest::fetch as fetch_manifest;
pub use manifest::{Blob, Contents, Manifest};
pub(crate) use pull::{Pull, PullError};
pub use reference::{ImageReference, ReferenceError};
pub(crate) use retry::{Retrier, RetryContext};
pub(crate) use tags::list as list_tags;
pub use telemetry::Telemetry;

use crate::cancel::CancelToken;
use crate::client::{Client, ClientConfig, Endpoint, Remote, Side};
use flight::Flights;

/// Blobs of one image on their way at the same time. containers/image has six; four fill a link as well once several
/// images are copied at once, with less memory.
pub const BLOBS_AT_ONCE: usize = 4;

/// One image to copy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageJob {
    /// Repository at the source.
    pub source_repository: String,
    /// Tag at the source.
    pub source_tag: String,
    /// Repository at the destination.
    pub dest_repository: String,
    /// Tag at the destination.
    pub dest_tag: String,
}

/// What became of one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageReport {
    /// Bytes of blobs and manifests that this copy committed at the destination, each once.
    pub bytes_payload: u64,
    /// Bytes of blobs and manifests that were there already, or were brought by another image's copy.
    pub bytes_reused: u64,
    /// Further attempts after broken ones.
    pub retries: u64,
    /// Digest of the image's manifest or index, the same at both registries.
    pub manifest_digest: mockreg_proto::digest::Digest,
}

/// Copies images between two registries. One per pair of registries; safe to use from many tasks.
#[derive(Clone, Debug)]
pub struct Replicator {
    parts: Arc<Parts>,
}

/// What all copies share.
#[derive(Debug)]
pub(crate) struct Parts {
    config: ReplicatorConfig,
    client: Client,
    source: Remote,
    dest: Remote,
    telemetry: Arc<Telemetry>,
    flights: Arc<Flights>,
}

impl Replicator {
    /// A replicator from `source` to `dest` with a connection pool of its own.
    pub fn new(
        config: ReplicatorConfig,
        source: Endpoint,
        dest: Endpoint,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        let limits =
            ClientConfig { max_connections: config.max_connections, idle_timeout: config.idle_timeout };
        let parts = Parts {
            client: Client::new(limits, telemetry.traffic.clone()),
            config,
            source: Remote { side: Side::Source, endpoint: source },
            dest: Remote { side: Side::Dest, endpoint: dest },
            telemetry,
            flights: Arc::default(),
        };
        Self { parts: Arc::new(parts) }
    }

    /// Copies one image. Throwing `cancel` or dropping the future ends it at once: connections in use are closed,
    /// upload sessions are left to expire at the registry.
    ///
    /// # Errors
    /// See [`CopyError`]; nothing of the image's tag is changed at the destination then.
    pub async fn copy(&self, job: &ImageJob, cancel: &CancelToken) -> Result<ImageReport, CopyError> {
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(CopyError::Cancelled),
            report = image::copy(self.parts.clone(), job.clone()) => report,
        }
    }

    /// What this replicator has done so far.
    pub fn telemetry(&self) -> &Arc<Telemetry> {
        &self.parts.telemetry
    }
}
