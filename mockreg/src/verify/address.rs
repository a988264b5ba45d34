//! Where a repository or a registry is, and who asks: `http://127.0.0.1:5000/library/app`, `ann:secret`.

use std::fmt;
use std::str::FromStr;

use http::Uri;
use mockreg_proto::reference::RepositoryName;
use thiserror::Error;

/// A registry, or one of its repositories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    tls: bool,
    host: String,
    port: u16,
    repository: Option<RepositoryName>,
}

/// Why a text is no [`Address`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{given}` is no address: {reason}; write it like http://127.0.0.1:5000/library/app, without a name for all repositories"
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

    /// Host, as it is looked up and as certificates name it.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The registry behind a URL, whatever its path; for redirects and token services.
    pub(super) fn of_uri(uri: &Uri) -> Result<Self, String> {
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
        Ok(Self { tls, host, port, repository: None })
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let refused = |reason: String| AddressError { given: text.to_owned(), reason };
        let uri: Uri = text.parse().map_err(|error: http::uri::InvalidUri| refused(error.to_string()))?;
        let registry = Self::of_uri(&uri).map_err(refused)?;
        if uri.query().is_some() || text.contains('#') {
            return Err(refused("a query or fragment means nothing here".into()));
        }
        let name = uri.path().trim_start_matches('/').trim_end_matches('/');
        let repository = match name {
            "" => None,
            name => Some(
                name.parse()
                    .map_err(|error: mockreg_proto::reference::NameError| refused(error.to_string()))?,
            ),
        };
        Ok(Self { repository, ..registry })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        let open = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}://{}{}{}:{}", open.0, self.host, open.1, self.port)?;
        self.repository.iter().try_for_each(|name| write!(f, "/{name}"))
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
