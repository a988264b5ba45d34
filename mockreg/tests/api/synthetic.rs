//! Uploads of synthetic layers: recognised, kept as recipes, and refused when one bit is wrong.

use mockreg::Registry;
use mockreg_proto::digest::Digest;
use mockreg_proto::journal::Check;
use mockreg_synth::{Layer, LayerSpec};

use crate::client::{Client, bytes_of, foreign, layer, open_upload, registry};

/// From the least layer to one of several cycles of its stream, in every form.
const NAMES: [&str; 12] = [
    "553",
    "10kb",
    "100kb",
    "3mb",
    "8mb",
    "1536-tar",
    "1mib-tar",
    "2mb-c1",
    "528-zstd",
    "100kb-zstd",
    "3mb-zstd",
    "2mb-zstd-c1",
];

fn counters(registry: &Registry) -> serde_json::Value {
    Client::new(registry.admin_addr()).get("/counters").json()
}

/// Uploads bytes as a stream in pieces of `piece` and ends with `digest`.
fn upload(client: &mut Client, bytes: &[u8], piece: usize, digest: &Digest) -> crate::client::Answer {
    let location = open_upload(client, "a");
    let pieces: Vec<&[u8]> = bytes.chunks(piece).collect();
    let patch = client.send_chunked("PATCH", &location, &[], &pieces);
    if patch.status != 202 {
        return patch;
    }
    client.send("PUT", &format!("{location}?digest={digest}"), &[], b"")
}

#[test]
fn a_synthetic_layer_becomes_a_recipe_and_stays_pullable() {
    let registry = registry();
    let mut client = Client::of(&registry);
    // The last is long enough for a look ahead while it arrives.
    for (ordinal, name) in NAMES.into_iter().chain(["80mb"]).enumerate() {
        let bytes = bytes_of(layer(name));
        let digest = Digest::of(&bytes);
        for piece in [70_001, 4_096] {
            assert_eq!(upload(&mut client, &bytes, piece, &digest).status, 201, "{name}");
        }
        let pulled = client.get(&format!("/v2/a/blobs/{digest}"));
        assert!(pulled.body == bytes, "{name}");
        let counters = counters(&registry);
        assert_eq!(counters["recipes"], ordinal + 1, "{name}");
        assert_eq!(counters["stored_bytes"], 0, "{name}");
    }
    let patches: Vec<_> = registry.journal().into_iter().filter(|record| record.method != "GET").collect();
    let checked: Vec<_> =
        patches.iter().filter(|record| matches!(record.method.as_str(), "PATCH" | "PUT")).collect();
    assert_eq!(checked.len(), 4 * (NAMES.len() + 1));
    assert!(checked.iter().all(|record| record.check == Some(Check::Compare)), "{checked:#?}");
}

#[test]
fn a_unique_layer_becomes_a_recipe_as_well() {
    let registry = registry();
    let mut client = Client::of(&registry);
    let names = ["553", "3mb", "3mb-c1", "3mb-zstd", "3mb-zstd-c1", "3mib-tar", "3mib-tar-c1"];
    for name in names {
        let bytes = bytes_of(layer(name).unique());
        let digest = Digest::of(&bytes);
        assert_eq!(upload(&mut client, &bytes, 70_001, &digest).status, 201, "{name}");
        assert!(client.get(&format!("/v2/a/blobs/{digest}")).body == bytes, "{name}");
    }
    let counters = counters(&registry);
    assert_eq!([&counters["recipes"], &counters["stored_bytes"]], [names.len(), 0]);
}

#[test]
fn the_tar_of_a_layer_is_a_recipe_too() {
    let registry = registry();
    let mut client = Client::of(&registry);
    for (count, name) in ["1mb", "1mb-zstd"].into_iter().enumerate() {
        let spec: LayerSpec = layer(name);
        let made = Layer::new(spec);
        let tar: Vec<u8> = made.read_tar(0, made.tar_size()).flatten().collect();
        let digest = Digest::of(&tar);
        assert_eq!(upload(&mut client, &tar, 50_000, &digest).status, 201);
        assert!(client.get(&format!("/v2/a/blobs/{digest}")).body == tar);
        assert_eq!(counters(&registry)["recipes"], count + 1);
        let tail = client.send("GET", &format!("/v2/a/blobs/{digest}"), &[("Range", "bytes=-700")], b"");
        assert!(tail.body == tar[tar.len() - 700..]);
    }
}

#[test]
fn one_flipped_bit_anywhere_is_refused_and_nothing_is_stored() {
    let registry = registry();
    let mut client = Client::of(&registry);
    for name in NAMES {
        let bytes = bytes_of(layer(name));
        let digest = Digest::of(&bytes);
        let middle = bytes.len() / 2;
        for at in [0, 1, 511, middle, bytes.len() - 9, bytes.len() - 1] {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            let answer = upload(&mut client, &flipped, 70_001, &digest);
            assert_eq!((answer.status, answer.code().as_str()), (400, "DIGEST_INVALID"), "{name} at {at}");
            assert_eq!(client.send("HEAD", &format!("/v2/a/blobs/{digest}"), &[], b"").status, 404);
        }
    }
    let counters = counters(&registry);
    assert_eq!([&counters["recipes"], &counters["blobs_stored"], &counters["uploads_open"]], [0, 0, 0]);
}

#[test]
fn a_damaged_copy_larger_than_the_budget_is_called_damaged() {
    let registry = Registry::builder().memory_budget(1_000_000).start().unwrap();
    let mut client = Client::of(&registry);
    let bytes = bytes_of(layer("8mb"));
    let digest = Digest::of(&bytes);
    for at in [4_000_000, bytes.len() - 1] {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        assert_eq!(upload(&mut client, &flipped, 100_000, &digest).code(), "DIGEST_INVALID", "{at}");
        // Content of that digest is right, but there is no room for it.
        assert_eq!(
            upload(&mut client, &flipped, 100_000, &Digest::of(&flipped)).code(),
            "SIZE_INVALID",
            "{at}"
        );
    }
    assert_eq!(counters(&registry)["blobs_stored"], 0);
}

#[test]
fn what_only_begins_like_a_layer_is_hashed_and_kept() {
    let registry = registry();
    let mut client = Client::of(&registry);
    let whole = bytes_of(layer("3mb"));
    let with_a_tail = [&whole[..], b"!"].concat();
    let with_another_middle = [&whole[..1_000_000], &foreign(500_000), &whole[1_000_000..]].concat();
    let cases =
        [&whole[..1], &whole[..100], &whole[..600], &whole[..2_999_999], &with_a_tail, &with_another_middle];
    for bytes in cases {
        let digest = Digest::of(bytes);
        assert_eq!(upload(&mut client, bytes, 65_000, &digest).status, 201, "{} bytes", bytes.len());
        assert!(client.get(&format!("/v2/a/blobs/{digest}")).body == bytes);
    }
    let counters = counters(&registry);
    let bytes: usize = cases.iter().map(|bytes| bytes.len()).sum();
    assert_eq!([&counters["recipes"], &counters["blobs_stored"]], [0, cases.len()]);
    assert_eq!(counters["stored_bytes"], bytes);
    let puts: Vec<_> = registry.journal().into_iter().filter(|record| record.method == "PUT").collect();
    assert!(puts.iter().all(|record| record.check == Some(Check::Hash)), "{puts:#?}");
}
