//! Other people's clients against mockreg: each pulls, pushes and copies, lists and deletes where it can, under every
//! login, over plain HTTP and TLS. What arrives is compared with what `mockreg_synth` says, byte for byte. One trial
//! for each combination: `crane/bearer/tls/push`.
//!
//! They take minutes and start a docker daemon, so they run with `STORMYARD_CLIENTS=1` only, as `.ci/run` does.

mod bed;
mod client;
mod crane;
mod docker;
mod known;
mod oci_client;
mod oras;
mod podman;
mod reader;
mod regctl;
mod skopeo;
mod table;
mod tarball;

use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};

use e2e::program::{ignored, run, succeed, trial};
use libtest_mimic::{Arguments, Trial};

use crate::bed::{Access, Bed};
use crate::client::Client;
use crate::known::Known;

/// Three layers of gzip, in three streams, so that mixing them up would show.
const IMAGE: &str = "synth/700kb-x3";
/// The same in zstd.
const ZSTD: &str = "synth/700kb-x3-zstd";

/// Started with the first trial that needs it, stopped when the last has gone.
type LazyBed = Arc<LazyLock<Bed, Box<dyn FnOnce() -> Bed + Send>>>;
type AnyClient = Arc<dyn Client>;

static KNOWN: LazyLock<Known> = LazyLock::new(|| Known::of(IMAGE));

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // podman, buildah and docker keep their images in one place each.
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, trials()).exit_code()
}

fn clients() -> Vec<AnyClient> {
    vec![
        Arc::new(skopeo::Skopeo),
        Arc::new(podman::PODMAN),
        Arc::new(podman::BUILDAH),
        Arc::new(docker::Docker::new()),
        Arc::new(crane::Crane),
        Arc::new(oras::Oras),
        Arc::new(regctl::Regctl),
        Arc::new(oci_client::OciClient),
    ]
}

fn trials() -> Vec<Trial> {
    let clients = clients();
    let mut trials = vec![table::trial(&clients)];
    for access in Access::all() {
        let bed: LazyBed = Arc::new(LazyLock::new(Box::new(move || Bed::new(access))));
        trials.push(on_bed(&format!("login/{access}"), &[], &bed, strangers_learn_nothing));
        if access.tls {
            trials.push(on_bed(
                &format!("certificate/{access}"),
                &["crane"],
                &bed,
                strangers_are_not_believed,
            ));
        }
        for client in &clients {
            let mut add = |what: &str, test: fn(&dyn Client, &Bed, &str)| {
                trials.push(one(client, access, &bed, what, test));
            };
            add("pull", pull);
            add("push", push);
            add("copy", copy);
            if client.keeper().is_some() {
                add("tags_and_delete", tags_and_delete);
            }
            if access == PLAIN && client.unpacks_zstd() {
                add("pull_zstd", pull_zstd);
            }
        }
    }
    trials
}

/// Compression has nothing to do with logins.
const PLAIN: Access = Access { login: bed::Login::None, tls: false };

fn one(
    client: &AnyClient,
    access: Access,
    bed: &LazyBed,
    what: &str,
    test: fn(&dyn Client, &Bed, &str),
) -> Trial {
    let name = format!("{}/{access}/{what}", client.name());
    if client.has_store() && !is_root() {
        return ignored(&name, "needs root");
    }
    let (client, programs) = (Arc::clone(client), client.programs());
    let place = format!("clients/{}/{what}", client.name());
    on_bed(&name, &programs, bed, move |bed| test(&*client, bed, &place))
}

fn on_bed(name: &str, programs: &[&str], bed: &LazyBed, test: impl FnOnce(&Bed) + Send + 'static) -> Trial {
    if std::env::var_os("STORMYARD_CLIENTS").is_none() {
        return ignored(name, "runs with STORMYARD_CLIENTS=1");
    }
    let bed = Arc::clone(bed);
    trial(name, programs, move || test(&bed))
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|entry| std::os::unix::fs::MetadataExt::uid(&entry) == 0)
}

/// A folder with a name that can be part of an image's: podman and buildah make it one.
fn scratch() -> tempfile::TempDir {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("stormyard-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    tempfile::Builder::new().prefix(&name).rand_bytes(0).tempdir().expect("room for a folder")
}

/// Without this, a registry that asks nobody would pass every trial under every login.
fn strangers_learn_nothing(bed: &Bed) {
    assert_eq!(reader::opens_to_strangers(bed), bed.credentials().is_none());
}

/// Without this, clients that look at no certificate would pass every trial over TLS.
fn strangers_are_not_believed(bed: &Bed) {
    let image = bed.source("synth/600kb:v1");
    succeed(bed.command("crane").args(["digest", &image]));
    let output = run(bed.command("crane").args(["digest", &image]).env("SSL_CERT_FILE", "/dev/null"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("x509"), "{said}");
}

fn pull(client: &dyn Client, bed: &Bed, _: &str) {
    let folder = scratch();
    for pulled in client.pull(bed, &bed.source(&format!("{IMAGE}:v1")), folder.path()) {
        KNOWN.check(&pulled);
    }
}

fn pull_zstd(client: &dyn Client, bed: &Bed, _: &str) {
    let (folder, known) = (scratch(), Known::of(ZSTD));
    for pulled in client.pull(bed, &bed.source(&format!("{ZSTD}:v1")), folder.path()) {
        known.check(&pulled);
    }
}

fn push(client: &dyn Client, bed: &Bed, place: &str) {
    let (folder, to) = (scratch(), bed.dest(&format!("{place}:v1")));
    client.push(bed, &KNOWN, folder.path(), &to);
    arrived(client, bed, &to);
}

fn copy(client: &dyn Client, bed: &Bed, place: &str) {
    let to = bed.dest(&format!("{place}:v1"));
    client.copy(bed, &bed.source(&format!("{IMAGE}:v1")), &to);
    arrived(client, bed, &to);
}

/// Reads back what a client has pushed: the same files, and, from clients that do not unpack, the same image.
fn arrived(client: &dyn Client, bed: &Bed, image: &str) {
    let read = reader::read(bed, image);
    assert!(read.files == KNOWN.files, "other files than pushed: {:?}", read.files.keys());
    if client.keeps_manifests() {
        assert_eq!(read.digest, KNOWN.manifest_digest.to_string());
    }
}

fn tags_and_delete(client: &dyn Client, bed: &Bed, place: &str) {
    let keeper = client.keeper().expect("asked for before");
    let repository = bed.dest(place);
    let image = |tag: &str| format!("{repository}:{tag}");
    // Two images, as some clients delete what a tag names rather than the tag.
    client.copy(bed, &bed.source(&format!("{IMAGE}:v1")), &image("v1"));
    client.copy(bed, &bed.source("synth/600kb:v1"), &image("v2"));
    assert_eq!(keeper.tags(bed, &repository), ["v1", "v2"]);
    keeper.delete(bed, &image("v1"));
    assert!(!reader::exists(bed, &image("v1")));
    assert_eq!(keeper.tags(bed, &repository), ["v2"]);
    assert!(reader::exists(bed, &image("v2")));
}
