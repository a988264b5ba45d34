//! Content that the registry holds: a recipe, which takes no room, or bytes, which take room from one budget. What
//! would not fit is refused before it is kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use mockreg_synth::{Arrival, Layer};
use thiserror::Error;

use crate::body::Pieces;

/// Kept bytes are cut into pieces of this size: large enough to be sent at full speed, small enough that a blob of a
/// few bytes more does not double its room.
const SEGMENT: usize = 1 << 20;

/// How many bytes may be kept, and how many are.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    used: AtomicU64,
}

/// There is no room for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "{used} of {limit} bytes of the memory budget are in use, and {asked} more do not fit; raise --memory-budget"
)]
pub(crate) struct OverBudget {
    limit: u64,
    used: u64,
    asked: u64,
}

impl Budget {
    /// An empty budget.
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicU64::new(0) })
    }

    /// Bytes in use.
    #[cfg(test)]
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Takes room, given back when the reservation is dropped.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: u64) -> Result<Room, OverBudget> {
        let mut room = Room { budget: Arc::clone(self), bytes: 0 };
        room.grow(bytes)?;
        Ok(room)
    }
}

/// Room taken from a budget.
#[derive(Debug)]
pub(crate) struct Room {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Room {
    fn grow(&mut self, bytes: u64) -> Result<(), OverBudget> {
        let limit = self.budget.limit;
        let fits = |used: u64| used.checked_add(bytes).filter(|total| *total <= limit);
        match self.budget.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(_) => {
                self.bytes += bytes;
                Ok(())
            }
            Err(used) => Err(OverBudget { limit, used, asked: bytes }),
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Bytes held in memory, in segments.
#[derive(Debug)]
pub(crate) struct Kept {
    segments: Vec<Bytes>,
    len: u64,
    /// Absent for what the registry made itself.
    _room: Option<Room>,
}

impl Kept {
    /// Small bytes that the registry made itself, outside the budget.
    pub(crate) fn own(bytes: Bytes) -> Self {
        Self { len: bytes.len() as u64, segments: vec![bytes], _room: None }
    }

    fn read(self: Arc<Self>, offset: u64, len: u64) -> impl Iterator<Item = Bytes> + Send + 'static {
        let end = offset.saturating_add(len).min(self.len);
        let mut at = offset.min(end);
        std::iter::from_fn(move || {
            let left = end - at;
            // A single segment may be longer than the others: what the registry made itself is one piece.
            let (index, inside) = if self.segments.len() == 1 {
                (0, at as usize)
            } else {
                ((at / SEGMENT as u64) as usize, (at % SEGMENT as u64) as usize)
            };
            let segment = self.segments.get(index).filter(|_| left > 0)?;
            let count = left.min((segment.len() - inside) as u64) as usize;
            at += count as u64;
            Some(segment.slice(inside..inside + count))
        })
    }
}

/// Bytes on their way to being kept. They are copied: what arrives is cut out of larger read buffers, which a small
/// piece would keep alive.
#[derive(Debug)]
pub(crate) struct Keeper {
    sealed: Vec<Bytes>,
    open: BytesMut,
    room: Room,
}

impl Keeper {
    /// Nothing yet.
    pub(crate) fn new(budget: &Arc<Budget>) -> Self {
        let room = Room { budget: Arc::clone(budget), bytes: 0 };
        Self { sealed: Vec::new(), open: BytesMut::new(), room }
    }

    /// Keeps `bytes`.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> Result<(), OverBudget> {
        self.room.grow(bytes.len() as u64)?;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(SEGMENT - self.open.len()));
            self.open.extend_from_slice(now);
            if self.open.len() == SEGMENT {
                self.sealed.push(std::mem::take(&mut self.open).freeze());
            }
            bytes = later;
        }
        Ok(())
    }

    /// All of it, as content.
    pub(crate) fn finish(mut self) -> Kept {
        if !self.open.is_empty() {
            // Copied once more, so that no spare capacity stays behind.
            self.sealed.push(Bytes::copy_from_slice(&self.open));
        }
        Kept { segments: self.sealed, len: self.room.bytes, _room: Some(self.room) }
    }
}

/// What a digest stands for.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// A synthetic layer or its tar, made whenever it is read.
    Recipe(Arrival),
    /// Bytes in memory.
    Kept(Arc<Kept>),
}

impl Content {
    /// Bytes of the whole.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Recipe(Arrival { spec, unpacked: false }) => spec.size(),
            Self::Recipe(Arrival { spec, unpacked: true }) => Layer::new(*spec).tar_size(),
            Self::Kept(kept) => kept.len,
        }
    }

    /// Bytes it takes from the budget.
    pub(crate) fn stored(&self) -> u64 {
        if let Self::Kept(kept) = self { kept.len } else { 0 }
    }

    /// Pieces of `len` bytes from `offset`, cut at the end.
    pub(crate) fn read(&self, offset: u64, len: u64) -> Pieces {
        match self {
            Self::Recipe(Arrival { spec, unpacked: false }) => Box::new(Layer::new(*spec).read(offset, len)),
            Self::Recipe(Arrival { spec, unpacked: true }) => {
                Box::new(Layer::new(*spec).read_tar(offset, len))
            }
            Self::Kept(kept) => Box::new(Arc::clone(kept).read(offset, len)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(kept: &Arc<Kept>, offset: u64, len: u64) -> Vec<u8> {
        Arc::clone(kept).read(offset, len).flatten().collect()
    }

    #[test]
    fn kept_bytes_read_back_in_any_range() {
        let whole: Vec<u8> = (0..2 * SEGMENT + 77).map(|i| (i * 7 % 251) as u8).collect();
        let budget = Budget::new(u64::MAX);
        let mut keeper = Keeper::new(&budget);
        whole.chunks(70_001).for_each(|piece| keeper.push(piece).unwrap());
        let kept = Arc::new(keeper.finish());
        assert_eq!(kept.len, whole.len() as u64);
        for (offset, len) in
            [(0, usize::MAX), (SEGMENT - 1, 2), (5, SEGMENT), (whole.len() - 1, 9), (whole.len(), 1)]
        {
            let end = offset.saturating_add(len).min(whole.len());
            assert!(collect(&kept, offset as u64, len as u64) == whole[offset..end], "{offset} {len}");
        }
        assert!(collect(&Arc::new(Keeper::new(&budget).finish()), 0, 1).is_empty());
    }

    #[test]
    fn the_budget_holds_and_is_given_back() {
        let budget = Budget::new(100);
        let mut keeper = Keeper::new(&budget);
        keeper.push(&[0; 60]).unwrap();
        assert_eq!(keeper.push(&[0; 41]), Err(OverBudget { limit: 100, used: 60, asked: 41 }));
        keeper.push(&[0; 40]).unwrap();
        let kept = keeper.finish();
        assert_eq!(budget.used(), 100);
        drop(kept);
        assert_eq!(budget.used(), 0);
        assert!(budget.reserve(u64::MAX).is_err());
    }
}
