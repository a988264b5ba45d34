//! Connecting to a server that may have several addresses. One that does not answer holds up the next for a moment only,
//! as RFC 8305 ("Happy Eyeballs") §5 wants it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::task::JoinSet;

use crate::socket::{self, Socket};

/// How long an address has before the next is tried as well: the recommended delay of RFC 8305 §8.
const HEAD_START: Duration = Duration::from_millis(250);
/// More addresses of one name are not tried.
const MAX_ADDRESSES: usize = 16;

/// Connects to `host:port`, at whichever of its addresses answers first. There is no limit in time.
///
/// # Errors
/// No such name, or what its first address answered if none can be reached.
pub(crate) async fn connect(upstream: &str) -> io::Result<Socket> {
    let addresses: Vec<SocketAddr> = lookup_host(upstream).await?.take(MAX_ADDRESSES).collect();
    match addresses[..] {
        [only] => socket::connect(only).await,
        _ => race(alternate(addresses)).await,
    }
}

/// The addresses in the resolver's order, but the families in turn, so that one which does not work here costs one head
/// start and not many (RFC 8305 §4).
fn alternate(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let is_first_family = addresses.first().map(SocketAddr::is_ipv4);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| Some(address.is_ipv4()) == is_first_family);
    let turns = first.len().max(second.len());
    (0..turns).flat_map(|turn| [first.get(turn), second.get(turn)]).flatten().copied().collect()
}

/// Connects to the addresses one after another, the next when one has failed or had its head start; the first that
/// answers ends the others.
async fn race(addresses: Vec<SocketAddr>) -> io::Result<Socket> {
    let mut addresses = addresses.into_iter();
    let mut attempts = JoinSet::new();
    let mut failure = None;
    loop {
        if let Some(address) = addresses.next() {
            attempts.spawn(socket::connect(address));
        }
        let head_start = if addresses.as_slice().is_empty() { Duration::MAX } else { HEAD_START };
        match tokio::time::timeout(head_start, attempts.join_next()).await {
            Ok(Some(ended)) => match ended.map_err(io::Error::other).flatten() {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = failure.or(Some(error)),
            },
            Ok(None) => {
                let nothing = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
                return Err(failure.unwrap_or_else(nothing));
            }
            Err(_elapsed) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket, TcpStream};

    use super::*;

    /// A listener, and an address where nobody answers: its queue of connections is full.
    async fn full() -> (TcpListener, Vec<TcpStream>, SocketAddr) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        while let Ok(stream) =
            tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(address)).await
        {
            queued.push(stream.unwrap());
        }
        (listener, queued, address)
    }

    /// An address where nobody listens, kept by a socket that does not.
    fn closed() -> (TcpSocket, SocketAddr) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    #[tokio::test]
    async fn an_address_that_does_not_answer_is_overtaken() {
        let (_listener, _queued, silent) = full().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stream = race(vec![silent, address]).await.unwrap();
        assert_eq!(stream.ends().unwrap().0, address);
    }

    #[tokio::test]
    async fn an_address_that_refuses_is_followed_by_the_next() {
        let (_socket, refusing) = closed();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stream = race(vec![refusing, refusing, address]).await.unwrap();
        assert_eq!(stream.ends().unwrap().0, address);
        let error = race(vec![refusing, refusing]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(race(Vec::new()).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn a_name_and_a_literal_are_both_reached() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        for upstream in [address.to_string(), format!("localhost:{}", address.port())] {
            assert_eq!(connect(&upstream).await.unwrap().ends().unwrap().0, address);
        }
    }

    #[test]
    fn families_take_turns() {
        let of = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let mixed = of(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"]);
        let turns = of(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]);
        assert_eq!(alternate(mixed), turns);
        assert_eq!(alternate(Vec::new()), Vec::new());
    }
}
