//! `/journal`: all lines from a number on, or those and all that follow while the client listens. Lines that are gone
//! are told as a gap, in either form.

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
use mockreg_proto::journal::{Entry, Gap, Record};
use serde::Deserialize;
use tokio::sync::mpsc;

use crate::body::Pieces;
use crate::core::Core;
use crate::journal::Journal;

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
fn so_far(core: Arc<Core>, since: u64) -> impl Iterator<Item = Bytes> + Send {
    let journal = &core.telemetry.journal;
    let (last, mut after) = (journal.extent().last_seq, journal.start(since));
    std::iter::from_fn(move || {
        let records = core.telemetry.journal.after(after);
        let records: Vec<_> = records.into_iter().take_while(|record| record.seq <= last).collect();
        // Where nothing follows, the gap reaches to the end.
        let next = records.first().map_or(last + 1, |record| record.seq);
        let text = text(Journal::gap(after, next), &records);
        after = records.last().map_or(last, |record| record.seq);
        (!text.is_empty()).then(|| Bytes::from(text))
    })
}

/// Sends lines until the follower has gone.
async fn follow(core: Arc<Core>, since: u64, batches: mpsc::Sender<Bytes>) {
    let mut after = core.telemetry.journal.start(since);
    loop {
        let records = tokio::select! {
            records = core.telemetry.journal.next(after) => records,
            () = batches.closed() => return,
        };
        let Some((first, last)) = records.first().zip(records.last()) else { continue };
        let text = text(Journal::gap(after, first.seq), &records);
        after = last.seq;
        if batches.send(Bytes::from(text)).await.is_err() {
            return;
        }
    }
}

/// Lines of the journal, after those that are missing before them.
fn text(gap: Option<Gap>, records: &[Record]) -> String {
    let mut text = String::new();
    if let Some(gap) = gap {
        let line = serde_json::to_string(&Entry::Gap { gap }).expect("numbers always serialise");
        writeln!(text, "{line}").expect("a string takes everything");
    }
    for record in records {
        let line = serde_json::to_string(record).expect("a record always serialises");
        writeln!(text, "{line}").expect("a string takes everything");
    }
    text
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
