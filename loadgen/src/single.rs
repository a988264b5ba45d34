//! `loadgen copy` and `loadgen verify`: one image or one repository, without a scenario. What they do is the
//! replicator's and the replica check's business; here is what they say.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hyper::Method;
use serde_json::json;

use crate::cancel::CancelToken;
use crate::cli::{CopyArgs, VerifyArgs};
use crate::control::{Control, ControlError};
use crate::evidence::replica::verify_command;
use crate::replicator::{
    CopiedTag, CopyCommand, CopyError, ImageReference, ReplicatorConfig, Telemetry, Verify, copy_command,
};
use crate::{causes, say};

/// Copies; returns the exit code.
pub async fn copy(args: &CopyArgs, cancel: &CancelToken) -> u8 {
    let (source, dest) = match references(&args.source, &args.dest).await {
        Ok(references) => references,
        Err(code) => return code,
    };
    let verify = if args.verify == "none" { Verify::None } else { Verify::Sha256 };
    let command =
        CopyCommand { source, dest, config: ReplicatorConfig { verify, ..ReplicatorConfig::default() } };
    let telemetry = Arc::new(Telemetry::new());
    let started = Instant::now();
    match copy_command(&command, Arc::clone(&telemetry), cancel).await {
        Ok(summary) => {
            let seconds = started.elapsed().as_secs_f64();
            if args.json {
                let tags: Vec<_> = summary.tags.iter().map(tag_record).collect();
                let payload = telemetry.payload_bytes();
                say!("{}", json!({"seconds": seconds, "payload_bytes": payload, "tags": tags}));
            } else {
                summary.tags.iter().for_each(|tag| say!("{}", tag_line(tag)));
                let megabytes = telemetry.payload_bytes() as f64 / 1e6;
                say!("{megabytes:.1} MB in {seconds:.2} s, {:.1} MB/s", megabytes / seconds);
            }
            let cancelled =
                summary.tags.iter().any(|tag| tag.outcome.as_ref().is_err_and(CopyError::is_cancelled));
            exit_code(summary.is_complete(), cancelled)
        }
        Err(error) => report(&error),
    }
}

/// Compares; returns the exit code.
pub async fn verify(args: &VerifyArgs, cancel: &CancelToken) -> u8 {
    let (source, dest) = match references(&args.source, &args.dest).await {
        Ok(references) => references,
        Err(code) => return code,
    };
    match verify_command(&source, &dest, args.verify_full, 1, cancel).await {
        Ok(replica) => {
            if args.json {
                say!("{}", serde_json::to_string(&replica).expect("findings are plain data"));
            } else {
                say!("{}", crate::report::replica_line(&replica));
                replica.problems.iter().for_each(|problem| say!("  {problem}"));
            }
            if replica.unreadable > 0 && replica.mismatched + replica.missing == 0 {
                return ENVIRONMENT;
            }
            exit_code(replica.is_exact(), false)
        }
        Err(error) => report(&error),
    }
}

/// Both images, at registries that answer: what does not even listen is no matter of retries.
async fn references(source: &str, dest: &str) -> Result<(ImageReference, ImageReference), u8> {
    let (source, dest) = (reference(source)?, reference(dest)?);
    for image in [&source, &dest] {
        let registry = Control::try_new(&format!("http://{}", image.endpoint.authority()));
        let answer = match registry {
            Ok(registry) => registry.call(Method::GET, "/v2/", Bytes::new()).await,
            Err(error) => Err(error),
        };
        match answer {
            // A registry that refuses is there.
            Ok(_) | Err(ControlError::Refused { .. }) => {}
            Err(error) => {
                eprintln!("{}", causes(&error));
                return Err(ENVIRONMENT);
            }
        }
    }
    Ok((source, dest))
}

/// Reads `host:port/repository:tag`, and `docker://` before it as skopeo writes it.
fn reference(text: &str) -> Result<ImageReference, u8> {
    text.trim_start_matches("docker://").parse().map_err(|error| {
        eprintln!("{text}: {}", causes(&error));
        USAGE
    })
}

fn tag_record(tag: &CopiedTag) -> serde_json::Value {
    let image = format!("{}:{}", tag.job.source_repository, tag.job.source_tag);
    match &tag.outcome {
        Ok(report) => json!({
            "image": image,
            "digest": report.manifest_digest,
            "payload_bytes": report.bytes_payload,
            "reused_bytes": report.bytes_reused,
            "retries": report.retries,
        }),
        Err(error) => json!({"image": image, "error": causes(error)}),
    }
}

fn tag_line(tag: &CopiedTag) -> String {
    let image = format!("{}:{}", tag.job.source_repository, tag.job.source_tag);
    match &tag.outcome {
        Ok(report) => format!("{image}  {}  {} retries", report.manifest_digest, report.retries),
        Err(error) => format!("{image}  failed: {}", causes(error)),
    }
}

fn report(error: &CopyError) -> u8 {
    eprintln!("{}", causes(error));
    exit_code(false, error.is_cancelled())
}

const fn exit_code(complete: bool, cancelled: bool) -> u8 {
    match (cancelled, complete) {
        (true, _) => INTERRUPTED,
        (false, true) => 0,
        (false, false) => FAILED,
    }
}

/// It was done, and the answer is no.
const FAILED: u8 = 1;
/// Usage or configuration.
const USAGE: u8 = 2;
/// Something could not be reached.
const ENVIRONMENT: u8 = 3;
/// Stopped by a person.
const INTERRUPTED: u8 = 130;
