//! The program: parse, start, say so, wait for a signal, stop. Exit codes: 0 stopped by a signal, 1 a failed health
//! check, 2 usage or configuration, 3 something could not start; those of `ctl` are its own.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use chaosproxy::cli::{self, Access, Command, Serve};
use chaosproxy::log::{self, Destination};
use chaosproxy::{AddressError, Builder, Server, Token, config, ctl, healthcheck, top};
use mockreg_proto::ready_line::ReadyLine;
use tokio::signal::unix::{SignalKind, signal};

const USAGE: u8 = 2;
const ENVIRONMENT: u8 = 3;

fn main() -> ExitCode {
    if program() == "toxiproxy-cli" {
        return ctl::run("toxiproxy-cli", std::env::args_os().skip(1)).into();
    }
    let cli = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(mistake) if mistake.is_mistake() => {
            eprint!("{mistake}");
            return USAGE.into();
        }
        Err(help) => {
            let _closed_output = write!(std::io::stdout(), "{help}");
            return ExitCode::SUCCESS;
        }
    };
    if cli.serve.version {
        println!("{} version {}", program(), env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    match cli.command {
        Some(Command::Healthcheck { url, access }) => check(&url, &access),
        Some(Command::Top { url, interval, once, access }) => top(url, &access, interval.0, once),
        Some(Command::Ctl { arguments }) => ctl::run("chaosproxy ctl", arguments).into(),
        None => serve(&cli.serve).unwrap_or_else(|(code, error)| {
            eprintln!("chaosproxy: {error:#}");
            code.into()
        }),
    }
}

/// The name it was started under: Toxiproxy's users look for theirs.
fn program() -> &'static str {
    let name = std::env::args_os().next();
    let stem = name.as_deref().map(Path::new).and_then(Path::file_stem).unwrap_or_default();
    let names = ["toxiproxy-server", "toxiproxy-cli"];
    names.into_iter().find(|name| stem == *name).unwrap_or("chaosproxy")
}

fn check(url: &str, access: &Access) -> ExitCode {
    ask(access, 1, |token| healthcheck::check(url, token).with_context(|| url.to_owned()))
}

fn top(url: Option<String>, access: &Access, interval: Duration, once: bool) -> ExitCode {
    let url = top::server(url);
    ask(access, ENVIRONMENT, |token| top::run(&url, token, interval, once).with_context(|| url.clone()))
}

/// Runs a client with what the server may ask it for; `failure` is the exit code of one that fails.
fn ask(access: &Access, failure: u8, run: impl FnOnce(Option<Token>) -> anyhow::Result<()>) -> ExitCode {
    let token = Token::of_client(access.token_file.as_deref()).map_err(Into::into);
    match token.and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chaosproxy: {error:#}");
            failure.into()
        }
    }
}

fn serve(options: &Serve) -> Result<ExitCode, (u8, anyhow::Error)> {
    options.check().map_err(|problem| (USAGE, anyhow!(problem)))?;
    let builder = api(options)?;
    if !options.log_stdout {
        log::start(Destination::StandardError);
    }
    let specs = match &options.config {
        // As the reference does, it starts without the file's proxies; nothing is silent about that.
        Some(path) => match config::read(path, options.strict_compat) {
            Ok(specs) => specs,
            Err(error) if options.strict_compat => {
                eprintln!("chaosproxy: {error:#}");
                Vec::new()
            }
            Err(error) => return Err((USAGE, error.into())),
        },
        None => Vec::new(),
    };
    let token = options.token_file.as_deref().map(Token::read).transpose();
    let token = token.map_err(|error| (USAGE, error.into()))?;
    // Caught from here on, so that a signal during the start is not lost.
    let waiting = Waiting::new(token.is_some()).map_err(|error| (ENVIRONMENT, error))?;
    let server = start(builder, options, specs, token).map_err(|error| (ENVIRONMENT, error))?;
    if let Some(path) = &options.timeline {
        begin_timeline(&server, path).map_err(|error| (USAGE, error))?;
    }
    announce(&server, options.port_file.as_deref()).map_err(|error| (ENVIRONMENT, error))?;
    if options.log_stdout {
        // The ready line is the first on standard output in any case.
        log::start(Destination::StandardOutput);
    }
    loop {
        match (waiting.next(), &options.token_file) {
            (Signal::HangUp, Some(path)) => reload(&server, path),
            (signal @ (Signal::HangUp | Signal::Stop), _) => {
                tracing::info!(by_hangup = signal == Signal::HangUp, "stopping");
                break;
            }
        }
    }
    let withdrawn = options.port_file.as_deref().map_or(Ok(()), |path| withdraw(&ready_line(&server), path));
    server.stop();
    if let Err(error) = withdrawn {
        tracing::warn!(%error, "the port file stays");
    }
    Ok(ExitCode::SUCCESS)
}

/// A token that cannot be read leaves the one before it in force: nobody is let in, or locked out, by a mistake.
fn reload(server: &Server, path: &Path) {
    match Token::read(path) {
        Ok(token) => {
            server.set_token(token);
            tracing::info!(file = %path.display(), "token read again");
        }
        Err(error) => tracing::error!("{:#}; the token stays as it was", anyhow!(error)),
    }
}

/// Where the API is to listen. A name that is none may be one tomorrow; a socket without a path is a mistake.
fn api(options: &Serve) -> Result<Builder, (u8, anyhow::Error)> {
    let builder = Server::builder();
    if !options.is_on_socket() {
        let address = api_address(&options.host, options.port.unwrap_or(cli::DEFAULT_PORT));
        return Ok(builder.api(address.map_err(|error| (ENVIRONMENT, error))?));
    }
    builder.api_socket(&options.host).map_err(|error| {
        let problem = match &error {
            AddressError::Unix { problem, .. } => problem.clone(),
            other => other.to_string(),
        };
        (USAGE, anyhow!("-host {:?}: {problem}", options.host))
    })
}

fn start(
    builder: Builder,
    options: &Serve,
    specs: Vec<chaosproxy::ProxySpec>,
    token: Option<Token>,
) -> anyhow::Result<Server> {
    let mut builder = builder
        // Any 64-bit number is a seed; Go's flag is signed.
        .seed(options.seed as u64)
        .buffer_limit(options.buffer_limit.0)
        .strict_compat(options.strict_compat)
        .proxy_metrics(options.proxy_metrics)
        .runtime_metrics(options.runtime_metrics);
    if let Some(token) = token {
        builder = builder.token(token);
    }
    if let Some(path) = &options.ledger {
        builder = builder.ledger_file(path);
    }
    if let Some(threads) = options.threads {
        builder = builder.threads(usize::from(threads));
    }
    if !options.strict_compat {
        return Ok(specs.into_iter().fold(builder, Builder::proxy).start()?);
    }
    // As the reference does: one that fails is told, and ends the list, and the server runs.
    let server = builder.start()?;
    for spec in specs {
        let name = spec.name.clone();
        if let Err(error) = server.create(spec) {
            eprintln!("chaosproxy: proxy {name}: {error}");
            break;
        }
    }
    Ok(server)
}

/// Reads a timeline, which is of proxies that are there, and starts it.
fn begin_timeline(server: &Server, path: &Path) -> anyhow::Result<()> {
    let name = path.display().to_string();
    let text = config::text(path).with_context(|| format!("cannot read {name}"))?;
    let timeline = mockreg_proto::document::read(&name, &text)?;
    server.put_timeline(timeline).with_context(|| name.clone())?;
    server.start_timeline().context(name)
}

fn api_address(host: &str, port: u16) -> anyhow::Result<SocketAddr> {
    use std::net::ToSocketAddrs as _;
    if host.is_empty() {
        // As Go has it: everywhere, in both families where there are two.
        return Ok((Ipv4Addr::UNSPECIFIED, port).into());
    }
    let found: Vec<_> = (host, port).to_socket_addrs().with_context(|| format!("-host {host}"))?.collect();
    let first = found.iter().find(|address| address.is_ipv4()).or_else(|| found.first());
    first.copied().ok_or_else(|| anyhow!("-host {host}: no such host"))
}

/// The ready line, first on standard output and, whole or not at all, in a file. The file is there first, for
/// those who read both.
fn announce(server: &Server, port_file: Option<&Path>) -> anyhow::Result<()> {
    let line = ready_line(server);
    if let Some(path) = port_file {
        let partial = path.with_extension("partial");
        let written = fs::write(&partial, &line).and_then(|()| fs::rename(&partial, path));
        written.with_context(|| format!("-port-file {}", path.display()))?;
    }
    let mut output = std::io::stdout().lock();
    output.write_all(line.as_bytes()).and_then(|()| output.flush()).context("standard output")?;
    Ok(())
}

/// Removes the file of the ready line, so that nobody takes it for that of a server that runs. One that another server
/// has written meanwhile stays.
fn withdraw(line: &str, path: &Path) -> std::io::Result<()> {
    match fs::read(path) {
        Ok(found) if found == line.as_bytes() => fs::remove_file(path),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn ready_line(server: &Server) -> String {
    let mut ready = ReadyLine::new("chaosproxy", env!("CARGO_PKG_VERSION"));
    ready.api = Some(server.url());
    serde_json::to_string(&ready).expect("a ready line has string keys only") + "\n"
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signal {
    /// SIGHUP: the terminal is gone, or what can be read again is to be.
    HangUp,
    /// Ctrl-C or SIGTERM.
    Stop,
}

/// Waits for signals.
struct Waiting {
    signals: std::sync::mpsc::Receiver<Signal>,
}

impl Waiting {
    /// Catches signals on a thread of its own; a second one to stop ends the program at once. SIGHUP is left alone
    /// where the program was started to ignore it, as by `nohup`, and has nothing to read again.
    fn new(reloads: bool) -> anyhow::Result<Self> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context("signals")?;
        let (mut interrupt, mut terminate, mut hangup) = {
            let _inside = runtime.enter();
            let hangup = (reloads || !ignores_hangup()).then(|| signal(SignalKind::hangup())).transpose()?;
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, hangup)
        };
        let (tell, signals) = std::sync::mpsc::sync_channel(1);
        let catch = move || {
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        _ = interrupt.recv() => break,
                        _ = terminate.recv() => break,
                        () = next(&mut hangup) => {
                            // One that is still to be looked at is enough.
                            let _in_any_case = tell.try_send(Signal::HangUp);
                        }
                    }
                }
                let _main_waits_or_will = tell.send(Signal::Stop);
                tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
                std::process::exit(0);
            });
        };
        std::thread::Builder::new().name("signals".into()).spawn(catch)?;
        Ok(Self { signals })
    }

    fn next(&self) -> Signal {
        // An error means that the catching thread died: without it nobody would ever end the program.
        self.signals.recv().unwrap_or(Signal::Stop)
    }
}

/// The next of a kind of signals; never, where they are not caught.
async fn next(signals: &mut Option<tokio::signal::unix::Signal>) {
    match signals {
        Some(signals) => drop(signals.recv().await),
        None => std::future::pending().await,
    }
}

/// Whether whoever started this program has had it ignore SIGHUP. Where the system does not say, it has not.
fn ignores_hangup() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // Signal 1 is the lowest bit of the mask.
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}
