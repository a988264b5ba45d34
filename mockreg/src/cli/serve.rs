//! `mockreg serve`

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use mockreg_proto::ready_line::ReadyLine;
use mockreg_proto::units::ByteCount;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::ca::no_home;
use super::{Cache, Failure, read_catalogue};
use crate::auth::{Auth, Users};
use crate::config::{Builder, MEMORY_BUDGET, StartError};
use crate::policy::Policy;
use crate::server::Registry;
use crate::tls::{Tls, default_directory};

/// Serves images from a catalogue and from their names, and takes pushes.
#[derive(Debug, Args)]
#[command(after_help = "\
Every repository under `synth/` is an image made on demand from its name; any tag will do:
  synth/5gib          one layer of 5 GiB
  synth/1gib-x8       eight layers of 1 GiB
  synth/300mib-zstd   packed by zstd
  synth/300mib-tar    not compressed
  synth/64mib-x4-c1   incompressible

The first line on standard output is JSON and says where the server listens:
  {\"event\":\"ready\",\"service\":\"mockreg\",…,\"registry\":\"http://127.0.0.1:5000\",\"admin\":…}
Logs go to standard error; RUST_LOG=debug shows more of them.

Examples:
  mockreg serve --listen 127.0.0.1:0 --admin 127.0.0.1:0 --port-file ready.json
  mockreg serve --catalog base.yaml --catalog apps.yaml --journal requests.ndjson
  htpasswd -nbB ann secret > users && mockreg serve --auth bearer --htpasswd users --anonymous-pull
  mockreg serve --tls-auto tls && mockreg ca --dir tls > ca.pem && curl --cacert ca.pem https://localhost:5000/v2/
  mockreg serve --redirect-blobs 127.0.0.1:5443")]
pub(super) struct Serve {
    /// A catalogue to serve (YAML or JSON); may be given several times
    #[arg(long, value_name = "FILE")]
    catalog: Vec<PathBuf>,
    /// Address of the registry; port 0 takes any free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:5000", value_parser = address)]
    listen: SocketAddr,
    /// Address of the admin routes (/healthz /readyz /metrics /counters /journal /catalog /reset)
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:5080", value_parser = address)]
    admin: SocketAddr,
    /// Also write the ready line to this file, all at once
    #[arg(long, value_name = "FILE")]
    port_file: Option<PathBuf>,
    /// Seed of the images made from their names
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// What the journal calls this registry, usually `source` or `dest`
    #[arg(long, value_name = "LABEL", default_value = "registry")]
    name: String,
    /// Threads that serve requests [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Whether images under `synth/` are made from their names
    #[arg(long, value_enum, default_value_t = Switch::On)]
    on_demand: Switch,
    /// Memory for pushed content (64MiB, 1GB); synthetic layers take none of it
    #[arg(long, value_name = "SIZE", default_value_t = ByteCount(MEMORY_BUDGET))]
    memory_budget: ByteCount,
    /// Speak TLS with this certificate (PEM, with those between it and its root after it)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Speak TLS with a certificate from an authority of one's own, made in DIR the first time and kept;
    /// `mockreg ca --dir DIR` prints what clients have to trust [default: ~/.local/share/stormyard/tls]
    #[arg(long, value_name = "DIR", num_args = 0..=1, conflicts_with = "tls_cert")]
    tls_auto: Option<Option<PathBuf>>,
    /// A further DNS name or address that the certificate of --tls-auto is good for; may be given several times
    #[arg(long, value_name = "NAME", requires = "tls_auto")]
    tls_name: Vec<String>,
    /// Directory for pushed content beyond that memory; without one it is refused. Nothing is left there
    #[arg(long, value_name = "DIR")]
    spill: Option<PathBuf>,
    #[command(flatten)]
    cache: Cache,
    /// Redirect downloads of blobs to a second listener on this address, by URLs that are good for a while;
    /// it refuses requests with an Authorization header, as object stores do
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = address)]
    redirect_blobs: Option<SocketAddr>,
    /// What those URLs begin with, where the second listener is behind a proxy
    #[arg(long, value_name = "URL", requires = "redirect_blobs")]
    redirect_url: Option<String>,
    /// How clients say who they are: not at all, by name and password, or by a token that /token gives them
    #[arg(long, value_enum, default_value_t = AuthMode::None)]
    auth: AuthMode,
    /// Who may log in: lines NAME:HASH with bcrypt hashes, as `htpasswd -B` writes them
    #[arg(long, value_name = "FILE")]
    htpasswd: Option<PathBuf>,
    /// Let clients without a name pull
    #[arg(long)]
    anonymous_pull: bool,
    /// Behave like a well-known registry; `mockreg vendor list` names them
    #[arg(long, value_name = "NAME")]
    vendor: Option<String>,
    /// Write every line of the request journal to this file (NDJSON)
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AuthMode {
    None,
    Basic,
    Bearer,
}

/// An address to listen on. Names are not looked up, for they may mean several; `localhost` is 127.0.0.1.
fn address(text: &str) -> Result<SocketAddr, String> {
    let local = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
    local
        .map(|port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .or_else(|| text.parse().ok())
        .ok_or_else(|| {
            "write an IP address and a port: 127.0.0.1:5000, [::1]:5000, 0.0.0.0:5000 or localhost:5000"
                .to_owned()
        })
}

impl Serve {
    /// Serves until a signal comes.
    pub(super) fn run(self) -> Result<(), Failure> {
        raise_descriptor_limit();
        let port_file = self.port_file.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        let runtime = runtime.map_err(Failure::environment)?;
        runtime.block_on(async {
            // Before the ready line: a script may stop the server as soon as it has read it.
            let mut signals = Signals::new().map_err(Failure::environment)?;
            // Without a handler, writing beyond the limit of a file's size ends the program; with one, it is an error.
            let _size_limit = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))
                .map_err(Failure::environment)?;
            let registry = self.builder()?.start().map_err(explain)?;
            announce(&registry, port_file.as_deref()).map_err(Failure::environment)?;
            signals.next().await;
            tracing::info!("stopping; once more stops at once");
            let stopping = tokio::task::spawn_blocking(move || registry.stop());
            tokio::select! {
                _ = stopping => {}
                () = signals.next() => std::process::exit(130),
            }
            Ok(())
        })
    }

    fn builder(&self) -> Result<Builder, Failure> {
        let mut builder = Registry::builder()
            .name(&self.name)
            .seed(self.seed)
            .listen(self.listen)
            .admin(self.admin)
            .on_demand(self.on_demand == Switch::On)
            .memory_budget(self.memory_budget.0);
        if let Some(threads) = self.threads {
            builder = builder.threads(threads.into());
        }
        if let Some(journal) = &self.journal {
            builder = builder.journal_file(journal);
        }
        builder.cache = self.cache.open();
        builder = builder.auth(self.auth()?);
        if let Some(tls) = self.tls()? {
            builder = builder.tls(tls);
        }
        if let Some(spill) = &self.spill {
            builder = builder.spill(spill);
        }
        if let Some(vendor) = &self.vendor {
            builder = builder.policy(Policy::like(vendor).map_err(Failure::usage)?);
        }
        if let Some(address) = self.redirect_blobs {
            builder = builder.redirect_blobs(address);
            builder.policy.redirects.base_url.clone_from(&self.redirect_url);
        }
        for path in &self.catalog {
            builder = builder.plan(read_catalogue(path)?);
        }
        Ok(builder)
    }

    fn tls(&self) -> Result<Option<Tls>, Failure> {
        if let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) {
            return Ok(Some(Tls::files(certificate, key)));
        }
        let Some(directory) = &self.tls_auto else { return Ok(None) };
        let directory = directory.clone().or_else(default_directory).ok_or_else(no_home)?;
        Ok(Some(self.tls_name.iter().fold(Tls::auto(directory), Tls::name)))
    }

    fn auth(&self) -> Result<Auth, Failure> {
        let users = self.htpasswd.as_ref().map(Users::read).transpose().map_err(Failure::usage)?;
        let auth = match (self.auth, users) {
            (AuthMode::None, None) if !self.anonymous_pull => return Ok(Auth::none()),
            (AuthMode::Basic, Some(users)) => Auth::basic(users),
            (AuthMode::Bearer, Some(users)) => Auth::bearer(users),
            (AuthMode::None, _) => {
                let reason = "--htpasswd and --anonymous-pull say who may do what, but --auth asks nobody; add \
                              `--auth basic` or `--auth bearer`";
                return Err(Failure::usage(anyhow::anyhow!(reason)));
            }
            (_, None) => {
                let reason = "--auth needs to know who may log in; add `--htpasswd FILE` (`htpasswd -nbB NAME \
                              PASSWORD` prints a line of it)";
                return Err(Failure::usage(anyhow::anyhow!(reason)));
            }
        };
        Ok(auth.anonymous_pull(self.anonymous_pull))
    }
}

/// Ctrl-C and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// A connection takes a descriptor; the limit that shells start with is often 1024.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, "the limit of open files was not raised");
    }
}

fn announce(registry: &Registry, port_file: Option<&Path>) -> anyhow::Result<()> {
    let mut line = ReadyLine::new("mockreg", env!("CARGO_PKG_VERSION"));
    line.registry = Some(registry.url());
    line.admin = Some(registry.admin_url());
    line.downloads = registry.downloads_url();
    let text = serde_json::to_string(&line).expect("texts always serialise") + "\n";
    if let Some(path) = port_file {
        write_at_once(path, &text).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    let mut out = io::stdout().lock();
    // Nobody may be reading; the server is up all the same.
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        tracing::warn!(%error, "the ready line was not printed");
    }
    Ok(())
}

/// Writes beside the file and renames, so that a reader sees all or nothing.
fn write_at_once(path: &Path, text: &str) -> io::Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    std::fs::write(&partial, text)?;
    std::fs::rename(&partial, path)
}

/// A registry that did not start, with what to do about it.
fn explain(error: StartError) -> Failure {
    match &error {
        StartError::Catalogue(_) | StartError::Image { .. } | StartError::Policy(_) | StartError::Tls(_) => {
            Failure::usage(error)
        }
        StartError::Listen { port, address, source } if source.kind() == io::ErrorKind::AddrInUse => {
            let option = match *port {
                "registry" => "--listen",
                "admin" => "--admin",
                _ => "--redirect-blobs",
            };
            let remedy = format!(
                "{address} is in use; choose another address with {option} (port 0 takes any free one), or see who \
                 has it with `ss -ltnp 'sport = :{}'`",
                address.port()
            );
            Failure::environment(anyhow::Error::new(error).context(remedy))
        }
        _ => Failure::environment(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_numbers_or_localhost() {
        for (text, wanted) in
            [("127.0.0.1:5000", "127.0.0.1:5000"), ("[::1]:0", "[::1]:0"), ("localhost:0", "127.0.0.1:0")]
        {
            assert_eq!(address(text).unwrap().to_string(), wanted);
        }
        for text in ["localhost", "localhost:x", "localhost:65536", "registry:5000", "127.0.0.1", ":5000", ""]
        {
            assert!(address(text).unwrap_err().contains("127.0.0.1:5000"), "{text}");
        }
    }
}
