//! Ranges of ports: in the addresses of a proxy, where each port is a door of its own, and in the conditions of a
//! toxic. Also where a connection of each door goes.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use thiserror::Error;

/// Ports of one proxy: each is a listener with a descriptor and a task, and a process has some thousands of
/// descriptors for all its connections.
const MOST: u32 = 1024;

/// One port, or a run of them with both ends in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ports {
    first: u16,
    last: u16,
}

/// Why a text or two numbers are no ports, or addresses do not go together.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PortsError {
    /// The text is none. Write a number, or two with a hyphen.
    #[error("{0} is no port and no range of ports; write 8666 or 8666-8697")]
    Invalid(String),
    /// Its end comes before its beginning.
    #[error("ports {0}-{1} run backwards; write {1}-{0}")]
    Backwards(u16, u16),
    /// It has port 0, which stands for any free one.
    #[error("port 0 is in no range; begin with 1 or higher")]
    Zero,
    /// A proxy has no more than 1024.
    #[error("{0} ports are too many for one proxy, which has at most {MOST}; make several proxies")]
    TooMany(u32),
    /// The widths differ.
    #[error(
        "listen has {listen} and upstream {upstream} ports; give upstream as many as listen, or one port for all"
    )]
    Widths {
        /// Ports that the proxy listens on.
        listen: u32,
        /// Ports of the server.
        upstream: u32,
    },
}

impl Ports {
    /// The ports from `first` to `last`.
    ///
    /// # Errors
    /// It runs backwards, or from 0.
    pub const fn try_new(first: u16, last: u16) -> Result<Self, PortsError> {
        match () {
            () if first > last => Err(PortsError::Backwards(first, last)),
            () if first == 0 => Err(PortsError::Zero),
            () => Ok(Self { first, last }),
        }
    }

    /// Whether a port is in it.
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }

    /// The first one.
    pub const fn first(self) -> u16 {
        self.first
    }

    pub(crate) fn iter(self) -> RangeInclusive<u16> {
        self.first..=self.last
    }

    const fn width(self) -> u32 {
        (self.last - self.first) as u32 + 1
    }
}

impl FromStr for Ports {
    type Err = PortsError;

    fn from_str(text: &str) -> Result<Self, PortsError> {
        let number = |part: &str| {
            let is_number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            part.parse().ok().filter(|_| is_number).ok_or_else(|| PortsError::Invalid(text.to_owned()))
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Self::try_new(number(first)?, number(last)?)
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.width() {
            1 => write!(f, "{}", self.first),
            _ => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

/// An address of several ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// What is before the colon.
    host: String,
    pub(crate) ports: Ports,
}

impl Span {
    /// The address as one of several ports; `None` where it has no hyphen between two numbers for a port.
    ///
    /// # Errors
    /// It has, and they are no range that a proxy may have.
    pub(crate) fn of(address: &str) -> Result<Option<Self>, PortsError> {
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let Some((host, text)) = address.rsplit_once(':') else { return Ok(None) };
        if !text.split_once('-').is_some_and(|(first, last)| is_number(first) && is_number(last)) {
            return Ok(None);
        }
        let ports: Ports = text.parse()?;
        match ports.width() {
            width if width > MOST => Err(PortsError::TooMany(width)),
            _ => Ok(Some(Self { host: host.to_owned(), ports })),
        }
    }

    /// The address of one of its ports.
    pub(crate) fn at(&self, port: u16) -> String {
        format!("{}:{port}", self.host)
    }
}

/// Where connections of each door go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// All to one address.
    One(String),
    /// Each to the port that has the place of its door; `from` is the first door.
    OneToOne { from: u16, to: Span },
}

impl Route {
    /// The route from a listening address to an upstream one.
    ///
    /// # Errors
    /// One of both has an impossible range, or the widths differ.
    pub(crate) fn try_new(listen: &str, upstream: &str) -> Result<Self, PortsError> {
        let (doors, to) = (Span::of(listen)?, Span::of(upstream)?);
        let Some(to) = to else { return Ok(Self::One(upstream.to_owned())) };
        match doors {
            _ if to.ports.width() == 1 => Ok(Self::One(to.at(to.ports.first))),
            Some(doors) if doors.ports.width() == to.ports.width() => {
                Ok(Self::OneToOne { from: doors.ports.first, to })
            }
            doors => Err(PortsError::Widths {
                listen: doors.map_or(1, |doors| doors.ports.width()),
                upstream: to.ports.width(),
            }),
        }
    }

    /// Where a connection that came to `port` goes.
    pub(crate) fn from(&self, port: u16) -> Cow<'_, str> {
        match self {
            Self::One(address) => Cow::Borrowed(address),
            // Both ranges have the same width, so that the sum is one of its ports.
            Self::OneToOne { from, to } => {
                Cow::Owned(to.at(to.ports.first.saturating_add(port.saturating_sub(*from))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_read_as_they_are_written() {
        for text in ["1", "8666", "8666-8697", "1-65535"] {
            assert_eq!(text.parse::<Ports>().unwrap().to_string(), text);
        }
        assert_eq!("8666-8666".parse::<Ports>().unwrap().to_string(), "8666");
        for (text, problem) in [
            ("9-8", "ports 9-8 run backwards; write 8-9"),
            ("0-8", "port 0 is in no range; begin with 1 or higher"),
            ("x", "x is no port and no range of ports; write 8666 or 8666-8697"),
            ("1-70000", "1-70000 is no port and no range of ports; write 8666 or 8666-8697"),
            ("+1", "+1 is no port and no range of ports; write 8666 or 8666-8697"),
        ] {
            assert_eq!(text.parse::<Ports>().unwrap_err().to_string(), problem);
        }
    }

    #[test]
    fn only_two_numbers_make_a_span() {
        for address in ["", "h", "h:1", "h:-5", "h:5-", "h:a-b", "h-1-2", "[::1]:8", ":http"] {
            assert_eq!(Span::of(address), Ok(None), "{address}");
        }
        let span = Span::of("[::1]:8-9").unwrap().unwrap();
        assert_eq!((span.at(9).as_str(), span.ports.width()), ("[::1]:9", 2));
        assert_eq!(Span::of("h:1-1025"), Err(PortsError::TooMany(1025)));
        assert_eq!(Span::of("h:1-1024").unwrap().unwrap().ports.width(), MOST);
    }

    #[test]
    fn doors_lead_one_to_one_or_all_to_one() {
        let to = |listen, upstream, port| Route::try_new(listen, upstream).unwrap().from(port).into_owned();
        assert_eq!(to("a:8666-8697", "b:9000-9031", 8666), "b:9000");
        assert_eq!(to("a:8666-8697", "b:9000-9031", 8697), "b:9031");
        assert_eq!(to("a:8666-8697", "b:9000", 8690), "b:9000");
        assert_eq!(to("a:8666", "b:9000", 8666), "b:9000");
        assert_eq!(to("a:8666", "b:9000-9000", 8666), "b:9000");
        assert_eq!(to("", "b:9000", 40_000), "b:9000");
        for (listen, widths) in [("a:1-3", (3, 2)), ("a:1", (1, 2)), ("", (1, 2))] {
            let error = Route::try_new(listen, "b:1-2").unwrap_err();
            assert_eq!(error, PortsError::Widths { listen: widths.0, upstream: widths.1 });
        }
    }
}
