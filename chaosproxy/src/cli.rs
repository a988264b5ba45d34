//! The command line: Toxiproxy server's flags in Go's style (`-host x`, `-host=x`, `--host=x`), and ours beside
//! them. Parsing neither prints nor starts anything.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use mockreg_proto::units::{ByteCount, Span};
use thiserror::Error;

/// A Toxiproxy-compatible proxy of TCP, UDP and unix-domain sockets with repeatable faults.
///
/// Flags may be written with one dash or two. Where this differs from Toxiproxy: a busy API port ends the program
/// (exit code 3) and so does an invalid -config (exit code 2); half-closed connections stay half open; metrics are
/// always there; logs go to standard error, and the first line on standard output says where the API listens.
#[derive(Clone, Debug, Parser)]
#[command(name = "chaosproxy", disable_version_flag = true, disable_help_subcommand = true)]
pub struct Cli {
    /// What to run instead of the server.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The server's settings.
    #[command(flatten)]
    pub serve: Serve,
}

/// Commands that are no server.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Exit 0 if a server answers at URL (its `/healthz`, unless the URL has a path), 1 otherwise
    Healthcheck {
        /// For example <http://127.0.0.1:8474>, or unix:/run/api.sock
        url: String,
        /// What the server may ask for; `/healthz` and `/version` it answers without
        #[command(flatten)]
        access: Access,
    },
    /// Show what a running server is doing, again and again: rates, connections, faults, toxics, outages
    ///
    /// Where standard output is no terminal, or with -once, one page is printed.
    Top {
        /// The server's API, an address or unix:PATH
        #[arg(default_value = "http://127.0.0.1:8474")]
        url: String,
        /// Time between two looks, which rates are taken over
        #[arg(long, default_value = "1s", value_name = "DURATION")]
        interval: Span,
        /// Print one page and exit
        #[arg(long)]
        once: bool,
        /// What the server may ask for
        #[command(flatten)]
        access: Access,
    },
    /// Control a running server with the verbs and flags of toxiproxy-cli; see `chaosproxy ctl --help`
    #[command(disable_help_flag = true)]
    Ctl {
        /// Verb and flags
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

/// What a server may ask its clients for.
#[derive(Clone, Debug, Args)]
pub struct Access {
    /// File with the token that the server asks for [default: $CHAOSPROXY_TOKEN_FILE]
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// Settings of the server.
#[derive(Clone, Debug, Args)]
pub struct Serve {
    /// Host the API listens on, or unix:PATH: a socket for this user alone
    #[arg(long, default_value = "localhost", value_name = "HOST")]
    pub host: String,
    /// Port the API listens on; 0 is any
    #[arg(long, default_value = "8474", value_name = "PORT")]
    pub port: u16,
    /// File with a token: requests need `Authorization: Bearer TOKEN`, but for `/version` and `/healthz`
    ///
    /// It is read again at SIGHUP.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// JSON file of proxies to start with
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Root of every decision
    #[arg(long, default_value = "1", value_name = "N", allow_negative_numbers = true)]
    pub seed: i64,
    /// Add a few figures of the process to /metrics, under the names that Go's runtime has for them
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", default_value = "false")]
    pub runtime_metrics: bool,
    /// Accepted for compatibility; metrics of proxies are always there, but for -strict-compat
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", default_value = "false")]
    pub proxy_metrics: bool,
    /// Print the version and exit
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", default_value = "false")]
    pub version: bool,
    /// Write the ready line to this file, too, atomically
    #[arg(long, value_name = "FILE")]
    pub port_file: Option<PathBuf>,
    /// Write every decision to this file, one JSON object a line
    #[arg(long, value_name = "FILE")]
    pub ledger: Option<PathBuf>,
    /// Timeline, as PUT /timeline takes it, started with the server
    #[arg(long, value_name = "FILE")]
    pub timeline: Option<PathBuf>,
    /// Bytes held for each direction of a connection, and for all datagrams of a proxy, for example 64MiB
    #[arg(long, default_value = "128MiB", value_name = "SIZE")]
    pub buffer_limit: ByteCount,
    /// Undo every deviation from Toxiproxy that a client could depend on
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", default_value = "false")]
    pub strict_compat: bool,
    /// Log to standard output, as JSON, after the line that says where the API listens
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", default_value = "false")]
    pub log_stdout: bool,
    /// Threads; one for each processor by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

/// What the command line says instead of naming something to run. Its text spells flags as Toxiproxy does.
#[derive(Debug, Error)]
#[error("{}", single_dashes(&.0.to_string()))]
pub struct NotRun(#[from] clap::Error);

impl NotRun {
    /// Whether it is a mistake; help is none.
    pub fn is_mistake(&self) -> bool {
        self.0.use_stderr()
    }
}

/// Reads the command line; the program's own name comes first.
///
/// # Errors
/// Unknown flags and values that are none, and help, which was asked for.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, NotRun> {
    let matches = Cli::command().try_get_matches_from(arguments.into_iter().map(double_dash))?;
    Ok(Cli::from_arg_matches(&matches)?)
}

/// `-host` as `--host`. Short flags of one letter and negative numbers stay.
pub(crate) fn double_dash(argument: OsString) -> OsString {
    let Some(text) = argument.to_str() else { return argument };
    let mut after = text.chars().skip(1);
    let is_long = text.starts_with('-')
        && after.next().is_some_and(char::is_alphabetic)
        && after.next().is_some_and(|second| second != '=');
    if is_long { format!("-{text}").into() } else { argument }
}

/// Flags in a text of clap's as `-host`: the way back of [`double_dash`]. What is in the middle of a word, and a `--`
/// without a name, stays.
fn single_dashes(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("--") {
        let (before, flag) = (&rest[..at], &rest[at + 2..]);
        let is_flag = !before.ends_with(|c: char| c.is_alphanumeric() || c == '-')
            && flag.starts_with(char::is_alphabetic);
        result.push_str(before);
        result.push_str(if is_flag { "-" } else { "--" });
        rest = flag;
    }
    result + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Cli, String> {
        let words = std::iter::once("chaosproxy").chain(line.split_whitespace());
        parse(words.map(OsString::from)).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_read_in_every_spelling_of_go() {
        for line in ["-host 0.0.0.0 -port 0", "-host=0.0.0.0 -port=0", "--host=0.0.0.0 --port 0"] {
            let serve = read(line).unwrap().serve;
            assert_eq!((serve.host.as_str(), serve.port), ("0.0.0.0", 0), "{line}");
        }
        let serve = read("-proxy-metrics -runtime-metrics=false -seed -7 -config=p.json").unwrap().serve;
        assert_eq!((serve.proxy_metrics, serve.runtime_metrics, serve.seed), (true, false, -7));
        assert!(read("-version").unwrap().serve.version);
        assert_eq!(read("-buffer-limit 1MiB").unwrap().serve.buffer_limit.0, 1 << 20);
    }

    #[test]
    fn defaults_are_those_documented() {
        let serve = read("").unwrap().serve;
        assert_eq!((serve.host.as_str(), serve.port, serve.seed), ("localhost", 8474, 1));
        assert_eq!(serve.buffer_limit.0, 128 << 20);
    }

    #[test]
    fn mistakes_are_errors_that_say_what_is_wrong() {
        for (line, part) in [
            ("-hots x", "'-hots' found"),
            ("-port http", "http"),
            ("-port 70000", "70000"),
            ("-buffer-limit much", "write it like 64MiB"),
            ("-proxy-metrics maybe", "maybe"),
            ("-threads 0", "0"),
            ("prox", "prox"),
        ] {
            let error = read(line).expect_err(line);
            assert!(error.contains(part), "{line}: {error}");
        }
    }

    #[test]
    fn flags_are_spelt_with_one_dash() {
        for line in ["-help", "-h", "--help", "-host", "-hosts", "-port=x", "-port-file", "healthcheck -help"]
        {
            let text = read(line).expect_err(line);
            assert!(!text.contains("--"), "{line}: {text}");
        }
        let help = read("-help").unwrap_err();
        for flag in
            ["-host <HOST>", "-port <PORT>", "-buffer-limit <SIZE>", "-h, -help", "-proxy-metrics[=<BOOL>]"]
        {
            assert!(help.contains(&format!("  {flag}")), "no {flag} in {help}");
        }
        assert_eq!(single_dashes("'--a-b' a--b -- ---c --"), "'-a-b' a--b -- ---c --");
    }

    #[test]
    fn healthcheck_takes_a_url() {
        let command = read("healthcheck http://127.0.0.1:8474").unwrap().command;
        assert!(matches!(command, Some(Command::Healthcheck { url, .. }) if url == "http://127.0.0.1:8474"));
    }

    #[test]
    fn ctl_keeps_its_own_command_line() {
        let Some(Command::Ctl { arguments }) = read("ctl -h=x toxic add -n t --help").unwrap().command else {
            panic!("it is ctl");
        };
        assert_eq!(arguments, ["-h=x", "toxic", "add", "-n", "t", "--help"]);
    }
}
