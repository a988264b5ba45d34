//! `loadgen copy` and `loadgen verify`: one image or one repository, without a scenario. What they do is the
//! replicator's and the replica check's business; here is what they say.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Method;
use mockreg::cli::Trust;
use mockreg::verify::{Authorities, CertificateError};
use serde_json::json;

use crate::cancel::CancelToken;
use crate::cli::{CopyArgs, VerifyArgs};
use crate::client::{Call, Client, ClientConfig, Endpoint, Remote, RequestError, Side, Traffic};
use crate::evidence::replica::verify_command;
use crate::replicator::{
    CopiedTag, CopyCommand, CopyError, ImageReference, ReplicatorConfig, Telemetry, Verify, copy_command,
};
use crate::{causes, say};

/// Copies; returns the exit code.
pub async fn copy(args: &CopyArgs, cancel: &CancelToken) -> u8 {
    let (source, dest) = match references(&args.source, &args.dest, &args.trust).await {
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
    let (source, dest) = match references(&args.source, &args.dest, &args.trust).await {
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
async fn references(source: &str, dest: &str, trust: &Trust) -> Result<(ImageReference, ImageReference), u8> {
    let authorities = trust.authorities().map_err(|error| usage(&error))?;
    let (source, dest) = (reference(source, &authorities)?, reference(dest, &authorities)?);
    for image in [&source, &dest] {
        if let Err(error) = reach(&image.endpoint).await {
            eprintln!("{}: {}{}", image.endpoint, causes(&error), remedy(&error));
            return Err(ENVIRONMENT);
        }
    }
    Ok((source, dest))
}

/// Reads an image, and whom to believe where it is under TLS.
fn reference(text: &str, authorities: &Authorities) -> Result<ImageReference, u8> {
    let image: ImageReference = text.parse().map_err(|error| usage(&error))?;
    if image.endpoint.is_tls() {
        authorities.config().map_err(|error| usage(&error))?;
        if authorities.is_unchecked() {
            eprintln!("the certificate of {} is not checked (--insecure)", image.endpoint);
        }
    }
    Ok(ImageReference { endpoint: image.endpoint.believing(authorities), ..image })
}

/// Whether a registry answers. One that refuses is there.
async fn reach(endpoint: &Endpoint) -> Result<(), RequestError> {
    let limits = ClientConfig { max_connections: 1, idle_timeout: SILENCE };
    let client = Client::new(limits, Arc::new(Traffic::new()));
    let registry = Remote { side: Side::Source, endpoint: endpoint.clone() };
    client.request(&Call::new(&registry, Method::GET, "/v2/")).await.map(drop)
}

/// What to do about a registry that cannot be reached.
const fn remedy(error: &RequestError) -> &'static str {
    match error {
        RequestError::Certificate(CertificateError::Untrusted(_)) => {
            "; name its authority's certificate with --ca FILE, or check none with --insecure"
        }
        _ => "; is it running, and is this its address?",
    }
}

fn usage(error: &dyn std::error::Error) -> u8 {
    eprintln!("{}", causes(error));
    USAGE
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

/// A registry that says nothing for so long is not there.
const SILENCE: Duration = Duration::from_secs(20);
/// It was done, and the answer is no.
const FAILED: u8 = 1;
/// Usage or configuration.
const USAGE: u8 = 2;
/// Something could not be reached.
const ENVIRONMENT: u8 = 3;
/// Stopped by a person.
const INTERRUPTED: u8 = 130;
