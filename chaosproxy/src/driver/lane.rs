//! One direction of a connection: its chain, and what has left the chain and is on its way into a socket.

use bytes::{Buf, Bytes};
use chaosproxy_path::{Chain, Nanos, Stream};

use crate::pipe::Pipe;
use crate::socket::{self, Socket};

/// A read of so many bytes is one of a stream worth splicing: the largest packet of loopback, and more than most
/// requests and answers.
const BIG: u64 = 64 * 1024;
/// So many of them in a row, and it is spliced: a pipe costs two system calls where a small answer needs none.
const BIG_READS: u32 = 2;

/// Lane 0 is upstream and reads socket 0, the client's; lane 1 is downstream and reads socket 1.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) stream: Stream,
    pub(super) chain: Chain,
    /// Left the chain; the destination has not taken it yet.
    pub(super) remainder: Bytes,
    /// Bytes went around the chain, through this, and may not all have left it; never together with a remainder.
    pub(super) pipe: Option<Pipe>,
    /// Big reads in a row.
    big_reads: u32,
    /// The source may send more.
    pub(super) reading: bool,
    /// The destination got everything it will get.
    pub(super) over: bool,
    pub(super) credit: u64,
    pub(super) wake: Option<Nanos>,
}

impl Lane {
    pub(super) fn new(stream: Stream, chain: Chain) -> Self {
        Self {
            stream,
            chain,
            remainder: Bytes::new(),
            pipe: None,
            big_reads: 0,
            reading: true,
            over: false,
            credit: 0,
            wake: None,
        }
    }

    /// Nothing is on its way into the destination.
    pub(super) fn is_flushed(&self) -> bool {
        self.remainder.is_empty() && self.pipe.as_ref().is_none_or(Pipe::is_empty)
    }

    pub(super) fn wants_bytes(&self) -> bool {
        self.reading && self.credit > 0 && self.is_flushed()
    }

    /// Whether its destination is slower than a stream that is spliced.
    pub(super) fn is_blocked_bulk(&self) -> bool {
        self.pipe.as_ref().is_some_and(|pipe| !pipe.is_empty())
    }

    /// Whether the next bytes are to be spliced.
    pub(super) fn is_bulk(&self) -> bool {
        self.big_reads >= BIG_READS
    }

    pub(super) fn note_read(&mut self, bytes: usize) {
        self.big_reads = if bytes as u64 >= BIG { self.big_reads.saturating_add(1) } else { 0 };
    }

    /// Writes some of what is on its way; there is some. `Ok(0)`: the destination takes nothing now.
    pub(super) fn write(&mut self, destination: &Socket) -> std::io::Result<usize> {
        match &mut self.pipe {
            Some(pipe) if self.remainder.is_empty() => pipe.drain(destination),
            _ => {
                let n = socket::write(destination, &self.remainder)?;
                self.remainder.advance(n);
                Ok(n)
            }
        }
    }

    /// Gives an empty pipe back: nobody holds one while waiting. One that was hardly used tells that the bulk is over.
    pub(super) fn return_pipe(&mut self) {
        if let Some(pipe) = self.pipe.take_if(|pipe| pipe.is_empty())
            && pipe.moved() < BIG
        {
            self.big_reads = 0;
        }
    }

    pub(super) fn abandon(&mut self) {
        (self.over, self.reading, self.wake) = (true, false, None);
        self.remainder.clear();
        self.pipe = None;
    }
}
