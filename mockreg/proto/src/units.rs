//! Sizes, rates and durations as people write them: `64MiB`, `50MB`, `120MB/s`, `100Mbit/s`, `250ms`, `2h`.
//! Integers inside: bytes, bytes per second, nanoseconds.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// A number of bytes. Reads `64MiB`, `50MB`, `1.5GB`, `5GiB` or plain bytes; decimal units are powers of 1000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteCount(pub u64);

/// Bytes per second. Reads `120MB/s`, `100Mbit/s`, `64KiB/s`, or plain bytes per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteRate(pub u64);

/// A duration. Reads `250ms`, `30s`, `1.5h`, `10m`, `2h`, `100us`; a bare number is refused, `0` excepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

/// Why a text is no size, rate or duration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{text}` is not a {what}; write it like {like}")]
pub struct UnitError {
    text: String,
    what: &'static str,
    like: &'static str,
}

const SIZES: &[(&str, u64)] = &[
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];
const BITS: &[(&str, u64)] = &[("kbit", 1_000), ("Mbit", 1_000_000), ("Gbit", 1_000_000_000), ("bit", 1)];
const SPANS: &[(&str, u64)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// `text` as a decimal number times the factor of its unit, in integers; `None` where it is neither.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = (text[..split].trim_end(), text[split..].trim());
    let &(_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    // Nine decimals are enough for anything a person writes, and keep the product inside 128 bits.
    if whole.is_empty() || fraction.len() > 9 || fraction.contains('.') {
        return None;
    }
    let whole = u128::from(whole.parse::<u64>().ok()?) * u128::from(factor);
    let part = match fraction {
        "" => 0,
        digits => {
            u128::from(digits.parse::<u64>().ok()?) * u128::from(factor) / 10u128.pow(digits.len() as u32)
        }
    };
    u64::try_from(whole + part).ok()
}

/// A number with no fraction as an integer; `None` for others, and from 2^53 on, where not every integer has a number.
pub fn whole(number: f64) -> Option<u64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    ((0.0..EXACT).contains(&number) && number.fract() == 0.0).then_some(number as u64)
}

impl FromStr for ByteCount {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let text = text.trim();
        let plain = text.parse().ok();
        plain.or_else(|| scaled(text, SIZES)).map(Self).ok_or_else(|| UnitError {
            text: text.to_owned(),
            what: "size",
            like: "64MiB, 50MB, 5GiB or plain bytes",
        })
    }
}

impl FromStr for ByteRate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let text = text.trim();
        let bare = text.strip_suffix("/s");
        let rate = bare.and_then(|size| scaled(size, SIZES).or_else(|| Some(scaled(size, BITS)? / 8)));
        rate.or_else(|| text.parse().ok()).map(Self).ok_or_else(|| UnitError {
            text: text.to_owned(),
            what: "rate",
            like: "120MB/s, 100Mbit/s or plain bytes per second",
        })
    }
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let text = text.trim();
        let nanos = if text == "0" { Some(0) } else { scaled(text, SPANS) };
        nanos.map(|n| Self(Duration::from_nanos(n))).ok_or_else(|| UnitError {
            text: text.to_owned(),
            what: "duration",
            like: "250ms, 30s, 10m or 2h",
        })
    }
}

impl fmt::Display for ByteCount {
    /// The largest unit that is exact, binary before decimal; plain bytes otherwise.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = |units: &[(&'static str, u64)]| {
            units
                .iter()
                .rev()
                .find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor))
                .copied()
        };
        match exact(&SIZES[..4]).or_else(|| exact(&SIZES[5..9])) {
            Some((name, factor)) => write!(f, "{}{name}", self.0 / factor),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl fmt::Display for ByteRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", ByteCount(self.0))
    }
}

impl fmt::Display for Span {
    /// The largest unit that is exact.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        let exact =
            SPANS.iter().rev().find(|(_, u)| nanos >= u128::from(*u) && nanos.is_multiple_of(u128::from(*u)));
        match exact {
            Some((name, unit)) => write!(f, "{}{name}", nanos / u128::from(*unit)),
            None => write!(f, "0s"),
        }
    }
}

/// serde for a unit: a string or a plain number where the type takes one, always written as a string.
macro_rules! serde_unit {
    ($type:ty, $name:literal, $example:literal, $pattern:expr, $maximum:expr) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl serde::de::Visitor<'_> for Visitor {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        write!(f, "a {} like {}", $name, $example)
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<$type, E> {
                        number.to_string().parse().map_err(E::custom)
                    }
                    /// JSON Schema calls `5.0` an integer, and some programs write integers so.
                    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<$type, E> {
                        let unexpected = serde::de::Unexpected::Float(number);
                        let whole = whole(number).ok_or_else(|| E::invalid_type(unexpected, &self))?;
                        self.visit_u64(whole)
                    }
                }
                deserializer.deserialize_any(Visitor)
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": ["string", "integer"],
                    "pattern": $pattern,
                    "minimum": 0,
                    "maximum": $maximum,
                    "description": concat!("a ", $name, ", for example ", $example)
                })
            }
        }
    };
}
serde_unit!(ByteCount, "size", "64MiB", SIZE_PATTERN, u64::MAX);
serde_unit!(ByteRate, "rate", "120MB/s", RATE_PATTERN, u64::MAX);
// A bare number is no duration, 0 excepted.
serde_unit!(Span, "duration", "250ms", SPAN_PATTERN, 0);

/// For schemas: what people write. Numbers so long that they might not fit into 64 bits are left out.
const SIZE_PATTERN: &str = r"^([0-9]{1,19}B?|[0-9]{1,7}(\.[0-9]{1,9})? ?([KMGT]iB|[kKMGT]B))$";
/// As [`SIZE_PATTERN`].
const RATE_PATTERN: &str =
    r"^([0-9]{1,19}|([0-9]{1,19}B|[0-9]{1,7}(\.[0-9]{1,9})? ?([KMGT]iB|[kKMGT]B|[kMG]?bit))/s)$";
/// As [`SIZE_PATTERN`].
const SPAN_PATTERN: &str =
    r"^(0|[0-9]{1,9}(\.[0-9]{1,9})? ?(ns|us|µs|ms|s)|[0-9]{1,6}(\.[0-9]{1,9})? ?(m|h))$";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_people_write_them() {
        for (text, bytes) in [
            ("64MiB", 64 << 20),
            ("50MB", 50_000_000),
            ("1.5GB", 1_500_000_000),
            ("5GiB", 5 << 30),
            ("553", 553),
            ("0", 0),
            ("10 kB", 10_000),
        ] {
            assert_eq!(text.parse::<ByteCount>().unwrap().0, bytes, "{text}");
        }
    }

    #[test]
    fn rates_and_durations_read_as_people_write_them() {
        assert_eq!("120MB/s".parse::<ByteRate>().unwrap().0, 120_000_000);
        assert_eq!("100Mbit/s".parse::<ByteRate>().unwrap().0, 12_500_000);
        assert_eq!("250ms".parse::<Span>().unwrap().0, Duration::from_millis(250));
        assert_eq!("1.5h".parse::<Span>().unwrap().0, Duration::from_secs(5400));
    }

    #[test]
    fn nonsense_is_refused_with_an_example() {
        for text in ["", "MB", "-1MB", "1.2.3MB", "12 parsecs", "1e3", "99999999999TB", ".5MB"] {
            let error = text.parse::<ByteCount>().unwrap_err().to_string();
            assert!(error.contains("64MiB"), "{error}");
        }
        assert!("5".parse::<Span>().is_err());
        assert!("5MB".parse::<ByteRate>().is_err());
    }

    proptest::proptest! {
        #[test]
        fn what_is_printed_reads_back(bytes: u64, nanos: u64) {
            proptest::prop_assert_eq!(ByteCount(bytes).to_string().parse(), Ok(ByteCount(bytes)));
            proptest::prop_assert_eq!(ByteRate(bytes).to_string().parse(), Ok(ByteRate(bytes)));
            let span = Span(Duration::from_nanos(nanos));
            proptest::prop_assert_eq!(span.to_string().parse(), Ok(span));
        }
    }

    #[test]
    fn integers_may_be_written_with_a_point() {
        assert_eq!(serde_json::from_str::<ByteCount>("5000.0").unwrap(), ByteCount(5_000));
        for text in ["5.5", "-1.0", "1e300", "9007199254740993.0"] {
            assert!(serde_json::from_str::<ByteCount>(text).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        /// `proptest` makes texts from a regular expression without anchors.
        #[test]
        fn what_a_schema_lets_through_is_read(
            size in &SIZE_PATTERN[1..SIZE_PATTERN.len() - 1],
            rate in &RATE_PATTERN[1..RATE_PATTERN.len() - 1],
            span in &SPAN_PATTERN[1..SPAN_PATTERN.len() - 1],
        ) {
            proptest::prop_assert!(size.parse::<ByteCount>().is_ok(), "{size}");
            proptest::prop_assert!(rate.parse::<ByteRate>().is_ok(), "{rate}");
            proptest::prop_assert!(span.parse::<Span>().is_ok(), "{span}");
        }
    }
}
