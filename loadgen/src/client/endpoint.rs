//! Where a registry listens, `http[s]://host:port`, and whose certificates are believed there.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use http::HeaderValue;
use mockreg::verify::{Address, AddressError, Authorities};
use thiserror::Error;

/// Host and port of a registry, in clear text or under TLS. Cheap to clone; equal to others at the same address,
/// whomever they believe.
#[derive(Clone, Debug)]
pub struct Endpoint {
    authority: Arc<str>,
    /// Under TLS, whom to believe.
    authorities: Option<Authorities>,
}

/// A text is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{given}` is not a registry's address: {reason}; write it like http://127.0.0.1:5000")]
pub struct EndpointError {
    /// What was given.
    pub given: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Endpoint {
    /// `host:port` as the `Host` header has it.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Whether TLS is spoken there.
    pub fn is_tls(&self) -> bool {
        self.authorities.is_some()
    }

    /// The same, believing `authorities` where TLS is spoken. Until then those of the system are believed.
    #[must_use]
    pub fn believing(self, authorities: &Authorities) -> Self {
        Self { authorities: self.authorities.map(|_| authorities.clone()), ..self }
    }

    /// Whom to believe, where TLS is spoken.
    pub(crate) fn authorities(&self) -> Option<&Authorities> {
        self.authorities.as_ref()
    }

    /// The host, as certificates name it.
    pub(crate) fn host(&self) -> &str {
        let host = self.authority.rsplit_once(':').map_or(&*self.authority, |(host, _)| host);
        host.trim_matches(['[', ']'])
    }

    /// The `Host` header of requests to it.
    pub(crate) fn host_header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.authority).expect("an authority is visible ASCII by construction")
    }
}

/// The registry of an address, whatever it names there.
impl From<&Address> for Endpoint {
    fn from(address: &Address) -> Self {
        Self {
            authority: address.authority().into(),
            authorities: address.is_tls().then(Authorities::default),
        }
    }
}

/// Reads `http[s]://host:port`, `http[s]://host` (port 80 or 443) and `host:port`; a final `/` is allowed.
impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let refused = |reason: String| EndpointError { given: text.to_owned(), reason };
        let address: Address = text.parse().map_err(|error: AddressError| refused(error.reason))?;
        match address.repository() {
            None => Ok(Self::from(&address)),
            Some(name) => Err(refused(format!("it goes on to `{name}`"))),
        }
    }
}

impl PartialEq for Endpoint {
    fn eq(&self, other: &Self) -> bool {
        self.is_tls() == other.is_tls() && self.authority == other.authority
    }
}

impl Eq for Endpoint {}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.is_tls() { "https" } else { "http" }, self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_as_people_write_them() {
        for (text, url, host) in [
            ("http://127.0.0.1:5000", "http://127.0.0.1:5000", "127.0.0.1"),
            ("http://registry.test:5000/", "http://registry.test:5000", "registry.test"),
            ("127.0.0.1:5000", "http://127.0.0.1:5000", "127.0.0.1"),
            ("http://registry", "http://registry:80", "registry"),
            ("http://[::1]:5000", "http://[::1]:5000", "::1"),
            ("http://[::1]", "http://[::1]:80", "::1"),
            ("https://registry:5000", "https://registry:5000", "registry"),
            ("https://registry/", "https://registry:443", "registry"),
            ("https://[::1]", "https://[::1]:443", "::1"),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!((endpoint.to_string().as_str(), endpoint.host()), (url, host), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in
            ["", "http://", "a", ":5000", "http://a:0", "http://a:70000", "http://a:1/path", "http://a b:1"]
        {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{text}`")), "{text}: {error}");
        }
    }

    #[test]
    fn an_endpoint_is_where_it_is_and_not_whom_it_believes() {
        let endpoint = |text: &str| text.parse::<Endpoint>().unwrap();
        let secure = endpoint("https://a:1");
        assert_eq!(secure, secure.clone().believing(&Authorities::unchecked()));
        assert_ne!(secure, endpoint("http://a:1"));
        assert!(!endpoint("http://a:1").believing(&Authorities::unchecked()).is_tls());
    }
}
