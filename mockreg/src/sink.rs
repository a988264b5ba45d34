//! Where an upload's bytes go. They are compared with the synthetic stream as long as they follow it, which is ten
//! times faster than hashing and keeps nothing; from the first byte that differs they are hashed and kept. Unchecked
//! bytes are never accepted.

use std::sync::Arc;

use bytes::Bytes;
use mockreg_proto::digest::Digest;
use mockreg_proto::journal::Check;
use mockreg_synth::{Arrival, Comparison, Tables, Verdict};
use tokio::task::JoinHandle;

use crate::content::{Content, Keeper, NoRoom, Storage};
use crate::hashing::Hashing;

/// Bytes kept between two chances for other tasks to run.
const KEEP_SLICE: usize = 256 << 10;
/// An upload that followed the synthetic stream for so long and then left it is a damaged copy, not a layer of its
/// own: archives made elsewhere leave it within their first header. Such an upload is hashed to its end even where
/// it cannot be kept, so that its sender learns that the digest is wrong and not that there is no room.
const LOOKS_SYNTHETIC: u64 = 64 << 10;

/// Bytes of a synthetic layer between two looks ahead. Its digest takes checkpoints up to its end; a server that has
/// none yet computes them while the bytes come in, or the client would wait for seconds at the end of a large one.
const LOOK_AHEAD: u64 = 64 << 20;

/// What checking and keeping needs.
#[derive(Clone, Debug)]
pub(crate) struct Workshop {
    pub(crate) tables: Arc<Tables>,
    pub(crate) storage: Storage,
}

/// The bytes of one upload.
#[derive(Debug)]
pub(crate) struct Sink {
    state: State,
    len: u64,
    /// Length at which to look ahead next, and the thread that does so; one at a time.
    next_look: u64,
    looking: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum State {
    /// So far these are the bytes of a synthetic layer.
    Compare(Box<Comparison>),
    /// They are, to the last byte.
    Whole(Box<Comparison>, Digest, Arrival),
    /// They are not. A damaged copy that found no room has the reason in `kept`.
    Hash { hashing: Hashing, kept: Result<Keeper, NoRoom> },
    /// A thread is at it. The sink waits for it, and whoever comes next does if this one is dropped.
    Busy(JoinHandle<State>),
}

/// A whole upload, checked.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) digest: Digest,
    pub(crate) check: Check,
    /// The content; an error where it could not be kept.
    pub(crate) content: Result<Content, NoRoom>,
}

impl Sink {
    /// Nothing has arrived.
    pub(crate) fn new() -> Self {
        Self {
            state: State::Compare(Box::new(Comparison::new())),
            len: 0,
            next_look: LOOK_AHEAD,
            looking: None,
        }
    }

    /// Bytes that have arrived.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Which check the bytes go through.
    pub(crate) fn check(&self) -> Check {
        if matches!(self.state, State::Compare(_) | State::Whole(..)) { Check::Compare } else { Check::Hash }
    }

    /// Takes the next bytes. If the future is dropped, some leading part of them has been taken, and `len` says how
    /// much.
    ///
    /// # Errors
    /// There is no room for them. The sink is of no use any more.
    pub(crate) async fn append(&mut self, bytes: &Bytes, workshop: &Workshop) -> Result<(), NoRoom> {
        self.settle().await;
        self.state = match self.take() {
            State::Whole(comparison, ..) => State::Compare(comparison),
            other => other,
        };
        let State::Compare(comparison) = &mut self.state else { return self.hash(bytes).await };
        let before = comparison.matched();
        let verdict = comparison.offer(bytes);
        let taken = comparison.matched() - before;
        self.len += taken;
        if verdict == Verdict::Matching {
            self.look_ahead(workshop);
            return Ok(());
        }
        self.work(workshop, leave_stream);
        self.settle().await;
        self.hash(&bytes.slice(taken as usize..)).await
    }

    fn look_ahead(&mut self, workshop: &Workshop) {
        let State::Compare(comparison) = &self.state else { return };
        let busy = self.looking.as_ref().is_some_and(|thread| !thread.is_finished());
        if self.len < self.next_look || busy {
            return;
        }
        self.next_look = self.len + LOOK_AHEAD;
        if let Some(spec) = comparison.so_far() {
            let tables = Arc::clone(&workshop.tables);
            self.looking = Some(tokio::task::spawn_blocking(move || tables.foresee(spec)));
        }
    }

    async fn hash(&mut self, bytes: &Bytes) -> Result<(), NoRoom> {
        let State::Hash { hashing, kept } = &mut self.state else {
            unreachable!("the sink has left the stream")
        };
        if let Err(error) = kept
            && self.len < LOOKS_SYNTHETIC
        {
            return Err(error.clone());
        }
        for start in (0..bytes.len()).step_by(KEEP_SLICE) {
            let slice = bytes.slice(start..bytes.len().min(start + KEEP_SLICE));
            if let Ok(keeper) = kept {
                keeper.push(&slice)?;
            }
            self.len += slice.len() as u64;
            hashing.push(slice);
            hashing.keep_up().await;
            tokio::task::consume_budget().await;
        }
        Ok(())
    }

    /// Gives the comparison to a thread that may take its time.
    fn work(&mut self, workshop: &Workshop, work: fn(Box<Comparison>, &Workshop) -> State) {
        self.state = match self.take() {
            State::Compare(comparison) => {
                let workshop = workshop.clone();
                State::Busy(tokio::task::spawn_blocking(move || work(comparison, &workshop)))
            }
            other => other,
        };
    }

    /// Waits for that thread.
    async fn settle(&mut self) {
        if let State::Busy(thread) = &mut self.state {
            self.state = thread.await.expect("comparing and hashing do not panic");
        }
    }

    fn take(&mut self) -> State {
        std::mem::replace(&mut self.state, State::Compare(Box::new(Comparison::new())))
    }

    /// The digest of everything that arrived, and its content. May be asked again if the future is dropped, but not
    /// after it is done.
    ///
    /// # Errors
    /// There is no room for it.
    pub(crate) async fn finish(&mut self, workshop: &Workshop) -> Result<Finished, NoRoom> {
        self.settle().await;
        self.work(workshop, judge);
        self.settle().await;
        let hashed = match &mut self.state {
            State::Hash { hashing, .. } => Some(hashing.digest().await),
            _ => None,
        };
        match (self.take(), hashed) {
            (State::Whole(_, digest, arrival), _) => {
                Ok(Finished { digest, check: Check::Compare, content: Ok(Content::Recipe(arrival)) })
            }
            (State::Hash { kept: Err(error), .. }, _) if self.len < LOOKS_SYNTHETIC => Err(error),
            (State::Hash { kept, .. }, Some(digest)) => {
                let content = kept.map(|keeper| Content::Kept(Arc::new(keeper.finish())));
                Ok(Finished { digest, check: Check::Hash, content })
            }
            _ => unreachable!("the comparison was judged, and what is not synthetic was hashed"),
        }
    }
}

/// A whole layer, with its digest, or something else.
fn judge(comparison: Box<Comparison>, workshop: &Workshop) -> State {
    let Some(arrival) = comparison.arrival() else { return leave_stream(comparison, workshop) };
    let digests = workshop.tables.digests(arrival.spec);
    let digest = if arrival.unpacked { digests.diff_id } else { digests.digest };
    State::Whole(comparison, digest, arrival)
}

/// From comparing to hashing: the hash goes on from the checkpoint below, and the bytes that matched are made again.
/// Nothing is asked for twice.
#[allow(clippy::needless_pass_by_value)] // Of one shape with `judge`, which gives it back.
fn leave_stream(comparison: Box<Comparison>, workshop: &Workshop) -> State {
    let (hasher, mut prefix) = comparison.resume(&workshop.tables);
    let mut keeper = Keeper::new(&workshop.storage);
    let kept = prefix.try_for_each(|piece| keeper.push(&piece));
    State::Hash { hashing: Hashing::new(hasher), kept: kept.map(|()| keeper) }
}
