//! What was computed lately, by what it was computed from. Two generations: what is used moves to the young one, and
//! when that is full the old one is forgotten; so what was put in last is still there when it is asked for.

use std::collections::BTreeMap;

/// A bounded memory.
#[derive(Debug)]
pub(crate) struct Remembered<K, V> {
    young: BTreeMap<K, V>,
    old: BTreeMap<K, V>,
    /// Most entries of a generation; twice as many are held at most.
    generation: usize,
}

impl<K: Ord + Copy, V: Copy> Remembered<K, V> {
    /// One that remembers nothing yet, and later the last `generation` things at least.
    pub(crate) const fn new(generation: usize) -> Self {
        Self { young: BTreeMap::new(), old: BTreeMap::new(), generation }
    }

    /// Whether it knows the value of `key`.
    pub(crate) fn has(&self, key: &K) -> bool {
        self.young.contains_key(key) || self.old.contains_key(key)
    }

    /// The value of `key`, which counts as used.
    pub(crate) fn get(&mut self, key: &K) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(*value);
        }
        let value = self.old.remove(key)?;
        self.insert(*key, value);
        Some(value)
    }

    /// Remembers a value.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= self.generation {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_and_those_in_use_stay() {
        let mut remembered = Remembered::new(10);
        for key in 0..1000u32 {
            // From high to low: the order of the keys is not the order of the years.
            remembered.insert(2000 - key, key);
            assert_eq!(remembered.get(&2000), Some(0), "used all the time");
            let last = (key.saturating_sub(8)..=key).map(|n| 2000 - n);
            assert!(last.clone().all(|key| remembered.has(&key)), "{key}");
            assert!(remembered.young.len() + remembered.old.len() <= 20);
        }
        assert_eq!(remembered.get(&1500), None);
    }
}
