//! Counting requests against quotas, by governor. Clients are bounded in number, and what is asked about a client
//! without counting it (a HEAD) is answered from the last count.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::{StateInformationMiddleware, StateSnapshot};
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota as Cells, RateLimiter};
use http::{HeaderMap, Method};
use mockreg_proto::journal::Kind;

use super::{Per, Quota};
use crate::problem::Problem;

/// Most clients that are told apart at once, for each quota; those that come later share a bucket. A flood of
/// addresses must not take memory without end.
pub(crate) const MAX_CLIENTS: usize = 65_536;

type Limiter = RateLimiter<Key, DefaultKeyedStateStore<Key>, DefaultClock, StateInformationMiddleware>;

/// Who a request is from.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) address: IpAddr,
    /// Absent where nobody logged in.
    pub(crate) user: Option<String>,
}

/// Who a request counts against.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// Everybody at an address.
    Address(IpAddr),
    /// One user.
    User(String),
    /// Everybody.
    All,
    /// Those that came when [`MAX_CLIENTS`] were there already.
    Others,
}

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
    seen: HashMap<Key, (u32, Instant)>,
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
    /// Who shares what is allotted `per` this.
    pub(crate) fn key(&self, per: Per) -> Key {
        match (per, &self.user) {
            (Per::All, _) => Key::All,
            (Per::User, Some(user)) => Key::User(user.clone()),
            (Per::User | Per::Address, _) => Key::Address(self.address),
        }
    }

    /// What the quota is counted by, as a header has it.
    fn source(&self) -> String {
        self.user.clone().unwrap_or_else(|| self.address.to_string())
    }
}

impl Buckets {
    fn new(quota: &Quota, interval: Duration) -> Self {
        let cells =
            Cells::with_period(interval).expect("the interval is above 0").allow_burst(quota.requests);
        Self { limiter: RateLimiter::keyed(cells).with_middleware(), seen: HashMap::new() }
    }

    /// `key`, or that of the others where there is no room for one more.
    fn place(&mut self, key: Key, window: Duration) -> Key {
        if self.seen.len() < MAX_CLIENTS || self.seen.contains_key(&key) {
            return key;
        }
        self.limiter.retain_recent();
        self.seen.retain(|_, (_, then)| then.elapsed() < window);
        if self.seen.len() < MAX_CLIENTS { key } else { Key::Others }
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
        buckets.seen.insert(key, (remaining, Instant::now()));
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
    use std::num::NonZeroU32;

    use mockreg_proto::units::Span;

    use super::*;
    use crate::quota::{Counted, QuotaHeaders, Refusal};

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

    #[test]
    fn clients_beyond_the_bound_share_a_bucket() {
        let quota = hub(1);
        let mut buckets = Buckets::new(&quota, Duration::from_secs(1));
        let address = |n: u32| Key::Address(IpAddr::from(n.to_be_bytes()));
        buckets.seen = (0..MAX_CLIENTS as u32).map(|n| (address(n), (0, Instant::now()))).collect();
        assert_eq!(buckets.place(address(7), quota.window.0), address(7));
        assert_eq!(buckets.place(address(u32::MAX), quota.window.0), Key::Others);
        assert_eq!(buckets.place(address(u32::MAX), Duration::ZERO), address(u32::MAX));
    }
}
