//! `mockreg tables`

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use mockreg_proto::units::ByteCount;
use mockreg_synth::MAX_LAYER;
use mockreg_synth::shipped::{self, ChainId, Piece};

use super::Failure;

/// Between two lines that say how far the work is.
const BETWEEN_LINES: Duration = Duration::from_secs(2);

/// The checkpoints that come with the program: states of SHA-256 along the twelve streams that layers are made of, in
/// each of three forms. They spare it hashing gigabytes before it can name a layer, and can be made and checked by
/// anyone.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mockreg tables check                 a sample, in seconds
  mockreg tables check --all           every piece between two checkpoints
  mockreg tables derive --out mockreg/synth/tables/checkpoints-v1.bin
                                       all of them from nothing, as they are kept beside the code")]
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
    /// How many pieces, drawn at random
    #[arg(long, value_name = "N", default_value_t = 200, conflicts_with = "all")]
    sample: usize,
    /// Draws the sample; another number, other pieces
    #[arg(long, value_name = "N", default_value_t = 1)]
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
                "layers have at most {}, not {}",
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
        let pieces = if self.all { Piece::all().collect() } else { shipped::sample(self.sample, self.seed) };
        let count = pieces.len();
        let progress = Progress::new("checked", pieces.iter().map(|piece| piece.len()).sum());
        let wrong = shipped::check(pieces, |bytes| progress.add(bytes));
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
    verb: &'static str,
    total: u64,
    started: Instant,
    state: Mutex<State>,
}

struct State {
    done: u64,
    next_line: Instant,
}

impl Progress {
    fn new(verb: &'static str, total: u64) -> Self {
        let started = Instant::now();
        let state = Mutex::new(State { done: 0, next_line: started + BETWEEN_LINES });
        Self { verb, total, started, state }
    }

    fn add(&self, bytes: u64) {
        let mut state = self.state.lock().expect("printing does not panic");
        state.done += bytes;
        let now = Instant::now();
        if now < state.next_line && state.done < self.total {
            return;
        }
        state.next_line = now + BETWEEN_LINES;
        let gigabytes = |bytes: u64| bytes as f64 / 1e9;
        let seconds = (now - self.started).as_secs_f64();
        let left = seconds * (self.total - state.done.min(self.total)) as f64 / state.done.max(1) as f64;
        let (verb, done, total) = (self.verb, gigabytes(state.done), gigabytes(self.total));
        eprintln!("{verb} {done:.1} of {total:.1} GB in {seconds:.0} s, about {left:.0} s to go");
    }
}
