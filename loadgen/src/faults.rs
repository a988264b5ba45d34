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
    /// `idle`, `running` or `finished`.
    state: String,
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
    let events: Vec<Value> = by_side(events).map(|(event, side)| event_body(event, &proxy(side))).collect();
    json!({"events": events})
}

/// Each event with each side on which it happens.
fn by_side(events: &[Event]) -> impl Iterator<Item = (&Event, Side)> {
    let pairs = events.iter().flat_map(|event| Side::BOTH.map(|side| (event, side)));
    pairs.filter(|(event, side)| event.side.is_none_or(|only| only == *side))
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
    if let Some(period) = event.period {
        body["period_ms"] = json!(period.0.as_millis() as u64);
    }
    if let Some(duty) = event.duty {
        body["duty"] = json!(duty);
    }
    if let Some(toxic) = &event.toxic {
        body["toxic"] = json!(ToxicBody::of(toxic));
    }
    body
}

/// The records of events that have not happened, in the order of [`timeline`].
pub fn planned(events: &[Event]) -> Vec<EventRecord> {
    let record = |(event, side): (&Event, Side)| {
        let what = match (event.outage, &event.toxic) {
            (Some(outage), _) => format!("outage {}", json!(outage).as_str().unwrap_or_default()),
            (None, toxic) => format!("toxic {}", toxic.as_ref().map_or("", |toxic| toxic.name.as_str())),
        };
        let planned = match event.at {
            Some(at) => format!("at_ms {}", at.0.as_millis()),
            None => format!("after_bytes {}", event.after_bytes.unwrap_or_default().0),
        };
        EventRecord { what: format!("{side}: {what}"), planned, started: None, ended: None }
    };
    by_side(events).map(record).collect()
}

impl TimelineState {
    /// Whether events are still to come or under way.
    pub fn is_running(&self) -> bool {
        self.state == "running"
    }
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
    fn a_flap_is_passed_on_with_its_period() {
        let mut file = load("network_resilience").unwrap();
        let mut event = file.timeline[0].clone();
        event.outage = Some(crate::scenario::Outage::Flap);
        (event.period, event.duty, event.share) = (Some("2s".parse().unwrap()), Some(0.25), None);
        let body = event_body(&event, "p");
        assert_eq!(
            (&body["outage"], &body["period_ms"], &body["duty"]),
            (&json!("flap"), &json!(2000), &json!(0.25))
        );
        (event.period, event.duty) = (None, None);
        file.timeline = vec![event];
        file.scales.clear();
        assert!(resolve(file, &Wishes::default()).unwrap_err().to_string().contains("`period`"));
    }

    #[test]
    fn an_event_without_a_side_happens_on_both() {
        let scenario = resolve(load("network_resilience").unwrap(), &Wishes::default()).unwrap();
        let body = timeline(&scenario.file.timeline, |side| format!("p-{}", side.as_str()));
        let events = body["events"].as_array().unwrap();
        assert_eq!(events.len(), 6);
        let planned = planned(&scenario.file.timeline);
        assert_eq!((planned.len(), planned[2].what.as_str()), (6, "source: outage down"));
        assert_eq!((planned[2].planned.as_str(), planned[2].started), ("after_bytes 1000000000", None));
        assert_eq!(
            events[2],
            json!({"proxy": "p-source", "for_ms": 1000, "after_bytes": 1_000_000_000u64, "outage": "down"})
        );
    }
}
