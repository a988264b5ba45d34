//! The command line: Toxiproxy server's flags in Go's style (`-host x`, `-host=x`, `--host=x`), and ours beside
//! them. Values are spelt as Go's flag package takes them (`go_bool`, `go_integer`), and of a flag that is given
//! twice the last counts. Parsing neither prints nor starts anything.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use mockreg_proto::units::{ByteCount, Span, UnitError};
use thiserror::Error;

use crate::server::LEAST_BUFFER_LIMIT;
use crate::unix;

/// A Toxiproxy-compatible proxy of TCP, UDP and unix-domain sockets with repeatable faults.
///
/// Flags may be written with one dash or two. Where this differs from Toxiproxy: a busy API port ends the program
/// (exit code 3) and so does an invalid -config (exit code 2); half-closed connections stay half open; metrics are
/// always there; logs go to standard error, and the first line on standard output says where the API listens.
#[derive(Clone, Debug, Parser)]
#[command(name = "chaosproxy", disable_version_flag = true, disable_help_subcommand = true)]
#[command(args_override_self = true)]
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
        /// Its address (`HOST:PORT`, a URL or `unix:PATH`).
        #[arg(help = "For example 127.0.0.1:8474, http://127.0.0.1:8474/version or unix:/run/api.sock")]
        url: String,
        /// What the server may ask for; `/healthz` and `/version` it answers without
        #[command(flatten)]
        access: Access,
    },
    /// Show what a running server is doing, again and again: rates, connections, faults, toxics, outages
    ///
    /// `q` ends it. Where standard output is no terminal, or with -once, one page is printed, in a pipe as wide as it is or
    /// as COLUMNS says.
    Top {
        /// Its address (`HOST:PORT`, a URL or `unix:PATH`).
        #[arg(help = "HOST:PORT, a URL or unix:PATH [default: $TOXIPROXY_URL or http://localhost:8474]")]
        url: Option<String>,
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
    /// Host the API listens on, or unix:PATH: a socket for this user alone; empty is everywhere
    #[arg(long, default_value = "localhost", value_name = "HOST")]
    pub host: String,
    /// Port the API listens on; 0 is any [default: 8474]
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// File with a token: requests need `Authorization: Bearer TOKEN`, but for `/version` and `/healthz`
    ///
    /// It is read again at SIGHUP.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// JSON file of proxies to start with
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Root of every decision
    #[arg(long, default_value = "1", value_name = "N", allow_hyphen_values = true, value_parser = go_integer)]
    pub seed: i64,
    /// Add a few figures of the process to /metrics, under the names that Go's runtime has for them
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", default_value = "false", value_parser = go_bool)]
    pub runtime_metrics: bool,
    /// Accepted for compatibility; metrics of proxies are always there, but for -strict-compat
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", default_value = "false", value_parser = go_bool)]
    pub proxy_metrics: bool,
    /// Print the version and exit
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", default_value = "false", value_parser = go_bool)]
    pub version: bool,
    /// Write the ready line to this file, too, atomically; it goes when the server stops
    #[arg(long, value_name = "FILE")]
    pub port_file: Option<PathBuf>,
    /// Write every decision to this file, one JSON object a line; what it held before is lost
    #[arg(long, value_name = "FILE")]
    pub ledger: Option<PathBuf>,
    /// Timeline, as PUT /timeline takes it, started with the server
    #[arg(long, value_name = "FILE")]
    pub timeline: Option<PathBuf>,
    /// Bytes held for each direction of a connection, and for all datagrams of a proxy, for example 64MiB; at least 64KiB
    #[arg(long, default_value = "128MiB", value_name = "SIZE", value_parser = buffer_limit)]
    pub buffer_limit: ByteCount,
    /// Undo every deviation from Toxiproxy that a client could depend on
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", default_value = "false", value_parser = go_bool)]
    pub strict_compat: bool,
    /// Log to standard output, as JSON, after the line that says where the API listens
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", default_value = "false", value_parser = go_bool)]
    pub log_stdout: bool,
    /// Threads; one for each processor by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

/// Port of the API where none is given: Toxiproxy's.
pub const DEFAULT_PORT: u16 = 8474;

impl Serve {
    /// Whether the API is to be on a socket's file.
    pub fn is_on_socket(&self) -> bool {
        unix::is_meant(&self.host)
    }

    /// Refuses settings that contradict each other.
    ///
    /// # Errors
    /// A port beside a socket's file, or one file for two purposes of which one would write over the other.
    pub fn check(&self) -> Result<(), String> {
        if let Some(port) = self.port.filter(|_| self.is_on_socket()) {
            return Err(format!("-port {port} is of a host; the socket -host {} has none", self.host));
        }
        let read =
            [("-config", &self.config), ("-timeline", &self.timeline), ("-token-file", &self.token_file)];
        let written = [("-ledger", &self.ledger), ("-port-file", &self.port_file)];
        let named = |file: &Option<PathBuf>| file.as_deref().map(place_of);
        for (index, (flag, file)) in written.iter().enumerate() {
            let Some(place) = named(file) else { continue };
            let mut others = read.iter().chain(&written[index + 1..]);
            if let Some((other, _)) = others.find(|(_, other)| named(other).as_ref() == Some(&place)) {
                return Err(format!("{other} and {flag} are one file, {}; name two", place.display()));
            }
        }
        Ok(())
    }
}

/// A path in one spelling; of one that cannot be looked up, as it is given.
fn place_of(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let beside = || Some(absolute.parent()?.canonicalize().ok()?.join(absolute.file_name()?));
    absolute.canonicalize().ok().or_else(beside).unwrap_or(absolute)
}

/// A limit of what is held, which a read has to fit into.
fn buffer_limit(text: &str) -> Result<ByteCount, String> {
    let limit: ByteCount = text.parse().map_err(|error: UnitError| error.to_string())?;
    match limit.0 {
        ..LEAST_BUFFER_LIMIT => Err(format!("write {} or more", ByteCount(LEAST_BUFFER_LIMIT))),
        _ => Ok(limit),
    }
}

/// A truth as Go's `strconv.ParseBool` reads it.
pub(crate) fn go_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("write true or false".to_owned()),
    }
}

/// A number of 64 bits as Go's `strconv.ParseInt` reads it in base 0: decimal, or `0x`, `0o`, `0b`, or octal behind a
/// zero, with underscores between digits or behind the base.
fn go_integer(text: &str) -> Result<i64, String> {
    let fail = || "write a whole number of 64 bits, such as 7, -7 or 0x1f".to_owned();
    let (sign, number) = match text.strip_prefix(['+', '-']) {
        Some(number) => (&text[..1], number),
        None => ("", text),
    };
    let lower = number.to_ascii_lowercase();
    let mut bases = [("0x", 16), ("0o", 8), ("0b", 2), ("0", 8)].into_iter();
    let based = bases.find_map(|(prefix, radix)| Some((lower.strip_prefix(prefix)?, radix)));
    let (digits, radix, may_begin_apart) = match based {
        Some((digits, radix)) if !digits.is_empty() => (digits, radix, true),
        _ => (lower.as_str(), 10, false),
    };
    // An underscore stands between two digits; the base counts as one.
    let first = digits.strip_prefix('_').filter(|_| may_begin_apart).unwrap_or(digits);
    if first.split('_').any(|digits| !digits.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric()))
    {
        return Err(fail());
    }
    i64::from_str_radix(&(sign.to_owned() + &first.replace('_', "")), radix).map_err(|_| fail())
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
            assert_eq!((serve.host.as_str(), serve.port), ("0.0.0.0", Some(0)), "{line}");
        }
        let serve = read("-proxy-metrics -runtime-metrics=false -seed -7 -config=p.json").unwrap().serve;
        assert_eq!((serve.proxy_metrics, serve.runtime_metrics, serve.seed), (true, false, -7));
        assert!(read("-version").unwrap().serve.version);
        assert_eq!(read("-buffer-limit 1MiB").unwrap().serve.buffer_limit.0, 1 << 20);
        assert_eq!(read("-buffer-limit 64KiB").unwrap().serve.buffer_limit.0, 64 << 10);
    }

    #[test]
    fn truths_are_those_of_go() {
        for (value, wanted) in [
            ("1 t T true TRUE True", Some(true)),
            ("0 f F false FALSE False", Some(false)),
            ("yes tRUE 2 on", None),
        ] {
            for word in value.split(' ') {
                for flag in ["-proxy-metrics", "-runtime-metrics", "-strict-compat", "-log-stdout"] {
                    let read = read(&format!("{flag}={word}")).map(|cli| match flag {
                        "-proxy-metrics" => cli.serve.proxy_metrics,
                        "-runtime-metrics" => cli.serve.runtime_metrics,
                        "-strict-compat" => cli.serve.strict_compat,
                        _ => cli.serve.log_stdout,
                    });
                    assert_eq!(read.ok(), wanted, "{flag}={word}");
                }
            }
        }
        assert!(read("-version=1").unwrap().serve.version);
        assert!(read("-proxy-metrics=").is_err());
    }

    #[test]
    fn seeds_are_those_of_go() {
        // Each as the reference takes it (`-seed VALUE`), or refuses it with exit code 2.
        for (text, wanted) in [
            ("0x10", Some(16)),
            ("0X1f", Some(31)),
            ("-0x10", Some(-16)),
            ("+7", Some(7)),
            ("0o17", Some(15)),
            ("017", Some(15)),
            ("0b101", Some(5)),
            ("0", Some(0)),
            ("1_000", Some(1000)),
            ("0x_ff", Some(255)),
            ("0_7", Some(7)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("08", None),
            ("0x", None),
            ("1__0", None),
            ("_1", None),
            ("1_", None),
            ("--1", None),
            ("0x-1", None),
            ("0+1", None),
            ("1e3", None),
            ("ff", None),
        ] {
            assert_eq!(read(&format!("-seed {text}")).ok().map(|cli| cli.serve.seed), wanted, "{text}");
            assert_eq!(read(&format!("-seed={text}")).ok().map(|cli| cli.serve.seed), wanted, "={text}");
        }
    }

    #[test]
    fn of_a_flag_given_twice_the_last_counts() {
        let serve =
            read("-port 1 -seed 3 -port=2 -proxy-metrics -proxy-metrics=false -seed 4").unwrap().serve;
        assert_eq!((serve.port, serve.seed, serve.proxy_metrics), (Some(2), 4, false));
        assert_eq!(read("-host x -host=").unwrap().serve.host, "");
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for (line, wanted) in [
            (
                "-host unix:/a.sock -port 9999",
                "-port 9999 is of a host; the socket -host unix:/a.sock has none",
            ),
            ("-ledger /n/x -port-file /n/x", "-port-file and -ledger are one file, /n/x; name two"),
            ("-ledger /n/./x -config /n/x", "-config and -ledger are one file, /n/x; name two"),
            ("-port-file /n/x -token-file /n/x", "-token-file and -port-file are one file, /n/x; name two"),
        ] {
            assert_eq!(read(line).unwrap().serve.check(), Err(wanted.to_owned()), "{line}");
        }
        for line in ["", "-host unix:/a.sock", "-port 0", "-config /n/x -timeline /n/x -ledger /n/y"] {
            assert_eq!(read(line).unwrap().serve.check(), Ok(()), "{line}");
        }
    }

    #[test]
    fn defaults_are_those_documented() {
        let serve = read("").unwrap().serve;
        assert_eq!((serve.host.as_str(), serve.port, serve.seed), ("localhost", None, 1));
        assert_eq!(serve.buffer_limit.0, 128 << 20);
    }

    #[test]
    fn mistakes_are_errors_that_say_what_is_wrong() {
        for (line, part) in [
            ("-hots x", "'-hots' found"),
            ("-port http", "http"),
            ("-port 70000", "70000"),
            ("-buffer-limit much", "write it like 64MiB"),
            ("-buffer-limit 0", "write 64KiB or more"),
            ("-buffer-limit 65535", "write 64KiB or more"),
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
