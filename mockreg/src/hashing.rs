//! SHA-256 beside the arrival of bytes: batches are hashed on another thread while the next ones come in, so that an
//! upload takes as long as receiving or hashing does, whichever is slower, and not as long as both.

use bytes::Bytes;
use mockreg_proto::digest::Digest;
use mockreg_synth::Hasher;
use tokio::task::JoinHandle;

/// Bytes worth a thread's while: a quarter of a millisecond of hashing, against some ten microseconds to get there.
const BATCH: usize = 512 << 10;
/// Bytes that may wait for the thread; then the client does. Eight batches even out what a scheduler does.
const MAX_WAITING: usize = 4 << 20;

/// A hash under way.
#[derive(Debug)]
pub(crate) struct Hashing {
    worker: Worker,
    waiting: Vec<Bytes>,
    waiting_bytes: usize,
}

#[derive(Debug)]
enum Worker {
    Idle(Hasher),
    Busy(JoinHandle<Hasher>),
}

impl Hashing {
    /// Goes on from what `hasher` has seen.
    pub(crate) fn new(hasher: Hasher) -> Self {
        Self { worker: Worker::Idle(hasher), waiting: Vec::new(), waiting_bytes: 0 }
    }

    /// Takes the next bytes, at once. [`Hashing::keep_up`] then hashes them.
    pub(crate) fn push(&mut self, bytes: Bytes) {
        self.waiting_bytes += bytes.len();
        self.waiting.push(bytes);
    }

    /// Starts on what waits, if it is worth it, and comes back when no more than [`MAX_WAITING`] bytes do. Nothing is
    /// lost if the future is dropped.
    pub(crate) async fn keep_up(&mut self) {
        let busy = matches!(&self.worker, Worker::Busy(thread) if !thread.is_finished());
        if self.waiting_bytes >= if busy { MAX_WAITING } else { BATCH } {
            self.start().await;
        }
    }

    /// Waits for the thread, and gives it all that waits.
    async fn start(&mut self) {
        self.settle().await;
        let batch = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        if let Worker::Idle(hasher) = &mut self.worker {
            let mut hasher = hasher.clone();
            self.worker = Worker::Busy(tokio::task::spawn_blocking(move || {
                batch.iter().for_each(|bytes| hasher.update(bytes));
                hasher
            }));
        }
    }

    /// Waits for the thread.
    async fn settle(&mut self) {
        if let Worker::Busy(thread) = &mut self.worker {
            self.worker = Worker::Idle(thread.await.expect("hashing does not panic"));
        }
    }

    /// The digest of everything. May be asked again.
    pub(crate) async fn digest(&mut self) -> Digest {
        if self.waiting_bytes >= BATCH {
            self.start().await;
        }
        self.settle().await;
        let Worker::Idle(hasher) = &self.worker else { unreachable!("the thread was waited for") };
        let mut hasher = hasher.clone();
        self.waiting.iter().for_each(|bytes| hasher.update(bytes));
        hasher.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_digest_is_that_of_all_bytes_however_they_come() {
        let whole: Vec<u8> = (0..3 * MAX_WAITING + 77).map(|i| (i * 7 % 251) as u8).collect();
        let whole = Bytes::from(whole);
        for size in [1_000, BATCH - 1, BATCH, MAX_WAITING + 1, whole.len()] {
            let mut hashing = Hashing::new(Hasher::new());
            for start in (0..whole.len()).step_by(size) {
                hashing.push(whole.slice(start..whole.len().min(start + size)));
                hashing.keep_up().await;
                assert!(hashing.waiting_bytes < MAX_WAITING.max(size + BATCH), "{size}");
            }
            assert_eq!(hashing.digest().await, Digest::of(&whole), "{size}");
            assert_eq!(hashing.digest().await, Digest::of(&whole), "asked again");
        }
        assert_eq!(Hashing::new(Hasher::new()).digest().await, Digest::of(b""));
    }
}
