//! Toxics as a caller of the library describes them.

use std::time::Duration;

use chaosproxy_path::{Attributes, AttributesError, CutAction, Distribution, Protocol, Stream};

use crate::selection::Selection;

/// A toxic to be added to a proxy: kind and attributes, and a name, direction and toxicity that have defaults.
///
/// ```
/// use std::time::Duration;
/// use chaosproxy::{CutAction, Toxic};
///
/// let slow = Toxic::latency(Duration::from_millis(50), Duration::ZERO).upstream().named("half_rtt");
/// let broken = Toxic::cut(4_000_000_000, CutAction::Stall).toxicity(0.5);
/// let short = Toxic::cut_at(100_000, CutAction::Reset);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Toxic {
    pub(crate) name: Option<String>,
    pub(crate) stream: Stream,
    /// The direction as the API was given it; clients of the reference find it so again.
    pub(crate) spelt: Option<String>,
    pub(crate) toxicity: f32,
    pub(crate) attributes: Attributes,
    pub(crate) only: Selection,
}

impl Toxic {
    /// A toxic of any kind: downstream, on all connections, named `<type>_<stream>`.
    pub const fn new(attributes: Attributes) -> Self {
        let only = Selection::EVERYTHING;
        Self { name: None, stream: Stream::Downstream, spelt: None, toxicity: 1.0, attributes, only }
    }

    /// Delays data by `latency`, give or take `jitter`; whole milliseconds.
    pub fn latency(latency: Duration, jitter: Duration) -> Self {
        Self::spread_latency(latency, jitter, Distribution::Uniform)
    }

    /// Delays data by `latency` on average, with `jitter` as its standard deviation, in a distribution that is not
    /// uniform; whole milliseconds.
    pub fn spread_latency(latency: Duration, jitter: Duration, distribution: Distribution) -> Self {
        let (latency, jitter) = (milliseconds(latency), milliseconds(jitter));
        Self::new(Attributes::Latency { latency, jitter, distribution })
    }

    /// Limits each connection to so many bytes per second, in steps of 1000.
    pub fn bandwidth(bytes_per_second: u64) -> Self {
        Self::new(Attributes::Bandwidth { rate: whole(bytes_per_second / 1000), burst: 0, shared: false })
    }

    /// Limits all connections of the proxy together to so many bytes per second, in steps of 1000.
    pub fn shared_bandwidth(bytes_per_second: u64) -> Self {
        Self::new(Attributes::Bandwidth { rate: whole(bytes_per_second / 1000), burst: 0, shared: true })
    }

    /// Breaks each connection after an exponentially distributed number of bytes.
    pub fn cut(mean_bytes: u64, action: CutAction) -> Self {
        Self::new(Attributes::Cut { offset: None, mean_bytes: Some(whole(mean_bytes)), action })
    }

    /// Breaks each connection after so many bytes.
    pub fn cut_at(offset: u64, action: CutAction) -> Self {
        Self::new(Attributes::Cut { offset: Some(whole(offset)), mean_bytes: None, action })
    }

    /// Flips a bit at a seeded rate: one byte of so many, on average.
    pub fn corrupt(mean_bytes: u64) -> Self {
        Self::new(Attributes::Corrupt { offset: None, mean_bytes: Some(whole(mean_bytes)), bits: 1 })
    }

    /// Flips a bit of the byte at this offset of the stream, from 0.
    pub fn corrupt_at(offset: u64) -> Self {
        Self::new(Attributes::Corrupt { offset: Some(whole(offset)), mean_bytes: None, bits: 1 })
    }

    /// Drops this share of the datagrams; of proxies of datagrams only.
    pub const fn packet_loss(share: f64) -> Self {
        Self::new(Attributes::PacketLoss { loss_rate: share, correlation: 0.0 })
    }

    /// Sends this share of the datagrams twice; of proxies of datagrams only.
    pub const fn duplicate(share: f64) -> Self {
        Self::new(Attributes::Duplicate { rate: share, correlation: 0.0 })
    }

    /// Delays datagrams, but for this share that overtakes those waiting; whole milliseconds. Of proxies of datagrams
    /// only.
    pub fn reorder(share: f64, delay: Duration) -> Self {
        Self::new(Attributes::Reorder { rate: share, correlation: 0.0, gap: 1, delay: milliseconds(delay) })
    }

    /// Stops its direction after so many bytes; the other goes on.
    pub fn stall(bytes: u64) -> Self {
        Self::new(Attributes::Stall { bytes: whole(bytes) })
    }

    /// Discards all data, and closes after a while without any; zero: with the source.
    pub fn timeout(timeout: Duration) -> Self {
        Self::new(Attributes::Timeout { timeout: milliseconds(timeout) })
    }

    /// Resets the connection a while after its first data.
    pub fn reset_peer(timeout: Duration) -> Self {
        Self::new(Attributes::ResetPeer { timeout: milliseconds(timeout) })
    }

    /// On bytes from the client to the server.
    #[must_use]
    pub fn upstream(mut self) -> Self {
        (self.stream, self.spelt) = (Stream::Upstream, None);
        self
    }

    /// On bytes from the server to the client, the default.
    #[must_use]
    pub fn downstream(mut self) -> Self {
        (self.stream, self.spelt) = (Stream::Downstream, None);
        self
    }

    /// Under a name of its own, unique within the proxy.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// On a share of the connections only.
    #[must_use]
    pub const fn toxicity(mut self, share: f32) -> Self {
        self.toxicity = share;
        self
    }

    /// On selected connections only; toxicity is the share of these.
    #[must_use]
    pub fn only(mut self, selection: Selection) -> Self {
        self.only = selection;
        self
    }

    pub(crate) fn name(&self) -> String {
        let default = || format!("{}_{}", self.attributes.kind(), self.stream_as_spelt());
        self.name.clone().unwrap_or_else(default)
    }

    pub(crate) fn stream_as_spelt(&self) -> &str {
        self.spelt.as_deref().unwrap_or(stream_name(self.stream))
    }

    /// The toxic itself; with `lenient`, of attributes as the reference takes them.
    pub(crate) fn realise(
        &self,
        protocol: Protocol,
        lenient: bool,
    ) -> Result<chaosproxy_path::Toxic, AttributesError> {
        use chaosproxy_path::Toxic as Made;
        let make = match protocol {
            Protocol::Udp => Made::for_datagrams::<String>,
            Protocol::Tcp if lenient => Made::lenient::<String>,
            Protocol::Tcp => Made::try_new::<String>,
        };
        make(self.name(), self.stream, self.toxicity, self.attributes.clone())
    }
}

/// The direction as the API spells it.
pub(crate) const fn stream_name(stream: Stream) -> &'static str {
    match stream {
        Stream::Upstream => "upstream",
        Stream::Downstream => "downstream",
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
