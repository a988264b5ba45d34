//! How many bytes went by in the last window of time.

use crate::item::Nanos;

/// Parts the window is counted in: the sum is at most one of them (6 %) too old.
const PARTS: usize = 16;

/// Bytes counted over a sliding window.
#[derive(Debug)]
pub(crate) struct Recent {
    part: Nanos,
    /// Number of the newest part since time zero.
    newest: u64,
    bytes: [u64; PARTS],
}

impl Recent {
    pub(crate) fn new(window: Nanos) -> Self {
        Self { part: (window / PARTS as u64).max(1), newest: 0, bytes: [0; PARTS] }
    }

    pub(crate) fn add(&mut self, bytes: u64, now: Nanos) {
        self.turn(now);
        self.bytes[self.newest as usize % PARTS] += bytes;
    }

    /// Bytes added in the window before `now`.
    pub(crate) fn sum(&mut self, now: Nanos) -> u64 {
        self.turn(now);
        self.bytes.iter().sum()
    }

    fn turn(&mut self, now: Nanos) {
        let part = now / self.part;
        let forgotten = part.saturating_sub(self.newest).min(PARTS as u64);
        for i in 1..=forgotten {
            self.bytes[(self.newest + i) as usize % PARTS] = 0;
        }
        if forgotten == PARTS as u64 {
            self.bytes = [0; PARTS];
        }
        self.newest = self.newest.max(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let mut recent = Recent::new(1600);
        recent.add(10, 50);
        recent.add(5, 1000);
        assert_eq!(recent.sum(1599), 15);
        assert_eq!(recent.sum(1650), 5);
        assert_eq!(recent.sum(1_000_000), 0);
    }
}
