//! HTTP/1.1 on a connection: requests in turn.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::{Line, STOP_GRACE};
use crate::body::Reply;
use crate::delivery::Outgoing;
use crate::exchange::Exchange;
use crate::inflow::Inflow;
use crate::socket::Socket;
use crate::{handlers, refusal};

/// Bytes hyper reads ahead of a body, or holds of an answer, at most. Large enough for writes at full speed (a
/// gzip layer comes in pieces of some 50 kB), small enough for a thousand uploads at once.
const BUFFER: usize = 256 << 10;
/// After an answer that ends a connection early, what the client still sends is read and dropped for so long: closing
/// at once would reset the connection, and the client might lose the answer.
const LINGER: Duration = Duration::from_secs(2);

/// Runs HTTP/1.1 on the connection until it ends or the server stops.
pub(super) async fn speak<S>(line: &Line, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let outgoing = Arc::new(Mutex::new(Outgoing::default()));
    line.core.telemetry.follow(line.conn, outgoing.clone());
    let end = serve(line, stream, &outgoing).await;
    outgoing.lock().expect(OUTGOING).abandon(end);
}

/// Why a lock on the outgoing half is never poisoned.
const OUTGOING: &str = "no holder of the outgoing half panics";

/// The result is how answers ended that did not get through.
async fn serve<S>(line: &Line, stream: S, outgoing: &Arc<Mutex<Outgoing>>) -> &'static str
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let requests = AtomicU64::new(0);
    let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        let req = requests.fetch_add(1, Ordering::Relaxed) + 1;
        let exchange = Exchange::begin(&line.core.telemetry, line.conn, req, request.method());
        answer(line, request.map(Inflow::from), exchange, Arc::clone(outgoing))
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(line.core.limits.header_timeout)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(Socket::new(stream, Arc::clone(outgoing))), service);
    let mut stop = line.stop.clone();
    let ended = tokio::select! {
        ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => Some(ended),
        _ = stop.wait_for(|stop| *stop) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            Pin::new(&mut connection).graceful_shutdown();
            let rest = poll_fn(|cx| connection.poll_without_shutdown(cx));
            let Ok(ended) = tokio::time::timeout(STOP_GRACE, rest).await else {
                return "error:stopped";
            };
            ended
        }
    };
    if let Err(error) = &ended {
        tracing::debug!(conn = line.conn, %error, "connection ended early");
    }
    if *stop.borrow() {
        return "error:stopped";
    }
    let (mut stream, refusal) = connection.into_parts().io.into_inner().into_parts();
    if let (Some(head), Err(error)) = (refusal, &ended) {
        // The client may be gone already, which changes nothing.
        let _ = stream.write_all(&refusal::explained(&head, &error.to_string())).await;
    }
    linger(stream).await;
    "client_closed"
}

type Answering = Pin<Box<dyn Future<Output = Result<Reply, std::convert::Infallible>> + Send>>;

/// One request: answered, and handed to `outgoing` to be followed.
fn answer(
    line: &Line,
    request: hyper::Request<Inflow>,
    exchange: Exchange,
    outgoing: Arc<Mutex<Outgoing>>,
) -> Answering {
    let (core, entrance) = (Arc::clone(&line.core), line.entrance);
    Box::pin(async move {
        let (reply, exchange) = handlers::answer(core, request, exchange, entrance).await;
        let length = reply.body().len();
        outgoing.lock().expect(OUTGOING).expect(exchange, length);
        Ok(reply)
    })
}

/// Ends the sending half, then reads and drops what still comes.
async fn linger(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let discard = async {
        let mut bytes = vec![0; 64 << 10];
        while stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
    };
    // After this the rest is the kernel's business, which resets.
    let _ = tokio::time::timeout(LINGER, discard).await;
}
