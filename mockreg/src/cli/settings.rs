//! What `mockreg serve` can be told, on its command line and in the file of `--config`: one set of settings, under
//! the same names. The command line goes before the file, the file before the defaults.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use mockreg_proto::document::{self, DocumentError};
use mockreg_proto::units::ByteCount;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::ca::no_home;
use super::{Failure, read_catalogue};
use crate::auth::{Auth, Users};
use crate::cache::CacheDir;
use crate::config::{Builder, StartError};
use crate::policy::Policy;
use crate::tls::{Tls, TlsError, default_directory};
use crate::vendor::Vendor;

/// Where the registry listens unless told otherwise.
const LISTEN: Address = Address(SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5000));
/// Where the admin routes are unless told otherwise.
const ADMIN: Address = Address(SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5080));

/// Settings of a server. What is absent has its default.
#[derive(Clone, Debug, Default, Args, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Settings {
    /// A catalogue to serve (YAML or JSON); may be given several times
    #[arg(long, value_name = "FILE")]
    catalog: Vec<PathBuf>,
    /// Address of the registry; port 0 takes any free one [default: 127.0.0.1:5000]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<Address>,
    /// Address of the admin routes (/healthz /readyz /metrics /counters /journal /catalog …) [default: 127.0.0.1:5080]
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin: Option<Address>,
    /// Also write the ready line to this file, all at once
    #[arg(long, value_name = "FILE")]
    pub(super) port_file: Option<PathBuf>,
    /// Seed of the images made from their names [default: 1]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// What the journal calls this registry, usually `source` or `dest` [default: registry]
    #[arg(long, value_name = "LABEL")]
    name: Option<String>,
    /// Threads that serve requests [default: one for each processor]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroU16>,
    /// Whether images under `synth/` are made from their names [default: on]
    #[arg(long, value_enum)]
    on_demand: Option<Switch>,
    /// Memory for pushed content (64MiB, 1GB); synthetic layers take none of it [default: 256MiB]
    #[arg(long, value_name = "SIZE")]
    memory_budget: Option<ByteCount>,
    /// Directory for pushed content beyond that memory; without one it is refused. Nothing is left there
    #[arg(long, value_name = "DIR")]
    spill: Option<PathBuf>,
    /// Keep checkpoints and digests of layers in this directory, so that the next run finds them [default: stormyard
    /// in $XDG_CACHE_HOME or ~/.cache]
    #[arg(long, value_name = "DIR")]
    table_cache: Option<PathBuf>,
    /// Write every line of the request journal to this file (NDJSON)
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
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
    #[arg(long, value_name = "NAME")]
    tls_name: Vec<String>,
    /// Redirect downloads of blobs to a second listener on this address, by URLs that are good for a while;
    /// it refuses requests with an Authorization header, as object stores do
    #[arg(long, value_name = "ADDRESS:PORT")]
    redirect_blobs: Option<Address>,
    /// What those URLs begin with, where the second listener is behind a proxy
    #[arg(long, value_name = "URL")]
    redirect_url: Option<String>,
    /// How clients say who they are: not at all, by name and password, or by a token that /token gives them
    /// [default: none]
    #[arg(long, value_enum)]
    auth: Option<AuthMode>,
    /// Who may log in: lines NAME:HASH with bcrypt hashes, as `htpasswd -B` writes them
    #[arg(long, value_name = "FILE")]
    htpasswd: Option<PathBuf>,
    /// Let clients without a name pull
    #[arg(long)]
    anonymous_pull: bool,
    /// Let those who may push delete as well
    #[arg(long)]
    push_deletes: bool,
    /// Behave like a well-known registry; `mockreg vendor list` names them
    #[arg(long, value_name = "NAME")]
    vendor: Option<String>,
    /// Quotas, rates and switches, put over those of the vendor.
    #[arg(skip)]
    policy: Policy,
    /// The keys of `policy` that were written.
    #[arg(skip)]
    #[serde(skip)]
    overrides: Map<String, Value>,
    /// The file that was read.
    #[arg(skip)]
    #[serde(skip)]
    file: Option<File>,
    /// The keys that were typed, and so are not those of the file.
    #[arg(skip)]
    #[serde(skip)]
    typed: Vec<&'static str>,
}

/// A file of settings as it is written: what is wrong with a setting names its place there.
#[derive(Clone, Debug)]
struct File {
    name: String,
    text: String,
}

/// The part of a file that is put over a vendor's policy.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Overrides {
    policy: Map<String, Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Switch {
    On,
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum AuthMode {
    None,
    Basic,
    Bearer,
}

/// An address to listen on. Names are not looked up, for they may mean several; `localhost` is 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
struct Address(#[schemars(with = "String")] SocketAddr);

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let local = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
        local
            .map(|port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
            .or_else(|| text.parse().ok())
            .map(Self)
            .ok_or_else(|| {
                "write an IP address and a port: 127.0.0.1:5000, [::1]:5000, 0.0.0.0:5000 or localhost:5000"
                    .to_owned()
            })
    }
}

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Settings {
    /// Reads the file of `--config`. Paths in it are from the directory that it is in.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(|| format!("{name} cannot be read"));
        let text = text.map_err(Failure::usage)?;
        let mut settings: Self = document::read(&name, &text).map_err(Failure::usage)?;
        settings.overrides = document::read::<Overrides>(&name, &text).map_err(Failure::usage)?.policy;
        settings.rebase(path.parent().unwrap_or(Path::new("")));
        settings.file = Some(File { name, text });
        Ok(settings)
    }

    fn rebase(&mut self, directory: &Path) {
        let single = [
            &mut self.port_file,
            &mut self.spill,
            &mut self.table_cache,
            &mut self.journal,
            &mut self.tls_cert,
            &mut self.tls_key,
            &mut self.htpasswd,
        ];
        let tls_auto = self.tls_auto.iter_mut().flatten();
        for path in single.into_iter().flatten().chain(tls_auto).chain(&mut self.catalog) {
            *path = directory.join(&path);
        }
    }

    /// These settings, and those of `file` where these say nothing.
    pub(super) fn over(mut self, file: Self) -> Self {
        macro_rules! fill_up {
            ($($key:ident)*) => { $(
                if self.$key.is_absent() {
                    self.$key = file.$key;
                } else {
                    self.typed.push(stringify!($key));
                }
            )* };
        }
        fill_up!(catalog listen admin port_file seed name threads on_demand memory_budget spill table_cache journal
            tls_cert tls_key tls_auto tls_name redirect_blobs redirect_url auth htpasswd anonymous_pull push_deletes
            vendor);
        Self { policy: file.policy, overrides: file.overrides, file: file.file, ..self }
    }

    /// A registry that is set up so.
    pub(super) fn builder(&self) -> Result<Builder, Failure> {
        let mut builder = Builder::default()
            .name(self.name.as_deref().unwrap_or("registry"))
            .listen(self.listen.unwrap_or(LISTEN).0)
            .admin(self.admin.unwrap_or(ADMIN).0)
            .on_demand(self.on_demand != Some(Switch::Off))
            .policy(self.policy()?)
            .auth(self.auth()?);
        builder.cache = CacheDir::open(self.table_cache.clone());
        builder.seed = self.seed.unwrap_or(builder.seed);
        builder.memory_budget = self.memory_budget.map_or(builder.memory_budget, |budget| budget.0);
        builder.threads = self.threads.map(|threads| threads.get().into());
        builder.journal_file.clone_from(&self.journal);
        builder.spill.clone_from(&self.spill);
        builder.tls = self.tls()?;
        builder.redirect_blobs = self.redirect_blobs.map(|address| address.0);
        for (at, path) in self.catalog.iter().enumerate() {
            let plan =
                read_catalogue(path).map_err(|failure| self.at(&[&format!("catalog[{at}]")], failure))?;
            builder = builder.plan(plan);
        }
        Ok(builder)
    }

    /// A failure that is due to a setting, with the place where the setting stands in the file: that of the first of
    /// `keys` that was read from it. What was typed needs no place.
    pub(super) fn at(&self, keys: &[&str], failure: Failure) -> Failure {
        let Some(file) = &self.file else { return failure };
        let is_typed = |key: &str| self.typed.contains(&key.split(['.', '[']).next().unwrap_or(key));
        let is_read = |key: &&&str| !is_typed(key) && document::place_of_key(&file.text, key).is_some();
        let Some(key) = keys.iter().find(is_read) else { return failure };
        let message = format!("{:#}", failure.error);
        Failure { error: DocumentError::at_key(&file.name, &file.text, key, &message).into(), ..failure }
    }

    /// A setting that cannot be meant.
    fn wrong(&self, keys: &[&str], error: impl Into<anyhow::Error>) -> Failure {
        self.at(keys, Failure::usage(error))
    }

    /// A registry that did not start, as `explain` has it, with the place of the setting that it is due to.
    pub(super) fn placed(&self, error: StartError, explain: impl Fn(StartError) -> Failure) -> Failure {
        let policy = match &error {
            StartError::Policy(error) => format!("policy.{}", error.key().unwrap_or_default()),
            _ => String::new(),
        };
        let is_key = |path: &PathBuf| self.tls_key.as_ref() == Some(path);
        let keys: &[&str] = match &error {
            StartError::Listen { port: "registry", .. } => &["listen"],
            StartError::Listen { port: "admin", .. } => &["admin"],
            StartError::Listen { .. } => &["redirect_blobs"],
            StartError::JournalFile { .. } => &["journal"],
            StartError::Spill { .. } => &["spill"],
            StartError::Tls(TlsError::File { path, .. } | TlsError::Pem { path, .. }) if is_key(path) => {
                &["tls_key"]
            }
            StartError::Tls(_) => &["tls_auto", "tls_cert"],
            StartError::Policy(_) if policy == "policy.redirects.base_url" => &["redirect_url", &policy],
            StartError::Policy(_) => &[&policy],
            _ => &[],
        };
        self.at(keys, explain(error))
    }

    fn policy(&self) -> Result<Policy, Failure> {
        let mut policy = match &self.vendor {
            None => self.policy.clone(),
            Some(name) => {
                let vendor =
                    Vendor::named(name).map_err(|reason| self.wrong(&["vendor"], anyhow::anyhow!(reason)))?;
                vendor.policy(self.overrides.clone()).map_err(|error| self.wrong(&["policy"], error))?
            }
        };
        if let Some(url) = &self.redirect_url {
            policy.redirects.base_url = Some(url.clone());
        }
        Ok(policy)
    }

    fn tls(&self) -> Result<Option<Tls>, Failure> {
        let wrong = |keys: &[&str], reason: &'static str| Err(self.wrong(keys, anyhow::anyhow!(reason)));
        match (&self.tls_cert, &self.tls_key, &self.tls_auto) {
            (None, None, None) if self.tls_name.is_empty() => Ok(None),
            (None, None, None) => {
                wrong(&["tls_name"], "`tls_name` adds to the certificate of `tls_auto`, which is absent")
            }
            (Some(certificate), Some(key), None) => Ok(Some(Tls::files(certificate, key))),
            (None, None, Some(given)) => {
                let directory = given.clone().or_else(default_directory).ok_or_else(no_home)?;
                Ok(Some(self.tls_name.iter().fold(Tls::auto(directory), Tls::name)))
            }
            (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => wrong(
                &["tls_auto", "tls_cert", "tls_key"],
                "`tls_auto` makes a certificate, and `tls_cert` and `tls_key` name one: choose",
            ),
            (Some(_), None, None) | (None, Some(_), None) => wrong(
                &["tls_cert", "tls_key"],
                "a certificate and its key belong together: `tls_cert` and `tls_key`",
            ),
        }
    }

    fn auth(&self) -> Result<Auth, Failure> {
        let users = self.htpasswd.as_ref().map(Users::read).transpose();
        let users = users.map_err(|error| self.wrong(&["htpasswd"], error))?;
        let mode = self.auth.unwrap_or(AuthMode::None);
        let auth = match (mode, users) {
            (AuthMode::None, None) if !self.anonymous_pull && !self.push_deletes => return Ok(Auth::none()),
            (AuthMode::Basic, Some(users)) => Auth::basic(users),
            (AuthMode::Bearer, Some(users)) => Auth::bearer(users),
            (AuthMode::None, _) => {
                let reason = "`htpasswd`, `anonymous_pull` and `push_deletes` say who may do what, but `auth` asks \
                              nobody; make it `basic` or `bearer` (--auth basic)";
                let given = [
                    ("anonymous_pull", self.anonymous_pull),
                    ("push_deletes", self.push_deletes),
                    ("htpasswd", self.htpasswd.is_some()),
                ];
                let keys: Vec<_> =
                    given.into_iter().filter(|(_, given)| *given).map(|(key, _)| key).collect();
                return Err(self.wrong(&keys, anyhow::anyhow!(reason)));
            }
            (_, None) => {
                let reason = "`auth` needs to know who may log in; name them by `htpasswd` (--htpasswd FILE); \
                              `htpasswd -nbB NAME PASSWORD` prints a line of that file";
                return Err(self.wrong(&["auth"], anyhow::anyhow!(reason)));
            }
        };
        Ok(auth.anonymous_pull(self.anonymous_pull).push_deletes(self.push_deletes))
    }
}

/// A setting as it was typed or written.
trait Setting {
    /// Whether nothing was said.
    fn is_absent(&self) -> bool;
}

impl<T> Setting for Option<T> {
    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl<T> Setting for Vec<T> {
    fn is_absent(&self) -> bool {
        self.is_empty()
    }
}

impl Setting for bool {
    fn is_absent(&self) -> bool {
        !self
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
            assert_eq!(text.parse::<Address>().unwrap().to_string(), wanted);
        }
        for text in ["localhost", "localhost:x", "localhost:65536", "registry:5000", "127.0.0.1", ":5000", ""]
        {
            assert!(text.parse::<Address>().unwrap_err().contains("127.0.0.1:5000"), "{text}");
        }
    }

    fn written(text: &str) -> Result<Settings, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mockreg.yaml");
        std::fs::write(&path, text).unwrap();
        Settings::read(&path).map_err(|failure| format!("{:#}", failure.error))
    }

    #[test]
    fn the_command_line_goes_before_the_file_and_the_file_before_a_vendor() {
        let file =
            written("vendor: hub\nseed: 7\nname: source\npolicy: {quotas: [], tags_page_max: 5}\n").unwrap();
        let typed = Settings { name: Some("dest".into()), ..Settings::default() };
        let builder = typed.over(file).builder().unwrap();
        assert_eq!((builder.name.as_str(), builder.seed), ("dest", 7));
        let policy = builder.policy;
        assert!(policy.quotas.is_empty(), "the file empties what the vendor fills");
        assert_eq!((policy.tags_page_max, policy.delete_tags), (Some(5), false));
    }

    #[test]
    fn a_certificate_of_ones_own_needs_no_directory() {
        #[derive(clap::Parser)]
        struct Typed {
            #[command(flatten)]
            settings: Settings,
        }
        let typed = |arguments: &[&str]| {
            let arguments = [&["mockreg"], arguments].concat();
            <Typed as clap::Parser>::try_parse_from(arguments).unwrap().settings.tls_auto
        };
        assert_eq!(typed(&["--tls-auto"]), Some(None));
        assert_eq!(typed(&["--tls-auto", "--seed", "1"]), Some(None));
        assert_eq!(typed(&["--tls-auto", "tls"]), Some(Some("tls".into())));
        assert_eq!(typed(&[]), None);
    }

    #[test]
    fn paths_are_from_the_directory_of_the_file() {
        let settings = written("spill: overflow\ncatalog: [a.yaml, /b.yaml]\n").unwrap();
        assert!(settings.spill.unwrap().ends_with("overflow"));
        assert!(settings.catalog[0].is_absolute());
        assert_eq!(settings.catalog[1], Path::new("/b.yaml"));
    }

    #[test]
    fn what_is_misspelt_is_named_with_its_place() {
        for (text, wanted) in [
            ("listen: nowhere\n", "mockreg.yaml:1:9"),
            ("threads: 0\n", "mockreg.yaml:1:10: "),
            ("threads: 0\n", "(key `threads`)"),
            ("sed: 1\n", "seed"),
            ("seed: 1\npolicy:\n  delete_tag: false\n", "delete_tags"),
            (
                "auth: basicc\n",
                "mockreg.yaml:1:7: unknown value `basicc`; did you mean `basic`? (key `auth`)",
            ),
            ("policy: {quotas: [{requests: 0, window: 1s}]}\n", "mockreg.yaml:1:30: "),
            ("policy: {quotas: [{requests: 0, window: 1s}]}\n", "(key `policy.quotas[0].requests`)"),
            ("policy:\n  chunk_min_length: 5 parsecs\n", "or plain bytes (key `policy.chunk_min_length`)"),
        ] {
            let error = written(text).unwrap_err();
            assert!(error.contains(wanted), "{text}: {error}");
        }
        let sizes = written("policy: {chunk_min_length: 5MiB, manifest_limit: 4MiB}\n").unwrap().policy;
        assert_eq!(
            (sizes.chunk_min_length, sizes.manifest_limit),
            (Some(ByteCount(5 << 20)), ByteCount(4 << 20))
        );
    }

    /// What starting with a file says, which must be an error: the file is read, the registry set up and started.
    fn refused(text: &str, typed: Settings) -> String {
        let settings = typed.over(written(text).unwrap());
        let any_port: Address = "127.0.0.1:0".parse().unwrap();
        let settings = Settings { listen: Some(any_port), admin: Some(any_port), ..settings };
        let started =
            |builder: Builder| builder.start().map_err(|error| settings.placed(error, Failure::usage));
        let failure = settings.builder().and_then(started);
        format!("{:#}", failure.expect_err(text).error)
    }

    #[test]
    fn what_cannot_be_meant_is_named_with_its_place() {
        for (text, wanted) in [
            ("seed: 1\nvendor: hup\n", &["mockreg.yaml:2:9: ", "harbor-like, hub", "(key `vendor`)"][..]),
            (
                "policy:\n  quotas:\n    - {requests: 1, window: 0s}\n",
                &["mockreg.yaml:3:29: ", "`quotas[0].window` is above 0"],
            ),
            (
                "policy: {quotas: [{requests: 1, window: 1s, per: user}]}\n",
                &["mockreg.yaml:1:50: ", "`quotas[0].per` is `user`", "--auth"],
            ),
            ("auth: bearer\n", &["mockreg.yaml:1:7: `auth` needs", "htpasswd -nbB"]),
            ("\nanonymous_pull: true\n", &["mockreg.yaml:2:17: ", "`auth` asks nobody"]),
            (
                "auth: basic\nhtpasswd: no-such\n",
                &["mockreg.yaml:2:11: ", "no-such cannot be read", "(key `htpasswd`)"],
            ),
            (
                "catalog:\n  - no-such.yaml\n",
                &["mockreg.yaml:2:5: ", "no-such.yaml cannot be read", "(key `catalog[0]`)"],
            ),
            (
                "redirect_url: https://cdn.test\n",
                &["mockreg.yaml:1:15: ", "--redirect-blobs", "`redirect_blobs`"],
            ),
            (
                "policy: {redirects: {base_url: 'https://cdn.test'}}\n",
                &["mockreg.yaml:1:32: ", "`redirects.base_url`"],
            ),
            ("tls_name: [x.test]\n", &["mockreg.yaml:1:11: ", "`tls_auto`"]),
            ("seed: 1\ntls_key: x.pem\n", &["mockreg.yaml:2:10: ", "`tls_cert` and `tls_key`"]),
            ("spill: /dev/null/x\n", &["mockreg.yaml:1:8: ", "(key `spill`)"]),
            ("journal: /dev/null/x\n", &["mockreg.yaml:1:10: ", "(key `journal`)"]),
        ] {
            let error = refused(text, Settings::default());
            for wanted in wanted {
                assert!(error.contains(wanted), "{text}: {error}");
            }
        }
        // What was typed has no place in the file, though the file has the key.
        let typed = Settings { vendor: Some("hup".into()), ..Settings::default() };
        assert!(refused("vendor: hub\n", typed).starts_with("there is no vendor profile"));
    }

    /// The example with every line that is commented out put in: `# key: value`, wherever it stands.
    fn in_full(example: &str) -> String {
        let line = |line: &str| {
            let start = line.len() - line.trim_start().len();
            let key = line[start..].strip_prefix("# ").unwrap_or_default();
            let name = key.split(':').next().unwrap_or_default();
            let is_key =
                key.contains(": ") && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            if is_key { format!("{}{key}\n", &line[..start]) } else { format!("{line}\n") }
        };
        example.lines().map(line).collect()
    }

    /// A value with the keys of both.
    fn merged(one: Value, other: Value) -> Value {
        match (one, other) {
            (Value::Object(mut one), Value::Object(other)) => {
                for (key, value) in other {
                    let before = one.remove(&key).unwrap_or_default();
                    one.insert(key, merged(before, value));
                }
                Value::Object(one)
            }
            (Value::Array(one), Value::Array(other)) => Value::Array([one, other].concat()),
            (Value::Null, value) | (value, _) => value,
        }
    }

    /// The keys of a schema that are nowhere in `value`, which stands under `path`.
    fn missing(schema: &Value, root: &Value, value: &Value, path: &str) -> Vec<String> {
        if let Some(reference) = schema["$ref"].as_str() {
            let target =
                root.pointer(reference.trim_start_matches('#')).expect("a reference leads somewhere");
            return missing(target, root, value, path);
        }
        let mut lacking = Vec::new();
        for choice in schema["anyOf"].as_array().into_iter().flatten() {
            lacking.extend(missing(choice, root, value, path));
        }
        if let Some(items) = value.as_array() {
            // Each key in one of them at least.
            let all = items.iter().cloned().fold(Value::Null, merged);
            lacking.extend(missing(&schema["items"], root, &all, &format!("{path}[]")));
        }
        for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{key}");
            match value.get(key) {
                Some(value) => lacking.extend(missing(schema, root, value, &path)),
                None => lacking.push(path),
            }
        }
        lacking
    }

    #[test]
    fn the_example_shows_every_key() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
        let text = in_full(&std::fs::read_to_string(fixtures.join("mockreg.yaml")).unwrap());
        document::read::<Settings>("mockreg.yaml in full", &text).unwrap();
        let value: Value = document::read("mockreg.yaml in full", &text).unwrap();
        let schema = schemars::schema_for!(Settings).to_value();
        assert_eq!(missing(&schema, &schema, &value, ""), [""; 0]);
        // A key that is left out is noticed, deep down too.
        let without = text.replace("retry_after", "retry_later");
        let value: Value = document::read("without", &without).unwrap();
        assert_eq!(missing(&schema, &schema, &value, ""), [".policy.quotas[].refusal.retry_after"]);
    }

    #[test]
    fn the_example_is_read_and_the_schema_is_the_code() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
        let example =
            Settings::read(&fixtures.join("mockreg.yaml")).map_err(|failure| failure.error).unwrap();
        assert_eq!(example.policy.quotas.len(), 2);
        let path = fixtures.join("schemas/mockreg.json");
        let schema = serde_json::to_string_pretty(&schemars::schema_for!(Settings)).unwrap() + "\n";
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            std::fs::write(&path, &schema).unwrap();
        }
        let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(checked_in == schema, "{path:?} is out of date; run the test with UPDATE_SCHEMAS=1");
    }
}
