//! `loadgen copy SRC DST` without its command line: one image, or every tag of a repository.

use std::sync::Arc;

use mockreg_proto::seed::Seed;
use tokio::task::JoinSet;

use super::error::{CopyError, Step, Subject};
use super::image::joined;
use super::reference::ImageReference;
use super::retry::RetryContext;
use super::{ImageJob, ImageReport, Replicator, ReplicatorConfig, Telemetry, tags};
use crate::cancel::CancelToken;
use crate::client::Side;

/// What to copy.
#[derive(Clone, Debug)]
pub struct CopyCommand {
    /// From where; without a tag, every tag of the repository.
    pub source: ImageReference,
    /// To where; without a tag, under the tag of the source. A tag here without one there cannot be.
    pub dest: ImageReference,
    /// How.
    pub config: ReplicatorConfig,
}

/// One tag of [`CopySummary`].
#[derive(Clone, Debug)]
pub struct CopiedTag {
    /// What was to be copied.
    pub job: ImageJob,
    /// What became of it.
    pub outcome: Result<ImageReport, CopyError>,
}

/// What became of every tag, in the order of their names.
#[derive(Clone, Debug, Default)]
pub struct CopySummary {
    /// The tags.
    pub tags: Vec<CopiedTag>,
}

impl CopySummary {
    /// Whether every tag is at the destination.
    pub fn is_complete(&self) -> bool {
        self.tags.iter().all(|tag| tag.outcome.is_ok())
    }
}

/// Copies what `command` names, `tags_in_parallel` images at once. Failures of single tags are in the summary and do
/// not stop the others.
///
/// # Errors
/// The tags of the source could not be listed, or the command asks for many tags under one name.
pub async fn copy_command(
    command: &CopyCommand,
    telemetry: Arc<Telemetry>,
    cancel: &CancelToken,
) -> Result<CopySummary, CopyError> {
    let source = command.source.endpoint.clone();
    let dest = command.dest.endpoint.clone();
    let replicator = Replicator::new(command.config.clone(), source, dest, telemetry);
    let jobs = tokio::select! {
        biased;
        () = cancel.cancelled() => return Err(CopyError::Cancelled),
        jobs = jobs(command, &replicator) => jobs?,
    };
    let mut waiting = jobs.into_iter();
    let mut copying = JoinSet::new();
    let mut summary = CopySummary::default();
    loop {
        while copying.len() < command.config.tags_in_parallel.max(1)
            && let Some(job) = waiting.next()
        {
            let (replicator, cancel) = (replicator.clone(), cancel.clone());
            copying.spawn(async move { CopiedTag { outcome: replicator.copy(&job, &cancel).await, job } });
        }
        match copying.join_next().await {
            None => break,
            Some(tag) => summary.tags.push(joined(tag)?),
        }
    }
    summary.tags.sort_by(|a, b| a.job.cmp(&b.job));
    Ok(summary)
}

async fn jobs(command: &CopyCommand, replicator: &Replicator) -> Result<Vec<ImageJob>, CopyError> {
    let job = |source_tag: &str, dest_tag: &str| ImageJob {
        source_repository: command.source.repository.to_string(),
        source_tag: source_tag.to_owned(),
        dest_repository: command.dest.repository.to_string(),
        dest_tag: dest_tag.to_owned(),
    };
    let subject = Subject {
        side: Side::Source,
        repository: command.source.repository.to_string(),
        tag: String::new(),
        digest: None,
        step: Step::ListTags,
    };
    match (&command.source.tag, &command.dest.tag) {
        (Some(source), dest) => {
            let dest = dest.as_ref().unwrap_or(source);
            Ok(vec![job(source.as_str(), dest.as_str())])
        }
        (None, Some(tag)) => {
            let problem = format!("all tags cannot become the one tag `{tag}`; name a tag of the source too");
            Err(CopyError::Manifest { subject, problem })
        }
        (None, None) => {
            let parts = &replicator.parts;
            let retry = RetryContext {
                policy: command.config.retries,
                seed: Seed::root(command.config.seed),
                traffic: parts.telemetry.traffic.clone(),
                retries: Arc::default(),
            };
            let repository = command.source.repository.as_str();
            let tags =
                tags::list(&parts.client, &parts.source, repository, &mut retry.retrier(subject)).await?;
            Ok(tags.iter().map(|tag| job(tag, tag)).collect())
        }
    }
}
