//! Upload sessions: opened by POST, filled by PATCH and PUT, ended by PUT or DELETE, forgotten when nobody comes
//! back. Each has a lock of its own, so a slow client holds up no other upload. A later request takes a session over
//! from an earlier one: that one's client has usually given up, and the registry only has not noticed yet.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use mockreg_proto::digest::hex;
use mockreg_proto::seed::Seed;
use tokio::sync::watch;

use crate::sink::Sink;

/// Most sessions open at once: twenty times what the busiest replicator examined holds open.
pub(crate) const MAX_SESSIONS: usize = 10_000;
/// How long a session without a request lives: outlasts every outage that a replicator is expected to survive.
pub(crate) const SESSION_IDLE: Duration = Duration::from_secs(600);

/// All open sessions.
#[derive(Debug)]
pub(crate) struct Uploads {
    sessions: Mutex<HashMap<String, Arc<Session>>>,
    idle: Duration,
    key: Seed,
    opened: AtomicU64,
}

/// One upload.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) repository: String,
    sink: tokio::sync::Mutex<Sink>,
    len: AtomicU64,
    /// Number of the request that owns the session; an earlier one that sees a later number lets go.
    turn: watch::Sender<u64>,
    touched: Mutex<Instant>,
}

/// A session in the hands of one request.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    pub(crate) sink: tokio::sync::MutexGuard<'a, Sink>,
    session: &'a Session,
    turn: u64,
    turns: watch::Receiver<u64>,
}

/// Another request took the session over, or it was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Displaced;

impl Uploads {
    /// No sessions; each will live for `idle` after its last request.
    pub(crate) fn new(seed: u64, name: &str, idle: Duration) -> Self {
        // Ids differ between starts of a server, or a client of the last one could write into a stranger's session.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        let key = Seed::root(seed).child([b"upload".as_slice(), name.as_bytes(), &now.to_be_bytes()]);
        Self { sessions: Mutex::default(), idle, key, opened: AtomicU64::new(0) }
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<String, Arc<Session>>> {
        self.sessions.lock().expect("no holder of the sessions panics")
    }

    /// Opens a session; `None` if [`MAX_SESSIONS`] are open.
    pub(crate) fn open(&self, repository: &str) -> Option<Arc<Session>> {
        let ordinal = self.opened.fetch_add(1, Ordering::Relaxed);
        let session = Arc::new(Session::new(uuid(&self.key.child([ordinal.to_be_bytes()])), repository));
        let mut sessions = self.sessions();
        if sessions.len() >= MAX_SESSIONS {
            return None;
        }
        sessions.insert(session.id.clone(), Arc::clone(&session));
        Some(session)
    }

    /// The session `id` of `repository`.
    pub(crate) fn find(&self, repository: &str, id: &str) -> Option<Arc<Session>> {
        self.sessions().get(id).filter(|session| session.repository == repository).cloned()
    }

    /// Ends a session and whatever request holds it.
    pub(crate) fn close(&self, session: &Session) {
        self.sessions().remove(&session.id);
        session.displace();
    }

    /// Sessions open now.
    pub(crate) fn count(&self) -> u64 {
        self.sessions().len() as u64
    }

    /// Forgets the sessions that nobody came back to.
    pub(crate) fn sweep(&self) {
        self.sessions().retain(|_, session| !session.is_stale(self.idle));
    }

    /// How often [`Uploads::sweep`] is worth a call.
    pub(crate) fn sweep_interval(&self) -> Duration {
        (self.idle / 4).clamp(Duration::from_millis(10), Duration::from_secs(10))
    }

    /// Ends all sessions.
    pub(crate) fn clear(&self) {
        let sessions = std::mem::take(&mut *self.sessions());
        for session in sessions.values() {
            session.displace();
        }
    }
}

impl Session {
    fn new(id: String, repository: &str) -> Self {
        Self {
            id,
            repository: repository.to_owned(),
            sink: tokio::sync::Mutex::new(Sink::new()),
            len: AtomicU64::new(0),
            turn: watch::Sender::new(0),
            touched: Mutex::new(Instant::now()),
        }
    }

    /// Bytes that have arrived; while a request writes, as of its last piece.
    pub(crate) fn len(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    /// Takes the session over from whoever holds it.
    pub(crate) async fn claim(&self) -> Result<Claim<'_>, Displaced> {
        let turn = self.displace();
        let turns = self.turn.subscribe();
        self.touch();
        let sink = self.sink.lock().await;
        let claim = Claim { sink, session: self, turn, turns };
        if *claim.turns.borrow() == turn { Ok(claim) } else { Err(Displaced) }
    }

    fn displace(&self) -> u64 {
        let mut mine = 0;
        self.turn.send_modify(|turn| {
            *turn += 1;
            mine = *turn;
        });
        mine
    }

    fn touch(&self) {
        *self.touched.lock().expect("no holder of the time panics") = Instant::now();
    }

    fn is_stale(&self, idle: Duration) -> bool {
        let touched = *self.touched.lock().expect("no holder of the time panics");
        // A session that is being written has its lock held.
        touched.elapsed() > idle && self.sink.try_lock().is_ok()
    }
}

impl Claim<'_> {
    /// Lets others see how far the session has come.
    pub(crate) fn publish(&self) {
        self.session.len.store(self.sink.len(), Ordering::Release);
    }

    /// Waits until another request takes over.
    pub(crate) async fn displaced(&mut self) {
        let mine = self.turn;
        // The sender lives in the session, which this claim borrows, so waiting never fails.
        let _ = self.turns.wait_for(|turn| *turn != mine).await;
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.publish();
        self.session.touch();
    }
}

/// The first 16 bytes of a seed in the form of a UUID.
fn uuid(seed: &Seed) -> String {
    let digits = hex(&seed.key()[..16]);
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uploads(idle: Duration) -> Uploads {
        Uploads::new(1, "test", idle)
    }

    #[test]
    fn sessions_belong_to_their_repository_and_end_when_closed() {
        let uploads = uploads(SESSION_IDLE);
        let session = uploads.open("a").unwrap();
        assert_eq!(session.id.len(), 36);
        assert!(uploads.find("a", &session.id).is_some());
        assert!(uploads.find("b", &session.id).is_none());
        uploads.close(&session);
        assert!(uploads.find("a", &session.id).is_none());
    }

    #[test]
    fn the_number_of_sessions_is_bounded() {
        let uploads = uploads(SESSION_IDLE);
        assert!((0..MAX_SESSIONS).all(|_| uploads.open("a").is_some()));
        assert!(uploads.open("a").is_none());
        uploads.clear();
        assert!(uploads.open("a").is_some());
    }

    #[tokio::test]
    async fn a_later_claim_displaces_an_earlier_one() {
        let uploads = uploads(SESSION_IDLE);
        let session = uploads.open("a").unwrap();
        let mut first = session.claim().await.unwrap();
        let later = tokio::spawn({
            let session = Arc::clone(&session);
            async move { session.claim().await.map(|_| ()) }
        });
        first.displaced().await;
        drop(first);
        assert_eq!(later.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn only_sessions_without_a_writer_expire() {
        let uploads = uploads(Duration::ZERO);
        let (idle, busy) = (uploads.open("a").unwrap(), uploads.open("a").unwrap());
        let claim = busy.claim().await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
        uploads.sweep();
        assert!(uploads.find("a", &idle.id).is_none());
        assert!(uploads.find("a", &busy.id).is_some());
        drop(claim);
    }
}
