//! One kept-alive connection: made here, driven by a task of its own that ends with it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use mockreg::verify::{Authorities, CertificateError};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

use super::activity::{Activity, Metered};
use super::body::Outgoing;
use super::error::RequestError;
use super::request::Remote;
use super::traffic::Traffic;

/// A connection that can take a request. Dropping it closes the socket, whatever is under way on it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) sender: SendRequest<Outgoing>,
    pub(crate) activity: Arc<Activity>,
    pub(crate) remote: Remote,
    /// Whether it has served a request before.
    pub(crate) reused: bool,
}

impl Connection {
    /// Connects to `remote`. `place` is dropped when the socket is closed, whoever closes it.
    ///
    /// # Errors
    /// No address, no listener, no answer in time, or a certificate that nobody vouches for.
    pub(crate) async fn open<P: Send + 'static>(
        remote: &Remote,
        limit: Duration,
        traffic: &Arc<Traffic>,
        place: P,
    ) -> Result<Self, RequestError> {
        let connecting = timeout(limit.min(CONNECT_LIMIT), TcpStream::connect(remote.endpoint.authority()));
        let stream = connecting.await.map_err(|_| io::ErrorKind::TimedOut.into());
        let stream = stream.and_then(|stream| stream).map_err(RequestError::connect)?;
        tune(&stream);
        traffic.connected(remote.side);
        let activity = Arc::new(Activity::new());
        let stream = Metered::new(stream, activity.clone(), traffic.clone(), remote.side);
        let Some(authorities) = remote.endpoint.authorities() else {
            return Self::speak(stream, remote, activity, place).await;
        };
        let securing =
            timeout(limit.min(CONNECT_LIMIT), secured(stream, remote.endpoint.host(), authorities));
        let stream = securing.await.map_err(|_| RequestError::connect(io::ErrorKind::TimedOut.into()))??;
        Self::speak(stream, remote, activity, place).await
    }

    /// Begins HTTP on a stream that `activity` watches.
    async fn speak(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        remote: &Remote,
        activity: Arc<Activity>,
        place: impl Send + 'static,
    ) -> Result<Self, RequestError> {
        let stream = TokioIo::new(stream);
        let (sender, driver) =
            http1::Builder::new().max_buf_size(BUFFER).handshake::<_, Outgoing>(stream).await?;
        tokio::spawn({
            let activity = activity.clone();
            async move {
                // Errors reach whoever waits for an answer; the driver has nobody else to tell.
                tokio::select! { _ = driver => {}, () = forgotten(&activity, IDLE_LIMIT) => {} }
                drop(place);
            }
        });
        Ok(Self { sender, activity, remote: remote.clone(), reused: false })
    }
}

/// Speaks TLS with the server called `host`, if somebody who is believed vouches for it.
async fn secured(
    stream: Metered,
    host: &str,
    authorities: &Authorities,
) -> Result<TlsStream<Metered>, RequestError> {
    let name = ServerName::try_from(host.to_owned());
    let name = name.map_err(|error| RequestError::Protocol(format!("`{host}`: {error}")))?;
    TlsConnector::from(authorities.config()?).connect(name, stream).await.map_err(|error| {
        CertificateError::of_handshake(&error)
            .map_or_else(|| RequestError::connect(error), RequestError::from)
    })
}

/// Ends when the connection has been in the pool, unused, for `limit`.
async fn forgotten(activity: &Activity, limit: Duration) {
    loop {
        let due = if activity.in_use() { Instant::now() } else { activity.last() } + limit;
        sleep_until(due).await;
        if !activity.in_use() && activity.last() + limit <= Instant::now() {
            return;
        }
    }
}

/// Sets what matters for throughput. A socket that refuses an option works without it.
fn tune(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(stream).set_send_buffer_size(SEND_BUFFER);
}

/// A registry that has not accepted by then is as good as down; a lost SYN is repeated after 1, 3 and 7 s.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Below the keep-alive timeouts of common servers (nginx 75 s, haproxy and Go 60 s or more), so that it is mostly
/// us who close idle connections.
const IDLE_LIMIT: Duration = Duration::from_secs(30);
/// Largest read, and largest amount queued for one write. It bounds the frames that a copy holds (about six). Half of
/// it costs a fifth of the throughput of one stream, and a stream takes 2 MB at most with it.
const BUFFER: usize = 256 << 10;
/// The kernel doubles it for its own bookkeeping. Fixed, because what hides in a send buffer counts as moved for the
/// idle timeout: autotuning goes to 4 MiB, which a slow link takes many seconds to drain.
pub(super) const SEND_BUFFER: usize = 512 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    /// Half a minute in small.
    const LIMIT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn a_connection_in_the_pool_is_forgotten_and_one_in_use_is_not() {
        let activity = Activity::new();
        assert!(timeout(LIMIT * 4, forgotten(&activity, LIMIT)).await.is_err(), "it is in use");
        let returned = Instant::now();
        activity.set_in_use(false);
        forgotten(&activity, LIMIT).await;
        assert!(returned.elapsed() >= LIMIT);
    }
}
