//! Byte ranges in headers, in the three spellings that registries meet: `Range: bytes=…` of a download (RFC 9110
//! §14.2), `Content-Range: bytes a-b/size` of its answer (§14.4), and the bare `a-b` of the distribution
//! specification's uploads.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Bytes `first..=last`, both counted from 0. Never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteRange {
    /// First byte.
    pub first: u64,
    /// Last byte, inclusive; never below `first`.
    pub last: u64,
}

/// Why a header is no range.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RangeError {
    /// Not the spelling that was expected.
    #[error("`{given}` is not a range; write it like `{like}`")]
    Malformed {
        /// What was given.
        given: String,
        /// An example of what is right.
        like: &'static str,
    },
    /// The end stands before the start.
    #[error("the range ends at {last}, before its start at {first}")]
    Backwards {
        /// Start of the range.
        first: u64,
        /// End of the range.
        last: u64,
    },
    /// More ranges in one request than [`MAX_RANGES`].
    #[error("{0} ranges in one request; at most {MAX_RANGES} are served")]
    TooMany(usize),
}

/// Most ranges served in one answer. containers/image asks for up to 1024 at once (zstd:chunked), and asks for
/// fewer after a 400; each costs a small allocation.
pub const MAX_RANGES: usize = 1024;

/// Decimal digits and nothing else: `u64::from_str` would also take a `+`.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl ByteRange {
    /// A range that is not backwards.
    ///
    /// # Errors
    /// `last` below `first`.
    pub fn try_new(first: u64, last: u64) -> Result<Self, RangeError> {
        if last < first { Err(RangeError::Backwards { first, last }) } else { Ok(Self { first, last }) }
    }

    /// How many bytes it covers, at least 1.
    // A range is never empty, so there is nothing for `is_empty` to say.
    #[allow(clippy::len_without_is_empty)]
    pub const fn len(&self) -> u64 {
        // 0..=u64::MAX would overflow; nothing has 2^64 bytes.
        (self.last - self.first).saturating_add(1)
    }
}

/// `a-b`, as the distribution specification's uploads have it in `Content-Range` and `Range`.
impl FromStr for ByteRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let malformed = || RangeError::Malformed { given: text.to_owned(), like: "0-1023" };
        let (first, last) = text.trim().split_once('-').ok_or_else(malformed)?;
        Self::try_new(number(first).ok_or_else(malformed)?, number(last).ok_or_else(malformed)?)
    }
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// The `Content-Range` of a download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// Which bytes the answer holds; `None` in a 416.
    pub range: Option<ByteRange>,
    /// Size of the whole; `None` where the server does not say (`*`).
    pub size: Option<u64>,
}

impl FromStr for ContentRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let malformed = || RangeError::Malformed { given: text.to_owned(), like: "bytes 0-1023/4096" };
        let (range, size) =
            text.trim().strip_prefix("bytes ").and_then(|rest| rest.split_once('/')).ok_or_else(malformed)?;
        let starred = |text: &str| if text == "*" { Ok(None) } else { number(text).map(Some).ok_or(()) };
        let range = if range == "*" { None } else { Some(range.parse().map_err(|_| malformed())?) };
        Ok(Self { range, size: starred(size).map_err(|()| malformed())? })
    }
}

impl fmt::Display for ContentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.range {
            Some(range) => write!(f, "bytes {range}/")?,
            None => f.write_str("bytes */")?,
        }
        match self.size {
            Some(size) => write!(f, "{size}"),
            None => f.write_str("*"),
        }
    }
}

/// What one piece of a `Range` header asks for, before the size is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// `a-b` or, with no end, `a-`.
    From(u64, Option<u64>),
    /// `-n`: the last n bytes.
    Suffix(u64),
}

/// What a `Range` header asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeRequest(Vec<Wanted>);

impl Wanted {
    /// Which bytes of something of `size` bytes these are, cut at its end; `None` if there are none.
    pub fn resolve(self, size: u64) -> Option<ByteRange> {
        let end = size.checked_sub(1)?;
        let (first, last) = match self {
            Self::From(first, last) => (first, last.unwrap_or(end).min(end)),
            Self::Suffix(0) => return None,
            Self::Suffix(count) => (size - count.min(size), end),
        };
        ByteRange::try_new(first, last).ok()
    }
}

impl RangeRequest {
    /// Reads a `Range` header. `None` where the unit is not bytes: such a header is to be ignored.
    ///
    /// # Errors
    /// Malformed or backwards ranges. RFC 9110 would let a server ignore them; a registry says what is wrong.
    pub fn parse(header: &str) -> Option<Result<Self, RangeError>> {
        let (unit, ranges) = header.trim().split_once('=').unwrap_or(("bytes", ""));
        unit.trim().eq_ignore_ascii_case("bytes").then(|| {
            let malformed = || RangeError::Malformed { given: header.to_owned(), like: "bytes=0-1023" };
            let pieces: Vec<&str> = ranges.split(',').map(str::trim).collect();
            if pieces.len() > MAX_RANGES {
                return Err(RangeError::TooMany(pieces.len()));
            }
            pieces
                .into_iter()
                .map(|piece| wanted(piece).unwrap_or_else(|| Err(malformed())))
                .collect::<Result<_, _>>()
                .map(Self)
        })
    }

    /// The bytes asked for of something of `size` bytes, in the order asked, without those that do not exist.
    pub fn resolve(&self, size: u64) -> Vec<ByteRange> {
        self.0.iter().filter_map(|wanted| wanted.resolve(size)).collect()
    }
}

/// A position in a `Range` header. Digits that no 64 bits hold are beyond the end of anything (RFC 9110 §14.1.2
/// serves what there is up to a last position like that).
fn position(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

fn wanted(piece: &str) -> Option<Result<Wanted, RangeError>> {
    let (first, last) = piece.split_once('-')?;
    if first.is_empty() {
        return position(last).map(|count| Ok(Wanted::Suffix(count)));
    }
    let first = position(first)?;
    if last.is_empty() {
        return Some(Ok(Wanted::From(first, None)));
    }
    let last = position(last)?;
    Some(ByteRange::try_new(first, last).map(|range| Wanted::From(range.first, Some(range.last))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(header: &str, size: u64) -> Vec<String> {
        let request = RangeRequest::parse(header).unwrap().unwrap();
        request.resolve(size).iter().map(ByteRange::to_string).collect()
    }

    #[test]
    fn every_form_resolves_as_the_rfc_says() {
        for (header, size, wanted) in [
            ("bytes=0-9", 100, vec!["0-9"]),
            ("bytes=90-", 100, vec!["90-99"]),
            ("bytes=-10", 100, vec!["90-99"]),
            ("bytes=-1000", 100, vec!["0-99"]),
            ("bytes=0-1000", 100, vec!["0-99"]),
            ("bytes=99-100", 100, vec!["99-99"]),
            ("bytes=100-", 100, vec![]),
            ("bytes=-0", 100, vec![]),
            ("bytes=0-", 0, vec![]),
            ("bytes=0-0, 5-6 ,-1", 100, vec!["0-0", "5-6", "99-99"]),
            ("BYTES=200-300,1-1", 100, vec!["1-1"]),
            ("bytes=0-99999999999999999999999", 100, vec!["0-99"]),
            ("bytes=-99999999999999999999999", 100, vec!["0-99"]),
            ("bytes=99999999999999999999999-", 100, vec![]),
            ("bytes=99999999999999999999998-99999999999999999999999", 100, vec![]),
        ] {
            assert_eq!(resolved(header, size), wanted, "{header} of {size}");
        }
    }

    #[test]
    fn malformed_and_backwards_ranges_are_told_apart() {
        for header in [
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=1",
            "bytes=1-2-3",
            "bytes=+1-2",
            "bytes=1-2,",
            "bytes",
            "junk",
        ] {
            assert!(
                matches!(RangeRequest::parse(header), Some(Err(RangeError::Malformed { .. }))),
                "{header}: {:?}",
                RangeRequest::parse(header)
            );
        }
        assert_eq!(
            RangeRequest::parse("bytes=500-0"),
            Some(Err(RangeError::Backwards { first: 500, last: 0 }))
        );
        assert_eq!(RangeRequest::parse("items=0-5"), None);
    }

    #[test]
    fn the_number_of_ranges_is_bounded() {
        let header = |n: usize| format!("bytes={}", vec!["1-2"; n].join(","));
        assert!(RangeRequest::parse(&header(MAX_RANGES)).unwrap().is_ok());
        assert_eq!(
            RangeRequest::parse(&header(MAX_RANGES + 1)),
            Some(Err(RangeError::TooMany(MAX_RANGES + 1)))
        );
    }

    #[test]
    fn upload_ranges_are_two_numbers() {
        assert_eq!("0-1023".parse(), Ok(ByteRange { first: 0, last: 1023 }));
        for text in ["", "-", "5", "5-", "-5", "bytes 0-5/6", "a-b", "0-99999999999999999999"] {
            assert!(matches!(text.parse::<ByteRange>(), Err(RangeError::Malformed { .. })), "{text}");
        }
        assert!(matches!("9-0".parse::<ByteRange>(), Err(RangeError::Backwards { .. })));
    }

    #[test]
    fn content_ranges_read_back() {
        for text in ["bytes 0-9/100", "bytes 0-9/*", "bytes */100"] {
            assert_eq!(text.parse::<ContentRange>().unwrap().to_string(), text);
        }
        for text in ["0-9/100", "bytes 0-9", "bytes 9-0/10", "bytes x/10", ""] {
            assert!(text.parse::<ContentRange>().is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_resolves_lies_inside(first: u64, length in 0u64..1000, size in 0u64..2000) {
            let last = first.saturating_add(length);
            let begun = first % 3000;
            for wanted in [Wanted::From(begun, Some(last)), Wanted::From(begun, None), Wanted::Suffix(length)] {
                if let Some(range) = wanted.resolve(size) {
                    proptest::prop_assert!(range.first <= range.last && range.last < size);
                }
            }
        }

        #[test]
        fn no_header_panics(header in "(bytes=)?[0-9,= -]{0,24}") {
            if let Some(Ok(request)) = RangeRequest::parse(&header) {
                let _ = request.resolve(100);
            }
        }
    }
}
