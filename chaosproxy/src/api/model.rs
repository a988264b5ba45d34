//! Bodies of the API. Reading is as lenient as the reference: keys in any case, unknown ones ignored, `null` is
//! absent, only the first JSON value counts, the content type does not matter; only outages, which it does not have,
//! refuse unknown keys. What has the wrong type is told in the words of Go's decoder. Writing keeps its order of keys.

use std::sync::Arc;

use chaosproxy_path::{Attributes, CutAction, Distribution, Protocol, Stream, Table};
use mockreg_proto::document;
use serde::ser::{SerializeMap, SerializeStruct};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::error::ApiError;
use crate::admission::{Admission, OverLimit};
use crate::introduction::Introduction;
use crate::live::Entry;
use crate::protocol;
use crate::proxy::{self, ProxyError, ProxySpec, ProxyUpdate, ProxyView};
use crate::proxy_header::ProxyProtocol;
use crate::selection::Selection;
use crate::toxic::Toxic;

/// What errors of the reference call its types.
const PROXY: &str = "toxiproxy.Proxy";
const PROXY_IN_LIST: &str = "struct { toxiproxy.Proxy; Enabled *bool \"json:\\\"enabled\\\"\" }";
const UPDATE: &str = "struct { Attributes interface {} \"json:\\\"attributes\\\"\"; Toxicity float32 \
                      \"json:\\\"toxicity\\\"\" }";

/// Bytes of a file of delays: its longest, in twenty figures a line.
const LONGEST_TABLE: u64 = 4 << 20;

/// A value as JSON in the spelling of Go's encoder, which keeps text out of the way of HTML.
pub(crate) fn text_of(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string(value).expect("what is shown has string keys only");
    // Only inside of strings can these characters be, so that no structure is touched.
    for (character, escaped) in [
        ('<', "\\u003c"),
        ('>', "\\u003e"),
        ('&', "\\u0026"),
        ('\u{2028}', "\\u2028"),
        ('\u{2029}', "\\u2029"),
    ] {
        if text.contains(character) {
            text = text.replace(character, escaped);
        }
    }
    text
}

/// The first JSON value of a body.
///
/// # Errors
/// Empty, or no JSON.
pub(crate) fn first_value(body: &[u8]) -> Result<Value, ApiError> {
    match serde_json::Deserializer::from_slice(body).into_iter().next() {
        Some(Err(error)) if error.is_eof() => Err(ApiError::bad_body("unexpected EOF")),
        Some(value) => value.map_err(ApiError::bad_body),
        None => Err(ApiError::bad_body("EOF")),
    }
}

/// A JSON object read leniently.
pub(crate) struct Fields<'a> {
    map: Option<&'a Map<String, Value>>,
    /// What errors call it.
    owner: &'static str,
}

impl<'a> Fields<'a> {
    /// The fields of a body; `whole` is what errors call the body, and `owner` what they call the owner of a field.
    ///
    /// # Errors
    /// It is something else than an object.
    pub(crate) fn of(value: &'a Value, whole: &str, owner: &'static str) -> Result<Self, ApiError> {
        match value {
            Value::Object(map) => Ok(Self { map: Some(map), owner }),
            Value::Null => Ok(Self { map: None, owner }),
            other => Err(not_the_value(other, whole)),
        }
    }

    /// Keys in lower case with their values, `null` left out. Of keys that differ in case only the last counts.
    fn entries(&self) -> impl DoubleEndedIterator<Item = (String, &'a Value)> {
        let entries = self.map.into_iter().flatten().filter(|(_, value)| !value.is_null());
        entries.map(|(key, value)| (key.to_lowercase(), value))
    }

    /// Refuses keys that nobody reads, where one that is misspelt would change what happens. The routes of the
    /// reference ignore them, as it does.
    pub(crate) fn only(&self, known: &[&'static str]) -> Result<(), ApiError> {
        let mut keys = self.map.into_iter().flatten().map(|(key, _)| key);
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
        self.read(name, "string", |value| value.as_str().map(str::to_owned))
    }

    pub(crate) fn boolean(&self, name: &'static str) -> Result<Option<bool>, ApiError> {
        self.read(name, "bool", Value::as_bool)
    }

    pub(crate) fn float(&self, name: &'static str) -> Result<Option<f64>, ApiError> {
        self.read(name, "float64", Value::as_f64)
    }

    /// Infinity is no number, here and in Go.
    fn float32(&self, name: &'static str) -> Result<Option<f32>, ApiError> {
        let read = |value: &Value| value.as_f64().map(|wide| wide as f32).filter(|narrow| narrow.is_finite());
        self.read(name, "float32", read)
    }

    pub(crate) fn whole(&self, name: &'static str) -> Result<Option<u64>, ApiError> {
        self.read(name, "uint64", Value::as_u64)
    }

    /// An object inside; `wanted` is its type in errors about itself, `owner` in those about its fields.
    fn object(&self, name: &str, wanted: &str, owner: &'static str) -> Result<Fields<'a>, ApiError> {
        let map = self.read(name, wanted, Value::as_object)?;
        Ok(Fields { map, owner })
    }

    fn read<T>(
        &self,
        name: &str,
        wanted: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        let value = self.get(name);
        value.map(|value| read(value).ok_or_else(|| self.mismatch(name, value, wanted))).transpose()
    }

    fn mismatch(&self, name: &str, value: &Value, wanted: &str) -> ApiError {
        let found = match value {
            Value::Number(number) if wanted.contains("int") || wanted.contains("float") => {
                format!("number {number}")
            }
            other => kind_of(other).to_owned(),
        };
        let owner = self.owner;
        ApiError::bad_body(format_args!(
            "json: cannot unmarshal {found} into Go struct field {owner}.{name} of type {wanted}"
        ))
    }
}

fn not_the_value(value: &Value, wanted: &str) -> ApiError {
    let found = kind_of(value);
    ApiError::bad_body(format_args!("json: cannot unmarshal {found} into Go value of type {wanted}"))
}

const fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A proxy to be created.
pub(crate) fn proxy_spec(value: &Value, strict: bool) -> Result<ProxySpec, ApiError> {
    spec(&Fields::of(value, PROXY, "Proxy")?, strict)
}

fn listed_spec(value: &Value, strict: bool) -> Result<ProxySpec, ApiError> {
    // In a list the reference decodes into a type around its own, which its errors show.
    let fields = Fields::of(value, PROXY_IN_LIST, "")?;
    fields.boolean("enabled")?;
    spec(&Fields { owner: ".Proxy", ..fields }, strict)
}

fn spec(fields: &Fields<'_>, strict: bool) -> Result<ProxySpec, ApiError> {
    let change = update(fields)?;
    let (listen, upstream) =
        (change.listen.clone().unwrap_or_default(), change.upstream.clone().unwrap_or_default());
    // The reference does not look at them.
    let toxics = if strict { Vec::new() } else { toxics(fields, &listen, &upstream)? };
    Ok(ProxySpec {
        name: fields.string("name")?.unwrap_or_default(),
        listen,
        upstream,
        label: fields.string("label")?.filter(|label| !label.is_empty()),
        seed: fields.whole("seed")?,
        enabled: fields.boolean("enabled")?.unwrap_or(true),
        admission: change.terms(Admission::default()),
        introduction: change.introduction(Introduction::default()),
        toxics,
    })
}

/// The toxics that a proxy begins with, each as it would be added.
fn toxics(fields: &Fields<'_>, listen: &str, upstream: &str) -> Result<Vec<Toxic>, ApiError> {
    let list = fields.read("toxics", "[]toxics.ToxicWrapper", Value::as_array)?;
    // Addresses that do not go together are told when the proxy is made.
    let protocol = protocol::of(listen, upstream).unwrap_or(Protocol::Tcp);
    let numbered = list.into_iter().flatten().zip(1..);
    let read = |(value, number): (&Value, usize)| {
        let told = |error: ApiError| ApiError::bad_body(format_args!("toxic {number}: {}", error.problem()));
        let toxic = toxic(value, protocol, false).map_err(told)?;
        proxy::made(&toxic, protocol, false).map_err(|error| told(error.into()))?;
        Ok(toxic)
    };
    numbered.map(read).collect()
}

/// A list of proxies to be created.
pub(crate) fn proxy_specs(value: &Value, strict: bool) -> Result<Vec<ProxySpec>, ApiError> {
    match value {
        Value::Array(list) => list.iter().map(|value| listed_spec(value, strict)).collect(),
        Value::Null => Ok(Vec::new()),
        other => Err(not_the_value(other, &format!("[]{PROXY_IN_LIST}"))),
    }
}

/// A change of a proxy.
pub(crate) fn proxy_update(value: &Value) -> Result<ProxyUpdate, ApiError> {
    update(&Fields::of(value, PROXY, "Proxy")?)
}

fn update(fields: &Fields<'_>) -> Result<ProxyUpdate, ApiError> {
    let over_limit = fields.string("over_limit")?.map(|name| {
        let unknown = || ApiError::bad_body(format_args!("over_limit must be refuse or hold, not {name}"));
        OverLimit::parse(&name).ok_or_else(unknown)
    });
    let send_proxy = fields.string("send_proxy")?.map(|name| {
        let unknown = || ApiError::bad_body(format_args!("send_proxy must be v1, v2 or empty, not {name}"));
        if name.is_empty() { Ok(None) } else { ProxyProtocol::parse(&name).map(Some).ok_or_else(unknown) }
    });
    Ok(ProxyUpdate {
        listen: fields.string("listen")?,
        upstream: fields.string("upstream")?,
        enabled: fields.boolean("enabled")?,
        accept_delay_ms: fields.whole("accept_delay_ms")?,
        max_connections: fields.whole("max_connections")?,
        over_limit: over_limit.transpose()?,
        accept_proxy: fields.boolean("accept_proxy")?,
        send_proxy: send_proxy.transpose()?,
        peek_sni: fields.boolean("peek_sni")?,
        idle_timeout_ms: fields.whole("idle_timeout_ms")?,
    })
}

/// A toxic to be created.
pub(crate) fn toxic(value: &Value, protocol: Protocol, strict: bool) -> Result<Toxic, ApiError> {
    let mut toxic = toxic_head(value, protocol, strict)?;
    create_attributes(value, &mut toxic.attributes)?;
    Ok(toxic)
}

/// A toxic to be created, its attributes still at their defaults: the reference checks stream, kind and name before
/// it looks at them.
pub(crate) fn toxic_head(value: &Value, protocol: Protocol, strict: bool) -> Result<Toxic, ApiError> {
    let fields = Fields::of(value, "toxics.ToxicWrapper", "ToxicWrapper")?;
    let kind = fields.string("type")?.unwrap_or_default();
    let name = fields.string("name")?.filter(|name| !name.is_empty());
    let toxicity = fields.float32("toxicity")?.unwrap_or(1.0);
    fields.object("attributes", "toxics.NoopToxic", "")?;
    let spelt = fields.string("stream")?;
    let stream = match spelt.as_deref().map(str::to_lowercase).as_deref() {
        None | Some("downstream") => Stream::Downstream,
        Some("upstream") => Stream::Upstream,
        Some(_) => {
            return Err(ApiError::bad_request("stream was invalid, can be either upstream or downstream"));
        }
    };
    let unknown = || ApiError::bad_request("invalid toxic type");
    let attributes = Attributes::defaults(&kind).ok_or_else(unknown)?;
    match attributes.refused_by(protocol) {
        Some(_) if strict && kind == "packet_loss" => {}
        Some(_) if strict => return Err(unknown()),
        Some(reason) => return Err(ProxyError::ToxicType(reason).into()),
        None => {}
    }
    let only = selection(&fields)?.unwrap_or_default();
    Ok(Toxic { name, stream, spelt, toxicity, attributes, only })
}

/// Refuses a change of the connections that a toxic is for. What one that met a connection holds of it would have to
/// go, and one that comes to it would stand behind the others: that is a removal and an addition, and is said so.
pub(crate) fn keeps_selection(value: &Value, only: &Selection) -> Result<(), ApiError> {
    match selection(&Fields::of(value, UPDATE, "")?)? {
        Some(other) if other != *only => {
            Err(ApiError::bad_request("only cannot be changed; remove the toxic and add it again"))
        }
        _ => Ok(()),
    }
}

/// The connections that a toxic is for, where something is said about them.
fn selection(fields: &Fields<'_>) -> Result<Option<Selection>, ApiError> {
    if fields.get("only").is_none() {
        return Ok(None);
    }
    let given = fields.object("only", "object", "only")?;
    given.only(&["source", "source_port", "port", "sni"])?;
    let mut only = Selection::default();
    for (key, value) in given.entries() {
        let values = value.as_array().filter(|values| !values.is_empty());
        let fail = |problem: &dyn std::fmt::Display| ApiError::bad_body(format_args!("only.{problem}"));
        for value in
            values.ok_or_else(|| fail(&format_args!("{key} must be a list with at least one value")))?
        {
            let text = match value {
                Value::Number(number) => number.to_string(),
                Value::String(text) => text.clone(),
                other => {
                    return Err(fail(&format_args!("{key} must be a list of texts or numbers, not {other}")));
                }
            };
            let narrowed = match key.as_str() {
                "source" => only.source(&text),
                "source_port" => only.source_port(&text),
                "port" => only.port(&text),
                _ => only.sni(&text),
            };
            only = narrowed.map_err(|error| fail(&error))?;
        }
    }
    Ok(Some(only))
}

/// Reads the attributes of a toxic to be created.
pub(crate) fn create_attributes(value: &Value, attributes: &mut Attributes) -> Result<(), ApiError> {
    let fields = Fields::of(value, "toxics.ToxicWrapper", "ToxicWrapper")?;
    merge(attributes, &fields)
}

/// A change of a toxic: attributes are merged field by field; name, type and stream are ignored. Of attributes that
/// have the wrong type the first is told, and all others are merged in any case, as the reference does; whoever wants
/// all or nothing throws them away.
pub(crate) fn merge_toxic(
    value: &Value,
    attributes: &mut Attributes,
    toxicity: &mut f32,
) -> Result<(), ApiError> {
    let fields = Fields::of(value, UPDATE, "")?;
    let merged = merge(attributes, &fields);
    let new = fields.float32("toxicity")?;
    merged?;
    if let Some(new) = new {
        *toxicity = new;
    }
    Ok(())
}

/// Sets one attribute, or the toxicity, to a number; whole attributes are rounded.
///
/// # Errors
/// The toxic has no such attribute, or none that is a number.
pub(crate) fn set_attribute(
    name: &str,
    value: f64,
    attributes: &mut Attributes,
    toxicity: &mut f32,
) -> Result<(), ApiError> {
    if let Some(number) = attributes.number_mut(name) {
        *number = value.round() as i64;
    } else if let Some(share) = attributes.share_mut(name) {
        *share = value;
    } else if name == "toxicity" {
        *toxicity = value as f32;
    } else {
        let kind = attributes.kind();
        return Err(ApiError::bad_body(format_args!("a {kind} toxic has no number {name} to be moved")));
    }
    Ok(())
}

fn merge(attributes: &mut Attributes, body: &Fields<'_>) -> Result<(), ApiError> {
    let owner = go_type(attributes);
    let given = &body.object("attributes", &format!("toxics.{owner}"), owner)?;
    let merged = given.entries().map(|(key, value)| merge_one(attributes, given, &key, value));
    merged.fold(Ok(()), Result::and)
}

fn merge_one(
    attributes: &mut Attributes,
    given: &Fields<'_>,
    key: &str,
    value: &Value,
) -> Result<(), ApiError> {
    let mismatch = |wanted| given.mismatch(&format!("attributes.{key}"), value, wanted);
    let integer = if matches!(attributes, Attributes::Slicer { .. }) { "int" } else { "int64" };
    if let Some(number) = attributes.number_mut(key) {
        *number = integer_of(value).ok_or_else(|| mismatch(integer))?;
        return Ok(());
    }
    if let Some(share) = attributes.share_mut(key) {
        *share = value.as_f64().ok_or_else(|| mismatch("float64"))?;
        return Ok(());
    }
    match (attributes, key) {
        (Attributes::Bandwidth { shared, .. }, "shared") => {
            *shared = value.as_bool().ok_or_else(|| mismatch("bool"))?;
        }
        (Attributes::Cut { action, .. }, "action") => {
            *action = cut_action(value.as_str().ok_or_else(|| mismatch("string"))?)?;
        }
        (Attributes::Latency { distribution, .. }, "distribution") => {
            *distribution = distribution_of(value.as_str().ok_or_else(|| mismatch("string"))?)?;
        }
        (Attributes::Latency { distribution, .. }, "file") => {
            *distribution = table_of(value.as_str().ok_or_else(|| mismatch("string"))?)?;
        }
        _ => {}
    }
    Ok(())
}

fn distribution_of(name: &str) -> Result<Distribution, ApiError> {
    Distribution::parse(name).ok_or_else(|| {
        ApiError::bad_body(format_args!(
            "distribution must be uniform, normal, pareto or lognormal, not {name}; measured delays are given by file"
        ))
    })
}

/// Delays from a file of this machine.
fn table_of(path: &str) -> Result<Distribution, ApiError> {
    let fail = |problem: &dyn std::fmt::Display| ApiError::bad_body(format_args!("file {path}: {problem}"));
    let metadata = std::fs::metadata(path).map_err(|error| fail(&error))?;
    if !metadata.is_file() || metadata.len() > LONGEST_TABLE {
        return Err(fail(&format_args!("is no file of at most {LONGEST_TABLE} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| fail(&error))?;
    Table::parse(path, &text).map(|table| Distribution::Table(Arc::new(table))).map_err(|error| fail(&error))
}

/// As Go's decoder has it, so that `100.5` and `1e3` are no integers; `-0` is one, which is read as a fraction here.
fn integer_of(value: &Value) -> Option<i64> {
    let is_minus_zero = value.as_f64().is_some_and(|number| number == 0.0 && number.is_sign_negative());
    value.as_i64().or_else(|| is_minus_zero.then_some(0))
}

/// The type of a toxic in the reference, which errors name.
const fn go_type(attributes: &Attributes) -> &'static str {
    match attributes {
        Attributes::Latency { .. } => "LatencyToxic",
        Attributes::Bandwidth { .. } => "BandwidthToxic",
        Attributes::SlowClose { .. } => "SlowCloseToxic",
        Attributes::Timeout { .. } => "TimeoutToxic",
        Attributes::ResetPeer { .. } => "ResetToxic",
        Attributes::Slicer { .. } => "SlicerToxic",
        Attributes::LimitData { .. } => "LimitDataToxic",
        Attributes::Cut { .. } => "CutToxic",
        Attributes::Corrupt { .. } => "CorruptToxic",
        Attributes::Stall { .. } => "StallToxic",
        Attributes::PacketLoss { .. } => "PacketLossToxic",
        Attributes::Duplicate { .. } => "DuplicateToxic",
        Attributes::Reorder { .. } => "ReorderToxic",
        Attributes::Noop => "NoopToxic",
    }
}

fn cut_action(name: &str) -> Result<CutAction, ApiError> {
    let all = [CutAction::Reset, CutAction::Stall, CutAction::Close];
    let found = all.into_iter().find(|action| action.name() == name);
    found.ok_or_else(|| ApiError::bad_body(format_args!("action must be reset, stall or close, not {name}")))
}

/// A toxic as it is shown.
pub(crate) struct ToxicJson<'a>(pub(crate) &'a Entry);

/// A proxy as it is shown.
pub(crate) struct ProxyJson<'a> {
    pub(crate) view: &'a ProxyView,
    /// With the empty object that the reference lets slip into it.
    pub(crate) strict: bool,
}

struct AttributesJson<'a>(&'a Attributes);

impl Serialize for ToxicJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Entry { toxic, stream, only, .. } = self.0;
        let mut json = serializer.serialize_struct("toxic", 6)?;
        json.serialize_field("attributes", &AttributesJson(toxic.attributes()))?;
        json.serialize_field("name", &**toxic.name())?;
        json.serialize_field("type", toxic.attributes().kind())?;
        json.serialize_field("stream", &**stream)?;
        json.serialize_field("toxicity", &go_float(toxic.toxicity()))?;
        if only.is_everything() {
            json.skip_field("only")?;
        } else {
            json.serialize_field("only", &**only)?;
        }
        json.end()
    }
}

/// A number as Go prints it: as short as possible, whole ones without a fraction, and with an exponent only far out.
fn go_float(number: f32) -> Box<RawValue> {
    let magnitude = number.abs();
    let text = if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        let text = format!("{number:e}");
        if text.contains("e-") { text } else { text.replace('e', "e+") }
    } else {
        number.to_string()
    };
    RawValue::from_string(text).expect("a finite number is JSON")
}

/// The same for a share, which is never far out.
fn shortest(share: f64) -> Box<RawValue> {
    RawValue::from_string(share.to_string()).expect("a finite number is JSON")
}

impl Serialize for AttributesJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut json = serializer.serialize_map(None)?;
        match self.0 {
            Attributes::Latency { latency, jitter, distribution } => {
                json.serialize_entry("latency", latency)?;
                json.serialize_entry("jitter", jitter)?;
                match distribution {
                    Distribution::Uniform => {}
                    Distribution::Table(table) => json.serialize_entry("file", table.name())?,
                    other => json.serialize_entry("distribution", other.name())?,
                }
            }
            Attributes::Bandwidth { rate, burst, shared } => {
                json.serialize_entry("rate", rate)?;
                if *burst > 0 {
                    json.serialize_entry("burst", burst)?;
                }
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
            Attributes::LimitData { bytes } | Attributes::Stall { bytes } => {
                json.serialize_entry("bytes", bytes)?;
            }
            Attributes::Cut { offset, mean_bytes, action } => {
                serialize_place(&mut json, *offset, *mean_bytes)?;
                json.serialize_entry("action", action)?;
            }
            Attributes::Corrupt { offset, mean_bytes, bits } => {
                serialize_place(&mut json, *offset, *mean_bytes)?;
                json.serialize_entry("bits", bits)?;
            }
            Attributes::PacketLoss { loss_rate, correlation } => {
                json.serialize_entry("loss_rate", &shortest(*loss_rate))?;
                json.serialize_entry("correlation", &shortest(*correlation))?;
            }
            Attributes::Duplicate { rate, correlation } => {
                json.serialize_entry("rate", &shortest(*rate))?;
                json.serialize_entry("correlation", &shortest(*correlation))?;
            }
            Attributes::Reorder { rate, correlation, gap, delay } => {
                json.serialize_entry("rate", &shortest(*rate))?;
                json.serialize_entry("correlation", &shortest(*correlation))?;
                json.serialize_entry("gap", gap)?;
                json.serialize_entry("delay", delay)?;
            }
            Attributes::Noop => {}
        }
        json.end()
    }
}

/// Where a toxic strikes: what was given of both.
fn serialize_place<M: SerializeMap>(
    json: &mut M,
    offset: Option<i64>,
    mean_bytes: Option<i64>,
) -> Result<(), M::Error> {
    for (name, value) in [("offset", offset), ("mean_bytes", mean_bytes)] {
        if let Some(value) = value {
            json.serialize_entry(name, &value)?;
        }
    }
    Ok(())
}

impl Serialize for ProxyJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let proxy = self.view;
        let toxics: Vec<_> = proxy.toxics.iter().map(ToxicJson).collect();
        let mut json = serializer.serialize_map(None)?;
        json.serialize_entry("name", &proxy.name)?;
        json.serialize_entry("listen", &proxy.listen)?;
        json.serialize_entry("upstream", &proxy.upstream)?;
        json.serialize_entry("enabled", &proxy.enabled)?;
        if self.strict {
            json.serialize_entry("Logger", &Map::new())?;
        }
        json.serialize_entry("toxics", &toxics)?;
        // Ours; clients of the reference ignore it. Left out where it says nothing.
        if proxy.label != proxy.name {
            json.serialize_entry("label", &proxy.label)?;
        }
        if let Some(seed) = proxy.seed {
            json.serialize_entry("seed", &seed)?;
        }
        if proxy.admission.accept_delay_ms > 0 {
            json.serialize_entry("accept_delay_ms", &proxy.admission.accept_delay_ms)?;
        }
        if let Some(max) = proxy.admission.max_connections {
            json.serialize_entry("max_connections", &max)?;
            json.serialize_entry("over_limit", &proxy.admission.over_limit)?;
        }
        let Introduction { accept_proxy, send_proxy, peek_sni } = proxy.introduction;
        for (name, _) in [("accept_proxy", accept_proxy), ("peek_sni", peek_sni)].iter().filter(|(_, is)| *is)
        {
            json.serialize_entry(name, &true)?;
        }
        if let Some(version) = send_proxy {
            json.serialize_entry("send_proxy", &version)?;
        }
        if let Some(idle) = proxy.admission.idle_timeout_ms {
            json.serialize_entry("idle_timeout_ms", &idle)?;
        }
        json.end()
    }
}
