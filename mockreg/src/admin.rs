//! The admin port: is it up, what has it seen, what shall it serve. Not for the clients under test. Whatever goes
//! wrong is answered with `{"error": …}`.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::body::Body as AxumBody;
use axum::extract::{DefaultBodyLimit, Query, Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use bytes::Bytes;
use mockreg_synth::catalogue::Plan;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::core::Core;
use crate::journal::Extent;
use crate::metrics::{Levels, Totals};

/// Largest body of `PUT /catalog`: some 100,000 images, listed one by one.
const MAX_CATALOGUE: usize = 16 << 20;
/// The type of JSON answers.
const JSON: &str = "application/json";
/// Longest reason that is taken over from an answer in plain text; those of axum are a sentence.
const MAX_REASON: usize = 4 << 10;

/// Serves the admin port until told to stop.
pub(crate) async fn serve(core: Arc<Core>, listener: TcpListener, mut stop: watch::Receiver<bool>) {
    let stopped = async move {
        // A sender that is gone has stopped as well.
        let _ = stop.wait_for(|stop| *stop).await;
    };
    if let Err(error) = axum::serve(listener, routes(core)).with_graceful_shutdown(stopped).await {
        tracing::error!(%error, "the admin port stopped serving");
    }
}

fn routes(core: Arc<Core>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/counters", get(counters))
        .route("/journal", get(journal).delete(clear_journal))
        .route("/catalog", put(put_catalogue))
        .route("/reset", post(reset))
        .layer(DefaultBodyLimit::max(MAX_CATALOGUE))
        .layer(from_fn(errors_as_json))
        .with_state(core)
}

/// Gives every error a JSON body: those of unknown routes, methods and parameters come without one, or as text.
async fn errors_as_json(request: Request, next: Next) -> Response {
    let asked = format!("{} {}", request.method(), request.uri().path());
    let answer = next.run(request).await;
    let status = answer.status();
    let is_json = answer.headers().get(CONTENT_TYPE).is_some_and(|given| given == JSON);
    if is_json || !(status.is_client_error() || status.is_server_error()) {
        return answer;
    }
    let (mut head, body) = answer.into_parts();
    let text = axum::body::to_bytes(body, MAX_REASON).await.unwrap_or_default();
    let reason = match (String::from_utf8_lossy(&text).trim(), status) {
        ("", StatusCode::NOT_FOUND) => format!("{asked}: there is no such route"),
        ("", StatusCode::METHOD_NOT_ALLOWED) => format!("{asked}: the route answers what `Allow` lists"),
        ("", status) => format!("{asked}: {status}"),
        (_, StatusCode::PAYLOAD_TOO_LARGE) => format!("request body: larger than {MAX_CATALOGUE} bytes"),
        (text, _) => text.to_owned(),
    };
    head.headers.remove(CONTENT_LENGTH);
    let mut reply = refused(&reason);
    head.headers.extend(std::mem::take(reply.headers_mut()));
    Response::from_parts(head, reply.into_body())
}

async fn ready(State(core): State<Arc<Core>>) -> Response {
    if core.images.is_ready() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, "the catalogue's digests are being computed\n").into_response()
}

async fn metrics(State(core): State<Arc<Core>>) -> Response {
    core.telemetry.settle();
    ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], core.telemetry.metrics.text(core.levels())).into_response()
}

/// `GET /counters`
#[derive(Serialize)]
struct Counters {
    #[serde(flatten)]
    totals: Totals,
    open_connections: u64,
    #[serde(flatten)]
    levels: Levels,
    journal: Extent,
}

async fn counters(State(core): State<Arc<Core>>) -> Response {
    core.telemetry.settle();
    json(&Counters {
        totals: core.telemetry.metrics.totals(),
        open_connections: core.telemetry.metrics.open_connections.get().unsigned_abs(),
        levels: core.levels(),
        journal: core.telemetry.journal.extent(),
    })
}

#[derive(Deserialize)]
struct Since {
    #[serde(default)]
    since: u64,
}

/// `GET /journal?since=N`: made while it is sent, so a full journal takes no memory a second time.
async fn journal(State(core): State<Arc<Core>>, Query(Since { mut since }): Query<Since>) -> Response {
    core.telemetry.settle();
    // Lines that come later are for the next reader: a busy server would never end this answer.
    let last = core.telemetry.journal.extent().last_seq;
    let batches = std::iter::from_fn(move || {
        let records = core.telemetry.journal.after(since);
        let records: Vec<_> = records.into_iter().take_while(|record| record.seq <= last).collect();
        since = records.last()?.seq;
        let mut text = String::new();
        for record in &records {
            let line = serde_json::to_string(record).expect("a record always serialises");
            writeln!(text, "{line}").expect("a string takes everything");
        }
        Some(Bytes::from(text))
    });
    ([(CONTENT_TYPE, "application/x-ndjson")], AxumBody::new(Batches(Box::new(batches)))).into_response()
}

/// A body of unknown length, made batch by batch.
struct Batches(crate::body::Pieces);

impl http_body::Body for Batches {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Ready(self.0.next().map(|batch| Ok(http_body::Frame::data(batch))))
    }
}

async fn clear_journal(State(core): State<Arc<Core>>) -> StatusCode {
    core.telemetry.settle();
    core.telemetry.journal.clear();
    StatusCode::NO_CONTENT
}

/// `PUT /catalog`: replaces all that the catalogue offered; pushed content stays.
async fn put_catalogue(State(core): State<Arc<Core>>, body: Bytes) -> Response {
    match tokio::task::spawn_blocking(move || planned(&body)).await {
        Ok(Ok(plan)) => {
            core.replace_catalogue(plan);
            tokio::spawn(async move { core.images.prepare().await });
            StatusCode::NO_CONTENT.into_response()
        }
        Ok(Err(reason)) => refused(&reason),
        Err(error) => {
            tracing::error!(%error, "a catalogue was not read");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// What a catalogue means. A large one takes a moment to read.
fn planned(body: &[u8]) -> Result<Plan, String> {
    let text = std::str::from_utf8(body).map_err(|error| format!("request body: {error}"))?;
    mockreg_synth::catalogue::read("request body", text).map_err(|error| error.to_string())
}

/// `POST /reset`
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reset {
    run_id: Option<String>,
}

async fn reset(State(core): State<Arc<Core>>, body: Bytes) -> Response {
    let reset = match body.trim_ascii() {
        [] => Ok(Reset::default()),
        text => serde_json::from_slice(text),
    };
    match reset {
        Ok(Reset { run_id }) => {
            core.reset(run_id.as_deref());
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => refused(&format!("request body: {error}")),
    }
}

fn json(value: &impl Serialize) -> Response {
    let text = serde_json::to_string(value).expect("numbers and texts always serialise") + "\n";
    ([(CONTENT_TYPE, JSON)], text).into_response()
}

fn refused(reason: &str) -> Response {
    let mut reply = json(&serde_json::json!({ "error": reason }));
    *reply.status_mut() = StatusCode::BAD_REQUEST;
    reply
}
