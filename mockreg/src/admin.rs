//! The admin port: is it up, what has it seen, what shall it serve. Not for the clients under test. Whatever goes
//! wrong is answered with `{"error": …}`. This file is the table of routes and the small ones among them; `openapi`
//! tells a program the same table, `serve` is the port itself.

mod body;
mod catalogue;
mod journal;
mod openapi;
mod serve;
mod verify;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::body::Whole;
pub(crate) use self::catalogue::{Document, Given};
pub(crate) use self::serve::serve;
use crate::core::Core;

/// The type of JSON answers.
const JSON: &str = "application/json";
/// Longest reason that is taken over from an answer in plain text; those of axum are a sentence.
const MAX_REASON: usize = 4 << 10;
/// Largest body of the routes that take a few words.
const MAX_WORDS: usize = 64 << 10;

fn routes(core: Arc<Core>) -> Router {
    let routes = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/counters", get(counters))
        .route("/journal", get(journal::read).delete(journal::clear))
        .route("/catalog", get(catalogue::read).put(catalogue::replace))
        .route("/reset", post(reset))
        .route("/verify", post(verify::verify))
        .route("/openapi.json", get(|| async { json(openapi::document()) }))
        .with_state(core);
    // Around the routes as a whole: those that refuse a method say by themselves which they answer.
    Router::new().fallback_service(routes).layer(from_fn(errors_as_json))
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
    let allowed = head.headers.get(ALLOW).and_then(|allow| allow.to_str().ok()).unwrap_or_default();
    let allowed = allowed.split(',').map(str::trim).collect::<Vec<_>>().join(", ");
    let text = axum::body::to_bytes(body, MAX_REASON).await.unwrap_or_default();
    let reason = match (String::from_utf8_lossy(&text).trim(), status) {
        ("", StatusCode::NOT_FOUND) => format!("{asked}: there is no such route"),
        ("", StatusCode::METHOD_NOT_ALLOWED) => format!("{asked}: this route answers {allowed}"),
        ("", status) => format!("{asked}: {status}"),
        (text, _) => text.to_owned(),
    };
    head.headers.remove(CONTENT_LENGTH);
    let mut reply = refused(status, &reason);
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
    let counters = core.counters();
    let text = core.telemetry.metrics.text(counters.levels, &counters.tallied);
    ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response()
}

async fn counters(State(core): State<Arc<Core>>) -> Response {
    json(&core.counters())
}

/// Body of `POST /reset`; none at all is an empty one.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Reset {
    /// Stamped into every journal line from now on. None: no stamp.
    run_id: Option<String>,
}

/// `POST /reset`: forgets pushes, uploads, journal and counters; the catalogue stays.
async fn reset(State(core): State<Arc<Core>>, Whole(body): Whole<MAX_WORDS>) -> Response {
    let reset = match &body[..] {
        [] => Ok(Reset::default()),
        // serde would take `["run-7"]` for a struct as well.
        text if !text.trim_ascii_start().starts_with(b"{") => {
            return refused(StatusCode::BAD_REQUEST, "request body: not a JSON object");
        }
        text => serde_json::from_slice(text),
    };
    match reset {
        Ok(Reset { run_id }) => {
            core.reset(run_id.as_deref());
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => refused(StatusCode::BAD_REQUEST, &format!("request body: {error}")),
    }
}

fn json(value: &impl Serialize) -> Response {
    let text = serde_json::to_string(value).expect("what this port answers always serialises") + "\n";
    ([(CONTENT_TYPE, JSON)], text).into_response()
}

fn refused(status: StatusCode, reason: &str) -> Response {
    let mut reply = json(&serde_json::json!({ "error": reason }));
    *reply.status_mut() = status;
    reply
}
