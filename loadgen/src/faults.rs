//! What a scenario wants to go wrong, in the words of the proxy's API. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::result::EventRecord;
use crate::scenario::{Event, Network, Side, Toxic};

/// A toxic as `POST /proxies/{name}/toxics` takes it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ToxicBody {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    stream: String,
    toxicity: f64,
    attributes: BTreeMap<String, Value>,
}

/// `GET /timeline` of the proxy.
#[derive(Clone, Debug, Deserialize)]
pub struct TimelineState {
    /// Scheduled events in the order in which they were put.
    pub events: Vec<TimelineEvent>,
}

/// One scheduled event as the proxy reports it.
#[derive(Clone, Debug, Deserialize)]
pub struct TimelineEvent {
    /// Name of the proxy.
    pub proxy: String,
    /// `outage:down`, `toxic:NAME`.
    pub what: String,
    /// Its trigger, `{"at_ms":…}` or `{"after_bytes":…}`.
    pub planned: BTreeMap<String, u64>,
    /// Milliseconds since the timeline's start.
    pub started_ms: Option<u64>,
    /// Milliseconds since the timeline's start.
    pub ended_ms: Option<u64>,
}

/// The toxics of one side, in the order in which bytes meet them: the shared rate first, so that what is delayed
/// has been paced already and the bytes in flight are rate times delay; then the scenario's own.
pub fn toxics(network: &Network, side: Side) -> Vec<ToxicBody> {
    let both_ways = |name: &str, kind: &str, attributes: Value| {
        ["upstream", "downstream"].map(|stream| ToxicBody {
            name: format!("{name}_{stream}"),
            kind: kind.to_owned(),
            stream: stream.to_owned(),
            toxicity: 1.0,
            attributes: serde_json::from_value(attributes.clone()).expect("the callers give objects"),
        })
    };
    let mut toxics = Vec::new();
    if let Some(rate) = network.bandwidth {
        // The API's unit is 1,000 bytes per second.
        toxics.extend(both_ways("rate", "bandwidth", json!({"rate": rate.0 / 1000, "shared": true})));
    }
    if let Some(rtt) = network.rtt {
        toxics.extend(both_ways(
            "delay",
            "latency",
            json!({"latency": rtt.0.as_millis() as u64 / 2, "jitter": 0}),
        ));
    }
    toxics.extend(
        network.toxics.iter().filter(|toxic| toxic.side.is_none_or(|s| s == side)).map(ToxicBody::of),
    );
    toxics
}

/// The timeline of all sides as `PUT /timeline` takes it. `proxy` names the proxy of a side.
pub fn timeline(events: &[Event], proxy: impl Fn(Side) -> String) -> Value {
    let events: Vec<Value> = events
        .iter()
        .flat_map(|event| {
            let sides = Side::BOTH.into_iter().filter(|side| event.side.is_none_or(|s| s == *side));
            sides.map(|side| event_body(event, &proxy(side))).collect::<Vec<_>>()
        })
        .collect();
    json!({"events": events})
}

fn event_body(event: &Event, proxy: &str) -> Value {
    let mut body = json!({"proxy": proxy, "for_ms": event.lasts.0.as_millis() as u64});
    if let Some(at) = event.at {
        body["at_ms"] = json!(at.0.as_millis() as u64);
    }
    if let Some(bytes) = event.after_bytes {
        body["after_bytes"] = json!(bytes.0);
    }
    if let Some(outage) = event.outage {
        body["outage"] = json!(outage);
    }
    if let Some(share) = event.share {
        body["share"] = json!(share);
    }
    if let Some(toxic) = &event.toxic {
        body["toxic"] = json!(ToxicBody::of(toxic));
    }
    body
}

impl ToxicBody {
    fn of(toxic: &Toxic) -> Self {
        let mut attributes = toxic.attributes.clone();
        if let Some(size) = attributes.get_mut("mean_bytes") {
            let read = serde_json::from_value::<mockreg_proto::units::ByteCount>(size.clone());
            // What is no size stays as it is: the proxy's answer names the attribute.
            *size = read.map_or_else(|_| size.clone(), |size| size.0.into());
        }
        Self {
            name: toxic.name.clone(),
            kind: toxic.kind.clone(),
            stream: toxic.stream.clone(),
            toxicity: toxic.toxicity,
            attributes,
        }
    }
}

impl TimelineEvent {
    /// The event as the result records it.
    pub fn record(&self, side: Side) -> EventRecord {
        let planned = self.planned.iter().map(|(trigger, value)| format!("{trigger} {value}"));
        EventRecord {
            what: format!("{}: {}", side.as_str(), self.what.replace(':', " ")),
            planned: planned.collect::<Vec<_>>().join(", "),
            started: self.started_ms,
            ended: self.ended_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Wishes, load, resolve};

    #[test]
    fn a_side_gets_rate_delay_and_its_own_toxics() {
        let scenario = resolve(load("network_resilience").unwrap(), &Wishes::default()).unwrap();
        let names =
            |side| toxics(&scenario.file.network, side).into_iter().map(|t| t.name).collect::<Vec<_>>();
        let common = ["rate_upstream", "rate_downstream", "delay_upstream", "delay_downstream"];
        assert_eq!(names(Side::Source), [&common[..], &["pull_reset", "pull_stall"]].concat());
        assert_eq!(names(Side::Dest), [&common[..], &["push_reset", "push_stall"]].concat());
        let bodies = serde_json::to_value(toxics(&scenario.file.network, Side::Dest)).unwrap();
        assert_eq!(bodies[0]["attributes"], json!({"rate": 120_000, "shared": true}));
        assert_eq!(bodies[2]["attributes"], json!({"latency": 50, "jitter": 0}));
        assert_eq!(bodies[4]["attributes"], json!({"mean_bytes": 160_000_000, "action": "reset"}));
        assert_eq!(bodies[4]["stream"], "upstream");
    }

    #[test]
    fn an_event_without_a_side_happens_on_both() {
        let scenario = resolve(load("network_resilience").unwrap(), &Wishes::default()).unwrap();
        let body = timeline(&scenario.file.timeline, |side| format!("p-{}", side.as_str()));
        let events = body["events"].as_array().unwrap();
        assert_eq!(events.len(), 6);
        assert_eq!(
            events[2],
            json!({"proxy": "p-source", "for_ms": 1000, "after_bytes": 1_000_000_000u64, "outage": "down"})
        );
    }
}
