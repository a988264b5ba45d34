//! An encrypted connection whose writes say what was taken, also where carrying it fails in the middle.
//!
//! A write of 256 KiB is carried by several system calls. tokio-rustls answers with the error of the last one, and
//! what the ones before it carried would be missing from the journal. Here such a write succeeds, and whoever writes
//! or flushes next meets the error; a write of which nothing left fails.

use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

/// Bytes taken that wait for the socket. The journal counts them as sent, so few, but enough to write at speed.
const AHEAD: usize = 256 << 10;

/// A server's end of a TLS connection over `S`, after the handshake.
pub(crate) struct Encrypted<S> {
    stream: TlsStream<S>,
    /// Why carrying what was taken failed.
    broken: Option<io::ErrorKind>,
}

impl<S> Encrypted<S> {
    pub(crate) fn new(mut stream: TlsStream<S>) -> Self {
        stream.get_mut().1.set_buffer_limit(Some(AHEAD));
        Self { stream, broken: None }
    }

    /// The error of a write that broke off.
    fn check(&self) -> io::Result<()> {
        self.broken.map_or(Ok(()), |broken| Err(broken.into()))
    }
}

impl<S: AsyncWrite + Unpin> Encrypted<S> {
    /// Has the socket take what waits for it. Whether it took any, and how that ended.
    fn carry(&mut self, cx: &mut Context<'_>) -> (bool, Poll<io::Result<()>>) {
        let (socket, session) = self.stream.get_mut();
        let mut some_left = false;
        while session.wants_write() {
            match session.write_tls(&mut Now { socket, cx }) {
                Ok(0) => return (some_left, Poll::Ready(Err(io::ErrorKind::WriteZero.into()))),
                Ok(_) => some_left = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return (some_left, Poll::Pending),
                Err(error) => return (some_left, Poll::Ready(Err(error))),
            }
        }
        (some_left, Poll::Ready(Ok(())))
    }
}

/// A socket as rustls writes to it: what has to wait would block.
struct Now<'a, 'b, S> {
    socket: &'a mut S,
    cx: &'a mut Context<'b>,
}

impl<S: AsyncWrite + Unpin> Write for Now<'_, '_, S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(buf)])
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        match Pin::new(&mut *self.socket).poll_write_vectored(self.cx, bufs) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Encrypted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Encrypted<S> {
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
        self.check()?;
        loop {
            let taken = self.stream.get_mut().1.writer().write_vectored(bufs)?;
            let (some_left, carried) = self.carry(cx);
            match carried {
                Poll::Ready(Err(error)) if taken > 0 && some_left => self.broken = Some(error.kind()),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if taken == 0 => return Poll::Pending,
                Poll::Pending | Poll::Ready(Ok(())) => {}
            }
            if taken > 0 || bufs.iter().all(|buf| buf.is_empty()) {
                return Poll::Ready(Ok(taken));
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        ready!(self.carry(cx).1)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
    use tokio_rustls::{TlsConnector, client};

    use super::*;
    use crate::Tls;
    use crate::authorities::Authorities;

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// The server's end of a socket that breaks when it has carried so many bytes.
    struct Breaking {
        socket: DuplexStream,
        left: usize,
    }

    impl AsyncRead for Breaking {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.socket).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Breaking {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            if self.left == 0 {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            let buf = &buf[..buf.len().min(self.left)];
            let written = ready!(Pin::new(&mut self.socket).poll_write(cx, buf))?;
            self.left -= written;
            Poll::Ready(Ok(written))
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.socket).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.socket).poll_shutdown(cx)
        }
    }

    async fn pair() -> (Encrypted<Breaking>, client::TlsStream<DuplexStream>) {
        let (here, there) = tokio::io::duplex(1 << 20);
        let here = Breaking { socket: here, left: usize::MAX };
        let terminator = Tls::ephemeral().terminator(LOOPBACK).unwrap();
        let authority = terminator.authority.unwrap();
        let authorities = Authorities::try_from_pem(authority.as_bytes()).unwrap();
        let connector = TlsConnector::from(authorities.config().unwrap());
        let (server, client) =
            tokio::join!(terminator.acceptor.accept(here), connector.connect(LOOPBACK.into(), there));
        (Encrypted::new(server.unwrap()), client.unwrap())
    }

    #[tokio::test]
    async fn what_left_before_the_connection_broke_was_taken() {
        let (mut server, mut client) = pair().await;
        server.stream.get_mut().0.left = 100_000;
        assert_eq!(server.write(&[7; 200_000]).await.unwrap(), 200_000);
        client.read_exact(&mut [0; 80_000]).await.unwrap();
        for _ in 0..2 {
            assert_eq!(server.write(b"more").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
            assert_eq!(server.flush().await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        }
    }

    #[tokio::test]
    async fn a_write_of_which_nothing_left_fails() {
        let (mut server, _client) = pair().await;
        server.stream.get_mut().0.left = 0;
        assert_eq!(server.write(b"some").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn a_write_of_nothing_and_one_that_must_wait_both_end() {
        let (mut server, mut client) = pair().await;
        assert_eq!(server.write(&[]).await.unwrap(), 0);
        let bytes = vec![7; 3 * AHEAD];
        let mut got = vec![0; bytes.len()];
        let (written, read) = tokio::join!(
            async {
                server.write_all(&bytes).await?;
                server.flush().await
            },
            client.read_exact(&mut got)
        );
        written.unwrap();
        assert_eq!(read.unwrap(), bytes.len());
        assert!(got == bytes);
    }
}
