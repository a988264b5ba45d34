//! Which image of a repository holds a digest: what a client needs that asks by digest without having asked for the
//! tag in this process. Every digest of the repository is computed once, step by step beside everything else, and kept
//! in twelve bytes; those of a step can be found as soon as it is done. Who asks waits for a while and is then told how
//! far the search has come; it goes on without them.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use mockreg_proto::digest::Digest;
use thiserror::Error;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

/// Images of one step: 15 ms of one processor where layers are small, under a second where they are large. That long a
/// registry takes to stop, and searches of other repositories wait for their turn.
const STEP: u32 = 512;
/// How long a request waits for a digest: enough for a million images with small layers, and less than most clients,
/// and proxies in front of them, wait for an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// The digests of a repository, as far as they are computed.
#[derive(Debug)]
pub(super) struct Search {
    /// Images there are.
    count: u32,
    segments: RwLock<Vec<Segment>>,
    /// Images whose digests are in the segments.
    done: watch::Sender<u32>,
    under_way: AtomicBool,
}

/// The digests of the images of one step.
#[derive(Debug)]
struct Segment {
    /// The first eight bytes of each, sorted. A digest that several images hold stands once.
    starts: Box<[u64]>,
    /// The image of each, in the same order.
    numbers: Box<[u32]>,
}

/// A digest was not found among the images that have been looked through, and there are more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "{done} of {count} images have been looked through, and the rest will be; try again, or ask for the tag first"
)]
pub(crate) struct Searching {
    done: u32,
    count: u32,
}

fn start(digest: &Digest) -> u64 {
    let first = digest.as_bytes().first_chunk().expect("a digest has 32 bytes at least");
    u64::from_be_bytes(*first)
}

impl Search {
    /// A search through `count` images that has not begun.
    pub(super) fn new(count: u32) -> Self {
        Self {
            count,
            segments: RwLock::default(),
            done: watch::Sender::new(0),
            under_way: AtomicBool::default(),
        }
    }

    /// Begins it, unless it has begun: `digests` computes those of an image, off the async threads. `turns` are
    /// shared with all other searches. It ends when nobody holds it any more.
    pub(super) fn begin(
        self: &Arc<Self>,
        name: &str,
        turns: &Arc<Semaphore>,
        digests: impl Fn(u32) -> Vec<Digest> + Send + Sync + 'static,
    ) {
        if self.under_way.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::info!(repository = name, images = self.count, "looking for a digest in every image");
        let (search, turns, digests) = (Arc::downgrade(self), Arc::clone(turns), Arc::new(digests));
        let (name, began) = (name.to_owned(), Instant::now());
        tokio::spawn(async move {
            while let Ok(_turn) = turns.acquire().await {
                let Some(search) = search.upgrade() else { return };
                match search.step(Arc::clone(&digests)).await {
                    Ok(true) => {}
                    Ok(false) => {
                        let seconds = format_args!("{:.1}", began.elapsed().as_secs_f64());
                        tracing::info!(repository = name, %seconds, "all digests are known");
                        return;
                    }
                    Err(error) => {
                        tracing::error!(repository = name, %error, "the search for a digest broke off");
                        // The next who asks takes it up.
                        search.under_way.store(false, Ordering::Relaxed);
                        return;
                    }
                }
            }
        });
    }

    /// Looks through the next images. Whether there are more after them.
    async fn step(
        &self,
        digests: Arc<impl Fn(u32) -> Vec<Digest> + Send + Sync + 'static>,
    ) -> Result<bool, tokio::task::JoinError> {
        let first = *self.done.borrow();
        let end = self.count.min(first.saturating_add(STEP));
        let segment = tokio::task::spawn_blocking(move || Segment::of(first..end, &*digests)).await?;
        self.segments.write().expect(SEGMENTS).push(segment);
        self.done.send_replace(end);
        Ok(end < self.count)
    }

    /// The image that may hold `digest`: no other does, but it may be another with the same beginning. `None` if none
    /// does.
    ///
    /// # Errors
    /// That is not known yet, and `patience` is over.
    pub(super) async fn find(&self, digest: &Digest, patience: Duration) -> Result<Option<u32>, Searching> {
        let mut done = self.done.subscribe();
        let looking = async {
            let mut looked = 0;
            loop {
                // Before looking: what is done now is in the segments.
                let reached = *done.borrow_and_update();
                if let Some(number) = self.look(digest, &mut looked) {
                    return Some(number);
                }
                if reached >= self.count || done.changed().await.is_err() {
                    return None;
                }
            }
        };
        let found = timeout(patience, looking).await;
        found.map_err(|_| Searching { done: *self.done.borrow(), count: self.count })
    }

    /// Looks into the segments from `looked` on, and says by it how many there were.
    fn look(&self, digest: &Digest, looked: &mut usize) -> Option<u32> {
        let segments = self.segments.read().expect(SEGMENTS);
        let new = std::mem::replace(looked, segments.len());
        segments[new..].iter().find_map(|segment| segment.find(digest))
    }
}

/// Why a lock on the segments is never poisoned.
const SEGMENTS: &str = "no holder of the segments panics";

impl Segment {
    fn of(images: Range<u32>, digests: impl Fn(u32) -> Vec<Digest>) -> Self {
        let own = |number| digests(number).into_iter().map(move |digest| (start(&digest), number));
        let mut entries: Vec<(u64, u32)> = images.flat_map(own).collect();
        entries.sort_unstable();
        entries.dedup_by_key(|(start, _)| *start);
        let (starts, numbers): (Vec<u64>, Vec<u32>) = entries.into_iter().unzip();
        Self { starts: starts.into(), numbers: numbers.into() }
    }

    fn find(&self, digest: &Digest) -> Option<u32> {
        let at = self.starts.binary_search(&start(digest)).ok()?;
        Some(self.numbers[at])
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::sync::{Condvar, Mutex};

    use super::*;

    fn digest(number: u32) -> Digest {
        Digest::of(&number.to_le_bytes())
    }

    /// Each image has a digest of its own and one that all share.
    fn own(number: u32) -> Vec<Digest> {
        vec![digest(number), Digest::of(b"shared")]
    }

    fn turns() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(1))
    }

    #[tokio::test]
    async fn digests_lead_to_the_first_image_that_holds_them() {
        let count = 2 * STEP + 7;
        let search = Arc::new(Search::new(count));
        search.begin("a", &turns(), own);
        for number in [0, STEP - 1, STEP, count - 1] {
            assert_eq!(search.find(&digest(number), PATIENCE).await, Ok(Some(number)));
        }
        assert_eq!(search.find(&Digest::of(b"shared"), PATIENCE).await, Ok(Some(0)));
        assert_eq!(search.find(&digest(count), PATIENCE).await, Ok(None));
    }

    /// The first step is done and the second held up: what is in the first is found, and what is not is not yet known.
    #[tokio::test]
    async fn what_is_done_is_found_while_the_rest_is_under_way() {
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        let computed = Arc::new(AtomicU32::new(0));
        let held_up = {
            let (gate, computed) = (Arc::clone(&gate), Arc::clone(&computed));
            move |number| {
                computed.fetch_add(1, Ordering::Relaxed);
                let open = gate.0.lock().unwrap();
                drop(gate.1.wait_while(open, |open| number >= STEP && !*open).unwrap());
                own(number)
            }
        };
        let search = Arc::new(Search::new(2 * STEP));
        let turns = turns();
        search.begin("a", &turns, held_up.clone());
        assert_eq!(search.find(&digest(3), PATIENCE).await, Ok(Some(3)));
        let soon = Duration::from_millis(1);
        let unknown = Searching { done: STEP, count: 2 * STEP };
        assert_eq!(search.find(&digest(STEP), soon).await, Err(unknown));
        // Who asks meanwhile begins no second search.
        search.begin("a", &turns, held_up);
        *gate.0.lock().unwrap() = true;
        gate.1.notify_all();
        assert_eq!(search.find(&digest(STEP), PATIENCE).await, Ok(Some(STEP)));
        assert_eq!(search.find(&digest(u32::MAX), PATIENCE).await, Ok(None));
        assert_eq!(computed.load(Ordering::Relaxed), 2 * STEP, "each image once");
    }

    #[tokio::test]
    async fn a_search_that_nobody_holds_ends() {
        let (first, begun) = std::sync::mpsc::channel();
        let search = Arc::new(Search::new(u32::MAX));
        let held = Arc::downgrade(&search);
        search.begin("a", &turns(), move |number| {
            let _ = first.send(());
            own(number)
        });
        tokio::task::spawn_blocking(move || begun.recv()).await.unwrap().unwrap();
        drop(search);
        while held.strong_count() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
