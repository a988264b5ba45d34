//! Pushed content beyond the memory budget: on disk where there is a directory for it, and a clear refusal where the
//! disk is full.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use mockreg::Registry;
use mockreg_proto::digest::{Algorithm, Digest};
use mockreg_proto::ready_line::ReadyLine;

use crate::client::{
    Case, Client, bytes_of, check, counters, foreign, layer, manifest, open_upload, push_blob, put_manifest,
};

#[test]
fn what_the_budget_does_not_hold_goes_to_disk_and_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::builder().memory_budget(2 << 20).spill(directory.path()).start().unwrap();
    let mut client = Client::of(&registry);
    let blobs: Vec<Vec<u8>> = (0..4).map(|n| foreign(3_000_000 + n)).collect();
    let digests: Vec<Digest> = blobs.iter().map(|bytes| push_blob(&mut client, "a", bytes)).collect();
    let held = counters(&registry);
    let (memory, disk) = (held["stored_bytes"].as_u64().unwrap(), held["spilled_bytes"].as_u64().unwrap());
    assert!(memory <= 2 << 20 && memory + disk == 12_000_006, "{held}");
    for (bytes, digest) in blobs.iter().zip(&digests) {
        let path = format!("/v2/a/blobs/{digest}");
        assert!(client.get(&path).body == *bytes);
        let part = client.send("GET", &path, &[("Range", "bytes=1048570-2097200")], b"");
        assert!(part.status == 206 && part.body == bytes[1_048_570..=2_097_200]);
    }
    // Another algorithm is computed from what was kept, and manifests still find room.
    let long = Digest::of_with(Algorithm::Sha512, &blobs[0]);
    let location = open_upload(&mut client, "b");
    assert_eq!(client.send("PUT", &format!("{location}?digest={long}"), &[], &blobs[0]).status, 201);
    let body = manifest(&mut client, "a");
    put_manifest(&mut client, "a", "v1", &body);
    for digest in &digests {
        assert_eq!(client.send("DELETE", &format!("/v2/a/blobs/{digest}"), &[], b"").status, 202);
    }
    assert_eq!(client.send("DELETE", &format!("/v2/b/blobs/{long}"), &[], b"").status, 202);
    assert_eq!(counters(&registry)["spilled_bytes"], 0);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "files without names");
}

#[test]
fn a_spill_directory_that_cannot_be_used_is_an_error_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Registry::builder().spill(&file).start().unwrap_err();
    assert!(error.to_string().contains("spill directory"), "{error}");
}

#[test]
fn a_full_disk_is_told_stores_nothing_and_leaves_the_rest_alone() {
    // The shell's limit on the size of files stands in for a full disk: 4,000 blocks of 512 bytes, or of 1 KiB.
    let directory = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_mockreg");
    let script = format!(
        "ulimit -f 4000; exec {program} serve --listen 127.0.0.1:0 --admin 127.0.0.1:0 --memory-budget 1MB --spill {}",
        directory.path().display()
    );
    let mut child = Command::new("sh")
        .args(["-c", &script])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: ReadyLine = serde_json::from_str(&line).unwrap();
    let address = ready.registry.as_deref().unwrap().strip_prefix("http://").unwrap().parse().unwrap();
    let result = std::panic::catch_unwind(|| fill_up(address));
    child.kill().unwrap();
    child.wait().unwrap();
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

fn fill_up(address: std::net::SocketAddr) {
    let mut client = Client::new(address);
    let small = push_blob(&mut client, "a", &foreign(500_000));
    let large = foreign(6_000_000);
    let digest = Digest::of(&large);
    let location = open_upload(&mut client, "a");
    let put = client.send("PUT", &format!("{location}?digest={digest}"), &[], &large);
    assert_eq!((put.status, put.code().as_str()), (507, "SIZE_INVALID"));
    assert!(put.details().contains("--spill"), "{}", put.details());
    let mut client = Client::new(address);
    assert_eq!(client.get(&location).code(), "BLOB_UPLOAD_UNKNOWN");
    assert_eq!(client.send("HEAD", &format!("/v2/a/blobs/{digest}"), &[], b"").status, 404);
    // What was there is there, and the room that the broken upload took is free again.
    assert!(client.get(&format!("/v2/a/blobs/{small}")).body == foreign(500_000));
    let fits = foreign(1_200_000);
    for _ in 0..3 {
        let digest = push_blob(&mut client, "a", &fits);
        assert!(client.get(&format!("/v2/a/blobs/{digest}")).body == fits);
        assert_eq!(client.send("DELETE", &format!("/v2/a/blobs/{digest}"), &[], b"").status, 202);
    }
}

#[test]
fn without_any_memory_blobs_go_to_disk_and_manifests_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::builder().memory_budget(0).spill(directory.path()).start().unwrap();
    let mut client = Client::of(&registry);
    // The second begins as a synthetic layer and is found out late, the third is one.
    let layer = bytes_of(layer("2mb"));
    let damaged = [&layer[..1_500_000], &foreign(100_000)].concat();
    for (bytes, on_disk) in [(&foreign(100_000), 100_000), (&damaged, 1_700_000), (&layer, 1_700_000)] {
        let digest = push_blob(&mut client, "a", bytes);
        assert!(client.get(&format!("/v2/a/blobs/{digest}")).body == *bytes);
        assert_eq!(counters(&registry)["spilled_bytes"], on_disk);
    }
    // Manifests cannot go to disk.
    let put = Case::new("manifest", "PUT", "/v2/a/manifests/v1", 413).body("{}").code("SIZE_INVALID");
    check(&registry, &[put.says("--memory-budget")]);
}
