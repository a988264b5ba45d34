//! Reading what a catalogue lets one write in two ways: a list or an object, a size or an object. Written out
//! instead of derived, because a derived either-or forgets the line and says only that nothing matched. Keys
//! that are reserved for later answer with what to write now.

use std::borrow::Cow;
use std::fmt;

use mockreg_proto::units::{self, ByteCount};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{LayerCount, LayerEntry, LayerObject, Layers, TagRange, Tags};

/// Version of the file format. There is one, so there is one value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchemaVersion;

/// A key that is reserved for what this version cannot make. It can be absent only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unsupported;

impl SchemaVersion {
    const NUMBER: u64 = 1;
}

impl Serialize for SchemaVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(Self::NUMBER)
    }
}

impl<'de> Deserialize<'de> for SchemaVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            Self::NUMBER => Ok(Self),
            other => Err(D::Error::custom(format!("`schema_version` must be 1, not {other}"))),
        }
    }
}

impl JsonSchema for SchemaVersion {
    fn schema_name() -> Cow<'static, str> {
        "SchemaVersion".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"const": Self::NUMBER})
    }
}

impl<'de> Deserialize<'de> for Unsupported {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer)?;
        Err(D::Error::custom(
            "`generate` and `platforms` are not supported yet; list repositories, of linux/amd64 alone",
        ))
    }
}

/// Refuses `unique: true`.
pub(super) fn not_unique<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match bool::deserialize(deserializer)? {
        true => Err(D::Error::custom("`unique: true` is not supported yet; leave it out")),
        false => Ok(false),
    }
}

/// A size that is a size, and not the name of a distribution of sizes.
pub(super) fn fixed_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteCount, D::Error> {
    struct FixedSize;

    impl Visitor<'_> for FixedSize {
        type Value = ByteCount;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a size like 64MiB")
        }

        fn visit_u64<E: Error>(self, bytes: u64) -> Result<ByteCount, E> {
            Ok(ByteCount(bytes))
        }

        fn visit_f64<E: Error>(self, bytes: f64) -> Result<ByteCount, E> {
            let unexpected = serde::de::Unexpected::Float(bytes);
            units::whole(bytes).map(ByteCount).ok_or_else(|| E::invalid_type(unexpected, &self))
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<ByteCount, E> {
            if text.starts_with(|c: char| c.is_ascii_alphabetic()) {
                return Err(E::custom(format!(
                    "size distribution `{text}` is not supported yet; write a size like 64MiB"
                )));
            }
            text.parse().map_err(E::custom)
        }
    }

    deserializer.deserialize_any(FixedSize)
}

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Tags;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("tags like [v1, v2] or {prefix: v, count: 40}")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Tags, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(Tags::Listed)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Tags, A::Error> {
                TagRange::deserialize(MapAccessDeserializer::new(map)).map(Tags::Numbered)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl Default for Tags {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

impl<'de> Deserialize<'de> for Layers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Layers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("layers like [4MB, 60MB] or {count: 8, size: 50MB}")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Layers, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(Layers::Listed)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Layers, A::Error> {
                LayerCount::deserialize(MapAccessDeserializer::new(map)).map(Layers::Alike)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl Default for Layers {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

impl<'de> Deserialize<'de> for LayerEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = LayerEntry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a layer like 60MB or {size: 60MB}")
            }

            fn visit_u64<E: Error>(self, bytes: u64) -> Result<LayerEntry, E> {
                Ok(LayerEntry::Size(ByteCount(bytes)))
            }

            fn visit_f64<E: Error>(self, bytes: f64) -> Result<LayerEntry, E> {
                let unexpected = serde::de::Unexpected::Float(bytes);
                units::whole(bytes)
                    .ok_or_else(|| E::invalid_type(unexpected, &self))
                    .and_then(|bytes| self.visit_u64(bytes))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<LayerEntry, E> {
                text.parse().map(LayerEntry::Size).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<LayerEntry, A::Error> {
                LayerObject::deserialize(MapAccessDeserializer::new(map)).map(LayerEntry::Object)
            }
        }

        deserializer.deserialize_any(Either)
    }
}
