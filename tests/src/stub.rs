//! A scripted HTTP/1.1 server: a small registry in memory whose answers, and whose connections, go wrong exactly where
//! a rule says so. For faults that a right registry behind a proxy of bytes cannot show: statuses, `Retry-After`,
//! ranges, ETags, lost sessions and lost replies. Plain sockets, so that what is on the wire is what the script says.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::fake_registry::FakeRegistry;

/// A request as the registry sees it.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `GET`, `PATCH` …
    pub method: String,
    /// Path without query.
    pub path: String,
    /// Query without `?`.
    pub query: String,
    /// Lower-case names and values, in order.
    pub headers: Vec<(String, String)>,
    /// What of the body was read.
    pub body: Vec<u8>,
}

impl Request {
    /// The value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What is sent back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers beside `Content-Length`.
    pub headers: Vec<(String, String)>,
    /// Body; not sent to a HEAD.
    pub body: Bytes,
    /// Another `Content-Length` than the body's.
    pub announced: Option<u64>,
}

impl Answer {
    /// An answer without a body.
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new(), announced: None }
    }

    /// A registry's error.
    pub fn error(status: u16, code: &str) -> Self {
        let body = format!(r#"{{"errors":[{{"code":"{code}","message":"scripted"}}]}}"#);
        Self::new(status).header("content-type", "application/json").body(body)
    }

    /// The same with a header set, in place of one of that name.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The same with a body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }
}

/// How a transfer ends before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// A TCP reset.
    Reset,
    /// A clean FIN.
    Close,
    /// Silence on an open connection.
    Stall,
}

/// What a rule does to the requests it matches.
#[derive(Clone, Debug)]
pub enum Action {
    /// Answers in place of the registry, after reading the body.
    Answer(Answer),
    /// Answers in place of the registry without reading the body, and closes.
    AnswerAtOnce(Answer),
    /// Lets the registry answer and cuts after so many bytes of the body.
    CutAnswer(usize, Cut),
    /// Reads so many bytes of the request's body, gives them to the registry, and cuts.
    CutRequest(usize, Cut),
    /// Gives the request to the registry and resets instead of answering.
    LoseReply,
    /// Lets the registry answer a request without its `Range`.
    IgnoreRange,
    /// Sets headers of the registry's answer.
    SetHeader(&'static str, &'static str),
    /// Announces another length than the body has, and closes after the body.
    Announce(u64),
    /// Flips the lowest bit of one byte of the body.
    Flip(usize),
    /// Closes after a right answer, without saying so.
    CloseAfter,
    /// Forgets the upload session before the registry sees the request.
    LoseSession,
    /// Forgets all blobs before the registry sees the request.
    LoseBlobs,
}

/// Which requests an action happens to.
#[derive(Debug)]
pub struct Rule {
    method: &'static str,
    target: String,
    length: usize,
    skip: usize,
    times: usize,
    action: Action,
    matched: AtomicUsize,
}

/// A rule for the first request of `method` whose path and query contain `target`.
pub fn on(method: &'static str, target: impl Into<String>, action: Action) -> Rule {
    Rule { method, target: target.into(), length: 0, skip: 0, times: 1, action, matched: AtomicUsize::new(0) }
}

impl Rule {
    /// The same for so many requests.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// The same after letting so many requests pass.
    #[must_use]
    pub fn after(mut self, skip: usize) -> Self {
        self.skip = skip;
        self
    }

    /// The same for requests whose body is at least so long.
    #[must_use]
    pub fn of_length(mut self, length: usize) -> Self {
        self.length = length;
        self
    }

    fn strikes(&self, request: &Request, length: usize) -> bool {
        let target = format!("{}?{}", request.path, request.query);
        if self.method != request.method || !target.contains(&self.target) || length < self.length {
            return false;
        }
        let ordinal = self.matched.fetch_add(1, SeqCst);
        (self.skip..self.skip.saturating_add(self.times)).contains(&ordinal)
    }
}

/// A request that has arrived.
#[derive(Clone, Debug)]
pub struct Logged {
    /// When its head was there.
    pub at: Instant,
    /// The request, with what of its body was read.
    pub request: Request,
}

/// A running stub. Dropping it closes everything.
#[derive(Debug)]
pub struct Stub {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    registry: Mutex<FakeRegistry>,
    rules: Vec<Rule>,
    log: Mutex<Vec<Logged>>,
    open: AtomicUsize,
    most_open: AtomicUsize,
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Stub {
    /// Starts one on an ephemeral port of the loopback interface. The first rule that strikes a request is applied.
    pub async fn start(registry: FakeRegistry, rules: Vec<Rule>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared { registry: Mutex::new(registry), rules, ..Shared::default() });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Self { address, shared, accepting }
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The registry behind it.
    pub fn registry(&self) -> MutexGuard<'_, FakeRegistry> {
        self.shared.registry.lock().expect("a test that panicked has failed already")
    }

    /// Requests of `method` whose path contains `path`, in order of arrival.
    pub fn requests(&self, method: &str, path: &str) -> Vec<Logged> {
        let log = self.shared.log.lock().expect("a test that panicked has failed already");
        let wanted = |logged: &&Logged| logged.request.method == method && logged.request.path.contains(path);
        log.iter().filter(wanted).cloned().collect()
    }

    /// The most connections that were open at once.
    pub fn most_open(&self) -> usize {
        self.shared.most_open.load(SeqCst)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = shared.clone();
        connections.spawn(async move {
            let open = shared.open.fetch_add(1, SeqCst) + 1;
            shared.most_open.fetch_max(open, SeqCst);
            let _ = serve(stream, &shared).await;
            shared.open.fetch_sub(1, SeqCst);
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Serves one connection until it ends, by itself or by a rule.
async fn serve(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut read = Vec::new();
    while let Some((mut request, length)) = head(&mut stream, &mut read).await? {
        let at = Instant::now();
        let action =
            shared.rules.iter().find(|rule| rule.strikes(&request, length)).map(|rule| rule.action.clone());
        let take = match action {
            Some(Action::CutRequest(bytes, _)) => bytes.min(length),
            Some(Action::AnswerAtOnce(_)) => 0,
            _ => length,
        };
        body(&mut stream, &mut read, take, &mut request.body).await?;
        shared.log.lock().expect("the log is whole").push(Logged { at, request: request.clone() });
        if !act(&mut stream, shared, &request, action).await? {
            return Ok(());
        }
    }
    Ok(())
}

/// Answers a request as the rule says. False if the connection is over.
async fn act(
    stream: &mut TcpStream,
    shared: &Shared,
    request: &Request,
    action: Option<Action>,
) -> std::io::Result<bool> {
    let registry = || shared.registry.lock().expect("the registry is whole");
    let respond = || registry().respond(request);
    let head_only = request.method == "HEAD";
    match action {
        None => send(stream, &respond(), head_only, usize::MAX).await.map(|()| true),
        Some(Action::Answer(answer)) => send(stream, &answer, head_only, usize::MAX).await.map(|()| true),
        Some(Action::AnswerAtOnce(answer)) => {
            send(stream, &answer, head_only, usize::MAX).await?;
            // Closing with the body unread would be a reset that overtakes the answer.
            stream.shutdown().await?;
            let mut rest = vec![0; 64 << 10];
            while stream.read(&mut rest).await? > 0 {}
            Ok(false)
        }
        Some(Action::CutAnswer(bytes, cut)) => {
            send(stream, &respond(), head_only, bytes).await?;
            end(stream, cut).await
        }
        Some(Action::CutRequest(_, cut)) => {
            registry().respond(request);
            end(stream, cut).await
        }
        Some(Action::LoseReply) => {
            respond();
            end(stream, Cut::Reset).await
        }
        Some(Action::IgnoreRange) => {
            let mut whole = request.clone();
            whole.headers.retain(|(name, _)| name != "range");
            let answer = registry().respond(&whole);
            send(stream, &answer, head_only, usize::MAX).await.map(|()| true)
        }
        Some(Action::SetHeader(name, value)) => {
            send(stream, &respond().header(name, value), head_only, usize::MAX).await.map(|()| true)
        }
        Some(Action::Announce(length)) => {
            let answer = Answer { announced: Some(length), ..respond() };
            send(stream, &answer, head_only, usize::MAX).await?;
            end(stream, Cut::Close).await
        }
        Some(Action::Flip(at)) => {
            let mut answer = respond();
            let mut body = answer.body.to_vec();
            body[at] ^= 1;
            answer.body = body.into();
            send(stream, &answer, head_only, usize::MAX).await.map(|()| true)
        }
        Some(Action::CloseAfter) => {
            send(stream, &respond(), head_only, usize::MAX).await?;
            end(stream, Cut::Close).await
        }
        Some(Action::LoseSession) => {
            registry().lose_session(&request.path);
            send(stream, &respond(), head_only, usize::MAX).await.map(|()| true)
        }
        Some(Action::LoseBlobs) => {
            registry().lose_blobs();
            send(stream, &respond(), head_only, usize::MAX).await.map(|()| true)
        }
    }
}

/// Reads the head of the next request: the request without its body, and the body's length. `None` at a clean end.
async fn head(stream: &mut TcpStream, read: &mut Vec<u8>) -> std::io::Result<Option<(Request, usize)>> {
    let end = loop {
        if let Some(at) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(read).await? == 0 {
            return Ok(None);
        }
    };
    let text = String::from_utf8_lossy(&read[..end]).into_owned();
    read.drain(..end + 4);
    let mut lines = text.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let method = first.next().unwrap_or_default();
    let target = first.next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let request = Request { method, path: path.into(), query: query.into(), headers, body: Vec::new() };
    let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    Ok(Some((request, length)))
}

/// Reads exactly `length` bytes of a body, or what comes before the connection ends.
async fn body(
    stream: &mut TcpStream,
    read: &mut Vec<u8>,
    length: usize,
    body: &mut Vec<u8>,
) -> std::io::Result<()> {
    loop {
        let count = read.len().min(length - body.len());
        body.extend(read.drain(..count));
        if body.len() == length || stream.read_buf(read).await? == 0 {
            return Ok(());
        }
    }
}

/// Sends an answer with at most `limit` bytes of its body.
async fn send(stream: &mut TcpStream, answer: &Answer, head_only: bool, limit: usize) -> std::io::Result<()> {
    let length = answer.announced.unwrap_or(answer.body.len() as u64);
    let mut head = format!("HTTP/1.1 {} Scripted\r\ncontent-length: {length}\r\n", answer.status);
    if answer.status == 204 {
        head = "HTTP/1.1 204 Scripted\r\n".into();
    }
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    if !head_only {
        stream.write_all(&answer.body[..answer.body.len().min(limit)]).await?;
    }
    Ok(())
}

/// Ends the connection. Always false: it is over.
async fn end(stream: &mut TcpStream, cut: Cut) -> std::io::Result<bool> {
    match cut {
        Cut::Reset => {
            // What was sent has to arrive first: a reset discards what the other side has not read yet.
            tokio::time::sleep(Duration::from_millis(20)).await;
            SockRef::from(&*stream).set_linger(Some(Duration::ZERO))?;
        }
        Cut::Close => stream.shutdown().await?,
        Cut::Stall => {
            // Until the other side gives up, without taking in anything further.
            std::future::pending::<()>().await;
        }
    }
    Ok(false)
}
