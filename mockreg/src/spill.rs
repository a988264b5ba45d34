//! Room on disk for content that the memory budget does not hold. One file without a name serves all blobs, in pieces
//! that are given back when their blob goes: a descriptor for each blob would use up those of the connections, and a
//! file without a name leaves nothing behind, however the program ends.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use crate::directory;

/// Bytes read in one go: each connection that is served from disk holds about so many.
const READ: usize = 64 << 10;

/// A file that blobs are spilled to.
#[derive(Debug)]
pub(crate) struct Spill {
    file: File,
    /// Bytes of a piece.
    piece: u64,
    places: Mutex<Places>,
}

/// Which pieces of the file are in use.
#[derive(Debug, Default)]
struct Places {
    /// Pieces that were ever used; the file is so long.
    ever: u64,
    /// Those of them that are free again; the first is used first, which keeps the file short.
    free: BTreeSet<u64>,
}

/// The disk took no more.
#[derive(Clone, Debug, Error)]
#[error("the spill directory took no more: {0}; free some space there or give another one with --spill")]
pub(crate) struct SpillError(Arc<io::Error>);

/// A piece of the file, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Piece {
    spill: Arc<Spill>,
    place: u64,
    len: usize,
}

impl Spill {
    /// A file in `directory`, which is made where only it is missing; for pieces of `piece` bytes.
    pub(crate) fn open(directory: &Path, piece: usize) -> io::Result<Arc<Self>> {
        static OPENED: AtomicU64 = AtomicU64::new(0);
        directory::ensure(directory)?;
        let ordinal = OPENED.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!("mockreg-{}-{ordinal}.spill", process::id()));
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        fs::remove_file(&path)?;
        Ok(Arc::new(Self { file, piece: piece as u64, places: Mutex::default() }))
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().expect("no holder of the places panics")
    }

    /// An empty piece.
    pub(crate) fn piece(self: &Arc<Self>) -> Piece {
        let mut places = self.places();
        let place = places.free.pop_first().unwrap_or_else(|| {
            places.ever += 1;
            places.ever - 1
        });
        Piece { spill: Arc::clone(self), place, len: 0 }
    }
}

impl Piece {
    /// Bytes in it.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    fn start(&self) -> u64 {
        self.place * self.spill.piece
    }

    /// Appends `bytes`, for which the caller sees to it that there is room. May wait for the disk.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), SpillError> {
        assert!((self.len + bytes.len()) as u64 <= self.spill.piece, "a piece holds no more than its size");
        let written = self.spill.file.write_all_at(bytes, self.start() + self.len as u64);
        written.map_err(|error| SpillError(Arc::new(error)))?;
        self.len += bytes.len();
        Ok(())
    }

    /// Up to `most` bytes from `offset`, at most [`READ`]; nothing where the disk fails. May wait for the disk.
    pub(crate) fn read(&self, offset: usize, most: usize) -> Option<Bytes> {
        let mut bytes = BytesMut::zeroed(most.min(self.len - offset).min(READ));
        match self.spill.file.read_exact_at(&mut bytes, self.start() + offset as u64) {
            Ok(()) => Some(bytes.freeze()),
            Err(error) => {
                // The answer's length is promised: it ends early, and the client sees that.
                tracing::error!(%error, "spilled content cannot be read");
                None
            }
        }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        #[cfg(target_os = "linux")]
        if self.len > 0 {
            use rustix::fs::{FallocateFlags, fallocate};
            let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            // Where the file system has no holes, the place is used again all the same.
            let _ = fallocate(&self.spill.file, hole, self.start(), self.spill.piece);
        }
        self.spill.places().free.insert(self.place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_read_back_and_their_places_used_again() {
        let directory = tempfile::tempdir().unwrap();
        let spill = Spill::open(directory.path(), 100_000).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "the file has no name");
        let (mut one, mut two) = (spill.piece(), spill.piece());
        one.append(&[1; 99_999]).unwrap();
        two.append(&[2; 5]).unwrap();
        one.append(&[3]).unwrap();
        assert_eq!(two.read(1, 100).unwrap(), [2; 4].as_slice());
        assert_eq!(one.read(99_998, 2).unwrap(), [1, 3].as_slice());
        assert_eq!(one.read(0, usize::MAX).unwrap().len(), READ);
        let place = one.place;
        drop(one);
        assert_eq!(spill.piece().place, place);
        assert_eq!(spill.places().ever, 2);
    }
}
