//! Where a repository, one of its tags or a registry is, and who asks: `http://127.0.0.1:5000/library/app:v1`,
//! `ann:secret`. Images are written as `loadgen` reads them.

use std::fmt;
use std::str::FromStr;

use http::Uri;
use mockreg_proto::reference::{RepositoryName, Tag};
use thiserror::Error;

/// A registry, one of its repositories, or one tag of that.
///
/// Reads `http://host:port/repository:tag` and `https://…`, where the port may be left out, and `host:port/…`, which is
/// plain HTTP; `docker://` before it means nothing, and a final `/` neither. Without a tag all are meant, without a
/// repository all of the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    tls: bool,
    host: String,
    port: u16,
    repository: Option<RepositoryName>,
    tag: Option<Tag>,
}

/// Why a text is no [`Address`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{given}` is no address: {reason}; write it like http://127.0.0.1:5000/library/app:v1, without the tag for all \
     tags, and without the repository for all of the registry"
)]
pub struct AddressError {
    /// What was given.
    pub given: String,
    /// What is wrong with it.
    pub reason: String,
}

/// A name and a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    user: String,
    password: String,
}

/// A text without a colon is no [`Credentials`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("write a name and a password with a colon between them")]
pub struct CredentialsError;

impl Address {
    /// Whether it is reached through TLS.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// The repository, unless all are meant.
    pub fn repository(&self) -> Option<&str> {
        self.repository.as_ref().map(RepositoryName::as_str)
    }

    /// The tag, unless all are meant.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_ref().map(Tag::as_str)
    }

    /// The repository, unless all are meant, and the tag, unless all are.
    pub fn names(&self) -> Option<(&RepositoryName, Option<&Tag>)> {
        Some((self.repository.as_ref()?, self.tag.as_ref()))
    }

    /// Host, as it is looked up and as certificates name it.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Host and port, as the `Host` header has them.
    pub fn authority(&self) -> String {
        let open = if self.host.contains(':') { ["[", "]"] } else { ["", ""] };
        format!("{}{}{}:{}", open[0], self.host, open[1], self.port)
    }

    /// The URL of the registry.
    pub(crate) fn origin(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.authority())
    }

    /// The registry behind a URL, whatever its path; for redirects and token services.
    pub(crate) fn of_uri(uri: &Uri) -> Result<Self, String> {
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err("it begins with neither http:// nor https://".into()),
        };
        let authority = uri.authority().ok_or("it has no host")?;
        if authority.as_str().contains('@') {
            return Err("names and passwords are given apart".into());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() || authority.as_str().ends_with(':') {
            return Err("it has no host, or no number of a port".into());
        }
        // `http` takes any digits for a port.
        let spelt = authority.as_str().rsplit_once(':').filter(|(_, port)| !port.contains(']'));
        let port = match (authority.port_u16(), spelt) {
            (Some(0), _) | (None, Some(_)) => return Err("its port is none".into()),
            (Some(port), _) => port,
            (None, None) => {
                if tls {
                    443
                } else {
                    80
                }
            }
        };
        Ok(Self { tls, host, port, repository: None, tag: None })
    }

    /// What stands before the first `/` of an address.
    fn registry(text: &str) -> Result<Self, String> {
        let spelt = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = spelt.parse().map_err(|error: http::uri::InvalidUri| error.to_string())?;
        let registry = Self::of_uri(&uri)?;
        // `library/app` is an image of some other registry to those who write it.
        if spelt != text && uri.port().is_none() {
            return Err("without http:// or https:// before it, it needs a port".into());
        }
        Ok(registry)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let refused = |reason: String| AddressError { given: text.to_owned(), reason };
        if text.contains(['?', '#']) {
            return Err(refused("a query or fragment means nothing here".into()));
        }
        let bare = text.strip_prefix("docker://").unwrap_or(text);
        let scheme = bare.find("://").map_or(0, |at| at + "://".len());
        let slash = bare[scheme..].find('/').map_or(bare.len(), |at| scheme + at);
        let (registry, path) = bare.split_at(slash);
        let registry = Self::registry(registry).map_err(refused)?;
        let path = path.trim_matches('/');
        let (name, tag) = path.split_once(':').map_or((path, None), |(name, tag)| (name, Some(tag)));
        if path.contains('@') {
            return Err(refused("content is named by a tag here, not by a digest".into()));
        }
        if name.is_empty() && tag.is_some() {
            return Err(refused("it has a tag and no repository".into()));
        }
        let malformed = |error: mockreg_proto::reference::NameError| refused(error.to_string());
        let repository = Some(name).filter(|name| !name.is_empty()).map(str::parse).transpose();
        let tag = tag.map(str::parse).transpose().map_err(malformed)?;
        Ok(Self { repository: repository.map_err(malformed)?, tag, ..registry })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin())?;
        self.repository.iter().try_for_each(|name| write!(f, "/{name}"))?;
        self.tag.iter().try_for_each(|tag| write!(f, ":{tag}"))
    }
}

impl Credentials {
    /// The value of an `Authorization` header, for Basic.
    pub(super) fn basic(&self) -> String {
        use base64::Engine as _;
        let pair = format!("{}:{}", self.user, self.password);
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
    }
}

impl FromStr for Credentials {
    type Err = CredentialsError;

    fn from_str(text: &str) -> Result<Self, CredentialsError> {
        let (user, password) = text.split_once(':').ok_or(CredentialsError)?;
        Ok(Self { user: user.to_owned(), password: password.to_owned() })
    }
}

/// Without the password.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}
