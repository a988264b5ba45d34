//! One image: manifest, what it refers to, and the manifest again at the end.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use mockreg_proto::digest::Digest;
use mockreg_proto::seed::Seed;
use tokio::task::{JoinError, JoinSet};

use super::error::{CopyError, Step, Subject};
use super::flight::{Boarding, Destination};
use super::manifest::{self, Blob, Contents, Manifest, Put};
use super::retry::RetryContext;
use super::{BLOBS_AT_ONCE, ImageJob, ImageReport, Parts, blob};
use crate::client::{Reason, RequestError, Side};

/// One image on its way, and what it has come to so far.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) image: ImageJob,
    pub(super) retry: RetryContext,
    payload: AtomicU64,
    reused: AtomicU64,
}

impl Job {
    fn new(parts: &Parts, image: ImageJob) -> Self {
        let retry = RetryContext {
            policy: parts.config.retries,
            seed: Seed::root(parts.config.seed),
            traffic: parts.telemetry.traffic.clone(),
            retries: Arc::default(),
        };
        Self { image, retry, payload: AtomicU64::new(0), reused: AtomicU64::new(0) }
    }

    pub(super) fn committed(&self, parts: &Parts, bytes: u64) {
        self.payload.fetch_add(bytes, Relaxed);
        parts.telemetry.committed(bytes);
    }

    pub(super) fn reused(&self, parts: &Parts, bytes: u64) {
        self.reused.fetch_add(bytes, Relaxed);
        parts.telemetry.reuse(bytes);
    }

    pub(super) fn subject(&self, side: Side, step: Step, digest: Option<Digest>) -> Subject {
        let (repository, tag) = match side {
            Side::Source => (&self.image.source_repository, &self.image.source_tag),
            Side::Dest => (&self.image.dest_repository, &self.image.dest_tag),
        };
        Subject { side, repository: repository.clone(), tag: tag.clone(), digest: digest.map(Box::new), step }
    }

    fn report(&self, manifest_digest: Digest) -> ImageReport {
        ImageReport {
            bytes_payload: self.payload.load(Relaxed),
            bytes_reused: self.reused.load(Relaxed),
            retries: self.retry.retries.load(Relaxed),
            manifest_digest,
        }
    }
}

/// Copies an image, or finds that the destination has it.
pub(super) async fn copy(parts: Arc<Parts>, image: ImageJob) -> Result<ImageReport, CopyError> {
    let job = Arc::new(Job::new(&parts, image));
    let there = look(&parts, &job, &job.image.dest_tag, None).await?;
    let manifest = fetch(&parts, &job, &job.image.source_tag, None).await?;
    if there == Some(manifest.digest) {
        job.reused(&parts, size_of(&job, &manifest)?);
    } else {
        let tag = job.image.dest_tag.clone();
        commit(&parts, &job, &manifest, &tag, None, 0).await?;
    }
    Ok(job.report(manifest.digest))
}

/// Brings what `manifest` refers to and then commits it as `reference`.
async fn commit(
    parts: &Arc<Parts>,
    job: &Arc<Job>,
    manifest: &Manifest,
    reference: &str,
    digest: Option<Digest>,
    depth: usize,
) -> Result<(), CopyError> {
    let contents = read(job, manifest)?;
    let mut retrier = job.retry.retrier(job.subject(Side::Dest, Step::PutManifest, digest));
    let mut rounds = 0;
    loop {
        bring(parts, job, &contents, depth).await?;
        let repository = &job.image.dest_repository;
        let put =
            manifest::put(&parts.client, &parts.dest, repository, reference, manifest, &mut retrier).await?;
        match put {
            Put::Committed => {
                job.committed(parts, manifest.bytes.len() as u64);
                return Ok(());
            }
            Put::BlobsMissing(cause) if rounds < ROUNDS => {
                rounds += 1;
                parts.flights.forget(destinations(job, &contents));
                retrier.failed(RequestError::wrong(Reason::BlobsLost, cause.to_string())).await?;
            }
            Put::BlobsMissing(cause) => return Err(retrier.refuse(cause)),
        }
    }
}

async fn bring(
    parts: &Arc<Parts>,
    job: &Arc<Job>,
    contents: &Contents,
    depth: usize,
) -> Result<(), CopyError> {
    match contents {
        Contents::Image(blobs) => bring_blobs(parts, job, blobs).await,
        Contents::Index(children) => {
            for child in children {
                bring_child(parts, job, *child, depth + 1).await?;
            }
            Ok(())
        }
    }
}

/// Copies the blobs, a few at once. The first failure ends the others.
async fn bring_blobs(parts: &Arc<Parts>, job: &Arc<Job>, blobs: &[Blob]) -> Result<(), CopyError> {
    let mut waiting = blobs.iter();
    let mut copying = JoinSet::new();
    loop {
        while copying.len() < BLOBS_AT_ONCE
            && let Some(blob) = waiting.next()
        {
            copying.spawn(blob::copy(parts.clone(), job.clone(), *blob));
        }
        match copying.join_next().await {
            None => return Ok(()),
            Some(copied) => joined(copied)??,
        }
    }
}

/// What a task returned. Its panic goes on here; a task ended from outside means that the runtime is going down.
pub(super) fn joined<T>(ended: Result<T, JoinError>) -> Result<T, CopyError> {
    ended.map_err(|failure| match failure.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => CopyError::Cancelled,
    })
}

/// A manifest of an index, once per destination like a blob. Boxed: an index may hold indexes.
fn bring_child<'a>(
    parts: &'a Arc<Parts>,
    job: &'a Arc<Job>,
    digest: Digest,
    depth: usize,
) -> Pin<Box<dyn Future<Output = Result<(), CopyError>> + Send + 'a>> {
    Box::pin(async move {
        let subject = job.subject(Side::Source, Step::GetManifest, Some(digest));
        if depth > DEPTH_LIMIT {
            let problem = format!("an index nested more than {DEPTH_LIMIT} deep");
            return Err(CopyError::Manifest { subject, problem });
        }
        let destination = (job.image.dest_repository.clone(), digest);
        let pilot = match parts.flights.board(&destination).await {
            Boarding::Fly(pilot) => pilot,
            Boarding::Landed(landing) => return landing,
        };
        let landing = copy_child(parts, job, digest, depth).await;
        pilot.land(landing.clone());
        landing
    })
}

async fn copy_child(
    parts: &Arc<Parts>,
    job: &Arc<Job>,
    digest: Digest,
    depth: usize,
) -> Result<(), CopyError> {
    let reference = digest.to_string();
    let there = look(parts, job, &reference, Some(digest)).await?;
    let manifest = fetch(parts, job, &reference, Some(digest)).await?;
    if there == Some(digest) {
        job.reused(parts, size_of(job, &manifest)?);
        return Ok(());
    }
    commit(parts, job, &manifest, &reference, Some(digest), depth).await
}

async fn look(
    parts: &Parts,
    job: &Job,
    reference: &str,
    digest: Option<Digest>,
) -> Result<Option<Digest>, CopyError> {
    let mut retrier = job.retry.retrier(job.subject(Side::Dest, Step::HeadManifest, digest));
    manifest::look(&parts.client, &parts.dest, &job.image.dest_repository, reference, &mut retrier).await
}

async fn fetch(
    parts: &Parts,
    job: &Job,
    reference: &str,
    digest: Option<Digest>,
) -> Result<Manifest, CopyError> {
    let mut retrier = job.retry.retrier(job.subject(Side::Source, Step::GetManifest, digest));
    manifest::fetch(&parts.client, &parts.source, &job.image.source_repository, reference, &mut retrier).await
}

fn read(job: &Job, manifest: &Manifest) -> Result<Contents, CopyError> {
    manifest.contents().map_err(|problem| CopyError::Manifest {
        subject: job.subject(Side::Source, Step::GetManifest, Some(manifest.digest)),
        problem,
    })
}

/// Bytes of a manifest and what it refers to directly.
fn size_of(job: &Job, manifest: &Manifest) -> Result<u64, CopyError> {
    let blobs = match read(job, manifest)? {
        Contents::Image(blobs) => blobs.iter().map(|blob| blob.size).sum(),
        Contents::Index(_) => 0,
    };
    Ok(manifest.bytes.len() as u64 + blobs)
}

fn destinations(job: &Job, contents: &Contents) -> Vec<Destination> {
    let repository = &job.image.dest_repository;
    match contents {
        Contents::Image(blobs) => blobs.iter().map(|blob| (repository.clone(), blob.digest)).collect(),
        Contents::Index(children) => children.iter().map(|child| (repository.clone(), *child)).collect(),
    }
}

/// Further rounds after a registry has lost what it had: once for a restarted registry, once more for bad luck.
const ROUNDS: u32 = 2;
/// Indexes of indexes are allowed by the specification and not made by any builder; this stops a loop, which only a
/// broken hash could make, and a chain made in bad faith.
const DEPTH_LIMIT: usize = 4;
