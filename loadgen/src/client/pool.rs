//! The pool: at most so many connections for both sides together, kept alive and used again, the most recently used
//! first, so that those no longer needed age and are closed.
//!
//! A *slot* is the right to have one connection in use. Whoever needs two at once (a blob on its way from source to
//! destination) takes both slots together, and nobody waits for a slot while holding one, so no order of arrivals can
//! block for ever. Idle connections do not hold slots; they make room when a new connection would exceed the limit.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::body::Outgoing;
use super::connection::Connection;
use super::error::{Reason, RequestError};
use super::reply::Reply;
use super::request::{Call, Remote};
use super::traffic::Traffic;
use super::upload::Upload;

/// Limits of a [`Client`].
#[derive(Clone, Copy, Debug)]
pub struct ClientConfig {
    /// Connections, both sides together; fewer than 2 are taken as 2, since a copy needs one to each side.
    pub max_connections: usize,
    /// No byte for so long: the attempt is broken.
    pub idle_timeout: Duration,
}

/// The client. Clones share one pool; the last one to go closes all idle connections.
#[derive(Clone, Debug)]
pub struct Client {
    idle_timeout: Duration,
    slots: Arc<Semaphore>,
    shelf: Arc<Shelf>,
    traffic: Arc<Traffic>,
}

/// The right to have one or two connections in use, given back when dropped.
#[derive(Debug)]
pub struct Slots(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

/// Idle connections, and how many there are of all.
#[derive(Debug)]
pub(crate) struct Shelf {
    limit: usize,
    state: Mutex<ShelfState>,
}

#[derive(Debug, Default)]
struct ShelfState {
    open: usize,
    /// The most recently used at the back. Bounded by `open`, beside dead ones that the next visit removes.
    idle: VecDeque<Connection>,
}

/// The place of an open socket among all; given back when dropped.
#[derive(Debug)]
struct Place(Arc<Shelf>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.lock().open -= 1;
    }
}

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, ShelfState> {
        self.state.lock().expect("nothing panics while it holds the shelf")
    }

    /// The connection to `remote` that was used last.
    fn take(&self, remote: &Remote) -> Option<Connection> {
        let mut state = self.lock();
        state.idle.retain(|connection| !connection.sender.is_closed());
        let index = state.idle.iter().rposition(|connection| connection.remote == *remote)?;
        let connection = state.idle.remove(index)?;
        connection.activity.set_in_use(true);
        Some(connection)
    }

    /// Counts a new connection, closing the idle one that was used longest ago where there are too many. The closed
    /// one's socket goes as soon as its driver runs, so for that moment there may be one more.
    fn admit(self: &Arc<Self>) -> Place {
        let mut state = self.lock();
        if state.open >= self.limit {
            state.idle.pop_front();
        }
        state.open += 1;
        Place(self.clone())
    }

    /// Puts a connection back for further use.
    pub(crate) fn put(&self, mut connection: Connection) {
        connection.reused = true;
        connection.activity.set_in_use(false);
        self.lock().idle.push_back(connection);
    }
}

impl Client {
    /// A client with an empty pool that counts into `traffic`.
    pub fn new(config: ClientConfig, traffic: Arc<Traffic>) -> Self {
        let limit = config.max_connections.max(2);
        Self {
            idle_timeout: config.idle_timeout,
            slots: Arc::new(Semaphore::new(limit)),
            shelf: Arc::new(Shelf { limit, state: Mutex::default() }),
            traffic,
        }
    }

    /// The counters of this client.
    pub fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// Waits for the right to use `count` connections at once, 1 or 2, first come first served.
    pub async fn slots(&self, count: u32) -> Slots {
        let permits = self.slots.clone().acquire_many_owned(count.min(2)).await;
        Slots(permits.expect("the semaphore is never closed"))
    }

    /// Sends a request, holding a slot for as long as the answer lives.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn request(&self, call: &Call<'_>) -> Result<Reply, RequestError> {
        let slots = self.slots(1).await;
        Ok(self.send(&slots, call).await?.holding(slots))
    }

    /// Sends a request under `slots` and waits for the head of the answer, whatever its status. A connection from
    /// the pool that turns out to be dead before the first byte of an answer is replaced by a new one, once.
    ///
    /// Cancel safe in this sense: dropping the future closes the connection.
    ///
    /// # Errors
    /// No connection, a broken one, or silence for the idle timeout.
    pub async fn send(&self, _slots: &Slots, call: &Call<'_>) -> Result<Reply, RequestError> {
        if let Some(connection) = self.shelf.take(call.remote) {
            let activity = connection.activity.clone();
            let before = activity.received();
            match self.exchange(connection, call).await {
                Err(error) if error.is_dead_connection() && activity.received() == before => {
                    self.traffic.retried(Reason::Stale);
                }
                outcome => return outcome,
            }
        }
        self.exchange(self.connect(call.remote).await?, call).await
    }

    /// Begins a request whose body of `length` bytes is fed while it is sent.
    ///
    /// # Errors
    /// No connection.
    pub async fn upload(&self, _slots: &Slots, call: &Call<'_>, length: u64) -> Result<Upload, RequestError> {
        let mut connection = self.fresh(call.remote).await?;
        let (feeder, body) = Outgoing::fed(length);
        let request = call.build_with(body, length)?;
        let answer = Box::pin(connection.sender.send_request(request));
        let in_flight = self.traffic.requested(call.remote.side);
        Ok(Upload::new(
            feeder,
            answer,
            connection,
            self.shelf.clone(),
            in_flight,
            self.idle_timeout,
            &self.traffic,
        ))
    }

    /// A connection that is known to take a request: a body that is fed cannot be sent again from here.
    async fn fresh(&self, remote: &Remote) -> Result<Connection, RequestError> {
        if let Some(mut connection) = self.shelf.take(remote) {
            let activity = connection.activity.clone();
            match activity.guard(self.idle_timeout, connection.sender.ready()).await {
                Ok(Ok(())) => return Ok(connection),
                _ => self.traffic.retried(Reason::Stale),
            }
        }
        self.connect(remote).await
    }

    async fn connect(&self, remote: &Remote) -> Result<Connection, RequestError> {
        Connection::open(remote, self.idle_timeout, &self.traffic, self.shelf.admit()).await
    }

    async fn exchange(&self, mut connection: Connection, call: &Call<'_>) -> Result<Reply, RequestError> {
        let request = call.build()?;
        let in_flight = self.traffic.requested(call.remote.side);
        let sent = Instant::now();
        let activity = connection.activity.clone();
        let answer = activity.guard(self.idle_timeout, async {
            connection.sender.ready().await?;
            connection.sender.send_request(request).await
        });
        let response = answer.await.map_err(|_| RequestError::idle())??;
        self.traffic.answered(sent.elapsed());
        Ok(Reply::new(response, connection, self.shelf.clone(), in_flight, self.idle_timeout))
    }
}
