//! What really leaves through a connection. hyper takes a body's pieces into its own queue before they reach the
//! socket, so counting them there would call bytes sent that a vanished client never got. This follows the stream of
//! bytes that the socket took instead: heads, ends of heads, bodies of known length. Pure: `socket` calls it. What is
//! said here is HTTP/1.1; `frames` does the same for HTTP/2.

mod frames;

use std::collections::VecDeque;
use std::fmt::Debug;

pub(crate) use frames::Frames;

use crate::exchange::Exchange;
use crate::refusal::is_refusal;

/// What follows the outgoing bytes of a connection.
pub(crate) trait Follow: Debug + Send {
    /// The socket took `bytes`.
    fn wrote(&mut self, bytes: &[u8]);

    /// Whether `head`, about to be written, is to be kept back.
    fn keeps_back(&self, _head: &[u8]) -> bool {
        false
    }
}

const HEAD_END: &[u8] = b"\r\n\r\n";
/// Where the status begins in `HTTP/1.1 200 OK`.
const STATUS_AT: usize = 9;

/// The outgoing half of one connection.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    /// Answers made and not yet delivered, in order. hyper makes one at a time.
    waiting: VecDeque<(Exchange, u64)>,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// Inside a head: how many bytes of it went by, how many of its end, and whether it is an interim one (100).
    Head { seen: usize, matched: usize, interim: bool },
    /// Inside the body of the first answer waiting.
    Body { left: u64 },
    /// hyper answered by itself (a request it could not read) and will close: nothing here has a body we know.
    Foreign,
}

impl Default for Place {
    fn default() -> Self {
        Self::Head { seen: 0, matched: 0, interim: false }
    }
}

impl Outgoing {
    /// An answer with a body of `length` bytes is about to go out.
    pub(crate) fn expect(&mut self, exchange: Exchange, length: u64) {
        self.waiting.push_back((exchange, length));
    }

    /// Whether an answer that began now would be nobody's: no request waits for one.
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && matches!(self.place, Place::Head { seen: 0, .. })
    }

    /// Follows a head and returns what stands after it.
    fn head<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Place::Head { seen, matched, interim } = &mut self.place else { return bytes };
        let status = STATUS_AT.checked_sub(*seen).and_then(|at| bytes.get(at));
        *interim |= status == Some(&b'1');
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            // The end repeats no prefix of itself except the first byte, so a mismatch restarts there.
            *matched = match *byte {
                byte if byte == HEAD_END[*matched] => *matched + 1,
                b'\r' => 1,
                _ => 0,
            };
            at += 1;
            if *matched == HEAD_END.len() {
                let interim = *interim;
                self.head_ended(interim);
                return &bytes[at..];
            }
            if *matched == 0 {
                at += memchr::memchr(b'\r', &bytes[at..]).unwrap_or(bytes.len() - at);
            }
        }
        *seen += bytes.len();
        &[]
    }

    fn head_ended(&mut self, interim: bool) {
        self.place = match self.waiting.front() {
            _ if interim => Place::default(),
            Some((_, length)) => Place::Body { left: *length },
            None => Place::Foreign,
        };
        self.finish_body();
    }

    /// Follows a body and returns what stands after it.
    fn body<'a>(&mut self, bytes: &'a [u8], left: u64) -> &'a [u8] {
        let count = left.min(bytes.len() as u64);
        if let Some((exchange, _)) = self.waiting.front_mut() {
            exchange.sent(count);
        }
        self.place = Place::Body { left: left - count };
        self.finish_body();
        &bytes[count as usize..]
    }

    fn finish_body(&mut self) {
        if matches!(self.place, Place::Body { left: 0 }) {
            self.place = Place::default();
            if let Some((exchange, _)) = self.waiting.pop_front() {
                exchange.delivered();
            }
        }
    }

    /// The connection has ended; what was not delivered ended this way.
    pub(crate) fn abandon(&mut self, end: &'static str) {
        let mut headed = matches!(self.place, Place::Body { .. });
        for (exchange, _) in self.waiting.drain(..) {
            exchange.abandoned(std::mem::take(&mut headed), end);
        }
    }
}

impl Follow for Outgoing {
    fn wrote(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = match self.place {
                Place::Head { .. } => self.head(bytes),
                Place::Body { left } => self.body(bytes, left),
                Place::Foreign => return,
            };
        }
    }

    fn keeps_back(&self, head: &[u8]) -> bool {
        self.is_idle() && is_refusal(head)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::{Method, StatusCode};
    use mockreg_proto::journal::Record;

    use super::*;
    use crate::exchange::Telemetry;
    use crate::journal::Journal;

    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";

    fn telemetry() -> Arc<Telemetry> {
        Arc::new(Telemetry::new(Journal::new("test", None)))
    }

    fn expect(outgoing: &mut Outgoing, telemetry: &Arc<Telemetry>, length: u64) {
        let mut exchange = Exchange::begin(telemetry, 1, 1, &Method::GET);
        exchange.answered(StatusCode::OK);
        outgoing.expect(exchange, length);
    }

    fn summary(records: &[Record]) -> Vec<(u16, u64, &str)> {
        records.iter().map(|record| (record.status, record.bytes_out, record.end.as_str())).collect()
    }

    #[test]
    fn bytes_are_counted_however_the_stream_is_cut() {
        let stream: Vec<u8> = [b"HTTP/1.1 100 Continue\r\n\r\n", HEAD, b"\r\n\r\nx", HEAD, b"56789"].concat();
        for size in 1..stream.len() {
            let telemetry = telemetry();
            let mut outgoing = Outgoing::default();
            expect(&mut outgoing, &telemetry, 5);
            expect(&mut outgoing, &telemetry, 5);
            stream.chunks(size).for_each(|piece| outgoing.wrote(piece));
            assert_eq!(summary(&telemetry.journal.after(0)), [(200, 5, "complete"), (200, 5, "complete")]);
        }
    }

    #[test]
    fn an_answer_without_a_body_ends_with_its_head() {
        let telemetry = telemetry();
        let mut outgoing = Outgoing::default();
        expect(&mut outgoing, &telemetry, 0);
        outgoing.wrote(&HEAD[..HEAD.len() - 1]);
        assert!(telemetry.journal.after(0).is_empty());
        outgoing.wrote(b"\n");
        assert_eq!(summary(&telemetry.journal.after(0)), [(200, 0, "complete")]);
    }

    #[test]
    fn what_a_vanished_client_did_not_get_is_not_counted() {
        let telemetry = telemetry();
        let mut outgoing = Outgoing::default();
        expect(&mut outgoing, &telemetry, 5);
        outgoing.wrote(HEAD);
        outgoing.wrote(b"12");
        outgoing.abandon("client_closed");
        expect(&mut outgoing, &telemetry, 5);
        outgoing.place = Place::default();
        outgoing.abandon("error:stopped");
        assert_eq!(
            summary(&telemetry.journal.after(0)),
            [(200, 2, "client_closed"), (0, 0, "error:stopped")]
        );
    }

    #[test]
    fn an_answer_of_the_http_library_is_nobodys() {
        let telemetry = telemetry();
        let mut outgoing = Outgoing::default();
        outgoing.wrote(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\nmore");
        outgoing.abandon("client_closed");
        assert!(telemetry.journal.after(0).is_empty());
    }
}
