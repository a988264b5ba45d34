//! Asking a server whether it is well: one small HTTP request, for containers that have nothing else to make it with.
//! Which answers are good, and what a connection is wrapped in, is up to who asks.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

/// A server that takes longer is not well.
const PATIENCE: Duration = Duration::from_secs(3);
/// A status line is shorter.
const MAX_LINE: usize = 1024;

/// The first line of the answer of `authority` (`host:port`, IPv6 in brackets) to a GET of `path`; what comes after it
/// is not read. `wrap` makes of the connection what HTTP is spoken on: `Ok`, or a TLS session.
///
/// # Errors
/// No such host, no connection, no wrapping, or silence.
pub fn status_line<S: Read + Write>(
    authority: &str,
    path: &str,
    wrap: impl FnOnce(TcpStream) -> io::Result<S>,
) -> io::Result<String> {
    let deadline = Instant::now() + PATIENCE;
    let nobody = || io::Error::new(io::ErrorKind::NotFound, format!("{authority} has no address"));
    let address = authority.to_socket_addrs()?.next().ok_or_else(nobody)?;
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut stream = wrap(stream)?;
    // In one piece: who answers the first bytes and closes resets a connection on which more is under way.
    let request = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    first_line(stream, deadline)
}

fn first_line(mut stream: impl Read, deadline: Instant) -> io::Result<String> {
    let (mut line, mut piece) = (Vec::new(), [0; MAX_LINE]);
    while line.len() < MAX_LINE && !line.contains(&b'\n') {
        if Instant::now() > deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match stream.read(&mut piece)? {
            0 => break,
            count => line.extend_from_slice(&piece[..count]),
        }
    }
    Ok(String::from_utf8_lossy(&line).lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// What is asked of a server that answers `answer`, and what is made of that.
    fn exchange(answer: &'static [u8]) -> (String, io::Result<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 512];
            let count = stream.read(&mut asked).unwrap();
            stream.write_all(answer).unwrap();
            String::from_utf8_lossy(&asked[..count]).into_owned()
        });
        let line = status_line(&authority, "/healthz", Ok);
        (server.join().unwrap(), line)
    }

    #[test]
    fn the_first_line_is_the_answer() {
        let (asked, line) = exchange(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        assert!(asked.starts_with("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:"), "{asked}");
        assert_eq!(line.unwrap(), "HTTP/1.1 200 OK");
        assert_eq!(exchange(b"").1.unwrap(), "");
        assert_eq!(exchange(&[b'x'; MAX_LINE]).1.unwrap().len(), MAX_LINE);
    }

    #[test]
    fn a_server_that_is_not_there_or_says_too_little_for_too_long_is_an_error() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(status_line(&free.to_string(), "/", Ok).is_err());
        assert!(status_line("127.0.0.1", "/", Ok).is_err(), "a port is needed");
        let late = first_line(io::repeat(b'x').take(1), Instant::now().checked_sub(PATIENCE).unwrap());
        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn what_wraps_the_connection_may_refuse_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let refuse = |_| Err::<TcpStream, _>(io::Error::other("no session"));
        let error = status_line(&listener.local_addr().unwrap().to_string(), "/", refuse).unwrap_err();
        assert_eq!(error.to_string(), "no session");
    }
}
