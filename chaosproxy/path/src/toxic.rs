//! Toxics as they are described: name, direction, toxicity and attributes, in the units of Toxiproxy's API.

use std::sync::Arc;

use mockreg_proto::seed::fires;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::machine::Machine;
use crate::pacer::Pacer;
use crate::toxics::{bandwidth, cut, latency, limit_data, reset_peer, slicer, slow_close, timeout};
use crate::{Decision, Identity, Nanos, Parameters};

/// Direction of a byte stream: `upstream` is from the client to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Client to server.
    Upstream,
    /// Server to client.
    Downstream,
}

/// How a cut breaks the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CutAction {
    /// Both sockets are reset (RST).
    #[default]
    Reset,
    /// The connection stays open and nothing moves any more, until a peer closes it.
    Stall,
    /// Both sockets are closed (FIN).
    Close,
}

impl CutAction {
    /// Its name in the API and the ledger.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Stall => "stall",
            Self::Close => "close",
        }
    }
}

/// Kind and attributes of a toxic. Numbers are kept as they were given, because the API gives them back.
#[derive(Clone, Debug, PartialEq)]
pub enum Attributes {
    /// Delays data by `latency` ± `jitter` milliseconds.
    Latency {
        /// Milliseconds.
        latency: i64,
        /// Milliseconds; uniform in `latency - jitter ..= latency + jitter - 1`.
        jitter: i64,
    },
    /// Limits the rate to `rate` KB/s, K = 1000; zero stalls.
    Bandwidth {
        /// Kilobytes (1000 bytes) per second.
        rate: i64,
        /// All connections of the proxy share the rate.
        shared: bool,
    },
    /// Delays the close, not the data.
    SlowClose {
        /// Milliseconds.
        delay: i64,
    },
    /// Discards all data; closes after `timeout` milliseconds without any, or with the source if zero.
    Timeout {
        /// Milliseconds.
        timeout: i64,
    },
    /// Resets the connection `timeout` milliseconds after the first data.
    ResetPeer {
        /// Milliseconds.
        timeout: i64,
    },
    /// Cuts data into small pieces with a delay between them.
    Slicer {
        /// Bytes of a piece, on average.
        average_size: i64,
        /// Bytes by which pieces differ from the average.
        size_variation: i64,
        /// Microseconds after each piece.
        delay: i64,
    },
    /// Closes after `bytes` bytes.
    LimitData {
        /// Bytes.
        bytes: i64,
    },
    /// Breaks each connection after an exponentially distributed number of bytes.
    Cut {
        /// Mean of the distribution, in bytes.
        mean_bytes: i64,
        /// How it breaks.
        action: CutAction,
    },
    /// Does nothing.
    Noop,
}

/// Attributes that make no sense.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("attribute {attribute} of a {kind} toxic {problem}")]
pub struct AttributesError {
    /// Kind of the toxic.
    pub kind: &'static str,
    /// Name of the attribute.
    pub attribute: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// A toxic of one direction of a proxy. Clones share what its connections share.
#[derive(Clone, Debug)]
pub struct Toxic {
    name: Arc<str>,
    stream: Stream,
    toxicity: f32,
    attributes: Attributes,
    pacer: Option<Arc<Pacer>>,
}

impl Attributes {
    /// Attributes of the kind Toxiproxy calls `name`, all at their defaults; `None` for an unknown kind.
    pub fn defaults(name: &str) -> Option<Self> {
        Some(match name {
            "latency" => Self::Latency { latency: 0, jitter: 0 },
            "bandwidth" => Self::Bandwidth { rate: 0, shared: false },
            "slow_close" => Self::SlowClose { delay: 0 },
            "timeout" => Self::Timeout { timeout: 0 },
            "reset_peer" => Self::ResetPeer { timeout: 0 },
            "slicer" => Self::Slicer { average_size: 0, size_variation: 0, delay: 0 },
            "limit_data" => Self::LimitData { bytes: 0 },
            "cut" => Self::Cut { mean_bytes: 0, action: CutAction::Reset },
            "noop" => Self::Noop,
            _ => return None,
        })
    }

    /// The kind, by Toxiproxy's names.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Latency { .. } => "latency",
            Self::Bandwidth { .. } => "bandwidth",
            Self::SlowClose { .. } => "slow_close",
            Self::Timeout { .. } => "timeout",
            Self::ResetPeer { .. } => "reset_peer",
            Self::Slicer { .. } => "slicer",
            Self::LimitData { .. } => "limit_data",
            Self::Cut { .. } => "cut",
            Self::Noop => "noop",
        }
    }

    /// Refuses what would crash, stall for ever without saying so, or mean nothing.
    fn check(&self) -> Result<(), AttributesError> {
        let fail = |attribute, problem| Err(AttributesError { kind: self.kind(), attribute, problem });
        match self {
            Self::Latency { latency, .. } if *latency < 0 => fail("latency", "must not be negative"),
            Self::Latency { jitter, .. } if *jitter < 0 => fail("jitter", "must not be negative"),
            Self::Bandwidth { rate, .. } if *rate < 0 => fail("rate", "must not be negative"),
            Self::Slicer { average_size, .. } if *average_size < 1 => {
                fail("average_size", "must be at least 1")
            }
            Self::Slicer { average_size, size_variation, .. }
                if *size_variation < 0 || size_variation > average_size =>
            {
                fail("size_variation", "must be between 0 and average_size")
            }
            Self::Slicer { delay, .. } if *delay < 0 => fail("delay", "must not be negative"),
            Self::SlowClose { delay } if *delay < 0 => fail("delay", "must not be negative"),
            Self::Timeout { timeout } | Self::ResetPeer { timeout } if *timeout < 0 => {
                fail("timeout", "must not be negative")
            }
            Self::LimitData { bytes } if *bytes < 0 => fail("bytes", "must not be negative"),
            Self::Cut { mean_bytes, .. } if *mean_bytes < 1 => fail("mean_bytes", "must be at least 1"),
            _ => Ok(()),
        }
    }
}

impl Toxic {
    /// A toxic. `toxicity` is the share of connections it affects; above one is all, below zero none.
    ///
    /// # Errors
    /// Attributes that make no sense (a negative rate, pieces of no size, a cut without a mean).
    pub fn try_new(
        name: impl Into<Arc<str>>,
        stream: Stream,
        toxicity: f32,
        attributes: Attributes,
    ) -> Result<Self, AttributesError> {
        attributes.check()?;
        let pacer = shared_rate(&attributes).map(|rate| Arc::new(Pacer::new(rate)));
        Ok(Self { name: name.into(), stream, toxicity, attributes, pacer })
    }

    /// The same toxic with another toxicity and attributes. Connections keep the link they share.
    ///
    /// # Errors
    /// As [`Toxic::try_new`].
    pub fn updated(
        &self,
        toxicity: f32,
        attributes: Attributes,
        now: Nanos,
    ) -> Result<Self, AttributesError> {
        let mut new = Self::try_new(Arc::clone(&self.name), self.stream, toxicity, attributes)?;
        if let (Some(old), Some(rate)) = (&self.pacer, shared_rate(&new.attributes)) {
            old.set_rate(rate, now);
            new.pacer = Some(Arc::clone(old));
        }
        Ok(new)
    }

    /// Its name, unique within the proxy.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The direction it acts on.
    pub const fn stream(&self) -> Stream {
        self.stream
    }

    /// The share of connections it affects.
    pub const fn toxicity(&self) -> f32 {
        self.toxicity
    }

    /// Kind and attributes.
    pub const fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    /// Whether it affects a connection: decided once, as long as its toxicity stays.
    pub fn hits(&self, identity: &Identity) -> bool {
        fires(identity.draw(&self.name, "toxicity"), f64::from(self.toxicity))
    }

    /// What is decided about a connection, where something is: by a cut, and by any toxic that does not affect
    /// every connection.
    pub fn decide(&self, identity: &Identity) -> Option<Decision> {
        let (draw, action, parameters) = match &self.attributes {
            Attributes::Cut { mean_bytes, action } => {
                let draw = cut::draw(identity, &self.name);
                (draw, action.name(), Parameters::After(cut::after(draw, *mean_bytes)))
            }
            _ if self.toxicity >= 1.0 => return None,
            other => {
                (identity.draw(&self.name, "toxicity"), other.kind(), Parameters::Toxicity(self.toxicity))
            }
        };
        Some(Decision { rule: Arc::clone(&self.name), draw, fires: self.hits(identity), action, parameters })
    }

    /// The machine for one connection; `None` where bytes just pass.
    pub(crate) fn machine(&self, identity: &Identity, now: Nanos) -> Option<Box<dyn Machine>> {
        let name = Arc::clone(&self.name);
        Some(match &self.attributes {
            Attributes::Noop => return None,
            Attributes::Latency { latency, jitter } => {
                Box::new(latency::Latency::new(*latency, *jitter, identity.seed(&self.name, "jitter")))
            }
            Attributes::Bandwidth { rate, .. } => match &self.pacer {
                Some(pacer) => Box::new(bandwidth::Shared::new(Arc::clone(pacer))),
                None => Box::new(bandwidth::Bandwidth::new(kilobytes(*rate))),
            },
            Attributes::SlowClose { delay } => Box::new(slow_close::SlowClose::new(*delay)),
            Attributes::Timeout { timeout } => Box::new(timeout::Timeout::new(name, *timeout, now)),
            Attributes::ResetPeer { timeout } => Box::new(reset_peer::ResetPeer::new(name, *timeout)),
            Attributes::Slicer { .. } => {
                Box::new(slicer::Slicer::new(&self.attributes, identity.seed(&self.name, "pieces")))
            }
            Attributes::LimitData { bytes } => Box::new(limit_data::LimitData::new(name, *bytes)),
            Attributes::Cut { mean_bytes, action } => {
                Box::new(cut::Cut::new(name, *mean_bytes, *action, cut::draw(identity, &self.name)))
            }
        })
    }
}

/// Bytes per second of a rate in KB/s.
pub(crate) fn kilobytes(rate: i64) -> u64 {
    u64::try_from(rate).unwrap_or(0).saturating_mul(1000)
}

fn shared_rate(attributes: &Attributes) -> Option<u64> {
    match attributes {
        Attributes::Bandwidth { rate, shared: true } => Some(kilobytes(*rate)),
        _ => None,
    }
}
