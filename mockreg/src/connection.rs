//! One connection to the registry port, from its first byte to its last: HTTP/1.1 requests in turn. TLS is turned
//! away with a word that clients understand.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::body::Reply;
use crate::call::Entrance;
use crate::core::Core;
use crate::delivery::Outgoing;
use crate::exchange::Exchange;
use crate::socket::Socket;
use crate::{handlers, refusal};

/// Bytes hyper reads ahead of a body, or holds of an answer, at most. Large enough for writes at full speed (a
/// gzip layer comes in pieces of some 50 kB), small enough for a thousand uploads at once.
const BUFFER: usize = 256 << 10;
/// Send buffer of a connection from this machine: 45 % faster there than what the kernel grows to by itself. A real
/// link needs what the kernel finds out, so it is set for no other.
const LOOPBACK_SEND_BUFFER: usize = 208 << 10;
/// How long a client may leave an answer unread before the connection is given up: far beyond any pause that a
/// client makes on purpose, and no connection is held for ever.
const WRITE_STALL: Duration = Duration::from_secs(600);
/// How long requests under way may go on after the server was told to stop.
pub(crate) const STOP_GRACE: Duration = Duration::from_millis(500);
/// After an answer that ends a connection early, what the client still sends is read and dropped for so long: closing
/// at once would reset the connection, and the client might lose the answer.
const LINGER: Duration = Duration::from_secs(2);
/// First byte of a TLS handshake record (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 22;
/// Go's HTTP clients recognise an answer like this and say "server gave HTTP response to HTTPS client".
const SPEAK_PLAINLY: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nthis port speaks plain HTTP\n";

/// Serves a connection until it ends or the server stops.
pub(crate) async fn serve(
    core: Arc<Core>,
    mut stream: TcpStream,
    conn: u64,
    mut stop: watch::Receiver<bool>,
) {
    if let Err(error) = tune(&stream) {
        tracing::debug!(conn, %error, "socket options were not set");
    }
    let Ok(local) = stream.local_addr() else { return };
    let entrance = Entrance { local, secure: false };
    let outgoing = Arc::new(Mutex::new(Outgoing::default()));
    core.telemetry.connected(conn, &outgoing);
    let greeted = tokio::select! {
        greeted = is_plain(&core, &mut stream) => greeted,
        _ = stop.wait_for(|stop| *stop) => false,
    };
    if greeted {
        let end = speak(&core, stream, conn, entrance, &outgoing, &mut stop).await;
        outgoing.lock().expect("no holder of the outgoing half panics").abandon(end);
    }
    core.telemetry.disconnected(conn);
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(WRITE_STALL))?;
    if stream.peer_addr()?.ip().to_canonical().is_loopback() {
        socket.set_send_buffer_size(LOOPBACK_SEND_BUFFER)?;
    }
    Ok(())
}

/// Whether the client begins with something else than TLS. A client that begins with nothing is not waited for.
async fn is_plain(core: &Core, stream: &mut TcpStream) -> bool {
    let mut first = [0];
    match tokio::time::timeout(core.limits.header_timeout, stream.peek(&mut first)).await {
        Ok(Ok(1)) if first[0] == TLS_HANDSHAKE => {
            core.telemetry.metrics.tls_hellos.inc();
            // Reading what came and writing why: the client may be gone already, which changes nothing.
            let _ = stream.try_read(&mut [0; 16 << 10]);
            let _ = stream.write_all(SPEAK_PLAINLY).await;
            let _ = stream.shutdown().await;
            false
        }
        Ok(Ok(count)) => count > 0,
        Ok(Err(_)) | Err(_) => false,
    }
}

/// Runs HTTP on the connection. The result is how answers ended that did not get through.
async fn speak(
    core: &Arc<Core>,
    stream: TcpStream,
    conn: u64,
    entrance: Entrance,
    outgoing: &Arc<Mutex<Outgoing>>,
    stop: &mut watch::Receiver<bool>,
) -> &'static str {
    let service = service_fn({
        let (core, outgoing, requests) = (Arc::clone(core), Arc::clone(outgoing), AtomicU64::new(0));
        move |request: hyper::Request<hyper::body::Incoming>| {
            let req = requests.fetch_add(1, Ordering::Relaxed) + 1;
            let exchange = Exchange::begin(&core.telemetry, conn, req, request.method());
            answer(Arc::clone(&core), request, exchange, entrance, Arc::clone(&outgoing))
        }
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(core.limits.header_timeout)
        .max_buf_size(BUFFER)
        .serve_connection(Socket::new(stream, Arc::clone(outgoing)), service);
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
        tracing::debug!(conn, %error, "connection ended early");
    }
    if *stop.borrow() {
        return "error:stopped";
    }
    let (mut stream, refusal) = connection.into_parts().io.into_parts();
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
    core: Arc<Core>,
    request: hyper::Request<hyper::body::Incoming>,
    exchange: Exchange,
    entrance: Entrance,
    outgoing: Arc<Mutex<Outgoing>>,
) -> Answering {
    Box::pin(async move {
        let (reply, exchange) = handlers::answer(core, request, exchange, entrance).await;
        let length = reply.body().len();
        outgoing.lock().expect("no holder of the outgoing half panics").expect(exchange, length);
        Ok(reply)
    })
}

/// Ends the sending half, then reads and drops what still comes.
async fn linger(mut stream: TcpStream) {
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
