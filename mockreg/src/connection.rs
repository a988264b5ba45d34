//! One connection to the registry port, from its first byte to its last: what the client speaks is found out, TLS is
//! ended where it is on, and HTTP/1.1 or HTTP/2 runs underneath. Who speaks the wrong thing is told in words that
//! clients understand.

mod gather;
mod http1;
mod http2;
mod window;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

pub(crate) use window::Windows;

use crate::call::{Door, Entrance};
use crate::core::Core;
use crate::tls::{Encrypted, H2, Terminator};

/// Send buffer of a connection from this machine: 45 % faster there than what the kernel grows to by itself. A real
/// link needs what the kernel finds out, so it is set for no other.
const LOOPBACK_SEND_BUFFER: usize = 208 << 10;
/// How long a client may leave an answer unread before the connection is given up: far beyond any pause that a
/// client makes on purpose, and no connection is held for ever.
const WRITE_STALL: Duration = Duration::from_secs(600);
/// How long requests under way may go on after the server was told to stop.
pub(crate) const STOP_GRACE: Duration = Duration::from_millis(500);
/// How long a TLS handshake may take: three round trips of the slowest link, and a slow client's arithmetic.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Bytes read from the socket at once where a library takes them in small pieces: rustls asks for 4 KiB, h2 for a frame.
const READ_BUFFER: usize = 64 << 10;
/// First byte of a TLS handshake record (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 22;
/// How HTTP/2 begins where it was not agreed on (RFC 9113 §3.4). No other method begins with `PRI`.
const PREFACE: &[u8] = b"PRI";
/// How soon to look again where a client has sent less than that.
const PEEK_PAUSE: Duration = Duration::from_millis(5);
/// Go's HTTP clients recognise an answer like this and say "server gave HTTP response to HTTPS client".
const SPEAK_PLAINLY: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nthis port speaks plain HTTP\n";
/// What Go's server says, which people recognise.
const SPEAK_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n\
    Client sent an HTTP request to an HTTPS server.\n";

/// What everything that runs on a connection shares.
struct Line {
    core: Arc<Core>,
    conn: u64,
    entrance: Entrance,
    stop: watch::Receiver<bool>,
}

/// Serves a connection until it ends or the server stops.
pub(crate) async fn serve(
    core: Arc<Core>,
    stream: TcpStream,
    conn: u64,
    door: Door,
    mut stop: watch::Receiver<bool>,
) {
    if let Err(error) = tune(&stream) {
        tracing::debug!(conn, %error, "socket options were not set");
    }
    let (Ok(local), Ok(remote)) = (stream.local_addr(), stream.peer_addr()) else { return };
    core.telemetry.connected();
    let greeted = tokio::select! {
        greeted = greeting(&core, &stream) => greeted,
        _ = stop.wait_for(|stop| *stop) => Greeting::Nothing,
    };
    let entrance = Entrance { door, local, remote, secure: core.tls.is_some() };
    let line = Line { core: Arc::clone(&core), conn, entrance, stop };
    Box::pin(speak(line, stream, greeted)).await;
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

/// How a client begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Greeting {
    Nothing,
    Tls,
    Http1,
    Http2,
}

/// Looks at a client's first bytes. One that begins with nothing is not waited for.
async fn greeting(core: &Core, stream: &TcpStream) -> Greeting {
    let mut first = [0; PREFACE.len()];
    let look = async {
        loop {
            let count = stream.peek(&mut first).await?;
            match &first[..count] {
                [] => return Ok::<_, io::Error>(Greeting::Nothing),
                [TLS_HANDSHAKE, ..] => return Ok(Greeting::Tls),
                PREFACE => return Ok(Greeting::Http2),
                begun if PREFACE.starts_with(begun) => tokio::time::sleep(PEEK_PAUSE).await,
                _ => return Ok(Greeting::Http1),
            }
        }
    };
    match timeout(core.limits.header_timeout, look).await {
        Ok(Ok(greeting)) => greeting,
        Ok(Err(_)) | Err(_) => Greeting::Nothing,
    }
}

async fn speak(line: Line, stream: TcpStream, greeting: Greeting) {
    let core = Arc::clone(&line.core);
    match (&core.tls, greeting) {
        (_, Greeting::Nothing) => {}
        (None, Greeting::Http1) => http1::speak(&line, lending(&line, stream)).await,
        (None, Greeting::Http2) => http2::speak(&line, buffered(stream)).await,
        (None, Greeting::Tls) => {
            core.telemetry.metrics.tls_hellos.inc();
            tell(stream, SPEAK_PLAINLY).await;
        }
        (Some(tls), Greeting::Tls) => encrypted(&line, tls, stream).await,
        (Some(_), Greeting::Http1 | Greeting::Http2) => tell(stream, SPEAK_TLS).await,
    }
}

/// Pieces of layers are lent to the kernel where it has a call for that.
#[cfg(target_os = "linux")]
fn lending(line: &Line, stream: TcpStream) -> crate::lending::Lending {
    crate::lending::Lending::new(stream, Arc::clone(&line.core.telemetry))
}

#[cfg(not(target_os = "linux"))]
fn lending(_: &Line, stream: TcpStream) -> TcpStream {
    stream
}

fn buffered(stream: TcpStream) -> BufReader<TcpStream> {
    BufReader::with_capacity(READ_BUFFER, stream)
}

/// Reads what came and writes what is wrong with it. The client may be gone already, which changes nothing.
async fn tell(mut stream: TcpStream, word: &[u8]) {
    let _ = stream.try_read(&mut [0; 16 << 10]);
    let _ = stream.write_all(word).await;
    let _ = stream.shutdown().await;
}

/// Ends TLS and speaks what was agreed on.
async fn encrypted(line: &Line, tls: &Terminator, stream: TcpStream) {
    let (conn, mut stop) = (line.conn, line.stop.clone());
    let patience = HANDSHAKE.min(line.core.limits.header_timeout);
    let shaken = tokio::select! {
        shaken = timeout(patience, tls.acceptor.accept(buffered(stream))) => shaken,
        _ = stop.wait_for(|stop| *stop) => return,
    };
    let stream = match shaken {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            line.core.telemetry.metrics.tls_failures.inc();
            tracing::debug!(conn, %error, "the TLS handshake failed");
            return;
        }
        Err(_) => {
            line.core.telemetry.metrics.tls_failures.inc();
            tracing::debug!(conn, "the TLS handshake took too long");
            return;
        }
    };
    if stream.get_ref().1.alpn_protocol() == Some(H2) {
        http2::speak(line, Encrypted::new(stream)).await;
    } else {
        http1::speak(line, Encrypted::new(stream)).await;
    }
}
