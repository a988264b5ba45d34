//! The chain in simulated time: a source that always has something to send, a reader that takes what leaves.

mod datagrams;
mod delays;
mod faults;
mod properties;
mod toxics;

use bytes::Bytes;
use mockreg_proto::seed::Seed;

use crate::item::MILLISECOND;
use crate::{Attributes, Chain, End, Identity, Nanos, Out, Stream, Toxic};

pub(crate) const MIB: u64 = 1 << 20;

pub(crate) fn toxic(name: &str, attributes: Attributes) -> Toxic {
    Toxic::try_new(name, Stream::Downstream, 1.0, attributes).unwrap()
}

pub(crate) fn chain(toxics: &[Toxic]) -> Chain {
    seeded(1, 1, toxics)
}

pub(crate) fn seeded(seed: u64, ordinal: u64, toxics: &[Toxic]) -> Chain {
    let mut chain = Chain::new(identity(seed, ordinal), 128 * MIB);
    for toxic in toxics {
        chain.attach(toxic, 0);
    }
    chain
}

pub(crate) fn identity(seed: u64, ordinal: u64) -> Identity {
    Identity::new(Seed::root(seed), "source", ordinal)
}

/// What came out, when, and how it ended.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) bytes: Vec<u8>,
    /// (time, size) of each delivery.
    pub(crate) departures: Vec<(Nanos, usize)>,
    pub(crate) end: Option<(Nanos, Out)>,
}

/// The stream everything is tested with: byte n is a function of n that repeats only after 251 · 256 bytes.
pub(crate) fn pattern(offset: u64, len: u64) -> Bytes {
    (offset..offset + len).map(|n| ((n % 251) ^ (n / 251 % 256)) as u8).collect()
}

/// Takes everything that leaves at `now`; says when to look again.
pub(crate) fn drain(chain: &mut Chain, now: Nanos, outcome: &mut Outcome) -> Option<Nanos> {
    loop {
        let poll = chain.poll(now);
        match poll.out {
            Out::Nothing => return poll.wake,
            Out::Deliver(bytes) => {
                outcome.departures.push((now, bytes.len()));
                outcome.bytes.extend_from_slice(&bytes);
            }
            end => outcome.end = Some((now, end)),
        }
    }
}

/// Sends `total` bytes as fast as the chain takes them, at most `read` at once, then FIN; follows every wake-up
/// until nothing is due before `until`.
pub(crate) fn run(chain: &mut Chain, total: u64, read: u64, until: Nanos) -> Outcome {
    let (mut outcome, mut sent, mut now) = (Outcome::default(), 0, 0);
    loop {
        let mut wake = drain(chain, now, &mut outcome);
        let len = chain.credit(now).min(read).min(total - sent);
        if len > 0 {
            chain.offer(pattern(sent, len), now);
            sent += len;
            continue;
        }
        if sent == total {
            chain.offer_end(End::Fin, now);
            wake = drain(chain, now, &mut outcome);
        }
        match wake {
            Some(time) if time <= until => {
                assert!(time > now, "a wake-up in the past would spin");
                now = time;
            }
            _ => return outcome,
        }
    }
}

pub(crate) const fn ms(n: u64) -> Nanos {
    n * MILLISECOND
}
