//! Where a registry listens: `http://host:port`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use http::HeaderValue;
use thiserror::Error;

/// Host and port of a registry in clear text. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    authority: Arc<str>,
}

/// Why a text is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EndpointError {
    /// TLS was asked for.
    #[error("`{0}` asks for TLS, which this version does not speak; write it like http://127.0.0.1:5000")]
    Tls(String),
    /// Anything else.
    #[error("`{0}` is not a registry's address; write it like http://127.0.0.1:5000")]
    Malformed(String),
}

impl Endpoint {
    /// `host:port` as the `Host` header has it.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The `Host` header of requests to it.
    pub(crate) fn host_header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.authority).expect("an authority is visible ASCII by construction")
    }
}

/// Reads `http://host:port`, `http://host` (port 80) and `host:port`; a final `/` is allowed.
impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let malformed = || EndpointError::Malformed(text.to_owned());
        if text.starts_with("https://") {
            return Err(EndpointError::Tls(text.to_owned()));
        }
        let bare = text.strip_prefix("http://");
        let default_port = bare.is_some().then_some(80);
        let rest = bare.unwrap_or(text);
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.rsplit_once(':') {
            // `[::1]` without a port also has colons.
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
            _ => (rest, default_port),
        };
        let port: u16 = port.filter(|port| *port != 0).ok_or_else(malformed)?;
        if !is_host(host) {
            return Err(malformed());
        }
        Ok(Self { authority: format!("{host}:{port}").into() })
    }
}

/// A name, an IPv4 address, or an IPv6 address in brackets.
fn is_host(host: &str) -> bool {
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match inner {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_as_people_write_them() {
        for (text, authority) in [
            ("http://127.0.0.1:5000", "127.0.0.1:5000"),
            ("http://registry.test:5000/", "registry.test:5000"),
            ("127.0.0.1:5000", "127.0.0.1:5000"),
            ("http://registry", "registry:80"),
            ("http://[::1]:5000", "[::1]:5000"),
            ("http://[::1]", "[::1]:80"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().authority(), authority, "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(matches!("https://a:1".parse::<Endpoint>(), Err(EndpointError::Tls(_))));
        for text in
            ["", "http://", "a", ":5000", "http://a:0", "http://a:70000", "http://a:1/path", "http://a b:1"]
        {
            assert!(matches!(text.parse::<Endpoint>(), Err(EndpointError::Malformed(_))), "{text}");
        }
    }
}
