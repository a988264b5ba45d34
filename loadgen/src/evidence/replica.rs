//! The replica check: every image read back from the destination and compared with the source, tag by tag, down to
//! the bytes of layers. All images are checked before anything is reported.
//!
//! Manifests must be equal byte for byte. Images of up to [`WHOLE_LIMIT`] bytes, and all of them when asked, are read
//! back whole and hashed; of larger ones at least [`SAMPLED_PERCENT`] % of the bytes, compared with the same bytes of
//! the source. Nothing here knows the replicator that made the copy; it shares its client and its way of downloading.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::StatusCode;
use mockreg_proto::digest::Digest;
use mockreg_proto::seed::Seed;
use tokio::task::JoinSet;

use super::finding::{Finding, summary};
use super::read_back::{Piece, fetch_piece};
use super::sample;
use crate::cancel::CancelToken;
use crate::client::{Client, ClientConfig, Endpoint, Remote, RequestError, Side, Traffic};
use crate::replicator::{
    Blob, Contents, CopyError, ImageJob, ImageReference, Manifest, Pull, PullError, RetryContext,
    RetryPolicy, Step, Subject, fetch_manifest, list_tags,
};
use crate::result::Replica;

/// How a replica is checked.
#[derive(Clone, Debug)]
pub struct ReplicaCheck {
    /// The source registry, past any proxy.
    pub source: Endpoint,
    /// The destination registry, past any proxy.
    pub dest: Endpoint,
    /// Read everything back, whatever its size.
    pub full: bool,
    /// Chooses which bytes are sampled.
    pub seed: u64,
}

/// Images of up to so many bytes are read back whole.
pub const WHOLE_LIMIT: u64 = 64 << 20;
/// Share of the bytes of larger images that is read back at least.
pub const SAMPLED_PERCENT: u64 = 5;

/// What the checks of all images share.
#[derive(Debug)]
struct Checker {
    client: Client,
    source: Remote,
    dest: Remote,
    full: bool,
    retry: RetryContext,
    /// Blobs read back whole and right, by repository of the destination; images share layers.
    verified: Mutex<HashSet<(String, Digest)>>,
}

impl ReplicaCheck {
    /// Checks `images`, each under its source and its destination name.
    ///
    /// # Errors
    /// It was told to stop. An image whose manifest cannot be read is unreadable; one of whose blobs cannot be is
    /// mismatched, for it has not been shown to be equal.
    pub async fn run(&self, images: &[ImageJob], cancel: &CancelToken) -> Result<Replica, CopyError> {
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(CopyError::Cancelled),
            replica = check_all(Arc::new(self.checker()), images) => Ok(replica),
        }
    }

    fn checker(&self) -> Checker {
        let traffic = Arc::new(Traffic::new());
        let limits = ClientConfig { max_connections: CONNECTIONS, idle_timeout: IDLE_TIMEOUT };
        Checker {
            client: Client::new(limits, traffic.clone()),
            source: Remote { side: Side::Source, endpoint: self.source.clone() },
            dest: Remote { side: Side::Dest, endpoint: self.dest.clone() },
            full: self.full,
            retry: RetryContext {
                policy: RETRIES,
                seed: Seed::root(self.seed),
                traffic,
                retries: Arc::default(),
            },
            verified: Mutex::default(),
        }
    }
}

/// `loadgen verify SRC DST` without its command line: one image, or every tag that the source repository has.
///
/// # Errors
/// The tags could not be listed, or it was told to stop.
pub async fn verify_command(
    source: &ImageReference,
    dest: &ImageReference,
    full: bool,
    seed: u64,
    cancel: &CancelToken,
) -> Result<Replica, CopyError> {
    let check = ReplicaCheck { source: source.endpoint.clone(), dest: dest.endpoint.clone(), full, seed };
    let tags = match &source.tag {
        Some(tag) => vec![tag.to_string()],
        None => {
            let checker = check.checker();
            let repository = source.repository.as_str();
            let mut retrier =
                checker.retry.retrier(subject(Side::Source, repository, "", None, Step::ListTags));
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(CopyError::Cancelled),
                tags = list_tags(&checker.client, &checker.source, repository, &mut retrier) => tags?,
            }
        }
    };
    let image = |tag: &String| ImageJob {
        source_repository: source.repository.to_string(),
        source_tag: tag.clone(),
        dest_repository: dest.repository.to_string(),
        dest_tag: dest.tag.as_ref().map_or_else(|| tag.clone(), ToString::to_string),
    };
    check.run(&tags.iter().map(image).collect::<Vec<_>>(), cancel).await
}

async fn check_all(checker: Arc<Checker>, images: &[ImageJob]) -> Replica {
    let mut waiting = images.iter().cloned().enumerate();
    let mut checking = JoinSet::new();
    let mut findings: Vec<(usize, Finding)> = Vec::with_capacity(images.len());
    loop {
        while checking.len() < IMAGES_AT_ONCE
            && let Some((index, image)) = waiting.next()
        {
            let checker = checker.clone();
            checking.spawn(async move { (index, checker.image(&image).await) });
        }
        match checking.join_next().await {
            None => break,
            Some(Ok(finding)) => findings.push(finding),
            Some(Err(failure)) => {
                if let Ok(panic) = failure.try_into_panic() {
                    std::panic::resume_unwind(panic);
                }
            }
        }
    }
    findings.sort_by_key(|(index, _)| *index);
    summary(images.len() as u64, findings.into_iter().map(|(_, finding)| finding))
}

impl Checker {
    async fn image(&self, image: &ImageJob) -> Finding {
        let name = format!("{}:{}", image.dest_repository, image.dest_tag);
        let wanted = match self.manifest(Side::Source, image, &image.source_tag, None).await {
            Ok(manifest) => manifest,
            Err(error) => return Finding::Unreadable(format!("{name}: {}", told(&error))),
        };
        let found = match self.manifest(Side::Dest, image, &image.dest_tag, None).await {
            Ok(manifest) => manifest,
            Err(error) if is_absent(&error) => {
                return Finding::Missing(format!("{name}: not at the destination"));
            }
            Err(error) => return Finding::Unreadable(format!("{name}: {}", told(&error))),
        };
        if wanted.digest != found.digest {
            let problem = format!("{name}: manifest is {}, not {}", found.digest, wanted.digest);
            return Finding::Mismatched(vec![problem]);
        }
        let mut problems = Vec::new();
        let blobs = self.blobs(image, found, &mut problems).await;
        let finding = self.compare(image, &blobs, &mut problems).await;
        if problems.is_empty() {
            return finding;
        }
        Finding::Mismatched(problems.into_iter().map(|problem| format!("{name}: {problem}")).collect())
    }

    /// Every blob of an image or, through their manifests, of all images of an index.
    async fn blobs(&self, image: &ImageJob, top: Manifest, problems: &mut Vec<String>) -> BTreeSet<Blob> {
        let mut blobs = BTreeSet::new();
        let mut manifests = vec![top];
        let mut seen = HashSet::new();
        while let Some(manifest) = manifests.pop() {
            match manifest.contents() {
                Ok(Contents::Image(found)) => blobs.extend(found),
                Ok(Contents::Index(children)) => {
                    for child in children.into_iter().filter(|child| seen.insert(*child)) {
                        match self.manifest(Side::Dest, image, &child.to_string(), Some(child)).await {
                            Ok(manifest) => manifests.push(manifest),
                            Err(error) => problems.push(told(&error)),
                        }
                    }
                }
                Err(problem) => problems.push(problem),
            }
        }
        blobs
    }

    /// Reads the blobs back, whole or in part. All of them, whatever is found.
    async fn compare(&self, image: &ImageJob, blobs: &BTreeSet<Blob>, problems: &mut Vec<String>) -> Finding {
        let size: u64 = blobs.iter().map(|blob| blob.size).sum();
        let whole = self.full || size <= WHOLE_LIMIT;
        let mut read = 0;
        for blob in blobs {
            let compared =
                if whole { self.hash(image, *blob).await } else { self.sample(image, *blob).await };
            match compared {
                Ok(count) => read += count,
                Err(problem) => problems.push(problem),
            }
        }
        if whole { Finding::Exact } else { Finding::Sampled { read, size } }
    }

    /// Reads a blob whole and hashes it. The number of its bytes, or what is wrong with it.
    async fn hash(&self, image: &ImageJob, blob: Blob) -> Result<u64, String> {
        let key = (image.dest_repository.clone(), blob.digest);
        if self.verified.lock().expect("inserting does not panic").contains(&key) {
            return Ok(blob.size);
        }
        let retrier = self.retry.retrier(about(Side::Dest, image, Some(blob.digest), Step::PullBlob));
        let mut pull = Pull::new(self.client.clone(), self.dest.clone(), &key.0, blob, true, retrier);
        let slots = self.client.slots(1).await;
        let mut left = blob.size;
        while left > 0 {
            match pull.next(&slots, left).await {
                Ok(frame) => left -= frame.len() as u64,
                Err(PullError::Failed(error)) => return Err(told(&error)),
                Err(PullError::Wrong(cause)) => return Err(format!("blob {}: {cause}", blob.digest)),
            }
        }
        self.verified.lock().expect("inserting does not panic").insert(key);
        Ok(blob.size)
    }

    /// Compares pieces of a blob. How many bytes were compared, or what is wrong with it.
    async fn sample(&self, image: &ImageJob, blob: Blob) -> Result<u64, String> {
        if blob.size <= sample::PIECE {
            return self.hash(image, blob).await;
        }
        let seed =
            self.retry.seed.child(["sample".to_owned(), image.dest_repository.clone(), blob.digest.hex()]);
        let mut read = 0;
        for range in sample::pieces(&seed, blob.size, SAMPLED_PERCENT) {
            let piece = |side, repository| {
                let remote = if side == Side::Source { &self.source } else { &self.dest };
                let retrier = self.retry.retrier(about(side, image, Some(blob.digest), Step::PullBlob));
                fetch_piece(&self.client, remote, repository, blob, range, retrier)
            };
            let (wanted, found) = tokio::join!(
                piece(Side::Source, image.source_repository.as_str()),
                piece(Side::Dest, image.dest_repository.as_str())
            );
            match (wanted.map_err(|e| told(&e))?, found.map_err(|e| told(&e))?) {
                (Piece::Bytes(wanted), Piece::Bytes(found)) if wanted == found => read += range.len(),
                (Piece::Bytes(_), Piece::Bytes(_)) => {
                    return Err(format!("blob {}: other bytes than the source's in {range}", blob.digest));
                }
                // A registry without ranges is read whole.
                _ => return self.hash(image, blob).await,
            }
        }
        Ok(read)
    }

    async fn manifest(
        &self,
        side: Side,
        image: &ImageJob,
        reference: &str,
        digest: Option<Digest>,
    ) -> Result<Manifest, CopyError> {
        let (remote, repository) = match side {
            Side::Source => (&self.source, &image.source_repository),
            Side::Dest => (&self.dest, &image.dest_repository),
        };
        let mut retrier = self.retry.retrier(about(side, image, digest, Step::GetManifest));
        fetch_manifest(&self.client, remote, repository, reference, &mut retrier).await
    }
}

/// What a request on behalf of `image` is about.
fn about(side: Side, image: &ImageJob, digest: Option<Digest>, step: Step) -> Subject {
    match side {
        Side::Source => subject(side, &image.source_repository, &image.source_tag, digest, step),
        Side::Dest => subject(side, &image.dest_repository, &image.dest_tag, digest, step),
    }
}

fn subject(side: Side, repository: &str, tag: &str, digest: Option<Digest>, step: Step) -> Subject {
    Subject { side, repository: repository.into(), tag: tag.into(), digest: digest.map(Box::new), step }
}

fn is_absent(error: &CopyError) -> bool {
    error.cause().and_then(RequestError::status) == Some(StatusCode::NOT_FOUND)
}

/// An error with its cause.
fn told(error: &CopyError) -> String {
    error.cause().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

/// Of both sides together; the check is not under load, so a few fill the machine.
const CONNECTIONS: usize = 32;
/// Images read back at once. Two pieces or some frames each are held.
const IMAGES_AT_ONCE: usize = 8;
/// A registry read past any proxy has no reason to be silent for so long.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// For a registry that is busy, not for faults: there are none on this way.
const RETRIES: RetryPolicy = RetryPolicy {
    attempts: 5,
    base: Duration::from_millis(100),
    cap: Duration::from_secs(1),
    give_up: Duration::from_secs(60),
};
