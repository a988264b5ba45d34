//! Which connections a toxic is for: conditions on where they come from, the port they came to and the name they ask
//! for. All that are given must hold, each by one of its values; without any, every connection is selected.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::{Serialize, Serializer};
use thiserror::Error;

use crate::client_hello::LONGEST_NAME;
use crate::ports::{Ports, PortsError};

/// Values of one condition: each is looked at for every new connection and toxic.
pub(crate) const VALUES: usize = 64;

/// Conditions on connections.
///
/// ```
/// use chaosproxy::{Selection, Toxic};
/// # use std::time::Duration;
///
/// let slow = Toxic::latency(Duration::from_millis(50), Duration::ZERO);
/// let slow = slow.only(Selection::default().source("10.0.0.0/8")?.sni("*.example.com")?);
/// # Ok::<(), chaosproxy::SelectionError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Selection {
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "networks")]
    source: Vec<IpNet>,
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "ports")]
    source_port: Vec<Ports>,
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "ports")]
    port: Vec<Ports>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sni: Vec<Name>,
}

/// The name of a host, or with `*.` in front all names below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
struct Name(String);

/// Why a condition was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SelectionError {
    /// The text is neither an address nor a prefix.
    #[error("source: {0} is no address and no prefix; write 10.1.2.3, 10.0.0.0/8 or fd00::/8")]
    Source(String),
    /// The ports are none.
    #[error("{field}: {error}")]
    Ports {
        /// `source_port` or `port`.
        field: &'static str,
        /// What is wrong.
        error: PortsError,
    },
    /// The text is no name of a host.
    #[error("sni: {0} is no name; write registry.example.com, or *.example.com for all names below")]
    Name(String),
    /// A condition has more than 64 values.
    #[error("{0} has more than {VALUES} values; use prefixes, ranges or *. names, or several toxics")]
    TooMany(&'static str),
}

/// What conditions are about. What is not known yet fulfils none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    /// Where the connection comes from.
    pub(crate) source: Option<SocketAddr>,
    /// The port it came to.
    pub(crate) port: u16,
    /// The name it asks for, in lower case.
    pub(crate) sni: Option<&'a str>,
}

impl Selection {
    /// No conditions.
    pub(crate) const EVERYTHING: Self =
        Self { source: Vec::new(), source_port: Vec::new(), port: Vec::new(), sni: Vec::new() };

    /// From an address, or one of a prefix; one of several that are given.
    ///
    /// # Errors
    /// The text is neither, or there are too many.
    pub fn source(mut self, network: &str) -> Result<Self, SelectionError> {
        let parsed = network.parse().or_else(|_| network.parse::<IpAddr>().map(IpNet::from));
        let network: IpNet = parsed.map_err(|_| SelectionError::Source(network.to_owned()))?;
        push(&mut self.source, network, "source")?;
        Ok(self)
    }

    /// From a port of the client, or one of a range, as `50000` or `50000-50999`; one of several that are given.
    ///
    /// # Errors
    /// The text is neither, or there are too many.
    pub fn source_port(mut self, ports: &str) -> Result<Self, SelectionError> {
        push(&mut self.source_port, parse("source_port", ports)?, "source_port")?;
        Ok(self)
    }

    /// To a port of the proxy, or one of a range; one of several that are given.
    ///
    /// # Errors
    /// The text is neither, or there are too many.
    pub fn port(mut self, ports: &str) -> Result<Self, SelectionError> {
        push(&mut self.port, parse("port", ports)?, "port")?;
        Ok(self)
    }

    /// TLS clients that ask for a name, or with `*.` in front for one below it at any depth; one of several that are
    /// given. Upper and lower case are the same.
    ///
    /// # Errors
    /// The text is no name, or there are too many.
    pub fn sni(mut self, name: &str) -> Result<Self, SelectionError> {
        push(&mut self.sni, Name::parse(name)?, "sni")?;
        Ok(self)
    }

    /// Whether there are no conditions.
    pub(crate) const fn is_everything(&self) -> bool {
        let addresses = self.source.is_empty() && self.source_port.is_empty();
        addresses && self.port.is_empty() && self.sni.is_empty()
    }

    /// Whether it asks for the name of a TLS client.
    pub(crate) const fn names(&self) -> bool {
        !self.sni.is_empty()
    }

    /// Whether a connection is selected, as far as it is known.
    pub(crate) fn selects(&self, subject: &Subject<'_>) -> bool {
        let asks = |name: &Name| subject.sni.is_some_and(|sni| name.matches(sni));
        self.may_select(subject) && (self.sni.is_empty() || self.sni.iter().any(asks))
    }

    /// Whether the name a connection asks for decides if it is selected.
    pub(crate) fn hinges_on_name(&self, subject: &Subject<'_>) -> bool {
        !self.sni.is_empty() && self.may_select(subject)
    }

    /// Whether the conditions hold, that on the name apart.
    fn may_select(&self, subject: &Subject<'_>) -> bool {
        let from = |network: &IpNet| subject.source.is_some_and(|source| network.contains(&source.ip()));
        let from_port = |ports: &Ports| subject.source.is_some_and(|source| ports.contains(source.port()));
        (self.source.is_empty() || self.source.iter().any(from))
            && (self.source_port.is_empty() || self.source_port.iter().any(from_port))
            && (self.port.is_empty() || self.port.iter().any(|ports| ports.contains(subject.port)))
    }
}

fn push<T>(values: &mut Vec<T>, value: T, field: &'static str) -> Result<(), SelectionError> {
    if values.len() == VALUES {
        return Err(SelectionError::TooMany(field));
    }
    values.push(value);
    Ok(())
}

fn parse(field: &'static str, ports: &str) -> Result<Ports, SelectionError> {
    ports.parse().map_err(|error| SelectionError::Ports { field, error })
}

impl Name {
    fn parse(text: &str) -> Result<Self, SelectionError> {
        let host = text.strip_prefix("*.").unwrap_or(text);
        let is_label = |label: &str| {
            !label.is_empty()
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        if host.len() <= LONGEST_NAME && host.split('.').all(is_label) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(SelectionError::Name(text.to_owned()))
        }
    }

    fn matches(&self, sni: &str) -> bool {
        let sni = sni.strip_suffix('.').unwrap_or(sni);
        match self.0.strip_prefix('*') {
            // The dot stays in front of the parent, and something is in front of the dot.
            Some(parent) => sni.len() > parent.len() && sni.ends_with(parent),
            None => self.0 == sni,
        }
    }
}

/// Addresses alone are shown without their length.
fn networks<S: Serializer>(networks: &[IpNet], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(networks.iter().map(|network| {
        match network.prefix_len() == network.max_prefix_len() {
            true => network.addr().to_string(),
            false => network.to_string(),
        }
    }))
}

/// A single port is a number, a range a text.
fn ports<S: Serializer>(ports: &[Ports], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(ports.iter().map(|ports| match ports.to_string() {
        text if text.contains('-') => serde_json::Value::from(text),
        _ => ports.first().into(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(source: &str, port: u16, sni: Option<&'static str>) -> Subject<'static> {
        Subject { source: Some(source.parse().unwrap()), port, sni }
    }

    #[test]
    fn without_conditions_everybody_is_selected() {
        let all = Selection::default();
        assert!(all.is_everything());
        assert!(all.selects(&Subject { source: None, port: 1, sni: None }));
    }

    #[test]
    fn sources_are_addresses_and_prefixes() {
        let only = Selection::default().source("127.0.0.2").unwrap().source("fd00::/8").unwrap();
        assert!(!only.is_everything());
        for (source, is_selected) in
            [("127.0.0.2:1", true), ("127.0.0.3:1", false), ("[fd12::1]:1", true), ("[fe80::1]:1", false)]
        {
            assert_eq!(only.selects(&subject(source, 1, None)), is_selected, "{source}");
        }
        assert!(
            !only.selects(&Subject { source: None, port: 1, sni: None }),
            "what is not known is not selected"
        );
        let everybody = Selection::default().source("0.0.0.0/0").unwrap();
        assert!(everybody.selects(&subject("1.2.3.4:5", 1, None)));
        assert!(!everybody.selects(&subject("[::1]:5", 1, None)));
    }

    #[test]
    fn all_conditions_hold_each_by_one_of_its_values() {
        let only = Selection::default().source("10.0.0.0/8").unwrap().port("8666-8669").unwrap().port("9000");
        let only = only.unwrap().source_port("1024-65535").unwrap();
        for (source, port, is_selected) in [
            ("10.1.1.1:1024", 8669, true),
            ("10.1.1.1:1024", 9000, true),
            ("10.1.1.1:1023", 8669, false),
            ("10.1.1.1:1024", 8670, false),
            ("11.1.1.1:1024", 8669, false),
        ] {
            assert_eq!(only.selects(&subject(source, port, None)), is_selected, "{source} to {port}");
        }
    }

    #[test]
    fn names_are_whole_or_below_a_star() {
        let matches = |pattern: &str, name: &'static str| {
            let only = Selection::default().sni(pattern).unwrap();
            only.selects(&subject("10.1.1.1:1024", 1, Some(name)))
        };
        assert!(matches("Registry.example.com", "registry.example.com"));
        assert!(matches("registry.example.com", "registry.example.com."));
        assert!(!matches("example.com", "registry.example.com"));
        assert!(matches("*.example.com", "a.example.com") && matches("*.example.com", "b.a.example.com"));
        for name in ["example.com", "badexample.com", ".example.com", "a.example.com.evil"] {
            assert!(!matches("*.example.com", name), "{name}");
        }
    }

    #[test]
    fn the_name_is_only_needed_where_the_rest_holds() {
        let only = Selection::default().port("1").unwrap().sni("a.b").unwrap();
        assert!(only.hinges_on_name(&subject("10.1.1.1:1", 1, None)));
        assert!(!only.hinges_on_name(&subject("10.1.1.1:1", 2, None)));
        assert!(!Selection::default().port("1").unwrap().hinges_on_name(&subject("10.1.1.1:1", 1, None)));
    }

    #[test]
    fn impossible_values_are_refused_with_the_remedy() {
        let all = Selection::default;
        let problems = [
            all().source("10.0.0.0/33").unwrap_err(),
            all().source("host").unwrap_err(),
            all().port("2-1").unwrap_err(),
            all().source_port("x").unwrap_err(),
            all().sni("*").unwrap_err(),
            all().sni("a..b").unwrap_err(),
        ];
        assert_eq!(
            problems.map(|problem| problem.to_string()),
            [
                "source: 10.0.0.0/33 is no address and no prefix; write 10.1.2.3, 10.0.0.0/8 or fd00::/8",
                "source: host is no address and no prefix; write 10.1.2.3, 10.0.0.0/8 or fd00::/8",
                "port: ports 2-1 run backwards; write 1-2",
                "source_port: x is no port and no range of ports; write 8666 or 8666-8697",
                "sni: * is no name; write registry.example.com, or *.example.com for all names below",
                "sni: a..b is no name; write registry.example.com, or *.example.com for all names below",
            ]
        );
        let full = (1..=VALUES).fold(all(), |only, n| only.port(&n.to_string()).unwrap());
        assert_eq!(full.port("100").unwrap_err(), SelectionError::TooMany("port"));
    }

    #[test]
    fn it_is_shown_as_it_is_read() {
        let only = Selection::default().source("10.0.0.0/8").unwrap().source("127.0.0.2").unwrap();
        let only = only.port("1").unwrap().port("2-3").unwrap().sni("*.A.b").unwrap();
        let text = serde_json::to_string(&only).unwrap();
        assert_eq!(text, r#"{"source":["10.0.0.0/8","127.0.0.2"],"port":[1,"2-3"],"sni":["*.a.b"]}"#);
    }
}
