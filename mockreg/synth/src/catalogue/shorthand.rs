//! Reading what a catalogue lets one write in two ways: a list or an object, a size or an object, a
//! repository or many. Written out
//! instead of derived, because a derived either-or forgets the line and says only that nothing matched. Keys
//! that are reserved for later answer with what to write now.

use std::borrow::Cow;
use std::fmt;

use mockreg_proto::units::{self, ByteCount};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{DeserializeSeed, Error, IntoDeserializer as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::size::Size;
use super::{Entry, Generated, LayerCount, LayerEntry, LayerObject, Layers, Repository, TagRange, Tags};

/// Version of the file format. There is one, so there is one value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchemaVersion;

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
                match text.parse().map_err(E::custom)? {
                    Size::Fixed(size) => Ok(LayerEntry::Size(size)),
                    size => {
                        Ok(LayerEntry::Object(LayerObject { size: Some(size), ..LayerObject::default() }))
                    }
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<LayerEntry, A::Error> {
                LayerObject::deserialize(MapAccessDeserializer::new(map)).map(LayerEntry::Object)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

/// The key that makes an entry a generated one. It stands first and alone.
const GENERATE: &str = "generate";

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Entry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a repository like {name: app, tags: [v1], layers: [4MB]} or {generate: {…}}")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
                let first: Option<String> = map.next_key()?;
                let generated = first.as_deref() == Some(GENERATE);
                let whole = MapAccessDeserializer::new(FromFirst { first, map });
                match generated {
                    true => Generated::deserialize(whole).map(Entry::Generated),
                    false => Repository::deserialize(whole).map(Entry::Listed),
                }
            }
        }

        deserializer.deserialize_map(Either)
    }
}

/// A map of which the first key has been read already.
struct FromFirst<A> {
    first: Option<String>,
    map: A,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for FromFirst<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        match self.first.take() {
            Some(first) => seed.deserialize(first.into_deserializer()).map(Some),
            None => self.map.next_key_seed(seed),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}
