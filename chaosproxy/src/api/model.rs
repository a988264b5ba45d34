//! Bodies of the API. Reading is as lenient as the reference: keys in any case, unknown ones ignored, `null` is
//! absent, only the first JSON value counts, the content type does not matter; only outages, which it does not have,
//! refuse unknown keys. Writing keeps its order of keys.

use chaosproxy_path::{Attributes, CutAction, Stream};
use mockreg_proto::document;
use serde::ser::{SerializeMap, SerializeStruct};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::error::ApiError;
use crate::live::Entry;
use crate::proxy::{ProxySpec, ProxyUpdate, ProxyView};
use crate::toxic::Toxic;

/// Why `packet_loss` is not there.
const NO_PACKET_LOSS: &str = "invalid toxic type: packet_loss deletes bytes from the stream, which is corruption \
                              and not loss; a byte stream has no packets to lose";

/// The first JSON value of a body.
///
/// # Errors
/// Empty, or no JSON.
pub(crate) fn first_value(body: &[u8]) -> Result<Value, ApiError> {
    match serde_json::Deserializer::from_slice(body).into_iter().next() {
        Some(value) => value.map_err(ApiError::bad_body),
        None => Err(ApiError::bad_body("EOF")),
    }
}

/// A JSON object read leniently.
pub(crate) struct Fields<'a>(Option<&'a Map<String, Value>>);

impl<'a> Fields<'a> {
    pub(crate) fn of(value: &'a Value) -> Result<Self, ApiError> {
        match value {
            Value::Object(map) => Ok(Self(Some(map))),
            Value::Null => Ok(Self(None)),
            other => Err(mismatch("body", other, "object")),
        }
    }

    /// Keys in lower case with their values, `null` left out. Of keys that differ in case only the last counts.
    fn entries(&self) -> impl DoubleEndedIterator<Item = (String, &'a Value)> {
        let entries = self.0.into_iter().flatten().filter(|(_, value)| !value.is_null());
        entries.map(|(key, value)| (key.to_lowercase(), value))
    }

    /// Refuses keys that nobody reads, where one that is misspelt would change what happens. The routes of the
    /// reference ignore them, as it does.
    pub(crate) fn only(&self, known: &[&'static str]) -> Result<(), ApiError> {
        let mut keys = self.0.into_iter().flatten().map(|(key, _)| key);
        let Some(unknown) = keys.find(|key| !known.contains(&key.to_lowercase().as_str())) else {
            return Ok(());
        };
        let hint = match document::nearest(unknown, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known are {}", known.join(", ")),
        };
        Err(ApiError::bad_body(format_args!("unknown key `{unknown}`; {hint}")))
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.entries().rev().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    pub(crate) fn string(&self, name: &'static str) -> Result<Option<String>, ApiError> {
        self.get(name).map(|value| string(name, value)).transpose()
    }

    fn boolean(&self, name: &'static str) -> Result<Option<bool>, ApiError> {
        let read = |value: &Value| value.as_bool().ok_or_else(|| mismatch(name, value, "bool"));
        self.get(name).map(read).transpose()
    }

    pub(crate) fn float(&self, name: &'static str) -> Result<Option<f64>, ApiError> {
        let read = |value: &Value| value.as_f64().ok_or_else(|| mismatch(name, value, "number"));
        self.get(name).map(read).transpose()
    }

    pub(crate) fn whole(&self, name: &'static str) -> Result<Option<u64>, ApiError> {
        let read = |value: &Value| value.as_u64().ok_or_else(|| mismatch(name, value, "uint64"));
        self.get(name).map(read).transpose()
    }

    fn object(&self, name: &'static str) -> Result<Fields<'a>, ApiError> {
        match self.get(name) {
            None => Ok(Fields(None)),
            Some(Value::Object(map)) => Ok(Fields(Some(map))),
            Some(other) => Err(mismatch(name, other, "object")),
        }
    }
}

fn string(name: &str, value: &Value) -> Result<String, ApiError> {
    value.as_str().map(str::to_owned).ok_or_else(|| mismatch(name, value, "string"))
}

/// As Go's decoder has it, so that `100.5` and `1e3` are no integers.
fn integer(name: &str, value: &Value) -> Result<i64, ApiError> {
    value.as_i64().ok_or_else(|| mismatch(name, value, "int64"))
}

fn mismatch(name: &str, value: &Value, wanted: &str) -> ApiError {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(number) => {
            return ApiError::bad_body(format_args!(
                "json: cannot use number {number} as {name} of type {wanted}"
            ));
        }
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    ApiError::bad_body(format_args!("json: cannot use {found} as {name} of type {wanted}"))
}

/// A proxy to be created.
pub(crate) fn proxy_spec(value: &Value) -> Result<ProxySpec, ApiError> {
    let fields = Fields::of(value)?;
    Ok(ProxySpec {
        name: fields.string("name")?.unwrap_or_default(),
        listen: fields.string("listen")?.unwrap_or_default(),
        upstream: fields.string("upstream")?.unwrap_or_default(),
        label: fields.string("label")?.filter(|label| !label.is_empty()),
        seed: fields.whole("seed")?,
        enabled: fields.boolean("enabled")?.unwrap_or(true),
    })
}

/// A list of proxies to be created.
pub(crate) fn proxy_specs(value: &Value) -> Result<Vec<ProxySpec>, ApiError> {
    match value {
        Value::Array(list) => list.iter().map(proxy_spec).collect(),
        Value::Null => Ok(Vec::new()),
        other => Err(mismatch("body", other, "array")),
    }
}

/// A change of a proxy.
pub(crate) fn proxy_update(value: &Value) -> Result<ProxyUpdate, ApiError> {
    let fields = Fields::of(value)?;
    Ok(ProxyUpdate {
        listen: fields.string("listen")?.filter(|listen| !listen.is_empty()),
        upstream: fields.string("upstream")?.filter(|upstream| !upstream.is_empty()),
        enabled: fields.boolean("enabled")?,
    })
}

/// A toxic to be created.
pub(crate) fn toxic(value: &Value) -> Result<Toxic, ApiError> {
    let mut toxic = toxic_head(value)?;
    merge_attributes(value, &mut toxic.attributes)?;
    Ok(toxic)
}

/// A toxic to be created, its attributes still at their defaults: the reference checks stream, kind and name before
/// it looks at them.
pub(crate) fn toxic_head(value: &Value) -> Result<Toxic, ApiError> {
    let fields = Fields::of(value)?;
    let kind = fields.string("type")?.unwrap_or_default();
    let name = fields.string("name")?.filter(|name| !name.is_empty());
    let toxicity = fields.float("toxicity")?.unwrap_or(1.0) as f32;
    fields.object("attributes")?;
    let spelt = fields.string("stream")?;
    let stream = match spelt.as_deref().map(str::to_lowercase).as_deref() {
        None | Some("downstream") => Stream::Downstream,
        Some("upstream") => Stream::Upstream,
        Some(_) => {
            return Err(ApiError::bad_request("stream was invalid, can be either upstream or downstream"));
        }
    };
    let unknown =
        || ApiError::bad_request(if kind == "packet_loss" { NO_PACKET_LOSS } else { "invalid toxic type" });
    let attributes = Attributes::defaults(&kind).ok_or_else(unknown)?;
    Ok(Toxic { name, stream, spelt, toxicity, attributes })
}

/// Reads the attributes of a toxic to be created.
pub(crate) fn merge_attributes(value: &Value, attributes: &mut Attributes) -> Result<(), ApiError> {
    merge(attributes, &Fields::of(value)?.object("attributes")?)
}

/// A change of a toxic: attributes are merged field by field; name, type and stream are ignored.
pub(crate) fn merge_toxic(
    value: &Value,
    attributes: &mut Attributes,
    toxicity: &mut f32,
) -> Result<(), ApiError> {
    let fields = Fields::of(value)?;
    merge(attributes, &fields.object("attributes")?)?;
    if let Some(new) = fields.float("toxicity")? {
        *toxicity = new as f32;
    }
    Ok(())
}

fn merge(attributes: &mut Attributes, given: &Fields<'_>) -> Result<(), ApiError> {
    for (key, value) in given.entries() {
        match (&mut *attributes, key.as_str()) {
            (Attributes::Latency { latency: n, .. }, "latency")
            | (Attributes::Latency { jitter: n, .. }, "jitter")
            | (Attributes::Bandwidth { rate: n, .. }, "rate")
            | (Attributes::SlowClose { delay: n } | Attributes::Slicer { delay: n, .. }, "delay")
            | (Attributes::Timeout { timeout: n } | Attributes::ResetPeer { timeout: n }, "timeout")
            | (Attributes::Slicer { average_size: n, .. }, "average_size")
            | (Attributes::Slicer { size_variation: n, .. }, "size_variation")
            | (Attributes::LimitData { bytes: n }, "bytes")
            | (Attributes::Cut { mean_bytes: n, .. }, "mean_bytes") => *n = integer(&key, value)?,
            (Attributes::Bandwidth { shared, .. }, "shared") => {
                *shared = value.as_bool().ok_or_else(|| mismatch(&key, value, "bool"))?;
            }
            (Attributes::Cut { action, .. }, "action") => *action = cut_action(&string(&key, value)?)?,
            _ => {}
        }
    }
    Ok(())
}

fn cut_action(name: &str) -> Result<CutAction, ApiError> {
    let all = [CutAction::Reset, CutAction::Stall, CutAction::Close];
    let found = all.into_iter().find(|action| action.name() == name);
    found.ok_or_else(|| ApiError::bad_body(format_args!("action must be reset, stall or close, not {name}")))
}

/// A toxic as it is shown.
pub(crate) struct ToxicJson<'a>(pub(crate) &'a Entry);

/// A proxy as it is shown.
pub(crate) struct ProxyJson<'a>(pub(crate) &'a ProxyView);

struct AttributesJson<'a>(&'a Attributes);

impl Serialize for ToxicJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Entry { toxic, stream, .. } = self.0;
        let mut json = serializer.serialize_struct("toxic", 5)?;
        json.serialize_field("attributes", &AttributesJson(toxic.attributes()))?;
        json.serialize_field("name", &**toxic.name())?;
        json.serialize_field("type", toxic.attributes().kind())?;
        json.serialize_field("stream", &**stream)?;
        // Go prints a whole number without a fraction, and a float32 as short as possible.
        match toxic.toxicity() {
            whole if whole.fract() == 0.0 && whole.abs() < 1e6 => {
                json.serialize_field("toxicity", &(whole as i64))?;
            }
            share => {
                json.serialize_field("toxicity", &share)?;
            }
        }
        json.end()
    }
}

impl Serialize for AttributesJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut json = serializer.serialize_map(None)?;
        match self.0 {
            Attributes::Latency { latency, jitter } => {
                json.serialize_entry("latency", latency)?;
                json.serialize_entry("jitter", jitter)?;
            }
            Attributes::Bandwidth { rate, shared } => {
                json.serialize_entry("rate", rate)?;
                if *shared {
                    json.serialize_entry("shared", shared)?;
                }
            }
            Attributes::SlowClose { delay } => json.serialize_entry("delay", delay)?,
            Attributes::Timeout { timeout } | Attributes::ResetPeer { timeout } => {
                json.serialize_entry("timeout", timeout)?;
            }
            Attributes::Slicer { average_size, size_variation, delay } => {
                json.serialize_entry("average_size", average_size)?;
                json.serialize_entry("size_variation", size_variation)?;
                json.serialize_entry("delay", delay)?;
            }
            Attributes::LimitData { bytes } => json.serialize_entry("bytes", bytes)?,
            Attributes::Cut { mean_bytes, action } => {
                json.serialize_entry("mean_bytes", mean_bytes)?;
                json.serialize_entry("action", action)?;
            }
            Attributes::Noop => {}
        }
        json.end()
    }
}

impl Serialize for ProxyJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let proxy = self.0;
        let toxics: Vec<_> = proxy.toxics.iter().map(ToxicJson).collect();
        let mut json = serializer.serialize_map(None)?;
        json.serialize_entry("name", &proxy.name)?;
        json.serialize_entry("listen", &proxy.listen)?;
        json.serialize_entry("upstream", &proxy.upstream)?;
        json.serialize_entry("enabled", &proxy.enabled)?;
        json.serialize_entry("toxics", &toxics)?;
        // Ours; clients of the reference ignore it. Left out where it says nothing.
        if proxy.label != proxy.name {
            json.serialize_entry("label", &proxy.label)?;
        }
        if let Some(seed) = proxy.seed {
            json.serialize_entry("seed", &seed)?;
        }
        json.end()
    }
}
