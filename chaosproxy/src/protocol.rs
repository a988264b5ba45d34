//! What a proxy carries, as its addresses say it: `udp://HOST:PORT` is for datagrams, `HOST:PORT` for byte streams.
//!
//! It is part of the address, not a field of its own, because addresses are what every client of Toxiproxy can give.

use chaosproxy_path::Protocol;
use thiserror::Error;

const UDP: &str = "udp://";

/// The two addresses of a proxy are of different protocols.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "listen {listen} and upstream {upstream} must both be udp://HOST:PORT, or neither: a proxy does not translate"
)]
pub struct MixedProtocols {
    /// Where it was to listen.
    pub listen: String,
    /// Where it was to forward to.
    pub upstream: String,
}

/// The protocol of an address, and the address without it.
pub(crate) fn split(address: &str) -> (Protocol, &str) {
    address.strip_prefix(UDP).map_or((Protocol::Tcp, address), |address| (Protocol::Udp, address))
}

/// An address with its protocol, as [`split`] takes it.
pub(crate) fn joined(protocol: Protocol, address: impl std::fmt::Display) -> String {
    match protocol {
        Protocol::Tcp => address.to_string(),
        Protocol::Udp => format!("{UDP}{address}"),
    }
}

/// The protocol of a proxy; one without an address to listen on takes that of its upstream.
///
/// # Errors
/// The addresses are of different ones.
pub(crate) fn of(listen: &str, upstream: &str) -> Result<Protocol, MixedProtocols> {
    let (protocol, _) = split(upstream);
    if listen.is_empty() || split(listen).0 == protocol {
        return Ok(protocol);
    }
    Err(MixedProtocols { listen: listen.to_owned(), upstream: upstream.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_addresses_say_what_is_carried() {
        assert_eq!(of("udp://:53", "udp://h:53"), Ok(Protocol::Udp));
        assert_eq!(of("", "udp://h:53"), Ok(Protocol::Udp));
        assert_eq!(of(":53", "h:53"), Ok(Protocol::Tcp));
        for (listen, upstream) in [("udp://:53", "h:53"), (":53", "udp://h:53")] {
            let error = of(listen, upstream).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("listen {listen} and upstream {upstream} must both")),
                "{error}"
            );
        }
        assert_eq!(split(&joined(Protocol::Udp, "[::1]:53")), (Protocol::Udp, "[::1]:53"));
    }
}
