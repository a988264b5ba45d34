//! `mockreg verify`

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use mockreg_proto::units::ByteCount;

use super::{Failure, USAGE};
use crate::verify::{Address, Authorities, Credentials, Outcome, Progress, Verification};

/// How often a terminal is told, and how often a log.
const TOLD: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(10)];

/// Compare two repositories or registries, byte for byte.
#[derive(Debug, Args)]
#[command(after_help = "\
Every tag of the source is looked up at the destination: its manifest has to be the same bytes, and all that it names
is read from both sides and hashed. Signatures and other artifacts that refer to a manifest are compared where they
have a tag; the lists of referrers are not. Exits with 0 if the two are equal, 1 if they differ, 2 if the command line
is wrong, and 3 if a side cannot be read. An image under synth/ has every tag but lists `latest` alone: name yours
with --tag.

Examples:
  mockreg verify http://127.0.0.1:5000/library/app http://127.0.0.1:5001/mirror/app
      Two repositories, which may have different names.
  mockreg verify http://127.0.0.1:5000 http://127.0.0.1:5001 --allow-extra --json
      Every repository that the source lists; the destination may have more.
  mockreg verify https://localhost:5443/app http://127.0.0.1:5001/app --ca ca.pem --src-user ann:secret")]
pub(super) struct Verify {
    /// Where the content came from: http://HOST:PORT/NAME, or without a NAME all repositories
    #[arg(value_name = "SRC")]
    source: Address,
    /// Where it should be
    #[arg(value_name = "DST")]
    destination: Address,
    /// Only this tag; may be given several times [default: all tags]
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// The destination may have repositories and tags that the source has not
    #[arg(long)]
    allow_extra: bool,
    /// Name and password at the source, for Basic and for token services
    #[arg(long, value_name = "NAME:PASSWORD")]
    src_user: Option<Credentials>,
    /// Name and password at the destination
    #[arg(long, value_name = "NAME:PASSWORD")]
    dst_user: Option<Credentials>,
    /// Certificates of authorities to trust (PEM), for https addresses
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Verify {
    /// Compares and prints what was found.
    pub(super) fn run(self) -> Result<(), Failure> {
        let json = self.json;
        let plan = self.plan()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(Failure::environment)?;
        let teller = Teller::new();
        let report =
            runtime.block_on(plan.run(move |progress| teller.tell(progress))).map_err(Failure::usage)?;
        if io::stderr().is_terminal() {
            eprint!("\r\x1b[K");
        }
        let text = if json {
            serde_json::to_string(&report).expect("texts and numbers always serialise")
        } else {
            report.to_string()
        };
        let written = writeln!(io::stdout(), "{text}").context("standard output");
        written.map_err(Failure::environment)?;
        match report.outcome {
            Outcome::Equal => Ok(()),
            Outcome::Different => Err(Failure { code: 1, error: anyhow::anyhow!("the two differ") }),
            Outcome::Unreachable => {
                Err(Failure::environment(anyhow::anyhow!("{}", report.error.unwrap_or_default())))
            }
        }
    }

    fn plan(self) -> Result<Verification, Failure> {
        let authorities = match &self.ca {
            None => Authorities::default(),
            Some(path) => {
                let read = || anyhow::Ok(Authorities::try_from_pem(&std::fs::read(path)?)?);
                read().with_context(|| format!("--ca {}", path.display())).map_err(Failure::usage)?
            }
        };
        let plan = Verification::try_new(self.source, self.destination);
        let plan = plan.map_err(|error| Failure { code: USAGE, error: error.into() })?;
        Ok(plan
            .credentials(self.src_user, self.dst_user)
            .authorities(authorities)
            .tags(self.tag)
            .allow_extra(self.allow_extra))
    }
}

/// Tells a person at the terminal, or a log, how far it has come.
struct Teller {
    terminal: bool,
    last: Mutex<Instant>,
}

impl Teller {
    fn new() -> Self {
        Self { terminal: io::stderr().is_terminal(), last: Mutex::new(Instant::now()) }
    }

    fn tell(&self, progress: Progress) {
        let mut last = self.last.lock().expect("no holder of the time panics");
        if last.elapsed() < TOLD[usize::from(!self.terminal)] {
            return;
        }
        *last = Instant::now();
        let Progress { tags, of_tags, bytes } = progress;
        let text = format!("{tags} of {of_tags} tags, {} read", ByteCount(bytes));
        // Nobody may be reading; the comparison goes on all the same.
        let _ = if self.terminal {
            write!(io::stderr(), "\r\x1b[K{text}")
        } else {
            writeln!(io::stderr(), "mockreg: {text}")
        };
    }
}
