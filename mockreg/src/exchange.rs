//! One request from its arrival to the last byte of its answer, as the journal and the metrics see it. It writes its
//! line when it is dropped, wherever that happens: delivered, cut off, or never answered.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use http::{Method, StatusCode};
use mockreg_proto::content_range::ByteRange;
use mockreg_proto::digest::Digest;
use mockreg_proto::journal::{Check, Kind};

use crate::delivery::Follow;
use crate::journal::{Journal, Line};
use crate::metrics::Metrics;
use crate::tally::Tally;

/// Most bytes of a name that go into the journal: names that can exist are shorter, and a client may send
/// anything.
const MAX_NAME: usize = 512;

/// The outgoing half of a connection.
type Followed = Arc<Mutex<dyn Follow>>;

/// Where exchanges report to, and the connections they are on.
#[derive(Debug)]
pub(crate) struct Telemetry {
    pub(crate) journal: Journal,
    pub(crate) metrics: Metrics,
    pub(crate) tally: Tally,
    started: Instant,
    live: Mutex<HashMap<u64, Followed>>,
}

impl Telemetry {
    /// Starts the clock.
    pub(crate) fn new(journal: Journal) -> Self {
        Self {
            journal,
            metrics: Metrics::new(),
            tally: Tally::default(),
            started: Instant::now(),
            live: Mutex::default(),
        }
    }

    fn live(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Followed>> {
        self.live.lock().expect("no holder of the list panics")
    }

    /// A connection begins.
    pub(crate) fn connected(&self) {
        self.metrics.open_connections.inc();
        self.tally.connections.enter();
    }

    /// From now on a connection writes what `outgoing` follows.
    pub(crate) fn follow(&self, conn: u64, outgoing: Arc<Mutex<impl Follow + 'static>>) {
        self.live().insert(conn, outgoing);
    }

    /// A connection has ended.
    pub(crate) fn disconnected(&self, conn: u64) {
        self.live().remove(&conn);
        self.metrics.open_connections.dec();
        self.tally.connections.leave();
    }

    /// Waits for every write to a socket that has begun to be accounted. A client can have the last byte of an
    /// answer before the line about it is written; after this, the line is there.
    pub(crate) fn settle(&self) {
        let live: Vec<_> = self.live().values().cloned().collect();
        for outgoing in live {
            drop(outgoing.lock());
        }
    }
}

/// One request under way.
#[derive(Debug)]
pub(crate) struct Exchange {
    telemetry: Arc<Telemetry>,
    arrived: Instant,
    headed: Option<Instant>,
    line: Line,
    /// It went wrong in a way that no answer can tell; its `end` stays, however much of the answer goes out.
    broken: bool,
}

impl Exchange {
    /// A request has arrived as the `req`-th of connection `conn`.
    pub(crate) fn begin(telemetry: &Arc<Telemetry>, conn: u64, req: u64, method: &Method) -> Self {
        let arrived = Instant::now();
        let line = Line {
            t_ms: arrived.duration_since(telemetry.started).as_millis() as u64,
            conn,
            req,
            method: method_name(method),
            attempt: 1,
            end: "client_closed",
            ..Line::default()
        };
        telemetry.tally.requests.enter();
        Self { telemetry: Arc::clone(telemetry), arrived, headed: None, line, broken: false }
    }

    /// What it is about; this is when its attempt is counted.
    pub(crate) fn about(&mut self, kind: Kind, repository: &str, reference: &str) {
        let cut = |text: &str| text[..text.floor_char_boundary(MAX_NAME)].into();
        self.line.kind = kind;
        self.line.repository = cut(repository);
        self.line.reference = cut(reference);
        self.line.attempt = self.telemetry.journal.attempt(&self.line.method, kind, repository, reference);
    }

    /// Which bytes were asked for or announced.
    pub(crate) fn ranged(&mut self, range: Option<ByteRange>) {
        self.line.range = range;
    }

    /// What the request put into the repository.
    pub(crate) fn stored(&mut self, digest: Digest) {
        self.line.stored = Some(Box::new(digest));
    }

    /// The id of the upload session that the request opened.
    pub(crate) fn opened(&mut self, id: &str) {
        self.line.reference = id.into();
    }

    /// Which check an upload went through.
    pub(crate) fn checked(&mut self, check: Check) {
        self.line.check = Some(check);
    }

    /// Body bytes have been received.
    pub(crate) fn received(&mut self, bytes: u64) {
        self.line.bytes_in += bytes;
        self.telemetry.metrics.bytes_in.inc_by(bytes);
    }

    /// It went wrong in a way that its answer cannot tell.
    pub(crate) fn broke(&mut self, end: &'static str) {
        self.line.end = end;
        self.broken = true;
    }

    /// The answer is made.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.headed = Some(Instant::now());
        self.line.status = status.as_u16();
    }

    /// Body bytes were handed to the socket.
    pub(crate) fn sent(&mut self, bytes: u64) {
        self.line.bytes_out += bytes;
        self.telemetry.metrics.bytes_out.inc_by(bytes);
    }

    /// The last byte of the answer was handed to the socket.
    pub(crate) fn delivered(mut self) {
        if self.broken {
            return;
        }
        self.line.end = "complete";
        if self.line.kind == Kind::Blob && self.line.method == "GET" && matches!(self.line.status, 200 | 206)
        {
            self.telemetry.metrics.blobs_served.inc();
        }
    }

    /// The connection ended before the answer did. `headed` says whether the answer's head went out.
    pub(crate) fn abandoned(mut self, headed: bool, end: &'static str) {
        if !headed {
            self.line.status = 0;
        }
        if !self.broken {
            self.line.end = end;
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let total = self.arrived.elapsed();
        self.line.first_byte_ms =
            self.headed.map_or(0, |headed| headed.duration_since(self.arrived).as_millis() as u64);
        self.line.total_ms = total.as_millis() as u64;
        self.telemetry.metrics.request(
            &self.line.method,
            self.line.kind,
            self.line.status,
            total.as_secs_f64(),
        );
        self.telemetry.tally.ended(&self.line);
        self.telemetry.journal.push(std::mem::take(&mut self.line));
        self.telemetry.tally.requests.leave();
    }
}

/// The usual methods without an allocation; a client may invent others, of any length.
fn method_name(method: &Method) -> Cow<'static, str> {
    let known = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
    ];
    let names = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    match known.iter().position(|known| known == method) {
        Some(place) => Cow::Borrowed(names[place]),
        None => Cow::Owned(method.as_str().chars().take(MAX_NAME).collect()),
    }
}
