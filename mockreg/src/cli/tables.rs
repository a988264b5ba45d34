//! `mockreg tables`

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use mockreg_proto::units::ByteCount;
use mockreg_synth::MAX_LAYER;
use mockreg_synth::shipped::{self, ChainId, Piece};

use super::Failure;
use super::number::within;
use super::ticker::{Ticker, share};

/// Derive or check the checkpoints that digests of large layers start from.
#[derive(Debug, Args)]
#[command(after_help = "\
The checkpoints come with the program: states of SHA-256 along the twelve streams that layers are made of, in each of \
three forms. They spare it hashing gigabytes before it can name a layer, and can be made and checked by anyone.

Examples:
  mockreg tables check
      A sample, in seconds.
  mockreg tables check --all
      Every piece between two checkpoints, in minutes.
  mockreg tables derive --out mockreg/synth/tables/checkpoints-v1.bin
      All of them from nothing, as they are kept beside the code.")]
pub(super) struct TablesCommand {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Hash every stream from its first byte and write the checkpoints
    Derive(Derive),
    /// Hash what lies between checkpoints, and say which of them are wrong
    Check(Check),
}

#[derive(Debug, Args)]
struct Derive {
    /// For layers of at most this size
    #[arg(long, value_name = "SIZE", default_value_t = ByteCount(16 << 30))]
    to: ByteCount,
    /// Write to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Check {
    /// How many pieces, drawn at random; more than there are means all
    #[arg(long, value_name = "N", default_value_t = 200, conflicts_with = "all")]
    #[arg(value_parser = within(1..=u64::MAX), allow_negative_numbers = true)]
    sample: u64,
    /// Draws the sample; another number, other pieces
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = within(0..=u64::MAX), allow_negative_numbers = true)]
    seed: u64,
    /// All of them
    #[arg(long)]
    all: bool,
}

impl TablesCommand {
    /// Derives or checks.
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Derive(derive) => derive.run(),
            Command::Check(check) => check.run(),
        }
    }
}

impl Derive {
    fn run(self) -> Result<(), Failure> {
        if self.to.0 > MAX_LAYER {
            return Err(Failure::usage(anyhow!(
                "--to {1}: layers have at most {0}",
                ByteCount(MAX_LAYER),
                self.to
            )));
        }
        if self.out.is_none() && io::stdout().is_terminal() {
            return Err(Failure::usage(anyhow!("tables are not for reading; name a file with --out")));
        }
        let work = ChainId::all().map(|chain| chain.work(self.to.0)).sum();
        let progress = Progress::new("derived", work);
        let file = shipped::derive(self.to.0, |bytes| progress.add(bytes));
        drop(progress);
        let written = match &self.out {
            Some(path) => {
                std::fs::write(path, &file).with_context(|| format!("{} cannot be written", path.display()))
            }
            None => io::stdout().write_all(&file).context("standard output"),
        };
        written.map_err(Failure::environment)
    }
}

impl Check {
    fn run(self) -> Result<(), Failure> {
        let sample = usize::try_from(self.sample).unwrap_or(usize::MAX);
        let pieces = if self.all { Piece::all().collect() } else { shipped::sample(sample, self.seed) };
        let count = pieces.len();
        let progress = Progress::new("checked", pieces.iter().map(|piece| piece.len()).sum());
        let wrong = shipped::check(pieces, |bytes| progress.add(bytes));
        drop(progress);
        for piece in &wrong {
            println!("wrong: {piece}");
        }
        println!("{} of {count} pieces are right", count - wrong.len());
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(Failure::found(anyhow!("the tables are not those of the streams")))
        }
    }
}

/// How far the work is, on standard error.
struct Progress {
    done: Arc<AtomicU64>,
    _ticker: Ticker,
}

impl Progress {
    fn new(verb: &'static str, total: u64) -> Self {
        let done = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&done);
        let line = move |passed| format!("{verb} {}", share(seen.load(Ordering::Relaxed), total, passed));
        Self { done, _ticker: Ticker::start(true, move |passed| Some(line(passed))) }
    }

    fn add(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }
}
