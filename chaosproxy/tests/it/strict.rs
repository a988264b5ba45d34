//! How connections end with strict compatibility, where the toxic is not one that the reference has, or not for them.

use std::io::Write;
use std::time::Duration;

use chaosproxy::{CutAction, ProxyHandle, ProxySpec, Selection, Server, Toxic};

use crate::harness::*;

fn strict(upstream: std::net::SocketAddr) -> (Server, ProxyHandle) {
    let server = Server::builder().strict_compat(true).start().unwrap();
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
