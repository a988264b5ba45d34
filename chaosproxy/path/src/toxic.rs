//! Toxics as they are described: name, direction, toxicity and attributes, in the units of Toxiproxy's API.

use std::sync::Arc;

use mockreg_proto::seed::fires;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::datagrams::{cap, copies, link, reorder, spread, void};
use crate::machine::Machine;
use crate::pacer::Pacer;
use crate::toxics::{
    bandwidth, corrupt, cut, latency, limit_data, packet_loss, reset_peer, slicer, slow_close, stall, timeout,
};
use crate::{Decision, Distribution, Identity, Nanos, Parameters};

/// Direction of a byte stream: `upstream` is from the client to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Client to server.
    Upstream,
    /// Server to client.
    Downstream,
}

/// What a proxy carries, and its toxics act on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Byte streams.
    #[default]
    Tcp,
    /// Datagrams, each of which arrives whole, or not, or more than once.
    Udp,
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
    /// Delays data by `latency` milliseconds, spread by `jitter`.
    Latency {
        /// Milliseconds; the mean, or what is added to a table's delays.
        latency: i64,
        /// Milliseconds; half the width of the uniform distribution, the standard deviation of the others.
        jitter: i64,
        /// How delays are spread.
        distribution: Distribution,
    },
    /// Limits the rate to `rate` KB/s, K = 1000; zero stalls.
    Bandwidth {
        /// Kilobytes (1000 bytes) per second.
        rate: i64,
        /// Bytes that pass at once after the link has been idle.
        burst: i64,
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
    /// Breaks each connection: after a given number of bytes, or an exponentially distributed one. Exactly one of `offset`
    /// and `mean_bytes` is given.
    Cut {
        /// Bytes that pass before, counted since the toxic met the connection.
        offset: Option<i64>,
        /// Mean of the distribution, in bytes.
        mean_bytes: Option<i64>,
        /// How it breaks.
        action: CutAction,
    },
    /// Flips bits: at one byte, or at a seeded rate a byte. Exactly one of `offset` and `mean_bytes` is given.
    Corrupt {
        /// The byte of the stream to be struck, from 0, counted since the toxic met the connection.
        offset: Option<i64>,
        /// Mean distance of struck bytes.
        mean_bytes: Option<i64>,
        /// Bits flipped in a struck byte, 1 to 8.
        bits: i64,
    },
    /// Stops the direction after `bytes` bytes; the other goes on.
    Stall {
        /// Bytes that pass before.
        bytes: i64,
    },
    /// Drops datagrams. Of a byte stream it deletes pieces, as the reference does; only where that is followed.
    PacketLoss {
        /// Share of the datagrams, or pieces, 0 to 1.
        loss_rate: f64,
        /// How much a datagram's fate is that of the one before, 0 to 1; what is added behind a deleted piece.
        correlation: f64,
    },
    /// Sends datagrams twice.
    Duplicate {
        /// Share of the datagrams, 0 to 1.
        rate: f64,
        /// How much a datagram's fate is that of the one before, 0 to 1.
        correlation: f64,
    },
    /// Delays datagrams, but for some that go at once and so overtake those before them.
    Reorder {
        /// Share of those that may overtake, 0 to 1.
        rate: f64,
        /// How much the fate of one that may overtake is that of the one before, 0 to 1.
        correlation: f64,
        /// Every so manyth datagram may overtake; 1: all.
        gap: i64,
        /// Milliseconds.
        delay: i64,
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
    protocol: Protocol,
    /// Whether attributes are taken as the reference takes them.
    lenient: bool,
    /// How often the share of connections has been drawn anew.
    roll: u64,
    pacer: Option<Arc<Pacer>>,
}

impl Attributes {
    /// Attributes of the kind Toxiproxy calls `name`, all at their defaults; `None` for an unknown kind.
    pub fn defaults(name: &str) -> Option<Self> {
        Some(match name {
            "latency" => Self::Latency { latency: 0, jitter: 0, distribution: Distribution::Uniform },
            "bandwidth" => Self::Bandwidth { rate: 0, burst: 0, shared: false },
            "slow_close" => Self::SlowClose { delay: 0 },
            "timeout" => Self::Timeout { timeout: 0 },
            "reset_peer" => Self::ResetPeer { timeout: 0 },
            "slicer" => Self::Slicer { average_size: 0, size_variation: 0, delay: 0 },
            "limit_data" => Self::LimitData { bytes: 0 },
            "cut" => Self::Cut { offset: None, mean_bytes: None, action: CutAction::Reset },
            "corrupt" => Self::Corrupt { offset: None, mean_bytes: None, bits: 1 },
            "stall" => Self::Stall { bytes: 0 },
            "packet_loss" => Self::PacketLoss { loss_rate: 0.0, correlation: 0.0 },
            "duplicate" => Self::Duplicate { rate: 0.0, correlation: 0.0 },
            "reorder" => Self::Reorder { rate: 0.0, correlation: 0.0, gap: 1, delay: 0 },
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
            Self::Corrupt { .. } => "corrupt",
            Self::Stall { .. } => "stall",
            Self::PacketLoss { .. } => "packet_loss",
            Self::Duplicate { .. } => "duplicate",
            Self::Reorder { .. } => "reorder",
            Self::Noop => "noop",
        }
    }

    /// A whole-numbered attribute by its name; `None` where this kind has none of that name. An optional one is there
    /// from then on.
    pub fn number_mut(&mut self, name: &str) -> Option<&mut i64> {
        match (self, name) {
            (Self::Latency { latency: n, .. }, "latency")
            | (Self::Latency { jitter: n, .. }, "jitter")
            | (Self::Bandwidth { rate: n, .. }, "rate")
            | (Self::Bandwidth { burst: n, .. }, "burst")
            | (
                Self::SlowClose { delay: n } | Self::Slicer { delay: n, .. } | Self::Reorder { delay: n, .. },
                "delay",
            )
            | (Self::Timeout { timeout: n } | Self::ResetPeer { timeout: n }, "timeout")
            | (Self::Slicer { average_size: n, .. }, "average_size")
            | (Self::Slicer { size_variation: n, .. }, "size_variation")
            | (Self::LimitData { bytes: n } | Self::Stall { bytes: n }, "bytes")
            | (Self::Corrupt { bits: n, .. }, "bits")
            | (Self::Reorder { gap: n, .. }, "gap") => Some(n),
            (Self::Cut { offset: n, .. } | Self::Corrupt { offset: n, .. }, "offset")
            | (Self::Cut { mean_bytes: n, .. } | Self::Corrupt { mean_bytes: n, .. }, "mean_bytes") => {
                Some(n.get_or_insert(0))
            }
            _ => None,
        }
    }

    /// An attribute that is a share, by its name; `None` where this kind has none of that name.
    pub fn share_mut(&mut self, name: &str) -> Option<&mut f64> {
        match (self, name) {
            (Self::PacketLoss { loss_rate: n, .. }, "loss_rate")
            | (Self::Duplicate { rate: n, .. } | Self::Reorder { rate: n, .. }, "rate")
            | (
                Self::PacketLoss { correlation: n, .. }
                | Self::Duplicate { correlation: n, .. }
                | Self::Reorder { correlation: n, .. },
                "correlation",
            ) => Some(n),
            _ => None,
        }
    }

    /// Why a proxy of that protocol does not have toxics of this kind, if it has none.
    pub const fn refused_by(&self, protocol: Protocol) -> Option<&'static str> {
        Some(match (self, protocol) {
            (Self::PacketLoss { .. }, Protocol::Tcp) => {
                "packet_loss deletes bytes from the stream, which is corruption and not loss; a byte stream has no \
                 packets to lose"
            }
            (Self::Duplicate { .. }, Protocol::Tcp) => {
                "duplicate copies datagrams, and a byte stream has none; it is for proxies of udp:// addresses"
            }
            (Self::Reorder { .. }, Protocol::Tcp) => {
                "reorder lets datagrams overtake each other, and a byte stream has none; it is for proxies of \
                 udp:// addresses"
            }
            (Self::Slicer { .. }, Protocol::Udp) => {
                "slicer cuts a byte stream into pieces, and datagrams stay whole"
            }
            (Self::SlowClose { .. }, Protocol::Udp) => {
                "slow_close delays the end of a connection, and datagrams have none"
            }
            (Self::ResetPeer { .. }, Protocol::Udp) => {
                "reset_peer resets a connection, and datagrams have none; timeout and stall let them vanish"
            }
            _ => return None,
        })
    }

    /// Refuses what would crash, stall for ever without saying so, or mean nothing. Where the reference is followed,
    /// what it takes and survives is taken.
    fn check(&self, lenient: bool) -> Result<(), AttributesError> {
        self.check_alone()?;
        if lenient { Ok(()) } else { self.check_meaning() }
    }

    /// What nobody can mean: the reference crashes on it, or does not have it.
    fn check_alone(&self) -> Result<(), AttributesError> {
        use Distribution as D;
        let fail = |attribute, problem| Err(AttributesError { kind: self.kind(), attribute, problem });
        match self {
            Self::Latency { latency, distribution: D::Pareto | D::Lognormal, .. } if *latency < 1 => {
                fail("latency", "must be at least 1: it is the mean of the distribution")
            }
            Self::Latency { latency, distribution, .. } if *distribution != D::Uniform && *latency < 0 => {
                fail("latency", "must not be negative")
            }
            Self::Latency { jitter, distribution: D::Table(_), .. } if *jitter != 0 => {
                fail("jitter", "must be 0: the delays of the file are spread already")
            }
            Self::Latency { jitter, distribution, .. } if *distribution != D::Uniform && *jitter < 0 => {
                fail("jitter", "must not be negative")
            }
            Self::Bandwidth { rate, .. } if *rate < 0 => fail("rate", "must not be negative"),
            Self::Bandwidth { burst, .. } if *burst < 0 => fail("burst", "must not be negative"),
            Self::Slicer { average_size, .. } if *average_size < 1 => {
                fail("average_size", "must be at least 1")
            }
            Self::Slicer { average_size, size_variation, .. }
                if average_size.saturating_add(*size_variation) < 1 =>
            {
                fail("size_variation", "must be between 0 and average_size")
            }
            Self::Cut { offset: None, mean_bytes: None, .. } => fail(
                "offset",
                "is missing: give offset, the bytes before the break, or mean_bytes, their mean number",
            ),
            Self::Corrupt { offset: None, mean_bytes: None, .. } => fail(
                "offset",
                "is missing: give offset, the byte to be struck, or mean_bytes, the mean distance",
            ),
            Self::Cut { offset: Some(_), mean_bytes: Some(_), .. }
            | Self::Corrupt { offset: Some(_), mean_bytes: Some(_), .. } => {
                fail("mean_bytes", "is there beside offset: give one of them")
            }
            Self::Cut { offset: Some(offset), .. } | Self::Corrupt { offset: Some(offset), .. }
                if *offset < 0 =>
            {
                fail("offset", "must not be negative")
            }
            Self::Cut { mean_bytes: Some(mean), .. } | Self::Corrupt { mean_bytes: Some(mean), .. }
                if *mean < 1 =>
            {
                fail("mean_bytes", "must be at least 1")
            }
            Self::Corrupt { bits, .. } if !(1..=8).contains(bits) => fail("bits", "must be between 1 and 8"),
            Self::Stall { bytes } if *bytes < 0 => fail("bytes", "must not be negative"),
            _ => Ok(()),
        }
    }

    /// What the reference takes and survives, and nobody means.
    fn check_meaning(&self) -> Result<(), AttributesError> {
        let fail = |attribute, problem| Err(AttributesError { kind: self.kind(), attribute, problem });
        match self {
            Self::Latency { latency, .. } if *latency < 0 => fail("latency", "must not be negative"),
            Self::Latency { jitter, .. } if *jitter < 0 => fail("jitter", "must not be negative"),
            Self::Slicer { average_size, size_variation, .. }
                if *size_variation < 0 || size_variation > average_size =>
            {
                fail("size_variation", "must be between 0 and average_size")
            }
            Self::SlowClose { delay } | Self::Slicer { delay, .. } if *delay < 0 => {
                fail("delay", "must not be negative")
            }
            Self::Timeout { timeout } | Self::ResetPeer { timeout } if *timeout < 0 => {
                fail("timeout", "must not be negative")
            }
            Self::LimitData { bytes } if *bytes < 0 => fail("bytes", "must not be negative"),
            Self::Reorder { gap, .. } if *gap < 1 => {
                fail("gap", "must be at least 1: every so manyth datagram may overtake")
            }
            Self::Reorder { delay, .. } if *delay < 1 => {
                fail("delay", "must be at least 1: without a wait there is nothing to overtake")
            }
            _ => self.check_shares(),
        }
    }

    fn check_shares(&self) -> Result<(), AttributesError> {
        let kind = self.kind();
        let shares = match self {
            Self::PacketLoss { loss_rate, correlation } => {
                [("loss_rate", loss_rate), ("correlation", correlation)]
            }
            Self::Duplicate { rate, correlation } | Self::Reorder { rate, correlation, .. } => {
                [("rate", rate), ("correlation", correlation)]
            }
            _ => return Ok(()),
        };
        let wrong = shares.into_iter().find(|(_, share)| !(0.0..=1.0).contains(*share));
        wrong.map_or(Ok(()), |(attribute, _)| {
            Err(AttributesError { kind, attribute, problem: "must be a share between 0 and 1" })
        })
    }

    /// What the other protocol has, and this one does not.
    fn check_protocol(&self, protocol: Protocol) -> Result<(), AttributesError> {
        let fail = |attribute, problem| Err(AttributesError { kind: self.kind(), attribute, problem });
        match (self, protocol) {
            (Self::Cut { action: CutAction::Reset, .. }, Protocol::Udp) => {
                fail("action", "must be stall or close: datagrams have no connection to be reset")
            }
            (_, Protocol::Tcp) if self.refused_by(protocol).is_some() => {
                fail("type", "is for datagrams, not for byte streams")
            }
            (_, Protocol::Udp) if self.refused_by(protocol).is_some() => {
                fail("type", "is for byte streams, not for datagrams")
            }
            _ => Ok(()),
        }
    }
}

impl Toxic {
    /// A toxic. `toxicity` is the share of connections it affects; above one is all, below zero none.
    ///
    /// # Errors
    /// Attributes that make no sense (a negative rate, pieces of no size, a cut without a place).
    pub fn try_new<N: Into<Arc<str>>>(
        name: N,
        stream: Stream,
        toxicity: f32,
        attributes: Attributes,
    ) -> Result<Self, AttributesError> {
        Self::build(name.into(), stream, toxicity, attributes, (Protocol::Tcp, false))
    }

    /// A toxic for the datagrams of flows; `toxicity` is the share of flows it affects.
    ///
    /// # Errors
    /// Attributes that make no sense, and toxics that need a byte stream (slicer, slow_close, reset_peer, a cut that
    /// resets).
    pub fn for_datagrams<N: Into<Arc<str>>>(
        name: N,
        stream: Stream,
        toxicity: f32,
        attributes: Attributes,
    ) -> Result<Self, AttributesError> {
        Self::build(name.into(), stream, toxicity, attributes, (Protocol::Udp, false))
    }

    /// The same as the reference takes it: negative numbers are none, `packet_loss` is there.
    ///
    /// # Errors
    /// Attributes on which the reference crashes or hangs, and impossible ones that it does not have.
    pub fn lenient<N: Into<Arc<str>>>(
        name: N,
        stream: Stream,
        toxicity: f32,
        attributes: Attributes,
    ) -> Result<Self, AttributesError> {
        Self::build(name.into(), stream, toxicity, attributes, (Protocol::Tcp, true))
    }

    fn build(
        name: Arc<str>,
        stream: Stream,
        toxicity: f32,
        attributes: Attributes,
        (protocol, lenient): (Protocol, bool),
    ) -> Result<Self, AttributesError> {
        if !lenient {
            attributes.check_protocol(protocol)?;
        }
        attributes.check(lenient)?;
        let pacer = shared_link(&attributes).map(|(rate, burst)| Arc::new(Pacer::new(rate, burst)));
        Ok(Self { name, stream, toxicity, attributes, protocol, lenient, roll: 0, pacer })
    }

    /// The same toxic with another toxicity and attributes. Connections keep the link they share.
    ///
    /// # Errors
    /// As when it was made.
    pub fn updated(
        &self,
        toxicity: f32,
        attributes: Attributes,
        now: Nanos,
    ) -> Result<Self, AttributesError> {
        let name = Arc::clone(&self.name);
        let mut new = Self::build(name, self.stream, toxicity, attributes, (self.protocol, self.lenient))?;
        new.roll = self.roll;
        if let (Some(old), Some((rate, burst))) = (&self.pacer, shared_link(&new.attributes)) {
            match self.protocol {
                Protocol::Tcp => old.set_rate(rate, burst, now),
                Protocol::Udp => old.restart(rate, burst, now),
            }
            new.pacer = Some(Arc::clone(old));
        }
        Ok(new)
    }

    /// The same toxic with a new draw of whether it affects each connection.
    #[must_use]
    pub fn rolled_again(&self) -> Self {
        Self { roll: self.roll + 1, ..self.clone() }
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

    /// Whether it affects a connection: decided once, as long as its toxicity stays and it is not rolled again.
    pub fn hits(&self, identity: &Identity) -> bool {
        fires(self.share_draw(identity), f64::from(self.toxicity))
    }

    fn share_draw(&self, identity: &Identity) -> u64 {
        match self.roll {
            0 => identity.draw(&self.name, "toxicity"),
            roll => identity.draw(&self.name, &format!("toxicity {roll}")),
        }
    }

    /// What is decided about a connection, where something is: by a cut, by corruption, and by any toxic that does
    /// not affect every connection.
    pub fn decide(&self, identity: &Identity) -> Option<Decision> {
        let (draw, action, parameters) = match &self.attributes {
            Attributes::Corrupt { offset: Some(offset), .. } => {
                let draw = corrupt::seed(identity, &self.name, 0).draw();
                (draw, "corrupt", Parameters::Offset(offset.unsigned_abs()))
            }
            Attributes::Corrupt { mean_bytes: Some(_), .. } => return self.decide_next(identity, 0),
            Attributes::Cut { offset, mean_bytes, action } => {
                let draw = cut::draw(identity, &self.name);
                let after = cut::after(draw, *offset, *mean_bytes);
                let parameters =
                    if offset.is_some() { Parameters::Offset(after) } else { Parameters::After(after) };
                (draw, action.name(), parameters)
            }
            _ if self.toxicity >= 1.0 => return None,
            other => (self.share_draw(identity), other.kind(), Parameters::Toxicity(self.toxicity)),
        };
        Some(Decision { rule: Arc::clone(&self.name), draw, fires: self.hits(identity), action, parameters })
    }

    /// What is decided once it has struck a connection so many times, where it strikes more than once.
    pub fn decide_next(&self, identity: &Identity, strikes: u64) -> Option<Decision> {
        let Attributes::Corrupt { mean_bytes: Some(mean), .. } = self.attributes else { return None };
        let seed = corrupt::seed(identity, &self.name, strikes);
        Some(Decision {
            rule: Arc::clone(&self.name),
            draw: seed.draw(),
            fires: self.hits(identity),
            action: "corrupt",
            parameters: Parameters::After(corrupt::gap(&seed, mean)),
        })
    }

    /// The machine for one connection or flow; `None` where bytes just pass.
    pub(crate) fn machine(&self, identity: &Identity, now: Nanos) -> Option<Box<dyn Machine>> {
        match self.protocol {
            Protocol::Tcp => self.machine_of_bytes(identity, now),
            Protocol::Udp => self.machine_of_datagrams(identity, now),
        }
    }

    fn machine_of_datagrams(&self, identity: &Identity, now: Nanos) -> Option<Box<dyn Machine>> {
        let name = Arc::clone(&self.name);
        Some(match &self.attributes {
            Attributes::PacketLoss { .. } => Box::new(copies::Copies::lost(name, &self.attributes, identity)),
            Attributes::Duplicate { .. } => {
                Box::new(copies::Copies::doubled(name, &self.attributes, identity))
            }
            Attributes::Reorder { .. } => Box::new(reorder::Reorder::new(name, &self.attributes, identity)),
            Attributes::Latency { .. } => Box::new(spread::Spread::new(name, &self.attributes, identity)),
            Attributes::Bandwidth { rate, burst, .. } => {
                let own = || Arc::new(Pacer::new(kilobytes(*rate), burst.unsigned_abs()));
                Box::new(link::Link::new(name, self.pacer.clone().unwrap_or_else(own), self.pacer.is_none()))
            }
            Attributes::Corrupt { .. } => Box::new(corrupt::Corrupt::new(name, &self.attributes, identity)),
            Attributes::Timeout { timeout } => Box::new(void::Void::new(name, *timeout, now)),
            Attributes::LimitData { .. } | Attributes::Cut { .. } | Attributes::Stall { .. } => {
                Box::new(cap::Cap::new(name, &self.attributes, identity))
            }
            // A byte stream's alone, and refused when the toxic was made.
            Attributes::SlowClose { .. } | Attributes::ResetPeer { .. } | Attributes::Slicer { .. } => {
                return None;
            }
            Attributes::Noop => return None,
        })
    }

    fn machine_of_bytes(&self, identity: &Identity, now: Nanos) -> Option<Box<dyn Machine>> {
        let name = Arc::clone(&self.name);
        Some(match &self.attributes {
            // Datagrams' alone, and refused when the toxic was made.
            Attributes::Noop | Attributes::Duplicate { .. } | Attributes::Reorder { .. } => return None,
            Attributes::Latency { .. } => {
                Box::new(latency::Latency::new(&self.attributes, identity.seed(&self.name, "jitter")))
            }
            Attributes::Bandwidth { rate, burst, .. } => match &self.pacer {
                Some(pacer) => Box::new(bandwidth::Shared::new(Arc::clone(pacer))),
                None => Box::new(bandwidth::Bandwidth::new(kilobytes(*rate), burst.unsigned_abs())),
            },
            Attributes::Corrupt { .. } => Box::new(corrupt::Corrupt::new(name, &self.attributes, identity)),
            Attributes::Stall { bytes } => Box::new(stall::Stall::new(name, *bytes)),
            Attributes::PacketLoss { .. } => Box::new(packet_loss::PacketLoss::new(
                name,
                &self.attributes,
                identity.seed(&self.name, "loss"),
            )),
            Attributes::SlowClose { delay } => Box::new(slow_close::SlowClose::new(*delay)),
            Attributes::Timeout { timeout } => Box::new(timeout::Timeout::new(name, *timeout, now)),
            Attributes::ResetPeer { timeout } => Box::new(reset_peer::ResetPeer::new(name, *timeout)),
            Attributes::Slicer { .. } => {
                Box::new(slicer::Slicer::new(&self.attributes, identity.seed(&self.name, "pieces")))
            }
            Attributes::LimitData { bytes } => Box::new(limit_data::LimitData::new(name, *bytes)),
            Attributes::Cut { .. } => {
                Box::new(cut::Cut::new(name, &self.attributes, cut::draw(identity, &self.name)))
            }
        })
    }
}

/// Bytes per second of a rate in KB/s.
pub(crate) fn kilobytes(rate: i64) -> u64 {
    u64::try_from(rate).unwrap_or(0).saturating_mul(1000)
}

/// Bytes per second and burst of a link that all connections share.
fn shared_link(attributes: &Attributes) -> Option<(u64, u64)> {
    match attributes {
        Attributes::Bandwidth { rate, burst, shared: true } => Some((kilobytes(*rate), burst.unsigned_abs())),
        _ => None,
    }
}
