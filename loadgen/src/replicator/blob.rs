//! One blob from source to destination.

use std::sync::Arc;

use super::error::{CopyError, Step, Subject};
use super::flight::Boarding;
use super::image::Job;
use super::manifest::Blob;
use super::pull::Pull;
use super::push::{Push, PushError, blob_exists};
use super::{Parts, Verify};
use crate::client::Side;

/// Sees to it that the destination has `blob`: looks, copies, or waits for whoever is copying it.
pub(super) async fn copy(parts: Arc<Parts>, job: Arc<Job>, blob: Blob) -> Result<(), CopyError> {
    let destination = (job.image.dest_repository.clone(), blob.digest);
    let pilot = match parts.flights.board(&destination).await {
        Boarding::Fly(pilot) => pilot,
        Boarding::Landed(landing) => {
            landing?;
            job.reused(&parts, blob.size);
            return Ok(());
        }
    };
    let landing = bring(&parts, &job, blob).await;
    pilot.land(landing.clone());
    landing
}

async fn bring(parts: &Parts, job: &Job, blob: Blob) -> Result<(), CopyError> {
    if is_there(parts, job, blob).await? {
        job.reused(parts, blob.size);
        return Ok(());
    }
    transfer(parts, job, blob).await?;
    job.committed(parts, blob.size);
    Ok(())
}

async fn is_there(parts: &Parts, job: &Job, blob: Blob) -> Result<bool, CopyError> {
    let mut retrier = job.retry.retrier(subject(job, Side::Dest, Step::HeadBlob, blob));
    loop {
        let slots = parts.client.slots(1).await;
        let looked = blob_exists(&parts.client, &parts.dest, &job.image.dest_repository, blob, &slots).await;
        drop(slots);
        match looked {
            Ok(there) => return Ok(there),
            Err(cause) => retrier.failed(cause).await?,
        }
    }
}

async fn transfer(parts: &Parts, job: &Job, blob: Blob) -> Result<(), CopyError> {
    let verify = parts.config.verify == Verify::Sha256;
    let retrier = |side, step| job.retry.retrier(subject(job, side, step, blob));
    let (client, config) = (&parts.client, &parts.config);
    let (source, dest) = (parts.source.clone(), parts.dest.clone());
    let from = &job.image.source_repository;
    let to = &job.image.dest_repository;
    let mut pull =
        Pull::new(client.clone(), source, from, blob, verify, retrier(Side::Source, Step::PullBlob));
    let mut push =
        Push::new(client.clone(), dest, to, blob, config.chunk, retrier(Side::Dest, Step::PushBlob));
    loop {
        let slots = client.slots(2).await;
        match push.attempt(&slots, &mut pull).await {
            Ok(()) => return Ok(()),
            Err(PushError::Failed(error)) => return Err(error),
            Err(PushError::Broken(cause)) => {
                // Others may use the connections while this one waits.
                drop(slots);
                push.failed(cause).await?;
            }
            Err(PushError::Wrong(cause)) => {
                push.abandon(&slots).await;
                drop(slots);
                pull.restart(cause).await?;
            }
        }
    }
}

fn subject(job: &Job, side: Side, step: Step, blob: Blob) -> Subject {
    job.subject(side, step, Some(blob.digest))
}
