//! The command line: what was typed, and which command that is. What the commands do is in files of their own.

mod ca;
mod describe;
mod healthcheck;
mod layer;
mod number;
mod serve;
mod settings;
mod table_cache;
mod tables;
mod ticker;
mod trust;
mod vendor;
mod verify;

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing::level_filters::LevelFilter;

pub use self::trust::{Trust, TrustError};
use crate::server::tables;

/// Exit code when something could not start or be reached.
const ENVIRONMENT: u8 = 3;
/// Exit code when what was checked is wrong.
const WRONG: u8 = 1;
/// Exit code of a wrong command line or configuration; clap's own.
const USAGE: u8 = 2;

/// An OCI registry that makes its layers on the fly: images of any size, none of them stored.
#[derive(Debug, Parser)]
#[command(name = "mockreg", version, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  mockreg serve
      A registry on 127.0.0.1:5000, with images of any size that take no room. One of 5 GiB:
      skopeo inspect --tls-verify=false docker://127.0.0.1:5000/synth/5gib
  mockreg serve --name dest --listen 127.0.0.1:5001 --admin 127.0.0.1:5081
      A second one, to copy to. `curl -s 127.0.0.1:5081/journal` tells what a copy really did.
  mockreg serve --catalog images.yaml
      The repositories, tags and layers that a file lists.
  mockreg layer synth/10mb | tar tzv
      One layer, without a registry.
  mockreg verify http://127.0.0.1:5000/synth/10mb http://127.0.0.1:5001/mirror/10mb
      Whether a copy is the same, byte for byte.

Exit codes:
  0 done   1 what was checked is wrong   2 wrong command line or file   3 something could not be started or reached";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a registry until Ctrl-C or SIGTERM
    Serve(Box<serve::Serve>),
    /// Say what a catalogue holds, without serving it
    Describe(describe::Describe),
    /// Write the bytes of one synthetic layer to standard output, or its digests
    Layer(layer::LayerCommand),
    /// Derive or check the checkpoints that digests of large layers start from
    Tables(tables::TablesCommand),
    /// Print the certificate that clients of `serve --tls-auto` have to trust
    Ca(ca::Ca),
    /// Say how well-known registries differ from the specification
    Vendor(vendor::VendorCommand),
    /// Compare two repositories or registries, byte for byte
    Verify(Box<verify::Verify>),
    /// Ask a running server whether it is well
    Healthcheck(healthcheck::Healthcheck),
}

/// A command that failed, and the exit code that says how.
#[derive(Debug)]
struct Failure {
    code: u8,
    error: anyhow::Error,
}

impl Failure {
    /// The command line or a file is wrong.
    fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self { code: USAGE, error: error.into() }
    }

    /// What was to be checked is wrong.
    fn found(error: impl Into<anyhow::Error>) -> Self {
        Self { code: WRONG, error: error.into() }
    }

    /// Something could not start or be reached.
    fn environment(error: impl Into<anyhow::Error>) -> Self {
        Self { code: ENVIRONMENT, error: error.into() }
    }
}

/// Runs the program: reads the command line, does what it says, prints what went wrong.
pub fn main() -> ExitCode {
    let command = Arguments::parse().command;
    start_logging(match command {
        Command::Serve(_) => LevelFilter::INFO,
        _ => LevelFilter::WARN,
    });
    let done = match command {
        Command::Serve(serve) => serve.run(),
        Command::Describe(describe) => describe.run(),
        Command::Layer(layer) => layer.run(),
        Command::Tables(tables) => tables.run(),
        Command::Ca(ca) => ca.run(),
        Command::Vendor(vendor) => vendor.run(),
        Command::Verify(verify) => return exit(verify.run()),
        Command::Healthcheck(check) => check.run(),
    };
    exit(done.map(|()| 0))
}

/// The exit code of a command, and what went wrong for people.
fn exit(done: Result<u8, Failure>) -> ExitCode {
    let code = done.unwrap_or_else(|Failure { code, error }| {
        eprintln!("mockreg: {error:#}");
        code
    });
    ExitCode::from(code)
}

/// Logs to standard error, as much as `RUST_LOG` asks for, else from `level` on.
fn start_logging(level: LevelFilter) {
    let filter =
        tracing_subscriber::EnvFilter::builder().with_default_directive(level.into()).from_env_lossy();
    let colours = io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(io::stderr).init();
}

/// Reads and plans one catalogue file.
fn read_catalogue(path: &std::path::Path) -> Result<mockreg_synth::catalogue::Plan, Failure> {
    use anyhow::Context as _;
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| format!("{name} cannot be read"));
    mockreg_synth::catalogue::read(&name, &text.map_err(Failure::usage)?).map_err(Failure::usage)
}
