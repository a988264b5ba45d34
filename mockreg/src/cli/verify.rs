//! `mockreg verify`

use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, anyhow};
use clap::Args;
use mockreg_proto::units::ByteCount;

use super::ticker::Ticker;
use super::trust::Trust;
use super::{ENVIRONMENT, Failure, WRONG};
use crate::verify::{Address, Credentials, Outcome, Progress, Report, Side, Verification};

/// Compare two repositories or registries, byte for byte.
#[derive(Debug, Args)]
#[command(after_help = "\
Every tag of the source is looked up at the destination: its manifest has to be the same bytes, and all that it names \
is read from both sides and hashed. So are the signatures and other artifacts that refer to it: both sides must list \
the same ones in the same words. Where a side has no referrers API, its lists are read from the tags that stand for \
them, which the report notes. What has no tag and refers to nothing that has one is not seen.

An address is [http[s]://]HOST:PORT[/NAME[:TAG]]: without a TAG all tags are compared, without a NAME all \
repositories. Without http:// or https:// it is plain HTTP. The two sides may have other names; a tag that only the \
source's address has is meant on both sides.

Exits with 0 if the two are equal, 1 if they differ, 2 if the command line is wrong, and 3 if a side cannot be read. \
An image under synth/ has every tag but lists `latest` alone: name yours.

Examples:
  mockreg verify http://127.0.0.1:5000/library/app http://127.0.0.1:5001/mirror/app
      Every tag of a repository.
  mockreg verify 127.0.0.1:5000/synth/5gib:v1 127.0.0.1:5001/copy/5gib:v1
      One image, named as for loadgen verify.
  mockreg verify http://127.0.0.1:5000 http://127.0.0.1:5001 --allow-extra --json
      Every repository that the source lists; the destination may have more.
  mockreg verify https://localhost:5443/app 127.0.0.1:5001/app --ca ca.pem --src-user ann:secret
      From a registry that speaks TLS and asks who is there.")]
pub(super) struct Verify {
    /// Where the content came from
    #[arg(value_name = "SRC")]
    source: Address,
    /// Where it should be
    #[arg(value_name = "DST")]
    destination: Address,
    /// Only this tag; may be given several times [default: those of the addresses, else all]
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// The destination may have repositories, tags and referrers that the source has not
    #[arg(long)]
    allow_extra: bool,
    /// Name and password at the source, for Basic and for token services
    #[arg(long, value_name = "NAME:PASSWORD")]
    src_user: Option<Credentials>,
    /// Name and password at the destination
    #[arg(long, value_name = "NAME:PASSWORD")]
    dst_user: Option<Credentials>,
    #[command(flatten)]
    trust: Trust,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Verify {
    /// Compares, prints what was found, and gives the exit code that says it. Why a side cannot be read is in the JSON
    /// object, or else the error.
    pub(super) fn run(self) -> Result<u8, Failure> {
        let json = self.json;
        let report = compare(self.plan()?)?;
        let text = if json {
            serde_json::to_string(&report).expect("texts and numbers always serialise")
        } else {
            report.to_string()
        };
        let written = writeln!(io::stdout(), "{text}").context("standard output");
        written.map_err(Failure::environment)?;
        match report.outcome {
            Outcome::Equal => Ok(0),
            Outcome::Different => Ok(WRONG),
            _ if json => Ok(ENVIRONMENT),
            _ => Err(Failure::environment(explained(&report))),
        }
    }

    fn plan(self) -> Result<Verification, Failure> {
        let authorities = self.trust.authorities().map_err(Failure::usage)?;
        let plan = Verification::try_new(self.source, self.destination).map_err(Failure::usage)?;
        Ok(plan
            .credentials(self.src_user, self.dst_user)
            .authorities(authorities)
            .tags(self.tag)
            .allow_extra(self.allow_extra))
    }
}

/// Compares, and says meanwhile how far it is.
fn compare(plan: Verification) -> Result<Report, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(Failure::environment)?;
    let come: Arc<[AtomicU64; 3]> = Arc::default();
    let seen = Arc::clone(&come);
    let _ticker = Ticker::start(true, move |_| {
        let [tags, of_tags, bytes] = [0, 1, 2].map(|number: usize| seen[number].load(Ordering::Relaxed));
        Some(format!("{tags} of {of_tags} tags, {} read", ByteCount(bytes)))
    });
    let told = move |Progress { tags, of_tags, bytes }| {
        come.iter()
            .zip([tags, of_tags, bytes])
            .for_each(|(place, value)| place.store(value, Ordering::Relaxed));
    };
    runtime.block_on(plan.run(told)).map_err(Failure::usage)
}

/// Why a side cannot be read, and what to do about it.
fn explained(report: &Report) -> anyhow::Error {
    let reason = report.error.as_deref().unwrap_or_default();
    let user = match report.error_side {
        Some(Side::Destination) => "--dst-user",
        _ => "--src-user",
    };
    match report.outcome {
        Outcome::Refused => anyhow!("{reason}; who to be there is said by {user} NAME:PASSWORD"),
        Outcome::Untrusted => {
            anyhow!(
                "{reason}; name its authority's certificate with --ca FILE, or check none with --insecure"
            )
        }
        _ => anyhow!("{reason}"),
    }
}
