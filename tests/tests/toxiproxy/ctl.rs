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
    ("toxic add -t latency -n f1 --upstream=true p", None),
    ("toxic add -t latency -n f2 -d=true p", None),
    ("toxic add -t latency -n f3 --downstream=false p", None),
    ("toxic add -t latency -n f4 -u=0 -d=T p", None),
    ("toxic add -t latency -n f5 -u -u p", None),
    ("toxic add -t latency -n f6 -a latency=5,jitter=3 p", None),
    ("toxic add -t latency -n f7 -a latency=1_000 p", None),
    ("toxic add -t latency -t noop -n f8 p", None),
    ("toxic add -n=f9 -n=f10 -t=latency --toxicity 1 --toxicity 0.2_5 p", None),
    ("toxic add -t latency -n f11 -a latency=1_ p", None),
    ("toxic add -t latency -n f12 -a latency=1e400 p", None),
    ("toxic add -t latency -n f13 -a latency=5,,x, -a jitter=1 -a jitter=2 p", None),
    ("toxic update -n f6 -a latency=6,jitter=4 p", None),
    ("create -l 127.0.0.1:0 -u u:1 -u u:3 s", None),
    ("-host 127.0.0.1:1 --host 127.0.0.1:2 list", None),
    ("inspect p", None),
    ("list", None),
    // The reference says nothing of them.
    ("list p", Some(("ignored: p", 0))),
    ("inspect p q", Some(("ignored: q", 0))),
    ("toxic remove -n f1 p q", Some(("ignored: q", 0))),
    ("delete s p q", Some(("ignored: p q", 0))),
    ("list", None),
    ("delete q", None),
    ("d q", None),
    ("delete", None),
    ("list", None),
    ("bogus", None),
    ("toxic bogus", None),
    ("", None),
    ("toxic", None),
    ("--help", None),
    ("-version=false list", None),
    ("help", None),
    ("h", None),
    ("help toxic", None),
    ("h list", None),
    ("help t add", None),
    ("toxic help", None),
    ("toxic h", None),
    ("t h add", None),
    ("help bogus", None),
    ("toxic help bogus", None),
    ("inspect help", None),
    ("list -h", None),
    ("toxic add -h", None),
    // The reference knows the server before the verb only.
    (
        "list --host 127.0.0.1:1",
        Some((
            "Failed to retrieve proxies: Get \"http://127.0.0.1:/proxies\": dial tcp 127.0.0.1:: connect: \
             connection refused",
            1,
        )),
    ),
    (
        "toxic add -t latency --upstream=maybe p",
        Some(("error: invalid value 'maybe' for '--upstream[=<BOOL>]': write true or false", 2)),
    ),
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

/// Whatever the help of the reference says of types and attributes of toxics, ours says, too.
pub(crate) fn help_teaches_as_much() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join(crate::CLI);
    symlink(e2e::binary::path("chaosproxy"), &link).unwrap();
    let help = |program: &Path| {
        let output = run(Command::new(program).args(["help", "toxic"]));
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let (real, ours) = (help(&find(crate::CLI).unwrap()), help(&link));
    let types = real.lines().filter_map(|line| line.trim().split_once(':')).map(|(name, _)| name);
    let types: Vec<&str> = types.filter(|name| chaosproxy::Attributes::defaults(name).is_some()).collect();
    let attributes =
        real.split([' ', ',']).filter_map(|word| word.trim().split_once("=<")).map(|(name, _)| name);
    let attributes: Vec<&str> = attributes.collect();
    assert!(types.len() >= 6 && attributes.len() >= 9, "{types:?} {attributes:?}");
    for word in types
        .iter()
        .map(|name| format!("\n  {name} "))
        .chain(attributes.iter().map(|name| format!(" {name}=")))
    {
        assert!(ours.contains(&word), "no {word:?} in {ours}");
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
