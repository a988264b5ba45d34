//! podman and buildah: they unpack what they pull, and pack anew what they push.

use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::program::succeed;

use crate::bed::Bed;
use crate::client::Client;
use crate::known::{Known, Pulled};

pub(crate) struct Podman;
pub(crate) struct Buildah;

fn options(bed: &Bed) -> Vec<String> {
    let mut options = match bed.certificates() {
        Some(folder) => vec![format!("--cert-dir={}", folder.display())],
        None => vec!["--tls-verify=false".to_owned()],
    };
    options.extend(bed.joined_credentials().map(|joined| format!("--creds={joined}")));
    options
}

/// Pulls an image and returns its id.
fn pull(bed: &Bed, program: &str, image: &str) -> String {
    // What an earlier trial has pulled would not be fetched again.
    succeed(bed.command(program).args(["rmi", "--all", "--force"]));
    succeed(bed.command(program).args(["pull", "--quiet"]).args(options(bed)).arg(image)).trim().to_owned()
}

/// Pushes the image of a layout.
fn push(bed: &Bed, program: &str, known: &Known, folder: &Path, to: &str) {
    known.write_layout(folder);
    let id = pull(bed, program, &format!("oci:{}:latest", folder.display()));
    push_id(bed, program, &id, to);
}

fn push_id(bed: &Bed, program: &str, id: &str, to: &str) {
    let to = format!("docker://{to}");
    succeed(bed.command(program).args(["push", "--quiet"]).args(options(bed)).args([id, &to]));
}

impl Client for Podman {
    fn name(&self) -> &'static str {
        "podman"
    }

    fn needs_root(&self) -> bool {
        true
    }

    fn version(&self) -> String {
        succeed(Command::new("podman").arg("--version")).trim().replace("podman version ", "")
    }

    fn pull(&self, bed: &Bed, image: &str, _: &Path) -> Vec<Pulled> {
        let id = pull(bed, "podman", image);
        let path = succeed(bed.command("podman").args(["image", "mount", &id]));
        vec![Pulled::Folder(PathBuf::from(path.trim()))]
    }

    fn push(&self, bed: &Bed, known: &Known, folder: &Path, to: &str) {
        push(bed, "podman", known, folder, to);
    }

    fn copy(&self, bed: &Bed, from: &str, to: &str) {
        let id = pull(bed, "podman", from);
        push_id(bed, "podman", &id, to);
    }

    fn copies(&self) -> bool {
        false
    }

    fn keeps_manifests(&self) -> bool {
        false
    }

    fn unpacks(&self) -> bool {
        true
    }

    fn unpacks_zstd(&self) -> bool {
        true
    }
}

impl Client for Buildah {
    fn name(&self) -> &'static str {
        "buildah"
    }

    fn needs_root(&self) -> bool {
        true
    }

    fn version(&self) -> String {
        let text = succeed(Command::new("buildah").arg("--version"));
        text.split_whitespace().nth(2).expect("it tells its version").to_owned()
    }

    fn pull(&self, bed: &Bed, image: &str, _: &Path) -> Vec<Pulled> {
        succeed(bed.command("buildah").args(["rm", "--all"]));
        let id = pull(bed, "buildah", image);
        let container = succeed(bed.command("buildah").args(["from", "--pull-never", &id]));
        let path = succeed(bed.command("buildah").args(["mount", container.trim()]));
        vec![Pulled::Folder(PathBuf::from(path.trim()))]
    }

    fn push(&self, bed: &Bed, known: &Known, folder: &Path, to: &str) {
        push(bed, "buildah", known, folder, to);
    }

    fn copy(&self, bed: &Bed, from: &str, to: &str) {
        let id = pull(bed, "buildah", from);
        push_id(bed, "buildah", &id, to);
    }

    fn copies(&self) -> bool {
        false
    }

    fn keeps_manifests(&self) -> bool {
        false
    }

    fn unpacks(&self) -> bool {
        true
    }

    fn unpacks_zstd(&self) -> bool {
        true
    }
}
