//! Hellos of a real client and made ones, in any pieces; and bytes that are none.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;

/// The first flight of a real client; `padding` bytes of protocol names make it long.
fn hello(name: &str, padding: usize) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let roots = rustls::RootCertStore::empty();
    let mut config = config.unwrap().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![vec![b'x'; 100]; padding / 100];
    let name = name.to_owned().try_into().unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// A hello in records of `piece` bytes each.
fn in_records(hello: &[u8], piece: usize) -> Vec<u8> {
    let record =
        |bytes: &[u8]| [&[HANDSHAKE, MAJOR, 1][..], &(bytes.len() as u16).to_be_bytes(), bytes].concat();
    hello[5..].chunks(piece).flat_map(record).collect()
}

#[test]
fn the_name_is_that_of_the_hello() {
    for padding in [0, 4096, 12_000] {
        let bytes = hello("Registry.Example.com", padding);
        assert!(bytes.len() > padding);
        assert_eq!(read(&bytes), Hello::Named("registry.example.com".into()), "{padding}");
        for piece in [1, 7, 512] {
            let expected = Hello::Named("registry.example.com".into());
            assert_eq!(read(&in_records(&bytes, piece)), expected, "{padding} in records of {piece}");
        }
    }
}

#[test]
fn a_hello_without_a_name_has_none() {
    assert_eq!(read(&hello("127.0.0.1", 0)), Hello::Nameless, "addresses are no names");
}

#[test]
fn other_protocols_are_told_by_their_first_bytes() {
    for bytes in [
        &b"G"[..],
        b"SSH-2.0-x\r\n",
        &[22, 2],
        &[22, 3, 1, 0, 0],
        &[22, 3, 1, 0xff, 0xff],
        &[22, 3, 1, 0, 4, 2],
    ] {
        assert_eq!(read(bytes), Hello::Nameless, "{bytes:?}");
    }
    for bytes in [&b""[..], &[22], &[22, 3], &[22, 3, 3, 0], &[22, 3, 3, 0, 4], &[22, 3, 3, 0, 4, 1, 0, 0, 1]]
    {
        assert_eq!(read(bytes), Hello::Partial, "{bytes:?}");
    }
}

#[test]
fn a_name_that_is_no_host_is_none() {
    let bytes = hello("registry.example.com", 0);
    let place = bytes.windows(8).position(|window| window == b"registry").unwrap();
    for byte in [0, b'\n', b'"', 0xff] {
        let mut broken = bytes.clone();
        broken[place] = byte;
        assert_eq!(read(&broken), Hello::Nameless, "{byte}");
    }
}

proptest! {
    #[test]
    fn every_beginning_of_a_hello_is_partial(cut in 0usize..5000, piece in 1usize..2000) {
        let bytes = in_records(&hello("registry.example.com", 4096), piece);
        let cut = cut.min(bytes.len());
        let expected = if cut == bytes.len() { Hello::Named("registry.example.com".into()) } else { Hello::Partial };
        prop_assert_eq!(read(&bytes[..cut]), expected);
    }

    #[test]
    fn whatever_follows_a_hello_changes_nothing(tail in prop::collection::vec(any::<u8>(), 0..300)) {
        let bytes = [hello("registry.example.com", 0), tail].concat();
        prop_assert_eq!(read(&bytes), Hello::Named("registry.example.com".into()));
    }

    #[test]
    fn no_bytes_are_too_odd(
        head in prop::sample::select(vec![&[][..], &[22, 3, 1], &[22, 3, 3, 0, 60, 1, 0, 0, 56]]),
        tail in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let _any_answer = read(&[head, &tail].concat());
    }

    #[test]
    fn a_damaged_hello_is_survived(place in 0usize..4000, byte in any::<u8>()) {
        let mut bytes = hello("registry.example.com", 3000);
        let place = place.min(bytes.len() - 1);
        bytes[place] = byte;
        let _any_answer = read(&bytes);
    }
}
