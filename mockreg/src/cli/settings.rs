//! What `mockreg serve` can be told, on its command line and in the file of `--config`: one set of settings, under
//! the same names. The command line goes before the file, the file before the defaults.

mod place;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use mockreg_proto::document;
use mockreg_proto::units::ByteCount;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use self::place::File;
use super::ca::no_home;
use super::number::within;
use super::table_cache::TableCache;
use super::{Failure, read_catalogue};
use crate::auth::{Auth, Users};
use crate::config::Builder;
use crate::policy::Policy;
use crate::tls::{Tls, default_directory};
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
    /// Address of the admin routes (/healthz /readyz /metrics /counters /journal /catalog …)
    /// [default: 127.0.0.1:5080]
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin: Option<Address>,
    /// Also write the ready line to this file, all at once
    #[arg(long, value_name = "FILE")]
    pub(super) port_file: Option<PathBuf>,
    /// Seed of the images made from their names [default: 1]
    #[arg(long, value_name = "N", value_parser = within(0..=u64::MAX), allow_negative_numbers = true)]
    seed: Option<u64>,
    /// What the journal calls this registry, usually `source` or `dest` [default: registry]
    #[arg(long, value_name = "LABEL")]
    name: Option<String>,
    /// Threads that serve requests [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = threads, allow_negative_numbers = true)]
    threads: Option<NonZeroU16>,
    /// Whether images under `synth/` are made from their names [default: on]
    #[arg(long, value_name = "on|off", value_enum, hide_possible_values = true)]
    on_demand: Option<Switch>,
    /// Memory for pushed content (64MiB, 1GB); synthetic layers take none of it [default: 256MiB]
    #[arg(long, value_name = "SIZE")]
    memory_budget: Option<ByteCount>,
    /// Directory for pushed content beyond that memory; without one it is refused. Nothing is left there
    #[arg(long, value_name = "DIR")]
    spill: Option<PathBuf>,
    #[command(flatten)]
    table_cache: TableCache,
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
    #[arg(long, value_name = "none|basic|bearer", value_enum, hide_possible_values = true)]
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

/// Reads a number of threads.
fn threads(text: &str) -> Result<NonZeroU16, String> {
    let number = within(1..=u16::MAX.into())(text)?;
    Ok(u16::try_from(number).ok().and_then(NonZeroU16::new).expect("it is within the range"))
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
            &mut self.table_cache.directory,
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
        builder.cache = self.table_cache.open().map_err(|failure| self.at(&["table_cache"], failure))?;
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

impl Setting for TableCache {
    fn is_absent(&self) -> bool {
        self.directory.is_none()
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
