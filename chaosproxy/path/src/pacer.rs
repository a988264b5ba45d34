//! A link of fixed rate that many connections share: who wants to send reserves the next free time on it.
//!
//! Each connection holds at most one reservation, of at most a millisecond of the link, and queues behind those
//! of the others: turns are taken in the order they were asked for, so that connections with data waiting get
//! equal shares.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::item::Nanos;

/// A shared link.
#[derive(Debug)]
pub(crate) struct Pacer {
    link: Mutex<Link>,
}

#[derive(Debug)]
struct Link {
    /// Bytes per second; zero stalls the link.
    rate: u64,
    /// How far departures may run ahead of the link: the time that a burst takes on it.
    ahead: Nanos,
    /// When the last reservation ends, in a time that runs `ahead` of the real one.
    free_at: Nanos,
    /// Connections with bytes waiting.
    waiting: u64,
}

impl Pacer {
    pub(crate) fn new(rate: u64, burst: u64) -> Self {
        Self { link: Mutex::new(Link { rate, ahead: ahead(burst, rate), free_at: 0, waiting: 0 }) }
    }

    /// Another rate and burst. What has been reserved stays so, and the bucket begins empty.
    pub(crate) fn set_rate(&self, rate: u64, burst: u64, now: Nanos) {
        let mut link = self.link();
        let reserved = link.free_at.saturating_sub(link.ahead).max(now);
        link.rate = rate;
        link.ahead = ahead(burst, rate);
        link.free_at = reserved + link.ahead;
    }

    /// Another rate and burst, all reservations forgotten; those who hold one reserve anew. The bucket begins empty.
    pub(crate) fn restart(&self, rate: u64, burst: u64, now: Nanos) {
        let mut link = self.link();
        (link.rate, link.ahead) = (rate, ahead(burst, rate));
        link.free_at = now + link.ahead;
    }

    pub(crate) fn rate(&self) -> u64 {
        self.link().rate
    }

    /// Reserves `bytes` for someone who has been ready since `ready`; says when they have passed the link, `None`
    /// while its rate is zero.
    pub(crate) fn reserve(&self, bytes: u64, ready: Nanos) -> Option<Nanos> {
        let mut link = self.link();
        let start = link.free_at.max(ready);
        link.free_at = start + duration(bytes, link.rate)?;
        Some(link.free_at.saturating_sub(link.ahead).max(ready))
    }

    /// Counts one connection more or less with bytes waiting.
    pub(crate) fn set_waiting(&self, more: bool) {
        let mut link = self.link();
        link.waiting = if more { link.waiting + 1 } else { link.waiting.saturating_sub(1) };
    }

    /// Connections with bytes waiting, at least one.
    pub(crate) fn waiting(&self) -> u64 {
        self.link().waiting.max(1)
    }

    fn link(&self) -> MutexGuard<'_, Link> {
        // Each critical section leaves three plain numbers: they are whole even after a panic elsewhere.
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time that a burst takes at a rate; none at rate zero, where nothing passes. A day at the most: a longer one is
/// no limit.
pub(crate) fn ahead(burst: u64, rate: u64) -> Nanos {
    const DAY: Nanos = 86_400_000_000_000;
    duration(burst, rate).unwrap_or(0).min(DAY)
}

/// Time that `bytes` take at `rate` bytes a second, rounded up; `None` at rate zero.
pub(crate) fn duration(bytes: u64, rate: u64) -> Option<Nanos> {
    let nanos = (u128::from(bytes) * 1_000_000_000).div_ceil(u128::from((rate != 0).then_some(rate)?));
    Some(u64::try_from(nanos).unwrap_or(u64::MAX / 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reservations_queue_up_and_idle_time_is_not_saved() {
        let pacer = Pacer::new(1_000_000, 0);
        assert_eq!(pacer.reserve(1000, 0), Some(1_000_000));
        assert_eq!(pacer.reserve(1000, 0), Some(2_000_000));
        assert_eq!(pacer.reserve(1000, 9_000_000), Some(10_000_000));
        assert_eq!(pacer.reserve(1000, 0), Some(11_000_000));
    }

    #[test]
    fn rate_zero_stalls() {
        let pacer = Pacer::new(0, 0);
        assert_eq!(pacer.reserve(1, 0), None);
        pacer.set_rate(1_000_000_000, 0, 5);
        assert_eq!(pacer.reserve(1, 0), Some(6));
    }
}
