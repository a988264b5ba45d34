//! Counting requests against quotas, by governor. Clients are bounded in number, and what is asked about a client
//! without counting it (a HEAD) is answered from the last count.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::{StateInformationMiddleware, StateSnapshot};
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota as Cells, RateLimiter};
use http::{HeaderMap, Method};
use mockreg_proto::journal::Kind;

use super::Quota;
use super::clients::{Client, Clients, Key};
use crate::problem::Problem;

type Limiter = RateLimiter<Key, DefaultKeyedStateStore<Key>, DefaultClock, StateInformationMiddleware>;

/// What a bucket says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) limit: u32,
    pub(super) remaining: u32,
    pub(super) window: Duration,
    pub(super) until_full: Duration,
}

/// All quotas of a registry.
#[derive(Debug, Default)]
pub(crate) struct Meters(Vec<Meter>);

#[derive(Debug)]
struct Meter {
    quota: Quota,
    /// One request's share of the window.
    interval: Duration,
    buckets: Mutex<Buckets>,
}

#[derive(Debug)]
struct Buckets {
    limiter: Limiter,
    /// What was left when a client was last counted.
    seen: Clients<(u32, Instant)>,
}

impl Meters {
    /// Full buckets.
    pub(crate) fn new(quotas: &[Quota]) -> Self {
        Self(quotas.iter().cloned().map(Meter::new).collect())
    }

    /// Counts a request against every quota that it falls under, and adds what answers say about them.
    ///
    /// # Errors
    /// A quota is used up. The quotas before it have counted the request all the same.
    pub(crate) fn admit(
        &self,
        kind: Kind,
        method: &Method,
        client: &Client,
        headers: &mut HeaderMap,
    ) -> Result<(), Problem> {
        for meter in &self.0 {
            let quota = &meter.quota;
            if quota.counts(kind, method) {
                let counted = meter.count(client);
                let reading = counted.as_ref().map_or_else(|(reading, _)| *reading, |reading| *reading);
                quota.headers.add(&reading, &client.source(), headers);
                counted.map_err(|(reading, wait)| quota.refusal.problem(&reading, wait))?;
            } else if quota.mentions(kind, method) {
                quota.headers.add(&meter.peek(client), &client.source(), headers);
            }
        }
        Ok(())
    }

    /// Fills every bucket.
    pub(crate) fn reset(&self) {
        for meter in &self.0 {
            *meter.buckets() = Buckets::new(&meter.quota, meter.interval);
        }
    }
}

impl Client {
    /// What the quota is counted by, as a header has it.
    fn source(&self) -> String {
        self.user.clone().unwrap_or_else(|| self.address.to_string())
    }
}

impl Buckets {
    fn new(quota: &Quota, interval: Duration) -> Self {
        let cells =
            Cells::with_period(interval).expect("the interval is above 0").allow_burst(quota.requests);
        Self { limiter: RateLimiter::keyed(cells).with_middleware(), seen: Clients::default() }
    }

    /// The place of a client. What was last counted a window ago is full again, and need not be kept.
    fn place(&mut self, key: Key, window: Duration) -> Key {
        let Self { limiter, seen } = self;
        seen.place(key, |seen| {
            limiter.retain_recent();
            seen.retain(|_, (_, then)| then.elapsed() < window);
        })
    }
}

impl Meter {
    fn new(quota: Quota) -> Self {
        // A window of nothing is refused by `Quota::check`; this cannot divide by it either.
        let interval = (quota.window.0 / quota.requests.get()).max(Duration::from_nanos(1));
        let buckets = Mutex::new(Buckets::new(&quota, interval));
        Self { quota, interval, buckets }
    }

    fn buckets(&self) -> MutexGuard<'_, Buckets> {
        self.buckets.lock().expect("no holder of the buckets panics")
    }

    fn reading(&self, remaining: u32) -> Reading {
        let limit = self.quota.requests.get();
        let until_full = self.interval * (limit - remaining.min(limit));
        Reading { limit, remaining, window: self.quota.window.0, until_full }
    }

    /// Takes one request out of the client's bucket; an error has the wait until one is there.
    fn count(&self, client: &Client) -> Result<Reading, (Reading, Duration)> {
        let mut buckets = self.buckets();
        let key = buckets.place(client.key(self.quota.per), self.quota.window.0);
        let counted = buckets.limiter.check_key(&key);
        let wait = counted.as_ref().err().map(|early| early.wait_time_from(buckets.limiter.clock().now()));
        let remaining = counted.as_ref().map_or(0, StateSnapshot::remaining_burst_capacity);
        buckets.seen.entry(key).insert_entry((remaining, Instant::now()));
        let reading = self.reading(remaining);
        wait.map_or(Ok(reading), |wait| Err((reading, wait)))
    }

    /// What is in the client's bucket, without taking any: what was left last time, and what came back since.
    fn peek(&self, client: &Client) -> Reading {
        let limit = self.quota.requests.get();
        let seen = self.buckets().seen.get(&client.key(self.quota.per)).copied();
        let remaining = seen.map_or(limit, |(left, then)| {
            let back = then.elapsed().as_nanos() / self.interval.as_nanos();
            u32::try_from(back).unwrap_or(limit).saturating_add(left).min(limit)
        });
        self.reading(remaining)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::num::NonZeroU32;

    use mockreg_proto::units::Span;

    use super::*;
    use crate::quota::{Counted, Per, QuotaHeaders, Refusal};

    fn hub(requests: u32) -> Quota {
        Quota {
            on: vec![Counted { kind: Kind::Manifest, methods: vec!["GET".into()] }],
            requests: NonZeroU32::new(requests).unwrap(),
            window: Span(Duration::from_secs(21_600)),
            per: Per::Address,
            headers: QuotaHeaders::Hub,
            refusal: Refusal::default(),
        }
    }

    fn client(last: u8, user: Option<&str>) -> Client {
        Client { address: IpAddr::from([127, 0, 0, last]), user: user.map(str::to_owned) }
    }

    fn remaining(meters: &Meters, method: &Method, client: &Client) -> (bool, String) {
        let mut headers = HeaderMap::new();
        let admitted = meters.admit(Kind::Manifest, method, client, &mut headers).is_ok();
        (admitted, headers["ratelimit-remaining"].to_str().unwrap().to_owned())
    }

    #[test]
    fn gets_are_counted_and_heads_are_told() {
        let meters = Meters::new(&[hub(2)]);
        let one = client(1, None);
        assert_eq!(remaining(&meters, &Method::HEAD, &one), (true, "2;w=21600".into()));
        assert_eq!(remaining(&meters, &Method::GET, &one), (true, "1;w=21600".into()));
        assert_eq!(remaining(&meters, &Method::HEAD, &one), (true, "1;w=21600".into()));
        assert_eq!(remaining(&meters, &Method::GET, &one), (true, "0;w=21600".into()));
        assert_eq!(remaining(&meters, &Method::GET, &one), (false, "0;w=21600".into()));
        // Another address has a bucket of its own, another kind of request none.
        assert_eq!(remaining(&meters, &Method::GET, &client(2, None)).1, "1;w=21600");
        let mut headers = HeaderMap::new();
        assert!(meters.admit(Kind::Blob, &Method::GET, &one, &mut headers).is_ok());
        assert!(headers.is_empty());
        meters.reset();
        assert_eq!(remaining(&meters, &Method::GET, &one), (true, "1;w=21600".into()));
    }

    #[test]
    fn a_user_is_counted_wherever_it_comes_from() {
        let meters = Meters::new(&[Quota { per: Per::User, ..hub(1) }]);
        assert!(remaining(&meters, &Method::GET, &client(1, Some("ann"))).0);
        assert!(!remaining(&meters, &Method::GET, &client(2, Some("ann"))).0);
        assert!(remaining(&meters, &Method::GET, &client(2, Some("bob"))).0);
        assert!(remaining(&meters, &Method::GET, &client(2, None)).0);
    }

    #[test]
    fn a_bucket_fills_up_again() {
        let window = Duration::from_millis(40);
        let meters = Meters::new(&[Quota { window: Span(window), ..hub(1) }]);
        let one = client(1, None);
        assert!(remaining(&meters, &Method::GET, &one).0);
        assert!(!remaining(&meters, &Method::GET, &one).0);
        std::thread::sleep(window);
        assert!(remaining(&meters, &Method::GET, &one).0);
    }
}
