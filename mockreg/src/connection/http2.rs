//! HTTP/2 on a connection: streams side by side, each handled by a task of its own, each answer sent as fast as its
//! window opens. The library below hyper is used directly, for it knows the numbers of streams, without which nobody
//! could tell whose bytes have left.
//!
//! Answers are sent by the connection's own task: every frame that leaves makes room for more of the same answer, and
//! waking another task for each cost several times what sending does.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use h2::server::{Builder, Connection, SendResponse};
use h2::{RecvStream, SendStream};
use http::header::{DATE, EXPECT, HeaderValue};
use http::{Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::gather::Gather;
use super::{Line, STOP_GRACE, WRITE_STALL};
use crate::body::{Body, Reply};
use crate::delivery::Frames;
use crate::exchange::Exchange;
use crate::handlers;
use crate::inflow::Inflow;
use crate::socket::Socket;

/// Requests at once on one connection: what clients usually hope for, a tenth of what HTTP/1.1 would need connections
/// for.
const MAX_STREAMS: u32 = 256;
/// Largest frame taken: fewer heads for those clients that make use of it.
const MAX_FRAME: u32 = 128 << 10;
/// Largest request head, fields together: a token of 32 KiB, and as much again.
const MAX_HEAD: u32 = 64 << 10;
/// Bytes of an answer that wait for the socket. They are slices of shared memory, so it is a matter of speed only.
const SEND_AHEAD: usize = 512 << 10;

/// Runs HTTP/2 on the connection until it ends or the server stops.
pub(super) async fn speak<S>(line: &Line, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let frames = Arc::new(Mutex::new(Frames::default()));
    line.core.telemetry.follow(line.conn, frames.clone());
    let window = line.core.windows.take();
    let handshake = Builder::new()
        .initial_connection_window_size(window.connection())
        .initial_window_size(window.stream())
        .max_concurrent_streams(MAX_STREAMS)
        .max_frame_size(MAX_FRAME)
        .max_header_list_size(MAX_HEAD)
        .max_send_buffer_size(SEND_AHEAD)
        .handshake(Gather::new(Socket::new(stream, Arc::clone(&frames))));
    let conn = line.conn;
    match timeout(line.core.limits.header_timeout, handshake).await {
        Ok(Ok(connection)) => serve(line, connection, &frames).await,
        Ok(Err(error)) => tracing::debug!(conn, %error, "no HTTP/2 after all"),
        Err(_) => tracing::debug!(conn, "the client did not begin HTTP/2 in time"),
    }
    let end = if *line.stop.borrow() { "error:stopped" } else { "client_closed" };
    frames.lock().expect(FRAMES).abandon(end);
}

/// Why a lock on the frames is never poisoned.
const FRAMES: &str = "no holder of the frames panics";

/// Accepts requests until the client has no more, leaves none for too long, or the server stops.
async fn serve<S>(
    line: &Line,
    mut connection: Connection<Gather<Socket<S, Frames>>, Bytes>,
    frames: &Arc<Mutex<Frames>>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut requests = JoinSet::new();
    let mut sending = FuturesUnordered::new();
    let mut req = 0;
    let mut stop = line.stop.clone();
    let mut watch = Watch::new(line.core.limits.header_timeout);
    loop {
        tokio::select! {
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    req += 1;
                    requests.spawn(answer(line, req, request, respond, frames));
                    watch.moved();
                }
                Some(Err(error)) => {
                    tracing::debug!(conn = line.conn, %error, "connection ended early");
                    break;
                }
                None => break,
            },
            Some(answered) = requests.join_next(), if !requests.is_empty() => {
                // A panic in a handler was reported where it happened; its stream is reset.
                if let Ok(Some(answer)) = answered {
                    sending.push(deliver(answer, frames));
                }
                watch.moved();
            }
            Some(()) = sending.next(), if !sending.is_empty() => watch.moved(),
            () = watch.rings() => {
                let taken = frames.lock().expect(FRAMES).progress();
                if watch.is_ending() { break }
                if !requests.is_empty() || taken.is_some_and(|taken| watch.has_moved(taken)) {
                    watch.moved();
                } else {
                    connection.graceful_shutdown();
                    watch.end();
                }
            },
            _ = stop.wait_for(|stop| *stop), if !watch.is_ending() => {
                connection.graceful_shutdown();
                watch.end();
            }
        }
    }
    // What is under way learns from the connection's end that nobody waits for it.
    drop((connection, sending));
    let ending = async { while requests.join_next().await.is_some() {} };
    if timeout(STOP_GRACE, ending).await.is_err() {
        tracing::debug!(conn = line.conn, "requests did not end with their connection");
    }
}

/// When to look whether a connection is still of use.
struct Watch {
    idle: Duration,
    deadline: Instant,
    ending: bool,
    /// Bytes of answers that had left when they were last looked at, and since when no more have.
    taken: u64,
    still: Instant,
}

impl Watch {
    fn new(idle: Duration) -> Self {
        Self { idle, deadline: Instant::now() + idle, ending: false, taken: 0, still: Instant::now() }
    }

    /// Something happened.
    fn moved(&mut self) {
        if !self.ending {
            self.deadline = Instant::now() + self.idle;
        }
    }

    /// Whether bytes of answers have left in what is no unreasonable time.
    fn has_moved(&mut self, taken: u64) -> bool {
        if std::mem::replace(&mut self.taken, taken) != taken {
            self.still = Instant::now();
        }
        self.still.elapsed() < WRITE_STALL
    }

    /// No further requests; what is under way has a little time.
    fn end(&mut self) {
        (self.ending, self.deadline) = (true, Instant::now() + STOP_GRACE);
    }

    fn is_ending(&self) -> bool {
        self.ending
    }

    async fn rings(&self) {
        tokio::time::sleep_until(self.deadline).await;
    }
}

/// An answer that is to be sent.
struct Answer {
    respond: SendResponse<Bytes>,
    reply: Reply,
}

/// One request: answered, and followed from then on. `None` if the client gave it up.
fn answer(
    line: &Line,
    req: u64,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    frames: &Arc<Mutex<Frames>>,
) -> impl Future<Output = Option<Answer>> + Send + 'static {
    let exchange = Exchange::begin(&line.core.telemetry, line.conn, req, request.method());
    let (core, entrance, frames) = (Arc::clone(&line.core), line.entrance, Arc::clone(frames));
    async move {
        let (go_ahead, asked) = oneshot::channel();
        let go_ahead = request.headers().contains_key(EXPECT).then_some(go_ahead);
        let request = request.map(|stream| Inflow::stream(stream, go_ahead));
        let answering = Box::pin(handlers::answer(core, request, exchange, entrance));
        let (reply, exchange) = unless_reset(answering, asked, &mut respond).await?;
        frames.lock().expect(FRAMES).expect(respond.stream_id().as_u32(), exchange);
        Some(Answer { respond, reply })
    }
}

/// Sends an answer; what does not get through is known as such.
async fn deliver(Answer { respond, reply }: Answer, frames: &Mutex<Frames>) {
    let id = respond.stream_id().as_u32();
    let (head, body) = reply.into_parts();
    if send(respond, Response::from_parts(head, ()), body).await.is_err() {
        frames.lock().expect(FRAMES).abandon_stream(id, "client_closed");
    }
}

/// Runs a handler; `None` if the client gave the request up meanwhile. Tells the client to send its body when the
/// handler asks for it.
async fn unless_reset<T>(
    mut answering: impl Future<Output = T> + Unpin,
    mut asked: oneshot::Receiver<()>,
    respond: &mut SendResponse<Bytes>,
) -> Option<T> {
    let mut waits = true;
    loop {
        tokio::select! {
            answer = &mut answering => return Some(answer),
            _ = poll_fn(|cx| respond.poll_reset(cx)) => return None,
            asked = &mut asked, if waits => {
                waits = false;
                if asked.is_ok() {
                    let mut interim = Response::new(());
                    *interim.status_mut() = StatusCode::CONTINUE;
                    // A stream that has ended needs no go-ahead.
                    let _ = respond.send_informational(interim);
                }
            }
        }
    }
}

/// The answer did not get through: the client went away, gave it up, or left it unread for too long.
struct Abandoned;

impl From<h2::Error> for Abandoned {
    fn from(_: h2::Error) -> Self {
        Self
    }
}

async fn send(
    mut respond: SendResponse<Bytes>,
    mut head: Response<()>,
    mut body: Body,
) -> Result<(), Abandoned> {
    let date = httpdate::fmt_http_date(SystemTime::now());
    head.headers_mut().insert(DATE, HeaderValue::from_str(&date).expect("a date is visible ASCII"));
    let mut stream = respond.send_response(head, body.len() == 0)?;
    while let Some(mut piece) = poll_fn(|cx| body.poll_piece(cx)).await {
        while !piece.is_empty() {
            stream.reserve_capacity(piece.len());
            let room = timeout(WRITE_STALL, poll_fn(|cx| room(&mut stream, cx)));
            let room = room.await.map_err(|_| Abandoned)??;
            let part = piece.split_to(room.min(piece.len()));
            stream.send_data(part, piece.is_empty() && body.len() == 0)?;
        }
    }
    Ok(())
}

/// How many bytes the client's windows and the connection have room for.
fn room(stream: &mut SendStream<Bytes>, cx: &mut Context<'_>) -> Poll<Result<usize, Abandoned>> {
    if stream.poll_reset(cx)?.is_ready() {
        return Poll::Ready(Err(Abandoned));
    }
    while stream.capacity() == 0 {
        match ready!(stream.poll_capacity(cx)) {
            Some(granted) => drop(granted?),
            None => return Poll::Ready(Err(Abandoned)),
        }
    }
    Poll::Ready(Ok(stream.capacity()))
}
