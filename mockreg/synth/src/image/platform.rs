//! What images claim to run on. A table: each platform is a name in catalogues and three words in configs.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// What an image claims to run on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Platform {
    /// `linux/amd64`
    #[default]
    LinuxAmd64,
    /// `linux/arm64`
    LinuxArm64,
    /// `linux/arm/v7`
    LinuxArmV7,
    /// `linux/arm/v6`
    LinuxArmV6,
    /// `linux/386`
    Linux386,
    /// `linux/ppc64le`
    LinuxPpc64le,
    /// `linux/s390x`
    LinuxS390x,
    /// `linux/riscv64`
    LinuxRiscv64,
}

/// There is no platform of this name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not a platform; known are {known}", known = Platform::ALL.map(Platform::name).join(", "))]
pub struct UnknownPlatform(String);

impl Platform {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::LinuxAmd64,
        Self::LinuxArm64,
        Self::LinuxArmV7,
        Self::LinuxArmV6,
        Self::Linux386,
        Self::LinuxPpc64le,
        Self::LinuxS390x,
        Self::LinuxRiscv64,
    ];

    /// Its name: operating system, architecture and, where there is one, variant, joined by `/`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LinuxAmd64 => "linux/amd64",
            Self::LinuxArm64 => "linux/arm64",
            Self::LinuxArmV7 => "linux/arm/v7",
            Self::LinuxArmV6 => "linux/arm/v6",
            Self::Linux386 => "linux/386",
            Self::LinuxPpc64le => "linux/ppc64le",
            Self::LinuxS390x => "linux/s390x",
            Self::LinuxRiscv64 => "linux/riscv64",
        }
    }

    fn part(self, index: usize) -> Option<&'static str> {
        self.name().split('/').nth(index)
    }

    /// Operating system, as `GOOS` spells it.
    pub fn os(self) -> &'static str {
        self.part(0).unwrap_or_default()
    }

    /// Processor architecture, as `GOARCH` spells it.
    pub fn architecture(self) -> &'static str {
        self.part(1).unwrap_or_default()
    }

    /// Variant of the architecture: `v7`.
    pub fn variant(self) -> Option<&'static str> {
        self.part(2)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Platform {
    type Err = UnknownPlatform;

    fn from_str(text: &str) -> Result<Self, UnknownPlatform> {
        let found = Self::ALL.into_iter().find(|platform| platform.name() == text);
        found.ok_or_else(|| UnknownPlatform(text.to_owned()))
    }
}

impl Serialize for Platform {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Platform {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Platform {
    fn schema_name() -> Cow<'static, str> {
        "Platform".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "What an image claims to run on.",
            "type": "string",
            "enum": Self::ALL.map(Self::name),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_taken_apart() {
        for platform in Platform::ALL {
            assert_eq!(platform.name().parse(), Ok(platform));
        }
        let arm = Platform::LinuxArmV7;
        assert_eq!((arm.os(), arm.architecture(), arm.variant()), ("linux", "arm", Some("v7")));
        assert_eq!(Platform::LinuxArm64.variant(), None);
        assert!("linux/mips".parse::<Platform>().unwrap_err().to_string().contains("linux/riscv64"));
    }
}
