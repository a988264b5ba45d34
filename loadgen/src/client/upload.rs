//! A request that is fed while it is sent. The registry may answer before it has everything; then there is no use in
//! feeding on.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::connection::{Connection, SEND_BUFFER};
use super::error::RequestError;
use super::pool::Shelf;
use super::reply::Reply;
use super::traffic::{InFlight, Traffic};

type Answer = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

/// A request under way. Dropping it closes its connection.
pub struct Upload {
    feeder: mpsc::Sender<Bytes>,
    /// Bytes fed, those on their way included.
    fed: u64,
    answer: Answer,
    /// What becomes part of the answer; gone once there has been one.
    rest: Option<Rest>,
    idle_timeout: Duration,
    traffic: Arc<Traffic>,
}

struct Rest {
    connection: Connection,
    /// Bytes that the connection had received when the request began.
    received: u64,
    shelf: Arc<Shelf>,
    in_flight: InFlight,
}

/// Why feeding ended early.
#[derive(Debug)]
pub enum FeedError {
    /// The registry has answered already.
    Answered(Box<Reply>),
    /// The connection broke.
    Broken(RequestError),
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").finish_non_exhaustive()
    }
}

impl Upload {
    pub(crate) fn new(
        feeder: mpsc::Sender<Bytes>,
        answer: Answer,
        connection: Connection,
        shelf: Arc<Shelf>,
        in_flight: InFlight,
        idle_timeout: Duration,
        traffic: &Arc<Traffic>,
    ) -> Self {
        let received = connection.activity.received();
        let rest = Some(Rest { connection, received, shelf, in_flight });
        Self { feeder, fed: 0, answer, rest, idle_timeout, traffic: traffic.clone() }
    }

    /// Hands over the next frame, waiting while the connection is busy with the ones before.
    ///
    /// # Errors
    /// The request has ended, by an answer or a broken connection; the frame is lost.
    pub async fn feed(&mut self, frame: Bytes) -> Result<(), FeedError> {
        let Some(rest) = &self.rest else { return Err(FeedError::Broken(spent())) };
        self.fed += frame.len() as u64;
        let fed = tokio::select! {
            biased;
            answer = &mut self.answer => Err(answer),
            fed = rest.connection.activity.guard(self.idle_timeout, self.feeder.send(frame)) => Ok(fed),
        };
        match fed {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Err(_)) => Err(FeedError::Broken(RequestError::idle())),
            // The connection takes no more; why, the answer tells.
            Ok(Ok(Err(_))) => Err(self.ended().await),
            Err(answer) => Err(self.early(answer)),
        }
    }

    /// Waits for the request to end before it has been fed whole, which is an answer or an error and never good
    /// news. For waiting beside whatever produces the next frame, without a time limit. Cancel safe.
    pub async fn ended(&mut self) -> FeedError {
        if self.rest.is_none() {
            return FeedError::Broken(spent());
        }
        let answer = (&mut self.answer).await;
        self.early(answer)
    }

    /// Waits for the answer after the last frame.
    ///
    /// # Errors
    /// A broken connection, or silence for the idle timeout.
    pub async fn finish(mut self) -> Result<Reply, RequestError> {
        let fed = Instant::now();
        let rest = self.rest.take().ok_or_else(spent)?;
        let answer = rest.connection.activity.guard(self.idle_timeout, &mut self.answer).await;
        let answer = answer.map_err(|_| RequestError::idle())?;
        let response = answer.map_err(|error| rest.broken(error, self.fed))?;
        self.traffic.answered(fed.elapsed());
        Ok(Reply::new(response, rest.connection, rest.shelf, rest.in_flight, self.idle_timeout))
    }

    fn early(&mut self, answer: hyper::Result<Response<Incoming>>) -> FeedError {
        match (answer, self.rest.take()) {
            (Ok(response), Some(rest)) => {
                let reply =
                    Reply::new(response, rest.connection, rest.shelf, rest.in_flight, self.idle_timeout);
                FeedError::Answered(Box::new(reply.not_reusable()))
            }
            (Ok(_), None) => FeedError::Broken(spent()),
            (Err(error), Some(rest)) => FeedError::Broken(rest.broken(error, self.fed)),
            (Err(error), None) => FeedError::Broken(error.into()),
        }
    }
}

impl Rest {
    /// What broke the request after so many bytes were fed. A connection from the pool that dies before the first byte
    /// of an answer had been closed already, as far as anybody here can tell, while what was fed fits into the send
    /// buffer: the close was on its way when the connection was taken.
    fn broken(&self, error: hyper::Error, fed: u64) -> RequestError {
        let error = RequestError::from(error);
        let unanswered = self.connection.activity.received() == self.received;
        if self.connection.reused && unanswered && fed <= SEND_BUFFER as u64 { error.stale() } else { error }
    }
}

/// Feeding on after the end of a request: there is nothing to be had from it any more.
fn spent() -> RequestError {
    RequestError::Protocol("the request has ended already".into())
}
