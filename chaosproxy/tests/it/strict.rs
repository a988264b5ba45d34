//! What strict compatibility changes about connections. Each fact is checked beside what is so without it, over plain
//! sockets, so that neither way can become the other unseen where the reference program is not at hand.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use chaosproxy::{Attributes, CutAction, ProxyHandle, ProxySpec, Selection, Server, Toxic};
use socket2::SockRef;

use crate::harness::*;

/// How long nothing has to come from a connection that is taken to be stopped.
const SILENCE: Duration = Duration::from_millis(10);
/// Connections whose toxicity is drawn: so many that two draws of a half agree on all of them under hardly any seed.
const CONNECTIONS: usize = 32;

fn strict(upstream: SocketAddr) -> (Server, ProxyHandle) {
    started(true, upstream)
}

/// A server that follows the reference, or does not, with a proxy called `source`.
fn started(is_strict: bool, upstream: SocketAddr) -> (Server, ProxyHandle) {
    let server = Server::builder().seed(1).strict_compat(is_strict).start().unwrap();
    // Strictly an empty address is everybody's, of both families.
    let listen = "127.0.0.1:0".to_owned();
    let proxy =
        server.create(ProxySpec { listen, ..ProxySpec::new("source", upstream.to_string()) }).unwrap();
    (server, proxy)
}

#[test]
fn a_cut_is_a_reset_still() {
    let (_server, proxy) = strict(source(100_000_000));
    proxy.add(Toxic::cut(1_000_000, CutAction::Reset)).unwrap();
    assert_eq!(read_all(&mut connect(proxy.listen_addr()), PATIENCE).1, End::Reset);
    assert_eq!(proxy.counts().faults["cut:reset"], 1);
}

#[test]
fn those_that_a_reset_peer_is_not_for_end_in_order() {
    let (_server, proxy) = strict(upstream(|mut stream| drop(stream.write_all(b"bye"))));
    let others = Selection::default().source("192.0.2.0/24").unwrap();
    let name = proxy.add(Toxic::reset_peer(Duration::ZERO).only(others)).unwrap();
    let ended = |proxy: &ProxyHandle| read_all(&mut connect(proxy.listen_addr()), PATIENCE);
    assert_eq!(ended(&proxy), (b"bye".to_vec(), End::Fin));
    proxy.remove(&name).unwrap();
    let ours = Selection::default().source("127.0.0.0/8").unwrap();
    proxy.add(Toxic::reset_peer(Duration::ZERO).only(ours)).unwrap();
    assert_eq!(ended(&proxy), (Vec::new(), End::Reset));
}

/// Connections to an echo server, with how many of their bytes have not come back yet.
struct Crowd {
    server: Server,
    clients: Vec<(TcpStream, usize)>,
}

impl Crowd {
    fn connect(server: Server, address: SocketAddr) -> Self {
        let mut clients: Vec<_> = (0..CONNECTIONS).map(|_| (connect(address), 0)).collect();
        for (client, _) in &mut clients {
            ping(client, b"there");
        }
        Self { server, clients }
    }

    /// Which connections the toxic `half` affects, as the server says. It lets nothing pass, so that they show it: a
    /// byte comes back on those that are free, with all that they were owed, and on no other.
    fn affected(&mut self) -> Vec<bool> {
        let views = self.server.connections();
        let is_half = |view: &chaosproxy::ConnectionView| {
            view.toxics.iter().find(|toxic| toxic.name == "half").unwrap().affects
        };
        let affected: Vec<_> = views.iter().map(is_half).collect();
        assert_eq!(affected.len(), self.clients.len());
        for ((client, owed), is_affected) in self.clients.iter_mut().zip(&affected) {
            client.write_all(b"x").unwrap();
            *owed += 1;
            if *is_affected {
                assert_eq!(read_all(client, SILENCE), (Vec::new(), End::Silence));
            } else {
                client.set_read_timeout(Some(PATIENCE)).unwrap();
                client.read_exact(&mut vec![0; std::mem::take(owed)]).unwrap();
            }
        }
        affected
    }
}

/// Whom `half` affects at first; after an update; with a toxic behind it; with one more; without the one more;
/// without the one behind it; and with one of the other direction.
fn draws(is_strict: bool) -> [Vec<bool>; 7] {
    let (server, proxy) = started(is_strict, echo());
    let mut crowd = Crowd::connect(server, proxy.listen_addr());
    let noop = |name: &str| Toxic::new(Attributes::Noop).named(name);
    let half = Toxic::bandwidth(0).toxicity(0.5).named("half");
    proxy.add(half.clone()).unwrap();
    let first = crowd.affected();
    proxy.update(half).unwrap();
    let updated = crowd.affected();
    proxy.add(noop("next")).unwrap();
    let followed = crowd.affected();
    proxy.add(noop("last")).unwrap();
    let twice_followed = crowd.affected();
    proxy.remove("last").unwrap();
    let once_followed = crowd.affected();
    proxy.remove("next").unwrap();
    let alone = crowd.affected();
    proxy.add(noop("up").upstream()).unwrap();
    [first, updated, followed, twice_followed, once_followed, alone, crowd.affected()]
}

#[test]
fn toxicity_is_drawn_once() {
    let [first, later @ ..] = draws(false);
    assert!(first.contains(&true) && first.contains(&false), "{first:?}");
    assert!(later.iter().all(|draw| *draw == first), "{first:?}, then {later:?}");
}

#[test]
fn toxicity_is_strictly_drawn_again_by_an_update_and_by_the_next_toxic() {
    let [first, updated, followed, twice_followed, once_followed, alone, other] = draws(true);
    assert_ne!(first, updated, "an update draws again");
    assert_ne!(updated, followed, "the next toxic draws again when it comes");
    assert_eq!(followed, twice_followed, "one behind the next does not");
    assert_eq!(twice_followed, once_followed, "nor when it goes");
    assert_ne!(once_followed, alone, "the next toxic draws again when it goes");
    assert_eq!(alone, other, "one of the other direction does not");
}

/// Strictly the first end closes both directions, and what the server still had to say is lost.
#[test]
fn an_answer_after_the_end_of_the_question_comes_unless_strict() {
    for (is_strict, answer) in [(false, b"answer".to_vec()), (true, Vec::new())] {
        let server = upstream(|mut stream| {
            assert_eq!(read_all(&mut stream, PATIENCE), (b"question".to_vec(), End::Fin));
            // The answer takes a moment, as the work behind it does; strictly nobody is there any more.
            std::thread::sleep(Duration::from_millis(100));
            let _nobody_there = stream.write_all(b"answer");
        });
        let (_server, proxy) = started(is_strict, server);
        let mut client = connect(proxy.listen_addr());
        client.write_all(b"question").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&mut client, PATIENCE), (answer, End::Fin), "strict: {is_strict}");
    }
}

/// A server that sends the first byte back and reports how the client ended.
fn listener() -> (SocketAddr, Receiver<End>) {
    let (seen, ends) = mpsc::channel();
    let address = upstream(move |mut stream| {
        let mut first = [0];
        stream.read_exact(&mut first).unwrap();
        stream.write_all(&first).unwrap();
        seen.send(read_all(&mut stream, PATIENCE).1).unwrap();
    });
    (address, ends)
}

fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

#[test]
fn a_reset_by_the_client_reaches_the_server_as_one_unless_strict() {
    for (is_strict, end) in [(false, End::Reset), (true, End::Fin)] {
        let (server, ends) = listener();
        let (_server, proxy) = started(is_strict, server);
        let mut client = connect(proxy.listen_addr());
        ping(&mut client, b"x");
        reset(client);
        assert_eq!(ends.recv_timeout(PATIENCE).unwrap(), end, "strict: {is_strict}");
    }
}

#[test]
fn a_reset_by_the_server_reaches_the_client_as_one_unless_strict() {
    for (is_strict, end) in [(false, End::Reset), (true, End::Fin)] {
        let (_server, proxy) = started(
            is_strict,
            upstream(|mut stream| {
                stream.read_exact(&mut [0]).unwrap();
                reset(stream);
            }),
        );
        let mut client = connect(proxy.listen_addr());
        client.write_all(b"x").unwrap();
        assert_eq!(read_all(&mut client, PATIENCE), (Vec::new(), end), "strict: {is_strict}");
    }
}

/// On both sides of it.
#[test]
fn a_reset_peer_resets_connections_older_than_itself_unless_strict() {
    for (is_strict, end) in [(false, End::Reset), (true, End::Fin)] {
        let (server, ends) = listener();
        let (_server, proxy) = started(is_strict, server);
        let mut client = connect(proxy.listen_addr());
        ping(&mut client, b"x");
        proxy.add(Toxic::reset_peer(Duration::ZERO).upstream()).unwrap();
        client.write_all(b"x").unwrap();
        assert_eq!(read_all(&mut client, PATIENCE), (Vec::new(), end), "strict: {is_strict}");
        assert_eq!(ends.recv_timeout(PATIENCE).unwrap(), end, "strict: {is_strict}");
        assert_eq!(proxy.counts().faults["reset_peer"], 1);
    }
}

#[test]
fn a_reset_peer_of_toxicity_zero_spares_its_connections_unless_strict() {
    for (is_strict, end) in [(false, End::Fin), (true, End::Reset)] {
        let (_server, proxy) = started(is_strict, upstream(|mut stream| drop(stream.write_all(b"bye"))));
        proxy.add(Toxic::reset_peer(Duration::ZERO).toxicity(0.0)).unwrap();
        let seen = read_all(&mut connect(proxy.listen_addr()), PATIENCE);
        assert_eq!(seen, (b"bye".to_vec(), end), "strict: {is_strict}");
        assert!(proxy.counts().faults.is_empty(), "it struck nobody");
    }
}

#[test]
fn the_removal_of_a_timeout_of_toxicity_zero_spares_its_connections_unless_strict() {
    for is_strict in [false, true] {
        let (_server, proxy) = started(is_strict, echo());
        let name = proxy.add(Toxic::timeout(Duration::ZERO).toxicity(0.0)).unwrap();
        let mut client = connect(proxy.listen_addr());
        ping(&mut client, b"untouched");
        proxy.remove(&name).unwrap();
        if is_strict {
            assert_eq!(read_all(&mut client, PATIENCE), (Vec::new(), End::Fin));
        } else {
            ping(&mut client, b"untouched still");
        }
    }
}
