//! The command line of `ctl`: verbs, their short names, and flags in Go's style, as toxiproxy-cli has them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ErrorKind};
use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use serde_json::Value;

use super::client::{Change, Toxic};
use super::{guide, number};
use crate::ask;
use crate::cli::{double_dash, go_bool};

/// The server, and what it may want to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) host: String,
    pub(super) token_file: Option<PathBuf>,
}

/// A command line that says what is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) access: Access,
    pub(super) verb: Verb,
    /// Arguments beyond those that the verb takes. The reference ignores them.
    pub(super) beyond: Vec<String>,
}

/// What is to be done, with all that it takes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verb {
    List,
    Inspect { name: String },
    Create { name: String, listen: String, upstream: String },
    Toggle { name: String },
    Delete { name: String },
    Add { proxy: String, toxic: Toxic },
    Update { proxy: String, toxic: String, change: Change },
    Remove { proxy: String, toxic: String },
}

/// Why a command line says nothing that can be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mistake {
    /// It asks for help, or for the version.
    Help(String),
    /// There is no such verb.
    UnknownVerb(String),
    /// There is no such flag, or its value is missing.
    Flag(String),
    /// A value that the verb needs is not there, or is none.
    Missing { help: String, what: String },
}

/// Controls a running server, this one or Toxiproxy, as toxiproxy-cli does.
#[derive(Debug, Parser)]
#[command(disable_help_flag = true, disable_help_subcommand = true, args_override_self = true)]
struct Ctl {
    #[arg(long, short = 'h', value_name = "ADDRESS", global = true, display_order = 100)]
    #[arg(
        help = "The server: HOST:PORT, a URL or unix:PATH [default: $TOXIPROXY_URL or http://localhost:8474]"
    )]
    host: Option<String>,
    /// File with the token that the server asks for [default: $CHAOSPROXY_TOKEN_FILE]
    #[arg(long, value_name = "FILE", global = true, display_order = 101)]
    token_file: Option<PathBuf>,
    /// Print the version
    #[arg(long, short = 'v', value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(value_parser = go_bool, default_missing_value = "true", display_order = 102)]
    version: Option<bool>,
    /// Show help
    #[arg(long, global = true, action = ArgAction::Help, display_order = 103)]
    help: Option<bool>,
    #[command(subcommand)]
    verb: Option<TypedVerb>,
}

#[derive(Debug, Subcommand)]
enum TypedVerb {
    /// List all proxies
    #[command(visible_aliases = ["l", "li", "ls"])]
    List(Beyond),
    /// Inspect a single proxy
    #[command(visible_aliases = ["i", "ins"])]
    Inspect(Named),
    /// Create a new proxy
    #[command(visible_aliases = ["c", "new"])]
    Create(Create),
    /// Toggle whether a proxy is enabled
    #[command(visible_alias = "tog")]
    Toggle(Named),
    /// Delete a proxy
    #[command(visible_alias = "d")]
    Delete(Named),
    /// Add, update or remove a toxic
    #[command(visible_alias = "t")]
    Toxic(ToxicVerbs),
    /// Show help, also of a verb
    #[command(visible_alias = "h")]
    Help(Topic),
}

#[derive(Debug, Args)]
struct Named {
    /// Name of the proxy
    #[arg(value_name = "PROXY")]
    proxy: Option<String>,
    #[command(flatten)]
    beyond: Beyond,
}

/// What follows the arguments that a verb takes.
#[derive(Debug, Args)]
struct Beyond {
    #[arg(hide = true)]
    beyond: Vec<String>,
}

#[derive(Debug, Args)]
struct Topic {
    /// The verb, as `toxic add`
    #[arg(value_name = "VERB")]
    path: Vec<String>,
}

#[derive(Debug, Args)]
struct Create {
    /// Address that the proxy listens on
    #[arg(long, short, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Address that it forwards to
    #[arg(long, short, value_name = "ADDRESS")]
    upstream: Option<String>,
    #[command(flatten)]
    named: Named,
}

#[derive(Debug, Args)]
struct ToxicVerbs {
    #[command(subcommand)]
    verb: Option<ToxicVerb>,
}

#[derive(Debug, Subcommand)]
enum ToxicVerb {
    /// Add a new toxic
    #[command(visible_alias = "a")]
    Add(Add),
    /// Update a toxic
    #[command(visible_alias = "u")]
    Update(Update),
    /// Remove a toxic
    #[command(visible_aliases = ["r", "delete", "d"])]
    Remove(Remove),
    /// Show help, also of a verb
    #[command(visible_alias = "h")]
    Help(Topic),
}

#[derive(Debug, Args)]
struct Add {
    #[command(flatten)]
    change: Update,
    /// Type of the toxic
    #[arg(long = "type", short = 't', value_name = "TYPE")]
    kind: Option<String>,
    /// On bytes from the client to the server
    #[arg(long, short, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(value_parser = go_bool, default_missing_value = "true")]
    upstream: Option<bool>,
    /// On bytes from the server to the client, the default
    #[arg(long, short, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(value_parser = go_bool, default_missing_value = "true")]
    downstream: Option<bool>,
    /// Only connections of this source, source_port, port or sni; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    only: Vec<String>,
}

#[derive(Debug, Args)]
struct Update {
    #[command(flatten)]
    toxic: Remove,
    /// Share of connections it affects, between 0 and 1; 1 where it is not given
    #[arg(long, visible_alias = "tox", value_name = "SHARE", allow_hyphen_values = true)]
    toxicity: Option<String>,
    /// An attribute; several with commas between them, or the flag given several times
    #[arg(long, short, value_name = "KEY=VALUE")]
    attribute: Vec<String>,
}

#[derive(Debug, Args)]
struct Remove {
    /// Name of the toxic
    #[arg(long = "toxicName", short = 'n', value_name = "NAME")]
    toxic: Option<String>,
    #[command(flatten)]
    named: Named,
}

/// Reads the command line of the program of that name, which is not in it.
pub(super) fn parse(
    program: &'static str,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Line, Mistake> {
    let matches = command(program).try_get_matches_from(spelt(program, arguments));
    let ctl = matches.and_then(|matches| Ctl::from_arg_matches(&matches)).map_err(|error| mistake(&error))?;
    if ctl.version == Some(true) {
        return Err(Mistake::Help(format!("{program} version {}\n", env!("CARGO_PKG_VERSION"))));
    }
    let access = Access { host: ask::server(ctl.host), token_file: ctl.token_file };
    let asked = ctl.verb.as_ref().map_or(Some(Vec::new()), TypedVerb::asks_for_help);
    if let Some(path) = asked {
        return Err(help(program, &path).map_or_else(Mistake::UnknownVerb, Mistake::Help));
    }
    let verb = ctl.verb.expect("without a verb help is asked for");
    let beyond = verb.beyond().to_vec();
    Ok(Line { access, verb: verb.meant().map_err(|unmeant| unmeant.told(program))?, beyond })
}

/// The arguments as clap reads them, a name of the program first. A last `-h` has no server behind it and asks for help.
fn spelt(program: &str, arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut spelt: Vec<OsString> = std::iter::once(program.into()).collect();
    spelt.extend(arguments.into_iter().map(double_dash));
    if let Some(last) = spelt.last_mut().filter(|last| *last == "-h") {
        *last = "--help".into();
    }
    spelt
}

/// The command line of the program of that name, with all its help.
fn command(program: &'static str) -> clap::Command {
    let add = |command: clap::Command| command.after_help(guide::types());
    let toxic =
        |command: clap::Command| command.after_help(guide::toxics(program)).mut_subcommand("add", add);
    let hint = format!("`{program} help toxic` has all types of toxics, with examples.");
    Ctl::command().name(program).bin_name(program).mut_subcommand("toxic", toxic).after_help(hint)
}

fn mistake(error: &clap::Error) -> Mistake {
    match error.kind() {
        ErrorKind::DisplayHelp => Mistake::Help(error.to_string()),
        ErrorKind::InvalidSubcommand => {
            let verb = error.get(ContextKind::InvalidSubcommand).map(ToString::to_string);
            Mistake::UnknownVerb(verb.unwrap_or_default())
        }
        _ => Mistake::Flag(error.to_string()),
    }
}

/// Help of the verb that the path leads to, from the program's name on; the name of a verb that is none.
fn help(program: &'static str, path: &[&str]) -> Result<String, String> {
    let mut command = command(program);
    command.build();
    let found = path.iter().try_fold(&mut command, |command, verb| {
        command.find_subcommand_mut(verb).ok_or_else(|| (*verb).to_owned())
    })?;
    Ok(found.render_help().to_string())
}

/// What a verb lacks, and the verb whose help has it.
struct Unmeant {
    help_of: Option<&'static [&'static str]>,
    what: String,
}

impl Unmeant {
    fn of(path: &'static [&'static str], what: impl Into<String>) -> Self {
        Self { help_of: Some(path), what: what.into() }
    }

    fn alone(what: impl Into<String>) -> Self {
        Self { help_of: None, what: what.into() }
    }

    fn told(self, program: &'static str) -> Mistake {
        let help = self.help_of.map(|path| help(program, path).expect("the verb is one of ours"));
        Mistake::Missing { help: help.unwrap_or_default(), what: self.what }
    }
}

/// A value that is there and not empty.
fn required(value: Option<String>, path: &'static [&'static str], name: &str) -> Result<String, Unmeant> {
    let given = value.filter(|value| !value.is_empty());
    given.ok_or_else(|| Unmeant::of(path, format!("Required argument '{name}' was empty.")))
}

impl TypedVerb {
    /// The path of the verb that help is asked for, if it is.
    fn asks_for_help(&self) -> Option<Vec<&str>> {
        match self {
            Self::Help(topic) => Some(topic.path().collect()),
            Self::Toxic(ToxicVerbs { verb: None }) => Some(vec!["toxic"]),
            Self::Toxic(ToxicVerbs { verb: Some(ToxicVerb::Help(topic)) }) => {
                Some(std::iter::once("toxic").chain(topic.path()).collect())
            }
            _ => None,
        }
    }

    fn beyond(&self) -> &[String] {
        match self {
            Self::List(Beyond { beyond }) => beyond,
            Self::Inspect(named) | Self::Toggle(named) | Self::Delete(named) => &named.beyond.beyond,
            Self::Create(create) => &create.named.beyond.beyond,
            Self::Toxic(ToxicVerbs { verb: Some(verb) }) => verb.beyond(),
            Self::Toxic(ToxicVerbs { verb: None }) | Self::Help(_) => &[],
        }
    }

    fn meant(self) -> Result<Verb, Unmeant> {
        Ok(match self {
            Self::List(_) => Verb::List,
            Self::Inspect(named) => Verb::Inspect { name: named.name(&["inspect"])? },
            Self::Create(create) => create.meant()?,
            Self::Toggle(named) => Verb::Toggle { name: named.name(&["toggle"])? },
            Self::Delete(named) => Verb::Delete { name: named.name(&["delete"])? },
            Self::Toxic(ToxicVerbs { verb: Some(verb) }) => verb.meant()?,
            Self::Toxic(ToxicVerbs { verb: None }) | Self::Help(_) => unreachable!("it asks for help"),
        })
    }
}

impl Topic {
    fn path(&self) -> impl Iterator<Item = &str> {
        self.path.iter().map(String::as_str)
    }
}

impl Named {
    fn name(self, path: &'static [&'static str]) -> Result<String, Unmeant> {
        let given = self.proxy.filter(|name| !name.is_empty());
        given.ok_or_else(|| Unmeant::of(path, "Proxy name is required as the first argument."))
    }
}

impl Create {
    fn meant(self) -> Result<Verb, Unmeant> {
        Ok(Verb::Create {
            name: self.named.name(&["create"])?,
            listen: required(self.listen, &["create"], "listen")?,
            upstream: required(self.upstream, &["create"], "upstream")?,
        })
    }
}

impl ToxicVerb {
    fn beyond(&self) -> &[String] {
        match self {
            Self::Add(Add { change: Update { toxic: remove, .. }, .. })
            | Self::Update(Update { toxic: remove, .. })
            | Self::Remove(remove) => &remove.named.beyond.beyond,
            Self::Help(_) => &[],
        }
    }

    fn meant(self) -> Result<Verb, Unmeant> {
        match self {
            Self::Add(add) => add.meant(),
            Self::Update(update) => {
                let (proxy, toxic, change) = update.meant(&["toxic", "update"])?;
                Ok(Verb::Update { proxy, toxic, change })
            }
            Self::Remove(remove) => {
                let (proxy, toxic) = remove.meant(&["toxic", "remove"])?;
                Ok(Verb::Remove { proxy, toxic })
            }
            Self::Help(_) => unreachable!("it asks for help"),
        }
    }
}

impl Remove {
    fn meant(self, path: &'static [&'static str]) -> Result<(String, String), Unmeant> {
        let proxy = self.named.proxy.filter(|name| !name.is_empty());
        let proxy = proxy.ok_or_else(|| Unmeant::of(path, "Proxy name is missing."))?;
        Ok((proxy, self.toxic.unwrap_or_default()))
    }
}

impl Update {
    fn meant(self, path: &'static [&'static str]) -> Result<(String, String, Change), Unmeant> {
        let (proxy, toxic) = self.toxic.meant(path)?;
        let toxicity = self.toxicity.as_deref().filter(|text| !text.is_empty()).map(toxicity);
        let change =
            Change { toxicity: toxicity.unwrap_or(Ok(1.0))?, attributes: attributes(&self.attribute)? };
        Ok((proxy, toxic, change))
    }
}

impl Add {
    fn meant(self) -> Result<Verb, Unmeant> {
        let path = &["toxic", "add"];
        let is_named = self.change.toxic.named.proxy.as_deref().is_some_and(|name| !name.is_empty());
        let kind = if is_named { required(self.kind, path, "type")? } else { String::new() };
        let is_upstream = self.upstream == Some(true);
        if is_named && is_upstream && self.downstream == Some(true) {
            return Err(Unmeant::alone("Only one should be specified: upstream or downstream."));
        }
        let stream = if is_upstream { "upstream" } else { "downstream" }.to_owned();
        let (proxy, name, Change { toxicity, attributes }) = self.change.meant(path)?;
        let only = conditions(&self.only)?;
        Ok(Verb::Add { proxy, toxic: Toxic { name, kind, stream, toxicity, attributes, only } })
    }
}

/// Conditions on connections. The server says what is wrong with them, but for what it would not be told.
fn conditions(given: &[String]) -> Result<BTreeMap<String, Vec<Value>>, Unmeant> {
    let mut conditions: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for condition in given {
        let (key, value) = condition.split_once('=').ok_or_else(|| {
            Unmeant::alone(format!("only should be KEY=VALUE, as source=10.0.0.0/8, not {condition}."))
        })?;
        conditions.entry(key.to_owned()).or_default().push(value.into());
    }
    Ok(conditions)
}

fn toxicity(text: &str) -> Result<f32, Unmeant> {
    let share = number::read(text).filter(|share| (0.0..=1.0).contains(share));
    share
        .map(|share| share as f32)
        .ok_or_else(|| Unmeant::alone("toxicity should be a float between 0 and 1."))
}

/// Numbers where they are numbers, text otherwise. As the reference does, a comma is between two attributes, and what
/// has no `=` is left out.
fn attributes(given: &[String]) -> Result<BTreeMap<String, Value>, Unmeant> {
    let pairs = given.iter().flat_map(|several| several.split(',')).map(str::trim);
    pairs
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| Ok((key.to_owned(), attribute(value)?)))
        .collect()
}

fn attribute(text: &str) -> Result<Value, Unmeant> {
    match (text, number::read(text)) {
        ("true" | "false", _) => Ok(Value::from(text == "true")),
        (_, Some(value)) => number::sent(value)
            .ok_or_else(|| Unmeant::alone(format!("attribute value {text} is no number that can be sent."))),
        (_, None) => Ok(Value::from(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Line, Mistake> {
        parse("toxiproxy-cli", line.split_whitespace().map(OsString::from))
    }

    fn verb(line: &str) -> Verb {
        read(line).unwrap_or_else(|mistake| panic!("{line}: {mistake:?}")).verb
    }

    #[test]
    fn verbs_have_their_short_names() {
        for line in ["list", "l", "li", "ls"] {
            assert_eq!(verb(line), Verb::List);
        }
        for line in ["inspect p", "i p", "ins p"] {
            assert_eq!(verb(line), Verb::Inspect { name: "p".into() });
        }
        for line in ["toggle p", "tog p"] {
            assert_eq!(verb(line), Verb::Toggle { name: "p".into() });
        }
        for line in ["toxic remove -n x p", "t r -n x p", "t delete -toxicName=x p", "t d --toxicName x p"] {
            assert_eq!(verb(line), Verb::Remove { proxy: "p".into(), toxic: "x".into() });
        }
        for line in ["create -l a:1 -u b:2 p", "new --listen=a:1 -upstream b:2 p", "c p -l a:1 -u b:2"] {
            let (name, listen, upstream) = ("p".into(), "a:1".into(), "b:2".into());
            assert_eq!(verb(line), Verb::Create { name, listen, upstream });
        }
    }

    #[test]
    fn a_toxic_is_described_by_flags() {
        let Verb::Add { proxy, toxic } = verb("t a -t latency -a latency=100 -a x=y -a z -tox 0.5 -u p")
        else {
            panic!("it is an addition");
        };
        assert_eq!(
            (proxy.as_str(), toxic.kind.as_str(), toxic.stream.as_str()),
            ("p", "latency", "upstream")
        );
        assert_eq!((toxic.name.as_str(), toxic.toxicity), ("", 0.5));
        let sent = serde_json::to_string(&toxic.attributes).unwrap();
        assert_eq!(sent, r#"{"latency":100,"x":"y"}"#);
        let Verb::Add { toxic, .. } =
            verb("t a -t noop --only source=10.0.0.0/8 -only source=::1 --only sni=a.b p")
        else {
            panic!("it is an addition");
        };
        let sent = serde_json::to_string(&toxic.only).unwrap();
        assert_eq!(sent, r#"{"sni":["a.b"],"source":["10.0.0.0/8","::1"]}"#);
        let Verb::Update { change, .. } = verb("toxic update -n x -a shared=true p") else {
            panic!("it is an update");
        };
        assert_eq!((change.toxicity, &change.attributes["shared"]), (1.0, &Value::from(true)));
    }

    #[test]
    fn flags_read_as_in_go_and_the_last_one_counts() {
        let added = |line: &str| match verb(line) {
            Verb::Add { toxic, .. } => toxic,
            other => panic!("{line}: {other:?}"),
        };
        for (flags, stream) in [
            ("--upstream=true", "upstream"),
            ("-u=T", "upstream"),
            ("-u -u", "upstream"),
            ("-u=0 -d=1", "downstream"),
            ("--downstream=false", "downstream"),
            ("-upstream -downstream=false", "upstream"),
        ] {
            assert_eq!(added(&format!("toxic add -t noop {flags} p")).stream, stream, "{flags}");
        }
        let toxic = added(
            "t a -t noop -tox 1 -t=latency -n a -n b -toxicity 0.2_5 p -a latency=1_000,jitter=3,x -a y=1",
        );
        assert_eq!((toxic.kind.as_str(), toxic.name.as_str(), toxic.toxicity), ("latency", "b", 0.25));
        let sent = serde_json::to_string(&toxic.attributes).unwrap();
        assert_eq!(sent, r#"{"jitter":3,"latency":1000,"y":1}"#);
    }

    #[test]
    fn arguments_beyond_those_of_the_verb_are_kept_apart() {
        for (line, beyond) in [
            ("list a b", &["a", "b"][..]),
            ("inspect p q", &["q"]),
            ("toxic add -t noop p q -n x r", &["q", "r"]),
            ("create -l a:1 -u b:2 p", &[]),
        ] {
            assert_eq!(read(line).unwrap().beyond, beyond, "{line}");
        }
    }

    #[test]
    fn help_names_the_program_it_is_of_and_teaches_toxics() {
        for program in ["toxiproxy-cli", "chaosproxy ctl"] {
            let text = |path: &[&str]| help(program, path).unwrap();
            assert!(
                text(&["list"]).contains(&format!("Usage: {program} list [OPTIONS]\n")),
                "{}",
                text(&["list"])
            );
            assert!(text(&[]).contains(" http://localhost:8474]"), "{}", text(&[]));
            for path in [&["toxic"][..], &["toxic", "add"]] {
                assert!(text(path).contains("average_size=BYTES"), "{}", text(path));
            }
            assert!(
                text(&["toxic"]).contains(&format!("  {program} toxic update -n slow")),
                "{}",
                text(&["toxic"])
            );
            let add = text(&["toxic", "add"]);
            let flags =
                add.lines().filter_map(|line| line.trim_start().split_once("--")).map(|(_, rest)| rest);
            let last = flags.map(|flag| flag.split([' ', ',']).next().unwrap()).next_back();
            assert_eq!(last, Some("help"), "{add}");
        }
    }

    #[test]
    fn the_server_is_a_flag_or_local() {
        for (line, host) in [
            ("-host h:1 list", "h:1"),
            ("-h=h:2 l", "h:2"),
            ("--host=http://h l", "http://h"),
            ("-host unix:/s l", "unix:/s"),
            ("list --host h:3", "h:3"),
            ("toxic -h h:4 remove p", "h:4"),
        ] {
            assert_eq!(read(line).unwrap().access.host, host);
        }
    }

    #[test]
    fn a_token_is_in_a_file() {
        assert_eq!(read("-token-file f l").unwrap().access.token_file, Some("f".into()));
        assert_eq!(read("--token-file=f l").unwrap().access.token_file, Some("f".into()));
        assert_eq!(read("l").unwrap().access.token_file, None);
    }

    #[test]
    fn mistakes_are_told_as_the_reference_tells_them() {
        let what = |line: &str| match read(line).expect_err(line) {
            Mistake::Missing { what, .. } => what,
            Mistake::UnknownVerb(verb) => format!("unknown {verb}"),
            Mistake::Help(_) => "help".to_owned(),
            Mistake::Flag(text) => text.lines().next().unwrap().to_owned(),
        };
        for (line, text) in [
            ("", "help"),
            ("toxic", "help"),
            ("--help", "help"),
            ("create --help", "help"),
            ("help", "help"),
            ("h toxic a", "help"),
            ("toxic help", "help"),
            ("t h update", "help"),
            ("list -h", "help"),
            ("-h", "help"),
            ("help bogus", "unknown bogus"),
            ("toxic help bogus", "unknown bogus"),
            ("bogus", "unknown bogus"),
            ("toxic bogus", "unknown bogus"),
            ("inspect", "Proxy name is required as the first argument."),
            ("create p", "Required argument 'listen' was empty."),
            ("create -l a:1 p", "Required argument 'upstream' was empty."),
            ("toxic add", "Proxy name is missing."),
            ("toxic add p", "Required argument 'type' was empty."),
            ("toxic add -t noop -u -d p", "Only one should be specified: upstream or downstream."),
            ("toxic add -t noop --only x p", "only should be KEY=VALUE, as source=10.0.0.0/8, not x."),
            ("toxic add -t noop -tox 2 p", "toxicity should be a float between 0 and 1."),
            ("toxic update --toxicity x p", "toxicity should be a float between 0 and 1."),
            ("toxic update -a latency=inf p", "attribute value inf is no number that can be sent."),
            ("list --bogus", "error: unexpected argument '--bogus' found"),
        ] {
            assert_eq!(what(line), text, "{line}");
        }
    }
}
