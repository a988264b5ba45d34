//! When to try again: capped exponential back-off with full jitter, bounded by a number of attempts and by a time
//! without progress. Pure: the time in trouble comes in, the delay goes out, and the jitter is a keyed draw.

use std::time::Duration;

use mockreg_proto::seed::{Seed, below};

/// Limits of retrying one request or one transfer; whichever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts in all, the first one included.
    pub attempts: u32,
    /// Upper bound of the first back-off, doubled for each further one.
    pub base: Duration,
    /// Upper bound of every back-off.
    pub cap: Duration,
    /// Time since the last progress after which no further attempt is made.
    pub give_up: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 100,
            base: Duration::from_millis(100),
            cap: Duration::from_secs(5),
            give_up: Duration::from_secs(120),
        }
    }
}

impl RetryPolicy {
    /// How long to wait after the `failures`-th failure (from 1) of what `identity` names, the `in_a_row`-th and
    /// `in_trouble` after the first since there was progress; `None` when it is time to stop.
    ///
    /// The delay is uniform between zero and the back-off's bound ("full jitter"): clients that failed together do
    /// not come back together. What the registry asked for is waited out first and the jitter comes on top, for the
    /// same reason; a request to wait zero seconds says nothing. The sum is cut at what is left of `give_up`, so
    /// that an absurd request to wait costs one last attempt and no more.
    pub fn delay(
        &self,
        identity: &Seed,
        [failures, in_a_row]: [u32; 2],
        in_trouble: Duration,
        retry_after: Option<Duration>,
    ) -> Option<Duration> {
        let left = self.give_up.checked_sub(in_trouble).filter(|left| !left.is_zero())?;
        if failures >= self.attempts {
            return None;
        }
        let draw = identity.child([failures.to_be_bytes()]).draw();
        let jitter = Duration::from_nanos(below(draw, nanos(self.bound(in_a_row)).saturating_add(1)));
        Some(retry_after.unwrap_or_default().saturating_add(jitter).min(left))
    }

    /// `base * 2^(in_a_row - 1)`, at most `cap`.
    fn bound(&self, in_a_row: u32) -> Duration {
        let factor = 1u32.checked_shl(in_a_row.saturating_sub(1)).unwrap_or(u32::MAX);
        self.base.checked_mul(factor).unwrap_or(self.cap).min(self.cap)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        attempts: 10,
        base: Duration::from_millis(100),
        cap: Duration::from_secs(5),
        give_up: Duration::from_secs(120),
    };

    fn identity(name: &str) -> Seed {
        Seed::root(1).child([name])
    }

    #[test]
    fn the_bound_doubles_up_to_the_cap() {
        let bounds: Vec<u128> = (1..=8).map(|n| POLICY.bound(n).as_millis()).collect();
        assert_eq!(bounds, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(POLICY.bound(u32::MAX), POLICY.cap);
    }

    #[test]
    fn the_same_identity_waits_the_same_and_another_does_not() {
        let delays = |name: &str| -> Vec<_> {
            (1..10).map(|n| POLICY.delay(&identity(name), [n, n], Duration::ZERO, None)).collect()
        };
        assert_eq!(delays("a"), delays("a"));
        assert_ne!(delays("a"), delays("b"));
    }

    /// Uniform on 0..=100 ms, n = 4,000: the mean is 50 ms, its standard deviation 100 / sqrt(12 n) = 0.46 ms;
    /// four of them are 1.8 ms.
    #[test]
    fn jitter_fills_the_whole_range() {
        let n = 4_000;
        let delays: Vec<f64> = (0..n)
            .filter_map(|i| POLICY.delay(&identity(&i.to_string()), [1, 1], Duration::ZERO, None))
            .map(|delay| delay.as_secs_f64() * 1e3)
            .collect();
        let mean = delays.iter().sum::<f64>() / n as f64;
        assert!((48.2..=51.8).contains(&mean), "{mean}");
        assert!(delays.iter().any(|d| *d < 1.0) && delays.iter().any(|d| *d > 99.0));
    }

    #[test]
    fn attempts_and_time_each_end_it() {
        let id = identity("a");
        assert!(POLICY.delay(&id, [9, 9], Duration::ZERO, None).is_some());
        assert!(POLICY.delay(&id, [10, 10], Duration::ZERO, None).is_none());
        assert!(POLICY.delay(&id, [1, 1], Duration::from_secs(119), None).is_some());
        assert!(POLICY.delay(&id, [1, 1], Duration::from_secs(120), None).is_none());
        assert!(POLICY.delay(&id, [1, 1], Duration::MAX, None).is_none());
    }

    #[test]
    fn what_the_registry_asks_for_is_waited_out_and_bounded() {
        let delay = |after: u64| {
            POLICY.delay(&identity("a"), [1, 1], Duration::ZERO, Some(Duration::from_secs(after)))
        };
        let jitter = POLICY.delay(&identity("a"), [1, 1], Duration::ZERO, None);
        assert_eq!(delay(0), jitter);
        assert_eq!(delay(7), jitter.map(|jitter| jitter + Duration::from_secs(7)));
        assert_eq!(delay(1_000_000_000), Some(POLICY.give_up));
        assert_eq!(delay(u64::MAX), Some(POLICY.give_up));
    }

    proptest! {
        #[test]
        fn no_policy_panics_and_every_delay_is_bounded(
            attempts: u32, base: u64, cap: u64, give_up: u64, failures: u32, trouble: u64, after: Option<u64>,
        ) {
            let nanos = Duration::from_nanos;
            let policy = RetryPolicy { attempts, base: nanos(base), cap: nanos(cap), give_up: nanos(give_up) };
            let asked = after.map(Duration::from_secs);
            let delay = policy.delay(&identity("a"), [failures, failures], nanos(trouble), asked);
            if let Some(delay) = delay {
                prop_assert!(delay + nanos(trouble) <= nanos(give_up));
                prop_assert!(after.unwrap_or(0) > 0 || delay <= nanos(cap));
            }
        }
    }
}
