//! Blobs out, cleartext HTTP/1.1: one stream, and the same bytes over many.

use std::time::Instant;

use e2e::measure::{Candidate, interleave, size};
use e2e::peers::{DockerRegistry, Nginx};
use e2e::server::Server;
use e2e::transfer;

use crate::{folder, save};

/// Workers of nginx: as many as mockreg has threads on the machines this is run on.
const WORKERS: u32 = 2;

pub(crate) fn run() {
    let (image, bytes) = size(("synth/1gib", 1u64 << 30), ("synth/256mib", 256 << 20));
    let folder = folder();
    let mockreg = Server::mockreg(&[]);
    let registry = DockerRegistry::start(folder.path());
    let (digest, path) = transfer::layer(&mockreg.registry(), image);
    let content = transfer::fetch(&mockreg.registry(), &path);
    transfer::push_blob(&registry.address, image, &digest, &content);
    save(folder.path(), "blob", &content);
    drop(content);
    let nginx = Nginx::start(folder.path(), WORKERS);
    let servers = [
        ("mockreg", mockreg.registry(), path.clone()),
        ("docker-registry", registry.address.clone(), path.clone()),
        ("nginx sendfile", nginx.address.clone(), "/blob".to_owned()),
    ];

    let rounds = size(9, 3);
    let giga = bytes as f64 / 1e9;
    for streams in [1, 4, 64] {
        let candidates = servers
            .iter()
            .map(|(name, address, path)| Candidate::new(name, move || pull(address, path, bytes, streams)));
        let what = format!("GET of the layer of {image}, cleartext HTTP/1.1, {streams} streams in parts");
        let name = format!("registry/pull_{streams}");
        interleave(rounds, candidates.collect()).report(&name, &what, "GB/s", giga);
    }
    let (_, address, path) = &servers[0];
    let candidates = [("64 streams", 64), ("4 streams", 4), ("1 stream", 1)]
        .map(|(name, streams)| Candidate::new(name, move || pull(address, path, bytes, streams)));
    let what = format!("GET of the layer of {image} from mockreg, over how many streams");
    interleave(rounds, candidates.into()).report("registry/pull_streams", &what, "GB/s", giga);
}

/// Seconds for `bytes` over so many connections, each with a part of its own.
fn pull(address: &str, path: &str, bytes: u64, streams: u64) -> f64 {
    let part = bytes / streams;
    let start = Instant::now();
    if streams == 1 {
        assert_eq!(transfer::download(address, path), bytes);
    } else {
        std::thread::scope(|scope| {
            for stream in 0..streams {
                let range = stream * part..(stream + 1) * part;
                scope.spawn(move || assert_eq!(transfer::download_range(address, path, range), part));
            }
        });
    }
    start.elapsed().as_secs_f64()
}
