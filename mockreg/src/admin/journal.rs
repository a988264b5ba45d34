//! `/journal`: all lines from a number on, or those and all that follow while the client listens.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body as AxumBody;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body::{Body, Frame};
use mockreg_proto::journal::Record;
use serde::Deserialize;
use tokio::sync::mpsc;

use crate::body::Pieces;
use crate::core::Core;

/// Batches of lines made ahead for a follower. Beyond them the ring itself is the buffer: a follower that falls
/// behind it reads of a gap.
const BATCHES_AHEAD: usize = 1;

/// What `GET /journal` is asked for.
#[derive(Deserialize)]
pub(super) struct Wanted {
    /// Lines with larger numbers.
    #[serde(default)]
    since: u64,
    /// Go on with the lines to come.
    #[serde(default)]
    follow: bool,
}

/// `GET /journal?since=N&follow=true`: made while it is sent, so a full journal takes no memory a second time.
pub(super) async fn read(State(core): State<Arc<Core>>, Query(wanted): Query<Wanted>) -> Response {
    let body = if wanted.follow {
        let (batches, lines) = mpsc::channel(BATCHES_AHEAD);
        tokio::spawn(follow(core, wanted.since, batches));
        AxumBody::new(Followed(lines))
    } else {
        core.telemetry.settle();
        AxumBody::new(Batches(Box::new(so_far(core, wanted.since))))
    };
    ([(CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

/// `DELETE /journal`
pub(super) async fn clear(State(core): State<Arc<Core>>) -> StatusCode {
    core.telemetry.settle();
    core.telemetry.journal.clear();
    StatusCode::NO_CONTENT
}

/// The lines up to this moment. Those that come later are for the next reader: a busy server would never end this.
fn so_far(core: Arc<Core>, mut since: u64) -> impl Iterator<Item = Bytes> + Send {
    let last = core.telemetry.journal.extent().last_seq;
    std::iter::from_fn(move || {
        let records = core.telemetry.journal.after(since);
        let records: Vec<_> = records.into_iter().take_while(|record| record.seq <= last).collect();
        since = records.last()?.seq;
        let mut text = String::new();
        append(&mut text, &records);
        Some(Bytes::from(text))
    })
}

/// Sends lines until the follower has gone.
async fn follow(core: Arc<Core>, mut since: u64, batches: mpsc::Sender<Bytes>) {
    loop {
        let records = tokio::select! {
            records = core.telemetry.journal.next(since) => records,
            () = batches.closed() => return,
        };
        let mut text = String::new();
        if let Some(first) = records.first().map(|record| record.seq).filter(|first| *first > since + 1) {
            let gap = serde_json::json!({ "gap": { "after": since, "missing": first - since - 1 } });
            writeln!(text, "{gap}").expect("a string takes everything");
        }
        append(&mut text, &records);
        since = records.last().map_or(since, |record| record.seq);
        if batches.send(Bytes::from(text)).await.is_err() {
            return;
        }
    }
}

fn append(text: &mut String, records: &[Record]) {
    for record in records {
        let line = serde_json::to_string(record).expect("a record always serialises");
        writeln!(text, "{line}").expect("a string takes everything");
    }
}

/// A body of unknown length, made batch by batch.
struct Batches(Pieces);

impl Body for Batches {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.next().map(|batch| Ok(Frame::data(batch))))
    }
}

/// A body without an end.
struct Followed(mpsc::Receiver<Bytes>);

impl Body for Followed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|batch| batch.map(|batch| Ok(Frame::data(batch))))
    }
}
