//! The PROXY protocol, versions 1 and 2: the header that tells a server behind a proxy who its client is
//! (haproxy.org, proxy-protocol.txt). Reading and writing its fields is a library's; here are the bounds, and what is
//! passed on.

use std::net::SocketAddr;

use proxy_header::{ParseConfig, Protocol, ProxiedAddress, ProxyHeader as Fields};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::address::canonical;

/// Longest header of version 1, its end of line included (section 2.1).
const LONGEST_TEXT: usize = 107;
/// Longest header of version 2 that is taken. It may have 64 KiB; what is sent has some dozens of bytes, and a few
/// thousand with the certificate of a client.
const LONGEST: usize = 4096;
const TEXT: &[u8] = b"PROXY ";
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyProtocol {
    /// A line of text.
    V1,
    /// Binary, with room for more than addresses.
    V2,
}

impl ProxyProtocol {
    /// By its name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::V1, Self::V2].into_iter().find(|version| version.name() == name)
    }

    /// Its name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }
}

/// A header that a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    version: ProxyProtocol,
    /// As it came, with all that was added to it.
    pub(crate) bytes: Vec<u8>,
    /// Where the connection comes from and where it went to; `None` where the header does not say: it is a proxy's own
    /// (LOCAL), or of another kind (UNKNOWN, datagrams, sockets of files).
    pub(crate) addresses: Option<(SocketAddr, SocketAddr)>,
}

/// Why the first bytes of a connection are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum HeaderError {
    #[error("it does not begin with a PROXY header of version 1 or 2")]
    Missing,
    #[error("its PROXY header is malformed")]
    Malformed,
    #[error("its PROXY header is longer than {LONGEST} bytes")]
    TooLong,
    #[error("it ended, or took too long, before its PROXY header was whole")]
    Incomplete,
}

impl Header {
    /// Reads the first bytes of a connection, as many as have come; `None`: more is to come.
    pub(crate) fn read(bytes: &[u8]) -> Option<Result<Self, HeaderError>> {
        let begins = |signature: &[u8]| signature.iter().zip(bytes).all(|(expected, byte)| expected == byte);
        let (version, signature, longest) = match () {
            () if begins(TEXT) => (ProxyProtocol::V1, TEXT, LONGEST_TEXT),
            () if begins(BINARY) => (ProxyProtocol::V2, BINARY, binary_len(bytes)),
            () => return Some(Err(HeaderError::Missing)),
        };
        if bytes.len() < signature.len() {
            return None;
        }
        if longest > LONGEST {
            return Some(Err(HeaderError::TooLong));
        }
        let bytes = &bytes[..bytes.len().min(longest)];
        match Fields::parse(bytes, ParseConfig { include_tlvs: false, ..ParseConfig::default() }) {
            Ok((fields, len)) => Some(Ok(Self {
                version,
                bytes: bytes[..len].to_vec(),
                addresses: fields.proxied_address().and_then(stream),
            })),
            Err(proxy_header::Error::BufferTooShort) if bytes.len() < longest => None,
            Err(_) => Some(Err(HeaderError::Malformed)),
        }
    }
}

/// What a header of version 2 says of its own length; the bytes that say so have to come first.
fn binary_len(bytes: &[u8]) -> usize {
    let fixed = BINARY.len() + 4;
    match bytes.get(fixed - 2..fixed) {
        Some(len) => fixed + (usize::from(len[0]) << 8 | usize::from(len[1])),
        None => fixed,
    }
}

fn stream(address: &ProxiedAddress) -> Option<(SocketAddr, SocketAddr)> {
    let is_stream = address.protocol == Protocol::Stream;
    is_stream.then(|| (canonical(address.source), canonical(address.destination)))
}

/// The header a server is sent. One that was accepted is passed on, as it came where the version is the same; else it
/// tells the two ends of the client's connection, `None` where they have no addresses.
pub(crate) fn written(
    version: ProxyProtocol,
    accepted: Option<&Header>,
    ends: Option<(SocketAddr, SocketAddr)>,
) -> Vec<u8> {
    let addresses = match accepted {
        Some(header) if header.version == version => return header.bytes.clone(),
        Some(header) => header.addresses,
        None => ends,
    };
    // Two families in one header are none.
    let addresses = addresses.filter(|(source, destination)| source.is_ipv4() == destination.is_ipv4());
    let fields = match addresses {
        Some((source, destination)) => Fields::with_address(ProxiedAddress::stream(source, destination)),
        None => Fields::with_local(),
    };
    let mut bytes = Vec::new();
    let written = match version {
        ProxyProtocol::V1 => fields.encode_v1(&mut bytes),
        ProxyProtocol::V2 => fields.encode_v2(&mut bytes),
    };
    written.expect("a stream of one family without further fields fits both versions, and memory takes it");
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ends(source: &str, destination: &str) -> Option<(SocketAddr, SocketAddr)> {
        Some((source.parse().unwrap(), destination.parse().unwrap()))
    }

    fn read(bytes: &[u8]) -> Header {
        Header::read(bytes).expect("it is whole").unwrap()
    }

    #[test]
    fn headers_are_those_of_the_specification() {
        let four = ends("192.0.2.1:56324", "192.0.2.2:443");
        assert_eq!(written(ProxyProtocol::V1, None, four), b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n");
        let two = [BINARY, b"\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\xdc\x04\x01\xbb"].concat();
        assert_eq!(written(ProxyProtocol::V2, None, four), two);
        assert_eq!(written(ProxyProtocol::V1, None, None), b"PROXY UNKNOWN\r\n");
        assert_eq!(written(ProxyProtocol::V2, None, None), [BINARY, b"\x20\0\0\0"].concat());
        let mixed = ends("192.0.2.1:1", "[::1]:2");
        assert_eq!(written(ProxyProtocol::V1, None, mixed), b"PROXY UNKNOWN\r\n");
    }

    #[test]
    fn a_header_without_addresses_is_one_all_the_same() {
        let unix = [BINARY, &[0x21, 0x31, 0, 216], &[7; 216]].concat();
        let datagram = [BINARY, b"\x21\x12\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\xdc\x04\x01\xbb"].concat();
        let local = [BINARY, b"\x20\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\xdc\x04\x01\xbb"].concat();
        let text = b"PROXY UNKNOWN ffff:f...f:ffff whatever 1 2\r\n".to_vec();
        for bytes in [unix, datagram, local, text] {
            let header = read(&bytes);
            assert_eq!((&header.bytes, header.addresses), (&bytes, None));
        }
    }

    #[test]
    fn a_header_is_passed_on_with_its_fields_between_equal_versions() {
        let body = b"\xc0\x00\x02\x01\xc0\x00\x02\x02\xdc\x04\x01\xbb\x02\x00\x03abc\xee\x00\x01x";
        let bytes = [BINARY, &[0x21, 0x11, 0, body.len() as u8], &body[..]].concat();
        let header = read(&[&bytes[..], b"GET / HTTP/1.1"].concat());
        assert_eq!(header.addresses, ends("192.0.2.1:56324", "192.0.2.2:443"));
        let socket = ends("127.0.0.1:1", "127.0.0.1:2");
        assert_eq!(written(ProxyProtocol::V2, Some(&header), socket), bytes);
        let text = written(ProxyProtocol::V1, Some(&header), socket);
        assert_eq!(text, b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n");
        let local = read(b"PROXY UNKNOWN\r\n");
        assert_eq!(written(ProxyProtocol::V2, Some(&local), socket), [BINARY, b"\x20\0\0\0"].concat());
    }

    #[test]
    fn other_bytes_are_refused_as_soon_as_they_differ() {
        for (bytes, error) in [
            (&b"G"[..], HeaderError::Missing),
            (b"PROXX", HeaderError::Missing),
            (b"\r\n\r\nG", HeaderError::Missing),
            (b"PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n", HeaderError::Malformed),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 99999\r\n", HeaderError::Malformed),
            (b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c............", HeaderError::Malformed),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x04....", HeaderError::Malformed),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff", HeaderError::TooLong),
        ] {
            assert_eq!(Header::read(bytes), Some(Err(error)), "{}", bytes.escape_ascii());
        }
        let endless = [b"PROXY UNKNOWN ", &[b'x'; 200][..], b"\r\n"].concat();
        assert_eq!(Header::read(&endless), Some(Err(HeaderError::Malformed)));
        for bytes in [&b""[..], b"P", b"PROXY", b"PROXY TCP4 1.2.3", b"\r\n", &BINARY[..11], BINARY] {
            assert_eq!(Header::read(bytes), None, "{}", bytes.escape_ascii());
        }
    }

    fn addresses() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
        let four = any::<[([u8; 4], u16); 2]>().prop_map(|[one, other]| (one.into(), other.into()));
        let six = any::<[([u16; 8], u16); 2]>().prop_map(|[one, other]| (one.into(), other.into()));
        prop_oneof![four, six]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_from_any_pieces(
            (source, destination) in addresses(),
            is_text: bool,
            tail in prop::collection::vec(any::<u8>(), 0..50),
        ) {
            let version = if is_text { ProxyProtocol::V1 } else { ProxyProtocol::V2 };
            let bytes = written(version, None, Some((source, destination)));
            for cut in 0..bytes.len() {
                prop_assert_eq!(Header::read(&bytes[..cut]), None);
            }
            let header = read(&[bytes.clone(), tail].concat());
            prop_assert_eq!(header.bytes, bytes);
            prop_assert_eq!(header.addresses, Some((canonical(source), canonical(destination))));
        }

        #[test]
        fn no_bytes_are_too_odd(
            head in prop::sample::select(vec![&b""[..], b"PROXY ", b"PROXY TCP4 ", b"PROXY TCP6 ::1 ", BINARY]),
            tail in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let bytes = [head, &tail].concat();
            if let Some(Ok(header)) = Header::read(&bytes) {
                prop_assert!(bytes.starts_with(&header.bytes));
            }
        }
    }
}
