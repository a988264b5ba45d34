//! A TCP connection that lends instead of copying: pieces of a layer that are slices of the pool are sent from a file
//! in memory that holds the same bytes, so that the kernel puts its own pages into the packets. The client's copy then
//! is the only one. What is sent, and in which order, is the same to the byte. Under TLS and in the frames of HTTP/2
//! nothing can be lent.
//!
//! Only a request that is alone is lent to. Several at once make the processors contend for the pages' reference
//! counts, where copies stay in the cache of each: four streams were twice as fast with copies.

mod pages;

use std::fs::File;
use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use mockreg_synth::pool::{self, Image};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create, sendfile};
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use crate::exchange::Telemetry;

/// Pieces below this are copied: a system call and a packet for each cost more. The runs of a zstd layer are.
const WORTH_IT: usize = 16 << 10;
/// Bytes lent in one call. The kernel sends what one call brings at once and in one packet if it fits (64 KiB on
/// loopback, heads and a piece that precedes it included), so the client copies while the next call is made. Calls
/// of 1 MiB, as nginx makes, are cut into parts that are held back for each other: half as fast.
const LENT: usize = 60 << 10;

/// A connection that sends.
pub(crate) struct Lending {
    stream: TcpStream,
    telemetry: Arc<Telemetry>,
}

impl Lending {
    /// Lends through `stream` while no more than one request is under way.
    pub(crate) fn new(stream: TcpStream, telemetry: Arc<Telemetry>) -> Self {
        Self { stream, telemetry }
    }

    fn is_alone(&self) -> bool {
        self.telemetry.tally.requests.now() <= 1
    }
}

/// A piece of an image as the kernel has it.
#[derive(Clone, Copy)]
struct Loan {
    file: &'static File,
    at: u64,
}

/// The piece to lend in place of `bytes`, if they are a slice of the pool.
fn loan(bytes: &[u8]) -> Option<Loan> {
    if bytes.len() < WORTH_IT {
        return None;
    }
    let (image, at) = pool::find(bytes)?;
    file(image).map(|file| Loan { file, at })
}

/// The file of an image, made when it is first wanted; `None` where the system has no such files.
fn file(image: Image) -> Option<&'static File> {
    static FILES: [OnceLock<Option<File>>; Image::ALL.len()] = [const { OnceLock::new() }; Image::ALL.len()];
    let made = FILES[image as usize].get_or_init(|| match make(image.bytes()) {
        Ok(file) => Some(file),
        Err(error) => {
            tracing::info!(%error, "layers are copied to sockets: no file in memory to lend from");
            None
        }
    });
    made.as_ref()
}

/// A file in memory that nobody can change any more.
fn make(bytes: &[u8]) -> io::Result<File> {
    let file = memfd_create("mockreg-pool", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = File::from(file);
    file.write_all(bytes)?;
    if let Err(error) = pages::gather(&file, bytes.len()) {
        tracing::debug!(%error, "lending from small pages");
    }
    fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(file)
}

/// Sends as much of `bufs` as the socket takes now. An error is given only if it took nothing.
fn send(stream: &TcpStream, mut bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    let mut sent = 0;
    while !bufs.is_empty() {
        let loan = loan(&bufs[0]);
        let copied =
            bufs[1..].iter().take_while(|piece| loan.is_none() && self::loan(piece).is_none()).count();
        let (now, later) = bufs.split_at(1 + copied);
        let wanted: usize = now.iter().map(|piece| piece.len()).sum();
        let taken = match loan {
            Some(loan) => lend(stream, loan, wanted),
            None => copy(stream, now, !later.is_empty()),
        };
        match taken {
            Ok(taken) if taken == wanted => sent += taken,
            Ok(taken) => return Ok(sent + taken),
            Err(error) if sent == 0 => return Err(error),
            // It will be met again at the next call.
            Err(_) => break,
        }
        bufs = later;
    }
    Ok(sent)
}

/// Sends `len` bytes of a file, or as many of them as the socket takes now.
fn lend(stream: &TcpStream, loan: Loan, len: usize) -> io::Result<usize> {
    let (mut at, end) = (loan.at, loan.at + len as u64);
    // Equal parts, so that none is too small to be worth its call.
    let part = len.div_ceil(len.div_ceil(LENT));
    while at < end {
        let most = part.min((end - at) as usize);
        match sendfile(stream, loan.file, Some(&mut at), most) {
            Ok(taken) if taken == most => {}
            Err(error) if at == loan.at => return Err(error.into()),
            Ok(_) | Err(_) => break,
        }
    }
    Ok((at - loan.at) as usize)
}

/// Sends bytes in the ordinary way. Where `more` follows at once, the kernel waits for it with the packet.
fn copy(stream: &TcpStream, bufs: &[IoSlice<'_>], more: bool) -> io::Result<usize> {
    let flags = if more { SendFlags::MORE } else { SendFlags::empty() };
    let sent = sendmsg(stream, bufs, &mut SendAncillaryBuffer::default(), flags | SendFlags::NOSIGNAL)?;
    Ok(sent)
}

impl AsyncRead for Lending {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Lending {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.is_alone() {
            return Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        }
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            match self.stream.try_io(Interest::WRITABLE, || send(&self.stream, bufs)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use mockreg_synth::{Content, Form, Layer, LayerId, LayerSpec};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::journal::Journal;

    const SIZE: u64 = 20_000_256;

    fn pieces(form: Form) -> Vec<Bytes> {
        let id = LayerId::derive(0, "lent", "", "v1", 0);
        let layer = Layer::new(LayerSpec::try_new(form, Content::Letters, SIZE, id).unwrap());
        layer.read(0, SIZE).collect()
    }

    async fn pair(requests: u64) -> (Lending, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let telemetry = Telemetry::new(Journal::new("test", None));
        (0..requests).for_each(|_| telemetry.tally.requests.enter());
        (Lending::new(listener.accept().await.unwrap().0, Arc::new(telemetry)), client)
    }

    #[tokio::test]
    async fn what_is_lent_arrives_like_what_is_copied() {
        for (form, requests) in [(Form::Tar, 1), (Form::Gzip, 1), (Form::Gzip, 2)] {
            let pieces = pieces(form);
            let lent: usize = pieces.iter().filter(|piece| loan(piece).is_some()).map(Bytes::len).sum();
            assert!(lent as u64 > SIZE / 10 * 9, "{form}: {lent} bytes are lent");
            let (mut lending, mut client) = pair(requests).await;
            assert_eq!(lending.is_alone(), requests == 1);
            let whole = pieces.concat();
            let sending = tokio::spawn(async move {
                for group in pieces.chunks(7) {
                    let mut bufs: Vec<IoSlice<'_>> = group.iter().map(|piece| IoSlice::new(piece)).collect();
                    let mut bufs = bufs.as_mut_slice();
                    while !bufs.is_empty() {
                        let sent = lending.write_vectored(bufs).await.unwrap();
                        assert!(sent > 0);
                        IoSlice::advance_slices(&mut bufs, sent);
                    }
                }
            });
            let mut got = Vec::new();
            client.read_to_end(&mut got).await.unwrap();
            sending.await.unwrap();
            assert!(got == whole, "{form}");
        }
    }

    #[tokio::test]
    async fn a_client_that_went_away_is_an_error() {
        let (mut lending, client) = pair(1).await;
        drop(client);
        let pieces = pieces(Form::Gzip);
        let lent = pieces.iter().find(|piece| loan(piece).is_some()).unwrap();
        let error = loop {
            if let Err(error) = lending.write(lent).await {
                break error;
            }
        };
        assert!(
            matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset),
            "{error}"
        );
    }

    #[test]
    fn a_file_lent_from_can_no_longer_be_changed() {
        let file = file(Image::Deflate).unwrap();
        assert_eq!(file.metadata().unwrap().len(), Image::Deflate.bytes().len() as u64);
        assert!(file.set_len(0).is_err());
    }
}
