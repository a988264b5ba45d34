//! `chaosproxy ctl` under the name `toxiproxy-cli` beside the real client: the same command lines, each against a server
//! of ours of its own, and what both print and return. Help texts are each program's own.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use chaosproxy::Server;
use e2e::program::{find, run};

/// Command lines in order; `None` where both do the same, otherwise what ours does and why.
const LINES: &[(&str, Option<(&str, i32)>)] = &[
    ("list", None),
    ("create --listen 127.0.0.1:0 --upstream u:1 p", None),
    ("c -l 127.0.0.1:0 -u u:2 q", None),
    ("new -listen=127.0.0.1:0 -upstream=u:2 r", None),
    ("create -l 127.0.0.1:0 -u u:1 p", None),
    ("create -l nonsense -u u:1 s", None),
    ("create -l 127.0.0.1:0 p", None),
    ("create -u u:1 p", None),
    ("create", None),
    ("inspect p", None),
    ("inspect none", None),
    ("inspect", None),
    ("toxic add -t latency -a latency=100 -a jitter=50 p", None),
    ("toxic add --type bandwidth --attribute rate=1000000 --upstream p", None),
    ("t a -t slicer -n cutter -tox 0.25 -a average_size=10 -a size_variation=5 -a delay=3 -d p", None),
    ("toxic add -t limit_data -n l --tox 0.125 -a bytes=123456789 q", None),
    ("toxic add -t timeout p", None),
    ("toxic add -t timeout p", None),
    ("toxic add -t nothing p", None),
    ("toxic add -t latency -n bad -a latency=x p", None),
    ("toxic add -t latency -n bad -a latency=1.5 p", None),
    ("toxic add -t latency -n odd -a latency p", None),
    ("toxic add -t latency none", None),
    ("toxic add p", None),
    ("toxic add -t latency", None),
    ("toxic add -t latency -u -d p", None),
    ("toxic add -t latency -toxicity 2 p", None),
    ("toxic add -t latency -toxicity x p", None),
    ("list", None),
    ("ls", None),
    ("inspect p", None),
    ("i q", None),
    ("toxic update -n cutter -a delay=9 p", None),
    ("t u --toxicName cutter --toxicity 0.5 p", None),
    ("toxic update -n none -a delay=9 p", None),
    ("toxic update -n cutter -a delay=9 none", None),
    ("toxic update -n cutter", None),
    ("inspect p", None),
    ("toxic remove -n cutter p", None),
    ("toxic delete -n cutter p", None),
    ("t d -n latency_downstream none", None),
    ("t r -n latency_downstream p", None),
    ("inspect p", None),
    ("toggle p", None),
    ("list", None),
    ("tog p", None),
    ("toggle none", None),
    ("toggle", None),
    ("delete q", None),
    ("d q", None),
    ("delete", None),
    ("list", None),
    ("bogus", None),
    ("toxic bogus", None),
    ("", None),
    ("toxic", None),
    ("--help", None),
    // The reference shows its help, and claims success.
    ("--bogus", Some(("error: unexpected argument '--bogus' found", 2))),
    ("list --bogus", Some(("error: unexpected argument '--bogus' found", 2))),
    ("create -l", Some(("error: a value is required for '--listen <ADDRESS>' but none was supplied", 2))),
];

/// What a program printed and returned.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    output: String,
    error: String,
    code: Option<i32>,
}

/// A client with a server to talk to.
struct Client<'a> {
    program: &'a Path,
    server: Server,
}

impl Client<'_> {
    fn say(&self, line: &str) -> Said {
        let mut command = Command::new(self.program);
        command.args(line.split_whitespace()).env("TOXIPROXY_URL", self.server.url());
        let output = run(&mut command);
        let text = |bytes: &[u8]| ports_removed(&String::from_utf8_lossy(bytes));
        let printed = text(&output.stdout);
        // Help is what names the program and its use.
        let is_help = printed.contains("USAGE:") || printed.contains("Usage:");
        let printed = if is_help { "help".to_owned() } else { printed };
        Said { output: printed, error: text(&output.stderr), code: output.status.code() }
    }
}

fn ports_removed(text: &str) -> String {
    let mut pieces = text.split("127.0.0.1:");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| {
        text + "127.0.0.1:" + piece.trim_start_matches(|c: char| c.is_ascii_digit())
    })
}

fn server() -> Server {
    Server::builder().start().unwrap()
}

pub(crate) fn compare() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join(crate::CLI);
    symlink(e2e::binary::path("chaosproxy"), &link).unwrap();
    let real = Client { program: &find(crate::CLI).unwrap(), server: server() };
    let ours = Client { program: &link, server: server() };
    let mut mismatches = Vec::new();
    for (line, ours_differ) in LINES {
        let (wanted, got) = (real.say(line), ours.say(line));
        let is_expected = match ours_differ {
            None => got == wanted,
            Some((error, code)) => {
                got != wanted && got.error.lines().next() == Some(*error) && got.code == Some(*code)
            }
        };
        if !is_expected {
            mismatches.push(format!("{line}\n  real {wanted:?}\n  ours {got:?}"));
        }
    }
    assert!(mismatches.is_empty(), "{}", mismatches.join("\n"));
    gone(&real, &ours);
}

/// A server that is not there.
fn gone(real: &Client<'_>, ours: &Client<'_>) {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for line in ["list", "inspect p", "delete p", "toxic remove -n t p"] {
        let line = format!("-h {closed} {line}");
        assert_eq!(ours.say(&line), real.say(&line), "{line}");
    }
}

/// The real client drives ours from the first proxy to the last.
pub(crate) fn the_real_client_works() {
    let client = Client { program: &find(crate::CLI).unwrap(), server: server() };
    for (line, output) in [
        ("create -l 127.0.0.1:0 -u u:1 p", "Created new proxy p\n"),
        (
            "toxic add -t latency -a latency=5 p",
            "Added downstream latency toxic 'latency_downstream' on proxy 'p'\n",
        ),
        (
            "inspect p",
            "latency_downstream\ttype=latency\tstream=downstream\ttoxicity=1.00\tattributes=[\tjitter=0\tlatency=5\t]\n",
        ),
        ("toggle p", "Proxy p is now disabled\n"),
        ("list", "p\t127.0.0.1:\tu:1\tdisabled\t1\n"),
        ("delete p", "Deleted proxy p\n"),
    ] {
        let said = client.say(line);
        assert_eq!((said.output.as_str(), said.error.as_str(), said.code), (output, "", Some(0)), "{line}");
    }
}
