//! HTTP around the routes: accepts connections, reads bodies within a bound, and gives every answer the headers
//! that Toxiproxy's middleware gives.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, LOCATION, USER_AGENT, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::error::ApiError;
use super::routes::{self, Endpoint};
use super::{model, uri};
use crate::server::Core;

/// Largest request body: a timeline of a thousand events fits ten times.
const BODY_LIMIT: usize = 4 << 20;
/// How long a client may take over the head of a request, as the reference allows.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// How long it may take over a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);
/// How long the accept loop rests when the process has no descriptors left.
const ACCEPT_REST: Duration = Duration::from_millis(50);

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

static REQUESTS: AtomicU64 = AtomicU64::new(1);

/// Serves the API until it is dropped; its connections end with it.
pub(crate) async fn serve(listener: TcpListener, core: Arc<Core>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let core = Arc::clone(&core);
                connections.spawn(async move {
                    let service =
                        hyper::service::service_fn(move |request| answer(Arc::clone(&core), request));
                    let served = hyper::server::conn::http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(HEAD_TIMEOUT)
                        .serve_connection(TokioIo::new(stream), service);
                    if let Err(error) = served.await {
                        tracing::debug!(%error, "API connection ended early");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the API cannot accept");
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
}

async fn answer(core: Arc<Core>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let Some(path) = uri::segments(request.uri().path()) else {
        return Ok(misspelt());
    };
    if let Some(clean) = uri::cleaned(&path) {
        return Ok(moved(&clean, request.uri().query()));
    }
    let endpoint = Endpoint::of(&path).filter(|endpoint| core.serves(endpoint));
    let Some(endpoint) = endpoint else {
        return Ok(text(StatusCode::NOT_FOUND, "404 page not found\n"));
    };
    let Some(handler) = endpoint.handler(request.method()) else {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        return Ok(response);
    };
    let is_browser =
        request.headers().get(USER_AGENT).is_some_and(|agent| agent.as_bytes().starts_with(b"Mozilla/"));
    let mut response = if is_browser {
        text(StatusCode::FORBIDDEN, "User agent not allowed\n")
    } else {
        handle(&core, handler, request).await.unwrap_or_else(|error| failure(&error))
    };
    let id = format!("{:020x}", REQUESTS.fetch_add(1, Relaxed));
    let id = HeaderValue::from_str(&id).expect("hex digits are a header value");
    response.headers_mut().insert("X-Toxiproxy-Request-Id", id);
    Ok(response)
}

async fn handle(
    core: &Arc<Core>,
    handler: routes::Handler,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, ApiError> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let body = Limited::new(request.into_body(), BODY_LIMIT).collect();
    let body = match tokio::time::timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let problem = format!("request body is larger than {BODY_LIMIT} bytes");
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, problem));
        }
        Ok(Err(error)) => return Err(ApiError::bad_body(error)),
        Err(_) => return Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "request body took too long")),
    };
    handler.run(core, &query, &body).await
}

/// An error as the reference sends it: JSON that is called text.
pub(super) fn failure(error: &ApiError) -> Response<Full<Bytes>> {
    text(error.status, &(model::text_of(error) + "\n"))
}

/// What Go answers to an address that it cannot read, before any route.
fn misspelt() -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::BAD_REQUEST, "400 Bad Request");
    response.headers_mut().remove(X_CONTENT_TYPE_OPTIONS);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The reference sends whoever asks for `//proxies` to `/proxies`.
fn moved(path: &str, query: Option<&str>) -> Response<Full<Bytes>> {
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let Ok(location) = HeaderValue::from_str(&(path.to_owned() + &query)) else { return misspelt() };
    let mut response = Response::default();
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    response.headers_mut().insert(LOCATION, location);
    response
}

fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body.to_owned()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, TEXT);
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    response
}
