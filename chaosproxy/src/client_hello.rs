//! The name that a TLS client asks for (SNI), out of the first bytes it sends.
//!
//! Only the framing up to that name is read: RFC 8446, section 5.1 (records), 4 and 4.1.2 (ClientHello), and RFC 6066,
//! section 3 (`server_name`). A hello may come in several records. Whether it is one that a server would serve is
//! not asked, so that those of old and of odd clients have a name, too.

/// What the first bytes of a connection tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hello {
    /// The beginning of a hello: more is to come.
    Partial,
    /// No TLS, or a hello without a name.
    Nameless,
    /// The name asked for, in lower case.
    Named(String),
}

/// Record type of handshakes, and the handshake type of a ClientHello.
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// The first byte of the version of every record since SSL 3.0.
const MAJOR: u8 = 3;
/// The most that a record holds in the clear (RFC 8446, section 5.1).
const RECORD: usize = 1 << 14;
/// Extension and kind of name.
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;
/// Longest name of a host (RFC 1035, section 2.3.4, without the bytes that text does not have).
pub(crate) const LONGEST_NAME: usize = 253;

/// Reads the first bytes of a connection, as many as have come.
pub(crate) fn read(bytes: &[u8]) -> Hello {
    let (message, is_tls) = handshake(bytes);
    if !is_tls || message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
        return Hello::Nameless;
    }
    let mut rest = &message[1.min(message.len())..];
    let Some(len) = number(&mut rest, 3) else { return Hello::Partial };
    match take(&mut rest, len) {
        Some(hello) => name(hello).map_or(Hello::Nameless, Hello::Named),
        None => Hello::Partial,
    }
}

/// What the records hold as far as they are there; false where they turn out to be none.
fn handshake(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut message = Vec::new();
    loop {
        let begins_well = [HANDSHAKE, MAJOR].iter().zip(bytes).all(|(expected, byte)| expected == byte);
        if !begins_well {
            return (message, false);
        }
        let mut rest = bytes.get(3..).unwrap_or_default();
        let Some(len) = number(&mut rest, 2) else { return (message, true) };
        if len == 0 || len > RECORD {
            return (message, false);
        }
        message.extend_from_slice(&rest[..len.min(rest.len())]);
        // What follows a whole hello is none of it: a client may send early data at once.
        if rest.len() <= len || is_whole(&message) {
            return (message, true);
        }
        bytes = &rest[len..];
    }
}

fn is_whole(message: &[u8]) -> bool {
    let mut rest = message.get(1..).unwrap_or_default();
    number(&mut rest, 3).is_some_and(|len| rest.len() >= len)
}

/// The name in a whole hello.
fn name(mut hello: &[u8]) -> Option<String> {
    take(&mut hello, 2 + 32)?;
    vector(&mut hello, 1)?;
    vector(&mut hello, 2)?;
    vector(&mut hello, 1)?;
    let mut extensions = vector(&mut hello, 2)?;
    while !extensions.is_empty() {
        let kind = number(&mut extensions, 2)?;
        let mut extension = vector(&mut extensions, 2)?;
        if kind == usize::from(SERVER_NAME) {
            return host_name(vector(&mut extension, 2)?);
        }
    }
    None
}

fn host_name(mut names: &[u8]) -> Option<String> {
    while !names.is_empty() {
        let kind = number(&mut names, 1)?;
        let name = vector(&mut names, 2)?;
        if kind == usize::from(HOST_NAME) {
            let is_host = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._".contains(byte);
            let is_name = !name.is_empty() && name.len() <= LONGEST_NAME && name.iter().all(is_host);
            return is_name.then(|| name.iter().map(|byte| char::from(byte.to_ascii_lowercase())).collect());
        }
    }
    None
}

/// A list that begins with its length, in so many bytes.
fn vector<'a>(bytes: &mut &'a [u8], width: usize) -> Option<&'a [u8]> {
    let len = number(bytes, width)?;
    take(bytes, len)
}

/// A number of so many bytes, at most three.
fn number(bytes: &mut &[u8], width: usize) -> Option<usize> {
    let digits = take(bytes, width)?;
    Some(digits.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
}

fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(taken)
}

#[cfg(test)]
mod tests;
