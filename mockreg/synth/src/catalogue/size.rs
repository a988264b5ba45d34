//! Sizes and counts that a catalogue may leave to the seed: a number, a range, or the name of a size profile.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use mockreg_proto::seed::below;
use mockreg_proto::units::{self, ByteCount};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::profile::Profile;

/// The size of a layer: `64MiB`, `1MB..98MB` (uniform, both ends included) or `hub2019`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Exactly so many bytes.
    Fixed(ByteCount),
    /// Any number of bytes from the first to the second, all alike.
    Range(ByteCount, ByteCount),
    /// As the profile has it.
    Profile(Profile),
}

/// How many of something: `3`, or `1..5` (uniform, both ends included).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// At least so many.
    pub least: u32,
    /// At most so many; not less than `least`.
    pub most: u32,
}

impl Size {
    /// The size that belongs to a uniform draw.
    pub fn at(self, draw: u64) -> u64 {
        match self {
            Self::Fixed(size) => size.0,
            Self::Range(least, most) => least.0 + below(draw, most.0 - least.0 + 1),
            Self::Profile(profile) => profile.quantile(draw),
        }
    }
}

impl Counts {
    /// Always the same number.
    pub const fn always(count: u32) -> Self {
        Self { least: count, most: count }
    }

    /// The number that belongs to a uniform draw.
    pub fn at(self, draw: u64) -> u32 {
        self.least + below(draw, u64::from(self.most - self.least) + 1) as u32
    }
}

impl From<ByteCount> for Size {
    fn from(size: ByteCount) -> Self {
        Self::Fixed(size)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let size = |text: &str| text.parse::<ByteCount>().map_err(|error| error.to_string());
        if let Some((least, most)) = text.split_once("..") {
            let (least, most) = (size(least)?, size(most)?);
            return match least <= most && most.0 < u64::MAX {
                true => Ok(Self::Range(least, most)),
                false => Err(format!("`{text}` has nothing in it; write the lesser size first")),
            };
        }
        if text.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return text
                .parse()
                .map(Self::Profile)
                .map_err(|error: crate::profile::UnknownProfile| error.to_string());
        }
        size(text).map(Self::Fixed)
    }
}

impl FromStr for Counts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is not a count; write it like 3 or 1..5");
        let number = |text: &str| text.trim().parse::<u32>().map_err(|_| bad());
        let Some((least, most)) = text.split_once("..") else { return number(text).map(Self::always) };
        let (least, most) = (number(least)?, number(most)?);
        match least <= most {
            true => Ok(Self { least, most }),
            false => Err(format!("`{text}` has nothing in it; write the lesser count first")),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(size) => size.fmt(f),
            Self::Range(least, most) => write!(f, "{least}..{most}"),
            Self::Profile(profile) => profile.fmt(f),
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.least == self.most {
            true => self.least.fmt(f),
            false => write!(f, "{}..{}", self.least, self.most),
        }
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fixed(size) => size.serialize(serializer),
            other => serializer.collect_str(other),
        }
    }
}

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.least == self.most {
            true => serializer.serialize_u32(self.least),
            false => serializer.collect_str(self),
        }
    }
}

/// A value written as a whole number or as a text.
struct NumberOrText<T> {
    like: &'static str,
    number: fn(u64) -> Result<T, String>,
    text: fn(&str) -> Result<T, String>,
}

impl<T> Visitor<'_> for NumberOrText<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.like)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        (self.number)(number).map_err(E::custom)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
        let unexpected = Unexpected::Float(number);
        let number = units::whole(number).ok_or_else(|| E::invalid_type(unexpected, &self))?;
        self.visit_u64(number)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.text)(text).map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberOrText {
            like: "a size like 64MiB, a range like 1MB..98MB or a profile like hub2019",
            number: |bytes| Ok(Self::Fixed(ByteCount(bytes))),
            text: str::parse,
        })
    }
}

impl<'de> Deserialize<'de> for Counts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberOrText {
            like: "a count like 3 or 1..5",
            number: |count| {
                u32::try_from(count)
                    .map(Self::always)
                    .map_err(|_| format!("{count} is more than {}", u32::MAX))
            },
            text: str::parse,
        })
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The size of a layer: bytes, `64MiB`, a range like `1MB..98MB`, or a profile: hub2019, \
                            ibm2017, zb, ai.",
            "type": ["string", "integer"],
        })
    }
}

impl JsonSchema for Counts {
    fn schema_name() -> Cow<'static, str> {
        "Counts".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "How many: a number, or a range like `1..5`, both ends included.",
            "type": ["string", "integer"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_counts_read_back() {
        for text in ["64MiB", "1MB..98MB", "hub2019", "553B"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
        for text in ["3", "1..5"] {
            assert_eq!(text.parse::<Counts>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn ranges_reach_both_ends_and_no_further() {
        let size: Size = "10..12".parse().unwrap();
        assert_eq!([0, u64::MAX / 2, u64::MAX].map(|draw| size.at(draw)), [10, 11, 12]);
        let counts: Counts = "1..5".parse().unwrap();
        assert_eq!([0, u64::MAX].map(|draw| counts.at(draw)), [1, 5]);
        assert_eq!(Counts { least: 0, most: u32::MAX }.at(u64::MAX), u32::MAX);
    }

    #[test]
    fn nonsense_says_what_is_right() {
        for (text, wanted) in [
            ("2MB..1MB", "lesser size first"),
            ("1MB..", "is not a size"),
            ("hub2020", "known are hub2019"),
            ("4 parsecs", "is not a size"),
        ] {
            let got = text.parse::<Size>().unwrap_err();
            assert!(got.contains(wanted), "{text}: {got}");
        }
        for text in ["", "x", "5..1", "1..", "-1", "1..2..3", "99999999999"] {
            assert!(text.parse::<Counts>().is_err(), "{text}");
        }
    }
}
