//! Content that the registry holds: a recipe, which takes no room, or bytes, which take room from the memory budget
//! and, beyond it, on disk. What fits neither is refused before it is kept.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use mockreg_proto::digest::{Algorithm, Digest, Digester};
use mockreg_synth::{Arrival, Layer};
use thiserror::Error;

use crate::body::Pieces;
use crate::budget::{Budget, OverBudget, Room};
use crate::spill::{Piece, Spill, SpillError};

/// Kept bytes are cut into segments of this size: large enough to be sent at full speed, small enough that a blob of
/// a few bytes more does not double its room.
pub(crate) const SEGMENT: usize = 1 << 20;

/// Where pushed content is kept.
#[derive(Clone, Debug)]
pub(crate) struct Storage {
    pub(crate) budget: Arc<Budget>,
    /// Where it goes when the budget is used up; else it is refused.
    pub(crate) spill: Option<Arc<Spill>>,
}

impl Storage {
    /// Room for a blob. Where blobs can go to disk they leave some memory to manifests, which cannot.
    fn room(&self) -> Room {
        if self.spill.is_some() { Room::modest(&self.budget) } else { Room::none(&self.budget) }
    }
}

/// Content that cannot be kept.
#[derive(Clone, Debug, Error)]
pub(crate) enum NoRoom {
    /// The budget is used up, and nothing may be spilled.
    #[error(transparent)]
    Memory(#[from] OverBudget),
    /// The disk is full, or fails.
    #[error(transparent)]
    Disk(#[from] SpillError),
}

/// Bytes held in memory or on disk, in segments.
#[derive(Debug)]
pub(crate) struct Kept {
    segments: Vec<Segment>,
    len: u64,
    /// Room of the segments in memory. Absent for what the registry made itself.
    room: Option<Room>,
}

/// All but the last have [`SEGMENT`] bytes; what the registry made itself is one, however long.
#[derive(Debug)]
enum Segment {
    Memory(Bytes),
    Disk(Piece),
}

impl Segment {
    fn len(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::Disk(piece) => piece.len(),
        }
    }

    /// Up to `most` bytes from `offset`.
    fn read(&self, offset: usize, most: usize) -> Option<Bytes> {
        match self {
            Self::Memory(bytes) => Some(bytes.slice(offset..bytes.len().min(offset + most))),
            Self::Disk(piece) => waiting(|| piece.read(offset, most)),
        }
    }
}

/// Lets other tasks of this thread go on elsewhere while the disk is waited for.
fn waiting<T>(work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

impl Kept {
    /// Small bytes that the registry made itself, outside the budget.
    pub(crate) fn own(bytes: Bytes) -> Self {
        Self { len: bytes.len() as u64, segments: vec![Segment::Memory(bytes)], room: None }
    }

    fn in_memory(&self) -> u64 {
        self.room.as_ref().map_or(self.len, Room::bytes)
    }

    fn read(self: Arc<Self>, offset: u64, len: u64) -> impl Iterator<Item = Bytes> + Send + 'static {
        let end = offset.saturating_add(len).min(self.len);
        let mut at = offset.min(end);
        std::iter::from_fn(move || {
            let left = end - at;
            let (index, inside) = if self.segments.len() == 1 {
                (0, at as usize)
            } else {
                ((at / SEGMENT as u64) as usize, (at % SEGMENT as u64) as usize)
            };
            let segment = self.segments.get(index).filter(|_| left > 0)?;
            let most = left.min((segment.len() - inside) as u64) as usize;
            let bytes = segment.read(inside, most)?;
            at += bytes.len() as u64;
            Some(bytes)
        })
    }
}

/// Bytes on their way to being kept. They are copied: what arrives is cut out of larger read buffers, which a small
/// piece would keep alive.
#[derive(Debug)]
pub(crate) struct Keeper {
    sealed: Vec<Segment>,
    open: Open,
    room: Room,
    len: u64,
    spill: Option<Arc<Spill>>,
}

/// The last segment, which still grows. Once on disk, all that follow are.
#[derive(Debug)]
enum Open {
    Memory(BytesMut),
    Disk(Arc<Spill>, Piece),
}

impl Open {
    fn len(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::Disk(_, piece) => piece.len(),
        }
    }
}

impl Keeper {
    /// Nothing yet.
    pub(crate) fn new(storage: &Storage) -> Self {
        Self {
            sealed: Vec::new(),
            open: Open::Memory(BytesMut::new()),
            room: storage.room(),
            len: 0,
            spill: storage.spill.clone(),
        }
    }

    /// Keeps `bytes`.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> Result<(), NoRoom> {
        self.make_room(bytes.len() as u64)?;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(SEGMENT - self.open.len()));
            match &mut self.open {
                Open::Memory(open) => open.extend_from_slice(now),
                Open::Disk(_, piece) => waiting(|| piece.append(now))?,
            }
            self.len += now.len() as u64;
            if self.open.len() == SEGMENT {
                self.seal();
            }
            bytes = later;
        }
        Ok(())
    }

    /// Takes room in memory, or moves to disk where there is none.
    fn make_room(&mut self, bytes: u64) -> Result<(), NoRoom> {
        let Open::Memory(open) = &mut self.open else { return Ok(()) };
        let Err(refused) = self.room.grow(bytes) else { return Ok(()) };
        let Some(spill) = &self.spill else { return Err(refused.into()) };
        tracing::debug!(%refused, "content is spilled");
        let mut piece = spill.piece();
        waiting(|| piece.append(open))?;
        self.room.shrink(open.len() as u64);
        self.open = Open::Disk(Arc::clone(spill), piece);
        Ok(())
    }

    fn seal(&mut self) {
        let segment = match &mut self.open {
            // The next segment is likely to be as full as this one, so it need not grow by copying.
            Open::Memory(open) => {
                Segment::Memory(std::mem::replace(open, BytesMut::with_capacity(SEGMENT)).freeze())
            }
            Open::Disk(spill, piece) => Segment::Disk(std::mem::replace(piece, spill.piece())),
        };
        self.sealed.push(segment);
    }

    /// All of it, as content.
    pub(crate) fn finish(mut self) -> Kept {
        if self.open.len() > 0 {
            self.sealed.push(match self.open {
                // Copied once more, so that no spare capacity stays behind.
                Open::Memory(open) => Segment::Memory(Bytes::copy_from_slice(&open)),
                Open::Disk(_, piece) => Segment::Disk(piece),
            });
        }
        Kept { segments: self.sealed, len: self.len, room: Some(self.room) }
    }
}

/// What a digest stands for.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// A synthetic layer or its tar, made whenever it is read.
    Recipe(Arrival),
    /// Bytes in memory or on disk.
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

    /// Bytes of it that are held in memory.
    pub(crate) fn in_memory(&self) -> u64 {
        if let Self::Kept(kept) = self { kept.in_memory() } else { 0 }
    }

    /// Bytes of it that are on disk.
    pub(crate) fn on_disk(&self) -> u64 {
        if let Self::Kept(kept) = self { kept.len - kept.in_memory() } else { 0 }
    }

    /// Its digest, from all of its bytes: for a blocking thread. `None` if they cannot all be read.
    pub(crate) fn digest(&self, algorithm: Algorithm) -> Option<Digest> {
        let (mut digester, mut left) = (Digester::new(algorithm), self.size());
        for piece in self.read(0, left) {
            digester.update(&piece);
            left -= piece.len() as u64;
        }
        (left == 0).then(|| digester.finalize())
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

    fn storage(budget: u64, spill: Option<Arc<Spill>>) -> Storage {
        Storage { budget: Budget::new(budget), spill }
    }

    fn collect(kept: &Arc<Kept>, offset: u64, len: u64) -> Vec<u8> {
        Arc::clone(kept).read(offset, len).flatten().collect()
    }

    fn keep(storage: &Storage, whole: &[u8]) -> Arc<Kept> {
        let mut keeper = Keeper::new(storage);
        whole.chunks(70_001).for_each(|piece| keeper.push(piece).unwrap());
        Arc::new(keeper.finish())
    }

    #[test]
    fn kept_bytes_read_back_in_any_range_from_memory_and_disk() {
        let whole: Vec<u8> = (0..3 * SEGMENT + 77).map(|i| (i * 7 % 251) as u8).collect();
        let directory = tempfile::tempdir().unwrap();
        let spill = Some(Spill::open(directory.path(), SEGMENT).unwrap());
        // All in memory; the first segment in memory; nothing in memory.
        for (budget, on_disk) in [(u64::MAX, 0), (1_500_000, 2 * SEGMENT + 77), (10, 3 * SEGMENT + 77)] {
            let storage = storage(budget, spill.clone());
            let kept = keep(&storage, &whole);
            let content = Content::Kept(Arc::clone(&kept));
            assert_eq!((content.size(), content.on_disk()), (whole.len() as u64, on_disk as u64));
            assert_eq!(content.in_memory(), storage.budget.used());
            assert_eq!(content.digest(Algorithm::Sha512), Some(Digest::of_with(Algorithm::Sha512, &whole)));
            for (offset, len) in [
                (0, usize::MAX),
                (SEGMENT - 1, 2),
                (5, SEGMENT),
                (2 * SEGMENT - 3, SEGMENT),
                (whole.len() - 1, 9),
                (whole.len(), 1),
            ] {
                let end = offset.saturating_add(len).min(whole.len());
                assert!(collect(&kept, offset as u64, len as u64) == whole[offset..end], "{offset} {len}");
            }
            drop((kept, content));
            assert_eq!(storage.budget.used(), 0);
        }
        assert!(collect(&keep(&storage(1, None), b""), 0, 1).is_empty());
    }

    #[test]
    fn without_a_spill_directory_the_budget_is_the_end() {
        let storage = storage(100, None);
        let mut keeper = Keeper::new(&storage);
        keeper.push(&[0; 60]).unwrap();
        assert!(matches!(keeper.push(&[0; 41]), Err(NoRoom::Memory(_))));
        keeper.push(&[0; 40]).unwrap();
        let kept = keeper.finish();
        assert_eq!(storage.budget.used(), 100);
        drop(kept);
        assert_eq!(storage.budget.used(), 0);
    }
}
