//! The command line of `ctl`: verbs, their short names, and flags in Go's style, as toxiproxy-cli has them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ErrorKind};
use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use serde_json::Value;

use super::client::{Change, Toxic};
use super::number;
use crate::cli::double_dash;

const SERVER: &str = "http://localhost:8474";

/// The server, and what it may want to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) host: String,
    pub(super) token_file: Option<PathBuf>,
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
#[command(name = "toxiproxy-cli", disable_help_flag = true, disable_help_subcommand = true)]
struct Ctl {
    /// The server, an address or unix:PATH [default: $TOXIPROXY_URL, or <http://localhost:8474>]
    #[arg(long, short = 'h', value_name = "URL")]
    host: Option<String>,
    /// File with the token that the server asks for [default: $CHAOSPROXY_TOKEN_FILE]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Print the version
    #[arg(long, short = 'v')]
    version: bool,
    /// Show help
    #[arg(long, global = true, action = ArgAction::Help)]
    help: Option<bool>,
    #[command(subcommand)]
    verb: Option<TypedVerb>,
}

#[derive(Debug, Subcommand)]
enum TypedVerb {
    /// List all proxies
    #[command(visible_aliases = ["l", "li", "ls"])]
    List,
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
}

#[derive(Debug, Args)]
struct Named {
    /// Name of the proxy
    #[arg(value_name = "PROXY")]
    proxy: Option<String>,
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
}

#[derive(Debug, Args)]
struct Add {
    #[command(flatten)]
    change: Update,
    /// Type of the toxic
    #[arg(long = "type", short = 't', value_name = "TYPE")]
    kind: Option<String>,
    /// On bytes from the client to the server
    #[arg(long, short)]
    upstream: bool,
    /// On bytes from the server to the client, the default
    #[arg(long, short)]
    downstream: bool,
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
    /// An attribute; may be given several times
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

/// Reads a command line, the program's own name first; beside the verb there is the server.
pub(super) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<(Access, Verb), Mistake> {
    let environment = std::env::var("TOXIPROXY_URL").ok().filter(|url| !url.is_empty());
    let matches = Ctl::command().try_get_matches_from(arguments.into_iter().map(double_dash));
    let ctl = matches.and_then(|matches| Ctl::from_arg_matches(&matches)).map_err(|error| mistake(&error))?;
    if ctl.version {
        return Err(Mistake::Help(format!("toxiproxy-cli version {}\n", env!("CARGO_PKG_VERSION"))));
    }
    let host = ctl.host.or(environment).unwrap_or_else(|| SERVER.to_owned());
    let access = Access { host, token_file: ctl.token_file };
    let verb = match ctl.verb {
        None => return Err(Mistake::Help(help(&[]))),
        Some(TypedVerb::List) => Verb::List,
        Some(TypedVerb::Inspect(named)) => Verb::Inspect { name: named.name("inspect")? },
        Some(TypedVerb::Create(create)) => create.meant()?,
        Some(TypedVerb::Toggle(named)) => Verb::Toggle { name: named.name("toggle")? },
        Some(TypedVerb::Delete(named)) => Verb::Delete { name: named.name("delete")? },
        Some(TypedVerb::Toxic(ToxicVerbs { verb: None })) => return Err(Mistake::Help(help(&["toxic"]))),
        Some(TypedVerb::Toxic(ToxicVerbs { verb: Some(verb) })) => verb.meant()?,
    };
    Ok((access, verb))
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

/// Help of the verb that the path leads to.
fn help(path: &[&str]) -> String {
    let mut command = Ctl::command();
    command.build();
    let found = path.iter().try_fold(&mut command, |command, verb| command.find_subcommand_mut(verb));
    found.expect("the verb is one of ours").render_help().to_string()
}

fn missing(path: &[&str], what: impl Into<String>) -> Mistake {
    Mistake::Missing { help: help(path), what: what.into() }
}

/// A value that is there and not empty.
fn required(value: Option<String>, path: &[&str], name: &str) -> Result<String, Mistake> {
    let given = value.filter(|value| !value.is_empty());
    given.ok_or_else(|| missing(path, format!("Required argument '{name}' was empty.")))
}

impl Named {
    fn name(self, verb: &str) -> Result<String, Mistake> {
        let given = self.proxy.filter(|name| !name.is_empty());
        given.ok_or_else(|| missing(&[verb], "Proxy name is required as the first argument."))
    }
}

impl Create {
    fn meant(self) -> Result<Verb, Mistake> {
        Ok(Verb::Create {
            name: self.named.name("create")?,
            listen: required(self.listen, &["create"], "listen")?,
            upstream: required(self.upstream, &["create"], "upstream")?,
        })
    }
}

impl ToxicVerb {
    fn meant(self) -> Result<Verb, Mistake> {
        match self {
            Self::Add(add) => add.meant(),
            Self::Update(update) => {
                let (proxy, toxic, change) = update.meant("update")?;
                Ok(Verb::Update { proxy, toxic, change })
            }
            Self::Remove(remove) => {
                let (proxy, toxic) = remove.meant("remove")?;
                Ok(Verb::Remove { proxy, toxic })
            }
        }
    }
}

impl Remove {
    fn meant(self, verb: &str) -> Result<(String, String), Mistake> {
        let proxy = self.named.proxy.filter(|name| !name.is_empty());
        let proxy = proxy.ok_or_else(|| missing(&["toxic", verb], "Proxy name is missing."))?;
        Ok((proxy, self.toxic.unwrap_or_default()))
    }
}

impl Update {
    fn meant(self, verb: &str) -> Result<(String, String, Change), Mistake> {
        let (proxy, toxic) = self.toxic.meant(verb)?;
        let toxicity = self.toxicity.as_deref().filter(|text| !text.is_empty()).map(toxicity);
        let change =
            Change { toxicity: toxicity.unwrap_or(Ok(1.0))?, attributes: attributes(&self.attribute)? };
        Ok((proxy, toxic, change))
    }
}

impl Add {
    fn meant(self) -> Result<Verb, Mistake> {
        let path = ["toxic", "add"];
        let is_named = self.change.toxic.named.proxy.as_deref().is_some_and(|name| !name.is_empty());
        let kind = if is_named { required(self.kind, &path, "type")? } else { String::new() };
        if is_named && self.upstream && self.downstream {
            let what = "Only one should be specified: upstream or downstream.";
            return Err(Mistake::Missing { help: String::new(), what: what.to_owned() });
        }
        let stream = if self.upstream { "upstream" } else { "downstream" }.to_owned();
        let (proxy, name, Change { toxicity, attributes }) = self.change.meant("add")?;
        let only = conditions(&self.only)?;
        Ok(Verb::Add { proxy, toxic: Toxic { name, kind, stream, toxicity, attributes, only } })
    }
}

/// Conditions on connections. The server says what is wrong with them, but for what it would not be told.
fn conditions(given: &[String]) -> Result<BTreeMap<String, Vec<Value>>, Mistake> {
    let mut conditions: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for condition in given {
        let (key, value) = condition.split_once('=').ok_or_else(|| Mistake::Missing {
            help: String::new(),
            what: format!("only should be KEY=VALUE, as source=10.0.0.0/8, not {condition}."),
        })?;
        conditions.entry(key.to_owned()).or_default().push(value.into());
    }
    Ok(conditions)
}

fn toxicity(text: &str) -> Result<f32, Mistake> {
    let share: Option<f32> = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| Mistake::Missing {
        help: String::new(),
        what: "toxicity should be a float between 0 and 1.".to_owned(),
    })
}

/// Numbers where they are numbers, text otherwise; what has no `=` is left out, as the reference does.
fn attributes(given: &[String]) -> Result<BTreeMap<String, Value>, Mistake> {
    let pairs = given.iter().filter_map(|attribute| attribute.split_once('='));
    pairs.map(|(key, value)| Ok((key.to_owned(), attribute(value)?))).collect()
}

fn attribute(text: &str) -> Result<Value, Mistake> {
    match (text, text.parse::<f64>()) {
        ("true" | "false", _) => Ok(Value::from(text == "true")),
        (_, Ok(value)) => number::sent(value).ok_or_else(|| Mistake::Missing {
            help: String::new(),
            what: format!("attribute value {text} is no number that can be sent."),
        }),
        (_, Err(_)) => Ok(Value::from(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<(Access, Verb), Mistake> {
        let words = std::iter::once("toxiproxy-cli").chain(line.split_whitespace());
        parse(words.map(OsString::from))
    }

    fn verb(line: &str) -> Verb {
        read(line).unwrap_or_else(|mistake| panic!("{line}: {mistake:?}")).1
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
    fn the_server_is_a_flag_or_local() {
        for (line, host) in [
            ("-host h:1 list", "h:1"),
            ("-h=h:2 l", "h:2"),
            ("--host=http://h l", "http://h"),
            ("-host unix:/s l", "unix:/s"),
        ] {
            assert_eq!(read(line).unwrap().0.host, host);
        }
    }

    #[test]
    fn a_token_is_in_a_file() {
        assert_eq!(read("-token-file f l").unwrap().0.token_file, Some("f".into()));
        assert_eq!(read("--token-file=f l").unwrap().0.token_file, Some("f".into()));
        assert_eq!(read("l").unwrap().0.token_file, None);
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
