//! `mockreg serve`

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use mockreg_proto::ready_line::ReadyLine;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Failure;
use super::settings::Settings;
use crate::config::StartError;
use crate::server::Registry;

/// Serve images from a catalogue and from their names, and take pushes.
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
      On free ports, which ready.json names once the server is up.
  mockreg serve --catalog base.yaml --catalog apps.yaml --journal requests.ndjson
      What two files list, with a line for every request.
  htpasswd -nbB ann secret > users && mockreg serve --auth bearer --htpasswd users --anonymous-pull
      Everybody may pull; ann may push, with a token.
  mockreg ca --dir tls > ca.pem && mockreg serve --tls-auto tls
      Under TLS. In another shell: curl --cacert ca.pem https://localhost:5000/v2/
  mockreg serve --redirect-blobs 127.0.0.1:5443
      Blobs come from a second port, as from an object store.
  mockreg serve --vendor hub --config mockreg.yaml
      Like Docker Hub, but for what the file says: quotas, rates and every switch of the policy are keys of it.")]
pub(super) struct Serve {
    /// Settings in a file (YAML or JSON), under the names of the options here, and a `policy` beside them
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

impl Serve {
    /// Serves until a signal comes.
    pub(super) fn run(self) -> Result<(), Failure> {
        raise_descriptor_limit();
        let settings = match &self.config {
            Some(path) => self.settings.over(Settings::read(path)?),
            None => self.settings,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        let runtime = runtime.map_err(Failure::environment)?;
        runtime.block_on(async {
            // Before the ready line: a script may stop the server as soon as it has read it.
            let mut signals = Signals::new().map_err(Failure::environment)?;
            // Without a handler, writing beyond the limit of a file's size ends the program; with one, it is an error.
            let _size_limit = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))
                .map_err(Failure::environment)?;
            let registry = settings.builder()?.start();
            let registry = registry.map_err(|error| settings.placed(error, explain))?;
            announce(&registry, settings.port_file.as_deref())
                .map_err(|error| settings.at(&["port_file"], Failure::environment(error)))?;
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
