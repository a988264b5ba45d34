//! A client that speaks HTTP/2, under TLS or with prior knowledge, and shows streams as they are.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::Request;
use mockreg::Registry;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::client::{Answer, trusting};

/// A test that waits longer has failed.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);
/// Wide enough that the client is never what a test waits for.
const WINDOW: u32 = 4 << 20;

/// One connection.
pub(crate) struct Client {
    send: SendRequest<Bytes>,
    origin: String,
    /// Ends with the connection.
    pub(crate) connection: JoinHandle<Result<(), h2::Error>>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Client {
    /// Connects; HTTP/2 is agreed on under TLS, and begun with without.
    pub(crate) async fn of(registry: &Registry) -> Self {
        let address = registry.registry_addr();
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let stream: Box<dyn Stream> = match registry.ca_certificate() {
            None => Box::new(stream),
            Some(authority) => {
                let connector = tokio_rustls::TlsConnector::from(trusting(authority, b"h2"));
                let stream = connector.connect(address.ip().into(), stream).await.unwrap();
                assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
                Box::new(stream)
            }
        };
        let handshake = h2::client::Builder::new()
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .handshake(stream);
        let (send, connection) = handshake.await.unwrap();
        Self { send, origin: registry.url(), connection: tokio::spawn(connection) }
    }

    /// Begins a request; its body is sent through what comes second.
    pub(crate) async fn begin(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        bare: bool,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        let uri = format!("{}{path}", self.origin);
        self.begin_at(method, &uri, headers, bare).await
    }

    /// As [`Client::begin`], with all of the URL; a path alone has no `:authority`.
    pub(crate) async fn begin_at(
        &mut self,
        method: &str,
        uri: &str,
        headers: &[(&str, &str)],
        bare: bool,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        poll_fn(|cx| self.send.poll_ready(cx)).await.unwrap();
        self.send.send_request(request.body(()).unwrap(), bare).unwrap()
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let (answer, mut upload) = self.begin(method, path, headers, body.is_empty()).await;
        if !body.is_empty() {
            send_all(&mut upload, body).await;
        }
        read(answer).await
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, &[], b"").await
    }
}

/// Sends a body and ends the stream; stops where the server wants no more of it.
pub(crate) async fn send_all(upload: &mut SendStream<Bytes>, body: &[u8]) {
    let mut left = Bytes::copy_from_slice(body);
    while !left.is_empty() {
        upload.reserve_capacity(left.len());
        let Some(Ok(room)) = poll_fn(|cx| upload.poll_capacity(cx)).await else { return };
        let part = left.split_to(room.min(left.len()));
        if upload.send_data(part, left.is_empty()).is_err() {
            return;
        }
    }
}

/// Reads an answer to its end.
pub(crate) async fn read(answer: ResponseFuture) -> Answer {
    let (head, mut stream) = tokio::time::timeout(TIMEOUT, answer).await.unwrap().unwrap().into_parts();
    let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.to_string(), value.to_str().unwrap().to_owned())
    };
    let headers = head.headers.iter().map(header).collect();
    let mut body = Vec::new();
    while let Some(bytes) = next(&mut stream).await {
        body.extend_from_slice(&bytes);
    }
    Answer { status: head.status.as_u16(), headers, body }
}

/// The next bytes of an answer, given back to the server's window at once.
pub(crate) async fn next(stream: &mut RecvStream) -> Option<Bytes> {
    let bytes = tokio::time::timeout(TIMEOUT, stream.data()).await.unwrap()?.unwrap();
    stream.flow_control().release_capacity(bytes.len()).unwrap();
    Some(bytes)
}
