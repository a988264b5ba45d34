//! What really leaves through an HTTP/2 connection: the frames that the socket took, counted by stream
//! (RFC 9113 §4.1). Pure: `socket` calls it.

use std::collections::HashMap;

use super::Follow;
use crate::exchange::Exchange;

/// Length of a frame's head.
const HEAD: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
/// Set on the last frame of a stream.
const END_STREAM: u8 = 1;

/// The outgoing half of one HTTP/2 connection.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// Answers made and not yet delivered, by stream. As many as the connection has streams.
    waiting: HashMap<u32, Waiting>,
    place: Place,
    /// Bytes that the socket took, so that a standstill shows.
    taken: u64,
}

#[derive(Debug)]
struct Waiting {
    exchange: Exchange,
    /// The answer's head went out.
    headed: bool,
}

#[derive(Debug)]
enum Place {
    /// Inside the head of a frame.
    Head { bytes: [u8; HEAD], seen: usize },
    /// Behind it.
    Payload { kind: u8, ends: bool, stream: u32, left: usize },
}

impl Default for Place {
    fn default() -> Self {
        Self::Head { bytes: [0; HEAD], seen: 0 }
    }
}

impl Frames {
    /// The answer of `stream` is about to go out.
    pub(crate) fn expect(&mut self, stream: u32, exchange: Exchange) {
        self.waiting.insert(stream, Waiting { exchange, headed: false });
    }

    /// The answer of `stream` will not get through, if it has not.
    pub(crate) fn abandon_stream(&mut self, stream: u32, end: &'static str) {
        if let Some(Waiting { exchange, headed }) = self.waiting.remove(&stream) {
            exchange.abandoned(headed, end);
        }
    }

    /// The connection has ended; what was not delivered ended this way.
    pub(crate) fn abandon(&mut self, end: &'static str) {
        for (_, Waiting { exchange, headed }) in self.waiting.drain() {
            exchange.abandoned(headed, end);
        }
    }

    /// How many bytes the socket has taken, if an answer is under way.
    pub(crate) fn progress(&self) -> Option<u64> {
        (!self.waiting.is_empty()).then_some(self.taken)
    }

    /// Follows a frame's head and returns what stands after it.
    fn head<'a>(&mut self, taken: &'a [u8]) -> &'a [u8] {
        let Place::Head { bytes, seen } = &mut self.place else { return taken };
        let count = taken.len().min(HEAD - *seen);
        bytes[*seen..*seen + count].copy_from_slice(&taken[..count]);
        *seen += count;
        if *seen == HEAD {
            let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
            self.place = Place::Payload {
                kind: bytes[3],
                ends: bytes[4] & END_STREAM != 0,
                stream: number(&bytes[5..]) & 0x7fff_ffff,
                left: number(&bytes[..3]) as usize,
            };
            self.finish();
        }
        &taken[count..]
    }

    /// Follows a payload and returns what stands after it.
    fn payload<'a>(&mut self, taken: &'a [u8]) -> &'a [u8] {
        let Place::Payload { kind, stream, left, .. } = &mut self.place else { return taken };
        let count = taken.len().min(*left);
        *left -= count;
        if *kind == DATA
            && let Some(waiting) = self.waiting.get_mut(stream)
        {
            waiting.exchange.sent(count as u64);
        }
        self.finish();
        &taken[count..]
    }

    fn finish(&mut self) {
        let Place::Payload { kind, ends, stream, left: 0 } = self.place else { return };
        self.place = Place::default();
        if kind == HEADERS
            && let Some(waiting) = self.waiting.get_mut(&stream)
        {
            waiting.headed = true;
        }
        // Other kinds use this bit for something else.
        if ends
            && matches!(kind, DATA | HEADERS)
            && let Some(Waiting { exchange, .. }) = self.waiting.remove(&stream)
        {
            exchange.delivered();
        }
    }
}

impl Follow for Frames {
    fn wrote(&mut self, mut bytes: &[u8]) {
        self.taken += bytes.len() as u64;
        while !bytes.is_empty() {
            bytes = match self.place {
                Place::Head { .. } => self.head(bytes),
                Place::Payload { .. } => self.payload(bytes),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::{Method, StatusCode};

    use super::*;
    use crate::exchange::Telemetry;
    use crate::journal::Journal;

    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        [&[0, 0, payload.len() as u8, kind, flags, 0, 0, 0, stream], payload].concat()
    }

    fn expect(frames: &mut Frames, telemetry: &Arc<Telemetry>, stream: u32) {
        let mut exchange = Exchange::begin(telemetry, 1, stream.into(), &Method::GET);
        exchange.answered(StatusCode::OK);
        frames.expect(stream, exchange);
    }

    fn summary(telemetry: &Telemetry) -> Vec<(u64, u16, u64, String)> {
        let lines = telemetry.journal.after(0).into_iter();
        lines.map(|line| (line.req, line.status, line.bytes_out, line.end)).collect()
    }

    #[test]
    fn bytes_are_counted_by_stream_however_the_connection_is_cut() {
        let stream = [
            frame(4, 1, 0, b""),
            frame(HEADERS, 4, 1, b"head"),
            frame(HEADERS, 4, 3, b"head"),
            frame(DATA, 0, 1, b"12345"),
            frame(6, 1, 0, b"8 bytes!"),
            frame(DATA, 0, 3, b"abc"),
            frame(HEADERS, 4 | END_STREAM, 5, b"head"),
            frame(DATA, END_STREAM, 1, b"678"),
            frame(DATA, END_STREAM, 3, b""),
        ]
        .concat();
        for size in 1..stream.len() {
            let telemetry = Arc::new(Telemetry::new(Journal::new("test", None)));
            let mut frames = Frames::default();
            [1, 3, 5].into_iter().for_each(|stream| expect(&mut frames, &telemetry, stream));
            stream.chunks(size).for_each(|piece| frames.wrote(piece));
            let wanted = [(5, 200, 0, "complete"), (1, 200, 8, "complete"), (3, 200, 3, "complete")];
            assert_eq!(
                summary(&telemetry),
                wanted.map(|(req, status, out, end)| (req, status, out, end.to_owned()))
            );
            assert_eq!(frames.progress(), None);
        }
    }

    #[test]
    fn what_did_not_leave_is_not_counted() {
        let telemetry = Arc::new(Telemetry::new(Journal::new("test", None)));
        let mut frames = Frames::default();
        [1, 3].into_iter().for_each(|stream| expect(&mut frames, &telemetry, stream));
        frames.wrote(&frame(HEADERS, 4, 1, b"head"));
        frames.wrote(&frame(DATA, 0, 1, b"12345")[..HEAD + 2]);
        frames.abandon_stream(1, "client_closed");
        frames.abandon("error:stopped");
        let wanted = [(1, 200, 2, "client_closed"), (3, 0, 0, "error:stopped")];
        assert_eq!(
            summary(&telemetry),
            wanted.map(|(req, status, out, end)| (req, status, out, end.to_owned()))
        );
    }
}
