//! Declared byte rates: a body that is sent or read no faster than its client, or everybody together, may. Shaped by
//! governor in small steps, so that a slow body is slow from its first byte to its last, and not in bursts.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota as Cells, RateLimiter};
use mockreg_proto::units::ByteRate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::quota::{Client, Clients, Per};

/// What may be sent at once after a pause: 5 ms at the full rate, but enough for a packet of a loopback interface.
const BURST: Duration = Duration::from_millis(5);
const LEAST_BURST: u32 = 64 << 10;

/// How fast bodies move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Bandwidth {
    /// Bodies of answers: `20MB/s`, at most 4 GB/s. Default: as fast as they go.
    pub down: Option<ByteRate>,
    /// Bodies of requests. Default: as fast as they come.
    pub up: Option<ByteRate>,
    /// Who shares each rate. Default: everybody at one address.
    pub per: Per,
}

/// The allowances of one direction.
#[derive(Debug, Default)]
struct Lane {
    rate: Option<ByteRate>,
    paces: Mutex<Clients<Pace>>,
}

/// The allowances of all clients.
#[derive(Debug, Default)]
pub(crate) struct Paces {
    per: Per,
    down: Lane,
    up: Lane,
}

impl Paces {
    /// Nobody has sent anything yet.
    pub(crate) fn new(bandwidth: Bandwidth) -> Self {
        let lane = |rate| Lane { rate, paces: Mutex::default() };
        Self { per: bandwidth.per, down: lane(bandwidth.down), up: lane(bandwidth.up) }
    }

    /// What answers to `client` draw on; `None` where nothing holds them back.
    pub(crate) fn down(&self, client: &Client) -> Option<Pace> {
        self.down.pace(client, self.per)
    }

    /// What the requests of `client` draw on.
    pub(crate) fn up(&self, client: &Client) -> Option<Pace> {
        self.up.pace(client, self.per)
    }
}

impl Lane {
    fn pace(&self, client: &Client, per: Per) -> Option<Pace> {
        let rate = self.rate?;
        let mut paces = self.paces.lock().expect("no holder of the allowances panics");
        // What nobody draws on at the moment is full, or nearly, and can be made again.
        let key = paces.place(client.key(per), |paces| {
            paces.retain(|_, pace| Arc::strong_count(&pace.limiter) > 1);
        });
        Some(paces.entry(key).or_insert_with(|| Pace::new(rate)).clone())
    }
}

/// A shared allowance of bytes.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    limiter: Arc<DefaultDirectRateLimiter>,
    burst: u32,
}

impl Pace {
    /// An allowance of `rate`, of at least a byte a second and at most 4 GiB/s.
    pub(crate) fn new(rate: ByteRate) -> Self {
        let rate = u32::try_from(rate.0).unwrap_or(u32::MAX).max(1);
        let burst = (u64::from(rate) * BURST.as_millis() as u64 / 1000).max(u64::from(LEAST_BURST));
        let burst = u32::try_from(burst).expect("a 200th of 32 bits");
        let nonzero = |count| NonZeroU32::new(count).expect("at least 1");
        let cells = Cells::per_second(nonzero(rate)).allow_burst(nonzero(burst));
        Self { limiter: Arc::new(RateLimiter::direct(cells)), burst }
    }

    /// How many of `wanted` bytes may go now; an error says how long to wait for them.
    pub(crate) fn take(&self, wanted: usize) -> Result<usize, Duration> {
        let count = u32::try_from(wanted).unwrap_or(u32::MAX).min(self.burst);
        let Some(cells) = NonZeroU32::new(count) else { return Ok(0) };
        match self.limiter.check_n(cells).expect("never more than the burst") {
            Ok(()) => Ok(count as usize),
            Err(early) => Err(early.wait_time_from(DefaultClock::default().now())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Instant;

    use super::*;

    fn send(pace: &Pace, mut bytes: usize) {
        while bytes > 0 {
            match pace.take(bytes) {
                Ok(count) => bytes -= count,
                Err(wait) => std::thread::sleep(wait),
            }
        }
    }

    #[test]
    fn a_rate_is_kept_and_shared() {
        // 3 MB at 20 MB/s take 150 ms, less the burst of 100 kB: two senders get there together.
        let pace = Pace::new(ByteRate(20_000_000));
        let started = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| send(&pace, 1_500_000));
            }
        });
        let rate = 2.9 / started.elapsed().as_secs_f64();
        assert!(rate < 20.5, "{rate} MB/s");
    }

    #[test]
    fn clients_have_their_own_allowance_unless_all_share_one() {
        let client = |last| Client { address: IpAddr::from([127, 0, 0, last]), user: None };
        let same = |one: &Pace, other: &Pace| Arc::ptr_eq(&one.limiter, &other.limiter);
        let paces = Paces::new(Bandwidth { down: Some(ByteRate(1)), ..Bandwidth::default() });
        let (one, other) = (paces.down(&client(1)).unwrap(), paces.down(&client(2)).unwrap());
        assert!(!same(&one, &other) && same(&one, &paces.down(&client(1)).unwrap()));
        assert!(paces.up(&client(1)).is_none());
        let paces = Paces::new(Bandwidth { up: Some(ByteRate(1)), per: Per::All, ..Bandwidth::default() });
        assert!(same(&paces.up(&client(1)).unwrap(), &paces.up(&client(2)).unwrap()));
    }

    #[test]
    fn extreme_rates_are_allowances_too() {
        assert_eq!(Pace::new(ByteRate(0)).take(1), Ok(1));
        assert!(Pace::new(ByteRate(u64::MAX)).take(1 << 20).is_ok());
        assert_eq!(Pace::new(ByteRate(1)).take(0), Ok(0));
    }
}
