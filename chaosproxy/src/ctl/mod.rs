//! `chaosproxy ctl`, and the program under the name `toxiproxy-cli`: the verbs, flags, output and exit codes of
//! Toxiproxy's command-line client. Exit codes: 0 done, 1 not done, 2 a flag that makes no sense, 3 a verb that does
//! not exist.

mod client;
mod flags;
mod guide;
mod number;
mod print;

use std::ffi::OsString;
use std::io::{IsTerminal as _, Write as _};

use client::Client;
pub(crate) use client::Proxy;
use flags::{Line, Mistake, Verb};
use print::Paint;

use crate::terminal;
use crate::token::{Token, TokenError};

/// Runs the command line of a program that is called by the name of `program`, which is not in it, and returns the exit
/// code.
pub fn run(program: &'static str, arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let paint = Paint::new(std::io::stdout().is_terminal(), program);
    let done = flags::parse(program, arguments).map_err(Into::into).and_then(|line| {
        let Line { access, verb, beyond } = line;
        if !beyond.is_empty() {
            complain(&format!("ignored: {}", beyond.join(" ")));
        }
        let token = Token::of_client(access.token_file.as_deref());
        let token = token.map_err(|error| Undone::failed(told(&error)))?;
        act(&Client::new(&access.host, token), verb, paint)
    });
    match done {
        Ok(text) => {
            say(&text);
            0
        }
        Err(Undone { help, error, code }) => {
            say(&help);
            if code != 0 {
                complain(&error);
            }
            code
        }
    }
}

/// A reader that has gone is nobody to tell.
fn say(text: &str) {
    let _closed_output = std::io::stdout().write_all(text.as_bytes());
}

/// Lines on standard error; what comes from a server cannot command a terminal.
fn complain(error: &str) {
    if std::io::stderr().is_terminal() {
        error.split('\n').for_each(|line| eprintln!("{}", terminal::shown(line)));
    } else {
        eprintln!("{error}");
    }
}

/// Why something was not done, as the reference tells it: help on standard output, the error on standard error.
#[derive(Debug, PartialEq, Eq)]
struct Undone {
    help: String,
    error: String,
    code: u8,
}

impl Undone {
    /// Most errors of the reference end with an empty line.
    fn failed(error: String) -> Self {
        Self { help: String::new(), error: error + "\n", code: 1 }
    }
}

impl From<Mistake> for Undone {
    fn from(mistake: Mistake) -> Self {
        match mistake {
            Mistake::Help(help) => Self { help, error: String::new(), code: 0 },
            Mistake::UnknownVerb(verb) => {
                Self { help: String::new(), error: format!("No help topic for '{verb}'"), code: 3 }
            }
            Mistake::Flag(error) => Self { help: String::new(), error, code: 2 },
            Mistake::Missing { help, what } => Self { help, error: format!("{what}\n"), code: 1 },
        }
    }
}

/// An error with what is behind it.
fn told(error: &TokenError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Does it, and returns what is to be printed.
fn act(client: &Client, verb: Verb, paint: Paint) -> Result<String, Undone> {
    let retrieve = |name: &str| {
        let failed = |error| Undone::failed(format!("Failed to retrieve proxy {name}: {error}"));
        client.proxy(name).map_err(failed)
    };
    match verb {
        Verb::List => {
            let proxies = client.proxies().map_err(|error| {
                let error = format!("Failed to retrieve proxies: {error}");
                Undone { help: String::new(), error, code: 1 }
            })?;
            Ok(paint.list(&proxies))
        }
        Verb::Inspect { name } => Ok(paint.inspect(&retrieve(&name)?)),
        Verb::Create { name, listen, upstream } => {
            let failed = |error| Undone::failed(format!("Failed to create proxy: {error}"));
            client.create(&name, &listen, &upstream).map_err(failed)?;
            Ok(format!("Created new proxy {}\n", paint.text(&name)))
        }
        Verb::Toggle { name } => {
            let enabled = !retrieve(&name)?.enabled;
            let failed = |error| Undone::failed(format!("Failed to toggle proxy {name}: {error}"));
            Ok(paint.toggled(&client.enable(&name, enabled).map_err(failed)?))
        }
        Verb::Delete { name } => {
            retrieve(&name)?;
            let failed = |error| Undone::failed(format!("Failed to delete proxy: {error}"));
            client.delete(&name).map_err(failed)?;
            Ok(format!("Deleted proxy {}\n", paint.text(&name)))
        }
        Verb::Add { proxy, toxic } => {
            let failed = |error| Undone::failed(format!("Failed to add toxic: {error}"));
            let toxic = client.add(&proxy, &toxic).map_err(failed)?;
            let (stream, kind) = (paint.text(&toxic.stream), paint.text(&toxic.kind));
            let (name, proxy) = (paint.text(&toxic.name), paint.text(&proxy));
            Ok(format!("Added {stream} {kind} toxic '{name}' on proxy '{proxy}'\n"))
        }
        Verb::Update { proxy, toxic, change } => {
            let failed = |error| Undone::failed(format!("Failed to update toxic: {error}"));
            let toxic = client.update(&proxy, &toxic, &change).map_err(failed)?;
            let (name, proxy) = (paint.text(&toxic.name), paint.text(&proxy));
            Ok(format!("Updated toxic '{name}' on proxy '{proxy}'\n"))
        }
        Verb::Remove { proxy, toxic } => {
            let failed = |error| Undone::failed(format!("Failed to remove toxic: {error}"));
            client.remove(&proxy, &toxic).map_err(failed)?;
            let (name, proxy) = (paint.text(&toxic), paint.text(&proxy));
            Ok(format!("Removed toxic '{name}' on proxy '{proxy}'\n"))
        }
    }
}
