//! What can be typed. Parsing only: what it means is decided elsewhere.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use mockreg::cli::Trust;
use mockreg_proto::units::Span;

use crate::progress::ProgressMode;
use crate::scenario::{Factors, Wishes};
use crate::testbed::TestbedOptions;

/// Puts a container-image replicator through network faults, on real bytes, and judges it.
#[derive(Debug, Parser)]
#[command(name = "loadgen", version, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  loadgen run network_resilience                     the whole thing, in this process, in a minute
  loadgen run network_resilience --scale full        an hour of it
  loadgen run ./mine.yaml --seed 7 --param workers=5 a file of your own
  loadgen run smoke --source http://10.0.0.2:5000 --source-admin http://10.0.0.2:5080 \\
      --dest http://10.0.0.3:5000 --proxy-api http://10.0.0.4:8474
  loadgen copy 127.0.0.1:5000/synth/5gib:latest 127.0.0.1:5001/copy/5gib:latest
  loadgen verify 127.0.0.1:5000/synth/5gib:latest 127.0.0.1:5001/copy/5gib:latest

Exit codes:
  0 pass   1 fail   2 usage or configuration   3 something could not be started or reached
  5 the run says nothing about the replicator   130 interrupted (the report is written all the same)";

/// Subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a scenario: a built-in one by name, or a file by its path
    Run(Box<RunArgs>),
    /// Show what a scenario would do, without doing it
    Plan(PlanArgs),
    /// List the built-in scenarios, or show the file of one
    Scenarios(ScenariosArgs),
    /// Copy one image with the built-in replicator
    Copy(CopyArgs),
    /// Compare an image with its copy, byte for byte
    Verify(VerifyArgs),
}

/// The choice of a scenario and its size.
#[derive(Debug, Args)]
pub struct ScenarioArgs {
    /// Built-in scenario, or path of a scenario file (FILE#NAME picks one of several)
    pub scenario: String,
    /// Named scale [default: ci where the scenario has it, else full]
    #[arg(long, value_name = "ci|small|full|…")]
    pub scale: Option<String>,
    /// Multiply sizes
    #[arg(long, value_name = "FACTOR")]
    pub scale_bytes: Option<f64>,
    /// Multiply the number of images
    #[arg(long, value_name = "FACTOR")]
    pub scale_count: Option<f64>,
    /// Multiply times
    #[arg(long, value_name = "FACTOR")]
    pub scale_time: Option<f64>,
    /// Root of everything that is drawn
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Images copied at once
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// Limit of the run, for example 90s
    #[arg(long, value_name = "DURATION")]
    pub duration: Option<Span>,
    /// Set any key of the scenario by its dotted path, for example network.rtt=50ms
    #[arg(long = "param", value_name = "KEY=VALUE", value_parser = key_value)]
    pub parameters: Vec<(String, String)>,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The scenario and its size.
    #[command(flatten)]
    pub scenario: ScenarioArgs,
    /// Directory of the result [default: stormyard-results/RUN_ID]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// A running source registry, as the proxy sees it
    #[arg(long, value_name = "URL")]
    pub source: Option<String>,
    /// A running destination registry, as the proxy sees it
    #[arg(long, value_name = "URL")]
    pub dest: Option<String>,
    /// Admin port of the source, if it is a mockreg: it is given the images to serve
    #[arg(long, value_name = "URL", requires = "source")]
    pub source_admin: Option<String>,
    /// Admin port of the destination, if it is a mockreg: its journal is read
    #[arg(long, value_name = "URL", requires = "dest")]
    pub dest_admin: Option<String>,
    /// API of a running chaosproxy
    #[arg(long, value_name = "URL")]
    pub proxy_api: Option<String>,
    /// File with the token that this chaosproxy asks for [default: $CHAOSPROXY_TOKEN_FILE]
    #[arg(long, value_name = "FILE", requires = "proxy_api")]
    pub proxy_token_file: Option<PathBuf>,
    /// No proxy: only for scenarios without faults
    #[arg(long, conflicts_with = "proxy_api")]
    pub no_proxy: bool,
    /// Read every byte of the destination back
    #[arg(long)]
    pub verify_full: bool,
    /// Fail on criteria with too few samples
    #[arg(long)]
    pub strict: bool,
    /// Address of /metrics [default: 127.0.0.1:8080, or a free port if that is busy]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub metrics: Option<SocketAddr>,
    /// Keep metrics up for so long after the end
    #[arg(long, value_name = "DURATION", default_value = "0")]
    pub linger: Span,
    /// Progress on standard error
    #[arg(long, value_name = "auto|plain|none", value_enum, default_value_t)]
    pub progress: ProgressMode,
    /// Print the result as one JSON object instead of a page
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The scenario and its size.
    #[command(flatten)]
    pub scenario: ScenarioArgs,
    /// Print {plan_hash, seed, operations} as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `scenarios`.
#[derive(Debug, Args)]
pub struct ScenariosArgs {
    /// Print the file of one, as a start for your own
    #[arg(long, value_name = "NAME")]
    pub show: Option<String>,
}

/// Arguments of `copy`.
#[derive(Debug, Args)]
pub struct CopyArgs {
    /// Image to copy, HOST:PORT/REPOSITORY:TAG or its URL; without the tag, all of the repository
    pub source: String,
    /// Where to copy it, HOST:PORT/REPOSITORY:TAG or its URL; without the tag, under the source's
    pub dest: String,
    /// Check what is pulled against its digest, or not
    #[arg(long, value_name = "sha256|none", hide_possible_values = true)]
    #[arg(default_value = "sha256", value_parser = ["sha256", "none"])]
    pub verify: String,
    /// Whom to believe under TLS.
    #[command(flatten)]
    pub trust: Trust,
    /// Print the report as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The original, HOST:PORT/REPOSITORY:TAG or its URL; without the tag, all of the repository
    pub source: String,
    /// The copy, HOST:PORT/REPOSITORY:TAG or its URL; without the tag, under the original's
    pub dest: String,
    /// Whom to believe under TLS.
    #[command(flatten)]
    pub trust: Trust,
    /// Read every byte back, not only a sample of large images
    #[arg(long)]
    pub verify_full: bool,
    /// Print the findings as one JSON object
    #[arg(long)]
    pub json: bool,
}

impl ScenarioArgs {
    /// What was asked for beside the scenario itself.
    pub fn wishes(&self) -> Wishes {
        Wishes {
            scale: self.scale.clone(),
            factors: Factors { bytes: self.scale_bytes, count: self.scale_count, time: self.scale_time },
            workers: self.workers,
            duration: self.duration,
            parameters: self.parameters.clone(),
        }
    }
}

impl RunArgs {
    /// Which servers.
    pub fn testbed(&self) -> TestbedOptions {
        TestbedOptions {
            source: self.source.clone(),
            dest: self.dest.clone(),
            source_admin: self.source_admin.clone(),
            dest_admin: self.dest_admin.clone(),
            proxy_api: self.proxy_api.clone(),
            proxy_token_file: self.proxy_token_file.clone(),
            no_proxy: self.no_proxy,
        }
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("`{text}` has no `=`; write KEY=VALUE"))?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}
