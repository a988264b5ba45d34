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

use super::connection::Connection;
use super::error::RequestError;
use super::pool::Shelf;
use super::reply::Reply;
use super::traffic::{InFlight, Traffic};

type Answer = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

/// A request under way. Dropping it closes its connection.
pub struct Upload {
    feeder: mpsc::Sender<Bytes>,
    answer: Answer,
    /// What becomes part of the answer; gone once there has been one.
    rest: Option<Rest>,
    idle_timeout: Duration,
    traffic: Arc<Traffic>,
}

struct Rest {
    connection: Connection,
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
        let rest = Some(Rest { connection, shelf, in_flight });
        Self { feeder, answer, rest, idle_timeout, traffic: traffic.clone() }
    }

    /// Hands over the next frame, waiting while the connection is busy with the ones before.
    ///
    /// # Errors
    /// The request has ended, by an answer or a broken connection; the frame is lost.
    pub async fn feed(&mut self, frame: Bytes) -> Result<(), FeedError> {
        let Some(rest) = &self.rest else { return Err(FeedError::Broken(spent())) };
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
        let response = answer.map_err(|_| RequestError::idle())??;
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
            (Err(error), _) => FeedError::Broken(error.into()),
        }
    }
}

/// Feeding on after the end of a request: there is nothing to be had from it any more.
fn spent() -> RequestError {
    RequestError::Protocol("the request has ended already".into())
}
