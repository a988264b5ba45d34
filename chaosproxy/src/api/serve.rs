//! HTTP around the routes: accepts connections within bounds, asks for the token, reads bodies, and gives every answer
//! the headers that Toxiproxy's middleware gives.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_TYPE, LOCATION, USER_AGENT, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, JoinSet};

use super::body::{self, Room};
use super::error::ApiError;
use super::routes::{self, Endpoint};
use super::{model, uri};
use crate::address::{Address, Listener};
use crate::server::Core;

/// Connections at once. Past that the oldest is closed: those who do nothing with theirs cannot lock others out.
const MOST_CONNECTIONS: usize = 1024;
/// Bytes of a request's head, and of a connection's buffer.
const HEAD_LIMIT: usize = 64 << 10;
/// How long a client may take over the head of a request, as the reference allows.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a client may take nothing of an answer before its connection is given up.
const READER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the accept loop rests when the process has no descriptors left.
const ACCEPT_REST: Duration = Duration::from_millis(50);

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

static REQUESTS: AtomicU64 = AtomicU64::new(1);

/// What a request is answered with.
#[derive(Clone, Debug)]
struct Desk {
    core: Arc<Core>,
    room: Arc<Room>,
}

/// The connections, the oldest first.
#[derive(Debug, Default)]
struct Connections {
    tasks: JoinSet<()>,
    handles: VecDeque<AbortHandle>,
}

impl Connections {
    fn add(&mut self, connection: impl Future<Output = ()> + Send + 'static) {
        self.handles.push_back(self.tasks.spawn(connection));
    }

    /// Makes room for one more.
    async fn make_room(&mut self) {
        while self.tasks.try_join_next().is_some() {}
        if self.handles.len() < MOST_CONNECTIONS {
            return;
        }
        self.handles.retain(|handle| !handle.is_finished());
        while self.handles.len() >= MOST_CONNECTIONS
            && let Some(oldest) = self.handles.pop_front()
        {
            oldest.abort();
            let _gone = self.tasks.join_next().await;
        }
    }
}

/// Serves the API until it is dropped; its connections end with it.
pub(crate) async fn serve(listener: Listener, core: Arc<Core>) {
    let mut connections = Connections::default();
    let desk = Desk { core, room: Arc::new(Room::new()) };
    loop {
        match listener.accept().await {
            Ok((fd, peer)) => {
                connections.make_room().await;
                connections.add(converse(fd, peer, desk.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "the API cannot accept");
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
}

async fn converse(fd: OwnedFd, peer: Address, desk: Desk) {
    let served = async {
        if let Address::Unix(_) = peer {
            serve_connection(UnixStream::from_std(fd.into())?, desk).await;
        } else {
            let limit = u32::try_from(READER_TIMEOUT.as_millis()).unwrap_or(u32::MAX);
            let _already_gone = set_tcp_user_timeout(&fd, limit);
            serve_connection(TcpStream::from_std(fd.into())?, desk).await;
        }
        Ok::<_, io::Error>(())
    };
    if let Err(error) = served.await {
        tracing::warn!(%error, "an API connection cannot be served");
    }
}

async fn serve_connection(stream: impl AsyncRead + AsyncWrite + Unpin, desk: Desk) {
    let service = hyper::service::service_fn(move |request| logged(desk.clone(), request));
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_LIMIT)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "API connection ended early");
    }
}

async fn logged(desk: Desk, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let response = answer(desk, request).await;
    if let Ok(response) = &response {
        tracing::debug!(%method, %uri, status = response.status().as_u16(), "API request");
    }
    response
}

async fn answer(desk: Desk, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let Some(path) = uri::segments(request.uri().path()) else {
        return Ok(misspelt());
    };
    let endpoint = Endpoint::of(&path).filter(|endpoint| desk.core.serves(endpoint));
    let is_open = matches!(endpoint, Some(Endpoint::Version | Endpoint::Health));
    if !is_open && !desk.core.guard.admits(request.headers().get(AUTHORIZATION)) {
        return Ok(unauthorized());
    }
    if let Some(clean) = uri::cleaned(&path) {
        return Ok(moved(&clean, request.uri().query()));
    }
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
        handle(&desk, handler, request).await.unwrap_or_else(|error| failure(&error))
    };
    let id = format!("{:020x}", REQUESTS.fetch_add(1, Relaxed));
    let id = HeaderValue::from_str(&id).expect("hex digits are a header value");
    response.headers_mut().insert("X-Toxiproxy-Request-Id", id);
    Ok(response)
}

/// Handles a request on a task of its own, so that a client that goes in the middle does not leave a change half done.
async fn handle(
    desk: &Desk,
    handler: routes::Handler,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, ApiError> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let body = desk.room.read(request.into_body()).await?;
    let place = if handler.has_big_answer() { Some(desk.room.answer().await?) } else { None };
    let (core, is_big) = (Arc::clone(&desk.core), body.is_big() || place.is_some());
    let work = async move {
        // All of it: its place is free again when it is handled.
        let body = body;
        handler.run(&core, &query, &body.bytes).await
    };
    let handled = if is_big {
        let runtime = Handle::current();
        tokio::task::spawn_blocking(move || runtime.block_on(work)).await
    } else {
        tokio::spawn(work).await
    };
    let response =
        handled.map_err(|_| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "the request failed"))??;
    match place {
        Some(place) => {
            let (head, body) = response.into_parts();
            let Ok(whole) = body.collect().await;
            Ok(Response::from_parts(head, Full::new(body::held(whole.to_bytes(), place))))
        }
        None => Ok(response),
    }
}

fn unauthorized() -> Response<Full<Bytes>> {
    let problem = "unauthorized: this server asks for a token; send it as Authorization: Bearer TOKEN";
    let mut response = failure(&ApiError::new(StatusCode::UNAUTHORIZED, problem));
    let challenge = HeaderValue::from_static("Bearer realm=\"chaosproxy\"");
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
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
